//! Tickets for `/terminal`: fetched with a credential, good once.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    id::{AccessSessionId, ConnectionId},
    policy::Permission,
};
use sojourn_gateway::{
    admission::{Admission, Refused},
    session::ViewMode,
};
use sojourn_store::{
    identity::SecretHash,
    tickets::{Admits, Ticket},
};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::view::may_view;
use crate::{
    http::{
        Routes,
        actor::{Actor, Allowed, Known, may},
        auth::new_secret,
        extract::{Json, Path},
        problem::Problem,
        wire::Time,
    },
    state::AppState,
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(of_connection)).routes(routes!(of_session))
}

/// A ticket, good for one WebSocket within 30 seconds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TerminalTicket)]
struct TicketBody {
    ticket: String,
    expires_at: Time,
}

/// What a session's ticket is for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TicketPurpose {
    /// Come back to one's own session after a lost connection.
    Attach,
    /// Look on.
    Watch,
    /// Take part.
    Join,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    purpose: TicketPurpose,
}

/// Nothing is asked for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpenRequest {}

async fn make(state: &AppState, actor: &Actor, admits: Admits) -> Result<Json<TicketBody>, Problem> {
    let secret = new_secret("", state.entropy);
    let ticket = Ticket { user: actor.user, admits };
    let expires_at = state.store.ticket_make(&SecretHash::of(&secret), &ticket, state.now()).await?;
    Ok(Json(TicketBody { ticket: secret, expires_at: Time(expires_at) }))
}

/// A ticket that opens a terminal on a connection
#[utoipa::path(
    post, path = "/connections/{id}/tickets", tag = "connections", operation_id = "connection_ticket",
    params(("id" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = OpenRequest,
    responses((status = 200, body = TicketBody))
)]
async fn of_connection(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(id): Path<ConnectionId>,
    Json(OpenRequest {}): Json<OpenRequest>,
) -> Result<Json<TicketBody>, Problem> {
    let admission = Admission::check(&state.store, actor.user, &id.to_string()).await?;
    // A token may be allowed less than its user.
    actor.require(admission.connection().protocol.permission())?;
    make(&state, &actor, Admits::Open(id)).await
}

/// A ticket for a live session
///
/// `attach`: for the session's own user, after a lost connection. `watch`: for them too, and with `sessions.watch`.
/// `join`: for who might also open the connection themselves.
#[utoipa::path(
    post, path = "/sessions/{id}/tickets", tag = "sessions", operation_id = "session_ticket",
    params(("id" = String, Path, pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = TicketRequest,
    responses((status = 200, body = TicketBody))
)]
async fn of_session(
    Known { state, actor }: Known,
    Path(id): Path<AccessSessionId>,
    Json(request): Json<TicketRequest>,
) -> Result<Json<TicketBody>, Problem> {
    let session = state
        .store
        .session(sojourn_domain::policy::Visibility::Any, id)
        .await?
        .ok_or_else(|| Problem::not_found("such session"))?;
    let own = session.user == actor.user;
    let seen = own
        || actor.may(Permission::SessionsWatch)
        || actor.may(Permission::SessionsViewAny)
        || actor.may(Permission::SessionsTerminate);
    if !seen {
        return Err(Problem::hidden("such session"));
    }
    let over = || Problem::conflict("session_over", "the session has ended");
    let mode = match request.purpose {
        TicketPurpose::Attach if !own => {
            return Err(Problem::forbidden("not_yours", "only its own user comes back to a session"));
        }
        TicketPurpose::Attach => {
            let here = session.node == state.hub.node().to_string();
            if here && state.hub.tether(id).is_none() {
                return Err(over());
            }
            if !here && !session.is_live() {
                return Err(over());
            }
            return make(&state, &actor, Admits::Attach(id)).await;
        }
        TicketPurpose::Watch => ViewMode::Watch,
        TicketPurpose::Join => ViewMode::Join,
    };
    if !session.is_live() {
        return Err(over());
    }
    if !own {
        actor.require(Permission::SessionsWatch)?;
    }
    may_view(&state, actor.user, session.user, session.connection, mode).await?;
    let admits = match mode {
        ViewMode::Watch => Admits::Watch(id),
        ViewMode::Join => Admits::Join(id),
    };
    make(&state, &actor, admits).await
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::User => Self::bad_credential(),
            Refused::Permission(permission) => {
                Self::forbidden("permission_missing", format!("this needs the permission {permission}"))
            }
            Refused::Connection => Self::hidden("such connection"),
            Refused::Store(error) => error.into(),
        }
    }
}
