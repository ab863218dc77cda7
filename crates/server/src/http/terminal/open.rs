//! Opening a session, and coming back to one.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use sojourn_domain::{
    access::{AuthKind, ClientKind, EndReason, Purpose},
    id::{AccessSessionId, ConnectionId, UserId},
};
use sojourn_gateway::{
    admission::{Admission, Refused},
    session::{Begun, Opening, Refusal, SessionHandle},
};

use super::{
    pump::pump,
    wire::{Attach, FromClient, Start, ToClient},
};
use crate::{
    http::problem::chain,
    state::AppState,
    targets::{self, Wanted},
};

/// How long a person may take to answer a prompt.
const ANSWER: Duration = Duration::from_secs(120);

/// Opens a session. Returns the last word, or nothing where the socket is gone.
pub(super) async fn open(
    state: &AppState,
    user: UserId,
    connection: ConnectionId,
    address: String,
    start: Start,
    socket: &mut WebSocket,
) -> Option<ToClient> {
    let admission = match Admission::check(&state.store, user, &connection.to_string()).await {
        Ok(admission) => admission,
        Err(Refused::Store(error)) => {
            tracing::error!(error = chain(&error), "a terminal could not be opened");
            return Some(ToClient::end(EndReason::Failed, "the server cannot look that up now"));
        }
        Err(refused) => return Some(ToClient::end(EndReason::Denied, refused.to_string())),
    };
    let password = match (admission.connection().auth, &start.password) {
        (AuthKind::Prompt, None) => Some(ask(&admission, socket).await?),
        (AuthKind::Prompt, Some(password)) => Some(password.clone()),
        (AuthKind::Password | AuthKind::Key | AuthKind::Agent | AuthKind::None, _) => None,
    };
    let opening = Opening {
        purpose: Purpose::Shell,
        command: String::new(),
        client_kind: ClientKind::Web,
        client_address: address,
        term: start.term(),
        size: Some(start.size()),
    };
    let mut begun = match state.hub.begin(&admission, opening).await {
        Ok(begun) => begun,
        Err(refusal) => return Some(refused(&refusal)),
    };
    let wanted = Wanted { password, term: start.term(), size: start.size() };
    let reached = {
        let mut connecting = std::pin::pin!(targets::open(state, &admission, &begun, wanted));
        loop {
            tokio::select! {
                reached = &mut connecting => break Ok(reached),
                message = socket.recv() => match message {
                    // Typed ahead of the shell: there is none yet.
                    Some(Ok(Message::Text(text))) => if let Some(FromClient::Close) = FromClient::read(&text) {
                        break Err(EndReason::Closed);
                    },
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break Err(EndReason::ClientLost),
                },
            }
        }
    };
    let target = match reached {
        Ok(Ok(target)) => target,
        Ok(Err(error)) => {
            let ended = ToClient::end(error.reason, error.message.clone());
            begun.fail(error.reason, error.message).await;
            return Some(ended);
        }
        Err(reason) => {
            begun.fail(reason, "").await;
            return None;
        }
    };
    // Terminated while it connected.
    if let Some(ended) = called_off(&mut begun).await {
        let last = ToClient::end(ended.0, ended.1.clone());
        begun.fail(ended.0, ended.1).await;
        return Some(last);
    }
    let (handle, tether) = begun.run_tethered(target, state.config.attach_grace.to_std());
    let attached = tether.attach(Some(0)).await.ok()?;
    socket.send(greeting(state, &handle).message()).await.ok()?;
    pump(socket, attached).await
}

/// Whether somebody ended the session before it connected.
pub(in crate::http) async fn called_off(begun: &mut Begun) -> Option<(EndReason, String)> {
    tokio::select! {
        biased;
        ended = begun.called_off() => Some((ended.reason, ended.detail)),
        () = std::future::ready(()) => None,
    }
}

/// Comes back to one's own session.
pub(super) async fn attach(
    state: &AppState,
    user: UserId,
    session: AccessSessionId,
    start: Start,
    socket: &mut WebSocket,
) -> Option<ToClient> {
    let tether = state.hub.tether(session).filter(|tether| tether.user() == user);
    let Some(tether) = tether else {
        return Some(ToClient::end(EndReason::ClientLost, "the session has ended"));
    };
    let Ok(attached) = tether.attach(start.received).await else {
        return Some(ToClient::end(EndReason::ClientLost, "the session has ended"));
    };
    socket.send(greeting(state, &attached.handle).message()).await.ok()?;
    // The window may have another size than when it went away.
    let resize = sojourn_gateway::session::ends::ClientInput::Resize(start.size());
    drop(attached.input.try_send(resize));
    pump(socket, attached).await
}

fn greeting(state: &AppState, handle: &SessionHandle) -> ToClient {
    let facts = handle.facts();
    let grace_seconds = state.config.attach_grace.as_micros() / 1_000_000;
    ToClient::Session {
        id: facts.id.to_string(),
        connection_name: facts.connection_name.clone(),
        recorded: facts.recorded,
        attach: Some(Attach { grace_seconds }),
    }
}

fn refused(refusal: &Refusal) -> ToClient {
    let (reason, detail) = why_refused(refusal);
    ToClient::end(reason, detail)
}

/// Why a session was not begun, for the person who wanted it.
pub(in crate::http) fn why_refused(refusal: &Refusal) -> (EndReason, String) {
    let reason = match refusal {
        Refusal::Full | Refusal::UserFull | Refusal::Policy(_) => EndReason::Denied,
        Refusal::Storage | Refusal::Recording => EndReason::RecordingFailed,
        Refusal::Stopping => EndReason::ServerStopped,
        Refusal::Store(error) => {
            tracing::error!(error = chain(error), "a session could not be begun");
            return (EndReason::Failed, "the server cannot write the session down now".to_owned());
        }
    };
    (reason, refusal.to_string())
}

/// Asks the person for the target's password.
async fn ask(admission: &Admission, socket: &mut WebSocket) -> Option<String> {
    let connection = admission.connection();
    let text = match connection.username.as_str() {
        "" => format!("Password for {}: ", connection.name),
        name => format!("Password for {name} at {}: ", connection.name),
    };
    socket.send(ToClient::Prompt { text, echo: false }.message()).await.ok()?;
    let answer = tokio::time::timeout(ANSWER, async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => match FromClient::read(&text) {
                    Some(FromClient::Answer { text }) => return Some(text),
                    Some(FromClient::Close) => return None,
                    Some(FromClient::Start(_) | FromClient::Resize { .. } | FromClient::Ack { .. })
                    | None => {}
                },
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    });
    answer.await.ok().flatten()
}
