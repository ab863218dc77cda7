//! The servers that share the database.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, may},
    extract::Json,
    problem::Problem,
    wire::Time,
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list))
}

/// A server.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Node)]
struct NodeBody {
    id: String,
    name: String,
    /// Where the others reach it; empty where they cannot.
    url: String,
    started_at: Time,
    seen_at: Time,
    /// `dead` when it has said nothing for a minute.
    #[schema(pattern = "^(running|stopped|dead)$")]
    state: &'static str,
    #[schema(minimum = 0)]
    live_sessions: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Nodes)]
struct NodeList {
    nodes: Vec<NodeBody>,
}

/// The servers that share the database, by name
#[utoipa::path(
    get, path = "/nodes", tag = "server", operation_id = "list_nodes",
    responses((status = 200, body = NodeList))
)]
async fn list(Allowed { state, .. }: Allowed<may::SettingsManage>) -> Result<Json<NodeList>, Problem> {
    let now = state.now();
    let nodes = state.store.nodes().await?;
    let nodes = nodes
        .into_iter()
        .map(|node| NodeBody {
            state: node.state(now).key(),
            id: node.id.to_string(),
            name: node.name,
            url: node.url,
            started_at: Time(node.started_at),
            seen_at: Time(node.seen_at),
            live_sessions: node.live_sessions,
        })
        .collect();
    Ok(Json(NodeList { nodes }))
}
