//! What native clients do with files on an SSH target, and the events that tell of it.

use std::{collections::BTreeSet, fs, io::Write as _, path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed, SOON, shared, text},
    python,
    run::{self, Running},
    wait,
};

/// For a few megabytes on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// The ended file session in whose events a word occurs, and its events, oldest first.
#[track_caller]
fn audited(bed: &Bed, word: &str) -> (Value, Vec<Value>) {
    let mut seen = BTreeSet::new();
    wait::until(&format!("an ended file session with {word:?}"), SOON, || {
        let list = bed.admin().get("/file-sessions?limit=500");
        for session in list["sessions"].as_array()? {
            let id = text(&session["id"]);
            if !session["endedAt"].is_string() || seen.contains(&id) {
                continue;
            }
            let events = bed.admin().get(&format!("/file-sessions/{id}/events"));
            let events = events["events"].as_array()?.clone();
            if events.iter().any(|event| text(&event["path"]).contains(word)) {
                return Some((session.clone(), events));
            }
            seen.insert(id);
        }
        None
    })
}

/// An event on a line, with paths shortened by what they have in common.
fn line(event: &Value, home: &str) -> String {
    let mut line = format!("{} {}", text(&event["action"]), text(&event["path"]).replace(home, ""));
    if let Some(path) = event["newPath"].as_str() {
        line += &format!(" -> {}", path.replace(home, ""));
    }
    for (key, name) in [("size", ""), ("entries", " entries")] {
        if let Some(number) = event[key].as_u64() {
            line += &format!(" {number}{name}");
        }
    }
    if let Some(offset) = event["offset"].as_u64().filter(|offset| *offset > 0) {
        line += &format!(" from {offset}");
    }
    if let Some(sha) = event["sha256"].as_str() {
        line += &format!(" #{}", &sha[..8]);
    }
    if event["outcome"] != "ok" {
        line += &format!(" {}: {}", text(&event["outcome"]), text(&event["error"]));
    }
    line
}

fn lines(events: &[Value], home: &str) -> Vec<String> {
    events.iter().map(|event| line(event, home)).collect()
}

/// The beginning of a file's SHA-256.
fn sha(file: &Path) -> String {
    let mut command = std::process::Command::new("sha256sum");
    command.arg(file);
    run::output(command, SOON).ok().out()[..8].to_owned()
}

/// A file that does not repeat itself.
fn file(folder: &Path, name: &str, bytes: u32) -> std::path::PathBuf {
    let path = folder.join(name);
    let content: Vec<u8> = (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&path, content).unwrap();
    path
}

fn home(bed: &Bed) -> String {
    bed.target.account().home.display().to_string()
}

/// What the target's own server says it did, on its standard error.
const LOGGING_SERVER: &str = "/usr/lib/openssh/sftp-server -e -l VERBOSE";

#[test]
fn every_operation_of_sftp_is_an_event() {
    let Some(bed) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = file(folder.path(), "local", 300_000);
    let hash = sha(&local);
    let (local, back) = (local.display(), folder.path().join("back"));
    let batch = format!(
        "mkdir every\nput {local} every/up\nchmod 600 every/up\nrename every/up every/moved\n\
         ln every/moved every/hard\nln -s moved every/soft\ncp every/moved every/copied\n\
         get every/moved {back}\nls every\n-rm every/none\n-mkdir every\ndf every\n\
         rm every/soft\nrm every/hard\nrm every/copied\nrm every/moved\nrmdir every\n",
        back = back.display()
    );
    let way = bed.way();
    let sftp = way.sftp();
    // The last word is where to.
    let words: Vec<_> = sftp.get_args().collect();
    let (destination, words) = words.split_last().unwrap();
    let mut command = std::process::Command::new(sftp.get_program());
    command.args(words).args(["-s", LOGGING_SERVER]).arg(destination).env_remove("SSH_AUTH_SOCK");
    let done = run::with_input(command, batch.as_bytes(), LONG).ok();
    let home = home(&bed);
    let (session, events) = audited(&bed, "/every");
    let expected = [
        "mkdir /every".to_owned(),
        format!("upload /every/up 300000 #{hash}"),
        "chmod /every/up".to_owned(),
        "rename /every/up -> /every/moved".to_owned(),
        "link /every/hard -> /every/moved".to_owned(),
        "link /every/soft -> /every/moved".to_owned(),
        "copy /every/moved -> /every/copied".to_owned(),
        format!("download /every/moved 300000 #{hash}"),
        "browse /every 4 entries".to_owned(),
        "delete /every/none failed: No such file".to_owned(),
        "mkdir /every failed: Failure".to_owned(),
        "delete /every/soft".to_owned(),
        "delete /every/hard".to_owned(),
        "delete /every/copied".to_owned(),
        "delete /every/moved".to_owned(),
        "delete /every".to_owned(),
    ];
    assert_eq!(lines(&events, &home), expected, "{}", done.err());
    assert_eq!(
        (&session["protocol"], &session["endReason"]),
        (&json!("sftp"), &json!("closed")),
        "{session}"
    );
    assert_eq!((&session["bytesUp"], &session["bytesDown"]), (&json!(300_000), &json!(300_000)), "{session}");
    let access = bed.ended(&text(&session["accessSessionId"]));
    assert_eq!(access["purpose"], "exec", "{access}");
    // The target's own log tells the same.
    let log = done.err();
    for said in [
        format!("close \"{home}/every/up\" bytes read 0 written 300000"),
        format!("close \"{home}/every/moved\" bytes read 300000 written 0"),
        format!("posix-rename old \"{home}/every/up\" new \"{home}/every/moved\""),
        format!("hardlink old \"{home}/every/moved\" new \"{home}/every/hard\""),
        format!("symlink old \"moved\" new \"{home}/every/soft\""),
        format!("remove name \"{home}/every/none\""),
        format!("rmdir name \"{home}/every\""),
    ] {
        assert!(log.contains(&said), "{said:?} is not in {log}");
    }
    for (word, action) in [("mkdir name", "mkdir"), ("remove name", "delete"), ("opendir ", "browse")] {
        let of_log = log.lines().filter(|line| line.starts_with(word)).count();
        let of_audit = events.iter().filter(|event| event["action"] == action).count();
        // Removing a folder is a delete, too.
        assert_eq!(of_log, of_audit - usize::from(action == "delete"), "{action} {log}");
    }
}

#[test]
fn scp_of_today_speaks_sftp() {
    let Some(bed) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = file(folder.path(), "scp-new", 200_000);
    let hash = sha(&local);
    let way = bed.way();
    let copy = |words: &[&str], from: &str, to: &str| {
        let mut scp = way.scp();
        scp.args(words).args([from, to]);
        run::output(scp, LONG).ok();
    };
    let tree = folder.path().join("new-tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::copy(&local, tree.join("sub/one")).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    copy(&["-s", "-r"], &tree.display().to_string(), &way.remote(""));
    let (_, events) = audited(&bed, "/new-tree");
    let found: BTreeSet<_> = lines(&events, &home(&bed)).into_iter().collect();
    let uploaded = format!("upload /new-tree/sub/one 200000 #{hash}");
    for expected in ["mkdir /new-tree", "mkdir /new-tree/sub", uploaded.as_str()] {
        assert!(found.contains(expected), "{expected} is not in {found:#?}");
    }
    assert!(found.contains("upload /new-tree/empty 0 #e3b0c442"), "{found:#?}");
    // The same again, over what is there: scp cuts the old file at the new one's end, and that is no event.
    copy(&["-s", "-p"], &local.display().to_string(), &way.remote("scp-over"));
    let shorter = file(folder.path(), "shorter", 70_000);
    copy(&["-s"], &shorter.display().to_string(), &way.remote("scp-over"));
    copy(&["-s"], &way.remote("scp-over"), &folder.path().join("back").display().to_string());
    let hash = sha(&shorter);
    let all = wait::until("three copies", SOON, || {
        let mut all = Vec::new();
        let list = bed.admin().get("/file-sessions?limit=500");
        for session in list["sessions"].as_array()? {
            let events = bed.admin().get(&format!("/file-sessions/{}/events", text(&session["id"])));
            all.extend(lines(events["events"].as_array()?, &home(&bed)));
        }
        all.retain(|line| line.contains("/scp-over"));
        (all.len() >= 4).then_some(all)
    });
    for expected in [format!("upload ./scp-over 70000 #{hash}"), format!("download ./scp-over 70000 #{hash}")]
    {
        assert!(all.contains(&expected), "{expected} is not in {all:#?}");
    }
    assert!(!all.iter().any(|line| line.contains("truncate")), "{all:#?}");
}

#[test]
fn the_old_protocol_of_scp_is_read_too() {
    let Some(bed) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = file(folder.path(), "scp-old", 150_000);
    let hash = sha(&local);
    let way = bed.way();
    let copy = |words: &[&str], from: &str, to: &str| {
        let mut scp = way.scp();
        scp.arg("-O").args(words).args([from, to]);
        run::output(scp, LONG)
    };
    copy(&[], &local.display().to_string(), &way.remote("")).ok();
    let (session, events) = audited(&bed, "./scp-old");
    assert_eq!(lines(&events, ""), [format!("upload ./scp-old 150000 #{hash}")]);
    assert_eq!((&session["protocol"], &session["bytesUp"]), (&json!("scp"), &json!(150_000)), "{session}");
    let back = folder.path().join("back");
    copy(&["-p"], &way.remote("~/scp-old"), &back.display().to_string()).ok();
    let (_, events) = audited(&bed, "~/scp-old");
    assert_eq!(lines(&events, ""), [format!("download ~/scp-old 150000 #{hash}")]);
    // A name for the file, or a folder for it: the protocol does not say which.
    copy(&[], &local.display().to_string(), &way.remote("/tmp/old-named")).ok();
    let (_, events) = audited(&bed, "/tmp/old-named");
    let line = format!("upload /tmp/old-named -> /tmp/old-named/scp-old 150000 #{hash}");
    assert_eq!(lines(&events, ""), [line]);
    let tree = folder.path().join("old-tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::copy(&local, tree.join("sub/one")).unwrap();
    copy(&["-r", "-p"], &tree.display().to_string(), &way.remote("")).ok();
    let (_, events) = audited(&bed, "./old-tree");
    let uploaded = format!("upload ./old-tree/sub/one 150000 #{hash}");
    assert_eq!(lines(&events, ""), ["mkdir ./old-tree", "mkdir ./old-tree/sub", &uploaded]);
    copy(&["-r"], &way.remote("./old-tree/sub"), &folder.path().join("down").display().to_string()).ok();
    let (_, events) = audited(&bed, "./old-tree/sub/one");
    assert!(lines(&events, "").iter().any(|line| line.ends_with(&hash)), "{events:?}");
    let failed = copy(&[], &way.remote("old-none"), &back.display().to_string());
    assert_ne!(failed.code, Some(0));
    let (_, events) = audited(&bed, "old-none");
    assert_eq!(lines(&events, ""), ["download ./old-none 0 failed: No such file or directory"]);
    let failed = copy(&[], &local.display().to_string(), &way.remote("/nowhere/old-up"));
    assert_ne!(failed.code, Some(0));
    let (_, events) = audited(&bed, "/nowhere/old-up");
    assert_eq!(events[0]["outcome"], "failed", "{events:?}");
    assert!(text(&events[0]["error"]).contains("No such file or directory"), "{events:?}");
}

#[test]
fn rsync_says_where_how_much_and_how_it_ended() {
    let Some(bed) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = file(folder.path(), "local", 120_000);
    let way = bed.way();
    let run = |words: &[&str], from: &str, to: &str| {
        let mut rsync = way.rsync();
        rsync.args(words).args([from, to]);
        run::output(rsync, LONG)
    };
    run(&["-a"], &local.display().to_string(), &way.remote("rsync-up")).ok();
    let (session, events) = audited(&bed, "./rsync-up");
    assert_eq!(session["protocol"], "rsync", "{session}");
    assert_eq!(
        (events.len(), &events[0]["action"], &events[0]["outcome"]),
        (1, &json!("upload"), &json!("ok"))
    );
    assert!(events[0]["size"].as_u64().is_some_and(|size| (120_000..140_000).contains(&size)), "{events:?}");
    let back = folder.path().join("back").display().to_string();
    run(&["-a", "--secluded-args"], &way.remote("./rsync-up"), &back).ok();
    let found = wait::until("the way back", SOON, || {
        let list = bed.admin().get("/file-sessions?limit=500&protocol=rsync");
        for session in list["sessions"].as_array()? {
            let events = bed.admin().get(&format!("/file-sessions/{}/events", text(&session["id"])));
            for event in events["events"].as_array()? {
                if event["action"] == "download" && event["path"] == "./rsync-up" {
                    return Some(event.clone());
                }
            }
        }
        None
    });
    assert_eq!(found["outcome"], "ok", "{found}");
    let failed = run(&["-a"], &way.remote("rsync-none"), &back);
    assert_ne!(failed.code, Some(0));
    let (_, events) = audited(&bed, "./rsync-none");
    assert_eq!(events[0]["outcome"], "failed", "{events:?}");
    assert!(text(&events[0]["error"]).contains("23"), "{events:?}");
}

fn library(bed: &Bed, name: &str, marker: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let script = include_str!("taps_client.py");
    let mut command = python::script(folder.path(), "taps_client.py", script)?;
    let way = bed.way();
    command.arg(name).arg(way.address().port().to_string()).arg(way.login());
    command.arg(way.key_file().unwrap()).arg(marker);
    let done = run::output(command, LONG).ok();
    assert_eq!(done.out().lines().last(), Some("done"), "{}", done.err());
    let (_, events) = audited(bed, marker);
    Some(lines(&events, &home(bed)))
}

#[test]
fn paramiko_is_read() {
    let Some(bed) = shared() else { return };
    let Some(found) = library(&bed, "paramiko", "from-paramiko") else { return };
    let file = "./from-paramiko/file";
    let hash = &found[1][found[1].len() - 8..];
    let expected = [
        "mkdir ./from-paramiko".to_owned(),
        format!("upload {file} 512000 #{hash}"),
        format!("download {file} 512000 #{hash}"),
        format!("upload {file} 7 from 1000"),
        format!("upload {file} 8 from 512000"),
        format!("truncate {file} 10"),
        format!("link ./from-paramiko/link -> {file}"),
        "browse ./from-paramiko 2 entries".to_owned(),
        "download ./from-paramiko/none 0 failed: No such file".to_owned(),
        "delete ./from-paramiko/link".to_owned(),
        format!("delete {file}"),
        "delete ./from-paramiko".to_owned(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn asyncssh_is_read() {
    let Some(bed) = shared() else { return };
    let Some(found) = library(&bed, "asyncssh", "from-asyncssh") else { return };
    let at = |name: &str| {
        let start = found[0].trim_start_matches("mkdir ").to_owned();
        format!("{start}{name}")
    };
    // It writes and reads many pieces at once: what came out of order has no hash.
    let plain: Vec<_> = found.iter().map(|line| line.split(" #").next().unwrap().to_owned()).collect();
    let expected = [
        format!("mkdir {}", at("")),
        format!("upload {} 512000", at("/file")),
        format!("download {} 512000", at("/file")),
        format!("chmod {}", at("/file")),
        format!("rename {} -> {}", at("/file"), at("/other")),
        format!("browse {} 1 entry", at("")).replace("entry", "entries"),
        format!("delete {}", at("/other")),
        format!("delete {}", at("")),
    ];
    assert_eq!(plain, expected);
}

#[test]
fn a_transfer_that_is_cut_says_how_far_it_came() {
    let Some(bed) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let local = file(folder.path(), "local", 50_000_000);
    let way = bed.way();
    let target = bed.target.account().home.join("cut-short");
    let mut scp = way.scp();
    scp.args(["-s", "-l", "8000"]).arg(&local).arg(way.remote("cut-short"));
    let mut scp = Running::start(scp.stderr(Stdio::null()));
    wait::until("some of it on the target", SOON, || {
        fs::metadata(&target).ok().filter(|file| file.len() > 500_000).map(|_| ())
    });
    scp.0.kill().unwrap();
    scp.0.wait().unwrap();
    let (session, events) = audited(&bed, "/cut-short");
    assert_eq!((events.len(), &events[0]["outcome"]), (1, &json!("interrupted")), "{events:?}");
    assert_eq!(events[0]["sha256"], Value::Null);
    let moved = events[0]["size"].as_u64().unwrap();
    let arrived = wait::until("the target's server to end", SOON, || {
        let length = fs::metadata(&target).ok()?.len();
        (length >= moved).then_some(length)
    });
    // What was written and not yet acknowledged when it was cut may be more.
    assert!(moved > 0 && arrived - moved <= 64 * 32 * 1024, "{moved} of {arrived}, {session}");
}

/// Bytes that are no SFTP to a real sftp-server.
fn nonsense(bed: &Bed, login: &str) -> (Value, Value) {
    let way = sojourn_testbed::ssh_client::Way::new(bed.server().ssh.unwrap(), login);
    let way = way.key(&bed.target.account().key);
    let mut ssh = way.ssh();
    ssh.arg("/usr/lib/openssh/sftp-server").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut ssh = Running::start(ssh.stderr(Stdio::null()));
    ssh.0.stdin.take().unwrap().write_all(b"\x7f\xff\xff\xff\x03").unwrap();
    wait::until("the end", SOON, || ssh.0.try_wait().unwrap());
    let connection = login.split_once('+').unwrap().1;
    let session = wait::until("a session without an audit", SOON, || {
        let list = bed.admin().get("/file-sessions?limit=500");
        let lost = |session: &&Value| {
            session["connectionName"] == connection && text(&session["endDetail"]).contains("audit lost")
        };
        list["sessions"].as_array()?.iter().find(lost).cloned()
    });
    let access = bed.ended(&text(&session["accessSessionId"]));
    (session, access)
}

#[test]
fn what_cannot_be_read_ends_where_it_must_be() {
    let Some(bed) = shared() else { return };
    bed.connect_to_target("unread-mandatory", &json!({"record": "mandatory"}));
    let (session, access) = nonsense(&bed, "alice+unread-mandatory");
    assert_eq!(session["endDetail"], "audit lost: the client sent a packet of 2147483647 bytes", "{session}");
    assert_eq!(
        (&session["endReason"], &access["endReason"]),
        (&json!("recording_failed"), &json!("recording_failed"))
    );
    bed.connect_to_target("unread-effort", &json!({"record": "best_effort"}));
    let (session, access) = nonsense(&bed, "alice+unread-effort");
    assert_eq!((&session["endReason"], &access["endReason"]), (&json!("recording_failed"), &json!("closed")));
}
