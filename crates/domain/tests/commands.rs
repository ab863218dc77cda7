//! The command detector over recordings of real terminals, of which the truth is known.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::{fs, path::Path};

use proptest::prelude::*;
use serde_json::Value;
use sojourn_domain::{
    cast::{EventData, Reader},
    commands::{DetectedCommand, Detector, Kind},
    time::Elapsed,
};

fn detect(cast: &[u8], input: bool) -> Vec<DetectedCommand> {
    let mut reader = Reader::new(cast).unwrap();
    let (cols, rows) = (reader.header().cols, reader.header().rows);
    let mut detector = if input { Detector::new(cols, rows) } else { Detector::without_input(cols, rows) };
    let mut last = Elapsed::ZERO;
    for event in reader.by_ref() {
        let event = event.unwrap();
        last = event.elapsed;
        match event.data {
            EventData::Output(text) => detector.output(last, text.as_bytes()),
            EventData::Input(text) => detector.input(last, text.as_bytes()),
            EventData::Resize { cols, rows } => detector.resize(last, cols, rows),
            EventData::Marker(_) | EventData::Exit(_) | EventData::Other { .. } => {}
        }
    }
    detector.finish(last);
    detector.take()
}

/// What is wrong with what was detected; nothing where it is right.
fn judge(found: &[DetectedCommand], truth: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let split_ok = truth["split_ok"] == true;
    let shell: Vec<&str> =
        found.iter().filter(|entry| entry.kind == Kind::Shell).map(|entry| entry.command.as_str()).collect();
    let mut at = 0;
    for expected in truth["commands"].as_array().unwrap() {
        if expected["kind"].is_string() {
            continue;
        }
        let mut right: Vec<&str> = vec![expected["text"].as_str().unwrap()];
        right.extend(expected["expanded"].as_str());
        right.extend(expected["alt"].as_array().into_iter().flatten().filter_map(Value::as_str));
        let Some(got) = shell.get(at) else {
            wrong.push(format!("missing {:?}", right[0]));
            continue;
        };
        at += 1;
        if right.contains(got) {
            continue;
        }
        if split_ok && right[0].contains('\n') {
            let count = right[0].split('\n').count();
            if shell.get(at - 1..at - 1 + count).is_some_and(|lines| lines.join("\n") == right[0]) {
                at += count - 1;
                continue;
            }
        }
        wrong.push(format!("expected {:?}, found {got:?}", right[0]));
        // What follows may be right again.
        if let Some(offset) = shell[at - 1..].iter().position(|line| right.contains(line)) {
            for extra in &shell[at..at - 1 + offset] {
                wrong.push(format!("invented {extra:?}"));
            }
            at += offset;
        }
    }
    for extra in shell.get(at..).unwrap_or_default() {
        wrong.push(format!("invented {extra:?}"));
    }
    for secret in truth["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if found.iter().any(|entry| entry.command.contains(secret) || entry.output_preview.contains(secret)) {
            wrong.push(format!("shows the secret {secret:?}"));
        }
    }
    let passwords = |entry: &&Value| entry["kind"] == "password";
    let expected = truth["commands"].as_array().unwrap().iter().filter(passwords).count();
    let hidden = found.iter().filter(|entry| entry.kind == Kind::Password).count();
    if expected != hidden {
        wrong.push(format!("{expected} secrets were asked for, {hidden} noticed"));
    }
    wrong
}

/// Runs every recording of a folder; returns how many there are, and the names of those that are wrong.
fn run(folder: &Path, input: bool) -> (usize, Vec<String>) {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".cast").map(str::to_owned))
        .collect();
    names.sort();
    let only = std::env::var("CASE").ok();
    let mut missed = Vec::new();
    for name in &names {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let cast = fs::read(folder.join(format!("{name}.cast"))).unwrap();
        let truth = fs::read(folder.join(format!("{name}.expected.json"))).unwrap();
        let found = detect(&cast, input);
        let wrong = judge(&found, &serde_json::from_slice(&truth).unwrap());
        println!("{name:<40} {}", if wrong.is_empty() { "right" } else { "WRONG" });
        for line in &wrong {
            println!("    {line}");
        }
        if only.is_some() {
            for entry in &found {
                println!("  {entry:?}");
            }
        }
        if !wrong.is_empty() {
            missed.push(name.clone());
        }
    }
    (names.len(), missed)
}

#[test]
fn finds_the_commands_of_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal-corpus");
    let (count, missed) = run(&folder, true);
    println!("{} of {count}; missed: {missed:?}", count - missed.len());
    assert_eq!(missed, [""; 0]);
}

/// What the detector is known to miss, with the reason in the documentation of the module.
const KNOWN_MISSES: &[&str] = &["bash_bang", "bash_tmux_split", "zsh_slow_start"];

#[test]
fn finds_the_commands_of_more_recordings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal-recordings");
    let (count, missed) = run(&folder, true);
    println!("{} of {count}; missed: {missed:?}", count - missed.len());
    assert_eq!(missed, KNOWN_MISSES);
}

#[test]
fn finds_most_of_them_without_the_input() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal-corpus");
    let (count, missed) = run(&folder, false);
    println!("{} of {count} without input; missed: {missed:?}", count - missed.len());
    assert!(missed.len() <= 12, "{missed:?}");
}

/// What terminals and people send.
const PIECES: &[&str] = &[
    "box$ ",
    "echo hi",
    "\r\n",
    "\r",
    "\n",
    "\u{3}",
    "\u{4}",
    "\t",
    "\u{7f}",
    "\u{15}",
    "\u{17}",
    "\u{12}",
    "\u{f}",
    "\u{18}\u{5}",
    "\u{1b}[A",
    "\u{1b}[D",
    "\u{1b}[200~",
    "\u{1b}[201~",
    "\u{1b}",
    "\u{1b}[?2004h",
    "\u{1b}[?2004l",
    "\u{1b}[?1049h",
    "\u{1b}[?1049l",
    "\u{1b}[H\u{1b}[2J",
    "\u{1b}[J",
    "\u{1b}[2;3r",
    "\u{1b}[S",
    "\u{1b}[3;1H",
    "\u{1b}[1B",
    "\u{1b}[1A",
    "\u{1b}c",
    "\u{1b}]133;A\u{7}",
    "\u{1b}]133;B\u{7}",
    "\u{1b}]133;C\u{7}",
    "\u{1b}]133;D;1\u{7}",
    "日本",
    "é",
    "> ",
    "vim x",
    "tmux",
    "cat <<E",
    "Password: ",
    "PS1='> '",
    "\u{2}",
    "\u{e}",
    "                                  ",
];

proptest! {
    #[test]
    fn survives_whatever_is_typed_and_shown(
        events in prop::collection::vec(
            (0u8..8, prop::collection::vec(prop::sample::select(PIECES), 0..6), prop::collection::vec(any::<u8>(), 0..4)),
            0..60,
        )
    ) {
        let mut detector = Detector::new(24, 5);
        let mut blind = Detector::without_input(24, 5);
        let mut found = Vec::new();
        for (at, (kind, pieces, noise)) in events.iter().enumerate() {
            let now = Elapsed::from_millis(at as i64 * 60);
            let mut bytes = pieces.concat().into_bytes();
            if *kind == 1 {
                bytes.extend(noise);
            }
            match kind {
                0..=2 => {
                    detector.output(now, &bytes);
                    blind.output(now, &bytes);
                }
                3..=5 => detector.input(now, &bytes),
                6 => detector.resize(now, 1 + bytes.len() as u16 % 40, 1 + bytes.len() as u16 % 9),
                _ => detector.hibernate(),
            }
            found.extend(detector.take());
        }
        detector.finish(Elapsed::from_secs(100));
        blind.finish(Elapsed::from_secs(100));
        found.extend(detector.take());
        for entry in found {
            prop_assert!(!entry.command.trim().is_empty());
            prop_assert!(entry.output_preview.len() <= 4096);
        }
    }
}

/// Recordings elsewhere: `SOJOURN_CORPUS=FOLDER cargo test -p sojourn-domain --test commands elsewhere`.
#[test]
fn judges_recordings_elsewhere() {
    let Some(folder) = std::env::var_os("SOJOURN_CORPUS") else { return };
    let (count, missed) = run(Path::new(&folder), true);
    println!("{} of {count}; missed: {missed:?}", count - missed.len());
}
