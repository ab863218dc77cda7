//! Other people's SSH libraries: paramiko and asyncssh.

use std::time::Duration;

use sojourn_testbed::{python, run, ssh_client::Way, sshd::Sshd};

use crate::cases::scratch;

const LIMIT: Duration = Duration::from_secs(180);
const PARAMIKO: &str = include_str!("paramiko_client.py");
const ASYNCSSH: &str = include_str!("asyncssh_client.py");

fn run_case(way: &Way, target: &Sshd, name: &str, text: &str, case: &str) {
    let directory = scratch();
    let Some(mut command) = python::script(directory.path(), name, text) else { return };
    command.arg(case).arg(way.address().port().to_string()).arg(way.login());
    command.arg(way.key_file().expect("a key")).arg(&target.account().home);
    let done = run::output(command, LIMIT).ok();
    assert_eq!(done.out().lines().last(), Some("done"), "{}", done.err());
}

macro_rules! cases {
    ($($name:ident = $text:ident $file:literal $case:literal),* $(,)?) => {
        $(pub(crate) fn $name(way: &Way, target: &Sshd) {
            run_case(way, target, $file, $text, $case);
        })*
    };
}

cases! {
    paramiko_runs_commands = PARAMIKO "paramiko_client.py" "commands",
    paramiko_holds_a_shell = PARAMIKO "paramiko_client.py" "shell",
    paramiko_moves_files = PARAMIKO "paramiko_client.py" "files",
    paramiko_forwards = PARAMIKO "paramiko_client.py" "forward",
    asyncssh_runs_commands = ASYNCSSH "asyncssh_client.py" "commands",
    asyncssh_sees_signals = ASYNCSSH "asyncssh_client.py" "signals",
    asyncssh_resizes_terminals = ASYNCSSH "asyncssh_client.py" "terminal",
    asyncssh_moves_files = ASYNCSSH "asyncssh_client.py" "files",
    asyncssh_forwards = ASYNCSSH "asyncssh_client.py" "forward",
}
