//! What holds, purges and retention leave of file sessions, and what they take along.

use axum::http::{Method, StatusCode};
use serde_json::json;
use sojourn_domain::{files::FileProtocol, id::FileSessionId, policy::Visibility};
use sojourn_store::files::FileEventFilter;
use sojourn_testbed::both_databases;

use super::{NOBODYS, begin, new, seed_time, somewhere, upload};
use crate::house::House;

#[tokio::test]
async fn held_and_live_sessions_stay_and_the_rest_goes_with_its_events() {
    both_databases(async |url| {
        let house = House::with(|settings| settings.database = Some(url.to_owned())).await;
        let alice = house.user("alice", "user").await;
        let of = |second| new((alice, "alice"), somewhere(), seed_time(second));
        let gone = begin(&house, of(0), false).await;
        house.store.file_events_add(gone, &[upload()]).await.unwrap();
        let held = begin(&house, of(1), false).await;
        let live = begin(&house, of(2), true).await;
        let admin = house.persona("admin").await;
        let put = async |id: &str, hold: bool| {
            let body = json!({"hold": hold, "reason": "case 7"});
            let path = format!("/file-sessions/{id}/hold");
            house.call(Method::PUT, &path).r#as(&admin).json(body).await.status
        };
        assert_eq!(put(&held.to_string(), true).await, StatusCode::OK);
        assert_eq!(house.last_audit().await, "file_session.hold done");
        assert_eq!(put(NOBODYS, true).await, StatusCode::NOT_FOUND);
        assert_eq!(house.get(&format!("/file-sessions/{held}")).r#as(&admin).await.json()["legalHold"], true);

        let purged = house.delete("/sessions").r#as(&admin).json(json!({"reason": "tidying"})).await.json();
        assert_eq!(
            purged,
            json!({"ok": true, "deletedSessions": 0, "deletedRecordings": 0, "deletedFileSessions": 1,
                   "skippedLive": 1, "skippedHeld": 1})
        );
        let entry = house.audit().await.pop().unwrap();
        assert!(
            entry.action == "session.purge" && entry.detail.contains("\"deletedFileSessions\":1"),
            "{entry:?}"
        );
        let get =
            async |id: FileSessionId| house.get(&format!("/file-sessions/{id}")).r#as(&admin).await.status;
        assert_eq!(
            (get(gone).await, get(held).await, get(live).await),
            (StatusCode::NOT_FOUND, StatusCode::OK, StatusCode::OK)
        );
        let any = FileEventFilter::default();
        assert!(house.store.file_events(Visibility::Any, gone, &any, None, 9).await.unwrap().is_empty());
        assert_eq!(put(&held.to_string(), false).await, StatusCode::OK);
        assert_eq!(house.last_audit().await, "file_session.release done");
        let again = house.delete("/sessions").r#as(&admin).await.json();
        assert_eq!((&again["deletedFileSessions"], &again["skippedHeld"]), (&json!(1), &json!(0)));
    })
    .await;
}

#[tokio::test]
async fn filters_purge_no_more_than_they_name() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let bob = house.user("bob", "user").await;
    for second in 0..6 {
        let mut new =
            new(if second < 2 { (alice, "alice") } else { (bob, "bob") }, somewhere(), seed_time(second));
        if second == 5 {
            new.protocol = FileProtocol::Rsync;
        }
        begin(&house, new, false).await;
    }
    let admin = house.persona("admin").await;
    let purge = async |query: &str| {
        house.delete(&format!("/sessions?{query}")).r#as(&admin).await.json()["deletedFileSessions"].clone()
    };
    // Commands are not in them, and telnet moves no files.
    assert_eq!(purge("q=index").await, 0);
    assert_eq!(purge("protocol=telnet").await, 0);
    assert_eq!(purge("live=true").await, 0);
    assert_eq!(purge(&format!("userId={alice}")).await, 2);
    assert_eq!(purge("from=2024-01-01T00:00:04Z&to=2024-01-01T00:00:05Z").await, 1);
    assert_eq!(house.get("/file-sessions").r#as(&admin).await.json()["total"], 3);
    for role in ["auditor", "user"] {
        let other = house.persona(role).await;
        assert_eq!(house.delete("/sessions").r#as(&other).await.status, StatusCode::FORBIDDEN, "{role}");
    }
    assert_eq!(purge("").await, 3);
}
