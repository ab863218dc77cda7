//! What a purge takes along, and what it leaves.

use axum::http::StatusCode;
use serde_json::json;
use sojourn_domain::policy::Visibility;
use sojourn_testbed::both_databases;

use super::{command, nowhere, seed_time, session};
use crate::house::House;

#[tokio::test]
async fn nothing_is_left_behind_and_live_sessions_stay_and_are_counted() {
    both_databases(async |url| {
        let house = House::with(|settings| settings.database = Some(url.to_owned())).await;
        let alice = house.user("alice", "user").await;
        let on = nowhere();
        let gone = session(&house, (alice, "alice"), on, seed_time(0), false).await;
        house.store.commands_add(gone, &[command("cat /etc/shadow")]).await.unwrap();
        let held = session(&house, (alice, "alice"), on, seed_time(1), false).await;
        let live = session(&house, (alice, "alice"), on, seed_time(2), true).await;
        let admin = house.persona("admin").await;
        let put = async |id: &str, hold: bool| {
            let body = json!({"hold": hold, "reason": "case 7"});
            house
                .call(axum::http::Method::PUT, &format!("/sessions/{id}/hold"))
                .r#as(&admin)
                .json(body)
                .await
                .status
        };
        assert_eq!(put(&held.to_string(), true).await, StatusCode::OK);
        assert_eq!(put("sess_01h455vb4pex5vsknk084sn02q", true).await, StatusCode::NOT_FOUND);

        let refused = house.delete(&format!("/sessions/{live}")).r#as(&admin).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "session_live"));
        let refused = house.delete(&format!("/sessions/{held}")).r#as(&admin).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "session_held"));

        let call =
            house.delete("/sessions").r#as(&admin).json(json!({"reason": "asked by the works council"}));
        let purged = call.await.json();
        assert_eq!(
            purged,
            json!({"ok": true, "deletedSessions": 1, "deletedRecordings": 0, "deletedFileSessions": 0,
                   "skippedLive": 1, "skippedHeld": 1})
        );
        // Who, what and why.
        let entry = house.audit().await.pop().unwrap();
        assert_eq!((entry.action.as_str(), entry.actor_name.as_str()), ("session.purge", "the-admin"));
        assert!(
            entry.detail.contains("asked by the works council")
                && entry.detail.contains("\"deletedSessions\":1")
        );
        // Neither the session, nor its commands, nor a find of its text.
        assert_eq!(house.get(&format!("/sessions/{gone}")).r#as(&admin).await.status, StatusCode::NOT_FOUND);
        assert!(house.store.commands(Visibility::Any, gone, None, None, 10).await.unwrap().is_empty());
        assert_eq!(house.get("/sessions?q=shadow").r#as(&admin).await.json()["total"], 0);
        let left = house.get("/sessions").r#as(&admin).await.json();
        assert_eq!((&left["total"], &left["sessions"][0]["id"]), (&json!(2), &json!(live)));
        assert_eq!(left["sessions"][0]["live"], true);

        assert_eq!(put(&held.to_string(), false).await, StatusCode::OK);
        let one = house.delete(&format!("/sessions/{held}")).r#as(&admin).await;
        assert_eq!((one.status, &one.json()["deletedSessions"]), (StatusCode::OK, &json!(1)));
    })
    .await;
}

#[tokio::test]
async fn filters_purge_no_more_than_they_name() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let bob = house.user("bob", "user").await;
    for second in 0..6 {
        let user = if second < 2 { (alice, "alice") } else { (bob, "bob") };
        session(&house, user, nowhere(), seed_time(second), false).await;
    }
    let admin = house.persona("admin").await;
    let purge = async |query: &str| house.delete(&format!("/sessions?{query}")).r#as(&admin).await;
    assert_eq!(purge(&format!("userId={alice}")).await.json()["deletedSessions"], 2);
    assert_eq!(purge("live=true").await.json()["deletedSessions"], 0);
    // A filter that cannot be read purges nothing.
    assert_eq!(purge("userId=alice").await.field(), "userId");
    assert_eq!(purge("from=2024-01-01T00:00:04Z").await.json()["deletedSessions"], 2);
    assert_eq!(house.get("/sessions").r#as(&admin).await.json()["total"], 2);
    for role in ["auditor", "user"] {
        let other = house.persona(role).await;
        assert_eq!(house.delete("/sessions").r#as(&other).await.status, StatusCode::FORBIDDEN, "{role}");
    }
    assert_eq!(house.get("/sessions").r#as(&admin).await.json()["total"], 2);
}
