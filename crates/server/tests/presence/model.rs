//! Lists, calendars and periods against a naive model that thinks in local days, in zones with and
//! without changes of the clocks.

use jiff::{civil::Date, tz::TimeZone};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;
use sojourn_domain::{
    mac::MacAddr,
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy,
    presence::sessions::{self, Boundary, NewSession},
};

use crate::house::House;

/// Around the change of the clocks in Europe, America and Australia.
const FIRST: &str = "2025-03-20T00:00:00Z";
const NOW: &str = "2025-04-12T12:34:56Z";
const ZONES: [&str; 5] =
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"];
const CASES: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Stay {
    device: u8,
    start: Timestamp,
    end: Timestamp,
}

fn utc(text: &str) -> Timestamp {
    Timestamp::parse(text, &TimeZone::UTC).unwrap()
}

fn stays() -> impl Strategy<Value = Vec<Stay>> {
    let stay = (0u8..3, 0i64..1_800_000, prop_oneof![0i64..7200, 0i64..400_000]);
    prop::collection::vec(stay, 1..60).prop_map(|stays| {
        let mut built: Vec<Stay> = stays
            .into_iter()
            .map(|(device, start, length)| {
                let start = utc(FIRST) + Elapsed::from_secs(start);
                Stay { device, start, end: start + Elapsed::from_secs(length) }
            })
            .collect();
        // The same session twice would be stored once.
        built.sort_by_key(|stay| (stay.device, stay.start, stay.end));
        built.dedup_by_key(|stay| (stay.device, stay.start, stay.end));
        built
    })
}

fn mac(device: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, device])
}

fn told(sessions: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut told: Vec<_> = sessions
        .iter()
        .map(|s| {
            (text(&s["ses_MAC"]), text(&s["ses_DateTimeConnection"]), text(&s["ses_DateTimeDisconnection"]))
        })
        .collect();
    told.sort();
    told
}

fn expected<'a>(stays: impl Iterator<Item = &'a Stay>) -> Vec<(String, String, String)> {
    let mut expected: Vec<_> =
        stays.map(|stay| (mac(stay.device).to_string(), stay.start.rfc3339(), stay.end.rfc3339())).collect();
    expected.sort();
    expected
}

fn day(at: Timestamp, zone: &TimeZone) -> Date {
    at.local(zone).date()
}

async fn check(house: &House, stays: &[Stay], first: Date, last: Date) {
    let zone = &house.zone;
    let query = format!("start_date={first}&end_date={last}");
    let list = house.get(&format!("/sessions/list?{query}")).await.sessions();
    let held = stays.iter().filter(|stay| day(stay.start, zone) >= first && day(stay.end, zone) <= last);
    assert_eq!(told(&list), expected(held), "{query} in {zone:?}");
    for session in &list {
        let at = |key: &str| utc(session[key].as_str().unwrap());
        let (start, end) = (at("ses_DateTimeConnection"), at("ses_DateTimeDisconnection"));
        let local = |at: Timestamp| at.local(zone).strftime("%Y-%m-%d %H:%M").to_string();
        assert_eq!(session["ses_Connection"], local(start));
        assert_eq!(session["ses_Disconnection"], local(end));
        let minutes = end.since(start).as_secs() / 60;
        let text = match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
            (0, 0, m) => format!("{m}m"),
            (0, h, m) => format!("{h}h {m}m"),
            (d, h, m) => format!("{d}d {h}h {m}m"),
        };
        assert_eq!(session["ses_Duration"], text);
    }

    for chosen in [None, Some(1u8)] {
        let mut query = format!("start={first}&end={last}");
        if let Some(device) = chosen {
            query.push_str(&format!("&mac={}", mac(device)));
        }
        let calendar = house.get(&format!("/sessions/calendar?{query}")).await.sessions();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut found: Vec<_> =
            calendar.iter().map(|s| (text(&s["resourceId"]), text(&s["start"]), text(&s["end"]))).collect();
        found.sort();
        let local = |at: Timestamp| at.local(zone).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let mut held: Vec<_> = stays
            .iter()
            .filter(|stay| chosen.is_none_or(|device| device == stay.device))
            .filter(|stay| day(stay.start, zone) <= last)
            .filter(|stay| {
                // A session that ends at midnight does not touch the day that begins then.
                let last_moment = (stay.end - Elapsed::from_micros(1)).max(stay.start);
                day(last_moment, zone) >= first
            })
            .map(|stay| (mac(stay.device).to_string(), local(stay.start), local(stay.end)))
            .collect();
        held.sort();
        assert_eq!(found, held, "{query} in {zone:?}");
    }

    let now = house.now();
    for (period, from) in [
        ("5 hours", now - Elapsed::from_minutes(300)),
        ("12 days", at_same_clock(now, 12, zone)),
        ("2 weeks", at_same_clock(now, 14, zone)),
    ] {
        let found = house.get(&format!("/sessions/{}?period={period}", mac(1))).await.sessions();
        let held = stays
            .iter()
            .filter(|stay| stay.device == 1 && stay.start <= now && (stay.end > from || stay.start >= from));
        assert_eq!(told(&found), expected(held), "{period} in {zone:?}");
        let starts: Vec<_> = found.iter().map(|s| s["ses_DateTimeConnection"].as_str().unwrap()).collect();
        assert!(starts.is_sorted_by(|a, b| a >= b));
    }
}

/// The moment so many days ago at which the clock on the wall showed the same.
fn at_same_clock(now: Timestamp, days: i64, zone: &TimeZone) -> Timestamp {
    let local = now.local(zone);
    let then = local.checked_sub(jiff::Span::new().days(days)).unwrap();
    sojourn_domain::time::from_local(then, zone).unwrap()
}

#[tokio::test]
async fn lists_calendars_and_periods_hold_what_a_naive_model_says() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    for zone in ZONES {
        let house = House::at("sqlite", zone, NOW).await;
        for _ in 0..CASES {
            let case = (stays(), 18i8..32, 0i64..14).new_tree(&mut runner).unwrap().current();
            let (stays, start, days) = case;
            sessions_of(&house, &stays).await;
            let first = jiff::civil::date(2025, 3, start.min(31));
            check(&house, &stays, first, first.checked_add(jiff::Span::new().days(days)).unwrap()).await;
            for device in 0..3 {
                sessions::delete(&house.store, mac(device), house.now()).await.unwrap();
            }
        }
        house.stop().await;
    }
}

async fn sessions_of(house: &House, stays: &[Stay]) {
    for stay in stays {
        let new = NewSession {
            id: Entropy.id(stay.start),
            mac: mac(stay.device),
            ip: "192.0.2.1".to_owned(),
            start: Boundary::Known(stay.start),
            end: Some(Boundary::Known(stay.end)),
            start_type: "Connected".to_owned(),
            end_type: "Disconnected".to_owned(),
            now: stay.end,
        };
        sessions::create(&house.store, &new).await.unwrap();
    }
}
