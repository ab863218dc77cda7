//! What files through the browser's API cost, beside the protocol's own client in the same run.
//!
//! Both in turns, the fastest of each counts. `curl` stands for the browser: it adds the least of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_domain::{
    files::{
        FileOutcome,
        tap::{Ending, Tap},
    },
    time::Timestamp,
};
use sojourn_testbed::{
    accounts::Account,
    bed::{Bed as Gateway, text},
    ftpd::{Ftpd, Kind},
    run::{self, Running},
    samba::{Protection, Samba},
    wait,
};

use crate::{
    Bed, Figure,
    access::{LONG, TURNS, fill, scaled, sftp, timed, tuned},
    memory_mb, reset_peak,
};

/// Transfers at once, for memory.
const AT_ONCE: usize = 4;
/// Requests at once, as the page's queue has them.
const PARALLEL: &str = "6";

fn url_of(bed: &Gateway, connection: &str, what: &str) -> String {
    format!("http://{}/files/{connection}/{what}", bed.server().address)
}

fn url(bed: &Gateway, what: &str) -> String {
    url_of(bed, &bed.connection, what)
}

fn curl(bed: &Gateway) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "-H", "Expect:", "-H", "Sojourn-Tab: bench"]);
    curl.arg("-H").arg(format!("Authorization: Bearer {}", bed.alice_token));
    curl
}

/// What moves a file between this machine's disk and a name in the target's folder, and says how long it took.
type Move<'a> = Box<dyn Fn(&Path, &str) -> Duration + 'a>;

/// A target's own client, and the same target's connection.
struct Peer<'a> {
    name: &'static str,
    connection: String,
    /// A folder as the target's clients see it, and where it is on this machine's disk.
    folder: String,
    disk: PathBuf,
    /// Their client gets a file of the folder, or puts one there.
    get: Move<'a>,
    put: Move<'a>,
}

/// A gateway, and a large file that is to go up.
fn begin() -> Option<Gateway> {
    let bed = Gateway::start()?;
    let local = bed.installation.data_dir().join("local");
    fs::write(&local, "").expect("a file");
    fill(&local, scaled(1 << 30));
    Some(bed)
}

/// A large file on each kind of target.
pub(crate) fn sftp_moves(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = begin() else { return };
    let direct = tuned(bed.target.way());
    let home = &bed.target.account().home;
    moves(
        &bed,
        &Peer {
            name: "sftp",
            connection: bed.connection.clone(),
            folder: home.display().to_string(),
            disk: home.clone(),
            get: Box::new(|to, name| sftp(&direct, &format!("get {name} {}\n", to.display()))),
            put: Box::new(|from, name| sftp(&direct, &format!("put {} {name}\n", from.display()))),
        },
        figures,
    );
}

pub(crate) fn ftp_moves(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = begin() else { return };
    over_ftp(&bed, figures);
}

pub(crate) fn smb_moves(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = begin() else { return };
    over_smb(&bed, figures);
}

/// Everything else.
pub(crate) fn many(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = begin() else { return };
    let home = &bed.target.account().home;
    fs::copy(bed.installation.data_dir().join("local"), home.join("random")).expect("a copy");
    memory(&bed, figures);
    listing(&bed, figures);
    small_files(&bed, figures);
    audit(&bed, figures);
}

/// One large file each way.
fn moves(bed: &Gateway, peer: &Peer<'_>, figures: &mut Vec<Figure>) {
    let local = bed.installation.data_dir().join("local");
    let bytes = fs::metadata(&local).expect("a file").len();
    let back = bed.installation.data_dir().join("back");
    fs::copy(&local, peer.disk.join("random")).expect("a copy");
    let content = |name: &str| url_of(bed, &peer.connection, &format!("content?path={}/{name}", peer.folder));
    let (mut up, mut down) = ([Duration::MAX; 2], [Duration::MAX; 2]);
    for turn in 0..TURNS {
        down[0] = down[0].min((peer.get)(&back, "random"));
        down[1] = down[1].min(timed(curl(bed).arg("-o").arg(&back).arg(content("random"))));
        up[0] = up[0].min((peer.put)(&local, &format!("theirs-{turn}")));
        up[1] = up[1].min(timed(curl(bed).arg("-T").arg(&local).arg(content(&format!("ours-{turn}")))));
        for whose in ["theirs", "ours"] {
            let arrived = peer.disk.join(format!("{whose}-{turn}"));
            assert_eq!(fs::metadata(&arrived).expect("it was uploaded").len(), bytes);
            fs::remove_file(arrived).expect("it was uploaded");
        }
    }
    for (what, [theirs, ours]) in [("up", up), ("down", down)] {
        println!(
            "{}, {bytes} bytes {what}: their client {theirs:.2?}, the browser's API {ours:.2?}",
            peer.name
        );
        figures.push(Figure::at_least(
            format!("{}: {bytes} bytes {what} through the browser's API", peer.name),
            theirs.as_secs_f64() / ours.as_secs_f64(),
            0.8,
            "of its client",
        ));
    }
    fs::remove_file(back).expect("it was downloaded");
}

/// Makes a connection with a password.
fn connect(bed: &Gateway, name: &str, account: &Account, more: &Value) -> String {
    let mut connection = json!({
        "name": name, "host": "127.0.0.1", "username": account.name, "auth": "password",
        "password": account.password, "grants": [{"kind": "user", "name": "alice"}],
    });
    let fields = connection.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    text(&bed.admin().post("/connections", connection)["id"])
}

fn over_ftp(bed: &Gateway, figures: &mut Vec<Figure>) {
    for (name, kind) in [("ftp", Kind::VsftpdPlain), ("ftps", Kind::VsftpdExplicit)] {
        let Some(server) = Ftpd::start(kind) else { return };
        let account = server.account();
        let disk = account.home.join("bench");
        fs::create_dir(&disk).expect("a folder");
        account.own(&disk);
        let tls = if kind == Kind::VsftpdPlain { "none" } else { "explicit" };
        let pinned = (tls != "none").then(|| server.fingerprint());
        let more =
            json!({"protocol": "ftp", "port": server.port(), "options": {"tls": tls}, "hostKey": pinned});
        let theirs = |name: &str| {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail"]);
            if kind == Kind::VsftpdExplicit {
                curl.args(["--ssl-reqd", "--insecure"]);
            }
            curl.arg("--user").arg(format!("{}:{}", account.name, account.password));
            let url = format!("ftp://127.0.0.1:{}/{}/{name}", server.port(), disk.display());
            (curl, url)
        };
        let peer = Peer {
            name,
            connection: connect(bed, name, account, &more),
            folder: disk.display().to_string(),
            disk: disk.clone(),
            get: Box::new(|to, name| {
                let (mut curl, url) = theirs(name);
                timed(curl.arg("-o").arg(to).arg(url))
            }),
            put: Box::new(|from, name| {
                let (mut curl, url) = theirs(name);
                timed(curl.arg("-T").arg(from).arg(url))
            }),
        };
        moves(bed, &peer, figures);
    }
}

fn over_smb(bed: &Gateway, figures: &mut Vec<Figure>) {
    for (name, protection) in [("smb", Protection::Plain), ("smb, encrypted", Protection::Encrypted)] {
        let Some(server) = Samba::start(protection) else { return };
        let more = json!({"protocol": "smb", "port": server.port(), "options": {"share": "files"}});
        let theirs = |command: String| timed(server.client("files").arg("-c").arg(command));
        let peer = Peer {
            name,
            connection: connect(bed, &name.replace(", ", "-"), server.account(), &more),
            folder: String::new(),
            disk: server.share("files"),
            get: Box::new(|to, name| theirs(format!("get {name} {}", to.display()))),
            put: Box::new(|from, name| theirs(format!("put {} {name}", from.display()))),
        };
        moves(bed, &peer, figures);
    }
}

/// Two up and two down at once.
fn memory(bed: &Gateway, figures: &mut Vec<Figure>) {
    let home = bed.target.account().home.clone();
    let local = bed.installation.data_dir().join("local");
    timed(curl(bed).arg(url(bed, "list")));
    reset_peak(bed.server());
    let before = memory_mb(bed.server(), "VmRSS");
    let mut transfers: Vec<Running> = (0..AT_ONCE)
        .map(|index| {
            let mut curl = curl(bed);
            let path =
                home.join(if index % 2 == 0 { format!("at-once-{index}") } else { "random".to_owned() });
            let content = url(bed, &format!("content?path={}", path.display()));
            match index % 2 {
                0 => curl.arg("-T").arg(&local).arg(content),
                _ => curl.args(["-o", "/dev/null"]).arg(content),
            };
            Running::start(curl.stdout(Stdio::null()))
        })
        .collect();
    wait::until("all transfers to be over", LONG, || {
        transfers.iter_mut().all(|it| matches!(it.0.try_wait(), Ok(Some(_)))).then_some(())
    });
    let growth = memory_mb(bed.server(), "VmHWM") - before;
    figures.push(Figure::at_most("four transfers at once, growth of memory", growth, 48.0, "MB"));
}

fn listing(bed: &Gateway, figures: &mut Vec<Figure>) {
    let entries = scaled(100_000);
    let folder = bed.target.account().home.join("many");
    fs::create_dir(&folder).expect("a folder");
    for index in 0..entries {
        fs::File::create(folder.join(format!("file-{index:06}.txt"))).expect("a file");
    }
    let from = url(bed, &format!("list?path={}", folder.display()));
    let (mut first, mut all) = (f64::MAX, f64::MAX);
    for _ in 0..TURNS {
        let mut curl = curl(bed);
        let curl = curl.args(["-o", "/dev/null", "-w", "%{time_starttransfer} %{time_total}"]).arg(&from);
        let output = curl.output().expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut times = text.split_whitespace().map(|word| word.parse::<f64>().expect("a time"));
        first = first.min(times.next().expect("a time"));
        all = all.min(times.next().expect("a time"));
    }
    println!("a folder of {entries} entries: first byte {:.0} ms, all {:.0} ms", first * 1e3, all * 1e3);
    figures.push(Figure::at_most(format!("a folder of {entries} entries, all of it"), all, 2.0, "s"));

    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    if !web.join("node_modules").is_dir() {
        println!("NOT MEASURED: first rows in the browser; the web UI's packages are not installed");
        return;
    }
    let mut node = Command::new("node");
    node.current_dir(&web).arg("e2e/first-rows.mjs").arg(format!("http://{}", bed.server().address));
    node.args([&bed.alice_token, &bed.connection]).arg(&folder).arg(entries.to_string());
    let shown = run::output(node, LONG).ok();
    let rounds: Vec<Value> =
        shown.out().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (key, goal) in [("first", 100.0), ("all", 2000.0)] {
        let mut times: Vec<f64> = rounds.iter().map(|round| round[key].as_f64().expect("a time")).collect();
        times.sort_by(f64::total_cmp);
        println!("a folder of {entries} entries in Chromium, {key} rows: {times:.0?} ms");
        let what = format!("a folder of {entries} entries in Chromium, {key} rows (median)");
        figures.push(Figure::at_most(what, times[times.len() / 2], goal, "ms"));
    }
}

fn small_files(bed: &Gateway, figures: &mut Vec<Figure>) {
    let count = scaled(5000);
    let folder = bed.installation.data_dir().join("small");
    fs::create_dir(&folder).expect("a folder");
    let mut config = String::new();
    let home = bed.target.account().home.join("small-api");
    fs::create_dir(&home).expect("a folder");
    let owner = fs::metadata(&bed.target.account().home).expect("a home");
    use std::os::unix::fs::{MetadataExt as _, chown};
    chown(&home, Some(owner.uid()), Some(owner.gid())).expect("a new owner");
    for index in 0..count {
        let name = format!("small-{index:05}");
        fs::write(folder.join(&name), [7; 2000]).expect("a file");
        let to = url(bed, &format!("content?path={}/{name}&overwrite=1", home.display()));
        config.push_str(&format!("upload-file = \"{}\"\nurl = \"{to}\"\n", folder.join(&name).display()));
    }
    let list = bed.installation.data_dir().join("small.curl");
    fs::write(&list, config).expect("a file");
    let direct = tuned(bed.target.way());
    let (mut theirs, mut ours) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        theirs = theirs
            .min(sftp(&direct, &format!("-mkdir small-sftp\nput {}/* small-sftp/\n", folder.display())));
        let started = Instant::now();
        let mut curl = curl(bed);
        curl.args(["--parallel", "--parallel-max", PARALLEL, "-o", "/dev/null", "-K"]).arg(&list);
        run::output(curl, LONG).ok();
        ours = ours.min(started.elapsed());
    }
    assert_eq!(fs::read_dir(&home).expect("a folder").count() as u64, count, "all of them arrived");
    println!("{count} small files: sftp {theirs:.2?}, the browser's API {ours:.2?}");
    figures.push(Figure::at_least(
        format!("{count} small files up, speed against sftp"),
        theirs.as_secs_f64() / ours.as_secs_f64(),
        0.7,
        "of sftp",
    ));
}

/// What the audit of a download takes of all that is computed for it, by client, Sojourn and target together.
///
/// The audit is the tap that reads along and hashes; it is given the same bytes once more, by itself.
fn audit(bed: &Gateway, figures: &mut Vec<Figure>) {
    let file = fs::read(bed.target.account().home.join("random")).expect("a file");
    let way = tuned(bed.way());
    let (mut whole, mut alone) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        let before = busy();
        sftp(&way, "get random /dev/null\n");
        whole = whole.min(busy() - before);
        let started = Instant::now();
        tapped(&file);
        alone = alone.min(started.elapsed());
    }
    println!("{} bytes got: {whole:.2?} of CPU for all, {alone:.2?} for the audit", file.len());
    let part = alone.as_secs_f64() / whole.as_secs_f64() * 100.0;
    figures.push(Figure::at_most(
        format!("audit of a download of {} bytes", file.len()),
        part,
        10.0,
        "% of its CPU",
    ));
}

/// How long this machine's CPUs have worked since it started.
fn busy() -> Duration {
    /// The kernel's unit of these times, the same on every Linux that Rust runs on.
    const TICKS_A_SECOND: u32 = 100;
    let stat = fs::read_to_string("/proc/stat").expect("the kernel's account");
    let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u32> = words.map(|word| word.parse().expect("a number of ticks")).collect();
    // user, nice and system, irq and softirq; not idle and iowait.
    let worked: u32 = [0, 1, 2, 5, 6].iter().map(|index| ticks[*index]).sum();
    Duration::from_secs(1) * worked / TICKS_A_SECOND
}

/// A file fetched by SFTP as OpenSSH's client does it, past the tap.
fn tapped(file: &[u8]) {
    /// OpenSSH's size of a request.
    const PIECE: usize = 32 * 1024;
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let packet = |kind: u8, rest: &[&[u8]]| string(&[&[kind], rest.concat().as_slice()].concat());
    let mut tap = Tap::of_subsystem("sftp").expect("a tap");
    let (now, mut facts) = (Timestamp::from_secs(1), Vec::new());
    let id = |number: usize| (number as u32).to_be_bytes();
    let handle = string(b"h");
    tap.client(now, &packet(1, &[&3_u32.to_be_bytes()]), &mut facts);
    tap.server(now, &packet(2, &[&3_u32.to_be_bytes()]), &mut facts);
    tap.client(now, &packet(3, &[&id(0), &string(b"random"), &[0, 0, 0, 1], &[0; 4]]), &mut facts);
    tap.server(now, &packet(102, &[&id(0), &handle]), &mut facts);
    let mut number = 0;
    for piece in file.chunks(PIECE) {
        number += 1;
        let offset = ((number - 1) * PIECE) as u64;
        let length = (PIECE as u32).to_be_bytes();
        tap.client(now, &packet(5, &[&id(number), &handle, &offset.to_be_bytes(), &length]), &mut facts);
        let head = packet(103, &[&id(number), &(piece.len() as u32).to_be_bytes()]);
        // The length of the whole packet, which comes before the piece.
        let size = (head.len() - 4 + piece.len()) as u32;
        tap.server(now, &[&size.to_be_bytes(), &head[4..]].concat(), &mut facts);
        tap.server(now, piece, &mut facts);
    }
    let end = (file.len() as u64).to_be_bytes();
    tap.client(now, &packet(5, &[&id(number + 1), &handle, &end, &[0, 0, 128, 0]]), &mut facts);
    tap.server(now, &packet(101, &[&id(number + 1), &[0, 0, 0, 1], &[0; 8]]), &mut facts);
    tap.client(now, &packet(4, &[&id(number + 2), &handle]), &mut facts);
    tap.server(now, &packet(101, &[&id(number + 2), &[0; 4], &[0; 8]]), &mut facts);
    tap.finish(now, Ending::Exit(0), &mut facts);
    let fact = facts.first().expect("an event");
    assert_eq!((fact.outcome, fact.bytes), (FileOutcome::Ok, Some(file.len() as u64)), "{facts:?}");
    assert!(fact.sha256.is_some(), "it was hashed whole");
}
