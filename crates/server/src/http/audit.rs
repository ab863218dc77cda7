//! Reading the audit trail. There is no way to change it.

use serde::Deserialize;
use sojourn_store::audit::{AuditFilter, Outcome};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Query},
    page::Page,
    problem::Problem,
    wire::{
        identity::{AuditEntryBody, AuditPage},
        values::read_time,
    },
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list))
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AuditOutcome {
    Done,
    Refused,
    Failed,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<u32>,
    /// More than 1000 are not sent at once.
    #[param(minimum = 1, maximum = 4_294_967_295_i64)]
    limit: Option<u32>,
    /// A user's name or id.
    actor: Option<String>,
    /// An action such as `user.create`, or the noun before its dot.
    action: Option<String>,
    #[param(inline)]
    outcome: Option<AuditOutcome>,
    /// At or after this time.
    from: Option<String>,
    /// Before this time.
    to: Option<String>,
    /// Text somewhere in the entry.
    q: Option<String>,
}

/// The audit trail, newest first
#[utoipa::path(
    get, path = "/audit", tag = "audit", operation_id = "list_audit",
    params(ListQuery),
    responses((status = 200, body = AuditPage))
)]
async fn list(
    Allowed { state, .. }: Allowed<may::AuditView>,
    Query(query): Query<ListQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let page = Page::new(query.page, query.limit, 100, 1000)?;
    let time = |field: &str, text: &Option<String>| {
        text.as_deref().map(|text| read_time(field, text, &state.zone)).transpose()
    };
    let filter = AuditFilter {
        from: time("from", &query.from)?,
        to: time("to", &query.to)?,
        actor: query.actor,
        action: query.action,
        outcome: query.outcome.map(|outcome| match outcome {
            AuditOutcome::Done => Outcome::Done,
            AuditOutcome::Refused => Outcome::Refused,
            AuditOutcome::Failed => Outcome::Failed,
        }),
        q: query.q,
    };
    let (entries, total) = state.store.audit_list(&filter, i64::from(page.limit), page.offset()).await?;
    Ok(Json(AuditPage {
        entries: entries.into_iter().map(AuditEntryBody::from).collect(),
        page: page.number,
        limit: page.limit,
        total,
        head: state.store.audit_head().await?.into(),
    }))
}
