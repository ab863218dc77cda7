//! Points and lengths of time, and how people write them.
//!
//! Inside, a point in time is integer microseconds since 1970 in UTC. Zones appear only when
//! text is read or written, and the zone is always an argument.

use std::fmt;

use jiff::{
    civil,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A length of time in microseconds; may be negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Elapsed(i64);

/// Tells the time. Everything that needs the time takes one.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z: text can write nothing earlier.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-30T00:00:00Z: whatever the zone, text can write it.
    pub const MAX: Self = Self(253_402_128_000_000_000);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The length from `earlier` to `self`; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Elapsed {
        Elapsed(self.0.saturating_sub(earlier.0))
    }

    fn clamped(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0.clamp(Self::MIN.0, Self::MAX.0))
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    pub(crate) fn zoned(self, zone: &TimeZone) -> jiff::Zoned {
        self.clamped().to_zoned(zone.clone())
    }

    /// The local date and time that a clock on the wall in `zone` shows.
    pub fn local(self, zone: &TimeZone) -> civil::DateTime {
        zone.to_datetime(self.clamped())
    }

    /// RFC 3339 in UTC with milliseconds: `2024-01-01T00:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        let t = Offset::UTC.to_datetime(self.clamped());
        let mut text = *b"0000-00-00T00:00:00.000Z";
        // The numbers are within the range of their digits.
        let mut put = |at: usize, digits: usize, number: i16| {
            let mut rest = number.unsigned_abs();
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        };
        put(0, 4, t.year());
        put(5, 2, t.month().into());
        put(8, 2, t.day().into());
        put(11, 2, t.hour().into());
        put(14, 2, t.minute().into());
        put(17, 2, t.second().into());
        put(20, 3, t.millisecond());
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads RFC 3339, or a local time in `zone` without an offset. A space may stand for the `T`,
    /// seconds may be missing, and a bare date is the first moment of that local day.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, ParseTimeError> {
        let text = text.trim();
        if text.len() > 64 || text.contains('[') {
            return Err(ParseTimeError::Unreadable);
        }
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Self::checked(timestamp);
        }
        if let Ok(date) = text.parse::<civil::Date>()
            && text.len() == 10
        {
            return day_start(date, zone);
        }
        if text.ends_with(['Z', 'z']) {
            return Err(ParseTimeError::Unreadable);
        }
        let local: civil::DateTime = text.parse().map_err(|_| ParseTimeError::Unreadable)?;
        from_local(local, zone)
    }

    fn checked(timestamp: jiff::Timestamp) -> Result<Self, ParseTimeError> {
        let value = Self(timestamp.as_microsecond());
        if value < Self::MIN || value > Self::MAX {
            return Err(ParseTimeError::OutOfRange);
        }
        Ok(value)
    }
}

/// Why a time could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimeError {
    #[error(
        "not a time: expected RFC 3339 such as 2025-08-01T10:00:00Z, or a local time such as 2025-08-01 10:00"
    )]
    Unreadable,
    #[error("the local time {local} does not exist in {zone}: the clocks were put forward over it")]
    Skipped { local: String, zone: String },
    #[error("the time is outside the years 1 to 9999")]
    OutOfRange,
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("the configured zone").to_owned()
}

/// The moment at which clocks in `zone` show `local`: the earlier one where there are two.
pub fn from_local(local: civil::DateTime, zone: &TimeZone) -> Result<Timestamp, ParseTimeError> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    if let AmbiguousOffset::Gap { .. } = ambiguous.offset() {
        return Err(ParseTimeError::Skipped { local: local.to_string(), zone: zone_name(zone) });
    }
    let timestamp = ambiguous.earlier().map_err(|_| ParseTimeError::OutOfRange)?;
    Timestamp::checked(timestamp)
}

/// The first moment of a local day, which is not midnight where the clocks are put forward over it.
pub fn day_start(date: civil::Date, zone: &TimeZone) -> Result<Timestamp, ParseTimeError> {
    let start = zone
        .to_ambiguous_timestamp(date.at(0, 0, 0, 0))
        .compatible()
        .map_err(|_| ParseTimeError::OutOfRange)?;
    Timestamp::checked(start)
}

/// The first moment after a local day.
pub fn day_end(date: civil::Date, zone: &TimeZone) -> Result<Timestamp, ParseTimeError> {
    day_start(date.tomorrow().map_err(|_| ParseTimeError::OutOfRange)?, zone)
}

impl std::ops::Add<Elapsed> for Timestamp {
    type Output = Timestamp;
    fn add(self, length: Elapsed) -> Timestamp {
        Timestamp(self.0.saturating_add(length.0))
    }
}

impl std::ops::Sub<Elapsed> for Timestamp {
    type Output = Timestamp;
    fn sub(self, length: Elapsed) -> Timestamp {
        Timestamp(self.0.saturating_sub(length.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.clamped())
    }
}

impl Elapsed {
    pub const ZERO: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    pub const fn from_minutes(minutes: i64) -> Self {
        Self::from_secs(minutes.saturating_mul(60))
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    pub const fn as_millis(self) -> i64 {
        self.0 / 1000
    }

    pub const fn as_secs(self) -> i64 {
        self.0 / 1_000_000
    }

    /// The same length for timers; zero when negative.
    pub const fn to_std(self) -> std::time::Duration {
        if self.0 < 0 { std::time::Duration::ZERO } else { std::time::Duration::from_micros(self.0 as u64) }
    }

    /// Reads `500ms`, `30s`, `2m`, `1h` or `30d`.
    pub fn parse(text: &str) -> Result<Self, ParseElapsedError> {
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(ParseElapsedError)?;
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().map_err(|_| ParseElapsedError)?;
        let micros: i64 = match unit {
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(ParseElapsedError),
        };
        number.checked_mul(micros).map(Self).ok_or(ParseElapsedError)
    }
}

/// The text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: expected a whole number and ms, s, m, h or d, such as 30s or 2m")]
pub struct ParseElapsedError;

impl std::ops::Add for Elapsed {
    type Output = Elapsed;
    fn add(self, other: Elapsed) -> Elapsed {
        Elapsed(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for Elapsed {
    type Output = Elapsed;
    fn sub(self, other: Elapsed) -> Elapsed {
        Elapsed(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Elapsed {
    /// The largest unit that keeps the length whole: `90s`, `2m`, `500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, micros) in
            [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)]
        {
            if self.0 != 0 && self.0 % micros == 0 {
                return write!(f, "{}{unit}", self.0 / micros);
            }
        }
        write!(f, "{}ms", self.0 / 1000)
    }
}

impl fmt::Debug for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Elapsed {
    type Err = ParseElapsedError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn utc(text: &str) -> Timestamp {
        Timestamp::parse(text, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn the_written_forms_of_one_moment() {
        let berlin = zone("Europe/Berlin");
        let expected = utc("2025-08-01T08:00:00Z");
        for text in [
            "2025-08-01T10:00:00",
            "2025-08-01 10:00:00",
            "2025-08-01T10:00",
            "2025-08-01 10:00",
            "2025-08-01T10:00:00+02:00",
            "2025-08-01T08:00:00.000Z",
            "2025-08-01 08:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text, &berlin), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_bare_date_is_the_first_moment_of_the_local_day() {
        assert_eq!(Timestamp::parse("2025-08-01", &zone("Europe/Berlin")), Ok(utc("2025-07-31T22:00:00Z")));
        // Midnight was skipped in Beirut on this day.
        assert_eq!(Timestamp::parse("2022-03-27", &zone("Asia/Beirut")), Ok(utc("2022-03-26T22:00:00Z")));
    }

    #[test]
    fn a_time_in_the_gap_is_refused_and_a_doubled_one_is_the_earlier() {
        let berlin = zone("Europe/Berlin");
        let gap = Timestamp::parse("2025-03-30T02:30:00", &berlin).unwrap_err();
        assert!(gap.to_string().contains("does not exist in Europe/Berlin"), "{gap}");
        assert_eq!(Timestamp::parse("2025-10-26T02:30:00", &berlin), Ok(utc("2025-10-26T00:30:00Z")));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-13-01",
            "2025-02-30T10:00",
            "10:00",
            "2025-08-01T25:00",
            "2025-08-01T10:00:00[Europe/Nowhere]",
        ] {
            assert!(Timestamp::parse(text, &TimeZone::UTC).is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_as_long_as_the_clocks_make_them() {
        let berlin = zone("Europe/Berlin");
        let length = |day: &str| {
            let date: civil::Date = day.parse().unwrap();
            day_end(date, &berlin).unwrap().since(day_start(date, &berlin).unwrap()).as_secs() / 3600
        };
        assert_eq!((length("2025-03-30"), length("2025-06-01"), length("2025-10-26")), (23, 24, 25));
    }

    #[test]
    fn durations_read_and_write() {
        for text in ["500ms", "30s", "2m", "1h", "30d", "90s"] {
            assert_eq!(text.parse::<Elapsed>().unwrap().to_string(), text);
        }
        for text in ["", "5", "m", "-5s", "1.5h", "5 s", "99999999999999d"] {
            assert!(text.parse::<Elapsed>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn rfc3339_round_trips_to_the_millisecond(millis in -62_135_596_800_000i64..253_402_128_000_000) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse(&at.rfc3339(), &TimeZone::UTC), Ok(at));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Timestamp::parse(&text, &zone("America/New_York"));
        }
    }
}
