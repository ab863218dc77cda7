//! Presence over HTTP, in process: the seed's examples, the contract line by line, the traps that
//! another product fell into, and the lists against a naive model.

mod cli;
mod contract;
mod house;
mod model;
mod seed_a;
mod stream;
mod traps;
