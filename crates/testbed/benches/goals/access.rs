//! What terminal sessions through Sojourn cost, beside the same thing done directly.
//!
//! Transfers are measured in turns, direct and through, and the fastest of each counts: what else
//! the machine does is then in neither. `SOJOURN_BENCH_SCALE` (a fraction, 1 by default) makes
//! amounts smaller, to see whether the measurement works; goals hold at 1.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed as Gateway, text},
    process::Installation,
    python,
    run::{self, Running},
    ssh_client::Way,
    wait,
};

use crate::{Bed, Figure, Http, cpu, memory_mb, per_call, reset_peak};

pub(crate) const LONG: Duration = Duration::from_secs(900);
/// Turns of each transfer.
pub(crate) const TURNS: u32 = 5;
/// Turns of those that are held against OpenSSH alone: they are short, and what else a machine does weighs the more.
const SHORT_TURNS: u32 = 9;
/// Turns of keystrokes, and how many of them count.
const KEY_TURNS: u32 = 9;
const QUIET_TURNS: usize = 5;
/// One in every so many of the seeded sessions is the one user's.
const SEED: &str = include_str!("seed_sessions.py");
const TERMINALS: &str = include_str!("terminals.py");

pub(crate) fn scaled(amount: u64) -> u64 {
    let scale = env::var("SOJOURN_BENCH_SCALE").ok().and_then(|text| text.parse::<f64>().ok());
    ((amount as f64) * scale.unwrap_or(1.0)).max(1.0) as u64
}

/// With the cipher that costs OpenSSH the least, so that Sojourn's part weighs the most.
pub(crate) fn tuned(way: Way) -> Way {
    way.option("Ciphers=aes256-gcm@openssh.com").option("Compression=no")
}

pub(crate) fn transfers(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let bytes = scaled(500_000_000);
    let random = bed.target.account().write("random", "");
    fill(&random, bytes);
    let (direct, through) = (bed.target.way(), bed.way());
    // As OpenSSH moves them by itself: directly with ChaCha20-Poly1305, its own first choice, and through Sojourn with the
    // cheaper AES-GCM that Sojourn's front takes from the client's list.
    figures.extend(moves("", bytes, &random, [&direct, &through]));
    let (direct, through) = (tuned(direct), tuned(through));
    println!("for comparison, both with what costs OpenSSH the least:");
    moves(" with AES-256-GCM", bytes, &random, [&direct, &through]);

    let shown = scaled(50_000_000);
    lines(&bed, "shown", shown);
    let show = |way: &Way| {
        let mut ssh = way.ssh_with(&["-tt"]);
        timed(ssh.arg("cat shown"))
    };
    let times = turns([&direct, &through], show);
    figures.push(Figure::at_most(
        format!("a recorded terminal showing {shown} bytes, times direct"),
        times[1].as_secs_f64() / times[0].as_secs_f64(),
        1.3,
        "times",
    ));
}

/// One file, in the ways that people move it.
fn moves(ciphers: &str, bytes: u64, file: &Path, ways: [&Way; 2]) -> [Figure; 3] {
    let cat = |way: &Way| {
        let mut ssh = way.ssh();
        timed(ssh.arg("cat random"))
    };
    let get = |way: &Way| sftp(way, "get random /dev/null\n");
    let put = |way: &Way| sftp(way, &format!("put {} /dev/null\n", file.display()));
    [
        ratio(&format!("cat of {bytes} bytes{ciphers}"), 0.9, ways, cat),
        ratio(&format!("sftp get of {bytes} bytes{ciphers}"), 0.85, ways, get),
        ratio(&format!("sftp put of {bytes} bytes{ciphers}"), 0.8, ways, put),
    ]
}

/// The fastest of some turns, for each way.
fn turns(ways: [&Way; 2], measure: impl Fn(&Way) -> Duration) -> [Duration; 2] {
    let mut best = [Duration::MAX; 2];
    for _ in 0..SHORT_TURNS {
        for (best, way) in best.iter_mut().zip(ways) {
            *best = (*best).min(measure(way));
        }
    }
    best
}

/// How fast it is through Sojourn, as a part of how fast it is directly.
fn ratio(what: &str, goal: f64, ways: [&Way; 2], measure: impl Fn(&Way) -> Duration) -> Figure {
    let [direct, through] = turns(ways, measure);
    println!("{what}: direct {direct:.2?}, through {through:.2?}");
    let what = format!("{what}, speed against direct");
    Figure::at_least(what, direct.as_secs_f64() / through.as_secs_f64(), goal, "of direct")
}

pub(crate) fn timed(command: &mut Command) -> Duration {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("a program that runs");
    assert!(status.success(), "{command:?}: {status}");
    started.elapsed()
}

pub(crate) fn sftp(way: &Way, batch: &str) -> Duration {
    run::with_input(way.sftp(), batch.as_bytes(), LONG).ok().took
}

pub(crate) fn fill(file: &Path, bytes: u64) {
    let mut source = fs::File::open("/dev/urandom").expect("randomness").take(bytes);
    let mut sink = fs::OpenOptions::new().append(true).open(file).expect("a file");
    std::io::copy(&mut source, &mut sink).expect("random bytes");
}

/// A text of about so many bytes, in lines of 80 with some colour, in the target's home.
fn lines(bed: &Gateway, name: &str, bytes: u64) {
    let line = |index: u64| format!("\u{1b}[3{}m{index:10}\u{1b}[0m {:>60}\n", index % 8, "shown to nobody");
    let mut text = String::new();
    let mut index = 0;
    while (text.len() as u64) < bytes {
        text.push_str(&line(index));
        index += 1;
    }
    bed.target.account().write(name, text);
}

/// Keystrokes while others work.
pub(crate) fn keystrokes(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let busy: Vec<_> = (0..scaled(50))
        .map(|index| {
            let mut ssh = bed.way().ssh_with(&["-tt"]);
            // Bash waits in `read` without starting anything.
            ssh.arg(format!("while :; do echo busy {index} $SECONDS; read -rt 0.1; done"));
            Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::null()))
        })
        .collect();
    let _awake = awake();
    let (mut direct, mut through) = (Keyboard::open(&bed.target.way()), Keyboard::open(&bed.way()));
    let keys = scaled(2000).min(3000);
    let mut turns: Vec<_> = (0..KEY_TURNS)
        .map(|_| {
            let (mut times, before) = ([Vec::new(), Vec::new()], stolen());
            for _ in 0..keys {
                times[0].push(direct.echo());
                times[1].push(through.echo());
                wait::during(Duration::from_millis(5), || {});
            }
            let [direct, through] = times.map(|mut times| {
                times.sort();
                let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
                (at(0.5), at(0.99))
            });
            let stolen = stolen() - before;
            println!(
                "echo of a key: direct {direct:.3?} ms, through {through:.3?} ms (p50, p99), {stolen} ticks stolen"
            );
            (stolen, through.0 - direct.0, through.1 - direct.1)
        })
        .collect();
    drop(busy);
    // The turns in which this machine's host took least say most, and of those the one in the middle. (Those in which the
    // direct side was fastest are no measure: where that was chance, the difference is too large.)
    turns.sort_by_key(|turn| turn.0);
    turns.truncate(QUIET_TURNS);
    let middle = |of: fn(&(u64, f64, f64)) -> f64| {
        let mut added: Vec<_> = turns.iter().map(of).collect();
        added.sort_by(f64::total_cmp);
        added[added.len() / 2]
    };
    let name = |what| format!("echo of a key, added at {what}, median of {QUIET_TURNS} quiet turns");
    figures.push(Figure::at_most(name("the median"), middle(|turn| turn.1), 0.3, "ms"));
    figures.push(Figure::at_most(name("p99"), middle(|turn| turn.2), 1.0, "ms"));
}

/// Hundredths of a second that this machine's host has taken from its processors.
fn stolen() -> u64 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc");
    let all = stat.lines().next().and_then(|line| line.split_whitespace().nth(8)).expect("its times");
    all.parse().expect("a number")
}

/// Keeps the processors from sleeping while it is held, as the tools that measure latency do (Linux, PM QoS), so that
/// waking those of a virtual machine weighs on neither side. It made the turns more alike, and the figures no smaller.
fn awake() -> Option<fs::File> {
    let held = fs::File::options().write(true).open("/dev/cpu_dma_latency").and_then(|mut file| {
        file.write_all(&0_i32.to_ne_bytes())?;
        Ok(file)
    });
    held.inspect_err(|error| println!("processors may sleep: /dev/cpu_dma_latency: {error}")).ok()
}

/// A terminal that echoes.
struct Keyboard {
    _ssh: Running,
    keys: ChildStdin,
    shown: ChildStdout,
}

impl Keyboard {
    fn open(way: &Way) -> Self {
        let mut ssh = way.ssh_with(&["-tt"]);
        // What nobody reads is echoed only until the terminal holds 4095 bytes of it.
        ssh.arg("stty raw echo; echo ready; exec cat >/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut ssh = Running::start(&mut ssh);
        let keys = ssh.0.stdin.take().expect("a pipe");
        let shown = ssh.0.stdout.take().expect("a pipe");
        let mut keyboard = Self { _ssh: ssh, keys, shown };
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !seen.ends_with(b"ready\n") {
            keyboard.shown.read_exact(&mut byte).expect("a terminal");
            seen.push(byte[0]);
        }
        keyboard
    }

    fn echo(&mut self) -> Duration {
        let (started, mut byte) = (Instant::now(), [0]);
        self.keys.write_all(b"k").expect("a terminal");
        self.shown.read_exact(&mut byte).expect("an echo");
        assert_eq!(byte, *b"k");
        started.elapsed()
    }
}

/// Memory of terminals that are open and idle.
pub(crate) fn terminals(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let count = scaled(500);
    let open = |count: u64| {
        let mut command = python::script(directory.path(), "terminals.py", TERMINALS)?;
        let way = bed.way();
        command.arg(count.to_string()).arg(way.address().port().to_string()).arg(way.login());
        command.arg(way.key_file().expect("a key")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut said = [0; 6];
        running.0.stdout.take().expect("a pipe").read_exact(&mut said).expect("open terminals");
        assert_eq!(&said, b"ready\n");
        Some(running)
    };
    // What the first one costs, the next do not.
    let Some(first) = open(scaled(10)) else { return };
    drop(first);
    wait::during(Duration::from_secs(5), || {});
    let before = memory_mb(bed.server(), "VmRSS");
    let Some(_open) = open(count) else { return };
    // Long enough for what is put aside in idle sessions.
    wait::during(Duration::from_secs(30), || {});
    let each = (memory_mb(bed.server(), "VmRSS") - before) * 1e6 / 1024.0 / count as f64;
    figures.push(Figure::at_most(format!("each of {count} open terminals, memory"), each, 150.0, "KiB"));
}

/// One large recording: how fast it is sealed, and what a byte of it costs.
pub(crate) fn recordings(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let (piece, bytes) = (scaled(50_000_000), scaled(1 << 30));
    lines(&bed, "shown", piece);
    let mut ssh = bed.way().ssh_with(&["-tt"]);
    let repeat = bytes / piece + 1;
    timed(ssh.arg(format!("for i in $(seq {repeat}); do cat shown; done")));
    let started = Instant::now();
    let spent = cpu(bed.server());
    let session = bed.ended(&text(&bed.session_of("cat shown")["id"]));
    let took = started.elapsed().as_secs_f64().max(0.001);
    let spent = (cpu(bed.server()) - spent).as_secs_f64();
    assert_eq!(session["recording"], "sealed", "{session}");
    let size = session["fileSize"].as_f64().expect("a size");
    println!("sealed {size} bytes {took:.2} s after the end, {spent:.2} s of CPU");
    // What is sealed goes through the whole of it: encrypted, flushed, signed, moved to where it is kept.
    let store = cargo_bench("sojourn-store", "recordings");
    let found = store.lines().find_map(|line| line.strip_prefix("write, flush and seal 1 GiB: "));
    let rate = found.and_then(|rest| rest.strip_suffix(" MB/s")?.parse().ok());
    let rate = rate.unwrap_or_else(|| panic!("no rate of sealing in {store}"));
    figures.push(Figure::at_least("recording and sealing 1 GiB", rate, 200.0, "MB/s"));

    one_byte(&bed, &session, "a large sealed recording", figures);
}

/// What a byte of a recording costs, wherever in it.
pub(crate) fn one_byte(bed: &Gateway, session: &Value, of: &str, figures: &mut Vec<Figure>) {
    let size = session["fileSize"].as_u64().expect("a size");
    let path = format!("/sessions/{}/recording", text(&session["id"]));
    let (url, token) = (format!("http://{}{path}", bed.server().address), &bed.admin_token);
    let agent = ureq::Agent::new_with_defaults();
    let byte = |at: u64| {
        let request = agent.get(&url).header("Authorization", format!("Bearer {token}"));
        let mut answer = request.header("Range", format!("bytes={at}-{at}")).call().expect("a byte");
        assert_eq!(answer.status().as_u16(), 206);
        assert_eq!(answer.body_mut().read_to_vec().expect("a byte").len(), 1);
    };
    byte(0);
    reset_peak(bed.server());
    let before = memory_mb(bed.server(), "VmRSS");
    let mut times: Vec<_> = (0..101)
        .map(|index| {
            let started = Instant::now();
            byte(size / 101 * index);
            started.elapsed()
        })
        .collect();
    times.sort();
    let median = times[50].as_secs_f64() * 1000.0;
    figures.push(Figure::at_most(format!("one byte of {of}"), median, 5.0, "ms"));
    let peak = memory_mb(bed.server(), "VmHWM") - before;
    figures.push(Figure::at_most(format!("one byte of {of}, peak memory"), peak, 8.0, "MB"));
}

/// The list of a million sessions.
pub(crate) fn list(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(mut bed) = Gateway::with(Installation::without_sources(), &json!({})) else { return };
    // One real session, which the others are made after.
    timed(bed.way().ssh().arg("true"));
    bed.ended(&text(&bed.session_of("true")["id"]));
    bed.stop();
    let directory = tempfile::tempdir().expect("a directory");
    let count = scaled(1_000_000);
    let Some(mut seed) = python::script(directory.path(), "seed_sessions.py", SEED) else { return };
    seed.arg(bed.installation.data_dir()).arg(count.to_string());
    run::output(seed, LONG).ok();
    bed.serve_again();
    let http = Http::new(bed.server(), &bed.admin_token);
    let listed: Value = serde_json::from_str(&http.get("/sessions?limit=25")).expect("JSON");
    assert_eq!(listed["total"].as_u64(), Some(count + 1), "all of them are listed");
    let what = format!("/sessions?limit=25 of {count} sessions");
    figures.push(per_call(bed.server(), &what, 1.0, 500, || drop(http.get("/sessions?limit=25"))));
    // Not a goal: the page in the middle, and a user's own.
    let middle = format!("/sessions?limit=25&page={}", count / 50);
    let spent =
        per_call(bed.server(), "the page in the middle", f64::INFINITY, 20, || drop(http.get(&middle)));
    drop(spent);
}

/// What a benchmark of another crate prints; a release build, as everything that is measured.
fn cargo_bench(package: &str, name: &str) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(["bench", "--locked", "-p", package, "--bench", name]).output();
    let output = output.expect("cargo runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    out.into_owned()
}
