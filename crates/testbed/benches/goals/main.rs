//! `cargo xtask bench`: what Sojourn is to cost, and what it costs.
//!
//! Everything is measured from outside, on the release build of the real server, in a network
//! namespace: CPU time, memory and written bytes are the kernel's account of the server's process.
//! History is made through the API as a reporting sensor would make it.
//!
//! `cargo xtask bench SECTION…` measures only some sections; their names are in [`SECTIONS`] and
//! [`GROUPS`].

#![expect(clippy::expect_used, reason = "a step that fails ends the measurement")]
#![expect(clippy::print_stdout, reason = "printing a table is its job")]

mod access;
mod desktop_films;
mod desktop_input;
mod desktops;
mod file_events;
mod files;

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_testbed::{
    netns::{Host, Network, Segment},
    process::{Installation, Server, binary},
    tools, wait,
};

/// Measures some things, and says what it found.
type Section = fn(&Bed, &mut Vec<Figure>);

const SECTIONS: &[(&str, Section)] = &[
    ("scan", scan),
    ("history", history),
    ("busy", busy),
    ("transfers", access::transfers),
    ("keystrokes", access::keystrokes),
    ("terminals", access::terminals),
    ("recordings", access::recordings),
    ("list", access::list),
    ("file_events", file_events::exports),
    ("files_sftp", files::sftp_moves),
    ("files_ftp", files::ftp_moves),
    ("files_smb", files::smb_moves),
    ("files_many", files::many),
    ("desktop_films", desktop_films::films),
    ("desktop_input", desktop_input::input),
    ("desktops", desktops::desktops),
];

/// What stands for several sections.
const GROUPS: &[(&str, &[&str])] = &[
    ("access", &["transfers", "keystrokes", "terminals", "recordings", "list"]),
    ("desktop", &["desktop_films", "desktop_input", "desktops"]),
    ("files", &["file_events", "files_sftp", "files_ftp", "files_smb", "files_many"]),
];

const DEVICES: u32 = 1000;
/// Two events each.
const CYCLES: u32 = 500;
const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

fn main() {
    let wanted: Vec<_> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let Some(network) = Network::new() else { return };
    let lan = network.segment_of(22);
    // Spread over the segment, the server's host first.
    let hosts = lan.hosts_at(&(0..41).map(|i| 1 + i * 24).collect::<Vec<_>>());
    let bed = Bed { lan, hosts };
    let mut figures = Vec::new();
    for (name, measure) in SECTIONS {
        let group = |word: &str| GROUPS.iter().any(|(group, names)| *group == word && names.contains(name));
        if wanted.is_empty() || wanted.iter().any(|word| word == name || group(word)) {
            measure(&bed, &mut figures);
        }
    }
    println!("\n{:66} | {:>14} | {:>14} | {:>6} | ok", "what", "figure", "goal", "ratio");
    for figure in &figures {
        let ratio = figure.value / figure.goal;
        let ok = if figure.at_least { ratio >= 1.0 } else { ratio <= 1.0 };
        println!(
            "{:66} | {:>14} | {:>14} | {ratio:>6.2} | {}",
            figure.what,
            format!("{} {}", rounded(figure.value), figure.unit),
            format!("{} {} {}", if figure.at_least { "≥" } else { "≤" }, rounded(figure.goal), figure.unit),
            if ok { "yes" } else { "NO" }
        );
    }
}

struct Bed {
    lan: Segment,
    hosts: Vec<Host>,
}

struct Figure {
    what: String,
    value: f64,
    goal: f64,
    unit: &'static str,
    /// The goal is a floor, not a ceiling.
    at_least: bool,
}

impl Figure {
    fn at_most(what: impl Into<String>, value: f64, goal: f64, unit: &'static str) -> Self {
        let figure = Self { what: what.into(), value, goal, unit, at_least: false };
        println!("{}: {} {}", figure.what, rounded(value), unit);
        figure
    }

    fn at_least(what: impl Into<String>, value: f64, goal: f64, unit: &'static str) -> Self {
        let figure = Self { what: what.into(), value, goal, unit, at_least: true };
        println!("{}: {} {}", figure.what, rounded(value), unit);
        figure
    }
}

fn rounded(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// An active scan of a /22 beside arp-scan with its defaults.
fn scan(bed: &Bed, figures: &mut Vec<Figure>) {
    let (scanner, cidr) = (&bed.hosts[0], bed.lan.cidr());
    let Some(theirs) = tools::arp_scan(scanner, &cidr) else { return };
    let started = Instant::now();
    let output = scanner
        .command(binary())
        .args(["scan", "--interface", "eth0", "--cidr", &cidr, "--json"])
        .output()
        .expect("sojourn scan starts");
    let ours = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).to_uppercase();
    let found = bed.hosts[1..].iter().filter(|host| text.contains(&host.mac())).count();
    let missed = bed.hosts.len() - 1 - found;
    println!("arp-scan: {:.2} s", theirs.took.as_secs_f64());
    figures.push(Figure::at_most("/22 with 40 hosts, hosts missed", missed as f64, 0.5, "hosts"));
    let half = theirs.took.as_secs_f64() / 2.0;
    figures.push(Figure::at_most(
        "/22 with 40 hosts, active ARP scan (goal: half of arp-scan)",
        ours.as_secs_f64(),
        half,
        "s",
    ));
}

/// A store of 1,000 devices and 1,000,000 events.
fn history(bed: &Bed, figures: &mut Vec<Figure>) {
    let installation = Installation::on(&bed.hosts[0]);
    let (token, end) = kept_history(&installation).unwrap_or_else(|| {
        let token = installation.token("admin", "admin");
        installation.add_source(&["push", "--name", "bench", "--interval", "24h", "--grace", "1m"]);
        let server = installation.serve();
        // The measured scans come after it, and none may lie in the future.
        let end = now() - 3 * 3600;
        bed.hosts[0].on(|| make_history(&Http::new(&server, &token), end));
        assert!(server.terminate().success());
        keep_history(&installation, &token, end);
        (token, end)
    });

    // What only a first start does: keys are made, and an older schema is brought up to date.
    assert!(installation.serve().terminate().success());
    let started = Instant::now();
    let server = installation.serve();
    figures.push(Figure::at_most("from start to ready", started.elapsed().as_secs_f64(), 0.5, "s"));
    bed.hosts[0].on(|| {
        let http = Http::new(&server, &token);
        // The first answer shows that it has settled.
        http.get("/healthz");
        figures.push(Figure::at_most("memory when idle", memory_mb(&server, "VmRSS"), 40.0, "MB"));
        let mut at = end + 60;
        let mut absent = 0;
        let what = "one scan with 50 changes";
        figures.push(per_call(&server, what, 10.0, 40, || {
            // 25 leave and the 25 who left two scans ago come back.
            http.push(at, |device| device % 40 != absent % 40);
            at += 120;
            absent += 1;
        }));
        requests(&server, &http, end, figures);
    });
}

fn requests(server: &Server, http: &Http, end: i64, figures: &mut Vec<Figure>) {
    let day = |offset: i64| date(end + offset * DAY);
    let mac = mac(7);
    let path = format!("/sessions/{mac}?period=7%20days");
    figures.push(per_call(server, "/sessions/{mac}, 7 days", 0.5, 2000, || drop(http.get(&path))));
    let path = format!("/sessions/calendar?mac={mac}&start={}&end={}", day(-30), day(0));
    figures.push(per_call(server, "/sessions/calendar, 30 days of one device", 1.0, 500, || {
        drop(http.get(&path))
    }));
    let path = "/sessions/session-events?type=all&period=7%20days";
    figures.push(per_call(server, "/sessions/session-events, 7 days, a page", 3.0, 200, || {
        drop(http.get(path))
    }));

    let path = format!("/sessions/calendar?start={}&end={}", day(-30), day(0));
    let (mut sessions, started) = (0, Instant::now());
    for _ in 0..5 {
        sessions += http.get(&path).matches("\"resourceId\"").count();
    }
    let rate = sessions as f64 / started.elapsed().as_secs_f64();
    let what = format!("/sessions/calendar, 30 days of all devices ({} sessions)", sessions / 5);
    println!("{what}: {rate:.0} sessions/s");
    figures.push(Figure { what, value: rate, goal: 200_000.0, unit: "sessions/s", at_least: true });

    reset_peak(server);
    let started = Instant::now();
    let (bytes, sessions) = http.count("/sessions/list", "\"ses_MAC\"");
    let took = started.elapsed();
    println!("/sessions/list: {sessions} sessions, {bytes} bytes in {took:.1?}");
    figures.push(Figure::at_most(
        format!("/sessions/list of everything ({sessions} sessions), peak memory"),
        memory_mb(server, "VmHWM"),
        60.0,
        "MB",
    ));
}

/// 10,000 devices, all seen every minute.
fn busy(bed: &Bed, figures: &mut Vec<Figure>) {
    const MINUTES: u32 = 4;
    const MINUTE: Duration = Duration::from_secs(60);
    let installation = Installation::on(&bed.hosts[0]);
    let token = installation.token("admin", "admin");
    installation.add_source(&["push", "--name", "bench", "--interval", "1m", "--grace", "3m"]);
    let server = installation.serve();
    bed.hosts[0].on(|| {
        let http = Http::new(&server, &token);
        http.push_devices(now(), 10_000, |_| true);
        wait::during(MINUTE, || {});
        let (cpu, written, started) = (cpu(&server), written(&server), Instant::now());
        for _ in 0..MINUTES {
            let minute = Instant::now();
            http.push_devices(now(), 10_000, |_| true);
            wait::during(MINUTE.saturating_sub(minute.elapsed()), || {});
        }
        let seconds = started.elapsed().as_secs_f64();
        let share = (self::cpu(&server) - cpu).as_secs_f64() / seconds * 100.0;
        let kilobytes = (self::written(&server) - written) as f64 / seconds / 1000.0;
        figures.push(Figure::at_most("10,000 devices seen every minute, CPU", share, 3.0, "% of a core"));
        figures.push(Figure::at_most("10,000 devices seen every minute, writes", kilobytes, 50.0, "KB/s"));
        figures.push(Figure::at_most("10,000 devices, memory", memory_mb(&server, "VmRSS"), 100.0, "MB"));
    });
}

/// Making history takes minutes, so it is kept for the next run of the day.
const KEPT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-history");

fn keep_history(installation: &Installation, token: &str, end: i64) {
    let _ = fs::remove_dir_all(KEPT);
    fs::create_dir_all(KEPT).expect("a folder under target");
    for file in database_files(installation.data_dir()) {
        fs::copy(&file, Path::new(KEPT).join(file.file_name().unwrap_or_default())).expect("a copy");
    }
    fs::write(Path::new(KEPT).join("made"), format!("{token} {end}")).expect("a note");
}

/// Puts the kept history in place, if it is from the last day: the requests ask for the last days.
fn kept_history(installation: &Installation) -> Option<(String, i64)> {
    let made = fs::read_to_string(Path::new(KEPT).join("made")).ok()?;
    let (token, end) = made.split_once(' ')?;
    let end: i64 = end.parse().ok()?;
    if now() - end > DAY {
        return None;
    }
    // A newer schema is brought up to date when the server starts.
    for file in database_files(Path::new(KEPT)) {
        fs::copy(&file, installation.data_dir().join(file.file_name().unwrap_or_default())).expect("a copy");
    }
    println!("history made before: {KEPT}");
    Some((token.to_owned(), end))
}

fn database_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("a readable folder").flatten().map(|entry| entry.path());
    files.filter(|path| path.to_string_lossy().contains("sojourn.sqlite")).collect()
}

/// A year of 1,000 devices that all come and go.
fn make_history(http: &Http, end: i64) {
    let started = Instant::now();
    let cycle = YEAR / i64::from(CYCLES);
    for index in 0..CYCLES {
        let from = end - YEAR + i64::from(index) * cycle;
        http.push(from, |_| true);
        http.push(from + cycle / 2, |_| true);
        http.push(from + cycle / 2 + 600, |_| false);
        http.push(from + cycle / 2 + 1200, |_| false);
    }
    // Here when the measurement begins.
    http.push(end - 120, |_| true);
    let events = u64::from(DEVICES) * u64::from(CYCLES) * 2;
    println!("about {events} events made in {:.0?}", started.elapsed());
}

/// CPU milliseconds of the server for each call.
fn per_call(server: &Server, what: &str, goal: f64, calls: u32, mut call: impl FnMut()) -> Figure {
    // Caches and connections are warm in a server that runs, and what was asked of it before is done.
    call();
    settle(server);
    let before = cpu(server);
    (0..calls).for_each(|_| call());
    let spent = (cpu(server) - before).as_secs_f64() * 1000.0 / f64::from(calls);
    Figure::at_most(format!("{what}, CPU"), spent, goal, "ms")
}

/// Waits until the server does next to nothing.
fn settle(server: &Server) {
    for _ in 0..100 {
        let before = cpu(server);
        wait::during(Duration::from_millis(300), || {});
        if cpu(server) - before <= Duration::from_millis(10) {
            return;
        }
    }
}

/// One connection that is kept.
struct Http {
    agent: ureq::Agent,
    base: String,
    token: String,
}

impl Http {
    fn new(server: &Server, token: &str) -> Self {
        let base = format!("http://{}", server.address);
        Self { agent: ureq::Agent::new_with_defaults(), base, token: format!("Bearer {token}") }
    }

    fn get(&self, path: &str) -> String {
        let answer =
            self.agent.get(format!("{}{path}", self.base)).header("Authorization", &self.token).call();
        let mut answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        answer.body_mut().with_config().limit(1 << 32).read_to_string().expect("a whole body")
    }

    /// Reads an answer piece by piece; returns its size and how often a word stands in it.
    fn count(&self, path: &str, word: &str) -> (usize, usize) {
        let answer =
            self.agent.get(format!("{}{path}", self.base)).header("Authorization", &self.token).call();
        let mut answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        let mut reader = answer.body_mut().with_config().limit(1 << 40).reader();
        let (mut bytes, mut words, mut piece) = (0, 0, vec![0; 1 << 16]);
        let mut tail = String::new();
        loop {
            let length = reader.read(&mut piece).expect("a piece of the body");
            if length == 0 {
                return (bytes, words);
            }
            bytes += length;
            tail.push_str(&String::from_utf8_lossy(&piece[..length]));
            words += tail.matches(word).count();
            // A word that is cut in two is found with the next piece.
            let keep = tail.rfind(word).map_or(0, |at| at + word.len()).max(tail.len().saturating_sub(64));
            let keep = (keep..=tail.len()).find(|at| tail.is_char_boundary(*at)).unwrap_or(tail.len());
            tail.drain(..keep);
        }
    }

    fn post(&self, path: &str, body: &Value) {
        let request = self.agent.post(format!("{}{path}", self.base)).header("Authorization", &self.token);
        if let Err(error) = request.send_json(body) {
            panic!("POST {path}: {error}");
        }
    }

    fn push(&self, at: i64, present: impl Fn(u32) -> bool) {
        self.push_devices(at, DEVICES, present);
    }

    /// A complete scan that saw some of the devices.
    fn push_devices(&self, at: i64, devices: u32, present: impl Fn(u32) -> bool) {
        let seen = (0..devices).filter(|device| present(*device));
        let sightings: Vec<_> = seen
            .map(|device| {
                json!({"mac": mac(device), "ip": format!("10.99.{}.{}", device >> 8, device & 255), "at": time(at)})
            })
            .collect();
        let scan = json!({"startedAt": time(at - 1), "finishedAt": time(at), "outcome": "complete"});
        self.post("/presence/sightings", &json!({"source": "bench", "scan": scan, "sightings": sightings}));
    }
}

fn mac(device: u32) -> String {
    format!("3C:22:FB:{:02X}:{:02X}:{:02X}", device >> 16, (device >> 8) & 255, device & 255)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a benchmark runs in real time")]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a time").to_string()
}

fn date(seconds: i64) -> String {
    time(seconds)[..10].to_owned()
}

fn proc(server: &Server, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", server.pid())).expect("the server runs")
}

/// User and system time of all of the server's threads.
fn cpu(server: &Server) -> Duration {
    /// The kernel's unit of these times, the same on every Linux that Rust runs on.
    const TICKS_A_SECOND: u32 = 100;
    let stat = proc(server, "stat");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u32>().expect("a number of ticks");
    Duration::from_secs(1) * (ticks(11) + ticks(12)) / TICKS_A_SECOND
}

/// Bytes that the server caused to be sent to a disk.
fn written(server: &Server) -> u64 {
    let io = proc(server, "io");
    let line =
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("the kernel accounts for it");
    line.parse().expect("a number of bytes")
}

fn memory_mb(server: &Server, key: &str) -> f64 {
    let status = proc(server, "status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel accounts for it");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a size");
    kib * 1024.0 / 1e6
}

/// Lets the peak of memory begin anew.
fn reset_peak(server: &Server) {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("a process of ours");
}
