//! What the HTTP contract says of presence sessions, line by line.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sojourn_domain::time::Elapsed;
use sojourn_store::presence::sessions;

use crate::house::House;

const MAC: &str = "AA:BB:CC:DD:EE:FF";

fn session() -> Value {
    json!({ "mac": MAC, "ip": "192.168.1.10", "start_time": "2025-08-01T10:00:00", "end_time": "2025-08-01T12:00:00" })
}

#[tokio::test]
async fn create_wants_mac_ip_and_start_and_an_end_that_is_not_before_it() {
    for house in House::on_each_database().await {
        for field in ["mac", "ip", "start_time"] {
            let mut body = session();
            body.as_object_mut().unwrap().remove(field);
            assert_eq!(house.send("POST", "/sessions/create", body).await.wrong_field(), field);
        }
        for (field, value) in [
            ("mac", json!("storage")),
            ("mac", json!("FF:FF:FF:FF:FF:FF")),
            ("mac", json!(42)),
            ("ip", json!("192.168.1")),
            ("start_time", json!("yesterday")),
            ("start_time", json!("2025-03-30T02:30:00")),
            ("end_time", json!("2025-08-01T09:59:59")),
            ("event_type_conn", json!("")),
            ("event_type_disc", json!("Dis\u{0}connected")),
        ] {
            let mut body = session();
            body[field] = value.clone();
            let answer = house.send("POST", "/sessions/create", body).await;
            assert_eq!(answer.wrong_field(), field, "{value}");
        }
        // A time that the clocks skipped is refused with the reason.
        let mut body = session();
        body["start_time"] = "2025-03-30 02:30".into();
        let answer = house.send("POST", "/sessions/create", body).await;
        assert!(answer.json()["error"].as_str().unwrap().contains("does not exist in Europe/Berlin"));
        assert_eq!(house.get("/sessions/list").await.sessions(), Vec::<Value>::new());
        house.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_400_another_type_415_and_strangers_are_refused() {
    for house in House::on_each_database().await {
        let path = "/sessions/create";
        let answer = house.answer(house.request("POST", path, Some("{\"mac\":"))).await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (400, Some("unreadable")));
        let mut request = house.request("POST", path, Some(&session().to_string()));
        request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        assert_eq!(house.answer(request).await.status, 415);
        let mut request = house.request("POST", path, Some(&session().to_string()));
        request.headers_mut().remove("authorization");
        assert_eq!(house.answer(request).await.status, 401);
        let auditor = house.token("auditor").await;
        let mut request = house.request("POST", path, Some(&session().to_string()));
        request.headers_mut().insert("authorization", format!("Bearer {auditor}").parse().unwrap());
        assert_eq!(house.answer(request).await.status, 403);
        let mut request = house.request("GET", "/sessions/list", None);
        request.headers_mut().insert("authorization", format!("Bearer {auditor}").parse().unwrap());
        assert_eq!(house.answer(request).await.status, 200);
        assert_eq!(house.answer(house.request("PUT", "/sessions/create", None)).await.status, 405);
        house.stop().await;
    }
}

#[tokio::test]
async fn an_unknown_mac_becomes_a_device_and_every_written_form_is_the_same_one() {
    for house in House::on_each_database().await {
        assert_eq!(house.get(&format!("/devices/{MAC}")).await.status, 404);
        for (hour, form) in
            ["aa-bb-cc-dd-ee-ff", "AABB.CCDD.EEFF", "aabbccddeeff", "AA:BB:CC:DD:EE:FF"].iter().enumerate()
        {
            let body = json!({ "mac": form, "ip": "::1", "start_time": format!("2025-08-01 0{hour}:00"),
                           "end_time": format!("2025-08-01 0{hour}:30") });
            let answer = house.send("POST", "/sessions/create", body).await;
            assert_eq!(answer.json()["message"], format!("Session created for MAC {MAC}"));
        }
        assert_eq!(house.get(&format!("/devices/{MAC}")).await.json()["mac"], MAC);
        let found = house.get("/sessions/list?mac=aabb.ccdd.eeff").await.sessions();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|session| session["ses_MAC"] == MAC));
        house.stop().await;
    }
}

#[tokio::test]
async fn the_same_session_twice_is_stored_once_and_answered_alike() {
    for house in House::on_each_database().await {
        let first = house.send("POST", "/sessions/create", session()).await;
        // Written otherwise, it is the same session.
        let mut again = session();
        again["start_time"] = "2025-08-01T08:00:00Z".into();
        again["mac"] = "aabbccddeeff".into();
        let second = house.send("POST", "/sessions/create", again).await;
        assert_eq!((first.status, &first.text), (second.status, &second.text));
        assert_eq!(house.get("/sessions/list").await.sessions().len(), 1);
        house.stop().await;
    }
}

#[tokio::test]
async fn a_second_open_session_is_409_and_names_the_open_one() {
    for house in House::on_each_database().await {
        house.enter(MAC, "2025-08-02T09:00:00", None).await;
        house.enter(MAC, "2025-08-02T09:00:00", None).await;
        let open = house.get("/sessions/list").await.sessions()[0]["id"].as_str().unwrap().to_owned();
        let body = json!({ "mac": MAC, "ip": "192.168.1.10", "start_time": "2025-08-02T10:00:00" });
        let answer = house.send("POST", "/sessions/create", body).await;
        assert_eq!(answer.status, 409);
        assert!(answer.json()["error"].as_str().unwrap().contains(&open), "{}", answer.text);
        assert_eq!(house.get("/sessions/list").await.sessions().len(), 1);
        house.stop().await;
    }
}

#[tokio::test]
async fn delete_takes_the_body_or_the_query_and_answers_alike_when_nothing_matched() {
    for house in House::on_each_database().await {
        let message = json!({ "success": true, "message": format!("Deleted sessions for MAC {MAC}") });
        for round in 0..2 {
            house.send("POST", "/sessions/create", session()).await;
            let answer = house.send("DELETE", "/sessions/delete", json!({ "mac": "aabbccddeeff" })).await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, message.clone()), "{round}");
            let answer = house.get(&format!("/sessions/{MAC}?period=all")).await;
            assert_eq!(answer.sessions(), Vec::<Value>::new());
            let request = house.request("DELETE", "/sessions/delete?mac=AA-BB-CC-DD-EE-FF", None);
            let answer = house.answer(request).await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, message.clone()), "{round}");
        }
        let nothing = house.answer(house.request("DELETE", "/sessions/delete", None)).await;
        assert_eq!(nothing.wrong_field(), "mac");
        let request = house.request(
            "DELETE",
            "/sessions/delete?mac=000000000001",
            Some(&json!({ "mac": MAC }).to_string()),
        );
        assert_eq!(house.answer(request).await.wrong_field(), "mac");
        house.stop().await;
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_days_are_included() {
    for house in House::on_each_database().await {
        house.enter(MAC, "2025-08-01T23:30", Some("2025-08-02T00:30")).await;
        house.enter(MAC, "2025-08-01T00:00", Some("2025-08-01T23:59:59")).await;
        house.enter("000000000001", "2025-07-31T23:59:59", Some("2025-08-01T00:00")).await;
        house.enter("000000000001", "2025-08-02T01:00", None).await;
        let starts = async |query: &str| {
            let found = house.get(&format!("/sessions/list?{query}")).await.sessions();
            found.iter().map(|s| s["ses_Connection"].as_str().unwrap()[5..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(starts("").await, ["08-02 01:00", "08-01 23:30", "08-01 00:00", "07-31 23:59"]);
        assert_eq!(starts("start_date=2025-08-01").await, ["08-02 01:00", "08-01 23:30", "08-01 00:00"]);
        // An open session has not disconnected on any day.
        assert_eq!(starts("end_date=2025-08-01").await, ["08-01 00:00", "07-31 23:59"]);
        assert_eq!(starts("end_date=2025-08-02").await, ["08-01 23:30", "08-01 00:00", "07-31 23:59"]);
        assert_eq!(starts("start_date=2025-08-01&end_date=2025-08-01").await, ["08-01 00:00"]);
        assert_eq!(starts("mac=000000000001").await, ["08-02 01:00", "07-31 23:59"]);
        let page = house.get("/sessions/list?page=2&limit=3").await;
        assert_eq!(page.sessions().len(), 1);
        assert_eq!(
            (&page.json()["total"], &page.json()["page"], &page.json()["limit"]),
            (&json!(4), &json!(2), &json!(3))
        );
        for wrong in ["mac=storage", "start_date=soon", "end_date=2025-02-30", "page=0", "limit=0", "page=x"]
        {
            let answer = house.get(&format!("/sessions/list?{wrong}")).await;
            assert_eq!(answer.wrong_field(), wrong.split('=').next().unwrap());
        }
        house.stop().await;
    }
}

#[tokio::test]
async fn a_list_of_thousands_streams_whole_and_in_order() {
    for house in House::on_each_database().await {
        // More than one chunk.
        let count = 1200;
        let first = house.now();
        for number in 0..count {
            let start = first + Elapsed::from_secs(number - 5000);
            let new = sessions::NewSession {
                id: sojourn_store::Entropy.id(first),
                mac: MAC.parse().unwrap(),
                ip: "192.0.2.1".to_owned(),
                start: sessions::Boundary::Known(start),
                end: Some(sessions::Boundary::Known(start + Elapsed::from_secs(1))),
                start_type: "Connected".to_owned(),
                end_type: "Disconnected".to_owned(),
                now: first,
            };
            sessions::create(&house.store, &new).await.unwrap();
        }
        let whole = house.get("/sessions/list").await.sessions();
        assert_eq!(whole.len() as i64, count);
        let starts: Vec<_> = whole.iter().map(|s| s["ses_DateTimeConnection"].as_str().unwrap()).collect();
        assert!(starts.is_sorted_by(|a, b| a > b));
        assert_eq!(
            house.get("/sessions/calendar?start=2025-08-02&end=2025-08-02").await.sessions().len() as i64,
            count
        );
        house.stop().await;
    }
}

#[tokio::test]
async fn open_and_missing_boundaries_are_told() {
    for house in House::on_each_database().await {
        house.enter(MAC, "2025-08-02T09:15:30", None).await;
        let enter = async |body: Value| {
            let answer = house.send("POST", "/sessions/create", body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        };
        enter(json!({ "mac": "000000000001", "ip": "192.0.2.1", "start_time": "2025-08-01 10:00",
                  "event_type_disc": "<missing event>" }))
        .await;
        enter(json!({ "mac": "000000000002", "ip": "192.0.2.1", "start_time": "2025-08-01 09:00",
                  "end_time": "2025-08-01 11:00", "event_type_conn": "<missing event>" }))
        .await;
        let found = house.get("/sessions/list").await.sessions();
        let told: Vec<_> = found
            .iter()
            .map(|s| {
                [&s["ses_Connection"], &s["ses_Disconnection"], &s["ses_Duration"], &s["ses_StillConnected"]]
            })
            .collect();
        assert_eq!(told[0], [&json!("2025-08-02 09:15"), &json!("..."), &json!("2h 44m"), &json!(1)]);
        assert_eq!(
            told[1],
            [&json!("2025-08-01 10:00"), &json!("<missing event>"), &json!("..."), &json!(0)]
        );
        assert_eq!(
            told[2],
            [&json!("<missing event>"), &json!("2025-08-01 11:00"), &json!("..."), &json!(0)]
        );
        assert_eq!(found[1]["ses_DateTimeDisconnection"], Value::Null);
        assert_eq!(found[2]["ses_DateTimeConnection"], Value::Null);
        assert_eq!(found[0]["ses_EventTypeDisconnection"], Value::Null);
        // The duration of an open session runs on.
        house.at_time("2025-08-03T11:15:30");
        assert_eq!(house.get("/sessions/list").await.sessions()[0]["ses_Duration"], "1d 2h 0m");
        house.stop().await;
    }
}

async fn calendar(house: &House, query: &str) -> Vec<[String; 4]> {
    let found = house.get(&format!("/sessions/calendar?{query}")).await.sessions();
    let mut told: Vec<_> = found
        .iter()
        .map(|s| ["start", "end", "color", "tooltip"].map(|key| s[key].as_str().unwrap().to_owned()))
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn the_calendar_holds_everything_that_overlaps_spanning_sessions_too() {
    for house in House::on_each_database().await {
        house.enter(MAC, "2025-07-01T10:00", Some("2025-08-30T12:00")).await;
        house.enter(MAC, "2025-07-31T10:00", Some("2025-08-01T00:00:01")).await;
        house.enter(MAC, "2025-07-31T10:00", Some("2025-08-01T00:00")).await;
        house.enter(MAC, "2025-08-02T23:59:59", Some("2025-08-05T00:00")).await;
        house.enter(MAC, "2025-08-03T00:00", Some("2025-08-05T00:00")).await;
        house.enter("000000000001", "2025-08-02T09:00", None).await;
        let starts = async |query: &str| -> Vec<String> {
            calendar(&house, query).await.into_iter().map(|told| told[0][5..16].to_owned()).collect()
        };
        let both = starts("start=2025-08-01&end=2025-08-02").await;
        assert_eq!(both, ["07-01T10:00", "07-31T10:00", "08-02T09:00", "08-02T23:59"]);
        assert_eq!(starts("start=2025-08-01&end=2025-08-02&mac=000000000001").await, ["08-02T09:00"]);
        // What a full calendar sends: points in time, of which the last is not included.
        let query = "start=2025-08-01T00:00:00%2B02:00&end=2025-08-02T00:00:00%2B02:00";
        assert_eq!(starts(query).await, ["07-01T10:00", "07-31T10:00"]);
        for missing in ["start=2025-08-01", "end=2025-08-01", ""] {
            assert_eq!(house.get(&format!("/sessions/calendar?{missing}")).await.status, 400);
        }
        assert_eq!(
            house.get("/sessions/calendar?start=2025-08-02&end=2025-08-01").await.wrong_field(),
            "end"
        );
        assert_eq!(house.get("/sessions/calendar?start=x&end=2025-08-01").await.wrong_field(), "start");
        house.stop().await;
    }
}

#[tokio::test]
async fn calendar_colours_estimates_and_tooltips() {
    for house in House::on_each_database().await {
        let missing_end = |mac: &str, start: &str| json!({ "mac": mac, "ip": "192.0.2.1", "start_time": start, "event_type_disc": "<missing event>" });
        house.enter(MAC, "2025-08-02T09:00", None).await;
        house.send("POST", "/sessions/create", missing_end("000000000001", "2025-08-01T10:00")).await;
        house.send("POST", "/sessions/create", missing_end("000000000002", "2025-08-01T10:00")).await;
        house.enter("000000000002", "2025-08-01T15:00", Some("2025-08-01T16:00")).await;
        let told = calendar(&house, "start=2025-08-01&end=2025-08-02").await;
        let strings = |told: [&str; 4]| told.map(str::to_owned);
        let tooltip = |from: &str, until: &str, ip: &str| {
            format!("Connection: {from}\nDisconnection: {until}\nIP: {ip}")
        };
        let unknown = tooltip("2025-08-01 10:00", "<missing event>", "192.0.2.1");
        let closed = tooltip("2025-08-01 15:00", "2025-08-01 16:00", "192.168.1.10");
        let open = tooltip("2025-08-02 09:00", "<still connected>", "192.168.1.10");
        assert_eq!(
            told,
            [
                // An hour after the start; the next connection where there is one.
                strings(["2025-08-01T10:00:00", "2025-08-01T11:00:00", "#f39c12", &unknown]),
                strings(["2025-08-01T10:00:00", "2025-08-01T15:00:00", "#f39c12", &unknown]),
                strings(["2025-08-01T15:00:00", "2025-08-01T16:00:00", "#00a659", &closed]),
                // It ends now.
                strings(["2025-08-02T09:00:00", "2025-08-02T12:00:00", "#0073b7", &open]),
            ]
        );
        house.stop().await;
    }
}

#[tokio::test]
async fn the_grammar_of_periods_and_what_they_hold() {
    for house in House::on_each_database().await {
        house.enter(MAC, "2025-08-02T11:30", Some("2025-08-02T11:40")).await;
        house.enter(MAC, "2025-08-01T08:00", Some("2025-08-01T13:00")).await;
        house.enter(MAC, "2025-07-20T08:00", Some("2025-07-20T13:00")).await;
        house.enter(MAC, "2020-07-20T08:00", Some("2020-07-20T13:00")).await;
        for (period, held) in [
            ("", 2),
            ("?period=30 minutes", 1),
            ("?period=19 minutes", 0),
            ("?period=1 hour", 1),
            ("?period=1 day", 2),
            ("?period=2 weeks", 3),
            ("?period=1 month", 3),
            ("?period=100 years", 4),
            ("?period=all", 4),
        ] {
            let found = house.get(&format!("/sessions/{MAC}{period}")).await.sessions();
            assert_eq!(found.len(), held, "{period}");
        }
        for wrong in ["", "7", "7days", "0 days", "-1 day", "1 fortnight", "ALL"] {
            let answer = house.get(&format!("/sessions/{MAC}?period={wrong}")).await;
            assert_eq!(answer.wrong_field(), "period", "{wrong}");
            assert!(answer.json()["error"].as_str().unwrap().contains("such as `7 days`"), "{}", answer.text);
        }
        assert_eq!(house.get("/sessions/ABC").await.wrong_field(), "mac");
        // Never a MAC: the recordings' place on the disk.
        assert!(house.get("/sessions/storage").await.json()["bytes"].is_u64());
        assert_eq!(house.get("/sessions/02:00:00:00:00:99").await.sessions(), Vec::<Value>::new());
        house.stop().await;
    }
}

#[tokio::test]
async fn days_are_as_long_as_the_clocks_make_them() {
    let house = House::at("sqlite", "Europe/Berlin", "2025-03-31T10:00:00Z").await;
    house.enter(MAC, "2025-03-30T01:30", Some("2025-03-30T03:30")).await;
    house.enter(MAC, "2025-03-29T00:00", Some("2025-03-30T00:00")).await;
    house.enter(MAC, "2025-03-30T23:59", Some("2025-03-31T00:01")).await;
    let lengths = async |query: &str| {
        let found = house.get(&format!("/sessions/list?{query}")).await.sessions();
        found.iter().map(|s| s["ses_Duration"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The clocks went from 02:00 to 03:00.
    assert_eq!(lengths("start_date=2025-03-30").await, ["2m", "1h 0m"]);
    assert_eq!(lengths("start_date=2025-03-30&end_date=2025-03-30").await, ["1h 0m"]);
    assert_eq!(calendar(&house, "start=2025-03-30&end=2025-03-30").await.len(), 2);
    // An hour that came twice: the earlier one is meant.
    house.at_time("2025-10-27T10:00");
    house.enter(MAC, "2025-10-26T02:30", Some("2025-10-26T03:00")).await;
    assert_eq!(lengths("start_date=2025-10-26").await, ["1h 30m"]);
    house.stop().await;
}

#[tokio::test]
async fn session_events_have_fifteen_columns_or_names() {
    for house in House::on_each_database().await {
        house.scan("2025-08-02T12:00", &[MAC]).await;
        house.enter("000000000001", "2025-08-01T10:00", Some("2025-08-01T12:00")).await;
        let answer = house.get("/sessions/session-events?type=new").await.json();
        assert_eq!((&answer["total"], &answer["recordsFiltered"]), (&json!(1), &json!(1)));
        let row = answer["data"][0].as_array().unwrap();
        assert_eq!(row.len(), 15);
        assert_eq!(row[0], "2025-08-02 10:00:00");
        assert_eq!((&row[3], &row[4]), (&json!("2025-08-02 12:00"), &json!("New Device")));
        assert!(row[5..9].iter().all(Value::is_null));
        assert_eq!(
            (&row[9], &row[10], &row[13]),
            (&json!("192.168.1.20"), &json!(3_232_235_796u32), &json!(MAC))
        );
        let answer = house.get("/sessions/session-events?type=sessions&format=objects&dir=asc").await.json();
        assert_eq!(answer["data"], Value::Null);
        let event = &answer["events"][0];
        assert_eq!(
            (&event["connection"], &event["durationSeconds"]),
            (&json!("2025-08-01 10:00"), &json!(7200))
        );
        assert_eq!((&event["date"], &event["type"]), (&Value::Null, &Value::Null));
        assert_eq!(answer["events"][1]["disconnection"], "...");
        assert_eq!(house.get("/sessions/totals").await.json(), json!([1, 2, 0, 0, 1, 0]));
        for wrong in ["type=some", "period=7", "sort=colour", "dir=up", "page=0", "limit=0", "format=xml"] {
            let answer = house.get(&format!("/sessions/session-events?{wrong}")).await;
            assert_eq!(answer.wrong_field(), wrong.split('=').next().unwrap(), "{}", answer.text);
        }
        house.stop().await;
    }
}

#[tokio::test]
async fn session_events_are_searched_sorted_and_paged() {
    for house in House::on_each_database().await {
        for (number, name) in ["Übersee", "anna", "Berta", "42"].iter().enumerate() {
            let mac = format!("02000000000{number}");
            house
                .enter(
                    &mac,
                    &format!("2025-08-01T0{number}:00"),
                    Some(&format!("2025-08-01T1{}:00", 9 - number)),
                )
                .await;
            let set = json!({ "name": name });
            assert_eq!(house.send("PATCH", &format!("/devices/{mac}"), set).await.status, 200);
        }
        let names = async |query: &str| {
            let answer =
                house.get(&format!("/sessions/session-events?type=sessions&format=objects&{query}")).await;
            let json = answer.json();
            let events = json["events"].as_array().unwrap_or_else(|| panic!("{}", answer.text)).clone();
            let names: Vec<_> = events.iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect();
            (names.join(" "), json["total"].as_u64().unwrap(), json["recordsFiltered"].as_u64().unwrap())
        };
        let told = |names: &str, total, filtered| (names.to_owned(), total, filtered);
        assert_eq!(names("").await, told("42 Berta anna Übersee", 4, 4));
        assert_eq!(names("dir=asc&limit=3&page=1").await, told("Übersee anna Berta", 4, 4));
        assert_eq!(names("dir=asc&limit=3&page=2").await, told("42", 4, 4));
        assert_eq!(names("limit=3&page=2").await, told("Übersee", 4, 4));
        assert_eq!(names("sort=name").await, told("42 anna Berta Übersee", 4, 4));
        assert_eq!(names("sort=1&dir=desc&limit=2&page=1").await, told("Übersee Berta", 4, 4));
        assert_eq!(names("sort=duration").await, told("42 Berta anna Übersee", 4, 4));
        assert_eq!(names("sort=duration&dir=desc&page=2&limit=2").await, told("Berta 42", 4, 4));
        assert_eq!(names("search=ÜBER").await, told("Übersee", 4, 1));
        assert_eq!(names("search=e").await, told("Berta Übersee", 4, 2));
        assert_eq!(names("search=nobody").await, told("", 4, 0));
        // However deep: what lies beyond the end is empty, as in any list.
        assert_eq!(names("search=e&page=1000&limit=1000").await, told("", 4, 2));
        assert_eq!(names("sort=name&page=1000000&limit=1000").await, told("", 4, 4));
        house.stop().await;
    }
}

#[tokio::test]
async fn a_compressed_list_is_the_same_list() {
    for house in House::on_each_database().await {
        for hour in 0..9 {
            house.enter(MAC, &format!("2025-08-01T0{hour}:00"), Some("2025-08-01T12:00:00")).await;
        }
        for path in [
            "/sessions/list",
            "/sessions/calendar?start=2025-08-01&end=2025-08-01",
            "/sessions/AABBCCDDEEFF?period=all",
        ] {
            let plain = house.get(path).await;
            assert_eq!(plain.sessions().len(), 9);
            let mut request = house.request("GET", path, None);
            request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
            let response = house.open(request).await;
            assert_eq!(response.headers()["content-encoding"], "gzip");
            let body = response.into_body().collect().await.expect("a whole body").to_bytes();
            let mut child = std::process::Command::new("gzip")
                .arg("-dc")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), &body).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), plain.text);
        }
        house.stop().await;
    }
}
