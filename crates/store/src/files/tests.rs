use sojourn_domain::{
    access::{ClientKind, EndReason},
    files::{Fact, FileAction, FileOutcome, FileProtocol},
    id::{AccessSessionId, ConnectionId, FileSessionId, UserId},
    policy::Visibility,
    time::{Elapsed, Timestamp},
};
use sojourn_testbed::both_databases;

use super::*;
use crate::{Entropy, Store, audit::By};

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn new(user: UserId, connection: ConnectionId, second: i64) -> NewFileSession {
    NewFileSession {
        id: Entropy.id(at(second)),
        user,
        user_name: "alice".to_owned(),
        connection,
        connection_name: "Files Server".to_owned(),
        protocol: if second % 2 == 0 { FileProtocol::Sftp } else { FileProtocol::Smb },
        target: "sftp://root@nas:22".to_owned(),
        client_kind: ClientKind::Native,
        client_address: "192.0.2.1".to_owned(),
        node: "node_a".to_owned(),
        access_session: None,
        started_at: at(second),
    }
}

fn event(second: i64, action: FileAction, path: &str) -> NewFileEvent {
    NewFileEvent { id: Entropy.id(at(second)), at: at(second), fact: Fact::new(action, path, at(second)) }
}

/// Ten ended sessions of two users on two connections, one a second, and a live one.
async fn filled(store: &Store) -> (Vec<FileSessionId>, [UserId; 2], [ConnectionId; 2]) {
    let users = [Entropy.id(at(0)), Entropy.id(at(0))];
    let connections = [Entropy.id(at(0)), Entropy.id(at(0))];
    let mut ids = Vec::new();
    for second in 0..11 {
        let which = usize::from(second % 3 == 0);
        let session = new(users[which], connections[usize::from(second >= 5)], second);
        store.file_session_begin(&session).await.unwrap();
        if second < 10 {
            let end = async |second, detail| {
                store.file_session_end(session.id, at(second), EndReason::Closed, detail).await.unwrap()
            };
            assert!(end(second + 60, "bye\u{0}").await);
            assert!(!end(second + 90, "again").await);
        }
        ids.push(session.id);
    }
    (ids, users, connections)
}

#[tokio::test]
async fn lists_are_newest_first_paged_counted_and_filtered() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (ids, users, connections) = filled(&store).await;
        let seconds = async |visibility, filter: FileSessionFilter, limit, offset| {
            let (sessions, total) = store.file_sessions(visibility, &filter, limit, offset).await.unwrap();
            let seconds: Vec<i64> = sessions.iter().map(|s| s.started_at.since(at(0)).as_secs()).collect();
            (seconds, total)
        };
        let all = FileSessionFilter::default;
        assert_eq!(seconds(Visibility::Any, all(), 4, 0).await, (vec![10, 9, 8, 7], 11));
        assert_eq!(seconds(Visibility::Any, all(), 4, 4).await, (vec![6, 5, 4, 3], 11));
        assert_eq!(seconds(Visibility::Any, all(), 4, 8).await, (vec![2, 1, 0], 11));
        assert_eq!(seconds(Visibility::Any, all(), 4, 12).await, (vec![], 11));
        let own = Visibility::Own(users[1]);
        assert_eq!(seconds(own, all(), 25, 0).await, (vec![9, 6, 3, 0], 4));
        assert_eq!(seconds(own, all(), 2, 2).await, (vec![3, 0], 4));
        assert_eq!(
            seconds(own, FileSessionFilter { user: Some(users[0]), ..all() }, 25, 0).await,
            (vec![], 0)
        );
        let smb = FileSessionFilter { protocol: Some(FileProtocol::Smb), ..all() };
        assert_eq!(seconds(Visibility::Any, smb.clone(), 2, 1).await, (vec![7, 5], 5));
        assert_eq!(seconds(own, smb, 25, 0).await, (vec![9, 3], 2));
        let on = FileSessionFilter { connection: Some(connections[0]), ..all() };
        assert_eq!(seconds(Visibility::Any, on, 2, 0).await, (vec![4, 3], 5));
        let live = |live| FileSessionFilter { live: Some(live), ..all() };
        assert_eq!(seconds(Visibility::Any, live(true), 25, 0).await, (vec![10], 1));
        assert_eq!(seconds(Visibility::Any, live(false), 3, 0).await, (vec![9, 8, 7], 10));
        let between = FileSessionFilter { from: Some(at(2)), to: Some(at(5)), ..all() };
        assert_eq!(seconds(Visibility::Any, between, 1, 2).await, (vec![2], 3));
        // One session, by whoever may see it.
        assert!(store.file_session(own, ids[0]).await.unwrap().is_some());
        assert!(store.file_session(own, ids[1]).await.unwrap().is_none());
        let last = store.file_session(Visibility::Any, ids[9]).await.unwrap().unwrap();
        assert_eq!((last.ended_at, last.end_reason), (Some(at(69)), Some(EndReason::Closed)));
        assert_eq!(last.end_detail, "bye\u{fffd}");
    })
    .await;
}

#[tokio::test]
async fn events_are_kept_in_order_and_counted_in_their_session() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (ids, users, _) = filled(&store).await;
        let session = ids[3];
        let mut upload = event(300, FileAction::Upload, "/var/www/index.html");
        upload.fact = Fact {
            bytes: Some(12_698),
            sha256: Some("ab".repeat(32)),
            duration: Elapsed::from_millis(40),
            ..upload.fact
        };
        let mut cut = event(200, FileAction::Download, "/srv/100%_Größe.iso");
        cut.fact = Fact {
            bytes: Some(7),
            offset: 5_000_000_000,
            outcome: FileOutcome::Interrupted,
            error: "the client went away\u{0}".to_owned(),
            ..cut.fact
        };
        let mut rename = event(200, FileAction::Rename, "/a");
        rename.fact.new_path = Some("/Archive/b".to_owned());
        let mut browse = event(100, FileAction::Browse, "/");
        browse.fact.entries = Some(12);
        assert!(store.file_events_add(session, &[upload.clone(), cut.clone()]).await.unwrap());
        assert!(store.file_events_add(session, &[rename.clone(), browse.clone()]).await.unwrap());
        assert!(
            !store.file_events_add(Entropy.id(at(0)), &[event(1, FileAction::Browse, "/")]).await.unwrap()
        );

        let row = store.file_session(Visibility::Any, session).await.unwrap().unwrap();
        assert_eq!((row.event_count, row.failed_count, row.bytes_up, row.bytes_down), (4, 1, 12_698, 7));
        let any = FileEventFilter::default();
        let events = store.file_events(Visibility::Any, session, &any, None, 100).await.unwrap();
        // Made in the same moment, the earlier id is the earlier event.
        let order: Vec<_> = events.iter().map(|event| event.id).collect();
        let mut same = [cut.id, rename.id];
        same.sort();
        assert_eq!(order, [browse.id, same[0], same[1], upload.id]);
        let by_id = |id| events.iter().find(|event| event.id == id).unwrap();
        assert_eq!(by_id(cut.id).error, "the client went away\u{fffd}");
        assert_eq!((by_id(cut.id).offset, by_id(cut.id).bytes), (5_000_000_000, Some(7)));
        assert_eq!(by_id(upload.id).sha256, Some("ab".repeat(32)));
        assert_eq!(
            (by_id(upload.id).duration, by_id(browse.id).entries),
            (Elapsed::from_millis(40), Some(12))
        );
        assert_eq!(by_id(rename.id).new_path.as_deref(), Some("/Archive/b"));

        // In chunks and by page it is the same list.
        let after = events.get(1).map(|event| (event.at, event.id));
        let rest = store.file_events(Visibility::Any, session, &any, after, 1).await.unwrap();
        assert_eq!(rest, events[2..3]);
        for offset in 0..5 {
            let page = store.file_events_page(Visibility::Any, session, &any, 2, offset).await.unwrap();
            let from = (offset as usize).min(4);
            assert_eq!(page, (events[from..(from + 2).min(4)].to_vec(), 4));
        }
        assert!(
            store.file_events(Visibility::Own(users[0]), session, &any, None, 9).await.unwrap().is_empty()
        );
        let hidden = store.file_events_page(Visibility::Own(users[0]), session, &any, 9, 0).await.unwrap();
        assert_eq!(hidden, (vec![], 0));

        let found = async |filter: FileEventFilter| {
            let page =
                store.file_events_page(Visibility::Own(users[1]), session, &filter, 9, 0).await.unwrap();
            let streamed = store.file_events(Visibility::Any, session, &filter, None, 9).await.unwrap();
            assert_eq!(page, (streamed.clone(), streamed.len() as i64));
            streamed.into_iter().map(|event| event.id).collect::<Vec<_>>()
        };
        let q = |q: &str| FileEventFilter { q: Some(q.to_owned()), ..FileEventFilter::default() };
        assert_eq!(found(q("INDEX")).await, [upload.id]);
        assert_eq!(found(q("archive")).await, [rename.id]);
        assert_eq!(found(q("100%_größe")).await, [cut.id]);
        assert!(found(q("100_")).await.is_empty());
        let cut_off =
            FileEventFilter { outcome: Some(FileOutcome::Interrupted), ..FileEventFilter::default() };
        assert_eq!(found(cut_off).await, [cut.id]);
        let renames = FileEventFilter { action: Some(FileAction::Rename), ..FileEventFilter::default() };
        assert_eq!(found(renames).await, [rename.id]);

        // Sessions are found by what was touched in them.
        store.file_events_add(ids[4], &[event(9, FileAction::Mkdir, "/ARCHIVE")]).await.unwrap();
        let sessions = async |visibility, q: &str| {
            let filter = FileSessionFilter { q: Some(q.to_owned()), ..FileSessionFilter::default() };
            let (sessions, total) = store.file_sessions(visibility, &filter, 25, 0).await.unwrap();
            assert_eq!(sessions.len() as i64, total);
            sessions.iter().map(|s| s.id).collect::<Vec<_>>()
        };
        assert_eq!(sessions(Visibility::Any, "archive").await, [ids[4], session]);
        assert_eq!(sessions(Visibility::Own(users[1]), "archive").await, [session]);
        assert!(sessions(Visibility::Any, "%").await.contains(&session));
        assert!(sessions(Visibility::Any, "' OR 1=1").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn removing_keeps_live_and_held_sessions_and_the_counts_right() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (ids, users, connections) = filled(&store).await;
        let carrier: AccessSessionId = Entropy.id(at(0));
        store
            .session_begin(&crate::access::NewAccessSession {
                id: carrier,
                user: users[0],
                user_name: "alice".to_owned(),
                connection: connections[0],
                connection_name: "Files Server".to_owned(),
                protocol: sojourn_domain::access::Protocol::Ssh,
                purpose: sojourn_domain::access::Purpose::Subsystem,
                command: "sftp".to_owned(),
                target: String::new(),
                client_kind: ClientKind::Native,
                client_address: String::new(),
                node: "node_a".to_owned(),
                started_at: at(0),
            })
            .await
            .unwrap();
        let carried = NewFileSession { access_session: Some(carrier), ..new(users[0], connections[0], 20) };
        store.file_session_begin(&carried).await.unwrap();
        store.file_session_end(carried.id, at(21), EndReason::Closed, "").await.unwrap();
        assert_eq!(store.file_session_carried_by(carrier).await.unwrap(), Some(carried.id));
        assert_eq!(store.file_session_carried_by(Entropy.id(at(0))).await.unwrap(), None);

        let by = By::cli(at(0));
        assert!(store.file_session_hold(ids[0], true, "case 7", &by).await.unwrap());
        assert!(!store.file_session_hold(Entropy.id(at(0)), true, "", &by).await.unwrap());
        assert!(store.session_hold(carrier, true, "case 7", &by).await.unwrap());
        store.file_events_add(ids[1], &[event(1, FileAction::Browse, "/")]).await.unwrap();
        store.file_events_add(ids[0], &[event(1, FileAction::Browse, "/")]).await.unwrap();

        assert_eq!(store.file_sessions_expire(at(1), at(90)).await.unwrap(), 0);
        assert_eq!(store.file_sessions_expire(at(3), at(90)).await.unwrap(), 2);
        let all: Vec<_> = ids.iter().copied().chain([carried.id]).collect();
        assert_eq!(store.file_sessions_remove(&all).await.unwrap(), ids[3..10]);
        assert_eq!(store.file_sessions_remove(&all).await.unwrap(), []);
        let (left, total) =
            store.file_sessions(Visibility::Any, &FileSessionFilter::default(), 25, 0).await.unwrap();
        let left: Vec<_> = left.iter().map(|s| s.id).collect();
        assert_eq!((left, total), (vec![carried.id, ids[10], ids[0]], 3));
        // What was carried goes with what carried it, when both may.
        assert!(store.session_hold(carrier, false, "", &by).await.unwrap());
        let end = crate::access::SessionEnd {
            at: at(30),
            reason: EndReason::Closed,
            detail: String::new(),
            exit: None,
            bytes_in: 0,
            bytes_out: 0,
            sha_in: None,
            sha_out: None,
        };
        assert!(store.session_end(carrier, &end).await.unwrap());
        let gone = store.sessions_remove(&[carrier]).await.unwrap();
        assert_eq!((gone.sessions, gone.file_sessions), (1, 1));
        let (_, total) =
            store.file_sessions(Visibility::Any, &FileSessionFilter::default(), 25, 0).await.unwrap();
        assert_eq!(total, 2);
        let (events,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM file_events").fetch_one(store.read()).await.unwrap();
        assert_eq!(events, 1);

        // The live one ends with its server, never before it began.
        let end = async |node: &str| {
            store.file_sessions_end_of_node(node, at(3), EndReason::ServerDied).await.unwrap()
        };
        assert!(end("node_b").await.is_empty());
        assert_eq!(end("node_a").await, [ids[10]]);
        let session = store.file_session(Visibility::Any, ids[10]).await.unwrap().unwrap();
        assert_eq!((session.ended_at, session.end_reason), (Some(at(10)), Some(EndReason::ServerDied)));
    })
    .await;
}

#[tokio::test]
async fn uploads_are_their_users_own_and_remember_how_far_they_came() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (user, other): (UserId, UserId) = (Entropy.id(at(0)), Entropy.id(at(0)));
        let connection: ConnectionId = Entropy.id(at(0));
        sqlx::query(
            "INSERT INTO users (id, name, name_key, display_name, role, disabled, created_at) \
             VALUES ($1, 'a', 'a', '', 'user', 0, 7)",
        )
        .bind(user.to_string())
        .execute(store.write())
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO connections (id, name, name_key, protocol, host, port, username, auth, folder, tags, notes, \
             policy, created_at, updated_at) VALUES ($1, 'c', 'c', 'ssh', 'h', 22, '', 'none', '', '[]', '', '{}', 7, 7)",
        )
        .bind(connection.to_string())
        .execute(store.write())
        .await
        .unwrap();
        let new = NewUpload {
            id: Entropy.id(at(1)),
            user,
            connection,
            file_session: Entropy.id(at(0)),
            tab: "tab".to_owned(),
            path: "L2E".to_owned(),
            temporary: "L2EucGFydA".to_owned(),
            size: 5_000_000_000,
            options: "{\"overwrite\":true}".to_owned(),
            created_at: at(1),
        };
        store.upload_begin(&new).await.unwrap();
        assert_eq!(store.upload(other, new.id).await.unwrap(), None);
        let begun = store.upload(user, new.id).await.unwrap().unwrap();
        assert_eq!((begun.size, begun.received, begun.sha_state.as_deref()), (new.size, 0, None));
        assert_eq!(store.uploads(user, connection, 9).await.unwrap(), [begun]);
        let later = Entropy.id(at(2));
        assert!(store.upload_progress(new.id, later, 4096, Some("state"), at(5)).await.unwrap());
        let on = store.upload(user, new.id).await.unwrap().unwrap();
        assert_eq!((on.file_session, on.received, on.updated_at), (later, 4096, at(5)));
        assert!(store.uploads_idle_since(at(5), 9).await.unwrap().is_empty());
        assert_eq!(store.uploads_idle_since(at(6), 9).await.unwrap(), [on]);
        assert!(store.upload_remove(new.id).await.unwrap());
        assert!(!store.upload_remove(new.id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_was_moved_when_the_server_died_becomes_events() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let session = new(Entropy.id(at(0)), Entropy.id(at(0)), 1);
        let id = session.id;
        store.file_session_begin(&session).await.unwrap();
        let moving = |path: &str, bytes, until| NewFileEvent {
            id: Entropy.id(at(until)),
            at: at(until),
            fact: Fact {
                bytes: Some(bytes),
                offset: 10,
                duration: at(until).since(at(2)),
                ..Fact::new(FileAction::Upload, path, at(2))
            },
        };
        let keep = async |transfers: Vec<NewFileEvent>| {
            store.file_transfers_keep(&[(id, transfers)]).await.unwrap();
        };
        keep(vec![moving("/old", 5, 3)]).await;
        keep(vec![moving("/done", 7, 4), moving("/cut", 9, 4)]).await;
        // One of them was written down before the end.
        assert!(store.file_events_add(id, &[moving("/done", 8, 5)]).await.unwrap());
        // It was last known to run before that.
        let ended = store.file_sessions_end_of_node("node_a", at(3), EndReason::ServerDied).await.unwrap();
        assert_eq!(ended, [id]);
        let filter = FileEventFilter::default();
        let events = store.file_events(Visibility::Any, id, &filter, None, 9).await.unwrap();
        let told: Vec<_> =
            events.iter().map(|event| (event.path.as_str(), event.bytes, event.outcome, event.at)).collect();
        assert_eq!(
            told,
            [("/cut", Some(9), FileOutcome::Interrupted, at(4)), ("/done", Some(8), FileOutcome::Ok, at(5)),]
        );
        assert_eq!((events[0].offset, events[0].duration), (10, at(4).since(at(2))));
        let session = store.file_session(Visibility::Any, id).await.unwrap().unwrap();
        assert_eq!((session.event_count, session.failed_count, session.bytes_up), (2, 1, 17));
        assert_eq!(session.ended_at, Some(at(5)));
        // What is told late still happened in it.
        assert!(store.file_events_add(id, &[event(6, FileAction::Mkdir, "/late")]).await.unwrap());
        let session = store.file_session(Visibility::Any, id).await.unwrap().unwrap();
        assert_eq!(session.ended_at, Some(at(6)));
        // A session that has ended keeps nothing.
        keep(vec![moving("/late", 1, 7)]).await;
        let (kept,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM file_transfers").fetch_one(store.read()).await.unwrap();
        assert_eq!(kept, 0);
    })
    .await;
}
