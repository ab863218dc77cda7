//! The server: composition, configuration, command line and HTTP.
//!
//! It puts the other crates together and owns nothing that lasts. It names no SQL, opens no raw
//! socket and reads no lease: those live in `sojourn_store` and `sojourn_sensor`.

pub mod access;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod front;
pub mod http;
mod memory;
pub mod nodes;
pub mod password;
pub mod refusals;
pub mod serve;
pub mod state;
pub mod targets;
pub mod turns;
