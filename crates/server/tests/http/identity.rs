//! Logging in, and who may change whom.

use axum::http::StatusCode;
use futures_util::future::join_all;
use serde_json::{Value, json};
use sojourn_domain::{
    policy::{Permission, Permissions},
    time::Elapsed,
};
use sojourn_store::identity::SecretHash;

use crate::house::{As, House, PASSWORD};

fn login(name: &str, password: &str) -> Value {
    json!({"name": name, "password": password})
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let house = House::new().await;
    assert_eq!(house.get("/auth/state").await.json()["setupRequired"], true);
    house.store.setup_offer(&SecretHash::of("the code")).await.unwrap();
    let setup =
        |code: &str| house.post("/auth/setup", json!({"code": code, "name": "root", "password": PASSWORD}));
    let wrong = setup("a code").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (StatusCode::UNAUTHORIZED, "setup_code"));
    assert_eq!(house.last_audit().await, "auth.setup refused");
    let done = setup("the code").await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let cookie = done.header("set-cookie").to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000"), "{cookie}");
    let state = house.get("/auth/state").r#as(&done.cookie()).await.json();
    assert_eq!(state["setupRequired"], false);
    assert_eq!(state["user"]["role"], "admin");
    assert_eq!(state["timezone"], "Europe/Berlin");
    assert_eq!(state["permissions"].as_array().unwrap().len(), Permission::ALL.len());
    let again = setup("the code").await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "setup_over"));
    assert!(house.audit().await.iter().any(|entry| entry.action == "auth.setup" && entry.outcome == "done"));
}

#[tokio::test]
async fn right_passwords_at_once_are_all_right_and_wrong_ones_gain_nothing() {
    let house = House::new().await;
    house.user("alice", "user").await;
    let attempt = |password| house.post("/auth/login", login("alice", password)).into_future();
    // Some failures before, as somebody has who then finds the password.
    for _ in 0..5 {
        assert_eq!(attempt("wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    let answers = join_all((0..30).map(|_| attempt(PASSWORD))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:?}");
    // Those who guess at once are heard as often as those who guess one by one.
    let answers = join_all((0..30).map(|_| attempt("wrong"))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS)), (9, 21));
}

#[tokio::test]
async fn many_people_behind_one_address_log_in_at_once() {
    let house = House::new().await;
    for number in 0..24 {
        house.user(&format!("user{number}"), "user").await;
    }
    let attempt = |n| house.post("/auth/login", login(&format!("user{n}"), PASSWORD)).into_future();
    let answers = join_all((0..24).map(attempt)).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:?}");
}

#[tokio::test]
async fn logins_begin_and_end() {
    let house = House::new().await;
    house.user("Alice", "user").await;
    let here = house.log_in("aLICE").await;
    assert_eq!(house.last_audit().await, "auth.login done");
    let there = house.log_in("alice").await;
    let logins = house.get("/auth/logins").r#as(&here).await.json();
    let logins = logins["logins"].as_array().unwrap();
    assert_eq!(logins.len(), 2);
    assert_eq!(logins.iter().filter(|login| login["current"] == true).count(), 1);
    let other = logins.iter().find(|login| login["current"] == false).unwrap()["id"].as_str().unwrap();
    assert_eq!(house.delete(&format!("/auth/logins/{other}")).r#as(&here).await.status, StatusCode::OK);
    assert_eq!(
        house.delete(&format!("/auth/logins/{other}")).r#as(&here).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(house.get("/auth/logins").r#as(&there).await.status, StatusCode::UNAUTHORIZED);
    // An old cookie is no error where nobody need be anybody.
    assert_eq!(house.get("/auth/state").r#as(&there).await.json()["user"], Value::Null);
    let out = house.post("/auth/logout", json!({})).r#as(&here).await;
    assert!(
        out.header("set-cookie").starts_with("sojourn_login=; ")
            && out.header("set-cookie").contains("Max-Age=0")
    );
    assert_eq!(house.get("/auth/logins").r#as(&here).await.status, StatusCode::UNAUTHORIZED);
    // Logins end by themselves: after a week without use, and after a month in any case.
    let idle = house.log_in("alice").await;
    house.clock.advance(Elapsed::from_minutes(7 * 24 * 60));
    assert_eq!(house.get("/auth/logins").r#as(&idle).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_is_slowed_and_locks_nobody_out() {
    let house = House::new().await;
    house.user("root", "admin").await;
    let attempt =
        |name: &str, password: &str, from: &str| house.post("/auth/login", login(name, password)).from(from);
    let attacker = "198.51.100.66";
    for _ in 0..9 {
        let wrong = attempt("root", "a wrong one", attacker).await;
        assert_eq!((wrong.status, wrong.code().as_str()), (StatusCode::UNAUTHORIZED, "wrong_login"));
    }
    // Right or wrong, existing or not: the same answer, and the right password does not help now.
    let slowed = attempt("root", PASSWORD, attacker).await;
    assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(slowed.header("retry-after"), "1");
    // The owner is elsewhere and gets in meanwhile.
    assert_eq!(attempt("root", PASSWORD, "192.0.2.1").await.status, StatusCode::OK);
    // A thousand addresses guess, each a few times, for a whole day ...
    for i in 0..40u32 {
        let from = format!("203.0.113.{i}");
        attempt("root", "a wrong one", &from).await;
        house.clock.advance(Elapsed::from_secs(1));
    }
    // ... and the owner still gets in, from an address that has not failed.
    assert_eq!(attempt("root", PASSWORD, "192.0.2.1").await.status, StatusCode::OK);
    assert_eq!(attempt("root", PASSWORD, "192.0.2.200").await.status, StatusCode::OK);
    // Even the attacker's address is heard again after a while.
    house.clock.advance(Elapsed::from_minutes(16));
    assert_eq!(attempt("root", PASSWORD, attacker).await.status, StatusCode::OK);
    // All of it is in the trail, by reason, without the names that were typed.
    attempt("hunter2 typed into the wrong field", "x", attacker).await;
    let audit = house.audit().await;
    let reasons = |reason: &str| {
        audit.iter().any(|entry| entry.action == "auth.login" && entry.detail.contains(reason))
    };
    assert!(reasons("\"password\"") && reasons("slowed_down") && reasons("unknown_name"));
    assert!(!audit.iter().any(|entry| entry.detail.contains("hunter2") || entry.object.contains("hunter2")));
}

#[tokio::test]
async fn a_name_that_nobody_has_is_slowed_like_one_that_somebody_has() {
    let house = House::new().await;
    for name in ["ghost", "not a name at all"] {
        for _ in 0..9 {
            let wrong = house.post("/auth/login", login(name, "wrong one")).await;
            assert_eq!((wrong.status, wrong.code().as_str()), (StatusCode::UNAUTHORIZED, "wrong_login"));
        }
        let slowed = house.post("/auth/login", login(name, "wrong one")).await;
        assert_eq!(slowed.status, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test]
async fn access_ends_at_once_for_who_is_demoted_disabled_or_removed() {
    let house = House::new().await;
    let root = house.persona("admin").await;
    let id = house.user("alice", "admin").await;
    let token = house.token(id, None).await;
    let cookie = house.log_in("alice").await;
    let user = format!("/users/{id}");
    let status = async |who: &As| house.get("/users").r#as(who).await.status;
    assert_eq!(status(&token).await, StatusCode::OK);
    let change = async |body: Value| {
        let answer = house.patch(&user, body).r#as(&root).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(house.last_audit().await, "user.change done");
    };
    change(json!({"role": "user"})).await;
    assert_eq!((status(&token).await, status(&cookie).await), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    change(json!({"role": "admin"})).await;
    assert_eq!((status(&token).await, status(&cookie).await), (StatusCode::OK, StatusCode::OK));
    change(json!({"disabled": true})).await;
    assert_eq!(
        (status(&token).await, status(&cookie).await),
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );
    let refused = house.post("/auth/login", login("alice", PASSWORD)).await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNAUTHORIZED, "wrong_login"));
    change(json!({"disabled": false})).await;
    assert_eq!((status(&token).await, status(&cookie).await), (StatusCode::OK, StatusCode::UNAUTHORIZED));
    assert_eq!(house.delete(&user).r#as(&root).await.status, StatusCode::OK);
    assert_eq!(status(&token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(house.get(&user).r#as(&root).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let house = House::new().await;
    let id = house.user("root", "admin").await;
    let root = house.token(id, None).await;
    let user = format!("/users/{id}");
    for body in [json!({"role": "user"}), json!({"disabled": true})] {
        let refused = house.patch(&user, body).r#as(&root).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "last_admin"));
    }
    assert_eq!(house.delete(&user).r#as(&root).await.code(), "last_admin");
}

#[tokio::test]
async fn nobody_gives_or_takes_what_they_do_not_have() {
    let house = House::new().await;
    let root = house.user("root", "admin").await;
    let admin = house.token(root, None).await;
    let role = json!({"name": "helpdesk", "permissions": ["users.manage", "roles.manage", "presence.view"]});
    assert_eq!(house.post("/roles", role).r#as(&admin).await.status, StatusCode::CREATED);
    let desk = house.persona("helpdesk").await;
    let forbidden = async |call: crate::house::Call<'_>| {
        let answer = call.r#as(&desk).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::FORBIDDEN, "beyond_own_permissions")
        );
        assert_eq!(house.last_audit().await, "access.refused refused");
    };
    let new = |name: &str, role: &str| json!({"name": name, "password": PASSWORD, "role": role});
    forbidden(house.post("/users", new("mallory", "admin"))).await;
    forbidden(house.patch(&format!("/users/{root}"), json!({"password": "taken over"}))).await;
    house.clock.advance(Elapsed::from_minutes(2));
    forbidden(house.delete(&format!("/users/{root}"))).await;
    forbidden(house.post("/roles", json!({"name": "more", "permissions": ["audit.view"]}))).await;
    house.clock.advance(Elapsed::from_minutes(2));
    forbidden(house.patch("/roles/helpdesk", json!({"permissions": ["settings.manage"]}))).await;
    // What they have they may give.
    assert_eq!(house.post("/users", new("carol", "helpdesk")).r#as(&desk).await.status, StatusCode::CREATED);
    // Built-in roles and roles in use stay.
    assert_eq!(
        house.patch("/roles/user", json!({"permissions": []})).r#as(&admin).await.code(),
        "builtin_role"
    );
    assert_eq!(house.delete("/roles/helpdesk").r#as(&admin).await.code(), "role_in_use");
    assert_eq!(house.delete("/roles/ghost").r#as(&admin).await.status, StatusCode::NOT_FOUND);
    let taken = json!({"name": "admin", "permissions": []});
    assert_eq!(house.post("/roles", taken).r#as(&admin).await.code(), "role_taken");
    let listed = house.get("/roles").r#as(&desk).await.json();
    assert_eq!(listed["roles"].as_array().unwrap().len(), 4);
    assert_eq!(listed["permissions"].as_array().unwrap().len(), Permission::ALL.len());
}

#[tokio::test]
async fn tokens_do_what_they_were_made_for_until_they_end() {
    let house = House::new().await;
    let id = house.user("root", "admin").await;
    let cookie = house.log_in("root").await;
    let make = async |who: &As, body: Value| house.post("/tokens", body).r#as(who).await;
    let bearer = |answer: &crate::house::Answer| {
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        As::Bearer(answer.json()["token"].as_str().unwrap().to_owned())
    };
    let made =
        make(&cookie, json!({"label": "backup", "permissions": ["audit.view"], "expiresInSeconds": 60}))
            .await;
    let token = bearer(&made);
    assert_eq!(house.get("/audit").r#as(&token).await.status, StatusCode::OK);
    assert_eq!(house.get("/users").r#as(&token).await.status, StatusCode::FORBIDDEN);
    // Neither wider nor longer than itself.
    let wider =
        make(&token, json!({"label": "x", "permissions": ["users.manage"], "expiresInSeconds": 5})).await;
    assert_eq!(wider.code(), "beyond_own_permissions");
    assert_eq!(make(&token, json!({"label": "x"})).await.code(), "beyond_own_time");
    assert_eq!(make(&token, json!({"label": "x", "expiresInSeconds": 61})).await.code(), "beyond_own_time");
    let child = make(&token, json!({"label": "x", "expiresInSeconds": 59})).await;
    assert_eq!(child.json()["permissions"], json!(["audit.view"]));
    assert_eq!(house.get("/users").r#as(&bearer(&child)).await.status, StatusCode::FORBIDDEN);
    house.clock.advance(Elapsed::from_secs(60));
    assert_eq!(house.get("/audit").r#as(&token).await.status, StatusCode::UNAUTHORIZED);

    for (body, field) in [
        (json!({"label": " "}), "label"),
        (json!({"label": "x", "expiresInSeconds": 0}), "expiresInSeconds"),
        (json!({"label": "x", "expiresAt": "2001-01-01"}), "expiresAt"),
        (json!({"label": "x", "expiresAt": "soon"}), "expiresAt"),
        (json!({"label": "x", "expiresAt": "2099-01-01", "expiresInSeconds": 5}), "expiresAt"),
        (json!({"label": "x", "permissions": ["everything"]}), "permissions[0]"),
    ] {
        assert_eq!(make(&cookie, body).await.field(), field);
    }

    let plain = make(&cookie, json!({"label": "plain"})).await;
    let path = format!("/tokens/{}", plain.json()["id"].as_str().unwrap());
    let stranger = house.persona("user").await;
    assert_eq!(house.delete(&path).r#as(&stranger).await.status, StatusCode::NOT_FOUND);
    let entry = house.audit().await.pop().unwrap();
    assert_eq!((entry.action.as_str(), entry.object.as_str()), ("access.refused", "DELETE /tokens/{id}"));
    assert_eq!(house.get("/tokens?all=true").r#as(&stranger).await.status, StatusCode::FORBIDDEN);
    assert_eq!(house.get("/tokens").r#as(&stranger).await.json()["tokens"].as_array().unwrap().len(), 1);
    assert_eq!(
        house.get("/tokens?all=true").r#as(&cookie).await.json()["tokens"].as_array().unwrap().len(),
        4
    );
    let token = bearer(&plain);
    assert_eq!(house.get("/users").r#as(&token).await.status, StatusCode::OK);
    assert_eq!(house.delete(&path).r#as(&cookie).await.status, StatusCode::OK);
    assert_eq!(house.last_audit().await, "token.revoke done");
    assert_eq!(house.get("/users").r#as(&token).await.status, StatusCode::UNAUTHORIZED);
    // The secret is nowhere but in the answer.
    let As::Bearer(secret) = token else { panic!() };
    assert!(
        !format!("{:?} {:?}", house.audit().await, house.store.tokens(Some(id), 10).await).contains(&secret)
    );
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let house = House::new().await;
    house.user("alice", "user").await;
    let here = house.log_in("alice").await;
    let there = house.log_in("alice").await;
    let change = |current: &str, new: &str| {
        house.post("/auth/password", json!({"current": current, "new": new})).r#as(&here)
    };
    assert_eq!(change("not this one", "a new password").await.field(), "current");
    assert_eq!(house.last_audit().await, "auth.password refused");
    assert_eq!(change(PASSWORD, "short").await.field(), "new");
    assert_eq!(change(PASSWORD, "a new password").await.status, StatusCode::OK);
    assert_eq!(house.get("/auth/logins").r#as(&here).await.status, StatusCode::OK);
    assert_eq!(house.get("/auth/logins").r#as(&there).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.post("/auth/login", login("alice", PASSWORD)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(house.post("/auth/login", login("alice", "a new password")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let house = House::new().await;
    house.user("root", "admin").await;
    let cookie = house.log_in("root").await;
    let make = || house.post("/tokens", json!({"label": "x"})).header("host", "sojourn.lan");
    let foreign = make().r#as(&cookie).header("origin", "http://evil.example").await;
    assert_eq!((foreign.status, foreign.code().as_str()), (StatusCode::FORBIDDEN, "foreign_origin"));
    assert_eq!(house.last_audit().await, "access.refused refused");
    let cross = make().r#as(&cookie).header("sec-fetch-site", "cross-site").await;
    assert_eq!(cross.code(), "foreign_origin");
    let own = make().r#as(&cookie).header("origin", "http://sojourn.lan").await;
    assert_eq!(own.status, StatusCode::CREATED);
    // Programs send their token on purpose.
    let secret = As::Bearer(own.json()["token"].as_str().unwrap().to_owned());
    let program = make().r#as(&secret).header("origin", "http://evil.example").await;
    assert_eq!(program.status, StatusCode::CREATED);
    // Reading is what browsers keep from other sites themselves.
    let read = house.get("/users").r#as(&cookie).header("origin", "http://evil.example").await;
    assert_eq!(read.status, StatusCode::OK);
    // Nor does it log anybody in.
    let login = house.post("/auth/login", login("root", PASSWORD)).header("host", "sojourn.lan");
    assert_eq!(login.header("origin", "http://evil.example").await.code(), "foreign_origin");
}

#[tokio::test]
async fn every_act_and_refusal_is_in_the_trail_and_the_chain_holds() {
    let house = House::new().await;
    let id = house.user("root", "admin").await;
    let root = house.token(id, None).await;
    let auditor = house.persona("auditor").await;
    let new = json!({"name": "alice", "password": PASSWORD, "role": "user"});
    let alice = house.post("/users", new).r#as(&root).await.json()["id"].as_str().unwrap().to_owned();
    house.patch(&format!("/users/{alice}"), json!({"role": "auditor"})).r#as(&root).await;
    house.delete(&format!("/users/{alice}")).r#as(&root).await;
    house.post("/users", json!({})).r#as(&auditor).await;
    house.get("/users").r#as(&As::Bearer("sjt_made up".to_owned())).await;
    // Without any credential nothing was refused that somebody claimed.
    house.get("/users").await;
    let page = house.get("/audit?limit=3&page=1").r#as(&auditor).await.json();
    let shown: Vec<_> = page["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            format!("{} {} {} {}", entry["actor"]["name"], entry["action"], entry["object"], entry["outcome"])
        })
        .collect();
    assert_eq!(
        shown,
        [
            "\"anonymous\" \"access.refused\" \"GET /users\" \"refused\"".to_owned(),
            "\"the-auditor\" \"access.refused\" \"POST /users\" \"refused\"".to_owned(),
            format!("\"root\" \"user.delete\" \"{alice}\" \"done\""),
        ]
    );
    assert_eq!(page["entries"][0]["clientAddress"], "192.0.2.1");
    assert_eq!(page["head"]["hash"], page["entries"][0]["hash"]);
    let filtered = house.get("/audit?action=user&actor=root&outcome=done").r#as(&auditor).await.json();
    assert_eq!(filtered["total"], 3);
    let changed = &filtered["entries"][1]["detail"]["role"];
    assert_eq!(*changed, json!({"from": "user", "to": "auditor"}));
    assert_eq!(house.store.audit_verify().await.unwrap().broken_at, None);
}

#[tokio::test]
async fn the_use_of_a_token_is_noted_by_the_minute() {
    let house = House::new().await;
    let id = house.user("root", "admin").await;
    let token = house.token(id, Some(Permissions::from([Permission::AuditView]))).await;
    house.get("/audit").r#as(&token).await;
    let noted = async || house.store.tokens(Some(id), 1).await.unwrap()[0].last_used_at;
    let first = house.now();
    // The note is written behind the answer's back.
    while noted().await.is_none() {
        tokio::task::yield_now().await;
    }
    house.clock.advance(Elapsed::from_secs(59));
    house.get("/audit").r#as(&token).await;
    assert_eq!(noted().await, Some(first));
    house.clock.advance(Elapsed::from_secs(1));
    house.get("/audit").r#as(&token).await;
    while noted().await != Some(house.now()) {
        tokio::task::yield_now().await;
    }
}
