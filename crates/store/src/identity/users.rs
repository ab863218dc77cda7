//! Users.

use serde_json::json;
use sojourn_domain::{
    id::{LoginId, UserId},
    identity::{Line, RoleName, UserName},
    policy::BuiltinRole,
    time::Timestamp,
};
use sqlx::AnyConnection;

use super::{IdentityError, id, roles};
use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub display_name: String,
    pub role: String,
    pub disabled: bool,
    pub created_at: Timestamp,
    pub last_login_at: Option<Timestamp>,
    /// Tokens that are not revoked.
    pub token_count: i64,
}

/// The text that a password hash function made. Prints nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub id: UserId,
    pub name: UserName,
    pub display_name: Line<128>,
    pub role: RoleName,
    pub password: PasswordHash,
}

/// What is to be different about a user.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub display_name: Option<Line<128>>,
    pub role: Option<RoleName>,
    pub disabled: Option<bool>,
    pub password: Option<PasswordHash>,
    /// A new password ends the user's logins, except this one.
    pub keep_login: Option<LoginId>,
}

type Row = (String, String, String, String, i64, i64, Option<i64>, i64);

fn user(row: Row) -> Result<User, StoreError> {
    let (text, name, display_name, role, disabled, created_at, last_login_at, token_count) = row;
    Ok(User {
        id: id(&text)?,
        name,
        display_name,
        role,
        disabled: disabled != 0,
        created_at: Timestamp::from_micros(created_at),
        last_login_at: last_login_at.map(Timestamp::from_micros),
        token_count,
    })
}

async fn by_id(connection: &mut AnyConnection, user_id: UserId) -> Result<Option<User>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, display_name, role, disabled, created_at, last_login_at, \
         (SELECT COUNT(*) FROM tokens WHERE user_id = users.id AND revoked_at IS NULL) FROM users WHERE id = $1",
    )
    .bind(user_id.to_string())
    .fetch_optional(connection)
    .await?;
    row.map(user).transpose()
}

/// Inserts a user whose role exists, within an act.
pub(super) async fn insert(act: &mut Act, new: &NewUser, at: Timestamp) -> Result<(), IdentityError> {
    require_role(act.connection(), &new.role).await?;
    sqlx::query(
        "INSERT INTO users (id, name, name_key, display_name, role, password_hash, disabled, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
    )
    .bind(new.id.to_string())
    .bind(new.name.as_str())
    .bind(new.name.key())
    .bind(new.display_name.as_str())
    .bind(new.role.as_str())
    .bind(&new.password.0)
    .bind(at.as_micros())
    .execute(act.connection())
    .await
    .map_err(|error| match StoreError::from(error) {
        error if error.is_conflict() => IdentityError::NameTaken,
        error => IdentityError::Store(error),
    })?;
    Ok(())
}

async fn require_role(connection: &mut AnyConnection, role: &RoleName) -> Result<(), IdentityError> {
    match roles::permissions(connection, role.as_str()).await? {
        Some(_) => Ok(()),
        None => Err(IdentityError::UnknownRole(role.to_string())),
    }
}

/// Checked after the change, within its act: acts happen one after the other.
async fn require_admin(connection: &mut AnyConnection) -> Result<(), IdentityError> {
    let (admins,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM users WHERE role = $1 AND disabled = 0")
        .bind(BuiltinRole::Admin.name())
        .fetch_one(connection)
        .await?;
    if admins == 0 { Err(IdentityError::LastAdmin) } else { Ok(()) }
}

fn is_acting_admin(user: &User) -> bool {
    user.role == BuiltinRole::Admin.name() && !user.disabled
}

impl Store {
    pub async fn user_add(&self, new: &NewUser, by: &By) -> Result<User, IdentityError> {
        let mut act = Act::begin(self).await?;
        insert(&mut act, new, by.at).await?;
        let detail = json!({"name": new.name.as_str(), "role": new.role.as_str()});
        act.commit(by, Deed::done("user.create", new.id, detail)).await?;
        Ok(User {
            id: new.id,
            name: new.name.to_string(),
            display_name: new.display_name.to_string(),
            role: new.role.to_string(),
            disabled: false,
            created_at: by.at,
            last_login_at: None,
            token_count: 0,
        })
    }

    /// Users by name, and how many there are in all.
    pub async fn users(&self, limit: i64, offset: i64) -> Result<(Vec<User>, i64), StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, name, display_name, role, disabled, created_at, last_login_at, \
             (SELECT COUNT(*) FROM tokens WHERE user_id = users.id AND revoked_at IS NULL) \
             FROM users ORDER BY name_key LIMIT $1 + 0 OFFSET $2 + 0",
        )
        .bind(limit)
        .bind(offset)
        .fetch_all(self.read())
        .await?;
        let (total,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM users").fetch_one(self.read()).await?;
        Ok((rows.into_iter().map(user).collect::<Result<_, _>>()?, total))
    }

    pub async fn user(&self, user_id: UserId) -> Result<Option<User>, StoreError> {
        let mut connection = self.read().acquire().await?;
        by_id(&mut connection, user_id).await
    }

    pub async fn user_by_name(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        let mut connection = self.read().acquire().await?;
        let row: Option<(String,)> = sqlx::query_as("SELECT id FROM users WHERE name_key = $1")
            .bind(name.key())
            .fetch_optional(&mut *connection)
            .await?;
        match row {
            Some((text,)) => by_id(&mut connection, id(&text)?).await,
            None => Ok(None),
        }
    }

    /// What the user's password is compared with; `None` where there is no such user, or none that
    /// may log in with a password.
    pub async fn user_password(&self, user_id: UserId) -> Result<Option<PasswordHash>, StoreError> {
        let row: Option<(Option<String>,)> = sqlx::query_as("SELECT password_hash FROM users WHERE id = $1")
            .bind(user_id.to_string())
            .fetch_optional(self.read())
            .await?;
        Ok(row.and_then(|(hash,)| hash).map(PasswordHash))
    }

    /// Changes a user; `None` where there is none. Who is disabled loses all logins at once.
    pub async fn user_change(
        &self,
        user_id: UserId,
        change: &UserChange,
        by: &By,
    ) -> Result<Option<User>, IdentityError> {
        let mut act = Act::begin(self).await?;
        let Some(before) = by_id(act.connection(), user_id).await? else { return Ok(None) };
        if let Some(role) = &change.role {
            require_role(act.connection(), role).await?;
        }
        let role = change.role.as_ref().map_or(before.role.as_str(), RoleName::as_str);
        let disabled = change.disabled.unwrap_or(before.disabled);
        let display_name = change.display_name.as_ref().map_or(before.display_name.as_str(), Line::as_str);
        sqlx::query(
            "UPDATE users SET display_name = $2, role = $3, disabled = $4, \
             password_hash = COALESCE(CAST($5 AS TEXT), password_hash) WHERE id = $1",
        )
        .bind(user_id.to_string())
        .bind(display_name)
        .bind(role)
        .bind(i64::from(disabled))
        .bind(change.password.as_ref().map(|hash| hash.0.as_str()))
        .execute(act.connection())
        .await?;
        if is_acting_admin(&before) {
            require_admin(act.connection()).await?;
        }
        if disabled || change.password.is_some() {
            sqlx::query("DELETE FROM logins WHERE user_id = $1 AND id <> $2")
                .bind(user_id.to_string())
                .bind(
                    change
                        .keep_login
                        .filter(|_| !disabled)
                        .map(|login| login.to_string())
                        .unwrap_or_default(),
                )
                .execute(act.connection())
                .await?;
        }
        let mut detail = serde_json::Map::new();
        detail.insert("name".to_owned(), json!(before.name));
        let mut changed = |field: &str, from: serde_json::Value, to: serde_json::Value| {
            if from != to {
                detail.insert(field.to_owned(), json!({"from": from, "to": to}));
            }
        };
        changed("displayName", json!(before.display_name), json!(display_name));
        changed("role", json!(before.role), json!(role));
        changed("disabled", json!(before.disabled), json!(disabled));
        if change.password.is_some() {
            detail.insert("password".to_owned(), json!("changed"));
        }
        let after = by_id(act.connection(), user_id).await?;
        act.commit(by, Deed::done("user.change", user_id, detail.into())).await?;
        Ok(after)
    }

    /// Removes a user with all tokens and logins; `false` where there is none.
    pub async fn user_remove(&self, user_id: UserId, by: &By) -> Result<bool, IdentityError> {
        let mut act = Act::begin(self).await?;
        let Some(before) = by_id(act.connection(), user_id).await? else { return Ok(false) };
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(user_id.to_string())
            .execute(act.connection())
            .await?;
        sqlx::query("DELETE FROM connection_grants WHERE grantee_kind = 'user' AND grantee = $1")
            .bind(user_id.to_string())
            .execute(act.connection())
            .await?;
        if is_acting_admin(&before) {
            require_admin(act.connection()).await?;
        }
        let detail = json!({"name": before.name, "role": before.role});
        act.commit(by, Deed::done("user.delete", user_id, detail)).await?;
        Ok(true)
    }
}
