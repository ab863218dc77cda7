//! File sessions: the list, one of them, its events, their export, legal hold and ending one.
//!
//! Whoever may see everybody's sessions sees them; others see their own, and of the rest not even that they
//! exist. Nothing here writes an event: events are what the server itself saw.

use std::future::Future;

use axum::{
    http::{HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::json;
use sojourn_domain::{
    access::EndReason,
    files::{FileAction, FileOutcome, FileProtocol},
    id::{ConnectionId, FileEventId, FileSessionId, UserId},
    policy::{Permission, Visibility},
    time::Timestamp,
};
use sojourn_store::{
    StoreError,
    audit::Deed,
    files::{FileEvent, FileEventFilter, FileSession, FileSessionFilter},
};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Allowed, Known, may},
    extract::{Json, OptionalJson, Path, Query},
    live::ENDING,
    page::Page,
    problem::{Problem, ProblemBody},
    sessions::{text, visibility},
    wire::{
        self,
        access::{HoldRequest, Reason},
        csv::{self, Newline},
        file_sessions::{
            CSV_COLUMNS, FileEventBody, FileEvents, FileSessionBody, FileSessions, csv_row, words,
        },
        schema,
        streamed::{self, Items},
        values::Done,
    },
};
use crate::state::AppState;

const DEFAULT_LIMIT: u32 = 25;
const DEFAULT_EVENTS: u32 = 100;
const MAX_LIMIT: u32 = 2000;
/// Events that are read at once: few, because each may have two paths of 16 KiB.
const CHUNK: i64 = 250;
/// Characters of a connection's name in a file's name.
const NAME_CHARS: usize = 64;

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(events))
        .routes(routes!(export))
        .routes(routes!(hold))
        .routes(routes!(terminate))
}

/// Which file sessions are meant; all conditions hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct FilterQuery {
    /// Of this user.
    #[param(value_type = String, required = false, pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    user_id: Option<UserId>,
    #[param(schema_with = words::protocol, required = false)]
    protocol: Option<FileProtocol>,
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
    /// Text in a path that was touched.
    #[param(max_length = 500)]
    q: Option<String>,
}

impl FilterQuery {
    fn read(self, state: &AppState) -> Result<FileSessionFilter, Problem> {
        Ok(FileSessionFilter {
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

/// Which events are meant; all conditions hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// From 1. Without page and limit all events are sent.
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<u32>,
    /// 1 to 2000; what is more is cut, 100 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
    #[param(schema_with = words::action, required = false)]
    action: Option<FileAction>,
    #[param(schema_with = words::outcome, required = false)]
    outcome: Option<FileOutcome>,
    /// Text in one of the paths.
    #[param(max_length = 500)]
    q: Option<String>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

impl Format {
    const fn key(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum LineEnd {
    Lf,
    /// As RFC 4180 has it.
    #[default]
    Crlf,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// `json` unless said otherwise.
    #[serde(default)]
    #[param(inline, required = false)]
    format: Format,
    /// How the CSV's lines end: `crlf` unless said otherwise.
    #[serde(default)]
    #[param(inline, required = false)]
    newline: LineEnd,
}

fn no_such_session() -> Problem {
    Problem::not_found("such file session")
}

/// A file session that the caller may see; what others have is as if it were not there.
async fn seen(state: &AppState, actor: &Actor, id: &str) -> Result<FileSession, Problem> {
    let visibility = visibility(actor)?;
    let id: FileSessionId = id.parse().map_err(|_| no_such_session())?;
    if let Some(session) = state.store.file_session(visibility, id).await? {
        return Ok(session);
    }
    match state.store.file_session(Visibility::Any, id).await? {
        Some(_) => Err(Problem::hidden("such file session")),
        None => Err(no_such_session()),
    }
}

/// File sessions, newest first
///
/// Everybody's with `sessions.view_any`, else one's own.
#[utoipa::path(
    get, path = "/file-sessions", tag = "files", operation_id = "list_file_sessions",
    params(PageQuery, FilterQuery),
    responses((status = 200, body = FileSessions))
)]
async fn list(
    Known { state, actor }: Known,
    Query(page): Query<PageQuery>,
    Query(filter): Query<FilterQuery>,
) -> Result<Json<FileSessions>, Problem> {
    let visibility = visibility(&actor)?;
    let page = Page::new(page.page, page.limit.map(|limit| limit.max(1)), DEFAULT_LIMIT, MAX_LIMIT)?;
    let filter = filter.read(&state)?;
    let (sessions, total) =
        state.store.file_sessions(visibility, &filter, i64::from(page.limit), page.offset()).await?;
    let sessions = sessions.into_iter().map(|session| FileSessionBody::new(session, &actor)).collect();
    Ok(Json(FileSessions { sessions, page: page.number, limit: page.limit, total }))
}

/// A file session
#[utoipa::path(
    get, path = "/file-sessions/{id}", tag = "files", operation_id = "get_file_session",
    params(("id" = String, Path, description = "The session's id", pattern = "^fsess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = FileSessionBody))
)]
async fn one(
    Known { state, actor }: Known,
    Path(id): Path<String>,
) -> Result<Json<FileSessionBody>, Problem> {
    let session = seen(&state, &actor, &id).await?;
    Ok(Json(FileSessionBody::new(session, &actor)))
}

/// The events of a file session, in the order in which they were over
///
/// All of them, unless a page or a limit is named.
#[utoipa::path(
    get, path = "/file-sessions/{id}/events", tag = "files", operation_id = "list_file_events",
    params(
        ("id" = String, Path, description = "The session's id", pattern = "^fsess_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        EventsQuery,
    ),
    responses((status = 200, body = FileEvents))
)]
async fn events(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, Problem> {
    let session = seen(&state, &actor, &id).await?;
    let visibility = visibility(&actor)?;
    let filter = FileEventFilter { action: query.action, outcome: query.outcome, q: text(query.q)? };
    if query.page.is_some() || query.limit.is_some() {
        let limit = query.limit.map(|limit| limit.max(1));
        let page = Page::new(query.page, limit, DEFAULT_EVENTS, MAX_LIMIT)?;
        let (limit, offset) = (i64::from(page.limit), page.offset());
        let (events, total) =
            state.store.file_events_page(visibility, session.id, &filter, limit, offset).await?;
        let events = events.into_iter().map(FileEventBody::from).collect();
        let (number, limit) = (Some(page.number), Some(page.limit));
        return Ok(Json(FileEvents { events, page: number, limit, total: Some(total) }).into_response());
    }
    let next = chunks(state, visibility, session.id, filter, |events| {
        let mut items = Items::default();
        for event in events {
            items.push(&FileEventBody::from(event))?;
        }
        Ok(items)
    });
    streamed::list("{\"events\":[", "]}", None, next).await
}

/// Where reading events goes on.
type Place = Option<(Timestamp, FileEventId)>;

/// Reads the events of a session chunk by chunk, and writes each chunk with `write`.
fn chunks<W>(
    state: AppState,
    visibility: Visibility,
    session: FileSessionId,
    filter: FileEventFilter,
    write: W,
) -> impl FnMut(Place) -> ReadingChunk + Send + 'static
where
    W: Fn(Vec<FileEvent>) -> Result<Items, StoreError> + Clone + Send + 'static,
{
    move |after| {
        let (state, filter, write) = (state.clone(), filter.clone(), write.clone());
        Box::pin(async move {
            let events = state.store.file_events(visibility, session, &filter, after, CHUNK).await?;
            let next = (i64::try_from(events.len()).unwrap_or(CHUNK) == CHUNK)
                .then(|| events.last().map(|event| (event.at, event.id)))
                .flatten();
            Ok((write(events)?, next.map(Some)))
        })
    }
}

type ReadingChunk =
    std::pin::Pin<Box<dyn Future<Output = Result<(Items, Option<Place>), StoreError>> + Send>>;

/// A file session and its events as a file
///
/// JSON is `{"session":…,"events":[…]}` with the fields of the other answers. CSV is RFC 4180 with a header;
/// cells that a spreadsheet would take for formulas begin with an apostrophe.
#[utoipa::path(
    get, path = "/file-sessions/{id}/export", tag = "files", operation_id = "export_file_session",
    params(
        ("id" = String, Path, description = "The session's id", pattern = "^fsess_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ExportQuery,
    ),
    responses((
        status = 200, description = "The file",
        content((inline(Exported) = "application/json"), (String = "text/csv")),
    ))
)]
async fn export(
    Known { state, actor }: Known,
    method: Method,
    Path(id): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let session = seen(&state, &actor, &id).await?;
    let visibility = visibility(&actor)?;
    let name = file_name(&session, query.format);
    let mut answer = if method == Method::HEAD {
        let kind = match query.format {
            Format::Json => streamed::JSON,
            Format::Csv => CSV,
        };
        ([(header::CONTENT_TYPE, kind)]).into_response()
    } else {
        let detail = json!({"format": query.format.key(), "events": session.event_count});
        state
            .store
            .audit(&actor.by(state.now()), Deed::done("file_session.export", session.id, detail))
            .await?;
        match query.format {
            Format::Json => as_json(state, &actor, visibility, session).await?,
            Format::Csv => as_csv(state, visibility, session, query.newline).await?,
        }
    };
    let headers = answer.headers_mut();
    let disposition = format!("attachment; filename=\"{name}\"");
    let disposition = HeaderValue::try_from(disposition).map_err(|_| Problem::internal())?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

/// What an export in JSON holds.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct Exported {
    session: FileSessionBody,
    events: Vec<FileEventBody>,
}

const CSV: &str = "text/csv; charset=utf-8; header=present";

async fn as_json(
    state: AppState,
    actor: &Actor,
    visibility: Visibility,
    session: FileSession,
) -> Result<Response, Problem> {
    let id = session.id;
    let body = serde_json::to_string(&FileSessionBody::new(session, actor)).map_err(|error| {
        tracing::error!(%error, "a file session could not be written");
        Problem::internal()
    })?;
    let head = format!("{{\"session\":{body},\"events\":[");
    let next = chunks(state, visibility, id, FileEventFilter::default(), |events| {
        let mut items = Items::default();
        for event in events {
            items.push(&FileEventBody::from(event))?;
        }
        Ok(items)
    });
    streamed::list(head, "]}\n", None, next).await
}

async fn as_csv(
    state: AppState,
    visibility: Visibility,
    session: FileSession,
    line_end: LineEnd,
) -> Result<Response, Problem> {
    let newline = match line_end {
        LineEnd::Lf => Newline::Lf,
        LineEnd::Crlf => Newline::CrLf,
    };
    let mut head = Vec::new();
    csv::row(&mut head, &CSV_COLUMNS, newline);
    let next = chunks(state, visibility, session.id, FileEventFilter::default(), move |events| {
        let mut rows = Vec::new();
        for event in events {
            csv_row(&mut rows, &session, event, newline);
        }
        Ok(Items::written(rows))
    });
    streamed::text(CSV, head, None, next).await
}

/// `file-activity_NAME_YYYYMMDDHHMMSS.csv`: the connection's name in letters that are harmless in a header and in
/// every file system, and when the session began.
fn file_name(session: &FileSession, format: Format) -> String {
    let harmless = |character: char| {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | '.') { character } else { '_' }
    };
    let name: String = session.connection_name.chars().take(NAME_CHARS).map(harmless).collect();
    let began: String = session
        .started_at
        .rfc3339()
        .chars()
        .filter(char::is_ascii_digit)
        .take("YYYYMMDDHHMMSS".len())
        .collect();
    format!("file-activity_{name}_{began}.{}", format.key())
}

/// Hold a file session against every purge and retention, or let it go
#[utoipa::path(
    put, path = "/file-sessions/{id}/hold", tag = "files", operation_id = "hold_file_session",
    params(("id" = String, Path, description = "The session's id", pattern = "^fsess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = HoldRequest,
    responses((status = 200, body = Done))
)]
async fn hold(
    Allowed { state, actor, .. }: Allowed<may::SessionsDelete>,
    Path(id): Path<String>,
    Json(request): Json<HoldRequest>,
) -> Result<Json<Done>, Problem> {
    let id: FileSessionId = id.parse().map_err(|_| no_such_session())?;
    let by = actor.by(state.now());
    if state.store.file_session_hold(id, request.hold, request.reason.as_str(), &by).await? {
        Ok(Json(Done::OK))
    } else {
        Err(no_such_session())
    }
}

/// End a live file session
///
/// One's own; another's with `sessions.terminate`. What is under way is cut, and its events say so.
#[utoipa::path(
    post, path = "/file-sessions/{id}/terminate", tag = "files", operation_id = "terminate_file_session",
    params(("id" = String, Path, description = "The session's id", pattern = "^fsess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body(content = inline(Option<Reason>)),
    responses(
        (status = 200, body = Done),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It has ended"),
    )
)]
async fn terminate(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    OptionalJson(reason): OptionalJson<Reason>,
) -> Result<Json<Done>, Problem> {
    let id: FileSessionId = id.parse().map_err(|_| no_such_session())?;
    let session = state.store.file_session(Visibility::Any, id).await?.ok_or_else(no_such_session)?;
    if session.user != actor.user && !actor.may(Permission::SessionsTerminate) {
        return Err(if actor.may(Permission::SessionsViewAny) {
            Problem::forbidden("permission_missing", "this needs the permission sessions.terminate")
        } else {
            Problem::hidden("such file session")
        });
    }
    if !session.is_live() {
        return Err(Problem::conflict("session_over", "the session has ended"));
    }
    let reason = reason.unwrap_or_default().reason.into_string();
    let detail = match reason.as_str() {
        "" => format!("ended by {}", actor.name),
        reason => format!("ended by {}: {reason}", actor.name),
    };
    let by = actor.by(state.now());
    state.store.audit(&by, Deed::done("file_session.terminate", id, json!({"reason": reason}))).await?;
    match state.files.get(id) {
        // One whose target or client is stuck ends soon all the same.
        Some(handle) => {
            drop(tokio::time::timeout(ENDING, handle.terminate(EndReason::Terminated, &detail)).await);
        }
        None => super::terminal::remote::terminate(&state, &session.node, id, actor.user, detail).await?,
    }
    Ok(Json(Done::OK))
}
