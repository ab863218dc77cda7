//! What stands between people and targets: the fronts that clients connect to, the actor of each
//! access session, and the protocols that targets speak.
//!
//! The only crate that names protocol libraries. It knows nothing of HTTP and nothing of SQL.

pub mod admission;
pub mod files;
pub mod front;
pub mod keys;
pub mod protocols;
pub mod session;
pub mod sinks;
