//! Credentials of connections on their way in: what fits together, and how it is sealed.
//!
//! Shared by the API and the command line. Nothing here prints a secret.

use serde::Serialize;
use sojourn_domain::{
    access::{AuthKind, Protocol},
    connections::{BadOption, auth_kinds},
    id::ConnectionId,
};
use sojourn_gateway::{
    keys::{KeyError, check_private_key},
    protocols::{
        Credential, HostKeyRule, Secret, Target, dial,
        probe::{LoginTried, Pinned},
    },
};
use sojourn_store::{
    connections::Connection,
    vault::{Vault, VaultError},
};
use zeroize::Zeroizing;

use crate::state::AppState;

/// Text that is overwritten when dropped and has no `Debug`.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself; mind where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What somebody gave.
#[derive(Default, Clone)]
pub struct Given {
    pub password: Option<SecretText>,
    pub private_key: Option<SecretText>,
    pub passphrase: Option<SecretText>,
}

impl Given {
    pub fn is_empty(&self) -> bool {
        self.password.is_none() && self.private_key.is_none() && self.passphrase.is_none()
    }

    /// The kind that was meant when none was named.
    pub fn kind(&self) -> AuthKind {
        match (&self.private_key, &self.password) {
            (Some(_), _) => AuthKind::Key,
            (None, Some(_)) => AuthKind::Password,
            (None, None) => AuthKind::Prompt,
        }
    }
}

/// One value does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Misfit {
    pub field: &'static str,
    pub message: String,
}

impl From<BadOption> for Misfit {
    fn from(bad: BadOption) -> Self {
        let field = match bad.field {
            "tls" => "options.tls",
            "share" => "options.share",
            "domain" => "options.domain",
            "root" => "options.root",
            _ => "options",
        };
        misfit(field, bad.message)
    }
}

fn misfit(field: &'static str, message: impl Into<String>) -> Misfit {
    Misfit { field, message: message.into() }
}

/// Whether a target of this protocol can be told who comes in this way.
pub fn check_kind(protocol: Protocol, auth: AuthKind) -> Result<(), Misfit> {
    let kinds = auth_kinds(protocol);
    if kinds.contains(&auth) {
        return Ok(());
    }
    let kinds: Vec<_> = kinds.iter().map(|kind| kind.key()).collect();
    Err(misfit(
        "auth",
        format!("{protocol} connections know none of the kind: expected {}", kinds.join(", ")),
    ))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a SecretText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a SecretText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<&'a SecretText>,
}

/// What is to be kept for this kind of credential, as text to be sealed; `None` where nothing is.
pub fn kept(auth: AuthKind, given: &Given) -> Result<Option<Zeroizing<String>>, Misfit> {
    let needless = |field, there: bool| {
        let message = format!("nothing of the kind is kept with auth {auth}");
        if there { Err(misfit(field, message)) } else { Ok(()) }
    };
    let kept = match auth {
        AuthKind::Password => {
            needless("privateKey", given.private_key.is_some())?;
            needless("passphrase", given.passphrase.is_some())?;
            let password = given.password.as_ref().filter(|password| !password.expose().is_empty());
            let password = password
                .ok_or_else(|| misfit("password", "give the target's password, or choose auth prompt"))?;
            Kept { password: Some(password), private_key: None, passphrase: None }
        }
        AuthKind::Key => {
            needless("password", given.password.is_some())?;
            let key =
                given.private_key.as_ref().ok_or_else(|| misfit("privateKey", "give the private key"))?;
            let passphrase = given.passphrase.as_ref().filter(|passphrase| !passphrase.expose().is_empty());
            check_private_key(key.expose(), passphrase.map(SecretText::expose)).map_err(|error| {
                let field = match error {
                    KeyError::PassphraseMissing | KeyError::PassphraseWrong => "passphrase",
                    KeyError::NotPublic | KeyError::NotPrivate | KeyError::NotHostKey => "privateKey",
                };
                misfit(field, error.to_string())
            })?;
            Kept { password: None, private_key: Some(key), passphrase }
        }
        AuthKind::Prompt | AuthKind::Agent | AuthKind::None => {
            needless("password", given.password.is_some())?;
            needless("privateKey", given.private_key.is_some())?;
            needless("passphrase", given.passphrase.is_some())?;
            return Ok(None);
        }
    };
    let text = serde_json::to_string(&kept).map_err(|_| misfit("password", "it cannot be written"))?;
    Ok(Some(Zeroizing::new(text)))
}

/// Seals what [`kept`] made for one connection.
pub fn sealed(vault: &Vault, id: ConnectionId, kept: Option<&str>) -> Result<Option<String>, VaultError> {
    kept.map(|text| vault.seal(&Connection::sealed_for(id), text.as_bytes())).transpose()
}

/// What somebody gave, as targets are shown it.
pub fn given(given: &Given) -> Option<Credential> {
    let secret = |text: &SecretText| Secret::new(text.expose());
    match (&given.private_key, &given.password) {
        (Some(key), _) => Some(Credential::Key {
            private_key: secret(key),
            passphrase: given.passphrase.as_ref().filter(|text| !text.expose().is_empty()).map(secret),
        }),
        (None, Some(text)) => Some(password(text)),
        (None, None) => None,
    }
}

pub fn password(text: &SecretText) -> Credential {
    Credential::Password(Secret::new(text.expose()))
}

/// Where a connection leads, for those only who look: a host key that is not pinned is taken as it comes.
pub fn target(connection: &Connection) -> Target {
    Target::to(connection, HostKeyRule::FirstUse)
}

/// Where no connection may lead.
pub fn rules(state: &AppState) -> dial::Rules {
    dial::Rules { deny: state.config.deny_targets.clone() }
}

/// How a shown host key stands to the pinned one, in a word.
pub const fn pinned_word(pinned: Pinned) -> &'static str {
    match pinned {
        Pinned::Match => "match",
        Pinned::New => "new",
        Pinned::Changed => "changed",
        Pinned::None => "none",
    }
}

/// How a login went, in a word.
pub const fn login_word(login: LoginTried) -> &'static str {
    match login {
        LoginTried::Ok => "ok",
        LoginTried::Refused => "refused",
        LoginTried::NotTried => "not_tried",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(password: Option<&str>, key: Option<&str>) -> Given {
        let secret = |text: &str| SecretText::new(text.to_owned());
        Given { password: password.map(secret), private_key: key.map(secret), passphrase: None }
    }

    #[test]
    fn what_is_given_fits_the_kind() {
        let kept = |auth, given: &Given| kept(auth, given).map(|kept| kept.map(|text| text.to_string()));
        let field = |auth, given: &Given| super::kept(auth, given).unwrap_err().field;
        assert_eq!(
            kept(AuthKind::Password, &given(Some("x\"y"), None)),
            Ok(Some("{\"password\":\"x\\\"y\"}".to_owned()))
        );
        assert_eq!(kept(AuthKind::Prompt, &given(None, None)), Ok(None));
        assert_eq!(field(AuthKind::Password, &given(None, None)), "password");
        assert_eq!(field(AuthKind::Password, &given(Some(""), None)), "password");
        assert_eq!(field(AuthKind::Key, &given(None, Some("nonsense"))), "privateKey");
        assert_eq!(field(AuthKind::Agent, &given(Some("x"), None)), "password");
        for protocol in [Protocol::Telnet, Protocol::Ftp, Protocol::Smb, Protocol::Rdp, Protocol::Vnc] {
            assert_eq!(check_kind(protocol, AuthKind::Key).unwrap_err().field, "auth");
            assert!(check_kind(protocol, AuthKind::None).is_ok());
        }
        assert!(check_kind(Protocol::Sftp, AuthKind::Key).is_ok());
    }
}
