//! Local dates and times, and lengths of time, as text for people.

use std::fmt::Write as _;

use jiff::tz::{Offset, TimeZone};
use sojourn_domain::time::{Elapsed, Timestamp};

/// Writes local times. Remembers the offset between two changes of the clocks, because long lists
/// are in order of time.
pub struct LocalTimes {
    zone: TimeZone,
    offset: Offset,
    /// The whole seconds in which `offset` holds.
    from_s: i64,
    until_s: i64,
}

impl LocalTimes {
    pub fn new(zone: &TimeZone) -> Self {
        Self { zone: zone.clone(), offset: Offset::UTC, from_s: 0, until_s: 0 }
    }

    /// `2025-08-01 10:00`
    pub fn minutes(&mut self, at: Timestamp, out: &mut String) {
        self.write(at, b' ', false, out);
    }

    /// `2025-08-01T10:00:00`
    pub fn seconds(&mut self, at: Timestamp, out: &mut String) {
        self.write(at, b'T', true, out);
    }

    fn write(&mut self, at: Timestamp, separator: u8, seconds: bool, out: &mut String) {
        let at = at.clamp(Timestamp::MIN, Timestamp::MAX);
        let second = at.as_micros().div_euclid(1_000_000);
        if second < self.from_s || second >= self.until_s {
            self.learn(second);
        }
        let local = self.offset.to_datetime(clamped(second));
        let mut text = *b"0000-00-00T00:00:00";
        let mut two = |at: usize, number: i16| {
            let number = number.unsigned_abs() as u8 % 100;
            text[at] = b'0' + number / 10;
            text[at + 1] = b'0' + number % 10;
        };
        two(0, local.year() / 100);
        two(2, local.year() % 100);
        two(5, local.month().into());
        two(8, local.day().into());
        two(11, local.hour().into());
        two(14, local.minute().into());
        two(17, local.second().into());
        text[10] = separator;
        let text = if seconds { &text[..] } else { &text[..16] };
        // The bytes are digits and punctuation.
        out.push_str(std::str::from_utf8(text).unwrap_or_default());
    }

    fn learn(&mut self, second: i64) {
        // `preceding` wants a later moment to tell of a change at this very second.
        self.offset = self.zone.to_offset(clamped(second));
        self.from_s = self
            .zone
            .preceding(clamped(second + 1))
            .next()
            .map_or(i64::MIN, |change| change.timestamp().as_second());
        self.until_s = self
            .zone
            .following(clamped(second))
            .next()
            .map_or(i64::MAX, |change| change.timestamp().as_second());
    }
}

fn clamped(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap_or(if second < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

/// `45m`, `2h 0m`, `1d 2h 0m`; whole minutes, rounded down.
pub fn duration(length: Elapsed, out: &mut String) {
    let minutes = length.as_secs().max(0) / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    // Writing to a String does not fail.
    let _ = match (days, hours) {
        (0, 0) => write!(out, "{minutes}m"),
        (0, _) => write!(out, "{hours}h {minutes}m"),
        (_, _) => write!(out, "{days}d {hours}h {minutes}m"),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minutes(zone: &TimeZone, at: Timestamp) -> String {
        let mut text = String::new();
        LocalTimes::new(zone).minutes(at, &mut text);
        text
    }

    #[test]
    fn durations() {
        let text = |minutes: i64| {
            let mut out = String::new();
            duration(Elapsed::from_minutes(minutes), &mut out);
            out
        };
        assert_eq!(text(120), "2h 0m");
        assert_eq!(text(45), "45m");
        assert_eq!(text(26 * 60), "1d 2h 0m");
        assert_eq!(text(24 * 60), "1d 0h 0m");
        assert_eq!(text(0), "0m");
        assert_eq!(text(-5), "0m");
        let mut almost = String::new();
        duration(Elapsed::from_secs(59), &mut almost);
        assert_eq!(almost, "0m");
    }

    #[test]
    fn local_times_on_both_sides_of_a_change_of_the_clocks() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let mut times = LocalTimes::new(&berlin);
        // The clocks went forward at 2025-03-30T01:00:00Z.
        let change = 1_743_296_400;
        let mut all = String::new();
        for second in [change - 1, change, change - 1] {
            times.seconds(Timestamp::from_secs(second), &mut all);
            all.push(' ');
        }
        assert_eq!(all, "2025-03-30T01:59:59 2025-03-30T03:00:00 2025-03-30T01:59:59 ");
        assert_eq!(minutes(&berlin, Timestamp::MAX), "9999-12-30 01:00");
        assert_eq!(minutes(&TimeZone::UTC, Timestamp::MIN), "0001-01-01 00:00");
    }

    proptest! {
        #[test]
        fn a_remembered_offset_is_the_right_one(
            seconds in prop::collection::vec(-10_000_000_000i64..10_000_000_000, 1..20),
            zone in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca",
                "America/St_Johns", "Pacific/Apia", "UTC",
            ]),
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let mut times = LocalTimes::new(&zone);
            for second in seconds {
                let at = Timestamp::from_secs(second);
                let mut text = String::new();
                times.seconds(at, &mut text);
                prop_assert_eq!(text, at.local(&zone).strftime("%Y-%m-%dT%H:%M:%S").to_string());
            }
        }
    }
}
