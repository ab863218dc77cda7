//! A sensor and a server that comes, goes, and loses its answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sojourn_domain::{
    presence::SourceKind,
    time::{Clock as _, Elapsed},
};
use sojourn_sensor::{
    forwarder::{self, Choice, Secret, SensorConfig, ServerAddress, SpoolLimits},
    sources::{SourceSettings, SourceSpec},
};
use sojourn_store::clock::{Entropy, SystemClock};
use sojourn_testbed::wait;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// For busy machines.
const LIMIT: Duration = Duration::from_secs(40);

/// What the server does with a report.
const TAKE: u8 = 0;
const BUSY: u8 = 1;
/// Takes it, and hangs up before it says so.
const TAKE_SILENTLY: u8 = 2;

/// A server that remembers what it took.
#[derive(Clone)]
struct Server {
    address: String,
    mood: Arc<AtomicU8>,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            mood: Arc::default(),
            taken: Arc::default(),
        };
        let answering = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answering.clone().answer(stream));
            }
        });
        server
    }

    async fn answer(self, mut stream: TcpStream) -> Option<()> {
        loop {
            let (head, body) = request(&mut stream).await?;
            assert!(head.starts_with("POST /sub/presence/sightings "), "{head}");
            assert!(head.to_ascii_lowercase().contains("authorization: bearer sjt_secret\r\n"), "{head}");
            let mood = self.mood.load(Ordering::SeqCst);
            if mood != BUSY {
                self.taken.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            }
            let answer: &[u8] = match mood {
                TAKE => b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"success\":true}",
                BUSY => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
                _ => return None,
            };
            stream.write_all(answer).await.ok()?;
        }
    }

    fn scans(&self) -> Vec<Value> {
        self.taken.lock().unwrap().iter().filter(|batch| batch["seq"].is_i64()).cloned().collect()
    }

    fn until(&self, what: &str, mut done: impl FnMut(&[Value]) -> bool) {
        tokio::task::block_in_place(|| wait::until(what, LIMIT, || done(&self.scans()).then_some(())));
    }
}

async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 2]).into_owned();
            let length =
                head.to_ascii_lowercase().split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            let mut body = bytes.split_off(end + 4);
            while body.len() < length {
                if stream.read_buf(&mut body).await.ok()? == 0 {
                    return None;
                }
            }
            return Some((head, body));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn config(server: &Server, folder: &Path) -> SensorConfig {
    let settings = SourceSettings { path: Some(folder.join("leases")), ..SourceSettings::default() };
    let mut spec = SourceSpec::new(SourceKind::DhcpLeases, settings);
    spec.interval = Elapsed::from_secs(1);
    SensorConfig {
        server: ServerAddress {
            url: format!("{}/sub/", server.address),
            token: Secret("sjt_secret\n".to_owned()),
            ca: None,
        },
        name: "attic".to_owned(),
        buffer: folder.join("buffer"),
        limits: SpoolLimits::default(),
        choice: Choice::These(vec![spec]),
    }
}

fn write_lease(folder: &Path, last: u8) {
    let until = SystemClock.now().as_micros() / 1_000_000 + 3600;
    let line = format!("{until} aa:bb:cc:dd:ee:{last:02x} 10.0.0.{last} host *\n");
    fs::write(folder.join("leases"), line).unwrap();
}

fn kept(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join("buffer")).into_iter().flatten().flatten();
    files.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json")).count()
}

fn wait_for_kept(folder: &Path, count: usize) {
    let enough = || (kept(folder) >= count).then_some(());
    tokio::task::block_in_place(|| wait::until("buffered reports", LIMIT, enough));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_and_a_restart_lose_nothing_and_repeat_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    write_lease(folder.path(), 7);

    let stop = CancellationToken::new();
    let running = tokio::spawn(forwarder::run(
        config(&server, folder.path()),
        Arc::new(SystemClock),
        Entropy,
        stop.clone(),
    ));
    server.until("the first report", |scans| !scans.is_empty());
    let first = server.scans()[0].clone();
    let name = first["source"].as_str().unwrap();
    assert!(name.starts_with("attic/dhcp-leases:/") && name.chars().count() <= 64, "{name}");
    assert_eq!((&first["kind"], &first["intervalSeconds"]), (&"dhcp-leases".into(), &1.into()));
    assert_eq!(first["scan"]["outcome"], "complete");
    assert_eq!(first["sightings"][0]["mac"], "AA:BB:CC:DD:EE:07");
    assert!(first["sentAt"].is_string() && first["sightings"][0]["until"].is_string());

    server.mood.store(BUSY, Ordering::SeqCst);
    wait_for_kept(folder.path(), 2);
    write_lease(folder.path(), 8);
    wait_for_kept(folder.path(), 4);
    stop.cancel();
    running.await.unwrap().unwrap();
    let waiting = kept(folder.path());
    assert!(waiting >= 4);

    // The next process begins with what is left, and meets a server that forgets to answer.
    server.mood.store(TAKE_SILENTLY, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let running = tokio::spawn(forwarder::run(
        config(&server, folder.path()),
        Arc::new(SystemClock),
        Entropy,
        stop.clone(),
    ));
    let before = server.scans().len();
    server.until("a report whose answer is lost", |scans| scans.len() > before);
    server.mood.store(TAKE, Ordering::SeqCst);
    server.until("everything that waited", |scans| {
        scans.len() > before + waiting && scans.last().is_some_and(|b| b["sightings"][0]["ip"] == "10.0.0.8")
    });
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(kept(folder.path()), 0);

    let scans = server.scans();
    let numbers: Vec<_> = scans.iter().map(|batch| batch["seq"].as_i64().unwrap()).collect();
    assert!(numbers.is_sorted(), "in order: {numbers:?}");
    let distinct: BTreeSet<_> = numbers.iter().collect();
    assert!(distinct.len() < numbers.len(), "what was not acknowledged came again, under the same number");
    let mut same: Vec<_> = scans.clone();
    same.iter_mut().for_each(|batch| batch["sentAt"] = Value::Null);
    same.dedup();
    assert_eq!(same.len(), distinct.len(), "a number means one report");
    // One scan a second, none missing through outage and restart.
    let starts: BTreeSet<_> =
        scans.iter().map(|batch| batch["scan"]["startedAt"].as_str().unwrap()).collect();
    assert_eq!(starts.len(), distinct.len());
}

#[tokio::test]
async fn what_can_never_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server { address: "ftp://nowhere".to_owned(), mood: Arc::default(), taken: Arc::default() };
    let run = |config| forwarder::run(config, Arc::new(SystemClock), Entropy, CancellationToken::new());
    let error = run(config(&server, folder.path())).await.unwrap_err();
    assert!(error.to_string().contains("is no address of a server"), "{error}");
    let server = Server { address: "http://127.0.0.1:9".to_owned(), ..server };
    let mut bad_token = config(&server, folder.path());
    bad_token.server.token = Secret("a\nb".to_owned());
    let error = run(bad_token).await.unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    fs::write(folder.path().join("file"), "").unwrap();
    let error =
        run(SensorConfig { buffer: folder.path().join("file"), ..config(&server, folder.path()) }).await;
    assert!(error.unwrap_err().to_string().starts_with("the buffer "));
}
