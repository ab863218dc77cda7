//! Who is on the network: sources sight devices, a tracker turns sightings into events, and
//! events into presence sessions.

pub mod sighting;
pub mod source;

pub use sighting::{Evidence, Scan, ScanOutcome, Scope, Sighting, Subnet};
pub use source::{GapReason, SourceKind, Strength};
