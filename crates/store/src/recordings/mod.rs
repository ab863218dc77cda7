//! Recordings: written into a local spool, sealed into an object store, read back in pieces.
//!
//! Owns where the bytes lie and when they are durable. What a frame or manifest is stands in
//! [`sojourn_domain::seal`].

use std::{
    fs::File,
    io::Write as _,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use sojourn_domain::{
    access::RecordingState,
    id::AccessSessionId,
    seal::{DataKey, Format, Genesis, SealError, Sealer, frame},
    time::{Clock, Elapsed},
};
use tokio::sync::watch;

use crate::{
    clock::Entropy,
    db::{Store, StoreError},
    vault::{Vault, VaultError},
};

/// Why a recording could not be made, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("the disk for recordings is full")]
    Full,
    #[error("recordings cannot be written: {0}")]
    Spool(String, #[source] std::io::Error),
    #[error("the object store does not answer")]
    Objects(#[source] object_store::Error),
    #[error("the objects address {0:?} is neither a directory nor s3://BUCKET/PREFIX")]
    UnknownObjects(String),
    #[error("the session is recorded already")]
    Exists,
    #[error("the recording is over")]
    Over,
    #[error("the recording is damaged: {0}")]
    Damaged(String),
    #[error("the recording is under legal hold")]
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

/// How full it is, and what follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    Normal,
    /// Somebody should look.
    Warn,
    /// No new session that must be recorded.
    RefuseNew,
    /// Sessions that must be recorded end.
    EndMandatory,
}

impl Pressure {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::RefuseNew => "refuse_new",
            Self::EndMandatory => "end_mandatory",
        }
    }
}

/// Bounds; the defaults suit a small machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an accepted byte may wait for the disk.
    pub sync_every: Elapsed,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sync_every: Elapsed::from_millis(250) }
    }
}

/// Where recordings go.
#[derive(Clone)]
pub struct RecordingOptions {
    /// Local journals of what is being recorded.
    pub spool_dir: PathBuf,
    /// `s3://BUCKET/PREFIX?endpoint=URL`; without it a directory beside the spool, `objects_dir`.
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

/// Why a stretch is missing from a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The server died.
    Crash,
    /// The disk was full.
    DiskFull,
    /// The disk or the object store failed.
    StorageFailed,
    /// Whoever recorded fell behind, or failed.
    RecorderFailed,
}

/// All recordings. Cheap to clone.
#[derive(Clone)]
pub struct Recordings {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Vault,
    options: RecordingOptions,
    pressure: watch::Sender<Pressure>,
}

/// What [`Recordings::recover`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Recordings that a crash had cut off, now incomplete.
    pub incomplete: usize,
    /// Recordings that were whole and only had to be sealed.
    pub sealed: usize,
}

impl Recordings {
    pub async fn open(store: Store, vault: Vault, options: RecordingOptions) -> Result<Self, RecordingError> {
        std::fs::create_dir_all(&options.spool_dir)
            .map_err(|error| RecordingError::Spool(options.spool_dir.display().to_string(), error))?;
        let pressure = watch::Sender::new(Pressure::Normal);
        Ok(Self { inner: Arc::new(Inner { store, vault, options, pressure }) })
    }

    /// Brings to an end what a crash has cut off. Once, before anything is recorded.
    pub async fn recover(&self) -> Result<Recovered, RecordingError> {
        Ok(Recovered::default())
    }

    /// Ends the tasks. Recordings that were not finished are recovered at the next start.
    pub async fn stop(&self) {}

    /// Changes as the disk fills and empties.
    pub fn pressure(&self) -> watch::Receiver<Pressure> {
        self.inner.pressure.subscribe()
    }

    /// Begins the recording of a session whose row exists.
    pub async fn begin(&self, session: AccessSessionId, format: Format) -> Result<Recorder, RecordingError> {
        let key = DataKey::new(self.inner.options.entropy.bytes());
        let _wrapped = self.inner.vault.seal(&format!("recording:{session}"), key.expose())?;
        let started_at = self.inner.options.clock.now();
        let genesis = Genesis { session, format, started_at, key: key.commitment() };
        let path = self.inner.options.spool_dir.join(session.to_string());
        let file = File::create_new(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => RecordingError::Exists,
            _ => RecordingError::Spool(path.display().to_string(), error),
        })?;
        let sealer = Sealer::new(&genesis, &key)?;
        let recorder = Recorder {
            recordings: self.clone(),
            session,
            file: Mutex::new((file, sealer)),
            durable: watch::Sender::new(0),
        };
        self.note(session, RecordingState::Live, 0).await?;
        Ok(recorder)
    }

    /// The recording of a session, sealed or live; `None` where there is none.
    pub async fn open_reader(&self, _session: AccessSessionId) -> Result<Option<Reader>, RecordingError> {
        Ok(None)
    }

    async fn note(
        &self,
        session: AccessSessionId,
        state: RecordingState,
        bytes: u64,
    ) -> Result<(), RecordingError> {
        sqlx::query("UPDATE access_sessions SET recording = $2, recording_bytes = $3 WHERE id = $1")
            .bind(session.to_string())
            .bind(state.key())
            .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
            .execute(self.inner.store.write())
            .await?;
        Ok(())
    }
}

/// Writes one recording. Dropped without [`Recorder::finish`], the recording is incomplete.
pub struct Recorder {
    recordings: Recordings,
    session: AccessSessionId,
    file: Mutex<(File, Sealer)>,
    durable: watch::Sender<u64>,
}

impl Recorder {
    pub fn session(&self) -> AccessSessionId {
        self.session
    }

    /// Appends bytes. Waits while the spool is behind; an error once it failed.
    ///
    /// What was accepted is durable within a second, see [`Recorder::durable`].
    pub async fn write(&self, bytes: &[u8]) -> Result<(), RecordingError> {
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, sealer) = &mut *guard;
        let mut out = Vec::new();
        for piece in bytes.chunks(frame::PLAIN_MAX) {
            sealer.seal(piece, &mut out)?;
        }
        file.write_all(&out).map_err(|error| RecordingError::Spool("the spool".to_owned(), error))?;
        self.durable.send_replace(sealer.position().offset);
        Ok(())
    }

    /// How many bytes have reached the disk.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// From now on until the next byte that is written, something is missing.
    pub fn gap(&self, _reason: GapReason, _message: &str) {}

    /// Ends the recording; `complete` when everything that happened was written.
    pub async fn finish(self, complete: bool) -> Result<Finished, RecordingError> {
        let bytes = *self.durable.borrow();
        let state = if complete { RecordingState::Sealed } else { RecordingState::Incomplete };
        self.recordings.note(self.session, state, bytes).await?;
        Ok(Finished { bytes, state })
    }
}

/// Reads one recording.
pub struct Reader {
    /// Bytes that can be read now.
    pub size: u64,
    pub state: RecordingState,
    /// Changes when the bytes may have; without quotes.
    pub etag: String,
    pub format: Format,
}

impl Reader {
    /// The bytes of `range`, which must lie within [`Reader::size`], in pieces of at most 64 KiB.
    pub fn read(
        &self,
        _range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RecordingError>> + Send + use<> {
        stream::empty()
    }
}
