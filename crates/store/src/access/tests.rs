use sojourn_domain::{
    access::{ClientKind, EndReason, Protocol, Purpose, RecordingState},
    id::{AccessSessionId, ConnectionId, UserId},
    policy::Visibility,
    time::Timestamp,
};
use sojourn_testbed::both_databases;

use super::*;
use crate::{Entropy, Store, audit::By};

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn new(user: UserId, connection: ConnectionId, second: i64) -> NewAccessSession {
    NewAccessSession {
        id: Entropy.id(at(second)),
        user,
        user_name: "alice".to_owned(),
        connection,
        connection_name: "Web Server".to_owned(),
        protocol: if second % 2 == 0 { Protocol::Ssh } else { Protocol::Telnet },
        purpose: Purpose::Shell,
        command: String::new(),
        target: "ssh://root@web:22".to_owned(),
        client_kind: ClientKind::Native,
        client_address: "192.0.2.1".to_owned(),
        node: "node_a".to_owned(),
        started_at: at(second),
    }
}

fn end(second: i64) -> SessionEnd {
    SessionEnd {
        at: at(second),
        reason: EndReason::Closed,
        detail: String::new(),
        exit: Some(SessionExit::Status(0)),
        bytes_in: 3,
        bytes_out: 7,
        sha_in: None,
        sha_out: None,
    }
}

fn command(text: &str, elapsed_ms: i64) -> NewCommand {
    NewCommand {
        id: Entropy.id(at(0)),
        at: at(0),
        elapsed_ms,
        until_ms: None,
        command: text.to_owned(),
        output_preview: "total 128\n...\u{0}".to_owned(),
        source: "screen".to_owned(),
        confidence: "inferred".to_owned(),
        kind: "shell".to_owned(),
        exit_code: None,
    }
}

/// Ten ended sessions of two users on two connections, one a second, and a live one.
async fn filled(store: &Store) -> (Vec<AccessSessionId>, [UserId; 2], [ConnectionId; 2]) {
    let users = [Entropy.id(at(0)), Entropy.id(at(0))];
    let connections = [Entropy.id(at(0)), Entropy.id(at(0))];
    let mut ids = Vec::new();
    for second in 0..11 {
        let which = usize::from(second % 3 == 0);
        let session = new(users[which], connections[usize::from(second >= 5)], second);
        store.session_begin(&session).await.unwrap();
        if second < 10 {
            assert!(store.session_end(session.id, &end(second + 60)).await.unwrap());
            assert!(!store.session_end(session.id, &end(second + 90)).await.unwrap());
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
        let seconds = async |visibility, filter: SessionFilter, limit, offset| {
            let (sessions, total) = store.sessions(visibility, &filter, limit, offset).await.unwrap();
            let seconds: Vec<i64> = sessions.iter().map(|s| s.started_at.since(at(0)).as_secs()).collect();
            (seconds, total)
        };
        let all = SessionFilter::default;
        assert_eq!(seconds(Visibility::Any, all(), 4, 0).await, (vec![10, 9, 8, 7], 11));
        assert_eq!(seconds(Visibility::Any, all(), 4, 4).await, (vec![6, 5, 4, 3], 11));
        assert_eq!(seconds(Visibility::Any, all(), 4, 8).await, (vec![2, 1, 0], 11));
        assert_eq!(seconds(Visibility::Any, all(), 4, 12).await, (vec![], 11));
        let own = Visibility::Own(users[1]);
        assert_eq!(seconds(own, all(), 25, 0).await, (vec![9, 6, 3, 0], 4));
        assert_eq!(seconds(own, all(), 2, 2).await, (vec![3, 0], 4));
        assert_eq!(seconds(own, SessionFilter { user: Some(users[0]), ..all() }, 25, 0).await, (vec![], 0));
        assert_eq!(seconds(own, SessionFilter { user: Some(users[1]), ..all() }, 25, 0).await.1, 4);
        assert_eq!(
            seconds(Visibility::Any, SessionFilter { user: Some(users[1]), ..all() }, 1, 1).await,
            (vec![6], 4)
        );
        let telnet = SessionFilter { protocol: Some(Protocol::Telnet), ..all() };
        assert_eq!(seconds(Visibility::Any, telnet.clone(), 2, 1).await, (vec![7, 5], 5));
        assert_eq!(seconds(own, telnet, 25, 0).await, (vec![9, 3], 2));
        let on = SessionFilter { connection: Some(connections[0]), ..all() };
        assert_eq!(seconds(Visibility::Any, on.clone(), 2, 0).await, (vec![4, 3], 5));
        assert_eq!(seconds(own, on, 25, 0).await, (vec![3, 0], 2));
        let live = |live| SessionFilter { live: Some(live), ..all() };
        assert_eq!(seconds(Visibility::Any, live(true), 25, 0).await, (vec![10], 1));
        assert_eq!(seconds(Visibility::Any, live(false), 3, 0).await, (vec![9, 8, 7], 10));
        let between = SessionFilter { from: Some(at(2)), to: Some(at(5)), ..all() };
        assert_eq!(seconds(Visibility::Any, between.clone(), 25, 0).await, (vec![4, 3, 2], 3));
        assert_eq!(seconds(Visibility::Any, between, 1, 2).await, (vec![2], 3));
        // One session, by whoever may see it.
        assert!(store.session(own, ids[0]).await.unwrap().is_some());
        assert!(store.session(own, ids[1]).await.unwrap().is_none());
        let last = store.session(Visibility::Any, ids[9]).await.unwrap().unwrap();
        assert_eq!(last.ended_at, Some(at(69)));
        assert_eq!((last.exit_status, last.bytes_in, last.bytes_out), (Some(0), 3, 7));
        assert_eq!((last.end_reason, last.recording), (Some(EndReason::Closed), RecordingState::None));
    })
    .await;
}

#[tokio::test]
async fn commands_are_kept_in_order_and_found_by_their_text() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (ids, users, _) = filled(&store).await;
        store
            .commands_add(
                ids[3],
                &[command("ls -la /var/log", 300_000), command("sudo \"Älter\" 100% a_b", 1500)],
            )
            .await
            .unwrap();
        store.commands_add(ids[4], &[command("LS -la /VAR/log", 5)]).await.unwrap();
        let texts = async |visibility, q: Option<&str>| {
            let commands = store.commands(visibility, ids[3], q, None, 100).await.unwrap();
            commands.into_iter().map(|command| command.command).collect::<Vec<_>>()
        };
        let both = ["sudo \"Älter\" 100% a_b", "ls -la /var/log"];
        assert_eq!(texts(Visibility::Any, None).await, both);
        assert_eq!(texts(Visibility::Own(users[1]), None).await, both);
        assert!(texts(Visibility::Own(users[0]), None).await.is_empty());
        assert_eq!(texts(Visibility::Any, Some("VAR")).await, both[1..]);
        assert_eq!(texts(Visibility::Any, Some("total 1")).await.len(), 2);
        let first = store.commands(Visibility::Any, ids[3], None, None, 1).await.unwrap();
        let rest = store.commands(Visibility::Any, ids[3], None, first.first(), 100).await.unwrap();
        assert_eq!((rest.len(), rest[0].elapsed_ms), (1, 300_000));
        assert_eq!(store.session(Visibility::Any, ids[3]).await.unwrap().unwrap().command_count, 2);

        let found = async |visibility, q: &str| {
            let filter = SessionFilter { q: Some(q.to_owned()), ..SessionFilter::default() };
            let (sessions, total) = store.sessions(visibility, &filter, 25, 0).await.unwrap();
            assert_eq!(sessions.len() as i64, total);
            let (page, total) = store.sessions(visibility, &filter, 1, 0).await.unwrap();
            assert_eq!((page.len(), total), (sessions.len().min(1), sessions.len() as i64), "{q}");
            sessions.iter().map(|s| ids.iter().position(|id| *id == s.id).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(found(Visibility::Any, "ls -LA /var").await, [4, 3]);
        assert_eq!(found(Visibility::Own(users[1]), "ls -la").await, [3]);
        for q in ["\"Äl", "100%", "a_b", "0% a", "ls", "%", "do \"Ä"] {
            assert!(found(Visibility::Any, q).await.contains(&3), "{q}");
        }
        for q in ["100_", "axb", "' OR 1=1", "xyz", "AND", "NOT ls", "*", "\"\"\"", "__", "\u{0}ab"] {
            assert!(found(Visibility::Any, q).await.is_empty(), "{q}");
        }
        // What was removed is not found any more, nor is anything left of it.
        assert_eq!(
            store.sessions_remove(&ids[3..4]).await.unwrap(),
            Removed { sessions: 1, file_sessions: 0 }
        );
        assert_eq!(found(Visibility::Any, "ls -la").await, [4]);
        assert!(found(Visibility::Any, "100%").await.is_empty());
        let (left,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM commands").fetch_one(store.read()).await.unwrap();
        assert_eq!(left, 1);
    })
    .await;
}

#[tokio::test]
async fn removing_keeps_live_and_held_sessions_and_the_counts_right() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (ids, users, _) = filled(&store).await;
        assert!(store.session_hold(ids[0], true, "case 7", &By::cli(at(0))).await.unwrap());
        assert!(!store.session_hold(Entropy.id(at(0)), true, "", &By::cli(at(0))).await.unwrap());
        assert_eq!(store.sessions_remove(&ids).await.unwrap(), Removed { sessions: 9, file_sessions: 0 });
        assert_eq!(store.sessions_remove(&ids).await.unwrap(), Removed { sessions: 0, file_sessions: 0 });
        let (left, total) = store.sessions(Visibility::Any, &SessionFilter::default(), 25, 0).await.unwrap();
        assert_eq!((left.iter().map(|s| s.id).collect::<Vec<_>>(), total), (vec![ids[10], ids[0]], 2));
        let own = store.sessions(Visibility::Own(users[1]), &SessionFilter::default(), 25, 0).await.unwrap();
        assert_eq!(own.1, 1);
        // The live one ends with its server, never before it began.
        let ended = store.sessions_end_of_node("node_b", at(99), EndReason::ServerDied).await.unwrap();
        assert!(ended.is_empty());
        let ended = store.sessions_end_of_node("node_a", at(3), EndReason::ServerDied).await.unwrap();
        assert_eq!(ended, [ids[10]]);
        let session = store.session(Visibility::Any, ids[10]).await.unwrap().unwrap();
        assert_eq!((session.ended_at, session.end_reason), (Some(at(10)), Some(EndReason::ServerDied)));
    })
    .await;
}

#[tokio::test]
async fn what_is_searched_with_is_there_after_a_backup() {
    both_databases(async |url| {
        let store = Store::open(url).await.unwrap();
        let (ids, ..) = filled(&store).await;
        store.commands_add(ids[3], &[command("rm -rf /tmp/cache", 1)]).await.unwrap();
        let mut dump = Vec::new();
        store.dump(&mut dump, "test", at(0)).await.unwrap();
        store.load(&mut dump.as_slice(), true).await.unwrap();
        let filter = SessionFilter { q: Some("RF /tmp".to_owned()), ..SessionFilter::default() };
        let (sessions, total) = store.sessions(Visibility::Any, &filter, 25, 0).await.unwrap();
        assert_eq!((sessions.len(), total, sessions[0].id), (1, 1, ids[3]));
    })
    .await;
}
