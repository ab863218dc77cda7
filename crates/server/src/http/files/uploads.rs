//! Uploads in pieces, which outlive the page and the server.
//!
//! A row says where the bytes stand and how many of them are on the target for certain. While pieces follow each other,
//! the file stays open and all of them are one operation with one event; an upload that rests is written down as
//! interrupted, and what follows is another operation that begins where it was.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sojourn_domain::{
    id::{ConnectionId, UploadId},
    time::{Elapsed, Timestamp},
};
use sojourn_gateway::files::{
    RemotePath,
    session::{FileSession, Landing, Stage, Staging},
};
use sojourn_store::files::{NewUpload, Upload};
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard},
    time::Instant,
};
use utoipa_axum::routes;

use super::{
    content::finished,
    headers::etag,
    open::{enter, of_session},
    receive::{Cut, Notes, Pieces, pour, temporary},
    tabs::{InUse, Tab, lock},
};
use crate::{
    http::{
        Routes,
        actor::{Actor, Allowed, may},
        extract::{Json, OptionalJson, Path},
        problem::{Problem, ProblemBody, chain},
        wire::{
            self,
            files::{FinishRequest, UploadBody, UploadRequest, Uploads, WrittenBody},
        },
    },
    state::AppState,
};

/// What JavaScript's numbers hold.
pub(super) const LARGEST: u64 = (1 << 53) - 1;
/// Says where the next piece begins.
const OFFSET: &str = "upload-offset";
/// Open uploads of one page; each holds a file open at the target.
const MOST_OPEN: usize = 32;
/// Unfinished uploads of one user on one connection.
const MOST: usize = 1000;
/// A file is closed when no piece has come for so long.
const REST: Duration = Duration::from_secs(60);
/// How long a request waits for one that has the same upload.
const BUSY: Duration = Duration::from_secs(10);
/// An upload that nobody goes on with is given up after so long.
const ABANDONED: Elapsed = Elapsed::from_secs(3 * 86_400);

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(begin, list)).routes(routes!(piece, one, give_up)).routes(routes!(finish))
}

/// An upload of a page.
#[derive(Default)]
pub(super) struct Open {
    staging: Option<Staging>,
    used: Option<Instant>,
}

impl Open {
    /// Closes the file, and notes until where the target has all bytes.
    async fn pause(&mut self, state: &AppState, id: UploadId) {
        let Some(staging) = self.staging.take() else { return };
        let of = staging.session();
        let received = staging.pause().await;
        if let Err(error) = state.store.upload_progress(id, of, received, None, state.now()).await {
            tracing::warn!(error = chain(&error), "how far an upload has come was not noted");
        }
    }
}

pub(super) type Opens = HashMap<UploadId, Arc<Turn<Open>>>;

/// What a row keeps beside what every row has.
#[derive(Serialize, Deserialize)]
struct Options {
    modified: Option<i64>,
    overwrite: bool,
}

/// Closes files that no piece came for.
pub(super) async fn rest(state: &AppState, tab: &Tab) {
    let all: Vec<_> = lock(&tab.uploads).iter().map(|(id, open)| (*id, Arc::clone(open))).collect();
    for (id, open) in all {
        // One that is taken is at work.
        let Ok(mut open) = open.try_lock() else { continue };
        if open.used.is_some_and(|used| used.elapsed() < REST) {
            continue;
        }
        lock(&tab.uploads).remove(&id);
        open.pause(state, id).await;
    }
}

/// A page's upload, and the right to work on it.
struct Taken {
    row: Upload,
    path: RemotePath,
    temporary: RemotePath,
    options: Options,
    open: OwnedMutexGuard<Open>,
}

impl Taken {
    /// Takes an upload of the caller's for this page; another page that has it open lets go of it.
    async fn of(
        state: &AppState,
        actor: &Actor,
        connection: ConnectionId,
        id: &str,
        used: &InUse,
    ) -> Result<Self, Problem> {
        let none = || Problem::not_found("such upload");
        let id: UploadId = id.parse().map_err(|_| none())?;
        let row = state.store.upload(actor.user, id).await?;
        if row.is_none_or(|row| row.connection != connection) {
            return Err(none());
        }
        for open in state.tabs.elsewhere(id, &used.tab) {
            let mut open = tokio::time::timeout(BUSY, open.lock_owned()).await.map_err(|_| busy())?;
            open.pause(state, id).await;
        }
        let open = {
            let mut all = lock(&used.tab.uploads);
            if !all.contains_key(&id) && all.len() >= MOST_OPEN {
                return Err(Problem::conflict("too_many_uploads", "too many uploads are open at once"));
            }
            Arc::clone(all.entry(id).or_default())
        };
        let mut open = tokio::time::timeout(BUSY, open.lock_owned()).await.map_err(|_| busy())?;
        open.used = Some(Instant::now());
        // What was done while it was waited for.
        let row = state.store.upload(actor.user, id).await?.ok_or_else(none)?;
        let path = path_of(&row.path)?;
        let temporary = path_of(&row.temporary)?;
        let options = serde_json::from_str(&row.options).map_err(|error| {
            tracing::error!(%error, "an upload's row could not be read");
            Problem::internal()
        })?;
        Ok(Self { row, path, temporary, options, open })
    }

    /// Where the next piece begins.
    async fn offset(&mut self, session: &FileSession) -> Result<u64, Problem> {
        match &self.open.staging {
            Some(staging) => Ok(staging.position()),
            // What arrived after it was noted last is not sent again, as far as the target can tell.
            None => Ok(session.staged(&self.stage(0), self.row.received).await?),
        }
    }

    fn stage(&self, offset: u64) -> Stage {
        Stage {
            path: self.path.clone(),
            temporary: self.temporary.clone(),
            offset,
            size: Some(self.row.size),
            over: self.options.overwrite,
        }
    }

    /// The file, open from `offset` on.
    async fn staging(&mut self, session: &FileSession, offset: u64) -> Result<&mut Staging, Problem> {
        let staging = match self.open.staging.take() {
            Some(staging) => staging,
            None => session.stage(self.stage(offset)).await?,
        };
        Ok(self.open.staging.insert(staging))
    }

    fn body(&self, offset: u64) -> UploadBody {
        UploadBody {
            id: self.row.id.to_string(),
            path: self.path.display(),
            size: self.row.size,
            offset,
            created_at: wire::Time(self.row.created_at),
        }
    }
}

fn busy() -> Problem {
    Problem::conflict("upload_busy", "another request is working on this upload")
}

fn bytes_of(path: &RemotePath) -> String {
    BASE64URL_NOPAD.encode(path.as_bytes())
}

fn path_of(text: &str) -> Result<RemotePath, Problem> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| RemotePath::from_bytes(&bytes).ok()).ok_or_else(|| {
        tracing::error!("the path of an upload's row could not be read");
        Problem::internal()
    })
}

/// Says where the next piece begins, in the header too.
fn at_offset(used: &InUse, offset: u64, response: Response) -> Response {
    let mut response = of_session(used, response);
    response.headers_mut().insert(OFFSET, HeaderValue::from(offset));
    response
}

/// Begin an upload in pieces
///
/// Its pieces are sent with PATCH; it outlives the page and the server. It is given up when nothing was sent for three
/// days.
#[utoipa::path(
    post, path = "/files/{connection}/uploads", tag = "files", operation_id = "begin_upload",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = UploadRequest,
    responses(
        (status = 201, body = UploadBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "There is such a file, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn begin(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<UploadRequest>,
) -> Result<Response, Problem> {
    let path = if request.overwrite { request.path.read("path")? } else { request.path.read_new("path")? };
    if request.size > LARGEST {
        return Err(Problem::invalid("size", format!("expected at most {LARGEST} bytes")));
    }
    let modified =
        request.modified.as_deref().map(|text| wire::time(&state, "modified", text)).transpose()?;
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    forget_abandoned(&state, &actor, connection, &used.session).await?;
    let now = state.now();
    let id: UploadId = state.entropy.id(now);
    if lock(&used.tab.uploads).len() >= MOST_OPEN {
        return Err(Problem::conflict("too_many_uploads", "too many uploads are open at once"));
    }
    let stage = Stage {
        temporary: temporary(&path, id)?,
        path: path.clone(),
        offset: 0,
        size: Some(request.size),
        over: request.overwrite,
    };
    let staging = used.session.stage(stage).await?;
    let options = Options { modified: modified.map(Timestamp::as_micros), overwrite: request.overwrite };
    let new = NewUpload {
        id,
        user: actor.user,
        connection,
        file_session: used.session.journal().id(),
        tab: super::tabs::name(&headers, query.as_deref())?,
        path: bytes_of(&path),
        temporary: bytes_of(staging.temporary()),
        size: request.size,
        options: serde_json::to_string(&options).map_err(|error| {
            tracing::error!(%error, "an upload's row could not be written");
            Problem::internal()
        })?,
        created_at: now,
    };
    state.store.upload_begin(&new).await?;
    let open = Open { staging: Some(staging), used: Some(Instant::now()) };
    lock(&used.tab.uploads).insert(id, Arc::new(Turn::new(open)));
    let body = UploadBody {
        id: id.to_string(),
        path: path.display(),
        size: request.size,
        offset: 0,
        created_at: wire::Time(now),
    };
    Ok(at_offset(&used, 0, (StatusCode::CREATED, Json(body)).into_response()))
}

/// What a user has left lying for days is cleaned up when they come again: only then may the target be touched.
async fn forget_abandoned(
    state: &AppState,
    actor: &Actor,
    connection: ConnectionId,
    session: &FileSession,
) -> Result<(), Problem> {
    let uploads = state.store.uploads(actor.user, connection, MOST as i64).await?;
    if uploads.len() >= MOST {
        return Err(Problem::conflict(
            "too_many_uploads",
            "too many uploads are unfinished: give some of them up",
        ));
    }
    let before = state.now() - ABANDONED;
    for upload in uploads.into_iter().filter(|upload| upload.updated_at < before) {
        if upload.temporary != upload.path
            && let Err(error) = session.unstage(&path_of(&upload.temporary)?).await
        {
            tracing::warn!(upload.id = %upload.id, %error, "a part of an abandoned upload was left");
        }
        state.store.upload_remove(upload.id).await?;
    }
    Ok(())
}

/// One's unfinished uploads
#[utoipa::path(
    get, path = "/files/{connection}/uploads", tag = "files", operation_id = "list_uploads",
    params(("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = Uploads))
)]
async fn list(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
) -> Result<Json<Uploads>, Problem> {
    super::open::admitted(&state, &actor, connection).await?;
    let rows = state.store.uploads(actor.user, connection, MOST as i64).await?;
    let body = |row: Upload| {
        Ok(UploadBody {
            id: row.id.to_string(),
            path: path_of(&row.path)?.display(),
            size: row.size,
            offset: row.received,
            created_at: wire::Time(row.created_at),
        })
    };
    let uploads = rows.into_iter().map(body).collect::<Result<_, Problem>>()?;
    Ok(Json(Uploads { uploads }))
}

/// How far an upload has come
#[utoipa::path(
    get, path = "/files/{connection}/uploads/{id}", tag = "files", operation_id = "get_upload",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("id" = String, Path, pattern = "^upl_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses(
        (status = 200, body = UploadBody, description = "The header Upload-Offset has the offset too"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "Another request is working on it, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn one(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path((connection, id)): Path<(ConnectionId, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let mut taken = Taken::of(&state, &actor, connection, &id, &used).await?;
    let offset = taken.offset(&used.session).await?;
    Ok(at_offset(&used, offset, Json(taken.body(offset)).into_response()))
}

/// Send a piece of an upload
///
/// The body is the file from `Upload-Offset` on, as much of it as is to be sent at once: all of the rest, too. Where the
/// target has another length by then, the answer is 409 with the right `Upload-Offset`.
#[utoipa::path(
    patch, path = "/files/{connection}/uploads/{id}", tag = "files", operation_id = "send_upload",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("id" = String, Path, pattern = "^upl_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Upload-Offset" = u64, Header, description = "Where in the file the body begins", minimum = 0),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "A part of the file"),
    responses(
        (status = 200, body = UploadBody, description = "The header Upload-Offset has the offset too"),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "The body stopped coming"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "Another offset is expected, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn piece(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path((connection, id)): Path<(ConnectionId, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let offset: u64 = headers
        .get(OFFSET)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .ok_or_else(|| Problem::invalid("Upload-Offset", "expected a whole number: where the body begins"))?;
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let work = async move {
        let mut body = Pieces::new(body);
        let mut taken = match Taken::of(&state, &actor, connection, &id, &used).await {
            Ok(taken) => taken,
            Err(problem) => {
                body.drain().await;
                return Err(problem);
            }
        };
        let expected = taken.offset(&used.session).await?;
        if offset != expected {
            body.drain().await;
            return Err(mismatch(expected));
        }
        let (id, size) = (taken.row.id, taken.row.size);
        let of = used.session.journal().id();
        let poured = {
            let staging = match taken.staging(&used.session, offset).await {
                Ok(staging) => staging,
                Err(problem) => {
                    body.drain().await;
                    return Err(problem);
                }
            };
            let left = size.saturating_sub(offset);
            let mut notes = Notes::new(&state, id, of);
            pour(&mut body, staging, Some(left), Some(&mut notes)).await
        };
        taken.open.used = Some(Instant::now());
        match poured {
            Ok(()) => {
                let at = taken.open.staging.as_ref().map_or(offset, Staging::position);
                let sure = taken.open.staging.as_ref().map_or(offset, Staging::arrived);
                state.store.upload_progress(id, of, sure, None, state.now()).await?;
                Ok(at_offset(&used, at, Json(taken.body(at)).into_response()))
            }
            Err(cut) => {
                taken.open.pause(&state, id).await;
                lock(&used.tab.uploads).remove(&id);
                drop(taken);
                if !matches!(cut, Cut::Client(_)) {
                    body.drain().await;
                }
                Err(cut.into())
            }
        }
    };
    // It goes on when the client is gone, to write down how far it came.
    finished(tokio::spawn(work)).await
}

fn mismatch(expected: u64) -> Problem {
    Problem::conflict("offset_mismatch", format!("the next piece begins at byte {expected}"))
        .header(axum::http::HeaderName::from_static(OFFSET), HeaderValue::from(expected))
}

/// Finish an upload
///
/// Puts the file in its place. With `sha256`, only where the bytes that arrived are those.
#[utoipa::path(
    post, path = "/files/{connection}/uploads/{id}/finish", tag = "files", operation_id = "finish_upload",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("id" = String, Path, pattern = "^upl_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = Option<FinishRequest>,
    responses(
        (status = 200, body = WrittenBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is not complete, there is such a file, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn finish(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path((connection, id)): Path<(ConnectionId, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    OptionalJson(request): OptionalJson<FinishRequest>,
) -> Result<Response, Problem> {
    let wanted = request.and_then(|request| request.sha256);
    if wanted.as_ref().is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(|c| c.is_ascii_hexdigit())) {
        return Err(Problem::invalid("sha256", "expected 64 hexadecimal digits"));
    }
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let work = async move {
        let mut taken = Taken::of(&state, &actor, connection, &id, &used).await?;
        let offset = taken.offset(&used.session).await?;
        if offset != taken.row.size {
            return Err(Problem::conflict(
                "incomplete",
                format!("{offset} of {} bytes have arrived", taken.row.size),
            )
            .header(axum::http::HeaderName::from_static(OFFSET), HeaderValue::from(offset)));
        }
        taken.staging(&used.session, offset).await?;
        let landing = Landing {
            modified: taken.options.modified.map(Timestamp::from_micros),
            unless_changed: false,
            sha256: wanted.map(|hash| hash.to_ascii_lowercase()),
        };
        let Some(staging) = taken.open.staging.take() else { return Err(Problem::internal()) };
        // Where it does not land it stays as it is, to be finished another time or given up.
        let written = staging.land(landing).await;
        lock(&used.tab.uploads).remove(&taken.row.id);
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                let of = used.session.journal().id();
                state.store.upload_progress(taken.row.id, of, offset, None, state.now()).await?;
                return Err(error.into());
            }
        };
        state.store.upload_remove(taken.row.id).await?;
        let after = used.session.stat(&taken.path, true).await.ok();
        let body = WrittenBody {
            size: written.end,
            sha256: written.sha256,
            etag: after.map(|entry| etag(entry.size, entry.modified)),
        };
        Ok(of_session(&used, Json(body).into_response()))
    };
    finished(tokio::spawn(work)).await
}

/// Give an upload up
///
/// What has arrived is removed from the target.
#[utoipa::path(
    delete, path = "/files/{connection}/uploads/{id}", tag = "files", operation_id = "give_upload_up",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("id" = String, Path, pattern = "^upl_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "Another request is working on it, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn give_up(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path((connection, id)): Path<(ConnectionId, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let work = async move {
        let mut taken = Taken::of(&state, &actor, connection, &id, &used).await?;
        taken.open.pause(&state, taken.row.id).await;
        lock(&used.tab.uploads).remove(&taken.row.id);
        if taken.temporary != taken.path {
            used.session.unstage(&taken.temporary).await?;
        }
        state.store.upload_remove(taken.row.id).await?;
        Ok(of_session(&used, StatusCode::NO_CONTENT.into_response()))
    };
    finished(tokio::spawn(work)).await
}
