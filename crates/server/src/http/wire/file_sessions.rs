//! File sessions and their events on the wire: JSON, and the columns of their CSV.
//!
//! The first fields of a session and of an event are those of the seed, in its order. Times are UTC with
//! milliseconds.

use serde::Serialize;
use sojourn_domain::{
    access,
    files::{FileAction, FileOutcome},
    policy::Permission,
};
use sojourn_store::files::{FileEvent, FileSession};
use utoipa::ToSchema;

use super::{
    access::words as access_words,
    csv::{self, Newline},
    values::{Time, some},
};
use crate::http::actor::Actor;

/// Schemas of words.
pub mod words {
    use sojourn_domain::files::{FileAction, FileOutcome, FileProtocol};
    use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

    macro_rules! words {
        ($($function:ident = $name:ident;)*) => {$(
            pub fn $function() -> Object {
                ObjectBuilder::new()
                    .schema_type(SchemaType::Type(Type::String))
                    .enum_values(Some($name::ALL.iter().map(|word| word.key())))
                    .build()
            }
        )*};
    }

    words! {
        protocol = FileProtocol;
        action = FileAction;
        outcome = FileOutcome;
    }
}

/// A user moving files on a connection.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileSession)]
pub struct FileSessionBody {
    pub id: String,
    pub user_id: String,
    #[schema(schema_with = words::protocol)]
    pub protocol: &'static str,
    pub started_at: Time,
    /// `null` while it is live.
    pub ended_at: Option<Time>,
    pub connection_name: String,
    /// The user of Sojourn.
    pub username: String,
    #[schema(minimum = 0)]
    pub event_count: u64,
    pub live: bool,
    pub connection_id: String,
    pub client_address: String,
    #[schema(schema_with = access_words::client_kind)]
    pub client_kind: &'static str,
    /// The access session whose channel carried it.
    pub access_session_id: Option<String>,
    #[schema(schema_with = access_words::end_reason)]
    pub end_reason: Option<&'static str>,
    pub end_detail: Option<String>,
    /// To the target.
    #[schema(minimum = 0)]
    pub bytes_up: u64,
    /// From the target.
    #[schema(minimum = 0)]
    pub bytes_down: u64,
    /// Events whose outcome is not `ok`.
    #[schema(minimum = 0)]
    pub failed_count: u64,
    /// Where it led; for those who may see everybody's sessions.
    pub target: Option<String>,
    /// No purge and no retention removes it.
    pub legal_hold: bool,
    /// The server that has, or had, it.
    pub node: String,
}

impl FileSessionBody {
    /// As `actor` may see it.
    pub fn new(session: FileSession, actor: &Actor) -> Self {
        Self {
            id: session.id.to_string(),
            user_id: session.user.to_string(),
            protocol: session.protocol.key(),
            started_at: Time(session.started_at),
            ended_at: session.ended_at.map(Time),
            live: session.is_live(),
            connection_name: session.connection_name,
            username: session.user_name,
            event_count: session.event_count,
            connection_id: session.connection.to_string(),
            client_address: session.client_address,
            client_kind: session.client_kind.key(),
            access_session_id: session.access_session.map(|id| id.to_string()),
            end_reason: session.end_reason.map(access::EndReason::key),
            end_detail: some(session.end_detail),
            bytes_up: session.bytes_up,
            bytes_down: session.bytes_down,
            failed_count: session.failed_count,
            target: actor.may(Permission::SessionsViewAny).then_some(session.target),
            legal_hold: session.legal_hold,
            node: session.node,
        }
    }
}

/// File sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileSessions {
    pub sessions: Vec<FileSessionBody>,
    #[schema(minimum = 1)]
    pub page: u32,
    #[schema(minimum = 1, maximum = 2000)]
    pub limit: u32,
    #[schema(minimum = 0)]
    pub total: i64,
}

/// An operation in a file session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileEvent)]
pub struct FileEventBody {
    pub id: String,
    /// When it was over.
    pub timestamp: Time,
    #[schema(schema_with = words::action)]
    pub action: &'static str,
    /// Bytes that are no UTF-8 and control characters are written `\xHH`.
    pub path: String,
    /// For people: how much, where to, and what went wrong.
    pub detail: String,
    /// Where a rename or copy led, or what a link names.
    pub new_path: Option<String>,
    /// Bytes that were moved, however far it came.
    #[schema(minimum = 0)]
    pub size: Option<u64>,
    /// Of a whole transfer.
    pub sha256: Option<String>,
    #[schema(schema_with = words::outcome)]
    pub outcome: &'static str,
    pub error: Option<String>,
    #[schema(minimum = 0)]
    pub duration_ms: i64,
    /// Where in the file moving began.
    #[schema(minimum = 0)]
    pub offset: u64,
    /// How many entries a folder had.
    #[schema(minimum = 0)]
    pub entries: Option<u64>,
}

impl From<FileEvent> for FileEventBody {
    fn from(event: FileEvent) -> Self {
        Self {
            detail: detail(&event),
            id: event.id.to_string(),
            timestamp: Time(event.at),
            action: event.action.key(),
            path: event.path,
            new_path: event.new_path,
            size: event.bytes,
            sha256: event.sha256,
            outcome: event.outcome.key(),
            error: some(event.error),
            duration_ms: event.duration.as_millis(),
            offset: event.offset,
            entries: event.entries,
        }
    }
}

/// The events of a file session, in the order in which they were over. Page, limit and total are there
/// when a page was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileEvents {
    pub events: Vec<FileEventBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, nullable = false)]
    pub page: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2000, nullable = false)]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, nullable = false)]
    pub total: Option<i64>,
}

/// What people want to know of an event at a glance.
fn detail(event: &FileEvent) -> String {
    let mut parts = Vec::new();
    match event.action {
        FileAction::Download | FileAction::Upload | FileAction::Copy => {
            if let Some(bytes) = event.bytes {
                parts.push(size(bytes));
            }
            if event.offset > 0 {
                parts.push(format!("from byte {}", event.offset));
            }
            if event.action == FileAction::Copy {
                parts.extend(event.new_path.as_ref().map(|path| format!("to {path}")));
            }
        }
        FileAction::Truncate => parts.extend(event.bytes.map(|bytes| format!("to {}", size(bytes)))),
        FileAction::Browse => parts.extend(event.entries.map(|entries| match entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        })),
        FileAction::Rename | FileAction::Link => {
            parts.extend(event.new_path.as_ref().map(|path| format!("to {path}")));
        }
        FileAction::Mkdir | FileAction::Delete | FileAction::Chmod => {}
    }
    match (event.outcome, event.error.as_str()) {
        (FileOutcome::Ok, _) => {}
        (outcome, "") => parts.push(outcome.to_string()),
        (outcome, error) => parts.push(format!("{outcome}: {error}")),
    }
    parts.join(", ")
}

/// `12.4 KB`: powers of 1000, as the web UI has them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // In tenths of the unit, rounded down: what is shown was moved.
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// The columns of the CSV. The first ten are those of a product that clients may come from.
pub const CSV_COLUMNS: [&str; 22] = [
    "session_id",
    "connection",
    "username",
    "protocol",
    "session_started",
    "session_ended",
    "timestamp",
    "action",
    "path",
    "detail",
    "event_id",
    "new_path",
    "size",
    "offset",
    "entries",
    "sha256",
    "outcome",
    "error",
    "duration_ms",
    "user_id",
    "client_address",
    "access_session_id",
];

/// Appends an event's row.
pub fn csv_row(out: &mut Vec<u8>, session: &FileSession, event: FileEvent, newline: Newline) {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let event = FileEventBody::from(event);
    let cells = [
        &session.id.to_string(),
        &session.connection_name,
        &session.user_name,
        session.protocol.key(),
        &session.started_at.rfc3339(),
        &session.ended_at.map(|at| at.rfc3339()).unwrap_or_default(),
        &event.timestamp.0.rfc3339(),
        event.action,
        &event.path,
        &event.detail,
        &event.id,
        &event.new_path.unwrap_or_default(),
        &number(event.size),
        &event.offset.to_string(),
        &number(event.entries),
        &event.sha256.unwrap_or_default(),
        event.outcome,
        &event.error.unwrap_or_default(),
        &event.duration_ms.to_string(),
        &session.user.to_string(),
        &session.client_address,
        &session.access_session.map(|id| id.to_string()).unwrap_or_default(),
    ];
    csv::row(out, &cells, newline);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_the_seed_has_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (12_400, "12.4 KB"),
            (12_499, "12.4 KB"),
            (999_999, "999.9 KB"),
            (1_000_000, "1.0 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
