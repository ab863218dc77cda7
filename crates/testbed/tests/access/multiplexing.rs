//! Many channels in one connection, none of which may hinder another.

use std::{
    fs::File,
    io::Read as _,
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use sojourn_testbed::{
    free_port,
    run::{self, Running},
    ssh_client::Way,
    sshd::Sshd,
    wait,
};

use crate::cases::{SOON, scratch};

/// A master connection whose sessions are asked for by [`Master::ssh`].
struct Master {
    way: Way,
    socket: String,
    _directory: tempfile::TempDir,
    _master: Running,
}

impl Master {
    fn start(way: &Way) -> Self {
        let directory = scratch();
        let socket = directory.path().join("control").display().to_string();
        let master = Running::start(&mut way.ssh_with(&["-N", "-M", "-S", &socket]));
        let started = Self { way: way.clone(), socket, _directory: directory, _master: master };
        wait::until("the master", SOON, || {
            let check = started.way.ssh_with(&["-S", &started.socket, "-O", "check"]);
            (run::output(check, SOON).code == Some(0)).then_some(())
        });
        started
    }

    fn ssh(&self) -> std::process::Command {
        self.ssh_with(&[])
    }

    fn ssh_with(&self, args: &[&str]) -> std::process::Command {
        self.way.ssh_with(&[&["-S", &self.socket], args].concat())
    }

    /// A session of its own that does something small, over this same connection.
    #[track_caller]
    fn prove_alive(&self) {
        let mut ssh = self.ssh();
        ssh.arg("cat; echo alive; exit 3");
        let done = run::with_input(ssh, &[b'a'; 1000], Duration::from_secs(20));
        assert_eq!((done.code, done.stdout.len()), (Some(3), 1006), "{}", done.err());
    }
}

pub(crate) fn twenty_sessions_share_a_flooded_connection(way: &Way, _: &Sshd) {
    let master = Master::start(way);
    let mut flood = Running::start(master.ssh().arg("cat /dev/zero").stdout(Stdio::piped()));
    let mut stream = flood.0.stdout.take().unwrap();
    let drained = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut piece = vec![0; 1 << 16];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                drained.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
        let flows = |more: u64| {
            let before = drained.load(Ordering::Relaxed);
            wait::until("the flood to flow", SOON, || {
                (drained.load(Ordering::Relaxed) > before + more).then_some(())
            });
        };
        flows(1 << 20);
        let sessions: Vec<_> = (0..20)
            .map(|index| {
                let master = &master;
                scope.spawn(move || {
                    let mut ssh = master.ssh();
                    ssh.arg(format!("cat; echo session {index}; exit {index}"));
                    let done = run::with_input(ssh, &[b'z'; 5000], SOON);
                    assert_eq!(done.code, Some(index), "{}", done.err());
                    assert!(done.out().ends_with(&format!("session {index}\n")));
                    assert_eq!(done.stdout.iter().filter(|byte| **byte == b'z').count(), 5000);
                })
            })
            .collect();
        let failed = sessions.into_iter().map(thread::ScopedJoinHandle::join).filter(Result::is_err).count();
        flows(1 << 20);
        drop(flood);
        assert_eq!(failed, 0, "sessions beside a flood failed");
    });
}

pub(crate) fn fifty_sessions_open_at_once(way: &Way, _: &Sshd) {
    open_at_once(way, 50);
}

/// So many sessions on one connection, each of which ends in its own way.
pub(crate) fn open_at_once(way: &Way, sessions: usize) {
    let master = Master::start(way);
    let said = scratch();
    let errors = |index: usize| said.path().join(index.to_string());
    let mut open: Vec<_> = (0..sessions)
        .map(|index| {
            let mut ssh = master.ssh_with(&["-v"]);
            ssh.arg(format!("cat; exit {index}")).stdin(Stdio::piped()).stdout(Stdio::null());
            Running::start(ssh.stderr(File::create(errors(index)).unwrap()))
        })
        .collect();
    for (index, session) in open.iter_mut().enumerate() {
        drop(session.0.stdin.take());
        let status = wait::until("a session's end", SOON, || session.0.try_wait().unwrap());
        let said = std::fs::read_to_string(errors(index)).unwrap();
        assert_eq!(status.code(), i32::try_from(index).ok(), "session {index}: {said}");
    }
}

pub(crate) fn a_stalled_download_stops_nobody(way: &Way, _: &Sshd) {
    let master = Master::start(way);
    // Its output is a pipe that nobody reads.
    let _stalled = Running::start(master.ssh().arg("cat /dev/zero").stdout(Stdio::piped()));
    // Long enough for every window and buffer on the way to fill.
    wait::during(Duration::from_secs(4), || {});
    (0..3).for_each(|_| master.prove_alive());
    // A second one beside it, on the error stream.
    let _second = Running::start(master.ssh().arg("cat /dev/zero >&2").stderr(Stdio::piped()));
    wait::during(Duration::from_secs(3), || {});
    (0..3).for_each(|_| master.prove_alive());
}

pub(crate) fn a_stalled_upload_stops_nobody(way: &Way, _: &Sshd) {
    let master = Master::start(way);
    let zero = File::open("/dev/zero").unwrap();
    let _stalled = Running::start(master.ssh().arg("sleep 300").stdin(zero));
    wait::during(Duration::from_secs(4), || {});
    (0..3).for_each(|_| master.prove_alive());
}

pub(crate) fn a_stalled_forward_stops_nobody(way: &Way, _: &Sshd) {
    // It takes connections and reads nothing from them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, port) = (listener.local_addr().unwrap(), free_port());
    let master = Master::start(way);
    let forward = format!("{port}:{server}");
    run::output(master.ssh_with(&["-O", "forward", "-L", &forward]), SOON).ok();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _kept = listener.accept().unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let piece = vec![b'f'; 1 << 16];
    // Until nothing more is taken.
    while std::io::Write::write(&mut stream, &piece).is_ok() {}
    (0..3).for_each(|_| master.prove_alive());
}
