//! Against a real sshd.

use serde_json::{Value, json};
use sojourn_domain::access::{AuthKind, ConnectionPolicy, EndReason, Protocol, RecordingState};
use sojourn_testbed::sshd::Sshd;

use crate::house::{House, Persona, Target};

pub(crate) fn target(sshd: &Sshd, policy: ConnectionPolicy) -> Target<'_> {
    let account = sshd.account();
    Target {
        protocol: Protocol::Ssh,
        port: sshd.port(),
        username: &account.name,
        auth: AuthKind::Password,
        secret: Some(json!({"password": account.password})),
        policy,
    }
}

pub(crate) async fn people(house: &House) -> (Persona, Persona) {
    (house.persona("root", "admin").await, house.persona("alice", "user").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_opened_resized_and_left() {
    let Some(sshd) = Sshd::start() else { return };
    let house = House::new().await;
    let (admin, alice) = people(&house).await;
    let connection = house.connection(&admin, target(&sshd, ConnectionPolicy::default())).await;
    // Nobody has pinned the host key, and alice may not.
    let mut refused = house.open(&alice, connection).await;
    assert_eq!(refused.end().await["reason"], "host_key");
    let mut first = house.open(&admin, connection).await;
    let session = first.word("session").await;
    assert_eq!(session["recorded"], true);
    first.until("$ ").await;
    first.say(json!({"type": "close"})).await;
    assert_eq!(first.end().await["reason"], "closed");

    let mut browser = house.open(&alice, connection).await;
    let session = browser.word("session").await;
    let id = session["id"].as_str().unwrap();
    browser.until("$ ").await;
    browser.say(json!({"type": "resize", "cols": 100, "rows": 30})).await;
    browser.type_in("stty size; echo é$((6*7))\r").await;
    let shown = browser.until("é42").await;
    assert!(shown.contains("30 100"), "{shown}");
    browser.type_in("exit 3\r").await;
    let end = browser.end().await;
    assert_eq!((&end["reason"], &end["exitStatus"]), (&json!("closed"), &json!(3)));
    let row = house.ended(id).await;
    assert_eq!((row.end_reason, row.exit_status), (Some(EndReason::Closed), Some(3)));
    assert_ne!(row.recording, RecordingState::None);
    let (_, commands) = house.get(&alice, &format!("/sessions/{id}/commands")).await;
    assert!(commands.to_string().contains("stty size"), "{commands}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_taken_up_again_without_a_gap() {
    let Some(sshd) = Sshd::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let connection = house.connection(&admin, target(&sshd, ConnectionPolicy::default())).await;
    let mut browser = house.open(&admin, connection).await;
    let id = browser.word("session").await["id"].as_str().unwrap().to_owned();
    browser.until("$ ").await;
    browser.type_in("seq 1 200000 | sed 's/^/n/'; echo do''ne\r").await;
    let mut all = Vec::new();
    // Breaks again and again in the middle of a flood. Half of what came was never acknowledged.
    for round in 0..5 {
        let sought = format!("n{}\r\n", 100 + round * 20_000);
        all.extend(browser.until(&sought).await.into_bytes());
        let seen = std::mem::take(&mut browser.seen);
        let received = browser.lose();
        let start = json!({"type": "start", "cols": 80, "rows": 24, "term": "xterm", "received": received});
        browser = house.come(&admin, &id, "attach", start).await;
        browser.received = received;
        browser.seen = seen;
        browser.word("session").await;
    }
    // Not more than the window comes unasked, so read in steps.
    for step in (110_000..=200_000).step_by(2_000) {
        all.extend(browser.until(&format!("n{step}\r\n")).await.into_bytes());
    }
    browser.until("done").await;
    let text = String::from_utf8_lossy(&all);
    // The shell's own sequences may stand before the first one.
    let number = |line: &str| line.trim_end().rsplit('\r').next()?.strip_prefix('n')?.parse().ok();
    let numbers: Vec<u32> = text.lines().filter_map(number).collect();
    assert!(numbers.iter().copied().eq(1..=200_000), "{} numbers", numbers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_good_once_and_for_their_own_thing() {
    let Some(sshd) = Sshd::start() else { return };
    let house = House::new().await;
    let (admin, alice) = people(&house).await;
    let connection = house.connection(&admin, target(&sshd, ConnectionPolicy::default())).await;
    let path = format!("/connections/{connection}/tickets");
    let ticket = house.ticket(&admin, &path, json!({})).await;
    let mut browser = house.socket(&ticket).await.unwrap();
    assert!(house.socket(&ticket).await.is_err(), "a ticket was good twice");
    assert!(house.socket("made-up").await.is_err());
    browser.say(json!({"type": "start", "cols": 80, "rows": 24})).await;
    let id = browser.word("session").await["id"].as_str().unwrap().to_owned();
    let path = format!("/sessions/{id}/tickets");
    // Whose it is not does not even learn that it is.
    for purpose in ["attach", "watch", "join"] {
        assert_eq!(house.post(&alice, &path, json!({"purpose": purpose})).await.0, 404, "{purpose}");
    }
    assert_eq!(house.post(&alice, &format!("/sessions/{id}/terminate"), json!({})).await.0, 404);
    let stranger = house.persona("mallory", "auditor").await;
    let other = format!("/connections/{connection}/tickets");
    assert_eq!(house.post(&stranger, &other, json!({})).await.0, 403);
    assert_eq!(house.post(&stranger, &path, json!({"purpose": "attach"})).await.0, 403);
    assert_eq!(house.post(&stranger, &path, json!({"purpose": "join"})).await.0, 403);
    // Given in time, and taken away before it was shown.
    let ticket = house.ticket(&admin, &format!("/connections/{connection}/tickets"), json!({})).await;
    let by = sojourn_store::audit::By::cli(house.state.now());
    let change = sojourn_store::identity::UserChange { disabled: Some(true), ..Default::default() };
    house.persona("second", "admin").await;
    house.store.user_change(admin.user, &change, &by).await.unwrap();
    let mut late = house.socket(&ticket).await.unwrap();
    late.say(json!({"type": "start", "cols": 80, "rows": 24})).await;
    assert_eq!(late.end().await["reason"], "denied");
    // And the open session ends within seconds.
    assert_eq!(browser.end().await["reason"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_asks_for_what_is_not_kept() {
    let Some(sshd) = Sshd::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let account = sshd.account();
    let mut asked = target(&sshd, ConnectionPolicy::default());
    asked.auth = AuthKind::Prompt;
    asked.secret = None;
    let connection = house.connection(&admin, asked).await;
    let mut browser = house.open(&admin, connection).await;
    let prompt = browser.word("prompt").await;
    assert_eq!(prompt["echo"], Value::Bool(false));
    browser.say(json!({"type": "answer", "text": account.password})).await;
    browser.word("session").await;
    browser.until("$ ").await;
    let mut wrong = house.open(&admin, connection).await;
    wrong.word("prompt").await;
    wrong.say(json!({"type": "answer", "text": "wrong"})).await;
    assert_eq!(wrong.end().await["reason"], "login_refused");
}
