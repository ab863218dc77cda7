//! `/terminal`: a terminal over a WebSocket.
//!
//! Admitted by a ticket that was fetched with a credential and is good once. The socket carries bytes in binary
//! messages and everything else as JSON text ([`wire`]). A connection that is lost leaves its session on a tether;
//! who comes back with another ticket goes on at the byte where they were.

mod open;
mod pump;
pub(super) mod remote;
mod tickets;
pub(super) mod view;
pub(super) mod wire;

use std::time::Duration;

use axum::{
    extract::{
        FromRequestParts as _, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::Response,
};
use sojourn_domain::access::EndReason;
use sojourn_store::{
    identity::SecretHash,
    tickets::{Admits, Ticket},
};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Gate, Open},
    client::{Client, foreign_origin},
    problem::{Problem, ProblemBody},
};
use crate::state::AppState;
pub(super) use open::{called_off, why_refused};
pub(super) use pump::{Pulse, Typed};
use remote::{Errand, What};
use wire::{FromClient, ToClient};

/// What the socket speaks.
pub const PROTOCOL: &str = "sojourn.terminal.v1";
/// Stands before a ticket among the subprotocols.
const TICKET: &str = "ticket.";
/// The largest message of a client: a paste is cut into several by whoever pastes more.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// How long a client may take to say how large its terminal is.
pub(super) const START: Duration = Duration::from_secs(15);
/// How long the last words may take to go out.
pub(super) const LAST_WORD: Duration = Duration::from_secs(5);

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(terminal)).merge(tickets::router())
}

/// A terminal over a WebSocket
///
/// Subprotocols: `sojourn.terminal.v1`, and `ticket.` followed by a ticket that was fetched within the last 30
/// seconds. The ticket of a connection opens a session; that of a session attaches to it again, watches it
/// or takes part in it.
///
/// Binary messages are keys to, and output from, the target. Text messages are JSON with a `type`. To the server:
/// `start` (`cols`, `rows`, `term`, `password`?, `received`?) first of all, `resize` (`cols`, `rows`), `ack` (`received`:
/// output bytes since the session's start), `answer` (`text`), `close`. From the server: `session` (`id`,
/// `connectionName`, `recorded`, `attach`), `snapshot` (`cols`, `rows`, `data`, `offset`), `resize`, `prompt` (`text`,
/// `echo`), `notice` (`text`), `viewers`, `end` (`reason`, `detail`, `exitStatus`?). While 256 KiB are
/// unacknowledged the target is held back.
#[utoipa::path(
    get, path = "/terminal", tag = "sessions", operation_id = "open_terminal", security(()),
    responses(
        (status = 101, description = "A WebSocket"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "No good ticket"),
        (status = 426, body = ProblemBody, content_type = "application/problem+json", description = "Not a WebSocket"),
    )
)]
async fn terminal(
    Open { state }: Open,
    State(gate): State<Gate>,
    mut parts: Parts,
) -> Result<Response, Problem> {
    let upgrade = upgrade(&state, &gate, &mut parts, PROTOCOL).await?;
    let address = client_address(&parts);
    if let Some(errand) = Errand::of(&state, &parts.headers) {
        return Ok(upgrade.on_upgrade(move |socket| run(state, errand, socket)));
    }
    let ticket = take_ticket(&state, &parts.headers).await?;
    Ok(upgrade.on_upgrade(move |socket| serve(state, ticket, address, socket)))
}

/// A request for a WebSocket, if it is one and comes from a page of ours or from a program.
pub(super) async fn upgrade(
    state: &AppState,
    gate: &Gate,
    parts: &mut Parts,
    protocol: &'static str,
) -> Result<WebSocketUpgrade, Problem> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, gate).await.map_err(|_| {
        Problem::new(StatusCode::UPGRADE_REQUIRED, "websocket_required", "this path speaks WebSocket alone")
            .header(header::UPGRADE, header::HeaderValue::from_static("websocket"))
    })?;
    if foreign_origin(&parts.headers, &state.config) {
        return Err(Problem::forbidden("foreign_origin", "the request comes from another site's page"));
    }
    Ok(upgrade.protocols([protocol]).max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES))
}

pub(super) fn client_address(parts: &Parts) -> String {
    let client = parts.extensions.get::<Client>().copied();
    client.map(|client| client.address.to_string()).unwrap_or_default()
}

/// The ticket that a request shows. It is good once.
pub(super) async fn take_ticket(state: &AppState, headers: &HeaderMap) -> Result<Ticket, Problem> {
    let secret = ticket(headers).ok_or_else(no_ticket)?;
    let taken = state.store.ticket_take(&SecretHash::of(&secret), state.now()).await?;
    taken.ok_or_else(no_ticket)
}

fn no_ticket() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "bad_ticket", "the ticket is unknown, used or too old")
        .header(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Ticket realm=\"sojourn\""))
        .refusal()
}

fn ticket(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .find_map(|text| text.trim().strip_prefix(TICKET).map(str::to_owned))
}

/// What another node asked for.
async fn run(state: AppState, errand: Errand, mut socket: WebSocket) {
    if let What::Terminate { detail } = &errand.what {
        remote::run_terminate(&state, &errand, detail).await;
        // It waits for this.
        drop(socket.send(Message::Close(None)).await);
        return;
    }
    if let Some(ticket) = errand.ticket() {
        let Some(start) = start(&mut socket).await else { return };
        admitted(&state, &ticket, errand.address, start, &mut socket).await;
    }
}

async fn serve(state: AppState, ticket: Ticket, address: String, mut socket: WebSocket) {
    let Some(start) = start(&mut socket).await else { return };
    if let Some(session) = remote::elsewhere(&state, &ticket).await {
        let how = (&remote::TERMINAL, start.message());
        if let Some(why) = remote::carry(&state, &ticket, &session, address, how, &mut socket).await {
            last_word(&mut socket, ToClient::end(EndReason::Failed, why)).await;
        }
        return;
    }
    admitted(&state, &ticket, address, start, &mut socket).await;
}

async fn admitted(
    state: &AppState,
    ticket: &Ticket,
    address: String,
    start: wire::Start,
    socket: &mut WebSocket,
) {
    let ended = match ticket.admits {
        Admits::Open(connection) => open::open(state, ticket.user, connection, address, start, socket).await,
        Admits::Attach(session) => open::attach(state, ticket.user, session, start, socket).await,
        Admits::Watch(_) | Admits::Join(_) => view::view(state, ticket, address, socket).await,
    };
    if let Some(ended) = ended {
        last_word(socket, ended).await;
    }
}

/// The first message.
async fn start(socket: &mut WebSocket) -> Option<wire::Start> {
    let first = tokio::time::timeout(START, async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => return FromClient::read(&text),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    })
    .await;
    match first {
        Ok(Some(FromClient::Start(start))) => Some(start),
        Ok(_) | Err(_) => {
            let ended = ToClient::end(EndReason::Failed, "the first message was not a start");
            last_word(socket, ended).await;
            None
        }
    }
}

/// The end, and the socket's end. Who has gone misses nothing.
async fn last_word(socket: &mut WebSocket, ended: ToClient) {
    let said = async {
        let _ = socket.send(ended.message()).await;
        let _ = socket.send(Message::Close(None)).await;
        // The peer's own close, so that the last words are not cut off by a reset.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = tokio::time::timeout(LAST_WORD, said).await;
}
