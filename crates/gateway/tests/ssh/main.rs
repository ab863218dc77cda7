//! Real OpenSSH clients, through the front, to a real OpenSSH server.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "tests")]

mod forwarding;
mod house;

mod sessions;
mod stall;
mod targets;
