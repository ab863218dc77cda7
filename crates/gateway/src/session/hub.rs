//! All live sessions of this node.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;
use sojourn_domain::{
    access::{EndReason, Purpose, RecordPolicy},
    cast,
    id::{AccessSessionId, ConnectionId, NodeId, UserId},
    seal::Format,
    time::{Clock, Timestamp},
};
use sojourn_store::{
    Entropy, Store, StoreError,
    access::NewAccessSession,
    audit::{ActorKind, By, Deed},
    recordings::{Pressure, Recordings},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, broadcast},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    begun::{Begun, Guard, Opening},
    handle::{SessionFacts, SessionHandle, Shared},
    tether::Tether,
};
use crate::{
    admission::{Admission, Refused},
    sinks::{desktop::DesktopTap, recorder::Tape, witness::Desktop},
};

/// How often it is looked up whether users still may do what they do.
const RECHECK: Duration = Duration::from_secs(3);
/// How often the byte counts of live sessions are written.
const PROGRESS: Duration = Duration::from_secs(20);
/// News that a listener may be behind; one that is more behind looks everything up again.
const NEWS: usize = 256;
/// How long sessions get to end when the server stops.
const STOP: Duration = Duration::from_secs(20);
/// How often sessions are told that it does.
const AGAIN: Duration = Duration::from_millis(200);

/// Bounds of one node.
#[derive(Debug, Clone)]
pub struct Limits {
    pub sessions: usize,
    pub sessions_per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sessions: 2000, sessions_per_user: 500 }
    }
}

/// Who makes a session's recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    Here,
    ByClient,
}

/// What the hub works with.
pub struct HubDeps {
    pub store: Store,
    pub recordings: Recordings,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub node: NodeId,
    pub limits: Limits,
    /// Ends all sessions.
    pub shutdown: CancellationToken,
}

/// Why no session was begun.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("this server has as many sessions as it may")]
    Full,
    #[error("you have as many sessions as one user may")]
    UserFull,
    #[error("the disk for recordings is nearly full: no session that must be recorded can begin")]
    Storage,
    #[error("the session must be recorded, and its recording could not be begun")]
    Recording,
    #[error("the connection does not allow {0}")]
    Policy(&'static str),
    #[error("the server is stopping")]
    Stopping,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something happened to a session of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionNews {
    Begun(AccessSessionId),
    Ended(AccessSessionId),
}

/// The registry of live sessions. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    store: Store,
    recordings: Recordings,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    node: NodeId,
    limits: Limits,
    shutdown: CancellationToken,
    slots: Arc<Semaphore>,
    live: Mutex<HashMap<AccessSessionId, Live>>,
    tethers: Mutex<HashMap<AccessSessionId, Tether>>,
    news: broadcast::Sender<SessionNews>,
    tasks: TaskTracker,
    runtime: Handle,
}

struct Live {
    handle: SessionHandle,
    mandatory: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Starts the tasks that look after the sessions. To be called within the runtime.
    pub fn start(deps: HubDeps) -> Self {
        let hub = Self(Arc::new(Inner {
            store: deps.store,
            recordings: deps.recordings,
            clock: deps.clock,
            entropy: deps.entropy,
            node: deps.node,
            slots: Arc::new(Semaphore::new(deps.limits.sessions)),
            limits: deps.limits,
            shutdown: deps.shutdown,
            live: Mutex::default(),
            tethers: Mutex::default(),
            news: broadcast::Sender::new(NEWS),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        }));
        hub.spawn(hub.clone().look_after());
        hub
    }

    /// Waits until all sessions have ended, after the shutdown was called for.
    pub async fn stop(&self) {
        self.0.tasks.close();
        if tokio::time::timeout(STOP, self.0.tasks.wait()).await.is_err() {
            tracing::error!(sessions = lock(&self.0.live).len(), "sessions did not end in time");
        }
    }

    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// The live sessions of this node.
    pub fn live(&self) -> Vec<SessionHandle> {
        lock(&self.0.live).values().map(|live| live.handle.clone()).collect()
    }

    pub fn get(&self, id: AccessSessionId) -> Option<SessionHandle> {
        lock(&self.0.live).get(&id).map(|live| live.handle.clone())
    }

    /// Where the web terminal of a session comes back to.
    pub fn tether(&self, id: AccessSessionId) -> Option<Tether> {
        lock(&self.0.tethers).get(&id).cloned()
    }

    /// What happens to sessions from now on.
    pub fn news(&self) -> broadcast::Receiver<SessionNews> {
        self.0.news.subscribe()
    }

    /// Makes the session's row, takes a slot and begins its recording. Nothing may connect before.
    pub async fn begin(&self, admission: &Admission, opening: Opening) -> Result<Begun, Refusal> {
        self.begin_recorded(admission, opening, Recorded::Here).await
    }

    /// The same where the user's client records, or nobody does: whoever calls keeps what it sends.
    pub(super) async fn begin_recorded(
        &self,
        admission: &Admission,
        opening: Opening,
        recorded: Recorded,
    ) -> Result<Begun, Refusal> {
        let by = self.by(admission, &opening);
        let made = self.make(admission, opening, recorded).await;
        let connection = admission.connection();
        let deed = match &made {
            Ok(begun) => Deed::done(
                "session.open",
                begun.id(),
                json!({
                    "connection": connection.id, "name": connection.name, "purpose": begun.facts().purpose,
                    "client": begun.facts().client_kind, "recorded": begun.facts().recorded,
                }),
            ),
            Err(Refusal::Store(_)) => return made,
            Err(refusal) => Deed::refused(
                "session.open",
                connection.id,
                json!({"name": connection.name, "reason": refusal.to_string()}),
            ),
        };
        if let Err(error) = self.0.store.audit(&by, deed).await {
            if let Ok(begun) = made {
                begun.fail(EndReason::Failed, "").await;
            }
            return Err(error.into());
        }
        made
    }

    fn by(&self, admission: &Admission, opening: &Opening) -> By {
        By::user(
            ActorKind::User,
            admission.user(),
            admission.user_name(),
            self.now(),
            opening.client_address.clone(),
        )
    }

    async fn make(
        &self,
        admission: &Admission,
        opening: Opening,
        recorded: Recorded,
    ) -> Result<Begun, Refusal> {
        let inner = &self.0;
        if inner.shutdown.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let connection = admission.connection();
        let policy = connection.policy.clone();
        match opening.purpose {
            Purpose::Forward if !policy.allow_forwarding => return Err(Refusal::Policy("forwarding")),
            Purpose::Subsystem if opening.command == "sftp" && !policy.allow_files => {
                return Err(Refusal::Policy("file transfer"));
            }
            Purpose::Shell | Purpose::Exec | Purpose::Subsystem | Purpose::Forward | Purpose::Desktop => {}
        }
        // A desktop that its user's own client shows is not to be seen here.
        let shown = opening.purpose == Purpose::Desktop && recorded == Recorded::Here;
        let records = policy.record != RecordPolicy::Off
            && (shown || matches!(opening.purpose, Purpose::Shell | Purpose::Exec));
        let mandatory = policy.record == RecordPolicy::Mandatory;
        let supplied = recorded == Recorded::ByClient && policy.record != RecordPolicy::Off;
        let pressure = *inner.recordings.pressure().borrow();
        if pressure >= Pressure::RefuseNew && mandatory {
            return Err(Refusal::Storage);
        }
        let slot = Arc::clone(&inner.slots).try_acquire_owned().map_err(|_| Refusal::Full)?;
        let of_user =
            lock(&inner.live).values().filter(|live| live.handle.facts().user == admission.user()).count();
        if of_user >= inner.limits.sessions_per_user {
            return Err(Refusal::UserFull);
        }
        let (started_at, begun_at) = (self.now(), Instant::now());
        let id = inner.entropy.id(started_at);
        let new = NewAccessSession {
            id,
            user: admission.user(),
            user_name: admission.user_name().to_owned(),
            connection: connection.id,
            connection_name: connection.name.clone(),
            protocol: connection.protocol,
            purpose: opening.purpose,
            command: opening.command.clone(),
            target: connection.target(),
            client_kind: opening.client_kind,
            client_address: opening.client_address.clone(),
            node: inner.node.to_string(),
            started_at,
        };
        inner.store.session_begin(&new).await?;
        let recorder = match records {
            true => {
                let format = if shown { Format::WebM } else { Format::Cast };
                Some(inner.recordings.begin(id, format).await)
            }
            false => None,
        };
        let tap = shown.then(DesktopTap::default);
        let mut desktop = tap.clone().map(|tap| {
            let kept = (inner.store.clone(), inner.recordings.vault().clone());
            Desktop::start(kept, id, begun_at, tap, &policy)
        });
        // Who records, or why nobody does.
        let recorder = recorder.map(|recorder| {
            let recorder = recorder.map_err(|error| chain(&error))?;
            match &mut desktop {
                Some(desktop) => {
                    let title = connection.name.clone();
                    desktop.record(recorder, title).map(|()| None).map_err(|error| chain(&error))
                }
                None => Ok(Some(recorder)),
            }
        });
        let facts = SessionFacts {
            id,
            user: new.user,
            user_name: new.user_name,
            connection: new.connection,
            connection_name: new.connection_name,
            protocol: new.protocol,
            purpose: new.purpose,
            command: new.command,
            client_kind: new.client_kind,
            client_address: new.client_address,
            started_at,
            recorded: matches!(recorder, Some(Ok(_))) || supplied,
            terminal: opening.size.is_some(),
        };
        let tape = match recorder {
            Some(Ok(Some(recorder))) => {
                let header = header(&facts, &opening);
                Some(Tape::new(recorder, &header, &policy, opening.size.is_some()))
            }
            Some(Ok(None)) => None,
            Some(Err(error)) => {
                tracing::error!(session.id = %id, error, "a recording could not be begun");
                if mandatory {
                    let (shared, _) = Shared::new(facts, begun_at, opening.size, None);
                    let guard = Guard::new(self.clone(), shared, slot);
                    let (_, heard) = tokio::sync::mpsc::channel(1);
                    let begun =
                        Begun { guard, heard, tape: None, files: None, desktop, policy, early: Vec::new() };
                    begun.fail(EndReason::RecordingFailed, "the recording could not be begun").await;
                    return Err(Refusal::Recording);
                }
                None
            }
            None => None,
        };
        let (shared, heard) = Shared::new(facts, begun_at, opening.size, tap);
        lock(&inner.live).insert(
            id,
            Live {
                handle: SessionHandle(Arc::clone(&shared)),
                mandatory: mandatory && (records || supplied),
            },
        );
        let guard = Guard::new(self.clone(), shared, slot);
        tracing::info!(session.id = %id, connection.id = %connection.id, purpose = %new.purpose, "session begun");
        self.tell(SessionNews::Begun(id));
        Ok(Begun { guard, heard, tape, files: None, desktop, policy, early: Vec::new() })
    }

    async fn look_after(self) {
        let inner = &self.0;
        let mut recheck = tokio::time::interval(RECHECK);
        let mut progress = tokio::time::interval(PROGRESS);
        recheck.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        progress.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pressure = inner.recordings.pressure();
        let mut written = HashMap::new();
        loop {
            tokio::select! {
                () = inner.shutdown.cancelled() => break,
                _ = recheck.tick() => self.recheck().await,
                _ = progress.tick() => self.write_progress(&mut written).await,
                Ok(()) = pressure.changed() => {
                    let now = *pressure.borrow_and_update();
                    if now >= Pressure::EndMandatory {
                        self.end_mandatory().await;
                    }
                }
            }
        }
        // One that was just being begun comes to the list a little later.
        let mut again = tokio::time::interval(AGAIN);
        loop {
            again.tick().await;
            let live = self.live();
            if live.is_empty() {
                return;
            }
            for handle in live {
                // One that has just ended needs no word.
                drop(handle.terminate(EndReason::ServerStopped, "the server is stopping").await);
            }
        }
    }

    /// Ends the sessions of users who lost the right to them.
    async fn recheck(&self) {
        let mut pairs: HashMap<(UserId, ConnectionId), Vec<SessionHandle>> = HashMap::new();
        for handle in self.live() {
            let facts = handle.facts();
            pairs.entry((facts.user, facts.connection)).or_default().push(handle);
        }
        for ((user, connection), handles) in pairs {
            let why = match Admission::check(&self.0.store, user, &connection.to_string()).await {
                Ok(_) => continue,
                // A database that does not answer takes nobody's right away.
                Err(Refused::Store(_)) => return,
                Err(refused) => refused.to_string(),
            };
            for handle in handles {
                drop(handle.terminate(EndReason::Revoked, why.clone()).await);
            }
        }
    }

    async fn write_progress(&self, written: &mut HashMap<AccessSessionId, (u64, u64)>) {
        let live = self.live();
        written.retain(|id, _| live.iter().any(|handle| handle.id() == *id));
        for handle in live {
            let bytes = handle.0.bytes();
            if written.get(&handle.id()).copied().unwrap_or_default() == bytes {
                continue;
            }
            if let Err(error) = self.0.store.session_progress(handle.id(), bytes.0, bytes.1).await {
                tracing::debug!(%error, "byte counts of live sessions were not written");
                return;
            }
            written.insert(handle.id(), bytes);
        }
    }

    /// The disk is full: what must be recorded cannot go on.
    async fn end_mandatory(&self) {
        let handles: Vec<SessionHandle> = lock(&self.0.live)
            .values()
            .filter(|live| live.mandatory)
            .map(|live| live.handle.clone())
            .collect();
        for handle in handles {
            let why = "the disk for recordings is full, and this session must be recorded";
            drop(handle.terminate(EndReason::RecordingFailed, why).await);
        }
    }

    pub(super) fn leave(&self, id: AccessSessionId) {
        lock(&self.0.live).remove(&id);
    }

    pub(super) fn keep_tether(&self, id: AccessSessionId, tether: Tether) {
        lock(&self.0.tethers).insert(id, tether);
    }

    pub(super) fn drop_tether(&self, id: AccessSessionId) {
        lock(&self.0.tethers).remove(&id);
    }

    pub(super) fn tell(&self, news: SessionNews) {
        // Nobody may be listening.
        let _ = self.0.news.send(news);
    }

    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn recordings(&self) -> &Recordings {
        &self.0.recordings
    }

    pub(super) fn entropy(&self) -> Entropy {
        self.0.entropy
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Runs something that [`Hub::stop`] waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn_on(work, &self.0.runtime);
    }
}

/// What an error says, with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn header(facts: &SessionFacts, opening: &Opening) -> cast::Header {
    let (cols, rows) = opening.size.map_or((80, 24), |size| (size.cols.max(1), size.rows.max(1)));
    let title = match facts.purpose {
        Purpose::Exec => format!("{}: {}", facts.connection_name, facts.command),
        Purpose::Shell | Purpose::Subsystem | Purpose::Forward | Purpose::Desktop => {
            facts.connection_name.clone()
        }
    };
    let env = Some(&opening.term).filter(|term| !term.is_empty());
    cast::Header {
        cols,
        rows,
        timestamp: Some(facts.started_at.as_millis().div_euclid(1000)),
        title: Some(title),
        env: env.map(|term| ("TERM".to_owned(), term.clone())).into_iter().collect(),
    }
}
