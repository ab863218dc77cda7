//! Tokens: what programs prove themselves with, each of one user.

use serde_json::json;
use sojourn_domain::{
    id::{TokenId, UserId},
    identity::Line,
    policy::Permissions,
    time::Timestamp,
};

use super::{Identity, IdentityError, SecretHash, id, keys, known, roles};
use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
};

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub label: String,
    pub user: UserId,
    pub user_name: String,
    /// `None`: all that the user's role allows.
    pub permissions: Option<Permissions>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub id: TokenId,
    pub user: UserId,
    pub label: Line<128>,
    pub secret: SecretHash,
    pub permissions: Option<Permissions>,
    pub expires_at: Option<Timestamp>,
}

/// Who shows a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBearer {
    pub identity: Identity,
    pub token: TokenId,
    pub permissions: Option<Permissions>,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

type Row = (String, String, String, String, Option<String>, i64, Option<i64>, Option<i64>, Option<i64>);

fn token(row: Row) -> Result<Token, StoreError> {
    let (text, label, user, user_name, permissions, created_at, expires_at, last_used_at, revoked_at) = row;
    Ok(Token {
        id: id(&text)?,
        label,
        user: id(&user)?,
        user_name,
        permissions: permissions.as_deref().map(subset),
        created_at: Timestamp::from_micros(created_at),
        expires_at: expires_at.map(Timestamp::from_micros),
        last_used_at: last_used_at.map(Timestamp::from_micros),
        revoked_at: revoked_at.map(Timestamp::from_micros),
    })
}

/// Keys, with spaces between them.
fn subset(text: &str) -> Permissions {
    known(text.split(' '))
}

impl Store {
    pub async fn token_add(&self, new: &NewToken, by: &By) -> Result<(), IdentityError> {
        let mut act = Act::begin(self).await?;
        sqlx::query(
            "INSERT INTO tokens (id, user_id, label, secret_hash, permissions, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(new.id.to_string())
        .bind(new.user.to_string())
        .bind(new.label.as_str())
        .bind(new.secret.as_str())
        .bind(new.permissions.as_ref().map(|permissions| keys(permissions).join(" ")))
        .bind(by.at.as_micros())
        .bind(new.expires_at.map(Timestamp::as_micros))
        .execute(act.connection())
        .await?;
        let detail = json!({
            "label": new.label.as_str(),
            "user": new.user,
            "permissions": new.permissions.as_ref().map(keys),
            "expiresAt": new.expires_at.map(Timestamp::rfc3339),
        });
        act.commit(by, Deed::done("token.create", new.id, detail)).await?;
        Ok(())
    }

    /// Tokens of one user, or of all, newest first, at most `limit`.
    pub async fn tokens(&self, of: Option<UserId>, limit: i64) -> Result<Vec<Token>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT tokens.id, tokens.label, users.id, users.name, tokens.permissions, tokens.created_at, \
             tokens.expires_at, tokens.last_used_at, tokens.revoked_at \
             FROM tokens JOIN users ON users.id = tokens.user_id \
             WHERE (CAST($1 AS TEXT) IS NULL OR tokens.user_id = $1) \
             ORDER BY tokens.created_at DESC, tokens.id DESC LIMIT $2 + 0",
        )
        .bind(of.map(|user| user.to_string()))
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(token).collect()
    }

    pub async fn token(&self, token_id: TokenId) -> Result<Option<Token>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT tokens.id, tokens.label, users.id, users.name, tokens.permissions, tokens.created_at, \
             tokens.expires_at, tokens.last_used_at, tokens.revoked_at \
             FROM tokens JOIN users ON users.id = tokens.user_id WHERE tokens.id = $1",
        )
        .bind(token_id.to_string())
        .fetch_optional(self.read())
        .await?;
        row.map(token).transpose()
    }

    /// Ends a token; `false` where there is none that runs.
    pub async fn token_revoke(&self, token_id: TokenId, by: &By) -> Result<bool, IdentityError> {
        let mut act = Act::begin(self).await?;
        let revoked = sqlx::query("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(token_id.to_string())
            .bind(by.at.as_micros())
            .execute(act.connection())
            .await?;
        if revoked.rows_affected() == 0 {
            return Ok(false);
        }
        act.commit(by, Deed::done("token.revoke", token_id, json!({}))).await?;
        Ok(true)
    }

    /// Who shows this token, if it is neither revoked nor expired and the user is not disabled.
    pub async fn token_bearer(
        &self,
        secret: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<TokenBearer>, StoreError> {
        type Row = (String, Option<String>, Option<i64>, Option<i64>, String, String, String, String);
        let row: Option<Row> = sqlx::query_as(
            "SELECT tokens.id, tokens.permissions, tokens.expires_at, tokens.last_used_at, users.id, users.name, \
             users.display_name, users.role FROM tokens JOIN users ON users.id = tokens.user_id \
             WHERE tokens.secret_hash = $1 AND tokens.revoked_at IS NULL \
             AND (tokens.expires_at IS NULL OR tokens.expires_at > $2) AND users.disabled = 0",
        )
        .bind(secret.as_str())
        .bind(now.as_micros())
        .fetch_optional(self.read())
        .await?;
        let Some((token, permissions, expires_at, last_used_at, user, name, display_name, role)) = row else {
            return Ok(None);
        };
        let granted = roles::permissions(self.read(), &role).await?.unwrap_or_default();
        Ok(Some(TokenBearer {
            identity: Identity { user: id(&user)?, name, display_name, role, permissions: granted },
            token: id(&token)?,
            permissions: permissions.as_deref().map(subset),
            expires_at: expires_at.map(Timestamp::from_micros),
            last_used_at: last_used_at.map(Timestamp::from_micros),
        }))
    }

    /// Notes that a token was used.
    pub async fn token_used(&self, token_id: TokenId, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)")
            .bind(token_id.to_string())
            .bind(at.as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }
}
