//! Watching a live session, or taking part in it.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use serde_json::json;
use sojourn_domain::{
    access::EndReason,
    id::{AccessSessionId, ConnectionId, UserId},
    policy::Permission,
};
use sojourn_gateway::{
    admission::{Admission, Refused},
    session::{LiveEvent, ViewMode, Viewer},
};
use sojourn_store::{
    audit::{ActorKind, By, Deed},
    tickets::{Admits, Ticket},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    pump::{Pulse, Typed},
    wire::{FromClient, ToClient},
};
use crate::{http::problem::chain, state::AppState};

/// How often it is looked up whether the viewer still may look on.
pub(in crate::http) const CHECK: Duration = Duration::from_secs(5);

/// Whether a user may look at a live session, or take part: their own; another's with `sessions.watch`, and to
/// take part what opening it themselves would need.
pub(in crate::http) async fn may_view(
    state: &AppState,
    user: UserId,
    owner: UserId,
    connection: ConnectionId,
    mode: ViewMode,
) -> Result<String, Refused> {
    let found = state.store.user(user).await?.filter(|user| !user.disabled).ok_or(Refused::User)?;
    if owner == user {
        return Ok(found.name);
    }
    let permissions = state.store.role_permissions(&found.role).await?.unwrap_or_default();
    if !permissions.contains(&Permission::SessionsWatch) {
        return Err(Refused::Permission(Permission::SessionsWatch));
    }
    match mode {
        ViewMode::Watch => {}
        ViewMode::Join => {
            Admission::check(&state.store, user, &connection.to_string()).await?;
        }
    }
    Ok(found.name)
}

/// Returns the last word, or nothing where the socket is gone.
pub(super) async fn view(
    state: &AppState,
    ticket: &Ticket,
    address: String,
    socket: &mut WebSocket,
) -> Option<ToClient> {
    let (session, mode) = match ticket.admits {
        Admits::Join(session) => (session, ViewMode::Join),
        Admits::Watch(session) | Admits::Attach(session) => (session, ViewMode::Watch),
        Admits::Open(_) => return None,
    };
    let Some(handle) = state.hub.get(session) else {
        return Some(ToClient::end(EndReason::Closed, "the session has ended"));
    };
    let (owner, connection) = (handle.facts().user, handle.facts().connection);
    let name = match may_view(state, ticket.user, owner, connection, mode).await {
        Ok(name) => name,
        Err(refused) => return Some(denied(&refused)),
    };
    if let Err(error) = note(state, ticket.user, &name, address, session, mode).await {
        tracing::error!(error = chain(&error), "a viewer could not be written down");
        return Some(ToClient::end(EndReason::Failed, "the server cannot write that down now"));
    }
    let viewer = Viewer { user: ticket.user, name, mode };
    let Ok(mut watch) = handle.watch(viewer).await else {
        return Some(ToClient::end(
            EndReason::Denied,
            "the session has no terminal to look at, or has ended",
        ));
    };
    let facts = handle.facts();
    let hello = ToClient::Session {
        id: facts.id.to_string(),
        connection_name: facts.connection_name.clone(),
        recorded: facts.recorded,
        attach: None,
    };
    socket.send(hello.message()).await.ok()?;
    let mut viewers = handle.viewers();
    viewers.mark_changed();
    let mut pulse = Pulse::new();
    let mut typed = Typed::new();
    let mut checks = interval_at(Instant::now() + CHECK, CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = watch.events.recv() => match event {
                Some(LiveEvent::Output(bytes)) => socket.send(Message::Binary(bytes)).await.ok()?,
                Some(LiveEvent::Snapshot(snapshot)) => {
                    socket.send(ToClient::snapshot(snapshot).message()).await.ok()?;
                }
                Some(LiveEvent::Resize { cols, rows }) => {
                    socket.send(ToClient::Resize { cols, rows }.message()).await.ok()?;
                }
                Some(LiveEvent::Ended(ended)) => {
                    return Some(ToClient::ended(ended.reason, ended.detail, ended.exit.as_ref()));
                }
                None => return Some(ToClient::end(EndReason::Closed, "")),
            },
            message = socket.recv() => {
                pulse.hear();
                match message {
                    Some(Ok(Message::Binary(bytes))) => if mode == ViewMode::Join && !typed.push(bytes) {
                        return None;
                    },
                    Some(Ok(Message::Text(text))) => if let Some(FromClient::Close) = FromClient::read(&text) {
                        return None;
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                }
            }
            _ = send(&mut typed, watch.input.as_ref()), if !typed.is_empty() => {}
            Ok(()) = viewers.changed() => {
                let message = ToClient::viewers(&viewers.borrow_and_update()).message();
                socket.send(message).await.ok()?;
            }
            _ = checks.tick() => match may_view(state, ticket.user, owner, connection, mode).await {
                // A database that does not answer takes nobody's right away.
                Ok(_) | Err(Refused::Store(_)) => {}
                Err(refused) => return Some(denied(&refused)),
            },
            alive = pulse.tick() => {
                if !alive {
                    return None;
                }
                socket.send(Message::Ping(Bytes::new())).await.ok()?;
            }
        }
    }
}

async fn send(
    typed: &mut Typed,
    input: Option<&tokio::sync::mpsc::Sender<sojourn_gateway::session::ends::ClientInput>>,
) -> bool {
    match input {
        Some(input) => typed.send(input).await,
        None => std::future::pending().await,
    }
}

fn denied(refused: &Refused) -> ToClient {
    if let Refused::Store(error) = refused {
        tracing::error!(error = chain(error), "a viewer could not be looked up");
        return ToClient::end(EndReason::Failed, "the server cannot look that up now");
    }
    ToClient::end(EndReason::Denied, refused.to_string())
}

/// Writes down that somebody looks on.
pub(in crate::http) async fn note(
    state: &AppState,
    user: UserId,
    name: &str,
    address: String,
    session: AccessSessionId,
    mode: ViewMode,
) -> Result<(), sojourn_store::StoreError> {
    let by = By::user(ActorKind::User, user, name, state.now(), address);
    let action = match mode {
        ViewMode::Watch => "session.watch",
        ViewMode::Join => "session.join",
    };
    state.store.audit(&by, Deed::done(action, session, json!({}))).await?;
    Ok(())
}
