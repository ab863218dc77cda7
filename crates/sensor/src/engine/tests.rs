//! The engine with a real store and a clock that the test turns.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use sojourn_domain::{
    presence::{Evidence, ScanOutcome},
    time::Clock,
};
use sojourn_store::presence::{
    events,
    sessions::{self, Boundary, Filter, Position},
    sources,
};

use super::*;

#[derive(Clone)]
struct TurnedClock(Arc<AtomicI64>);

impl TurnedClock {
    fn turn(&self, secs: i64) {
        self.0.fetch_add(secs * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

struct House {
    store: Store,
    clock: TurnedClock,
    engine: Engine,
    _folder: tempfile::TempDir,
}

const OPTIONS: Options = Options {
    run_sources: false,
    reverse_dns: false,
    flush: Elapsed::from_secs(30),
    retention: None,
    lease: None,
};

impl House {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("sojourn.db")).await.unwrap();
        let clock = TurnedClock(Arc::new(AtomicI64::new(1_750_000_000_000_000)));
        let engine = Engine::start(store.clone(), Arc::new(clock.clone()), Entropy, OPTIONS).await.unwrap();
        Self { store, clock, engine, _folder: folder }
    }

    fn handle(&self) -> PresenceHandle {
        self.engine.handle()
    }

    fn batch(&self, devices: &[u8], seq: Option<i64>) -> PushBatch {
        let now = self.clock.now();
        PushBatch {
            source: "attic/arp:eth0".into(),
            kind: Some(SourceKind::Arp),
            strength: None,
            interval: Some(Elapsed::from_secs(30)),
            seq,
            scan: Some(Scan {
                started_at: now,
                finished_at: now,
                outcome: ScanOutcome::Complete,
                scope: String::new(),
                covers: vec![],
            }),
            sightings: devices
                .iter()
                .map(|&device| Sighting {
                    mac: mac(device),
                    ip: Some(format!("192.0.2.{device}").parse().unwrap()),
                    hostname: None,
                    evidence: Evidence::Seen { at: now },
                })
                .collect(),
        }
    }

    async fn scan(&self, devices: &[u8]) {
        self.handle().report(self.batch(devices, None)).await.unwrap();
        self.clock.turn(30);
    }

    /// Kills the engine without a word, and starts another on the same store.
    async fn crash(self) -> Self {
        let Self { store, clock, engine, _folder } = self;
        drop(engine);
        let engine = Engine::start(store.clone(), Arc::new(clock.clone()), Entropy, OPTIONS).await.unwrap();
        Self { store, clock, engine, _folder }
    }

    async fn sessions(&self, device: u8) -> Vec<String> {
        let filter = Filter { mac: Some(mac(device)), ..Filter::default() };
        let listed = sessions::list(&self.store, &filter, &Position::newest(), 100).await.unwrap();
        listed
            .into_iter()
            .rev()
            .map(|s| format!("{} - {}", s.start_type, s.end_type.unwrap_or_else(|| "open".into())))
            .collect()
    }
}

fn mac(device: u8) -> MacAddr {
    MacAddr::new([0, 0x16, 0x3e, 0, 0, device])
}

#[tokio::test]
async fn what_is_reported_is_in_the_store_when_it_is_acknowledged() {
    let house = House::open().await;
    let mut updates = house.handle().subscribe();
    house.scan(&[1, 2]).await;
    assert_eq!(house.sessions(1).await, ["New Device - open"]);
    let recorded = events::recorded_after(&house.store, 0, 10).await.unwrap();
    assert_eq!(recorded.len(), 2);
    let mut told = Vec::new();
    while let Ok(update) = updates.try_recv() {
        told.push(update);
    }
    assert!(told.iter().any(|update| matches!(update, PresenceUpdate::Events { last_seq: 2 })), "{told:?}");
    assert!(told.iter().any(|update| matches!(update, PresenceUpdate::Device(m) if *m == mac(2))));
    // The pusher did not end the automatic choice of sources.
    assert!(sources::automatic(&house.store).await.unwrap());
}

#[tokio::test]
async fn a_repeated_batch_changes_nothing() {
    let house = House::open().await;
    let batch = house.batch(&[1], Some(7));
    assert_eq!(
        house.handle().report(batch.clone()).await.unwrap(),
        Reported { accepted: 1, duplicate: false }
    );
    let house = house.crash().await;
    assert_eq!(house.handle().report(batch).await.unwrap(), Reported { accepted: 0, duplicate: true });
    assert_eq!(events::latest_seq(&house.store).await.unwrap(), 1);
}

#[tokio::test]
async fn a_crash_loses_no_session_and_doubles_no_event() {
    let mut house = House::open().await;
    for round in 0..30u8 {
        house.scan(if round % 6 < 3 { &[1, 2] } else { &[1] }).await;
        house = house.crash().await;
    }
    assert_eq!(house.sessions(1).await, ["New Device - open"]);
    let seqs: Vec<_> =
        events::recorded_after(&house.store, 0, 1000).await.unwrap().iter().map(|event| event.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn deleted_sessions_stay_deleted_and_manual_ones_stay() {
    let house = House::open().await;
    house.scan(&[1]).await;
    assert_eq!(house.handle().delete_sessions(mac(1)).await.unwrap(), 1);
    let now = house.clock.now();
    let manual = NewSession {
        id: Entropy.id(now),
        mac: mac(1),
        ip: "192.0.2.1".into(),
        start: Boundary::Known(now - Elapsed::from_minutes(600)),
        end: Some(Boundary::Known(now - Elapsed::from_minutes(500))),
        start_type: "Connected".into(),
        end_type: "Disconnected".into(),
        now,
    };
    assert!(matches!(house.handle().create_session(manual).await.unwrap(), Created::Created(_)));
    for _ in 0..10 {
        house.scan(&[2]).await;
    }
    assert_eq!(house.sessions(1).await, ["Connected - Disconnected"]);
    let house = house.crash().await;
    house.scan(&[1, 2]).await;
    assert_eq!(house.sessions(1).await, ["Connected - Disconnected", "Connected - open"]);
}

#[tokio::test]
async fn an_open_manual_session_keeps_the_tracker_from_opening_one() {
    let house = House::open().await;
    let now = house.clock.now();
    let manual = NewSession {
        id: Entropy.id(now),
        mac: mac(1),
        ip: "192.0.2.1".into(),
        start: Boundary::Known(now),
        end: None,
        start_type: "Connected".into(),
        end_type: String::new(),
        now,
    };
    house.handle().create_session(manual).await.unwrap();
    house.scan(&[1]).await;
    let house = house.crash().await;
    house.scan(&[1]).await;
    assert_eq!(house.sessions(1).await, ["Connected - open"]);
    let live = house.handle().live(Some(vec![mac(1)])).await.unwrap();
    assert_eq!(live[&mac(1)].state, DeviceState::Online);
}

#[tokio::test]
async fn a_report_from_the_future_is_refused_and_changes_nothing() {
    let house = House::open().await;
    let mut batch = house.batch(&[1], None);
    batch.sightings[0].evidence = Evidence::Seen { at: house.clock.now() + Elapsed::from_minutes(10) };
    let error = house.handle().report(batch).await.unwrap_err();
    assert!(matches!(error, EngineError::Report(ReportError::Ahead(_))), "{error}");
    assert_eq!(events::latest_seq(&house.store).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_told_between_scans_proves_no_absence() {
    let house = House::open().await;
    house.scan(&[1, 2]).await;
    for _ in 0..10 {
        let told = PushBatch { scan: None, ..house.batch(&[1], None) };
        house.handle().report(told).await.unwrap();
        house.clock.turn(30);
    }
    assert_eq!(house.sessions(2).await, ["New Device - open"]);
    // Two scans do.
    house.scan(&[1]).await;
    house.scan(&[1]).await;
    assert_eq!(house.sessions(2).await.len(), 1);
    assert_ne!(house.sessions(2).await, ["New Device - open"]);
}

#[tokio::test]
async fn a_pusher_s_interval_is_the_last_that_it_or_a_person_said() {
    let house = House::open().await;
    house.scan(&[1]).await;
    let mut batch = house.batch(&[1], None);
    batch.interval = Some(Elapsed::from_secs(300));
    house.handle().report(batch).await.unwrap();
    let source = sources::all(&house.store).await.unwrap().remove(0);
    assert_eq!(source.interval, Elapsed::from_secs(300));
    let set = SourceChange { interval: Some(Elapsed::from_secs(60)), ..SourceChange::default() };
    house.handle().update_source(source.id, set).await.unwrap();
    let mut batch = house.batch(&[1], None);
    batch.interval = None;
    house.handle().report(batch).await.unwrap();
    assert_eq!(sources::all(&house.store).await.unwrap()[0].interval, Elapsed::from_secs(60));
}

#[tokio::test]
async fn what_a_sensor_s_source_proves_is_what_it_says() {
    let house = House::open().await;
    for (device, strength) in [(1, Some(Strength::Listening)), (2, None)] {
        // Six scans: only the first sees the device.
        for pass in 0..6 {
            let seen: &[u8] = if pass == 0 { &[device] } else { &[] };
            let batch = PushBatch {
                source: format!("attic/neighbors:eth{device}"),
                kind: Some(SourceKind::Neighbors),
                strength,
                ..house.batch(seen, None)
            };
            house.handle().report(batch).await.unwrap();
            house.clock.turn(60);
        }
    }
    assert_eq!(house.sessions(1).await, ["New Device - open"], "silence proves nothing yet");
    assert_eq!(house.sessions(2).await, ["New Device - Disconnected"], "it was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_nodes_keeps_presence_and_the_other_takes_over() {
    let House { store, clock, engine, _folder } = House::open().await;
    engine.stop().await;
    let start = async |name: &str| {
        let node = Entropy.id(clock.now());
        store.node_start(node, name, "", clock.now()).await.unwrap();
        let options = Options { lease: Some(node), ..OPTIONS };
        Engine::start(store.clone(), Arc::new(clock.clone()), Entropy, options).await.unwrap()
    };
    let first = start("first").await;
    let second = start("second").await;
    let mut house = House { store: store.clone(), clock: clock.clone(), engine: first, _folder };
    house.handle().report(house.batch(&[1], None)).await.unwrap();
    let refused = second.handle().report(house.batch(&[2], None)).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Elsewhere { node: Some(node) } if node == "first"),
        "{refused:?}"
    );
    assert!(second.handle().live(None).await.unwrap().is_empty());
    assert!(second.handle().is_healthy());

    // In order: the lease is let go after the last write.
    let mut updates = second.handle().subscribe();
    std::mem::replace(&mut house.engine, second).stop().await;
    until_kept(&house);
    assert!(house.handle().live(None).await.unwrap().contains_key(&mac(1)));
    assert!(updates.try_recv().is_ok(), "subscribers of a node that waited hear on");

    // By death: only when the lease has run out.
    let third = start("third").await;
    let dead = std::mem::replace(&mut house.engine, third);
    dead.task.abort();
    drop(dead);
    let refused = house.handle().report(house.batch(&[3], None)).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Elsewhere { node: Some(node) } if node == "second"),
        "{refused:?}"
    );
    house.clock.turn(31);
    until_kept(&house);
    house.scan(&[1, 3]).await;
    assert_eq!(house.sessions(3).await, ["New Device - open"]);

    // Another node got it all the same: the one that had it gives in, and writes nothing more.
    let other = Entropy.id(house.clock.now());
    let now = house.clock.now() + Elapsed::from_secs(3600);
    assert!(house.store.lease_take("presence", other, now, now + Elapsed::from_secs(30)).await.unwrap());
    until_some("the lease to be missed", async || {
        let refused = house.handle().report(house.batch(&[1], None)).await.err()?;
        matches!(refused, EngineError::Elsewhere { .. }).then_some(())
    });
    house.engine.stop().await;
    house.store.close().await;
}

fn until_kept(house: &House) {
    until_some("the node to keep presence", async || {
        house.handle().report(house.batch(&[2], None)).await.ok()
    });
}

fn until_some<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        sojourn_testbed::wait::until(what, Duration::from_secs(20), || runtime.block_on(ask()))
    })
}
