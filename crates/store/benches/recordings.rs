//! What recordings cost: 1 GiB written, sealed, read at one byte, checked and recovered.
//!
//! Prints a table. The folder is `SOJOURN_BENCH_DIR`, else the system's for temporary files: its disk is measured too.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops where it cannot go on, and prints"
)]

use std::{fs, sync::Arc, time::Instant};

use sojourn_domain::{
    access::{ClientKind, Protocol, Purpose},
    time::Clock as _,
};
use sojourn_store::{
    Entropy, Store, SystemClock,
    access::NewAccessSession,
    recordings::{Format, Limits, RecordingOptions, Recordings},
    vault::{MasterKey, Vault},
};

const GIB: usize = 1 << 30;
const READS: u32 = 200;

/// Peak memory of this process in bytes, since the mark was last taken back.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn reset_peak() {
    // Only root may; without it the peak is that of the whole run, and larger.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[tokio::main]
async fn main() {
    let place = std::env::var_os("SOJOURN_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(place).unwrap();
    let store = Store::open_file(&folder.path().join("db")).await.unwrap();
    let vault = Vault::with_key(&MasterKey::new([7; 32]), Entropy).unwrap();
    let options = RecordingOptions {
        spool_dir: folder.path().join("spool"),
        objects: None,
        objects_dir: folder.path().join("objects"),
        node: "bench".to_owned(),
        clock: Arc::new(SystemClock),
        entropy: Entropy,
        limits: Limits::default(),
    };
    let recordings = Recordings::open(store.clone(), vault, options).await.unwrap();
    let now = SystemClock.now();
    let id = Entropy.id(now);
    let new = NewAccessSession {
        id,
        user: Entropy.id(now),
        user_name: "bench".to_owned(),
        connection: Entropy.id(now),
        connection_name: "bench".to_owned(),
        protocol: Protocol::Ssh,
        purpose: Purpose::Shell,
        command: String::new(),
        target: String::new(),
        client_kind: ClientKind::Web,
        client_address: String::new(),
        node: "bench".to_owned(),
        started_at: now,
    };
    store.session_begin(&new).await.unwrap();
    let recorder = recordings.begin(id, Format::Cast).await.unwrap();
    let piece: Vec<u8> =
        (0..32 * 1024_usize).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let rate = |seconds: f64| GIB as f64 / 1e6 / seconds;
    let started = Instant::now();
    for _ in 0..GIB / piece.len() {
        recorder.write(&piece).await.unwrap();
    }
    let accepted = started.elapsed().as_secs_f64();
    recorder.durable().wait_for(|durable| *durable == GIB as u64).await.unwrap();
    let durable = started.elapsed().as_secs_f64();
    println!("write 1 GiB: accepted {:.0} MB/s, durable {:.0} MB/s", rate(accepted), rate(durable));

    let sealing = Instant::now();
    recorder.finish(true).await.unwrap();
    let seal = sealing.elapsed().as_secs_f64();
    println!("seal 1 GiB: {:.1} ms, {:.0} MB/s", seal * 1e3, rate(seal));
    println!("write, flush and seal 1 GiB: {:.0} MB/s", rate(started.elapsed().as_secs_f64()));

    reset_peak();
    let before = peak();
    let mut times = Vec::new();
    for number in 0..READS {
        let at = u64::from(number) * (GIB as u64 / u64::from(READS)) + 77;
        let reading = Instant::now();
        let reader = recordings.open_reader(id).await.unwrap().unwrap();
        let byte = reader.bytes(at..at + 1).await.unwrap();
        times.push(reading.elapsed().as_secs_f64() * 1e3);
        assert_eq!(byte[0], piece[at as usize % piece.len()]);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "1 byte of 1 GiB: p50 {:.2} ms, p99 {:.2} ms, memory +{:.1} MB",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        peak().saturating_sub(before) as f64 / 1e6
    );
    let checking = Instant::now();
    let verified = recordings.verify(id).await.unwrap();
    assert!(verified.ok(), "{verified:?}");
    println!("verify 1 GiB: {:.0} MB/s", rate(checking.elapsed().as_secs_f64()));
    recordings.stop().await;
    store.close().await;
}
