//! Against a real telnetd.

use serde_json::json;
use sojourn_domain::access::{AuthKind, ConnectionPolicy, EndReason, Protocol};
use sojourn_testbed::telnetd::Telnetd;

use crate::{
    house::{House, Target},
    ssh::people,
};

fn target<'a>(telnetd: &'a Telnetd, password: &str) -> Target<'a> {
    Target {
        protocol: Protocol::Telnet,
        port: telnetd.port(),
        username: &telnetd.account().name,
        auth: AuthKind::Password,
        secret: Some(json!({"password": password})),
        policy: ConnectionPolicy { record_input: true, ..ConnectionPolicy::default() },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_answered_and_sizes_told() {
    let Some(telnetd) = Telnetd::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let password = telnetd.account().password.clone();
    let connection = house.connection(&admin, target(&telnetd, &password)).await;
    let mut browser = house.open(&admin, connection).await;
    let id = browser.word("session").await["id"].as_str().unwrap().to_owned();
    let greeting = browser.until("$ ").await;
    assert!(!greeting.contains(&password), "the password was shown");
    browser.type_in("stty size; echo $TERM; echo \u{e9}$((6*7))\r").await;
    let shown = browser.until("\u{e9}42").await;
    assert!(shown.contains("24 80") && shown.contains("xterm-256color"), "{shown}");
    browser.say(json!({"type": "resize", "cols": 100, "rows": 30})).await;
    browser.type_in("stty size\r").await;
    browser.until("30 100").await;
    browser.type_in("exit\r").await;
    assert_eq!(browser.end().await["reason"], "closed");
    assert_eq!(house.ended(&id).await.end_reason, Some(EndReason::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_refused_login() {
    let Some(telnetd) = Telnetd::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let connection = house.connection(&admin, target(&telnetd, "wrong")).await;
    let mut browser = house.open(&admin, connection).await;
    let id = browser.word("session").await["id"].as_str().unwrap().to_owned();
    assert_eq!(browser.end().await["reason"], "login_refused");
    assert_eq!(house.ended(&id).await.end_reason, Some(EndReason::LoginRefused));
}
