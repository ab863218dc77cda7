//! Requests that wait for their answers.

use super::{super::shown, requests::Mode, wire::Attributes};
use crate::{
    files::{Fact, FileAction, FileOutcome},
    time::Timestamp,
};

/// Which file a request is about.
pub(super) enum Which {
    Known(u64),
    /// Its handle is not one that the client can have at this moment.
    ByHandle(Box<[u8]>),
}

/// A request without an answer.
pub(super) struct Asked {
    /// In which order they were asked.
    pub(super) order: u64,
    pub(super) started: Timestamp,
    pub(super) kind: Kind,
    /// Counted in [`SftpTap::held`].
    pub(super) held: usize,
}

pub(super) enum Kind {
    Open {
        path: Vec<u8>,
        mode: Mode,
    },
    OpenFolder {
        path: Vec<u8>,
    },
    Read {
        of: Which,
        offset: u64,
    },
    Write {
        of: Which,
        offset: u64,
        length: u32,
    },
    ReadFolder {
        of: Which,
    },
    Close {
        of: Which,
    },
    Stat {
        path: Vec<u8>,
    },
    StatHandle {
        of: Which,
    },
    SetStatHandle {
        of: Which,
        attributes: Attributes,
    },
    SetStat {
        path: Vec<u8>,
        attributes: Attributes,
    },
    CopyData {
        from: Which,
        to: Which,
        offset: u64,
        length: u64,
    },
    /// A status is all that comes of it.
    Plain {
        action: FileAction,
        path: Vec<u8>,
        new_path: Option<Vec<u8>>,
    },
    Home,
    Harmless,
    Unknown(Vec<u8>),
}

impl Kind {
    pub(super) fn held(&self) -> usize {
        let of = |which: &Which| match which {
            Which::Known(_) => 0,
            Which::ByHandle(handle) => handle.len(),
        };
        match self {
            Self::Open { path, .. }
            | Self::OpenFolder { path }
            | Self::Stat { path }
            | Self::SetStat { path, .. } => path.len(),
            Self::Plain { path, new_path, .. } => path.len() + new_path.as_ref().map_or(0, Vec::len),
            Self::Read { of: which, .. }
            | Self::Write { of: which, .. }
            | Self::ReadFolder { of: which }
            | Self::Close { of: which }
            | Self::StatHandle { of: which }
            | Self::SetStatHandle { of: which, .. } => of(which),
            Self::CopyData { from, to, .. } => of(from) + of(to),
            Self::Unknown(name) => name.len(),
            Self::Home | Self::Harmless => 0,
        }
    }
}

impl Asked {
    /// No answer came: nobody knows whether it was done.
    pub(super) fn interrupted<'a>(
        self,
        why: &str,
        now: Timestamp,
        path_of: impl Fn(&Which) -> Option<&'a [u8]>,
        facts: &mut Vec<Fact>,
    ) {
        let mut fact = |action, path: &[u8], new_path: Option<&[u8]>| {
            facts.push(Fact {
                new_path: new_path.map(shown),
                duration: now.since(self.started),
                outcome: FileOutcome::Interrupted,
                error: why.to_owned(),
                ..Fact::new(action, shown(path), self.started)
            });
        };
        let mut set = |path: &[u8], attributes: Attributes| {
            if attributes.size.is_some() {
                fact(FileAction::Truncate, path, None);
            }
            if attributes.others {
                fact(FileAction::Chmod, path, None);
            }
        };
        match self.kind {
            Kind::SetStat { path, attributes } => set(&path, attributes),
            Kind::SetStatHandle { of, attributes } => set(path_of(&of).unwrap_or_default(), attributes),
            Kind::Open { path, mode } => {
                fact(if mode.write { FileAction::Upload } else { FileAction::Download }, &path, None);
            }
            Kind::OpenFolder { path } => fact(FileAction::Browse, &path, None),
            Kind::CopyData { from, to, .. } => {
                fact(FileAction::Copy, path_of(&from).unwrap_or_default(), path_of(&to));
            }
            Kind::Plain { action, path, new_path } => fact(action, &path, new_path.as_deref()),
            // Said of the file; or nothing is done by it.
            Kind::Read { .. }
            | Kind::Write { .. }
            | Kind::ReadFolder { .. }
            | Kind::Close { .. }
            | Kind::Stat { .. }
            | Kind::StatHandle { .. }
            | Kind::Home
            | Kind::Harmless
            | Kind::Unknown(_) => {}
        }
    }
}
