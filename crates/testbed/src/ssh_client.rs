//! OpenSSH's clients, told how to reach one login: directly, or through Sojourn.
//!
//! The same test runs over two [`Way`]s: what works directly proves the test, and what then works
//! through Sojourn proves Sojourn. No file of the person who tests is read: no configuration, no
//! agent, no known hosts.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::netns::command_in;

/// A login, and what opens it.
#[derive(Debug, Clone)]
pub struct Way {
    address: SocketAddr,
    login: String,
    key: Option<PathBuf>,
    password: Option<String>,
    options: Vec<String>,
    namespace: Option<String>,
}

impl Way {
    /// `login` is what stands before the `@`.
    pub fn new(address: SocketAddr, login: &str) -> Self {
        let (key, password, options, namespace) = (None, None, Vec::new(), None);
        Self { address, login: login.to_owned(), key, password, options, namespace }
    }

    /// Logs in with a private key.
    pub fn key(mut self, file: &Path) -> Self {
        self.key = Some(file.to_owned());
        self
    }

    /// Logs in with a password, which `sshpass` types.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// One more setting, as after `ssh -o`.
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// The clients stand in this namespace.
    pub fn within(mut self, namespace: Option<&str>) -> Self {
        self.namespace = namespace.map(str::to_owned);
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn login(&self) -> &str {
        &self.login
    }

    pub fn key_file(&self) -> Option<&Path> {
        self.key.as_deref()
    }

    /// `ssh … LOGIN@HOST`: what is added goes to the command. Reads nothing unless told to.
    pub fn ssh(&self) -> Command {
        self.ssh_with(&[])
    }

    /// `ssh ARGS… LOGIN@HOST`.
    pub fn ssh_with(&self, args: &[&str]) -> Command {
        let mut command = self.client("ssh", "-p");
        command.args(args).arg("-l").arg(&self.login).arg(self.address.ip().to_string());
        command
    }

    /// `sftp -b - ARGS… HOST`: reads its commands from standard input.
    pub fn sftp(&self) -> Command {
        let mut command = self.client("sftp", "-P");
        command.args(["-q", "-b", "-"]).arg(self.destination()).stdin(Stdio::piped());
        command
    }

    /// `scp …`; [`Self::remote`] names files on the other side.
    pub fn scp(&self) -> Command {
        let mut command = self.client("scp", "-P");
        command.arg("-q");
        command
    }

    /// `rsync -e 'ssh …'`; [`Self::remote`] names files on the other side.
    pub fn rsync(&self) -> Command {
        let mut command = command_in(self.namespace.as_deref(), "rsync");
        command.arg("-e").arg(self.shell_words()).stdin(Stdio::null());
        self.give_password(&mut command);
        command
    }

    /// `git`, which reaches this login by [`Self::git_url`].
    pub fn git(&self) -> Command {
        let mut command = command_in(self.namespace.as_deref(), "git");
        command.env("GIT_SSH_COMMAND", self.shell_words()).env("GIT_SSH_VARIANT", "ssh");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.args(["-c", "user.name=test", "-c", "user.email=test@example.org"]);
        command.args(["-c", "init.defaultBranch=main"]).stdin(Stdio::null());
        self.give_password(&mut command);
        command
    }

    /// The URL of a repository on the other side.
    pub fn git_url(&self, path: &str) -> String {
        // `+` and `:` may stand in the login.
        let login: String = self
            .login
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        format!("ssh://{login}@{}{path}", self.address)
    }

    /// `LOGIN@HOST:PATH`.
    pub fn remote(&self, path: &str) -> String {
        format!("{}:{path}", self.destination())
    }

    fn destination(&self) -> String {
        format!("{}@{}", self.login, self.address.ip())
    }

    /// Without quoting: none of these words has a space.
    fn shell_words(&self) -> String {
        let words: Vec<_> = self.words("ssh", "-p");
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn client(&self, program: &str, port_flag: &str) -> Command {
        let words = self.words(program, port_flag);
        let mut command = command_in(self.namespace.as_deref(), &words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK");
        self.give_password(&mut command);
        command
    }

    fn give_password(&self, command: &mut Command) {
        if let Some(password) = &self.password {
            command.env("SSHPASS", password);
        }
    }

    fn words(&self, program: &str, port_flag: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if self.password.is_some() {
            words.extend(["sshpass", "-e"].map(OsString::from));
        }
        words
            .extend([program, "-F", "none", port_flag, &self.address.port().to_string()].map(OsString::from));
        let mut options: Vec<String> = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=60",
            "NumberOfPasswordPrompts=1",
            "IdentityAgent=none",
            "IdentitiesOnly=yes",
        ]
        .map(String::from)
        .to_vec();
        options.push(match (&self.key, &self.password) {
            (Some(_), _) => String::from("PreferredAuthentications=publickey"),
            (None, Some(_)) => String::from("PreferredAuthentications=password"),
            (None, None) => String::from("PreferredAuthentications=none"),
        });
        options.push(match &self.key {
            Some(file) => format!("IdentityFile={}", file.display()),
            None => String::from("IdentityFile=none"),
        });
        // The first value of a setting wins with ssh.
        for option in self.options.iter().chain(&options) {
            words.push("-o".into());
            words.push(option.into());
        }
        words
    }
}
