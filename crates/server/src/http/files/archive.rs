//! Files and folders as one zip file, made while it is sent.

use std::io;

use axum::{
    body::{Body, Bytes},
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, Method, header},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use sojourn_domain::{files::FileAction, id::ConnectionId};
use sojourn_gateway::files::{
    EntryKind, RemotePath,
    session::{FileError, FileSession},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use utoipa_axum::routes;

use super::{
    headers::saved,
    open::{enter, of_session},
    paths::{path, values},
    walk::{Order, Step, Walk},
    zip::{About, Zip},
};
use crate::http::{
    AsItIs, Routes,
    actor::{Allowed, may},
    extract::Path,
    problem::{Problem, ProblemBody},
};

/// Paths in one request.
const MOST: usize = 1000;
/// Entries of one archive: what stands at its end is kept until then.
const ENTRIES: u64 = 200_000;
/// Pieces that wait for a slow reader; when they are full, the target waits.
const PIECES: usize = 2;
/// What was written is sent on from this size on.
const PIECE: usize = 64 * 1024;
/// Says what is missing, where something is.
const MISSING: &str = "_not included.txt";
/// Lines in it.
const LINES: usize = 1000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(archive))
}

/// Files and folders as a zip file
///
/// Links are not followed. What cannot be read is left out and named in a file of the archive.
#[utoipa::path(
    get, path = "/files/{connection}/archive", tag = "files", operation_id = "archive_files",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("path" = Vec<String>, Query, description = "Percent-encoded bytes of absolute paths, each in a `path` of its own"),
        ("tab" = Option<String>, Query, description = "The page's own random word, for links", pattern = "^[0-9A-Za-z_-]{0,64}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses(
        (status = 200, body = String, content_type = "application/zip", description = "The archive"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "A password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn archive(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let values = values(query.as_deref(), "path");
    if values.is_empty() || values.len() > MOST {
        return Err(Problem::invalid("path", format!("expected 1 to {MOST} paths")));
    }
    let paths = values.iter().map(|value| path("path", value)).collect::<Result<Vec<_>, _>>()?;
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let mut begin = Vec::with_capacity(paths.len());
    for path in paths {
        // The one that is asked for may be a link.
        let entry = used.session.stat_to(FileAction::Download, &path, true).await?;
        begin.push(Step { path, kind: entry.kind, entry: Some(entry) });
    }
    let name = match begin.as_slice() {
        [one] => one.path.name().unwrap_or(b"files"),
        [] | [_, _, ..] => b"files",
    };
    let mut response = Response::new(Body::empty());
    saved(response.headers_mut(), "attachment", &[name, b".zip"].concat());
    if method != Method::HEAD {
        let (out, pieces) = mpsc::channel(PIECES);
        let packer =
            Packer { session: used.session.clone(), zip: Zip::new(), out, entries: 0, missing: Vec::new() };
        let task = AbortOnDropHandle::new(tokio::spawn(packer.run(begin)));
        let kept = used.clone();
        let pieces = ReceiverStream::new(pieces).map(move |piece| {
            let _owned = (&task, &kept);
            piece
        });
        response = (response.headers().clone(), Body::from_stream(pieces.fuse())).into_response();
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response.extensions_mut().insert(AsItIs);
    Ok(of_session(&used, response))
}

struct Packer {
    session: FileSession,
    zip: Zip,
    out: mpsc::Sender<io::Result<Bytes>>,
    entries: u64,
    missing: Vec<String>,
}

impl Packer {
    async fn run(mut self, begin: Vec<Step>) {
        if let Err(error) = self.all(begin).await {
            tracing::debug!(file_session.id = %self.session.journal().id(), %error, "an archive broke off");
            // Broken off, so that nobody takes it for whole; who reads may be gone already.
            let _ = self.out.send(Err(error)).await;
        }
    }

    async fn all(&mut self, begin: Vec<Step>) -> io::Result<()> {
        for first in begin {
            // Names begin with that of what was asked for.
            let above = first.path.names().count().saturating_sub(1);
            let mut walk = Walk::new(Order::FoldersFirst);
            walk.begin(first, true);
            while let Some(step) = walk.step(&self.session).await {
                match step {
                    Ok(step) => self.one(&step, above).await?,
                    Err((path, error)) => self.miss(&path, error)?,
                }
            }
        }
        if !self.missing.is_empty() {
            self.zip.file(&[MISSING.as_bytes()], About::default())?;
            let text = std::mem::take(&mut self.missing).join("\n");
            self.zip.write(text.as_bytes())?;
            self.zip.write(b"\n")?;
        }
        let rest = std::mem::replace(&mut self.zip, Zip::new()).finish()?;
        self.send(rest).await
    }

    async fn one(&mut self, step: &Step, above: usize) -> io::Result<()> {
        let names: Vec<&[u8]> = step.path.names().skip(above).collect();
        let entry = step.entry.as_ref();
        let about = About {
            size: entry.and_then(|entry| entry.size),
            modified: entry.and_then(|entry| entry.modified),
            permissions: entry.and_then(|entry| entry.permissions),
        };
        self.entries += 1;
        if self.entries > ENTRIES {
            return Err(io::Error::other("too many files for one archive"));
        }
        match step.kind {
            // The root itself has no name.
            EntryKind::Folder if names.is_empty() => Ok(()),
            EntryKind::Folder => {
                self.zip.folder(&names, about)?;
                self.flush(PIECE).await
            }
            EntryKind::Link => {
                self.note(&step.path, "a link");
                Ok(())
            }
            // What is neither file nor folder may never end.
            EntryKind::Other => {
                self.note(&step.path, "neither a file nor a folder");
                Ok(())
            }
            EntryKind::File => self.file(&step.path, &names, about).await,
        }
    }

    async fn file(&mut self, path: &RemotePath, names: &[&[u8]], about: About) -> io::Result<()> {
        let mut reading = match self.session.read(path, 0, None).await {
            Ok(reading) => reading,
            Err(error) => return self.miss(path, error),
        };
        // What fails before its first byte is left out; what breaks off later breaks the archive off.
        let mut piece = match reading.next().await {
            Ok(piece) => piece,
            Err(error) => return self.miss(path, error),
        };
        self.zip.file(names, about)?;
        while let Some(bytes) = piece {
            self.zip.write(&bytes)?;
            self.flush(PIECE).await?;
            piece = reading.next().await.map_err(io::Error::other)?;
        }
        reading.finish();
        self.flush(PIECE).await
    }

    /// Leaves something out; not where nothing more can be read at all.
    fn miss(&mut self, path: &RemotePath, error: FileError) -> io::Result<()> {
        let over = match &error {
            FileError::Ended(_) => true,
            FileError::Target(error) => error.is_lost(),
            FileError::Denied(_) => false,
        };
        if over {
            return Err(io::Error::other(error));
        }
        self.note(path, &error.to_string());
        Ok(())
    }

    fn note(&mut self, path: &RemotePath, why: &str) {
        if self.missing.len() < LINES {
            self.missing.push(format!("{path}: {why}"));
        } else if self.missing.len() == LINES {
            self.missing.push("and more".to_owned());
        }
    }

    /// Sends what was written, if it is enough.
    async fn flush(&mut self, enough: usize) -> io::Result<()> {
        if self.zip.waiting() < enough {
            return Ok(());
        }
        let piece = self.zip.take();
        self.send(piece).await
    }

    async fn send(&mut self, piece: Bytes) -> io::Result<()> {
        self.out.send(Ok(piece)).await.map_err(|_| io::Error::other("the client is gone"))
    }
}
