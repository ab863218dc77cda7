//! A stretch of time up to now, as people ask for it: `7 days`.

use std::{fmt, str::FromStr};

use jiff::{Span, tz::TimeZone};

use crate::time::Timestamp;

/// A stretch of time up to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    All,
    Last { count: u32, unit: Unit },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    const ALL: [(Self, &str); 6] = [
        (Self::Minute, "minute"),
        (Self::Hour, "hour"),
        (Self::Day, "day"),
        (Self::Week, "week"),
        (Self::Month, "month"),
        (Self::Year, "year"),
    ];
}

/// The text is no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a period: expected `all`, or a whole number from 1 and one of minute(s), hour(s), day(s), week(s), \
     month(s), year(s), such as `7 days`"
)]
pub struct ParsePeriodError;

impl Period {
    /// What a regular expression for a period looks like; the same rule as [`FromStr`].
    pub const PATTERN: &str = "^(all|[1-9][0-9]{0,8} (minute|hour|day|week|month|year)s?)$";

    /// The last `count` days.
    pub const fn days(count: u32) -> Self {
        Self::Last { count, unit: Unit::Day }
    }

    /// When the period began, if it ends at `now`. Days and longer units go by the calendar and the
    /// clocks of `zone`: a day ago is the same time yesterday, also when the clocks were changed.
    pub fn start(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let Self::Last { count, unit } = self else { return Timestamp::MIN };
        let count = i64::from(count);
        let span = match unit {
            Unit::Minute => Span::new().try_minutes(count),
            Unit::Hour => Span::new().try_hours(count),
            Unit::Day => Span::new().try_days(count),
            Unit::Week => Span::new().try_weeks(count),
            Unit::Month => Span::new().try_months(count),
            Unit::Year => Span::new().try_years(count),
        };
        span.and_then(|span| now.zoned(zone).checked_sub(span))
            .map_or(Timestamp::MIN, |start| Timestamp::from_micros(start.timestamp().as_microsecond()))
            .max(Timestamp::MIN)
    }
}

impl FromStr for Period {
    type Err = ParsePeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        let (count, unit) = text.split_once(' ').ok_or(ParsePeriodError)?;
        let good = (1..=9).contains(&count.len())
            && count.bytes().all(|b| b.is_ascii_digit())
            && !count.starts_with('0');
        let count = count.parse().ok().filter(|_| good).ok_or(ParsePeriodError)?;
        let singular = unit.strip_suffix('s').unwrap_or(unit);
        let found = Unit::ALL.into_iter().find(|(_, name)| *name == singular);
        let (unit, _) = found.ok_or(ParsePeriodError)?;
        Ok(Self::Last { count, unit })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Last { count, unit } = self else { return f.write_str("all") };
        let name = Unit::ALL.iter().find(|(known, _)| known == unit).map_or("", |(_, name)| name);
        write!(f, "{count} {name}{}", if *count == 1 { "" } else { "s" })
    }
}

impl<'de> serde::Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start(text: &str, now: &str, zone: &str) -> String {
        let now = Timestamp::parse(now, &TimeZone::UTC).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        text.parse::<Period>().unwrap().start(now, &zone).rfc3339()
    }

    #[test]
    fn the_grammar() {
        for good in
            ["all", "1 day", "1 days", "7 day", "7 days", "90 minutes", "2 weeks", "1 month", "100 years"]
        {
            assert!(good.parse::<Period>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "day",
            "7",
            "7days",
            "0 days",
            "-1 day",
            "1.5 days",
            "7  days",
            "7 Days",
            " 7 days",
            "7 dayss",
            "07 days",
            "1 fortnight",
            "+7 days",
            "ALL",
            "1234567890 days",
        ] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
        assert_eq!("7 day".parse::<Period>().unwrap().to_string(), "7 days");
        assert_eq!(Period::days(1).to_string(), "1 day");
    }

    #[test]
    fn days_go_by_the_wall_clock_and_hours_by_the_stopwatch() {
        // Berlin put its clocks forward on 2025-03-30 at 01:00 UTC.
        assert_eq!(start("1 day", "2025-03-30T10:00:00Z", "Europe/Berlin"), "2025-03-29T11:00:00.000Z");
        assert_eq!(start("24 hours", "2025-03-30T10:00:00Z", "Europe/Berlin"), "2025-03-29T10:00:00.000Z");
        assert_eq!(start("1 month", "2025-03-31T10:00:00Z", "UTC"), "2025-02-28T10:00:00.000Z");
    }

    #[test]
    fn what_reaches_beyond_the_calendar_is_everything() {
        assert_eq!(start("999999999 years", "2025-03-30T10:00:00Z", "UTC"), Timestamp::MIN.rfc3339());
        assert_eq!(start("all", "2025-03-30T10:00:00Z", "UTC"), Timestamp::MIN.rfc3339());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<Period>();
        }

        #[test]
        fn every_period_starts_before_it_ends(count in 1u32..1_000_000_000, unit in 0usize..6) {
            let now = Timestamp::from_secs(1_750_000_000);
            let period = Period::Last { count, unit: Unit::ALL[unit].0 };
            prop_assert!(period.start(now, &TimeZone::get("America/New_York").unwrap()) < now);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }
    }
}
