//! Every example of the seed for terminal sessions, sent as it is written.

use axum::http::StatusCode;
use serde_json::json;
use sojourn_domain::access::RecordingState;

use super::{command, nowhere, seed_time, session};
use crate::house::House;

const MOUNTS: [&str; 2] = ["", "/api/v1"];

#[tokio::test]
async fn the_list_has_the_documented_fields_first_and_in_their_order() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let connection = nowhere();
    let id = session(&house, (alice, "alice"), connection, seed_time(0), false).await;
    house.store.session_recording(id, RecordingState::Sealed, 204_800).await.unwrap();
    let auditor = house.persona("auditor").await;
    for mount in MOUNTS {
        let answer = house.get(&format!("{mount}/sessions")).r#as(&auditor).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let documented = format!(
            "{{\"sessions\":[{{\"id\":\"{id}\",\"userId\":\"{alice}\",\"protocol\":\"ssh\",\
             \"startedAt\":\"2024-01-01T00:00:00.000Z\",\"endedAt\":\"2024-01-01T01:00:00.000Z\",\
             \"hasRecording\":true,\"fileSize\":204800,\"connectionName\":\"Web Server\",\"username\":\"alice\","
        );
        assert!(answer.text.starts_with(&documented), "{}", answer.text);
        assert!(answer.text.ends_with("\"page\":1,\"limit\":25,\"total\":1}"), "{}", answer.text);
        let listed = &answer.json()["sessions"][0];
        let expected = json!({
            "live": false, "connectionId": connection, "clientAddress": "192.0.2.1", "recording": "sealed",
            "commandCount": 0, "endReason": "closed",
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&listed[key], value, "{key}");
        }
        let one = house.get(&format!("{mount}/sessions/{id}")).r#as(&auditor).await;
        assert_eq!(&one.json(), listed);
    }
}

#[tokio::test]
async fn the_commands_have_the_documented_fields() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = session(&house, (alice, "alice"), nowhere(), seed_time(0), false).await;
    house.store.commands_add(id, &[command("ls -la /var/log")]).await.unwrap();
    let token = house.token(alice, None).await;
    for mount in MOUNTS {
        let answer = house.get(&format!("{mount}/sessions/{id}/commands")).r#as(&token).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let command = &answer.json()["commands"][0];
        assert_eq!(command["timestamp"], "2024-01-01T00:05:00.000Z");
        assert_eq!(command["elapsed"], 300_000);
        assert_eq!(command["command"], "ls -la /var/log");
        assert_eq!(command["output_preview"], "total 128\n...");
        assert_eq!((&command["source"], &command["confidence"]), (&json!("screen"), &json!("inferred")));
        assert!(command["id"].as_str().unwrap().starts_with("cmd_"));
    }
}

#[tokio::test]
async fn a_purge_answers_with_the_documented_counts() {
    for mount in MOUNTS {
        let house = House::new().await;
        let alice = house.user("alice", "user").await;
        for second in 0..42 {
            session(&house, (alice, "alice"), nowhere(), seed_time(second), false).await;
        }
        let admin = house.persona("admin").await;
        let answer = house.delete(&format!("{mount}/sessions")).r#as(&admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let purged = answer.json();
        assert_eq!((&purged["ok"], &purged["deletedSessions"]), (&json!(true), &json!(42)));
        assert_eq!((&purged["deletedRecordings"], &purged["deletedFileSessions"]), (&json!(0), &json!(0)));
        assert_eq!(house.get("/sessions").r#as(&admin).await.json()["total"], 0);
    }
}

#[tokio::test]
async fn storage_says_how_many_bytes_there_are() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    for mount in MOUNTS {
        let answer = house.get(&format!("{mount}/sessions/storage")).r#as(&admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert!(answer.json()["bytes"].is_u64(), "{}", answer.text);
    }
}
