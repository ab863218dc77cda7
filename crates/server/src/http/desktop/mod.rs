//! `/desktop`: a desktop over a WebSocket.
//!
//! Admitted by the ticket of a connection, as a terminal is, or by that of a session that is looked on at ([`watch`]). The socket carries RFB in binary messages, which the
//! server begins, and everything else as JSON text ([`wire`]). Where the target is, and what lets one in there, the
//! browser never learns. A connection that is lost is a session that has ended: RFB has no way back into a stream.

mod open;
mod pump;
mod watch;
mod wire;

use std::time::Duration;

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket},
    },
    http::request::Parts,
    response::Response,
};
use sojourn_domain::access::EndReason;
use sojourn_store::tickets::{Admits, Ticket};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Gate, Open},
    problem::{Problem, ProblemBody},
    terminal::{
        LAST_WORD, START, client_address,
        remote::{self, Errand},
        take_ticket, upgrade,
    },
};
use crate::state::AppState;
use wire::{FromBrowser, Start, ToBrowser};

/// What the socket speaks.
const PROTOCOL: &str = "sojourn.desktop.v1";

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(desktop))
}

/// A desktop over a WebSocket
///
/// Subprotocols: `sojourn.desktop.v1`, and `ticket.` followed by a ticket that was fetched within the last 30 seconds. The
/// ticket of a connection opens a session; one of a session, for `watch`, looks on at it.
///
/// Binary messages are as the session's `speaks` says: `rfb`, RFB 3.8 without a login, begun by the server once it is in at the
/// target; `rdcleanpath`, RDCleanPath, begun by the browser, whose destination and token mean nothing, and then RDP without
/// TLS and without NLA, one message in each of the server's. Who looks on is always shown `rfb`, and asks for zlib and new
/// sizes. Text messages are JSON with a `type`. To the server: `start` (`password`?, `slow`? to look on twice a second) first
/// of all, `answer` (`text`), `close`. From the server: `prompt` (`text`, `echo`), `session` (`id`, `connectionName`, `speaks`,
/// `recorded`, `viewOnly`, `allowCopy`, `allowPaste`) before any binary message, `notice` (`text`), `end` (`reason`, `detail`).
#[utoipa::path(
    get, path = "/desktop", tag = "sessions", operation_id = "open_desktop", security(()),
    responses(
        (status = 101, description = "A WebSocket"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "No good ticket"),
        (status = 426, body = ProblemBody, content_type = "application/problem+json", description = "Not a WebSocket"),
    )
)]
async fn desktop(
    Open { state }: Open,
    State(gate): State<Gate>,
    mut parts: Parts,
) -> Result<Response, Problem> {
    let upgrade = upgrade(&state, &gate, &mut parts, PROTOCOL).await?;
    let address = client_address(&parts);
    if let Some((errand, ticket)) =
        Errand::of(&state, &parts.headers).and_then(|errand| errand.ticket().map(|ticket| (errand, ticket)))
    {
        let address = errand.address;
        return Ok(upgrade.on_upgrade(move |socket| serve(state, ticket, address, socket)));
    }
    let ticket = take_ticket(&state, &parts.headers).await?;
    Ok(upgrade.on_upgrade(move |socket| serve(state, ticket, address, socket)))
}

async fn serve(state: AppState, ticket: Ticket, address: String, mut socket: WebSocket) {
    let Some(start) = start(&mut socket).await else { return };
    if let Some(session) = remote::elsewhere(&state, &ticket).await {
        let how = (&DESKTOP, start.message());
        if let Some(why) = remote::carry(&state, &ticket, &session, address, how, &mut socket).await {
            last_word(&mut socket, ToBrowser::end(EndReason::Failed, why)).await;
        }
        return;
    }
    let ended = match ticket.admits {
        Admits::Open(connection) => {
            open::open(&state, ticket.user, connection, address, start.password, &mut socket).await
        }
        Admits::Watch(session) => {
            watch::watch(&state, ticket.user, session, address, start.slow, &mut socket).await
        }
        Admits::Attach(_) | Admits::Join(_) => {
            Some(ToBrowser::end(EndReason::Denied, "at a desktop one can look on, and not take part"))
        }
    };
    if let Some(ended) = ended {
        last_word(&mut socket, ended).await;
    }
}

/// Where desktops are.
const DESKTOP: remote::Place = remote::Place { path: "/desktop", protocol: PROTOCOL };

/// The first message.
async fn start(socket: &mut WebSocket) -> Option<Start> {
    let first = tokio::time::timeout(START, async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => return FromBrowser::read(&text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    });
    match first.await {
        Ok(Some(FromBrowser::Start(start))) => Some(start),
        Ok(_) | Err(_) => {
            last_word(socket, ToBrowser::end(EndReason::Failed, "the first message was not a start")).await;
            None
        }
    }
}

/// The end, and the socket's end. Who has gone misses nothing.
async fn last_word(socket: &mut WebSocket, ended: ToBrowser) {
    let said = async {
        let _ = socket.send(ended.message()).await;
        let _ = socket.send(Message::Close(None)).await;
        // The peer's own close, so that the last words are not cut off by a reset.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = tokio::time::timeout(LAST_WORD, said).await;
}

/// How long a browser may take nothing before it counts as gone.
const STALL: Duration = Duration::from_secs(65);

/// Says something to a browser that takes it.
async fn say(socket: &mut WebSocket, message: Message) -> Option<()> {
    tokio::time::timeout(STALL, socket.send(message)).await.ok()?.ok()
}
