//! A session channel at a target: its shell, command or subsystem as a [`TargetEnd`].

use std::sync::Arc;

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty, Sig, client::Msg};
use sojourn_domain::access::EndReason;
use tokio::sync::mpsc;

use super::{Link, pipe};
use crate::{
    protocols::ConnectError,
    session::ends::{Carrier, Exit, PIECE, QUEUE, TargetEnd, TargetEvent, TargetInput, TerminalSize},
};

/// SSH_EXTENDED_DATA_STDERR, RFC 4254 section 5.2.
pub(crate) const STDERR: u32 = 1;

/// A terminal to be made at the target.
#[derive(Debug, Clone)]
pub struct PtyRequest {
    pub term: String,
    pub size: TerminalSize,
    /// RFC 4254 section 8.
    pub modes: Vec<(Pty, u32)>,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Shell,
    /// Not always UTF-8.
    Exec(Vec<u8>),
    Subsystem(String),
}

/// How it is started.
#[derive(Debug, Clone)]
pub struct Start {
    pub pty: Option<PtyRequest>,
    /// The target takes those that its settings allow.
    pub env: Vec<(String, String)>,
    /// The target may ask for the user's agent.
    pub agent: bool,
    pub what: What,
}

/// Nothing was started.
#[derive(Debug)]
pub enum StartError {
    /// The target takes no more sessions on this connection.
    NoRoom,
    Failed(ConnectError),
}

impl From<ConnectError> for StartError {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error)
    }
}

impl From<StartError> for ConnectError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::NoRoom => failed("one more session"),
            StartError::Failed(error) => error,
        }
    }
}

fn failed(what: &str) -> ConnectError {
    ConnectError::new(EndReason::Failed, format!("the target refused {what}"))
}

fn lost(error: &russh::Error) -> ConnectError {
    ConnectError::new(EndReason::TargetLost, format!("the connection to the target broke: {error}"))
}

impl Link {
    /// Starts something on a channel of its own. The link lives at least as long.
    pub async fn start(self: Arc<Self>, start: Start) -> Result<TargetEnd, StartError> {
        let mut channel = match self.handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(_)) => return Err(StartError::NoRoom),
            Err(error) => return Err(lost(&error).into()),
        };
        // All requests go out at once; the answers come in the same order.
        let mut expected = Vec::new();
        if start.agent {
            channel.agent_forward(true).await.map_err(|e| lost(&e))?;
            expected.push(None);
        }
        if let Some(pty) = &start.pty {
            let size = pty.size;
            channel
                .request_pty(
                    true,
                    &pty.term,
                    u32::from(size.cols),
                    u32::from(size.rows),
                    u32::from(size.width_px),
                    u32::from(size.height_px),
                    &pty.modes,
                )
                .await
                .map_err(|e| lost(&e))?;
            expected.push(Some("a terminal"));
        }
        for (name, value) in &start.env {
            channel.set_env(false, name.as_str(), value.as_str()).await.map_err(|e| lost(&e))?;
        }
        match &start.what {
            What::Shell => channel.request_shell(true).await,
            What::Exec(command) => channel.exec(true, command.clone()).await,
            What::Subsystem(name) => channel.request_subsystem(true, name.as_str()).await,
        }
        .map_err(|e| lost(&e))?;
        expected.push(Some(match &start.what {
            What::Shell => "a shell",
            What::Exec(_) => "the command",
            What::Subsystem(_) => "the subsystem",
        }));
        let mut expected = expected.into_iter();
        while let Some(what) = expected.as_slice().first().copied() {
            match channel.wait().await {
                Some(ChannelMsg::Success) => {}
                Some(ChannelMsg::Failure) => {
                    // Without the agent it goes on.
                    if let Some(what) = what {
                        return Err(failed(what).into());
                    }
                }
                Some(ChannelMsg::WindowAdjusted { .. }) => continue,
                Some(ChannelMsg::Close) | None => {
                    let message = "the target closed the session";
                    return Err(ConnectError::new(EndReason::TargetLost, message).into());
                }
                // No server sends data before it has answered.
                Some(_) => continue,
            }
            expected.next();
        }
        let (events_sender, events) = mpsc::channel(QUEUE);
        let (input, input_receiver) = mpsc::channel(QUEUE);
        let carrier = Carrier::new(serve(self, channel, events_sender, input_receiver));
        Ok(TargetEnd { events, input, carrier })
    }
}

/// Carries both directions until either end is gone. A full queue of events stops this channel alone.
async fn serve(
    link: Arc<Link>,
    channel: Channel<Msg>,
    events: mpsc::Sender<TargetEvent>,
    input: mpsc::Receiver<TargetInput>,
) {
    let (mut read, write) = channel.split();
    // A target end that was dropped takes its channel along, also in the middle of a write.
    pipe::first(
        carry_output(&mut read, &events, &link),
        pipe::first(carry_input(&write, input), events.closed()),
    )
    .await;
    // Whichever is closed already takes no harm.
    let _ = write.close().await;
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a channel has many messages, and most are not for this side"
)]
async fn carry_output(read: &mut ChannelReadHalf, events: &mpsc::Sender<TargetEvent>, link: &Link) {
    let mut closed = false;
    let mut exited = false;
    while let Some(message) = read.wait().await {
        let taken = match message {
            ChannelMsg::Data { data } => send_pieces(data, events, TargetEvent::Output).await,
            ChannelMsg::ExtendedData { data, ext: STDERR } => {
                send_pieces(data, events, TargetEvent::ErrorOutput).await
            }
            ChannelMsg::Eof => events.send(TargetEvent::Eof).await.is_ok(),
            ChannelMsg::ExitStatus { exit_status } => {
                exited = true;
                events.send(TargetEvent::Exit(Exit::Status(exit_status))).await.is_ok()
            }
            ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag } => {
                exited = true;
                let exit = Exit::Signal {
                    name: name_of(&signal_name),
                    core_dumped,
                    message: error_message,
                    language: lang_tag,
                };
                events.send(TargetEvent::Exit(exit)).await.is_ok()
            }
            ChannelMsg::Close => {
                closed = true;
                break;
            }
            _ => true,
        };
        if !taken {
            return;
        }
    }
    let ended = if closed || exited {
        TargetEvent::Ended { reason: EndReason::Closed, detail: String::new() }
    } else {
        tracing::debug!(link.closed = link.is_closed(), "a target's channel ended without a word");
        TargetEvent::Ended {
            reason: EndReason::TargetLost,
            detail: "the connection to the target broke".to_owned(),
        }
    };
    // Nobody listens when the client went first.
    let _ = events.send(ended).await;
}

async fn send_pieces(
    mut data: Bytes,
    events: &mpsc::Sender<TargetEvent>,
    event: impl Fn(Bytes) -> TargetEvent,
) -> bool {
    while data.len() > PIECE {
        if events.send(event(data.split_to(PIECE))).await.is_err() {
            return false;
        }
    }
    events.send(event(data)).await.is_ok()
}

/// Ends when the sender is dropped. A target that takes no more input may have more to say, such as how
/// its program ended: what still comes for it is thrown away.
async fn carry_input(write: &ChannelWriteHalf<Msg>, mut input: mpsc::Receiver<TargetInput>) {
    let mut taken = true;
    while let Some(message) = input.recv().await {
        if !taken {
            continue;
        }
        let sent = match message {
            TargetInput::Data(data) => write.data_bytes(data).await,
            TargetInput::Resize(size) => {
                write
                    .window_change(
                        u32::from(size.cols),
                        u32::from(size.rows),
                        u32::from(size.width_px),
                        u32::from(size.height_px),
                    )
                    .await
            }
            TargetInput::Signal(name) => write.signal(Sig::Custom(name)).await,
            TargetInput::Break(length_ms) => write.send_break(false, length_ms).await,
            TargetInput::Unread => write.end_of_write().await,
            TargetInput::Eof => write.eof().await,
        };
        taken = sent.is_ok();
    }
}

/// Without `SIG`, RFC 4254 section 6.10.
pub(crate) fn name_of(signal: &Sig) -> String {
    match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => name,
    }
    .to_owned()
}
