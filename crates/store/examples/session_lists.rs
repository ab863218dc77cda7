//! What lists of access sessions cost: fills a database with sessions and says how much processor
//! time a page takes.
//!
//! `cargo run --release -p sojourn-store --example session_lists -- sqlite:/tmp/lists.sqlite 1000000`
//!
//! A database that holds as many already is measured as it is.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for developers")]

use std::time::Instant;

use sojourn_domain::{
    id::{AccessSessionId, ConnectionId, UserId},
    policy::Visibility,
    time::Timestamp,
};
use sojourn_store::{Entropy, Store, access::SessionFilter};
use sqlx::Connection as _;

const USERS: usize = 50;
const CONNECTIONS: usize = 200;
const CALLS: u32 = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "sqlite:/tmp/session-lists.sqlite".to_owned());
    let wanted: i64 = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let store = Store::open(&url).await.unwrap();
    let all = SessionFilter::default();
    let there = store.sessions(Visibility::Any, &all, 1, 0).await.unwrap().1;
    if there < wanted {
        fill(&url, there, wanted).await;
    }
    let newest = store.sessions(Visibility::Any, &all, 1, 0).await.unwrap().0.remove(0);
    let pages = (wanted / 25 - 1) * 25;
    let own = Visibility::Own(newest.user);
    let on = SessionFilter { connection: Some(newest.connection), ..all.clone() };
    let q = |text: &str| SessionFilter { q: Some(text.to_owned()), ..all.clone() };
    measure(&store, "newest 25", Visibility::Any, &all, 0).await;
    measure(&store, "in the middle", Visibility::Any, &all, wanted / 2).await;
    measure(&store, "the last page", Visibility::Any, &all, pages).await;
    measure(&store, "one's own", own, &all, 0).await;
    measure(&store, "one's own, page 400", own, &all, 9975).await;
    measure(&store, "of a connection", Visibility::Any, &on, 0).await;
    measure(&store, "text in one session", Visibility::Any, &q("needle"), 0).await;
    measure(&store, "text in a hundredth", Visibility::Any, &q("systemctl"), 0).await;
    store.close().await;
}

/// Rows as the store would make them, without a transaction each.
async fn fill(url: &str, there: i64, wanted: i64) {
    let started = Instant::now();
    let begun = |number: i64| Timestamp::from_secs(1_600_000_000 + number * 30);
    let users: Vec<UserId> = (0..USERS).map(|_| Entropy.id(begun(0))).collect();
    let connections: Vec<ConnectionId> = (0..CONNECTIONS).map(|_| Entropy.id(begun(0))).collect();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    for number in there..wanted {
        let at = begun(number);
        let id: AccessSessionId = Entropy.id(at);
        let place = usize::try_from(number).unwrap();
        let user = users[place % USERS];
        sqlx::query(
            "INSERT INTO access_sessions (id, user_id, user_name, connection_id, connection_name, protocol, purpose, \
             command, target, client_kind, client_address, node, started_at, ended_at, end_reason, end_detail, \
             exit_status, bytes_in, bytes_out, recording, recording_bytes, command_count, legal_hold) \
             VALUES ($1, $2, 'alice', $3, 'web-server', 'ssh', 'shell', '', 'ssh://root@web:22', 'native', \
             '192.0.2.1', 'node', $4, $5, 'closed', '', 0, 100, 5000, 'sealed', 204800, 1, 0)",
        )
        .bind(id.to_string())
        .bind(user.to_string())
        .bind(connections[place % CONNECTIONS].to_string())
        .bind(at.as_micros())
        .bind(at.as_micros() + 20_000_000)
        .execute(&mut *transaction)
        .await
        .unwrap();
        if number % 100 == 0 {
            let text = if number == wanted / 2 { "cat needle.txt" } else { "sudo systemctl restart nginx" };
            sqlx::query(
                "INSERT INTO commands (id, session_id, at, elapsed_ms, command, output_preview, source, confidence, \
                 kind) VALUES ($1, $2, $3, 1, $4, '', 'screen', 'inferred', 'shell')",
            )
            .bind(Entropy.id::<sojourn_domain::id::Command>(at).to_string())
            .bind(id.to_string())
            .bind(at.as_micros())
            .bind(text)
            .execute(&mut *transaction)
            .await
            .unwrap();
        }
    }
    sqlx::query("DELETE FROM access_session_counts").execute(&mut *transaction).await.unwrap();
    sqlx::query(
        "INSERT INTO access_session_counts (user_id, protocol, sessions) \
         SELECT user_id, protocol, COUNT(*) FROM access_sessions GROUP BY user_id, protocol",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    println!("filled in {:.1} s", started.elapsed().as_secs_f64());
}

async fn measure(store: &Store, what: &str, visibility: Visibility, filter: &SessionFilter, offset: i64) {
    let (first, total) = store.sessions(visibility, filter, 25, offset).await.unwrap();
    let before = processor_us();
    for _ in 0..CALLS {
        store.sessions(visibility, filter, 25, offset).await.unwrap();
    }
    let each = (processor_us() - before) as f64 / f64::from(CALLS) / 1000.0;
    println!("{what:24} {:3} of {total:8}  {each:8.3} ms", first.len());
}

/// Processor time of all threads of this process, see sched-stats in the kernel's documentation.
fn processor_us() -> i64 {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread may have ended meanwhile.
        if let Ok(text) = std::fs::read_to_string(task.unwrap().path().join("schedstat")) {
            nanos += text.split(' ').next().unwrap().parse::<i64>().unwrap();
        }
    }
    nanos / 1000
}
