//! Whose file sessions are seen, pages, filters, and what no request may do.

use axum::http::StatusCode;
use serde_json::json;
use sojourn_domain::{
    files::{FileAction, FileOutcome, FileProtocol},
    id::FileSessionId,
    policy::Permission,
    time::Elapsed,
};
use sojourn_testbed::both_databases;

use super::{NOBODYS, begin, event, new, seed_time, somewhere, upload};
use crate::house::{As, House};

#[tokio::test]
async fn pages_and_filters_on_both_databases() {
    both_databases(async |url| {
        let house = House::with(|settings| settings.database = Some(url.to_owned())).await;
        let alice = house.user("alice", "user").await;
        let bob = house.user("bob", "user").await;
        let (nas, web) = (somewhere(), somewhere());
        for second in 0..30 {
            let user = if second % 2 == 0 { (alice, "alice") } else { (bob, "bob") };
            let mut new = new(user, if second < 10 { nas } else { web }, seed_time(second * 3600));
            if second < 3 {
                new.protocol = FileProtocol::Smb;
            }
            let id = begin(&house, new, second == 29).await;
            if second == 7 {
                house.store.file_events_add(id, &[upload()]).await.unwrap();
            }
        }
        let auditor = house.persona("auditor").await;
        let ask = async |query: &str| {
            let answer = house.get(&format!("/file-sessions?{query}")).r#as(&auditor).await;
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
        assert_eq!(counts(&format!("connectionId={nas}&limit=4")).await, (4, 10));
        assert_eq!(counts(&format!("connectionId={nas}&userId={bob}")).await, (5, 5));
        assert_eq!(counts("protocol=smb").await, (3, 3));
        assert_eq!(counts("protocol=rsync").await, (0, 0));
        assert_eq!(counts("live=true").await, (1, 1));
        assert_eq!(counts("live=false&limit=2").await, (2, 29));
        assert_eq!(counts("from=2024-01-01T20:00:00Z&to=2024-01-01T22:00:00Z").await, (2, 2));
        // Whole days of Berlin: an hour ahead of UTC.
        assert_eq!(counts("from=2024-01-02&to=2024-01-02").await, (7, 7));
        assert_eq!(counts("q=HTML/index").await, (1, 1));
        assert_eq!(counts("q=index&live=true").await, (0, 0));
        assert_eq!(counts("q=%25").await, (0, 0));
        // One's own, whatever is asked.
        let bobs = house.token(bob, None).await;
        let own = async |query: &str| {
            house.get(&format!("/file-sessions?{query}")).r#as(&bobs).await.json()["total"].clone()
        };
        assert_eq!(own("").await, 15);
        assert_eq!(own(&format!("userId={alice}")).await, 0);
        assert_eq!(own(&format!("userId={bob}")).await, 15);
        assert_eq!(own("q=index").await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_page_limit_or_filter_is_refused_by_name() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let user = house.user("alice", "user").await;
    let id = begin(&house, new((user, "alice"), somewhere(), seed_time(0)), false).await;
    let session = format!("/file-sessions/{id}");
    for (path, field) in [
        ("/file-sessions?limit=abc".to_owned(), "limit"),
        ("/file-sessions?limit=-1".to_owned(), "limit"),
        ("/file-sessions?page=0".to_owned(), "page"),
        ("/file-sessions?page=99999999999999999999".to_owned(), "page"),
        ("/file-sessions?userId=1".to_owned(), "userId"),
        ("/file-sessions?connectionId=x".to_owned(), "connectionId"),
        ("/file-sessions?protocol=ssh".to_owned(), "protocol"),
        ("/file-sessions?from=yesterday".to_owned(), "from"),
        ("/file-sessions?to=2024-13-01".to_owned(), "to"),
        ("/file-sessions?live=perhaps".to_owned(), "live"),
        (format!("/file-sessions?q={}", "a".repeat(501)), "q"),
        (format!("{session}/events?action=read"), "action"),
        (format!("{session}/events?outcome=good"), "outcome"),
        (format!("{session}/events?page=0"), "page"),
        (format!("{session}/events?limit=x"), "limit"),
        (format!("{session}/export?format=xml"), "format"),
        (format!("{session}/export?format="), "format"),
        (format!("{session}/export?format=CSV"), "format"),
        (format!("{session}/export?format=csv&newline=cr"), "newline"),
    ] {
        assert_eq!(house.get(&path).r#as(&admin).await.field(), field, "{path}");
    }
}

#[tokio::test]
async fn events_are_listed_in_order_whole_and_by_page() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    // More than are read at once.
    let mut events: Vec<_> = (0..600)
        .map(|n| event(seed_time(0) + Elapsed::from_millis(n), FileAction::Mkdir, &format!("/folder-{n:03}")))
        .collect();
    for event in &mut events[10..13] {
        event.fact.outcome = FileOutcome::Failed;
        event.fact.error = "permission denied".to_owned();
        event.fact.duration = Elapsed::from_millis(7);
    }
    house.store.file_events_add(id, &events).await.unwrap();
    let own = house.token(alice, None).await;
    let get =
        async |query: &str| house.get(&format!("/file-sessions/{id}/events{query}")).r#as(&own).await.json();
    let whole = get("").await;
    let listed = whole["events"].as_array().unwrap();
    assert_eq!(whole.as_object().unwrap().len(), 1);
    let ids: Vec<_> = listed.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
    // Milliseconds are kept: events of one second keep their order.
    assert_eq!(listed[599]["timestamp"], "2024-01-01T00:00:00.599Z");
    let failed = &listed[10];
    assert_eq!(
        (&failed["outcome"], &failed["error"], &failed["detail"], &failed["durationMs"]),
        (&json!("failed"), &json!("permission denied"), &json!("failed: permission denied"), &json!(7))
    );
    let page = get("?page=2&limit=250").await;
    assert_eq!(page["events"].as_array().unwrap()[..], listed[250..500]);
    assert_eq!((&page["page"], &page["limit"], &page["total"]), (&json!(2), &json!(250), &json!(600)));
    assert_eq!(get("?limit=5000").await["limit"], 2000);
    assert_eq!(get("?page=2").await["events"].as_array().unwrap()[..], listed[100..200]);
    assert_eq!(get("?page=9").await, json!({"events": [], "page": 9, "limit": 100, "total": 600}));
    assert_eq!(get("?outcome=failed").await["events"].as_array().unwrap()[..], listed[10..13]);
    assert_eq!(get("?outcome=failed&page=1").await["total"], 3);
    assert_eq!(get("?q=FOLDER-59&limit=3").await["total"], 10);
    assert_eq!(get("?action=upload").await, json!({"events": []}));
}

#[tokio::test]
async fn others_file_sessions_are_as_if_they_were_not_there() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    house.store.file_events_add(id, &[upload()]).await.unwrap();
    let mallory = house.persona("user").await;
    for path in ["", "/events", "/events?page=1", "/export", "/export?format=csv"] {
        let there = house.get(&format!("/file-sessions/{id}{path}")).r#as(&mallory).await;
        let nowhere = house.get(&format!("/file-sessions/{NOBODYS}{path}")).r#as(&mallory).await;
        assert_eq!((there.status, &there.text), (StatusCode::NOT_FOUND, &nowhere.text), "{path}");
    }
    assert_eq!(house.get("/file-sessions").r#as(&mallory).await.json()["total"], 0);
    let own = house.token(alice, None).await;
    let session = house.get(&format!("/file-sessions/{id}")).r#as(&own).await;
    // Where it led is not the user's to know.
    assert_eq!((session.status, &session.json()["target"]), (StatusCode::OK, &json!(null)));
    // Neither permission: not even one's own.
    let none = house.token(alice, Some([Permission::PresenceView].into())).await;
    for path in ["/file-sessions".to_owned(), format!("/file-sessions/{id}/export")] {
        assert_eq!(house.get(&path).r#as(&none).await.status, StatusCode::FORBIDDEN);
    }
    for odd in ["fsess_", "fsess_1", &id.to_string()[..20], &id.to_string().to_uppercase(), "sess_x"] {
        let status = house.get(&format!("/file-sessions/{odd}")).r#as(&own).await.status;
        assert_eq!(status, StatusCode::NOT_FOUND, "{odd}");
    }
}

/// In another product a user wrote events into somebody else's session, whose id his request named, and left no
/// trace at all by naming none.
#[tokio::test]
async fn no_request_makes_a_file_session_or_writes_an_event() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), true).await;
    let admin = house.persona("admin").await;
    let own = house.token(alice, None).await;
    let body = json!({
        "id": NOBODYS, "sessionId": id, "events": [{"action": "upload", "path": "/forged"}],
        "action": "upload", "path": "/forged",
    });
    for who in [&admin, &own] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for path in [
                "/file-sessions".to_owned(),
                format!("/file-sessions/{id}"),
                format!("/file-sessions/{id}/events"),
            ] {
                let call = house.call(method.parse().unwrap(), &path).r#as(who).json(body.clone());
                assert_eq!(call.await.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            }
        }
        // Nor does a header choose a session.
        let listed = house
            .get("/file-sessions")
            .r#as(who)
            .header("sojourn-file-session", NOBODYS)
            .header("x-file-session-id", NOBODYS)
            .await;
        assert_eq!(
            (&listed.json()["total"], &listed.json()["sessions"][0]["eventCount"]),
            (&json!(1), &json!(0))
        );
    }
}

/// What is told of an access session leads to what was moved in it.
#[tokio::test]
async fn an_access_session_names_the_file_session_that_it_carried() {
    use sojourn_domain::access::{ClientKind, Protocol, Purpose};
    use sojourn_store::{Entropy, access::NewAccessSession};
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let carrier = NewAccessSession {
        id: Entropy.id(seed_time(0)),
        user: alice,
        user_name: "alice".to_owned(),
        connection: somewhere(),
        connection_name: "Files Server".to_owned(),
        protocol: Protocol::Ssh,
        purpose: Purpose::Subsystem,
        command: "sftp".to_owned(),
        target: "ssh://root@nas:22".to_owned(),
        client_kind: ClientKind::Native,
        client_address: "192.0.2.1".to_owned(),
        node: "node_x".to_owned(),
        started_at: seed_time(0),
    };
    house.store.session_begin(&carrier).await.unwrap();
    let own = house.token(alice, None).await;
    let path = format!("/sessions/{}", carrier.id);
    assert_eq!(house.get(&path).r#as(&own).await.json()["fileSessionId"], json!(null));
    let mut carried = new((alice, "alice"), carrier.connection, seed_time(1));
    carried.access_session = Some(carrier.id);
    let id: FileSessionId = begin(&house, carried, false).await;
    assert_eq!(house.get(&path).r#as(&own).await.json()["fileSessionId"], json!(id));
    let back = house.get(&format!("/file-sessions/{id}")).r#as(&own).await.json();
    assert_eq!(back["accessSessionId"], json!(carrier.id));
}

#[tokio::test]
async fn only_a_live_session_is_ended_and_only_by_who_may() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let over = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    let live = begin(&house, new((alice, "alice"), somewhere(), seed_time(1)), true).await;
    let end = async |id: FileSessionId, who: &As| {
        house.post(&format!("/file-sessions/{id}/terminate"), json!({"reason": "enough"})).r#as(who).await
    };
    let own = house.token(alice, None).await;
    let refused = end(over, &own).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "session_over"));
    // The server that has it is not known: nobody can say that it ended.
    assert_eq!(end(live, &own).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(house.last_audit().await, "file_session.terminate done");
    let (stranger, auditor) = (house.persona("user").await, house.persona("auditor").await);
    assert_eq!(end(live, &stranger).await.status, StatusCode::NOT_FOUND);
    let refused = end(live, &auditor).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "permission_missing"));
    let admin = house.persona("admin").await;
    let nobodys: FileSessionId = NOBODYS.parse().unwrap();
    assert_eq!(end(nobodys, &admin).await.status, StatusCode::NOT_FOUND);
}
