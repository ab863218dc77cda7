//! File sessions, the operations in them, and uploads that are under way.
//!
//! Every list and look-up of sessions and events demands a [`Visibility`](sojourn_domain::policy::Visibility).
//! Names of users and connections are kept as they were: both may go, the history stays. Events are
//! only ever added; nobody changes one.

mod events;
mod list;
mod sessions;
mod transfers;
mod uploads;

use sojourn_domain::{
    access::{ClientKind, EndReason},
    files::{FileAction, FileOutcome, FileProtocol},
    id::{AccessSessionId, ConnectionId, FileEventId, FileSessionId, UserId},
    time::{Elapsed, Timestamp},
};
use sqlx::any::AnyRow;

pub(crate) use self::sessions::remove_carried_by;
pub use self::{
    events::{FileEventFilter, NewFileEvent},
    list::FileSessionFilter,
    uploads::{NewUpload, Upload},
};
use crate::{StoreError, presence::Columns as _};

/// A user moving files on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSession {
    pub id: FileSessionId,
    pub user: UserId,
    pub user_name: String,
    pub connection: ConnectionId,
    pub connection_name: String,
    pub protocol: FileProtocol,
    /// Where it led: not for everybody's eyes.
    pub target: String,
    pub client_kind: ClientKind,
    pub client_address: String,
    /// The server that has, or had, it.
    pub node: String,
    /// The access session whose channel carried it.
    pub access_session: Option<AccessSessionId>,
    pub started_at: Timestamp,
    /// `None` while live.
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<EndReason>,
    pub end_detail: String,
    pub event_count: u64,
    /// Events whose outcome is not `ok`.
    pub failed_count: u64,
    /// To the target.
    pub bytes_up: u64,
    /// From the target.
    pub bytes_down: u64,
    pub legal_hold: bool,
}

impl FileSession {
    pub fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// A file session that is about to begin.
#[derive(Debug, Clone)]
pub struct NewFileSession {
    pub id: FileSessionId,
    pub user: UserId,
    pub user_name: String,
    pub connection: ConnectionId,
    pub connection_name: String,
    pub protocol: FileProtocol,
    pub target: String,
    pub client_kind: ClientKind,
    pub client_address: String,
    pub node: String,
    pub access_session: Option<AccessSessionId>,
    pub started_at: Timestamp,
}

/// An operation that was done, or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvent {
    pub id: FileEventId,
    pub session: FileSessionId,
    /// When it was over.
    pub at: Timestamp,
    pub action: FileAction,
    /// As `sojourn_domain::files::path_text` writes it.
    pub path: String,
    pub new_path: Option<String>,
    pub bytes: Option<u64>,
    pub offset: u64,
    pub entries: Option<u64>,
    pub sha256: Option<String>,
    pub outcome: FileOutcome,
    pub error: String,
    pub duration: Elapsed,
}

macro_rules! columns {
    () => {
        "s.id, s.user_id, s.user_name, s.connection_id, s.connection_name, s.protocol, s.target, s.client_kind, \
         s.client_address, s.node, s.access_session_id, s.started_at, s.ended_at, s.end_reason, s.end_detail, \
         s.event_count, s.failed_count, s.bytes_up, s.bytes_down, s.legal_hold"
    };
}
use columns;

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt("a negative count".to_owned()))
}

fn session(row: &AnyRow) -> Result<FileSession, StoreError> {
    let corrupt = |text: &str| StoreError::Corrupt(format!("{text:?} in a file session"));
    Ok(FileSession {
        id: row.parsed(0, "id")?,
        user: row.parsed(1, "id")?,
        user_name: row.text(2)?,
        connection: row.parsed(3, "id")?,
        connection_name: row.text(4)?,
        protocol: row.parsed(5, "protocol")?,
        target: row.text(6)?,
        client_kind: row.parsed(7, "client")?,
        client_address: row.text(8)?,
        node: row.text(9)?,
        access_session: row
            .maybe_text(10)?
            .map(|text| text.parse().map_err(|_| corrupt(&text)))
            .transpose()?,
        started_at: row.time(11)?,
        ended_at: row.maybe_time(12)?,
        end_reason: row.maybe_text(13)?.map(|text| text.parse().map_err(|_| corrupt(&text))).transpose()?,
        end_detail: row.text(14)?,
        event_count: count(row.int(15)?)?,
        failed_count: count(row.int(16)?)?,
        bytes_up: count(row.int(17)?)?,
        bytes_down: count(row.int(18)?)?,
        legal_hold: row.flag(19)?,
    })
}

#[cfg(test)]
mod tests;
