//! The person at the other end of a session channel, before and while the session runs.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use russh::{
    ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig,
    server::{Handle, Msg},
};
use sojourn_domain::access::EndReason;
use tokio::sync::{mpsc, oneshot};

use crate::{
    protocols::ssh::{STDERR, name_of},
    session::ends::{Carrier, ClientEnd, ClientEvent, ClientInput, Exit, PIECE, QUEUE, TerminalSize},
};

/// What a client exits with when there was no program to exit.
pub(super) const NO_PROGRAM: u32 = 255;
/// How long the end of a session may take after its client has closed the channel.
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// The longest answer to a question.
const ANSWER: usize = 1024;

/// A session channel of a client.
pub(super) struct Client {
    pub(super) read: ChannelReadHalf,
    pub(super) write: ChannelWriteHalf<Msg>,
    pub(super) handle: Handle,
    /// Of the client's terminal; `None` without one.
    pub(super) size: Option<TerminalSize>,
    /// Typed ahead of what asked for it.
    pub(super) typed: BytesMut,
    pub(super) eof: bool,
}

/// The client is gone.
pub(super) struct Gone;

impl Client {
    fn id(&self) -> ChannelId {
        self.write.id()
    }

    /// Writes to the terminal.
    pub(super) async fn show(&self, text: &str) {
        // A client that is gone reads nothing.
        let _ = self.write.data_bytes(text.as_bytes().to_vec()).await;
    }

    /// A line from Sojourn itself, apart from the program's output where there is no terminal.
    pub(super) async fn say(&self, text: &str) {
        say(&self.write, text, self.size.is_some()).await;
    }

    /// Says why nothing was started, and ends the channel.
    pub(super) async fn refuse(self, text: &str) {
        self.say(text).await;
        // A client that is gone takes no harm.
        let _ = self.write.exit_status(NO_PROGRAM).await;
        let _ = self.write.eof().await;
        let _ = self.write.close().await;
    }

    /// Ends the channel without a word, as a program does that has nothing to complain of.
    pub(super) async fn leave(self) {
        let _ = self.write.exit_status(0).await;
        let _ = self.write.eof().await;
        let _ = self.write.close().await;
    }

    /// The next keys; `None` after the end of input. Sizes are noted as they come.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a channel has many messages, and most are not for this side"
    )]
    pub(super) async fn keys(&mut self) -> Result<Option<Bytes>, Gone> {
        if !self.typed.is_empty() {
            return Ok(Some(self.typed.split().freeze()));
        }
        while let Some(message) = self.read.wait().await {
            match message {
                ChannelMsg::Data { data } => return Ok(Some(data)),
                ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                    self.size = Some(size(col_width, row_height, pix_width, pix_height));
                    // Nothing was typed, but the screen is another.
                    return Ok(Some(Bytes::new()));
                }
                ChannelMsg::Eof => {
                    self.eof = true;
                    return Ok(None);
                }
                ChannelMsg::Close => return Err(Gone),
                _ => {}
            }
        }
        Err(Gone)
    }

    /// Asks for one line that is not shown. `None` when the person wants no more of it.
    pub(super) async fn ask(&mut self, question: &str) -> Result<Option<String>, Gone> {
        self.show(question).await;
        let mut answer: Vec<u8> = Vec::new();
        loop {
            let Some(keys) = self.keys().await? else { return Ok(None) };
            for (at, byte) in keys.iter().enumerate() {
                match byte {
                    b'\r' | b'\n' => {
                        self.typed.extend_from_slice(&keys[at + 1..]);
                        self.show("\r\n").await;
                        return Ok(Some(String::from_utf8_lossy(&answer).into_owned()));
                    }
                    // Ctrl-C, Ctrl-D
                    3 | 4 => return Ok(None),
                    // Ctrl-U
                    0x15 => answer.clear(),
                    8 | 0x7f => while answer.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
                    byte if answer.len() < ANSWER => answer.push(*byte),
                    _ => {}
                }
            }
        }
    }

    /// The client as the end of a session, and what resolves when either is gone. That dropped, the client is let go.
    pub(super) async fn attach(mut self) -> (ClientEnd, impl Future<Output = ()> + Send) {
        let (input_sender, input) = mpsc::channel(QUEUE);
        let (events, events_receiver) = mpsc::channel(QUEUE);
        let typed = std::mem::take(&mut self.typed).freeze();
        let (mut over, carried) = oneshot::channel::<()>();
        let carrier = Carrier::new(async move {
            let id = self.id();
            let Self { mut read, write, handle, size, eof, .. } = self;
            let terminal = size.is_some();
            let ended = AtomicBool::new(false);
            tokio::select! {
                () = carry_output(&write, &handle, id, terminal, events_receiver, &ended) => {}
                () = carry_input(&mut read, typed, eof, input_sender, &ended) => {}
                () = over.closed() => {}
            }
            let _ = write.close().await;
        });
        let carried = async move {
            // Nothing is ever sent: it is dropped.
            let _ = carried.await;
        };
        (ClientEnd { input, events, carrier }, carried)
    }
}

pub(super) fn size(cols: u32, rows: u32, width_px: u32, height_px: u32) -> TerminalSize {
    let small = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    TerminalSize {
        cols: small(cols),
        rows: small(rows),
        width_px: small(width_px),
        height_px: small(height_px),
    }
}

pub(super) async fn say(write: &ChannelWriteHalf<Msg>, text: &str, terminal: bool) {
    // What a target or another user wrote may be in it.
    let text: String =
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    let line = if terminal {
        format!("\r\nsojourn: {}\r\n", text.replace('\n', "\r\n"))
    } else {
        format!("sojourn: {text}\n")
    };
    // A client that is gone reads nothing.
    let _ = write.extended_data_bytes(STDERR, line.into_bytes()).await;
}

/// Ends when the session is over.
async fn carry_output(
    write: &ChannelWriteHalf<Msg>,
    handle: &Handle,
    id: ChannelId,
    terminal: bool,
    mut events: mpsc::Receiver<ClientEvent>,
    ended: &AtomicBool,
) {
    let mut exited = false;
    while let Some(event) = events.recv().await {
        let sent = match event {
            ClientEvent::Output(data) => write.data_bytes(data).await,
            ClientEvent::ErrorOutput(data) => write.extended_data_bytes(STDERR, data).await,
            ClientEvent::Eof => {
                ended.store(true, Ordering::Relaxed);
                write.eof().await
            }
            ClientEvent::Exit(Exit::Status(status)) => {
                exited = true;
                write.exit_status(status).await
            }
            ClientEvent::Exit(Exit::Signal { name, core_dumped, message, language }) => {
                exited = true;
                let sent =
                    handle.exit_signal_request(id, Sig::Custom(name), core_dumped, message, language).await;
                sent.map_err(|()| russh::Error::SendError)
            }
            ClientEvent::Notice(text) => {
                say(write, &text, terminal).await;
                Ok(())
            }
            ClientEvent::Ended { reason, detail } => {
                if !exited {
                    if reason != EndReason::Closed {
                        let text =
                            if detail.is_empty() { format!("the session ended: {reason}") } else { detail };
                        say(write, &text, terminal).await;
                    }
                    let _ = write.exit_status(NO_PROGRAM).await;
                }
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Ends when the client is gone. One that closes the channel when both directions have `ended` still waits to
/// hear how the program ended.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a channel has many messages, and most are not for this side"
)]
async fn carry_input(
    read: &mut ChannelReadHalf,
    typed: Bytes,
    eof: bool,
    input: mpsc::Sender<ClientInput>,
    ended: &AtomicBool,
) {
    if !typed.is_empty() && input.send(ClientInput::Data(typed)).await.is_err() {
        return;
    }
    if eof && input.send(ClientInput::Eof).await.is_err() {
        return;
    }
    while let Some(message) = read.wait().await {
        let message = match message {
            ChannelMsg::Data { mut data } => {
                while data.len() > PIECE {
                    let piece = data.split_to(PIECE);
                    if input.send(ClientInput::Data(piece)).await.is_err() {
                        return input_over(&input).await;
                    }
                }
                ClientInput::Data(data)
            }
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                ClientInput::Resize(size(col_width, row_height, pix_width, pix_height))
            }
            ChannelMsg::Signal { signal } => ClientInput::Signal(name_of(&signal)),
            ChannelMsg::Break { length_ms, .. } => ClientInput::Break(length_ms),
            ChannelMsg::EndOfWrite => ClientInput::Unread,
            ChannelMsg::Eof => ClientInput::Eof,
            ChannelMsg::Close => {
                // The session may be over already.
                let _ = input.send(ClientInput::Close).await;
                if !ended.load(Ordering::Relaxed) {
                    // For the last words of a session that is stuck with them.
                    return tokio::time::sleep(GRACE).await;
                }
                return input_over(&input).await;
            }
            _ => continue,
        };
        if input.send(message).await.is_err() {
            return input_over(&input).await;
        }
    }
}

/// The session takes no more input but may have more to say: this end goes on waiting for that.
async fn input_over(_input: &mpsc::Sender<ClientInput>) {
    std::future::pending::<()>().await;
}
