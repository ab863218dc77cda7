//! What is written down of a file session: one event for each operation, in batches, never lost.
//!
//! An operation takes its place in the queue before it begins, so that its event can be written whatever becomes of
//! it: where the store is behind, the next operation waits. Where the store takes nothing for [`PATIENCE`], the
//! session ends: nothing is moved that is not written down.
//!
//! What a server that is killed takes with it: operations that were over for less than [`GATHER`] and the time that
//! writing takes; of transfers, what the hub's `keep_moving` names.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sojourn_domain::{
    access::{ClientKind, EndReason},
    files::{Fact, FileProtocol},
    id::{AccessSessionId, ConnectionId, FileSessionId, UserId},
    time::{Elapsed, Timestamp},
};
use sojourn_store::files::NewFileEvent;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    hub::FileHub,
    operation::{Pending, is_large},
};

/// Operations of one session that run or wait to be written; who finds it full waits.
const QUEUE: usize = 1024;
/// Events that are written at once.
const BATCH: usize = 500;
/// The longest that an event waits for others to be written with.
const GATHER: Duration = Duration::from_millis(100);
/// How long the store may take nothing before the session ends.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts to write while the store takes nothing.
const RETRY: Duration = Duration::from_millis(500);
/// Attempts after a session has ended; then its last events are lost, and the log says so.
const ATTEMPTS: u32 = 600;
/// What a session that was ended from outside gets to say what was still under way.
const GRACE: Duration = Duration::from_secs(10);

/// What a file session is, from its beginning on.
#[derive(Debug, Clone)]
pub struct FileFacts {
    pub id: FileSessionId,
    pub user: UserId,
    pub user_name: String,
    pub connection: ConnectionId,
    pub connection_name: String,
    pub protocol: FileProtocol,
    pub client_kind: ClientKind,
    pub client_address: String,
    /// The session of the SSH front that it is a part of.
    pub access_session: Option<AccessSessionId>,
    pub started_at: Timestamp,
    pub(super) idle_limit: Option<Elapsed>,
    pub(super) time_limit: Option<Elapsed>,
}

/// How a file session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file session has ended: {}", if detail.is_empty() { reason.key() } else { detail })]
pub struct FileEnded {
    pub reason: EndReason,
    pub detail: String,
}

/// Shared by everything that has to do with one session.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) facts: FileFacts,
    begun: Instant,
    /// Milliseconds since the beginning.
    active_ms: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    /// Set once: nothing begins any more, and what runs is cut.
    ending: watch::Sender<Option<FileEnded>>,
    /// Nothing is to be noted any more.
    closed: CancellationToken,
    /// The row is ended.
    over: CancellationToken,
    open: Mutex<Open>,
    /// What a tap said last of what is being moved.
    tapped: Mutex<Vec<Fact>>,
    /// Wakes who keeps how far transfers have come.
    large: Arc<Notify>,
}

/// Operations under way.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    running: HashMap<u64, Arc<Mutex<Option<Pending>>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(facts: FileFacts, large: Arc<Notify>) -> Self {
        Self {
            facts,
            begun: Instant::now(),
            active_ms: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            ending: watch::Sender::new(None),
            closed: CancellationToken::new(),
            over: CancellationToken::new(),
            open: Mutex::default(),
            tapped: Mutex::default(),
            large,
        }
    }

    pub(super) fn elapsed(&self) -> Elapsed {
        Elapsed::from_micros(i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// By a clock that only goes forward.
    pub(super) fn now(&self) -> Timestamp {
        self.facts.started_at + self.elapsed()
    }

    pub(super) fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(now, Relaxed);
    }

    pub(super) fn idle(&self) -> Duration {
        let busy = !lock(&self.open).running.is_empty();
        let active = Duration::from_millis(self.active_ms.load(Relaxed));
        if busy { Duration::ZERO } else { self.begun.elapsed().saturating_sub(active) }
    }

    pub(super) fn count(&self, up: u64, down: u64) {
        self.bytes_up.fetch_add(up, Relaxed);
        self.bytes_down.fetch_add(down, Relaxed);
    }

    pub(super) fn ending(&self) -> Option<FileEnded> {
        self.ending.borrow().clone()
    }

    /// Ends it; the first reason is the one that stays. What was under way is said to be interrupted.
    pub(super) fn end(&self, reason: EndReason, detail: &str) {
        let first = self.ending.send_if_modified(|ending| {
            let first = ending.is_none();
            if first {
                *ending = Some(FileEnded { reason, detail: detail.to_owned() });
            }
            first
        });
        if first {
            let running = std::mem::take(&mut lock(&self.open).running);
            for pending in running.into_values() {
                if let Some(pending) = lock(&pending).take() {
                    pending.interrupted(self);
                }
            }
        }
    }

    /// Waits for [`Self::end`].
    pub(super) async fn ended(&self) -> FileEnded {
        let mut ending = self.ending.subscribe();
        // The sender lives as long as this does.
        match ending.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone(),
            Err(_) => None,
        }
        .unwrap_or_else(|| FileEnded { reason: EndReason::Failed, detail: String::new() })
    }

    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Keeps what is under way, so that the session's end finds it.
    pub(super) fn keep(&self, pending: &Arc<Mutex<Option<Pending>>>) -> u64 {
        let mut open = lock(&self.open);
        open.next += 1;
        let key = open.next;
        open.running.insert(key, Arc::clone(pending));
        key
    }

    /// What is being moved, as far as it has come.
    pub(super) fn moving(&self) -> Vec<Fact> {
        let running: Vec<_> = lock(&self.open).running.values().cloned().collect();
        let own = running.iter().filter_map(|pending| lock(pending).as_ref().and_then(Pending::moving));
        let mut all: Vec<Fact> = own.chain(lock(&self.tapped).iter().cloned()).collect();
        all.sort_by_key(|fact| fact.started);
        all
    }

    /// A transfer has become one that is kept at once.
    pub(super) fn has_large(&self) {
        self.large.notify_one();
    }

    pub(super) fn let_go(&self, key: u64) {
        lock(&self.open).running.remove(&key);
    }
}

/// Where the events of one file session go. Cheap to clone; when the last one is dropped and nobody has said how the
/// session ended, it has failed.
#[derive(Debug, Clone)]
pub struct FileJournal(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Fact>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.end(EndReason::Failed, "");
        self.shared.closed.cancel();
    }
}

impl FileJournal {
    pub(super) fn start(hub: &FileHub, shared: Arc<Shared>, slot: OwnedSemaphorePermit) -> Self {
        let (queue, noted) = mpsc::channel(QUEUE);
        let last = shared.facts.started_at;
        let writer = Writer {
            hub: hub.clone(),
            shared: Arc::clone(&shared),
            noted,
            unwritten: Vec::new(),
            last,
            slot,
        };
        hub.spawn(writer.run());
        Self(Arc::new(Owner { shared, queue }))
    }

    pub fn facts(&self) -> &FileFacts {
        &self.0.shared.facts
    }

    pub fn id(&self) -> FileSessionId {
        self.0.shared.facts.id
    }

    /// The present, by the session's clock: for [`Fact::started`].
    pub fn now(&self) -> Timestamp {
        self.0.shared.now()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// A place in the queue for what is about to begin.
    pub(super) async fn place(&self) -> Result<mpsc::OwnedPermit<Fact>, FileEnded> {
        let waits = self.0.queue.clone().reserve_owned();
        tokio::select! {
            biased;
            ended = self.0.shared.ended() => Err(ended),
            place = waits => match place {
                Ok(place) => Ok(place),
                Err(_) => Err(self.0.shared.ended().await),
            },
        }
    }

    /// Notes what one finished operation was; waits while the store is behind. Also after the session was ended from
    /// outside, for what was still under way.
    pub async fn note(&self, fact: Fact) -> Result<(), FileEnded> {
        self.0.shared.touch();
        match self.0.queue.send(fact).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.0.shared.ended().await),
        }
    }

    /// A tap says what is being moved at this moment.
    pub fn moving(&self, facts: Vec<Fact>) {
        let large = facts.iter().any(is_large);
        *lock(&self.0.shared.tapped) = facts;
        if large {
            self.0.shared.has_large();
        }
    }

    /// Resolves when the session was ended by somebody: whatever goes on is to be cut.
    pub async fn ended(&self) -> FileEnded {
        self.0.shared.ended().await
    }

    /// How it ended, if it has.
    pub fn is_ended(&self) -> Option<FileEnded> {
        self.0.shared.ending()
    }

    /// Ends the session when this is dropped, unless it has ended.
    pub fn ends_as(&self, reason: EndReason) -> EndsAs {
        EndsAs(Arc::clone(&self.0.shared), reason)
    }

    /// Ends the session: nothing is noted afterwards. Resolves when its row is ended.
    pub async fn end(self, reason: EndReason, detail: impl Into<String>) {
        let shared = Arc::clone(&self.0.shared);
        shared.end(reason, &detail.into());
        shared.closed.cancel();
        drop(self);
        shared.over().await;
    }
}

/// How a session ends whose task is dropped.
#[derive(Debug)]
pub struct EndsAs(Arc<Shared>, EndReason);

impl Drop for EndsAs {
    fn drop(&mut self) {
        self.0.end(self.1, "");
        self.0.closed.cancel();
    }
}

/// Writes the events of one session, and ends its row.
struct Writer {
    hub: FileHub,
    shared: Arc<Shared>,
    noted: mpsc::Receiver<Fact>,
    unwritten: Vec<NewFileEvent>,
    last: Timestamp,
    slot: OwnedSemaphorePermit,
}

impl Writer {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let first = tokio::select! {
                biased;
                first = self.noted.recv() => first,
                () = shared.closed.cancelled() => break,
                () = given_up(&shared) => break,
            };
            let Some(first) = first else { break };
            self.take(first);
            let until = Instant::now() + GATHER;
            while self.unwritten.len() < BATCH {
                tokio::select! {
                    biased;
                    next = self.noted.recv() => match next {
                        Some(next) => self.take(next),
                        None => break,
                    },
                    () = shared.closed.cancelled() => break,
                    () = tokio::time::sleep_until(until) => break,
                }
            }
            self.write().await;
        }
        // Who holds a place may still fill it; nobody gets another.
        self.noted.close();
        while let Some(fact) = self.noted.recv().await {
            self.take(fact);
            if self.unwritten.len() >= BATCH {
                self.write().await;
            }
        }
        self.write().await;
        self.finish().await;
    }

    /// Events are read in the order of their times: the order in which they were noted.
    fn take(&mut self, fact: Fact) {
        let at = fact.finished().max(self.last + Elapsed::from_micros(1));
        self.last = at;
        self.unwritten.push(NewFileEvent { id: self.hub.entropy().id(at), at, fact });
    }

    /// Writes what waits, however long the store takes nothing; the session ends meanwhile.
    async fn write(&mut self) {
        let id = self.shared.facts.id;
        let mut failing = None;
        let mut attempts = 0;
        while !self.unwritten.is_empty() {
            let error = match self.hub.store().file_events_add(id, &self.unwritten).await {
                Ok(true) => {
                    self.unwritten.clear();
                    return;
                }
                Ok(false) => {
                    tracing::error!(file_session.id = %id, "the row of a file session is gone");
                    self.shared.end(EndReason::RecordingFailed, "the session's row is gone");
                    self.unwritten.clear();
                    return;
                }
                Err(error) => error,
            };
            let since = *failing.get_or_insert_with(|| {
                tracing::warn!(file_session.id = %id, %error, "events of a file session wait to be written");
                Instant::now()
            });
            if since.elapsed() >= PATIENCE || self.shared.ending().is_some() {
                self.shared.end(EndReason::RecordingFailed, "what was done could not be written down");
                attempts += 1;
            }
            if attempts > ATTEMPTS {
                tracing::error!(file_session.id = %id, events = self.unwritten.len(), "events of a file session are lost");
                self.unwritten.clear();
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn finish(self) {
        let Self { hub, shared, slot, .. } = self;
        let FileEnded { reason, detail } =
            shared.ending().unwrap_or(FileEnded { reason: EndReason::Failed, detail: String::new() });
        let id = shared.facts.id;
        let at = shared.now();
        let mut attempts = 0;
        while let Err(error) = hub.store().file_session_end(id, at, reason, &detail).await {
            attempts += 1;
            if attempts == 1 {
                tracing::warn!(file_session.id = %id, %error, "the end of a file session waits to be written");
            }
            if attempts > ATTEMPTS {
                tracing::error!(file_session.id = %id, "the end of a file session was not written");
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        let duration_ms = shared.elapsed().as_micros() / 1000;
        tracing::info!(file_session.id = %id, %reason, duration_ms, "file session ended");
        hub.leave(id);
        shared.over.cancel();
        drop(slot);
    }
}

/// Ended from outside, and nobody has closed it for a while.
async fn given_up(shared: &Shared) {
    shared.ended().await;
    tokio::time::sleep(GRACE).await;
}
