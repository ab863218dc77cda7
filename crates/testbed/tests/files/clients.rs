//! People's own clients through our SFTP server, as tests of several targets need them.

use std::{path::Path, process::Command, time::Duration};

use sojourn_testbed::{python, run, skip, ssh_client::Way};

/// For a few megabytes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
const TARGET_CLIENT: &str = include_str!("target_client.py");

/// Two trees hold the same.
#[track_caller]
pub(crate) fn same(one: &Path, other: &Path) {
    let mut command = Command::new("diff");
    command.arg("-r").arg(one).arg(other);
    run::output(command, LIMIT).ok();
}

/// rclone syncs a tree to a folder of the target, which is `disk` on this machine, and back. Not where there is no rclone.
#[track_caller]
pub(crate) fn rclone_moves(way: &Way, key: &Path, tree: &Path, folder: &str, disk: &Path) {
    let mut version = Command::new("rclone");
    version.arg("version");
    if !matches!(version.output(), Ok(output) if output.status.success()) {
        skip::part("no rclone");
        return;
    }
    let remote = format!(
        ":sftp,host=127.0.0.1,port={},user={},key_file={},shell_type=none:{folder}",
        way.address().port(),
        way.login(),
        key.display(),
    );
    let rclone = |arguments: &[&str]| {
        let mut command = Command::new("rclone");
        command.args(["--config", "/dev/null"]).args(arguments);
        run::output(command, LIMIT).ok()
    };
    let local = tempfile::tempdir().unwrap();
    let (from, back) = (tree.display().to_string(), local.path().join("back"));
    rclone(&["sync", &from, &remote]);
    same(tree, disk);
    rclone(&["sync", &remote, &back.display().to_string()]);
    same(tree, &back);
    rclone(&["check", "--download", &from, &remote]);
}

/// Runs `target_client.py` with `paramiko` or `asyncssh`; `false` where Python's environment is not there.
#[track_caller]
pub(crate) fn library_does_everything(
    library: &str,
    way: &Way,
    key: &Path,
    folder: &str,
    disk: &Path,
) -> bool {
    let scripts = tempfile::tempdir().unwrap();
    let Some(mut command) = python::script(scripts.path(), "target_client.py", TARGET_CLIENT) else {
        return false;
    };
    command
        .arg(library)
        .arg(way.address().port().to_string())
        .arg(way.login())
        .arg(key)
        .arg(folder)
        .arg(disk);
    let done = run::output(command, LIMIT).ok();
    assert_eq!(done.out().lines().last(), Some("done"), "{library}: {}", done.err());
    true
}
