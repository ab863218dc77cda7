//! Two servers on one PostgreSQL.

use serde_json::json;
use sojourn_domain::{
    access::{ConnectionPolicy, EndReason},
    time::Elapsed,
};
use sojourn_store::nodes::NodeState;
use sojourn_testbed::{postgres, sshd::Sshd};

use crate::{
    house::House,
    ssh::{people, target},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_one_node_is_listed_watched_and_ended_from_another() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(database) = postgres::fresh_database() else { return };
    let shared = tempfile::tempdir().unwrap();
    let key = shared.path().join("key");
    std::fs::write(&key, "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let node = async |name: &str| {
        House::on(tempfile::tempdir().unwrap(), database.url(), |settings| {
            settings.master_key_file = Some(key.clone());
            settings.node_name = Some(name.to_owned());
        })
        .await
    };
    let (one, two) = (node("one").await, node("two").await);
    let (admin, alice) = people(&one).await;
    let connection = one.connection(&admin, target(&sshd, ConnectionPolicy::default())).await;
    let mut browser = one.open(&admin, connection).await;
    let id = browser.word("session").await["id"].as_str().unwrap().to_owned();
    browser.until("$ ").await;
    browser.type_in("echo o''ne\r").await;
    browser.until("one").await;

    let (_, live) = two.get(&admin, "/sessions/live").await;
    assert_eq!(live["sessions"][0]["id"], json!(id));
    assert_eq!(two.post(&alice, &format!("/sessions/{id}/terminate"), json!({})).await.0, 404);
    let start = json!({"type": "start", "cols": 80, "rows": 24});
    let mut watch = two.come(&admin, &id, "watch", start.clone()).await;
    assert!(watch.word("snapshot").await["data"].as_str().unwrap().contains("one"));
    browser.type_in("echo t''wo\r").await;
    browser.until("two").await;
    watch.until("two").await;
    // The browser comes back through the other node.
    let received = browser.lose();
    let again = json!({"type": "start", "cols": 80, "rows": 24, "received": received});
    let mut browser = two.come(&admin, &id, "attach", again).await;
    browser.received = received;
    browser.word("session").await;
    browser.type_in("echo th''ree\r").await;
    browser.until("three").await;

    let (status, answer) = two.post(&admin, &format!("/sessions/{id}/terminate"), json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(browser.end().await["reason"], "terminated");
    assert_eq!(watch.end().await["reason"], "terminated");
    assert_eq!(one.ended(&id).await.end_reason, Some(EndReason::Terminated));

    // A node that has said nothing for long is dead for the others.
    let now = one.state.now();
    let nodes = one.store.nodes().await.unwrap();
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| node.state(now) == NodeState::Running));
    let later = now + Elapsed::from_minutes(5);
    assert!(nodes.iter().all(|node| node.state(later) == NodeState::Dead));
}
