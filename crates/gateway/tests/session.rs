//! What a session's actor owes to its ends, its sinks and those who watch.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a house that tests play in may panic")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sojourn_domain::{
    access::{AuthKind, ClientKind, ConnectionPolicy, EndReason, Protocol, Purpose},
    connections::ConnectionOptions,
    id::{AccessSessionId, UserId},
    policy::Visibility,
    time::{Clock as _, Elapsed},
};
use sojourn_gateway::{
    admission::{Admission, Refused},
    session::{
        Begun, Hub, HubDeps, Limits, LiveEvent, Opening, Refusal, SessionHandle, ViewMode, Viewer,
        ends::{
            Carrier, ClientEnd, ClientEvent, ClientInput, Exit, TargetEnd, TargetEvent, TargetInput,
            TerminalSize,
        },
        tether::{TetherEvent, WINDOW},
    },
};
use sojourn_store::{
    Entropy, Store, SystemClock,
    access::{AccessSession, SessionExit},
    audit::By,
    connections::{Grantee, NewConnection},
    identity::{NewUser, PasswordHash, UserChange},
    recordings::{self, RecordingOptions, Recordings},
    vault::{MasterKey, Vault},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

struct House {
    store: Store,
    hub: Hub,
    admin: UserId,
    alice: UserId,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

async fn user(store: &Store, name: &str, role: &str) -> UserId {
    let new = NewUser {
        id: Entropy.id(SystemClock.now()),
        name: name.parse().unwrap(),
        display_name: "".parse().unwrap(),
        role: role.parse().unwrap(),
        password: PasswordHash("x".to_owned()),
    };
    store.user_add(&new, &By::cli(SystemClock.now())).await.unwrap().id
}

impl House {
    async fn new() -> Self {
        Self::with(ConnectionPolicy::default(), Limits::default()).await
    }

    async fn with(policy: ConnectionPolicy, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("db")).await.unwrap();
        let vault = Vault::with_key(&MasterKey::new([7; 32]), Entropy).unwrap();
        let options = RecordingOptions {
            spool_dir: folder.path().join("spool"),
            objects: None,
            objects_dir: folder.path().join("objects"),
            node: "test".to_owned(),
            clock: Arc::new(SystemClock),
            entropy: Entropy,
            limits: recordings::Limits::default(),
        };
        let recordings = Recordings::open(store.clone(), vault, options).await.unwrap();
        let admin = user(&store, "root", "admin").await;
        let alice = user(&store, "alice", "user").await;
        let new = NewConnection {
            id: Entropy.id(SystemClock.now()),
            name: "web".parse().unwrap(),
            protocol: Protocol::Ssh,
            host: "192.0.2.1".parse().unwrap(),
            port: 22,
            username: "deploy".to_owned(),
            auth: AuthKind::None,
            secret: None,
            host_key: None,
            owner: admin,
            folder: String::new(),
            tags: Vec::new(),
            notes: String::new(),
            policy,
            options: ConnectionOptions::default(),
            grants: vec![Grantee::User(alice)],
        };
        store.connection_create(&new, &By::cli(SystemClock.now())).await.unwrap();
        let shutdown = CancellationToken::new();
        let hub = Hub::start(HubDeps {
            store: store.clone(),
            recordings,
            clock: Arc::new(SystemClock),
            entropy: Entropy,
            node: Entropy.id(SystemClock.now()),
            limits,
            shutdown: shutdown.clone(),
        });
        Self { store, hub, admin, alice, shutdown, _folder: folder }
    }

    async fn admission(&self) -> Admission {
        Admission::check(&self.store, self.alice, "WEB").await.unwrap()
    }

    async fn open(&self, opening: Opening) -> Ends {
        Self::run(self.hub.begin(&self.admission().await, opening).await.unwrap())
    }

    fn run(begun: Begun) -> Ends {
        let (events, target_events) = mpsc::channel(32);
        let (target_input, input) = mpsc::channel(32);
        let (typed, client_input) = mpsc::channel(32);
        let (client_events, told) = mpsc::channel(32);
        let target = TargetEnd { events: target_events, input: target_input, carrier: Carrier::default() };
        let client = ClientEnd { input: client_input, events: client_events, carrier: Carrier::default() };
        let handle = begun.run(target, client);
        Ends { handle, events, input, typed, told }
    }

    async fn row(&self, id: AccessSessionId) -> AccessSession {
        self.store.session(Visibility::Any, id).await.unwrap().unwrap()
    }
}

/// Both ends, as the target and the client hold them.
struct Ends {
    handle: SessionHandle,
    events: mpsc::Sender<TargetEvent>,
    input: mpsc::Receiver<TargetInput>,
    typed: mpsc::Sender<ClientInput>,
    told: mpsc::Receiver<ClientEvent>,
}

fn shell() -> Opening {
    Opening {
        purpose: Purpose::Shell,
        command: String::new(),
        client_kind: ClientKind::Native,
        client_address: "192.0.2.7".to_owned(),
        term: "xterm".to_owned(),
        size: Some(TerminalSize { cols: 80, rows: 24, width_px: 0, height_px: 0 }),
    }
}

fn exec(command: &str) -> Opening {
    Opening { purpose: Purpose::Exec, command: command.to_owned(), size: None, ..shell() }
}

fn output(text: impl Into<Bytes>) -> TargetEvent {
    TargetEvent::Output(text.into())
}

async fn next<T>(queue: &mut mpsc::Receiver<T>) -> T {
    tokio::time::timeout(LIMIT, queue.recv()).await.expect("something comes").expect("the queue is open")
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_and_the_row_says_how_it_ended() {
    let house = House::new().await;
    let mut ends = house.open(shell()).await;
    let id = ends.handle.id();
    assert!(house.row(id).await.is_live() && house.hub.get(id).is_some());
    ends.events.send(output("$ ")).await.unwrap();
    assert_eq!(next(&mut ends.told).await, ClientEvent::Output("$ ".into()));
    ends.typed.send(ClientInput::Data("exit\r".into())).await.unwrap();
    assert_eq!(next(&mut ends.input).await, TargetInput::Data("exit\r".into()));
    ends.events.send(TargetEvent::Exit(Exit::Status(3))).await.unwrap();
    let last = TargetEvent::Ended { reason: EndReason::Closed, detail: String::new() };
    ends.events.send(last).await.unwrap();
    assert_eq!(next(&mut ends.told).await, ClientEvent::Exit(Exit::Status(3)));
    assert!(matches!(next(&mut ends.told).await, ClientEvent::Ended { reason: EndReason::Closed, .. }));
    ends.handle.ended().await;
    let row = house.row(id).await;
    assert_eq!(row.end_reason, Some(EndReason::Closed));
    assert_eq!((row.exit_status, row.bytes_in, row.bytes_out), (Some(3), 5, 2));
    assert!(house.hub.get(id).is_none() && house.hub.live().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_terminal_is_hashed_and_logged() {
    let house = House::new().await;
    let mut ends = house.open(exec("cat")).await;
    let id = ends.handle.id();
    ends.typed.send(ClientInput::Data("hello".into())).await.unwrap();
    ends.typed.send(ClientInput::Eof).await.unwrap();
    assert_eq!(next(&mut ends.input).await, TargetInput::Data("hello".into()));
    assert_eq!(next(&mut ends.input).await, TargetInput::Eof);
    ends.events.send(output("hello")).await.unwrap();
    ends.events.send(TargetEvent::ErrorOutput("oops".into())).await.unwrap();
    ends.events
        .send(TargetEvent::Exit(Exit::Signal {
            name: "TERM".to_owned(),
            core_dumped: false,
            message: String::new(),
            language: String::new(),
        }))
        .await
        .unwrap();
    drop(ends.events);
    while ends.told.recv().await.is_some() {}
    ends.handle.ended().await;
    let row = house.row(id).await;
    let sha = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!((row.sha_in.as_deref(), row.sha_out.as_deref()), (Some(sha), Some(sha)));
    assert_eq!((row.exit_signal.as_deref(), row.end_reason), (Some("TERM"), Some(EndReason::Closed)));
    let commands = house.store.commands(Visibility::Any, id, None, None, 10).await.unwrap();
    let [command] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((command.command.as_str(), command.source.as_str()), ("cat", "exec"));
    assert_eq!(command.output_preview, "hellooops");
    assert_eq!(SessionExit::Signal("TERM".to_owned()), SessionExit::Signal(row.exit_signal.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_the_target_back_and_nothing_else() {
    let house = House::new().await;
    let ends = house.open(shell()).await;
    let piece = Bytes::from(vec![b'x'; 32 * 1024]);
    let mut sent = 0;
    // Far more than all queues hold.
    while tokio::time::timeout(Duration::from_secs(1), ends.events.send(output(piece.clone()))).await.is_ok()
    {
        sent += 1;
        assert!(sent < 200, "the target was not held back");
    }
    let viewer = Viewer { user: house.admin, name: "root".to_owned(), mode: ViewMode::Watch };
    let mut watch = ends.handle.watch(viewer).await.unwrap();
    assert!(matches!(next(&mut watch.events).await, LiveEvent::Snapshot(_)));
    ends.handle.terminate(EndReason::Terminated, "enough").await.unwrap();
    let ended = tokio::time::timeout(LIMIT, ends.handle.ended()).await.unwrap();
    assert_eq!((ended.reason, ended.detail.as_str()), (EndReason::Terminated, "enough"));
    assert_eq!(house.row(ends.handle.id()).await.end_reason, Some(EndReason::Terminated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_gets_the_screen_then_the_stream_and_the_watched_is_told() {
    let house = House::new().await;
    let mut ends = house.open(shell()).await;
    ends.events.send(output("before\r\n")).await.unwrap();
    assert_eq!(next(&mut ends.told).await, ClientEvent::Output("before\r\n".into()));
    let viewer = Viewer { user: house.admin, name: "root".to_owned(), mode: ViewMode::Join };
    let mut watch = ends.handle.watch(viewer).await.unwrap();
    let LiveEvent::Snapshot(snapshot) = next(&mut watch.events).await else { panic!("no snapshot") };
    assert!(snapshot.data.contains("before"), "{:?}", snapshot.data);
    assert_eq!((snapshot.cols, snapshot.rows, snapshot.offset), (80, 24, 8));
    assert_eq!(next(&mut ends.told).await, ClientEvent::Notice("root takes part in this session".to_owned()));
    assert_eq!(ends.handle.numbers().viewers.len(), 1);
    let typed = watch.input.take().unwrap();
    typed.send(ClientInput::Data("w".into())).await.unwrap();
    assert_eq!(next(&mut ends.input).await, TargetInput::Data("w".into()));
    ends.events.send(output("after")).await.unwrap();
    assert_eq!(next(&mut watch.events).await, LiveEvent::Output("after".into()));
    let size = TerminalSize { cols: 100, rows: 30, width_px: 0, height_px: 0 };
    ends.typed.send(ClientInput::Resize(size)).await.unwrap();
    assert_eq!(next(&mut watch.events).await, LiveEvent::Resize { cols: 100, rows: 30 });
    let mut viewers = ends.handle.viewers();
    drop(watch);
    tokio::time::timeout(LIMIT, viewers.wait_for(Vec::is_empty)).await.unwrap().unwrap();
    ends.typed.send(ClientInput::Close).await.unwrap();
    assert_eq!(ends.handle.ended().await.reason, EndReason::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_does_not_read_is_shown_the_screen_again() {
    let house = House::new().await;
    let mut ends = house.open(shell()).await;
    let viewer = Viewer { user: house.admin, name: "root".to_owned(), mode: ViewMode::Watch };
    let mut watch = ends.handle.watch(viewer).await.unwrap();
    for line in 0..500 {
        ends.events.send(output(format!("line {line}\r\n"))).await.unwrap();
        while !matches!(next(&mut ends.told).await, ClientEvent::Output(_)) {}
    }
    let mut snapshots = 0;
    let mut shown = String::new();
    while !shown.contains("line 499") {
        match next(&mut watch.events).await {
            LiveEvent::Snapshot(snapshot) => {
                snapshots += 1;
                shown = snapshot.data;
            }
            LiveEvent::Output(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
            LiveEvent::Resize { .. } | LiveEvent::Ended(_) => {}
        }
    }
    assert!(snapshots >= 2, "{snapshots}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_before_the_target_is_reached_misses_nothing() {
    let house = House::new().await;
    for reached in [true, false] {
        let mut begun = house.hub.begin(&house.admission().await, shell()).await.unwrap();
        let handle = house.hub.get(begun.id()).unwrap();
        let viewer = Viewer { user: house.admin, name: "root".to_owned(), mode: ViewMode::Watch };
        let mut watch = handle.watch(viewer).await.unwrap();
        // What goes on beside connecting.
        tokio::time::timeout(Duration::from_millis(100), begun.called_off()).await.unwrap_err();
        if reached {
            let ends = House::run(begun);
            assert!(matches!(next(&mut watch.events).await, LiveEvent::Snapshot(_)));
            ends.events.send(output("hello")).await.unwrap();
            assert_eq!(next(&mut watch.events).await, LiveEvent::Output("hello".into()));
        } else {
            begun.fail(EndReason::Unreachable, "no route to host").await;
            let LiveEvent::Ended(ended) = next(&mut watch.events).await else { panic!("no end") };
            assert_eq!(ended.reason, EndReason::Unreachable);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_the_right_loses_the_session() {
    let house = House::new().await;
    let ends = house.open(shell()).await;
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    house.store.user_change(house.alice, &change, &By::cli(SystemClock.now())).await.unwrap();
    let ended = tokio::time::timeout(LIMIT, ends.handle.ended()).await.unwrap();
    assert_eq!(ended.reason, EndReason::Revoked);
    let refused = Admission::check(&house.store, house.alice, "web").await.unwrap_err();
    assert!(matches!(refused, Refused::User));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_long_sessions_end() {
    let idle =
        ConnectionPolicy { idle_limit_seconds: Some(Elapsed::from_secs(1)), ..ConnectionPolicy::default() };
    let house = House::with(idle, Limits::default()).await;
    let ends = house.open(shell()).await;
    assert_eq!(tokio::time::timeout(LIMIT, ends.handle.ended()).await.unwrap().reason, EndReason::Idle);
    let long =
        ConnectionPolicy { time_limit_seconds: Some(Elapsed::from_secs(1)), ..ConnectionPolicy::default() };
    let house = House::with(long, Limits::default()).await;
    let ends = house.open(shell()).await;
    assert_eq!(tokio::time::timeout(LIMIT, ends.handle.ended()).await.unwrap().reason, EndReason::TimeLimit);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_connects_leave_no_slot_taken_and_no_row_open() {
    let house = House::with(ConnectionPolicy::default(), Limits { sessions: 1, sessions_per_user: 5 }).await;
    let admission = house.admission().await;
    for _ in 0..5 {
        let begun = house.hub.begin(&admission, shell()).await.unwrap();
        assert!(matches!(house.hub.begin(&admission, shell()).await, Err(Refusal::Full)));
        let id = begun.id();
        begun.fail(EndReason::Unreachable, "no route to host").await;
        let row = house.row(id).await;
        assert_eq!(
            (row.end_reason, row.end_detail.as_str()),
            (Some(EndReason::Unreachable), "no route to host")
        );
    }
    // A task that is dropped with the session in its hand.
    let begun = house.hub.begin(&admission, shell()).await.unwrap();
    let (id, mut news) = (begun.id(), house.hub.news());
    drop(begun);
    tokio::time::timeout(LIMIT, news.recv()).await.unwrap().unwrap();
    assert_eq!(house.row(id).await.end_reason, Some(EndReason::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_ends_its_sessions() {
    let house = House::new().await;
    let ends = house.open(shell()).await;
    house.shutdown.cancel();
    house.hub.stop().await;
    assert_eq!(house.row(ends.handle.id()).await.end_reason, Some(EndReason::ServerStopped));
    let refused = house.hub.begin(&house.admission().await, shell()).await;
    assert!(matches!(refused, Err(Refusal::Stopping)));
}

/// Reads from a tether until `count` bytes came.
async fn read(events: &mut mpsc::Receiver<TetherEvent>, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        match next(events).await {
            TetherEvent::Output(bytes) => all.extend_from_slice(&bytes),
            TetherEvent::Snapshot(_) | TetherEvent::Event(_) | TetherEvent::Replaced => {}
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_comes_back_and_nothing_is_lost_or_twice() {
    let house = House::new().await;
    let opening = Opening { client_kind: ClientKind::Web, ..shell() };
    let begun = house.hub.begin(&house.admission().await, opening).await.unwrap();
    let (events, target_events) = mpsc::channel(2);
    let (target_input, mut input) = mpsc::channel(2);
    let target = TargetEnd { events: target_events, input: target_input, carrier: Carrier::default() };
    let (handle, tether) = begun.run_tethered(target, Duration::from_secs(60));
    let feed = tokio::spawn(async move {
        for number in 0..40_000 {
            if events.send(output(format!("{number:08}\r\n"))).await.is_err() {
                return;
            }
        }
        drop(events);
    });
    let mut all: Vec<u8> = Vec::new();
    let mut attached = tether.attach(Some(0)).await.unwrap();
    attached.input.send(ClientInput::Data("x".into())).await.unwrap();
    assert_eq!(next(&mut input).await, TargetInput::Data("x".into()));
    let total = 40_000 * 10;
    // Without a word of what arrived no more than the window comes.
    all.extend(read(&mut attached.events, WINDOW).await);
    assert!(tokio::time::timeout(Duration::from_millis(500), attached.events.recv()).await.is_err());
    while all.len() < total {
        attached.received.send_replace(all.len() as u64);
        let some = read(&mut attached.events, 1000.min(total - all.len())).await;
        all.extend(some);
        if all.len().is_multiple_of(3) {
            // What was sent and not read is sent again from where the browser was.
            drop(attached);
            attached = tether.attach(Some(all.len() as u64)).await.unwrap();
        }
    }
    let expected: Vec<u8> = (0..40_000).flat_map(|number| format!("{number:08}\r\n").into_bytes()).collect();
    assert!(all == expected, "{} of {}", all.len(), expected.len());
    feed.await.unwrap();
    loop {
        match next(&mut attached.events).await {
            TetherEvent::Event(ClientEvent::Ended { reason, .. }) => {
                assert_eq!(reason, EndReason::TargetLost);
                break;
            }
            TetherEvent::Snapshot(_)
            | TetherEvent::Output(_)
            | TetherEvent::Event(_)
            | TetherEvent::Replaced => {}
        }
    }
    handle.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_outlives_the_session() {
    let house = House::new().await;
    let opening = Opening { client_kind: ClientKind::Web, ..shell() };
    let begun = house.hub.begin(&house.admission().await, opening).await.unwrap();
    let (events, target_events) = mpsc::channel(2);
    let (target_input, _input) = mpsc::channel(2);
    let target = TargetEnd { events: target_events, input: target_input, carrier: Carrier::default() };
    let (handle, tether) = begun.run_tethered(target, Duration::from_secs(60));
    let piece = Bytes::from(vec![b'x'; 32 * 1024]);
    while tokio::time::timeout(Duration::from_secs(1), events.send(output(piece.clone()))).await.is_ok() {}
    // There is no room even for the last word.
    handle.terminate(EndReason::Terminated, "enough").await.unwrap();
    tokio::time::timeout(LIMIT, handle.ended()).await.unwrap();
    let mut attached = tether.attach(Some(0)).await.unwrap();
    let mut received = 0;
    let reason = loop {
        match next(&mut attached.events).await {
            TetherEvent::Output(bytes) => {
                received += bytes.len();
                attached.received.send_replace(received as u64);
            }
            TetherEvent::Event(ClientEvent::Ended { reason, .. }) => break reason,
            TetherEvent::Snapshot(_) | TetherEvent::Event(_) | TetherEvent::Replaced => {}
        }
    };
    assert_eq!(reason, EndReason::Terminated);
    assert!(received > WINDOW, "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_back_is_lost_and_who_knows_nothing_gets_the_screen() {
    let house = House::new().await;
    let opening = Opening { client_kind: ClientKind::Web, ..shell() };
    let begun = house.hub.begin(&house.admission().await, opening).await.unwrap();
    let (events, target_events) = mpsc::channel(2);
    let (target_input, _input) = mpsc::channel(2);
    let target = TargetEnd { events: target_events, input: target_input, carrier: Carrier::default() };
    let (handle, tether) = begun.run_tethered(target, Duration::from_secs(1));
    events.send(output("hello")).await.unwrap();
    let mut first = tether.attach(Some(0)).await.unwrap();
    assert_eq!(read(&mut first.events, 5).await, b"hello");
    let mut second = tether.attach(None).await.unwrap();
    assert!(matches!(next(&mut first.events).await, TetherEvent::Replaced));
    let TetherEvent::Snapshot(snapshot) = next(&mut second.events).await else { panic!("no snapshot") };
    assert!(snapshot.data.contains("hello") && snapshot.offset == 5);
    events.send(output(" there")).await.unwrap();
    assert_eq!(read(&mut second.events, 6).await, b" there");
    drop((first, second));
    let ended = tokio::time::timeout(LIMIT, handle.ended()).await.unwrap();
    assert_eq!(ended.reason, EndReason::ClientLost);
    assert!(house.hub.tether(handle.id()).is_none());
}
