use sojourn_domain::{
    id::{LoginId, TokenId},
    identity::{RoleName, UserName},
    policy::BuiltinRole,
    time::{Elapsed, Timestamp},
};
use sojourn_testbed::both_databases;

use super::*;
use crate::{Entropy, Store, audit::By};

const IDLE: Elapsed = Elapsed::from_minutes(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn cli() -> By {
    By::cli(at(0))
}

fn new_user(name: &str, role: &str) -> NewUser {
    NewUser {
        id: Entropy.id(at(0)),
        name: name.parse().unwrap(),
        display_name: "".parse().unwrap(),
        role: role.parse().unwrap(),
        password: PasswordHash(format!("hash of {name}")),
    }
}

fn new_token(user: UserId, secret: &str) -> NewToken {
    NewToken {
        id: Entropy.id::<sojourn_domain::id::Token>(at(0)),
        user,
        label: "test".parse().unwrap(),
        secret: SecretHash::of(secret),
        permissions: None,
        expires_at: None,
    }
}

fn new_login(user: UserId, secret: &str) -> NewLogin {
    NewLogin {
        id: Entropy.id(at(0)),
        user,
        secret: SecretHash::of(secret),
        expires_at: at(1_000_000),
        client_address: "192.0.2.1".to_owned(),
        user_agent: "test".to_owned(),
    }
}

#[tokio::test]
async fn users_are_made_found_changed_and_removed() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let admin = store.user_add(&new_user("Root", "admin"), &cli()).await.unwrap();
        let alice = store.user_add(&new_user("Alice", "user"), &cli()).await.unwrap();
        let taken = store.user_add(&new_user("aLICE", "user"), &cli()).await;
        assert!(matches!(taken, Err(IdentityError::NameTaken)), "{taken:?}");
        let unknown = store.user_add(&new_user("bob", "ghost"), &cli()).await;
        assert!(matches!(unknown, Err(IdentityError::UnknownRole(_))), "{unknown:?}");

        let name: UserName = "ALICE".parse().unwrap();
        assert_eq!(store.user_by_name(&name).await.unwrap().unwrap(), alice);
        assert_eq!(store.user(alice.id).await.unwrap().unwrap(), alice);
        let (users, total) = store.users(10, 0).await.unwrap();
        assert_eq!(
            (users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), total),
            (vec!["Alice", "Root"], 2)
        );

        let change = UserChange {
            display_name: Some("Alice B.".parse().unwrap()),
            role: Some("auditor".parse().unwrap()),
            ..UserChange::default()
        };
        let changed = store.user_change(alice.id, &change, &cli()).await.unwrap().unwrap();
        assert_eq!((changed.display_name.as_str(), changed.role.as_str()), ("Alice B.", "auditor"));
        assert_eq!(store.user_password(alice.id).await.unwrap().unwrap().0, "hash of Alice");
        let ghost: UserId = Entropy.id(at(0));
        assert!(store.user_change(ghost, &change, &cli()).await.unwrap().is_none());
        assert!(!store.user_remove(ghost, &cli()).await.unwrap());
        assert!(store.user_remove(alice.id, &cli()).await.unwrap());
        assert!(store.user(alice.id).await.unwrap().is_none());
        assert!(store.user(admin.id).await.unwrap().is_some());
        // Four acts were done, and each left its entry.
        assert_eq!(store.audit_head().await.unwrap().seq, 4);
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let one = store.user_add(&new_user("one", "admin"), &cli()).await.unwrap();
        let demote = UserChange { role: Some("user".parse().unwrap()), ..UserChange::default() };
        let disable = UserChange { disabled: Some(true), ..UserChange::default() };
        for change in [&demote, &disable] {
            let refused = store.user_change(one.id, change, &cli()).await;
            assert!(matches!(refused, Err(IdentityError::LastAdmin)), "{refused:?}");
        }
        assert!(matches!(store.user_remove(one.id, &cli()).await, Err(IdentityError::LastAdmin)));
        let two = store.user_add(&new_user("two", "admin"), &cli()).await.unwrap();
        // Both at once: one of them stays.
        let (by, store_one) = (cli(), store.clone());
        let first = tokio::spawn({
            let (demote, by) = (demote.clone(), by.clone());
            async move { store_one.user_change(one.id, &demote, &by).await.is_ok() }
        });
        let second = store.user_change(two.id, &demote, &by).await.is_ok();
        assert!(first.await.unwrap() ^ second);
    })
    .await;
}

#[tokio::test]
async fn roles_grant_what_they_say_at_once() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let name: RoleName = "watch".parse().unwrap();
        let view: Permissions = [Permission::PresenceView].into();
        let more: Permissions = [Permission::PresenceView, Permission::AuditView].into();
        store.role_add(&name, &"Night".parse().unwrap(), &view, &cli()).await.unwrap();
        let again = store.role_add(&name, &"".parse().unwrap(), &view, &cli()).await;
        assert!(matches!(again, Err(IdentityError::RoleTaken)), "{again:?}");
        let builtin = store.role_add(&"admin".parse().unwrap(), &"".parse().unwrap(), &view, &cli()).await;
        assert!(matches!(builtin, Err(IdentityError::RoleTaken)), "{builtin:?}");

        let alice = store.user_add(&new_user("alice", "watch"), &cli()).await.unwrap();
        store.token_add(&new_token(alice.id, "secret"), &cli()).await.unwrap();
        let granted = async || {
            let bearer = store.token_bearer(&SecretHash::of("secret"), at(0)).await.unwrap().unwrap();
            bearer.identity.permissions
        };
        assert_eq!(granted().await, view);
        let role = store.role_change(&name, None, Some(&more), &cli()).await.unwrap().unwrap();
        assert_eq!((role.description.as_str(), role.user_count), ("Night", 1));
        assert_eq!(granted().await, more);
        store
            .role_change(&name, Some(&"Day".parse().unwrap()), Some(&Permissions::new()), &cli())
            .await
            .unwrap();
        assert_eq!(granted().await, Permissions::new());

        assert!(matches!(store.role_remove(&name, &cli()).await, Err(IdentityError::RoleInUse(1))));
        let admin: RoleName = BuiltinRole::Admin.name().parse().unwrap();
        assert!(matches!(store.role_remove(&admin, &cli()).await, Err(IdentityError::BuiltinRole)));
        let demote = UserChange { role: Some("user".parse().unwrap()), ..UserChange::default() };
        store.user_change(alice.id, &demote, &cli()).await.unwrap();
        assert_eq!(granted().await, BuiltinRole::User.permissions());
        assert!(store.role_remove(&name, &cli()).await.unwrap());
        assert!(!store.role_remove(&name, &cli()).await.unwrap());
        let names: Vec<_> = store.roles().await.unwrap().into_iter().map(|role| role.name).collect();
        assert_eq!(names, ["admin", "auditor", "user"]);
    })
    .await;
}

#[tokio::test]
async fn tokens_end_with_revocation_expiry_and_their_user() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = store.user_add(&new_user("alice", "user"), &cli()).await.unwrap();
        let bob = store.user_add(&new_user("bob", "user"), &cli()).await.unwrap();
        let plain = new_token(alice.id, "plain");
        let short = NewToken {
            expires_at: Some(at(60)),
            permissions: Some([Permission::PresenceView].into()),
            ..new_token(alice.id, "short")
        };
        for token in [&plain, &short, &new_token(bob.id, "bobs")] {
            store.token_add(token, &cli()).await.unwrap();
        }
        let good = async |secret: &str, second: i64| {
            store.token_bearer(&SecretHash::of(secret), at(second)).await.unwrap()
        };
        assert_eq!(good("short", 59).await.unwrap().permissions, Some([Permission::PresenceView].into()));
        assert!(good("short", 60).await.is_none());
        assert!(good("unknown", 0).await.is_none());
        store.token_used(plain.id, at(7)).await.unwrap();
        assert_eq!(good("plain", 60).await.unwrap().last_used_at, Some(at(7)));
        assert_eq!(store.tokens(Some(alice.id), 10).await.unwrap().len(), 2);
        assert_eq!(store.tokens(None, 10).await.unwrap().len(), 3);
        assert_eq!(store.user(alice.id).await.unwrap().unwrap().token_count, 2);

        assert!(store.token_revoke(plain.id, &cli()).await.unwrap());
        assert!(!store.token_revoke(plain.id, &cli()).await.unwrap());
        assert!(good("plain", 60).await.is_none());
        assert_eq!(store.token(plain.id).await.unwrap().unwrap().revoked_at, Some(at(0)));
        let ghost: TokenId = Entropy.id(at(0));
        assert!(store.token(ghost).await.unwrap().is_none());

        let disable = UserChange { disabled: Some(true), ..UserChange::default() };
        store.user_change(bob.id, &disable, &cli()).await.unwrap();
        assert!(good("bobs", 0).await.is_none());
        let enable = UserChange { disabled: Some(false), ..UserChange::default() };
        store.user_change(bob.id, &enable, &cli()).await.unwrap();
        assert!(good("bobs", 0).await.is_some());
        store.user_remove(bob.id, &cli()).await.unwrap();
        assert!(good("bobs", 0).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn logins_end_with_time_password_and_their_user() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = store.user_add(&new_user("alice", "user"), &cli()).await.unwrap();
        let here = new_login(alice.id, "here");
        let there = new_login(alice.id, "there");
        for login in [&here, &there] {
            store.login_add(login, &cli()).await.unwrap();
        }
        assert_eq!(store.user(alice.id).await.unwrap().unwrap().last_login_at, Some(at(0)));
        let good = async |secret: &str, second: i64| {
            store.login_holder(&SecretHash::of(secret), at(second), IDLE).await.unwrap()
        };
        assert_eq!(good("here", 3599).await.unwrap().login, here.id);
        assert!(good("here", 3600).await.is_none());
        store.login_used(here.id, at(3000)).await.unwrap();
        assert!(good("here", 3600).await.is_some());
        assert_eq!(store.logins(alice.id, at(3700), IDLE).await.unwrap().len(), 1);

        let password = UserChange {
            password: Some(PasswordHash("new".to_owned())),
            keep_login: Some(here.id),
            ..UserChange::default()
        };
        store.user_change(alice.id, &password, &cli()).await.unwrap();
        assert!(good("here", 1).await.is_some());
        assert!(good("there", 1).await.is_none());
        let ghost: LoginId = Entropy.id(at(0));
        assert!(!store.login_end(alice.id, ghost, "auth.logout", &cli()).await.unwrap());
        let disable = UserChange { disabled: Some(true), ..UserChange::default() };
        store.user_change(alice.id, &disable, &cli()).await.unwrap();
        assert!(good("here", 1).await.is_none());

        // Too many: the oldest goes.
        store
            .user_change(alice.id, &UserChange { disabled: Some(false), ..UserChange::default() }, &cli())
            .await
            .unwrap();
        for i in 0..51 {
            store.login_add(&new_login(alice.id, &format!("l{i}")), &By::cli(at(10 + i))).await.unwrap();
        }
        assert!(good("l0", 70).await.is_none());
        assert!(good("l1", 70).await.is_some());
        assert!(good("l50", 70).await.is_some());
        store.logins_prune(at(100_000), IDLE).await.unwrap();
        assert!(good("l50", 70).await.is_none());
    })
    .await;
}

#[tokio::test]
async fn setting_up_happens_once_and_with_the_last_code() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let code = SecretHash::of;
        assert!(store.setup_required().await.unwrap());
        assert!(store.setup_offer(&code("first")).await.unwrap());
        assert!(store.setup_offer(&code("second")).await.unwrap());
        let admin = new_user("root", "admin");
        let login = new_login(admin.id, "cookie");
        let old = store.setup(&code("first"), &admin, &login, at(0)).await;
        assert!(matches!(old, Err(IdentityError::SetupCode)), "{old:?}");
        store.setup(&code("second"), &admin, &login, at(0)).await.unwrap();
        assert!(store.login_holder(&code("cookie"), at(1), IDLE).await.unwrap().is_some());
        let again = new_user("other", "admin");
        let twice = store.setup(&code("second"), &again, &new_login(again.id, "c2"), at(0)).await;
        assert!(matches!(twice, Err(IdentityError::SetupOver)), "{twice:?}");
        assert!(!store.setup_offer(&code("third")).await.unwrap());
        assert!(!store.setup_required().await.unwrap());
    })
    .await;
}
