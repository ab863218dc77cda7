//! Bytes and words between a socket and a desktop's session, both ways, until either is gone.

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use sojourn_domain::access::EndReason;
use sojourn_gateway::session::{
    Begun,
    ends::{Carrier, ClientEnd, ClientEvent, ClientInput, TargetEnd},
};
use tokio::sync::mpsc;

use super::{
    say,
    wire::{FromBrowser, ToBrowser},
};
use crate::http::terminal::{Pulse, Typed};

/// Pieces on their way to the browser, and from it; who finds no place waits.
const QUEUE: usize = 8;

/// Lets the session run. Returns the last word, or nothing where the socket is gone, and the session with it.
pub(super) async fn pump(socket: &mut WebSocket, begun: Begun, target: TargetEnd) -> Option<ToBrowser> {
    let (input, from_browser) = mpsc::channel(QUEUE);
    let (to_browser, mut events) = mpsc::channel(QUEUE);
    begun.run(target, ClientEnd { input: from_browser, events: to_browser, carrier: Carrier::default() });
    let mut pulse = Pulse::new();
    let mut typed = Typed::new();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(ClientEvent::Output(bytes)) => say(socket, Message::Binary(bytes)).await?,
                Some(ClientEvent::Notice(text)) => say(socket, ToBrowser::Notice { text }.message()).await?,
                Some(ClientEvent::Ended { reason, detail }) => return Some(ToBrowser::end(reason, detail)),
                // A desktop has none of these.
                Some(ClientEvent::ErrorOutput(_) | ClientEvent::Eof | ClientEvent::Exit(_)) => {}
                None => return Some(ToBrowser::end(EndReason::Failed, "")),
            },
            message = socket.recv() => {
                pulse.hear();
                match message {
                    Some(Ok(Message::Binary(bytes))) => if !typed.push(bytes) { return None },
                    Some(Ok(Message::Text(text))) => match FromBrowser::read(&text) {
                        Some(FromBrowser::Close) => typed.say(ClientInput::Close),
                        Some(FromBrowser::Start(_) | FromBrowser::Answer { .. }) | None => {}
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                }
            }
            _ = typed.send(&input), if !typed.is_empty() => {}
            alive = pulse.tick() => {
                if !alive {
                    return None;
                }
                say(socket, Message::Ping(Bytes::new())).await?;
            }
        }
    }
}
