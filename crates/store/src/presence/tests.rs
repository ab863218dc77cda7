//! The queries against a naive model, on both databases.

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use sojourn_domain::{
    id::{PresenceSessionId, SourceId},
    mac::MacAddr,
    presence::SourceKind,
    time::{Elapsed, Timestamp},
};
use sojourn_testbed::both_databases;

use super::{
    counts, devices,
    devices::{DeviceChange, NewDevice},
    events, sessions,
    sessions::{Boundary, Created, Edges, Filter, ListedSession, MISSING_EVENT, NewSession, Position},
    sources,
    sources::{Named, NewSource, SourceChange},
    timeline::{self, Cursor, Span, Stretch},
};
use crate::Store;

const HOUR: i64 = 3_600_000_000;
const NOW: Timestamp = Timestamp::from_micros(1_760_000_000_000_000);

fn at(hours: i64) -> Timestamp {
    Timestamp::from_micros(1_750_000_000_000_000 + hours * HOUR)
}

fn mac(device: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, device])
}

fn id(number: u16) -> PresenceSessionId {
    let [high, low] = number.to_be_bytes();
    PresenceSessionId::new(at(0), [high, low, 0, 0, 0, 0, 0, 0, high, low])
}

/// Puts sessions there as the sensor would, and nothing else.
async fn put(store: &Store, all: &[ListedSession]) {
    let mut tx = store.begin().await.unwrap();
    sqlx::query("DELETE FROM devices").execute(&mut *tx).await.unwrap();
    for session in all {
        let device = devices::ensure(&mut tx, session.mac, NOW).await.unwrap();
        sessions::insert(&mut tx, device, session).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn put_event(store: &Store, seq: i64, device: u8, when: Timestamp, kind: &str) {
    let mut tx = store.begin().await.unwrap();
    let device = devices::ensure(&mut tx, mac(device), NOW).await.unwrap();
    sqlx::query(
        "INSERT INTO presence_events (seq, device, at, recorded_at, type, ip, info, certain) \
         VALUES ($1, $2, $3, $4, $5, NULL, '', 1)",
    )
    .bind(seq)
    .bind(device)
    .bind(when.as_micros())
    .bind(NOW.as_micros())
    .bind(kind)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

/// What one generated session is: device, start, length in hours, and what is missing of it.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Known,
    Open,
    StartMissing,
    EndMissing,
    BothMissing,
    OpenAndStartMissing,
}

fn generated() -> impl Strategy<Value = Vec<(u8, i64, i64, Ends, bool)>> {
    let ends = prop_oneof![
        8 => Just(Ends::Known),
        1 => Just(Ends::Open),
        1 => Just(Ends::StartMissing),
        2 => Just(Ends::EndMissing),
        1 => Just(Ends::BothMissing),
        1 => Just(Ends::OpenAndStartMissing),
    ];
    prop::collection::vec((0u8..6, 0i64..300, 0i64..40, ends, any::<bool>()), 0..120)
}

fn build(generated: &[(u8, i64, i64, Ends, bool)]) -> Vec<ListedSession> {
    let mut open = [false; 6];
    let mut built = Vec::new();
    for (number, &(device, start, length, ends, manual)) in generated.iter().enumerate() {
        let ends = match ends {
            Ends::Open | Ends::OpenAndStartMissing
                if std::mem::replace(&mut open[usize::from(device)], true) =>
            {
                Ends::Known
            }
            Ends::Known
            | Ends::Open
            | Ends::StartMissing
            | Ends::EndMissing
            | Ends::BothMissing
            | Ends::OpenAndStartMissing => ends,
        };
        let (start, end) = (at(start), at(start + length));
        let forever = Timestamp::from_micros(i64::MAX);
        let (started_at, ended_at, from_at, until_at) = match ends {
            Ends::Known => (Some(start), Some(end), start, end),
            Ends::Open => (Some(start), None, start, forever),
            Ends::StartMissing => (None, Some(end), end, end),
            Ends::EndMissing => (Some(start), None, start, end),
            Ends::BothMissing => (None, None, end, end),
            Ends::OpenAndStartMissing => (None, None, Timestamp::MIN, forever),
        };
        let is_open = until_at == forever;
        built.push(ListedSession {
            id: id(number as u16),
            mac: mac(device),
            started_at,
            ended_at,
            from_at,
            until_at,
            start_type: started_at.map_or(MISSING_EVENT, |_| "Connected").to_owned(),
            end_type: (!is_open).then(|| ended_at.map_or(MISSING_EVENT, |_| "Disconnected").to_owned()),
            ip: Some("192.0.2.1".to_owned()),
            info: String::new(),
            open: is_open,
            manual,
        });
    }
    built
}

/// Where a session is drawn, by the words of the contract.
fn drawn(session: &ListedSession, all: &[ListedSession]) -> (Timestamp, Timestamp) {
    let others = || all.iter().filter(|other| other.mac == session.mac && other.id != session.id);
    let (mut from, mut until) = (session.from_at, session.until_at);
    if session.started_at.is_none() && !session.manual {
        let end = if session.open { NOW } else { session.until_at };
        let previous =
            others().filter_map(|other| other.ended_at).filter(|ended| *ended <= session.until_at).max();
        let hour_before = end - Elapsed::from_minutes(60);
        from = previous.filter(|previous| *previous <= end).unwrap_or(match session.end_missing() {
            true => hour_before.min(session.from_at),
            false => hour_before,
        });
    }
    if session.end_missing() && !(session.manual && session.until_at > session.from_at) {
        let next = others().filter_map(|other| other.started_at).filter(|next| *next > session.from_at).min();
        let hour_after = session.from_at + Elapsed::from_minutes(60);
        until = next.unwrap_or(match session.started_at {
            None => hour_after.max(session.until_at),
            Some(_) => hour_after,
        });
    }
    (from, until)
}

fn overlaps((a, b): (Timestamp, Timestamp), from: Timestamp, until: Timestamp) -> bool {
    a < until && (b > from || a >= from)
}

fn newest_first(sessions: &mut [ListedSession]) {
    sessions.sort_by_key(|session| std::cmp::Reverse((session.from_at, session.id)));
}

async fn all_spans(store: &Store, stretch: &Stretch, limit: u32) -> Vec<Span> {
    let mut cursor = Some(Cursor::start());
    let mut found = Vec::new();
    while let Some(from) = cursor {
        let (spans, next) = timeline::spans(store, stretch, &from, limit).await.unwrap();
        found.extend(spans);
        cursor = next;
    }
    found
}

async fn check_against_the_model(store: &Store, all: &[ListedSession], (low, high): (i64, i64), limit: u32) {
    let (from, until) = (at(low), at(high));
    for chosen in [None, Some(mac(2))] {
        let of_chosen = || all.iter().filter(move |session| chosen.is_none_or(|mac| session.mac == mac));
        for (start, end) in [(None, None), (Some(from), None), (None, Some(until)), (Some(from), Some(until))]
        {
            let filter = Filter { mac: chosen, from: start, until: end };
            let mut expected: Vec<_> = of_chosen()
                .filter(|s| start.is_none_or(|start| s.from_at >= start))
                .filter(|s| end.is_none_or(|end| s.until_at < end))
                .cloned()
                .collect();
            newest_first(&mut expected);
            let mut found = Vec::new();
            let mut position = Position::newest();
            loop {
                let chunk = sessions::list(store, &filter, &position, limit).await.unwrap();
                let Some(last) = chunk.last() else { break };
                position = last.position();
                found.extend(chunk);
            }
            assert_eq!(found, expected, "{filter:?}");
            assert_eq!(sessions::count(store, &filter).await.unwrap(), expected.len() as u64);
            let page = sessions::page(store, &filter, 3, limit).await.unwrap();
            let part: Vec<_> = expected.iter().skip(3).take(limit as usize).cloned().collect();
            assert_eq!(page, part);
        }

        let stretch = Stretch { mac: chosen, from, until, now: NOW };
        let mut expected: Vec<_> = of_chosen()
            .filter(|s| overlaps(drawn(s, all), from, until))
            .map(|s| (s.mac, drawn(s, all), s.open, s.started_at.is_none(), s.end_missing(), s.manual))
            .collect();
        let mut found: Vec<_> = all_spans(store, &stretch, limit)
            .await
            .into_iter()
            .map(|s| (s.mac, (s.from, s.until), s.open, s.start_missing, s.end_missing, s.manual))
            .collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{stretch:?}");
    }

    let mut expected: Vec<_> =
        all.iter().filter(|s| s.mac == mac(2) && overlaps(drawn(s, all), from, until)).cloned().collect();
    newest_first(&mut expected);
    let mut found = Vec::new();
    let mut position = Some(Position::newest());
    while let Some(after) = position {
        let (chunk, next) =
            sessions::overlapping(store, mac(2), (from, until), NOW, &after, limit).await.unwrap();
        found.extend(chunk);
        position = next;
    }
    assert_eq!(found, expected, "{from:?} to {until:?}");

    for class in [sessions::Class::All, sessions::Class::Missing] {
        let of_class =
            |s: &&ListedSession| class == sessions::Class::All || s.started_at.is_none() || s.end_missing();
        let mut began: Vec<_> = all.iter().filter(of_class).filter(|s| s.from_at >= from).cloned().collect();
        let mut reached: Vec<_> =
            all.iter().filter(of_class).filter(|s| s.from_at < from && s.until_at >= from).cloned().collect();
        newest_first(&mut began);
        newest_first(&mut reached);
        let counted = sessions::count_since(store, class, from).await.unwrap();
        assert_eq!(counted, (began.len() as u64, reached.len() as u64));
        assert_eq!(sessions::began_since(store, class, from, 0, 1000).await.unwrap(), began);
        assert_eq!(sessions::reached_since(store, class, from, 0, 1000).await.unwrap(), reached);
    }
}

#[test]
fn lists_and_spans_hold_what_a_naive_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let case = (generated(), 0i64..320, 0i64..100, 1u32..40);
        let mut runner =
            TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
        let mut cases = Vec::new();
        for _ in 0..12 {
            cases.push(case.new_tree(&mut runner).unwrap().current());
        }
        for (generated, low, length, limit) in cases {
            let all = build(&generated);
            put(&store, &all).await;
            check_against_the_model(&store, &all, (low, low + length), limit).await;
        }
    }));
}

fn new_session(number: u16, device: u8, start: i64, end: Option<i64>) -> NewSession {
    NewSession {
        id: id(number),
        mac: mac(device),
        ip: "192.0.2.7".to_owned(),
        start: Boundary::Known(at(start)),
        end: end.map(|end| Boundary::Known(at(end))),
        start_type: "Connected".to_owned(),
        end_type: "Disconnected".to_owned(),
        now: NOW,
    }
}

#[tokio::test]
async fn the_same_session_entered_twice_is_stored_once() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let Created::Created(first) = sessions::create(&store, &new_session(1, 1, 0, Some(2))).await.unwrap()
        else {
            panic!("not created");
        };
        let second = sessions::create(&store, &new_session(2, 1, 0, Some(2))).await.unwrap();
        assert_eq!(second, Created::AlreadyThere(first));
        let other = sessions::create(&store, &new_session(3, 1, 0, Some(3))).await.unwrap();
        assert!(matches!(other, Created::Created(_)), "{other:?}");
        assert_eq!(sessions::count(&store, &Filter::default()).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_device_has_one_open_session_and_an_unknown_mac_becomes_a_device() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let Created::Created(first) = sessions::create(&store, &new_session(1, 9, 0, None)).await.unwrap()
        else {
            panic!("not created");
        };
        assert!(first.open && first.manual);
        let again = sessions::create(&store, &new_session(2, 9, 0, None)).await.unwrap();
        assert_eq!(again, Created::AlreadyThere(first.clone()));
        let second = sessions::create(&store, &new_session(3, 9, 5, None)).await.unwrap();
        assert_eq!(second, Created::OpenExists(first));
        let device = devices::find(&store, mac(9)).await.unwrap().unwrap();
        assert_eq!(device.connected_since, Some(at(0)));
    })
    .await;
}

#[tokio::test]
async fn what_was_deleted_is_marked_so_that_no_replay_brings_it_back() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        assert_eq!(sessions::delete(&store, mac(1), NOW).await.unwrap(), 0);
        sessions::create(&store, &new_session(1, 1, 0, Some(2))).await.unwrap();
        sessions::create(&store, &new_session(2, 1, 3, None)).await.unwrap();
        sessions::create(&store, &new_session(3, 2, 3, None)).await.unwrap();
        put_event(&store, 17, 1, at(3), "Connected").await;
        assert_eq!(sessions::delete(&store, mac(1), NOW).await.unwrap(), 2);
        assert_eq!(sessions::count(&store, &Filter::default()).await.unwrap(), 1);
        let row = sqlx::query_as::<_, (i64, i64)>(
            "SELECT sessions_from_seq, sessions_from_at FROM devices WHERE mac = '02:00:00:00:00:01'",
        )
        .fetch_one(store.read())
        .await
        .unwrap();
        assert_eq!(row, (17, NOW.as_micros()));
    })
    .await;
}

#[tokio::test]
async fn devices_change_all_or_none_of_their_fields() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let set = DeviceChange {
            name: Some("42".to_owned()),
            grace: Some(Some(Elapsed::from_minutes(5))),
            alert_down: Some(true),
            ..DeviceChange::default()
        };
        let new = NewDevice { mac: mac(1), vendor: "Acme".to_owned(), set, now: NOW };
        assert!(devices::create(&store, &new).await.unwrap());
        assert!(!devices::create(&store, &new).await.unwrap());
        let device = devices::find(&store, mac(1)).await.unwrap().unwrap();
        assert_eq!((device.name.as_str(), device.display_name().as_str()), ("42", "42"));
        assert_eq!(device.grace, Some(Elapsed::from_minutes(5)));
        assert!(device.alert_down && !device.is_new && !device.may_sleep);

        let set = DeviceChange { grace: Some(None), name: Some(String::new()), ..DeviceChange::default() };
        let changed = devices::update(&store, &[mac(1), mac(7)], &set).await.unwrap();
        assert_eq!(changed, [mac(1)]);
        let device = devices::find(&store, mac(1)).await.unwrap().unwrap();
        assert_eq!((device.grace, device.alert_down), (None, true));
        assert_eq!(device.display_name(), "Acme 00:00:01");
        assert_eq!(devices::all(&store).await.unwrap(), [device]);
        assert!(devices::delete(&store, mac(1)).await.unwrap());
        assert!(!devices::delete(&store, mac(1)).await.unwrap());
    })
    .await;
}

fn new_source(number: u8, name: &str, automatic: bool) -> NewSource {
    NewSource {
        id: SourceId::new(at(i64::from(number)), [number; 10]),
        name: name.to_owned(),
        kind: SourceKind::Arp,
        settings: "{}".to_owned(),
        interval: Elapsed::from_secs(30),
        grace: Elapsed::from_minutes(2),
        automatic,
        now: at(i64::from(number)),
    }
}

#[tokio::test]
async fn a_source_by_hand_ends_the_automatic_choice_and_a_removed_ones_name_is_free() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let automatic = new_source(1, "arp eth0", true);
        assert_eq!(sources::add(&store, &automatic).await.unwrap(), Named::Done);
        assert!(sources::automatic(&store).await.unwrap());
        let pusher = NewSource { kind: SourceKind::Push, ..new_source(4, "cellar", false) };
        assert_eq!(sources::add(&store, &pusher).await.unwrap(), Named::Done);
        assert!(sources::automatic(&store).await.unwrap());
        let by_hand = new_source(2, "office", false);
        assert_eq!(sources::add(&store, &by_hand).await.unwrap(), Named::Done);
        assert!(!sources::automatic(&store).await.unwrap());
        assert!(!sources::find(&store, automatic.id).await.unwrap().unwrap().enabled);
        assert_eq!(sources::add(&store, &new_source(3, "office", false)).await.unwrap(), Named::NameTaken);

        let rename = SourceChange { name: Some("arp eth0".to_owned()), ..SourceChange::default() };
        assert_eq!(sources::update(&store, by_hand.id, &rename).await.unwrap(), Named::NameTaken);
        assert!(sources::remove(&store, automatic.id, NOW).await.unwrap());
        assert!(!sources::remove(&store, automatic.id, NOW).await.unwrap());
        assert_eq!(sources::update(&store, by_hand.id, &rename).await.unwrap(), Named::Done);
        assert_eq!(sources::update(&store, automatic.id, &rename).await.unwrap(), Named::Unknown);
        let all = sources::all(&store).await.unwrap();
        assert_eq!(all.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["arp eth0", "cellar"]);
        assert_eq!(sources::find_by_name(&store, "arp eth0").await.unwrap().unwrap().id, by_hand.id);
        // What somebody removed is not chosen again.
        assert!(sources::remove(&store, by_hand.id, NOW).await.unwrap());
        assert!(!sources::automatic(&store).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn gaps_are_those_that_overlap() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let source = new_source(1, "arp eth0", true);
        sources::add(&store, &source).await.unwrap();
        for (id, from, until) in [("a", 0, Some(2)), ("b", 4, Some(6)), ("c", 8, None)] {
            sqlx::query(
                "INSERT INTO source_gaps (id, source, from_at, until_at, before_at, reason, message) \
                 VALUES ($1, $2, $3, $4, NULL, 'blind', 'no carrier')",
            )
            .bind(id)
            .bind(source.id.to_string())
            .bind(at(from).as_micros())
            .bind(until.map(|until| at(until).as_micros()))
            .execute(store.write())
            .await
            .unwrap();
        }
        let ids = async |from, until| {
            let gaps = sources::gaps(&store, at(from), at(until), 100).await.unwrap();
            gaps.into_iter().map(|gap| gap.id).collect::<String>()
        };
        assert_eq!(ids(1, 5).await, "ba");
        assert_eq!(ids(2, 4).await, "");
        assert_eq!(ids(5, 100).await, "cb");
        assert_eq!(sources::gaps_of(&store, source.id, 2).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn events_are_told_in_the_order_in_which_they_happened_late_ones_too() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        put_event(&store, 1, 1, at(10), "New Device").await;
        put_event(&store, 2, 1, at(20), "Disconnected").await;
        put_event(&store, 3, 2, at(5), "Connected").await;
        put_event(&store, 4, 2, at(20), "VOIDED - Connected").await;
        let seqs = async |filter: events::Filter| {
            let found = events::list(&store, &filter, events::Position::NEWEST, 100).await.unwrap();
            found.iter().map(|event| event.seq).collect::<Vec<_>>()
        };
        let none = events::Filter::default;
        assert_eq!(seqs(none()).await, [4, 2, 1, 3]);
        assert_eq!(seqs(events::Filter { mac: Some(mac(1)), ..none() }).await, [2, 1]);
        let kind = Some("Connected".to_owned());
        assert_eq!(seqs(events::Filter { kind: kind.clone(), ..none() }).await, [3]);
        assert_eq!(seqs(events::Filter { kind, mac: Some(mac(1)), ..none() }).await, [0i64; 0]);
        assert_eq!(seqs(events::Filter { from: Some(at(10)), until: Some(at(20)), ..none() }).await, [1]);
        assert_eq!(seqs(events::Filter { after_seq: Some(2), ..none() }).await, [4, 3]);

        let after = events::position(&store, 2).await.unwrap().unwrap();
        let rest = events::list(&store, &none(), after, 1).await.unwrap();
        assert_eq!(rest[0].seq, 1);
        assert_eq!(events::position(&store, 99).await.unwrap(), events::position(&store, 4).await.unwrap());
        assert_eq!(events::position(&store, 0).await.unwrap(), None);
        let recorded = events::recorded_after(&store, 2, 100).await.unwrap();
        assert_eq!(recorded.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(events::latest_seq(&store).await.unwrap(), 4);

        for (class, expected) in [
            (events::Class::All, vec![4, 2, 1]),
            (events::Class::Voided, vec![4]),
            (events::Class::New, vec![1]),
            (events::Class::Down, vec![]),
        ] {
            assert_eq!(events::count(&store, class, at(10)).await.unwrap(), expected.len() as u64);
            let page = events::page(&store, class, at(10), 0, 10).await.unwrap();
            assert_eq!(page.iter().map(|event| event.seq).collect::<Vec<_>>(), expected);
            let scanned = events::scan(&store, class, at(10), events::Position::NEWEST, 10).await.unwrap();
            assert_eq!(scanned, page);
        }
    })
    .await;
}

#[tokio::test]
async fn the_history_of_counts_is_thinned_evenly_and_begins_with_what_was_current() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        assert_eq!(counts::history(&store, at(0), at(10), 100).await.unwrap(), []);
        for minute in 0..600 {
            let at = at(0) + Elapsed::from_minutes(minute);
            sqlx::query("INSERT INTO presence_counts VALUES ($1, $2, 0, 0, 0, 0)")
                .bind(at.as_micros())
                .bind(minute)
                .execute(store.write())
                .await
                .unwrap();
        }
        let from = at(1) + Elapsed::from_secs(30);
        let points = counts::history(&store, from, at(9), 48).await.unwrap();
        assert_eq!((points[0].at, points[0].online), (from, 60));
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at), "{points:?}");
        assert!((40..=50).contains(&points.len()), "{}", points.len());
        assert!(points.last().unwrap().at <= at(9));
        let everything = counts::history(&store, at(0), at(10), 1500).await.unwrap();
        assert_eq!(everything.len(), 600);
    })
    .await;
}

#[test]
fn a_missing_end_lies_an_hour_after_the_start_or_at_the_next_connection() {
    // Seen until the fifth hour after its start.
    let edges = Edges {
        from_at: at(0),
        until_at: at(5),
        start_missing: false,
        end_missing: true,
        open: false,
        manual: false,
    };
    let alone = sessions::Neighbours { previous_end: None, next_start: None };
    assert_eq!(alone.drawn(&edges, NOW).until, at(1));
    let next = sessions::Neighbours { next_start: Some(at(9)), ..alone };
    assert_eq!(next.drawn(&edges, NOW).until, at(9));
    // A person's estimate stands; without one the same holds.
    let by_hand = Edges { manual: true, ..edges };
    assert_eq!(next.drawn(&by_hand, NOW).until, at(5));
    assert_eq!(alone.drawn(&Edges { until_at: at(0), ..by_hand }, NOW).until, at(1));
    // Without a start either, there is nothing to count from but what was seen.
    let neither = Edges { start_missing: true, ..edges };
    assert_eq!(alone.drawn(&neither, NOW), sessions::Drawn { from: at(0), until: at(5) });
}
