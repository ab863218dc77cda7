//! Files on targets: one trait, [`RemoteFs`], whatever the target speaks.
//!
//! Owns paths, entries, errors and the back ends. Knows nothing of who may do what, nor of what is kept about it.

mod error;
mod fs;
pub mod ftp;
mod path;
pub mod session;
pub mod sftp;
pub mod smb;

use std::sync::Arc;

use sojourn_domain::access::{EndReason, Protocol};

pub use self::{
    error::{FsError, FsErrorKind, FsResult},
    fs::{
        BATCH, Capabilities, Entry, EntryKind, Listing, Patience, ReadFile, RemoteFs, WriteFile, WriteMode,
    },
    path::{PathError, RemotePath},
};
use crate::protocols::{ConnectError, Credential, Target, dial::Rules, ssh::SeenKey};

/// A target whose files can be touched.
#[derive(Debug, Clone)]
pub struct Opened {
    pub fs: Arc<dyn RemoteFs>,
    /// The host key or certificate that the target showed; none where the protocol has none.
    pub host_key: Option<SeenKey>,
    /// The key was unknown, the one who came may pin, and it is to be pinned.
    pub first_use: bool,
}

/// Reaches a target and logs in.
pub async fn open(
    protocol: Protocol,
    target: &Target,
    credential: &Credential,
    rules: &Rules,
) -> Result<Opened, ConnectError> {
    open_with(protocol, target, credential, rules, Patience::default()).await
}

/// As [`open`], waiting longer or shorter for the target.
pub async fn open_with(
    protocol: Protocol,
    target: &Target,
    credential: &Credential,
    rules: &Rules,
    patience: Patience,
) -> Result<Opened, ConnectError> {
    match protocol {
        Protocol::Ssh | Protocol::Sftp => sftp::open(target, credential, rules, patience).await,
        Protocol::Ftp => ftp::open(target, credential, rules, patience).await,
        Protocol::Smb => smb::open(target, credential, rules, patience).await,
        Protocol::Telnet | Protocol::Rdp | Protocol::Vnc => {
            Err(ConnectError::new(EndReason::Denied, "this connection has no files"))
        }
    }
}

/// A connection that had to be made anew, and was not.
impl From<ConnectError> for FsError {
    fn from(error: ConnectError) -> Self {
        let kind = match error.reason {
            EndReason::LoginRefused | EndReason::HostKey | EndReason::Denied => FsErrorKind::Denied,
            EndReason::Closed
            | EndReason::ClientLost
            | EndReason::TargetLost
            | EndReason::Unreachable
            | EndReason::Terminated
            | EndReason::Revoked
            | EndReason::Idle
            | EndReason::TimeLimit
            | EndReason::RecordingFailed
            | EndReason::ServerStopped
            | EndReason::ServerDied
            | EndReason::Failed => FsErrorKind::Lost,
        };
        Self::new(kind, error.message)
    }
}

/// Where a user begins: the connection's own start folder, seen from where the target puts its users.
fn start_folder(home: &RemotePath, target: &Target) -> RemotePath {
    home.resolve(target.options.root.as_bytes()).unwrap_or_else(|error| {
        tracing::debug!(%error, "a connection's start folder is no path");
        home.clone()
    })
}
