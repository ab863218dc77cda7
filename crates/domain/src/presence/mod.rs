//! Who is on the network: sources sight devices, a tracker turns sightings into events, and
//! events into presence sessions.

pub mod event;
pub mod period;
pub mod session;
pub mod sighting;
pub mod source;
pub mod tracker;

pub use event::{EventKind, PresenceEvent};
pub use period::Period;
pub use session::{End, PresenceSession, Start};
pub use sighting::{Evidence, Scan, ScanOutcome, Scope, Sighting, Subnet};
pub use source::{Gap, GapReason, Health, SourceKind, Strength};
pub use tracker::{Changes, DeviceState, Tracker};

/// A device's number in this installation. Assigned once, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(pub i64);
