//! Forwarded ports, sockets and agents.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    process::{Command, Stdio},
    thread,
};

use sojourn_testbed::{
    free_port,
    run::{self, Running},
    ssh_client::Way,
    sshd::Sshd,
    wait,
};

use crate::cases::{SOON, scratch};

/// What a client sends through a forwarded port.
const MUCH: usize = 3_000_000;

/// Serves whoever comes: reads to the end, then sends everything back with a greeting before it.
fn echo_after_the_end() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Goes with the test process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: impl Read + Write) {
    let mut all = b"hello ".to_vec();
    // A client that went away has nothing to be told.
    if stream.read_to_end(&mut all).is_ok() {
        let _ = stream.write_all(&all);
    }
}

/// Sends much, ends its direction, and reads everything back.
#[track_caller]
fn exchange(mut stream: TcpStream) {
    let much: Vec<u8> = (0..MUCH).map(|index| (index % 251) as u8).collect();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.write_all(&much).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == [b"hello ".as_slice(), &much].concat(), "{} bytes came back", back.len());
}

/// Connects as soon as somebody listens.
fn connect(port: u16) -> TcpStream {
    wait::until("a forwarded port", SOON, || TcpStream::connect(("127.0.0.1", port)).ok())
}

pub(crate) fn local_ports_are_forwarded(way: &Way, _: &Sshd) {
    let (server, port) = (echo_after_the_end(), free_port());
    let forward = format!("{port}:{server}");
    let _ssh = Running::start(&mut way.ssh_with(&["-N", "-L", &forward]));
    exchange(connect(port));
    // Several at once, and one that nobody reads in between.
    let idle = connect(port);
    let others: Vec<_> = (0..8).map(|_| thread::spawn(move || exchange(connect(port)))).collect();
    others.into_iter().for_each(|other| other.join().unwrap());
    drop(idle);
    exchange(connect(port));
}

pub(crate) fn a_refused_forward_harms_nothing(way: &Way, _: &Sshd) {
    let (server, port, refused) = (echo_after_the_end(), free_port(), free_port());
    let (good, bad) = (format!("{port}:{server}"), free_port());
    let nobody = format!("{bad}:127.0.0.1:{refused}");
    let _ssh = Running::start(&mut way.ssh_with(&["-N", "-L", &good, "-L", &nobody]));
    exchange(connect(port));
    let mut stream = connect(bad);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut byte = [0];
    // Ended or reset, but at once.
    assert!(matches!(stream.read(&mut byte), Ok(0) | Err(_)));
    exchange(connect(port));
}

pub(crate) fn standard_streams_are_forwarded(way: &Way, _: &Sshd) {
    let server = echo_after_the_end().to_string();
    let done = run::with_input(way.ssh_with(&["-W", &server]), &vec![b'w'; MUCH], SOON).ok();
    assert_eq!(done.stdout.len(), MUCH + 6);
}

pub(crate) fn remote_ports_are_forwarded(way: &Way, _: &Sshd) {
    let forward = format!("0:{}", echo_after_the_end());
    let way = way.clone().option("LogLevel=INFO");
    let mut ssh = Running::start(way.ssh_with(&["-N", "-R", &forward]).stderr(Stdio::piped()));
    let lines = BufReader::new(ssh.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let port = lines.into_iter().find_map(|line| {
        said.push(line.clone());
        line.strip_prefix("Allocated port ")?.split_whitespace().next()?.parse().ok()
    });
    let port: u16 = port.unwrap_or_else(|| panic!("no port was allocated: {said:?}"));
    exchange(connect(port));
    let both: Vec<_> = (0..4).map(|_| thread::spawn(move || exchange(connect(port)))).collect();
    both.into_iter().for_each(|one| one.join().unwrap());
    drop(ssh);
    wait::until("the forwarded port to go", SOON, || {
        TcpStream::connect(("127.0.0.1", port)).is_err().then_some(())
    });
}

pub(crate) fn remote_forwards_are_taken_back(way: &Way, _: &Sshd) {
    let directory = scratch();
    let socket = directory.path().join("control").display().to_string();
    let _master = Running::start(&mut way.ssh_with(&["-N", "-M", "-S", &socket]));
    let control = |args: &[&str]| {
        let done = run::output(way.ssh_with(&[&["-S", &socket], args].concat()), SOON);
        (done.code == Some(0)).then(|| done.out().trim().to_owned())
    };
    wait::until("the master", SOON, || control(&["-O", "check"]));
    let forward = format!("0:{}", echo_after_the_end());
    let port = control(&["-O", "forward", "-R", &forward]).expect("a forward");
    exchange(connect(port.parse().unwrap()));
    control(&["-O", "cancel", "-R", &forward]).expect("a cancelled forward");
    wait::until("the forwarded port to go", SOON, || {
        TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).is_err().then_some(())
    });
}

pub(crate) fn any_port_is_reached_by_socks(way: &Way, _: &Sshd) {
    let (server, port) = (echo_after_the_end(), free_port());
    let listen = format!("127.0.0.1:{port}");
    let _ssh = Running::start(&mut way.ssh_with(&["-N", "-D", &listen]));
    let [high, low] = server.port().to_be_bytes();
    // By address and by name (RFC 1928, section 4).
    let address = [&[5, 1, 0, 1, 127, 0, 0, 1][..], &[high, low]].concat();
    let name = [&[5, 1, 0, 3, 9][..], b"localhost", &[high, low]].concat();
    for request in [address, name] {
        let mut stream = connect(port);
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(&[5, 1, 0]).unwrap();
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [5, 0]);
        stream.write_all(&request).unwrap();
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..2], [5, 0]);
        exchange(stream);
    }
}

pub(crate) fn sockets_are_forwarded(way: &Way, _: &Sshd) {
    let directory = scratch();
    let (far, near) = (directory.path().join("far"), directory.path().join("near"));
    let listener = UnixListener::bind(&far).unwrap();
    fs::set_permissions(&far, fs::Permissions::from_mode(0o777)).unwrap();
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(serve));
    let forward = format!("{}:{}", near.display(), far.display());
    let _ssh = Running::start(&mut way.ssh_with(&["-N", "-L", &forward]));
    let mut stream = wait::until("a forwarded socket", SOON, || UnixStream::connect(&near).ok());
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"socket").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).unwrap();
    assert_eq!(back, "hello socket");
}

pub(crate) fn the_agent_comes_along(way: &Way, target: &Sshd) {
    let directory = scratch();
    let socket = directory.path().join("agent");
    let mut agent = Command::new("ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
    let _agent = Running::start(&mut agent);
    let ask = |args: &[&str]| {
        let mut add = Command::new("ssh-add");
        add.args(args).env("SSH_AUTH_SOCK", &socket);
        run::output(add, SOON)
    };
    wait::until("the agent", SOON, || socket.exists().then_some(()));
    let key = target.account().key.display().to_string();
    ask(&["-q", &key]).ok();
    let keys = ask(&["-L"]).ok().out();
    let with_agent =
        way.clone().option("ForwardAgent=yes").option(format!("IdentityAgent={}", socket.display()));
    let mut ssh = with_agent.ssh();
    ssh.arg("ssh-add -L");
    assert_eq!(run::output(ssh, SOON).ok().out(), keys);
    // It signs, too.
    let hop = format!(
        "ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
         -o BatchMode=yes -p {} deploy@127.0.0.1 echo hopped",
        target.port()
    );
    let mut ssh = with_agent.ssh();
    ssh.arg(&hop);
    assert_eq!(run::output(ssh, SOON).ok().out(), "hopped\n");
    // Without being forwarded it is not there.
    let mut ssh = way.ssh();
    ssh.arg("echo ${SSH_AUTH_SOCK:-none}");
    assert_eq!(run::output(ssh, SOON).ok().out(), "none\n");
}
