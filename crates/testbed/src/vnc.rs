//! TigerVNC's server with a desktop of one colour, on a port and a display of its own.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    lifeline::Lifeline,
    postgres::{free_port, random_hex, run},
    run::with_input,
    skip, wait,
};

const SERVER: &str = "/usr/bin/Xtigervnc";
/// What draws, types and copies.
const CLIENTS: &[&str] = &["/usr/bin/xsetroot", "/usr/bin/xterm", "/usr/bin/xclip"];
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;
/// How long it may take to listen; generous, for busy machines.
const READY: Duration = Duration::from_secs(30);
/// How long a program on the desktop may take.
const DRAWN: Duration = Duration::from_secs(30);

/// How one gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Without a password.
    None,
    /// With a password that is not sent in the clear, over a connection that is.
    Password,
    /// The same over TLS with a certificate (X509Vnc).
    Certificate,
    /// The same over TLS without one (TLSVnc), which we do not speak.
    Anonymous,
}

/// A running desktop, 800 by 600 unless it was asked for otherwise.
///
/// ```no_run
/// # use sojourn_testbed::vnc::{Login, Vnc};
/// let Some(desktop) = Vnc::start(Login::Password) else { return };
/// desktop.paint("#204060");
/// println!("vnc://127.0.0.1:{} {}", desktop.port(), desktop.password());
/// ```
#[derive(Debug)]
pub struct Vnc {
    directory: PathBuf,
    password: String,
    size: (u16, u16),
    port: u16,
    display: String,
    lifeline: Option<Lifeline>,
    clients: Vec<Lifeline>,
}

impl Vnc {
    pub const WIDTH: u16 = 800;
    pub const HEIGHT: u16 = 600;

    /// `None`, and a visible line, where it is not installed.
    pub fn start(login: Login) -> Option<Self> {
        Self::start_with(login, (Self::WIDTH, Self::HEIGHT))
    }

    /// With so many pixels across and down.
    pub fn start_with(login: Login, size: (u16, u16)) -> Option<Self> {
        if !Path::new(SERVER).is_file() || !CLIENTS.iter().all(|client| Path::new(client).is_file()) {
            skip::whole(
                "TigerVNC is not installed (Debian: apt-get install tigervnc-standalone-server tigervnc-tools \
                 x11-xserver-utils xterm xclip)",
            );
            return None;
        }
        let directory =
            tempfile::Builder::new().prefix("sojourn-vnc-").tempdir().expect("a directory").keep();
        // Eight characters are all that counts.
        let password = random_hex()[..8].to_owned();
        let mut server = Self {
            directory,
            password,
            size,
            port: 0,
            display: String::new(),
            lifeline: None,
            clients: Vec::new(),
        };
        let hidden = with_input(vncpasswd(), format!("{}\n", server.password).as_bytes(), READY).ok().stdout;
        fs::write(server.directory.join("password"), hidden).expect("a password");
        if login == Login::Certificate {
            server.make_certificate();
        }
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            server.run(login);
            if server.listening() {
                server.paint("#204060");
                return Some(server);
            }
            server.stop();
        }
        panic!("Xtigervnc did not start: {}", server.log());
    }

    fn make_certificate(&self) {
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=desktop",
        ]);
        command.arg("-keyout").arg(self.directory.join("key.pem"));
        command.arg("-out").arg(self.directory.join("cert.pem"));
        run(&mut command).expect("openssl");
    }

    fn run(&mut self, login: Login) {
        let kinds = match login {
            Login::None => "None",
            Login::Password => "VncAuth",
            Login::Certificate => "X509Vnc",
            Login::Anonymous => "TLSVnc",
        };
        let mut command = Command::new(SERVER);
        // It chooses a display that nobody has, and writes it down.
        command.args(["-displayfd", "1", "-interface", "127.0.0.1", "-SecurityTypes", kinds]);
        command.args(["-rfbport", &self.port.to_string()]);
        command.args(["-geometry", &format!("{}x{}", self.size.0, self.size.1), "-depth", "24"]);
        command.args(["-nolisten", "tcp", "-ac", "-br", "-AlwaysShared", "-BlacklistThreshold", "1000"]);
        command.arg("-PasswordFile").arg(self.directory.join("password"));
        if login == Login::Certificate {
            command.arg("-X509Cert").arg(self.directory.join("cert.pem"));
            command.arg("-X509Key").arg(self.directory.join("key.pem"));
        }
        self.lifeline = Some(Lifeline::start(&self.directory, &command));
    }

    fn listening(&mut self) -> bool {
        let mut listens = false;
        wait::until("Xtigervnc to listen or to fail", READY, || {
            let log = self.log();
            let display =
                log.lines().find(|line| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()));
            let failed = log.contains("(EE)") || log.contains("Fatal server error");
            self.display = display.map_or_else(String::new, |display| format!(":{display}"));
            listens = display.is_some() && TcpStream::connect(self.address()).is_ok();
            (listens || failed).then_some(())
        });
        listens
    }

    /// Ends the desktop and whatever runs on it.
    pub fn stop(&mut self) {
        for client in self.clients.drain(..).chain(self.lifeline.take()) {
            client.stop();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// A program on this desktop.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.display).env_remove("XAUTHORITY");
        command
    }

    /// Fills the whole desktop: `#rrggbb`.
    pub fn paint(&self, colour: &str) {
        let mut command = self.command("xsetroot");
        command.args(["-solid", colour]);
        with_input(command, b"", DRAWN).ok();
    }

    /// A terminal in the upper left corner, which takes keys while the pointer is in it. Each line that is typed is
    /// a colour that the desktop is filled with.
    pub fn listen_for_colours(&mut self) {
        let folder = self.directory.join("xterm");
        fs::create_dir_all(&folder).expect("a directory");
        let mut command = self.command("xterm");
        command.args(["-geometry", "40x8+0+0", "-e", "sh", "-c"]);
        command.arg("touch ready; while read -r colour; do echo \"$colour\" >>typed; xsetroot -solid \"$colour\"; done");
        let mut there = Command::new("env");
        there.arg("-C").arg(&folder).arg(command.get_program()).args(command.get_args());
        there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.clients.push(Lifeline::start(&folder, &there));
        wait::until("a terminal", DRAWN, || folder.join("ready").is_file().then_some(()));
    }

    /// The lines that were typed so far.
    pub fn typed(&self) -> String {
        fs::read_to_string(self.directory.join("xterm/typed")).unwrap_or_default()
    }

    /// Puts a text on the desktop's clipboard.
    pub fn copy(&self, text: &str) {
        let mut command = self.command("xclip");
        command.args(["-selection", "clipboard", "-in"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("xclip starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("xclip reads");
        drop(stdin);
        // It stays behind in the background, and goes with the desktop.
        assert!(child.wait().expect("xclip ends").success(), "xclip");
    }

    /// What is on the desktop's clipboard, if anything.
    pub fn clipboard(&self) -> Option<String> {
        let mut command = self.command("xclip");
        command.args(["-selection", "clipboard", "-out"]);
        let done = with_input(command, b"", DRAWN);
        (done.code == Some(0)).then(|| done.out())
    }

    /// `SHA256:…` of the certificate, in Base64 without padding.
    pub fn fingerprint(&self) -> String {
        let script =
            "openssl x509 -in \"$1\" -outform DER | openssl dgst -sha256 -binary | base64 | tr -d '=\\n'";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(self.directory.join("cert.pem"));
        let output = command.output().expect("openssl runs");
        format!("SHA256:{}", String::from_utf8_lossy(&output.stdout))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

fn vncpasswd() -> Command {
    let mut command = Command::new("tigervncpasswd");
    command.arg("-f");
    command
}

impl Drop for Vnc {
    fn drop(&mut self) {
        self.stop();
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_desktop_listens_and_copies() {
        let Some(desktop) = Vnc::start(Login::Password) else { return };
        let mut stream = TcpStream::connect(desktop.address()).unwrap();
        let mut hello = [0; 12];
        stream.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"RFB 003.008\n");
        desktop.copy("a text");
        assert_eq!(desktop.clipboard().as_deref(), Some("a text"));
    }
}
