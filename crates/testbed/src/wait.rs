//! Waiting for something to become true: the one place where tests look at the clock.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and returns it. Panics, naming `what`, when `limit` has passed.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for {what}");
        thread::sleep(PAUSE);
    }
}

/// Asks until two values are equal; shows both when `limit` has passed.
#[track_caller]
pub fn until_eq<T: PartialEq + std::fmt::Debug>(
    what: &str,
    limit: Duration,
    expected: &T,
    mut ask: impl FnMut() -> T,
) {
    let started = Instant::now();
    loop {
        let found = ask();
        if found == *expected {
            return;
        }
        assert!(
            started.elapsed() < limit,
            "waited {limit:?} in vain for {what}: {found:?}, expected {expected:?}"
        );
        thread::sleep(PAUSE);
    }
}

/// Lets `span` pass while nothing wrong happens: `check` is asked all the time and panics at a fault.
/// For what must *not* happen, where there is no event to wait for.
pub fn during(span: Duration, mut check: impl FnMut()) {
    let started = Instant::now();
    while started.elapsed() < span {
        check();
        thread::sleep(PAUSE);
    }
    check();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait() {
        let mut asked = 0;
        let answer = until("three", Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer, 3);
    }

    #[test]
    #[should_panic(expected = "in vain for a miracle")]
    fn a_deadline_ends_it_too() {
        until("a miracle", Duration::from_millis(30), || None::<()>);
    }
}
