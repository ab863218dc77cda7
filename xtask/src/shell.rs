//! Programs, files and places.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The server's binary, as `cargo build` leaves it.
pub(crate) fn sojourn(release: bool) -> PathBuf {
    target().join(if release { "release" } else { "debug" }).join("sojourn")
}

/// A program of a debug build.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// A command of this toolchain's cargo, in the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    if in_ci() {
        // Nothing is built twice there: what the next build could use is time and disk for nothing.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// `CI` is set to something that means yes.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The file of a program, on the path or in the places that an ordinary user's path leaves out.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

pub(crate) fn is_root() -> bool {
    status_field("Uid:").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// A line of the kernel's word on this process (`/proc/self/status`).
pub(crate) fn status_field(key: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(key)).map(|rest| rest.trim().to_owned())
}

/// A step that a person waits for.
pub(crate) fn say(what: &str) {
    println!("==> {what}");
}

/// Runs a command with its output shown; an unsuccessful end is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| shown(command))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| shown(command))?;
    if !output.status.success() {
        bail!("{} ended with {}", shown(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command that prints nothing for so long hangs.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Runs a command, shows its output line by line and keeps it. Returns whether it succeeded, and
/// all lines of both streams without colours. What it runs is killed when it hangs.
pub(crate) fn tee(command: &mut Command) -> Result<(bool, Vec<String>)> {
    tee_for(command, QUIET)
}

fn tee_for(command: &mut Command, quiet: Duration) -> Result<(bool, Vec<String>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| shown(command))?;
    let (sender, receiver) = mpsc::sync_channel(1024);
    let streams: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut lines = Vec::new();
    let mut hung = false;
    loop {
        match receiver.recv_timeout(quiet) {
            Ok(line) => {
                println!("{line}");
                lines.push(without_colours(&line));
            }
            Err(RecvTimeoutError::Timeout) => {
                hung = true;
                println!("error: nothing was printed for {} s, and what runs is killed", quiet.as_secs());
                kill_below(child.id());
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // A broken pipe shows at the next line.
    let _ = std::io::stdout().flush();
    Ok((child.wait()?.success() && !hung, lines))
}

/// Kills what a process has started, and what that has started; the process itself lives to tell.
fn kill_below(ancestor: u32) {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        // `PID (NAME) STATE PARENT …`; a name may have spaces and brackets.
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        if let Some(parent) = rest.split_whitespace().nth(1).and_then(|parent| parent.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut below = vec![ancestor];
    let mut at = 0;
    while let Some(&parent) = below.get(at) {
        below.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    for pid in &below[1..] {
        // One that has ended meanwhile needs no signal.
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    }
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// `text` without terminal escapes of the form `ESC [ … letter`.
fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            for char in chars.by_ref() {
                if char.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_text_stays() {
        assert_eq!(without_colours("\u{1b}[32m 12 passed\u{1b}[39m (13)"), " 12 passed (13)");
    }

    #[test]
    fn both_streams_are_kept_and_failure_is_told() {
        let (ok, mut lines) = tee(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        lines.sort();
        assert!(!ok);
        assert_eq!(lines, ["err", "out"]);
    }

    #[test]
    fn what_hangs_is_killed_and_the_rest_goes_on() {
        let script = "sh -c 'sh -c \"exec sleep 1000\" & wait'; echo after";
        let (ok, lines) =
            tee_for(Command::new("sh").args(["-c", script]), Duration::from_millis(300)).unwrap();
        assert!(!ok);
        assert!(lines.iter().any(|line| line == "after"), "{lines:?}");
    }
}
