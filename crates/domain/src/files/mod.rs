//! File sessions: a user moving files on a connection, and every operation in them.
//!
//! Owns the words for it, what one finished operation was ([`Fact`]), how a path is written where
//! people read it, and what a connection's policy allows ([`FilePolicy`]). Knows nothing of how
//! bytes travel. Why a file session ended is said with [`crate::access::EndReason`].

mod policy;
pub mod tap;

use std::fmt::Write as _;

pub use self::policy::{Denial, FilePolicy, Glob, ParseGlobError};
use crate::{
    access::words,
    time::{Elapsed, Timestamp},
};

words! {
    /// What the user's operations were carried by.
    FileProtocol {
        Sftp = "sftp",
        /// The old protocol of scp; today's scp speaks SFTP.
        Scp = "scp",
        /// rsync over SSH.
        Rsync = "rsync",
        Ftp = "ftp",
        Smb = "smb",
    }
}

words! {
    /// What was done with a path. Looking at attributes is no operation.
    FileAction {
        /// A folder's entries were read.
        Browse = "browse",
        Download = "download",
        Upload = "upload",
        Mkdir = "mkdir",
        Delete = "delete",
        Rename = "rename",
        /// Permissions, owner or times were set.
        Chmod = "chmod",
        /// Within the target, without passing through here.
        Copy = "copy",
        Truncate = "truncate",
        /// A symbolic or hard link was made: `path` is the link, `new_path` what it names.
        Link = "link",
    }
}

impl FileAction {
    /// Whether it leaves the target as it was.
    pub const fn only_reads(self) -> bool {
        match self {
            Self::Browse | Self::Download => true,
            Self::Upload
            | Self::Mkdir
            | Self::Delete
            | Self::Rename
            | Self::Chmod
            | Self::Copy
            | Self::Truncate
            | Self::Link => false,
        }
    }
}

words! {
    /// What became of an operation.
    FileOutcome {
        Ok = "ok",
        /// The target refused it, or could not.
        Failed = "failed",
        /// The connection's policy refused it; the target was not asked.
        Denied = "denied",
        /// It was cut off: `bytes` says how much had been moved.
        Interrupted = "interrupted",
    }
}

/// What one finished operation was. Paths are [`path_text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub action: FileAction,
    pub path: String,
    /// Where a rename or copy led, or what a link names.
    pub new_path: Option<String>,
    /// How much was moved, for downloads, uploads and copies; the new length, for truncating.
    pub bytes: Option<u64>,
    /// Where in the file moving began.
    pub offset: u64,
    /// How many entries were read, for browsing.
    pub entries: Option<u64>,
    /// SHA-256 in lower-case hex, where the whole file went through in order from its beginning.
    pub sha256: Option<String>,
    pub outcome: FileOutcome,
    /// Why it is not `ok`, for people; else empty.
    pub error: String,
    pub started: Timestamp,
    pub duration: Elapsed,
}

impl Fact {
    /// An operation without bytes that went well in no time; the rest is set by whoever knows it.
    pub fn new(action: FileAction, path: impl Into<String>, started: Timestamp) -> Self {
        Self {
            action,
            path: path.into(),
            new_path: None,
            bytes: None,
            offset: 0,
            entries: None,
            sha256: None,
            outcome: FileOutcome::Ok,
            error: String::new(),
            started,
            duration: Elapsed::ZERO,
        }
    }

    /// When it was over.
    pub fn finished(&self) -> Timestamp {
        self.started + self.duration
    }
}

/// A target's path as people read it, in events, JSON and messages: UTF-8 as it is; other bytes,
/// control characters, line separators and what turns the direction of writing around as `\xHH`,
/// byte by byte. A backslash that would read as such an escape is written as one (`\x5c`), so that
/// no two paths have the same text.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let bytes = &valid.as_bytes()[at..at + character.len_utf8()];
            let rest = &valid.as_bytes()[at + bytes.len()..];
            if must_be_escaped(character) || (character == '\\' && reads_as_escape(rest)) {
                escape(&mut text, bytes);
            } else {
                text.push(character);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn must_be_escaped(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn reads_as_escape(rest: &[u8]) -> bool {
    matches!(rest, [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_so_that_nothing_in_them_acts() {
        for (bytes, text) in [
            (&b"/var/www/index.html"[..], "/var/www/index.html"),
            ("/Büro/日本".as_bytes(), "/Büro/日本"),
            (b"/caf\xe9/a", "/caf\\xe9/a"),
            (b"/a\nb\x1b[31m\x7f\0", "/a\\x0ab\\x1b[31m\\x7f\\x00"),
            ("/\u{85}".as_bytes(), "/\\xc2\\x85"),
            ("/fdp\u{202e}exe.txt".as_bytes(), "/fdp\\xe2\\x80\\xaeexe.txt"),
            (b"/a\\b\\x4", "/a\\b\\x4"),
            (b"/a\\x0ab", "/a\\x5cx0ab"),
            (b"/\xf0\x9f\x98", "/\\xf0\\x9f\\x98"),
        ] {
            assert_eq!(path_text(bytes), text);
        }
    }

    #[test]
    fn words_are_the_contracts() {
        let words: Vec<&str> = FileAction::ALL.iter().map(|action| action.key()).collect();
        assert_eq!(
            words.join(", "),
            "browse, download, upload, mkdir, delete, rename, chmod, copy, truncate, link"
        );
        assert_eq!("interrupted".parse(), Ok(FileOutcome::Interrupted));
    }
}
