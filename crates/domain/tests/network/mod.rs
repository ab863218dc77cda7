//! A network that tests play, and what a store would hold of it.

use std::collections::BTreeMap;

use sojourn_domain::{
    id::{Id, PresenceSessionId, SourceId},
    mac::MacAddr,
    presence::{
        Changes, DeviceNumber, DeviceState, End, Evidence, PresenceEvent, PresenceSession, Scan, ScanOutcome,
        Sighting, SourceKind, Start, Subnet, Tracker,
        session::{Replayed, replay},
        tracker::{DEFAULT_GRACE, History, Observed, SourceConfig},
    },
    time::{Elapsed, Timestamp},
};

pub(crate) fn secs(n: i64) -> Elapsed {
    Elapsed::from_secs(n)
}

pub(crate) fn minutes(n: i64) -> Elapsed {
    Elapsed::from_minutes(n)
}

const EPOCH: Timestamp = Timestamp::from_secs(1_750_000_000);
const STEP: i64 = 30;

pub(crate) fn mac(device: u8) -> MacAddr {
    MacAddr::new([0, 0x16, 0x3e, 0, 0, device])
}

pub(crate) struct Network {
    pub(crate) tracker: Tracker,
    now: Timestamp,
    sources: Vec<SourceId>,
    covers: Vec<Vec<Subnet>>,
    pub(crate) events: BTreeMap<i64, PresenceEvent>,
    pub(crate) sessions: BTreeMap<PresenceSessionId, PresenceSession>,
    pub(crate) gaps: BTreeMap<String, (SourceId, Timestamp, Option<Timestamp>, &'static str)>,
}

fn random() -> Box<dyn FnMut() -> [u8; 10] + Send> {
    let mut counter: u64 = 0;
    Box::new(move || {
        counter += 1;
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&counter.to_be_bytes());
        bytes
    })
}

impl Network {
    pub(crate) fn with(kinds: &[SourceKind]) -> Self {
        let mut net = Self {
            tracker: Tracker::new(vec![], vec![], 1, 1, random()),
            now: EPOCH,
            sources: vec![],
            covers: vec![vec![]; kinds.len()],
            events: BTreeMap::new(),
            sessions: BTreeMap::new(),
            gaps: BTreeMap::new(),
        };
        for (i, &kind) in kinds.iter().enumerate() {
            let id = Id::new(EPOCH, [u8::try_from(i).unwrap() + 1; 10]);
            net.sources.push(id);
            let config = SourceConfig {
                id,
                name: format!("{kind} {i}"),
                kind,
                strength: kind.strength(),
                interval: secs(STEP),
                grace: DEFAULT_GRACE,
                least_grace: kind.least_grace(),
                enabled: true,
                created_at: EPOCH,
            };
            net.tracker.configure_source(config, EPOCH);
        }
        net.save();
        net
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Seconds since the network began.
    pub(crate) fn since_start(&self) -> i64 {
        self.now.since(EPOCH).as_secs()
    }

    pub(crate) fn advance(&mut self, length: Elapsed) {
        self.now = self.now + length;
    }

    fn reconfigure(&mut self, source: usize, change: impl FnOnce(&mut SourceConfig)) {
        let mut config = self.tracker.source(self.sources[source]).unwrap().config.clone();
        change(&mut config);
        self.tracker.configure_source(config, self.now);
        self.save();
    }

    pub(crate) fn set_grace(&mut self, source: usize, grace: Elapsed) {
        self.reconfigure(source, |config| config.grace = grace);
    }

    pub(crate) fn set_interval(&mut self, source: usize, interval: Elapsed) {
        self.reconfigure(source, |config| config.interval = interval);
    }

    pub(crate) fn cover(&mut self, source: usize, subnet: &str) {
        self.covers[source].push(subnet.parse().unwrap());
    }

    pub(crate) fn set_policy(
        &mut self,
        device: u8,
        grace: Option<Elapsed>,
        alert_down: bool,
        may_sleep: bool,
    ) {
        self.tracker.set_policy(mac(device), grace, alert_down, may_sleep);
        self.save();
    }

    pub(crate) fn set_manual_open(&mut self, device: u8, open: bool) {
        self.tracker.set_manual_open(mac(device), open);
    }

    pub(crate) fn delete_sessions(&mut self, device: u8) {
        let number = self.number(device);
        self.tracker.forget_sessions(mac(device), self.now);
        self.sessions.retain(|_, session| session.device != number);
        self.events.retain(|_, event| event.device != number);
    }

    pub(crate) fn remove_source(&mut self, source: usize) {
        self.tracker.remove_source(self.sources[source], self.now);
        self.save();
    }

    pub(crate) fn restart_after(&mut self, length: Elapsed) {
        self.tracker.checkpoint();
        self.save();
        self.now = self.now + length;
        let devices: Vec<_> = self.tracker.devices().cloned().collect();
        let sources: Vec<_> = self.tracker.sources().cloned().collect();
        let next_device = devices.iter().map(|device| device.number.0).max().unwrap_or(0) + 1;
        let next_seq = self.tracker.last_seq() + 1;
        let mut counter = random();
        for _ in 0..100_000 {
            counter();
        }
        self.tracker = Tracker::new(sources, devices, next_device, next_seq, counter);
        self.tracker.resume(self.now);
        self.save();
    }

    fn sighting(&self, device: u8, evidence: Evidence) -> Sighting {
        let ip = format!("192.0.2.{device}").parse().unwrap();
        Sighting { mac: mac(device), ip: Some(ip), hostname: None, evidence }
    }

    fn observe(&mut self, source: usize, sighting: &Sighting) {
        let id = self.sources[source];
        match self.tracker.observe(id, sighting, self.now) {
            Observed::Done => {}
            Observed::NeedsHistory { device, at } => {
                self.save();
                let of_device = || self.sessions.values().filter(|session| session.device == device);
                let history = History {
                    previous: of_device().filter(|s| s.from() <= at).max_by_key(|s| s.from()).cloned(),
                    next: of_device().filter(|s| s.from() > at).min_by_key(|s| s.from()).cloned(),
                };
                self.tracker.observe_late(id, sighting, self.now, Some(history));
            }
        }
        self.save();
    }

    fn finish(&mut self, source: usize, outcome: ScanOutcome) {
        let scan = Scan {
            started_at: self.now,
            finished_at: self.now,
            outcome,
            scope: String::new(),
            covers: self.covers[source].clone(),
        };
        self.tracker.finish(self.sources[source], &scan, 0, self.now);
        self.save();
        if source == 0 {
            self.advance(secs(STEP));
            self.tick();
        }
    }

    pub(crate) fn tick(&mut self) {
        self.tracker.tick(self.now);
        self.save();
    }

    pub(crate) fn scan(&mut self, source: usize, devices: &[u8]) {
        for &device in devices {
            let sighting = self.sighting(device, Evidence::Seen { at: self.now });
            self.observe(source, &sighting);
        }
        self.finish(source, ScanOutcome::Complete);
    }

    pub(crate) fn scan_seeing(&mut self, source: usize, seen: &[(u8, &str)]) {
        for (device, ip) in seen {
            let sighting = Sighting {
                ip: Some(ip.parse().unwrap()),
                ..self.sighting(*device, Evidence::Seen { at: self.now })
            };
            self.observe(source, &sighting);
        }
        self.finish(source, ScanOutcome::Complete);
    }

    pub(crate) fn fail(&mut self, source: usize) {
        self.finish(source, ScanOutcome::Failed { message: "test".into() });
    }

    pub(crate) fn blind(&mut self, source: usize) {
        self.finish(source, ScanOutcome::Blind { message: "test".into() });
    }

    pub(crate) fn lease(&mut self, source: usize, device: u8, at_secs: i64, length: Elapsed) {
        let at = EPOCH + secs(at_secs);
        self.say(source, device, Evidence::Held { at, until: at + length });
    }

    pub(crate) fn say(&mut self, source: usize, device: u8, evidence: Evidence) {
        let sighting = self.sighting(device, evidence);
        self.observe(source, &sighting);
    }

    pub(crate) fn observe_at(&mut self, source: usize, device: u8, at_secs: i64) {
        self.say(source, device, Evidence::Seen { at: EPOCH + secs(at_secs) });
    }

    /// A scan that is made now and delivered later.
    pub(crate) fn scan_later(&mut self, devices: Vec<u8>) -> (Timestamp, Vec<u8>) {
        let at = self.now;
        self.advance(secs(STEP));
        (at, devices)
    }

    pub(crate) fn deliver(&mut self, source: usize, (at, devices): (Timestamp, Vec<u8>)) {
        for device in devices {
            let sighting = self.sighting(device, Evidence::Seen { at });
            self.observe(source, &sighting);
        }
        let scan = Scan {
            started_at: at,
            finished_at: at,
            outcome: ScanOutcome::Complete,
            scope: String::new(),
            covers: vec![],
        };
        self.tracker.finish(self.sources[source], &scan, 0, self.now);
        self.save();
    }

    /// Applies the changes as the store does.
    pub(crate) fn save(&mut self) {
        let Changes { events, voided, removed_sessions, sessions, gaps, removed_gaps, .. } =
            self.tracker.take_changes();
        for event in events {
            assert!(self.events.insert(event.seq, event).is_none(), "an event number was used twice");
        }
        for void in voided {
            let event = self.events.get_mut(&void.seq).expect("voided events exist");
            event.kind = void.kind;
        }
        for id in removed_sessions {
            self.sessions.remove(&id);
        }
        self.sessions.extend(sessions);
        for (id, (source, gap)) in gaps {
            self.gaps.insert(id.to_string(), (source, gap.from, gap.until, gap.reason.key()));
        }
        for id in removed_gaps {
            self.gaps.remove(&id.to_string());
        }
        let mut open: Vec<_> = self.sessions.values().filter(|session| session.is_open()).collect();
        open.sort_by_key(|session| session.device);
        assert!(
            open.windows(2).all(|pair| pair[0].device != pair[1].device),
            "two open sessions of one device"
        );
    }

    pub(crate) fn number(&self, device: u8) -> DeviceNumber {
        self.tracker.device(mac(device)).expect("the device is known").number
    }

    pub(crate) fn state(&self, device: u8) -> DeviceState {
        self.tracker.state(self.tracker.device(mac(device)).unwrap(), self.now)
    }

    pub(crate) fn gaps(&self, source: usize) -> Vec<String> {
        self.gaps
            .values()
            .filter(|(id, ..)| *id == self.sources[source])
            .map(|(_, from, until, reason)| {
                let until =
                    until.map_or_else(|| "now".into(), |until| format!("{}s", until.since(EPOCH).as_secs()));
                format!("{}s - {until} {reason}", from.since(EPOCH).as_secs())
            })
            .collect()
    }

    fn events_of(&self, device: u8) -> Vec<PresenceEvent> {
        let number = self.number(device);
        self.events.values().filter(|event| event.device == number).cloned().collect()
    }

    pub(crate) fn info(&self, device: u8, kind: &str) -> String {
        self.events_of(device).iter().find(|event| event.kind.name() == kind).unwrap().info.clone()
    }

    #[track_caller]
    pub(crate) fn assert_events(&self, device: u8, expected: &[&str]) {
        let kinds: Vec<_> = self.events_of(device).iter().map(|event| event.kind.name()).collect();
        assert_eq!(kinds, expected);
    }

    #[track_caller]
    pub(crate) fn assert_sessions(&self, device: u8, expected: &[&str]) {
        let number = self.number(device);
        let mut sessions: Vec<_> = self.sessions.values().filter(|s| s.device == number).collect();
        sessions.sort_by_key(|session| session.from());
        assert_eq!(sessions.into_iter().map(describe).collect::<Vec<_>>(), expected);
        self.assert_replay();
    }

    /// Replaying all events gives the sessions that were lived through.
    #[track_caller]
    pub(crate) fn assert_replay(&self) {
        for device in self.tracker.devices() {
            let events: Vec<_> =
                self.events.values().filter(|event| event.device == device.number).cloned().collect();
            let mut lived: Vec<_> = self
                .sessions
                .values()
                .filter(|session| session.device == device.number)
                .map(|session| Replayed { start: session.start, end: session.end, ip: session.ip })
                .collect();
            lived.sort_by_key(|session| match session.start {
                Start::Known { at, .. } => at,
                Start::Missing => Timestamp::MIN,
            });
            assert_eq!(replay(&events), lived, "events: {events:#?}");
        }
    }
}

fn describe(session: &PresenceSession) -> String {
    let seconds = |at: Timestamp| format!("{}s", at.since(EPOCH).as_secs());
    let start = match session.start {
        Start::Known { at, kind } => format!("{} {kind}", seconds(at)),
        Start::Missing => "<missing event>".into(),
    };
    let end = match session.end {
        End::Open => "open".into(),
        End::Known { at, kind } => format!("{} {kind}", seconds(at)),
        End::Missing { last_seen, kind } => format!("{kind} after {}", seconds(last_seen)),
    };
    format!("{start} - {end}")
}
