//! Desktop sessions that the user's own client records, and sends here in chunks.
//!
//! Such a recording is worth what its user's word is worth: it is kept like any other, and marked. One task owns a session: it takes one
//! thing at a time, in the order in which things come, and nothing after its end. A session that nothing comes for
//! any more is ended, and its recording sealed as incomplete.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sojourn_domain::{
    access::{ClientKind, EndReason, InputKind, Purpose, RecordPolicy},
    id::{AccessSessionId, UserId},
    seal::Format,
};
use sojourn_store::{
    StoreError,
    access::InputEvent,
    recordings::{GapReason, Recorder, RecordingError},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    begun::{Begun, Opening},
    hub::{Hub, Recorded, Refusal},
};
use crate::admission::Admission;

/// Bytes of one chunk.
pub const CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of one recording.
pub const RECORDING_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Events of one batch.
pub const BATCH_EVENTS: usize = 5000;
/// Events of one session.
pub const SESSION_EVENTS: i64 = 500_000;
/// Things that are taken in a second, over time and at once.
const PER_SECOND: f64 = 20.0;
const AT_ONCE: f64 = 60.0;
/// Things that wait while one is written; whoever comes then waits to be let in.
const QUEUE: usize = 1;

/// Why something was not taken. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum Untaken {
    #[error("the session has ended")]
    Over,
    #[error("the session is not recorded")]
    NotRecorded,
    #[error("chunk {expected} comes next")]
    Sequence { expected: u64 },
    #[error("the recording would be larger than {RECORDING_BYTES} bytes")]
    TooLarge,
    #[error("a session has at most {SESSION_EVENTS} events")]
    TooMany,
    #[error("chunks and events come too fast")]
    TooFast,
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Answer = oneshot::Sender<Result<(), Untaken>>;

/// What may be sent for a session.
enum Word {
    Chunk { number: Option<u64>, bytes: Bytes },
    Events(Vec<(i64, InputKind)>),
    Finalize,
}

#[derive(Debug, Clone)]
struct Entry {
    user: UserId,
    words: mpsc::Sender<(Word, Answer)>,
}

/// The sessions of this node whose clients record. Cheap to clone.
#[derive(Clone)]
pub struct Supplied {
    hub: Hub,
    patience: Duration,
    entries: Arc<Mutex<HashMap<AccessSessionId, Entry>>>,
}

/// One of them, of the user who asked for it.
#[derive(Debug, Clone)]
pub struct SuppliedSession(Entry);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supplied {
    /// `patience`: how long a session lives when nothing comes for it.
    pub fn new(hub: Hub, patience: Duration) -> Self {
        Self { hub, patience, entries: Arc::default() }
    }

    /// Begins a session; says whether its recording is wanted.
    pub async fn begin(
        &self,
        admission: &Admission,
        client_address: String,
    ) -> Result<(AccessSessionId, bool), Refusal> {
        let opening = Opening {
            purpose: Purpose::Desktop,
            command: String::new(),
            client_kind: ClientKind::Web,
            client_address,
            term: String::new(),
            size: None,
        };
        let begun = self.hub.begin_recorded(admission, opening, Recorded::ByClient).await?;
        let id = begun.id();
        let recorder = match self.recorder(&begun, admission.connection().policy.record).await {
            Ok(recorder) => recorder,
            Err(error) => {
                tracing::error!(session.id = %id, %error, "a recording could not be begun");
                begun.fail(EndReason::RecordingFailed, "the recording could not be begun").await;
                return Err(Refusal::Recording);
            }
        };
        let wanted = recorder.is_some();
        let (words, heard) = mpsc::channel(QUEUE);
        let user = admission.user();
        lock(&self.entries).insert(id, Entry { user, words });
        let keeper = Keeper {
            begun,
            recorder,
            hub: self.hub.clone(),
            next: None,
            bytes: 0,
            events: 0,
            tokens: AT_ONCE,
            filled: Instant::now(),
        };
        let (entries, patience) = (Arc::clone(&self.entries), self.patience);
        self.hub.spawn(async move {
            keeper.keep(heard, patience, || drop(lock(&entries).remove(&id))).await;
        });
        Ok((id, wanted))
    }

    async fn recorder(
        &self,
        begun: &Begun,
        policy: RecordPolicy,
    ) -> Result<Option<Recorder>, RecordingError> {
        let hub = &self.hub;
        let begin = async {
            hub.store().session_supplied(begun.id(), hub.now()).await?;
            hub.recordings().begin(begun.id(), Format::WebM).await
        };
        match policy {
            RecordPolicy::Off => Ok(None),
            RecordPolicy::Mandatory => begin.await.map(Some),
            RecordPolicy::BestEffort => match begin.await {
                Ok(recorder) => Ok(Some(recorder)),
                Err(error) => {
                    tracing::error!(session.id = %begun.id(), %error, "a recording could not be begun");
                    Ok(None)
                }
            },
        }
    }

    /// A live session of this user.
    pub fn get(&self, id: AccessSessionId, user: UserId) -> Option<SuppliedSession> {
        lock(&self.entries).get(&id).filter(|entry| entry.user == user).cloned().map(SuppliedSession)
    }
}

impl SuppliedSession {
    async fn say(&self, word: Word) -> Result<(), Untaken> {
        let (answer, heard) = oneshot::channel();
        self.0.words.send((word, answer)).await.map_err(|_| Untaken::Over)?;
        heard.await.map_err(|_| Untaken::Over)?
    }

    /// Appends a chunk of WebM. Numbered ones are taken once, in their order; the first is 0 or 1.
    pub async fn chunk(&self, number: Option<u64>, bytes: Bytes) -> Result<(), Untaken> {
        self.say(Word::Chunk { number, bytes }).await
    }

    /// Keeps events (milliseconds since the start, and what it was), all or none.
    pub async fn events(&self, events: Vec<(i64, InputKind)>) -> Result<(), Untaken> {
        self.say(Word::Events(events)).await
    }

    /// Ends session and recording. Nothing is taken any more.
    pub async fn finalize(&self) -> Result<(), Untaken> {
        self.say(Word::Finalize).await
    }
}

/// Owns one session.
struct Keeper {
    begun: Begun,
    recorder: Option<Recorder>,
    hub: Hub,
    /// The number of the next chunk, once one has come.
    next: Option<u64>,
    bytes: u64,
    events: i64,
    tokens: f64,
    filled: Instant,
}

impl Keeper {
    async fn keep(
        mut self,
        mut heard: mpsc::Receiver<(Word, Answer)>,
        patience: Duration,
        leave: impl FnOnce(),
    ) {
        let mut last = Instant::now();
        let (reason, detail, answer) = loop {
            let (word, answer) = tokio::select! {
                ended = self.begun.called_off() => break (ended.reason, ended.detail, None),
                word = heard.recv() => match word {
                    Some(word) => word,
                    None => break (EndReason::Failed, String::new(), None),
                },
                () = tokio::time::sleep_until(last + patience) => {
                    break (EndReason::ClientLost, "nothing came from the client any more".to_owned(), None);
                }
            };
            last = Instant::now();
            if let Word::Finalize = word {
                break (EndReason::Closed, String::new(), Some(answer));
            }
            let taken = self.take(word).await;
            let broken = matches!(taken, Err(Untaken::Recording(_)));
            // Who asked may be gone.
            drop(answer.send(taken));
            if broken {
                break (EndReason::RecordingFailed, "the recording could not be written".to_owned(), None);
            }
        };
        // Who comes from now on is told that it is over.
        heard.close();
        let complete = answer.is_some();
        if let Some(recorder) = self.recorder.take() {
            if !complete {
                recorder.gap(GapReason::RecorderFailed, "the client did not say that this is all");
            }
            if let Err(error) = recorder.finish(complete).await {
                tracing::error!(%error, session.id = %self.begun.id(), "a recording could not be closed");
            }
        }
        self.begun.fail(reason, detail).await;
        leave();
        if let Some(answer) = answer {
            drop(answer.send(Ok(())));
        }
    }

    async fn take(&mut self, word: Word) -> Result<(), Untaken> {
        let now = Instant::now();
        let filled = (now - std::mem::replace(&mut self.filled, now)).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + filled).min(AT_ONCE);
        if self.tokens < 1.0 {
            return Err(Untaken::TooFast);
        }
        self.tokens -= 1.0;
        match word {
            Word::Chunk { number, bytes } => self.chunk(number, &bytes).await,
            Word::Events(events) => self.add(events).await,
            Word::Finalize => Ok(()),
        }
    }

    async fn chunk(&mut self, number: Option<u64>, bytes: &[u8]) -> Result<(), Untaken> {
        let Some(recorder) = &self.recorder else { return Err(Untaken::NotRecorded) };
        let next = match (number, self.next) {
            (Some(number), None) if number <= 1 => number,
            (Some(_), None) => return Err(Untaken::Sequence { expected: 0 }),
            // It came already, and the answer was lost.
            (Some(number), Some(next)) if number < next => return Ok(()),
            (Some(number), Some(next)) if number > next => return Err(Untaken::Sequence { expected: next }),
            (_, next) => next.unwrap_or(0),
        };
        let bytes_after = self.bytes + bytes.len() as u64;
        if bytes_after > RECORDING_BYTES {
            return Err(Untaken::TooLarge);
        }
        recorder.write(bytes).await?;
        self.bytes = bytes_after;
        self.next = Some(next + 1);
        Ok(())
    }

    async fn add(&mut self, events: Vec<(i64, InputKind)>) -> Result<(), Untaken> {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        if self.events.saturating_add(count) > SESSION_EVENTS {
            return Err(Untaken::TooMany);
        }
        let numbered: Vec<InputEvent> = (self.events..)
            .zip(events)
            .map(|(number, (elapsed_ms, kind))| InputEvent { number, elapsed_ms, kind, pressed: None })
            .collect();
        self.hub.store().input_events_add(self.hub.recordings().vault(), self.begun.id(), &numbered).await?;
        self.events += count;
        Ok(())
    }
}
