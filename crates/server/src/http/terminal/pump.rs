//! Bytes and words between a socket and a session, both ways, until either is gone.

use std::{collections::VecDeque, time::Duration};

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use sojourn_domain::access::EndReason;
use sojourn_gateway::session::{
    ends::{ClientEvent, ClientInput, Exit, PIECE},
    tether::{Attached, TetherEvent},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::wire::{self, FromClient, ToClient};

/// How often a silent peer is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// A peer that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(65);
/// Keys that may wait for a target that does not read; whoever sends more is let go.
const TYPED_BYTES: usize = 4 * 1024 * 1024;

/// Asks whether the peer is still there.
pub(in crate::http) struct Pulse {
    pings: tokio::time::Interval,
    heard: Instant,
}

impl Pulse {
    pub(in crate::http) fn new() -> Self {
        let mut pings = interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { pings, heard: Instant::now() }
    }

    pub(in crate::http) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// At each ping; `false` when the peer is gone.
    pub(in crate::http) async fn tick(&mut self) -> bool {
        self.pings.tick().await;
        self.heard.elapsed() < SILENCE
    }
}

/// Keys on their way to a session.
pub(in crate::http) struct Typed {
    waiting: VecDeque<ClientInput>,
    bytes: usize,
}

impl Typed {
    pub(in crate::http) fn new() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }

    pub(in crate::http) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `false` when too much waits.
    pub(in crate::http) fn push(&mut self, mut bytes: Bytes) -> bool {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.waiting.push_back(ClientInput::Data(piece));
        }
        self.bytes <= TYPED_BYTES
    }

    pub(in crate::http) fn say(&mut self, event: ClientInput) {
        // Only the last size matters.
        if matches!(event, ClientInput::Resize(_)) {
            self.waiting.retain(|waiting| !matches!(waiting, ClientInput::Resize(_)));
        }
        self.waiting.push_back(event);
    }

    /// Sends one. Cancelled, nothing is lost. `false` when nobody takes it any more.
    pub(in crate::http) async fn send(&mut self, input: &mpsc::Sender<ClientInput>) -> bool {
        let Ok(place) = input.reserve().await else {
            // What the session still has to say is awaited.
            self.waiting.clear();
            return false;
        };
        if let Some(event) = self.waiting.pop_front() {
            if let ClientInput::Data(bytes) = &event {
                self.bytes -= bytes.len();
            }
            place.send(event);
        }
        true
    }
}

/// Until the session has ended (then the last word), or the socket is gone (then nothing: it may come back).
pub(super) async fn pump(socket: &mut WebSocket, mut attached: Attached) -> Option<ToClient> {
    let mut viewers = attached.handle.viewers();
    let mut pulse = Pulse::new();
    let mut typed = Typed::new();
    let mut exit: Option<Exit> = None;
    if !viewers.borrow_and_update().is_empty() {
        let message = ToClient::viewers(&attached.handle.numbers().viewers).message();
        socket.send(message).await.ok()?;
    }
    loop {
        tokio::select! {
            event = attached.events.recv() => match event {
                Some(TetherEvent::Output(bytes)) => socket.send(Message::Binary(bytes)).await.ok()?,
                Some(TetherEvent::Snapshot(snapshot)) => {
                    socket.send(ToClient::snapshot(snapshot).message()).await.ok()?;
                }
                Some(TetherEvent::Event(event)) => match event {
                    ClientEvent::Notice(text) => socket.send(ToClient::Notice { text }.message()).await.ok()?,
                    ClientEvent::Exit(how) => exit = Some(how),
                    ClientEvent::Ended { reason, detail } => {
                        return Some(ToClient::ended(reason, detail, exit.as_ref()));
                    }
                    ClientEvent::Output(_) | ClientEvent::ErrorOutput(_) | ClientEvent::Eof => {}
                },
                Some(TetherEvent::Replaced) => {
                    return Some(ToClient::end(EndReason::ClientLost, "the session goes on in another window"));
                }
                None => return Some(ToClient::end(EndReason::Failed, "")),
            },
            message = socket.recv() => {
                pulse.hear();
                match message {
                    Some(Ok(Message::Binary(bytes))) => if !typed.push(bytes) { return None },
                    Some(Ok(Message::Text(text))) => match FromClient::read(&text) {
                        Some(FromClient::Resize { cols, rows }) => {
                            typed.say(ClientInput::Resize(wire::size(cols, rows)));
                        }
                        Some(FromClient::Ack { received }) => {
                            attached.received.send_replace(received);
                        }
                        Some(FromClient::Close) => typed.say(ClientInput::Close),
                        Some(FromClient::Start(_) | FromClient::Answer { .. }) | None => {}
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                }
            }
            _ = typed.send(&attached.input), if !typed.is_empty() => {}
            Ok(()) = viewers.changed() => {
                let message = ToClient::viewers(&viewers.borrow_and_update()).message();
                socket.send(message).await.ok()?;
            }
            alive = pulse.tick() => {
                if !alive {
                    return None;
                }
                socket.send(Message::Ping(Bytes::new())).await.ok()?;
            }
        }
    }
}
