//! RDP targets: the server logs in, and the browser is given a desktop without a login.
//!
//! [`handshake`] reaches the target, [`clean_path`] receives the browser, [`relay`] says what passes between them
//! ([`clipboard`], [`dynamic`] for channels, [`capabilities`] for pictures). A [`tap`] reads along what the target shows.
//! Here are the sockets and one task a desktop, which waits for the slowest of them and never holds more than a few
//! pieces. Nothing that a person does goes to the target while what it showed before waits to be taken.

mod capabilities;
mod chunk;
pub mod clean_path;
pub mod clipboard;
mod dynamic;
pub mod frame;
mod handshake;
pub mod input;
pub mod login;
mod parts;
pub mod picture;
mod probe;
pub mod relay;
mod tap;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use sojourn_domain::access::{DesktopPolicy, EndReason};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

pub(in crate::protocols) use self::probe::probe;
use self::{
    clipboard::{Clips, Passed},
    frame::{Framer, Way},
    input::Act,
    relay::{Allows, Broken, Out, Relay},
    tap::{Piece, Tap},
};
use super::{ConnectError, Credential, Target, dial, ssh::SeenKey};
use crate::{
    session::ends::{Carrier, QUEUE, TargetEnd, TargetEvent, TargetInput, place},
    sinks::witness::{Deed, Witness},
};

/// Bytes on their way to the target beyond which nothing more is taken.
const OUTWARD: usize = 64 * 1024;
/// How much is read at once.
const READ: usize = 32 * 1024;
/// How often it is told that a person does something.
const TOUCHES: Duration = Duration::from_secs(1);

/// What a browser is to be given.
#[derive(Debug)]
pub struct Wanted {
    pub policy: DesktopPolicy,
    /// Files may pass where the clipboard may.
    pub files: bool,
    /// Is told what there is to see, and what was done.
    pub witness: Witness,
    /// Told once, when the desktop was left: what passed of the clipboard. Nobody hears it where it is dropped.
    pub clips: Option<tokio::sync::oneshot::Sender<ClipReport>>,
}

/// What passed of the clipboard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClipReport {
    /// From the desktop to the user.
    pub copied: Passed,
    /// From the user to the desktop.
    pub pasted: Passed,
}

/// Reaches a target, logs in, and gives its end of the session: what it says and takes is RDCleanPath with a browser,
/// one message in each piece. The certificate is to be pinned where none was.
pub async fn open(
    target: &Target,
    credential: &Credential,
    rules: &dial::Rules,
    wanted: Wanted,
) -> Result<(TargetEnd, Option<SeenKey>), ConnectError> {
    let login = handshake::login(target, credential)?;
    let opened = handshake::open(target, &login, rules).await.map_err(|refusal| refusal.error)?;
    let Wanted { policy, files, witness, clips } = wanted;
    let tap = Tap::start(witness.clone()).map_err(|error| {
        tracing::error!(%error, "what a desktop shows cannot be read");
        ConnectError::new(EndReason::Failed, "the server cannot read what the target shows")
    })?;
    let allows = Allows {
        input: !policy.view_only,
        clips: Clips { copy: policy.allow_copy, paste: policy.allow_paste && !policy.view_only, files },
    };
    let (told, events) = mpsc::channel(QUEUE);
    let (input, typed) = mpsc::channel(QUEUE);
    let work = Work {
        request: Some(clean_path::Request::default()),
        relay: Relay::new(login, opened.protocol, allows),
        from_browser: Framer::default(),
        from_target: Framer::default(),
        told,
        typed,
        outward: Vec::new(),
        waiting: VecDeque::new(),
        touched: false,
        touched_at: None,
        tap,
        witness,
        unseen: None,
        clips,
    };
    let carrier = Carrier::new(work.run(opened.stream));
    Ok((TargetEnd { events, input, carrier }, opened.certificate))
}

struct Work {
    /// Until the browser is in.
    request: Option<clean_path::Request>,
    relay: Relay,
    from_browser: Framer,
    from_target: Framer,
    told: mpsc::Sender<TargetEvent>,
    typed: mpsc::Receiver<TargetInput>,
    /// On its way to the target.
    outward: Vec<u8>,
    /// On its way to the session: what came of one piece from the target.
    waiting: VecDeque<Bytes>,
    /// A person did something, which the session does not know yet.
    touched: bool,
    touched_at: Option<Instant>,
    tap: Tap,
    witness: Witness,
    /// On its way to the tap.
    unseen: Option<Piece>,
    clips: Option<tokio::sync::oneshot::Sender<ClipReport>>,
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
    async fn run(mut self, stream: TlsStream<TcpStream>) {
        let (reason, detail) = self.carry(stream).await;
        if let Some(clips) = self.clips.take() {
            let report = ClipReport {
                copied: self.relay.passed(Way::ToBrowser),
                pasted: self.relay.passed(Way::ToTarget),
            };
            // Who asked may have gone.
            let _ = clips.send(report);
        }
        let last = std::mem::take(&mut self.waiting).into_iter().map(TargetEvent::Output);
        for event in last.chain([TargetEvent::Ended { reason, detail }]) {
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

    async fn carry(&mut self, stream: TlsStream<TcpStream>) -> Over {
        let (mut read, mut write) = tokio::io::split(stream);
        let mut piece = vec![0; READ];
        let lost = |error: std::io::Error| (EndReason::TargetLost, format!("the connection broke: {error}"));
        // Bytes that TLS has taken and not sent yet.
        let mut flush = false;
        loop {
            let shown = self.request.is_none() && self.may_take();
            tokio::select! {
                length = read.read(&mut piece), if shown => match length {
                    Ok(0) => return self.closed(),
                    Ok(length) => if let Err(broken) = self.show(&piece[..length]) {
                        return over(broken);
                    },
                    // Targets that hang up without TLS's goodbye, as many do.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return self.closed(),
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
                () = place(Some(&self.told)), if !self.waiting.is_empty() || self.touched => {
                    let event = match self.waiting.pop_front() {
                        Some(frame) => TargetEvent::Output(frame),
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
                // What is answered to the browser needs its place, and nothing is done to what nobody has seen.
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

    /// All that came before was taken.
    fn may_take(&self) -> bool {
        self.waiting.is_empty() && self.unseen.is_none() && self.outward.len() < OUTWARD
    }

    /// The target has closed.
    fn closed(&self) -> Over {
        match self.relay.error() {
            Some(why) => (EndReason::Closed, format!("the target closed the desktop: {why}")),
            None => (EndReason::Closed, "the target closed the desktop".to_owned()),
        }
    }

    fn keep(&mut self, out: Out) {
        for frame in out.to_target {
            self.outward.extend_from_slice(&frame);
        }
        self.waiting.extend(out.to_browser);
        // Only the target shows something, of which no more is read before this is gone.
        if !out.seen.is_empty() {
            self.unseen = Some(self.tap.piece(out.seen));
        }
    }

    /// What came from the target.
    fn show(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.from_target.feed(bytes);
        let mut out = Out::default();
        while let Some(frame) = self.from_target.next().map_err(|frame::NotRdp| NOT_RDP)? {
            self.relay.down(frame, &mut out)?;
        }
        self.keep(out);
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
        let Some(request) = &mut self.request else { return self.pass(&bytes) };
        match request.take(&bytes) {
            Ok(None) => Ok(()),
            Ok(Some(clean_path::Answered { answer, rest })) => {
                self.request = None;
                self.waiting.push_back(answer.into());
                self.pass(&rest)
            }
            Err(clean_path::NotCleanPath) => {
                Err((EndReason::Denied, "the browser speaks no RDCleanPath with TLS".to_owned()))
            }
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.from_browser.feed(bytes);
        let mut out = Out::default();
        loop {
            let next = self.from_browser.next().map_err(|frame::NotRdp| Broken::Browser("no RDP"));
            let Some(frame) = next.map_err(over)? else { break };
            self.relay.up(frame, &mut out).map_err(over)?;
        }
        self.keep(out);
        let acts = self.relay.take_acts();
        for act in &acts {
            let (deed, at) = match *act {
                Act::Key => (Deed::Key, None),
                Act::Click(x, y) => (Deed::Click, Some((x, y))),
                Act::Scroll(x, y) => (Deed::Scroll, Some((x, y))),
                Act::Move(x, y) => (Deed::Move, Some((x, y))),
            };
            if at.is_some() {
                self.witness.tap().pointer(self.witness.elapsed(), at);
            }
            self.witness.did(deed);
        }
        let due = self.touched_at.is_none_or(|at| at.elapsed() >= TOUCHES);
        if due && !acts.is_empty() {
            self.touched = true;
            self.touched_at = Some(Instant::now());
        }
        Ok(())
    }
}

const NOT_RDP: Broken = Broken::Target("no RDP");

fn over(broken: Broken) -> Over {
    match broken {
        Broken::Browser(what) => (EndReason::Denied, format!("the browser sent {what}")),
        Broken::Target(what) => (EndReason::TargetLost, format!("the target sent {what}")),
        Broken::Redirected => {
            (EndReason::TargetLost, "the target sends us to another host, which is not followed".to_owned())
        }
    }
}
