//! Presence over HTTP, in process: the seed's examples, the contract line by line, the traps that
//! another product fell into, and the lists against a naive model.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a house that tests play in may panic")]

mod cli;
mod contract;
mod house;
mod model;
mod seed_a;
mod sources;
mod stream;
mod traps;
