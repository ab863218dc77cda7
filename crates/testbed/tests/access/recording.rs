//! A session is recorded whole, and nobody changes its recording unnoticed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed, Cast, SOON, shared, text},
    process::{Installation, binary},
    python,
    run::{self, Running},
    wait,
};

use crate::cases::scratch;

const CLIENT: &str = include_str!("recorded_client.py");

/// Holds a terminal with resizes and split characters, and returns its session once it is over.
fn recorded_session(bed: &Bed) -> Option<Value> {
    let directory = scratch();
    let way = bed.way();
    let mut command = python::script(directory.path(), "recorded_client.py", CLIENT)?;
    command.arg(way.address().port().to_string()).arg(way.login()).arg(way.key_file().unwrap());
    let done = run::output(command, Duration::from_secs(120)).ok();
    assert_eq!(done.out().lines().last(), Some("done"), "{}", done.err());
    let shells = bed.sessions(&format!("connectionId={}", bed.connection));
    let shell = shells.iter().find(|session| session["purpose"] == "shell").expect("a session in the list");
    Some(bed.ended(&text(&shell["id"])))
}

#[test]
fn a_terminal_is_recorded_whole() {
    let Some(bed) = Bed::start() else { return };
    let Some(session) = recorded_session(&bed) else { return };
    let id = text(&session["id"]);
    for (key, value) in [
        ("protocol", json!("ssh")),
        ("username", json!("alice")),
        ("connectionName", json!("target")),
        ("hasRecording", json!(true)),
        ("recording", json!("sealed")),
        ("clientKind", json!("native")),
        ("endReason", json!("closed")),
        ("live", json!(false)),
        ("exitStatus", json!(5)),
    ] {
        assert_eq!(session[key], value, "{key} of {session}");
    }
    assert!(session["fileSize"].as_u64().is_some_and(|size| size > 300), "{session}");

    let cast = bed.cast(&id);
    assert_eq!((&cast.header["width"], &cast.header["height"]), (&json!(101), &json!(41)), "{}", cast.header);
    assert_eq!(cast.all("r"), "77x22", "the one resize");
    let output = cast.output();
    assert!(output.contains("split: é🦀 whole"), "{output:?}");
    assert!(!output.contains('\u{fffd}'), "{output:?}");
    let resized = cast.events.iter().position(|event| event.1 == "r").unwrap();
    let shown = cast.events.iter().position(|event| event.2.contains("22 77")).unwrap();
    assert!(resized < shown, "the resize stands before what it changed");
    assert!(cast.all("i").is_empty(), "input is not recorded unless the policy says so");

    let verified = bed.verify(&id);
    assert_eq!((&verified["status"], &verified["ok"]), (&json!("sealed"), &json!(true)), "{verified}");
    assert_eq!(verified["gaps"], json!([]), "{verified}");
    // The same by hand, beside the running server.
    bed.installation.cli(&["verify", &id]);

    let answer = bed.admin().get(&format!("/sessions/{id}/commands"));
    let commands: Vec<_> =
        answer["commands"].as_array().unwrap().iter().map(|entry| text(&entry["command"])).collect();
    assert!(commands.iter().any(|command| command.contains("stty size")), "{commands:?}");
    let transcript = bed.admin().send("GET", &format!("/sessions/{id}/recording?format=txt"), None);
    assert!(transcript.text.contains("split: é🦀 whole"), "{}", transcript.text);
    assert!(!transcript.text.contains('\u{1b}'), "{:?}", transcript.text);
}

#[test]
fn commands_without_a_terminal_are_told_exactly() {
    let Some(bed) = shared() else { return };
    let mut ssh = bed.way().ssh();
    ssh.arg("echo exactly-this; cat; echo problem >&2; exit 3");
    let done = run::with_input(ssh, &vec![b'x'; 300_000], SOON);
    assert_eq!((done.code, done.stdout.len()), (Some(3), 300_013));
    let session = bed.ended(&text(&bed.session_of("exactly-this")["id"]));
    assert_eq!((&session["purpose"], &session["exitStatus"]), (&json!("exec"), &json!(3)), "{session}");
    assert_eq!(session["bytesIn"], json!(300_000), "{session}");
    assert_eq!(session["bytesOut"], json!(300_013 + 8), "{session}");
    let answer = bed.admin().get(&format!("/sessions/{}/commands", text(&session["id"])));
    let command = &answer["commands"][0];
    assert!(text(&command["command"]).starts_with("echo exactly-this; cat"), "{answer}");
    assert_eq!(
        (&command["source"], &command["confidence"], &command["exitCode"]),
        (&json!("exec"), &json!("exact"), &json!(3)),
        "{answer}"
    );
}

#[test]
fn what_is_durable_of_a_live_session_can_be_read() {
    let Some(bed) = shared() else { return };
    let mut ssh = bed.way().ssh_with(&["-tt"]);
    ssh.arg("echo early-output; exec cat").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut ssh = Running::start(&mut ssh);
    let id = text(&bed.session_of("early-output")["id"]);
    wait::until("the beginning of a live recording", SOON, || {
        let answer = bed.admin().send("GET", &format!("/sessions/{id}/recording"), None);
        (answer.status == 200 && answer.text.contains("early-output")).then_some(())
    });
    let session = bed.admin().get(&format!("/sessions/{id}"));
    assert_eq!((&session["live"], &session["recording"]), (&json!(true), &json!("live")), "{session}");
    drop(ssh.0.stdin.take());
    drop(ssh);
    let session = bed.ended(&id);
    assert_eq!(session["recording"], "sealed", "{session}");
    assert_eq!(bed.verify(&id)["ok"], json!(true));
}

#[test]
fn a_stop_in_order_seals_everything() {
    let Some(mut bed) = Bed::start() else { return };
    let mut sessions: Vec<_> = (0..5)
        .map(|index| {
            let mut ssh = bed.way().ssh_with(&["-tt"]);
            ssh.arg(format!("echo stopped-{index}; exec cat")).stdin(Stdio::piped()).stdout(Stdio::null());
            Running::start(&mut ssh)
        })
        .collect();
    let ids: Vec<_> = (0..5).map(|index| text(&bed.session_of(&format!("stopped-{index}"))["id"])).collect();
    for id in &ids {
        wait::until("output in the recording", SOON, || {
            let answer = bed.admin().send("GET", &format!("/sessions/{id}/recording"), None);
            (answer.status == 200 && answer.text.contains("stopped-")).then_some(())
        });
    }
    bed.stop();
    for session in &mut sessions {
        wait::until("the client to be told", SOON, || session.0.try_wait().unwrap());
    }
    bed.serve_again();
    for id in ids {
        let session = bed.ended(&id);
        assert_eq!(
            (&session["recording"], &session["endReason"]),
            (&json!("sealed"), &json!("server_stopped")),
            "{session}"
        );
        assert_eq!(bed.verify(&id)["ok"], json!(true));
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Runs `sojourn verify` beside the server; the exit code.
fn verify_by_hand(installation: &Installation, what: &str) -> (Option<i32>, String) {
    let done = run::output(installation.command(&["verify", what]), SOON);
    (done.code, done.out() + &done.err())
}

#[test]
fn whatever_is_altered_is_reported() {
    // What is altered here are files.
    let installation = Installation::without_sources().keeping_local_files();
    let Some(bed) = Bed::with(installation, &json!({})) else { return };
    let Some(session) = recorded_session(&bed) else { return };
    let id = text(&session["id"]);
    assert_eq!(verify_by_hand(&bed.installation, &id).0, Some(0));
    // Where the session's recording lies: files that name it, but for the database and the log.
    let parts: Vec<_> = files(bed.installation.data_dir())
        .into_iter()
        .filter(|file| file.to_string_lossy().contains(&id))
        .collect();
    assert!(parts.len() >= 2, "segments and a manifest: {parts:?}");
    let caught = |what: &str| {
        let (code, said) = verify_by_hand(&bed.installation, &id);
        assert_eq!(code, Some(1), "{what} was not noticed: {said}");
        let online = bed.verify(&id);
        assert_eq!(online["ok"], json!(false), "{what} was not noticed online: {online}");
    };
    for file in &parts {
        let whole = fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let steps = 8.min(whole.len());
        for step in 0..steps {
            let at = step * (whole.len() - 1) / steps.max(2).saturating_sub(1).max(1);
            let mut altered = whole.clone();
            altered[at] ^= 0x10;
            fs::write(file, &altered).unwrap();
            caught(&format!("a flipped bit at byte {at} of {name}"));
        }
        fs::write(file, &whole[..whole.len() - 1]).unwrap();
        caught(&format!("a missing last byte of {name}"));
        fs::write(file, [whole.as_slice(), b"x"].concat()).unwrap();
        caught(&format!("a byte more at the end of {name}"));
        fs::write(file, b"").unwrap();
        caught(&format!("{name} emptied"));
        fs::remove_file(file).unwrap();
        caught(&format!("{name} removed"));
        fs::write(file, &whole).unwrap();
        let (code, said) = verify_by_hand(&bed.installation, &id);
        assert_eq!(code, Some(0), "after {name} was put back: {said}");
    }
    // Another session's parts in the place of this one's.
    let Some(other) = recorded_session(&bed) else { return };
    let other_id = text(&other["id"]);
    assert_ne!(other_id, id);
    let mut swapped = 0;
    for file in &parts {
        let theirs = PathBuf::from(file.to_string_lossy().replace(&id, &other_id));
        let Ok(content) = fs::read(&theirs) else { continue };
        let whole = fs::read(file).unwrap();
        fs::write(file, content).unwrap();
        caught(&format!("{} of another session", file.display()));
        fs::write(file, whole).unwrap();
        swapped += 1;
    }
    assert!(swapped >= 2, "only {swapped} parts could be swapped");
}

#[test]
fn an_exported_bundle_verifies_elsewhere() {
    let Some(bed) = Bed::start() else { return };
    let Some(session) = recorded_session(&bed) else { return };
    let id = text(&session["id"]);
    let elsewhere = scratch();
    let bundle = elsewhere.path().join("bundle.tar");
    bed.installation.cli(&["export", &id, "-o", &bundle.display().to_string()]);
    let key = elsewhere.path().join("recording-key.pub");
    fs::copy(bed.installation.data_dir().join("recording-key.pub"), &key).unwrap();
    // Nothing of the installation is here: no database, no master key.
    let verify = |bundle: &Path| {
        let mut command = std::process::Command::new(binary());
        command.arg("verify").arg(bundle).arg("--public-key").arg(&key).current_dir(elsewhere.path());
        command.env_remove("SOJOURN_DATA_DIR").env("HOME", elsewhere.path());
        run::output(command, SOON)
    };
    let done = verify(&bundle).ok();
    assert!((done.out() + &done.err()).contains(&id), "{}", done.out());
    // The recording itself is in it, readable without Sojourn.
    let mut tar = std::process::Command::new("tar");
    tar.arg("-xf").arg(&bundle).arg("-C").arg(elsewhere.path());
    run::output(tar, SOON).ok();
    let cast = files(elsewhere.path()).into_iter().find(|file| file.extension().is_some_and(|e| e == "cast"));
    let cast = Cast::parse(&fs::read_to_string(cast.expect("a .cast in the bundle")).unwrap());
    assert!(cast.output().contains("split: é🦀 whole"));
    let whole = fs::read(&bundle).unwrap();
    for at in [700, whole.len() / 3, whole.len() / 2] {
        // A tar's padding proves nothing: only what is no padding is altered.
        let Some(at) = (at..whole.len()).find(|at| whole[*at] != 0) else { continue };
        let mut altered = whole.clone();
        altered[at] ^= 1;
        let file = elsewhere.path().join("altered.tar");
        fs::write(&file, altered).unwrap();
        assert_ne!(verify(&file).code, Some(0), "a flipped bit at {at} was not noticed");
    }
    // The HTTP answer is the same kind of bundle.
    let answer = bed.admin().send("GET", &format!("/sessions/{id}/recording"), None);
    assert_eq!(answer.status, 200);
}
