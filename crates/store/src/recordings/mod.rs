//! Recordings: written into a local spool, sealed into an object store, read back in pieces.
//!
//! Owns where the bytes lie, when they are durable, and how long they stay. What a frame or manifest is stands in
//! [`sojourn_domain::seal`]; the spool's files in `spool`, the object store's in `objects`.
//!
//! When the object store fails, recordings stay in the spool and are tried again, ever less often, until
//! it takes them. The spool may grow to [`Limits::spool_bytes`]; then the ladder ([`Pressure`]) is at its last rung, as it
//! is when the disk is nearly full: no byte is accepted, sessions that must be recorded end, others get a gap.

mod bundle;
mod disk;
mod keeping;
mod objects;
mod plan;
mod reader;
mod recover;
mod rows;
mod sealing;
mod spool;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use sojourn_domain::{
    access::RecordingState,
    id::AccessSessionId,
    seal::{DataKey, SealError},
    time::{Clock, Elapsed},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use self::{
    objects::{Objects, blocking},
    spool::{Live, Phase, Spool, lock},
};
use crate::{
    clock::Entropy,
    db::{Store, StoreError},
    vault::{Vault, VaultError},
};

pub use bundle::{BundleReport, verify_bundle};
pub use disk::{Pressure, Thresholds};
pub use keeping::{Keeping, Kept, StorageReport};
pub use reader::Reader;
pub use recover::Recovered;
pub use sojourn_domain::seal::{Format, Gap, GapReason, Genesis};
pub use verify::{Verification, VerificationStatus};

/// Why a recording could not be made, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("the disk for recordings is full")]
    Full,
    #[error("the disk for recordings fails")]
    Failed,
    #[error("cannot read or write {0}")]
    Spool(String, #[source] std::io::Error),
    #[error("the object store does not answer")]
    Objects(#[source] object_store::Error),
    #[error("the objects address {0:?} is neither a directory nor s3://BUCKET/PREFIX?endpoint=URL")]
    UnknownObjects(String),
    #[error("the session is recorded already")]
    Exists,
    #[error("the recording is over")]
    Over,
    #[error("the recording is damaged: {0}")]
    Damaged(String),
    #[error("the session is under legal hold")]
    Held,
    #[error("the recording is still being written")]
    Live,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for RecordingError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Bounds; the defaults suit a small machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How often what was accepted is written and flushed.
    pub sync_every: Elapsed,
    /// Bytes of one recording that may wait in memory.
    pub queue_bytes: usize,
    /// Bytes of all recordings that may wait in memory.
    pub queue_total_bytes: usize,
    /// Bytes after which a segment ends and the next begins.
    pub segment_bytes: u64,
    /// How long [`Recorder::finish`] waits for the seal before it leaves it to the background.
    pub finish_wait: Elapsed,
    /// How long a failing disk is waited for before writers are told.
    pub patience: Elapsed,
    /// How often what is live gets a signed checkpoint.
    pub checkpoint_every: Elapsed,
    /// The first pause before the object store is tried again; doubles up to a minute.
    pub retry_after: Elapsed,
    /// Bytes that the spool may hold while the object store fails.
    pub spool_bytes: u64,
    /// Bytes kept back on the spool's disk, for closing recordings when it is full.
    pub reserve_bytes: u64,
    /// How often the disk is looked at.
    pub look_every: Elapsed,
    /// The rungs of the ladder.
    pub thresholds: Thresholds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sync_every: Elapsed::from_millis(400),
            queue_bytes: 1024 * 1024,
            queue_total_bytes: 64 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            finish_wait: Elapsed::from_secs(10),
            patience: Elapsed::from_secs(5),
            checkpoint_every: Elapsed::from_secs(10),
            retry_after: Elapsed::from_secs(1),
            spool_bytes: 16 * 1024 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
            look_every: Elapsed::from_secs(1),
            thresholds: Thresholds::default(),
        }
    }
}

/// Where recordings go.
#[derive(Clone)]
pub struct RecordingOptions {
    /// Local journals of what is being recorded.
    pub spool_dir: PathBuf,
    /// `s3://BUCKET/PREFIX?endpoint=URL`, or a directory; without it `objects_dir`.
    pub objects: Option<String>,
    pub objects_dir: PathBuf,
    /// The node that records; its name is in the manifest.
    pub node: String,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub limits: Limits,
}

/// What a recording that was finished came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Bytes of the recording itself, without encryption.
    pub bytes: u64,
    /// `Live` while the object store does not take it: it is safe in the spool, and sealed later.
    pub state: RecordingState,
}

/// All recordings. Cheap to clone; ends with [`Recordings::stop`].
#[derive(Clone)]
pub struct Recordings {
    core: Arc<Core>,
}

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recordings({})", self.core.options.spool_dir.display())
    }
}

/// What all of it shares.
struct Core {
    store: Store,
    vault: Vault,
    options: RecordingOptions,
    objects: Objects,
    spool: Arc<Spool>,
    live: Mutex<HashMap<AccessSessionId, Arc<Live>>>,
    /// Recordings that are over, and wait in the spool until the object store takes them.
    waiting: Mutex<HashMap<AccessSessionId, sealing::Waiting>>,
    /// Told when [`Core::waiting`] got another one.
    work: Notify,
    /// Told, by value, how often something was sealed: for those who wait for it.
    done: watch::Sender<u64>,
    results: Mutex<HashMap<AccessSessionId, Finished>>,
    pressure: watch::Sender<Pressure>,
    stopping: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Recordings {
    /// Opens the spool and the object store, and starts what runs beside.
    pub async fn open(store: Store, vault: Vault, options: RecordingOptions) -> Result<Self, RecordingError> {
        Self::open_with(store, vault, options, None).await
    }

    /// With other credentials for the object store than the environment's: an access key and its secret.
    pub(crate) async fn open_with(
        store: Store,
        vault: Vault,
        options: RecordingOptions,
        credentials: Option<(&str, &str)>,
    ) -> Result<Self, RecordingError> {
        vault.belongs_to(&store).await?;
        let dir = options.spool_dir.clone();
        let limits = options.limits.clone();
        let spool = blocking(&dir.clone(), move || {
            std::fs::create_dir_all(&dir)?;
            Spool::start(dir, limits)
        })
        .await?;
        let objects = Objects::open(options.objects.as_deref(), &options.objects_dir, credentials)?;
        let core = Arc::new(Core {
            store,
            vault,
            options,
            objects,
            spool,
            live: Mutex::default(),
            waiting: Mutex::default(),
            work: Notify::new(),
            done: watch::Sender::new(0),
            results: Mutex::default(),
            pressure: watch::Sender::new(Pressure::Normal),
            stopping: watch::Sender::new(false),
            tasks: Mutex::default(),
        });
        core.look_at_the_disk().await;
        let mut tasks = lock(&core.tasks);
        tasks.spawn(core.clone().watch_the_disk());
        tasks.spawn(core.clone().seal_what_is_over());
        tasks.spawn(core.clone().checkpoint());
        drop(tasks);
        Ok(Self { core })
    }

    /// Ends the tasks. Recordings that are still written end as a crash would leave them, and are recovered at the
    /// next start: finish them first.
    pub async fn stop(&self) {
        self.core.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *lock(&self.core.tasks));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the recordings ended early");
            }
        }
        let spool = self.core.spool.clone();
        // Joining threads waits for the disk.
        let _ = tokio::task::spawn_blocking(move || spool.stop()).await;
    }

    /// What seals the recordings, and what is kept beside them.
    pub fn vault(&self) -> &Vault {
        &self.core.vault
    }

    /// Changes as the disk fills and empties.
    pub fn pressure(&self) -> watch::Receiver<Pressure> {
        self.core.pressure.subscribe()
    }

    /// Begins the recording of a session whose row exists.
    pub async fn begin(&self, session: AccessSessionId, format: Format) -> Result<Recorder, RecordingError> {
        let core = &self.core;
        if *core.pressure.borrow() >= Pressure::RefuseNew {
            return Err(RecordingError::Full);
        }
        let key = DataKey::new(core.options.entropy.bytes());
        let sealed_key = core.vault.seal(&key_purpose(session), key.expose())?;
        let started_at = core.options.clock.now();
        let genesis = Genesis { session, format, started_at, key: key.commitment() };
        rows::begin(&core.store, &genesis, &sealed_key, &core.options.node).await?;
        let dir = core.session_dir(session);
        {
            let dir = dir.clone();
            let made = blocking(&dir.clone(), move || std::fs::create_dir(&dir)).await;
            if let Err(error) = made {
                // Nothing was recorded, and nothing shall look as if it had been.
                rows::purging(&core.store, session).await?;
                rows::purged(&core.store, session).await?;
                return Err(error);
            }
        }
        let live = Arc::new(Live::new(genesis, key, sealed_key, dir)?);
        lock(&core.live).insert(session, live.clone());
        Ok(Recorder { core: core.clone(), live, closed: false })
    }

    /// The recording of a session, sealed or live; `None` where there is none here. A desktop's that is over is
    /// made a file in which players can seek.
    pub async fn open_reader(&self, session: AccessSessionId) -> Result<Option<Reader>, RecordingError> {
        self.core.open_served(session).await
    }
}

fn key_purpose(session: AccessSessionId) -> String {
    format!("recording:{session}")
}

impl Core {
    fn session_dir(&self, session: AccessSessionId) -> PathBuf {
        self.options.spool_dir.join(session.to_string())
    }

    fn data_key(&self, session: AccessSessionId, sealed: &str) -> Result<DataKey, RecordingError> {
        let secret = self.vault.unseal(&key_purpose(session), sealed)?;
        Ok(DataKey::from_slice(secret.expose())?)
    }

    /// Resolves when the recordings shall stop.
    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in self.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

/// Writes one recording. Dropped without [`Recorder::finish`], the recording is sealed as incomplete.
pub struct Recorder {
    core: Arc<Core>,
    live: Arc<Live>,
    closed: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recorder({})", self.live.session)
    }
}

impl Recorder {
    pub fn session(&self) -> AccessSessionId {
        self.live.session
    }

    /// Appends bytes. Waits while the spool is behind. An error says that none of them were taken (of more than
    /// [`Limits::queue_bytes`], not all): a gap runs from there to the next bytes that are. It may be tried again at any time.
    ///
    /// What was accepted is durable within a second, see [`Recorder::durable`].
    pub async fn write(&self, bytes: &[u8]) -> Result<(), RecordingError> {
        self.core.spool.append(&self.live, bytes, self.core.options.clock.as_ref()).await
    }

    /// How many bytes have reached the disk.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.live.durable.subscribe()
    }

    /// From now on until the next byte that is written, something is missing.
    pub fn gap(&self, reason: GapReason, message: &str) {
        self.live.open_gap(reason, message, self.core.options.clock.now());
    }

    /// Ends the recording; `complete` when everything that happened was written. Waits until it is sealed, or
    /// at least safe while the object store does not answer.
    pub async fn finish(mut self, complete: bool) -> Result<Finished, RecordingError> {
        self.closed = true;
        let session = self.live.session;
        let mut done = self.core.done.subscribe();
        self.core.spool.close(&self.live, complete);
        let core = self.core.clone();
        let sealed = async {
            loop {
                if let Some(finished) = lock(&core.results).remove(&session) {
                    return finished;
                }
                if done.changed().await.is_err() {
                    return Finished { bytes: 0, state: RecordingState::Live };
                }
            }
        };
        if let Ok(finished) = tokio::time::timeout(core.options.limits.finish_wait.to_std(), sealed).await {
            return Ok(finished);
        }
        match *self.live.phase.borrow() {
            Phase::Closed => Ok(Finished { bytes: *self.live.durable.borrow(), state: RecordingState::Live }),
            Phase::Writing => Err(RecordingError::Failed),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.closed {
            let now = self.core.options.clock.now();
            self.live.open_gap(GapReason::RecorderFailed, "the recorder ended early", now);
            self.core.spool.close(&self.live, false);
        }
    }
}
