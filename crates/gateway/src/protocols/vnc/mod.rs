//! VNC targets: the server logs in, and the browser is given a desktop without a login.
//!
//! [`handshake`] is RFB towards the target, [`browser`] towards the browser; afterwards bytes are carried both ways,
//! through [`upward`] and [`downward`], which say what may pass. Here are the sockets, TLS, and one task a desktop,
//! which waits for the slower of both sides and never holds more than a few pieces.
//!
//! A [`tap`] reads along what the target shows. A browser that asks for no picture, for a small part of it, or that takes none
//! does not keep it from the tap: the picture is asked for in any case, and nothing that a person does goes to the
//! target while what it showed before waits to be taken.

pub mod browser;
pub mod downward;
pub mod handshake;
mod keysym;
pub mod picture;
pub mod pixels;
mod probe;
mod tap;
pub mod upward;
pub mod viewer;

use std::time::Duration;

use bytes::Bytes;
use des::{
    Des,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use sojourn_domain::access::{DesktopPolicy, EndReason};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;

pub(in crate::protocols) use self::probe::probe;
use self::{
    browser::Welcome,
    downward::Downward,
    handshake::{Desktop, Handshake, Means, Next, Refused},
    tap::{Piece, Tap},
    upward::{Allows, Upward},
};
use super::{ConnectError, Credential, HostKeyRule, Target, dial, ssh::SeenKey, tls::Tls};
use crate::{
    session::ends::{Carrier, QUEUE, TargetEnd, TargetEvent, TargetInput, place},
    sinks::witness::{Deed, Witness},
};

/// How long a login may take.
const LOGIN: Duration = Duration::from_secs(20);
/// Bytes on their way to the target beyond which nothing more is taken.
const OUTWARD: usize = 64 * 1024;
/// How much is read at once.
const READ: usize = 32 * 1024;
/// How often it is told that a person does something.
const TOUCHES: Duration = Duration::from_secs(1);
/// How often the whole picture is asked for, whatever the browser asks for.
const ASKS: Duration = Duration::from_secs(1);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a browser is to be given.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Stands where a target would give its name, which may hold its address.
    pub name: String,
    pub policy: DesktopPolicy,
    /// Is told what there is to see, and what was done.
    pub witness: Witness,
}

/// A target that let us in.
struct Opened {
    stream: Box<dyn Stream>,
    desktop: Desktop,
    /// What came behind the handshake.
    rest: Vec<u8>,
    /// The certificate that it showed.
    certificate: Option<SeenKey>,
}

/// Reaches a target, logs in, and gives its end of the session: what it says and takes is RFB with a browser. The
/// certificate is to be pinned where none was.
pub async fn open(
    target: &Target,
    credential: &Credential,
    rules: &dial::Rules,
    wanted: Wanted,
) -> Result<(TargetEnd, Option<SeenKey>), ConnectError> {
    let opened = log_in(target, credential, rules).await.map_err(|refusal| refusal.error)?;
    let Wanted { name, policy, witness } = wanted;
    let tap = Tap::start(witness.clone(), opened.desktop.width, opened.desktop.height).map_err(|error| {
        tracing::error!(%error, "what a desktop shows cannot be read");
        ConnectError::new(EndReason::Failed, "the server cannot read what the target shows")
    })?;
    let (told, events) = mpsc::channel(QUEUE);
    let (input, typed) = mpsc::channel(QUEUE);
    let mut asks = interval(ASKS);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = Work {
        welcome: Some(Welcome::new(opened.desktop.width, opened.desktop.height, &name)),
        upward: Upward::new(Allows {
            input: !policy.view_only,
            paste: policy.allow_paste,
            copy: policy.allow_copy,
        }),
        downward: Downward::new(policy.allow_copy),
        told,
        typed,
        // Before anything is asked for, so that nothing comes in another format.
        outward: pixels::request(),
        waiting: Some(TargetEvent::Output(Bytes::from_static(browser::HELLO))),
        touched: false,
        touched_at: None,
        tap,
        witness,
        size: (opened.desktop.width, opened.desktop.height),
        asks,
        asked_all: false,
        unseen: None,
    };
    let carrier = Carrier::new(work.run(opened.stream, opened.rest));
    Ok((TargetEnd { events, input, carrier }, opened.certificate))
}

/// Logs in; a second time, without VeNCrypt, where that has nothing for us.
async fn log_in(target: &Target, credential: &Credential, rules: &dial::Rules) -> Result<Opened, Refusal> {
    let password = match credential {
        Credential::Password(password) => Some(password.reveal()),
        Credential::None => None,
        Credential::Key { .. } | Credential::Agent(_) => {
            return Err(ConnectError::new(EndReason::Denied, "VNC knows passwords only").into());
        }
    };
    let mut means = Means {
        password: password.is_some(),
        username: !target.username.is_empty(),
        certificate_only: matches!(target.host_key, HostKeyRule::Pinned(_)),
        without_vencrypt: false,
    };
    loop {
        let attempt = timeout(LOGIN, attempt(target, password.unwrap_or_default(), rules, means)).await;
        match attempt {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(Failed::Refused(Refused::NotVencrypt))) if !means.without_vencrypt => {
                means.without_vencrypt = true;
            }
            Ok(Err(Failed::Refused(refused))) => return Err(explain(refused).into()),
            Ok(Err(Failed::Connect(refusal))) => return Err(refusal),
            Err(_) => {
                let message = "the target takes too long to let us in";
                return Err(ConnectError::new(EndReason::Unreachable, message).into());
            }
        }
    }
}

/// Why we are not in, and the certificate that was not good.
struct Refusal {
    error: ConnectError,
    certificate: Option<SeenKey>,
}

impl From<ConnectError> for Refusal {
    fn from(error: ConnectError) -> Self {
        Self { error, certificate: None }
    }
}

enum Failed {
    Refused(Refused),
    Connect(Refusal),
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error.into())
    }
}

fn broke(error: &std::io::Error) -> Failed {
    ConnectError::new(EndReason::Unreachable, format!("the connection to the target broke: {error}")).into()
}

async fn attempt(
    target: &Target,
    password: &str,
    rules: &dial::Rules,
    means: Means,
) -> Result<Opened, Failed> {
    let stream = dial::dial(&target.host, target.port, rules).await?;
    let peer = stream.peer_addr().map_err(|error| broke(&error))?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let mut handshake = Handshake::new(means);
    let mut certificate = None;
    let mut piece = vec![0; 4096];
    loop {
        let send = match handshake.step().map_err(Failed::Refused)? {
            Next::Read => {
                match stream.read(&mut piece).await {
                    Ok(0) => return Err(Failed::Refused(handshake.hung_up())),
                    Ok(length) => handshake.feed(&piece[..length]),
                    Err(error) => return Err(broke(&error)),
                }
                continue;
            }
            Next::Send(bytes) => bytes,
            Next::Secure => {
                let tls =
                    Tls::new(&target.host_key, &target.host, peer.ip()).map_err(|error| no_tls(&error))?;
                let secured = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), stream).await;
                stream = match secured {
                    Ok(secured) => Box::new(secured),
                    Err(error) => {
                        return Err(match tls.refused(target) {
                            Some(refused) => {
                                Failed::Connect(Refusal { error: refused, certificate: tls.seen() })
                            }
                            None => no_tls(&error),
                        });
                    }
                };
                certificate = tls.seen();
                continue;
            }
            Next::Challenge(challenge) => handshake.answer(response(challenge, password)),
            Next::Plain => handshake.name_and_password(&target.username, password),
            Next::Done(desktop) => {
                return Ok(Opened { stream, desktop, rest: handshake.into_rest(), certificate });
            }
        };
        stream.write_all(&send).await.map_err(|error| broke(&error))?;
        stream.flush().await.map_err(|error| broke(&error))?;
    }
}

fn no_tls(error: &dyn std::fmt::Display) -> Failed {
    ConnectError::new(EndReason::Unreachable, format!("no TLS connection to the target: {error}")).into()
}

/// RFC 6143 section 7.2.2: DES with the first eight bytes of the password, whose bits are read from the other end.
fn response(challenge: [u8; 16], password: &str) -> [u8; 16] {
    let mut key = [0; 8];
    for (key, byte) in key.iter_mut().zip(password.bytes()) {
        *key = byte.reverse_bits();
    }
    let des = Des::new(&key.into());
    let mut answer = [0; 16];
    for (block, answer) in challenge.as_chunks::<8>().0.iter().zip(answer.as_chunks_mut::<8>().0) {
        let mut block = (*block).into();
        des.encrypt_block(&mut block);
        *answer = block.into();
    }
    answer
}

fn explain(refused: Refused) -> ConnectError {
    match refused {
        Refused::NotRfb(why) => ConnectError::new(EndReason::Unreachable, why),
        Refused::Unsupported(why) => ConnectError::new(EndReason::LoginRefused, why),
        Refused::NotVencrypt => {
            ConnectError::new(EndReason::LoginRefused, "the target offers no login that can be served")
        }
        Refused::Missing(why) => ConnectError::new(EndReason::LoginRefused, why),
        Refused::Login(reason) if reason.is_empty() => {
            ConnectError::new(EndReason::LoginRefused, "the target refused the password")
        }
        Refused::Login(reason) => {
            ConnectError::new(EndReason::LoginRefused, format!("the target refused the login: {reason}"))
        }
    }
}

struct Work {
    /// Until the browser is in.
    welcome: Option<Welcome>,
    upward: Upward,
    downward: Downward,
    told: mpsc::Sender<TargetEvent>,
    typed: mpsc::Receiver<TargetInput>,
    /// On its way to the target.
    outward: Vec<u8>,
    /// On its way to the session.
    waiting: Option<TargetEvent>,
    /// A person did something, which the session does not know yet.
    touched: bool,
    touched_at: Option<Instant>,
    tap: Tap,
    witness: Witness,
    /// As it was at first.
    size: (u16, u16),
    asks: Interval,
    asked_all: bool,
    /// On its way to the tap.
    unseen: Option<Piece>,
}

type Over = (EndReason, String);

/// Sends some, or, where there is nothing, what TLS holds back. Cancelled, nothing is sent twice.
async fn send(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() {
        write.flush().await?;
        return Ok(0);
    }
    match write.write(bytes).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        length => Ok(length),
    }
}

impl Work {
    async fn run(mut self, stream: Box<dyn Stream>, rest: Vec<u8>) {
        let (reason, detail) = self.carry(stream, rest).await;
        let counts = self.upward.counts();
        tracing::debug!(counts.keys, counts.pointer, counts.texts, "a desktop was left");
        let ended = TargetEvent::Ended { reason, detail };
        for event in self.waiting.take().into_iter().chain([ended]) {
            // A session that is over needs no last word.
            if self.told.send(event).await.is_err() {
                break;
            }
        }
        // What was shown last belongs to the recording, which waits for it.
        if let Some(piece) = self.unseen.take() {
            self.tap.place().await;
            self.tap.take(piece);
        }
    }

    async fn carry(&mut self, stream: Box<dyn Stream>, rest: Vec<u8>) -> Over {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut piece = vec![0; READ];
        let mut rest = Some(rest).filter(|rest| !rest.is_empty());
        let lost = |error: std::io::Error| (EndReason::TargetLost, format!("the connection broke: {error}"));
        // Bytes that TLS has taken and not sent yet.
        let mut flush = false;
        loop {
            let shown = self.welcome.is_none() && self.waiting.is_none() && self.unseen.is_none();
            if shown && let Some(rest) = rest.take() {
                if let Err(over) = self.show(&rest) {
                    return over;
                }
                continue;
            }
            tokio::select! {
                length = read.read(&mut piece), if shown => match length {
                    Ok(0) => return (EndReason::Closed, "the target closed the desktop".to_owned()),
                    Ok(length) => if let Err(over) = self.show(&piece[..length]) {
                        return over;
                    },
                    Err(error) => return lost(error),
                },
                sent = send(&mut write, &self.outward), if flush || !self.outward.is_empty() => match sent {
                    Ok(0) => flush = false,
                    Ok(length) => {
                        self.outward.drain(..length);
                        flush = true;
                    }
                    Err(error) => return lost(error),
                },
                () = place(Some(&self.told)), if self.waiting.is_some() || self.touched => {
                    let event = match self.waiting.take() {
                        Some(event) => event,
                        None => {
                            self.touched = false;
                            TargetEvent::Touched
                        }
                    };
                    if self.told.try_send(event).is_err() {
                        return (EndReason::Closed, String::new());
                    }
                }
                () = self.tap.place(), if self.unseen.is_some() => {
                    if let Some(piece) = self.unseen.take() {
                        self.tap.take(piece);
                    }
                }
                _ = self.asks.tick(), if self.welcome.is_none() && self.outward.is_empty() && self.upward.at_rest() => {
                    self.ask();
                }
                // What is answered to a browser that comes in needs its place.
                event = self.typed.recv(), if self.may_take() => match event {
                    Some(event) => if let Err(over) = self.take(event) {
                        return over;
                    },
                    None => return (EndReason::Closed, String::new()),
                },
                () = self.told.closed() => return (EndReason::Closed, String::new()),
            }
        }
    }

    /// Asks for what is different from what was shown, of which a target sends nothing twice; for all of it where the
    /// browser has not.
    fn ask(&mut self) {
        let (width, height) = self.downward.size().unwrap_or(self.size);
        let more = self.asked_all || self.upward.asked_all_of(width, height);
        self.asked_all = true;
        self.outward.extend_from_slice(&[3, u8::from(more), 0, 0, 0, 0]);
        self.outward.extend_from_slice(&width.to_be_bytes());
        self.outward.extend_from_slice(&height.to_be_bytes());
    }

    fn may_take(&self) -> bool {
        self.outward.len() < OUTWARD && self.waiting.is_none() && self.unseen.is_none()
    }

    /// What came from the target.
    fn show(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let mut out = Vec::with_capacity(bytes.len());
        self.downward.take(bytes, &mut out).map_err(|downward::Broken(what)| {
            (EndReason::TargetLost, format!("the target sent {what}, which is not shown"))
        })?;
        if !out.is_empty() {
            self.waiting = Some(TargetEvent::Output(Bytes::from(out)));
        }
        self.unseen = Some(self.tap.piece(bytes));
        Ok(())
    }

    /// What came from the browser.
    fn take(&mut self, event: TargetInput) -> Result<(), Over> {
        let bytes = match event {
            TargetInput::Data(bytes) => bytes,
            // A desktop has none of these.
            TargetInput::Resize(_)
            | TargetInput::Signal(_)
            | TargetInput::Break(_)
            | TargetInput::Unread
            | TargetInput::Eof => return Ok(()),
        };
        let Some(welcome) = &mut self.welcome else { return self.pass(&bytes) };
        let mut answer = Vec::new();
        let came = welcome.take(&bytes, &mut answer);
        if !answer.is_empty() {
            self.waiting = Some(TargetEvent::Output(Bytes::from(answer)));
        }
        match came {
            Ok(None) => Ok(()),
            Ok(Some(rest)) => {
                self.welcome = None;
                self.asks.reset();
                self.pass(&rest)
            }
            Err(browser::NotRfb) => {
                Err((EndReason::Denied, "the browser speaks no RFB 3.8 without a login".to_owned()))
            }
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let before = self.upward.counts().total();
        self.upward
            .take(bytes, &mut self.outward)
            .map_err(|upward::Broken(what)| (EndReason::Denied, format!("the browser sent {what}")))?;
        let draws = self.upward.draws_pointer();
        for deed in self.upward.deeds() {
            match deed {
                upward::Deed::Key(keysym) => self.witness.pressed(|| keysym::name(keysym)),
                upward::Deed::Click => self.witness.did(Deed::Click),
                upward::Deed::Scroll => self.witness.did(Deed::Scroll),
                upward::Deed::Move { x, y } => {
                    if draws {
                        self.witness.tap().pointer(self.witness.elapsed(), Some((x, y)));
                    }
                    self.witness.did(Deed::Move);
                }
            }
        }
        let due = self.touched_at.is_none_or(|at| at.elapsed() >= TOUCHES);
        if due && self.upward.counts().total() > before {
            self.touched = true;
            self.touched_at = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_as_vnc_does() {
        let answer = response(*b"0123456789abcdef", "password");
        assert_eq!(data_encoding::HEXLOWER.encode(&answer), ANSWER);
        assert_eq!(response(*b"0123456789abcdef", "passwordlonger"), answer);
        assert_ne!(response(*b"0123456789abcdef", "passwor"), answer);
    }

    /// `openssl enc -des-ecb -nopad` of `0123456789abcdef`, with the bits of `password` turned around as key.
    const ANSWER: &str = "5645abeb5f1e6475e8feb11beb66ea19";
}
