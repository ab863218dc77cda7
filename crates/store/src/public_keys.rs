//! Public keys with which users log in over SSH.
//!
//! What a key is, and whether a client has it, is for the caller to say: here are texts and
//! fingerprints (`SHA256:` and base 64, as OpenSSH writes them).

use serde_json::json;
use sojourn_domain::{
    id::{PublicKeyId, UserId},
    identity::Line,
    time::Timestamp,
};
use sqlx::any::AnyRow;

use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
    presence::Columns as _,
};

/// A user has at most this many.
pub const MOST_KEYS: i64 = 100;

/// A user's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub id: PublicKeyId,
    pub user: UserId,
    pub label: String,
    pub fingerprint: String,
    /// OpenSSH's text form without the comment.
    pub text: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// A key to be added.
#[derive(Debug, Clone)]
pub struct NewPublicKey {
    pub id: PublicKeyId,
    pub user: UserId,
    pub label: Line<128>,
    pub fingerprint: String,
    pub text: String,
}

/// Why a key could not be added.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the user has this key already")]
    Known,
    #[error("a user has at most {MOST_KEYS} keys")]
    TooMany,
}

impl From<sqlx::Error> for PublicKeyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn public_key(row: &AnyRow) -> Result<PublicKey, StoreError> {
    Ok(PublicKey {
        id: row.parsed(0, "id")?,
        user: row.parsed(1, "id")?,
        label: row.text(2)?,
        fingerprint: row.text(3)?,
        text: row.text(4)?,
        created_at: row.time(5)?,
        last_used_at: row.maybe_time(6)?,
    })
}

impl Store {
    pub async fn public_key_add(&self, new: &NewPublicKey, by: &By) -> Result<PublicKey, PublicKeyError> {
        let mut act = Act::begin(self).await?;
        let (keys,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM public_keys WHERE user_id = $1")
            .bind(new.user.to_string())
            .fetch_one(act.connection())
            .await?;
        if keys >= MOST_KEYS {
            return Err(PublicKeyError::TooMany);
        }
        sqlx::query(
            "INSERT INTO public_keys (id, user_id, label, fingerprint, public_key, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(new.id.to_string())
        .bind(new.user.to_string())
        .bind(new.label.as_str())
        .bind(&new.fingerprint)
        .bind(&new.text)
        .bind(by.at.as_micros())
        .execute(act.connection())
        .await
        .map_err(|error| match StoreError::from(error) {
            error if error.is_conflict() => PublicKeyError::Known,
            error => PublicKeyError::Store(error),
        })?;
        let detail = json!({"user": new.user, "label": new.label.as_str(), "fingerprint": new.fingerprint});
        act.commit(by, Deed::done("key.add", new.id, detail)).await?;
        Ok(PublicKey {
            id: new.id,
            user: new.user,
            label: new.label.to_string(),
            fingerprint: new.fingerprint.clone(),
            text: new.text.clone(),
            created_at: by.at,
            last_used_at: None,
        })
    }

    /// A user's keys, oldest first.
    pub async fn public_keys(&self, user: UserId) -> Result<Vec<PublicKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, user_id, label, fingerprint, public_key, created_at, last_used_at FROM public_keys \
             WHERE user_id = $1 ORDER BY created_at, id LIMIT $2 + 0",
        )
        .bind(user.to_string())
        .bind(MOST_KEYS)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(public_key).collect()
    }

    /// The keys with this fingerprint, of users that are not disabled: several may share one.
    pub async fn public_key_find(&self, fingerprint: &str) -> Result<Vec<PublicKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT k.id, k.user_id, k.label, k.fingerprint, k.public_key, k.created_at, k.last_used_at \
             FROM public_keys k JOIN users ON users.id = k.user_id \
             WHERE k.fingerprint = $1 AND users.disabled = 0 ORDER BY k.created_at, k.id LIMIT 100",
        )
        .bind(fingerprint)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(public_key).collect()
    }

    /// Notes that somebody logged in with a key.
    pub async fn public_key_used(&self, key: PublicKeyId, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE public_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)",
        )
        .bind(key.to_string())
        .bind(at.as_micros())
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Removes a user's key; `false` where the user has no such key.
    pub async fn public_key_remove(
        &self,
        user: UserId,
        key: PublicKeyId,
        by: &By,
    ) -> Result<bool, StoreError> {
        let mut act = Act::begin(self).await?;
        let row: Option<(String,)> =
            sqlx::query_as("DELETE FROM public_keys WHERE id = $1 AND user_id = $2 RETURNING fingerprint")
                .bind(key.to_string())
                .bind(user.to_string())
                .fetch_optional(act.connection())
                .await?;
        let Some((fingerprint,)) = row else { return Ok(false) };
        act.commit(by, Deed::done("key.remove", key, json!({"user": user, "fingerprint": fingerprint})))
            .await?;
        Ok(true)
    }
}
