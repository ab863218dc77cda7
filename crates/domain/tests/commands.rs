//! The command detector over recordings of real terminals, of which the truth is known.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::{fs, path::Path};

use serde_json::Value;
use sojourn_domain::{
    cast::{EventData, Reader},
    commands::{DetectedCommand, Detector, Kind},
};

fn detect(cast: &[u8], input: bool) -> Vec<DetectedCommand> {
    let mut reader = Reader::new(cast).unwrap();
    let (cols, rows) = (reader.header().cols, reader.header().rows);
    let mut detector = if input { Detector::new(cols, rows) } else { Detector::without_input(cols, rows) };
    let mut last = Default::default();
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
    assert!(count - missed.len() >= 33, "{missed:?}");
}

#[test]
fn finds_most_of_them_without_the_input() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal-corpus");
    let (count, missed) = run(&folder, false);
    println!("{} of {count} without input; missed: {missed:?}", count - missed.len());
}

/// Recordings elsewhere: `SOJOURN_CORPUS=FOLDER cargo test -p sojourn-domain --test commands elsewhere`.
#[test]
fn judges_recordings_elsewhere() {
    let Some(folder) = std::env::var_os("SOJOURN_CORPUS") else { return };
    let (count, missed) = run(Path::new(&folder), true);
    println!("{} of {count}; missed: {missed:?}", count - missed.len());
}
