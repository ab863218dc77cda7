//! The commands of an access session.

use axum::response::Response;
use serde::Deserialize;
use sojourn_store::StoreError;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::Known,
    extract::{Path, Query},
    problem::Problem,
    sessions::{seen, text, visibility},
    wire::{
        access::{CommandBody, Commands},
        streamed::{self, Items},
    },
};

/// Commands that are read at once.
const CHUNK: i64 = 500;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(of_session))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// Text in the command or in what it showed.
    #[param(max_length = 500)]
    q: Option<String>,
}

/// The commands that were run in a session, in their order
#[utoipa::path(
    get, path = "/sessions/{id}/commands", tag = "sessions", operation_id = "list_commands",
    params(
        ("id" = String, Path, description = "The session's id", pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        SearchQuery,
    ),
    responses((status = 200, body = Commands))
)]
async fn of_session(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Query(query): Query<SearchQuery>,
) -> Result<Response, Problem> {
    let session = seen(&state, &actor, &id).await?;
    let visibility = visibility(&actor)?;
    let q = text(query.q)?;
    streamed::list("{\"commands\":[", "]}", None, move |after| {
        let (state, q) = (state.clone(), q.clone());
        async move {
            let commands =
                state.store.commands(visibility, session.id, q.as_deref(), after.as_ref(), CHUNK).await?;
            let next = (i64::try_from(commands.len()).unwrap_or(CHUNK) == CHUNK)
                .then(|| commands.last().cloned())
                .flatten();
            let mut items = Items::default();
            for command in commands {
                items.push(&CommandBody::from(command))?;
            }
            Ok::<_, StoreError>((items, next.map(Some)))
        }
    })
    .await
}
