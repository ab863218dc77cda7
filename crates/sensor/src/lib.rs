//! Presence sources and the engine that turns what they see into presence sessions.
//!
//! The only crate that opens raw sockets or reads leases. It knows nothing of HTTP or SQL.

pub mod interfaces;
pub mod leases;
pub mod sources;
