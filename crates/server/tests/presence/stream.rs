//! The event stream.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sojourn_store::audit::By;

use crate::house::House;

const PHONE: &str = "02:00:00:00:00:01";

/// Reads a stream event by event.
struct Reader {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Told {
    event: String,
    id: Option<i64>,
    data: Value,
}

impl Reader {
    async fn open(house: &House, token: Option<&str>, last: Option<i64>) -> Self {
        let mut request = house.request("GET", "/presence/stream", None);
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.into());
        }
        let response = house.open(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body: Body = response.into_body();
        Self { body: body.into_data_stream(), text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
                };
                let Some(kind) = field("event") else { continue };
                return Some(Told {
                    event: kind,
                    id: field("id").map(|id| id.parse().unwrap()),
                    data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                });
            }
            let chunk =
                tokio::time::timeout(Duration::from_secs(60), self.body.next()).await.expect("an event");
            self.text.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }

    async fn until(&mut self, event: &str) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if told.event == event {
                return told;
            }
        }
    }
}

#[tokio::test]
async fn what_changes_is_told_while_it_changes() {
    for house in House::on_each_database().await {
        let mut reader = Reader::open(&house, None, None).await;
        let counts = reader.until("counts").await;
        assert_eq!(
            (&counts.data["all"], &counts.data["at"]),
            (&json!(0), &json!("2025-08-02T10:00:00.000Z"))
        );
        house.scan("2025-08-02T12:00:01", &[PHONE]).await;
        let event = reader.until("presence").await;
        assert_eq!((&event.data["type"], &event.data["mac"]), (&json!("New Device"), &json!(PHONE)));
        assert_eq!(event.id, event.data["id"].as_i64());
        let device = reader.until("device").await;
        assert_eq!((&device.data["mac"], &device.data["state"]), (&json!(PHONE), &json!("online")));
        let counts = reader.until("counts").await;
        assert_eq!((&counts.data["online"], &counts.data["new"]), (&json!(1), &json!(1)));
        house.answer(house.request("DELETE", &format!("/devices/{PHONE}"), None)).await;
        loop {
            let told = reader.until("device").await;
            if told.data["removed"] == true {
                assert_eq!(told.data["mac"], PHONE);
                break;
            }
        }
        house.stop().await;
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_once_and_in_order() {
    for house in House::on_each_database().await {
        for number in 1..=5 {
            house.scan("2025-08-02T12:00:01", &[&format!("02:00:00:00:01:0{number}")]).await;
        }
        let all = house.get("/presence/events").await.json();
        let ids: Vec<i64> =
            all["events"].as_array().unwrap().iter().map(|e| e["id"].as_i64().unwrap()).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        let mut reader = Reader::open(&house, None, Some(sorted[1])).await;
        for id in &sorted[2..] {
            assert_eq!(reader.until("presence").await.id, Some(*id));
        }
        house.scan("2025-08-02T12:00:02", &[PHONE]).await;
        assert_eq!(reader.until("presence").await.data["mac"], PHONE);
        house.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_cannot_follow_is_told_so_and_let_go() {
    for house in House::on_each_database().await {
        let macs: Vec<String> = (0..100).map(|number| format!("02:00:00:00:01:{number:02}")).collect();
        house.scan("2025-08-02T12:00:00", &macs.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut reader = Reader::open(&house, None, None).await;
        reader.until("counts").await;
        // More updates than may wait, while nobody reads.
        for number in 0..50 {
            let change = json!({ "macs": macs, "set": { "owner": format!("owner {number}") } });
            assert_eq!(house.send("PATCH", "/devices", change).await.json()["changed"], 100);
        }
        let mut last = None;
        while let Some(told) = reader.next().await {
            last = Some(told.event);
        }
        assert_eq!(last.as_deref(), Some("lost"));
        house.stop().await;
    }
}

#[tokio::test]
async fn the_stream_of_a_revoked_token_ends() {
    for house in House::on_each_database().await {
        let token = house.token("user").await;
        let mut reader = Reader::open(&house, Some(&token), None).await;
        reader.until("counts").await;
        let secret = sojourn_store::identity::SecretHash::of(&token);
        let now = house.now();
        let bearer = house.store.token_bearer(&secret, now).await.unwrap().unwrap();
        house.store.token_revoke(bearer.token, &By::cli(now)).await.unwrap();
        while reader.next().await.is_some() {}
        house.stop().await;
    }
}
