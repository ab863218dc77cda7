//! Users, roles, tokens and logins.

use super::{Routes, actor::Actor, client::Client, problem::Problem};
use crate::state::AppState;

pub(super) fn router() -> Routes {
    Routes::new()
}

/// The actor behind a token's secret.
pub(super) async fn by_token(_: &AppState, _: &str, _: Client) -> Result<Option<Actor>, Problem> {
    Ok(None)
}

/// The actor behind a browser's cookie.
pub(super) async fn by_login(_: &AppState, _: &str, _: Client) -> Result<Option<Actor>, Problem> {
    Ok(None)
}
