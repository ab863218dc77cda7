//! Presence sources and the engine that turns what they see into presence sessions.
//!
//! The only crate that opens raw sockets or reads leases. It serves no HTTP and writes no SQL; the
//! forwarder is an HTTP client.

pub mod engine;
pub mod forwarder;
pub mod frames;
pub mod hostnames;
pub mod imports;
pub mod interfaces;
pub mod leases;
mod packet;
pub mod reverse_names;
pub mod sources;
pub mod vendor;
