//! What holds for every request, whatever it asks for.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::house::{As, House};

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let house = House::new().await;
    for mount in ["", "/api/v1"] {
        let answer = house.get(&format!("{mount}/nothing/here")).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
        let answer = house.call(Method::PUT, &format!("{mount}/users")).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    }
    assert_eq!(house.get("/ui/assets/nothing.js").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_apart() {
    let house = House::new().await;
    let admin = house.persona("admin").await;
    let post = |kind: &str, body: &str| {
        house.call(Method::POST, "/users").r#as(&admin).header("content-type", kind).body(body.to_owned())
    };
    assert_eq!(post("application/json", "{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post("application/json", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post("text/plain", "{}").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(post("application/json; charset=utf-8", "{}").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(post("application/json", &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let user = json!({"name": "alice", "password": "long enough", "role": "user"});
    let with = |field: &str, value: serde_json::Value| {
        let mut user = user.clone();
        user[field] = value;
        house.post("/users", user).r#as(&admin)
    };
    assert_eq!(with("name", json!("a b")).await.field(), "name");
    assert_eq!(with("name", json!(7)).await.field(), "name");
    assert_eq!(with("password", json!("short")).await.field(), "password");
    assert_eq!(with("role", json!("ghost")).await.field(), "role");
    assert_eq!(with("displayName", json!("a\u{7}b")).await.field(), "displayName");
    assert_eq!(with("unknown", json!(1)).await.field(), "unknown");
    assert_eq!(house.post("/users", json!({"name": "alice"})).r#as(&admin).await.field(), "password");
    assert_eq!(house.get("/users?page=0").r#as(&admin).await.field(), "page");
    assert_eq!(house.get("/users?limit=x").r#as(&admin).await.field(), "limit");
    assert_eq!(house.get("/users?limit=5000").r#as(&admin).await.json()["limit"], 1000);
    assert_eq!(house.get("/users/user_1").r#as(&admin).await.field(), "id");
    assert_eq!(house.get("/audit?q=%00").r#as(&admin).await.field(), "q");
    assert_eq!(house.get("/audit?from=2025-03-30T02:30").r#as(&admin).await.field(), "from");
}

#[tokio::test]
async fn who_may_not_ask_learns_nothing_about_how() {
    let house = House::new().await;
    let user = house.persona("user").await;
    for (who, status) in [(As::Nobody, StatusCode::UNAUTHORIZED), (user, StatusCode::FORBIDDEN)] {
        assert_eq!(house.get("/users/not-an-id").r#as(&who).await.status, status);
        assert_eq!(house.get("/users?page=x").r#as(&who).await.status, status);
        assert_eq!(house.call(Method::POST, "/users").r#as(&who).body("{").await.status, status);
    }
}

#[tokio::test]
async fn answers_carry_the_headers_that_protect() {
    let house = House::new().await;
    for path in ["/healthz", "/ui/", "/nothing", "/users"] {
        let answer = house.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        let policy = answer.header("content-security-policy");
        // WebAssembly may be compiled; nothing else that is called unsafe may be done.
        let rest = policy.replace("'wasm-unsafe-eval'", "");
        assert!(policy.contains("frame-ancestors 'none'") && !rest.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}");
    }
    assert_eq!(house.get("/healthz").await.header("cache-control"), "no-store");
    assert_eq!(house.get("/").await.header("location"), "/ui/");
}

#[tokio::test]
async fn behind_a_trusted_proxy_its_word_counts() {
    let house = House::with(|settings| settings.trusted_proxies = Some(vec!["10.0.0.1".to_owned()])).await;
    house.user("alice", "user").await;
    let login = json!({"name": "alice", "password": crate::house::PASSWORD});
    let call = |from: &str| {
        house
            .post("/auth/login", login.clone())
            .from(from)
            .header("x-forwarded-for", "203.0.113.7")
            .header("x-forwarded-proto", "https")
    };
    let direct = call("192.0.2.1").await;
    assert!(!direct.header("set-cookie").contains("Secure"));
    let proxied = call("10.0.0.1").await;
    assert!(proxied.header("set-cookie").ends_with("; Secure"), "{}", proxied.header("set-cookie"));
    assert_ne!(proxied.header("strict-transport-security"), "");
    let logins = house.get("/auth/logins").r#as(&proxied.cookie()).await.json();
    let from: Vec<_> = logins["logins"].as_array().unwrap().iter().map(|l| &l["clientAddress"]).collect();
    assert!(from.contains(&&json!("203.0.113.7")) && from.contains(&&json!("192.0.2.1")), "{logins}");
}

#[tokio::test]
async fn metrics_need_a_credential_unless_they_are_public() {
    let house = House::new().await;
    assert_eq!(house.get("/metrics").await.status, StatusCode::UNAUTHORIZED);
    let house = House::with(|settings| settings.metrics_public = Some(true)).await;
    house.get("/healthz").await;
    let answer = house.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .text
            .contains("sojourn_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 1"),
        "{}",
        answer.text
    );
}
