use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures_util::TryStreamExt as _;
use sojourn_domain::{
    access::{ClientKind, Protocol, Purpose},
    id::{ConnectionId, UserId},
    seal::frame::PLAIN_MAX,
    time::Timestamp,
};
use sojourn_testbed::{both_databases, objects as s3};

use super::*;
use crate::{SystemClock, access::NewAccessSession, audit::By, vault::MasterKey};

/// A clock that only the test moves.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

struct House {
    store: Store,
    folder: tempfile::TempDir,
    objects: Option<String>,
    limits: Limits,
    clock: Arc<Hand>,
}

impl House {
    async fn new(url: &str) -> Self {
        Self {
            store: Store::open(url).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            objects: None,
            limits: Limits {
                sync_every: Elapsed::from_millis(20),
                // Generous, for busy machines.
                finish_wait: Elapsed::from_secs(120),
                retry_after: Elapsed::from_millis(50),
                reserve_bytes: 0,
                thresholds: Thresholds { warn_bytes: 0, refuse_bytes: 0, end_bytes: 0 },
                ..Limits::default()
            },
            clock: Arc::new(Hand(AtomicI64::new(1_700_000_000_000_000))),
        }
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn kept(&self, session: AccessSessionId) -> PathBuf {
        self.folder.path().join("objects").join(session.to_string())
    }

    async fn open(&self) -> Recordings {
        let options = RecordingOptions {
            spool_dir: self.spool(),
            objects: self.objects.clone(),
            objects_dir: self.folder.path().join("objects"),
            node: "one".to_owned(),
            clock: self.clock.clone(),
            entropy: Entropy,
            limits: self.limits.clone(),
        };
        let vault = Vault::with_key(&MasterKey::new([7; 32]), Entropy).unwrap();
        Recordings::open_with(self.store.clone(), vault, options, Some(("test", "test"))).await.unwrap()
    }

    async fn session(&self) -> AccessSessionId {
        let now = self.clock.now();
        let id = Entropy.id(now);
        let new = NewAccessSession {
            id,
            user: Entropy.id::<sojourn_domain::id::User>(now),
            user_name: "alice".to_owned(),
            connection: Entropy.id::<sojourn_domain::id::Connection>(now),
            connection_name: "web".to_owned(),
            protocol: Protocol::Ssh,
            purpose: Purpose::Shell,
            command: String::new(),
            target: "192.0.2.1:22".to_owned(),
            client_kind: ClientKind::Web,
            client_address: "192.0.2.2".to_owned(),
            node: "one".to_owned(),
            started_at: now,
        };
        let (_, _): (UserId, ConnectionId) = (new.user, new.connection);
        self.store.session_begin(&new).await.unwrap();
        id
    }

    /// What the session's row says.
    async fn noted(&self, session: AccessSessionId) -> (String, i64) {
        sqlx::query_as("SELECT recording, recording_bytes FROM access_sessions WHERE id = $1")
            .bind(session.to_string())
            .fetch_one(self.store.read())
            .await
            .unwrap()
    }
}

/// Bytes that differ everywhere.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

async fn all(recordings: &Recordings, session: AccessSessionId) -> Vec<u8> {
    let reader = recordings.open_reader(session).await.unwrap().unwrap();
    reader.bytes(0..reader.size).await.unwrap()
}

async fn until_durable(recorder: &Recorder, bytes: u64) {
    let mut durable = recorder.durable();
    let reached = durable.wait_for(|durable| *durable >= bytes);
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("bytes stay in memory").unwrap();
}

/// The whole way, on whatever object store the house has.
async fn the_whole_way(mut house: House) {
    house.limits.segment_bytes = 300_000;
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    assert!(matches!(recordings.begin(session, Format::Cast).await, Err(RecordingError::Exists)));
    let told = text(1_000_000);
    for piece in told.chunks(7777) {
        recorder.write(piece).await.unwrap();
    }
    until_durable(&recorder, 1_000_000).await;
    let live = recordings.open_reader(session).await.unwrap().unwrap();
    assert_eq!((live.size, live.state), (1_000_000, RecordingState::Live));
    assert_eq!(live.bytes(999_990..1_000_000).await.unwrap(), told[999_990..]);
    assert_eq!(live.bytes(0..1_000_000).await.unwrap(), told);
    let verified = recordings.verify(session).await.unwrap();
    assert_eq!((verified.status, verified.bytes), (VerificationStatus::Live, 1_000_000), "{verified:?}");
    assert!(matches!(recordings.purge(session).await, Err(RecordingError::Live)));

    let finished = recorder.finish(true).await.unwrap();
    assert_eq!(finished, Finished { bytes: 1_000_000, state: RecordingState::Sealed });
    assert_eq!(house.noted(session).await, ("sealed".to_owned(), 1_000_000));
    assert!(!house.spool().join(session.to_string()).exists());
    // A reader that was opened before goes on reading what it promised.
    assert_eq!(live.bytes(123_456..654_321).await.unwrap(), told[123_456..654_321]);
    let reader = recordings.open_reader(session).await.unwrap().unwrap();
    for range in [0..1, 65_535..65_537, 299_999..300_001, 500_000..500_000, 999_999..1_000_000, 0..1_000_000]
    {
        let got = reader.bytes(range.clone()).await.unwrap();
        assert_eq!(got, told[range.start as usize..range.end as usize], "{range:?}");
    }
    let verified = recordings.verify(session).await.unwrap();
    assert_eq!(verified.status, VerificationStatus::Sealed, "{verified:?}");
    assert_eq!(verified.bytes, 1_000_000);
    assert!(verified.segments >= 2, "{verified:?}");

    let stored = recordings.storage().await.unwrap();
    assert_eq!((stored.recordings, stored.stray, stored.spool), (1, 0, 0));
    assert!(stored.sealed > 1_000_000 && stored.sealed < 1_020_000, "{stored:?}");

    bundle_is_proof(&recordings, session, &told).await;

    // Nobody purges what is held; then it goes, to the last byte.
    let by = By::cli(house.clock.now());
    assert!(house.store.session_hold(session, true, "case 7", &by).await.unwrap());
    assert!(matches!(recordings.purge(session).await, Err(RecordingError::Held)));
    house.store.session_hold(session, false, "closed", &by).await.unwrap();
    assert!(recordings.purge(session).await.unwrap());
    assert!(!recordings.purge(session).await.unwrap());
    assert_eq!(house.noted(session).await, ("none".to_owned(), 0));
    assert!(recordings.open_reader(session).await.unwrap().is_none());
    assert_eq!(recordings.verify(session).await.unwrap().status, VerificationStatus::None);
    assert_eq!(recordings.storage().await.unwrap().bytes, 0);
    recordings.stop().await;
    house.store.close().await;
}

async fn bundle_is_proof(recordings: &Recordings, session: AccessSessionId, told: &[u8]) {
    let stream = recordings.export(session).await.unwrap().unwrap();
    let pieces: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    let bundle = pieces.concat();
    let key = recordings.public_key();
    let check = |bundle: &[u8]| verify_bundle(&mut &*bundle, Some(&key)).unwrap();
    let report = check(&bundle);
    assert!(report.ok(), "{:?}", report.faults);
    assert!(verify_bundle(&mut bundle.as_slice(), None).unwrap().ok());
    let other = Vault::with_key(&MasterKey::new([9; 32]), Entropy).unwrap().public_key();
    assert!(!verify_bundle(&mut bundle.as_slice(), Some(&other)).unwrap().ok());
    let at = bundle.windows(1000).position(|window| window == &told[..1000]);
    assert!(at.is_some(), "the recording lies in the clear");
    // Any bit, anywhere: a few thousand of them, over all the file.
    for at in (0..bundle.len()).step_by(bundle.len() / 300 + 1).chain(0..8) {
        let mut altered = bundle.clone();
        altered[at] ^= 1 << (at % 8);
        assert!(!check(&altered).ok(), "a flipped bit of byte {at} went unnoticed");
    }
    for len in [0, 511, 512, 5000, bundle.len() / 2, bundle.len() - 1] {
        assert!(!check(&bundle[..len]).ok(), "a bundle cut at {len} went unnoticed");
    }
    assert!(!check(&[bundle.as_slice(), b"\0"].concat()).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_written_read_sealed_checked_and_purged() {
    both_databases(async |url| the_whole_way(House::new(url).await).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_an_s3_server() {
    let Some(server) = s3::Objects::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::new(&format!("sqlite:{}", folder.path().join("db").display())).await;
    let endpoint = server.endpoint();
    house.objects = Some(format!("s3://{}/kept/here?endpoint={endpoint}&region=us-east-1", s3::BUCKET));
    house.limits.checkpoint_every = Elapsed::from_millis(100);
    the_whole_way(house).await;
    assert_eq!(server.keys(), [""; 0]);
}

/// Leaves the recordings as a crash would: nothing is finished, and the spool stays.
async fn crash(recordings: Recordings, recorder: Recorder) {
    std::mem::forget(recorder);
    recordings.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_what_was_durable_is_there_and_the_gap_has_a_name() {
    both_databases(async |url| {
        let house = House::new(url).await;
        let recordings = house.open().await;
        let session = house.session().await;
        let recorder = recordings.begin(session, Format::Cast).await.unwrap();
        let told = text(200_000);
        recorder.write(&told).await.unwrap();
        until_durable(&recorder, 200_000).await;
        crash(recordings, recorder).await;
        // Half a frame that was on its way.
        let segment = house.spool().join(session.to_string()).join("000000.seg");
        let mut bytes = fs::read(&segment).unwrap();
        let whole = bytes.len();
        bytes.extend_from_slice(&bytes.clone()[..5000]);
        fs::write(&segment, bytes).unwrap();

        let recordings = house.open().await;
        let recovered = recordings.recover().await.unwrap();
        assert_eq!(recovered, Recovered { incomplete: 1, over: 0, unknown: 0 });
        until_sealed(&recordings).await;
        assert_eq!(house.noted(session).await, ("incomplete".to_owned(), 200_000));
        assert_eq!(all(&recordings, session).await, told);
        let verified = recordings.verify(session).await.unwrap();
        assert_eq!(verified.status, VerificationStatus::Incomplete, "{verified:?}");
        assert_eq!(verified.gaps[0].reason, GapReason::Crash);
        assert_eq!(verified.gaps[0].offset, 200_000);
        assert!(fs::metadata(house.kept(session).join("000000.seg")).unwrap().len() > whole as u64);
        assert_eq!(recordings.recover().await.unwrap(), Recovered::default());
        recordings.stop().await;
        house.store.close().await;
    })
    .await;
}

/// Waits until nothing waits for the object store.
async fn until_sealed(recordings: &Recordings) {
    let mut done = recordings.core.done.subscribe();
    while !lock(&recordings.core.waiting).is_empty() {
        done.changed().await.unwrap();
    }
}

async fn local(name: &str) -> (tempfile::TempDir, House) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join(name).display());
    let house = House::new(&url).await;
    (folder, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_was_cut_behind_a_checkpoint_is_called_altered() {
    let (_folder, mut house) = local("db").await;
    house.limits.checkpoint_every = Elapsed::from_millis(20);
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    for _ in 0..3 {
        recorder.write(&text(PLAIN_MAX)).await.unwrap();
    }
    until_durable(&recorder, 3 * PLAIN_MAX as u64).await;
    let dir = house.spool().join(session.to_string());
    sojourn_testbed::wait::until("a checkpoint", Duration::from_secs(10), || {
        let bytes = fs::read(dir.join("checkpoint.json")).ok()?;
        let (manifest, _) = sojourn_domain::seal::Manifest::read(&bytes, None).ok()?;
        (manifest.frames == 3).then_some(())
    });
    crash(recordings, recorder).await;
    let segment = dir.join("000000.seg");
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() / 3 * 2]).unwrap();
    let recordings = house.open().await;
    recordings.recover().await.unwrap();
    until_sealed(&recordings).await;
    let verified = recordings.verify(session).await.unwrap();
    assert_eq!(verified.status, VerificationStatus::Incomplete);
    assert!(verified.gaps.iter().any(|gap| gap.reason == GapReason::SpoolAltered), "{verified:?}");
    recordings.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_bytes_become_durable_while_another_recording_is_in_a_hurry() {
    let (_folder, mut house) = local("db").await;
    house.limits.sync_every = Elapsed::from_millis(400);
    let recordings = house.open().await;
    let quiet = recordings.begin(house.session().await, Format::Cast).await.unwrap();
    let busy = recordings.begin(house.session().await, Format::Cast).await.unwrap();
    for round in 1..4 {
        quiet.write(b"x").await.unwrap();
        // The writer comes before the tick, for the other one.
        busy.write(&text(3 * PLAIN_MAX)).await.unwrap();
        until_durable(&quiet, round).await;
        until_durable(&busy, round * 3 * PLAIN_MAX as u64).await;
    }
    quiet.finish(true).await.unwrap();
    busy.finish(true).await.unwrap();
    recordings.stop().await;
    house.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_is_dropped_leaves_an_incomplete_recording() {
    let (_folder, house) = local("db").await;
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    recorder.write(b"x").await.unwrap();
    let mut done = recordings.core.done.subscribe();
    drop(recorder);
    done.wait_for(|done| *done > 0).await.unwrap();
    assert_eq!(house.noted(session).await, ("incomplete".to_owned(), 1));
    let verified = recordings.verify(session).await.unwrap();
    assert_eq!(verified.gaps[0].reason, GapReason::RecorderFailed);
    // One without a single byte is a recording too.
    let empty = house.session().await;
    let finished = recordings.begin(empty, Format::Cast).await.unwrap().finish(true).await.unwrap();
    assert_eq!(finished, Finished { bytes: 0, state: RecordingState::Sealed });
    assert_eq!(recordings.verify(empty).await.unwrap().status, VerificationStatus::Sealed);
    recordings.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_the_object_store_is_reported() {
    let (_folder, mut house) = local("db").await;
    house.limits.segment_bytes = 100_000;
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    recorder.write(&text(400_000)).await.unwrap();
    recorder.finish(true).await.unwrap();
    let dir = house.kept(session);
    let (one, two) = (dir.join("000000.seg"), dir.join("000001.seg"));
    type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));
    let spoil: [Spoil<'_>; 7] = [
        ("a bit in a frame", &|_| flip(&one, 5000)),
        ("a bit in the index", &|_| {
            let len = fs::metadata(&one).unwrap().len() as usize;
            flip(&one, len - 14);
        }),
        ("a bit in the manifest", &|dir| flip(&dir.join("manifest.json"), 300)),
        ("a bit in the signature", &|dir| {
            let path = dir.join("manifest.json");
            let len = fs::metadata(&path).unwrap().len() as usize;
            flip(&path, len - 10);
        }),
        ("segments swapped", &|dir| {
            fs::rename(&one, dir.join("x")).unwrap();
            fs::rename(&two, &one).unwrap();
            fs::rename(dir.join("x"), &two).unwrap();
        }),
        ("a segment missing", &|_| fs::remove_file(&two).unwrap()),
        ("a stranger", &|dir| fs::write(dir.join("000009.seg"), b"x").unwrap()),
    ];
    let good: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    for (what, spoil) in spoil {
        spoil(&dir);
        let verified = recordings.verify(session).await.unwrap();
        assert_eq!(verified.status, VerificationStatus::Altered, "{what}");
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        for (path, bytes) in &good {
            fs::write(path, bytes).unwrap();
        }
        let verified = recordings.verify(session).await.unwrap();
        assert_eq!(verified.status, VerificationStatus::Sealed, "after {what}: {verified:?}");
    }
    recordings.stop().await;
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_object_store_fails_recordings_wait_in_the_spool() {
    let (_folder, house) = local("db").await;
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    recorder.write(&text(100_000)).await.unwrap();
    // A file where the folder should be: every attempt fails.
    let blocker = house.kept(session);
    fs::write(&blocker, b"").unwrap();
    recordings.core.spool.close(&recorder.live, true);
    sojourn_testbed::wait::until("two attempts", Duration::from_secs(10), || {
        lock(&recordings.core.waiting).get(&session).is_some_and(|w| w.attempts() >= 2).then_some(())
    });
    assert_eq!(all(&recordings, session).await, text(100_000));
    fs::remove_file(&blocker).unwrap();
    assert_eq!(recorder.finish(true).await.unwrap().state, RecordingState::Sealed);
    assert_eq!(all(&recordings, session).await, text(100_000));
    recordings.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_at_its_limit_takes_nothing_and_the_gap_says_so() {
    let (_folder, mut house) = local("db").await;
    house.limits.spool_bytes = 200_000;
    house.limits.look_every = Elapsed::from_millis(20);
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    recorder.write(&text(210_000)).await.unwrap();
    let mut pressure = recordings.pressure();
    pressure.wait_for(|pressure| *pressure == Pressure::EndMandatory).await.unwrap();
    assert!(matches!(recorder.write(b"more").await, Err(RecordingError::Full)));
    let other = house.session().await;
    assert!(matches!(recordings.begin(other, Format::Cast).await, Err(RecordingError::Full)));
    let finished = recorder.finish(true).await.unwrap();
    assert_eq!(finished.state, RecordingState::Incomplete);
    let verified = recordings.verify(session).await.unwrap();
    assert_eq!(verified.gaps[0].reason, GapReason::DiskFull, "{verified:?}");
    // Sealed and gone from the spool, there is room again.
    pressure.wait_for(|pressure| *pressure == Pressure::Normal).await.unwrap();
    recordings.begin(other, Format::Cast).await.unwrap().finish(true).await.unwrap();
    recordings.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_the_old_and_the_many_but_never_the_held() {
    both_databases(async |url| {
        let house = House::new(url).await;
        let recordings = house.open().await;
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let session = house.session().await;
            let recorder = recordings.begin(session, Format::Cast).await.unwrap();
            recorder.write(&text(10_000)).await.unwrap();
            recorder.finish(true).await.unwrap();
            sessions.push(session);
            house.clock.0.fetch_add(1_000_000_000, Ordering::Relaxed);
        }
        let by = By::cli(house.clock.now());
        house.store.session_hold(sessions[0], true, "case 7", &by).await.unwrap();
        let age = Keeping { age: Some(Elapsed::from_secs(2500)), bytes: None };
        assert_eq!(recordings.keep(age).await.unwrap().removed, 1);
        let bytes = Keeping { age: None, bytes: Some(25_000) };
        assert_eq!(recordings.keep(bytes).await.unwrap().removed, 1);
        let mut states = Vec::new();
        for session in &sessions {
            states.push(house.noted(*session).await.0);
        }
        assert_eq!(states, ["sealed", "none", "none", "sealed"]);
        let (entries, _) = house.store.audit_list(&Default::default(), 10, 0).await.unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.action == "recording.expire").count(), 2);
        recordings.stop().await;
        house.store.close().await;
    })
    .await;
}

/// Names a small file system for the part of a test that runs in a mount namespace of its own.
const SMALL_DISK: &str = "SOJOURN_TEST_SMALL_DISK";

/// Runs a test again in a mount namespace with a disk of a few megabytes, whose folder that second run gets. The namespace,
/// and the disk, go with the process.
fn on_a_small_disk(name: &str, megabytes: u64) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return Some(disk.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={megabytes}m small \"$1\" || exit 77; shift; exec \"$@\"");
    let output = std::process::Command::new("unshare")
        .args(["-m", "--map-root-user", "sh", "-c", &script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("recordings::tests::{name}"), "--nocapture"])
        .env(SMALL_DISK, folder.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() != Some(77) && !output.stderr.starts_with(b"unshare:") => {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        Ok(_) | Err(_) => sojourn_testbed::skip::whole("no mount namespaces (unshare -m)"),
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_accepted_is_lost_and_closing_works() {
    let Some(disk) = on_a_small_disk("on_a_full_disk_nothing_accepted_is_lost_and_closing_works", 6) else {
        return;
    };
    let (_folder, mut house) = local("db").await;
    house.limits.reserve_bytes = 2 * 1024 * 1024;
    house.limits.patience = Elapsed::from_millis(100);
    house.limits.segment_bytes = 1_000_000;
    // The spool is on the small disk, the objects are elsewhere: sealing copies.
    fs::create_dir(disk.join("spool")).unwrap();
    std::os::unix::fs::symlink(disk.join("spool"), house.spool()).unwrap();
    let recordings = house.open().await;
    let session = house.session().await;
    let recorder = recordings.begin(session, Format::Cast).await.unwrap();
    let piece = text(50_000);
    let mut accepted = 0;
    let refused = loop {
        match recorder.write(&piece).await {
            Ok(()) => accepted += piece.len(),
            Err(error) => break error,
        }
        assert!(accepted < 8_000_000, "the disk is never full");
    };
    assert!(matches!(refused, RecordingError::Full), "{refused:?}");
    assert!(accepted > 3_000_000, "{accepted}");
    assert!(matches!(recorder.write(b"x").await, Err(RecordingError::Full)));
    let finished = recorder.finish(true).await.unwrap();
    assert_eq!(finished.state, RecordingState::Incomplete);
    // What was refused was not taken in parts, and nothing that was accepted is missing.
    assert_eq!(finished.bytes, accepted as u64);
    let read = all(&recordings, session).await;
    assert!(read.chunks(50_000).all(|chunk| *chunk == piece[..chunk.len()]));
    let verified = recordings.verify(session).await.unwrap();
    assert_eq!(verified.status, VerificationStatus::Incomplete, "{verified:?}");
    assert_eq!(verified.gaps[0].reason, GapReason::DiskFull);
    // There is room again.
    let next = house.session().await;
    let recorder = recordings.begin(next, Format::Cast).await.unwrap();
    recorder.write(&piece).await.unwrap();
    assert_eq!(recorder.finish(true).await.unwrap().state, RecordingState::Sealed);
    recordings.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_the_database_has_room_for_a_while() {
    let Some(disk) = on_a_small_disk("on_a_full_disk_the_database_has_room_for_a_while", 40) else { return };
    let store = Store::open_file(&disk.join("db")).await.unwrap();
    store.keep_room().unwrap();
    let ballast = fs::File::create(disk.join("ballast")).unwrap();
    let mut bytes = rustix::fs::statvfs(&disk).unwrap();
    rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, bytes.f_bavail * bytes.f_frsize)
        .unwrap();
    bytes = rustix::fs::statvfs(&disk).unwrap();
    assert_eq!(bytes.f_bavail, 0);
    // Some megabytes of new rows: neither the log's own blocks nor the database's would do.
    let name = "n".repeat(30_000);
    let mut added = 0;
    let error = loop {
        match store.node_start(Entropy.id(SystemClock.now()), &name, "", SystemClock.now()).await {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, crate::StoreError::Full(_)), "{error:?}");
    assert!(added > 300, "{added}");
    // Nothing that was said to be kept is lost, and with room again all goes on.
    drop(ballast);
    fs::remove_file(disk.join("ballast")).unwrap();
    store.node_start(Entropy.id(SystemClock.now()), "last", "", SystemClock.now()).await.unwrap();
    assert_eq!(store.nodes().await.unwrap().len(), added + 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_is_served_so_that_one_can_seek_in_it() {
    both_databases(async |url| {
        let mut house = House::new(url).await;
        house.limits.segment_bytes = 200_000;
        let recordings = house.open().await;
        let source = include_bytes!("../../../domain/tests/desktop/browser-chunks-without-cues.webm");
        let mut expected = Vec::new();
        sojourn_domain::webm::remux(source, &mut expected).unwrap();
        let session = house.session().await;
        let recorder = recordings.begin(session, Format::WebM).await.unwrap();
        recorder.write(source).await.unwrap();
        until_durable(&recorder, source.len() as u64).await;
        assert_eq!(all(&recordings, session).await, source, "as it is while it lives");
        recorder.finish(true).await.unwrap();
        assert_eq!(house.noted(session).await, ("sealed".to_owned(), expected.len() as i64));
        let reader = recordings.open_reader(session).await.unwrap().unwrap();
        assert_eq!(reader.size, expected.len() as u64);
        for range in [0..1, 0..expected.len(), 400..200_400, 333_333..333_334] {
            let got = reader.bytes(range.start as u64..range.end as u64).await.unwrap();
            assert!(got == expected[range], "another part");
        }
        assert_eq!(recordings.verify(session).await.unwrap().status, VerificationStatus::Sealed);
        bundle_is_proof(&recordings, session, source).await;
        // Nothing depends on the plan: another one, or none, leads to the same file.
        let plan = house.kept(session).join(plan::PLAN);
        fs::write(&plan, "{}").unwrap();
        assert!(all(&recordings, session).await == expected);
        fs::remove_file(&plan).unwrap();
        assert!(all(&recordings, session).await == expected);
        assert!(recordings.verify(session).await.unwrap().ok());
        // What is no WebM is served as it came.
        let odd = house.session().await;
        let recorder = recordings.begin(odd, Format::WebM).await.unwrap();
        recorder.write(b"chunk-1").await.unwrap();
        recorder.finish(true).await.unwrap();
        assert_eq!(all(&recordings, odd).await, b"chunk-1");
        recordings.stop().await;
    })
    .await;
}
