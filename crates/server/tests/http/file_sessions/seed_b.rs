//! Every example of the seed for file sessions, sent as it is written.

use axum::http::StatusCode;
use serde_json::json;
use sojourn_domain::files::FileAction;

use super::{begin, event, new, seed_time, somewhere, upload};
use crate::house::House;

const MOUNTS: [&str; 2] = ["", "/api/v1"];

#[tokio::test]
async fn the_list_has_the_documented_fields_first_and_in_their_order() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let connection = somewhere();
    let id = begin(&house, new((alice, "alice"), connection, seed_time(0)), false).await;
    let events: Vec<_> = (0..14).map(|n| event(seed_time(n), FileAction::Browse, "/")).collect();
    house.store.file_events_add(id, &events).await.unwrap();
    let auditor = house.persona("auditor").await;
    for mount in MOUNTS {
        for query in ["", "?page=1", "?limit=25", "?page=1&limit=25"] {
            let answer = house.get(&format!("{mount}/file-sessions{query}")).r#as(&auditor).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            let documented = format!(
                "{{\"sessions\":[{{\"id\":\"{id}\",\"userId\":\"{alice}\",\"protocol\":\"sftp\",\
                 \"startedAt\":\"2024-01-01T00:00:00.000Z\",\"endedAt\":\"2024-01-01T00:30:00.000Z\",\
                 \"connectionName\":\"Files Server\",\"username\":\"alice\",\"eventCount\":14,"
            );
            assert!(answer.text.starts_with(&documented), "{}", answer.text);
            assert!(answer.text.ends_with("\"page\":1,\"limit\":25,\"total\":1}"), "{}", answer.text);
            let listed = &answer.json()["sessions"][0];
            let expected = json!({
                "live": false, "connectionId": connection, "clientAddress": "192.0.2.1", "clientKind": "native",
                "endReason": "closed", "endDetail": null, "accessSessionId": null, "bytesUp": 0, "bytesDown": 0,
                "failedCount": 0, "legalHold": false, "target": "sftp://root@nas:22",
            });
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(&listed[key], value, "{key}");
            }
            let one = house.get(&format!("{mount}/file-sessions/{id}")).r#as(&auditor).await;
            assert_eq!(&one.json(), listed);
        }
    }
}

#[tokio::test]
async fn the_events_have_the_documented_fields_first_and_in_their_order() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    let upload = upload();
    house.store.file_events_add(id, std::slice::from_ref(&upload)).await.unwrap();
    let own = house.token(alice, None).await;
    for mount in MOUNTS {
        let answer = house.get(&format!("{mount}/file-sessions/{id}/events")).r#as(&own).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let documented = format!(
            "{{\"events\":[{{\"id\":\"{}\",\"timestamp\":\"2024-01-01T00:05:00.000Z\",\"action\":\"upload\",\
             \"path\":\"/var/www/html/index.html\",\"detail\":\"12.4 KB\",",
            upload.id
        );
        assert!(answer.text.starts_with(&documented), "{}", answer.text);
        assert!(upload.id.to_string().starts_with("evt_"));
    }
}

#[tokio::test]
async fn the_export_is_a_file_in_both_forms() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    house.store.file_events_add(id, &[upload()]).await.unwrap();
    let own = house.token(alice, None).await;
    for mount in MOUNTS {
        for (format, kind) in
            [("json", "application/json"), ("csv", "text/csv; charset=utf-8; header=present")]
        {
            let answer =
                house.get(&format!("{mount}/file-sessions/{id}/export?format={format}")).r#as(&own).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            assert_eq!(answer.header("content-type"), kind);
            assert_eq!(
                answer.header("content-disposition"),
                format!("attachment; filename=\"file-activity_Files_Server_20240101000000.{format}\"")
            );
            assert!(answer.text.contains("/var/www/html/index.html"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_purge_takes_file_sessions_too() {
    for mount in MOUNTS {
        let house = House::new().await;
        let alice = house.user("alice", "user").await;
        for second in 0..5 {
            begin(&house, new((alice, "alice"), somewhere(), seed_time(second)), false).await;
        }
        let admin = house.persona("admin").await;
        let answer = house.delete(&format!("{mount}/sessions")).r#as(&admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let purged = answer.json();
        assert_eq!((&purged["ok"], &purged["deletedFileSessions"]), (&json!(true), &json!(5)));
        assert_eq!(house.get("/file-sessions").r#as(&admin).await.json()["total"], 0);
    }
}
