//! The spool: what is being recorded, on this machine's disk, encrypted from the first byte.
//!
//! `SPOOL/sess_…/` holds segments (`000000.seg`, …) that are written to their end and then continued in the next; `checkpoint.json`, a
//! signed manifest of what was durable some seconds ago; and, once the recording is over, `manifest.json`, the
//! signed manifest of the whole. The bytes of a segment are final: sealing moves files.
//!
//! One thread writes, a few flush. A byte that was accepted waits in memory for at most one tick
//! ([`Limits::sync_every`](super::Limits)), is written as a frame, and durable when the flush is
//! through: within a second unless the disk is sicker than that. Each recording may have a bounded number of bytes in memory, and
//! all together too; whoever writes more waits.
//!
//! When a write fails nothing that was accepted is given up: the same bytes are tried again at each tick, in
//! memory's bounds. After [`Limits::patience`](super::Limits) writers are told, and a gap runs
//! until the first byte that is accepted again.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use sojourn_domain::{
    id::AccessSessionId,
    seal::{
        DataKey, Gap, GapReason, Genesis, Position, SealError, Sealer, frame::PLAIN_MAX, index::Index,
        manifest::Segment,
    },
    time::Timestamp,
};
use tokio::sync::{Notify, watch};

mod files;

use self::files::{Batch, Files};
use super::{Limits, RecordingError};

/// Threads that flush files; the file system joins their flushes into few.
const SYNCERS: usize = 4;
/// Without room for all, a recording may still have this much in memory.
const FAIR_BYTES: usize = PLAIN_MAX;
/// Bytes that are written in one go: a segment is longer than it should be by no more.
const BATCH_BYTES: usize = 4 * PLAIN_MAX;
/// Bytes in frames that make the writer come before the tick.
const URGENT_BYTES: usize = 2 * PLAIN_MAX;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why bytes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Failed,
}

impl Refused {
    pub(super) fn of(error: &io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full
        } else {
            Self::Failed
        }
    }

    pub(super) fn reason(self) -> GapReason {
        match self {
            Self::Full => GapReason::DiskFull,
            Self::Failed => GapReason::StorageFailed,
        }
    }

    pub(super) fn error(self) -> RecordingError {
        match self {
            Self::Full => RecordingError::Full,
            Self::Failed => RecordingError::Failed,
        }
    }
}

/// How far a recording in the spool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Writing,
    /// Everything is on the disk, and nothing follows.
    Closed,
}

/// One recording in the making.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) session: AccessSessionId,
    pub(super) genesis: Genesis,
    pub(super) key: DataKey,
    pub(super) sealed_key: String,
    pub(super) dir: PathBuf,
    state: Mutex<State>,
    file: Mutex<Files>,
    room: Notify,
    pub(super) durable: watch::Sender<u64>,
    pub(super) phase: watch::Sender<Phase>,
    listed: AtomicBool,
    syncing: AtomicBool,
    /// Held while its segments or checkpoint are moved, so that no two tasks do it at once.
    pub(super) moving: tokio::sync::Mutex<()>,
    /// Frames that the last checkpoint covered.
    pub(super) checkpointed: AtomicU64,
}

/// What has been accepted.
#[derive(Debug)]
struct State {
    /// Not yet a frame.
    pending: Vec<u8>,
    sealer: Sealer,
    batches: Vec<Batch>,
    /// Bytes accepted and not yet in the file.
    waiting: usize,
    refused: Option<Refused>,
    closing: bool,
    complete: bool,
    gaps: Vec<Gap>,
    gap_open: bool,
}

/// What a crash would leave.
#[derive(Debug, Clone, Default)]
pub(super) struct Durable {
    /// Whole segments, and the one that is being written.
    pub(super) segments: Vec<Segment>,
}

impl Live {
    pub(super) fn new(
        genesis: Genesis,
        key: DataKey,
        sealed_key: String,
        dir: PathBuf,
    ) -> Result<Self, SealError> {
        let start = Position::start(&genesis);
        Ok(Self {
            session: genesis.session,
            genesis,
            sealed_key,
            dir,
            state: Mutex::new(State {
                pending: Vec::new(),
                sealer: Sealer::new(&genesis, &key)?,
                batches: Vec::new(),
                waiting: 0,
                refused: None,
                closing: false,
                complete: false,
                gaps: Vec::new(),
                gap_open: false,
            }),
            key,
            file: Mutex::new(Files {
                current: None,
                at: 0,
                index: Index::default(),
                start,
                position: start,
                closed: Vec::new(),
                batches: VecDeque::new(),
                failing: None,
                unsynced: Vec::new(),
                dir_unsynced: true,
                durable: Durable::default(),
                footer_due: false,
                all_written: false,
            }),
            room: Notify::new(),
            durable: watch::Sender::new(0),
            phase: watch::Sender::new(Phase::Writing),
            listed: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            moving: tokio::sync::Mutex::new(()),
            checkpointed: AtomicU64::new(0),
        })
    }

    /// Segments, whole and current, as a crash would leave them.
    pub(super) fn durable_segments(&self) -> Vec<Segment> {
        lock(&self.file).durable.segments.clone()
    }

    /// The lengths of the frames of the segment that is being written, when it is `name`.
    pub(super) fn index_of(&self, number: usize) -> Option<Index> {
        let files = lock(&self.file);
        (files.closed.len() == number).then(|| files.index.clone())
    }

    /// What is missing, with the last gap still open where it is; and whether all was recorded.
    pub(super) fn gaps(&self) -> (Vec<Gap>, bool) {
        let state = lock(&self.state);
        (state.gaps.clone(), state.complete && state.gaps.is_empty())
    }

    pub(super) fn since_start_ms(&self, now: Timestamp) -> i64 {
        now.since(self.genesis.started_at).as_millis()
    }

    /// From now until the next byte that is accepted, something is missing.
    pub(super) fn open_gap(&self, reason: GapReason, message: &str, now: Timestamp) {
        let mut state = lock(&self.state);
        self.open_gap_in(&mut state, reason, message, now);
    }

    fn open_gap_in(&self, state: &mut State, reason: GapReason, message: &str, now: Timestamp) {
        if state.gap_open {
            return;
        }
        let offset = state.sealer.position().offset + state.pending.len() as u64;
        state.gap_open = true;
        state.gaps.push(Gap {
            offset,
            from_ms: self.since_start_ms(now),
            to_ms: None,
            reason,
            message: message.to_owned(),
        });
    }
}

/// The threads, and what they share.
#[derive(Debug)]
pub(super) struct Spool {
    pub(super) dir: PathBuf,
    limits: Limits,
    dirty: Mutex<Dirty>,
    wake: Condvar,
    to_sync: Mutex<VecDeque<Arc<Live>>>,
    sync_wake: Condvar,
    /// Bytes accepted and not yet written, of all recordings.
    held: AtomicU64,
    /// Bytes in the spool's files.
    pub(super) bytes: AtomicU64,
    /// Nothing more is taken: the disk or the spool's share of it is full.
    pub(super) blocked: AtomicBool,
    stop: AtomicBool,
    stop_syncing: AtomicBool,
    /// Told when a recording is closed and durable.
    pub(super) closed: Notify,
    pub(super) to_seal: Mutex<VecDeque<Arc<Live>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Dirty {
    lives: Vec<Arc<Live>>,
    urgent: bool,
}

impl Spool {
    pub(super) fn start(dir: PathBuf, limits: Limits) -> io::Result<Arc<Self>> {
        let spool = Arc::new(Self {
            bytes: AtomicU64::new(bytes_below(&dir)?),
            dir,
            limits,
            dirty: Mutex::default(),
            wake: Condvar::new(),
            to_sync: Mutex::default(),
            sync_wake: Condvar::new(),
            held: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            stop_syncing: AtomicBool::new(false),
            closed: Notify::new(),
            to_seal: Mutex::default(),
            threads: Mutex::default(),
        });
        spool.reserve()?;
        let mut threads = Vec::new();
        let writer = spool.clone();
        threads
            .push(std::thread::Builder::new().name("spool-write".into()).spawn(move || writer.write_all())?);
        for _ in 0..SYNCERS {
            let syncer = spool.clone();
            threads.push(
                std::thread::Builder::new().name("spool-sync".into()).spawn(move || syncer.sync_all())?,
            );
        }
        *lock(&spool.threads) = threads;
        Ok(spool)
    }

    /// Ends the threads after what was accepted is written and flushed once more.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.notify_all();
        // The writer is the first: what it has written last is flushed after it.
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            if thread.join().is_err() {
                tracing::error!("a thread of the spool ended early");
            }
            self.stop_syncing.store(true, Ordering::SeqCst);
            self.sync_wake.notify_all();
        }
    }

    fn batch_bytes(&self) -> usize {
        usize::try_from(self.limits.segment_bytes).unwrap_or(usize::MAX).min(BATCH_BYTES)
    }

    fn reserve_path(&self) -> PathBuf {
        self.dir.join(".reserve")
    }

    /// Keeps some bytes back, so that recordings can be closed on a full disk.
    pub(super) fn reserve(&self) -> io::Result<()> {
        if self.limits.reserve_bytes == 0 {
            return Ok(());
        }
        let file =
            File::options().create(true).truncate(false).write(true).mode(0o600).open(self.reserve_path())?;
        let held =
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.limits.reserve_bytes);
        if let Err(error) = held {
            // A full disk, or a file system that cannot: the ladder works without it.
            tracing::warn!(%error, "no bytes could be kept back for closing recordings");
            let _ = file.set_len(0);
        }
        Ok(())
    }

    fn release_reserve(&self) {
        // Absent or empty, there is nothing to give.
        let _ = File::options().write(true).open(self.reserve_path()).and_then(|file| file.set_len(0));
    }

    /// Takes the bytes when there is room for them (the first [`Limits::queue_bytes`](super::Limits) of more), and says how
    /// many; or why none are taken at all.
    fn take(
        self: &Arc<Self>,
        live: &Arc<Live>,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<usize, RecordingError> {
        let mut state = lock(&live.state);
        if state.closing {
            return Err(RecordingError::Over);
        }
        let refused = match state.refused {
            None if self.blocked.load(Ordering::Relaxed) => Some(Refused::Full),
            other => other,
        };
        if let Some(refused) = refused {
            let error = refused.error();
            live.open_gap_in(&mut state, refused.reason(), &error.to_string(), now);
            return Err(error);
        }
        let crowded = self.held.load(Ordering::Relaxed) > self.limits.queue_total_bytes as u64;
        let most = if crowded { FAIR_BYTES } else { self.limits.queue_bytes.max(FAIR_BYTES) };
        // All or nothing: a line that a full disk cuts in two would spoil the one after it.
        let room = bytes.len().min(self.limits.queue_bytes.max(FAIR_BYTES));
        if state.waiting > 0 && state.waiting + room > most {
            return Ok(0);
        }
        if state.gap_open {
            state.gap_open = false;
            let ms = live.since_start_ms(now);
            if let Some(gap) = state.gaps.last_mut() {
                gap.to_ms = Some(ms);
            }
        }
        let mut rest = &bytes[..room];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PLAIN_MAX - state.pending.len()));
            state.pending.extend_from_slice(now);
            rest = later;
            if state.pending.len() == PLAIN_MAX {
                state.cut(self.batch_bytes())?;
            }
        }
        state.waiting += room;
        self.held.fetch_add(room as u64, Ordering::Relaxed);
        let urgent = state.batches.len() > 1
            || state.batches.first().is_some_and(|batch| batch.bytes.len() >= URGENT_BYTES);
        drop(state);
        self.list(live, urgent);
        Ok(room)
    }

    /// Appends bytes, and waits for room as long as it takes.
    pub(super) async fn append(
        self: &Arc<Self>,
        live: &Arc<Live>,
        mut bytes: &[u8],
        clock: &dyn sojourn_domain::time::Clock,
    ) -> Result<(), RecordingError> {
        while !bytes.is_empty() {
            let room = live.room.notified();
            let mut room = std::pin::pin!(room);
            room.as_mut().enable();
            match self.take(live, bytes, clock.now())? {
                0 => {
                    self.list(live, true);
                    room.await;
                }
                taken => bytes = &bytes[taken..],
            }
        }
        Ok(())
    }

    /// Nothing more follows.
    pub(super) fn close(&self, live: &Arc<Live>, complete: bool) {
        let mut state = lock(&live.state);
        if state.closing {
            return;
        }
        state.closing = true;
        state.complete = complete;
        drop(state);
        self.list(live, true);
    }

    fn list(&self, live: &Arc<Live>, urgent: bool) {
        let listed = live.listed.swap(true, Ordering::AcqRel);
        if listed && !urgent {
            return;
        }
        let mut dirty = lock(&self.dirty);
        if !listed {
            dirty.lives.push(live.clone());
        }
        if urgent && !dirty.urgent {
            dirty.urgent = true;
            self.wake.notify_one();
        }
    }

    /// The writing thread.
    fn write_all(self: Arc<Self>) {
        let tick = self.limits.sync_every.to_std();
        let mut next = Instant::now() + tick;
        loop {
            let mut dirty = lock(&self.dirty);
            while !dirty.urgent && !self.stop.load(Ordering::SeqCst) {
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                dirty = self.wake.wait_timeout(dirty, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            dirty.urgent = false;
            let lives = std::mem::take(&mut dirty.lives);
            drop(dirty);
            let stopping = self.stop.load(Ordering::SeqCst);
            let due = stopping || Instant::now() >= next;
            if due {
                next = Instant::now() + tick;
            }
            for live in lives {
                live.listed.store(false, Ordering::Release);
                if self.write(&live, due) {
                    self.list(&live, false);
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Writes what there is of one recording; true when there is something left to do at the next tick.
    fn write(&self, live: &Arc<Live>, due: bool) -> bool {
        let mut files = lock(&live.file);
        let (closing, pending) = {
            let mut state = lock(&live.state);
            if (due || state.closing)
                && let Err(error) = state.cut(self.batch_bytes())
            {
                tracing::error!(session.id = %live.session, %error, "a frame could not be encrypted");
                state.refused = Some(Refused::Failed);
            }
            files.batches.extend(std::mem::take(&mut state.batches));
            (state.closing, !state.pending.is_empty())
        };
        let mut written = files.write(live, self);
        if written.is_err() && closing {
            self.release_reserve();
            written = files.write(live, self);
        }
        if let Err(error) = &written {
            let refused = Refused::of(error);
            let (since, _) = *files.failing.get_or_insert((Instant::now(), refused));
            if since.elapsed() >= self.limits.patience.to_std() {
                let mut state = lock(&live.state);
                if state.refused.is_none() {
                    tracing::error!(session.id = %live.session, %error, "the recording cannot be written");
                    state.refused = Some(refused);
                }
                drop(state);
                live.room.notify_waiters();
                if closing && !files.batches.is_empty() {
                    self.give_up(live, &mut files, refused);
                    return true;
                }
            }
        } else if files.failing.take().is_some() {
            lock(&live.state).refused = None;
        }
        if written.is_ok() && closing && !files.all_written {
            match files.end_segment() {
                Ok(bytes) => {
                    self.bytes.fetch_add(bytes, Ordering::Relaxed);
                    files.all_written = true;
                }
                Err(error) => {
                    self.release_reserve();
                    tracing::warn!(session.id = %live.session, %error, "the recording cannot be closed yet");
                    return true;
                }
            }
        }
        let unsynced = !files.unsynced.is_empty() || files.dir_unsynced || files.all_written;
        let failing = files.failing.is_some();
        drop(files);
        if unsynced && (due || closing) {
            self.sync_soon(live);
        }
        failing || ((unsynced || pending) && !due && !closing)
    }

    /// A closed recording whose last frames cannot be written: they are given up, and a gap says so.
    fn give_up(&self, live: &Arc<Live>, files: &mut Files, refused: Refused) {
        let lost: usize = files.batches.drain(..).map(|batch| batch.plain).sum();
        self.held.fetch_sub(lost as u64, Ordering::Relaxed);
        let mut state = lock(&live.state);
        state.waiting = state.waiting.saturating_sub(lost);
        state.complete = false;
        let from_ms = state.gaps.last().map_or(0, |gap| gap.from_ms);
        state.gaps.push(Gap {
            offset: files.position.offset,
            from_ms,
            to_ms: None,
            reason: refused.reason(),
            message: format!("the last {lost} bytes could not be written"),
        });
        tracing::error!(session.id = %live.session, lost_bytes = lost, "the end of a recording is lost");
    }

    fn sync_soon(&self, live: &Arc<Live>) {
        if live.syncing.swap(true, Ordering::AcqRel) {
            // It is being flushed: the rest goes with the next tick.
            self.list(live, false);
            return;
        }
        lock(&self.to_sync).push_back(live.clone());
        self.sync_wake.notify_one();
    }

    /// A flushing thread.
    fn sync_all(self: Arc<Self>) {
        loop {
            let mut queue = lock(&self.to_sync);
            let live = loop {
                if let Some(live) = queue.pop_front() {
                    break live;
                }
                if self.stop_syncing.load(Ordering::SeqCst) {
                    return;
                }
                // Looks again by itself: the last wake-up may have come before the wait.
                queue = self
                    .sync_wake
                    .wait_timeout(queue, Duration::from_millis(100))
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            };
            drop(queue);
            self.sync(&live);
        }
    }

    fn sync(&self, live: &Arc<Live>) {
        let (unsynced, dir, durable, offset, all) = {
            let mut files = lock(&live.file);
            let mut segments = files.closed.clone();
            segments.extend(files.open_segment());
            (
                std::mem::take(&mut files.unsynced),
                std::mem::take(&mut files.dir_unsynced),
                Durable { segments },
                files.position.offset,
                files.all_written,
            )
        };
        let mut flushed = unsynced.iter().try_for_each(|file| file.sync_data());
        if flushed.is_ok() && dir {
            flushed = sync_dir(&live.dir).and_then(|()| sync_dir(&self.dir));
        }
        live.syncing.store(false, Ordering::Release);
        if let Err(error) = flushed {
            // What the kernel could not write it may have thrown away: nothing of it counts as durable again.
            tracing::error!(session.id = %live.session, %error, "the recording could not be flushed");
            let mut state = lock(&live.state);
            let refused = Refused::of(&error);
            if state.refused.replace(refused).is_none() {
                let offset = *live.durable.borrow();
                state.gaps.push(Gap {
                    offset,
                    from_ms: 0,
                    to_ms: None,
                    reason: refused.reason(),
                    message: "what was written after this may not have reached the disk".to_owned(),
                });
            }
            drop(state);
            let mut files = lock(&live.file);
            files.unsynced.extend(unsynced);
            files.dir_unsynced |= dir;
            drop(files);
            live.room.notify_waiters();
            self.list(live, false);
            return;
        }
        lock(&live.file).durable = durable;
        live.durable.send_if_modified(|durable| {
            let more = *durable < offset;
            *durable = offset.max(*durable);
            more
        });
        if all && *live.phase.borrow() != Phase::Closed {
            live.phase.send_replace(Phase::Closed);
            lock(&self.to_seal).push_back(live.clone());
            self.closed.notify_one();
        }
    }
}

impl State {
    /// Makes a frame of what is pending. A batch that has reached `batch_bytes` takes no more, so that segments end in time.
    fn cut(&mut self, batch_bytes: usize) -> Result<(), SealError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.batches.last().is_none_or(|batch| batch.bytes.len() >= batch_bytes) {
            self.batches.push(Batch::default());
        }
        let Some(batch) = self.batches.last_mut() else { return Err(SealError::Crypto) };
        self.sealer.seal(&self.pending, &mut batch.bytes)?;
        // At most PLAIN_MAX.
        batch.frames.push((self.pending.len() as u32, self.sealer.position().head));
        batch.plain += self.pending.len();
        // An idle terminal keeps no buffer.
        self.pending = Vec::new();
        Ok(())
    }
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes of the files in a directory and below.
pub(super) fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // What goes away meanwhile is not there.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            bytes += bytes_below(&entry.path()).unwrap_or(0);
        } else if entry.file_name() != ".reserve" {
            bytes += meta.len();
        }
    }
    Ok(bytes)
}
