//! The traps that NetAlertX fell into, as far as they concern what is asked over HTTP.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sojourn_domain::time::Elapsed;
use sojourn_store::presence::retention;
use tokio_util::sync::CancellationToken;

use crate::house::House;

const PHONE: &str = "02:00:00:00:00:01";
const PRINTER: &str = "02:00:00:00:00:02";

async fn told(house: &House, mac: &str) -> Vec<[String; 2]> {
    let found = house.get(&format!("/sessions/{mac}?period=all")).await.sessions();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found.iter().map(|s| [text(&s["ses_Connection"]), text(&s["ses_Disconnection"])]).collect()
}

#[tokio::test]
async fn trap_1_sessions_by_hand_stay_and_deleted_ones_stay_deleted() {
    for house in House::on_each_database().await {
        house.enter(PRINTER, "2025-08-01T08:00", Some("2025-08-01T09:00")).await;
        for minute in 0..3 {
            house.scan(&format!("2025-08-02T12:0{minute}:00"), &[PHONE, PRINTER]).await;
        }
        for minute in 3..9 {
            house.scan(&format!("2025-08-02T12:0{minute}:00"), &[PRINTER]).await;
        }
        // It left when it was last seen, not when that was noticed.
        assert_eq!(told(&house, PHONE).await, [["2025-08-02 12:00", "2025-08-02 12:02"]]);
        let printer = [["2025-08-02 12:00", "..."], ["2025-08-01 08:00", "2025-08-01 09:00"]];
        assert_eq!(told(&house, PRINTER).await, printer);
        house.send("DELETE", "/sessions/delete", json!({ "mac": PHONE })).await;
        for minute in 0..5 {
            house.scan(&format!("2025-08-02T12:1{minute}:00"), &[PRINTER]).await;
        }
        assert_eq!(told(&house, PHONE).await, Vec::<[String; 2]>::new());
        assert_eq!(told(&house, PRINTER).await, printer);
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_1_readers_never_see_a_list_that_is_being_rebuilt() {
    for house in House::on_each_database().await {
        house.scan("2025-08-02T12:00:00", &[PHONE, PRINTER]).await;
        let read = async {
            for _ in 0..50 {
                assert_eq!(house.get("/sessions/list").await.sessions().len(), 2);
            }
        };
        let write = async {
            for second in 10..40 {
                house.scan(&format!("2025-08-02T12:00:{second}"), &[PHONE, PRINTER]).await;
            }
        };
        tokio::join!(read, write);
        house.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_1_writers_are_served_while_long_lists_are_read() {
    const DEVICES: u32 = 2_200;
    const LISTS: [&str; 4] = [
        "/sessions/list",
        "/sessions/calendar?start=2025-08-02&end=2025-08-02",
        "/sessions/session-events?type=sessions&sort=name&limit=1000",
        "/presence/events?limit=1000",
    ];
    for house in House::on_each_database().await {
        let mac = |number: u32| format!("02:00:00:01:{:02X}:{:02X}", number >> 8, number & 0xff);
        let macs: Vec<String> = (0..DEVICES).map(mac).collect();
        let macs: Vec<&str> = macs.iter().map(String::as_str).collect();
        house.scan("2025-08-02T12:00:00", &macs).await;

        // Clients that stop in the middle of an answer of several chunks ...
        let mut slow = Vec::new();
        for path in &LISTS[..2] {
            let mut body = house.open(house.request("GET", path, None)).await.into_body();
            let first = body.frame().await.unwrap().unwrap();
            slow.push((first.into_data().unwrap().to_vec(), body));
        }
        // ... and others that read without end, until everything is written.
        let done = CancellationToken::new();
        let read = async |path: &'static str| {
            let mut answers = 0;
            while !done.is_cancelled() {
                let answer = house.get(path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text);
                answers += 1;
            }
            assert!(answers > 0, "{path}");
        };
        let write = async {
            let create = async {
                for minute in 10..22 {
                    house.enter(PRINTER, &format!("2025-08-01T10:{minute}"), Some("2025-08-01T11:00")).await;
                }
            };
            let push = async {
                for device in 0..12_u32 {
                    let at = house.now().rfc3339();
                    let report = json!({ "source": "attic", "sightings": [{ "mac": mac(DEVICES + device), "at": at }] });
                    let answer = house.send("POST", "/presence/sightings", report).await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                }
            };
            let patch = async {
                for number in 0..12 {
                    let set = json!({ "name": format!("device {number}") });
                    let answer = house.send("PATCH", &format!("/devices/{}", mac(number)), set).await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                }
            };
            tokio::join!(create, push, patch);
            done.cancel();
        };
        tokio::join!(write, read(LISTS[0]), read(LISTS[1]), read(LISTS[2]), read(LISTS[3]));

        let written = house.get("/sessions/list").await.sessions().len();
        assert_eq!(written, DEVICES as usize + 24);
        for (mut text, body) in slow {
            text.extend(body.collect().await.unwrap().to_bytes());
            let told: Value = serde_json::from_slice(&text).unwrap();
            let there = told["sessions"].as_array().unwrap().len();
            assert!((DEVICES as usize..=written).contains(&there), "{there}");
        }
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_2_retention_keeps_the_session_of_a_device_that_never_leaves() {
    for house in House::on_each_database().await {
        house.scan("2025-08-02T12:00:00", &[PHONE]).await;
        house.enter(PRINTER, "2025-08-01T08:00", Some("2025-08-01T09:00")).await;
        house.scan("2025-12-02T12:00:00", &[PHONE]).await;
        retention::forget_before(&house.store, house.now()).await.unwrap();
        let open = house.get(&format!("/sessions/{PHONE}?period=all")).await.sessions();
        assert_eq!(open.iter().filter(|s| s["ses_StillConnected"] == 1).count(), 1, "{open:?}");
        // Nor does it take what people entered.
        assert_eq!(told(&house, PRINTER).await, [["2025-08-01 08:00", "2025-08-01 09:00"]]);
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_3_an_outage_makes_one_down_event_in_every_time_zone() {
    // Before, in and after the night in which the clocks of the first two change.
    for (zone, night) in [
        ("Europe/Berlin", "2025-10-26"),
        ("America/New_York", "2025-11-02"),
        ("Asia/Kathmandu", "2025-10-26"),
        ("Pacific/Kiritimati", "2025-12-31"),
    ] {
        let house = House::at("sqlite", zone, &format!("{night}T00:00:00")).await;
        house.scan(&format!("{night}T00:30:00"), &[PHONE, PRINTER]).await;
        house.send("PATCH", &format!("/devices/{PHONE}"), json!({ "alertDown": true })).await;
        let left = house.now();
        // The hour that comes twice is told by its distance from the beginning.
        for minute in 1..=240 {
            let at = left + Elapsed::from_minutes(minute);
            let seen: &[&str] = if (100..200).contains(&minute) { &[PRINTER] } else { &[PHONE, PRINTER] };
            house.scan(&at.rfc3339(), seen).await;
        }
        let events = house.get(&format!("/presence/events?mac={PHONE}")).await.json();
        let told: Vec<_> = events["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                (event["type"].as_str().unwrap().to_owned(), event["at"].as_str().unwrap().to_owned())
            })
            .collect();
        let at = |minute| (left + Elapsed::from_minutes(minute)).rfc3339();
        let expected = [
            ("Down Reconnected".to_owned(), at(200)),
            ("Device Down".to_owned(), at(99)),
            ("New Device".to_owned(), at(0)),
        ];
        assert_eq!(told, expected, "{zone}");
        assert_eq!(house.get("/sessions/totals").await.json()[5], 1, "{zone}");
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_4_a_new_device_makes_one_session_and_two_addresses_make_no_second_one() {
    for house in House::on_each_database().await {
        house.at_time("2025-08-02T12:00:00");
        let at = house.now().rfc3339();
        let report = json!({
            "source": "test",
            "scan": { "startedAt": at, "finishedAt": at, "outcome": "complete" },
            "sightings": [{ "mac": PHONE, "ip": "192.168.1.20" }, { "mac": PHONE, "ip": "2001:db8::20" }],
        });
        assert_eq!(house.send("POST", "/presence/sightings", report).await.status, 200);
        assert_eq!(told(&house, PHONE).await, [["2025-08-02 12:00", "..."]]);
        let events = house.get("/presence/events").await.json();
        let kinds: Vec<_> = events["events"].as_array().unwrap().iter().map(|e| e["type"].clone()).collect();
        assert_eq!(kinds, ["New Device"]);
        let device = house.get(&format!("/devices/{PHONE}")).await.json();
        assert_eq!(device["addresses"].as_array().unwrap().len(), 2, "{device}");
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_7_a_device_named_42_stays_text_and_sorts() {
    for house in House::on_each_database().await {
        house.scan("2025-08-02T12:00:00", &[PHONE, PRINTER]).await;
        house.send("PATCH", &format!("/devices/{PHONE}"), json!({ "name": "42", "owner": "7" })).await;
        house.send("PATCH", &format!("/devices/{PRINTER}"), json!({ "name": "Laser" })).await;
        for sort in ["name", "owner", "ip", "type", "time", "info", "mac"] {
            let answer = house.get(&format!("/sessions/session-events?sort={sort}")).await;
            assert_eq!(answer.json()["data"].as_array().unwrap().len(), 2, "{sort}");
        }
        let answer = house.get("/sessions/session-events?sort=name").await.json();
        assert_eq!((&answer["data"][0][1], &answer["data"][0][2]), (&json!("42"), &json!("7")));
        let devices = house.get("/devices?sort=displayName").await.json();
        assert_eq!(devices["devices"][0]["name"], "42");
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_7_strange_times_are_listed_like_any_others() {
    for house in House::on_each_database().await {
        house.enter(PHONE, "0001-01-02T00:00:00Z", Some("9999-12-30T00:00:00Z")).await;
        house.enter(PHONE, "2025-08-01T08:00", Some("2025-08-01T08:00")).await;
        for path in [
            "/sessions/list",
            "/sessions/calendar?start=2025-08-01&end=2025-08-01",
            "/sessions/calendar?start=0001-01-02&end=9999-12-30",
            "/sessions/02:00:00:00:00:01?period=all",
        ] {
            assert_eq!(house.get(path).await.sessions().len(), 2, "{path}");
        }
        house.stop().await;
    }
}

#[tokio::test]
async fn trap_8_what_comes_late_stands_where_it_belongs_however_its_time_is_written() {
    for house in House::on_each_database().await {
        for (start, end) in [
            ("2025-08-01T10:00:00+02:00", "2025-08-01 11:00"),
            ("2025-08-01T07:00:00Z", "2025-08-01T09:30:00.000+02:00"),
            ("2025-08-01T12:00", "2025-08-01 10:30:00Z"),
            ("2024-02-29 10:00", "2024-02-29T11:00"),
        ] {
            house.enter(PHONE, start, Some(end)).await;
        }
        assert_eq!(
            told(&house, PHONE).await,
            [
                ["2025-08-01 12:00", "2025-08-01 12:30"],
                ["2025-08-01 10:00", "2025-08-01 11:00"],
                ["2025-08-01 09:00", "2025-08-01 09:30"],
                ["2024-02-29 10:00", "2024-02-29 11:00"],
            ]
        );
        house.stop().await;
    }
}

#[tokio::test]
async fn is_it_online_has_a_plain_answer() {
    for house in House::on_each_database().await {
        for minute in 0..3 {
            house.scan(&format!("2025-08-02T12:0{minute}:00"), &[PHONE, PRINTER]).await;
        }
        for minute in 3..9 {
            house.scan(&format!("2025-08-02T12:0{minute}:00"), &[PRINTER]).await;
        }
        house.send("PATCH", &format!("/devices/{PRINTER}"), json!({ "name": "Laser" })).await;
        let answer = house.get("/presence/online?name=laser").await.json();
        assert_eq!(
            (&answer["online"], &answer["state"], &answer["mac"]),
            (&json!(true), &json!("online"), &json!(PRINTER))
        );
        let answer = house.get(&format!("/presence/online?mac={PHONE}")).await.json();
        assert_eq!((&answer["online"], &answer["state"]), (&json!(false), &json!("offline")));
        assert_eq!(house.get("/presence/online?ip=192.168.1.20").await.json()["online"], true);
        assert_eq!(house.get("/presence/online?name=nobody").await.status, 404);
        assert_eq!(house.get("/presence/online?ip=x").await.wrong_field(), "ip");
        let all = house.get("/presence/online").await.json();
        assert_eq!(all["devices"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&all["counts"]["online"], &all["counts"]["offline"], &all["counts"]["all"]),
            (&json!(1), &json!(1), &json!(2))
        );
        house.stop().await;
    }
}
