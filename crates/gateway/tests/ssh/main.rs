//! Real OpenSSH clients, through the front, to a real OpenSSH server.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;
mod sessions;
