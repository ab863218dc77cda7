//! `cargo xtask build` and `cargo xtask run`.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, bail};

use crate::{
    shell::{self, is_root, program, say, sojourn, status_field},
    web,
};

/// The oldest compiler that the workspace accepts; cargo checks it too, but says it later.
const RUST: (u32, u32) = (1, 92);
/// The bit of CAP_NET_RAW in the kernel's capability sets.
const CAP_NET_RAW: u64 = 1 << 13;

/// Builds the web UI and the server with it inside. Returns the server's binary.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    check_rust()?;
    let node = web::check_node()?;
    say(&format!("web UI (Node {node})"));
    web::build()?;
    let profile = if release { "release" } else { "debug" };
    let long = if release { "a quarter of an hour" } else { "a few minutes" };
    say(&format!("server, {profile} (the first time takes {long})"));
    let started = Instant::now();
    let mut command = shell::cargo();
    command.args(["build", "--locked", "-p", "sojourn-server"]);
    if release {
        command.arg("--release");
    }
    shell::run(&mut command)?;
    say(&format!("built in {:.1} s: {}", started.elapsed().as_secs_f64(), sojourn(release).display()));
    Ok(sojourn(release))
}

/// Builds everything and becomes the server.
///
/// A debug build: it is ready minutes earlier, and fast enough for a home or an office.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let (ours, passed) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    if let Some(unknown) = ours.iter().find(|arg| *arg != "--release") {
        bail!("run does not know {unknown:?}; arguments for the server go after --");
    }
    let binary = build(ours.iter().any(|arg| arg == "--release"))?;
    let mut command = Command::new(&binary);
    command.arg("serve");
    if !passed.iter().any(|arg| arg == "--data-dir" || arg.starts_with("--data-dir=")) {
        let directory = default_data_dir()?;
        say(&format!("data: {}", directory.display()));
        command.arg("--data-dir").arg(directory);
    }
    if !may_open_raw_sockets(&binary) {
        say("without the right to open raw sockets: devices come from the kernel's neighbour table.");
        say(&format!("for full scans: sudo setcap cap_net_raw+ep {}", binary.display()));
    }
    say("serving; Ctrl-C stops");
    // Returns only if it could not start.
    Err(command.args(passed).exec().into())
}

/// Where a person's data is kept when they name no place (XDG base directories).
fn default_data_dir() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match (absolute("XDG_DATA_HOME"), absolute("HOME")) {
        (Some(data), _) => Ok(data.join("sojourn")),
        (None, Some(home)) => Ok(home.join(".local/share/sojourn")),
        (None, None) => bail!("neither XDG_DATA_HOME nor HOME is set: name a place with -- --data-dir DIR"),
    }
}

/// This process can, or the binary's own capabilities let it.
fn may_open_raw_sockets(binary: &Path) -> bool {
    let effective = status_field("CapEff:").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    if effective.map_or_else(is_root, |set| set & CAP_NET_RAW != 0) {
        return true;
    }
    let Some(getcap) = program("getcap") else { return false };
    shell::output(Command::new(getcap).arg(binary)).is_ok_and(|text| text.contains("cap_net_raw"))
}

fn check_rust() -> Result<()> {
    let text = shell::output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-V"))?;
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < RUST {
        bail!("Rust {}.{} or newer is needed, this is {version}: rustup update stable", RUST.0, RUST.1);
    }
    Ok(())
}
