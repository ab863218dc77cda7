//! Logging in at a target.

use std::sync::Arc;

use russh::{
    MethodKind,
    client::{AuthResult, KeyboardInteractiveAuthResponse},
    keys::{PrivateKeyWithHashAlg, decode_secret_key},
};
use sojourn_domain::access::EndReason;

use super::{AgentWay, Link};
use crate::protocols::{ConnectError, Credential, Secret};

/// Rounds of questions that a target may ask.
const ROUNDS: usize = 8;
/// Keys of the user's agent that are tried; targets count each as a failed attempt.
const AGENT_KEYS: usize = 5;

fn refused(message: impl Into<String>) -> ConnectError {
    ConnectError::new(EndReason::LoginRefused, message)
}

fn broken(error: &russh::Error) -> ConnectError {
    ConnectError::new(
        EndReason::TargetLost,
        format!("the target ended the connection during the login: {error}"),
    )
}

impl Link {
    pub(super) async fn log_in(
        &mut self,
        username: &str,
        credential: &Credential,
    ) -> Result<(), ConnectError> {
        match credential {
            Credential::None => {
                let result = self.handle.authenticate_none(username).await.map_err(|e| broken(&e))?;
                if result.success() { Ok(()) } else { Err(refused("the target wants to know who comes")) }
            }
            Credential::Password(password) => self.by_password(username, password).await,
            Credential::Key { private_key, passphrase } => {
                self.by_key(username, private_key, passphrase.as_ref()).await
            }
            Credential::Agent(way) => self.by_agent(username, way).await,
        }
    }

    /// As `password`, and where the target does not know that, as the answer to its one question.
    async fn by_password(&mut self, username: &str, password: &Secret) -> Result<(), ConnectError> {
        let result =
            self.handle.authenticate_password(username, password.reveal()).await.map_err(|e| broken(&e))?;
        let AuthResult::Failure { remaining_methods, .. } = result else { return Ok(()) };
        if !remaining_methods.contains(&MethodKind::KeyboardInteractive) {
            return Err(refused("the target refused the password"));
        }
        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(username, None)
            .await
            .map_err(|e| broken(&e))?;
        for _ in 0..ROUNDS {
            let responses = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(()),
                KeyboardInteractiveAuthResponse::Failure { .. } => break,
                // What is shown while it is typed is no password.
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts
                    .iter()
                    .map(|prompt| if prompt.echo { String::new() } else { password.reveal().to_owned() })
                    .collect(),
            };
            answer = self
                .handle
                .authenticate_keyboard_interactive_respond(responses)
                .await
                .map_err(|e| broken(&e))?;
        }
        Err(refused("the target refused the password"))
    }

    async fn by_key(
        &mut self,
        username: &str,
        private_key: &Secret,
        passphrase: Option<&Secret>,
    ) -> Result<(), ConnectError> {
        let key = decode_secret_key(private_key.reveal(), passphrase.map(Secret::reveal)).map_err(|_| {
            refused("the private key that is kept here cannot be read: is the passphrase right?")
        })?;
        let hash = if key.algorithm().is_rsa() {
            self.handle.best_supported_rsa_hash().await.map_err(|e| broken(&e))?.flatten()
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let result = self.handle.authenticate_publickey(username, key).await.map_err(|e| broken(&e))?;
        if result.success() { Ok(()) } else { Err(refused("the target refused the key")) }
    }

    async fn by_agent(&mut self, username: &str, way: &AgentWay) -> Result<(), ConnectError> {
        let mut agent = way.open().await.ok_or_else(|| {
            refused("this connection logs in with your own agent, which was not forwarded (ssh -A)")
        })?;
        let identities =
            agent.request_identities().await.map_err(|_| refused("your agent does not answer"))?;
        let hash = self.handle.best_supported_rsa_hash().await.map_err(|e| broken(&e))?.flatten();
        for identity in identities.into_iter().take(AGENT_KEYS) {
            let key = identity.public_key().into_owned();
            let hash = if key.algorithm().is_rsa() { hash } else { None };
            match self.handle.authenticate_publickey_with(username, key, hash, &mut agent).await {
                Ok(result) if result.success() => return Ok(()),
                Ok(_) => {}
                // It does not sign with this one.
                Err(error) => tracing::debug!(%error, "an agent did not sign"),
            }
        }
        Err(refused("the target refused the keys of your agent"))
    }
}
