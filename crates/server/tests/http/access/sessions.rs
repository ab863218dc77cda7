//! Whose sessions are seen, pages, filters, and what no request may do.

use axum::http::StatusCode;
use serde_json::json;
use sojourn_domain::policy::Permission;
use sojourn_store::{audit::By, identity::UserChange};
use sojourn_testbed::both_databases;

use super::{command, nowhere, seed_time, session};
use crate::house::{As, House};

const SOMEBODYS: &str = "sess_01h455vb4pex5vsknk084sn02q";

#[tokio::test]
async fn pages_and_filters_on_both_databases() {
    both_databases(async |url| {
        let house = House::with(|settings| settings.database = Some(url.to_owned())).await;
        let alice = house.user("alice", "user").await;
        let bob = house.user("bob", "user").await;
        let (web, db) = (nowhere(), nowhere());
        for second in 0..30 {
            let user = if second % 2 == 0 { (alice, "alice") } else { (bob, "bob") };
            let on = if second < 10 { web } else { db };
            let id = session(&house, user, on, seed_time(second * 3600), second == 29).await;
            if second == 7 {
                house.store.commands_add(id, &[command("sudo systemctl restart nginx")]).await.unwrap();
            }
        }
        let auditor = house.persona("auditor").await;
        let ask = async |query: &str| {
            let answer = house.get(&format!("/sessions?{query}")).r#as(&auditor).await;
            assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
            let json = answer.json();
            (json["sessions"].as_array().unwrap().len(), json["total"].as_i64().unwrap(), json)
        };
        let counts = async |query: &str| {
            let (sessions, total, _) = ask(query).await;
            (sessions, total)
        };
        let (_, _, first) = ask("").await;
        assert_eq!((&first["page"], &first["limit"], &first["total"]), (&json!(1), &json!(25), &json!(30)));
        assert_eq!(first["sessions"][0]["startedAt"], "2024-01-02T05:00:00.000Z");
        assert_eq!(counts("page=2").await, (5, 30));
        assert_eq!(counts("page=3").await, (0, 30));
        assert_eq!(ask("limit=999999").await.2["limit"], 2000);
        assert_eq!(ask("limit=0").await.2["limit"], 1);
        assert_eq!(counts(&format!("userId={alice}&limit=4")).await, (4, 15));
        assert_eq!(counts(&format!("connectionId={web}&limit=4")).await, (4, 10));
        assert_eq!(counts(&format!("connectionId={web}&userId={bob}")).await, (5, 5));
        assert_eq!(counts("protocol=ssh&limit=1").await, (1, 30));
        assert_eq!(counts("protocol=telnet").await, (0, 0));
        assert_eq!(counts("live=true").await, (1, 1));
        assert_eq!(counts("live=false&limit=2").await, (2, 29));
        assert_eq!(counts("from=2024-01-01T20:00:00Z&to=2024-01-01T22:00:00Z").await, (2, 2));
        // Whole days of Berlin: an hour ahead of UTC.
        assert_eq!(counts("from=2024-01-02&to=2024-01-02").await, (7, 7));
        assert_eq!(counts("q=SYSTEMCTL%20restart").await, (1, 1));
        assert_eq!(counts("q=su").await, (1, 1));
        assert_eq!(counts("q=nginx&live=true").await, (0, 0));
        assert_eq!(counts("q=%25").await, (0, 0));
        // One's own, whatever is asked.
        let bobs = house.token(bob, None).await;
        let own = async |query: &str| {
            house.get(&format!("/sessions?{query}")).r#as(&bobs).await.json()["total"].clone()
        };
        assert_eq!(own("").await, 15);
        assert_eq!(own(&format!("userId={alice}")).await, 0);
        assert_eq!(own(&format!("userId={bob}")).await, 15);
        assert_eq!(own("q=nginx").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_page_limit_or_filter_is_refused_by_name() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    for (query, field) in [
        ("limit=abc", "limit"),
        ("limit=-1", "limit"),
        ("page=0", "page"),
        ("page=x", "page"),
        ("page=99999999999999999999", "page"),
        ("userId=1", "userId"),
        ("connectionId=x", "connectionId"),
        ("protocol=rdp2", "protocol"),
        ("from=yesterday", "from"),
        ("to=2024-13-01", "to"),
        ("live=perhaps", "live"),
    ] {
        let answer = house.get(&format!("/sessions?{query}")).r#as(&admin).await;
        assert_eq!(answer.field(), field, "{query}");
    }
}

#[tokio::test]
async fn others_sessions_are_as_if_they_were_not_there() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = session(&house, (alice, "alice"), nowhere(), seed_time(0), false).await;
    let mallory = house.persona("user").await;
    for path in [format!("/sessions/{id}"), format!("/sessions/{id}/commands")] {
        let there = house.get(&path).r#as(&mallory).await;
        let nowhere = house.get(&path.replace(&id.to_string(), SOMEBODYS)).r#as(&mallory).await;
        assert_eq!((there.status, &there.text), (StatusCode::NOT_FOUND, &nowhere.text), "{path}");
    }
    let own = house.token(alice, None).await;
    let session = house.get(&format!("/sessions/{id}")).r#as(&own).await;
    // Where it led is not the user's to know.
    assert_eq!((session.status, &session.json()["target"]), (StatusCode::OK, &json!(null)));
    let auditor = house.persona("auditor").await;
    assert_eq!(
        house.get(&format!("/sessions/{id}")).r#as(&auditor).await.json()["target"],
        "ssh://root@web:22"
    );
    // Neither permission: not even one's own.
    let none = house.token(alice, Some([Permission::PresenceView].into())).await;
    assert_eq!(house.get("/sessions").r#as(&none).await.status, StatusCode::FORBIDDEN);
    assert_eq!(house.get(&format!("/sessions/{id}")).r#as(&none).await.status, StatusCode::FORBIDDEN);
    // An id is whole or none, and no device either.
    for odd in ["sess_", "sess_1", &id.to_string()[..20], &id.to_string().to_uppercase()] {
        let status = house.get(&format!("/sessions/{odd}")).r#as(&auditor).await.status;
        assert!(status.is_client_error(), "{odd}: {status}");
    }
    for word in ["storage", "list", "calendar", "session-events"] {
        let answer = house.get(&format!("/sessions/{word}")).r#as(&mallory).await;
        assert_ne!(answer.status, StatusCode::NOT_FOUND, "{word}");
    }
}

#[tokio::test]
async fn a_role_is_looked_up_at_each_request_and_a_removed_users_token_is_dead() {
    let house = House::new().await;
    house.user("root", "admin").await;
    let alice = house.user("alice", "auditor").await;
    session(&house, (house.user("bob", "user").await, "bob"), nowhere(), seed_time(0), false).await;
    let token = house.token(alice, None).await;
    let total = async || house.get("/sessions").r#as(&token).await.json()["total"].clone();
    assert_eq!(total().await, 1);
    let demoted = UserChange { role: Some("user".parse().unwrap()), ..UserChange::default() };
    house.store.user_change(alice, &demoted, &By::cli(house.now())).await.unwrap();
    assert_eq!(total().await, 0);
    house.store.user_remove(alice, &By::cli(house.now())).await.unwrap();
    assert_eq!(house.get("/sessions").r#as(&token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nobody_makes_a_session_or_chooses_its_id() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let id = SOMEBODYS;
    for (method, path) in [
        ("POST", "/sessions".to_owned()),
        ("PUT", format!("/sessions/{id}")),
        ("PATCH", format!("/sessions/{id}")),
        ("POST", format!("/sessions/{id}")),
    ] {
        let call = house.call(method.parse().unwrap(), &path).r#as(&admin).json(json!({"id": id}));
        assert_eq!(call.await.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
    }
    assert_eq!(house.get("/sessions").r#as(&admin).await.json()["total"], 0);
    assert!(matches!(admin, As::Bearer(_)));
}
