//! Roles: three that are built in and are no rows, and those that people make.

use serde_json::json;
use sojourn_domain::{
    identity::{Line, RoleName},
    policy::{BuiltinRole, Permissions},
};
use sqlx::{Any, AnyConnection, Executor};

use super::{IdentityError, keys, known};
use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
};

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub description: String,
    pub builtin: bool,
    pub permissions: Permissions,
    pub user_count: i64,
}

fn builtin(name: &str) -> Option<BuiltinRole> {
    BuiltinRole::ALL.iter().copied().find(|role| role.name() == name)
}

/// What a role allows; `None` where there is no such role.
pub(crate) async fn permissions(
    executor: impl Executor<'_, Database = Any>,
    name: &str,
) -> Result<Option<Permissions>, StoreError> {
    if let Some(role) = builtin(name) {
        return Ok(Some(role.permissions()));
    }
    let rows: Vec<(Option<String>,)> = sqlx::query_as(
        "SELECT role_permissions.permission FROM roles \
         LEFT JOIN role_permissions ON role_permissions.role = roles.name WHERE roles.name = $1",
    )
    .bind(name)
    .fetch_all(executor)
    .await?;
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(known(rows.iter().filter_map(|(key,)| key.as_deref()))))
}

async fn set_permissions(
    connection: &mut AnyConnection,
    name: &RoleName,
    permissions: &Permissions,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM role_permissions WHERE role = $1")
        .bind(name.as_str())
        .execute(&mut *connection)
        .await?;
    for key in keys(permissions) {
        sqlx::query("INSERT INTO role_permissions (role, permission) VALUES ($1, $2)")
            .bind(name.as_str())
            .bind(key)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl Store {
    /// What a role allows; `None` where there is no such role.
    pub async fn role_permissions(&self, name: &str) -> Result<Option<Permissions>, StoreError> {
        permissions(self.read(), name).await
    }

    /// All roles: the built-in ones first, then by name.
    pub async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        let counts: Vec<(String, i64)> =
            sqlx::query_as("SELECT role, COUNT(*) FROM users GROUP BY role").fetch_all(self.read()).await?;
        let count = |name: &str| counts.iter().find(|(role, _)| role == name).map_or(0, |(_, count)| *count);
        let mut roles: Vec<Role> = BuiltinRole::ALL
            .iter()
            .map(|role| Role {
                name: role.name().to_owned(),
                description: role.description().to_owned(),
                builtin: true,
                permissions: role.permissions(),
                user_count: count(role.name()),
            })
            .collect();
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, description FROM roles ORDER BY name")
            .fetch_all(self.read())
            .await?;
        let granted: Vec<(String, String)> =
            sqlx::query_as("SELECT role, permission FROM role_permissions").fetch_all(self.read()).await?;
        roles.extend(rows.into_iter().map(|(name, description)| Role {
            permissions: known(granted.iter().filter(|(role, _)| *role == name).map(|(_, key)| key.as_str())),
            user_count: count(&name),
            builtin: false,
            name,
            description,
        }));
        Ok(roles)
    }

    /// One role.
    pub async fn role(&self, name: &str) -> Result<Option<Role>, StoreError> {
        Ok(self.roles().await?.into_iter().find(|role| role.name == name))
    }

    pub async fn role_add(
        &self,
        name: &RoleName,
        description: &Line<256>,
        permissions: &Permissions,
        by: &By,
    ) -> Result<Role, IdentityError> {
        if builtin(name.as_str()).is_some() {
            return Err(IdentityError::RoleTaken);
        }
        let mut act = Act::begin(self).await?;
        sqlx::query("INSERT INTO roles (name, description, created_at) VALUES ($1, $2, $3)")
            .bind(name.as_str())
            .bind(description.as_str())
            .bind(by.at.as_micros())
            .execute(act.connection())
            .await
            .map_err(|error| match StoreError::from(error) {
                error if error.is_conflict() => IdentityError::RoleTaken,
                error => IdentityError::Store(error),
            })?;
        set_permissions(act.connection(), name, permissions).await?;
        act.commit(by, Deed::done("role.create", name, json!({"permissions": keys(permissions)}))).await?;
        Ok(Role {
            name: name.to_string(),
            description: description.to_string(),
            builtin: false,
            permissions: permissions.clone(),
            user_count: 0,
        })
    }

    /// Changes a role; `None` where there is none.
    pub async fn role_change(
        &self,
        name: &RoleName,
        description: Option<&Line<256>>,
        permissions: Option<&Permissions>,
        by: &By,
    ) -> Result<Option<Role>, IdentityError> {
        if builtin(name.as_str()).is_some() {
            return Err(IdentityError::BuiltinRole);
        }
        let mut act = Act::begin(self).await?;
        let changed = sqlx::query(
            "UPDATE roles SET description = COALESCE(CAST($2 AS TEXT), description) WHERE name = $1",
        )
        .bind(name.as_str())
        .bind(description.map(Line::as_str))
        .execute(act.connection())
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(None);
        }
        let mut detail = serde_json::Map::new();
        if let Some(description) = description {
            detail.insert("description".to_owned(), json!(description.as_str()));
        }
        if let Some(permissions) = permissions {
            set_permissions(act.connection(), name, permissions).await?;
            detail.insert("permissions".to_owned(), json!(keys(permissions)));
        }
        act.commit(by, Deed::done("role.change", name, detail.into())).await?;
        Ok(self.role(name.as_str()).await?)
    }

    /// Removes a role that nobody has; `false` where there is none.
    pub async fn role_remove(&self, name: &RoleName, by: &By) -> Result<bool, IdentityError> {
        if builtin(name.as_str()).is_some() {
            return Err(IdentityError::BuiltinRole);
        }
        let mut act = Act::begin(self).await?;
        let (users,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM users WHERE role = $1")
            .bind(name.as_str())
            .fetch_one(act.connection())
            .await?;
        if users > 0 {
            return Err(IdentityError::RoleInUse(users));
        }
        let removed = sqlx::query("DELETE FROM roles WHERE name = $1")
            .bind(name.as_str())
            .execute(act.connection())
            .await?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        // A later role of the same name must not inherit what was shared with this one.
        sqlx::query("DELETE FROM connection_grants WHERE grantee_kind = 'role' AND grantee = $1")
            .bind(name.as_str())
            .execute(act.connection())
            .await?;
        act.commit(by, Deed::done("role.delete", name, json!({}))).await?;
        Ok(true)
    }
}
