//! Files and folders that are open on the target, until it is known what became of them.

use super::{
    super::{moving::Moving, shown},
    requests::Mode,
};
use crate::{
    files::{Fact, FileAction, FileOutcome},
    time::Timestamp,
};

pub(super) struct Open {
    pub(super) path: Vec<u8>,
    pub(super) handle: Box<[u8]>,
    pub(super) content: Content,
    pub(super) started: Timestamp,
    /// Requests about it without an answer.
    pub(super) in_use: usize,
    /// The client gave the handle back.
    pub(super) closing: bool,
    /// The target has taken it back.
    pub(super) closed: bool,
    /// Bytes that this takes.
    pub(super) held: usize,
}

pub(super) enum Content {
    File(Box<OpenFile>),
    Folder(Folder),
}

#[derive(Default)]
pub(super) struct Folder {
    pub(super) entries: u64,
    pub(super) error: Option<String>,
}

#[derive(Default)]
pub(super) struct OpenFile {
    pub(super) mode: Mode,
    pub(super) down: Moving,
    pub(super) up: Moving,
    /// The length that the target has told.
    pub(super) known_size: Option<u64>,
    /// Where it said that nothing more follows; the nearest such place.
    ended_at: Option<u64>,
    /// The client has cut it here.
    cut_at: Option<u64>,
    /// The target copied to or from it.
    pub(super) copied: bool,
    error: Option<String>,
}

impl OpenFile {
    pub(super) fn new(mode: Mode, known_size: Option<u64>) -> Self {
        Self { mode, known_size, ..Self::default() }
    }

    pub(super) fn read_to_end(&mut self, offset: u64) {
        self.down.attempt(offset);
        self.ended_at = Some(self.ended_at.map_or(offset, |before| before.min(offset)));
    }

    pub(super) fn failed(&mut self, error: String) {
        self.error.get_or_insert(error);
    }

    /// The client sets the length. Whether that is where its own upload ends.
    pub(super) fn resized(&mut self, size: u64, granted: bool) -> bool {
        let its_own_end = self.mode.write && self.up.end == size && granted;
        if its_own_end {
            self.cut_at = Some(size);
        } else if granted {
            self.up.spoil();
        }
        its_own_end
    }

    /// Everything there is was read.
    fn read_whole(&self) -> bool {
        [self.ended_at, self.known_size].into_iter().flatten().any(|end| self.down.is_all_until(end))
    }

    /// Everything there is was written.
    fn written_whole(&self) -> bool {
        (self.mode.empties || self.cut_at == Some(self.up.end)) && self.up.is_all_until(self.up.end)
    }
}

impl Open {
    pub(super) fn new(path: Vec<u8>, handle: Box<[u8]>, content: Content, started: Timestamp) -> Self {
        let held = path.len() + 2 * handle.len();
        Self { path, handle, content, started, in_use: 0, closing: false, closed: false, held }
    }

    pub(super) fn failed(&mut self, error: String) {
        match &mut self.content {
            Content::File(file) => file.failed(error),
            Content::Folder(folder) => {
                folder.error.get_or_insert(error);
            }
        }
    }

    /// How far its content has come.
    pub(super) fn moving(&self, now: Timestamp) -> Vec<Fact> {
        let Content::File(file) = &self.content else { return Vec::new() };
        [(FileAction::Download, &file.down), (FileAction::Upload, &file.up)]
            .into_iter()
            .filter(|(_, moving)| moving.attempted)
            .map(|(action, moving)| Fact {
                bytes: Some(moving.bytes),
                offset: moving.offset,
                duration: now.since(self.started),
                ..Fact::new(action, shown(&self.path), self.started)
            })
            .collect()
    }

    /// Says what became of it. `interrupted`: it was not closed, and `why`.
    pub(super) fn finish(self, interrupted: bool, why: &str, now: Timestamp, facts: &mut Vec<Fact>) {
        let Self { path, content, started, in_use, .. } = self;
        let duration = now.since(started);
        let fact = |action, error: Option<String>, cut: bool| {
            let (outcome, error) = match error {
                Some(error) => (FileOutcome::Failed, error),
                None if cut => (FileOutcome::Interrupted, why.to_owned()),
                None => (FileOutcome::Ok, String::new()),
            };
            Fact { duration, outcome, error, ..Fact::new(action, shown(&path), started) }
        };
        let mut file = match content {
            Content::Folder(folder) => {
                let entries = Some(folder.entries);
                facts.push(Fact { entries, ..fact(FileAction::Browse, folder.error, interrupted) });
                return;
            }
            Content::File(file) => file,
        };
        let error = file.error.take();
        let reads = file.down.attempted || (!file.mode.write && !file.copied);
        let writes = file.up.attempted || (file.mode.write && !file.copied && (!reads || file.mode.empties));
        if reads {
            let whole = file.read_whole();
            // What has been read to its end is all there, closed or not.
            let cut = interrupted && !(whole && in_use == 0);
            let mut fact = fact(FileAction::Download, error.clone().filter(|_| !writes), cut);
            fact.bytes = Some(file.down.bytes);
            fact.offset = file.down.offset;
            if whole && fact.outcome == FileOutcome::Ok {
                fact.sha256 = file.down.sha256();
            }
            facts.push(fact);
        }
        if writes {
            let whole = file.written_whole();
            let mut fact = fact(FileAction::Upload, error, interrupted);
            fact.bytes = Some(file.up.bytes);
            fact.offset = file.up.offset;
            if whole && fact.outcome == FileOutcome::Ok {
                fact.sha256 = file.up.sha256();
            }
            facts.push(fact);
        }
    }
}
