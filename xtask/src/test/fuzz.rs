//! A short run of every fuzz target.
//!
//! The fuzz crate is outside the workspace with a lock file of its own. It is built without a
//! sanitizer: the parsers are safe Rust, whose faults are panics, endless loops and memory that
//! grows, and those show without one.

use std::{
    env, fs,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};

use super::{Outcome, counts::Counts};
use crate::shell::{self, cargo, program, root, say, target};

/// How long each target runs.
const SECONDS: u32 = 10;
/// Memory that a parser of small inputs never needs.
const MEMORY_MB: u32 = 1024;

pub(super) fn fuzz() -> Result<Outcome> {
    let folder = root().join("fuzz");
    if program("c++").is_none() && program("g++").is_none() {
        return Ok(Outcome::Skipped(String::from("no C++ compiler for libFuzzer")));
    }
    install()?;
    let mut targets: Vec<_> = fs::read_dir(folder.join("fuzz_targets"))
        .context("fuzz/fuzz_targets")?
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    shell::run(cargo_fuzz().args(["build", "--sanitizer", "none"]))?;
    let counts = Mutex::new(Counts::default());
    let waiting = Mutex::new(targets.into_iter());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(name) = lock(&waiting).next() else { return };
                    let passed = fuzz_one(&folder, &name).unwrap_or_else(|error| {
                        println!("fuzz: {name}: {error:#}");
                        false
                    });
                    let mut counts = lock(&counts);
                    if passed {
                        counts.passed += 1;
                    } else {
                        counts.failed += 1;
                    }
                }
            });
        }
    });
    let counts = *lock(&counts);
    Ok(Outcome::counted(true, counts))
}

/// Runs one target; all that it said is shown only where it failed.
fn fuzz_one(folder: &Path, name: &str) -> Result<bool> {
    let seeds = folder.join("seeds").join(name);
    let corpus = folder.join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let mut command = cargo_fuzz();
    command.args(["run", "--sanitizer", "none", name]).arg(&corpus);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    command.arg("--").arg(format!("-max_total_time={SECONDS}"));
    command.args([
        &format!("-rss_limit_mb={MEMORY_MB}"),
        "-timeout=5",
        "-verbosity=0",
        "-print_final_stats=1",
    ]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success();
    let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    match runs {
        Some(runs) if passed => println!("fuzz: {name}: {} inputs", runs.trim()),
        _ => println!("fuzz: {name}: FAILED\n{}{said}", String::from_utf8_lossy(&output.stdout)),
    }
    Ok(passed && runs.is_some())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `cargo fuzz …`, from the project's own tools.
fn cargo_fuzz() -> Command {
    let tools = target().join("tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(tools).chain(env::split_paths(&path))).unwrap_or(path);
    let mut command = cargo();
    command.env("PATH", path).arg("fuzz");
    command
}

fn install() -> Result<()> {
    let tools = target().join("tools");
    if tools.join("bin/cargo-fuzz").is_file() {
        return Ok(());
    }
    say("fuzz: cargo install cargo-fuzz");
    shell::run(
        cargo()
            .args(["install", "--quiet", "cargo-fuzz", "--locked", "--version", "^0.13"])
            .arg("--root")
            .arg(tools),
    )
}
