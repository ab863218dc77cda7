//! Removing files and folders.

use std::collections::BTreeSet;

use axum::{extract::RawQuery, http::HeaderMap, response::Response};
use sojourn_domain::id::ConnectionId;
use sojourn_gateway::files::RemotePath;
use utoipa_axum::routes;

use super::{
    open::{enter, of_session},
    progress,
    walk::{self, Work},
};
use crate::http::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    wire::files::{DeleteRequest, ProgressLine},
};

/// Paths in one request.
const MOST: usize = 10_000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(delete))
}

/// Delete
///
/// The answer is one line of progress after the other (`application/x-ndjson`): what could not be deleted has a line
/// with `error` and `code`, and the last line has `finished`. Closing the connection stops it. Links are removed and never
/// followed.
#[utoipa::path(
    post, path = "/files/{connection}/delete", tag = "files", operation_id = "delete_files",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = DeleteRequest,
    responses(
        (status = 200, body = ProgressLine, content_type = "application/x-ndjson", description = "How far it has come"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "A password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn delete(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<DeleteRequest>,
) -> Result<Response, Problem> {
    if request.paths.is_empty() || request.paths.len() > MOST {
        return Err(Problem::invalid("paths", format!("expected 1 to {MOST} paths")));
    }
    let mut paths = Vec::with_capacity(request.paths.len());
    for (at, path) in request.paths.iter().enumerate() {
        let path = path.read(&format!("paths[{at}]"))?;
        if path.is_root() {
            return Err(Problem::invalid(format!("paths[{at}]"), "the root itself is not deleted"));
        }
        paths.push(path);
    }
    let paths = if request.recursive { outermost(paths) } else { paths };
    let used = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let kept = used.clone();
    let answer = progress::answer(move |lines| async move {
        let done = walk::each(used.session.clone(), paths, request.recursive, Work::Delete, lines).await;
        drop(used);
        done
    });
    Ok(of_session(&kept, answer))
}

/// Each path once, and none that lies in another: it goes with that one.
fn outermost(paths: Vec<RemotePath>) -> Vec<RemotePath> {
    let all: BTreeSet<RemotePath> = paths.into_iter().collect();
    let lies_in_another = |path: &RemotePath| {
        std::iter::successors(path.parent(), RemotePath::parent).any(|folder| all.contains(&folder))
    };
    all.iter().filter(|path| !lies_in_another(path)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_another_goes_with_it() {
        let of = |texts: &[&str]| {
            let paths = texts.iter().map(|text| text.parse().unwrap()).collect();
            outermost(paths).iter().map(RemotePath::display).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/a/b", "/a", "/ab", "/a", "/c/d"]), ["/a", "/ab", "/c/d"]);
    }
}
