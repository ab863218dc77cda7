//! Public keys: one's own, and nobody's who may do more.

use axum::http::StatusCode;
use serde_json::json;
use sojourn_domain::policy::Permission;

use crate::house::House;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@home";

#[tokio::test]
async fn keys_are_added_listed_and_removed_by_their_user() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let own = house.token(alice, None).await;
    let path = format!("/users/{alice}/keys");
    let added = house.post(&path, json!({"publicKey": KEY})).r#as(&own).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    let key = added.json();
    assert_eq!(key["label"], "me@home");
    assert_eq!(key["fingerprint"], "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
    assert_eq!(house.post(&path, json!({"publicKey": KEY})).r#as(&own).await.code(), "key_known");
    let wrong = house.post(&path, json!({"publicKey": "ssh-ed25519 AAAA"})).r#as(&own).await;
    assert_eq!(wrong.field(), "publicKey");
    assert_eq!(house.get(&path).r#as(&own).await.json()["keys"], json!([key]));
    let other = house.persona("user").await;
    assert_eq!(house.get(&path).r#as(&other).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.post(&path, json!({"publicKey": KEY})).r#as(&other).await.status, StatusCode::NOT_FOUND);
    let remove = format!("{path}/{}", key["id"].as_str().unwrap());
    assert_eq!(house.delete(&remove).r#as(&other).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.delete(&remove).r#as(&own).await.status, StatusCode::OK);
    assert_eq!(house.delete(&remove).r#as(&own).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_key_gives_nobody_more_than_they_have() {
    let house = House::new().await;
    let admin = house.user("root", "admin").await;
    let limited = house.token(admin, Some([Permission::PresenceView].into())).await;
    let path = format!("/users/{admin}/keys");
    let refused = house.post(&path, json!({"publicKey": KEY})).r#as(&limited).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "beyond_own_permissions"));
    let helper = house.user("helper", "admin").await;
    let manager = house.token(helper, Some([Permission::UsersManage].into())).await;
    let refused = house.post(&path, json!({"publicKey": KEY})).r#as(&manager).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}
