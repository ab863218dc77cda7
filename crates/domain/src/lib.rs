//! What Sojourn means by its words.
//!
//! Pure types and rules: no tokio, no SQL, no HTTP, no sockets and no clock. Whoever calls
//! passes the time in, so that every rule can be tested by advancing it.

pub mod access;
pub mod cast;
pub mod commands;
pub mod connections;
pub mod files;
pub mod id;
pub mod identity;
pub mod mac;
pub mod policy;
pub mod presence;
pub mod seal;
pub mod time;
pub mod webm;
