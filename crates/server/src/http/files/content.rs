//! The bytes of a file, down and up.

use std::io;

use axum::{
    body::{Body, Bytes},
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, stream};
use sojourn_domain::{
    files::FileAction,
    id::{ConnectionId, UploadId},
};
use sojourn_gateway::files::{
    EntryKind, FsErrorKind, RemotePath,
    session::{FileError, FileSession, Landing, Reading, Stage},
};
use utoipa_axum::routes;

use super::{
    headers::{etag, guard},
    open::{enter, of_session},
    paths::{flag, new_name, of_query},
    receive::{Pieces, pour, temporary},
    tabs::InUse,
};
use crate::http::{
    AsItIs, Routes,
    actor::{Allowed, may},
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    ranges::{self, Part},
    wire::files::WrittenBody,
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(download, put))
}

/// A file
///
/// Ranges (one at a time), suffix ranges, If-Range, If-Match, If-None-Match and HEAD work as RFC 9110 describes. The tag is made
/// of the file's size and the time of its last change. Nothing of it runs in a browser: it is to be saved, unless
/// `inline=1` asks for it to be shown, which pictures and plain text are.
#[utoipa::path(
    get, path = "/files/{connection}/content", tag = "files", operation_id = "download_file",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("path" = String, Query, description = "Percent-encoded bytes of an absolute path", max_length = 4096),
        ("inline" = Option<bool>, Query, description = "To be shown, not saved, where it is a picture or text"),
        ("tab" = Option<String>, Query, description = "The page's own random word, for links and pictures", pattern = "^[0-9A-Za-z_-]{0,64}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses(
        (status = 200, description = "The file", content((String = "application/octet-stream"), (String = "text/plain"), (String = "image/*"))),
        (status = 206, description = "A part of it", content((String = "application/octet-stream"), (String = "text/plain"), (String = "image/*"))),
        (status = 304, description = "It is the one named in If-None-Match"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is a folder, or a password is needed"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json", description = "It is not the one named in If-Match"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "Nothing lies in the range"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn download(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.as_deref();
    let path = of_query(query, None)?;
    let inline = flag(query, "inline")?.unwrap_or(false) && !flag(query, "download")?.unwrap_or(false);
    let used = enter(&state, &actor, connection, &headers, query).await?;
    let wanted = if method == Method::HEAD { FileAction::Browse } else { FileAction::Download };
    let entry = match used.session.stat_to(wanted, &path, true).await {
        Ok(entry) => entry,
        Err(error) => return Err(tried(&used.session, &path, &method, error).await),
    };
    if entry.kind == EntryKind::Folder {
        return Err(Problem::conflict("is_a_folder", "it is a folder: fetch it as an archive"));
    }
    let etag = etag(entry.size, entry.modified);
    if ranges::names(&headers, header::IF_MATCH, &etag) == Some(false) {
        return Err(changed());
    }
    let mut answer = Response::new(Body::empty());
    let out = answer.headers_mut();
    guard(out, path.name().unwrap_or_default(), inline);
    out.insert(header::ETAG, HeaderValue::try_from(&etag).map_err(|_| Problem::internal())?);
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.extensions_mut().insert(AsItIs);
    if ranges::names(&headers, header::IF_NONE_MATCH, &etag) == Some(true) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(of_session(&used, answer));
    }
    // What is no file in the strict sense has no size that means something.
    let size = entry.size.filter(|_| entry.kind == EntryKind::File);
    let Some(size) = size else {
        if method != Method::HEAD {
            let reading = used.session.read(&path, 0, None).await?;
            *answer.body_mut() = Body::from_stream(pieces(used.clone(), reading, None));
        }
        answer.headers_mut().remove(header::ACCEPT_RANGES);
        return Ok(of_session(&used, answer));
    };
    // Ranges are defined for GET alone.
    let part = if method == Method::HEAD { Part::Whole } else { ranges::part(&headers, size, &etag) };
    let range = match part {
        Part::Whole => 0..size,
        Part::Range(range) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let place = HeaderValue::try_from(place).map_err(|_| Problem::internal())?;
            answer.headers_mut().insert(header::CONTENT_RANGE, place);
            range
        }
        Part::Outside => {
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                format!("the file has {size} bytes"),
            );
            let place = HeaderValue::try_from(format!("bytes */{size}")).map_err(|_| Problem::internal())?;
            return Err(problem.header(header::CONTENT_RANGE, place));
        }
    };
    let length = range.end - range.start;
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if method != Method::HEAD {
        let mut reading = used.session.read(&path, range.start, Some(length)).await?;
        reading.expect_size(size);
        *answer.body_mut() = Body::from_stream(pieces(used.clone(), reading, Some(length)));
    }
    Ok(of_session(&used, answer))
}

/// Looking is no operation, but whoever asks for a file that cannot be had has tried to fetch it.
async fn tried(session: &FileSession, path: &RemotePath, method: &Method, error: FileError) -> Problem {
    if *method != Method::HEAD
        && let FileError::Target(_) = &error
        && let Err(error) = session.read(path, 0, None).await
    {
        return error.into();
    }
    error.into()
}

fn changed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "precondition_failed",
        "the file is another one than If-Match names: it was changed",
    )
}

/// A file's bytes as they come. A file that ends before its length breaks the connection off: the client must not take
/// a part for the whole.
fn pieces(
    used: InUse,
    reading: Reading,
    length: Option<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some((used, reading, length)), |state| async move {
        let (used, mut reading, mut left) = state?;
        match reading.next().await {
            Ok(Some(bytes)) => {
                if let Some(left) = &mut left {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                if left == Some(0) {
                    // Nobody asks again once the length is reached.
                    reading.finish();
                    return Some((Ok(bytes), None));
                }
                Some((Ok(bytes), Some((used, reading, left))))
            }
            Ok(None) if left.is_some_and(|left| left > 0) => {
                Some((Err(io::Error::other("the file ended before its length")), None))
            }
            Ok(None) => {
                reading.finish();
                None
            }
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    })
}

/// Write a file
///
/// The body is the file. It stands under another name beside its place until all of it is there, where that can be done.
/// Without `overwrite=1` a file that exists stays, and the answer is 409. `If-Match` replaces only the file with this tag.
#[utoipa::path(
    put, path = "/files/{connection}/content", tag = "files", operation_id = "upload_file",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("path" = String, Query, description = "Percent-encoded bytes of an absolute path", max_length = 4096),
        ("overwrite" = Option<bool>, Query, description = "Replace a file that exists"),
        ("modified" = Option<String>, Query, description = "The time that the file is given, where the target can: RFC 3339"),
        ("If-Match" = Option<String>, Header, description = "The tag of the file that is to be replaced"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "The file"),
    responses(
        (status = 201, body = WrittenBody),
        (status = 408, body = ProblemBody, content_type = "application/problem+json", description = "The body stopped coming"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "There is such a file, or a password is needed"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json", description = "The file is not the one named in If-Match"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn put(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let query = query.as_deref();
    let path = of_query(query, None)?;
    let over = flag(query, "overwrite")?.unwrap_or(false);
    let path = if over { path } else { new_name("path", path)? };
    let modified = match super::paths::values(query, "modified").first() {
        None => None,
        Some(text) => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            Some(crate::http::wire::time(&state, "modified", text)?)
        }
    };
    let used = enter(&state, &actor, connection, &headers, query).await?;
    let conditional = headers.contains_key(header::IF_MATCH);
    let mut body = Pieces::new(body);
    if conditional {
        let tag = match used.session.stat_to(FileAction::Upload, &path, true).await {
            Ok(entry) => etag(entry.size, entry.modified),
            Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        if tag.is_empty() || ranges::names(&headers, header::IF_MATCH, &tag) == Some(false) {
            body.drain().await;
            return Err(changed());
        }
    }
    let size = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    let id: UploadId = state.entropy.id(state.now());
    let stage = Stage {
        temporary: temporary(&path, id)?,
        path: path.clone(),
        offset: 0,
        size,
        over: over || conditional,
    };
    let landing = Landing { modified, unless_changed: conditional, sha256: None };
    let work = async move {
        let session = &used.session;
        let mut staging = match session.stage(stage).await {
            Ok(staging) => staging,
            Err(error) => {
                body.drain().await;
                return Err(error.into());
            }
        };
        let left = (!staging.in_place()).then(|| staging.temporary().clone());
        let poured = pour(&mut body, &mut staging, None, None).await;
        let landed = match poured {
            Ok(()) => staging.land(landing).await.map_err(|error| match &error {
                FileError::Target(error) if error.kind == FsErrorKind::Exists && conditional => changed(),
                FileError::Denied(_) | FileError::Target(_) | FileError::Ended(_) => error.into(),
            }),
            Err(cut) => {
                drop(staging);
                body.drain().await;
                Err(Problem::from(cut))
            }
        };
        match landed {
            Ok(written) => {
                let after = session.stat(&path, true).await.ok();
                let body = WrittenBody {
                    size: written.end,
                    sha256: written.sha256,
                    etag: after.map(|entry| etag(entry.size, entry.modified)),
                };
                Ok(of_session(&used, (StatusCode::CREATED, Json(body)).into_response()))
            }
            Err(problem) => {
                if let Some(left) = left
                    && let Err(error) = session.unstage(&left).await
                {
                    tracing::warn!(file_session.id = %session.journal().id(), %error, "a part of an upload was left");
                }
                Err(problem)
            }
        }
    };
    // It goes on when the client is gone, to write that down and to clean up.
    finished(tokio::spawn(work)).await
}

/// The answer of work that was given a task of its own.
pub(super) async fn finished(
    task: tokio::task::JoinHandle<Result<Response, Problem>>,
) -> Result<Response, Problem> {
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request's work ended early");
        Err(Problem::internal())
    })
}
