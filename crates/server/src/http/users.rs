//! Users. Nobody makes, changes or removes somebody who may do more than they may themselves.

use axum::http::StatusCode;
use serde::Deserialize;
use sojourn_domain::{
    id::UserId,
    identity::RoleName,
    policy::{Permission, Permissions},
};
use sojourn_store::identity::{NewUser, User, UserChange};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Allowed, may},
    extract::{Json, Path, Query},
    page::Page,
    problem::{Problem, ProblemBody},
    wire::{
        identity::{NewUserRequest, UserBody, UserPatch, Users},
        values::Done,
    },
};
use crate::state::AppState;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(show, change, remove))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<u32>,
    /// More than 1000 are not sent at once.
    #[param(minimum = 1, maximum = 4_294_967_295_i64)]
    limit: Option<u32>,
}

/// Users, by name
#[utoipa::path(
    get, path = "/users", tag = "users", operation_id = "list_users",
    params(ListQuery),
    responses((status = 200, body = Users))
)]
async fn list(
    Allowed { state, .. }: Allowed<may::UsersManage>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Users>, Problem> {
    let page = Page::new(query.page, query.limit, 100, 1000)?;
    let (users, total) = state.store.users(i64::from(page.limit), page.offset()).await?;
    let users = users.into_iter().map(UserBody::from).collect();
    Ok(Json(Users { users, page: page.number, limit: page.limit, total }))
}

/// Make a user
#[utoipa::path(
    post, path = "/users", tag = "users", operation_id = "create_user",
    request_body = NewUserRequest,
    responses(
        (status = 201, body = UserBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The name is taken"),
    )
)]
async fn create(
    Allowed { state, actor, .. }: Allowed<may::UsersManage>,
    Json(request): Json<NewUserRequest>,
) -> Result<(StatusCode, Json<UserBody>), Problem> {
    within_own(&actor, &granted(&state, &request.role).await?)?;
    let now = state.now();
    let new = NewUser {
        id: state.entropy.id(now),
        name: request.name,
        display_name: request.display_name.unwrap_or_default(),
        role: request.role,
        password: state.passwords.hash(request.password).await?,
    };
    let user = state.store.user_add(&new, &actor.by(now)).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// A user
#[utoipa::path(
    get, path = "/users/{id}", tag = "users", operation_id = "show_user",
    params(("id" = String, Path, description = "The user's id", pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = UserBody))
)]
async fn show(
    Allowed { state, .. }: Allowed<may::UsersManage>,
    Path(id): Path<UserId>,
) -> Result<Json<UserBody>, Problem> {
    let user = state.store.user(id).await?.ok_or_else(no_such_user)?;
    Ok(Json(user.into()))
}

/// Change a user
///
/// A new role counts from the next request on. Who is disabled loses all logins, and tokens do not
/// work until enabled again. A new password ends all logins.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", operation_id = "change_user",
    params(("id" = String, Path, description = "The user's id", pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = UserPatch,
    responses(
        (status = 200, body = UserBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The last administrator stays"),
    )
)]
async fn change(
    Allowed { state, actor, .. }: Allowed<may::UsersManage>,
    Path(id): Path<UserId>,
    Json(request): Json<UserPatch>,
) -> Result<Json<UserBody>, Problem> {
    let user = state.store.user(id).await?.ok_or_else(no_such_user)?;
    outranks(&state, &actor, &user).await?;
    if let Some(role) = &request.role {
        within_own(&actor, &granted(&state, role).await?)?;
    }
    let password = match request.password {
        Some(password) => Some(state.passwords.hash(password).await?),
        None => None,
    };
    let change = UserChange {
        display_name: request.display_name,
        role: request.role,
        disabled: request.disabled,
        password,
        keep_login: None,
    };
    let user =
        state.store.user_change(id, &change, &actor.by(state.now())).await?.ok_or_else(no_such_user)?;
    Ok(Json(user.into()))
}

/// Remove a user, with all tokens and logins
///
/// What the user did stays in the audit trail.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", operation_id = "remove_user",
    params(("id" = String, Path, description = "The user's id", pattern = "^user_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses(
        (status = 200, body = Done),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The last administrator stays"),
    )
)]
async fn remove(
    Allowed { state, actor, .. }: Allowed<may::UsersManage>,
    Path(id): Path<UserId>,
) -> Result<Json<Done>, Problem> {
    let user = state.store.user(id).await?.ok_or_else(no_such_user)?;
    outranks(&state, &actor, &user).await?;
    if state.store.user_remove(id, &actor.by(state.now())).await? {
        Ok(Json(Done::OK))
    } else {
        Err(no_such_user())
    }
}

fn no_such_user() -> Problem {
    Problem::not_found("such user")
}

/// What a role allows; a role that does not exist is a wrong value.
async fn granted(state: &AppState, role: &RoleName) -> Result<Permissions, Problem> {
    let granted = state.store.role_permissions(role.as_str()).await?;
    granted.ok_or_else(|| Problem::invalid("role", format!("there is no role {:?}", role.as_str())))
}

pub(super) async fn outranks(state: &AppState, actor: &Actor, user: &User) -> Result<(), Problem> {
    let granted = state.store.role_permissions(&user.role).await?.unwrap_or_default();
    within_own(actor, &granted)
}

/// Nobody gives, or takes from others, what they do not have themselves.
pub(super) fn within_own(actor: &Actor, permissions: &Permissions) -> Result<(), Problem> {
    let beyond: Vec<&str> =
        permissions.difference(&actor.permissions).copied().map(Permission::key).collect();
    if beyond.is_empty() {
        return Ok(());
    }
    Err(Problem::forbidden(
        "beyond_own_permissions",
        format!("this concerns permissions that you do not have: {}", beyond.join(", ")),
    ))
}
