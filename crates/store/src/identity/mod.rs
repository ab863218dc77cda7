//! Who there is: users, roles, their tokens and logins, and who guesses at passwords.
//!
//! Every change is an administrative act of the audit trail ([`crate::audit`]). Secrets are
//! never kept: of tokens and logins there is a SHA-256 (they are 256 random bits, so nothing
//! slower is needed), of passwords whatever text the caller's password hash makes.

mod guesses;
mod logins;
pub(crate) mod roles;
mod setup;
mod tokens;
mod users;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use sojourn_domain::{
    id::UserId,
    policy::{Permission, Permissions},
};

pub use self::{
    guesses::{Attempt, GuessSubject},
    logins::{Login, LoginHolder, NewLogin},
    roles::Role,
    tokens::{NewToken, Token, TokenBearer},
    users::{NewUser, PasswordHash, User, UserChange},
};
use crate::db::StoreError;

/// Why an identity could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a user of this name exists")]
    NameTaken,
    #[error("a role of this name exists")]
    RoleTaken,
    #[error("there is no role {0:?}")]
    UnknownRole(String),
    #[error("the last enabled administrator stays: make another one first")]
    LastAdmin,
    #[error("built-in roles cannot be changed")]
    BuiltinRole,
    #[error("{0} users have the role: give them another one first")]
    RoleInUse(i64),
    #[error("an administrator exists: setting up is over")]
    SetupOver,
    #[error("the setup code is not the one that was printed last")]
    SetupCode,
}

impl From<sqlx::Error> for IdentityError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A user, as requests are answered for: looked up for each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: String,
    pub display_name: String,
    pub role: String,
    /// Of the role, at this moment.
    pub permissions: Permissions,
}

/// What is kept of a token's or a login's secret: its SHA-256, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHash(String);

impl SecretHash {
    pub fn of(secret: &str) -> Self {
        Self(HEXLOWER.encode(&Sha256::digest(secret.as_bytes())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads an id that this crate wrote.
pub(crate) fn id<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("id {text:?}")))
}

/// A permission that this version does not know allows nothing here.
fn known<'a>(keys: impl IntoIterator<Item = &'a str>) -> Permissions {
    keys.into_iter().filter_map(|key| key.parse().ok()).collect()
}

fn keys(permissions: &Permissions) -> Vec<&'static str> {
    permissions.iter().copied().map(Permission::key).collect()
}

#[cfg(test)]
mod tests;
