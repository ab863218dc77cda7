//! Debian's Samba server on a port of its own, with users, shares and data of its own.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    accounts::{Account, Accounts},
    lifeline::Lifeline,
    postgres::free_port,
    skip, wait,
};

/// Where Debian keeps it; not on an ordinary user's path.
const SMBD: &str = "/usr/sbin/smbd";
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;
/// How long it may take to listen; generous, for busy machines.
const READY: Duration = Duration::from_secs(60);

/// The users of every server.
const USERS: &[(&str, &str)] = &[("deploy", "/bin/bash"), ("guest", "/bin/sh")];

/// What the server insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Samba's own defaults: signed when a client wants it.
    Plain,
    /// `server signing = mandatory`.
    Signed,
    /// `smb encrypt = required`.
    Encrypted,
}

impl Protection {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Signed, Self::Encrypted];

    const fn lines(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Signed => "server signing = mandatory\n",
            Self::Encrypted => "server signing = mandatory\nserver smb encrypt = required\n",
        }
    }
}

/// A running server with the shares `files` and `second` (writable by `deploy`), `locked` (for nobody) and `sealed`
/// (encryption required on this share alone).
///
/// ```no_run
/// # use sojourn_testbed::samba::{Protection, Samba};
/// let Some(target) = Samba::start(Protection::Plain) else { return };
/// let account = target.account();
/// println!("smb://{}@127.0.0.1:{}/files {}", account.name, target.port(), account.password);
/// ```
#[derive(Debug)]
pub struct Samba {
    accounts: Accounts,
    port: u16,
    lifeline: Option<Lifeline>,
}

impl Samba {
    /// On the loopback; `None`, and a visible line, where it is not installed or there is no root.
    pub fn start(protection: Protection) -> Option<Self> {
        Self::with(protection, &[], &[])
    }

    /// With more lines of the `[global]` section, and more shares (whole sections).
    pub fn with(protection: Protection, global: &[&str], shares: &[&str]) -> Option<Self> {
        if !Path::new(SMBD).is_file() {
            skip::whole("smbd is not installed (Debian: apt-get install samba)");
            return None;
        }
        if !rustix::process::getuid().is_root() {
            skip::whole("no root, which a file server with users of its own needs");
            return None;
        }
        let accounts = Accounts::new("sojourn-smb-", USERS);
        let mut server = Self { accounts, port: 0, lifeline: None };
        for folder in ["private", "lock", "state", "cache", "rpc", "logs"] {
            fs::create_dir_all(server.directory().join(folder)).expect("a directory");
        }
        for share in ["files", "second", "locked", "sealed"] {
            let folder = server.share(share);
            fs::create_dir_all(&folder).expect("a share");
            server.account().own(&folder);
        }
        for attempt in 0..ATTEMPTS {
            server.port = free_port();
            server.configure(protection, global, shares);
            if attempt == 0 {
                for account in &server.accounts.list {
                    server.set_password(account);
                }
            }
            server.resume();
            if server.listening() {
                return Some(server);
            }
            server.stop();
        }
        panic!("smbd did not start: {}", server.log());
    }

    fn configure(&self, protection: Protection, global: &[&str], shares: &[&str]) {
        let directory = self.directory().display();
        let global: String = global.iter().map(|line| format!("{line}\n")).collect();
        let section =
            |name: &str, more: &str| format!("[{name}]\npath = {directory}/{name}\nread only = no\n{more}\n");
        let own = [
            section("files", ""),
            section("second", ""),
            section("locked", "valid users = nobody"),
            section("sealed", "smb encrypt = required"),
        ]
        .concat();
        let config = format!(
            "[global]\nworkgroup = LAB\nnetbios name = LAB\nserver role = standalone server\n\
             interfaces = 127.0.0.1/8\nbind interfaces only = yes\nsmb ports = {}\ndisable netbios = yes\n\
             map to guest = never\nload printers = no\nprinting = bsd\nprintcap name = /dev/null\n\
             private dir = {directory}/private\nlock directory = {directory}/lock\nstate directory = {directory}/state\n\
             cache directory = {directory}/cache\npid directory = {directory}\nncalrpc dir = {directory}/rpc\n\
             log file = {directory}/logs/%m\nlog level = 1\nunix charset = UTF-8\nserver min protocol = SMB2_02\n\
             {}{global}{own}{}",
            self.port,
            protection.lines(),
            shares.join("\n"),
        );
        fs::write(self.config(), config).expect("a configuration");
    }

    fn config(&self) -> PathBuf {
        self.directory().join("smb.conf")
    }

    fn set_password(&self, account: &Account) {
        let mut command = self.accounts.command(None, "smbpasswd");
        command.arg("-c").arg(self.config()).args(["-L", "-s", "-a", &account.name]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("smbpasswd starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        writeln!(stdin, "{0}\n{0}", account.password).expect("smbpasswd reads");
        drop(stdin);
        let output = child.wait_with_output().expect("smbpasswd ends");
        assert!(output.status.success(), "smbpasswd: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn listening(&self) -> bool {
        let mut listens = false;
        wait::until("smbd to listen or to fail", READY, || {
            listens = TcpStream::connect(self.address()).is_ok();
            let failed = self.log().contains("Failed to ") || self.log().contains("exit_server");
            (listens || failed).then_some(())
        });
        listens
    }

    fn resume(&mut self) {
        let mut server = self.accounts.command(None, SMBD);
        server
            .args(["--foreground", "--no-process-group", "--debug-stdout", "--configfile"])
            .arg(self.config());
        self.lifeline = Some(Lifeline::start(self.accounts.directory(), &server));
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
        assert!(self.listening(), "smbd did not come back: {}", self.log());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The user who may write, `deploy`.
    pub fn account(&self) -> &Account {
        &self.accounts.list[0]
    }

    /// All users: `deploy` and `guest`, who may read.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts.list
    }

    /// The folder behind a share.
    pub fn share(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// A directory that goes with the server.
    pub fn directory(&self) -> &Path {
        self.accounts.directory()
    }

    /// `smbclient` on a share, as `deploy`; commands are given with `-c`.
    pub fn client(&self, share: &str) -> Command {
        let account = self.account();
        let mut command = Command::new("smbclient");
        command.arg("-s").arg(self.config()).arg(format!("//127.0.0.1/{share}"));
        command
            .args(["-p", &self.port.to_string(), "-U"])
            .arg(format!("{}%{}", account.name, account.password));
        command.stdin(Stdio::null());
        command
    }

    /// What it has logged since it was last started, and what it logged of its clients.
    pub fn log(&self) -> String {
        let mut log = fs::read_to_string(self.directory().join("log")).unwrap_or_default();
        for file in fs::read_dir(self.directory().join("logs")).into_iter().flatten().flatten() {
            log.push_str(&fs::read_to_string(file.path()).unwrap_or_default());
        }
        log
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        self.stop();
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(self.accounts.directory());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_protected_as_it_should_be() {
        for protection in Protection::ALL {
            let Some(server) = Samba::start(protection) else { return };
            fs::write(server.share("files").join("a file"), "content").unwrap();
            let output = server.client("files").args(["-c", "ls"]).output().unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains("a file"), "{protection:?} {output:?}");
            let output = server.client("locked").args(["-c", "ls"]).output().unwrap();
            assert!(!output.status.success(), "{protection:?} {output:?}");
            let plain = server.client("files").args(["-c", "ls", "-m", "SMB2_10"]).output().unwrap();
            assert_eq!(
                plain.status.success(),
                protection != Protection::Encrypted,
                "{protection:?} {plain:?}"
            );
        }
    }
}
