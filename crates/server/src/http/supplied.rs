//! Desktop sessions that the user's own client records: the row, the chunks, the events, the end.
//!
//! All of it is the session's own user's alone, whatever else somebody may do. Such a recording is marked
//! `client-supplied`, and none that this server made can be touched from here.

use axum::{
    extract::{DefaultBodyLimit, Request},
    response::Response,
};
use serde::Deserialize;
use sojourn_domain::{
    access::Protocol,
    id::AccessSessionId,
    policy::{Permission, Visibility},
};
use sojourn_gateway::{
    admission::Admission,
    session::supplied::{BATCH_EVENTS, CHUNK_BYTES, SuppliedSession, Untaken},
};
use sojourn_store::StoreError;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Known},
    extract::{self, Json, Path, Query},
    problem::{Problem, ProblemBody},
    sessions::{no_such_session, seen, visibility},
    wire::{
        access::{DesktopSession, InputEventBody, InputEvents, NewDesktopSession, NewInputEvent},
        streamed::{self, Items},
        values::Done,
    },
};
use crate::state::AppState;

/// Events that are read at once.
const READ: i64 = 2000;
/// The latest moment of an event: what every JSON reader counts exactly.
const LATEST_MS: i64 = 9_007_199_254_740_991;

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(begin))
        .routes(routes!(finalize))
        .routes(routes!(events, add_events))
        .merge(Routes::new().routes(routes!(chunk)).layer(DefaultBodyLimit::max(CHUNK_BYTES)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ChunkQuery {
    /// The chunk's number, from 0 or 1 on. One that came already is taken once; one that comes too early is a conflict.
    #[param(minimum = 0)]
    seq: Option<u64>,
}

/// Begin a desktop session that the client records itself
///
/// The session's row stands from now on. It ends with `finalize`, or when nothing comes for it any more.
#[utoipa::path(
    post, path = "/sessions/rdp-session", tag = "sessions", operation_id = "begin_supplied_session",
    request_body = NewDesktopSession,
    responses(
        (status = 200, body = DesktopSession),
        (status = 404, description = "There is no such connection for this user", content_type = "application/problem+json",
         body = crate::http::problem::ProblemBody)
    )
)]
async fn begin(
    Known { state, actor }: Known,
    Json(request): Json<NewDesktopSession>,
) -> Result<Json<DesktopSession>, Problem> {
    let admission = Admission::check(&state.store, actor.user, &request.connection_id).await?;
    let protocol = admission.connection().protocol;
    if protocol != Protocol::Rdp {
        let message = format!("expected an RDP connection, this one is {protocol}");
        return Err(Problem::invalid("connectionId", message));
    }
    // A token may be allowed less than its user.
    actor.require(Permission::ConnectionsUse)?;
    actor.require(protocol.permission())?;
    let (id, should_record) = state.supplied.begin(&admission, actor.client.address.to_string()).await?;
    Ok(Json(DesktopSession { session_id: id.to_string(), should_record }))
}

/// The caller's own live session, whose recording they supply.
async fn own(state: &AppState, actor: &Actor, id: &str) -> Result<SuppliedSession, Problem> {
    let id: AccessSessionId = id.parse().map_err(|_| no_such_session())?;
    if let Some(session) = state.supplied.get(id, actor.user) {
        return Ok(session);
    }
    let session = state.store.session(Visibility::Any, id).await?.ok_or_else(no_such_session)?;
    if session.user != actor.user {
        return Err(if actor.may(Permission::SessionsViewAny) {
            Problem::forbidden("not_yours", "a recording is supplied by its session's own user alone")
        } else {
            Problem::hidden("such session")
        });
    }
    Err(if !session.client_supplied {
        let detail = "the client does not supply this session's recording";
        Problem::conflict("not_client_supplied", detail)
    } else if session.is_live() && session.node != state.hub.node().to_string() {
        Problem::unavailable("the session is with another server", 10)
    } else {
        over()
    })
}

fn over() -> Problem {
    Problem::conflict("recording_final", "the session has ended, and its recording is final")
}

impl From<Untaken> for Problem {
    fn from(untaken: Untaken) -> Self {
        let text = untaken.to_string();
        match untaken {
            Untaken::Over => over(),
            Untaken::NotRecorded => Self::conflict("not_recorded", text),
            Untaken::Sequence { .. } => Self::conflict("out_of_sequence", text),
            Untaken::TooLarge | Untaken::TooMany => {
                Self::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
            }
            Untaken::TooFast => Self::slow_down("too_fast", text, 1),
            Untaken::Recording(error) => error.into(),
            Untaken::Store(error) => error.into(),
        }
    }
}

/// Append a chunk of WebM to one's own recording
///
/// At most 8 MiB. After `finalize` nothing is taken any more.
#[utoipa::path(
    post, path = "/sessions/{id}/recording/chunk", tag = "sessions", operation_id = "append_chunk",
    params(
        ("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ChunkQuery,
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "WebM"),
    responses(
        (status = 200, body = Done),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is not the next one, or the recording is final"),
    )
)]
async fn chunk(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Query(query): Query<ChunkQuery>,
    request: Request,
) -> Result<Json<Done>, Problem> {
    let session = own(&state, &actor, &id).await?;
    let bytes = extract::body(request, &()).await?;
    session.chunk(query.seq, bytes).await?;
    Ok(Json(Done::OK))
}

/// End one's own recording, and its session
#[utoipa::path(
    post, path = "/sessions/{id}/recording/finalize", tag = "sessions", operation_id = "finalize_recording",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses(
        (status = 200, body = Done),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is final already"),
    )
)]
async fn finalize(Known { state, actor }: Known, Path(id): Path<String>) -> Result<Json<Done>, Problem> {
    own(&state, &actor, &id).await?.finalize().await?;
    Ok(Json(Done::OK))
}

/// What was done with mouse and keyboard in a desktop session, by time
#[utoipa::path(
    get, path = "/sessions/{id}/recording/events", tag = "sessions", operation_id = "list_input_events",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = InputEvents))
)]
async fn events(Known { state, actor }: Known, Path(id): Path<String>) -> Result<Response, Problem> {
    let session = seen(&state, &actor, &id).await?;
    let visibility = visibility(&actor)?;
    streamed::list("{\"events\":[", "]}", None, move |after| {
        let state = state.clone();
        async move {
            let vault = &state.access.vault;
            let events =
                state.store.input_events(vault, visibility, session.id, after.as_ref(), READ).await?;
            let mut items = Items::default();
            for event in &events {
                items.push(&InputEventBody::from(event))?;
            }
            let full = i64::try_from(events.len()).unwrap_or(READ) == READ;
            let next = if full { events.into_iter().next_back() } else { None };
            Ok::<_, StoreError>((items, next.map(Some)))
        }
    })
    .await
}

/// Tell what was done with mouse and keyboard in one's own desktop session
///
/// At most 5000 events, all or none. Which key it was is not kept.
#[utoipa::path(
    post, path = "/sessions/{id}/recording/events", tag = "sessions", operation_id = "add_input_events",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = Vec<NewInputEvent>,
    responses(
        (status = 200, body = Done),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The recording is final"),
    )
)]
async fn add_events(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Done>, Problem> {
    let session = own(&state, &actor, &id).await?;
    if !extract::is_json(&request) {
        return Err(Problem::unsupported_media("application/json"));
    }
    let events: Vec<NewInputEvent> = extract::list_from_json(&extract::body(request, &()).await?)?;
    if events.len() > BATCH_EVENTS {
        return Err(Problem::invalid("body", format!("expected at most {BATCH_EVENTS} events")));
    }
    if let Some(wrong) = events.iter().position(|event| !(0..=LATEST_MS).contains(&event.elapsed)) {
        let field = format!("[{wrong}].elapsed");
        return Err(Problem::invalid(field, "expected milliseconds since the session's start"));
    }
    session.events(events.into_iter().map(|event| (event.elapsed, event.kind)).collect()).await?;
    Ok(Json(Done::OK))
}
