//! Shells and commands: what works directly works through the front.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Output, Stdio},
    time::Duration,
};

use sojourn_domain::access::{AuthKind, EndReason, Purpose};
use sojourn_gateway::protocols::Credential;
use sojourn_testbed::{ssh_client::Way, wait};

use crate::house::{Lab, PASSWORD};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(way: &Way, command: &str) -> Output {
    way.ssh().arg(command).output().unwrap()
}

#[test]
fn a_command_has_its_output_errors_and_status() {
    let Some(lab) = Lab::new() else { return };
    let output = run(&lab.way(), "echo out; echo err >&2; exit 7");
    assert_eq!(text(&output.stdout), "out\n", "{output:?}");
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(7));
    lab.told(|told| {
        assert_eq!(told.openings.len(), 1);
        assert_eq!(told.openings[0].purpose, Purpose::Exec);
        assert_eq!(told.openings[0].command, "echo out; echo err >&2; exit 7");
        assert!(told.pinned.as_ref().unwrap().starts_with("ssh-ed25519 "));
    });
    // The key is pinned now.
    assert!(run(&lab.way(), "true").status.success());
    for status in [0, 1, 126, 127, 254, 255] {
        assert_eq!(run(&lab.way(), &format!("exit {status}")).status.code(), Some(status));
    }
}

#[test]
fn a_password_logs_in_and_a_wrong_one_does_not() {
    let Some(lab) = Lab::new() else { return };
    let right = Way::new(lab.address, "alice:web").password(PASSWORD);
    assert_eq!(text(&run(&right, "id -un").stdout), "deploy\n");
    let asked = right.clone().option("PreferredAuthentications=keyboard-interactive");
    assert_eq!(text(&run(&asked, "id -un").stdout), "deploy\n");
    let wrong = run(&Way::new(lab.address, "alice+web").password("wrong"), "id -un");
    assert!(!wrong.status.success() && wrong.stdout.is_empty(), "{wrong:?}");
    let stranger = run(&Way::new(lab.address, "mallory+web").password(PASSWORD), "id -un");
    assert!(!stranger.status.success() && stranger.stdout.is_empty(), "{stranger:?}");
}

#[test]
fn a_program_that_is_killed_says_by_what() {
    let Some(lab) = Lab::new() else { return };
    // OpenSSH's client exits with 255 then, as it does directly, and says so when asked to.
    for way in [lab.sshd.way(), lab.way()] {
        let output = way.option("LogLevel=VERBOSE").ssh().arg("kill -TERM $$").output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{output:?}");
    }
}

#[test]
fn input_ends_and_output_goes_on() {
    let Some(lab) = Lab::new() else { return };
    let mut child = lab
        .way()
        .ssh()
        .arg("wc -c; echo after")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 3_000_000]).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "3000000\nafter\n");
}

#[test]
fn much_goes_both_ways_unchanged() {
    let Some(lab) = Lab::new() else { return };
    let megabytes = if std::env::var_os("SOJOURN_TEST_FULL").is_some() { 500 } else { 40 };
    let make =
        format!("openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c {megabytes}M");
    let hash = |command: &str| text(&Command::new("sh").args(["-c", command]).output().unwrap().stdout);
    let expected = hash(&format!("{make} | sha256sum"));
    let down = {
        let mut child = lab.way().ssh().arg(&make).stdout(Stdio::piped()).spawn().unwrap();
        let summed = Command::new("sha256sum").stdin(child.stdout.take().unwrap()).output().unwrap();
        assert!(child.wait().unwrap().success());
        text(&summed.stdout)
    };
    assert_eq!(down, expected);
    let mut source = Command::new("sh").args(["-c", &make]).stdout(Stdio::piped()).spawn().unwrap();
    let up = lab.way().ssh().arg("sha256sum").stdin(source.stdout.take().unwrap()).output().unwrap();
    source.wait().unwrap();
    assert_eq!(text(&up.stdout), expected);
}

#[test]
fn a_terminal_is_made_with_its_size() {
    let Some(lab) = Lab::new() else { return };
    let mut child = lab
        .way()
        .ssh_with(&["-tt"])
        .arg("stty size; tty; echo $TERM")
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(shown.contains("/dev/pts/") && shown.contains("xterm-256color"), "{shown:?}");
}

#[test]
fn a_target_that_is_not_there_is_said_so() {
    let Some(mut lab) = Lab::new() else { return };
    lab.sshd.stop();
    let output = run(&lab.way(), "true");
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("nothing listens on the target's port"), "{output:?}");
    lab.told(|told| assert_eq!(told.failures[0].0, EndReason::Unreachable));
}

#[test]
fn a_changed_host_key_is_refused_loudly() {
    let Some(mut lab) = Lab::new() else { return };
    assert!(run(&lab.way(), "true").status.success());
    lab.sshd.replace_host_keys();
    let output = run(&lab.way(), "true");
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("HOST KEY HAS CHANGED"), "{output:?}");
    lab.told(|told| assert_eq!(told.failures[0].0, EndReason::HostKey));
}

/// A terminal without a person: types what it is given, and hands over all that was shown.
fn type_into(way: &Way, typed: &[(&str, &str)]) -> (String, Option<i32>) {
    let mut child = way
        .ssh_with(&["-tt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut shown = String::new();
    let mut piece = [0; 4096];
    for (until, keys) in typed {
        let from = shown.len();
        while !shown[from..].contains(until) {
            let read = stdout.read(&mut piece).unwrap();
            assert!(read > 0, "it ended before {until:?}: {shown}");
            shown.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        stdin.write_all(keys.as_bytes()).unwrap();
    }
    // What a shell reads ahead of its end is harmless; a pipe that is gone is too.
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    shown.push_str(&String::from_utf8_lossy(&rest));
    drop(stdin);
    (shown, child.wait().unwrap().code())
}

#[test]
fn without_a_name_there_is_a_menu() {
    let Some(lab) = Lab::new() else { return };
    let way = Way::new(lab.address, "alice").key(&lab.sshd.account().key);
    let (shown, code) = type_into(&way, &[("to leave", "we\r"), ("$ ", "echo at $USER; exit 5\r")]);
    assert!(shown.contains("db") && shown.contains("web"), "{shown}");
    assert!(shown.contains("at deploy"), "{shown}");
    assert_eq!(code, Some(5));
    let (_, code) = type_into(&way, &[("to leave", "\u{3}")]);
    assert_eq!(code, Some(0));
    lab.told(|told| assert_eq!(told.openings.len(), 1));

    let output = run(&way, "true");
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("alice+web"), "{output:?}");
    let nowhere = Way::new(lab.address, "alice+nowhere").key(&lab.sshd.account().key);
    assert!(text(&run(&nowhere, "true").stderr).contains("no such connection"));
}

#[test]
fn a_password_of_the_target_is_asked_for() {
    let Some(lab) = Lab::with(|house| {
        house.target.auth = AuthKind::Prompt;
        house.credential = Credential::None;
    }) else {
        return;
    };
    let password = format!("wrong\u{15}{}x\u{7f}\r", lab.sshd.account().password);
    let (shown, code) =
        type_into(&lab.way(), &[("Password of deploy at web: ", &password), ("$ ", "exit 6\r")]);
    assert_eq!(code, Some(6), "{shown}");
    assert!(!shown.contains(&lab.sshd.account().password));
    let (shown, code) = type_into(&lab.way(), &[("Password of deploy at web: ", "wrong\r")]);
    assert_eq!(code, Some(255), "{shown}");
    let output = run(&lab.way(), "true");
    assert!(text(&output.stderr).contains("there is no terminal to ask on"), "{output:?}");
}

#[test]
fn the_users_own_agent_logs_in_at_the_target() {
    let Some(lab) = Lab::with(|house| {
        house.target.auth = AuthKind::Agent;
        house.credential = Credential::None;
    }) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    let mut agent =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    wait::until("the agent", Duration::from_secs(30), || socket.exists().then_some(()));
    let key = &lab.sshd.account().key;
    assert!(
        Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).status().unwrap().success()
    );
    let way = lab.way().option(format!("IdentityAgent={}", socket.display()));
    let output = way.ssh_with(&["-A"]).arg("id -un").output().unwrap();
    assert_eq!(text(&output.stdout), "deploy\n", "{output:?}");
    let output = run(&lab.way(), "id -un");
    assert!(text(&output.stderr).contains("ssh -A"), "{output:?}");
    agent.kill().unwrap();
    agent.wait().unwrap();
}
