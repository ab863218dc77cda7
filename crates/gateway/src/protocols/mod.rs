//! What targets speak: how to reach one, log in, and start something on it.
//!
//! Knows nothing of who may do that: whoever gets here has been admitted.

pub mod dial;
mod kept;
pub mod probe;
pub mod rdp;
pub mod ssh;
pub mod telnet;
pub(crate) mod tls;
pub mod vnc;

use std::{fmt, sync::Arc};

use sojourn_domain::{
    access::{AuthKind, EndReason, Protocol},
    connections::ConnectionOptions,
};

use crate::session::ends::{TargetEnd, TerminalSize};

/// A text that is nobody's to see: it has no `Debug` that prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; mind where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Where to go and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// A DNS name or an address.
    pub host: String,
    pub port: u16,
    /// At the target.
    pub username: String,
    pub auth: AuthKind,
    pub options: ConnectionOptions,
    pub host_key: HostKeyRule,
}

/// Which host key is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyRule {
    /// This one: a public key in OpenSSH's text form, or a `SHA256:` fingerprint.
    Pinned(String),
    /// None is known yet, and the one who comes may pin: the first one is good, and is to be pinned.
    FirstUse,
    /// None is known yet, and the one who comes may not pin.
    Unknown,
}

/// Refuses what cannot be had of a connection that has files only.
pub fn files_only(protocol: Protocol) -> ConnectError {
    ConnectError::new(EndReason::Denied, format!("this connection has files only: it is {protocol}"))
}

/// Refuses what cannot be had of a connection that shows a desktop.
pub fn desktop_only(protocol: Protocol) -> ConnectError {
    ConnectError::new(EndReason::Denied, format!("this connection is a desktop: it is {protocol}"))
}

/// What proves who comes.
#[derive(Debug, Clone)]
pub enum Credential {
    None,
    Password(Secret),
    Key {
        /// OpenSSH, PKCS #1, PKCS #8 or PuTTY text.
        private_key: Secret,
        passphrase: Option<Secret>,
    },
    /// The user's own agent.
    Agent(ssh::AgentWay),
}

/// A target was not reached, or nothing could be started on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    pub reason: EndReason,
    /// A sentence for people, without the address when it is not theirs to know.
    pub message: String,
}

impl ConnectError {
    pub fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The terminal that a user has.
#[derive(Debug, Clone)]
pub struct TerminalRequest {
    /// `xterm-256color` and the like.
    pub term: String,
    pub size: TerminalSize,
    pub env: Vec<(String, String)>,
}

/// Reaches an SSH target for one terminal, and starts its shell. The link ends with it.
pub async fn open_ssh_terminal(
    target: &Target,
    credential: &Credential,
    rules: &dial::Rules,
    request: TerminalRequest,
) -> Result<(TargetEnd, ssh::Greeting), ConnectError> {
    let (link, greeting) = ssh::Link::open(target, credential, rules).await?;
    let start = ssh::Start {
        pty: Some(ssh::PtyRequest { term: request.term, size: request.size, modes: Vec::new() }),
        env: request.env,
        agent: false,
        what: ssh::What::Shell,
    };
    let end = Arc::new(link).start(start).await?;
    Ok((end, greeting))
}
