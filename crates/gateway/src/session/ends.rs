//! The two ends of an access session, each a pair of bounded queues.
//!
//! A queue that is full makes the sender wait: a slow client holds the target back and a slow
//! target holds the client back, without memory that grows. A dropped queue says that the end is gone.
//! What fills and empties the queues runs along with the session's actor where it can ([`Carrier`]).

use bytes::Bytes;
use sojourn_domain::access::EndReason;
use tokio::sync::mpsc;

pub use super::carrier::Carrier;

/// Messages in each queue. Bytes come in pieces of at most [`PIECE`].
pub const QUEUE: usize = 32;
/// The largest piece of bytes in one message.
pub const PIECE: usize = 32 * 1024;

/// A terminal's size in characters, and in pixels where known (else 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub cols: u16,
    pub rows: u16,
    pub width_px: u16,
    pub height_px: u16,
}

/// How a target's program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    Status(u32),
    /// RFC 4254 section 6.10; the signal without `SIG`.
    Signal {
        name: String,
        core_dumped: bool,
        message: String,
        language: String,
    },
}

/// From the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetEvent {
    Output(Bytes),
    /// Standard error, where it comes apart.
    ErrorOutput(Bytes),
    /// A person did something, where bytes alone do not tell: on a desktop.
    Touched,
    /// No more output follows; input may still be taken.
    Eof,
    Exit(Exit),
    /// The last message. `Closed` when the target ended it in the ordinary way.
    Ended {
        reason: EndReason,
        detail: String,
    },
}

/// To the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetInput {
    Data(Bytes),
    Resize(TerminalSize),
    /// Without `SIG`.
    Signal(String),
    /// RFC 4335; milliseconds.
    Break(u32),
    /// Nobody reads the output any more: whatever writes is to be told.
    Unread,
    Eof,
}

/// A target that has been reached and on which the shell or command was started. Dropping it closes it.
#[derive(Debug)]
pub struct TargetEnd {
    pub events: mpsc::Receiver<TargetEvent>,
    pub input: mpsc::Sender<TargetInput>,
    pub carrier: Carrier,
}

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientInput {
    Data(Bytes),
    Resize(TerminalSize),
    Signal(String),
    Break(u32),
    /// The output is thrown away from now on.
    Unread,
    Eof,
    /// The user closed the session on purpose; a client that is merely gone drops its queue.
    Close,
}

/// To the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    Output(Bytes),
    ErrorOutput(Bytes),
    Eof,
    Exit(Exit),
    /// A line for the person, from Sojourn itself: somebody watches, the session ends soon.
    Notice(String),
    /// The last message.
    Ended {
        reason: EndReason,
        detail: String,
    },
}

/// A client that is attached to a session.
#[derive(Debug)]
pub struct ClientEnd {
    pub input: mpsc::Receiver<ClientInput>,
    pub events: mpsc::Sender<ClientEvent>,
    pub carrier: Carrier,
}

/// Waits until there is a place in a queue that only the caller fills, or nobody reads it any more; for
/// ever without a queue.
pub(crate) async fn place<T>(queue: Option<&mpsc::Sender<T>>) {
    match queue {
        Some(queue) => drop(queue.reserve().await),
        None => std::future::pending().await,
    }
}
