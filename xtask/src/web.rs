//! The web UI's build, by npm.

use std::{fs, path::Path, process::Command, time::SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, program, root, say};

/// The oldest Node that the web's tools run on.
const NODE: (u32, u32) = (20, 19);

/// npm in the web's folder. It never downloads a browser: the tests use the system's.
pub(crate) fn npm() -> Command {
    let mut command = Command::new("npm");
    command.current_dir(root().join("web"));
    command.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1").env("npm_config_update_notifier", "false");
    command.env("npm_config_fund", "false").env("npm_config_audit", "false");
    command
}

/// Says what is wrong with this machine's Node, if anything is.
pub(crate) fn check_node() -> Result<String> {
    let wanted = format!("Node {}.{} or newer with npm is needed (https://nodejs.org)", NODE.0, NODE.1);
    if program("npm").is_none() {
        bail!("{wanted}");
    }
    let version = shell::output(Command::new("node").arg("--version")).context(wanted.clone())?;
    let version = version.trim().to_owned();
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < NODE {
        bail!("{wanted}; this is {version}");
    }
    Ok(version)
}

/// Installs the web's packages as its lock file has them, unless they are.
pub(crate) fn install() -> Result<()> {
    let web = root().join("web");
    let installed = modified(&web.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed >= modified(&web.join("package-lock.json")) {
        return Ok(());
    }
    say("web: npm ci");
    shell::run(npm().arg("ci"))
}

/// Builds the web UI into `web/dist`, unless it is newer than everything it is made of.
pub(crate) fn build() -> Result<()> {
    install()?;
    let web = root().join("web");
    let built = modified(&web.join("dist/index.html"));
    if built.is_some() && built >= newest(&web) {
        return Ok(());
    }
    say("web: npm run build");
    shell::run(npm().args(["run", "build"]))
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// When the newest source file below `directory` was changed.
fn newest(directory: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(directory).ok()?;
    entries
        .flatten()
        .filter(|entry| {
            !matches!(entry.file_name().to_str(), Some("node_modules" | "dist" | "e2e" | "test-results"))
        })
        .filter_map(|entry| match entry.file_type().ok()? {
            kind if kind.is_dir() => newest(&entry.path()),
            _ => modified(&entry.path()),
        })
        .max()
}
