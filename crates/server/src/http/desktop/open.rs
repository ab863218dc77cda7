//! Opening a desktop.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use sojourn_domain::{
    access::{AuthKind, ClientKind, EndReason, Purpose, RecordPolicy},
    id::{ConnectionId, UserId},
};
use sojourn_gateway::{
    admission::{Admission, Refused},
    session::Opening,
};

use super::{
    pump::pump,
    say,
    wire::{FromBrowser, ToBrowser},
};
use crate::{
    http::{
        problem::chain,
        terminal::{called_off, why_refused},
    },
    state::AppState,
    targets,
};

/// How long a person may take to answer a prompt.
const ANSWER: Duration = Duration::from_secs(120);

/// Opens a session. Returns the last word, or nothing where the socket is gone.
pub(super) async fn open(
    state: &AppState,
    user: UserId,
    connection: ConnectionId,
    address: String,
    password: Option<String>,
    socket: &mut WebSocket,
) -> Option<ToBrowser> {
    let admission = match Admission::check(&state.store, user, &connection.to_string()).await {
        Ok(admission) => admission,
        Err(Refused::Store(error)) => {
            tracing::error!(error = chain(&error), "a desktop could not be opened");
            return Some(ToBrowser::end(EndReason::Failed, "the server cannot look that up now"));
        }
        Err(refused) => return Some(ToBrowser::end(EndReason::Denied, refused.to_string())),
    };
    if !admission.connection().protocol.is_desktop() {
        return Some(ToBrowser::end(EndReason::Denied, "this connection has no desktop"));
    }
    let password = match (admission.connection().auth, password) {
        (AuthKind::Prompt, None) => Some(ask(&admission, socket).await?),
        (AuthKind::Prompt, Some(password)) => Some(password),
        (AuthKind::Password | AuthKind::Key | AuthKind::Agent | AuthKind::None, _) => None,
    };
    let opening = Opening {
        purpose: Purpose::Desktop,
        command: String::new(),
        client_kind: ClientKind::Web,
        client_address: address,
        term: String::new(),
        size: None,
    };
    let mut begun = match state.hub.begin(&admission, opening).await {
        Ok(begun) => begun,
        Err(refusal) => {
            let (reason, detail) = why_refused(&refusal);
            return Some(ToBrowser::end(reason, detail));
        }
    };
    let reached = {
        let mut connecting = std::pin::pin!(targets::open_desktop(state, &admission, &begun, password));
        loop {
            tokio::select! {
                reached = &mut connecting => break Ok(reached),
                message = socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => if let Some(FromBrowser::Close) = FromBrowser::read(&text) {
                        break Err(EndReason::Closed);
                    },
                    // Nothing is spoken yet: the server begins.
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break Err(EndReason::ClientLost),
                },
            }
        }
    };
    let target = match reached {
        Ok(Ok(target)) => target,
        Ok(Err(error)) => {
            let ended = ToBrowser::end(error.reason, error.message.clone());
            begun.fail(error.reason, error.message).await;
            return Some(ended);
        }
        Err(reason) => {
            begun.fail(reason, "").await;
            return None;
        }
    };
    // Terminated while it connected.
    if let Some((reason, detail)) = called_off(&mut begun).await {
        let last = ToBrowser::end(reason, detail.clone());
        begun.fail(reason, detail).await;
        return Some(last);
    }
    let policy = &admission.connection().policy;
    let greeting = ToBrowser::session(begun.facts(), policy.desktop);
    let unrecorded = policy.record != RecordPolicy::Off && !begun.facts().recorded;
    if say(socket, greeting.message()).await.is_none() {
        begun.fail(EndReason::ClientLost, "").await;
        return None;
    }
    if unrecorded {
        let text = "this session is not recorded, although it should be".to_owned();
        say(socket, ToBrowser::Notice { text }.message()).await;
    }
    pump(socket, begun, target).await
}

/// Asks the person for the target's password.
async fn ask(admission: &Admission, socket: &mut WebSocket) -> Option<String> {
    let connection = admission.connection();
    let text = match connection.username.as_str() {
        "" => format!("Password for {}", connection.name),
        name => format!("Password for {name} at {}", connection.name),
    };
    say(socket, ToBrowser::Prompt { text, echo: false }.message()).await?;
    let answer = tokio::time::timeout(ANSWER, async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => match FromBrowser::read(&text) {
                    Some(FromBrowser::Answer { text }) => return Some(text),
                    Some(FromBrowser::Close) => return None,
                    Some(FromBrowser::Start(_)) | None => {}
                },
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    });
    answer.await.ok().flatten()
}
