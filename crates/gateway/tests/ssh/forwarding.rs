//! Forwarded ports, the agent, files, and many sessions on one connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use sojourn_domain::access::{ConnectionPolicy, Purpose};
use sojourn_testbed::{postgres::free_port, wait};

use crate::house::Lab;

const PATIENCE: Duration = Duration::from_secs(30);

struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends back what it gets, with `>` before it.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut text = Vec::new();
                stream.read_to_end(&mut text).unwrap();
                stream.write_all(&[b">", text.as_slice()].concat()).unwrap();
            });
        }
    });
    address
}

fn ask(port: u16, text: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(text.as_bytes()).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_local_port_leads_to_what_the_target_reaches() {
    let Some(lab) = Lab::new() else { return };
    let (echo, port) = (echo_server(), free_port());
    let spec = format!("127.0.0.1:{port}:{echo}");
    let child = lab.way().option("ExitOnForwardFailure=yes").ssh_with(&["-N", "-L", &spec]).spawn().unwrap();
    let _child = Background(child);
    let answer = wait::until("an answer", PATIENCE, || ask(port, "hello").filter(|it| !it.is_empty()));
    assert_eq!(answer, ">hello");
    let much = "x".repeat(5_000_000);
    assert_eq!(ask(port, &much).unwrap().len(), 5_000_001);
    lab.told(|told| {
        assert_eq!(told.openings.len(), 1);
        assert_eq!(told.openings[0].purpose, Purpose::Forward);
        assert_eq!(told.destinations[0], echo.to_string());
    });
}

#[test]
fn a_port_at_the_target_leads_back() {
    let Some(lab) = Lab::new() else { return };
    let echo = echo_server();
    let spec = format!("127.0.0.1:0:{echo}");
    let mut child = lab
        .way()
        .option("LogLevel=INFO")
        .ssh_with(&["-N", "-R", &spec])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let _child = Background(child);
    let mut said = String::new();
    let mut byte = [0];
    // "Allocated port 40001 for remote forward to …"
    while !said.contains("for remote forward") {
        stderr.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let port: u16 = said.split("Allocated port ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(ask(port, "back").unwrap(), ">back");
}

#[test]
fn a_socks_proxy_works() {
    let Some(lab) = Lab::new() else { return };
    let (echo, port) = (echo_server(), free_port());
    let child = lab.way().ssh_with(&["-N", "-D", &port.to_string()]).spawn().unwrap();
    let _child = Background(child);
    let answer = wait::until("an answer", PATIENCE, || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(&[5, 1, 0]).ok()?;
        let mut reply = [0; 2];
        stream.read_exact(&mut reply).ok()?;
        let mut request = vec![5, 1, 0, 1, 127, 0, 0, 1];
        request.extend(echo.port().to_be_bytes());
        stream.write_all(&request).ok()?;
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).ok()?;
        stream.write_all(b"socks").ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    assert_eq!(answer, ">socks");
}

#[test]
fn what_the_policy_forbids_is_refused() {
    let policy = ConnectionPolicy {
        allow_forwarding: false,
        allow_files: false,
        allow_agent: false,
        ..ConnectionPolicy::default()
    };
    let Some(lab) = Lab::with(|house| house.policy = policy) else { return };
    let echo = echo_server();
    let output = lab
        .way()
        .option("ExitOnForwardFailure=yes")
        .ssh_with(&["-N", "-R", &format!("127.0.0.1:0:{echo}")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let output = lab.way().ssh_with(&["-W", &echo.to_string()]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let output = lab.way().ssh().arg("scp -f /etc/passwd").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not allow files"), "{output:?}");
    let mut child = lab.way().sftp().stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ls\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not allow files"), "{output:?}");
    assert!(lab.way().ssh().arg("true").output().unwrap().status.success());
}

#[test]
fn the_agent_is_there_at_the_target() {
    let Some(lab) = Lab::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    let agent =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let _agent = Background(agent);
    wait::until("the agent", PATIENCE, || socket.exists().then_some(()));
    let key = &lab.sshd.account().key;
    let added = Command::new("ssh-add").arg(key).env("SSH_AUTH_SOCK", &socket).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    let output = lab
        .way()
        .option(format!("IdentityAgent={}", socket.display()))
        .ssh_with(&["-A"])
        .arg("ssh-add -l")
        .output()
        .unwrap();
    let fingerprint = sojourn_testbed::sshd::fingerprint(key);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&fingerprint), "{output:?}");
}

#[test]
fn twenty_sessions_share_a_connection_during_a_flood() {
    let Some(lab) = Lab::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let way = lab.way().option(format!("ControlPath={}", path.display()));
    let _master = Background(way.ssh_with(&["-M", "-N"]).spawn().unwrap());
    wait::until("the master's socket", PATIENCE, || path.exists().then_some(()));
    let mut flood = way.ssh().arg("cat /dev/zero").stdout(Stdio::piped()).spawn().unwrap();
    let mut zeros = flood.stdout.take().unwrap();
    let flood = Background(flood);
    let reader = thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        while zeros.read(&mut piece).is_ok_and(|read| read > 0) {}
    });
    let sessions: Vec<_> = (0..20)
        .map(|n| {
            let way = way.clone();
            thread::spawn(move || way.ssh().arg(format!("echo {n}; exit {n}")).output().unwrap())
        })
        .collect();
    for (n, session) in sessions.into_iter().enumerate() {
        let output = session.join().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{n}\n"), "{output:?}");
        assert_eq!(output.status.code(), i32::try_from(n).ok(), "{output:?}");
    }
    drop(flood);
    reader.join().unwrap();
    // One link for all: the target saw one login.
    assert_eq!(lab.sshd.log().matches("Accepted publickey").count(), 1);
}

#[test]
fn keys_are_exchanged_again_while_data_flows() {
    let Some(lab) = Lab::new() else { return };
    let way = lab.way().option("RekeyLimit=2M");
    let output = way.ssh().arg("head -c 40000000 /dev/zero").output().unwrap();
    assert_eq!(output.stdout.len(), 40_000_000);
    let mut child = way.ssh().arg("wc -c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&vec![0; 40_000_000]).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"40000000\n");
}
