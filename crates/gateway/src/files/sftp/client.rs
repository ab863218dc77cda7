//! One SFTP channel: requests go out in order, answers come back to whoever asked, in any order.
//!
//! Owns two tasks, which end when it is dropped. What waits is bounded: requests wait for room in the queue, and
//! the answers that are kept are those that somebody has asked for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::wire::{self, Framer, Reader, Request};
use crate::{
    files::{FsError, FsErrorKind, FsResult},
    session::ends::{PIECE, TargetEnd, TargetEvent, TargetInput},
};

/// Requests that wait to be written. A full queue makes whoever asks wait.
const QUEUE: usize = 8;
/// However much else the target says, no request waits for longer than this many times the patience.
const AT_MOST: u32 = 20;

/// What came as the answer to a request.
#[derive(Debug)]
pub(super) enum Reply {
    Status { code: u32, message: Bytes },
    Handle(Handle),
    Data(Bytes),
    Name(Bytes),
    Attributes(wire::Attributes),
    Extended(Bytes),
}

impl Reply {
    /// It was a success, or why not.
    pub(super) fn done(self) -> FsResult<()> {
        if let Self::Status { code: wire::OK, .. } = self { Ok(()) } else { Err(self.fault()) }
    }

    pub(super) fn handle(self) -> FsResult<Handle> {
        if let Self::Handle(handle) = self { Ok(handle) } else { Err(self.fault()) }
    }

    pub(super) fn attributes(self) -> FsResult<wire::Attributes> {
        if let Self::Attributes(found) = self { Ok(found) } else { Err(self.fault()) }
    }

    pub(super) fn name(self) -> FsResult<Bytes> {
        if let Self::Name(names) = self { Ok(names) } else { Err(self.fault()) }
    }

    /// As above; `None` at the end.
    pub(super) fn more_names(self) -> FsResult<Option<Bytes>> {
        if self.is_end() { Ok(None) } else { self.name().map(Some) }
    }

    /// Bytes of a file; `None` at the end.
    pub(super) fn data(self) -> FsResult<Option<Bytes>> {
        if let Self::Data(data) = self {
            Ok(Some(data))
        } else if self.is_end() {
            Ok(None)
        } else {
            Err(self.fault())
        }
    }

    fn is_end(&self) -> bool {
        matches!(self, Self::Status { code: wire::EOF, .. })
    }

    fn fault(self) -> FsError {
        match self {
            Self::Status { code: wire::OK, .. } => wire::broken(),
            Self::Status { code, message } => wire::fault(code, &message),
            Self::Handle(_) | Self::Data(_) | Self::Name(_) | Self::Attributes(_) | Self::Extended(_) => {
                wire::broken()
            }
        }
    }
}

/// Something open on the target, which is closed when this is dropped.
pub(super) struct Handle {
    bytes: Bytes,
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The caller closes it, or the target has lost it.
    fn let_go(mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            lock(&self.shared.left).push(std::mem::take(&mut self.bytes));
            self.shared.wake.notify_one();
        }
    }
}

struct Shared {
    state: Mutex<State>,
    /// Handles that nobody holds any more. No more than were open.
    left: Mutex<Vec<Bytes>>,
    wake: Notify,
    began: Instant,
    /// When the target last took or sent something, in milliseconds since it began.
    progress_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u32, oneshot::Sender<Reply>>,
    next: u32,
    ended: Option<FsError>,
}

impl Shared {
    fn progress(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress_ms.store(now, Ordering::Relaxed);
    }

    fn last_progress(&self) -> Instant {
        self.began + Duration::from_millis(self.progress_ms.load(Ordering::Relaxed))
    }

    fn end(&self, why: FsError) {
        let mut state = lock(&self.state);
        state.ended.get_or_insert(why);
        // Whoever waits hears that nothing comes.
        state.waiting.clear();
        self.wake.notify_one();
    }

    fn why_ended(&self) -> FsError {
        lock(&self.state).ended.clone().unwrap_or_else(|| FsError::of(FsErrorKind::Lost))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that is on its way.
pub(super) struct Awaited(oneshot::Receiver<Reply>);

/// What the server has beyond version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) posix_rename: bool,
    pub(super) hard_links: bool,
    pub(super) fsync: bool,
    pub(super) copy_data: bool,
    pub(super) statvfs: bool,
    limits: bool,
    /// The most that one READ may ask for, and one WRITE may carry.
    pub(super) read: u32,
    pub(super) write: u32,
}

/// What every server takes (draft section 3).
const PLAIN_PIECE: u32 = 32 * 1024;
/// More makes nothing faster, but takes more memory.
const LARGE_PIECE: u32 = 64 * 1024;
/// What a WRITE is besides its data; with it a packet fills packets of SSH to the brim.
const WRITE_HEAD: u32 = 64;

pub(super) struct Client {
    queue: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    patience: Duration,
    pub(super) features: Features,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("features", &self.features).finish_non_exhaustive()
    }
}

impl Client {
    /// Greets the server at the other end of a channel.
    pub(super) async fn start(mut end: TargetEnd, patience: Duration) -> FsResult<Self> {
        end.carrier.detach();
        let mut framer = Framer::default();
        let greeted = timeout(patience, async {
            // Where it has ended already, what it said tells more than that it takes no greeting.
            let _ended = end.input.send(TargetInput::Data(wire::init())).await;
            loop {
                if let Some(packet) = framer.packet()? {
                    return Ok(packet);
                }
                match end.events.recv().await {
                    Some(TargetEvent::Output(piece)) => framer.push(&piece),
                    Some(TargetEvent::ErrorOutput(_) | TargetEvent::Touched) => {}
                    Some(TargetEvent::Eof | TargetEvent::Exit(_) | TargetEvent::Ended { .. }) | None => {
                        return Err(no_sftp());
                    }
                }
            }
        });
        let (kind, body) = greeted.await.map_err(|_| FsError::of(FsErrorKind::TimedOut))??;
        if kind != wire::VERSION {
            return Err(no_sftp());
        }
        let features = features(Reader(body))?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            left: Mutex::default(),
            wake: Notify::new(),
            began: Instant::now(),
            progress_ms: AtomicU64::new(0),
        });
        let (queue, requests) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(write(shared.clone(), requests, end.input));
        tasks.spawn(read(shared.clone(), framer, end.events));
        let mut client = Self { queue, shared, patience, features, _tasks: tasks };
        if features.limits {
            client.ask_limits().await?;
        }
        Ok(client)
    }

    async fn ask_limits(&mut self) -> FsResult<()> {
        let Reply::Extended(body) = self.ask(Request::extended("limits@openssh.com")).await? else {
            return Ok(());
        };
        let mut body = Reader(body);
        let (_packet, read, write) = (body.u64()?, body.u64()?, body.u64()?);
        let fitting = |limit: u64| match u32::try_from(limit) {
            Ok(0) => PLAIN_PIECE,
            Ok(limit) => limit.clamp(1024, LARGE_PIECE),
            Err(_) => LARGE_PIECE,
        };
        self.features.read = fitting(read);
        self.features.write = fitting(write);
        if self.features.write == LARGE_PIECE {
            self.features.write -= WRITE_HEAD;
        }
        Ok(())
    }

    pub(super) fn is_ended(&self) -> bool {
        lock(&self.shared.state).ended.is_some()
    }

    /// Gives up on the server: all that is under way fails.
    fn give_up(&self) -> FsError {
        self.shared.end(FsError::of(FsErrorKind::TimedOut));
        FsError::of(FsErrorKind::TimedOut)
    }

    /// Sends a request. Its answer may be waited for later, or never.
    pub(super) async fn send(&self, request: Request) -> FsResult<Awaited> {
        let permit = loop {
            match timeout(self.patience, self.queue.reserve()).await {
                Ok(Ok(permit)) => break permit,
                Ok(Err(_)) => return Err(self.shared.why_ended()),
                Err(_) if self.shared.last_progress().elapsed() < self.patience => {}
                Err(_) => return Err(self.give_up()),
            }
        };
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = lock(&self.shared.state);
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            let id = state.next;
            state.next = id.wrapping_add(1);
            state.waiting.insert(id, sender);
            id
        };
        permit.send(request.numbered(id));
        Ok(Awaited(receiver))
    }

    /// Waits for an answer, once. A server that is merely slow is waited for as long as it shows life.
    pub(super) async fn answer(&self, awaited: &mut Awaited) -> FsResult<Reply> {
        let asked = Instant::now();
        loop {
            let until = asked.max(self.shared.last_progress()) + self.patience;
            let until = until.min(asked + self.patience * AT_MOST);
            match timeout_at(until, &mut awaited.0).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(_)) => return Err(self.shared.why_ended()),
                Err(_) => {
                    let now = Instant::now();
                    let alive = self.shared.last_progress() + self.patience > now;
                    if !alive || now >= asked + self.patience * AT_MOST {
                        return Err(self.give_up());
                    }
                }
            }
        }
    }

    pub(super) async fn ask(&self, request: Request) -> FsResult<Reply> {
        let mut awaited = self.send(request).await?;
        self.answer(&mut awaited).await
    }

    /// Sends the closing of a handle.
    pub(super) async fn send_close(&self, handle: Handle) -> FsResult<Awaited> {
        let request = Request::on(wire::CLOSE, handle.bytes());
        let sent = self.send(request).await;
        if sent.is_ok() {
            handle.let_go();
        }
        sent
    }

    pub(super) async fn close(&self, handle: Handle) -> FsResult<()> {
        let mut awaited = self.send_close(handle).await?;
        self.answer(&mut awaited).await?.done()
    }
}

fn no_sftp() -> FsError {
    FsError::new(FsErrorKind::Unsupported, "the target's SSH server has no SFTP")
}

fn features(mut body: Reader) -> FsResult<Features> {
    let version = body.u32()?;
    if version != 3 {
        return Err(FsError::new(
            FsErrorKind::Unsupported,
            format!("the target speaks version {version} of SFTP, not version 3"),
        ));
    }
    let mut found = Features {
        posix_rename: false,
        hard_links: false,
        fsync: false,
        copy_data: false,
        statvfs: false,
        limits: false,
        read: PLAIN_PIECE,
        write: PLAIN_PIECE,
    };
    while !body.is_empty() {
        let (name, data) = (body.string()?, body.string()?);
        match (&name[..], &data[..]) {
            (b"posix-rename@openssh.com", b"1") => found.posix_rename = true,
            (b"hardlink@openssh.com", b"1") => found.hard_links = true,
            (b"fsync@openssh.com", b"1") => found.fsync = true,
            (b"copy-data", b"1") => found.copy_data = true,
            (b"statvfs@openssh.com", b"2") => found.statvfs = true,
            (b"limits@openssh.com", b"1") => found.limits = true,
            _ => {}
        }
    }
    Ok(found)
}

/// Writes requests, and closes what nobody holds any more.
async fn write(shared: Arc<Shared>, mut requests: mpsc::Receiver<Bytes>, input: mpsc::Sender<TargetInput>) {
    loop {
        let packet = tokio::select! {
            () = shared.wake.notified() => {
                if lock(&shared.state).ended.is_some() {
                    return;
                }
                let left = std::mem::take(&mut *lock(&shared.left));
                for handle in left {
                    let id = {
                        let mut state = lock(&shared.state);
                        let id = state.next;
                        state.next = id.wrapping_add(1);
                        id
                    };
                    // Nobody waits for the answer.
                    if send(&shared, Request::on(wire::CLOSE, &handle).numbered(id), &input).await.is_none() {
                        return;
                    }
                }
                continue;
            }
            packet = requests.recv() => packet,
        };
        let Some(packet) = packet else { return };
        if send(&shared, packet, &input).await.is_none() {
            return;
        }
    }
}

async fn send(shared: &Shared, mut packet: Bytes, input: &mpsc::Sender<TargetInput>) -> Option<()> {
    while !packet.is_empty() {
        let piece = packet.split_to(packet.len().min(PIECE));
        if input.send(TargetInput::Data(piece)).await.is_err() {
            shared.end(FsError::of(FsErrorKind::Lost));
            return None;
        }
        shared.progress();
    }
    Some(())
}

/// Hands answers to those who wait for them.
async fn read(shared: Arc<Shared>, mut framer: Framer, mut events: mpsc::Receiver<TargetEvent>) {
    let why = loop {
        match framer.packet() {
            Ok(Some((kind, body))) => {
                if let Err(error) = hand_over(&shared, kind, Reader(body)) {
                    break FsError::new(FsErrorKind::Lost, error.message());
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => break error,
        }
        match events.recv().await {
            Some(TargetEvent::Output(piece)) => {
                shared.progress();
                framer.push(&piece);
            }
            Some(TargetEvent::ErrorOutput(_) | TargetEvent::Touched) => {}
            Some(TargetEvent::Eof | TargetEvent::Exit(_) | TargetEvent::Ended { .. }) | None => {
                break FsError::of(FsErrorKind::Lost);
            }
        }
    };
    shared.end(why);
}

fn hand_over(shared: &Arc<Shared>, kind: u8, mut body: Reader) -> FsResult<()> {
    let id = body.u32()?;
    let waiting = lock(&shared.state).waiting.remove(&id);
    let reply = match kind {
        wire::STATUS => {
            let code = body.u32()?;
            // Old servers send no words.
            Reply::Status { code, message: body.string().unwrap_or_default() }
        }
        wire::HANDLE => {
            let bytes = body.string()?;
            // An empty one would be taken for one that was closed; 256 is the protocol's limit.
            if bytes.is_empty() || bytes.len() > 256 {
                return Err(wire::broken());
            }
            Reply::Handle(Handle { bytes, shared: shared.clone() })
        }
        wire::DATA => Reply::Data(body.string()?),
        wire::NAME => Reply::Name(body.0),
        wire::ATTRS => Reply::Attributes(body.attributes()?),
        wire::EXTENDED_REPLY => Reply::Extended(body.0),
        _ => return Err(wire::broken()),
    };
    if let Some(waiting) = waiting {
        // One who no longer waits drops it, and with it a handle is closed.
        let _ = waiting.send(reply);
    }
    Ok(())
}
