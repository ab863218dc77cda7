//! From a connection as it is kept to a target and a credential.

use serde::Deserialize;
use sojourn_domain::access::{AuthKind, EndReason};
use sojourn_store::{connections::Connection, vault::Vault};

use super::{ConnectError, Credential, HostKeyRule, Secret, Target};
use crate::admission::Admission;

/// What is sealed for a connection.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    password: Option<String>,
    private_key: Option<String>,
    passphrase: Option<String>,
}

impl Target {
    /// Where an admission leads.
    pub fn of(admission: &Admission) -> Self {
        let unpinned = if admission.may_edit() { HostKeyRule::FirstUse } else { HostKeyRule::Unknown };
        Self::to(admission.connection(), unpinned)
    }

    /// Where a connection leads; `unpinned` is what holds while no host key is pinned.
    pub fn to(connection: &Connection, unpinned: HostKeyRule) -> Self {
        let pinned = connection.host_key.as_ref().map(|key| HostKeyRule::Pinned(key.text.clone()));
        Self {
            host: connection.host.clone(),
            port: connection.port,
            username: connection.username.clone(),
            auth: connection.auth,
            options: connection.options.clone(),
            host_key: pinned.unwrap_or(unpinned),
        }
    }
}

impl Credential {
    /// The credential that is kept with a connection; [`Credential::None`] where the user brings it.
    pub fn kept(connection: &Connection, vault: &Vault) -> Result<Self, ConnectError> {
        let missing = || {
            ConnectError::new(
                EndReason::LoginRefused,
                "the connection has no credential: somebody has to enter it",
            )
        };
        let kept = match connection.auth {
            AuthKind::Prompt | AuthKind::Agent | AuthKind::None => return Ok(Self::None),
            AuthKind::Password | AuthKind::Key => {
                let sealed = connection.secret.as_ref().ok_or_else(missing)?;
                let purpose = Connection::sealed_for(connection.id);
                let opened = vault.unseal(&purpose, sealed).map_err(|error| {
                    tracing::error!(connection.id = %connection.id, %error, "a credential could not be opened");
                    ConnectError::new(EndReason::Failed, "the connection's credential cannot be opened")
                })?;
                serde_json::from_slice::<Kept>(opened.expose()).map_err(|_| missing())?
            }
        };
        match (connection.auth, kept) {
            (AuthKind::Password, Kept { password: Some(password), .. }) => {
                Ok(Self::Password(Secret::new(password)))
            }
            (AuthKind::Key, Kept { private_key: Some(private_key), passphrase, .. }) => Ok(Self::Key {
                private_key: Secret::new(private_key),
                passphrase: passphrase.map(Secret::new),
            }),
            _ => Err(missing()),
        }
    }
}
