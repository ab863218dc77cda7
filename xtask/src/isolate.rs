//! Networks of our own: a server under test scans the networks it finds, and must find none but
//! those that the tests made.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::shell::{is_root, program};

/// `program` in a new network namespace that has a loopback and nothing else; `None` where the
/// machine does not let us make one.
///
/// Root makes one directly, anyone else together with a user namespace.
pub(crate) fn command(program: &Path) -> Option<Command> {
    let mut probe = unshare()?;
    probe.arg("true").stdin(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = unshare()?;
    command.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]).arg(program);
    Some(command)
}

fn unshare() -> Option<Command> {
    let (unshare, _) = (program("unshare")?, program("ip")?);
    let mut command = Command::new(unshare);
    command.arg("--net");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--");
    Some(command)
}
