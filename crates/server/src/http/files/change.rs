//! What is done in one step: folders, names, permissions, links, lengths.

use axum::{
    extract::RawQuery,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use sojourn_domain::{files::FileAction, id::ConnectionId};
use sojourn_gateway::files::{
    EntryKind, FsErrorKind, RemotePath,
    session::{FileError, FileSession},
};
use utoipa_axum::routes;

use super::{
    list::at_path,
    open::{enter, of_session},
    progress,
    walk::{self, Work},
};
use crate::http::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    wire::{
        files::{
            ChmodRequest, EntryBody, LinkRequest, MkdirRequest, ProgressLine, RenameRequest, TruncateRequest,
        },
        values::Done,
    },
};

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(mkdir))
        .routes(routes!(rename))
        .routes(routes!(chmod))
        .routes(routes!(link))
        .routes(routes!(truncate))
}

/// Make a folder
#[utoipa::path(
    post, path = "/files/{connection}/mkdir", tag = "files", operation_id = "make_folder",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = MkdirRequest,
    responses(
        (status = 201, body = EntryBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "There is something of that name"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn mkdir(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<MkdirRequest>,
) -> Result<Response, Problem> {
    let path = request.path.read_new("path")?;
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    if request.parents {
        folders(&used.session, &path).await?;
    } else {
        used.session.mkdir(&path).await?;
    }
    let entry = used.session.stat(&path, true).await?;
    Ok(of_session(&used, (StatusCode::CREATED, Json(at_path(&path, entry))).into_response()))
}

/// Makes a folder and all that are missing above it; one that exists will do.
pub(super) async fn folders(session: &FileSession, path: &RemotePath) -> Result<(), FileError> {
    let mut missing = Vec::new();
    let mut at = Some(path.clone());
    while let Some(folder) = at {
        match session.stat_to(FileAction::Mkdir, &folder, true).await {
            Ok(entry) if entry.kind == EntryKind::Folder => break,
            // Making it says what is wrong, and leaves an event.
            Ok(_) => {
                missing.push(folder);
                break;
            }
            Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => {
                at = folder.parent();
                missing.push(folder);
            }
            Err(error) => return Err(error),
        }
    }
    for folder in missing.iter().rev() {
        match session.mkdir(folder).await {
            Err(FileError::Target(error)) if error.kind == FsErrorKind::Exists => {
                // Somebody else was faster, perhaps another request of the same page.
                if session.stat(folder, true).await?.kind != EntryKind::Folder {
                    return Err(error.into());
                }
            }
            made => made?,
        }
    }
    Ok(())
}

/// Rename or move
///
/// Within one connection. Without `overwrite` nothing is replaced.
#[utoipa::path(
    post, path = "/files/{connection}/rename", tag = "files", operation_id = "rename_file",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = RenameRequest,
    responses(
        (status = 200, body = EntryBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "There is something of that name"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn rename(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<RenameRequest>,
) -> Result<Response, Problem> {
    let (from, to) = (request.from.read("from")?, request.to.read_new("to")?);
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    used.session.rename(&from, &to, request.overwrite).await?;
    let entry = used.session.stat(&to, false).await?;
    Ok(of_session(&used, Json(at_path(&to, entry)).into_response()))
}

/// Set permissions
///
/// With `recursive` the answer is one line of progress after the other (`application/x-ndjson`); the last has `finished`.
#[utoipa::path(
    post, path = "/files/{connection}/chmod", tag = "files", operation_id = "set_file_permissions",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = ChmodRequest,
    responses(
        (status = 200, description = "Done, or how far it has come", content(
            (Done = "application/json"), (ProgressLine = "application/x-ndjson"),
        )),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The target has no permissions, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn chmod(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<ChmodRequest>,
) -> Result<Response, Problem> {
    let path = request.path.read("path")?;
    let bits = u32::from_str_radix(&request.permissions, 8)
        .ok()
        .filter(|bits| *bits <= 0o7777 && request.permissions.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| Problem::invalid("permissions", "expected octal digits such as 0644"))?;
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    if !request.recursive {
        used.session.set_permissions(&path, bits).await?;
        return Ok(of_session(&used, Json(Done::OK).into_response()));
    }
    let kept = used.clone();
    let answer = progress::answer(move |lines| async move {
        let done = walk::each(used.session.clone(), vec![path], true, Work::Chmod(bits), lines).await;
        drop(used);
        done
    });
    Ok(of_session(&kept, answer))
}

/// Make a symbolic link
#[utoipa::path(
    post, path = "/files/{connection}/link", tag = "files", operation_id = "make_link",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = LinkRequest,
    responses(
        (status = 201, body = EntryBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "There is something of that name, or the target has no links"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn link(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<LinkRequest>,
) -> Result<Response, Problem> {
    let path = request.path.read_new("path")?;
    let target = request.target;
    if target.is_empty() || target.len() > 4096 || target.chars().any(char::is_control) {
        return Err(Problem::invalid("target", "expected one line of at most 4096 bytes"));
    }
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    used.session.make_link(&path, target.as_bytes()).await?;
    let entry = used.session.stat(&path, false).await?;
    Ok(of_session(&used, (StatusCode::CREATED, Json(at_path(&path, entry))).into_response()))
}

/// Cut a file, or make it longer with zeros
#[utoipa::path(
    post, path = "/files/{connection}/truncate", tag = "files", operation_id = "truncate_file",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = TruncateRequest,
    responses(
        (status = 200, body = EntryBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The target cannot, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn truncate(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<TruncateRequest>,
) -> Result<Response, Problem> {
    let path = request.path.read("path")?;
    if request.size > super::uploads::LARGEST {
        return Err(Problem::invalid("size", "expected at most 9007199254740991 bytes"));
    }
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    used.session.truncate(&path, request.size).await?;
    let entry = used.session.stat(&path, true).await?;
    Ok(of_session(&used, Json(at_path(&path, entry)).into_response()))
}
