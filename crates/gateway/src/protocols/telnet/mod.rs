//! Telnet targets.
//!
//! [`codec`] is the protocol, [`login`] answers prompts, and here is the socket: one task a connection, which
//! waits for the slower of both sides and never holds more than a few pieces.

pub mod codec;
mod login;

use std::time::Duration;

use bytes::Bytes;
use sojourn_domain::access::EndReason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::{
    codec::Codec,
    login::{Login, Step},
};
use super::{ConnectError, Credential, Target, TerminalRequest, dial};
use crate::session::ends::{Carrier, QUEUE, TargetEnd, TargetEvent, TargetInput, place};

/// How long prompts are answered; afterwards the person is.
const LOGIN: Duration = Duration::from_secs(30);
/// How long after the password a second prompt counts as a refusal.
const VERDICT: Duration = Duration::from_secs(5);
/// Bytes on their way to the target beyond which nothing more is taken.
const OUTWARD: usize = 64 * 1024;
/// How much is read at once.
const READ: usize = 16 * 1024;

/// Reaches a Telnet target. Prompts are answered while the session runs already.
pub async fn open_terminal(
    target: &Target,
    credential: &Credential,
    rules: &dial::Rules,
    request: TerminalRequest,
) -> Result<TargetEnd, ConnectError> {
    let login = match credential {
        Credential::Password(password) => Some(Login::new(&target.username, password.reveal())),
        Credential::None => None,
        Credential::Key { .. } | Credential::Agent(_) => {
            return Err(ConnectError::new(EndReason::Denied, "Telnet knows passwords only"));
        }
    };
    let stream = dial::dial(&target.host, target.port, rules).await?;
    Ok(start(stream, login, &request))
}

fn start(stream: TcpStream, login: Option<Login>, request: &TerminalRequest) -> TargetEnd {
    let (told, events) = mpsc::channel(QUEUE);
    let (input, typed) = mpsc::channel(QUEUE);
    let work = Work {
        codec: Codec::new(&request.term, request.size.cols, request.size.rows),
        login,
        until: Instant::now() + LOGIN,
        told,
        typed,
        outward: Vec::new(),
        waiting: None,
    };
    TargetEnd { events, input, carrier: Carrier::new(work.run(stream)) }
}

struct Work {
    codec: Codec,
    login: Option<Login>,
    /// Until then prompts are answered.
    until: Instant,
    told: mpsc::Sender<TargetEvent>,
    typed: mpsc::Receiver<TargetInput>,
    /// On its way to the target.
    outward: Vec<u8>,
    /// On its way to the session.
    waiting: Option<TargetEvent>,
}

impl Work {
    async fn run(mut self, mut stream: TcpStream) {
        let (reason, detail) = self.carry(&mut stream).await;
        let ended = TargetEvent::Ended { reason, detail };
        for event in self.waiting.take().into_iter().chain([ended]) {
            // A session that is over needs no last word.
            if self.told.send(event).await.is_err() {
                break;
            }
        }
    }

    async fn carry(&mut self, stream: &mut TcpStream) -> (EndReason, String) {
        let (mut read, mut write) = stream.split();
        let mut piece = vec![0; READ];
        let lost = |error: std::io::Error| (EndReason::TargetLost, format!("the connection broke: {error}"));
        loop {
            let answering = self.login.as_ref().is_some_and(|login| !login.has_answered());
            tokio::select! {
                length = read.read(&mut piece), if self.waiting.is_none() && self.outward.len() < OUTWARD => {
                    match length {
                        Ok(0) => return (EndReason::Closed, String::new()),
                        Ok(length) => if let Some(refused) = self.take(&piece[..length]) {
                            return refused;
                        },
                        Err(error) => return lost(error),
                    }
                }
                length = write.write(&self.outward), if !self.outward.is_empty() => match length {
                    Ok(length) => drop(self.outward.drain(..length)),
                    Err(error) => return lost(error),
                },
                () = place(Some(&self.told)), if self.waiting.is_some() => {
                    if let Some(event) = self.waiting.take()
                        && self.told.try_send(event).is_err()
                    {
                        return (EndReason::Closed, String::new());
                    }
                }
                // Keys wait while prompts are answered: they would be taken for the answers.
                event = self.typed.recv(), if self.may_type(answering) => match event {
                    Some(event) => self.type_in(event),
                    None => return (EndReason::Closed, String::new()),
                },
                () = self.told.closed() => return (EndReason::Closed, String::new()),
                () = sleep_until(self.until), if self.login.is_some() => self.login = None,
            }
        }
    }

    /// Whether keys are taken now. What is shown for a target that does not echo needs its place.
    fn may_type(&self, answering: bool) -> bool {
        let shown = self.codec.peer_echoes() || self.waiting.is_none();
        self.outward.len() < OUTWARD && shown && !answering
    }

    /// Takes what came from the target. Returns the end where the login was refused.
    fn take(&mut self, bytes: &[u8]) -> Option<(EndReason, String)> {
        let mut data = Vec::new();
        self.codec.receive(bytes, &mut data, &mut self.outward);
        if let Some(login) = &mut self.login {
            data = login.filter(data);
            match login.read(&data) {
                Step::None => {}
                Step::Answer(answer) => {
                    self.codec.send(&answer, &mut self.outward);
                    if login.has_answered() {
                        self.until = Instant::now() + VERDICT;
                    }
                }
                Step::Refused => {
                    if !data.is_empty() {
                        self.waiting = Some(TargetEvent::Output(Bytes::from(data)));
                    }
                    return Some((
                        EndReason::LoginRefused,
                        "the target refused the user name or the password".to_owned(),
                    ));
                }
            }
        }
        if !data.is_empty() {
            self.waiting = Some(TargetEvent::Output(Bytes::from(data)));
        }
        None
    }

    fn type_in(&mut self, event: TargetInput) {
        match event {
            TargetInput::Data(bytes) => {
                // Who types has taken over.
                if let Some(login) = &mut self.login {
                    login.stop();
                }
                self.login = self.login.take().filter(|login| !login.is_done());
                self.codec.send(&bytes, &mut self.outward);
                if !self.codec.peer_echoes() {
                    self.show(&bytes);
                }
            }
            TargetInput::Resize(size) => self.codec.resize(size.cols, size.rows, &mut self.outward),
            TargetInput::Break(_) => self.codec.send_break(&mut self.outward),
            TargetInput::Signal(name) if name == "INT" => self.codec.send_interrupt(&mut self.outward),
            // Telnet has no others, and no end of input.
            TargetInput::Signal(_) | TargetInput::Unread | TargetInput::Eof => {}
        }
    }

    /// The target leaves it to the terminal to show what is typed.
    fn show(&mut self, bytes: &[u8]) {
        let mut shown = match self.waiting.take() {
            Some(TargetEvent::Output(before)) => before.to_vec(),
            Some(
                other @ (TargetEvent::ErrorOutput(_)
                | TargetEvent::Touched
                | TargetEvent::Eof
                | TargetEvent::Exit(_)
                | TargetEvent::Ended { .. }),
            ) => {
                self.waiting = Some(other);
                return;
            }
            None => Vec::new(),
        };
        for byte in bytes {
            match byte {
                b'\r' => shown.extend_from_slice(b"\r\n"),
                b'\n' => {}
                0x20..=0x7e | 0x80..=0xff => shown.push(*byte),
                _ => {}
            }
        }
        if !shown.is_empty() {
            self.waiting = Some(TargetEvent::Output(Bytes::from(shown)));
        }
    }
}
