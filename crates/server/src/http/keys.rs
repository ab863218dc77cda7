//! The public keys with which users log in over SSH: one's own, or with `users.manage` anybody's.
//!
//! A key lets its holder do all that the user may: nobody adds or removes one who may not do all
//! of that already, and no token with a subset does.

use axum::http::StatusCode;
use sojourn_domain::{
    id::{PublicKeyId, UserId},
    policy::Permission,
};
use sojourn_gateway::keys::public_key;
use sojourn_store::{identity::User, public_keys::NewPublicKey};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Known},
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    users::outranks,
    wire::{
        access::{KeyBody, Keys, NewKeyRequest},
        values::Done,
    },
};
use crate::state::AppState;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list, add)).routes(routes!(remove))
}

/// The user whose keys are meant, if they are the caller's business.
async fn holder(state: &AppState, actor: &Actor, id: UserId) -> Result<User, Problem> {
    if id != actor.user && !actor.may(Permission::UsersManage) {
        return Err(Problem::hidden("such user"));
    }
    state.store.user(id).await?.ok_or_else(|| Problem::not_found("such user"))
}

/// A user's public keys, oldest first
#[utoipa::path(
    get, path = "/users/{id}/keys", tag = "users", operation_id = "list_keys",
    params(("id" = String, Path, description = "The user's id", pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = Keys))
)]
async fn list(Known { state, actor }: Known, Path(id): Path<UserId>) -> Result<Json<Keys>, Problem> {
    let user = holder(&state, &actor, id).await?;
    let keys = state.store.public_keys(user.id).await?;
    Ok(Json(Keys { keys: keys.into_iter().map(KeyBody::from).collect() }))
}

/// Add a public key
#[utoipa::path(
    post, path = "/users/{id}/keys", tag = "users", operation_id = "add_key",
    params(("id" = String, Path, description = "The user's id", pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = NewKeyRequest,
    responses(
        (status = 201, body = KeyBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The user has the key, or too many"),
    )
)]
async fn add(
    Known { state, actor }: Known,
    Path(id): Path<UserId>,
    Json(request): Json<NewKeyRequest>,
) -> Result<(StatusCode, Json<KeyBody>), Problem> {
    let user = holder(&state, &actor, id).await?;
    outranks(&state, &actor, &user).await?;
    let key =
        public_key(&request.public_key).map_err(|error| Problem::invalid("publicKey", error.to_string()))?;
    let now = state.now();
    let label = match request.label {
        Some(label) => label,
        // What a comment is, only its writer knows.
        None => key.comment.parse().unwrap_or_default(),
    };
    let new = NewPublicKey {
        id: state.entropy.id(now),
        user: user.id,
        label,
        fingerprint: key.fingerprint,
        text: key.text,
    };
    let added = state.store.public_key_add(&new, &actor.by(now)).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Remove a public key
#[utoipa::path(
    delete, path = "/users/{id}/keys/{keyId}", tag = "users", operation_id = "remove_key",
    params(
        ("id" = String, Path, description = "The user's id", pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("keyId" = String, Path, description = "The key's id", pattern = "^key_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
    ),
    responses((status = 200, body = Done))
)]
async fn remove(
    Known { state, actor }: Known,
    Path((id, key)): Path<(UserId, PublicKeyId)>,
) -> Result<Json<Done>, Problem> {
    let user = holder(&state, &actor, id).await?;
    outranks(&state, &actor, &user).await?;
    if state.store.public_key_remove(user.id, key, &actor.by(state.now())).await? {
        Ok(Json(Done::OK))
    } else {
        Err(Problem::not_found("such key"))
    }
}
