//! Access sessions, their commands and public keys on the wire.
//!
//! Times are UTC with milliseconds; `elapsed` is milliseconds since the session's start. The first
//! fields of a session and of a command are those of the seed, in its order.

use serde::{Deserialize, Serialize};
use sojourn_domain::{access, identity::Line, policy::Permission};
use sojourn_store::{
    access::{AccessSession, Command, InputEvent},
    public_keys::PublicKey,
};
use utoipa::ToSchema;

use super::values::{Time, some};
use crate::http::actor::Actor;

/// Schemas of words.
pub mod words {
    use sojourn_domain::access::{
        AuthKind, ClientKind, EndReason, Protocol, Purpose, RecordPolicy, RecordingState,
    };
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
        protocol = Protocol;
        purpose = Purpose;
        client_kind = ClientKind;
        recording = RecordingState;
        auth = AuthKind;
        record = RecordPolicy;
    }

    pub fn end_reason() -> Object {
        let reasons = EndReason::ALL.iter().map(|word| Some(word.key()));
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .enum_values(Some(reasons.chain([None])))
            .build()
    }
}

/// A user on a connection.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccessSession)]
pub struct SessionBody {
    pub id: String,
    pub user_id: String,
    #[schema(schema_with = words::protocol)]
    pub protocol: &'static str,
    pub started_at: Time,
    /// `null` while it is live.
    pub ended_at: Option<Time>,
    pub has_recording: bool,
    /// Bytes of the recording; of a live one, so far.
    #[schema(minimum = 0)]
    pub file_size: u64,
    pub connection_name: String,
    /// The user of Sojourn.
    pub username: String,
    pub live: bool,
    pub connection_id: String,
    pub client_address: String,
    #[schema(schema_with = words::client_kind)]
    pub client_kind: &'static str,
    #[schema(schema_with = words::purpose)]
    pub purpose: &'static str,
    /// What was asked to be run, or the subsystem's name.
    pub command: Option<String>,
    #[schema(schema_with = words::recording)]
    pub recording: &'static str,
    /// `client-supplied` where the user's own client made the recording, and could have left out or made up what it liked;
    /// `null` where the server records.
    pub recording_source: Option<&'static str>,
    #[schema(minimum = 0)]
    pub command_count: u64,
    #[schema(schema_with = words::end_reason)]
    pub end_reason: Option<&'static str>,
    pub end_detail: Option<String>,
    #[schema(minimum = 0)]
    pub exit_status: Option<u32>,
    pub exit_signal: Option<String>,
    /// To the target.
    #[schema(minimum = 0)]
    pub bytes_in: u64,
    /// From the target.
    #[schema(minimum = 0)]
    pub bytes_out: u64,
    /// Of what went to the target, where there was no terminal.
    pub sha256_in: Option<String>,
    /// Of what came from the target, where there was no terminal.
    pub sha256_out: Option<String>,
    /// Where it led; for those who may see everybody's sessions.
    pub target: Option<String>,
    /// No purge and no retention removes it.
    pub legal_hold: bool,
    /// The server that has, or had, it.
    pub node: String,
    /// Who looks on now, as far as this server knows.
    pub viewers: Vec<ViewerBody>,
    /// The file session that it carries; said when one session is asked for, not in lists.
    pub file_session_id: Option<String>,
}

/// Somebody who looks on.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Viewer)]
pub struct ViewerBody {
    pub name: String,
    /// `watch`, or `join` for those who take part.
    #[schema(pattern = "^(watch|join)$")]
    pub mode: &'static str,
}

impl SessionBody {
    /// As `actor` may see it.
    pub fn new(session: AccessSession, actor: &Actor) -> Self {
        let live = session.is_live();
        Self {
            id: session.id.to_string(),
            user_id: session.user.to_string(),
            protocol: session.protocol.key(),
            started_at: Time(session.started_at),
            ended_at: session.ended_at.map(Time),
            has_recording: session.recording != access::RecordingState::None,
            file_size: session.recording_bytes,
            connection_name: session.connection_name,
            username: session.user_name,
            live,
            connection_id: session.connection.to_string(),
            client_address: session.client_address,
            client_kind: session.client_kind.key(),
            purpose: session.purpose.key(),
            command: some(session.command),
            recording: session.recording.key(),
            recording_source: session.client_supplied.then_some("client-supplied"),
            command_count: session.command_count,
            end_reason: session.end_reason.map(access::EndReason::key),
            end_detail: some(session.end_detail),
            exit_status: session.exit_status,
            exit_signal: session.exit_signal,
            bytes_in: session.bytes_in,
            bytes_out: session.bytes_out,
            sha256_in: session.sha_in,
            sha256_out: session.sha_out,
            target: actor.may(Permission::SessionsViewAny).then_some(session.target),
            legal_hold: session.legal_hold,
            node: session.node,
            viewers: Vec::new(),
            file_session_id: None,
        }
    }
}

/// Sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessSessions)]
pub struct Sessions {
    pub sessions: Vec<SessionBody>,
    #[schema(minimum = 1)]
    pub page: u32,
    #[schema(minimum = 1, maximum = 2000)]
    pub limit: u32,
    #[schema(minimum = 0)]
    pub total: i64,
}

/// Why something is done, for the audit trail.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[serde(default)]
    #[schema(value_type = String, max_length = 500)]
    pub reason: Line<500>,
}

/// What a purge removed, and what it left.
#[derive(Debug, Default, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// Always `true`.
    pub ok: bool,
    #[schema(minimum = 0)]
    pub deleted_sessions: u64,
    #[schema(minimum = 0)]
    pub deleted_recordings: u64,
    #[schema(minimum = 0)]
    pub deleted_file_sessions: u64,
    /// Live sessions stay.
    #[schema(minimum = 0)]
    pub skipped_live: u64,
    /// Held sessions stay.
    #[schema(minimum = 0)]
    pub skipped_held: u64,
}

/// Whether a session is held against every purge and retention.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Hold)]
pub struct HoldRequest {
    pub hold: bool,
    #[serde(default)]
    #[schema(value_type = String, max_length = 500)]
    pub reason: Line<500>,
}

/// A command that somebody ran.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
pub struct CommandBody {
    pub id: String,
    pub timestamp: Time,
    /// Milliseconds since the session's start.
    pub elapsed: i64,
    /// `[redacted]` for what was typed without echo.
    pub command: String,
    /// The beginning of what it showed.
    pub output_preview: String,
    /// `exec`, `osc133` or `screen`.
    pub source: String,
    /// `exact` or `inferred`.
    pub confidence: String,
    /// `shell`, `repl`, `stdin` or `password`.
    pub kind: String,
    #[serde(rename = "exitCode")]
    pub exit_code: Option<i64>,
    /// When it was over, in milliseconds since the session's start.
    pub until: Option<i64>,
}

impl From<Command> for CommandBody {
    fn from(command: Command) -> Self {
        Self {
            id: command.id.to_string(),
            timestamp: Time(command.at),
            elapsed: command.elapsed_ms,
            command: command.command,
            output_preview: command.output_preview,
            source: command.source,
            confidence: command.confidence,
            kind: command.kind,
            exit_code: command.exit_code,
            until: command.until_ms,
        }
    }
}

/// A desktop session that the user's own client records.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewDesktopSession {
    /// The id or the name of an RDP connection that one may use.
    #[schema(min_length = 1, max_length = 128)]
    pub connection_id: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DesktopSession {
    pub session_id: String,
    /// Whether the client shall send its recording.
    pub should_record: bool,
}

/// Something done with mouse or keyboard, as the client tells it. Whatever else it says is not kept.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewInputEvent {
    /// Milliseconds since the session's start.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub elapsed: i64,
    /// `click`, `key`, `move`, or another short word.
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^[a-z][a-z0-9_-]{0,31}$")]
    pub kind: access::InputKind,
}

/// Something done with mouse or keyboard.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InputEvent)]
pub struct InputEventBody {
    /// Milliseconds since the session's start.
    pub elapsed: i64,
    pub event_type: String,
    /// Of a `key`, where the connection's policy asks for it: which one, as `KeyboardEvent.key` names it. Else absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub key: Option<String>,
}

impl From<&InputEvent> for InputEventBody {
    fn from(event: &InputEvent) -> Self {
        Self {
            elapsed: event.elapsed_ms,
            event_type: event.kind.as_str().to_owned(),
            key: event.pressed.as_ref().map(|key| key.as_str().to_owned()),
        }
    }
}

/// What was done with mouse and keyboard, by time.
#[derive(Debug, Serialize, ToSchema)]
pub struct InputEvents {
    pub events: Vec<InputEventBody>,
}

/// The commands of a session, in the order in which they were run.
#[derive(Debug, Serialize, ToSchema)]
pub struct Commands {
    pub commands: Vec<CommandBody>,
}

/// A public key with which a user logs in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PublicKey)]
pub struct KeyBody {
    pub id: String,
    pub label: String,
    /// `SHA256:` and base 64.
    pub fingerprint: String,
    pub created_at: Time,
    pub last_used_at: Option<Time>,
}

impl From<PublicKey> for KeyBody {
    fn from(key: PublicKey) -> Self {
        Self {
            id: key.id.to_string(),
            label: key.label,
            fingerprint: key.fingerprint,
            created_at: Time(key.created_at),
            last_used_at: key.last_used_at.map(Time),
        }
    }
}

/// A user's keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PublicKeys)]
pub struct Keys {
    pub keys: Vec<KeyBody>,
}

/// A key to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewPublicKey)]
pub struct NewKeyRequest {
    /// A line as in `authorized_keys`, without options.
    #[schema(max_length = 16384)]
    pub public_key: String,
    /// The key's comment unless said otherwise.
    #[schema(value_type = String, max_length = 128, nullable = false)]
    pub label: Option<Line<128>>,
}
