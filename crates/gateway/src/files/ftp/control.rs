//! One control connection: commands, replies (RFC 959), TLS (RFC 4217), and the data connections that belong to it.
//!
//! A data connection leads to the address that the control connection leads to, whatever the target names: it
//! must not be able to send us elsewhere.

use std::{net::SocketAddr, time::Duration};

use sojourn_domain::{access::EndReason, connections::FtpTls};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    files::{FsError, FsErrorKind, FsResult, Patience, RemotePath},
    protocols::{
        ConnectError, Credential, Target,
        dial::{self, Rules},
        ssh::SeenKey,
        tls::Tls,
    },
};

/// A reply that is longer than this, with all its lines, is none.
const LONGEST_REPLY: usize = 128 * 1024;
/// What is read of an encrypted transfer at once.
const ENCRYPTED: usize = 64 * 1024;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A reply: its code, and its lines without the code.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<Vec<u8>>,
}

impl Reply {
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub(super) fn has_begun(&self) -> bool {
        (100..200).contains(&self.code)
    }

    pub(super) fn text(&self) -> String {
        let lines: Vec<_> =
            self.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        lines.join(" ")
    }

    /// It was a success, or why not, as far as the reply says.
    pub(super) fn done(self) -> FsResult<Self> {
        if self.is_good() { Ok(self) } else { Err(self.fault()) }
    }

    /// Codes say little, and words are not the same everywhere: what remains `Other` can be looked into.
    pub(super) fn fault(&self) -> FsError {
        let text = self.text().to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let kind = match self.code {
            421 => FsErrorKind::Lost,
            452 | 552 => FsErrorKind::NoSpace,
            500 | 502 | 504 => FsErrorKind::Unsupported,
            501 => FsErrorKind::Invalid,
            530 | 532 => FsErrorKind::Denied,
            _ if says(&["no such", "not found", "cannot find", "does not exist", "doesn't exist"]) => {
                FsErrorKind::NotFound
            }
            _ if says(&["permission denied", "access is denied", "access denied", "not permitted"]) => {
                FsErrorKind::Denied
            }
            _ if says(&["not empty"]) => FsErrorKind::NotEmpty,
            _ if says(&["not a directory"]) => FsErrorKind::NotAFolder,
            _ if says(&["is a directory", "not a regular file", "not a plain file"]) => {
                FsErrorKind::IsAFolder
            }
            _ if says(&["exists"]) => FsErrorKind::Exists,
            _ if says(&["no space", "quota", "disk full", "insufficient"]) => FsErrorKind::NoSpace,
            _ if says(&["too long", "invalid"]) => FsErrorKind::Invalid,
            _ => FsErrorKind::Other,
        };
        FsError::said(kind, self.text().as_bytes())
    }
}

/// What a server says that it can do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Features {
    /// MLSD and MLST.
    pub(super) facts: bool,
    pub(super) size: bool,
    pub(super) modified: bool,
    /// MFMT.
    pub(super) set_modified: bool,
    /// MDTM with a time sets it.
    pub(super) vsftpd: bool,
    pub(super) chmod: bool,
    utf8: bool,
}

pub(super) struct Control {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    peer: SocketAddr,
    tls: Option<Tls>,
    patience: Duration,
    pub(super) features: Features,
    /// EPSV is not known there.
    old_passive: bool,
    /// A transfer is under way, or something broke: it cannot be used for anything else.
    pub(super) dirty: bool,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("peer", &self.peer).finish_non_exhaustive()
    }
}

fn lost(error: &std::io::Error) -> FsError {
    FsError::new(FsErrorKind::Lost, format!("the connection to the target broke: {error}"))
}

fn unreachable(error: &FsError) -> ConnectError {
    ConnectError::new(EndReason::Unreachable, error.message())
}

fn refused(message: impl Into<String>) -> ConnectError {
    ConnectError::new(EndReason::LoginRefused, message)
}

impl Control {
    /// Connects, makes sure of the target, and logs in.
    pub(super) async fn open(
        target: &Target,
        credential: &Credential,
        rules: &Rules,
        patience: Patience,
    ) -> Result<(Self, Option<SeenKey>), ConnectError> {
        let tcp = dial::dial(&target.host, target.port, rules).await?;
        let peer =
            tcp.peer_addr().map_err(|error| ConnectError::new(EndReason::Unreachable, error.to_string()))?;
        let mut control = Self {
            stream: Box::new(tcp),
            unread: Vec::new(),
            peer,
            tls: None,
            patience: patience.answer,
            features: Features::default(),
            old_passive: false,
            dirty: false,
        };
        let security = target.options.ftp_tls();
        if security == FtpTls::Implicit {
            control = control.secure(target).await?;
        }
        let greeting = control.reply().await.map_err(|error| unreachable(&error))?;
        if !greeting.is_good() {
            let message = format!("the target takes nobody in: {}", greeting.fault());
            return Err(ConnectError::new(EndReason::Failed, message));
        }
        if security == FtpTls::Explicit {
            let reply = control.ask("AUTH", b"TLS").await.map_err(|error| unreachable(&error))?;
            if reply.code != 234 {
                return Err(ConnectError::new(
                    EndReason::Failed,
                    "the target speaks FTP without TLS, and the connection asks for it",
                ));
            }
            // What was sent before TLS began is nobody's word.
            if !control.unread.is_empty() {
                return Err(ConnectError::new(
                    EndReason::HostKey,
                    "somebody stands in between: TLS began late",
                ));
            }
            control = control.secure(target).await?;
        }
        control.log_in(&target.username, credential).await?;
        control.settle().await.map_err(|error| unreachable(&error))?;
        control.features.vsftpd = greeting.text().contains("vsFTPd");
        let seen = control.tls.as_ref().and_then(Tls::seen);
        Ok((control, seen))
    }

    async fn secure(mut self, target: &Target) -> Result<Self, ConnectError> {
        let failed = |error: &dyn std::fmt::Display| {
            ConnectError::new(EndReason::Unreachable, format!("no TLS connection to the target: {error}"))
        };
        let tls = Tls::new(&target.host_key, &target.host, self.peer.ip()).map_err(|error| failed(&error))?;
        let connector = TlsConnector::from(tls.config.clone());
        match timeout(self.patience, connector.connect(tls.name.clone(), self.stream)).await {
            Err(_) => Err(failed(&"it takes too long")),
            Ok(Ok(stream)) => {
                tls.keep_to_it();
                self.stream = Box::new(stream);
                self.tls = Some(tls);
                Ok(self)
            }
            Ok(Err(error)) => Err(tls.refused(target).unwrap_or_else(|| failed(&error))),
        }
    }

    async fn log_in(&mut self, username: &str, credential: &Credential) -> Result<(), ConnectError> {
        let (name, password) = match credential {
            Credential::Password(password) => (username, Some(password.reveal())),
            Credential::None if username.is_empty() => ("anonymous", Some("anonymous@")),
            Credential::None if matches!(username, "anonymous" | "ftp") => (username, Some("anonymous@")),
            Credential::None => (username, None),
            Credential::Key { .. } | Credential::Agent(_) => {
                return Err(refused("an FTP target knows passwords only"));
            }
        };
        let broken = |error: &FsError| ConnectError::new(EndReason::TargetLost, error.message());
        let mut reply = self.ask("USER", name.as_bytes()).await.map_err(|error| broken(&error))?;
        if reply.code == 331 {
            let password = password.ok_or_else(|| refused("the target wants a password"))?;
            reply = self.ask("PASS", password.as_bytes()).await.map_err(|error| broken(&error))?;
        }
        match reply.code {
            230 | 232 | 202 => Ok(()),
            421 => {
                Err(ConnectError::new(EndReason::Failed, format!("the target is busy: {}", reply.fault())))
            }
            332 => Err(refused("the target wants an account besides name and password")),
            // In clear text where it insists on TLS.
            _ => Err(refused(format!("the target refused the login: {}", reply.fault()))),
        }
    }

    /// What every connection needs before anything else.
    async fn settle(&mut self) -> FsResult<()> {
        if self.tls.is_some() {
            self.ask("PBSZ", b"0").await?.done()?;
            self.ask("PROT", b"P").await?.done().map_err(|_| {
                FsError::new(FsErrorKind::Unsupported, "the target does not protect what it transfers")
            })?;
        }
        let reply = self.ask("FEAT", b"").await?;
        if reply.is_good() {
            for line in &reply.lines {
                let line = String::from_utf8_lossy(line).trim().to_ascii_uppercase();
                match line.split(' ').next().unwrap_or_default() {
                    "MLST" | "MLSD" => self.features.facts = true,
                    "SIZE" => self.features.size = true,
                    "MDTM" => self.features.modified = true,
                    "MFMT" => self.features.set_modified = true,
                    "UTF8" => self.features.utf8 = true,
                    _ => {}
                }
            }
        }
        if self.features.utf8 {
            // Some have it on and say no.
            self.ask("OPTS", b"UTF8 ON").await?;
        }
        self.features.chmod = self.ask("SITE", b"HELP").await?.text().to_ascii_uppercase().contains("CHMOD");
        self.ask("TYPE", b"I").await?.done()?;
        Ok(())
    }

    /// Where the user is put.
    pub(super) async fn home(&mut self) -> FsResult<RemotePath> {
        let reply = self.ask("PWD", b"").await?.done()?;
        let line = reply.lines.first().map(Vec::as_slice).unwrap_or_default();
        let quoted = line.split_first().filter(|(quote, _)| **quote == b'"').map(|(_, rest)| rest);
        let mut path = Vec::new();
        let mut bytes = quoted.unwrap_or_default().iter().peekable();
        while let Some(byte) = bytes.next() {
            // A quote within is written twice.
            if *byte == b'"' && bytes.next_if_eq(&&b'"').is_none() {
                break;
            }
            path.push(*byte);
        }
        RemotePath::from_bytes(&path).map_err(|error| FsError::new(FsErrorKind::Invalid, error.to_string()))
    }

    /// Sends a command and waits for its reply.
    pub(super) async fn ask(&mut self, verb: &str, argument: &[u8]) -> FsResult<Reply> {
        self.send(verb, argument).await?;
        self.reply().await
    }

    /// A command is one line: what would end it early is refused before anything is sent.
    pub(super) async fn send(&mut self, verb: &str, argument: &[u8]) -> FsResult<()> {
        check(argument)?;
        let mut line = verb.as_bytes().to_vec();
        if !argument.is_empty() {
            line.push(b' ');
            for byte in argument {
                // The Telnet protocol's escape, which is part of FTP, and of which vsftpd knows nothing.
                if *byte == 0xff && !self.features.vsftpd {
                    line.push(0xff);
                }
                line.push(*byte);
            }
        }
        line.extend_from_slice(b"\r\n");
        let sent = timeout(self.patience, async {
            self.stream.write_all(&line).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broke(lost(&error))),
            Err(_) => Err(self.broke(FsError::of(FsErrorKind::TimedOut))),
        }
    }

    fn broke(&mut self, error: FsError) -> FsError {
        self.dirty = true;
        error
    }

    pub(super) async fn reply(&mut self) -> FsResult<Reply> {
        self.reply_within(self.patience).await
    }

    /// After a transfer a server may have to write what it has taken first.
    pub(super) async fn late_reply(&mut self) -> FsResult<Reply> {
        self.reply_within(self.patience * 4).await
    }

    pub(super) async fn reply_within(&mut self, patience: Duration) -> FsResult<Reply> {
        match timeout(patience, self.read_reply()).await {
            Ok(Ok(reply)) => {
                self.dirty |= reply.code == 421;
                Ok(reply)
            }
            Ok(Err(error)) => Err(self.broke(error)),
            Err(_) => Err(self.broke(FsError::of(FsErrorKind::TimedOut))),
        }
    }

    async fn read_reply(&mut self) -> FsResult<Reply> {
        let nonsense = || FsError::new(FsErrorKind::Lost, "the target does not speak FTP");
        let mut reply: Option<Reply> = None;
        let mut total = 0;
        loop {
            let line = self.read_line().await?;
            total += line.len() + 1;
            if total > LONGEST_REPLY {
                return Err(nonsense());
            }
            let code = line.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
            let rest = || line.get(4..).unwrap_or_default().to_vec();
            let code = code.filter(|code| (100..600).contains(code));
            match (&mut reply, code, line.get(3)) {
                (None, Some(code), Some(b'-')) => reply = Some(Reply { code, lines: vec![rest()] }),
                (None, Some(code), Some(b' ') | None) => return Ok(Reply { code, lines: vec![rest()] }),
                (None, _, _) => return Err(nonsense()),
                (Some(begun), Some(code), Some(b' ') | None) if begun.code == code => {
                    begun.lines.push(rest());
                    return reply.ok_or_else(nonsense);
                }
                (Some(begun), _, _) => {
                    // Some lead every line with the code.
                    let led = line.strip_prefix(format!("{}-", begun.code).as_bytes());
                    begun.lines.push(led.map_or_else(|| line.clone(), <[u8]>::to_vec));
                }
            }
        }
    }

    async fn read_line(&mut self) -> FsResult<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.unread.len() > LONGEST_REPLY {
                return Err(FsError::new(FsErrorKind::Lost, "the target does not speak FTP"));
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece).await {
                Ok(0) => return Err(FsError::of(FsErrorKind::Lost)),
                Ok(length) => self.unread.extend_from_slice(&piece[..length]),
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Begins a transfer: the data connection, once the target has agreed to the command.
    pub(super) async fn transfer(
        &mut self,
        restart: u64,
        verb: &str,
        argument: &[u8],
    ) -> FsResult<Box<dyn Stream>> {
        check(argument)?;
        let port = self.passive().await?;
        let address = SocketAddr::new(self.peer.ip(), port);
        let tcp = match timeout(self.patience, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => {
                let message =
                    format!("the target cannot be reached on the port that it named for data: {error}");
                return Err(self.broke(FsError::new(FsErrorKind::Lost, message)));
            }
            Err(_) => {
                let message = "the target does not answer on the port that it named for data";
                return Err(self.broke(FsError::new(FsErrorKind::TimedOut, message)));
            }
        };
        if restart > 0 {
            let reply = self.ask("REST", restart.to_string().as_bytes()).await?;
            if reply.code != 350 {
                return Err(FsError::said(FsErrorKind::Unsupported, reply.text().as_bytes()));
            }
        }
        let reply = self.ask(verb, argument).await?;
        if !reply.has_begun() {
            return Err(reply.fault());
        }
        self.dirty = true;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let connector = TlsConnector::from(tls.config.clone());
        // TLS asks for 4 KiB at a time.
        let tcp = BufReader::with_capacity(ENCRYPTED, tcp);
        match timeout(self.patience, connector.connect(tls.name.clone(), tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                let message = format!("no TLS for the target's data: {error}");
                Err(FsError::new(FsErrorKind::Lost, message))
            }
            Err(_) => Err(FsError::of(FsErrorKind::TimedOut)),
        }
    }

    /// The port for the next data connection.
    async fn passive(&mut self) -> FsResult<u16> {
        let unreadable =
            || FsError::new(FsErrorKind::Lost, "the target names no port for data that can be understood");
        if !self.old_passive {
            let reply = self.ask("EPSV", b"").await?;
            if reply.code == 229 {
                return extended_port(&reply.text()).ok_or_else(|| self.broke(unreadable()));
            }
            self.old_passive = true;
        }
        let reply = self.ask("PASV", b"").await?;
        if reply.code != 227 {
            return Err(reply.fault());
        }
        passive_port(&reply.text()).ok_or_else(|| self.broke(unreadable()))
    }

    /// It answers, or is of no more use.
    pub(super) async fn is_alive(&mut self) -> bool {
        if self.dirty || self.ask("NOOP", b"").await.is_err() {
            return false;
        }
        // A goodbye is an answer too.
        !self.dirty
    }

    pub(super) async fn goodbye(mut self) {
        // Whether it hears or not, the connection ends.
        let _ = timeout(Duration::from_secs(1), self.send("QUIT", b"")).await;
    }
}

/// What may stand in a command.
pub(super) fn check(argument: &[u8]) -> FsResult<()> {
    if argument.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(FsError::new(FsErrorKind::Invalid, "FTP has no names with line ends"));
    }
    Ok(())
}

/// RFC 2428: `(|||port|)`.
fn extended_port(text: &str) -> Option<u16> {
    let inner = text.split_once('(')?.1.split_once(')')?.0;
    let mark = inner.chars().next()?;
    inner.split(mark).nth(3)?.parse().ok().filter(|port| *port > 0)
}

/// `(h1,h2,h3,h4,p1,p2)`. The address is not looked at.
fn passive_port(text: &str) -> Option<u16> {
    let start =
        text.find('(').map_or_else(|| text.find(|char: char| char.is_ascii_digit()), |at| Some(at + 1))?;
    let end = text[start..].find(|char: char| !char.is_ascii_digit() && char != ',' && char != ' ');
    let inner = &text[start..end.map_or(text.len(), |end| start + end)];
    let numbers: Option<Vec<u8>> = inner.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers?.as_slice() {
        [_, _, _, _, high, low] => Some(u16::from_be_bytes([*high, *low])).filter(|port| *port > 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_alone() {
        assert_eq!(extended_port("Entering Extended Passive Mode (|||50001|)."), Some(50_001));
        assert_eq!(extended_port("(!!!7!)"), Some(7));
        for bad in ["", "(|||0|)", "(|||70000|)", "(||)", "|||1|"] {
            assert_eq!(extended_port(bad), None, "{bad}");
        }
        assert_eq!(passive_port("Entering Passive Mode (10,0,0,1,195,81)."), Some(50_001));
        assert_eq!(passive_port("Entering Passive Mode 10,0,0,1,195,81"), Some(50_001));
        for bad in ["", "(1,2,3,4,5)", "(1,2,3,4,0,0)", "(1,2,3,4,256,1)", "none"] {
            assert_eq!(passive_port(bad), None, "{bad}");
        }
    }
}
