//! SSH targets: a [`Link`] is one SSH connection to a target, on which sessions, forwarded ports and
//! the user's agent travel as channels of their own.

mod agent;
mod algorithms;
mod channel;
mod link;
mod login;
pub(crate) mod pipe;
mod probe;

pub use agent::{AgentStream, AgentWay};
pub(crate) use algorithms::front_preferences;
pub use channel::{PtyRequest, Start, StartError, What};
pub(crate) use channel::{STDERR, name_of};
pub use link::{Greeting, Incoming, Link, SeenKey};
pub(super) use probe::probe;

/// How much a peer may send on one channel before its consumer has taken it. It is also what one
/// stalled channel may cost; enough for 1 Gbit/s at 16 ms.
pub(crate) const WINDOW: u32 = 2 * 1024 * 1024;
/// The largest packet of data that is asked for, and so the largest piece in a queue.
pub(crate) const PACKET: u32 = 32 * 1024;
/// Messages besides data that may wait in one channel.
pub(crate) const CONTROLS: usize = 256;
