//! Saying what was not tested, and why.
//!
//! The lines go straight to standard error, past the test harness's capture, and in a form that
//! `cargo xtask test` counts: `SKIPPED whole NAME: REASON` or `SKIPPED part NAME: REASON`.

use std::{env, io::Write as _, thread};

/// `CI` is set to something that means yes: what is missing is then a failure.
pub fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The whole test does not run. Panics in CI.
pub fn whole(reason: &str) {
    say("whole", reason);
}

/// A part of the test does not run (one of two databases, say). Panics in CI.
pub fn part(reason: &str) {
    say("part", reason);
}

fn say(extent: &str, reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(!in_ci(), "in CI nothing is skipped: {test}: {reason}");
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "SKIPPED {extent} {test}: {reason}");
}
