//! The actor: takes messages one by one, lets the tracker decide, writes, tells.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use sojourn_domain::{
    id::SourceId,
    mac::MacAddr,
    presence::{
        DeviceNumber, DeviceState, Sighting, SourceKind, Tracker,
        tracker::{Observed, SourceConfig},
    },
    time::{Clock, Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy, Store, StoreError,
    presence::{
        apply::{Batch, apply},
        counts::{self, Counts},
        devices, load, retention,
        sessions::{self, Created, NewSession},
        sources::{self, Source},
    },
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use super::{
    Command, EngineError, LiveDevice, Options, PASSES, PresenceUpdate, RETRY,
    runners::{self, Runners},
};
use crate::{
    reverse_names::ReverseNames,
    sources::{Pass, SourceMessage},
    vendor,
};

/// How often silence is noticed, counts are taken and settings are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often changes of sources by other programs are looked for.
const LOOK_FOR_SOURCES: Elapsed = Elapsed::from_secs(2);
/// How often the automatic choice looks for new interfaces.
const LOOK_FOR_INTERFACES: Elapsed = Elapsed::from_secs(60);
/// How often counts are written, at most.
const COUNT_EVERY: Elapsed = Elapsed::from_secs(60);
/// How often old history is forgotten.
const FORGET_EVERY: Elapsed = Elapsed::from_minutes(60);
/// Passes that are written together when several wait.
const TOGETHER: usize = PASSES;

pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Entropy,
    pub(super) options: Options,
    pub(super) updates: broadcast::Sender<PresenceUpdate>,
    pub(super) healthy: watch::Sender<bool>,
    pub(super) passes: mpsc::Sender<SourceMessage>,
    pub(super) shutdown: CancellationToken,
    /// Cancelled when another node may keep presence: nothing more is written.
    pub(super) lost: CancellationToken,
    /// Until when no other node can; `None` without others.
    pub(super) ours_until: Option<watch::Receiver<Timestamp>>,
}

pub(super) struct Actor {
    pub(super) store: Store,
    pub(super) tracker: Tracker,
    pub(super) entropy: Entropy,
    clock: Arc<dyn Clock>,
    options: Options,
    updates: broadcast::Sender<PresenceUpdate>,
    healthy: watch::Sender<bool>,
    shutdown: CancellationToken,
    lost: CancellationToken,
    ours_until: Option<watch::Receiver<Timestamp>>,
    runners: Runners,
    names: Option<ReverseNames>,
    /// What was last told of each device, to tell only differences.
    states: BTreeMap<DeviceNumber, DeviceState>,
    counts: Option<Counts>,
    counted_at: Timestamp,
    flushed_at: Timestamp,
    /// Scans that someone asked for and waits for.
    asked: BTreeMap<SourceId, Timestamp>,
    looked_for_sources_at: Timestamp,
    looked_for_interfaces_at: Timestamp,
    forgot_at: Timestamp,
}

impl Actor {
    pub(super) async fn load(parts: Parts) -> Result<Self, StoreError> {
        let Parts { store, clock, entropy, options, updates, healthy, passes, shutdown, lost, ours_until } =
            parts;
        let now = clock.now();
        let tracker = load::tracker(&store, runners::strength, Box::new(move || entropy.bytes())).await?;
        let runners = Runners::new(Arc::clone(&clock), passes, &shutdown);
        let mut actor = Self {
            names: None,
            store,
            tracker,
            entropy,
            clock,
            options,
            updates,
            healthy,
            shutdown,
            lost,
            ours_until,
            runners,
            states: BTreeMap::new(),
            counts: None,
            counted_at: Timestamp::MIN,
            flushed_at: now,
            asked: BTreeMap::new(),
            looked_for_sources_at: Timestamp::MIN,
            looked_for_interfaces_at: Timestamp::MIN,
            forgot_at: now,
        };
        actor.tracker.resume(now);
        actor.save().await;
        Ok(actor)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) async fn run(
        mut self,
        commands: &mut mpsc::Receiver<Command>,
        mut scans: mpsc::Receiver<SourceMessage>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.shutdown.clone();
        let mut names = self.start_naming();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(command) = commands.recv() => self.obey(command).await,
                Some(message) = scans.recv() => {
                    self.take_in(message).await;
                    for _ in 1..TOGETHER {
                        let Ok(message) = scans.try_recv() else { break };
                        self.take_in(message).await;
                    }
                    self.save().await;
                }
                Some((ip, name)) = async { names.as_mut()?.recv().await } => {
                    self.tracker.name_by_address(ip, &name);
                    self.save().await;
                }
                _ = ticks.tick() => self.tick().await,
            }
        }
        // Sources that wait for room in the channel must not keep us from stopping them.
        scans.close();
        self.runners.stop().await;
        if self.lost.is_cancelled() {
            return;
        }
        self.tracker.checkpoint();
        self.save().await;
    }

    fn start_naming(&mut self) -> Option<mpsc::Receiver<(IpAddr, String)>> {
        if !self.options.reverse_dns {
            return None;
        }
        match ReverseNames::start() {
            Ok((names, answers)) => {
                self.names = Some(names);
                Some(answers)
            }
            Err(error) => {
                tracing::warn!(%error, "no reverse DNS: the system's resolver cannot be used");
                None
            }
        }
    }

    /// Asks how the nameless devices that are here are called; each address is asked about seldom.
    fn ask_names(&self) {
        let Some(names) = &self.names else { return };
        let here = self.tracker.devices().filter(|device| device.open.is_some());
        for device in here.filter(|device| device.hostname.is_empty()) {
            if let Some(ip) = device.ip() {
                names.ask(ip);
            }
        }
    }

    async fn take_in(&mut self, message: SourceMessage) {
        let now = self.now();
        let result = match message {
            SourceMessage::Sighted { source, sightings } => self.observe_all(source, &sightings).await,
            SourceMessage::Pass { source, pass: Pass { scan, sightings } } => {
                let result = self.observe_all(source, &sightings).await;
                let seen: BTreeSet<_> = sightings.iter().map(|sighting| sighting.mac).collect();
                self.tracker.finish(source, &scan, seen.len(), now);
                // What a scan did is worth a row when it says something new or someone waits for it;
                // else the flush does.
                if self.asked.get(&source).is_some_and(|asked_at| scan.started_at >= *asked_at) {
                    self.asked.remove(&source);
                    self.tracker.checkpoint();
                }
                result
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "a late sighting could not be placed in history");
        }
    }

    async fn observe_all(&mut self, source: SourceId, sightings: &[Sighting]) -> Result<(), StoreError> {
        for sighting in sightings {
            self.observe(source, sighting).await?;
        }
        Ok(())
    }

    pub(super) async fn observe(&mut self, source: SourceId, sighting: &Sighting) -> Result<(), StoreError> {
        let now = self.now();
        if let Observed::NeedsHistory { device, at } = self.tracker.observe(source, sighting, now) {
            // What is not written yet is part of history.
            self.save().await;
            let history = load::history(&self.store, device, at).await?;
            self.tracker.observe_late(source, sighting, now, Some(history));
        }
        Ok(())
    }

    /// Writes what the tracker wants written, however long it takes, and tells the subscribers.
    pub(super) async fn save(&mut self) {
        let now = self.now();
        let vendor_of = |mac: MacAddr| vendor::of(mac).unwrap_or_default().to_owned();
        let Some(batch) = Batch::take(&mut self.tracker, vendor_of, now) else { return };
        let mut tries = 0u32;
        loop {
            if !self.is_ours().await {
                return;
            }
            let applied = tokio::select! {
                biased;
                () = self.lost.cancelled() => return,
                applied = apply(&self.store, &batch) => applied,
            };
            match applied {
                Ok(()) => break,
                Err(error) if error.is_conflict() => {
                    // Another program changed presence behind our back: memory is no longer true.
                    tracing::error!(%error, "presence was changed by another program; reading it again");
                    self.reload().await;
                    return;
                }
                Err(error) => {
                    if tries.is_multiple_of(30) {
                        tracing::error!(%error, tries, "cannot write presence; trying again");
                    }
                    tries += 1;
                    self.healthy.send_replace(false);
                    tokio::select! {
                        () = self.shutdown.cancelled(), if tries > 3 => {
                            tracing::error!("stopping without having written the latest presence");
                            return;
                        }
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
        self.healthy.send_replace(true);
        self.tell(&batch);
    }

    /// No other node can write presence now. After this machine has stood still that is not known before the lease
    /// was renewed, or lost.
    async fn is_ours(&mut self) -> bool {
        let Some(until) = &mut self.ours_until else { return true };
        loop {
            if self.lost.is_cancelled() {
                return false;
            }
            if self.clock.now() < *until.borrow_and_update() {
                return true;
            }
            tokio::select! {
                () = self.lost.cancelled() => return false,
                renewed = until.changed() => if renewed.is_err() {
                    return false;
                }
            }
        }
    }

    async fn reload(&mut self) {
        let entropy = self.entropy;
        match load::tracker(&self.store, runners::strength, Box::new(move || entropy.bytes())).await {
            Ok(tracker) => self.tracker = tracker,
            Err(error) => tracing::error!(%error, "cannot read presence"),
        }
    }

    /// Nobody may be listening, which is no error.
    fn update(&self, update: PresenceUpdate) {
        let _ = self.updates.send(update);
    }

    fn tell(&self, batch: &Batch) {
        if !batch.events().is_empty() {
            self.update(PresenceUpdate::Events { last_seq: self.tracker.last_seq() });
        }
        for number in batch.touched_devices().collect::<BTreeSet<_>>() {
            if let Some(device) = self.tracker.device_by_number(number) {
                self.update(PresenceUpdate::Device(device.mac));
            }
        }
        for source in batch.touched_sources().collect::<BTreeSet<_>>() {
            self.update(PresenceUpdate::Source(source));
        }
    }

    async fn tick(&mut self) {
        let now = self.now();
        if now.since(self.looked_for_sources_at) >= LOOK_FOR_SOURCES {
            self.looked_for_sources_at = now;
            if let Err(error) = self.look_for_sources(now).await {
                tracing::error!(%error, "cannot read the sources");
            }
        }
        self.tracker.tick(now);
        if now.since(self.flushed_at) >= self.options.flush {
            self.flushed_at = now;
            self.tracker.checkpoint();
            self.ask_names();
        }
        self.save().await;
        if self.lost.is_cancelled() {
            return;
        }
        if let Err(error) = self.count(now).await {
            tracing::error!(%error, "cannot write the counts of devices");
        }
        if let Some(retention) = self.options.retention
            && now.since(self.forgot_at) >= FORGET_EVERY
        {
            self.forgot_at = now;
            match retention::forget_before(&self.store, now - retention).await {
                Ok(()) => {}
                Err(error) => tracing::error!(%error, "cannot forget old presence"),
            }
        }
    }

    async fn look_for_sources(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.options.run_sources && now.since(self.looked_for_interfaces_at) >= LOOK_FOR_INTERFACES {
            self.looked_for_interfaces_at = now;
            runners::choose(&self.store, self.entropy, now).await?;
        }
        self.sync_sources().await
    }

    /// Makes tracker and running sources follow what the store says, whoever wrote it.
    pub(super) async fn sync_sources(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let wanted = sources::all(&self.store).await?;
        let gone: Vec<_> = self
            .tracker
            .sources()
            .map(|state| state.config.id)
            .filter(|id| !wanted.iter().any(|source| source.id == *id))
            .collect();
        for id in gone {
            self.tracker.remove_source(id, now);
            self.update(PresenceUpdate::Source(id));
        }
        for source in &wanted {
            let known = self.tracker.source(source.id).map(|state| &state.config);
            let config = config(source, known);
            if known != Some(&config) {
                self.tracker.configure_source(config, now);
            }
        }
        if self.options.run_sources {
            self.runners.sync(&wanted).await;
        }
        Ok(())
    }

    /// Counts the devices by state; tells what differs and writes it once a minute.
    async fn count(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let mut counts = Counts { at: now, online: 0, sleeping: 0, unknown: 0, down: 0, offline: 0 };
        let mut differing = Vec::new();
        for device in self.tracker.devices() {
            let state = self.tracker.state(device, now);
            *match state {
                DeviceState::Online => &mut counts.online,
                DeviceState::Sleeping => &mut counts.sleeping,
                DeviceState::Unknown => &mut counts.unknown,
                DeviceState::Down => &mut counts.down,
                DeviceState::Offline => &mut counts.offline,
            } += 1;
            if self.states.insert(device.number, state).is_some_and(|before| before != state) {
                differing.push(device.mac);
            }
        }
        for mac in differing {
            self.update(PresenceUpdate::Device(mac));
        }
        let same = self.counts.is_some_and(|before| Counts { at: now, ..before } == counts);
        if !same {
            self.update(PresenceUpdate::Counts(counts));
            self.counts = Some(counts);
        }
        if now.since(self.counted_at) >= COUNT_EVERY {
            self.counted_at = now;
            counts::record(&self.store, counts).await?;
        }
        Ok(())
    }

    async fn obey(&mut self, command: Command) {
        if !self.is_ours().await {
            // Unanswered, it is refused.
            return;
        }
        // An asker that went away does not need the answer.
        match command {
            Command::CreateSession(new, reply) => drop(reply.send(self.create_session(*new).await)),
            Command::DeleteSessions(mac, reply) => drop(reply.send(self.delete_sessions(mac).await)),
            Command::UpdateDevices(macs, set, reply) => {
                drop(reply.send(self.update_devices(&macs, &set).await));
            }
            Command::CreateDevice(new, reply) => drop(reply.send(self.create_device(&new).await)),
            Command::DeleteDevice(mac, reply) => drop(reply.send(self.delete_device(mac).await)),
            Command::AddSource(new, reply) => {
                let done = sources::add(&self.store, &new).await;
                drop(reply.send(self.sources_changed(done).await));
            }
            Command::UpdateSource(id, set, reply) => {
                let done = sources::update(&self.store, id, &set).await;
                drop(reply.send(self.sources_changed(done).await));
            }
            Command::RemoveSource(id, reply) => {
                let done = sources::remove(&self.store, id, self.now()).await;
                drop(reply.send(self.sources_changed(done).await));
            }
            Command::ScanNow(id, reply) => {
                let now = self.now();
                let runs = self.runners.scan_now(id);
                if runs {
                    self.asked.insert(id, now);
                }
                drop(reply.send(Ok(runs)));
            }
            Command::Here(reply) => drop(reply.send(Ok(()))),
            Command::Report(batch, reply) => drop(reply.send(self.report(*batch).await)),
            Command::Live(macs, reply) => drop(reply.send(Ok(self.live(macs)))),
            Command::Flush(reply) => {
                self.tracker.checkpoint();
                self.save().await;
                drop(reply.send(Ok(())));
            }
        }
    }

    async fn sources_changed<T>(&mut self, done: Result<T, StoreError>) -> Result<T, EngineError> {
        let done = done?;
        self.sync_sources().await?;
        self.save().await;
        Ok(done)
    }

    async fn create_session(&mut self, new: NewSession) -> Result<Created, EngineError> {
        let (mac, open) = (new.mac, new.end.is_none());
        let created = sessions::create(&self.store, &new).await?;
        self.know(mac).await?;
        if open && matches!(created, Created::Created(_)) {
            self.tracker.set_manual_open(mac, true);
        }
        self.update(PresenceUpdate::Device(mac));
        Ok(created)
    }

    async fn delete_sessions(&mut self, mac: MacAddr) -> Result<u64, EngineError> {
        let now = self.now();
        let deleted = sessions::delete(&self.store, mac, now).await?;
        self.tracker.forget_sessions(mac, now);
        self.update(PresenceUpdate::Device(mac));
        Ok(deleted)
    }

    async fn update_devices(
        &mut self,
        macs: &[MacAddr],
        set: &devices::DeviceChange,
    ) -> Result<Vec<MacAddr>, EngineError> {
        let changed = devices::update(&self.store, macs, set).await?;
        for &mac in &changed {
            if let Some(device) = self.tracker.device(mac) {
                let grace = set.grace.unwrap_or(device.grace);
                let alert_down = set.alert_down.unwrap_or(device.alert_down);
                let may_sleep = set.may_sleep.unwrap_or(device.may_sleep);
                self.tracker.set_policy(mac, grace, alert_down, may_sleep);
            }
            self.update(PresenceUpdate::Device(mac));
        }
        self.save().await;
        Ok(changed)
    }

    async fn create_device(&mut self, new: &devices::NewDevice) -> Result<bool, EngineError> {
        let created = devices::create(&self.store, new).await?;
        self.know(new.mac).await?;
        self.update(PresenceUpdate::Device(new.mac));
        Ok(created)
    }

    async fn delete_device(&mut self, mac: MacAddr) -> Result<bool, EngineError> {
        let deleted = devices::delete(&self.store, mac).await?;
        if let Some(device) = self.tracker.device(mac) {
            self.states.remove(&device.number);
        }
        self.tracker.remove_device(mac);
        self.update(PresenceUpdate::Device(mac));
        Ok(deleted)
    }

    /// Learns of a device that the store made.
    async fn know(&mut self, mac: MacAddr) -> Result<(), StoreError> {
        if self.tracker.device(mac).is_none()
            && let Some(device) = load::device(&self.store, mac).await?
        {
            self.tracker.insert_device(device);
        }
        Ok(())
    }

    fn live(&self, macs: Option<Vec<MacAddr>>) -> HashMap<MacAddr, LiveDevice> {
        let now = self.now();
        let told = |device: &sojourn_domain::presence::tracker::Device| {
            let live = LiveDevice { state: self.tracker.state(device, now), last_seen: device.last_seen };
            (device.mac, live)
        };
        match macs {
            None => self.tracker.devices().map(told).collect(),
            Some(macs) => macs.iter().filter_map(|mac| self.tracker.device(*mac)).map(told).collect(),
        }
    }
}

/// What the tracker needs of a stored source. What a pusher proves is learnt from its reports.
fn config(source: &Source, known: Option<&SourceConfig>) -> SourceConfig {
    let (strength, least_grace) = match known {
        Some(known) if source.kind == SourceKind::Push => (known.strength, known.least_grace),
        _ => (runners::strength(source.kind, &source.settings), source.kind.least_grace()),
    };
    SourceConfig {
        id: source.id,
        name: source.name.clone(),
        kind: source.kind,
        strength,
        interval: source.interval,
        grace: source.grace,
        least_grace,
        enabled: source.enabled,
        created_at: source.created_at,
    }
}
