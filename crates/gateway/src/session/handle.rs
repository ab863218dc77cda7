//! What others hold of a live session: its facts, its numbers, and the way to its actor.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use sojourn_domain::{
    access::{ClientKind, EndReason, Protocol, Purpose},
    id::{AccessSessionId, ConnectionId, UserId},
    time::{Elapsed, Timestamp},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::ends::{ClientInput, Exit, TerminalSize};
use crate::sinks::{
    desktop::{DesktopEye, DesktopTap},
    screen::Snapshot,
};

/// Words to an actor that may wait. It answers at once whatever its ends do, so this is a reserve for
/// many that ask at one time; who finds it full waits.
const CONTROL: usize = 8;
/// Events that may wait for one viewer; beyond them the viewer is given a new snapshot.
const VIEWER_QUEUE: usize = 64;
/// Keys of viewers that take part, waiting for the session; who finds it full waits.
const JOIN_QUEUE: usize = 8;

/// The session is over, or its actor is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Gone;

/// What a session is, from its beginning on.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    pub id: AccessSessionId,
    pub user: UserId,
    pub user_name: String,
    pub connection: ConnectionId,
    pub connection_name: String,
    pub protocol: Protocol,
    pub purpose: Purpose,
    pub command: String,
    pub client_kind: ClientKind,
    pub client_address: String,
    pub started_at: Timestamp,
    /// A recording was begun.
    pub recorded: bool,
    /// It has a terminal: it can be watched.
    pub terminal: bool,
}

/// A session's numbers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionNumbers {
    pub cols: u16,
    pub rows: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub idle: Elapsed,
    pub viewers: Vec<Viewer>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub reason: EndReason,
    pub detail: String,
    pub exit: Option<Exit>,
}

/// What a viewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewMode {
    /// Sees.
    Watch,
    /// Sees and types.
    Join,
}

impl ViewMode {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Join => "join",
        }
    }
}

/// Someone who watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    pub user: UserId,
    pub name: String,
    pub mode: ViewMode,
}

/// What viewers get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// The whole screen: first of all, and again when the viewer could not follow.
    Snapshot(Snapshot),
    Output(Bytes),
    Resize {
        cols: u16,
        rows: u16,
    },
    /// The last event.
    Ended(Ended),
}

/// A viewer's end. Dropping it stops watching.
#[derive(Debug)]
pub struct Watch {
    pub events: mpsc::Receiver<LiveEvent>,
    /// For [`ViewMode::Join`].
    pub input: Option<mpsc::Sender<ClientInput>>,
}

/// Somebody who looks on at a desktop. Dropping it stops that.
#[derive(Debug)]
pub struct Looking {
    pub eye: DesktopEye,
    #[expect(dead_code, reason = "its drop is what it is for")]
    seat: Seat,
}

/// A place in the list of viewers.
#[derive(Debug)]
struct Seat {
    shared: Arc<Shared>,
    viewer: Viewer,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.viewers.send_modify(|viewers| {
            if let Some(at) = viewers.iter().position(|viewer| *viewer == self.viewer) {
                viewers.remove(at);
            }
        });
    }
}

/// Words to the actor. It takes them whatever its ends are doing.
#[derive(Debug)]
pub(super) enum Control {
    End(Box<Ended>),
    Watch(Box<Watcher>),
    /// Somebody looks on at a desktop.
    Look(Viewer),
    Snapshot(oneshot::Sender<Snapshot>),
    Notice(String),
}

/// A viewer on its way to the screen, which keeps it.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) viewer: Viewer,
    pub(crate) events: mpsc::Sender<LiveEvent>,
    pub(crate) input: Option<mpsc::Receiver<ClientInput>>,
}

/// Shared by the actor, its sinks and all handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) facts: SessionFacts,
    pub(crate) begun: Instant,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Milliseconds since the beginning.
    active_ms: AtomicU64,
    size: AtomicU32,
    pub(crate) viewers: watch::Sender<Vec<Viewer>>,
    pub(super) control: mpsc::Sender<Control>,
    pub(super) ended: watch::Sender<Option<Ended>>,
    destinations: std::sync::Mutex<Vec<String>>,
    /// Of a desktop.
    pub(super) desktop: Option<DesktopTap>,
}

/// Destinations of forwarded ports that are kept for one session; the rest is counted.
const DESTINATIONS: usize = 50;

impl Shared {
    pub(super) fn new(
        facts: SessionFacts,
        begun: Instant,
        size: Option<TerminalSize>,
        desktop: Option<DesktopTap>,
    ) -> (Arc<Self>, mpsc::Receiver<Control>) {
        let (control, heard) = mpsc::channel(CONTROL);
        let shared = Self {
            facts,
            begun,
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            active_ms: AtomicU64::new(0),
            size: AtomicU32::new(0),
            viewers: watch::Sender::new(Vec::new()),
            control,
            ended: watch::Sender::new(None),
            destinations: std::sync::Mutex::new(Vec::new()),
            desktop,
        };
        if let Some(size) = size {
            shared.resized(size);
        }
        (Arc::new(shared), heard)
    }

    /// Since the beginning, by a clock that only goes forward.
    pub(crate) fn elapsed(&self) -> Elapsed {
        Elapsed::from_micros(i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(now, Relaxed);
    }

    pub(crate) fn idle_ms(&self) -> u64 {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(self.active_ms.load(Relaxed))
    }

    pub(super) fn count(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.fetch_add(bytes_in, Relaxed);
        self.bytes_out.fetch_add(bytes_out, Relaxed);
    }

    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.load(Relaxed), self.bytes_out.load(Relaxed))
    }

    pub(super) fn resized(&self, size: TerminalSize) {
        self.size.store(u32::from(size.cols) << 16 | u32::from(size.rows), Relaxed);
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        let [a, b, c, d] = self.size.load(Relaxed).to_be_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// The destinations of forwarded ports, as a sentence.
    pub(super) fn destinations(&self) -> String {
        let list = self.destinations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match list.len().checked_sub(DESTINATIONS) {
            Some(more) if more > 0 => format!("{} and more", list[..DESTINATIONS].join(", ")),
            Some(_) | None => list.join(", "),
        }
    }
}

/// A live session, as others reach it. Cheap to clone; it does not keep the session alive.
#[derive(Clone)]
pub struct SessionHandle(pub(super) Arc<Shared>);

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionHandle").field(&self.0.facts.id).finish()
    }
}

impl SessionHandle {
    pub fn id(&self) -> AccessSessionId {
        self.0.facts.id
    }

    pub fn facts(&self) -> &SessionFacts {
        &self.0.facts
    }

    pub fn numbers(&self) -> SessionNumbers {
        let (cols, rows) = self.0.size();
        let (bytes_in, bytes_out) = self.0.bytes();
        SessionNumbers {
            cols,
            rows,
            bytes_in,
            bytes_out,
            idle: Elapsed::from_millis(i64::try_from(self.0.idle_ms()).unwrap_or(i64::MAX)),
            viewers: self.0.viewers.borrow().clone(),
        }
    }

    /// Who watches, as it changes.
    pub fn viewers(&self) -> watch::Receiver<Vec<Viewer>> {
        self.0.viewers.subscribe()
    }

    /// Watches, or takes part: the exact screen first, then everything after it. `Gone` also where
    /// the session has no terminal.
    pub async fn watch(&self, viewer: Viewer) -> Result<Watch, Gone> {
        if !self.0.facts.terminal {
            return Err(Gone);
        }
        let (told, events) = mpsc::channel(VIEWER_QUEUE);
        let (input, typed) = match viewer.mode {
            ViewMode::Watch => (None, None),
            ViewMode::Join => {
                let (input, typed) = mpsc::channel(JOIN_QUEUE);
                (Some(input), Some(typed))
            }
        };
        let watcher = Watcher { viewer, events: told, input: typed };
        self.0.control.send(Control::Watch(Box::new(watcher))).await.map_err(|_| Gone)?;
        Ok(Watch { events, input })
    }

    /// Whether it shows a desktop that can be looked at.
    pub fn has_desktop(&self) -> bool {
        self.0.desktop.is_some()
    }

    /// Looks on at a desktop. `Gone` also where the session has none.
    pub async fn look(&self, viewer: Viewer) -> Result<Looking, Gone> {
        let tap = self.0.desktop.as_ref().ok_or(Gone)?;
        self.0.control.send(Control::Look(viewer.clone())).await.map_err(|_| Gone)?;
        self.0.viewers.send_modify(|viewers| viewers.push(viewer.clone()));
        Ok(Looking { eye: tap.eye(), seat: Seat { shared: Arc::clone(&self.0), viewer } })
    }

    /// The screen after everything that the target has sent so far.
    pub async fn snapshot(&self) -> Result<Snapshot, Gone> {
        let (answer, told) = oneshot::channel();
        self.0.control.send(Control::Snapshot(answer)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Ends the session. Returns when the actor knows; [`Self::ended`] waits until it is over.
    pub async fn terminate(&self, reason: EndReason, detail: impl Into<String>) -> Result<(), Gone> {
        let ended = Ended { reason, detail: detail.into(), exit: None };
        self.0.control.send(Control::End(Box::new(ended))).await.map_err(|_| Gone)
    }

    /// A line for the person at the client.
    pub async fn notice(&self, text: impl Into<String>) -> Result<(), Gone> {
        self.0.control.send(Control::Notice(text.into())).await.map_err(|_| Gone)
    }

    /// Counts bytes that did not go through the actor: forwarded ports.
    pub fn count(&self, bytes_in: u64, bytes_out: u64) {
        self.0.count(bytes_in, bytes_out);
        self.0.touch();
    }

    /// Notes where a port was forwarded to; each destination is kept once.
    pub fn destination(&self, text: &str) {
        let mut list = self.0.destinations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if list.len() <= DESTINATIONS && !list.iter().any(|known| known == text) {
            list.push(text.to_owned());
        }
    }

    /// Waits until the session is over: its row is ended and its recording closed.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.0.ended.subscribe();
        // The sender lives as long as this handle does.
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone(),
            Err(_) => None,
        }
        .unwrap_or_else(|| Ended { reason: EndReason::Failed, detail: String::new(), exit: None })
    }
}
