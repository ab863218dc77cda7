//! One access session, one actor: bytes pass through it, are timed once, and go to the recorder,
//! the command detector and live viewers in that order.
//!
//! The actor stands between two ends and knows neither protocol nor client: an [`ends::TargetEnd`], made
//! by a protocol, and an [`ends::ClientEnd`], made by the SSH front or a web terminal.

pub mod ends;
