//! What can go wrong with files on a target, as far as a caller can tell it apart.

use std::fmt;

/// The longest sentence that is kept of a target's own words, in characters.
const LONGEST: usize = 300;

/// Which kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FsErrorKind {
    /// There is no such file or folder.
    NotFound,
    /// The target does not allow it.
    Denied,
    /// Something of that name is there already.
    Exists,
    /// The folder holds something.
    NotEmpty,
    /// A folder is needed, and this is none.
    NotAFolder,
    /// A file is needed, and this is a folder.
    IsAFolder,
    /// The target's disk or quota is full.
    NoSpace,
    /// The target or its protocol cannot do it.
    Unsupported,
    /// The connection to the target broke, and what was asked for may or may not have happened.
    Lost,
    /// The target did not answer in time.
    TimedOut,
    /// The name or the wish makes no sense to this target.
    Invalid,
    /// Anything else that the target said.
    Other,
}

impl FsErrorKind {
    /// What it says where the target gave no words of its own.
    const fn sentence(self) -> &'static str {
        match self {
            Self::NotFound => "there is no such file or folder",
            Self::Denied => "the target does not allow it",
            Self::Exists => "there is something of that name already",
            Self::NotEmpty => "the folder is not empty",
            Self::NotAFolder => "it is no folder",
            Self::IsAFolder => "it is a folder",
            Self::NoSpace => "the target has no space left",
            Self::Unsupported => "the target cannot do this",
            Self::Lost => "the connection to the target broke",
            Self::TimedOut => "the target did not answer in time",
            Self::Invalid => "the target cannot have such a name or value",
            Self::Other => "the target failed",
        }
    }
}

/// An operation on a target's files failed.
///
/// The message is a lower-case sentence for people. Whatever a target wrote into it has no control characters and
/// is not long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsError {
    pub kind: FsErrorKind,
    message: String,
}

pub type FsResult<T> = Result<T, FsError>;

impl FsError {
    /// With the usual words for its kind.
    pub fn of(kind: FsErrorKind) -> Self {
        Self { kind, message: kind.sentence().to_owned() }
    }

    pub fn new(kind: FsErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: harmless(message.as_ref()) }
    }

    /// With the usual words, and what the target said. Its bytes need not be UTF-8.
    pub fn said(kind: FsErrorKind, words: &[u8]) -> Self {
        let words = harmless(String::from_utf8_lossy(words).trim());
        if words.is_empty() {
            return Self::of(kind);
        }
        Self { kind, message: format!("{} (the target says: {words})", kind.sentence()) }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// The connection itself is at fault: another one may do better.
    pub fn is_lost(&self) -> bool {
        matches!(self.kind, FsErrorKind::Lost | FsErrorKind::TimedOut)
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FsError {}

/// Without anything that steers a terminal or a line of a log, and cut where it is long.
fn harmless(text: &str) -> String {
    let mut harmless: String =
        text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        harmless.push('…');
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_s_words_do_no_harm() {
        let error = FsError::said(FsErrorKind::Denied, b"no\x1b[2J\r\nway \xff");
        assert_eq!(error.message(), "the target does not allow it (the target says: no [2J  way \u{fffd})");
        assert_eq!(FsError::said(FsErrorKind::Other, b" \r\n").message(), "the target failed");
        assert!(FsError::new(FsErrorKind::Other, "x".repeat(100_000)).message().len() < 1000);
    }
}
