//! What must work over SSH, whatever stands between client and target.
//!
//! Each case takes a way to log in as the target's user `deploy`, and the target, whose files it
//! looks at directly.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use sojourn_testbed::{
    run::{self, Done, Running},
    ssh_client::Way,
    sshd::Sshd,
    wait,
};

use crate::full;

/// For anything that takes an instant on a machine with nothing else to do.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// For moving much.
const LONG: Duration = Duration::from_secs(300);

/// Runs a command on the target with an empty standard input.
#[track_caller]
fn remote(way: &Way, command: &str) -> Done {
    let mut ssh = way.ssh();
    ssh.arg(command);
    run::output(ssh, SOON)
}

/// A file with random bytes in the home of the target's user.
pub(crate) fn random_file(target: &Sshd, name: &str, bytes: u64) -> PathBuf {
    let file = target.account().write(name, "");
    let mut source = std::io::Read::take(fs::File::open("/dev/urandom").unwrap(), bytes);
    let mut sink = fs::OpenOptions::new().append(true).open(&file).unwrap();
    std::io::copy(&mut source, &mut sink).unwrap();
    file
}

/// The bytes of two files are the same.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let mut cmp = Command::new("cmp");
    cmp.arg(one).arg(other);
    run::output(cmp, LONG).ok();
}

/// A directory whose files the target's user may read and write.
pub(crate) fn scratch() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

pub(crate) fn exit_codes_arrive(way: &Way, _: &Sshd) {
    for code in [0, 1, 7, 126, 127, 254, 255] {
        assert_eq!(remote(way, &format!("exit {code}")).code, Some(code));
    }
    assert_eq!(remote(way, "/no/such/program").code, Some(127));
    // An end by signal has no code: OpenSSH's client says 255.
    assert_eq!(remote(way, "kill -TERM $$").code, Some(255));
}

pub(crate) fn standard_error_stays_apart(way: &Way, _: &Sshd) {
    let done = remote(way, "for i in 1 2 3; do echo out$i; echo err$i >&2; done");
    assert_eq!(done.out(), "out1\nout2\nout3\n");
    assert_eq!(done.err(), "err1\nerr2\nerr3\n");
    let done = remote(way, "head -c 3000000 /dev/zero >&2");
    assert_eq!((done.stdout.len(), done.stderr.len()), (0, 3_000_000));
}

pub(crate) fn bytes_arrive_as_they_are(way: &Way, _: &Sshd) {
    let every: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut ssh = way.ssh();
    ssh.arg("cat");
    let done = run::with_input(ssh, &every, SOON).ok();
    assert!(done.stdout == every, "{} bytes came back of {}", done.stdout.len(), every.len());
}

pub(crate) fn the_end_of_input_is_told(way: &Way, target: &Sshd) {
    let mut ssh = way.ssh();
    ssh.arg("wc -c; echo after");
    assert_eq!(run::with_input(ssh, &vec![b'x'; 1_000_000], SOON).ok().out(), "1000000\nafter\n");
    // The output's end leaves the input open.
    let mut ssh = way.ssh();
    ssh.arg("exec >&- 2>&-; cat > whole");
    run::with_input(ssh, &vec![b'y'; 2_000_000], SOON);
    assert_eq!(fs::metadata(target.account().home.join("whole")).unwrap().len(), 2_000_000);
}

pub(crate) fn a_program_that_says_no_more_still_ends(way: &Way, _: &Sshd) {
    // Both directions are over, so the client closes the channel; it waits to hear how the program ends.
    let mut ssh = way.ssh();
    ssh.arg("exec >&- 2>&-; sleep 2; exit 7");
    assert_eq!(run::output(ssh, SOON).code, Some(7));
}

pub(crate) fn a_command_may_end_without_reading(way: &Way, _: &Sshd) {
    let mut ssh = way.ssh();
    ssh.arg("head -c 10 | wc -c; exit 5");
    let done = run::with_input(ssh, &vec![b'x'; 8_000_000], SOON);
    assert_eq!((done.code, done.out()), (Some(5), String::from("10\n")));
    // And one whose reader goes away is told.
    let mut ssh = Running::start(way.ssh().arg("yes; echo ended >&2").stdout(Stdio::piped()));
    drop(ssh.0.stdout.take());
    wait::until("ssh to end", SOON, || ssh.0.try_wait().unwrap());
}

pub(crate) fn output_after_the_shell_ended_arrives(way: &Way, _: &Sshd) {
    let done = remote(way, "(sleep 1; echo late) & echo early; exit 4");
    assert_eq!((done.code, done.out()), (Some(4), String::from("early\nlate\n")));
    // What keeps nothing open keeps nobody.
    let done = remote(way, "nohup sleep 300 >/dev/null 2>&1 </dev/null & echo gone");
    assert_eq!(done.ok().out(), "gone\n");
}

pub(crate) fn long_and_odd_commands_arrive(way: &Way, _: &Sshd) {
    let word = "x".repeat(100_000);
    assert_eq!(remote(way, &format!("echo {word}")).ok().out(), format!("{word}\n"));
    assert_eq!(remote(way, "printf '%s' 'a\"b\\c$d`e\n\té 🦀'").ok().out(), "a\"b\\c$d`e\n\té 🦀");
    let mut ssh = way.ssh();
    ssh.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
        b"printf '\xff\xfe' | od -An -tx1",
    ));
    assert_eq!(run::output(ssh, SOON).ok().out().trim(), "ff fe");
}

pub(crate) fn the_environment_arrives(way: &Way, _: &Sshd) {
    let way = way.clone().option("SetEnv=SOJOURN_TEST_A=one LC_ALL=C.UTF-8");
    let done = remote(&way, "echo $SOJOURN_TEST_A $LC_ALL");
    assert_eq!(done.ok().out(), "one C.UTF-8\n");
}

pub(crate) fn terminals_are_terminals(way: &Way, _: &Sshd) {
    let mut ssh = way.ssh_with(&["-tt"]);
    ssh.env("TERM", "xterm-256color").arg("tty >/dev/null && echo $TERM; echo err >&2; exit 9");
    let done = run::output(ssh, SOON);
    assert_eq!((done.code, done.out()), (Some(9), String::from("xterm-256color\r\nerr\r\n")));
    // Ctrl-C is a key.
    let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done";
    let mut ssh =
        Running::start(way.ssh_with(&["-tt"]).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(ssh.0.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    std::io::Write::write_all(ssh.0.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("caught")), "{rest:?}");
    assert_eq!(wait::until("ssh to end", SOON, || ssh.0.try_wait().unwrap()).code(), Some(3));
}

pub(crate) fn a_lost_client_hangs_up(way: &Way, _: &Sshd) {
    // A number that no other test sleeps for.
    let naptime = format!("1{}.5", std::process::id());
    let running = || {
        let mut pgrep = Command::new("pgrep");
        pgrep.args(["-f", &format!("^sleep {naptime}")]);
        run::output(pgrep, SOON).code == Some(0)
    };
    let ssh = Running::start(
        way.ssh_with(&["-tt"])
            .arg(format!("exec sleep {naptime}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null()),
    );
    wait::until("the command to run", SOON, || running().then_some(()));
    drop(ssh);
    wait::until("the command to be hung up", SOON, || (!running()).then_some(()));
}

pub(crate) fn idle_connections_are_kept_alive(way: &Way, _: &Sshd) {
    let way = way.clone().option("ServerAliveInterval=1").option("ServerAliveCountMax=1");
    assert_eq!(remote(&way, "sleep 4; echo still here").ok().out(), "still here\n");
}

pub(crate) fn much_arrives_whole_both_ways(way: &Way, target: &Sshd) {
    let source = random_file(target, "much", full(64, 500) << 20);
    transfer_both_ways(way, &source);
}

/// Down, up, and both at once.
fn transfer_both_ways(way: &Way, source: &Path) {
    let directory = scratch();
    let (down, up, both) =
        (directory.path().join("down"), directory.path().join("up"), directory.path().join("both"));
    let open = |file: &Path| Stdio::from(fs::File::open(file).unwrap());
    let create = |file: &Path| Stdio::from(fs::File::create(file).unwrap());
    let finish = |mut running: Running| {
        let status = wait::until("the end of a transfer", LONG, || running.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    };
    finish(Running::start(way.ssh().arg(format!("cat {}", source.display())).stdout(create(&down))));
    assert_same(source, &down);
    finish(Running::start(way.ssh().arg(format!("cat > {}", up.display())).stdin(open(source))));
    assert_same(source, &up);
    finish(Running::start(way.ssh().arg("cat").stdin(open(source)).stdout(create(&both))));
    assert_same(source, &both);
}

pub(crate) fn keys_are_renewed_on_the_way(way: &Way, target: &Sshd) {
    let source = random_file(target, "rekeyed", full(80, 500) << 20);
    let way = way.clone().option("RekeyLimit=16M");
    transfer_both_ways(&way, &source);
    let loud = way.option("LogLevel=DEBUG1");
    let mut ssh = loud.ssh();
    ssh.arg(format!("cat {}", source.display()));
    let done = run::output(ssh, LONG).ok();
    let renewals = done.err().matches("SSH2_MSG_NEWKEYS received").count();
    assert!(renewals >= 4, "keys were taken into use {renewals} times");
    assert_eq!(done.stdout.len() as u64, fs::metadata(&source).unwrap().len());
}

pub(crate) fn sftp_moves_files(way: &Way, target: &Sshd) {
    let source = random_file(target, "sftp-source", full(16, 200) << 20);
    let directory = scratch();
    let got = directory.path().join("got");
    let batch = format!(
        "get sftp-source {got}\nmkdir new\ncd new\nput {got} put\nrename put renamed\nsymlink renamed link\n\
         chmod 600 renamed\nls -l\n-rm absent\ndf\ncd ..\nrename new newer\npwd\n",
        got = got.display()
    );
    let done = run::with_input(way.sftp(), batch.as_bytes(), LONG).ok();
    let home = &target.account().home;
    assert_same(&source, &got);
    assert_same(&source, &home.join("newer/renamed"));
    assert_eq!(fs::read_link(home.join("newer/link")).unwrap(), Path::new("renamed"));
    assert!(done.out().contains("-rw-------"), "{}", done.out());
    assert!(done.out().contains(&home.display().to_string()), "{}", done.out());
    let done = run::with_input(way.sftp(), b"get absent\n", SOON);
    assert_ne!(done.code, Some(0));
    assert!(done.err().contains("not found"), "{}", done.err());
}

pub(crate) fn scp_copies(way: &Way, target: &Sshd) {
    copies_by_scp(way, target, "sftp", &[]);
}

pub(crate) fn scp_of_old_copies(way: &Way, target: &Sshd) {
    copies_by_scp(way, target, "old", &["-O"]);
}

fn copies_by_scp(way: &Way, target: &Sshd, name: &str, args: &[&str]) {
    let source = random_file(target, &format!("scp-{name}"), 8 << 20);
    let directory = scratch();
    let (down, tree) = (directory.path().join("down"), directory.path().join("tree"));
    let mut scp = way.scp();
    scp.args(args).arg(way.remote(&format!("scp-{name}"))).arg(&down);
    run::output(scp, LONG).ok();
    assert_same(&source, &down);
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    for (file, content) in [("a", "1"), ("deep/b c", "2"), ("deep/er/é", "3")] {
        fs::write(tree.join(file), content).unwrap();
    }
    let mut scp = way.scp();
    scp.args(args).arg("-rp").arg(&tree).arg(way.remote(&format!("tree-{name}")));
    run::output(scp, LONG).ok();
    let copy = target.account().home.join(format!("tree-{name}"));
    assert_eq!(fs::read_to_string(copy.join("deep/b c")).unwrap(), "2");
    assert_eq!(fs::read_to_string(copy.join("deep/er/é")).unwrap(), "3");
    let mut scp = way.scp();
    scp.args(args).arg(way.remote("absent")).arg(&down);
    assert_ne!(run::output(scp, SOON).code, Some(0));
}

pub(crate) fn rsync_synchronises(way: &Way, target: &Sshd) {
    let directory = scratch();
    let (here, back) = (directory.path().join("here"), directory.path().join("back"));
    fs::create_dir_all(here.join("deep")).unwrap();
    for index in 0..200 {
        fs::write(here.join(format!("deep/{index}")), vec![b'a' + (index % 26) as u8; index * 97]).unwrap();
    }
    fs::copy(random_file(target, "rsync-source", 8 << 20), here.join("large")).unwrap();
    let sync = |from: &str, to: &str| {
        let mut rsync = way.rsync();
        rsync.args(["-rtz", "--delete", "--checksum", "--stats", from, to]);
        run::output(rsync, LONG).ok()
    };
    sync(&format!("{}/", here.display()), &way.remote("synced/"));
    // A small change of a large file, a new file, and one that went.
    let mut large = fs::read(here.join("large")).unwrap();
    large[4_000_000] ^= 1;
    fs::write(here.join("large"), large).unwrap();
    fs::remove_file(here.join("deep/7")).unwrap();
    fs::write(here.join("new"), "new").unwrap();
    sync(&format!("{}/", here.display()), &way.remote("synced/"));
    assert!(!target.account().home.join("synced/deep/7").exists());
    sync(&way.remote("synced/"), &format!("{}/", back.display()));
    let mut diff = Command::new("diff");
    diff.arg("-r").arg(&here).arg(&back);
    run::output(diff, SOON).ok();
}

pub(crate) fn git_pushes_and_clones(way: &Way, target: &Sshd) {
    let directory = scratch();
    let (work, clone) = (directory.path().join("work"), directory.path().join("clone"));
    remote(way, "git init -q --bare project.git").ok();
    let url = way.git_url(&target.account().home.join("project.git").display().to_string());
    let git = |at: &Path, args: &[&str]| {
        let mut git = way.git();
        git.arg("-C").arg(at).args(args);
        run::output(git, LONG).ok()
    };
    fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q"]);
    fs::copy(random_file(target, "git-source", 4 << 20), work.join("blob")).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "one"]);
    git(&work, &["push", "-q", &url, "HEAD:refs/heads/main"]);
    git(directory.path(), &["clone", "-q", "--branch", "main", &url, "clone"]);
    assert_same(&work.join("blob"), &clone.join("blob"));
    fs::write(work.join("second"), "2").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "two"]);
    git(&work, &["push", "-q", &url, "HEAD:refs/heads/main"]);
    git(&clone, &["pull", "-q", "--ff-only"]);
    assert_eq!(fs::read_to_string(clone.join("second")).unwrap(), "2");
}
