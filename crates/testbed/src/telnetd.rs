//! Debian's Telnet server (GNU inetutils) with the system's `login`, on a port of its own.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use crate::{
    accounts::{Account, Accounts},
    lifeline::Lifeline,
    postgres::free_port,
    skip, wait,
};

const INETD: &str = "/usr/sbin/inetutils-inetd";
const TELNETD: &str = "/usr/sbin/telnetd";
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;
/// How long it may take to listen; generous, for busy machines.
const READY: Duration = Duration::from_secs(20);

/// A running server with one user, `deploy`, whose shell is bash.
#[derive(Debug)]
pub struct Telnetd {
    accounts: Accounts,
    port: u16,
    lifeline: Option<Lifeline>,
}

impl Telnetd {
    /// `None`, and a visible line, where it is not installed or there is no root.
    pub fn start() -> Option<Self> {
        if !Path::new(INETD).is_file() || !Path::new(TELNETD).is_file() {
            skip::whole("no Telnet server is installed (Debian: apt-get install inetutils-telnetd)");
            return None;
        }
        if !rustix::process::getuid().is_root() {
            skip::whole("no root, which a login server with users of its own needs");
            return None;
        }
        let accounts = Accounts::new("sojourn-telnetd-", &[("deploy", "/bin/bash")]);
        let mut server = Self { accounts, port: 0, lifeline: None };
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            let directory = server.accounts.directory();
            let file = directory.join("inetd.conf");
            let service = format!("127.0.0.1:{} stream tcp nowait root {TELNETD} telnetd -h\n", server.port);
            fs::write(&file, service).expect("a configuration");
            let mut command = server.accounts.command(None, INETD);
            command.arg("-d").arg(&file);
            server.lifeline = Some(Lifeline::start(directory, &command));
            if server.listening() {
                return Some(server);
            }
            server.stop();
        }
        panic!("inetd did not start: {}", server.log());
    }

    /// A connection of its own tells: the log of inetd says nothing of a port that it got.
    fn listening(&self) -> bool {
        let mut listens = false;
        wait::until("inetd to listen or to fail", READY, || {
            let log = self.log();
            let failed = log.contains("bind:") || log.contains("in use");
            listens = !failed && std::net::TcpStream::connect(self.address()).is_ok();
            (listens || failed).then_some(())
        });
        listens
    }

    fn stop(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.stop();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn account(&self) -> &Account {
        &self.accounts.list[0]
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.accounts.directory().join("log")).unwrap_or_default()
    }
}

impl Drop for Telnetd {
    fn drop(&mut self) {
        self.stop();
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(self.accounts.directory());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use super::*;

    #[test]
    fn a_user_logs_in() {
        let Some(server) = Telnetd::start() else { return };
        let account = server.account();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let mut seen = Vec::new();
        // What is typed once a word has been seen. Every offer and request is refused.
        for (word, answer) in [
            ("login: ", account.name.as_str()),
            ("Password: ", account.password.as_str()),
            ("$ ", "echo in-$((6*7))"),
            ("in-42", "exit"),
        ] {
            let mut piece = [0; 512];
            while !String::from_utf8_lossy(&seen).contains(word) {
                let length = stream.read(&mut piece).unwrap();
                assert_ne!(length, 0, "{}", String::from_utf8_lossy(&seen));
                seen.extend(&piece[..length]);
                for at in 0..length.saturating_sub(2) {
                    if let [255, command @ (251 | 253), option] = piece[at..at + 3] {
                        stream.write_all(&[255, if command == 251 { 254 } else { 252 }, option]).unwrap();
                    }
                }
            }
            seen.clear();
            stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
        }
    }
}
