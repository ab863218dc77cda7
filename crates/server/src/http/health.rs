//! `/healthz` (the process runs) and `/readyz` (it can do its work).

use axum::http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Routes, actor::Open, extract::Json, problem::Problem};

#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `true`: what is not well answers with a problem.
    ok: bool,
}

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// The process runs
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses((status = 200, body = Health)))]
async fn healthz(_: Open) -> Json<Health> {
    Json(Health { ok: true })
}

/// The server can do its work: the database answers
#[utoipa::path(get, path = "/readyz", tag = "server", security(()), responses((status = 200, body = Health)))]
async fn readyz(Open { state }: Open) -> Result<Json<Health>, Problem> {
    if state.shutdown.is_cancelled() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping")
            .header(header::RETRY_AFTER, 5.into()));
    }
    state.store.ping().await?;
    Ok(Json(Health { ok: true }))
}
