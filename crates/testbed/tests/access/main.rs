//! Terminal sessions, from end to end: real clients, the real server, real targets.
//!
//! `SOJOURN_TEST_FULL=1` makes what is repeated and what is moved as large as the goals have it.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::expect_used, reason = "a failed step fails the test")]

mod cases;
mod disk;
mod faults;
mod forwarding;
mod front;
mod libraries;
mod multiplexing;
mod nodes;
mod recording;
mod transparency;
mod web;

/// How much of something: a modest amount, or in a full run another.
fn full(modest: u64, full: u64) -> u64 {
    if std::env::var("SOJOURN_TEST_FULL").is_ok_and(|value| !matches!(value.as_str(), "" | "0")) {
        full
    } else {
        modest
    }
}
