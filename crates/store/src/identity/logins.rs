//! Logins: what browsers prove themselves with.

use serde_json::json;
use sojourn_domain::{
    id::{LoginId, UserId},
    time::{Elapsed, Timestamp},
};

use super::{Identity, IdentityError, SecretHash, id, roles};
use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
};

/// A user's logins beyond this many end, the oldest first.
const MOST_LOGINS: i64 = 50;

/// A browser's login, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub id: LoginId,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub client_address: String,
    pub user_agent: String,
}

/// A login to be made.
#[derive(Debug, Clone)]
pub struct NewLogin {
    pub id: LoginId,
    pub user: UserId,
    pub secret: SecretHash,
    pub expires_at: Timestamp,
    pub client_address: String,
    pub user_agent: String,
}

/// Who shows a good cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginHolder {
    pub identity: Identity,
    pub login: LoginId,
    pub last_seen_at: Timestamp,
}

/// Inserts a login and ends those that are too many, within an act.
pub(super) async fn insert(act: &mut Act, new: &NewLogin, at: Timestamp) -> Result<(), StoreError> {
    let user = new.user.to_string();
    sqlx::query(
        "INSERT INTO logins (id, user_id, secret_hash, created_at, last_seen_at, expires_at, client_address, \
         user_agent) VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
    )
    .bind(new.id.to_string())
    .bind(&user)
    .bind(new.secret.as_str())
    .bind(at.as_micros())
    .bind(new.expires_at.as_micros())
    .bind(&new.client_address)
    .bind(&new.user_agent)
    .execute(act.connection())
    .await?;
    sqlx::query(
        "DELETE FROM logins WHERE user_id = $1 AND id NOT IN \
         (SELECT id FROM logins WHERE user_id = $1 ORDER BY last_seen_at DESC, id DESC LIMIT $2 + 0)",
    )
    .bind(&user)
    .bind(MOST_LOGINS)
    .execute(act.connection())
    .await?;
    sqlx::query("UPDATE users SET last_login_at = $2 WHERE id = $1")
        .bind(&user)
        .bind(at.as_micros())
        .execute(act.connection())
        .await?;
    Ok(())
}

impl Store {
    pub async fn login_add(&self, new: &NewLogin, by: &By) -> Result<(), IdentityError> {
        let mut act = Act::begin(self).await?;
        insert(&mut act, new, by.at).await?;
        act.commit(by, Deed::done("auth.login", new.user, json!({"login": new.id}))).await?;
        Ok(())
    }

    /// A user's logins that have not ended, the last used first.
    pub async fn logins(&self, of: UserId, now: Timestamp, idle: Elapsed) -> Result<Vec<Login>, StoreError> {
        let rows: Vec<(String, i64, i64, String, String)> = sqlx::query_as(
            "SELECT id, created_at, last_seen_at, client_address, user_agent FROM logins \
             WHERE user_id = $1 AND expires_at > $2 AND last_seen_at > $3 \
             ORDER BY last_seen_at DESC, id DESC LIMIT $4 + 0",
        )
        .bind(of.to_string())
        .bind(now.as_micros())
        .bind((now - idle).as_micros())
        .bind(MOST_LOGINS)
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(text, created_at, last_seen_at, client_address, user_agent)| {
                Ok(Login {
                    id: id(&text)?,
                    created_at: Timestamp::from_micros(created_at),
                    last_seen_at: Timestamp::from_micros(last_seen_at),
                    client_address,
                    user_agent,
                })
            })
            .collect()
    }

    /// Ends one of a user's logins; `false` where the user has none of this id.
    pub async fn login_end(
        &self,
        of: UserId,
        login: LoginId,
        action: &'static str,
        by: &By,
    ) -> Result<bool, IdentityError> {
        let mut act = Act::begin(self).await?;
        let ended = sqlx::query("DELETE FROM logins WHERE id = $1 AND user_id = $2")
            .bind(login.to_string())
            .bind(of.to_string())
            .execute(act.connection())
            .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        act.commit(by, Deed::done(action, of, json!({"login": login}))).await?;
        Ok(true)
    }

    /// Who shows this cookie, if the login has not ended and the user is not disabled.
    pub async fn login_holder(
        &self,
        secret: &SecretHash,
        now: Timestamp,
        idle: Elapsed,
    ) -> Result<Option<LoginHolder>, StoreError> {
        let row: Option<(String, i64, String, String, String, String)> = sqlx::query_as(
            "SELECT logins.id, logins.last_seen_at, users.id, users.name, users.display_name, users.role \
             FROM logins JOIN users ON users.id = logins.user_id \
             WHERE logins.secret_hash = $1 AND logins.expires_at > $2 AND logins.last_seen_at > $3 \
             AND users.disabled = 0",
        )
        .bind(secret.as_str())
        .bind(now.as_micros())
        .bind((now - idle).as_micros())
        .fetch_optional(self.read())
        .await?;
        let Some((login, last_seen_at, user, name, display_name, role)) = row else { return Ok(None) };
        let permissions = roles::permissions(self.read(), &role).await?.unwrap_or_default();
        Ok(Some(LoginHolder {
            identity: Identity { user: id(&user)?, name, display_name, role, permissions },
            login: id(&login)?,
            last_seen_at: Timestamp::from_micros(last_seen_at),
        }))
    }

    /// Notes that a login was used.
    pub async fn login_used(&self, login: LoginId, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE logins SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2")
            .bind(login.to_string())
            .bind(at.as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Forgets logins that have ended.
    pub async fn logins_prune(&self, now: Timestamp, idle: Elapsed) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM logins WHERE expires_at <= $1 OR last_seen_at <= $2")
            .bind(now.as_micros())
            .bind((now - idle).as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }
}
