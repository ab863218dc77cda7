//! Debian's FTP servers on ports of their own: vsftpd (LIST; plain, explicit and implicit TLS) and ProFTPD (MLSD).

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    accounts::{Account, Accounts},
    lifeline::Lifeline,
    postgres::{free_port, run},
    skip, wait,
};

const VSFTPD: &str = "/usr/sbin/vsftpd";
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;
/// How long it may take to listen; generous, for busy machines.
const READY: Duration = Duration::from_secs(20);

/// Which server, and how it is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    VsftpdPlain,
    /// `AUTH TLS`, which it insists on; data connections must be of the same TLS session, which is its default.
    VsftpdExplicit,
    VsftpdImplicit,
    /// Without TLS, whose module is not in Debian's core package.
    Proftpd,
}

/// A running server with one user, `deploy`, who sees the machine from its root.
#[derive(Debug)]
pub struct Ftpd {
    accounts: Accounts,
    kind: Kind,
    extra: String,
    port: u16,
    lifeline: Option<Lifeline>,
}

impl Ftpd {
    /// `None`, and a visible line, where it is not installed or there is no root.
    pub fn start(kind: Kind) -> Option<Self> {
        Self::with(kind, &[])
    }

    /// With more lines of its configuration.
    pub fn with(kind: Kind, extra: &[&str]) -> Option<Self> {
        if program(kind).is_none() {
            skip::whole("no such FTP server is installed: cargo xtask test setup");
            return None;
        }
        if !rustix::process::getuid().is_root() {
            skip::whole("no root, which a login server with users of its own needs");
            return None;
        }
        let accounts = Accounts::new("sojourn-ftpd-", &[("deploy", "/bin/bash")]);
        fs::create_dir_all(accounts.directory().join("empty")).expect("a directory");
        let extra = extra.iter().map(|line| format!("{line}\n")).collect();
        let mut server = Self { accounts, kind, extra, port: 0, lifeline: None };
        if matches!(kind, Kind::VsftpdExplicit | Kind::VsftpdImplicit) {
            server.replace_certificate();
        }
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            server.resume();
            if server.listening() {
                return Some(server);
            }
            server.stop();
        }
        panic!("the FTP server did not start: {}", server.log());
    }

    fn configuration(&self) -> String {
        let (directory, port, extra) = (self.accounts.directory().display(), self.port, &self.extra);
        let vsftpd = |tls: &str| {
            format!(
                "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nanonymous_enable=NO\n\
                 local_enable=YES\nwrite_enable=YES\nlocal_umask=022\npam_service_name=sojourn-absent\n\
                 secure_chroot_dir={directory}/empty\nxferlog_enable=YES\nvsftpd_log_file={directory}/vsftpd.log\n\
                 dual_log_enable=NO\nlog_ftp_protocol=YES\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\n\
                 check_shell=NO\nmdtm_write=YES\npasv_enable=YES\nport_enable=NO\nmax_per_ip=100\n\
                 session_support=NO\n{tls}{extra}"
            )
        };
        let tls = format!(
            "ssl_enable=YES\nforce_local_logins_ssl=YES\nforce_local_data_ssl=YES\n\
             rsa_cert_file={directory}/cert.pem\nrsa_private_key_file={directory}/key.pem\nssl_ciphers=HIGH\n"
        );
        match self.kind {
            Kind::VsftpdPlain => vsftpd(""),
            Kind::VsftpdExplicit => vsftpd(&tls),
            Kind::VsftpdImplicit => vsftpd(&format!("{tls}implicit_ssl=YES\n")),
            Kind::Proftpd => format!(
                "ServerName test\nServerType standalone\nDefaultAddress 127.0.0.1\nPort {port}\nUseIPv6 off\n\
                 SocketBindTight on\nUser nobody\nGroup nogroup\nUmask 022\nAuthOrder mod_auth_unix.c\nAuthPAM off\n\
                 RequireValidShell off\nAllowOverwrite on\nAllowStoreRestart on\nAllowRetrieveRestart on\n\
                 CommandBufferSize 8192\nPidFile {directory}/proftpd.pid\nScoreboardFile {directory}/scoreboard\n\
                 DelayEngine off\nWtmpLog off\nSystemLog {directory}/system.log\nTransferLog {directory}/xfer.log\n\
                 ControlsEngine off\nListOptions \"-a\"\nUseEncoding off\nMaxInstances 50\n{extra}"
            ),
        }
    }

    fn listening(&self) -> bool {
        let mut listens = false;
        wait::until("the FTP server to listen or to fail", READY, || {
            let log = self.log();
            let failed =
                ["500 OOPS", "fatal", "Failed binding", "in use"].iter().any(|word| log.contains(word));
            listens = !failed && self.has_socket();
            (listens || failed).then_some(())
        });
        listens
    }

    /// The kernel is asked, so that the log begins with the first client of a test.
    fn has_socket(&self) -> bool {
        let place = format!(" 0100007F:{:04X} 00000000:0000 0A ", self.port);
        fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&place))
    }

    /// Ends the server and all its sessions at once.
    pub fn stop(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.stop();
        }
    }

    /// Starts again, on the same port, after [`Self::stop`].
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
        assert!(self.listening(), "the FTP server did not come back: {}", self.log());
    }

    fn resume(&mut self) {
        let directory = self.accounts.directory();
        let file = directory.join("ftpd.conf");
        fs::write(&file, self.configuration()).expect("a configuration");
        let program = program(self.kind).expect("it was there when this began");
        // Not the first process of its namespace: vsftpd ends when children come to it that it did not start.
        let mut command = self.accounts.command(None, "sh");
        command.args(["-c", "\"$0\" \"$@\"; exit $?"]).arg(program);
        match self.kind {
            Kind::VsftpdPlain | Kind::VsftpdExplicit | Kind::VsftpdImplicit => command.arg(&file),
            Kind::Proftpd => command.args(["--nodaemon", "--quiet", "--config"]).arg(&file),
        };
        self.lifeline = Some(Lifeline::start(directory, &command));
    }

    /// A new key and certificate, which are shown after the next start.
    pub fn replace_certificate(&self) {
        let directory = self.accounts.directory();
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=device"]);
        command.arg("-keyout").arg(directory.join("key.pem")).arg("-out").arg(directory.join("cert.pem"));
        run(&mut command).expect("openssl");
    }

    /// `SHA256:…` of the certificate, in Base64 without padding.
    pub fn fingerprint(&self) -> String {
        let script =
            "openssl x509 -in \"$1\" -outform DER | openssl dgst -sha256 -binary | base64 | tr -d '=\\n'";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(self.accounts.directory().join("cert.pem"));
        let output = command.output().expect("openssl runs");
        format!("SHA256:{}", String::from_utf8_lossy(&output.stdout))
    }

    pub fn kind(&self) -> Kind {
        self.kind
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

    /// The certificate, as PEM.
    pub fn certificate(&self) -> PathBuf {
        self.accounts.directory().join("cert.pem")
    }

    /// What it has logged: vsftpd every command and reply, ProFTPD its own state and every transfer.
    pub fn log(&self) -> String {
        let files = ["log", "vsftpd.log", "system.log", "xfer.log"];
        let read = |file| fs::read(self.accounts.directory().join(file)).unwrap_or_default();
        files.into_iter().map(|file| String::from_utf8_lossy(&read(file)).into_owned()).collect()
    }
}

impl Drop for Ftpd {
    fn drop(&mut self) {
        self.stop();
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(self.accounts.directory());
    }
}

/// Debian allows one FTP server at a time to be installed: ProFTPD is unpacked below the target directory.
fn program(kind: Kind) -> Option<PathBuf> {
    if kind != Kind::Proftpd {
        return Some(PathBuf::from(VSFTPD)).filter(|file| file.is_file());
    }
    let installed = Path::new("/usr/sbin/proftpd");
    if installed.is_file() {
        return Some(installed.to_owned());
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let unpacked = test.ancestors().map(|folder| folder.join("testbed/proftpd/usr/sbin/proftpd"));
    unpacked.into_iter().find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_lists_over_each() {
        for kind in [Kind::VsftpdPlain, Kind::VsftpdExplicit, Kind::VsftpdImplicit, Kind::Proftpd] {
            let Some(server) = Ftpd::start(kind) else { continue };
            let account = server.account();
            account.write("here", "1");
            let scheme = if kind == Kind::VsftpdImplicit { "ftps" } else { "ftp" };
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--insecure", "--user", &format!("{}:{}", account.name, account.password)]);
            if kind == Kind::VsftpdExplicit {
                curl.arg("--ssl-reqd");
            }
            curl.arg(format!("{scheme}://127.0.0.1:{}/{}/", server.port(), account.home.display()));
            let output = curl.output().expect("curl runs");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("here"), "{kind:?}: {output:?} {}", server.log());
        }
    }
}
