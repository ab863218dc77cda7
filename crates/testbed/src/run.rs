//! Programs that are run to their end, which must come.

use std::{
    io::{Read, Write as _},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::wait;

/// How a program ended.
#[derive(Debug)]
pub struct Done {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub took: Duration,
}

impl Done {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Panics, showing what it said, unless it ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", shown(&self.stdout), shown(&self.stderr));
        self
    }
}

/// Enough of it for whoever reads why a test failed.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned()
}

/// Runs a command with this standard input; panics, and kills it, when it takes longer than `limit`.
#[track_caller]
pub fn with_input(mut command: Command, input: &[u8], limit: Duration) -> Done {
    let started = Instant::now();
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let stdout = reader(running.0.stdout.take());
    let stderr = reader(running.0.stderr.take());
    let mut stdin = running.0.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // It may end without reading.
        let _ = stdin.write_all(&input);
    });
    let mut status = None;
    wait::until(&format!("the end of {command:?}"), limit, || {
        status = running.0.try_wait().expect("a child of ours");
        status
    });
    // What a child of it may hold open is not waited for longer than the limit either.
    for thread in [&stdout, &stderr] {
        wait::until(&format!("the end of the output of {command:?}"), limit, || {
            thread.is_finished().then_some(())
        });
    }
    // Ends with the program, whose end of the pipe is closed.
    writer.join().expect("a thread of ours");
    Done {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().expect("a thread of ours"),
        stderr: stderr.join().expect("a thread of ours"),
        took: started.elapsed(),
    }
}

/// Runs a command without input; panics, and kills it, when it takes longer than `limit`.
#[track_caller]
pub fn output(command: Command, limit: Duration) -> Done {
    with_input(command, b"", limit)
}

/// A child that is killed with this value.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    let mut stream = stream.expect("a pipe");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe is an end like another.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}
