//! All live file sessions of this node.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use sojourn_domain::{
    access::{ClientKind, EndReason},
    files::{Fact, FileProtocol},
    id::{AccessSessionId, ConnectionId, FileSessionId, NodeId, UserId},
    time::{Clock, Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy, Store,
    audit::{ActorKind, By, Deed},
    files::{NewFileEvent, NewFileSession},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    journal::{FileEnded, FileFacts, FileJournal, Shared, lock},
    operation::is_large,
};
use crate::{
    admission::{Admission, Refused},
    session::{Limits, Refusal},
};

/// How often it is looked up whether users still may do what they do.
const RECHECK: Duration = Duration::from_secs(3);
/// How often it is looked whether a session has idled or lasted too long.
const CLOCK: Duration = Duration::from_secs(1);
/// A transfer that has lasted so long is kept, lest a server that dies leaves it untold.
const EARLY: Duration = Duration::from_millis(100);
/// How often it is kept how far transfers have come.
const KEEP: Duration = Duration::from_secs(1);
/// Between two rounds of keeping.
const PAUSE: Duration = Duration::from_millis(50);
/// How long sessions get to end when the server stops.
const STOP: Duration = Duration::from_secs(20);

/// What the hub works with.
pub struct FileHubDeps {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub node: NodeId,
    pub limits: Limits,
    /// Ends all sessions.
    pub shutdown: CancellationToken,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct FileOpening {
    pub protocol: FileProtocol,
    pub client_kind: ClientKind,
    pub client_address: String,
    /// The session of the SSH front that it is a part of.
    pub access_session: Option<AccessSessionId>,
}

/// The registry of live file sessions. Cheap to clone.
#[derive(Clone)]
pub struct FileHub(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    node: NodeId,
    limits: Limits,
    shutdown: CancellationToken,
    slots: Arc<Semaphore>,
    live: Mutex<HashMap<FileSessionId, Arc<Shared>>>,
    /// A transfer is to be kept at once.
    large: Arc<Notify>,
    tasks: TaskTracker,
    runtime: Handle,
}

/// What others hold of a live file session.
#[derive(Debug, Clone)]
pub struct FileSessionHandle(Arc<Shared>);

impl FileSessionHandle {
    pub fn facts(&self) -> &FileFacts {
        &self.0.facts
    }

    pub fn id(&self) -> FileSessionId {
        self.0.facts.id
    }

    /// How long nothing has happened.
    pub fn idle(&self) -> Duration {
        self.0.idle()
    }

    /// Ends it; what is under way is cut. Resolves when its row is ended.
    pub async fn terminate(&self, reason: EndReason, detail: &str) {
        self.0.end(reason, detail);
        self.0.over().await;
    }

    /// How it ended, if it has.
    pub fn is_ended(&self) -> Option<FileEnded> {
        self.0.ending()
    }
}

/// How far a transfer had come.
#[derive(Debug, PartialEq, Eq)]
struct Far {
    path: String,
    started: Timestamp,
    bytes: Option<u64>,
}

impl Far {
    fn of(fact: &Fact) -> Self {
        Self { path: fact.path.clone(), started: fact.started, bytes: fact.bytes }
    }

    fn is_of(&self, fact: &Fact) -> bool {
        (self.started, &self.path) == (fact.started, &fact.path)
    }
}

/// What was kept last of a session's transfers.
#[derive(Debug)]
struct Kept {
    transfers: Vec<Far>,
    at: Instant,
}

/// Which of a session's transfers are to be kept now; `None` where what was kept does for the moment.
fn to_be_kept(mut moving: Vec<Fact>, kept: Option<&Kept>) -> Option<Vec<Fact>> {
    let transfers = kept.map_or(&[][..], |kept| &kept.transfers);
    let known = |fact: &Fact| transfers.iter().any(|far| far.is_of(fact));
    moving.retain(|fact| known(fact) || is_large(fact) || fact.duration.to_std() >= EARLY);
    let is_new = moving.iter().any(|fact| !known(fact));
    let is_due = kept.is_some_and(|kept| kept.at.elapsed() >= KEEP);
    let is_same = || {
        moving.len() == transfers.len()
            && moving.iter().zip(transfers).all(|(fact, far)| *far == Far::of(fact))
    };
    (is_new || is_due && !is_same()).then_some(moving)
}

impl FileHub {
    /// Starts the task that looks after the sessions. To be called within the runtime.
    pub fn start(deps: FileHubDeps) -> Self {
        let hub = Self(Arc::new(Inner {
            store: deps.store,
            clock: deps.clock,
            entropy: deps.entropy,
            node: deps.node,
            slots: Arc::new(Semaphore::new(deps.limits.sessions)),
            limits: deps.limits,
            shutdown: deps.shutdown,
            live: Mutex::default(),
            large: Arc::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        }));
        hub.spawn(hub.clone().look_after());
        hub.spawn(hub.clone().keep_moving());
        hub
    }

    /// Waits until all sessions have ended, after the shutdown was called for.
    pub async fn stop(&self) {
        self.0.tasks.close();
        if tokio::time::timeout(STOP, self.0.tasks.wait()).await.is_err() {
            tracing::error!(sessions = lock(&self.0.live).len(), "file sessions did not end in time");
        }
    }

    /// The live file sessions of this node.
    pub fn live(&self) -> Vec<FileSessionHandle> {
        lock(&self.0.live).values().map(|shared| FileSessionHandle(Arc::clone(shared))).collect()
    }

    pub fn get(&self, id: FileSessionId) -> Option<FileSessionHandle> {
        lock(&self.0.live).get(&id).map(|shared| FileSessionHandle(Arc::clone(shared)))
    }

    /// Makes the session's row and takes a slot. Nothing may be reached before.
    pub async fn begin(&self, admission: &Admission, opening: FileOpening) -> Result<FileJournal, Refusal> {
        let by = By::user(
            ActorKind::User,
            admission.user(),
            admission.user_name(),
            self.now(),
            opening.client_address.clone(),
        );
        // What the front opened is in the trail already.
        let part = opening.access_session.is_some();
        let made = self.make(admission, opening).await;
        let connection = admission.connection();
        let deed = match &made {
            Ok(_) if part => return made,
            Ok(journal) => Deed::done(
                "file_session.open",
                journal.id(),
                json!({
                    "connection": connection.id, "name": connection.name,
                    "protocol": journal.facts().protocol, "client": journal.facts().client_kind,
                }),
            ),
            Err(Refusal::Store(_)) => return made,
            Err(refusal) => Deed::refused(
                "file_session.open",
                connection.id,
                json!({"name": connection.name, "reason": refusal.to_string()}),
            ),
        };
        if let Err(error) = self.0.store.audit(&by, deed).await {
            if let Ok(journal) = made {
                journal.end(EndReason::Failed, "").await;
            }
            return Err(error.into());
        }
        made
    }

    async fn make(&self, admission: &Admission, opening: FileOpening) -> Result<FileJournal, Refusal> {
        let inner = &self.0;
        if inner.shutdown.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let connection = admission.connection();
        if !connection.policy.allow_files {
            return Err(Refusal::Policy("file transfer"));
        }
        let slot = Arc::clone(&inner.slots).try_acquire_owned().map_err(|_| Refusal::Full)?;
        let of_user = lock(&inner.live).values().filter(|it| it.facts.user == admission.user()).count();
        if of_user >= inner.limits.sessions_per_user {
            return Err(Refusal::UserFull);
        }
        let started_at = self.now();
        let id = inner.entropy.id(started_at);
        let new = NewFileSession {
            id,
            user: admission.user(),
            user_name: admission.user_name().to_owned(),
            connection: connection.id,
            connection_name: connection.name.clone(),
            protocol: opening.protocol,
            target: connection.target(),
            client_kind: opening.client_kind,
            client_address: opening.client_address,
            node: inner.node.to_string(),
            access_session: opening.access_session,
            started_at,
        };
        inner.store.file_session_begin(&new).await?;
        // A part of a session of the front has that one's limits.
        let own = opening.access_session.is_none();
        let limit = |limit: Option<Elapsed>| limit.filter(|_| own);
        let facts = FileFacts {
            id,
            user: new.user,
            user_name: new.user_name,
            connection: new.connection,
            connection_name: new.connection_name,
            protocol: new.protocol,
            client_kind: new.client_kind,
            client_address: new.client_address,
            access_session: new.access_session,
            started_at,
            idle_limit: limit(connection.policy.idle_limit_seconds),
            time_limit: limit(connection.policy.time_limit_seconds),
        };
        tracing::info!(file_session.id = %id, connection.id = %connection.id, protocol = %new.protocol, "file session begun");
        let shared = Arc::new(Shared::new(facts, Arc::clone(&inner.large)));
        lock(&inner.live).insert(id, Arc::clone(&shared));
        let journal = FileJournal::start(self, shared, slot);
        if inner.shutdown.is_cancelled() {
            // The list was gone through already.
            journal.end(EndReason::ServerStopped, "the server is stopping").await;
            return Err(Refusal::Stopping);
        }
        Ok(journal)
    }

    async fn look_after(self) {
        let inner = &self.0;
        let mut recheck = tokio::time::interval(RECHECK);
        let mut clock = tokio::time::interval(CLOCK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = inner.shutdown.cancelled() => break,
                _ = recheck.tick() => self.recheck().await,
                _ = clock.tick() => self.end_overdue(),
            }
        }
        for handle in self.live() {
            handle.0.end(EndReason::ServerStopped, "the server is stopping");
        }
    }

    /// Keeps how far each transfer has come, so that it has an event even where this server dies.
    ///
    /// A transfer is kept as soon as it has lasted for [`EARLY`] or has moved 64 KiB, and from then on every [`KEEP`]; all
    /// that there is to say of all sessions goes in one transaction, and there are [`PAUSE`]s between them. What a server
    /// that is killed takes along without an event is a transfer that was younger and smaller than that, or passed it
    /// within the last pause. Thousands of small files that are over before cost nothing.
    async fn keep_moving(self) {
        let inner = &self.0;
        let mut kept: HashMap<FileSessionId, Kept> = HashMap::new();
        let mut clock = tokio::time::interval(EARLY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = inner.shutdown.cancelled() => return,
                _ = clock.tick() => {}
                () = inner.large.notified() => {}
            }
            let live = self.live();
            kept.retain(|id, _| live.iter().any(|handle| handle.id() == *id));
            let mut changed = Vec::new();
            for FileSessionHandle(shared) in &live {
                let id = shared.facts.id;
                let before = kept.get(&id);
                let Some(moving) = to_be_kept(shared.moving(), before) else { continue };
                let at = shared.now();
                let named = moving.iter().map(|fact| NewFileEvent {
                    id: inner.entropy.id(at),
                    at: fact.finished(),
                    fact: fact.clone(),
                });
                changed.push((id, named.collect()));
                kept.insert(id, Kept { transfers: moving.iter().map(Far::of).collect(), at: Instant::now() });
            }
            if changed.is_empty() {
                continue;
            }
            let done = inner.store.file_transfers_keep(&changed).await;
            if let Err(error) = &done
                && !failing
            {
                tracing::warn!(%error, "how far transfers have come cannot be kept");
            }
            failing = done.is_err();
            if failing {
                // All of it is to be kept once the store takes something again.
                kept.clear();
            }
            tokio::select! {
                () = inner.shutdown.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn end_overdue(&self) {
        for FileSessionHandle(shared) in self.live() {
            let over =
                |limit: Option<Elapsed>, spent: Duration| limit.is_some_and(|limit| spent >= limit.to_std());
            if over(shared.facts.time_limit, shared.elapsed().to_std()) {
                shared.end(EndReason::TimeLimit, "the session lasted as long as it may");
            } else if over(shared.facts.idle_limit, shared.idle()) {
                shared.end(EndReason::Idle, "nothing was done for too long");
            }
        }
    }

    /// Ends the sessions of users who lost the right to them. A user and their role are read once for all of theirs.
    async fn recheck(&self) {
        let mut users: HashMap<UserId, HashMap<ConnectionId, Vec<FileSessionHandle>>> = HashMap::new();
        for handle in self.live() {
            let facts = handle.facts();
            users.entry(facts.user).or_default().entry(facts.connection).or_default().push(handle);
        }
        for (user, connections) in users {
            let names: Vec<String> = connections.keys().map(ToString::to_string).collect();
            let answers = Admission::check_all(&self.0.store, user, &names).await;
            for (handles, answer) in connections.into_values().zip(answers) {
                let why = match answer {
                    Ok(admission) if admission.connection().policy.allow_files => continue,
                    Ok(_) => Refusal::Policy("file transfer").to_string(),
                    // A database that does not answer takes nobody's right away.
                    Err(Refused::Store(_)) => return,
                    Err(refused) => refused.to_string(),
                };
                for handle in handles {
                    handle.0.end(EndReason::Revoked, &why);
                }
            }
        }
    }

    pub(super) fn leave(&self, id: FileSessionId) {
        lock(&self.0.live).remove(&id);
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn entropy(&self) -> Entropy {
        self.0.entropy
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Runs something that [`FileHub::stop`] waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn_on(work, &self.0.runtime);
    }
}
