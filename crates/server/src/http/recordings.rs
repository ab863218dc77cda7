//! Recordings over HTTP: the bytes in any part, a transcript, proof, and what they take up.
//!
//! Memory does not grow with a recording: bodies are streamed frame by frame, and whoever reads slowly makes the
//! reading wait.

use std::io::{self, BufReader, Read};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use serde::Deserialize;
use sojourn_domain::{
    access::RecordingState,
    cast::{self, Transcript},
};
use sojourn_store::{
    access::AccessSession,
    audit::Deed,
    recordings::{Format, Reader, RecordingError},
};
use tokio::{runtime::Handle, sync::mpsc};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, Known, may},
    extract::{Json, Path, Query},
    problem::{Problem, ProblemBody, chain},
    ranges::{self, Part},
    sessions::seen,
    wire::recordings::{Storage, VerificationBody},
};
use crate::state::AppState;

/// Pieces of a transcript that wait for a slow reader; when they are full the transcriber waits.
const PIECES: usize = 4;
/// Bytes of a transcript in one piece.
const PIECE_BYTES: usize = 16 * 1024;

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(recording))
        .routes(routes!(verify))
        .routes(routes!(export))
        .routes(routes!(storage))
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    /// A plain transcript: what a person would have read.
    Txt,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FormQuery {
    /// `txt` for a plain transcript of a terminal session; else the recording itself.
    #[param(inline)]
    format: Option<Form>,
}

/// The recording of a session
///
/// asciicast v2 of terminals, WebM of desktops. Ranges (one at a time), suffix ranges, If-Range and HEAD work as RFC 9110
/// describes. A live recording answers what is durable so far.
#[utoipa::path(
    get, path = "/sessions/{id}/recording", tag = "sessions", operation_id = "get_recording",
    params(
        ("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        FormQuery,
    ),
    responses(
        (status = 200, description = "The recording", content(
            (String = "application/x-asciicast"), (String = "video/webm"), (String = "text/plain"),
        )),
        (status = 206, description = "A part of it", content(
            (String = "application/x-asciicast"), (String = "video/webm"),
        )),
        (status = 304, description = "It is the one named in If-None-Match"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json", description = "It is not the one named in If-Match"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "Nothing lies in the range"),
    )
)]
async fn recording(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Query(query): Query<FormQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = seen(&state, &actor, &id).await?;
    let reader = open(&state, &session).await?;
    if query.format.is_some() {
        return transcript(reader, &method);
    }
    let etag = format!("\"{}\"", reader.etag);
    if ranges::names(&headers, header::IF_MATCH, &etag) == Some(false) {
        return Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            "the recording is another one than If-Match names",
        ));
    }
    let builder = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, "private, no-cache");
    if ranges::names(&headers, header::IF_NONE_MATCH, &etag) == Some(true) {
        return builder.status(StatusCode::NOT_MODIFIED).body(Body::empty()).map_err(unbuilt);
    }
    // Ranges are defined for GET alone.
    let part = if method == Method::HEAD { Part::Whole } else { ranges::part(&headers, reader.size, &etag) };
    let size = reader.size;
    let builder = builder.header(header::CONTENT_TYPE, reader.format.media_type());
    let (builder, range) = match part {
        Part::Whole => (builder.status(StatusCode::OK), 0..size),
        Part::Range(range) => {
            let place = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let builder = builder.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, place);
            (builder, range)
        }
        Part::Outside => {
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                format!("the recording has {size} bytes"),
            );
            let place = HeaderValue::try_from(format!("bytes */{size}")).map_err(|_| Problem::internal())?;
            return Err(problem.header(header::CONTENT_RANGE, place));
        }
    };
    let builder = builder.header(header::CONTENT_LENGTH, range.end - range.start).header(
        header::CONTENT_DISPOSITION,
        format!("inline; filename=\"{}.{}\"", session.id, reader.format.key()),
    );
    let body =
        if method == Method::HEAD { Body::empty() } else { Body::from_stream(logged(reader.read(range))) };
    builder.body(body).map_err(unbuilt)
}

fn unbuilt(error: axum::http::Error) -> Problem {
    tracing::error!(%error, "an answer could not be made");
    Problem::internal()
}

/// What fails in the middle of a body can only be cut off; the log says why.
fn logged(
    stream: impl Stream<Item = Result<Bytes, RecordingError>> + Send + 'static,
) -> BoxStream<'static, io::Result<Bytes>> {
    stream
        .map_err(|error| {
            tracing::error!(error = chain(&error), "a recording could not be read to its end");
            io::Error::other("the recording could not be read")
        })
        .boxed()
}

async fn open(state: &AppState, session: &AccessSession) -> Result<Reader, Problem> {
    if let Some(reader) = state.access.recordings.open_reader(session.id).await? {
        return Ok(reader);
    }
    if session.recording == RecordingState::Live {
        return Err(Problem::unavailable("the recording is being written by another server", 10));
    }
    Err(Problem::not_found("recording of this session"))
}

fn transcript(reader: Reader, method: &Method) -> Result<Response, Problem> {
    if reader.format != Format::Cast {
        return Err(Problem::invalid("format", "there is a transcript of terminal sessions only"));
    }
    let mut response = if *method == Method::HEAD {
        Body::empty().into_response()
    } else {
        let (sender, receiver) = mpsc::channel(PIECES);
        let bytes = reader.read(0..reader.size).boxed();
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || {
            let input = Waiting { handle, bytes, piece: Bytes::new() };
            if let Err(error) = transcribe(input, &sender) {
                tracing::error!(error = chain(&error), "a transcript could not be made to its end");
                // Who reads may be gone already.
                let _ = sender.blocking_send(Err(io::Error::other("the recording could not be read")));
            }
        });
        let pieces = tokio_stream::wrappers::ReceiverStream::new(receiver);
        Body::from_stream(pieces).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Writes lines until the recording or the reader's patience ends.
fn transcribe(input: Waiting, out: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut events = match cast::Reader::new(BufReader::with_capacity(PIECE_BYTES, input)) {
        Ok(events) => events,
        Err(cast::CastError::Empty) => return Ok(()),
        Err(error) => return Err(io::Error::other(error)),
    };
    let mut transcript = Transcript::new(events.header().cols, events.header().rows);
    let mut text = String::new();
    for event in &mut events {
        for line in transcript.event(&event.map_err(io::Error::other)?.data) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if text.len() >= PIECE_BYTES && out.blocking_send(Ok(Bytes::from(std::mem::take(&mut text)))).is_err()
        {
            return Ok(());
        }
    }
    for line in transcript.finish() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    // Who reads may be gone already.
    let _ = out.blocking_send(Ok(Bytes::from(text)));
    Ok(())
}

/// A stream of bytes for whoever reads on a thread of its own.
struct Waiting {
    handle: Handle,
    bytes: BoxStream<'static, Result<Bytes, RecordingError>>,
    piece: Bytes,
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.bytes.next()) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let taken = self.piece.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.piece.split_to(taken));
        Ok(taken)
    }
}

/// Check that a recording is as it was made
///
/// Reads all of it: the signature, the chain of hashes, and every frame.
#[utoipa::path(
    get, path = "/sessions/{id}/verify", tag = "sessions", operation_id = "verify_recording",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = VerificationBody))
)]
async fn verify(
    Known { state, actor }: Known,
    Path(id): Path<String>,
) -> Result<Json<VerificationBody>, Problem> {
    let session = seen(&state, &actor, &id).await?;
    Ok(Json(state.access.recordings.verify(session.id).await?.into()))
}

/// The evidence bundle of a recording
///
/// A tar file with the recording, the session's commands, the signed manifest, and all that is needed to check it elsewhere.
#[utoipa::path(
    get, path = "/sessions/{id}/export", tag = "sessions", operation_id = "export_recording",
    params(("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses(
        (status = 200, description = "The bundle", content_type = "application/x-tar", body = String),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is still being recorded"),
    )
)]
async fn export(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    method: Method,
) -> Result<Response, Problem> {
    let session = seen(&state, &actor, &id).await?;
    let Some(bundle) = state.access.recordings.export(session.id).await? else {
        return Err(Problem::not_found("recording of this session"));
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let deed = Deed::done("session.export", session.id, serde_json::json!({}));
        state.store.audit(&actor.by(state.now()), deed).await?;
        Body::from_stream(logged(bundle))
    };
    Response::builder()
        .header(header::CONTENT_TYPE, "application/x-tar")
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.tar\"", session.id))
        .header(header::CACHE_CONTROL, "private, no-store")
        .body(body)
        .map_err(unbuilt)
}

/// What all recordings take up
#[utoipa::path(
    get, path = "/sessions/storage", tag = "sessions", operation_id = "get_storage",
    responses((status = 200, body = Storage))
)]
async fn storage(Allowed { state, .. }: Allowed<may::SettingsManage>) -> Result<Json<Storage>, Problem> {
    Ok(Json(state.access.recordings.storage().await?.into()))
}
