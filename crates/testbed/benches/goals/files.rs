//! What files through the browser's API cost, beside the protocol's own client in the same run.
//!
//! Both in turns, the fastest of each counts. `curl` stands for the browser: it adds the least of its own.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sojourn_testbed::{
    bed::Bed as Gateway,
    run::{self, Running},
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

fn url(bed: &Gateway, what: &str) -> String {
    format!("http://{}/files/{}/{what}", bed.server().address, bed.connection)
}

fn curl(bed: &Gateway) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "-H", "Expect:", "-H", "Sojourn-Tab: bench"]);
    curl.arg("-H").arg(format!("Authorization: Bearer {}", bed.alice_token));
    curl
}

/// Goals of the browser's files against an SFTP target.
pub(crate) fn files(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let direct = tuned(bed.target.way());
    let home = bed.target.account().home.clone();
    let bytes = scaled(1 << 30);
    let random = bed.target.account().write("random", "");
    fill(&random, bytes);
    let local = bed.installation.data_dir().join("local");
    fs::copy(&random, &local).expect("a copy");

    let (mut up, mut down) = ([Duration::MAX; 2], [Duration::MAX; 2]);
    for turn in 0..TURNS {
        down[0] = down[0].min(sftp(&direct, &format!("get random {}\n", local.display())));
        let from = url(&bed, &format!("content?path={}", random.display()));
        down[1] = down[1].min(timed(curl(&bed).arg("-o").arg(&local).arg(from)));
        up[0] = up[0].min(sftp(&direct, &format!("put {} up-direct\n", local.display())));
        let to = url(&bed, &format!("content?path={}/up-{turn}", home.display()));
        up[1] = up[1].min(timed(curl(&bed).arg("-T").arg(&local).arg(to)));
        fs::remove_file(home.join(format!("up-{turn}"))).expect("it was uploaded");
    }
    for (what, [theirs, ours]) in [("up", up), ("down", down)] {
        println!("{bytes} bytes {what}: sftp {theirs:.2?}, the browser's API {ours:.2?}");
        figures.push(Figure::at_least(
            format!("{bytes} bytes {what} through the browser's API, speed against sftp"),
            theirs.as_secs_f64() / ours.as_secs_f64(),
            0.8,
            "of sftp",
        ));
    }

    memory(&bed, figures);
    listing(&bed, figures);
    small_files(&bed, figures);
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
    figures.push(Figure::at_most(
        format!("a folder of {entries} entries, first rows"),
        first * 1e3,
        100.0,
        "ms",
    ));
    figures.push(Figure::at_most(format!("a folder of {entries} entries, all rows"), all, 2.0, "s"));
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
