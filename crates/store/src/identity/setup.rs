//! The first administrator, who is made with a code that only the machine's owner can read.

use serde_json::json;
use sojourn_domain::{policy::BuiltinRole, time::Timestamp};
use subtle::ConstantTimeEq as _;

use super::{IdentityError, NewLogin, NewUser, SecretHash, logins, users};
use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
};

const CODE: &str = "setup_code";

impl Store {
    /// There is no administrator yet.
    pub async fn setup_required(&self) -> Result<bool, StoreError> {
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT CAST(1 AS BIGINT) FROM users WHERE role = $1 LIMIT 1")
                .bind(BuiltinRole::Admin.name())
                .fetch_optional(self.read())
                .await?;
        Ok(row.is_none())
    }

    /// Makes this the only good setup code; `false`, and none is good, where setting up is over.
    pub async fn setup_offer(&self, code: &SecretHash) -> Result<bool, StoreError> {
        if !self.setup_required().await? {
            sqlx::query("DELETE FROM meta WHERE name = $1").bind(CODE).execute(self.write()).await?;
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
        )
        .bind(CODE)
        .bind(code.as_str())
        .execute(self.write())
        .await?;
        Ok(true)
    }

    /// Makes the first administrator, once, and a login for the browser that did it.
    pub async fn setup(
        &self,
        code: &SecretHash,
        admin: &NewUser,
        login: &NewLogin,
        at: Timestamp,
    ) -> Result<(), IdentityError> {
        let mut act = Act::begin(self).await?;
        let exists: Option<(i64,)> =
            sqlx::query_as("SELECT CAST(1 AS BIGINT) FROM users WHERE role = $1 LIMIT 1")
                .bind(BuiltinRole::Admin.name())
                .fetch_optional(act.connection())
                .await?;
        if exists.is_some() {
            return Err(IdentityError::SetupOver);
        }
        let offered: Option<(String,)> = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
            .bind(CODE)
            .fetch_optional(act.connection())
            .await?;
        let good = offered.is_some_and(|(hash,)| hash.as_bytes().ct_eq(code.as_str().as_bytes()).into());
        if !good {
            return Err(IdentityError::SetupCode);
        }
        sqlx::query("DELETE FROM meta WHERE name = $1").bind(CODE).execute(act.connection()).await?;
        users::insert(&mut act, admin, at).await?;
        logins::insert(&mut act, login, at).await?;
        let by = By::anonymous(at, login.client_address.clone());
        let detail = json!({"name": admin.name.as_str(), "role": admin.role.as_str()});
        act.commit(&by, Deed::done("auth.setup", admin.id, detail)).await?;
        Ok(())
    }
}
