use sojourn_domain::time::Timestamp;
use sojourn_testbed::both_databases;

use super::*;
use crate::{
    Entropy,
    identity::{NewUser, PasswordHash, SecretHash},
    public_keys::{NewPublicKey, PublicKeyError},
    tickets::{Admits, Ticket},
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn cli() -> By {
    By::cli(at(0))
}

async fn user(store: &Store, name: &str, role: &str) -> UserId {
    let new = NewUser {
        id: Entropy.id(at(0)),
        name: name.parse().unwrap(),
        display_name: "".parse().unwrap(),
        role: role.parse().unwrap(),
        password: PasswordHash("-".to_owned()),
    };
    store.user_add(&new, &cli()).await.unwrap().id
}

fn connection(name: &str, owner: UserId) -> NewConnection {
    NewConnection {
        id: Entropy.id(at(0)),
        name: name.parse().unwrap(),
        protocol: Protocol::Ssh,
        host: "web.example.org".parse().unwrap(),
        port: 22,
        username: "root".to_owned(),
        auth: AuthKind::Password,
        secret: Some("sealed".to_owned()),
        host_key: None,
        owner,
        folder: "Production".to_owned(),
        tags: vec!["linux".to_owned(), "a\"b%".to_owned()],
        notes: String::new(),
        policy: ConnectionPolicy::default(),
        options: ConnectionOptions::default(),
        grants: Vec::new(),
    }
}

fn reach(user: UserId, role: &str) -> Reach<'_> {
    Reach { user, role, all: false }
}

#[tokio::test]
async fn connections_are_found_by_those_they_are_shared_with() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = user(&store, "alice", "user").await;
        let bob = user(&store, "bob", "user").await;
        let carol = user(&store, "carol", "auditor").await;
        let new = connection("Web Server", alice);
        store.connection_create(&new, &cli()).await.unwrap();
        let taken = store.connection_create(&connection("WEB server", bob), &cli()).await;
        assert!(matches!(taken, Err(ConnectionError::NameTaken)), "{taken:?}");

        let usable = async |reach: Reach<'_>, name: &str| {
            store.connection_usable(&reach, name).await.unwrap().is_some()
        };
        let id = new.id.to_string();
        assert!(usable(reach(alice, "user"), "web server").await);
        assert!(usable(reach(alice, "user"), &id).await);
        assert!(!usable(reach(bob, "user"), &id).await);
        assert!(usable(Reach { all: true, ..reach(bob, "user") }, &id).await);
        assert!(!usable(reach(alice, "user"), "x' OR '1'='1").await);

        let shared = [Grantee::User(bob), Grantee::Role("auditor".to_owned())];
        assert!(store.connection_share(new.id, &shared, &cli()).await.unwrap());
        assert!(usable(reach(bob, "user"), "Web Server").await);
        assert!(usable(reach(carol, "auditor"), "Web Server").await);
        let grants = store.connection_grants(new.id).await.unwrap();
        assert_eq!(grants.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["bob", "auditor"]);
        let nobody = store.connection_share(new.id, &[Grantee::User(Entropy.id(at(0)))], &cli()).await;
        assert!(matches!(nobody, Err(ConnectionError::UnknownUser)));
        let nothing = store.connection_share(new.id, &[Grantee::Role("none".to_owned())], &cli()).await;
        assert!(matches!(nothing, Err(ConnectionError::UnknownRole(_))));
        assert_eq!(store.connection_grants(new.id).await.unwrap().len(), 2);

        // A removed user's grants go; a removed owner leaves the connection to those who see to all.
        store.user_remove(bob, &cli()).await.unwrap();
        assert_eq!(store.connection_grants(new.id).await.unwrap().len(), 1);
        user(&store, "root", "admin").await;
        store.user_remove(alice, &cli()).await.unwrap();
        let seen = store.connection(&reach(carol, "auditor"), new.id).await.unwrap().unwrap();
        assert_eq!((seen.connection.owner, seen.granted, seen.live_sessions), (None, true, 0));
    })
    .await;
}

#[tokio::test]
async fn lists_filter_and_changes_keep_what_is_not_named() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = user(&store, "alice", "user").await;
        let bob = user(&store, "bob", "user").await;
        for name in ["b", "A", "c_d"] {
            store.connection_create(&connection(name, alice), &cli()).await.unwrap();
        }
        let mut other = connection("other", bob);
        other.protocol = Protocol::Telnet;
        other.tags = Vec::new();
        other.folder = String::new();
        other.grants = vec![Grantee::User(alice)];
        store.connection_create(&other, &cli()).await.unwrap();

        let names = async |reach: Reach<'_>, filter: ConnectionFilter| {
            let (found, total) = store.connections(&reach, &filter, 100, 0).await.unwrap();
            assert_eq!(found.len() as i64, total);
            found.into_iter().map(|found| found.connection.name).collect::<Vec<_>>()
        };
        let all = ConnectionFilter::default;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(names(reach(alice, "user"), all()).await, ["A", "b", "c_d", "other"]);
        assert_eq!(names(reach(bob, "user"), all()).await, ["other"]);
        assert_eq!(names(reach(alice, "user"), ConnectionFilter { q: text("_"), ..all() }).await, ["c_d"]);
        assert_eq!(
            names(reach(alice, "user"), ConnectionFilter { tag: text("a\"b%"), ..all() }).await.len(),
            3
        );
        assert_eq!(
            names(reach(alice, "user"), ConnectionFilter { tag: text("linu"), ..all() }).await.len(),
            0
        );
        assert_eq!(
            names(reach(alice, "user"), ConnectionFilter { folder: text("Production"), ..all() }).await.len(),
            3
        );
        let telnet = ConnectionFilter { protocol: Some(Protocol::Telnet), ..all() };
        assert_eq!(names(reach(alice, "user"), telnet).await, ["other"]);
        // A host is looked at only by those who may see it.
        let host = || ConnectionFilter { q: text("EXAMPLE.org"), ..all() };
        assert_eq!(names(reach(alice, "user"), host()).await, ["A", "b", "c_d"]);
        assert_eq!(names(Reach { all: true, ..reach(alice, "user") }, host()).await.len(), 4);
        let (page, total) = store.connections(&reach(alice, "user"), &all(), 2, 2).await.unwrap();
        assert_eq!((page.len(), total, page[1].granted), (2, 4, true));
        let shelves = store.connection_shelves(&reach(alice, "user")).await.unwrap();
        assert_eq!(
            (shelves.folders, shelves.tags),
            (vec!["Production".to_owned()], vec!["a\"b%".to_owned(), "linux".to_owned()])
        );

        let change =
            ConnectionChange { port: Some(2222), notes: text("moved"), ..ConnectionChange::default() };
        let after = store.connection_update(other.id, &change, &cli()).await.unwrap().unwrap();
        assert_eq!(
            (after.port, after.notes.as_str(), after.secret.as_deref()),
            (2222, "moved", Some("sealed"))
        );
        assert_eq!(after.options, ConnectionOptions::default());
        let smb = ConnectionOptions { share: "files".to_owned(), ..ConnectionOptions::default() };
        let change = ConnectionChange { options: Some(smb.clone()), ..ConnectionChange::default() };
        let after = store.connection_update(other.id, &change, &cli()).await.unwrap().unwrap();
        assert_eq!((after.options, after.port), (smb, 2222));
        let forget = ConnectionChange { secret: Some(None), ..ConnectionChange::default() };
        let after = store.connection_update(other.id, &forget, &cli()).await.unwrap().unwrap();
        assert_eq!((after.secret, after.port), (None, 2222));
        let rename = ConnectionChange { name: Some("B".parse().unwrap()), ..ConnectionChange::default() };
        let taken = store.connection_update(other.id, &rename, &cli()).await;
        assert!(matches!(taken, Err(ConnectionError::NameTaken)));
        assert!(store.connection_delete(other.id, &cli()).await.unwrap());
        assert!(!store.connection_delete(other.id, &cli()).await.unwrap());
        // The trail tells of changes, and of no secret.
        let (entries, _) = store.audit_list(&crate::audit::AuditFilter::default(), 100, 0).await.unwrap();
        assert!(entries.iter().any(|entry| entry.action == "connection.delete"));
        assert!(entries.iter().all(|entry| !entry.detail.contains("sealed")));
    })
    .await;
}

#[tokio::test]
async fn a_host_key_is_pinned_once_unless_somebody_says_otherwise() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = user(&store, "alice", "user").await;
        let new = connection("web", alice);
        store.connection_create(&new, &cli()).await.unwrap();
        let pinned = async || {
            let reach = reach(alice, "user");
            store
                .connection(&reach, new.id)
                .await
                .unwrap()
                .unwrap()
                .connection
                .host_key
                .map(|key| key.fingerprint())
        };
        // The published example of an Ed25519 key and its fingerprint need not be known: the hash of a key
        // is what `ssh-keygen -lf` prints.
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        assert!(store.connection_pin_first(new.id, key, &cli()).await.unwrap());
        assert_eq!(pinned().await.as_deref(), Some("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"));
        assert!(!store.connection_pin_first(new.id, "SHA256:other", &cli()).await.unwrap());
        assert!(store.connection_pin(new.id, Some("SHA256:other"), &cli()).await.unwrap());
        assert_eq!(pinned().await.as_deref(), Some("SHA256:other"));
        assert!(store.connection_pin(new.id, None, &cli()).await.unwrap());
        assert_eq!(pinned().await, None);
        assert!(!store.connection_pin(Entropy.id(at(0)), None, &cli()).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_good_once_and_for_half_a_minute() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = user(&store, "alice", "user").await;
        let session = Entropy.id(at(0));
        let tickets = [
            Admits::Open(Entropy.id(at(0))),
            Admits::Attach(session),
            Admits::Watch(session),
            Admits::Join(session),
        ];
        for admits in tickets {
            let ticket = Ticket { user: alice, admits };
            let secret = SecretHash::of("s");
            assert_eq!(store.ticket_make(&secret, &ticket, at(0)).await.unwrap(), at(30));
            assert_eq!(store.ticket_take(&SecretHash::of("t"), at(1)).await.unwrap(), None);
            assert_eq!(store.ticket_take(&secret, at(29)).await.unwrap(), Some(ticket));
            assert_eq!(store.ticket_take(&secret, at(29)).await.unwrap(), None);
            store.ticket_make(&secret, &ticket, at(0)).await.unwrap();
            assert_eq!(store.ticket_take(&secret, at(30)).await.unwrap(), None);
        }
        let ticket = Ticket { user: alice, admits: tickets[0] };
        store.ticket_make(&SecretHash::of("u"), &ticket, at(0)).await.unwrap();
        store.tickets_prune(at(30)).await.unwrap();
        assert_eq!(store.ticket_take(&SecretHash::of("u"), at(1)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn public_keys_lead_to_their_users() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let alice = user(&store, "alice", "user").await;
        let bob = user(&store, "bob", "user").await;
        let key = |user| NewPublicKey {
            id: Entropy.id(at(0)),
            user,
            label: "laptop".parse().unwrap(),
            fingerprint: "SHA256:x".to_owned(),
            text: "ssh-ed25519 AAAA".to_owned(),
        };
        let added = store.public_key_add(&key(alice), &cli()).await.unwrap();
        assert!(matches!(store.public_key_add(&key(alice), &cli()).await, Err(PublicKeyError::Known)));
        store.public_key_add(&key(bob), &cli()).await.unwrap();
        store.public_key_used(added.id, at(5)).await.unwrap();
        let found = store.public_key_find("SHA256:x").await.unwrap();
        assert_eq!(
            found.iter().map(|key| key.user).collect::<std::collections::BTreeSet<_>>(),
            [alice, bob].into()
        );
        assert_eq!(store.public_keys(alice).await.unwrap()[0].last_used_at, Some(at(5)));
        assert!(!store.public_key_remove(bob, added.id, &cli()).await.unwrap());
        assert!(store.public_key_remove(alice, added.id, &cli()).await.unwrap());
        assert_eq!(store.public_key_find("SHA256:x").await.unwrap().len(), 1);
    })
    .await;
}
