//! What an SMB target's faults mean.

use smb2::{Error, ErrorKind, types::status::NtStatus};
use sojourn_domain::access::EndReason;

use crate::{
    files::{FsError, FsErrorKind},
    protocols::ConnectError,
};

/// STATUS_DIRECTORY_NOT_EMPTY and others that the library has no names for.
const DIRECTORY_NOT_EMPTY: u32 = 0xC000_0101;
const CANNOT_DELETE: u32 = 0xC000_0121;
const DELETE_PENDING: u32 = 0xC000_0056;
const QUOTA_EXCEEDED: u32 = 0xC000_0044;
const MEDIA_WRITE_PROTECTED: u32 = 0xC000_00A2;
const NOT_SAME_DEVICE: u32 = 0xC000_00D4;
const INVALID_PARAMETER: u32 = 0xC000_000D;

/// An operation on files failed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list may grow: what is not named here is told by its status"
)]
pub(super) fn fault(error: &Error) -> FsError {
    if let Some(status) = error.status()
        && let Some(known) = by_status(status.0)
    {
        return known;
    }
    let kind = match error.kind() {
        ErrorKind::NotFound => FsErrorKind::NotFound,
        ErrorKind::AccessDenied => FsErrorKind::Denied,
        ErrorKind::AlreadyExists => FsErrorKind::Exists,
        ErrorKind::IsADirectory => FsErrorKind::IsAFolder,
        ErrorKind::NotADirectory => FsErrorKind::NotAFolder,
        ErrorKind::DiskFull => FsErrorKind::NoSpace,
        ErrorKind::Unsupported => FsErrorKind::Unsupported,
        ErrorKind::TimedOut => FsErrorKind::TimedOut,
        ErrorKind::ConnectionLost | ErrorKind::SessionExpired | ErrorKind::Io => FsErrorKind::Lost,
        ErrorKind::InvalidName => FsErrorKind::Invalid,
        ErrorKind::SharingViolation => {
            return FsError::new(FsErrorKind::Denied, "somebody else has the file open");
        }
        ErrorKind::DfsReferral => {
            return FsError::new(
                FsErrorKind::Unsupported,
                "this folder lies on another server (DFS): make a connection to that one",
            );
        }
        ErrorKind::SignatureInvalid => {
            return FsError::new(
                FsErrorKind::Lost,
                "the target's answer was not signed as it must be: it or the network cannot be trusted",
            );
        }
        ErrorKind::InvalidData => {
            return FsError::new(FsErrorKind::Other, "the target gave an answer that makes no sense");
        }
        _ => FsErrorKind::Other,
    };
    match (kind, error.status()) {
        (FsErrorKind::Other, Some(status)) => FsError::said(kind, status.to_string().as_bytes()),
        (kind, _) => FsError::of(kind),
    }
}

fn by_status(status: u32) -> Option<FsError> {
    Some(match status {
        DIRECTORY_NOT_EMPTY => FsError::of(FsErrorKind::NotEmpty),
        CANNOT_DELETE | MEDIA_WRITE_PROTECTED => FsError::of(FsErrorKind::Denied),
        DELETE_PENDING => FsError::new(FsErrorKind::Denied, "it is being removed while somebody has it open"),
        QUOTA_EXCEEDED => FsError::of(FsErrorKind::NoSpace),
        NOT_SAME_DEVICE => FsError::new(FsErrorKind::Unsupported, "it cannot be moved to another volume"),
        INVALID_PARAMETER => FsError::of(FsErrorKind::Invalid),
        _ => return None,
    })
}

/// Nobody got in.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list may grow: what is not named here is told by its status"
)]
pub(super) fn refusal(error: &Error) -> ConnectError {
    let (reason, message) = match error.kind() {
        ErrorKind::AuthRequired => {
            (EndReason::LoginRefused, "the target refused the name or the password".to_owned())
        }
        ErrorKind::GuestSessionRefused => (
            EndReason::LoginRefused,
            "the target does not know this name with this password: it would let in a guest only".to_owned(),
        ),
        ErrorKind::SigningRequired | ErrorKind::AccessDenied => {
            (EndReason::LoginRefused, "the target lets this user in nowhere".to_owned())
        }
        ErrorKind::SignatureInvalid => (
            EndReason::Failed,
            "the target's answer was not signed as it must be: it or the network cannot be trusted"
                .to_owned(),
        ),
        ErrorKind::TimedOut => (EndReason::Unreachable, "the target does not answer".to_owned()),
        ErrorKind::ConnectionLost | ErrorKind::Io => (
            EndReason::TargetLost,
            "the target hung up: perhaps it speaks SMB 1 only, or does not want this address".to_owned(),
        ),
        ErrorKind::InvalidData => (EndReason::Failed, "the target speaks neither SMB 2 nor SMB 3".to_owned()),
        _ => {
            let status = error.status().map_or_else(String::new, |status| format!(": {status}"));
            (EndReason::Failed, format!("the target did not let us in{status}"))
        }
    };
    ConnectError::new(reason, message)
}

/// A share could not be opened.
pub(super) fn no_share(share: &str, error: &Error) -> ConnectError {
    match error.status() {
        Some(NtStatus::BAD_NETWORK_NAME | NtStatus::OBJECT_NAME_NOT_FOUND) => {
            ConnectError::new(EndReason::Failed, format!("the target has no share {share:?}"))
        }
        Some(NtStatus::ACCESS_DENIED) => ConnectError::new(
            EndReason::LoginRefused,
            format!("the target does not let this user use the share {share:?}"),
        ),
        _ => refusal(error),
    }
}

/// As [`no_share`], for one among others.
pub(super) fn share_fault(share: &str, error: &Error) -> FsError {
    match error.status() {
        Some(NtStatus::BAD_NETWORK_NAME | NtStatus::OBJECT_NAME_NOT_FOUND) => {
            FsError::new(FsErrorKind::NotFound, format!("the target has no share {share:?}"))
        }
        Some(NtStatus::ACCESS_DENIED) => FsError::new(
            FsErrorKind::Denied,
            format!("the target does not let this user use the share {share:?}"),
        ),
        _ => fault(error),
    }
}
