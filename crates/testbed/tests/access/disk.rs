//! A disk that fills up: the ladder acts as configured, nothing is corrupt, everyone gets in again.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;
use sojourn_testbed::{
    bed::{Bed, SOON, text},
    process::Installation,
    run::{self, Running},
    skip, wait,
};

/// The size of the small disk.
const SIZE: u64 = 160 << 20;
const WARN: u64 = 80 << 20;
const REFUSE: u64 = 40 << 20;
const END: u64 = 20 << 20;

/// A small file system of its own, in memory.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=755"), "tmpfs"]).arg(at);
        let done = run::output(mount, SOON);
        if done.code != Some(0) {
            skip::whole(&format!("no right to mount a small disk: {}", done.err()));
            return None;
        }
        Some(Self { at: at.to_owned() })
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.at).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Fills it until so much is free.
    fn leave(&self, bytes: u64) {
        let ballast = self.at.join("ballast");
        let held = fs::metadata(&ballast).map_or(0, |metadata| metadata.len());
        let size = (held + self.free()).saturating_sub(bytes);
        let file = File::options().create(true).append(true).open(&ballast).unwrap();
        if size > held {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), held, size - held).unwrap();
        } else {
            file.set_len(size).unwrap();
        }
    }

    fn relieve(&self) {
        fs::remove_file(self.at.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still holds a file of it is about to end.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn until_pressure(bed: &Bed, pressure: &str) {
    wait::until_eq(&format!("the pressure to be {pressure}"), SOON, &pressure.to_owned(), || {
        text(&bed.admin().get("/sessions/storage")["pressure"])
    });
}

fn hold(bed: &Bed, connection: &str, tag: &str) -> Running {
    let login = format!("alice+{connection}");
    let front = bed.server().ssh.unwrap();
    let way = sojourn_testbed::ssh_client::Way::new(front, &login).key(&bed.target.account().key);
    let mut ssh = way.ssh_with(&["-tt"]);
    ssh.arg(format!("echo {tag}; while :; do date +%N; read -rt 0.2; done"));
    Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()))
}

#[test]
fn a_full_disk_is_climbed_down_from() {
    let installation = Installation::without_sources()
        .variable("SOJOURN_DISK_WARN", WARN.to_string())
        .variable("SOJOURN_DISK_REFUSE", REFUSE.to_string())
        .variable("SOJOURN_DISK_END", END.to_string());
    let Some(disk) = SmallDisk::mount(installation.data_dir()) else { return };
    let Some(bed) = Bed::with(installation, &json!({"record": "mandatory"})) else { return };
    bed.connect_to_target("lenient", &json!({"record": "best_effort"}));
    until_pressure(&bed, "normal");
    let (mut strict, mut lenient) = (hold(&bed, "target", "strictly"), hold(&bed, "lenient", "leniently"));
    let ids = ["strictly", "leniently"].map(|tag| text(&bed.session_of(tag)["id"]));

    disk.leave(WARN - (5 << 20));
    until_pressure(&bed, "warn");
    let mut ssh = bed.way().ssh_with(&["-tt"]);
    ssh.arg("echo warned");
    run::output(ssh, SOON).ok();

    disk.leave(REFUSE - (5 << 20));
    until_pressure(&bed, "refuse_new");
    let mut ssh = bed.way().ssh_with(&["-tt"]);
    ssh.arg("echo refused");
    let done = run::output(ssh, SOON);
    assert!(done.code != Some(0) && !done.out().contains("refused\r\n"), "{}", done.out());
    assert!(!(done.err() + &done.out()).is_empty(), "it was not said why");
    assert!(strict.0.try_wait().unwrap().is_none(), "what runs goes on");

    // All at once, to the last byte: what was kept back has to do.
    disk.leave(0);
    until_pressure(&bed, "end_mandatory");
    wait::until("the session that must be recorded to end", SOON, || strict.0.try_wait().unwrap());
    assert!(lenient.0.try_wait().unwrap().is_none(), "what need not be recorded goes on");

    let login = json!({"name": "admin", "password": "correct horse battery staple"});
    let answer = bed.server().client("").send("POST", "/auth/login", Some(&login.to_string()));
    assert_eq!(answer.status, 200, "an administrator can always log in: {}", answer.text);
    assert_eq!(bed.admin().send("GET", "/sessions", None).status, 200);

    disk.relieve();
    until_pressure(&bed, "normal");
    let session = bed.ended(&ids[0]);
    assert_eq!(session["endReason"], "recording_failed", "{session}");
    let mut ssh = bed.way().ssh_with(&["-tt"]);
    ssh.arg("echo recovered");
    run::output(ssh, SOON).ok();
    let recovered = bed.ended(&text(&bed.session_of("recovered")["id"]));
    assert_eq!(recovered["recording"], "sealed", "{recovered}");
    assert!(lenient.0.try_wait().unwrap().is_none(), "what need not be recorded went on all the time");
    drop(lenient);
    bed.ended(&ids[1]);
    // Nothing is corrupt: everything plays and verifies, and what is missing is a named gap.
    for session in bed.sessions("") {
        let id = text(&session["id"]);
        if matches!(session["recording"].as_str(), Some("sealed" | "incomplete")) {
            let verified = bed.verify(&id);
            assert_eq!(verified["ok"], json!(true), "{session} {verified}");
            bed.cast(&id);
        }
    }
}
