//! Access sessions: the list, one of them, purge (of file sessions too) and legal hold.
//!
//! Whoever may see everybody's sessions sees them; others see their own, and of the rest not even that
//! they exist. A purge ends nothing: what lives or is held stays, and is counted.

use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use sojourn_domain::{
    access::Protocol,
    id::{AccessSessionId, ConnectionId, UserId},
    policy::{Permission, Visibility},
};
use sojourn_store::{
    access::{AccessSession, SessionFilter},
    audit::{By, Deed},
    files::FileSessionFilter,
    recordings::RecordingError,
};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Allowed, Known, may},
    extract::{Json, OptionalJson, Path, Query},
    page::Page,
    presence::{DeviceSessions, PeriodQuery, of_device},
    problem::{Problem, ProblemBody},
    wire::{
        self,
        access::{HoldRequest, Purged, Reason, SessionBody, Sessions, words},
        schema,
        values::Done,
    },
};
use crate::state::AppState;

const DEFAULT_LIMIT: u32 = 25;
const MAX_LIMIT: u32 = 2000;
/// Sessions that a purge removes in one transaction.
const PURGE_CHUNK: i64 = 200;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list, purge)).routes(routes!(one, purge_one)).routes(routes!(hold))
}

/// Which sessions are meant; all conditions hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct FilterQuery {
    /// Of this user.
    #[param(value_type = String, required = false, pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    user_id: Option<UserId>,
    #[param(schema_with = words::protocol, required = false)]
    protocol: Option<Protocol>,
    /// On this connection.
    #[param(value_type = String, required = false, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    connection_id: Option<ConnectionId>,
    /// Begun on or after this day, or at or after this moment.
    #[param(schema_with = schema::date, required = false)]
    from: Option<String>,
    /// Begun on or before this day, or before this moment.
    #[param(schema_with = schema::date, required = false)]
    to: Option<String>,
    /// Only those that are live, or only those that are not.
    live: Option<bool>,
    /// Text in one of the session's commands.
    #[param(max_length = 500)]
    q: Option<String>,
}

impl FilterQuery {
    fn read(self, state: &AppState) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter {
            user: self.user_id,
            protocol: self.protocol,
            connection: self.connection_id,
            from: wire::start(state, "from", self.from.as_deref())?,
            to: wire::end(state, "to", self.to.as_deref())?,
            live: self.live,
            q: text(self.q)?,
        })
    }
}

/// What is searched for; nothing is the same as not asking.
pub(super) fn text(q: Option<String>) -> Result<Option<String>, Problem> {
    let Some(q) = q.filter(|q| !q.is_empty()) else { return Ok(None) };
    if q.chars().count() > 500 {
        return Err(Problem::invalid("q", "expected at most 500 characters"));
    }
    Ok(Some(q))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<u32>,
    /// 1 to 2000; what is more is cut, 25 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
}

/// Whose sessions the caller may see.
pub(super) fn visibility(actor: &Actor) -> Result<Visibility, Problem> {
    if actor.may(Permission::SessionsViewAny) {
        return Ok(Visibility::Any);
    }
    actor.require(Permission::SessionsViewOwn)?;
    Ok(Visibility::Own(actor.user))
}

/// A session that the caller may see; what others have is as if it were not there.
pub(super) async fn seen(state: &AppState, actor: &Actor, id: &str) -> Result<AccessSession, Problem> {
    let visibility = visibility(actor)?;
    let id: AccessSessionId = id.parse().map_err(|_| no_such_session())?;
    if let Some(session) = state.store.session(visibility, id).await? {
        return Ok(session);
    }
    match state.store.session(Visibility::Any, id).await? {
        Some(_) => Err(Problem::hidden("such session")),
        None => Err(no_such_session()),
    }
}

pub(super) fn no_such_session() -> Problem {
    Problem::not_found("such session")
}

/// Access sessions, newest first
///
/// Everybody's with `sessions.view_any`, else one's own.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", operation_id = "list_access_sessions",
    params(PageQuery, FilterQuery),
    responses((status = 200, body = Sessions))
)]
async fn list(
    Known { state, actor }: Known,
    Query(page): Query<PageQuery>,
    Query(filter): Query<FilterQuery>,
) -> Result<Json<Sessions>, Problem> {
    let visibility = visibility(&actor)?;
    let page = Page::new(page.page, page.limit.map(|limit| limit.max(1)), DEFAULT_LIMIT, MAX_LIMIT)?;
    let filter = filter.read(&state)?;
    let (sessions, total) =
        state.store.sessions(visibility, &filter, i64::from(page.limit), page.offset()).await?;
    let sessions = sessions.into_iter().map(|session| SessionBody::new(session, &actor)).collect();
    Ok(Json(Sessions { sessions, page: page.number, limit: page.limit, total }))
}

/// One access session, or the presence sessions of a device.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrDevice {
    Access(Box<SessionBody>),
    Device(DeviceSessions<'static>),
}

/// An access session, or the presence sessions of a device
///
/// Both contracts have this path: the id of an access session (`sess_…`) names one; a MAC address the
/// sessions of a device that overlap a period up to now.
#[utoipa::path(
    get, path = "/sessions/{id}", tag = "sessions", operation_id = "get_access_session",
    params(("id" = String, Path, description = "The id of an access session, or a MAC address"), PeriodQuery),
    responses((status = 200, body = inline(OneOrDevice)))
)]
async fn one(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Query(period): Query<PeriodQuery>,
) -> Result<Response, Problem> {
    if id.starts_with("sess_") {
        let session = seen(&state, &actor, &id).await?;
        let files = state.store.file_session_carried_by(session.id).await?;
        let mut body = SessionBody::new(session, &actor);
        body.file_session_id = files.map(|id| id.to_string());
        return Ok(Json(body).into_response());
    }
    actor.require(Permission::PresenceView)?;
    of_device(state, &id, period).await
}

/// Purge access sessions with their recordings and commands, and file sessions with their events
///
/// All that the filters name; without any, all. Live and held sessions stay, and are counted. Text (`q`) names
/// access sessions by their commands: of file sessions, then, only those go that such a session carried.
#[utoipa::path(
    delete, path = "/sessions", tag = "sessions", operation_id = "purge_access_sessions",
    params(FilterQuery), request_body(content = inline(Option<Reason>)),
    responses((status = 200, body = Purged))
)]
async fn purge(
    Allowed { state, actor, .. }: Allowed<may::SessionsDelete>,
    Query(query): Query<FilterQuery>,
    OptionalJson(reason): OptionalJson<Reason>,
) -> Result<Json<Purged>, Problem> {
    let filter = query.read(&state)?;
    let by = actor.by(state.now());
    let reason = reason.unwrap_or_default().reason.into_string();
    // Whoever asked may go away meanwhile: what was begun is ended, and told to the audit trail.
    let purging = tokio::spawn(async move { purge_all(&state, filter, &reason, &by).await });
    let purged = purging.await.map_err(|error| {
        tracing::error!(%error, "a purge ended early");
        Problem::internal()
    })??;
    Ok(Json(purged))
}

async fn purge_all(
    state: &AppState,
    filter: SessionFilter,
    reason: &str,
    by: &By,
) -> Result<Purged, Problem> {
    let mut purged = Purged { ok: true, ..Purged::default() };
    let files = files_of(&filter);
    if filter.live != Some(false) {
        let live = SessionFilter { live: Some(true), ..filter.clone() };
        let (_, live) = state.store.sessions(Visibility::Any, &live, 1, 0).await?;
        purged.skipped_live = u64::try_from(live).unwrap_or(0);
        if let Some(files) = &files {
            let live = FileSessionFilter { live: Some(true), ..files.clone() };
            let (_, live) = state.store.file_sessions(Visibility::Any, &live, 1, 0).await?;
            purged.skipped_live += u64::try_from(live).unwrap_or(0);
        }
    }
    let mut outcome = Ok(());
    if filter.live != Some(true) {
        let ended = SessionFilter { live: Some(false), ..filter.clone() };
        outcome = purge_ended(state, &ended, &mut purged).await;
        if let (Some(files), Ok(())) = (files, &outcome) {
            let ended = FileSessionFilter { live: Some(false), ..files };
            outcome = purge_ended_files(state, &ended, &mut purged).await;
        }
    }
    let detail = json!({
        "reason": reason,
        "filter": described(&filter),
        "deletedSessions": purged.deleted_sessions,
        "deletedRecordings": purged.deleted_recordings,
        "deletedFileSessions": purged.deleted_file_sessions,
        "skippedLive": purged.skipped_live,
        "skippedHeld": purged.skipped_held,
        "complete": outcome.is_ok(),
    });
    state.store.audit(by, Deed::done("session.purge", "", detail)).await?;
    outcome.map(|()| purged)
}

/// The file sessions that a filter for access sessions names, besides those that such a session carried.
fn files_of(filter: &SessionFilter) -> Option<FileSessionFilter> {
    let SessionFilter { user, protocol, connection, from, to, live, q } = filter;
    if q.is_some() {
        return None;
    }
    let protocol = match protocol {
        // Words that are not spoken to files name none of them.
        Some(protocol) => Some(protocol.key().parse().ok()?),
        None => None,
    };
    Some(FileSessionFilter {
        user: *user,
        protocol,
        connection: *connection,
        from: *from,
        to: *to,
        live: *live,
        q: None,
    })
}

async fn purge_ended_files(
    state: &AppState,
    ended: &FileSessionFilter,
    purged: &mut Purged,
) -> Result<(), Problem> {
    let mut kept = 0;
    while !state.shutdown.is_cancelled() {
        let (found, _) = state.store.file_sessions(Visibility::Any, ended, PURGE_CHUNK, kept).await?;
        if found.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = found.iter().map(|session| session.id).collect();
        let removed = state.store.file_sessions_remove(&ids).await?.len();
        purged.deleted_file_sessions += u64::try_from(removed).unwrap_or(0);
        let held = ids.len().saturating_sub(removed);
        purged.skipped_held += u64::try_from(held).unwrap_or(0);
        kept += i64::try_from(held).unwrap_or(0);
    }
    Err(Problem::unavailable("the server stops: the rest was not purged", 10))
}

async fn purge_ended(state: &AppState, ended: &SessionFilter, purged: &mut Purged) -> Result<(), Problem> {
    let mut kept = 0;
    while !state.shutdown.is_cancelled() {
        let (found, _) = state.store.sessions(Visibility::Any, ended, PURGE_CHUNK, kept).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut ids = Vec::with_capacity(found.len());
        for session in found {
            if session.legal_hold {
                kept += 1;
                purged.skipped_held += 1;
                continue;
            }
            match state.access.recordings.purge(session.id).await {
                Ok(there) => purged.deleted_recordings += u64::from(there),
                // Its recording is being finished, or it was held just now.
                Err(RecordingError::Live) => {
                    kept += 1;
                    purged.skipped_live += 1;
                    continue;
                }
                Err(RecordingError::Held) => {
                    kept += 1;
                    purged.skipped_held += 1;
                    continue;
                }
                Err(error) => {
                    // What was gone before it goes with its sessions.
                    remove(state, &ids, purged).await?;
                    return Err(error.into());
                }
            }
            ids.push(session.id);
        }
        remove(state, &ids, purged).await?;
    }
    Err(Problem::unavailable("the server stops: the rest was not purged", 10))
}

async fn remove(state: &AppState, ids: &[AccessSessionId], purged: &mut Purged) -> Result<(), Problem> {
    let removed = state.store.sessions_remove(ids).await?;
    purged.deleted_sessions += removed.sessions;
    purged.deleted_file_sessions += removed.file_sessions;
    Ok(())
}

/// Removes a session's recording, with its keys; says whether there was one.
async fn purge_recording(state: &AppState, session: &AccessSession) -> Result<bool, Problem> {
    Ok(state.access.recordings.purge(session.id).await?)
}

fn described(filter: &SessionFilter) -> serde_json::Value {
    json!({
        "userId": filter.user,
        "protocol": filter.protocol,
        "connectionId": filter.connection,
        "from": filter.from.map(sojourn_domain::time::Timestamp::rfc3339),
        "to": filter.to.map(sojourn_domain::time::Timestamp::rfc3339),
        "live": filter.live,
        "q": filter.q,
    })
}

/// Purge one access session, its recording, commands and the file session that it carried
#[utoipa::path(
    delete, path = "/sessions/{id}", tag = "sessions", operation_id = "purge_access_session",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body(content = inline(Option<Reason>)),
    responses(
        (status = 200, body = Purged),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It lives, or is held"),
    )
)]
async fn purge_one(
    Allowed { state, actor, .. }: Allowed<may::SessionsDelete>,
    Path(id): Path<String>,
    OptionalJson(reason): OptionalJson<Reason>,
) -> Result<Json<Purged>, Problem> {
    let id: AccessSessionId = id.parse().map_err(|_| no_such_session())?;
    let session = state.store.session(Visibility::Any, id).await?.ok_or_else(no_such_session)?;
    if session.is_live() {
        return Err(Problem::conflict("session_live", "the session is live: end it first"));
    }
    if session.legal_hold {
        return Err(Problem::conflict("session_held", "the session is held: let it go first"));
    }
    let recording = purge_recording(&state, &session).await?;
    let removed = state.store.sessions_remove(&[id]).await?;
    let detail = json!({
        "reason": reason.unwrap_or_default().reason,
        "user": session.user_name,
        "connection": session.connection_name,
        "startedAt": session.started_at.rfc3339(),
        "recording": recording,
    });
    state.store.audit(&actor.by(state.now()), Deed::done("session.purge", id, detail)).await?;
    Ok(Json(Purged {
        ok: true,
        deleted_sessions: removed.sessions,
        deleted_recordings: u64::from(recording),
        deleted_file_sessions: removed.file_sessions,
        ..Purged::default()
    }))
}

/// Hold a session against every purge and retention, or let it go
#[utoipa::path(
    put, path = "/sessions/{id}/hold", tag = "sessions", operation_id = "hold_session",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = HoldRequest,
    responses((status = 200, body = Done))
)]
async fn hold(
    Allowed { state, actor, .. }: Allowed<may::SessionsDelete>,
    Path(id): Path<String>,
    Json(request): Json<HoldRequest>,
) -> Result<Json<Done>, Problem> {
    let id: AccessSessionId = id.parse().map_err(|_| no_such_session())?;
    let by = actor.by(state.now());
    if state.store.session_hold(id, request.hold, request.reason.as_str(), &by).await? {
        Ok(Json(Done::OK))
    } else {
        Err(no_such_session())
    }
}
