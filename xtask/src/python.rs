//! Virtual environments of Python below the target directory, for programs from PyPI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::shell::{self, say, target};

/// What the test bed's `python` module runs: an S3 server, and other people's SSH clients.
const PACKAGES: &[&str] = &["moto[server]==5.2.5", "paramiko==5.1.0", "asyncssh==2.24.1"];

/// Installs what the test bed runs.
pub(crate) fn install_testbed() -> Result<()> {
    install(&testbed(), PACKAGES)
}

/// Where the test bed looks for it.
fn testbed() -> PathBuf {
    target().join("testbed/venv")
}

/// Makes an environment with exactly these packages, unless it stands already.
pub(crate) fn install(venv: &Path, packages: &[&str]) -> Result<()> {
    let mark = venv.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == packages.join("\n")) {
        return Ok(());
    }
    say(&format!("pip install {}", packages.join(" ")));
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip = venv.join("bin/pip");
    // Most of what comes along is never run: compiled when it is.
    let options = ["install", "--quiet", "--no-compile", "--disable-pip-version-check"];
    shell::run(Command::new(pip).args(options).args(packages))?;
    fs::write(mark, packages.join("\n"))?;
    Ok(())
}
