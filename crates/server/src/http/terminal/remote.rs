//! Sessions of other nodes: whoever asks here is carried to the node that runs the session.
//!
//! Nodes trust each other through the master key alone: an [`Errand`] is sealed with it, names the node that it is for, and
//! is good for half a minute. It travels where a ticket would, as a subprotocol of a WebSocket on the other node's
//! `/terminal`. Who may do what was decided here; the other node looks again at what it can see itself.

use std::time::Duration;

use axum::{
    extract::ws::{Message, WebSocket},
    http::{HeaderMap, header},
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use sojourn_domain::{
    access::EndReason,
    id::{AccessSessionId, NodeId, UserId},
    policy::Visibility,
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    access::AccessSession,
    nodes::NodeState,
    tickets::{Admits, Ticket},
};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::PROTOCOL;
use crate::{http::problem::Problem, state::AppState};

/// Stands before an errand among the subprotocols.
const NODE: &str = "node.";
/// What an errand is sealed for.
const PURPOSE: &str = "errand between nodes";
/// How long an errand is good.
const LIFETIME: Elapsed = Elapsed::from_secs(30);
/// How long another node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one node asks of another.
#[derive(Serialize, Deserialize)]
pub(in crate::http) struct Errand {
    node: String,
    until_us: i64,
    pub(super) session: String,
    pub(super) user: String,
    /// The client's address.
    pub(in crate::http) address: String,
    pub(super) what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum What {
    Attach,
    Watch,
    Join,
    Terminate { detail: String },
}

impl Errand {
    fn seal(&self, state: &AppState) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        let sealed = state.access.vault.seal(PURPOSE, &text).ok()?;
        Some(format!("{NODE}{}", BASE64URL_NOPAD.encode(sealed.as_bytes())))
    }

    /// The errand among a request's subprotocols, if there is a good one for this node.
    pub(in crate::http) fn of(state: &AppState, headers: &HeaderMap) -> Option<Self> {
        let text = headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .find_map(|text| text.trim().strip_prefix(NODE))?;
        let sealed = String::from_utf8(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()?;
        let plain = state.access.vault.unseal(PURPOSE, &sealed).ok()?;
        let errand: Self = serde_json::from_slice(plain.expose()).ok()?;
        let good = errand.node == state.access.node.to_string()
            && Timestamp::from_micros(errand.until_us) > state.now();
        good.then_some(errand)
    }

    /// As if a ticket had been shown here.
    pub(in crate::http) fn ticket(&self) -> Option<Ticket> {
        let session: AccessSessionId = self.session.parse().ok()?;
        let user: UserId = self.user.parse().ok()?;
        let admits = match self.what {
            What::Attach => Admits::Attach(session),
            What::Watch => Admits::Watch(session),
            What::Join => Admits::Join(session),
            What::Terminate { .. } => return None,
        };
        Some(Ticket { user, admits })
    }
}

/// Why another node could not be asked.
fn unreachable(what: &str) -> Problem {
    Problem::unavailable(format!("the server that runs the session {what}"), 5)
}

type Socket = WebSocketStream<reqwest::Upgraded>;

/// A path of the other node that speaks WebSocket, and what it speaks.
pub(in crate::http) struct Place {
    pub(in crate::http) path: &'static str,
    pub(in crate::http) protocol: &'static str,
}

/// Where terminals are, and words between nodes.
pub(in crate::http) const TERMINAL: Place = Place { path: "/terminal", protocol: PROTOCOL };

/// Opens a socket to the node that an errand is for.
async fn reach(state: &AppState, errand: Errand, place: &Place) -> Result<Socket, Problem> {
    let node: NodeId = errand.node.parse().map_err(|_| unreachable("is not known"))?;
    let found = state.store.node(node).await?.ok_or_else(|| unreachable("is not known"))?;
    match found.state(state.now()) {
        NodeState::Running => {}
        NodeState::Stopped | NodeState::Dead => return Err(unreachable("does not run")),
    }
    if found.url.is_empty() {
        return Err(unreachable("has no address for the others (node_url)"));
    }
    let sealed = errand.seal(state).ok_or_else(Problem::internal)?;
    let connect = async {
        let client = reqwest::Client::builder().http1_only().no_proxy().build()?;
        let answer = client
            .get(format!("{}{}", found.url, place.path))
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, BASE64.encode(&state.entropy.bytes::<16>()))
            .header(header::SEC_WEBSOCKET_PROTOCOL, format!("{}, {sealed}", place.protocol))
            .send()
            .await?
            .error_for_status()?;
        answer.upgrade().await
    };
    let upgraded = match tokio::time::timeout(PATIENCE, connect).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => {
            tracing::warn!(node.id = %node, %error, "another node could not be asked");
            return Err(unreachable("does not answer"));
        }
        Err(_) => return Err(unreachable("does not answer")),
    };
    Ok(WebSocketStream::from_raw_socket(upgraded, tungstenite::protocol::Role::Client, None).await)
}

fn errand(
    state: &AppState,
    node: &str,
    session: impl ToString,
    user: UserId,
    address: String,
    what: What,
) -> Errand {
    Errand {
        node: node.to_owned(),
        until_us: (state.now() + LIFETIME).as_micros(),
        session: session.to_string(),
        user: user.to_string(),
        address,
        what,
    }
}

/// Ends an access session, or a file session, that another node runs.
pub(in crate::http) async fn terminate(
    state: &AppState,
    node: &str,
    session: impl ToString,
    user: UserId,
    detail: String,
) -> Result<(), Problem> {
    if node == state.access.node.to_string() {
        return Err(Problem::conflict("session_over", "the session has ended"));
    }
    let errand = errand(state, node, session, user, String::new(), What::Terminate { detail });
    let mut socket = reach(state, errand, &TERMINAL).await?;
    // It closes when it is done.
    let done = async { while let Some(Ok(_)) = socket.next().await {} };
    if tokio::time::timeout(PATIENCE, done).await.is_err() {
        return Err(unreachable("does not answer"));
    }
    Ok(())
}

/// Does here what another node asked for.
pub(super) async fn run_terminate(state: &AppState, errand: &Errand, detail: &str) {
    if let Some(files) = errand.session.parse().ok().and_then(|session| state.files.get(session)) {
        let ended = files.terminate(EndReason::Terminated, detail);
        drop(tokio::time::timeout(PATIENCE / 2, ended).await);
        return;
    }
    let handle = errand.session.parse().ok().and_then(|session| state.hub.get(session));
    if let Some(handle) = handle
        && handle.terminate(EndReason::Terminated, detail).await.is_ok()
    {
        drop(tokio::time::timeout(PATIENCE / 2, handle.ended()).await);
    }
}

/// Whether a ticket's session runs on another node, as far as is known.
pub(in crate::http) async fn elsewhere(state: &AppState, ticket: &Ticket) -> Option<AccessSession> {
    let (Admits::Attach(id) | Admits::Watch(id) | Admits::Join(id)) = ticket.admits else { return None };
    if state.hub.get(id).is_some() || state.hub.tether(id).is_some() {
        return None;
    }
    let session = state.store.session(Visibility::Any, id).await.ok()??;
    (session.node != state.access.node.to_string()).then_some(session)
}

/// Carries a browser to the node that runs the session, `start` being its first message. Returns why that was not possible, or
/// nothing where it is over.
pub(in crate::http) async fn carry(
    state: &AppState,
    ticket: &Ticket,
    session: &AccessSession,
    address: String,
    (place, start): (&Place, String),
    socket: &mut WebSocket,
) -> Option<String> {
    let what = match ticket.admits {
        Admits::Attach(_) => What::Attach,
        Admits::Watch(_) => What::Watch,
        Admits::Join(_) => What::Join,
        Admits::Open(_) => return None,
    };
    let errand = errand(state, &session.node, session.id, ticket.user, address, what);
    let mut other = match reach(state, errand, place).await {
        Ok(other) => other,
        Err(problem) => return Some(problem.detail().to_owned()),
    };
    other.send(tungstenite::Message::text(start)).await.ok()?;
    let (mut to_other, mut from_other) = other.split();
    let (mut to_browser, mut from_browser) = socket.split();
    // Each way for itself: one that is held up must not hold up the other.
    let outward = async {
        while let Some(Ok(message)) = from_browser.next().await {
            let Some(message) = outward(message) else { break };
            if to_other.send(message).await.is_err() {
                break;
            }
        }
        drop(to_other.close().await);
    };
    let inward = async {
        while let Some(Ok(message)) = from_other.next().await {
            let Some(message) = inward(message) else { break };
            if to_browser.send(message).await.is_err() {
                break;
            }
        }
        drop(to_browser.close().await);
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
        () = state.shutdown.cancelled() => {}
    }
    None
}

fn outward(message: Message) -> Option<tungstenite::Message> {
    Some(match message {
        Message::Text(text) => tungstenite::Message::text(text.as_str()),
        Message::Binary(bytes) => tungstenite::Message::binary(bytes),
        Message::Ping(bytes) => tungstenite::Message::Ping(bytes),
        Message::Pong(bytes) => tungstenite::Message::Pong(bytes),
        Message::Close(_) => return None,
    })
}

fn inward(message: tungstenite::Message) -> Option<Message> {
    Some(match message {
        tungstenite::Message::Text(text) => Message::text(text.as_str()),
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
        tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
        tungstenite::Message::Close(_) | tungstenite::Message::Frame(_) => return None,
    })
}
