//! Our own SFTP server, as people's own clients use it: what arrives on the target, and what is written down of it.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed, SOON, text},
    python, run,
    samba::{Protection, Samba},
    ssh_client::Way,
    wait,
};

use crate::clients::{LIMIT, rclone_moves, same};

const PARAMIKO: &str = include_str!("front_client.py");

/// A connection of files alone to the bed's target, and the way to it.
fn connect(bed: &Bed, name: &str, protocol: &str, policy: &Value) -> Way {
    let account = bed.target.account();
    bed.admin().post(
        "/connections",
        json!({
            "name": name, "protocol": protocol, "host": "127.0.0.1", "port": bed.target.port(),
            "username": account.name, "auth": "key",
            "privateKey": fs::read_to_string(&account.key).expect("a private key"),
            "hostKey": bed.target.fingerprint(),
            "policy": {"files": policy},
            "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    Way::new(bed.server().ssh.unwrap(), &format!("alice+{name}")).key(&account.key)
}

/// The newest file session on a connection, when it has ended.
fn ended(bed: &Bed, connection: &str) -> Value {
    wait::until("the end of the file session", SOON, || {
        let answer = bed.admin().get("/file-sessions?limit=100");
        let sessions = answer["sessions"].as_array().unwrap().clone();
        let newest = sessions.into_iter().find(|session| session["connectionName"] == connection)?;
        newest["endedAt"].is_string().then_some(newest)
    })
}

fn events(bed: &Bed, session: &Value) -> Vec<Value> {
    let answer = bed.admin().get(&format!("/file-sessions/{}/events", text(&session["id"])));
    let events = answer["events"].as_array().unwrap().clone();
    assert_eq!(session["eventCount"], events.len(), "{session}");
    events
}

/// `upload ok NAME`, with paths from the folder on.
fn lines(events: &[Value], folder: &str) -> Vec<String> {
    let short = |value: &Value| text(value).replace(&format!("{folder}/"), "").replace(folder, ".");
    let line = |event: &Value| {
        let mut line =
            format!("{} {} {}", text(&event["action"]), text(&event["outcome"]), short(&event["path"]));
        if event["newPath"].is_string() {
            line.push_str(&format!(" -> {}", short(&event["newPath"])));
        }
        line
    };
    events.iter().map(line).collect()
}

fn sha256(file: &Path) -> String {
    let mut command = Command::new("sha256sum");
    command.arg(file);
    run::output(command, LIMIT).ok().out().split_once(' ').unwrap().0.to_owned()
}

fn random(file: &Path, bytes: usize) {
    let mut state = 0x9e37_79b9_u64 + bytes as u64;
    let content: Vec<u8> = (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).to_le_bytes()[0]
        })
        .collect();
    fs::write(file, content).unwrap();
}

fn sftp(way: &Way, batch: &str) -> run::Done {
    run::with_input(way.sftp(), batch.as_bytes(), LIMIT)
}

#[test]
fn sftp_does_everything_and_each_operation_is_an_event() {
    let Some(bed) = Bed::start() else { return };
    let way = connect(&bed, "nas", "sftp", &json!({}));
    let home = bed.target.account().home.display().to_string();
    let local = tempfile::tempdir().unwrap();
    let here = local.path().display();
    random(&local.path().join("big"), 3_000_001);
    fs::write(local.path().join("none"), "").unwrap();
    let hash = sha256(&local.path().join("big"));
    let batch = format!(
        "put {here}/big big\nput {here}/none none\nget big {here}/back\nmkdir sub\nrename big sub/b\nls sub\n\
         cp sub/b sub/c\nsymlink sub/b l\nchmod 600 sub/c\nln sub/c hard\nrm l\n-rm missing\nrm sub/b\nrm sub/c\n\
         rmdir sub\n-rmdir missing\n"
    );
    sftp(&way, &batch).ok();
    assert_eq!(sha256(&local.path().join("back")), hash);
    assert_eq!(sha256(&Path::new(&home).join("hard")), hash);
    let session = ended(&bed, "nas");
    assert_eq!((&session["endReason"], &session["protocol"]), (&json!("closed"), &json!("sftp")));
    assert_eq!((&session["bytesUp"], &session["bytesDown"]), (&json!(3_000_001), &json!(3_000_001)));
    let events = events(&bed, &session);
    assert_eq!(
        lines(&events, &home),
        [
            "upload ok big",
            "upload ok none",
            "download ok big",
            "mkdir ok sub",
            "rename ok big -> sub/b",
            "browse ok sub",
            "copy ok sub/b -> sub/c",
            "link ok l -> sub/b",
            "chmod ok sub/c",
            "link ok hard -> sub/c",
            "delete ok l",
            "delete failed missing",
            "delete ok sub/b",
            "delete ok sub/c",
            "delete ok sub",
            "delete failed missing",
        ]
    );
    for at in [0, 2] {
        assert_eq!((&events[at]["sha256"], &events[at]["size"]), (&json!(hash), &json!(3_000_001)));
    }
    assert_eq!(events[5]["entries"], 1);
}

#[test]
fn sftp_reaches_shares_as_well() {
    let Some(bed) = Bed::start() else { return };
    let Some(samba) = Samba::start(Protection::Encrypted) else { return };
    let account = samba.account();
    bed.admin().post(
        "/connections",
        json!({
            "name": "share", "protocol": "smb", "host": "127.0.0.1", "port": samba.port(),
            "username": account.name, "auth": "password", "password": account.password,
            "options": {"share": "files"},
            "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    let way = Way::new(bed.server().ssh.unwrap(), "alice+share").key(&bed.target.account().key);
    let share = samba.share("files");
    let local = tempfile::tempdir().unwrap();
    let here = local.path().display();
    random(&local.path().join("big"), 3_000_001);
    let hash = sha256(&local.path().join("big"));
    let batch = format!(
        "put {here}/big /big\nget /big {here}/back\nmkdir /sub\nrename /big /sub/b\nls -l /sub\nput -p {here}/big /p\n\
         -symlink /sub/b /l\nrm /sub/b\nrmdir /sub\n-rm /missing\n"
    );
    sftp(&way, &batch).ok();
    assert_eq!(sha256(&local.path().join("back")), hash);
    assert_eq!(sha256(&share.join("p")), hash);
    let session = ended(&bed, "share");
    assert_eq!(session["protocol"], "smb");
    let events = events(&bed, &session);
    assert_eq!(
        lines(&events, "/nowhere"),
        [
            "upload ok /big",
            "download ok /big",
            "mkdir ok /sub",
            "rename ok /big -> /sub/b",
            "browse ok /sub",
            "upload ok /p",
            "chmod ok /p",
            "link failed /l -> /sub/b",
            "delete ok /sub/b",
            "delete ok /sub",
            "delete failed /missing",
        ]
    );
    // Today's scp begins in the middle of nothing and cuts the file at its end.
    for name in ["one", "two words"] {
        let mut scp = way.scp();
        scp.arg("-p").arg(local.path().join("big")).arg(way.remote(&format!("/{name}")));
        run::output(scp, LIMIT).ok();
        assert_eq!(sha256(&share.join(name)), hash);
    }
}

#[test]
fn scp_and_rclone_move_trees_both_ways() {
    let Some(bed) = Bed::start() else { return };
    let way = connect(&bed, "nas", "sftp", &json!({}));
    let home = bed.target.account().home.clone();
    let local = tempfile::tempdir().unwrap();
    let tree = local.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    for size in 0..12 {
        random(&tree.join(format!("a/f{size}")), size * 50_001);
    }
    fs::write(tree.join("a/b/with ü"), "x").unwrap();
    let mut up = way.scp();
    up.arg("-rp").arg(&tree).arg(way.remote("tree"));
    run::output(up, LIMIT).ok();
    same(&tree, &home.join("tree"));
    let mut down = way.scp();
    down.arg("-r").arg(way.remote("tree")).arg(local.path().join("back"));
    run::output(down, LIMIT).ok();
    same(&tree, &local.path().join("back"));
    let session = ended(&bed, "nas");
    let whole: BTreeMap<String, Value> = events(&bed, &session)
        .into_iter()
        .filter(|event| event["action"] == "download")
        .map(|event| (text(&event["path"]), event["sha256"].clone()))
        .collect();
    assert_eq!(whole.len(), 13);
    assert!(whole.values().all(Value::is_string), "{whole:?}");

    let (key, folder) = (&bed.target.account().key, home.join("rc"));
    rclone_moves(&way, key, &tree, &folder.display().to_string(), &folder);
    let answer = bed.admin().get("/file-sessions?limit=2000");
    let failed = answer["sessions"].as_array().unwrap().iter().map(|session| session["failedCount"].as_u64());
    assert!(failed.clone().all(|failed| failed == Some(0)), "{answer}");
}

#[test]
fn paramiko_reads_and_writes_anywhere() {
    let Some(bed) = Bed::start() else { return };
    let way = connect(&bed, "nas", "sftp", &json!({}));
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = python::script(folder.path(), "front_client.py", PARAMIKO) else { return };
    command.arg(way.address().port().to_string()).arg(way.login()).arg(&bed.target.account().key);
    command.arg(&bed.target.account().home);
    let done = run::output(command, LIMIT).ok();
    assert_eq!(done.out().lines().last(), Some("done"), "{}", done.err());
    let session = ended(&bed, "nas");
    let events = events(&bed, &session);
    let of = |name: &str, action: &str| {
        let found = events
            .iter()
            .find(|event| text(&event["path"]).ends_with(&format!("/{name}")) && event["action"] == action);
        found.unwrap_or_else(|| panic!("no {action} of {name} in {events:#?}")).clone()
    };
    assert!(of("prefetched", "download")["sha256"].is_string(), "all of it went through");
    assert_eq!(of("parts", "download")["size"], 300);
    assert_eq!(of("parts", "download")["sha256"], Value::Null);
    assert!(of("reordered", "upload")["sha256"].is_string(), "a little out of order is put in order");
    assert_eq!(of("backwards", "upload")["outcome"], "ok");
    assert_eq!(of("caf\\xe9", "upload")["outcome"], "ok");
}

#[test]
fn what_the_policy_denies_is_refused_and_written_down() {
    let Some(bed) = Bed::start() else { return };
    let home = bed.target.account().home.clone();
    let name = home.display().to_string();
    for folder in ["open", "secret"] {
        fs::create_dir(home.join(folder)).unwrap();
        fs::write(home.join(folder).join("x"), "0123456789").unwrap();
        for (path, mode) in [(home.join(folder), 0o777), (home.join(folder).join("x"), 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    std::os::unix::fs::symlink("../secret", home.join("open/way")).unwrap();
    let local = tempfile::tempdir().unwrap();
    let here = local.path().display();
    random(&local.path().join("big"), 100_000);
    let denied = |policy: Value, batch: &str, expected: &[&str]| {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let way = connect(&bed, &format!("p{number}"), "ssh", &policy);
        sftp(&way, batch).ok();
        let session = ended(&bed, &format!("p{number}"));
        assert_eq!(lines(&events(&bed, &session), &name), expected, "{policy}");
    };
    denied(
        json!({"readOnly": true}),
        &format!("get open/x {here}/x\n-put {here}/big new\n-rm open/x\n-mkdir d\n-rename open/x y\n"),
        &[
            "download ok open/x",
            "upload denied new",
            "delete denied open/x",
            "mkdir denied d",
            "rename denied open/x -> y",
        ],
    );
    denied(
        json!({"noDelete": true}),
        &format!("put {here}/big n\n-rm n\n-put {here}/big open/x\n-rename n open/x\n"),
        &["upload ok n", "delete denied n", "upload denied open/x", "rename denied n -> open/x"],
    );
    denied(
        json!({"deny": ["**/secret"]}),
        &format!(
            "-get secret/x {here}/no\n-get open/way/x {here}/no\n-rename secret s\n-symlink secret l\nls\n"
        ),
        &[
            "browse denied secret/x",
            "browse denied open/way/x",
            "rename denied secret -> s",
            "link denied l -> secret",
            "browse ok .",
        ],
    );
    denied(
        json!({"maxUploadBytes": 40_000, "maxDownloadBytes": 5}),
        &format!("-put {here}/big more\n-get open/x {here}/no\n"),
        &["upload denied more", "download denied open/x"],
    );
    assert!(!local.path().join("no").exists());
    assert!(fs::metadata(home.join("more")).unwrap().len() <= 40_000);
    assert_eq!(fs::read_to_string(home.join("open/x")).unwrap(), "0123456789");

    // A passive look cannot say no: what would go around our server is refused.
    let way = connect(&bed, "strict", "ssh", &json!({"readOnly": true}));
    let mut old = way.scp();
    old.arg("-O").arg(local.path().join("big")).arg(way.remote("old"));
    let refused = run::output(old, LIMIT);
    assert!(refused.err().contains("SFTP only"), "{}", refused.err());
    let mut shell = way.ssh();
    shell.arg("echo it still has a shell");
    run::output(shell, LIMIT).ok();
}

#[test]
fn a_connection_of_files_alone_runs_nothing() {
    let Some(bed) = Bed::start() else { return };
    let way = connect(&bed, "nas", "sftp", &json!({}));
    for arguments in [vec!["id"], vec![]] {
        let mut ssh = way.ssh();
        ssh.args(arguments);
        let done = run::output(ssh, LIMIT);
        assert_eq!(done.code, Some(255));
        assert!(done.err().contains("this connection has files only"), "{}", done.err());
    }
    assert_eq!(bed.admin().get("/file-sessions")["total"], 0);
}

#[test]
fn what_is_cut_off_says_how_much_was_moved() {
    let Some(mut bed) = Bed::start() else { return };
    let way = connect(&bed, "nas", "sftp", &json!({}));
    let home = bed.target.account().home.clone();
    let local = tempfile::tempdir().unwrap();
    let file = local.path().join("slow");
    random(&file, 20_000_000);
    let begin = |name: &str| {
        let mut sftp = way.scp();
        // 4 Mbit/s
        sftp.args(["-l", "4000"]).arg(&file).arg(way.remote(name));
        sftp.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        sftp.stderr(std::process::Stdio::piped());
        let running = run::Running::start(&mut sftp);
        wait::until("something of it on the target", SOON, || {
            fs::metadata(home.join(name)).ok().filter(|it| it.len() > 100_000)
        });
        running
    };
    let cut = |bed: &Bed, name: &str, reason: &str| {
        let session = ended(bed, "nas");
        assert_eq!(session["endReason"], reason, "{session}");
        let events = events(bed, &session);
        assert_eq!(lines(&events, &home.display().to_string()), [format!("upload interrupted {name}")]);
        let moved = events[0]["size"].as_u64().unwrap();
        let there = fs::metadata(home.join(name)).unwrap().len();
        // What is on its way when it is cut may still arrive, or not.
        assert!(moved.abs_diff(there) <= 4_000_000 && moved > 100_000, "{moved}, {there} on the target");
        assert!(events[0]["error"].is_string() && events[0]["sha256"].is_null(), "{events:?}");
    };
    // The client goes.
    drop(begin("client"));
    cut(&bed, "client", "closed");
    // Somebody ends it.
    let running = begin("ended");
    let sessions = bed.admin().get("/file-sessions?live=true");
    let id = text(&sessions["sessions"][0]["id"]);
    bed.admin().post(&format!("/file-sessions/{id}/terminate"), json!({"reason": "enough"}));
    cut(&bed, "ended", "terminated");
    drop(running);
    // The user loses the right to it.
    let running = begin("revoked");
    let users = bed.admin().get("/users");
    let alice = users["users"].as_array().unwrap().iter().find(|user| user["name"] == "alice").unwrap();
    let path = format!("/users/{}", text(&alice["id"]));
    bed.admin().send("PATCH", &path, Some(r#"{"disabled":true}"#));
    cut(&bed, "revoked", "revoked");
    drop(running);
    bed.admin().send("PATCH", &path, Some(r#"{"disabled":false}"#));
    // The server stops in order.
    let running = begin("stopped");
    bed.stop();
    drop(running);
    bed.serve_again();
    cut(&bed, "stopped", "server_stopped");
}
