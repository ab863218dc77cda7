//! Taps: they read along while somebody moves files through a session, and say what was done.
//!
//! Owns the parsers of what native clients speak to a target: SFTP ([`sftp`]), the old protocol of
//! scp ([`scp`]) and the little that can be known of rsync ([`rsync`]). Passive and pure: bytes of both
//! directions go in as they pass, [`Fact`]s come out; nothing is held back, altered or asked. A tap
//! must see the client's bytes before the target does and the target's before the client does.
//!
//! Bounded: contents of files are never kept, they go straight into a hash. What a peer could make grow
//! has a limit with a name. Where one is passed, or bytes make no sense, a tap cannot know any more what
//! is done: it is *lost* ([`Tap::lost`]), says of every open operation that it was, and stays so.

mod moving;
pub mod rsync;
pub mod scp;
pub mod sftp;
mod words;

use super::{Fact, FileProtocol, path_text};
use crate::time::Timestamp;

/// The longest path that is kept whole; what is longer ends in `…`.
pub const PATH_BYTES: usize = 4096;
/// The longest sentence of a target that is kept.
pub const SENTENCE_BYTES: usize = 512;

/// Why a tap no longer knows what is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("{0} sent what is not {1}")]
    Nonsense(Side, &'static str),
    #[error("{0} sent a packet of {1} bytes")]
    TooLong(Side, u64),
    #[error("there are more than {0} open files")]
    OpenFiles(usize),
    #[error("there are more than {0} requests without an answer")]
    InFlight(usize),
    #[error("paths of more than {0} bytes are in use")]
    Paths(usize),
    #[error("the target took a handle that it had not given out")]
    UnknownHandle,
    #[error("the client did not wait for the target's answers")]
    Ahead,
}

/// Who sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "the client",
            Self::Target => "the target",
        })
    }
}

/// How what was tapped ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The target's program ended with this status.
    Exit(u32),
    /// A signal ended it, or one of both sides went away.
    Cut,
}

/// A tap of any kind.
pub enum Tap {
    Sftp(Box<sftp::SftpTap>),
    Scp(Box<scp::ScpTap>),
    Rsync(Box<rsync::RsyncTap>),
}

impl Tap {
    /// For a subsystem that moves files.
    pub fn of_subsystem(name: &str) -> Option<Self> {
        matches!(name, "sftp" | "sftp@openssh.com").then(|| Self::Sftp(Box::default()))
    }

    /// For a command that one of the usual tools starts at the other end: `sftp-server`, `scp -t` or `-f`,
    /// `rsync --server`. Known to be missed: a tool within a script or behind a shell's syntax.
    pub fn of_command(command: &[u8]) -> Option<Self> {
        let words = words::split(command);
        let start = words.iter().position(|word| {
            !matches!(word.as_slice(), b"exec" | b"command" | b"nohup" | b"env" | b"sudo")
        })?;
        let (program, arguments) = words[start..].split_first()?;
        let name = program.rsplit(|byte| *byte == b'/').next()?;
        match name {
            b"sftp-server" => Some(Self::Sftp(Box::default())),
            b"scp" => scp::ScpTap::new(arguments).map(|tap| Self::Scp(Box::new(tap))),
            b"rsync" => rsync::RsyncTap::new(arguments).map(|tap| Self::Rsync(Box::new(tap))),
            _ => None,
        }
    }

    pub fn protocol(&self) -> FileProtocol {
        match self {
            Self::Sftp(_) => FileProtocol::Sftp,
            Self::Scp(_) => FileProtocol::Scp,
            Self::Rsync(_) => FileProtocol::Rsync,
        }
    }

    /// Bytes on their way to the target.
    pub fn client(&mut self, now: Timestamp, bytes: &[u8], facts: &mut Vec<Fact>) {
        match self {
            Self::Sftp(tap) => tap.client(now, bytes, facts),
            Self::Scp(tap) => tap.client(now, bytes, facts),
            Self::Rsync(tap) => tap.client(now, bytes, facts),
        }
    }

    /// Bytes of the target's standard output, on their way to the client.
    pub fn server(&mut self, now: Timestamp, bytes: &[u8], facts: &mut Vec<Fact>) {
        match self {
            Self::Sftp(tap) => tap.server(now, bytes, facts),
            Self::Scp(tap) => tap.server(now, bytes, facts),
            Self::Rsync(tap) => tap.server(now, bytes, facts),
        }
    }

    /// It is over: what is still open was interrupted. Nothing follows.
    pub fn finish(&mut self, now: Timestamp, ending: Ending, facts: &mut Vec<Fact>) {
        match self {
            Self::Sftp(tap) => tap.finish(now, facts),
            Self::Scp(tap) => tap.finish(now, ending, facts),
            Self::Rsync(tap) => tap.finish(now, ending, facts),
        }
    }

    /// What is being moved at this moment, as far as it has come; how it ends is not known.
    pub fn moving(&self, now: Timestamp) -> Vec<Fact> {
        match self {
            Self::Sftp(tap) => tap.moving(now),
            Self::Scp(tap) => tap.moving(now),
            Self::Rsync(tap) => tap.moving(now),
        }
    }

    /// Since when it is so, nothing is known of what is done.
    pub fn lost(&self) -> Option<&Lost> {
        match self {
            Self::Sftp(tap) => tap.lost(),
            Self::Scp(tap) => tap.lost(),
            Self::Rsync(tap) => tap.lost(),
        }
    }

    /// What else has to be said of it as a whole, for people; mostly nothing.
    pub fn remark(&self) -> Option<String> {
        match self {
            Self::Sftp(tap) => tap.remark(),
            Self::Scp(_) => None,
            Self::Rsync(tap) => tap.remark(),
        }
    }
}

/// A path as a fact has it.
fn shown(path: &[u8]) -> String {
    if path.len() <= PATH_BYTES {
        return path_text(path);
    }
    format!("{}…", path_text(&path[..PATH_BYTES]))
}

/// What a target said, on one line.
fn sentence(text: &[u8]) -> String {
    let more = if text.len() > SENTENCE_BYTES { "…" } else { "" };
    let text = text[..text.len().min(SENTENCE_BYTES)].trim_ascii();
    format!("{}{more}", path_text(text))
}
