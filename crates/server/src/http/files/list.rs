//! What is in a folder, and what something is.

use axum::{
    body::{Body, Bytes},
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use sojourn_domain::{files::path_text, id::ConnectionId};
use sojourn_gateway::files::{
    Entry, EntryKind, RemotePath,
    session::{Browsing, FileError, FileSession},
};
use utoipa_axum::routes;

use super::{
    headers::etag,
    open::{enter, of_session},
    paths::{encoded, of_query},
    progress::MEDIA,
    tabs::InUse,
};
use crate::http::{
    AsItIs, Routes,
    actor::{Allowed, may},
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    wire::{
        files::{CapabilitiesBody, EntryBody, ListingBody, StatBody},
        values::Time,
    },
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(stat))
}

/// What the target can do and the connection's policy allows.
pub(super) fn capabilities(session: &FileSession) -> CapabilitiesBody {
    let (can, policy) = (session.capabilities(), session.policy());
    CapabilitiesBody {
        copy: can.copy,
        rename_over: can.rename_over,
        links: can.links,
        permissions: can.permissions,
        times: can.times,
        resume_upload: can.resume_upload,
        read_only: policy.read_only,
        no_delete: policy.no_delete,
        max_upload_bytes: policy.max_upload_bytes,
        max_download_bytes: policy.max_download_bytes,
    }
}

/// An entry of a folder. `prefix` is the folder's text with a slash at its end; `odd`: that is not what the target has.
fn in_folder(folder: &RemotePath, prefix: &str, odd: bool, entry: Entry) -> EntryBody {
    let name = path_text(&entry.name);
    let raw = if odd || name.as_bytes() != entry.name { folder.join(&entry.name).ok() } else { None };
    let path = format!("{prefix}{name}");
    entry_body(name, path, raw.as_ref(), entry)
}

/// What stands at a path.
pub(super) fn at_path(path: &RemotePath, entry: Entry) -> EntryBody {
    let text = path.display();
    let raw = (text.as_bytes() != path.as_bytes()).then_some(path);
    let name = path_text(path.name().unwrap_or_default());
    entry_body(name, text, raw, entry)
}

fn entry_body(name: String, path: String, raw: Option<&RemotePath>, entry: Entry) -> EntryBody {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    EntryBody {
        name,
        path,
        kind: match entry.kind {
            EntryKind::File => "file",
            EntryKind::Folder => "folder",
            EntryKind::Link => "link",
            EntryKind::Other => "other",
        },
        size: entry.size,
        modified: entry.modified.map(Time),
        permissions: entry.permissions.map(|bits| format!("{bits:04o}")),
        owner: entry.owner.map(|name| path_text(name.as_bytes())).or_else(|| number(entry.uid)),
        group: entry.group.map(|name| path_text(name.as_bytes())).or_else(|| number(entry.gid)),
        link_target: entry.link_target.map(|target| path_text(&target)),
        raw_path: raw.map(|path| encoded(path.as_bytes())),
    }
}

/// What the reading of a folder goes on with.
struct Rest {
    _used: InUse,
    browsing: Browsing,
    folder: RemotePath,
    prefix: String,
    odd: bool,
    lines: bool,
    begun: bool,
}

impl Rest {
    fn write(&mut self, out: &mut Vec<u8>, entries: Vec<Entry>) {
        for entry in entries {
            if self.begun && !self.lines {
                out.push(b',');
            }
            self.begun = true;
            let body = in_folder(&self.folder, &self.prefix, self.odd, entry);
            // Text and numbers can always be written.
            if let Err(error) = serde_json::to_writer(&mut *out, &body) {
                tracing::error!(%error, "an entry could not be written");
            }
            if self.lines {
                out.push(b'\n');
            }
        }
    }
}

/// What is in a folder
///
/// In the target's order, streamed: the first entries are sent while the last are still read. `Accept:
/// application/x-ndjson` gives one entry a line, after a line with what is not an entry. Without a path: the folder that one
/// begins in.
#[utoipa::path(
    get, path = "/files/{connection}/list", tag = "files", operation_id = "list_files",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("path" = Option<String>, Query, description = "Percent-encoded bytes of an absolute path", max_length = 4096),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses(
        (status = 200, description = "The folder", content(
            (ListingBody = "application/json"), (EntryBody = "application/x-ndjson"),
        )),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is no folder, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn list(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let folder = of_query(query.as_deref(), Some(used.session.home()))?;
    let mut browsing = used.session.list(&folder).await?;
    // What fails at once is told as a problem.
    let first = browsing.next().await?;
    let lines = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == MEDIA.as_bytes());
    let text = folder.display();
    let prefix = if folder.is_root() { "/".to_owned() } else { format!("{text}/") };
    let odd = text.as_bytes() != folder.as_bytes();
    let capabilities = serde_json::to_string(&capabilities(&used.session)).map_err(unwritten)?;
    let path = serde_json::to_string(&text).map_err(unwritten)?;
    let raw = if odd { format!("\"rawPath\":\"{}\",", encoded(folder.as_bytes())) } else { String::new() };
    let end = if lines { "}\n" } else { ",\"entries\":[" };
    let mut head = format!("{{\"path\":{path},{raw}\"capabilities\":{capabilities}{end}").into_bytes();
    let mut rest = Rest { _used: used.clone(), browsing, folder, prefix, odd, lines, begun: false };
    let more = first.is_some();
    rest.write(&mut head, first.unwrap_or_default());
    if !more && !lines {
        head.extend_from_slice(b"]}");
    }
    let rest = stream::unfold(more.then_some(rest), |rest| async move {
        let mut rest = rest?;
        let mut out = Vec::new();
        match rest.browsing.next().await {
            Ok(Some(entries)) => {
                rest.write(&mut out, entries);
                Some((Ok(Bytes::from(out)), Some(rest)))
            }
            Ok(None) => {
                if !rest.lines {
                    out.extend_from_slice(b"]}");
                }
                Some((Ok(Bytes::from(out)), None))
            }
            // The connection is broken off: the client sees that the document is not complete.
            Err(error) => Some((Err(error), None)),
        }
    });
    let head = stream::once(async move { Ok::<_, FileError>(Bytes::from(head)) });
    let mut response = Body::from_stream(head.chain(rest).fuse()).into_response();
    let media = if lines { MEDIA } else { "application/json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.extensions_mut().insert(AsItIs);
    Ok(of_session(&used, response))
}

fn unwritten(error: serde_json::Error) -> Problem {
    tracing::error!(%error, "an answer could not be written");
    Problem::internal()
}

/// What something is
///
/// Links are followed; `follow=false` looks at the link itself.
#[utoipa::path(
    get, path = "/files/{connection}/stat", tag = "files", operation_id = "stat_file",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("path" = String, Query, description = "Percent-encoded bytes of an absolute path", max_length = 4096),
        ("follow" = Option<bool>, Query, description = "Follow a link; unless said otherwise it is"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses(
        (status = 200, body = StatBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "A password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn stat(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let path = of_query(query.as_deref(), None)?;
    let follow = super::paths::flag(query.as_deref(), "follow")?.unwrap_or(true);
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let entry = used.session.stat(&path, follow).await?;
    let etag = etag(entry.size, entry.modified);
    let body = StatBody { etag, capabilities: capabilities(&used.session), entry: at_path(&path, entry) };
    Ok(of_session(&used, Json(body).into_response()))
}
