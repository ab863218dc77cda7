//! Counting tests from what their runners print.

use std::{fmt, ops::AddAssign};

/// How many tests did what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// `test result: ok. 3 passed; 1 failed; 0 ignored; …` of every test program, corrected by the
    /// `SKIPPED whole|part …` lines of tests that returned early (see the test bed's `skip`).
    pub(crate) fn of_cargo_test(lines: &[String]) -> Self {
        let mut counts = Self::default();
        for line in lines {
            if let Some(rest) = line.strip_prefix("test result:") {
                counts += Self {
                    passed: number_before(rest, "passed"),
                    failed: number_before(rest, "failed"),
                    skipped: number_before(rest, "ignored"),
                };
            }
        }
        // A test that skips itself ends well, as far as its harness knows. The lines are written
        // by several threads, and may follow other text in theirs.
        let said = |what: &str| lines.iter().map(|line| line.matches(what).count() as u32).sum::<u32>();
        let (whole, part) = (said("SKIPPED whole "), said("SKIPPED part "));
        counts.passed = counts.passed.saturating_sub(whole);
        counts.skipped += whole + part;
        counts
    }

    /// `Tests  1 failed | 12 passed | 2 skipped (15)`
    pub(crate) fn of_vitest(lines: &[String]) -> Self {
        let line = lines.iter().rev().find(|line| line.trim_start().starts_with("Tests "));
        line.map(|line| Self::of_words(line)).unwrap_or_default()
    }

    /// Playwright's closing lines: `  2 failed`, `  1 flaky`, `  1 skipped`, `  1 did not run`,
    /// `  12 passed (3.4s)`.
    pub(crate) fn of_playwright(lines: &[String]) -> Self {
        let mut counts = Self::default();
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            let Some(number) = words.first().and_then(|word| word.parse::<u32>().ok()) else { continue };
            match words[1..] {
                ["passed"] | ["passed", _] => counts.passed += number,
                ["failed"] | ["flaky"] | ["interrupted"] => counts.failed += number,
                ["skipped"] | ["did", "not", "run"] => counts.skipped += number,
                _ => {}
            }
        }
        counts
    }

    fn of_words(line: &str) -> Self {
        Self {
            passed: number_before(line, "passed"),
            failed: number_before(line, "failed"),
            skipped: number_before(line, "skipped") + number_before(line, "todo"),
        }
    }
}

/// The number that stands before a word, 0 where there is none.
fn number_before(text: &str, word: &str) -> u32 {
    let words: Vec<_> =
        text.split(|char: char| !char.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn test_programs_are_summed_and_early_returns_are_no_passes() {
        let lines = lines(
            "test a ... ok\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 2.51s\n\
             SKIPPED part store::tests::a: PostgreSQL is not installed\n\
             test net ... SKIPPED whole net: needs root\n\
             test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        );
        assert_eq!(Counts::of_cargo_test(&lines), Counts { passed: 7, failed: 2, skipped: 3 });
    }

    #[test]
    fn vitest_is_read_from_its_tests_line() {
        let lines = lines(
            " Test Files  4 passed (4)\n      Tests  1 failed | 12 passed | 2 skipped (15)\n   Start at  10:00:00",
        );
        assert_eq!(Counts::of_vitest(&lines), Counts { passed: 12, failed: 1, skipped: 2 });
    }

    #[test]
    fn playwright_is_read_from_its_closing_lines() {
        let lines = lines(
            "Running 4 tests using 1 worker\n  ✓  1 setup.spec.ts:3:1 › setup (1.2s)\n  1 failed\n    setup.spec.ts\n  \
             1 did not run\n  2 passed (3.4s)",
        );
        assert_eq!(Counts::of_playwright(&lines), Counts { passed: 2, failed: 1, skipped: 1 });
    }
}
