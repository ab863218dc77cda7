//! Everything that Sojourn keeps, in SQLite or PostgreSQL.
//!
//! The only crate that names sqlx. One set of migrations and one SQL text serve both databases;
//! what makes that possible stands in [`db`].

pub mod access;
pub mod audit;
pub mod backup;
pub mod clock;
pub mod connections;
pub mod db;
pub mod files;
pub mod identity;
pub mod in_use;
pub mod nodes;
mod packed;
pub mod presence;
pub mod public_keys;
mod readers;
pub mod recordings;
pub mod tickets;
pub mod vault;

pub use clock::{Entropy, SystemClock};
pub use db::{Store, StoreError};
