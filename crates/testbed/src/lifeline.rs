//! Servers that end with the test program, however it ends.
//!
//! A supervising shell holds the end of a pipe. When the pipe closes it kills the server and
//! removes its directory.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// A running server.
#[derive(Debug)]
pub(crate) struct Lifeline {
    supervisor: Child,
    pipe: ChildStdin,
}

impl Lifeline {
    /// Starts a server whose output goes to `log` in its directory.
    pub(crate) fn start(directory: &Path, server: &Command) -> Self {
        const SCRIPT: &str = r#"
            directory=$1; shift
            setsid "$@" >"$directory/log" 2>&1 </dev/null &
            server=$!
            read -r word
            # With its children: one that outlives it for a moment would go on answering.
            kill -KILL -$server 2>/dev/null || kill -KILL $server 2>/dev/null
            wait $server 2>/dev/null
            tries=0
            while [ $tries -lt 200 ] && kill -0 -$server 2>/dev/null; do
                sleep 0.01
                tries=$((tries + 1))
            done
            # Whoever lets go without a word comes for nothing more.
            [ "$word" = stop ] || rm -rf "$directory"
        "#;
        // Emptied here, so that nothing of an earlier run is taken for this one.
        std::fs::write(directory.join("log"), "").expect("a log");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sojourn-test-server"]).arg(directory);
        command.arg(server.get_program()).args(server.get_args());
        command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // Away from the terminal's Ctrl-C: the pipe alone decides.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut supervisor = command.spawn().expect("a shell");
        let pipe = supervisor.stdin.take().expect("a pipe");
        Self { supervisor, pipe }
    }

    /// Kills the server and keeps its directory.
    pub(crate) fn stop(mut self) {
        // One that has ended already reads nothing.
        let _ = self.pipe.write_all(b"stop\n");
        self.let_go();
    }

    /// As when the test program ends.
    pub(crate) fn let_go(self) {
        let Self { mut supervisor, pipe } = self;
        drop(pipe);
        supervisor.wait().expect("a child of ours");
    }
}
