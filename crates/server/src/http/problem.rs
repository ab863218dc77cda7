//! The one shape of every error answer (RFC 9457, with the keys `success`, `error` and `code` that
//! clients of other products look at), and the only place where errors become answers.
//!
//! A problem's text is written for the caller. Internal text is logged here and never sent.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use sojourn_domain::{access::EndReason, files::Denial};
use sojourn_gateway::{
    files::{
        FsErrorKind,
        session::{FileEnded, FileError},
    },
    protocols::ConnectError,
    session::Refusal as SessionRefusal,
};
use sojourn_store::{
    StoreError, connections::ConnectionError, identity::IdentityError, public_keys::PublicKeyError,
    recordings::RecordingError, vault::VaultError,
};
use utoipa::ToSchema;

/// An error answer in the making.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    refusal: bool,
}

/// One wrong value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where it stands: a parameter's name, or the path in the body.
    pub field: String,
    /// What is wrong, and what is accepted.
    pub message: String,
}

/// An error, as RFC 9457 describes it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename = "Problem")]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:sojourn:problem:` and the code.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What went wrong, for programs; never changes.
    pub code: String,
    /// What went wrong, for people.
    pub detail: String,
    /// Always `false`.
    pub success: bool,
    /// The same as `detail`.
    pub error: String,
    /// The wrong values, where values are wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub errors: Option<Vec<FieldError>>,
}

/// Marks an answer that refused somebody something, so that the audit trail hears of it.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: &'static str,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), headers: Vec::new(), refusal: false }
    }

    /// 400: the request could not be read.
    pub fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", detail)
    }

    /// 401: no credential.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "log in, or send a token as a bearer credential",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sojourn\""))
    }

    /// 401: a credential that is unknown, expired, revoked, or of a disabled user.
    pub fn bad_credential() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "bad_credential", "the credential is unknown, expired or revoked")
            .header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sojourn\", error=\"invalid_token\""),
            )
            .refusal()
    }

    /// 403: the caller is known and may not.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail).refusal()
    }

    /// 404: there is no such thing.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what}"))
    }

    /// 404: there is such a thing, but the caller may not know of it. The answer is that of
    /// [`Problem::not_found`]; the audit trail knows better.
    pub fn hidden(what: impl std::fmt::Display) -> Self {
        Self::not_found(what).refusal()
    }

    /// 409: the state of things forbids it.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 413: more than is accepted.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than the {limit_bytes} bytes accepted here"),
        )
    }

    /// 415: a body of another type.
    pub fn unsupported_media(accepted: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("the body must be {accepted}, and Content-Type must say so"),
        )
    }

    /// 422: one value is wrong.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// 422: several values are wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect::<Vec<_>>()
            .join("; ");
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        problem.errors = errors;
        problem
    }

    /// 429: too much, too soon.
    pub fn slow_down(code: &'static str, detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds.max(1)))
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            .header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds.max(1)))
    }

    /// 500: a bug. Says nothing; log the cause before.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server made a mistake; its log says more",
        )
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The audit trail is to hear of it.
    #[must_use]
    pub fn refusal(mut self) -> Self {
        self.refusal = true;
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            type_uri: format!("urn:sojourn:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail.clone(),
            success: false,
            error: self.detail,
            errors: (!self.errors.is_empty()).then_some(self.errors),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        if self.refusal {
            response.extensions_mut().insert(Refusal { code: self.code });
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = match &error {
            StoreError::Unavailable(_) => Self::unavailable("the database does not answer; try again", 5),
            StoreError::Full(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", "the database's disk is full")
            }
            StoreError::Statement(_)
            | StoreError::Migration(_)
            | StoreError::UnknownDatabase(_)
            | StoreError::Corrupt(_) => Self::internal(),
        };
        let cause: &dyn std::error::Error = &error;
        tracing::error!(error = %chain(cause), "the store failed");
        problem
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        let text = error.to_string();
        match error {
            IdentityError::Store(error) => error.into(),
            IdentityError::NameTaken => Self::conflict("name_taken", text),
            IdentityError::RoleTaken => Self::conflict("role_taken", text),
            IdentityError::UnknownRole(_) => Self::invalid("role", text),
            IdentityError::LastAdmin => Self::conflict("last_admin", text),
            IdentityError::BuiltinRole => Self::conflict("builtin_role", text),
            IdentityError::RoleInUse(_) => Self::conflict("role_in_use", text),
            IdentityError::SetupOver => Self::conflict("setup_over", text),
            IdentityError::SetupCode => Self::new(StatusCode::UNAUTHORIZED, "setup_code", text)
                .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sojourn\"")),
        }
    }
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        let text = error.to_string();
        match error {
            ConnectionError::Store(error) => error.into(),
            ConnectionError::NameTaken => Self::conflict("name_taken", text),
            ConnectionError::UnknownUser | ConnectionError::UnknownRole(_) => Self::invalid("grants", text),
        }
    }
}

impl From<PublicKeyError> for Problem {
    fn from(error: PublicKeyError) -> Self {
        let text = error.to_string();
        match error {
            PublicKeyError::Store(error) => error.into(),
            PublicKeyError::Known => Self::conflict("key_known", text),
            PublicKeyError::TooMany => Self::conflict("too_many_keys", text),
        }
    }
}

/// What the vault cannot do is never the caller's fault.
impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        let cause: &dyn std::error::Error = &error;
        tracing::error!(error = %chain(cause), "the vault failed");
        Self::internal()
    }
}

impl From<RecordingError> for Problem {
    fn from(error: RecordingError) -> Self {
        let problem = match error {
            RecordingError::Store(error) => return error.into(),
            RecordingError::Full => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", "the disk for recordings is full")
            }
            RecordingError::Objects(_) => {
                Self::unavailable("the store of recordings does not answer; try again", 10)
            }
            RecordingError::Held => Self::conflict("session_held", "the session is held: let it go first"),
            RecordingError::Live | RecordingError::Exists | RecordingError::Over => {
                Self::conflict("recording_live", "the recording is still being written")
            }
            RecordingError::Damaged(_) | RecordingError::Seal(_) => Self::conflict(
                "recording_damaged",
                "the recording is damaged or altered: see its verification",
            ),
            RecordingError::Failed
            | RecordingError::Spool(..)
            | RecordingError::UnknownObjects(_)
            | RecordingError::Vault(_) => Self::internal(),
        };
        tracing::error!(error = %chain(&error), "a recording failed");
        problem
    }
}

/// What a target or the policy of its connection refuses is in the file session already: no other word to the trail.
impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Denied(denial) => {
                let (status, code) = match denial {
                    Denial::ReadOnly | Denial::NoDelete | Denial::PathDenied | Denial::PathNotAllowed => {
                        (StatusCode::FORBIDDEN, "denied_by_policy")
                    }
                    Denial::UploadTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "upload_limit"),
                    Denial::DownloadTooLarge(_) => (StatusCode::FORBIDDEN, "download_limit"),
                };
                Self::new(status, code, denial.to_string())
            }
            FileError::Target(error) => {
                let (status, code) = match error.kind {
                    FsErrorKind::NotFound => (StatusCode::NOT_FOUND, "no_such_file"),
                    FsErrorKind::Denied => (StatusCode::FORBIDDEN, "denied_by_target"),
                    FsErrorKind::Exists => (StatusCode::CONFLICT, "exists"),
                    FsErrorKind::NotEmpty => (StatusCode::CONFLICT, "not_empty"),
                    FsErrorKind::NotAFolder => (StatusCode::CONFLICT, "not_a_folder"),
                    FsErrorKind::IsAFolder => (StatusCode::CONFLICT, "is_a_folder"),
                    FsErrorKind::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "target_full"),
                    FsErrorKind::Unsupported => (StatusCode::CONFLICT, "unsupported"),
                    FsErrorKind::Lost => (StatusCode::BAD_GATEWAY, "target_lost"),
                    FsErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "target_timeout"),
                    FsErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "refused_by_target"),
                    FsErrorKind::Other => (StatusCode::BAD_GATEWAY, "target_failed"),
                };
                Self::new(status, code, error.message())
            }
            FileError::Ended(ended) => ended.into(),
        }
    }
}

impl From<FileEnded> for Problem {
    fn from(ended: FileEnded) -> Self {
        match ended.reason {
            EndReason::ServerStopped => Self::unavailable("the server is stopping", 10),
            EndReason::Terminated => Self::conflict("session_terminated", ended.to_string()),
            EndReason::TargetLost => Self::new(StatusCode::BAD_GATEWAY, "target_lost", ended.to_string()),
            EndReason::Closed
            | EndReason::ClientLost
            | EndReason::Unreachable
            | EndReason::LoginRefused
            | EndReason::HostKey
            | EndReason::Denied
            | EndReason::Revoked
            | EndReason::Idle
            | EndReason::TimeLimit
            | EndReason::RecordingFailed
            | EndReason::ServerDied
            | EndReason::Failed => Self::conflict("session_over", ended.to_string()),
        }
    }
}

/// A target that was not reached, or did not let the server in.
impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        let (status, code) = match error.reason {
            EndReason::Unreachable => (StatusCode::BAD_GATEWAY, "target_unreachable"),
            EndReason::LoginRefused => (StatusCode::BAD_GATEWAY, "target_login_refused"),
            EndReason::HostKey => (StatusCode::BAD_GATEWAY, "target_host_key"),
            EndReason::Denied => (StatusCode::FORBIDDEN, "target_denied"),
            EndReason::TargetLost
            | EndReason::Closed
            | EndReason::ClientLost
            | EndReason::Terminated
            | EndReason::Revoked
            | EndReason::Idle
            | EndReason::TimeLimit
            | EndReason::RecordingFailed
            | EndReason::ServerStopped
            | EndReason::ServerDied
            | EndReason::Failed => (StatusCode::BAD_GATEWAY, "target_failed"),
        };
        Self::new(status, code, error.message)
    }
}

impl From<SessionRefusal> for Problem {
    fn from(refusal: SessionRefusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            SessionRefusal::Full | SessionRefusal::UserFull | SessionRefusal::Stopping => {
                Self::unavailable(text, 10)
            }
            SessionRefusal::Storage | SessionRefusal::Recording => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", text)
            }
            SessionRefusal::Policy(_) => Self::forbidden("denied_by_policy", text),
            SessionRefusal::Store(error) => error.into(),
        }
    }
}

/// An error and its causes in one line, for logs.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
