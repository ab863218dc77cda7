//! Access sessions and the commands in them.
//!
//! Every list and look-up demands a [`Visibility`]. Names of users and connections are kept as they
//! were: both may go, the history stays. What belongs to a recording is `recordings`' business.

mod commands;
mod list;
mod search;
mod sessions;
mod supplied;

use sojourn_domain::{
    access::{ClientKind, EndReason, Protocol, Purpose, RecordingState},
    id::{AccessSessionId, CommandId, ConnectionId, UserId},
    time::Timestamp,
};
use sqlx::any::AnyRow;

pub(crate) use self::search::prepare;
pub use self::{list::SessionFilter, sessions::Removed, supplied::InputEvent};
use crate::{StoreError, presence::Columns as _};

/// A user on a connection, from before anything connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSession {
    pub id: AccessSessionId,
    pub user: UserId,
    pub user_name: String,
    pub connection: ConnectionId,
    pub connection_name: String,
    pub protocol: Protocol,
    pub purpose: Purpose,
    /// What exec was asked to run, or the name of the subsystem; else empty.
    pub command: String,
    /// Where it led: not for everybody's eyes.
    pub target: String,
    pub client_kind: ClientKind,
    pub client_address: String,
    /// The server that has, or had, it.
    pub node: String,
    pub started_at: Timestamp,
    /// `None` while live.
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<EndReason>,
    pub end_detail: String,
    pub exit_status: Option<u32>,
    pub exit_signal: Option<String>,
    /// To the target.
    pub bytes_in: u64,
    /// From the target.
    pub bytes_out: u64,
    pub sha_in: Option<String>,
    pub sha_out: Option<String>,
    pub recording: RecordingState,
    pub recording_bytes: u64,
    pub command_count: u64,
    pub legal_hold: bool,
    /// Its recording, if it has one, comes from the user's own client.
    pub client_supplied: bool,
}

impl AccessSession {
    pub fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// A session that is about to begin.
#[derive(Debug, Clone)]
pub struct NewAccessSession {
    pub id: AccessSessionId,
    pub user: UserId,
    pub user_name: String,
    pub connection: ConnectionId,
    pub connection_name: String,
    pub protocol: Protocol,
    pub purpose: Purpose,
    pub command: String,
    pub target: String,
    pub client_kind: ClientKind,
    pub client_address: String,
    pub node: String,
    pub started_at: Timestamp,
}

/// How the program at the target ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionExit {
    Status(u32),
    /// The signal without `SIG`.
    Signal(String),
}

/// How a session ended.
#[derive(Debug, Clone)]
pub struct SessionEnd {
    pub at: Timestamp,
    pub reason: EndReason,
    pub detail: String,
    pub exit: Option<SessionExit>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub sha_in: Option<String>,
    pub sha_out: Option<String>,
}

/// A command that somebody ran in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub id: CommandId,
    pub session: AccessSessionId,
    pub at: Timestamp,
    /// Since the session's start.
    pub elapsed_ms: i64,
    /// When it was over, where that is known.
    pub until_ms: Option<i64>,
    pub command: String,
    pub output_preview: String,
    /// `exec`, `osc133` or `screen`.
    pub source: String,
    /// `exact` or `inferred`.
    pub confidence: String,
    /// `shell`, `repl`, `stdin` or `password`.
    pub kind: String,
    pub exit_code: Option<i64>,
}

/// A command to be kept. Secrets are redacted before they come here.
#[derive(Debug, Clone)]
pub struct NewCommand {
    pub id: CommandId,
    pub at: Timestamp,
    pub elapsed_ms: i64,
    pub until_ms: Option<i64>,
    pub command: String,
    pub output_preview: String,
    pub source: String,
    pub confidence: String,
    pub kind: String,
    pub exit_code: Option<i64>,
}

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.user_name, s.connection_id, s.connection_name, s.protocol, s.purpose, s.command, \
         s.target, s.client_kind, s.client_address, s.node, s.started_at, s.ended_at, s.end_reason, s.end_detail, \
         s.exit_status, s.exit_signal, s.bytes_in, s.bytes_out, s.sha_in, s.sha_out, s.recording, \
         s.recording_bytes, s.command_count, s.legal_hold, \
         CAST((SELECT COUNT(*) FROM supplied_recordings r WHERE r.session_id = s.id) AS BIGINT)"
    };
}
use columns;

fn count(row: &AnyRow, index: usize) -> Result<u64, StoreError> {
    u64::try_from(row.int(index)?).map_err(|_| StoreError::Corrupt("a negative count".to_owned()))
}

fn session(row: &AnyRow) -> Result<AccessSession, StoreError> {
    let word = |text: Option<String>| {
        text.map(|text| text.parse().map_err(|_| StoreError::Corrupt(format!("end {text:?}")))).transpose()
    };
    Ok(AccessSession {
        id: row.parsed(0, "id")?,
        user: row.parsed(1, "id")?,
        user_name: row.text(2)?,
        connection: row.parsed(3, "id")?,
        connection_name: row.text(4)?,
        protocol: row.parsed(5, "protocol")?,
        purpose: row.parsed(6, "purpose")?,
        command: row.text(7)?,
        target: row.text(8)?,
        client_kind: row.parsed(9, "client")?,
        client_address: row.text(10)?,
        node: row.text(11)?,
        started_at: row.time(12)?,
        ended_at: row.maybe_time(13)?,
        end_reason: word(row.maybe_text(14)?)?,
        end_detail: row.text(15)?,
        exit_status: row.maybe_int(16)?.and_then(|status| u32::try_from(status).ok()),
        exit_signal: row.maybe_text(17)?,
        bytes_in: count(row, 18)?,
        bytes_out: count(row, 19)?,
        sha_in: row.maybe_text(20)?,
        sha_out: row.maybe_text(21)?,
        recording: row.parsed(22, "recording")?,
        recording_bytes: count(row, 23)?,
        command_count: count(row, 24)?,
        legal_hold: row.flag(25)?,
        client_supplied: row.flag(26)?,
    })
}

#[cfg(test)]
mod tests;
