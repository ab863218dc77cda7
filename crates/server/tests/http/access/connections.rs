//! Connections: who knows of them, what never goes out, and what is refused.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{As, House};

async fn create(house: &House, who: &As, body: Value) -> Value {
    let answer = house.post("/connections", body).r#as(who).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer.json()
}

fn web() -> Value {
    json!({"name": "Web Server", "protocol": "ssh", "host": "web.example.org", "username": "root",
           "password": "hunter2-secret", "folder": "Production", "tags": ["linux"]})
}

#[tokio::test]
async fn a_connection_is_made_shared_used_and_removed_and_its_secret_never_comes_back() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let made = create(&house, &admin, web()).await;
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("conn_"));
    assert_eq!(
        (&made["auth"], &made["hasSecret"], &made["port"]),
        (&json!("password"), &json!(true), &json!(22))
    );
    assert_eq!(made["policy"]["record"], "mandatory");
    assert_eq!(house.last_audit().await, "connection.create done");
    assert_eq!(house.post("/connections", web()).r#as(&admin).await.code(), "name_taken");

    let alice = house.user("alice", "user").await;
    let alices = house.token(alice, None).await;
    let path = format!("/connections/{id}");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::PUT, format!("{path}/grants")),
        (Method::PUT, format!("{path}/host-key")),
        (Method::DELETE, format!("{path}/host-key")),
        (Method::POST, format!("{path}/test")),
    ] {
        let body = if path.ends_with("grants") {
            json!({"grants": []})
        } else if path.ends_with("key") {
            json!({"fingerprint": "x"})
        } else {
            json!({})
        };
        let answer = house.call(method.clone(), &path).r#as(&alices).json(body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.text);
    }
    assert_eq!(house.get("/connections").r#as(&alices).await.json()["total"], 0);

    let grants = json!({"grants": [{"kind": "user", "name": "Alice"}, {"kind": "role", "name": "auditor"}]});
    let shared = house.call(Method::PUT, &format!("{path}/grants")).r#as(&admin).json(grants).await;
    assert_eq!(shared.json()["grants"].as_array().unwrap().len(), 2, "{}", shared.text);
    let seen = house.get(&path).r#as(&alices).await.json();
    assert_eq!((&seen["host"], &seen["port"], &seen["username"]), (&json!(null), &json!(null), &json!(null)));
    assert_eq!(seen["may"], json!({"use": true, "edit": false, "delete": false, "share": false}));
    assert!(seen.get("grants").is_none());
    // Who may use it may not change it, and is told so.
    let refused = house.patch(&path, json!({"host": "evil.example.org"})).r#as(&alices).await;
    assert_eq!(refused.code(), "connection_not_yours");
    let auditor = house.persona("auditor").await;
    let seen = house.get(&path).r#as(&auditor).await.json();
    assert_eq!((&seen["host"], &seen["may"]["use"]), (&json!("web.example.org"), &json!(false)));
    let listed =
        house.get("/connections?q=web&folder=Production&tag=linux&protocol=ssh").r#as(&alices).await.json();
    assert_eq!(
        (&listed["total"], &listed["folders"], &listed["tags"]),
        (&json!(1), &json!(["Production"]), &json!(["linux"]))
    );
    assert_eq!(house.get("/connections?q=example.org").r#as(&alices).await.json()["total"], 0);

    for who in [&admin, &alices, &auditor] {
        for path in [path.as_str(), "/connections"] {
            let text = house.get(path).r#as(who).await.text;
            assert!(!text.contains("hunter2") && !text.contains("v1."), "{text}");
        }
    }
    assert!(house.audit().await.iter().all(|entry| !entry.detail.contains("hunter2")));
    assert_eq!(house.delete(&path).r#as(&admin).await.status, StatusCode::OK);
    assert_eq!(house.get(&path).r#as(&admin).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_kept_password_goes_nowhere_else() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let id = create(&house, &admin, web()).await["id"].as_str().unwrap().to_owned();
    let path = format!("/connections/{id}");
    let patch = async |body: Value| house.patch(&path, body).r#as(&admin).await;
    for moved in [json!({"host": "evil.example.org"}), json!({"port": 2222}), json!({"protocol": "telnet"})] {
        assert_eq!(patch(moved).await.field(), "password");
    }
    assert_eq!(patch(json!({"port": 2222, "password": "again"})).await.json()["port"], 2222);
    assert_eq!(patch(json!({"notes": "line\nline", "username": "deploy"})).await.json()["hasSecret"], true);
    assert_eq!(patch(json!({"auth": "prompt"})).await.json()["hasSecret"], false);
    assert_eq!(patch(json!({"auth": "password"})).await.field(), "password");
    assert_eq!(patch(json!({"host": "other.example.org"})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let with = |key: &str, value: Value| {
        let mut body = json!({"name": "x", "protocol": "ssh", "host": "web"});
        body[key] = value;
        body
    };
    for (key, value, field) in [
        ("name", json!(""), "name"),
        ("name", json!("a\nb"), "name"),
        ("host", json!("web:22"), "host"),
        ("host", json!("http://web"), "host"),
        ("port", json!(0), "port"),
        ("port", json!(65536), "port"),
        ("protocol", json!("gopher"), "protocol"),
        ("privateKey", json!("not a key"), "privateKey"),
        ("auth", json!("key"), "privateKey"),
        ("auth", json!("password"), "password"),
        ("hostKey", json!("aa:bb"), "hostKey"),
        ("tags", json!([""]), "tags"),
        ("notes", json!("a\u{0}b"), "notes"),
        ("policy", json!({"recrod": true}), "policy.recrod"),
        ("grants", json!([{"kind": "user", "name": "nobody"}]), "grants[0]"),
        ("grants", json!([{"kind": "role", "id": "a", "name": "b"}]), "grants[0]"),
        ("id", json!("conn_01h455vb4pex5vsknk084sn02q"), "id"),
        ("ownerId", json!("user_01h455vb4pex5vsknk084sn02q"), "ownerId"),
    ] {
        let answer = house.post("/connections", with(key, value.clone())).r#as(&admin).await;
        assert_eq!(answer.field(), field, "{key} {value}");
    }
    let telnet = json!({"name": "t", "protocol": "telnet", "host": "web", "auth": "agent"});
    assert_eq!(house.post("/connections", telnet).r#as(&admin).await.field(), "auth");
    assert_eq!(house.get("/connections").r#as(&admin).await.json()["total"], 0);
}

#[tokio::test]
async fn a_test_says_what_it_found_and_a_host_key_is_pinned_and_forgotten() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    // A port on which nothing listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let body = json!({"name": "x", "protocol": "ssh", "host": "127.0.0.1", "port": port, "password": "p"});
    let unsaved = house.post("/connections/test", body.clone()).r#as(&admin).await;
    assert_eq!(unsaved.status, StatusCode::OK, "{}", unsaved.text);
    let found = unsaved.json();
    assert_eq!(
        (&found["ok"], &found["reached"], &found["login"], &found["pinned"]),
        (&json!(false), &json!(false), &json!("not_tried"), &json!("none"))
    );
    let id = create(&house, &admin, body).await["id"].as_str().unwrap().to_owned();
    let found = house.post(&format!("/connections/{id}/test"), json!({})).r#as(&admin).await.json();
    assert_eq!(found["message"], "nothing listens on the target's port");
    assert_eq!(house.last_audit().await, "connection.test done");
    let path = format!("/connections/{id}/host-key");
    let put = async |text: &str| {
        house.call(Method::PUT, &path).r#as(&admin).json(json!({"fingerprint": text})).await
    };
    assert_eq!(put("MD5:00").await.field(), "fingerprint");
    let fingerprint = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
    assert_eq!(put(fingerprint).await.json()["hostKey"]["fingerprint"], fingerprint);
    assert_eq!(house.delete(&path).r#as(&admin).await.status, StatusCode::OK);
    assert_eq!(house.get(&format!("/connections/{id}")).r#as(&admin).await.json()["hostKey"], json!(null));
}

#[tokio::test]
async fn what_is_particular_to_a_protocol_is_kept_and_checked() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let nas = json!({"name": "nas", "protocol": "smb", "host": "nas.example.org", "username": "u", "password": "p",
                     "options": {"share": "files", "domain": "EXAMPLE", "root": "/a"}});
    let made = create(&house, &admin, nas.clone()).await;
    assert_eq!((&made["port"], &made["options"]), (&json!(445), &nas["options"]));
    let ftp = json!({"name": "ftp", "protocol": "ftp", "host": "ftp.example.org", "auth": "none"});
    let made_ftp = create(&house, &admin, ftp).await;
    assert_eq!((&made_ftp["port"], &made_ftp["options"]), (&json!(21), &json!({"tls": "explicit"})));

    for (field, change) in [
        ("options.tls", json!({"options": {"tls": "none"}})),
        ("options.share", json!({"protocol": "ftp", "options": {"share": "a"}})),
        ("options.share", json!({"options": {"share": "a/b"}})),
        ("options.root", json!({"options": {"root": "/../a"}})),
        ("auth", json!({"auth": "agent"})),
        ("options", json!({"options": {"sahre": "a"}})),
    ] {
        let mut body = nas.clone();
        body["name"] = json!("another");
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let answer = house.post("/connections", body).r#as(&admin).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}: {}", answer.text);
        assert!(answer.text.contains(&format!("\"{field}")), "{field}: {}", answer.text);
    }

    // What does not fit another protocol is left behind; a password has to be given again.
    let path = format!("/connections/{}", made["id"].as_str().unwrap());
    let change = json!({"protocol": "sftp", "port": 22, "password": "p"});
    let changed = house.patch(&path, change).r#as(&admin).await.json();
    assert_eq!((&changed["protocol"], &changed["options"]), (&json!("sftp"), &json!({"root": "/a"})));
    let ftp = format!("/connections/{}", made_ftp["id"].as_str().unwrap());
    let changed = house.patch(&ftp, json!({"password": "p"})).r#as(&admin).await.json();
    assert_eq!(changed["auth"], "password");
    let weaker = house.patch(&ftp, json!({"options": {"tls": "none"}})).r#as(&admin).await;
    assert_eq!(weaker.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", weaker.text);

    // Who may only use it learns where to begin, and not where that is.
    let alice = house.user("alice", "user").await;
    let alices = house.token(alice, None).await;
    let nas = json!({"name": "nas 2", "protocol": "smb", "host": "nas.example.org", "auth": "prompt",
                     "options": {"share": "files", "domain": "EXAMPLE", "root": "/a"},
                     "grants": [{"kind": "role", "name": "user"}]});
    let made = create(&house, &admin, nas).await;
    let path = format!("/connections/{}", made["id"].as_str().unwrap());
    assert_eq!(house.get(&path).r#as(&alices).await.json()["options"], json!({"root": "/a"}));
}
