//! Roles. Nobody grants, or takes away, permissions that they do not have themselves.

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use sojourn_domain::{identity::RoleName, policy::Permission};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, Gate, Known, may},
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    users::within_own,
    wire::{
        identity::{NewRoleRequest, RoleBody, RolePatch, Roles, permissions},
        values::Done,
    },
};
use crate::state::AppState;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list, create)).routes(routes!(change, remove))
}

/// Somebody who may see roles: those who manage them, and those who give them to users.
struct RolesReader {
    state: AppState,
}

impl FromRequestParts<Gate> for RolesReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Gate) -> Result<Self, Problem> {
        let Known { state, actor } = Known::from_request_parts(parts, gate).await?;
        if !actor.may(Permission::UsersManage) {
            actor.require(Permission::RolesManage)?;
        }
        Ok(Self { state })
    }
}

/// Roles, the built-in ones first, and all permissions that there are
///
/// Needs `roles.manage` or `users.manage`.
#[utoipa::path(
    get, path = "/roles", tag = "users", operation_id = "list_roles",
    responses((status = 200, body = Roles))
)]
async fn list(RolesReader { state }: RolesReader) -> Result<Json<Roles>, Problem> {
    Ok(Json(Roles::new(state.store.roles().await?)))
}

/// Make a role
#[utoipa::path(
    post, path = "/roles", tag = "users", operation_id = "create_role",
    request_body = NewRoleRequest,
    responses(
        (status = 201, body = RoleBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The name is taken"),
    )
)]
async fn create(
    Allowed { state, actor, .. }: Allowed<may::RolesManage>,
    Json(request): Json<NewRoleRequest>,
) -> Result<(StatusCode, Json<RoleBody>), Problem> {
    let permissions = permissions(&request.permissions);
    within_own(&actor, &permissions)?;
    let description = request.description.unwrap_or_default();
    let role =
        state.store.role_add(&request.name, &description, &permissions, &actor.by(state.now())).await?;
    Ok((StatusCode::CREATED, Json(role.into())))
}

/// Change a role
///
/// Counts from the next request on, for everybody who has it.
#[utoipa::path(
    patch, path = "/roles/{name}", tag = "users", operation_id = "change_role",
    params(("name" = String, Path, description = "The role's name", pattern = "^[a-z][a-z0-9_-]{0,31}$")),
    request_body = RolePatch,
    responses(
        (status = 200, body = RoleBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "Built-in roles stay as they are"),
    )
)]
async fn change(
    Allowed { state, actor, .. }: Allowed<may::RolesManage>,
    Path(name): Path<RoleName>,
    Json(request): Json<RolePatch>,
) -> Result<Json<RoleBody>, Problem> {
    let before = state.store.role_permissions(name.as_str()).await?.ok_or_else(no_such_role)?;
    within_own(&actor, &before)?;
    let permissions = request.permissions.as_deref().map(permissions);
    if let Some(permissions) = &permissions {
        within_own(&actor, permissions)?;
    }
    let by = actor.by(state.now());
    let role =
        state.store.role_change(&name, request.description.as_ref(), permissions.as_ref(), &by).await?;
    Ok(Json(role.ok_or_else(no_such_role)?.into()))
}

/// Remove a role that nobody has
#[utoipa::path(
    delete, path = "/roles/{name}", tag = "users", operation_id = "remove_role",
    params(("name" = String, Path, description = "The role's name", pattern = "^[a-z][a-z0-9_-]{0,31}$")),
    responses(
        (status = 200, body = Done),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "It is built in, or users have it"),
    )
)]
async fn remove(
    Allowed { state, actor, .. }: Allowed<may::RolesManage>,
    Path(name): Path<RoleName>,
) -> Result<Json<Done>, Problem> {
    let before = state.store.role_permissions(name.as_str()).await?.ok_or_else(no_such_role)?;
    within_own(&actor, &before)?;
    if state.store.role_remove(&name, &actor.by(state.now())).await? {
        Ok(Json(Done::OK))
    } else {
        Err(no_such_role())
    }
}

fn no_such_role() -> Problem {
    Problem::not_found("such role")
}
