//! What the SSH front itself decides: who comes in, where to, and what they may do there.

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

use serde_json::json;
use sojourn_testbed::{
    bed::{Bed, SOON, shared, text},
    run::{self, Running},
    ssh_client::Way,
    sshd::Sshd,
    telnetd::Telnetd,
    wait,
};

use crate::{cases::scratch, multiplexing::open_at_once};

/// What [`sojourn_testbed::process::Installation::token`] gives every user.
const PASSWORD: &str = "correct horse battery staple";

fn front(bed: &Bed, login: &str) -> Way {
    Way::new(bed.server().ssh.unwrap(), login)
}

fn attempt(way: &Way, command: &str) -> run::Done {
    let mut ssh = way.ssh();
    ssh.arg(command);
    run::output(ssh, SOON)
}

#[test]
fn users_come_by_key_and_by_password_and_name_their_target() {
    let Some(bed) = shared() else { return };
    let key = &bed.target.account().key;
    for login in ["alice+target", "alice:target"] {
        for way in [front(&bed, login).key(key), front(&bed, login).password(PASSWORD)] {
            let done = attempt(&way, "id -un").ok();
            assert_eq!(done.out(), "deploy\n", "{login}");
        }
    }
    for way in [
        front(&bed, "alice+target").password("wrong"),
        front(&bed, "nobody+target").password(PASSWORD),
        // The key is alice's.
        front(&bed, "admin+target").key(key),
        front(&bed, "alice+target"),
    ] {
        let done = attempt(&way, "id -un");
        assert_eq!((done.code, done.out()), (Some(255), String::new()), "{way:?}");
    }
}

#[test]
fn one_who_mistypes_may_try_again() {
    let Some(bed) = Bed::start() else { return };
    let answers = scratch();
    let (program, count) = (answers.path().join("ask"), answers.path().join("count"));
    for method in ["password", "keyboard-interactive"] {
        std::fs::write(&count, "").unwrap();
        // Wrong twice, then right.
        let count_name = count.display();
        let script = format!(
            "#!/bin/sh\necho >>{count_name}\n[ $(wc -l <{count_name}) -lt 3 ] && echo wrong || echo '{PASSWORD}'\n"
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let way = front(&bed, "alice+target")
            .option("NumberOfPasswordPrompts=3")
            .option(format!("PreferredAuthentications={method}"));
        let mut ssh = way.ssh();
        ssh.env("SSH_ASKPASS", &program).env("SSH_ASKPASS_REQUIRE", "force").arg("id -un");
        assert_eq!(run::output(ssh, SOON).ok().out(), "deploy\n", "{method}");
        assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 3);
    }
}

#[test]
fn the_cheapest_cipher_that_the_client_has_is_taken() {
    /// More than fits the window after the limit: the rest waits for the new keys.
    const BYTES: usize = 8 << 20;
    let Some(bed) = shared() else { return };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let knows_aes = processor.split_whitespace().any(|flag| flag == "aes");
    let usual = if knows_aes { "aes128-gcm@openssh.com" } else { "chacha20-poly1305@openssh.com" };
    for (offered, taken) in [
        ("", usual),
        ("aes256-ctr,aes256-gcm@openssh.com", "aes256-gcm@openssh.com"),
        ("chacha20-poly1305@openssh.com", "chacha20-poly1305@openssh.com"),
        ("aes192-ctr", "aes192-ctr"),
    ] {
        let mut way = front(&bed, "alice+target").key(&bed.target.account().key).option("RekeyLimit=1M");
        if !offered.is_empty() {
            way = way.option(format!("Ciphers={offered}"));
        }
        let mut ssh = way.ssh_with(&["-v"]);
        ssh.arg(format!("head -c {BYTES} /dev/zero"));
        let done = run::output(ssh, SOON);
        assert_eq!((done.code, done.out().len()), (Some(0), BYTES), "{offered}: {}", done.err());
        let said = done.err();
        let ciphers: Vec<_> = said
            .lines()
            .filter_map(|line| line.split_once("cipher: ")?.1.split_whitespace().next())
            .collect();
        // In both directions of the first key exchange, and of others.
        assert!(ciphers.len() >= 4, "{offered}: {said}");
        assert!(ciphers.iter().all(|cipher| *cipher == taken), "{offered}: {ciphers:?}");
    }
}

#[test]
fn a_client_that_waits_for_the_servers_word_hears_it() {
    const KEXINIT: u8 = 20;
    let Some(bed) = shared() else { return };
    let mut stream = std::net::TcpStream::connect(bed.server().ssh.unwrap()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"SSH-2.0-patient\r\n").unwrap();
    let mut id = Vec::new();
    while !id.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        id.push(byte[0]);
    }
    // The length of a packet, of its padding, and the kind of its message.
    let mut head = [0; 6];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[5], KEXINIT);
}

#[test]
fn many_logins_at_once_are_no_guesses() {
    let Some(bed) = Bed::start() else { return };
    let way = front(&bed, "alice+target").password(PASSWORD);
    let logins: Vec<_> =
        (0..8).map(|_| Running::start(way.ssh().arg("true").stderr(Stdio::piped()))).collect();
    for mut login in logins {
        let status = wait::until("a login", SOON, || login.0.try_wait().unwrap());
        let mut said = String::new();
        login.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{status}: {said}");
    }
}

#[test]
fn telnet_targets_have_terminals() {
    let Some(bed) = shared() else { return };
    let Some(telnetd) = Telnetd::start() else { return };
    let account = telnetd.account();
    let made = bed.admin().post(
        "/connections",
        json!({
            "name": "switch", "protocol": "telnet", "host": "127.0.0.1", "port": telnetd.port(),
            "username": account.name, "auth": "password", "password": account.password,
            "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    assert!(made["id"].is_string(), "{made}");
    let way = front(&bed, "alice+switch").key(&bed.target.account().key);
    let mut ssh = way.ssh_with(&["-tt"]);
    ssh.env("TERM", "vt220").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut ssh = Running::start(&mut ssh);
    let (mut shown, mut piece) = (String::new(), [0; 1024]);
    let mut output = ssh.0.stdout.take().unwrap();
    let mut until = |word: &str| {
        while !shown.contains(word) {
            let length = output.read(&mut piece).unwrap();
            assert_ne!(length, 0, "it ended: {shown:?}");
            shown.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        assert!(!shown.contains(&account.password), "the password was shown");
    };
    until("$ ");
    ssh.0.stdin.as_mut().unwrap().write_all(b"echo $TERM $((6*7)); exit\r").unwrap();
    until("vt220 42");
    wait::until("the end", SOON, || ssh.0.try_wait().unwrap());
    let refused = attempt(&way, "true");
    assert_eq!(refused.code, Some(255));
    assert!(refused.err().contains("terminals only"), "{}", refused.err());
}

#[test]
fn a_target_with_little_room_is_connected_to_again() {
    let Some(bed) = shared() else { return };
    let Some(narrow) = Sshd::with(&["MaxSessions 4"]) else { return };
    let account = narrow.account();
    bed.admin().post(
        "/connections",
        json!({
            "name": "narrow", "protocol": "ssh", "host": "127.0.0.1", "port": narrow.port(),
            "username": account.name, "auth": "password", "password": account.password,
            "hostKey": narrow.fingerprint(), "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    open_at_once(&front(&bed, "alice+narrow").key(&bed.target.account().key), 30);
}

#[test]
fn an_unknown_target_is_refused_in_words() {
    let Some(bed) = shared() else { return };
    let way = front(&bed, "alice+nowhere").key(&bed.target.account().key);
    let done = attempt(&way, "id -un");
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.err().contains("no such connection"), "{}", done.err());
}

#[test]
fn without_a_target_a_menu_offers_what_one_may_use() {
    let Some(bed) = shared() else { return };
    bed.admin().post(
        "/connections",
        json!({"name": "not-for-alice", "protocol": "ssh", "host": "127.0.0.1", "username": "x", "auth": "none"}),
    );
    let way = front(&bed, "alice").key(&bed.target.account().key);
    let mut ssh = Running::start(way.ssh_with(&["-tt"]).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut shown = ssh.0.stdout.take().unwrap();
    let mut seen = String::new();
    let mut piece = [0; 1024];
    while !seen.contains("target") {
        let length = std::io::Read::read(&mut shown, &mut piece).unwrap();
        assert_ne!(length, 0, "the menu ended: {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    assert!(!seen.contains("not-for-alice"), "{seen}");
}

#[test]
fn the_policy_governs_what_goes_around_the_terminal() {
    let Some(bed) = shared() else { return };
    let policy = json!({"allowForwarding": false, "allowFiles": false, "allowAgent": false});
    bed.connect_to_target("strict", &policy);
    let way = front(&bed, "alice+strict").key(&bed.target.account().key);
    assert_eq!(attempt(&way, "echo allowed").ok().out(), "allowed\n");
    let target = bed.target.address().to_string();
    assert_ne!(run::output(way.ssh_with(&["-W", &target]), SOON).code, Some(0));
    let forward = way.clone().option("ExitOnForwardFailure=yes");
    let forward = run::output(forward.ssh_with(&["-N", "-R", &format!("0:{target}")]), SOON);
    assert_ne!(forward.code, Some(0));
    let directory = scratch();
    let file = directory.path().join("file");
    std::fs::write(&file, "secret").unwrap();
    assert_ne!(run::with_input(way.sftp(), b"ls\n", SOON).code, Some(0));
    for args in [&[][..], &["-O"]] {
        let mut scp = way.scp();
        scp.args(args).arg(&file).arg(way.remote("around"));
        assert_ne!(run::output(scp, SOON).code, Some(0), "scp {args:?}");
    }
    let mut rsync = way.rsync();
    rsync.arg(&file).arg(way.remote("around"));
    assert_ne!(run::output(rsync, SOON).code, Some(0));
    assert!(!bed.target.account().home.join("around").exists());
    let agent = way.clone().option("ForwardAgent=yes");
    assert_eq!(attempt(&agent, "echo ${SSH_AUTH_SOCK:-none}").ok().out(), "none\n");
}

#[test]
fn another_host_key_is_refused_and_said() {
    let Some(mut bed) = Bed::start() else { return };
    let way = bed.way();
    assert_eq!(attempt(&way, "echo before").ok().out(), "before\n");
    bed.target.replace_host_keys();
    let done = attempt(&way, "echo never-run");
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.err().to_lowercase().contains("host key has changed"), "{}", done.err());
    let session = bed.ended(&text(&bed.session_of("never-run")["id"]));
    assert_eq!(session["endReason"], "host_key", "{session}");
}

#[test]
fn targets_that_are_gone_cost_nothing_for_ever() {
    let Some(mut bed) = Bed::start() else { return };
    let way = bed.way();
    bed.target.stop();
    for index in 0..30 {
        let done = attempt(&way, &format!("echo gone-{index}-"));
        assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
        assert!(!done.err().trim().is_empty(), "it was not said why");
    }
    let session = bed.ended(&text(&bed.session_of("gone-7-")["id"]));
    assert_eq!(session["endReason"], "unreachable", "{session}");
    assert!(bed.sessions("live=true").is_empty());
    bed.target.restart();
    assert_eq!(attempt(&way, "echo again").ok().out(), "again\n");
}

#[test]
fn a_target_that_dies_ends_the_session() {
    let Some(mut bed) = Bed::start() else { return };
    let mut ssh = Running::start(
        bed.way().ssh_with(&["-tt"]).arg("echo dies; exec cat").stdin(Stdio::piped()).stdout(Stdio::piped()),
    );
    // It has arrived: before that, the target would be one that cannot be reached.
    std::io::Read::read_exact(ssh.0.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let id = text(&bed.session_of("dies")["id"]);
    bed.target.stop();
    wait::until("the client to be ended", SOON, || ssh.0.try_wait().unwrap());
    let session = bed.ended(&id);
    assert_eq!((&session["endReason"], &session["recording"]), (&json!("target_lost"), &json!("sealed")));
}

#[test]
fn a_session_is_ended_from_outside() {
    let Some(bed) = shared() else { return };
    let mut ssh = Running::start(
        bed.way()
            .ssh_with(&["-tt"])
            .arg("echo to-be-ended; exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null()),
    );
    let id = text(&bed.session_of("to-be-ended")["id"]);
    wait::until("the session to be live", SOON, || {
        let live = bed.admin().get("/sessions/live");
        live["sessions"].as_array()?.iter().any(|session| session["id"] == json!(id)).then_some(())
    });
    bed.admin().post(&format!("/sessions/{id}/terminate"), json!({"reason": "lunch"}));
    wait::until("the client to be ended", SOON, || ssh.0.try_wait().unwrap());
    let session = bed.ended(&id);
    assert_eq!(session["endReason"], "terminated", "{session}");
    assert!(text(&session["endDetail"]).contains("lunch"), "{session}");
}

#[test]
fn who_lost_the_connection_is_let_in_no_more() {
    let Some(bed) = Bed::start() else { return };
    assert_eq!(attempt(&bed.way(), "echo shared").ok().out(), "shared\n");
    let path = format!("/connections/{}/grants", bed.connection);
    bed.admin().send("PUT", &path, Some(r#"{"grants":[]}"#)).ok();
    let done = attempt(&bed.way(), "echo not-any-more");
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(!done.out().contains("not-any-more"));
}

/// A client that reads nothing makes the target wait, not the server grow.
#[test]
fn a_client_that_reads_nothing_grows_no_memory() {
    let Some(bed) = Bed::start() else { return };
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", bed.server().pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    };
    attempt(&bed.way(), "true").ok();
    let before = memory();
    let flood = |args: &[&str]| {
        Running::start(
            bed.way().ssh_with(args).arg("cat /dev/zero").stdin(Stdio::null()).stdout(Stdio::piped()),
        )
    };
    let _stalled: Vec<_> = (0..4).map(|_| flood(&[])).chain((0..4).map(|_| flood(&["-tt"]))).collect();
    wait::during(std::time::Duration::from_secs(6), || {
        let grown = memory().saturating_sub(before);
        assert!(grown < 120, "{grown} MB more for eight clients that read nothing");
    });
}
