//! Debian's OpenSSH server on a port of its own, with users and host keys of its own.

use std::{fs, io::Write as _, net::SocketAddr, path::Path, process::Command, time::Duration};

use crate::{
    accounts::{Account, Accounts, new_key},
    lifeline::Lifeline,
    netns::{Host, in_namespace},
    postgres::free_port,
    skip,
    ssh_client::Way,
    wait,
};

/// Where Debian keeps it; not on an ordinary user's path.
const SSHD: &str = "/usr/sbin/sshd";
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;
/// How long it may take to listen; generous, for busy machines.
const READY: Duration = Duration::from_secs(20);

/// The users of every server: one with bash, one with a plain shell.
const USERS: &[(&str, &str)] = &[("deploy", "/bin/bash"), ("guest", "/bin/sh")];

/// A running server.
///
/// ```no_run
/// # use sojourn_testbed::sshd::Sshd;
/// let Some(target) = Sshd::start() else { return };
/// let account = target.account();
/// println!("{}@127.0.0.1:{} {}", account.name, target.port(), account.password);
/// assert!(target.way().ssh().arg("true").status().unwrap().success());
/// ```
#[derive(Debug)]
pub struct Sshd {
    accounts: Accounts,
    namespace: Option<String>,
    port: u16,
    lifeline: Option<Lifeline>,
}

impl Sshd {
    /// On the loopback; `None`, and a visible line, where it is not installed or there is no root.
    pub fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// With more lines of `sshd_config`; they win over this test bed's own.
    pub fn with(config: &[&str]) -> Option<Self> {
        Self::start_in(None, config)
    }

    /// On the loopback of a host in a test network.
    pub fn on(host: &Host, config: &[&str]) -> Option<Self> {
        Self::start_in(Some(host.namespace()), config)
    }

    fn start_in(namespace: Option<&str>, config: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).is_file() {
            skip::whole("sshd is not installed (Debian: apt-get install openssh-server)");
            return None;
        }
        if !rustix::process::getuid().is_root() {
            skip::whole("no root, which a login server with users of its own needs");
            return None;
        }
        let accounts = Accounts::new("sojourn-sshd-", USERS);
        new_key(&accounts.directory().join("host_ed25519"), "ed25519", "");
        new_key(&accounts.directory().join("host_rsa"), "rsa", "");
        // Where it jails its unprivileged half; the system's own service would make it.
        fs::create_dir_all("/run/sshd").expect("/run/sshd");
        let mut server = Self { accounts, namespace: namespace.map(str::to_owned), port: 0, lifeline: None };
        for _ in 0..ATTEMPTS {
            server.port = in_namespace(namespace, free_port);
            server.configure(config);
            server.resume();
            if server.listening() {
                return Some(server);
            }
            server.stop();
        }
        panic!("sshd did not start: {}", server.log());
    }

    fn configure(&self, extra: &[&str]) {
        let directory = self.accounts.directory().display();
        let extra: String = extra.iter().map(|line| format!("{line}\n")).collect();
        let config = format!(
            "{extra}Port {}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\n\
             HostKey {directory}/host_ed25519\nHostKey {directory}/host_rsa\n\
             MaxSessions 1000\nMaxStartups 1000:30:2000\nMaxAuthTries 20\nLoginGraceTime 120\n\
             AcceptEnv LANG LC_* SOJOURN_TEST*\nAllowAgentForwarding yes\nAllowTcpForwarding yes\n\
             GatewayPorts clientspecified\nPermitUserEnvironment no\nPrintMotd no\nPrintLastLog no\n\
             LogLevel VERBOSE\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
            self.port
        );
        fs::write(self.accounts.directory().join("sshd_config"), config).expect("a configuration");
    }

    fn listening(&self) -> bool {
        let mut listens = false;
        wait::until("sshd to listen or to fail", READY, || {
            let log = self.log();
            listens = log.contains("Server listening on");
            (listens || log.contains("Cannot bind") || log.contains("fatal:")).then_some(())
        });
        listens
    }

    /// Ends the server and all its sessions at once, as when a machine loses power.
    pub fn stop(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.stop();
        }
    }

    /// Starts again, on the same port, after [`Self::stop`].
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
        assert!(self.listening(), "sshd did not come back: {}", self.log());
    }

    fn resume(&mut self) {
        let directory = self.accounts.directory();
        let mut server = self.accounts.command(self.namespace.as_deref(), SSHD);
        server.args(["-D", "-e", "-f"]).arg(directory.join("sshd_config"));
        self.lifeline = Some(Lifeline::start(directory, &server));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The user with bash, `deploy`.
    pub fn account(&self) -> &Account {
        &self.accounts.list[0]
    }

    /// All users: `deploy` (bash) and `guest` (sh).
    pub fn accounts(&self) -> &[Account] {
        &self.accounts.list
    }

    /// The public ed25519 host key, as in `known_hosts` without the name: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> String {
        let text = fs::read_to_string(self.accounts.directory().join("host_ed25519.pub"));
        let text = text.expect("a host key");
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// `SHA256:…` of the ed25519 host key.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.accounts.directory().join("host_ed25519.pub"))
    }

    /// New host keys, as after a reinstallation or with someone in the middle. Ends all sessions.
    pub fn replace_host_keys(&mut self) {
        self.stop();
        for kind in ["ed25519", "rsa"] {
            let file = self.accounts.directory().join(format!("host_{kind}"));
            fs::remove_file(&file).expect("the old key");
            fs::remove_file(file.with_extension("pub")).expect("the old key");
            new_key(&file, kind, "");
        }
        self.restart();
    }

    /// How clients reach it directly, as `deploy` with the key.
    pub fn way(&self) -> Way {
        let account = self.account();
        Way::new(self.address(), &account.name).key(&account.key).within(self.namespace.as_deref())
    }

    /// A directory that goes with the server; the users may read it.
    pub fn directory(&self) -> &Path {
        self.accounts.directory()
    }

    /// What it has logged since it was last started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.accounts.directory().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(self.accounts.directory());
    }
}

/// `SHA256:…` of a key's file.
pub fn fingerprint(key: &Path) -> String {
    let output = Command::new("ssh-keygen").args(["-l", "-E", "sha256", "-f"]).arg(key).output();
    let output = output.expect("ssh-keygen runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.split_whitespace().find(|word| word.starts_with("SHA256:"));
    found.unwrap_or_else(|| panic!("no fingerprint of {}: {text}", key.display())).to_owned()
}

/// Starts one, prints how to reach it as one line of JSON, and keeps it until standard input ends:
/// for tests that are not written in Rust.
pub fn serve() -> Result<(), String> {
    let server = Sshd::start().ok_or("no sshd here")?;
    let account = server.account();
    let line = serde_json::json!({
        "host": "127.0.0.1",
        "port": server.port(),
        "username": account.name,
        "password": account.password,
        "keyFile": account.key,
        "home": account.home,
        "fingerprint": server.fingerprint(),
    });
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_log_in_by_key_and_by_password() {
        let Some(server) = Sshd::start() else { return };
        let output = server.way().ssh().arg("id -un; echo $SHELL").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "deploy\n/bin/bash\n", "{output:?}");
        let guest = &server.accounts()[1];
        let way = Way::new(server.address(), &guest.name).password(&guest.password);
        let output = way.ssh().arg("id -un").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "guest\n", "{output:?}");
        let wrong = Way::new(server.address(), &guest.name).password("wrong");
        assert!(!wrong.ssh().arg("true").status().unwrap().success());
        assert!(server.host_key().starts_with("ssh-ed25519 AAAA"));
    }

    #[test]
    fn it_stops_comes_back_and_may_change_its_keys() {
        let Some(mut server) = Sshd::start() else { return };
        let way = server.way();
        let before = server.fingerprint();
        server.stop();
        assert!(!way.ssh().arg("true").status().unwrap().success());
        server.restart();
        assert!(way.ssh().arg("true").status().unwrap().success());
        server.replace_host_keys();
        assert_ne!(server.fingerprint(), before);
        let directory = server.directory().to_owned();
        drop(server);
        assert!(!directory.exists());
    }

    #[test]
    fn it_goes_with_its_lifeline() {
        let Some(mut server) = Sshd::start() else { return };
        // As when the test program is killed.
        server.lifeline.take().expect("started here").let_go();
        wait::until("the server to be gone", READY, || {
            let gone =
                std::net::TcpStream::connect(server.address()).is_err() && !server.directory().exists();
            gone.then_some(())
        });
    }
}
