//! RDP servers with a desktop of one colour, each on ports and a display of its own.
//!
//! xrdp asks for a login within TLS and starts a session of Xorg for it; FreeRDP's shadow server shows a display that is
//! there, after a login with NLA. Both are real, and neither is configured by the machine.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    accounts::{Account, Accounts},
    lifeline::Lifeline,
    postgres::{free_port, random_hex, run},
    run::with_input,
    skip, wait,
};

/// How long a server may take to listen; generous, for busy machines.
const READY: Duration = Duration::from_secs(40);
/// How long a program on the desktop may take.
const DRAWN: Duration = Duration::from_secs(30);
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;
/// Sessions that an xrdp has at once.
const MOST_SESSIONS: u16 = 10;
/// The colour of a desktop at first.
const BLUE: &str = "#204060";

/// What a desktop runs: a colour, and a terminal in the upper left corner. Each line that is typed there, or found in
/// the file `paint`, is a colour that the desktop is filled with.
const SESSION: &str = r##"#!/bin/sh
cd "$1" || exit 1
xsetroot -solid "#204060"
(
    painted=
    while sleep 0.05; do
        colour=$(cat paint 2>/dev/null)
        [ "$colour" = "$painted" ] || { painted=$colour; xsetroot -solid "$colour"; echo "$colour" >painted; }
    done
) &
xterm -geometry 40x8+0+0 -e sh -c 'touch ready; while read -r colour; do echo "$colour" >>typed; xsetroot -solid "$colour"; done' &
echo "$DISPLAY" >display
wait
"##;

fn there(programs: &[&str]) -> bool {
    programs.iter().all(|program| Path::new(program).is_file())
}

fn listens(port: u16) -> bool {
    // Debian's xrdp takes the one loopback for the other.
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    addresses.iter().any(|address| TcpStream::connect(address).is_ok())
}

/// `SHA256:…` of a certificate, in Base64 without padding.
fn fingerprint(certificate: &Path) -> String {
    let script =
        "openssl x509 -in \"$1\" -outform DER | openssl dgst -sha256 -binary | base64 | tr -d '=\\n'";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(certificate);
    let output = command.output().expect("openssl runs");
    format!("SHA256:{}", String::from_utf8_lossy(&output.stdout))
}

fn make_certificate(directory: &Path) {
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
        "/CN=desktop.test",
    ]);
    command.arg("-keyout").arg(directory.join("key.pem")).arg("-out").arg(directory.join("cert.pem"));
    run(&mut command).expect("openssl");
}

/// The folder of a desktop's session, and what is done through it.
trait Session {
    fn folder(&self) -> PathBuf;

    fn paint(&self, colour: &str) {
        // At once, so that half a colour is never read.
        let new = self.folder().join("paint.new");
        fs::write(&new, colour).expect("a colour");
        fs::rename(new, self.folder().join("paint")).expect("a colour");
    }

    fn typed(&self) -> String {
        fs::read_to_string(self.folder().join("typed")).unwrap_or_default()
    }

    fn wait_for_terminal(&self) {
        wait::until("a terminal", DRAWN, || self.folder().join("ready").is_file().then_some(()));
    }
}

/// xrdp with xorgxrdp: TLS, and a login of a system's user.
///
/// ```no_run
/// # use sojourn_testbed::rdp::Xrdp;
/// let Some(desktop) = Xrdp::start() else { return };
/// println!("rdp://127.0.0.1:{} {} {}", desktop.port(), desktop.user(), desktop.password());
/// ```
#[derive(Debug)]
pub struct Xrdp {
    accounts: Accounts,
    port: u16,
    lifeline: Option<Lifeline>,
}

impl Xrdp {
    /// `None`, and a visible line, where it is not installed, or without root.
    pub fn start() -> Option<Self> {
        let needed = [
            "/usr/sbin/xrdp",
            "/usr/sbin/xrdp-sesman",
            "/usr/lib/xorg/modules/libxorgxrdp.so",
            "/usr/bin/xsetroot",
            "/usr/bin/xterm",
        ];
        if !there(&needed) {
            skip::whole(
                "xrdp is not installed (Debian: apt-get install xrdp xorgxrdp x11-xserver-utils xterm)",
            );
            return None;
        }
        if !rustix::process::getuid().is_root() {
            skip::whole("no root, which a login server with users of its own needs");
            return None;
        }
        let accounts = Accounts::new("sojourn-xrdp-", &[("alice", "/bin/sh")]);
        let mut server = Self { accounts, port: 0, lifeline: None };
        make_certificate(server.accounts.directory());
        let account = server.account().clone();
        fs::create_dir_all(server.folder()).expect("a directory");
        account.own(&server.folder());
        account.write("session.sh", SESSION);
        let session = account
            .write(".xsession", format!("#!/bin/sh\nexec sh ~/session.sh {}\n", server.folder().display()));
        fs::set_permissions(session, fs::Permissions::from_mode(0o755)).expect("permissions");
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            let sesman = free_port();
            server.configure(sesman);
            server.run();
            let mut up = false;
            wait::until("xrdp to listen or to fail", READY, || {
                up = listens(server.port) && listens(sesman);
                (up || server.log().contains("FAILED")).then_some(())
            });
            if up {
                return Some(server);
            }
            server.stop();
        }
        panic!("xrdp did not start: {}", server.log());
    }

    fn configure(&self, sesman: u16) {
        let directory = self.accounts.directory();
        let etc = directory.join("etc/xrdp");
        let at = directory.display();
        let display = self.display();
        let own = fs::read_to_string(etc.join("sesman.ini")).expect("sesman.ini");
        let xorg = own
            .split("[Xorg]")
            .nth(1)
            .and_then(|rest| rest.split("\n[").next())
            .unwrap_or_default()
            .to_owned();
        fs::write(
            etc.join("sesman.ini"),
            format!(
                "[Globals]\nListenAddress=127.0.0.1\nListenPort={sesman}\nEnableUserWindowManager=true\n\
                 UserWindowManager=.xsession\nDefaultWindowManager=/etc/xrdp/startwm.sh\n\
                 ReconnectScript=/etc/xrdp/reconnectwm.sh\n[Security]\nAllowRootLogin=false\nMaxLoginRetry=4\n\
                 RestrictOutboundClipboard=none\nRestrictInboundClipboard=none\n\
                 [Sessions]\nX11DisplayOffset={display}\nMaxSessions={MOST_SESSIONS}\nKillDisconnected=false\nPolicy=Default\n\
                 [Logging]\nLogFile={at}/sesman.log\nLogLevel=INFO\nEnableSyslog=false\n[Xorg]{xorg}\n\
                 [Chansrv]\nFuseMountName=thinclient_drives\nFileUmask=077\n\
                 [ChansrvLogging]\nLogLevel=INFO\nEnableSyslog=false\n"
            ),
        )
        .expect("sesman.ini");
        fs::write(
            etc.join("xrdp.ini"),
            format!(
                "[Globals]\nini_version=1\nfork=true\nport=tcp://127.0.0.1:{port}\ntcp_nodelay=true\n\
                 security_layer=tls\ncrypt_level=high\ncertificate={at}/cert.pem\nkey_file={at}/key.pem\n\
                 ssl_protocols=TLSv1.2, TLSv1.3\nautorun=Xorg\nallow_channels=true\nallow_multimon=true\nbitmap_cache=true\n\
                 bitmap_compression=true\nbulk_compression=true\nmax_bpp=32\nnew_cursors=true\nuse_fastpath=both\n\
                 [Logging]\nLogFile={at}/xrdp.log\nLogLevel=INFO\nEnableSyslog=false\n\
                 [Channels]\nrdpdr=true\nrdpsnd=true\ndrdynvc=true\ncliprdr=true\n\
                 [Xorg]\nname=Xorg\nlib=libxup.so\nusername=ask\npassword=ask\nip=127.0.0.1\nport=-1\ncode=20\n",
                port = self.port,
            ),
        )
        .expect("xrdp.ini");
    }

    fn run(&mut self) {
        // Sockets of its own; the X server's lock lies in /tmp, under a number that nobody has.
        const SCRIPT: &str = "mount -t tmpfs none /run && mkdir -p /run/xrdp/sockdir && chmod 3777 /run/xrdp/sockdir && \
             { xrdp-sesman --nodaemon & } && exec xrdp --nodaemon";
        let directory = self.accounts.directory().to_owned();
        let mut command = self.accounts.command(None, "sh");
        command.args(["-c", SCRIPT]);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        self.lifeline = Some(Lifeline::start(&directory, &command));
    }

    /// No display of the machine's own, nor of another test's.
    fn display(&self) -> u16 {
        1000 + self.port % 30_000
    }

    fn account(&self) -> &Account {
        &self.accounts.list[0]
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn user(&self) -> &str {
        &self.account().name
    }

    pub fn password(&self) -> &str {
        &self.account().password
    }

    /// Fills the whole desktop: `#rrggbb`.
    pub fn paint(&self, colour: &str) {
        Session::paint(self, colour);
    }

    /// The lines that were typed so far.
    pub fn typed(&self) -> String {
        Session::typed(self)
    }

    /// Once somebody has logged in.
    pub fn wait_for_terminal(&self) {
        Session::wait_for_terminal(self);
    }

    /// `SHA256:…` of the certificate.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.accounts.directory().join("cert.pem"))
    }

    /// Another certificate from now on.
    pub fn renew_certificate(&self) {
        make_certificate(self.accounts.directory());
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.accounts.directory().join(name)).unwrap_or_default();
        [read("log"), read("xrdp.log"), read("sesman.log")].concat()
    }

    fn stop(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.stop();
            // What is killed leaves its locks.
            for display in self.display()..=self.display() + MOST_SESSIONS {
                let _ = fs::remove_file(format!("/tmp/.X{display}-lock"));
                let _ = fs::remove_file(format!("/tmp/.X11-unix/X{display}"));
            }
        }
    }
}

impl Session for Xrdp {
    fn folder(&self) -> PathBuf {
        self.account().home.join("desktop")
    }
}

impl Drop for Xrdp {
    fn drop(&mut self) {
        self.stop();
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(self.accounts.directory());
    }
}

/// FreeRDP's shadow server: a login with NLA, for a desktop that is there already.
#[derive(Debug)]
pub struct Shadow {
    directory: PathBuf,
    password: String,
    port: u16,
    display: String,
    server: Option<Lifeline>,
    others: Vec<Lifeline>,
}

impl Shadow {
    pub const USER: &str = "bob";
    pub const WIDTH: u16 = 800;
    pub const HEIGHT: u16 = 600;

    /// `None`, and a visible line, where it is not installed.
    pub fn start() -> Option<Self> {
        let needed = [
            "/usr/bin/freerdp-shadow-cli",
            "/usr/bin/winpr-hash",
            "/usr/bin/Xvfb",
            "/usr/bin/xsetroot",
            "/usr/bin/xterm",
        ];
        if !there(&needed) {
            skip::whole(
                "FreeRDP's shadow server is not installed (Debian: apt-get install freerdp2-shadow-x11 winpr-utils \
                 xvfb x11-xserver-utils xterm)",
            );
            return None;
        }
        let directory =
            tempfile::Builder::new().prefix("sojourn-shadow-").tempdir().expect("a directory").keep();
        for part in ["desktop", "display", "session"] {
            fs::create_dir_all(directory.join(part)).expect("a directory");
        }
        let mut server = Self {
            directory,
            password: random_hex(),
            port: 0,
            display: String::new(),
            server: None,
            others: Vec::new(),
        };
        server.show();
        let mut hash = Command::new("winpr-hash");
        hash.args(["-u", Self::USER, "-p", &server.password, "-f", "sam"]);
        let sam = with_input(hash, b"", READY).ok().stdout;
        fs::write(server.directory.join("sam"), sam).expect("a user");
        for _ in 0..ATTEMPTS {
            server.port = free_port();
            server.run();
            let mut up = false;
            wait::until("freerdp-shadow to listen or to fail", READY, || {
                up = listens(server.port);
                (up || server.log().contains("[ERROR]")).then_some(())
            });
            if up {
                return Some(server);
            }
            if let Some(lifeline) = server.server.take() {
                lifeline.stop();
            }
        }
        panic!("freerdp-shadow did not start: {}", server.log());
    }

    /// The display, and what is on it.
    fn show(&mut self) {
        let mut xvfb = Command::new("/usr/bin/Xvfb");
        let screen = format!("{}x{}x24", Self::WIDTH, Self::HEIGHT);
        xvfb.args(["-displayfd", "1", "-screen", "0", &screen, "-nolisten", "tcp", "-ac", "-br", "-noreset"]);
        let folder = self.directory.join("display");
        self.others.push(Lifeline::start(&folder, &xvfb));
        let log = folder.join("log");
        self.display = wait::until("a display", READY, || {
            let log = fs::read_to_string(&log).ok()?;
            let number =
                log.lines().find(|line| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))?;
            Some(format!(":{number}"))
        });
        fs::write(self.directory.join("session.sh"), SESSION).expect("a session");
        let mut session = Command::new("sh");
        session.arg(self.directory.join("session.sh")).arg(self.folder()).env("DISPLAY", &self.display);
        self.others.push(Lifeline::start(&self.directory.join("session"), &session));
        self.wait_for_terminal();
    }

    fn run(&mut self) {
        let mut command = Command::new("/usr/bin/freerdp-shadow-cli");
        command.args([&format!("/port:{}", self.port), "/bind-address:127.0.0.1"]);
        command.arg(format!("/sam-file:{}", self.directory.join("sam").display()));
        command.args(["+sec-nla", "-sec-tls", "-sec-rdp", "-auth"]);
        command.env("DISPLAY", &self.display).env("HOME", &self.directory);
        command.env("XDG_CONFIG_HOME", self.directory.join("config"));
        self.server = Some(Lifeline::start(&self.directory, &command));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Fills the whole desktop: `#rrggbb`.
    pub fn paint(&self, colour: &str) {
        Session::paint(self, colour);
    }

    /// The lines that were typed so far.
    pub fn typed(&self) -> String {
        Session::typed(self)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Session for Shadow {
    fn folder(&self) -> PathBuf {
        self.directory.join("desktop")
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        for lifeline in self.server.take().into_iter().chain(self.others.drain(..)) {
            lifeline.stop();
        }
        // The temporary directory of a test; what stays is the system's to clean.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The colour that desktops begin with.
pub const FIRST: &str = BLUE;

/// Keeps a [`Shadow`] until standard input ends; prints how to reach it first, as JSON.
pub fn serve() -> Result<(), String> {
    let server = Shadow::start().ok_or("no FreeRDP here")?;
    let line = serde_json::json!({
        "host": "127.0.0.1",
        "port": server.port(),
        "username": Shadow::USER,
        "password": server.password(),
        "width": Shadow::WIDTH,
        "height": Shadow::HEIGHT,
    });
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn desktops_listen() {
        if let Some(desktop) = Xrdp::start() {
            assert!(desktop.fingerprint().len() > 40);
            assert_eq!(desktop.typed(), "");
        }
        if let Some(desktop) = Shadow::start() {
            desktop.paint("#806040");
            wait::until("a colour", DRAWN, || desktop.folder().join("painted").is_file().then_some(()));
        }
    }
}
