//! Tokens of one's own; those who manage users see and revoke all.
//!
//! A token makes no token that may do more, or lasts longer, than itself.

use axum::http::StatusCode;
use serde::Deserialize;
use sojourn_domain::{
    id::TokenId,
    policy::{Permission, Permissions},
    time::{Elapsed, Timestamp},
};
use sojourn_store::identity::{NewToken, SecretHash, Token};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Credential, Known},
    auth::{TOKEN_PREFIX, new_secret},
    extract::{Json, Path, Query},
    problem::Problem,
    users::within_own,
    wire::{
        identity::{self as wire, NewTokenRequest, TokenBody, Tokens, permissions},
        values::{Done, read_time},
    },
};
use crate::state::AppState;

/// More tokens are not listed.
const MOST_LISTED: i64 = 1000;
/// A hundred years.
const LONGEST_SECONDS: u64 = 3_155_760_000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Everybody's; needs `users.manage`.
    all: Option<bool>,
}

/// Tokens, newest first
#[utoipa::path(
    get, path = "/tokens", tag = "users", operation_id = "list_tokens",
    params(ListQuery),
    responses((status = 200, body = Tokens))
)]
async fn list(
    Known { state, actor }: Known,
    Query(query): Query<ListQuery>,
) -> Result<Json<Tokens>, Problem> {
    let of = if query.all == Some(true) {
        actor.require(Permission::UsersManage)?;
        None
    } else {
        Some(actor.user)
    };
    let tokens = state.store.tokens(of, MOST_LISTED).await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(TokenBody::from).collect() }))
}

/// Make a token for oneself
///
/// The secret is in the answer and cannot be had again.
#[utoipa::path(
    post, path = "/tokens", tag = "users", operation_id = "create_token",
    request_body = NewTokenRequest,
    responses((status = 201, body = wire::NewToken))
)]
async fn create(
    Known { state, actor }: Known,
    Json(request): Json<NewTokenRequest>,
) -> Result<(StatusCode, Json<wire::NewToken>), Problem> {
    if request.label.as_str().trim().is_empty() {
        return Err(Problem::invalid("label", "say what the token is for"));
    }
    let now = state.now();
    let expires_at = within_own_time(&actor, expiry(&state, &request, now)?)?;
    let permissions = subset(&actor, request.permissions.as_deref().map(permissions))?;
    let secret = new_secret(TOKEN_PREFIX, state.entropy);
    let new = NewToken {
        id: state.entropy.id(now),
        user: actor.user,
        label: request.label,
        secret: SecretHash::of(&secret),
        permissions,
        expires_at,
    };
    state.store.token_add(&new, &actor.by(now)).await?;
    let token = Token {
        id: new.id,
        label: new.label.into_string(),
        user: actor.user,
        user_name: actor.name,
        permissions: new.permissions,
        created_at: now,
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    Ok((StatusCode::CREATED, Json(wire::NewToken::new(secret, token.into()))))
}

fn expiry(state: &AppState, request: &NewTokenRequest, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    match (request.expires_in_seconds, &request.expires_at) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::invalid("expiresAt", "give either this or expiresInSeconds")),
        (Some(seconds), None) => {
            let seconds =
                i64::try_from(seconds).ok().filter(|&s| s >= 1 && s.unsigned_abs() <= LONGEST_SECONDS);
            let seconds = seconds.ok_or_else(|| {
                Problem::invalid("expiresInSeconds", format!("expected 1 to {LONGEST_SECONDS}"))
            })?;
            Ok(Some(now + Elapsed::from_secs(seconds)))
        }
        (None, Some(text)) => {
            let at = read_time("expiresAt", text, &state.zone)?;
            if at <= now {
                return Err(Problem::invalid("expiresAt", "expected a time to come"));
            }
            Ok(Some(at))
        }
    }
}

/// A token that ends makes none that outlives it.
fn within_own_time(actor: &Actor, expires_at: Option<Timestamp>) -> Result<Option<Timestamp>, Problem> {
    let Credential::Token { expires_at: Some(own), .. } = actor.credential else { return Ok(expires_at) };
    match expires_at {
        Some(at) if at <= own => Ok(Some(at)),
        Some(_) | None => Err(Problem::forbidden(
            "beyond_own_time",
            format!("a token cannot make one that outlives it: give an expiresAt up to {}", own.rfc3339()),
        )),
    }
}

/// A token with a subset makes none with more.
fn subset(actor: &Actor, asked: Option<Permissions>) -> Result<Option<Permissions>, Problem> {
    if let Some(permissions) = asked {
        within_own(actor, &permissions)?;
        return Ok(Some(permissions));
    }
    match actor.credential {
        Credential::Token { limited: true, .. } => Ok(Some(actor.permissions.clone())),
        Credential::Token { limited: false, .. } | Credential::Login(_) => Ok(None),
    }
}

/// Revoke a token
///
/// It stops working at once. One's own, or with `users.manage` anybody's.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "users", operation_id = "revoke_token",
    params(("id" = String, Path, description = "The token's id", pattern = "^token_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = Done))
)]
async fn revoke(Known { state, actor }: Known, Path(id): Path<TokenId>) -> Result<Json<Done>, Problem> {
    let token = state.store.token(id).await?.ok_or_else(no_such_token)?;
    if token.user != actor.user && !actor.may(Permission::UsersManage) {
        return Err(Problem::hidden("such token"));
    }
    // Revoking what is revoked changes nothing.
    state.store.token_revoke(id, &actor.by(state.now())).await?;
    Ok(Json(Done::OK))
}

fn no_such_token() -> Problem {
    Problem::not_found("such token")
}
