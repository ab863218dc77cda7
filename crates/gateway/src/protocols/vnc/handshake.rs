//! RFB's handshake with a target (RFC 6143 section 7.1 to 7.3), as a machine without sockets: bytes go in, and it
//! says what is next.
//!
//! It knows None, VncAuth, and of VeNCrypt what runs over TLS with a certificate. What is left out on purpose: TLS
//! without a certificate (nobody knows who is at the other end) and names and passwords in the clear. It holds no
//! secret: who drives it answers the challenge.

use std::fmt::Write as _;

/// The longest reason of a refusal that is read, in bytes.
const LONGEST_REASON: usize = 4096;
/// The longest name of a desktop that is read, in bytes.
const LONGEST_NAME: usize = 64 * 1024;

const NONE: u8 = 1;
const VNC_AUTH: u8 = 2;
const VENCRYPT: u8 = 19;
/// Of VeNCrypt: TLS with a certificate, and in it nothing, VncAuth, or name and password.
const X509_NONE: u32 = 260;
const X509_VNC: u32 = 261;
const X509_PLAIN: u32 = 262;

/// What may be done to log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means {
    pub password: bool,
    pub username: bool,
    /// Nothing but TLS with a certificate is good: one is pinned, and nobody in between may talk us out of it.
    pub certificate_only: bool,
    /// VeNCrypt was looked at before, and has nothing for us.
    pub without_vencrypt: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// More bytes from the target are needed.
    Read,
    Send(Vec<u8>),
    /// TLS begins, and what follows goes through it.
    Secure,
    /// To be answered with [`Handshake::answer`].
    Challenge([u8; 16]),
    /// Name and password are to be given with [`Handshake::name_and_password`].
    Plain,
    Done(Desktop),
}

/// What a target shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desktop {
    pub width: u16,
    pub height: u16,
    /// As the target says: it may hold its address.
    pub name: String,
}

/// Why there is no desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It does not speak RFB, or breaks it.
    NotRfb(&'static str),
    /// There is no way to log in that both know.
    Unsupported(String),
    /// It offers VeNCrypt, of which we know nothing that it offers, and something else that would do.
    NotVencrypt,
    /// It asks for a password, or for a name, and there is none.
    Missing(&'static str),
    /// It refused who came, and why.
    Login(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Version {
    V33,
    V37,
    V38,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Version,
    /// RFB 3.3: the target chooses.
    Chosen,
    Count,
    Types(usize),
    /// The target refused before any choice.
    ReasonOfNone,
    VencryptVersion,
    VencryptAck,
    VencryptCount,
    VencryptTypes(usize),
    VencryptGo(u32),
    /// Between the words to the target that TLS begins, and TLS.
    Inner(u32),
    Challenge,
    Answering,
    Naming,
    Result,
    Reason,
    ClientInit,
    Init,
    Over,
}

/// The handshake. Bytes are fed as they come, in whatever pieces.
#[derive(Debug)]
pub struct Handshake {
    means: Means,
    version: Version,
    at: At,
    /// What has come and was not looked at.
    came: Vec<u8>,
    types: Vec<u8>,
}

impl Handshake {
    pub fn new(means: Means) -> Self {
        Self { means, version: Version::V38, at: At::Version, came: Vec::new(), types: Vec::new() }
    }

    /// What came from the target.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.came.extend_from_slice(bytes);
    }

    /// What came behind the handshake.
    pub fn into_rest(self) -> Vec<u8> {
        self.came
    }

    /// The answer to a challenge, to be sent.
    pub fn answer(&mut self, answer: [u8; 16]) -> Vec<u8> {
        self.at = At::Result;
        answer.to_vec()
    }

    /// Name and password in one message, to be sent.
    pub fn name_and_password(&mut self, name: &str, password: &str) -> Vec<u8> {
        self.at = At::Result;
        let mut message = Vec::with_capacity(8 + name.len() + password.len());
        for text in [name, password] {
            message.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(password.as_bytes());
        message
    }

    /// What a target that hung up leaves behind: it may have refused without a word.
    pub fn hung_up(&self) -> Refused {
        match self.at {
            At::Reason => Refused::Login(String::new()),
            At::ReasonOfNone => Refused::Unsupported("the target refuses every login".to_owned()),
            At::Result => Refused::Login("it hung up".to_owned()),
            At::Version
            | At::Chosen
            | At::Count
            | At::Types(_)
            | At::VencryptVersion
            | At::VencryptAck
            | At::VencryptCount
            | At::VencryptTypes(_)
            | At::VencryptGo(_)
            | At::Inner(_)
            | At::Challenge
            | At::Answering
            | At::Naming
            | At::ClientInit
            | At::Init
            | At::Over => Refused::NotRfb("the target hung up before a desktop was there"),
        }
    }

    /// What is next. After anything but [`Next::Read`] and [`Next::Done`] it is to be asked again.
    pub fn step(&mut self) -> Result<Next, Refused> {
        match self.at {
            At::Version => self.version(),
            At::Chosen => {
                let Some(chosen) = self.number() else { return Ok(Next::Read) };
                match u8::try_from(chosen) {
                    Ok(0) => {
                        self.at = At::ReasonOfNone;
                        self.step()
                    }
                    Ok(chosen) => {
                        self.types = vec![chosen];
                        let chosen = self.choose()?;
                        self.begin(chosen)
                    }
                    Err(_) => Err(Refused::NotRfb("the target chose a login that cannot be")),
                }
            }
            At::Count => match self.byte() {
                None => Ok(Next::Read),
                Some(0) => {
                    self.at = At::ReasonOfNone;
                    self.step()
                }
                Some(count) => {
                    self.at = At::Types(usize::from(count));
                    self.step()
                }
            },
            At::Types(count) => {
                let Some(types) = self.take(count) else { return Ok(Next::Read) };
                self.types = types;
                let chosen = self.choose()?;
                self.begin(chosen)
            }
            At::ReasonOfNone => match self.reason()? {
                None => Ok(Next::Read),
                Some(reason) => Err(Refused::Login(reason)),
            },
            At::VencryptVersion => match self.take(2).as_deref() {
                None => Ok(Next::Read),
                Some([0, 2]) => {
                    self.at = At::VencryptAck;
                    Ok(Next::Send(vec![0, 2]))
                }
                Some(_) => self.not_vencrypt(&[]),
            },
            At::VencryptAck => match self.byte() {
                None => Ok(Next::Read),
                Some(0) => {
                    self.at = At::VencryptCount;
                    self.step()
                }
                Some(_) => Err(Refused::NotRfb("the target wants no VeNCrypt 0.2")),
            },
            At::VencryptCount => match self.byte() {
                None => Ok(Next::Read),
                Some(count) => {
                    self.at = At::VencryptTypes(usize::from(count));
                    self.step()
                }
            },
            At::VencryptTypes(count) => {
                let Some(bytes) = self.take(count * 4) else { return Ok(Next::Read) };
                let kinds: Vec<u32> =
                    bytes.as_chunks::<4>().0.iter().map(|kind| u32::from_be_bytes(*kind)).collect();
                self.choose_vencrypt(&kinds)
            }
            At::VencryptGo(kind) => match self.byte() {
                None => Ok(Next::Read),
                // What came before TLS is nobody's.
                Some(1) if self.came.is_empty() => {
                    self.at = At::Inner(kind);
                    Ok(Next::Secure)
                }
                Some(_) => Err(Refused::NotRfb("the target does not begin TLS")),
            },
            At::Inner(kind) => {
                self.at = match kind {
                    X509_PLAIN => At::Naming,
                    X509_VNC => At::Challenge,
                    _ => self.after_none(),
                };
                self.step()
            }
            At::Challenge => match self.take(16).and_then(|bytes| bytes.try_into().ok()) {
                None => Ok(Next::Read),
                Some(challenge) => {
                    self.at = At::Answering;
                    Ok(Next::Challenge(challenge))
                }
            },
            At::Naming => Ok(Next::Plain),
            At::Answering => Ok(Next::Read),
            At::Result => match self.number() {
                None => Ok(Next::Read),
                Some(0) => {
                    self.at = At::ClientInit;
                    self.step()
                }
                Some(_) if self.version < Version::V38 => Err(Refused::Login(String::new())),
                Some(_) => {
                    self.at = At::Reason;
                    self.step()
                }
            },
            At::Reason => match self.reason()? {
                None => Ok(Next::Read),
                Some(reason) => Err(Refused::Login(reason)),
            },
            At::ClientInit => {
                self.at = At::Init;
                // Others who look at it may go on.
                Ok(Next::Send(vec![1]))
            }
            At::Init => self.init(),
            At::Over => Ok(Next::Read),
        }
    }

    fn version(&mut self) -> Result<Next, Refused> {
        let Some(line) = self.take(12) else {
            let bad = !b"RFB ".iter().zip(&self.came).all(|(expected, came)| expected == came);
            return if bad { Err(Refused::NotRfb("the target is no VNC server")) } else { Ok(Next::Read) };
        };
        let digits = |text: &[u8]| -> Option<u16> { std::str::from_utf8(text).ok()?.parse().ok() };
        let known = line.starts_with(b"RFB ") && line[7] == b'.' && line[11] == b'\n';
        let (major, minor) = (digits(&line[4..7]), digits(&line[8..11]));
        let (Some(major), Some(minor), true) = (major, minor, known) else {
            return Err(Refused::NotRfb("the target is no VNC server"));
        };
        // RFC 6143 section 7.1.1: what is not known counts as 3.3; what is newer speaks 3.8.
        self.version = match (major, minor) {
            (3, 7) => Version::V37,
            (3, 8..) | (4.., _) => Version::V38,
            (3, _) => Version::V33,
            _ => return Err(Refused::NotRfb("the target speaks an RFB that is too old")),
        };
        let (answer, at) = match self.version {
            Version::V33 => ("RFB 003.003\n", At::Chosen),
            Version::V37 => ("RFB 003.007\n", At::Count),
            Version::V38 => ("RFB 003.008\n", At::Count),
        };
        self.at = at;
        Ok(Next::Send(answer.as_bytes().to_vec()))
    }

    fn offers(&self, kind: u8) -> bool {
        self.types.contains(&kind)
    }

    fn choose(&self) -> Result<u8, Refused> {
        let Means { password, certificate_only, without_vencrypt, .. } = self.means;
        if self.offers(VENCRYPT) && !without_vencrypt && self.version != Version::V33 {
            return Ok(VENCRYPT);
        }
        if certificate_only {
            return Err(Refused::Unsupported(
                "a certificate is pinned for this target, and it offers no login over TLS with one"
                    .to_owned(),
            ));
        }
        if self.offers(VNC_AUTH) && password {
            return Ok(VNC_AUTH);
        }
        if self.offers(NONE) {
            return Ok(NONE);
        }
        if self.offers(VNC_AUTH) {
            return Err(Refused::Missing("the target asks for a password, and the connection has none"));
        }
        Err(Refused::Unsupported(unsupported(&self.types, &[])))
    }

    /// Says which login it is to be.
    fn begin(&mut self, chosen: u8) -> Result<Next, Refused> {
        self.at = match chosen {
            VENCRYPT => At::VencryptVersion,
            VNC_AUTH => At::Challenge,
            _ => self.after_none(),
        };
        match self.version {
            Version::V33 => self.step(),
            Version::V37 | Version::V38 => Ok(Next::Send(vec![chosen])),
        }
    }

    /// RFB before 3.8 says nothing about a login that there was none of.
    fn after_none(&self) -> At {
        if self.version == Version::V38 { At::Result } else { At::ClientInit }
    }

    fn choose_vencrypt(&mut self, kinds: &[u32]) -> Result<Next, Refused> {
        let Means { password, username, .. } = self.means;
        let has = |kind| kinds.contains(&kind);
        let chosen = if has(X509_VNC) && password {
            X509_VNC
        } else if has(X509_PLAIN) && password && username {
            X509_PLAIN
        } else if has(X509_NONE) {
            X509_NONE
        } else if has(X509_VNC) || has(X509_PLAIN) {
            return Err(Refused::Missing(if password {
                "the target asks for a user name, and the connection has none"
            } else {
                "the target asks for a password, and the connection has none"
            }));
        } else {
            return self.not_vencrypt(kinds);
        };
        self.at = At::VencryptGo(chosen);
        Ok(Next::Send(chosen.to_be_bytes().to_vec()))
    }

    fn not_vencrypt(&self, kinds: &[u32]) -> Result<Next, Refused> {
        let other = (self.offers(VNC_AUTH) && self.means.password) || self.offers(NONE);
        if other && !self.means.certificate_only {
            return Err(Refused::NotVencrypt);
        }
        Err(Refused::Unsupported(unsupported(&self.types, kinds)))
    }

    fn init(&mut self) -> Result<Next, Refused> {
        const FIXED: usize = 24;
        let Some(head) = self.came.first_chunk::<FIXED>() else { return Ok(Next::Read) };
        let [w0, w1, h0, h1, .., n0, n1, n2, n3] = *head;
        let length = usize::try_from(u32::from_be_bytes([n0, n1, n2, n3])).unwrap_or(usize::MAX);
        if length > LONGEST_NAME {
            return Err(Refused::NotRfb("the target's desktop has a name that is too long"));
        }
        let Some(message) = self.take(FIXED + length) else { return Ok(Next::Read) };
        self.at = At::Over;
        Ok(Next::Done(Desktop {
            width: u16::from_be_bytes([w0, w1]),
            height: u16::from_be_bytes([h0, h1]),
            name: String::from_utf8_lossy(&message[FIXED..]).into_owned(),
        }))
    }

    /// A length, and so much text, of which control characters are none of anybody's.
    fn reason(&mut self) -> Result<Option<String>, Refused> {
        let Some(length) = self.came.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST_REASON {
            return Err(Refused::Login(String::new()));
        }
        let Some(bytes) = self.take(4 + length) else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes[4..]);
        Ok(Some(text.chars().filter(|char| !char.is_control()).collect::<String>().trim().to_owned()))
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        if self.came.len() < length {
            return None;
        }
        let rest = self.came.split_off(length);
        Some(std::mem::replace(&mut self.came, rest))
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    }
}

/// What a target offers, in words.
fn unsupported(types: &[u8], vencrypt: &[u32]) -> String {
    let mut text = "the target offers no login that can be served, only ".to_owned();
    let mut names: Vec<String> = Vec::new();
    for kind in types {
        let name = match *kind {
            NONE => "None".to_owned(),
            VNC_AUTH => "VNC password".to_owned(),
            5 | 6 | 13 | 129..=133 => "RSA-AES".to_owned(),
            16 => "Tight".to_owned(),
            18 => "TLS without VeNCrypt".to_owned(),
            VENCRYPT if vencrypt.is_empty() => "VeNCrypt".to_owned(),
            VENCRYPT => "VeNCrypt without certificates".to_owned(),
            20 => "SASL".to_owned(),
            30 | 33 | 35 | 36 => "Apple's".to_owned(),
            113 | 117 => "UltraVNC's".to_owned(),
            other => format!("type {other}"),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        text.push_str("unknown ones");
    }
    for (at, name) in names.iter().enumerate() {
        let _ = write!(text, "{}{name}", if at == 0 { "" } else { ", " });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: Means =
        Means { password: true, username: false, certificate_only: false, without_vencrypt: false };

    /// Runs it against what a target sends; returns what was sent to the target, and how it ended.
    fn run(means: Means, bytes: &[u8], piece: usize) -> (Vec<u8>, Result<Next, Refused>) {
        let mut handshake = Handshake::new(means);
        let mut sent = Vec::new();
        let mut pieces = bytes.chunks(piece);
        loop {
            match handshake.step() {
                Ok(Next::Read) => match pieces.next() {
                    Some(piece) => handshake.feed(piece),
                    None => return (sent, Ok(Next::Read)),
                },
                Ok(Next::Send(bytes)) => sent.extend(bytes),
                Ok(Next::Secure) => sent.extend(b"<tls>"),
                Ok(Next::Challenge(challenge)) => sent.extend(handshake.answer(challenge)),
                Ok(Next::Plain) => sent.extend(handshake.name_and_password("me", "secret")),
                other @ (Ok(Next::Done(_)) | Err(_)) => return (sent, other),
            }
        }
    }

    fn init(name: &str) -> Vec<u8> {
        let mut bytes = vec![2, 0, 1, 0];
        bytes.extend([0; 16]);
        bytes.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes
    }

    fn done(name: &str) -> Result<Next, Refused> {
        Ok(Next::Done(Desktop { width: 512, height: 256, name: name.to_owned() }))
    }

    #[test]
    fn every_version_and_login_in_any_pieces() {
        let challenge: Vec<u8> = (0..16).collect();
        for piece in [1, 3, 7, 4096] {
            let v33 = [b"RFB 003.003\n\0\0\0\x02", &challenge[..], &[0; 4], &init("a")].concat();
            let (sent, end) = run(PASSWORD, &v33, piece);
            assert_eq!((sent, end), ([b"RFB 003.003\n", &challenge[..], &[1]].concat(), done("a")));

            let v33_none = [b"RFB 003.003\n\0\0\0\x01", &init("")[..]].concat();
            assert_eq!(run(Means::default(), &v33_none, piece), (b"RFB 003.003\n\x01".to_vec(), done("")));

            let v37_none = [b"RFB 003.007\n\x02\x02\x01", &init("b")[..]].concat();
            let (sent, end) = run(Means::default(), &v37_none, piece);
            assert_eq!((sent, end), (b"RFB 003.007\n\x01\x01".to_vec(), done("b")));

            let v38 = [b"RFB 003.889\n\x02\x1e\x02", &challenge[..], &[0; 4], &init("c")].concat();
            let (sent, end) = run(PASSWORD, &v38, piece);
            assert_eq!((sent, end), ([b"RFB 003.008\n\x02", &challenge[..], &[1]].concat(), done("c")));

            let none = [b"RFB 003.008\n\x01\x01\0\0\0\0", &init("d")[..]].concat();
            assert_eq!(run(PASSWORD, &none, piece), (b"RFB 003.008\n\x01\x01".to_vec(), done("d")));
        }
    }

    #[test]
    fn vencrypt_with_a_certificate() {
        // TLSVnc, X509Plain, X509Vnc
        let offer = b"RFB 003.008\n\x02\x13\x02\0\x02\0\x03\0\0\x01\x02\0\0\x01\x06\0\0\x01\x05\x01";
        let inner: Vec<u8> = (1..17).collect();
        // TLS begins with bytes of its own: what comes after is fed after.
        let secure = |means: Means, rest: &[u8]| {
            let mut handshake = Handshake::new(means);
            handshake.feed(offer);
            let mut sent = Vec::new();
            let mut fed = false;
            loop {
                match handshake.step() {
                    Ok(Next::Send(bytes)) => sent.extend(bytes),
                    Ok(Next::Secure) => {
                        sent.extend(b"<tls>");
                        handshake.feed(rest);
                        fed = true;
                    }
                    Ok(Next::Challenge(challenge)) => sent.extend(handshake.answer(challenge)),
                    Ok(Next::Plain) => sent.extend(handshake.name_and_password("me", "x")),
                    other => {
                        assert!(fed);
                        return (sent, other);
                    }
                }
            }
        };
        let (sent, end) = secure(PASSWORD, &[&inner[..], &[0; 4], &init("e")].concat());
        assert_eq!(end, done("e"));
        assert_eq!(sent, [b"RFB 003.008\n\x13\0\x02\0\0\x01\x05<tls>", &inner[..], &[1]].concat());
        assert!(secure(Means { certificate_only: true, ..PASSWORD }, b"").1 == Ok(Next::Read));

        // Bytes before TLS are somebody else's.
        let early = [&offer[..], b"x"].concat();
        assert!(matches!(run(PASSWORD, &early, 4096).1, Err(Refused::NotRfb(_))));
    }

    #[test]
    fn what_cannot_be_served_is_said() {
        let tls_vnc = b"RFB 003.008\n\x02\x13\x02\0\x02\0\x01\0\0\x01\x02";
        assert_eq!(run(PASSWORD, tls_vnc, 5).1, Err(Refused::NotVencrypt));
        let pinned = Means { certificate_only: true, ..PASSWORD };
        assert!(matches!(run(pinned, tls_vnc, 5).1, Err(Refused::Unsupported(_))));
        assert!(matches!(run(pinned, b"RFB 003.008\n\x01\x02", 5).1, Err(Refused::Unsupported(_))));
        let apple = run(PASSWORD, b"RFB 003.889\n\x02\x1e\x21", 5).1;
        let Err(Refused::Unsupported(text)) = apple else { panic!("{apple:?}") };
        assert_eq!(text, "the target offers no login that can be served, only Apple's");
        let missing = run(Means::default(), b"RFB 003.008\n\x01\x02", 5).1;
        assert!(matches!(missing, Err(Refused::Missing(_))));
        assert!(matches!(run(PASSWORD, b"SSH-2.0-x", 5).1, Err(Refused::NotRfb(_))));
        assert!(matches!(run(PASSWORD, b"RFB 00x.008\n", 5).1, Err(Refused::NotRfb(_))));
    }

    #[test]
    fn refusals_have_their_reason() {
        let refused = |bytes: &[u8]| run(PASSWORD, bytes, 2).1;
        let login = |text: &str| Err(Refused::Login(text.to_owned()));
        let many = b"RFB 003.008\n\0\0\0\0\x0dtoo\nmany \x1b[1m";
        assert_eq!(refused(many), login("toomany [1m"));
        let challenge = [7; 16];
        let wrong = [b"RFB 003.008\n\x01\x02", &challenge[..], b"\0\0\0\x01\0\0\0\x05wrong"].concat();
        assert_eq!(refused(&wrong), login("wrong"));
        let before = [b"RFB 003.007\n\x01\x02", &challenge[..], b"\0\0\0\x01"].concat();
        assert_eq!(refused(&before), login(""));
        let endless = [b"RFB 003.008\n\x01\x02", &challenge[..], b"\0\0\0\x01\xff\xff\xff\xff"].concat();
        assert_eq!(refused(&endless), login(""));
        let name = [b"RFB 003.008\n\x01\x01\0\0\0\0", &[0; 20][..], &[0xff; 4]].concat();
        assert!(matches!(refused(&name), Err(Refused::NotRfb(_))));
    }
}
