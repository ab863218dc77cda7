//! Files moved through Sojourn, from end to end: real clients, the real server, real targets.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::expect_used, reason = "a failed step fails the test")]

mod browser;
mod clients;
mod front;
mod taps;
mod targets;
