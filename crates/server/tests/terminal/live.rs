//! Watching, taking part, ending.

use serde_json::json;
use sojourn_domain::access::{ConnectionPolicy, EndReason};
use sojourn_testbed::sshd::Sshd;

use crate::{
    house::House,
    ssh::{people, target},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_listed_watched_joined_and_ended() {
    let Some(sshd) = Sshd::start() else { return };
    let house = House::new().await;
    let (admin, alice) = people(&house).await;
    let connection = house.connection(&admin, target(&sshd, ConnectionPolicy::default())).await;
    let mut first = house.open(&admin, connection).await;
    first.word("session").await;
    first.say(json!({"type": "close"})).await;
    first.end().await;

    let mut browser = house.open(&alice, connection).await;
    let id = browser.word("session").await["id"].as_str().unwrap().to_owned();
    browser.until("$ ").await;
    browser.type_in("echo wa''tched\r").await;
    browser.until("watched").await;
    browser.until("$ ").await;

    let (_, live) = house.get(&admin, "/sessions/live").await;
    assert_eq!(live["sessions"][0]["id"], json!(id));
    assert_eq!((&live["sessions"][0]["cols"], &live["sessions"][0]["live"]), (&json!(80), &json!(true)));
    let other = house.persona("bob", "user").await;
    assert_eq!(house.get(&other, "/sessions/live").await.1["sessions"], json!([]));

    let start = json!({"type": "start", "cols": 200, "rows": 60});
    let mut watch = house.come(&admin, &id, "watch", start.clone()).await;
    let snapshot = watch.word("snapshot").await;
    assert!(snapshot["data"].as_str().unwrap().contains("watched"), "{snapshot}");
    assert_eq!((&snapshot["cols"], &snapshot["rows"]), (&json!(80), &json!(24)));
    assert_eq!(browser.word("notice").await["text"], "root watches this session");
    assert_eq!(browser.word("viewers").await["viewers"], json!([{"name": "root", "mode": "watch"}]));
    // Who watches does not type.
    watch.type_in("echo int''ruder\r").await;
    let mut join = house.come(&admin, &id, "join", start).await;
    join.word("snapshot").await;
    join.type_in("echo he''lped\r").await;
    let shown = browser.until("helped").await;
    assert!(!shown.contains("intruder"), "{shown}");
    watch.until("helped").await;
    join.until("helped").await;

    let (status, answer) =
        house.post(&admin, &format!("/sessions/{id}/terminate"), json!({"reason": "lunch"})).await;
    assert_eq!(status, 200, "{answer}");
    for end in [browser.end().await, watch.end().await, join.end().await] {
        assert_eq!(end["reason"], "terminated");
        assert_eq!(end["detail"], "ended by root: lunch");
    }
    assert_eq!(house.ended(&id).await.end_reason, Some(EndReason::Terminated));
    assert_eq!(house.post(&admin, &format!("/sessions/{id}/terminate"), json!({})).await.0, 409);
    let (entries, _) =
        house.store.audit_list(&sojourn_store::audit::AuditFilter::default(), 100, 0).await.unwrap();
    for action in ["session.open", "session.watch", "session.join", "session.terminate"] {
        assert!(entries.iter().any(|entry| entry.action == action), "{action}");
    }
}
