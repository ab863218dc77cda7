//! One channel that is not read stops no other, and costs no more than its window.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use russh::{
    Channel, ChannelMsg, client,
    keys::{Algorithm, PrivateKey, PublicKeyOrCertificate, key::safe_rng},
    server::{self, Auth, ChannelOpenHandle, Msg, Session},
};
use sojourn_testbed::{ssh_client::Way, wait};
use tokio::{io::AsyncWriteExt as _, runtime::Runtime, sync::mpsc, time::timeout};

use crate::house::Lab;

/// Of each channel in the tests below.
const WINDOW: u32 = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives its channels to the test.
struct Peer {
    channels: mpsc::Sender<Channel<Msg>>,
    heard: Arc<AtomicUsize>,
}

impl server::Handler for Peer {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        // A channel that the test does not want is left to the callbacks.
        let _ = self.channels.try_send(channel);
        Ok(())
    }

    async fn data(&mut self, _: russh::ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        self.heard.fetch_add(data.len(), Relaxed);
        Ok(())
    }
}

struct Anyone;

impl client::Handler for Anyone {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

struct Pair {
    client: client::Handle<Anyone>,
    channels: mpsc::Receiver<Channel<Msg>>,
    heard: Arc<AtomicUsize>,
}

impl Pair {
    /// A client and a server in memory. `wanted` channels of the server go to the test.
    async fn new(wanted: usize) -> Self {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let (sender, mut channels) = mpsc::channel(wanted.max(1));
        if wanted == 0 {
            channels.close();
        }
        let heard = Arc::new(AtomicUsize::new(0));
        let server = server::Config {
            keys: vec![PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()],
            window_size: WINDOW,
            auth_rejection_time: Duration::ZERO,
            ..server::Config::default()
        };
        let client = client::Config { window_size: WINDOW, ..client::Config::default() };
        let peer = Peer { channels: sender, heard: heard.clone() };
        tokio::spawn(async move {
            let session = server::run_stream(Arc::new(server), there, peer).await.unwrap();
            // It ends with the test.
            let _ = session.await;
        });
        let mut client = client::connect_stream(Arc::new(client), here, Anyone).await.unwrap();
        assert!(client.authenticate_none("x").await.unwrap().success());
        Self { client, channels, heard }
    }

    async fn open(&mut self) -> (Channel<client::Msg>, Channel<Msg>) {
        let ours = self.client.channel_open_session().await.unwrap();
        let theirs = timeout(PATIENCE, self.channels.recv()).await.unwrap().unwrap();
        (ours, theirs)
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { timeout(PATIENCE * 2, test).await.unwrap() });
}

/// What a sender gets rid of until it stands still.
async fn pour(sent: &AtomicUsize, sends: impl AsyncFn(Vec<u8>) -> bool) {
    loop {
        let piece = vec![1; 8 * 1024];
        match timeout(Duration::from_secs(1), sends(piece)).await {
            Ok(true) => sent.fetch_add(8 * 1024, Relaxed),
            Ok(false) | Err(_) => return,
        };
    }
}

#[test]
fn upload_goes_on_beside_a_channel_that_the_server_does_not_read() {
    run(async {
        let mut pair = Pair::new(2).await;
        let (stalled, _not_read) = pair.open().await;
        let (flowing, mut read) = pair.open().await;
        let sent = AtomicUsize::new(0);
        pour(&sent, async |piece| stalled.data_bytes(piece).await.is_ok()).await;
        // No more than the window, whatever the client would like.
        assert_eq!(sent.load(Relaxed) / 1024, WINDOW as usize / 1024);
        let total = 8 * 1024 * 1024;
        let sender = tokio::spawn(async move {
            flowing.data_bytes(vec![2; total]).await.unwrap();
            flowing
        });
        let mut received = 0;
        while received < total {
            match read.wait().await.unwrap() {
                ChannelMsg::Data { data } => received += data.len(),
                other => panic!("{other:?}"),
            }
        }
        sender.await.unwrap();
    });
}

#[test]
fn download_goes_on_beside_a_channel_that_the_client_does_not_read() {
    run(async {
        let mut pair = Pair::new(2).await;
        let (_not_read, stalled) = pair.open().await;
        let (mut read, flowing) = pair.open().await;
        let sent = AtomicUsize::new(0);
        pour(&sent, async |piece| stalled.data_bytes(piece).await.is_ok()).await;
        assert_eq!(sent.load(Relaxed) / 1024, WINDOW as usize / 1024);
        let total = 8 * 1024 * 1024;
        let sender = tokio::spawn(async move {
            flowing.data_bytes(vec![2; total]).await.unwrap();
            flowing
        });
        let mut received = 0;
        while received < total {
            match read.wait().await.unwrap() {
                ChannelMsg::Data { data } => received += data.len(),
                other => panic!("{other:?}"),
            }
        }
        sender.await.unwrap();
    });
}

#[test]
fn a_stalled_channel_goes_on_when_it_is_read_again() {
    run(async {
        let mut pair = Pair::new(1).await;
        let (ours, mut theirs) = pair.open().await;
        let total = 4 * WINDOW as usize;
        let sender = tokio::spawn(async move {
            let mut writer = ours.make_writer();
            writer.write_all(&vec![3; total]).await.unwrap();
            ours.eof().await.unwrap();
            ours
        });
        tokio::task::yield_now().await;
        let mut received = 0;
        loop {
            match theirs.wait().await.unwrap() {
                ChannelMsg::Data { data } => received += data.len(),
                ChannelMsg::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received, total);
        sender.await.unwrap();
    });
}

#[test]
fn one_byte_packets_are_put_together() {
    run(async {
        let mut pair = Pair::new(1).await;
        let (ours, mut theirs) = pair.open().await;
        let count = 20_000;
        for _ in 0..count {
            ours.data_bytes(vec![4]).await.unwrap();
        }
        ours.eof().await.unwrap();
        let (mut received, mut pieces) = (0, 0);
        loop {
            match theirs.wait().await.unwrap() {
                ChannelMsg::Data { data } => {
                    received += data.len();
                    pieces += 1;
                }
                ChannelMsg::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received, count);
        assert!(pieces < count, "{pieces} pieces");
    });
}

#[test]
fn a_handler_without_channels_gets_all_data() {
    run(async {
        let pair = Pair::new(0).await;
        let ours = pair.client.channel_open_session().await.unwrap();
        let total = 8 * WINDOW as usize;
        ours.data_bytes(vec![5; total]).await.unwrap();
        let heard = pair.heard.clone();
        let done = tokio::task::spawn_blocking(move || {
            wait::until("all data", PATIENCE, || (heard.load(Relaxed) == total).then_some(()));
        });
        done.await.unwrap();
    });
}

/// Connections that share one, as with `ssh -M`.
struct Master {
    child: Child,
    way: Way,
    _folder: tempfile::TempDir,
}

impl Master {
    fn open(way: &Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let way = way.clone().option(format!("ControlPath={}", path.display()));
        let child = way.ssh_with(&["-M", "-N"]).stdin(Stdio::null()).spawn().unwrap();
        wait::until("the master's socket", PATIENCE, || path.exists().then_some(()));
        Self { child, way, _folder: folder }
    }

    /// A command that prints without end and whose output is not read.
    fn stalled_download(&self) -> Child {
        let mut child = self.way.ssh().arg("cat /dev/zero").stdout(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 4096];
        child.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
        child
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_download_that_nobody_reads_stops_no_other_session() {
    let Some(lab) = Lab::new() else { return };
    let master = Master::open(&lab.way());
    let mut stalled = master.stalled_download();
    let before = resident_kb();
    // More than all windows and pipes on the way take.
    let output = master.way.ssh().arg("head -c 30000000 /dev/zero").output().unwrap();
    assert_eq!(output.stdout.len(), 30_000_000);
    drop(output);
    let output = master.way.ssh().arg("echo still here").output().unwrap();
    assert_eq!(output.stdout, b"still here\n");
    // The other test of this binary may run beside it, within its windows too.
    let grown = resident_kb().saturating_sub(before);
    assert!(grown < 120_000, "{grown} KB");
    stalled.kill().unwrap();
    stalled.wait().unwrap();
    let output = master.way.ssh().arg("echo and after").output().unwrap();
    assert_eq!(output.stdout, b"and after\n");
}

#[test]
fn an_upload_that_the_target_does_not_read_stops_no_other_session() {
    let Some(lab) = Lab::new() else { return };
    let master = Master::open(&lab.way());
    let mut stalled =
        master.way.ssh().arg("sleep 1000").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = stalled.stdin.take().unwrap();
    let poured = Arc::new(Mutex::new(0));
    let counted = poured.clone();
    let pouring = std::thread::spawn(move || {
        let piece = vec![0; 64 * 1024];
        while stdin.write_all(&piece).is_ok() {
            *counted.lock().unwrap() += piece.len();
        }
    });
    // It stands still when the number is the same a while later.
    let mut last = 0;
    wait::until("the upload to stall", PATIENCE, || {
        let now = *poured.lock().unwrap();
        let still = now > 0 && now == last;
        last = now;
        std::thread::yield_now();
        still.then_some(())
    });
    let mut child =
        master.way.ssh().arg("wc -c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&vec![1; 20_000_000]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"20000000\n");
    assert!(*poured.lock().unwrap() < 32 * 1024 * 1024);
    stalled.kill().unwrap();
    stalled.wait().unwrap();
    pouring.join().unwrap();
}
