//! The tap of rsync: what its command tells, the bytes that passed, and how it ended.
//!
//! rsync's own protocol is not read: which of the files in a folder were sent, changed or deleted, only its ends
//! know. Bytes are those on the wire, with lists of files, checksums and compression in them. With
//! `--secluded-args` the paths come at the beginning of the client's stream, and are read from there.

use super::{Ending, Lost, PATH_BYTES, shown};
use crate::{
    files::{Fact, FileAction, FileOutcome},
    time::Timestamp,
};

/// What the arguments that come through the stream may take.
pub const ARGUMENTS_BYTES: usize = 256 * 1024;
/// Paths of one run that are named one by one.
pub const PATHS: usize = 64;

pub struct RsyncTap {
    sends: bool,
    paths: Vec<Vec<u8>>,
    deletes: bool,
    /// Arguments that come through the stream, as far as they have come; `None` where none are awaited.
    awaited: Option<Vec<u8>>,
    up: u64,
    down: u64,
    started: Option<Timestamp>,
    lost: Option<Lost>,
}

impl RsyncTap {
    /// `None` where it is not the end that a client starts.
    pub(super) fn new(arguments: &[Vec<u8>]) -> Option<Self> {
        if arguments.first().map(Vec::as_slice) != Some(b"--server") {
            return None;
        }
        let mut tap = Self {
            sends: false,
            paths: Vec::new(),
            deletes: false,
            awaited: None,
            up: 0,
            down: 0,
            started: None,
            lost: None,
        };
        tap.read(arguments);
        Some(tap)
    }

    /// Options, then a dot, then paths.
    fn read(&mut self, arguments: &[Vec<u8>]) {
        let mut options = true;
        for argument in arguments {
            match argument.as_slice() {
                b"." if options => options = false,
                b"--sender" if options => self.sends = true,
                b"--secluded-args" | b"--protect-args" if options => {
                    self.awaited.get_or_insert_default();
                }
                option if options && (option.starts_with(b"--delete") || option.starts_with(b"--remove")) => {
                    self.deletes = true;
                }
                // What follows the `e` says what the client knows.
                [b'-', flags @ ..]
                    if options
                        && !flags.starts_with(b"-")
                        && flags.iter().take_while(|flag| **flag != b'e').any(|flag| *flag == b's') =>
                {
                    self.awaited.get_or_insert_default();
                }
                path if !options => self.paths.push(path[..path.len().min(PATH_BYTES + 1)].to_vec()),
                _ => {}
            }
        }
        self.paths.truncate(PATHS + 1);
    }

    pub(super) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    pub(super) fn remark(&self) -> Option<String> {
        self.deletes.then(|| "rsync was asked to delete, too; what it deleted is not known".to_owned())
    }

    pub(super) fn client(&mut self, now: Timestamp, bytes: &[u8], _: &mut Vec<Fact>) {
        self.started.get_or_insert(now);
        self.up += bytes.len() as u64;
        let Some(awaited) = &mut self.awaited else { return };
        awaited.extend_from_slice(bytes);
        // Each ends in a zero; an empty one ends them all.
        if let Some(end) = awaited.windows(2).position(|two| two == [0, 0]) {
            let text = awaited[..end].to_vec();
            let words: Vec<_> = text.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
            self.paths.clear();
            self.read(&words);
            self.awaited = None;
        } else if awaited.len() > ARGUMENTS_BYTES {
            self.awaited = None;
            self.lost = Some(Lost::Paths(ARGUMENTS_BYTES));
        }
    }

    pub(super) fn server(&mut self, now: Timestamp, bytes: &[u8], _: &mut Vec<Fact>) {
        self.started.get_or_insert(now);
        self.down += bytes.len() as u64;
    }

    /// Of several paths the first: it has the bytes of all.
    pub(super) fn moving(&self, now: Timestamp) -> Vec<Fact> {
        let Some(started) = self.started else { return Vec::new() };
        let (action, bytes) = self.moved();
        let path = self.paths.first().map_or(&b"."[..], Vec::as_slice);
        vec![Fact {
            bytes: Some(bytes),
            duration: now.since(started),
            ..Fact::new(action, place(path, false), started)
        }]
    }

    fn moved(&self) -> (FileAction, u64) {
        if self.sends { (FileAction::Download, self.down) } else { (FileAction::Upload, self.up) }
    }

    pub(super) fn finish(&mut self, now: Timestamp, ending: Ending, facts: &mut Vec<Fact>) {
        let started = self.started.unwrap_or(now);
        let (action, bytes) = self.moved();
        let (outcome, error) = match ending {
            Ending::Exit(0) => (FileOutcome::Ok, String::new()),
            Ending::Exit(status) => (FileOutcome::Failed, meaning(status)),
            Ending::Cut => (FileOutcome::Interrupted, "the session ended before it was done".to_owned()),
        };
        if self.paths.is_empty() {
            self.paths.push(b".".to_vec());
        }
        let more = self.paths.len() > PATHS;
        for (at, path) in std::mem::take(&mut self.paths).iter().take(PATHS).enumerate() {
            facts.push(Fact {
                // Of several paths the first has the bytes of all.
                bytes: (at == 0).then_some(bytes),
                outcome,
                error: error.clone(),
                duration: now.since(started),
                ..Fact::new(action, place(path, more && at + 1 == PATHS), started)
            });
        }
    }
}

fn place(path: &[u8], more: bool) -> String {
    let path = match path {
        [b'/' | b'~', ..] => shown(path),
        b"." | b"" | b"./" => "./".to_owned(),
        path => shown(&[b"./", path.strip_prefix(b"./").unwrap_or(path)].concat()),
    };
    if more { format!("{path} and more") } else { path }
}

/// rsync(1), "EXIT VALUES".
fn meaning(status: u32) -> String {
    let text = match status {
        3 => "errors selecting input/output files, dirs",
        10 => "error in socket I/O",
        11 => "error in file I/O",
        12 => "error in rsync protocol data stream",
        20 => "received SIGUSR1 or SIGINT",
        23 => "partial transfer due to error",
        24 => "partial transfer due to vanished source files",
        25 => "the --max-delete limit stopped deletions",
        30 => "timeout in data send/receive",
        _ => return format!("rsync ended with status {status}"),
    };
    format!("rsync ended with status {status}: {text}")
}
