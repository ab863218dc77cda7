//! The tap of scp's old protocol, the one of `scp -t` and `scp -f`.
//!
//! The *source* sends records (`C` a file, `D` a folder, `E` its end, `T` times) and contents, the *sink*
//! a byte of consent or a complaint for each. Nothing but the command names the place: a path of `scp -t` is
//! that of the command, or the name that the source gives within it where the target has a folder there.
//! Which of both it was the protocol does not say. Where it is not certain, the fact's `path` is the one of the
//! command, and `new_path` the one within the folder.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{Ending, Lost, PATH_BYTES, Side, moving::Moving, sentence, shown};
use crate::{
    files::{Fact, FileAction, FileOutcome},
    time::Timestamp,
};

/// The longest record, and the longest complaint that is kept.
pub const LINE_BYTES: usize = 16 * 1024;
/// What a source may send before the sink has consented.
pub const AHEAD_BYTES: usize = 64 * 1024;
/// Folders in folders.
pub const DEPTH: usize = 512;

/// Where the target stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// `scp -t`: the client sends.
    Sink,
    /// `scp -f`: the target sends.
    Source,
}

/// What the sink has to say something about.
enum Awaited {
    /// That it is ready.
    Ready,
    /// Times; the end of a folder.
    Nothing,
    File {
        name: Vec<u8>,
        size: u64,
    },
    Folder {
        name: Vec<u8>,
    },
    /// The content.
    Content,
}

/// A file on its way.
struct File {
    path: Place,
    size: u64,
    moving: Moving,
    started: Timestamp,
    /// The source could not read it to its end.
    complaint: Option<String>,
}

#[derive(Clone)]
struct Place {
    path: Vec<u8>,
    /// Where it lies if `path` is a folder.
    or_within: Option<Vec<u8>>,
}

struct Folder {
    place: Place,
    started: Timestamp,
    entries: u64,
}

enum From {
    Record,
    /// Waits for what the sink says.
    Consent,
    Content {
        left: u64,
    },
    /// The byte after a content.
    Verdict,
}

pub struct ScpTap {
    role: Role,
    arguments: Vec<Vec<u8>>,
    /// `-d`: the path of the command is a folder.
    is_folder: bool,
    from: From,
    line: Vec<u8>,
    /// What the sink says.
    answer: Vec<u8>,
    awaited: VecDeque<Awaited>,
    /// Came before the sink's consent.
    ahead: Vec<u8>,
    folders: Vec<Folder>,
    file: Option<File>,
    /// Whether anything was said of the paths of the command.
    said: bool,
    began: Option<Timestamp>,
    lost: Option<Lost>,
}

impl ScpTap {
    /// `None` where the arguments are not of the protocol.
    pub(super) fn new(arguments: &[Vec<u8>]) -> Option<Self> {
        let (mut role, mut is_folder, mut paths) = (None, false, Vec::new());
        let mut options = true;
        for argument in arguments {
            match argument.as_slice() {
                b"--" if options => options = false,
                [b'-', flags @ ..] if options && !flags.is_empty() => {
                    for flag in flags {
                        match flag {
                            b't' => role = Some(Role::Sink),
                            b'f' => role = Some(Role::Source),
                            b'd' => is_folder = true,
                            _ => {}
                        }
                    }
                }
                path => {
                    options = false;
                    paths.push(path[..path.len().min(PATH_BYTES + 1)].to_vec());
                }
            }
        }
        Some(Self {
            role: role?,
            arguments: paths,
            is_folder,
            from: From::Record,
            line: Vec::new(),
            answer: Vec::new(),
            awaited: VecDeque::from([Awaited::Ready]),
            ahead: Vec::new(),
            folders: Vec::new(),
            file: None,
            said: false,
            began: None,
            lost: None,
        })
    }

    pub(super) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    pub(super) fn client(&mut self, now: Timestamp, bytes: &[u8], facts: &mut Vec<Fact>) {
        match self.role {
            Role::Sink => self.source(now, bytes, facts),
            Role::Source => self.sink(now, bytes, facts),
        }
    }

    pub(super) fn server(&mut self, now: Timestamp, bytes: &[u8], facts: &mut Vec<Fact>) {
        match self.role {
            Role::Sink => self.sink(now, bytes, facts),
            Role::Source => self.source(now, bytes, facts),
        }
    }

    pub(super) fn finish(&mut self, now: Timestamp, ending: Ending, facts: &mut Vec<Fact>) {
        if self.lost.is_some() {
            return;
        }
        self.interrupt("the session ended before it was done", now, facts);
        // A tool that fails at once may have no chance to say of what.
        if !self.said && facts.is_empty() && ending != Ending::Exit(0) {
            let (outcome, error) = match ending {
                Ending::Exit(status) => (FileOutcome::Failed, format!("scp ended with status {status}")),
                Ending::Cut => (FileOutcome::Interrupted, "the session ended before it was done".to_owned()),
            };
            let started = self.began.unwrap_or(now);
            for path in &self.arguments {
                facts.push(Fact {
                    bytes: Some(0),
                    outcome,
                    error: error.clone(),
                    duration: now.since(started),
                    ..Fact::new(self.action(), shown(&relative(path)), started)
                });
            }
        }
    }

    pub(super) fn moving(&self, now: Timestamp) -> Vec<Fact> {
        self.file.iter().map(|file| file.fact(self.action(), now)).collect()
    }

    fn action(&self) -> FileAction {
        match self.role {
            Role::Sink => FileAction::Upload,
            Role::Source => FileAction::Download,
        }
    }

    fn source_side(&self) -> Side {
        match self.role {
            Role::Sink => Side::Client,
            Role::Source => Side::Target,
        }
    }

    fn lose(&mut self, lost: Lost, now: Timestamp, facts: &mut Vec<Fact>) {
        self.interrupt(&format!("audit lost: {lost}"), now, facts);
        self.lost = Some(lost);
        self.ahead = Vec::new();
        self.line = Vec::new();
        self.answer = Vec::new();
    }

    fn interrupt(&mut self, why: &str, now: Timestamp, facts: &mut Vec<Fact>) {
        if let Some(file) = self.file.take() {
            let fact = Fact {
                outcome: FileOutcome::Interrupted,
                error: why.to_owned(),
                ..file.fact(self.action(), now)
            };
            facts.push(fact);
        }
        for awaited in std::mem::take(&mut self.awaited) {
            match awaited {
                Awaited::File { name, .. } => {
                    let place = self.place(&name);
                    self.refused(self.action(), &place, FileOutcome::Interrupted, why, now, facts);
                }
                Awaited::Folder { name } if self.role == Role::Sink => {
                    let place = self.place(&name);
                    self.refused(FileAction::Mkdir, &place, FileOutcome::Interrupted, why, now, facts);
                }
                Awaited::Folder { .. } | Awaited::Ready | Awaited::Nothing | Awaited::Content => {}
            }
        }
        while let Some(folder) = self.folders.pop() {
            if self.role == Role::Source {
                let fact = folder.fact(now);
                facts.push(Fact { outcome: FileOutcome::Interrupted, error: why.to_owned(), ..fact });
            }
        }
    }

    // The source.

    fn source(&mut self, now: Timestamp, mut bytes: &[u8], facts: &mut Vec<Fact>) {
        self.began.get_or_insert(now);
        while !bytes.is_empty() && self.lost.is_none() {
            if let Err(lost) = self.source_step(now, &mut bytes, facts) {
                self.lose(lost, now, facts);
            }
        }
    }

    fn source_step(&mut self, now: Timestamp, bytes: &mut &[u8], facts: &mut Vec<Fact>) -> Result<(), Lost> {
        match &mut self.from {
            From::Consent => {
                self.ahead.extend_from_slice(bytes);
                *bytes = &[];
                if self.ahead.len() > AHEAD_BYTES { Err(Lost::Ahead) } else { Ok(()) }
            }
            From::Content { left } => {
                let room = usize::try_from(*left).unwrap_or(usize::MAX);
                let (piece, rest) = bytes.split_at(bytes.len().min(room));
                *bytes = rest;
                *left -= piece.len() as u64;
                let ended = *left == 0;
                if let Some(file) = &mut self.file {
                    let at = file.moving.end;
                    file.moving.begin(at);
                    file.moving.pass(piece);
                    file.moving.arrived(at, piece.len() as u64);
                }
                if ended {
                    self.from = From::Verdict;
                }
                Ok(())
            }
            From::Verdict if bytes[0] == 0 => {
                *bytes = &bytes[1..];
                self.awaited.push_back(Awaited::Content);
                self.from = From::Record;
                Ok(())
            }
            From::Verdict | From::Record => {
                if let From::Record = self.from
                    && bytes[0] == 0
                    && self.line.is_empty()
                {
                    return Err(Lost::Nonsense(self.source_side(), "scp"));
                }
                if !take_line(&mut self.line, bytes)? {
                    return Ok(());
                }
                let line = std::mem::take(&mut self.line);
                match (&self.from, line.first()) {
                    (From::Verdict, Some(1 | 2)) => {
                        if let Some(file) = &mut self.file {
                            file.complaint = Some(said(&line));
                        }
                        self.awaited.push_back(Awaited::Content);
                        self.from = From::Record;
                        Ok(())
                    }
                    (_, Some(1 | 2)) => {
                        self.complained(&line[1..], now, facts);
                        Ok(())
                    }
                    (From::Record, Some(_)) => self.record(&line, now, facts),
                    _ => Err(Lost::Nonsense(self.source_side(), "scp")),
                }
            }
        }
    }

    fn record(&mut self, line: &[u8], now: Timestamp, facts: &mut Vec<Fact>) -> Result<(), Lost> {
        let nonsense = Lost::Nonsense(self.source_side(), "scp");
        let awaited = match line[0] {
            b'T' => Awaited::Nothing,
            b'E' => {
                if let Some(folder) = self.folders.pop()
                    && self.role == Role::Source
                {
                    facts.push(folder.fact(now));
                }
                Awaited::Nothing
            }
            kind @ (b'C' | b'D') => {
                let mut words = line[1..].splitn(3, |byte| *byte == b' ');
                let (_mode, size, name) = (words.next(), words.next(), words.next());
                let size = size.and_then(|size| std::str::from_utf8(size).ok()?.parse().ok());
                let (Some(size), Some(name)) = (size, name) else { return Err(nonsense) };
                let name = name[..name.len().min(PATH_BYTES + 1)].to_vec();
                match kind {
                    b'C' => Awaited::File { name, size },
                    _ => Awaited::Folder { name },
                }
            }
            _ => return Err(nonsense),
        };
        self.said = true;
        self.awaited.push_back(awaited);
        self.from = From::Consent;
        Ok(())
    }

    /// The source cannot give something: `scp: PATH: REASON`.
    fn complained(&mut self, text: &[u8], now: Timestamp, facts: &mut Vec<Fact>) {
        if self.role == Role::Sink {
            // A file of the client's own: the target has no part in it.
            return;
        }
        self.said = true;
        let text = text.strip_prefix(b"scp: ").unwrap_or(text);
        let at = text.windows(2).rposition(|two| two == b": ");
        let (path, reason) = match at {
            Some(at) => (&text[..at], &text[at + 2..]),
            None => (self.arguments.first().map_or(&b""[..], Vec::as_slice), text),
        };
        facts.push(Fact {
            bytes: Some(0),
            outcome: FileOutcome::Failed,
            error: sentence(reason),
            ..Fact::new(FileAction::Download, shown(&relative(path)), now)
        });
    }

    // The sink.

    fn sink(&mut self, now: Timestamp, mut bytes: &[u8], facts: &mut Vec<Fact>) {
        self.began.get_or_insert(now);
        while !bytes.is_empty() && self.lost.is_none() {
            let complaint = if self.answer.is_empty() && bytes[0] == 0 {
                bytes = &bytes[1..];
                None
            } else {
                match take_line(&mut self.answer, &mut bytes) {
                    Ok(false) => return,
                    Ok(true) => {}
                    Err(lost) => return self.lose(lost, now, facts),
                }
                Some(said(&std::mem::take(&mut self.answer)))
            };
            if let Err(lost) = self.answered(complaint, now, facts) {
                return self.lose(lost, now, facts);
            }
            // What came too early comes now, but only as far as the next question.
            if !self.ahead.is_empty() && !matches!(self.from, From::Consent) {
                let ahead = std::mem::take(&mut self.ahead);
                self.source(now, &ahead, facts);
            }
        }
    }

    fn answered(
        &mut self,
        complaint: Option<String>,
        now: Timestamp,
        facts: &mut Vec<Fact>,
    ) -> Result<(), Lost> {
        let Some(awaited) = self.awaited.pop_front() else {
            return match complaint {
                // A sink that gives up says so whenever it likes.
                Some(why) => {
                    if let Some(mut file) = self.file.take() {
                        file.complaint = None;
                        let fact = file.fact(self.action(), now);
                        facts.push(Fact { outcome: FileOutcome::Failed, error: why, ..fact });
                    } else if self.role == Role::Sink {
                        self.not_ready(&why, now, facts);
                    }
                    Ok(())
                }
                None => Err(Lost::Nonsense(
                    match self.source_side() {
                        Side::Client => Side::Target,
                        Side::Target => Side::Client,
                    },
                    "scp",
                )),
            };
        };
        match (awaited, complaint) {
            (Awaited::Ready, None) => {}
            (Awaited::Ready, Some(why)) => {
                if self.role == Role::Sink {
                    self.not_ready(&why, now, facts);
                }
            }
            (Awaited::Nothing, _) => self.from = From::Record,
            (Awaited::File { name, size }, None) => {
                self.count();
                let path = self.place(&name);
                let moving = Moving::default();
                self.file = Some(File { path, size, moving, started: now, complaint: None });
                self.from = if size == 0 { From::Verdict } else { From::Content { left: size } };
            }
            (Awaited::File { name, .. }, Some(why)) => {
                self.from = From::Record;
                self.count();
                let place = self.place(&name);
                self.refused(self.action(), &place, self.refusal(), &why, now, facts);
            }
            (Awaited::Folder { name }, None) => {
                self.from = From::Record;
                if self.folders.len() >= DEPTH {
                    return Err(Lost::Paths(DEPTH * PATH_BYTES));
                }
                self.count();
                let place = self.place(&name);
                if self.role == Role::Sink {
                    let mut fact = Fact::new(FileAction::Mkdir, shown(&place.path), now);
                    fact.new_path = place.or_within.as_deref().map(shown);
                    facts.push(fact);
                }
                self.folders.push(Folder { place, started: now, entries: 0 });
            }
            (Awaited::Folder { name }, Some(why)) => {
                self.from = From::Record;
                let place = self.place(&name);
                let action = match self.role {
                    Role::Sink => FileAction::Mkdir,
                    Role::Source => FileAction::Browse,
                };
                self.refused(action, &place, self.refusal(), &why, now, facts);
            }
            (Awaited::Content, complaint) => {
                if let Some(mut file) = self.file.take() {
                    let mut fact = file.fact(self.action(), now);
                    if let Some(why) = complaint.or(file.complaint.take()) {
                        fact.outcome = FileOutcome::Failed;
                        fact.error = why;
                    } else if file.moving.is_all_until(file.size) {
                        fact.sha256 = file.moving.sha256();
                    }
                    facts.push(fact);
                }
            }
        }
        Ok(())
    }

    /// The target's sink cannot begin at all: `scp: PATH: REASON`.
    fn not_ready(&mut self, why: &str, now: Timestamp, facts: &mut Vec<Fact>) {
        if self.said {
            return;
        }
        self.said = true;
        let path = self.arguments.last().cloned().unwrap_or_default();
        facts.push(Fact {
            bytes: Some(0),
            outcome: FileOutcome::Failed,
            error: why.to_owned(),
            ..Fact::new(FileAction::Upload, shown(&relative(&path)), now)
        });
    }

    /// What a sink's complaint means: of the target's own, that it failed; of the client's, that it did
    /// not want the file.
    fn refusal(&self) -> FileOutcome {
        match self.role {
            Role::Sink => FileOutcome::Failed,
            Role::Source => FileOutcome::Interrupted,
        }
    }

    fn refused(
        &self,
        action: FileAction,
        place: &Place,
        outcome: FileOutcome,
        why: &str,
        now: Timestamp,
        facts: &mut Vec<Fact>,
    ) {
        facts.push(Fact {
            bytes: matches!(action, FileAction::Upload | FileAction::Download).then_some(0),
            new_path: place.or_within.as_deref().map(shown),
            outcome,
            error: why.to_owned(),
            ..Fact::new(action, shown(&place.path), now)
        });
    }

    fn count(&mut self) {
        if let Some(folder) = self.folders.last_mut() {
            folder.entries += 1;
        }
    }

    /// Where something of this name lies on the target.
    fn place(&self, name: &[u8]) -> Place {
        if let Some(folder) = self.folders.last() {
            return Place {
                path: within(&folder.place.path, name),
                or_within: folder.place.or_within.as_deref().map(|path| within(path, name)),
            };
        }
        match self.role {
            Role::Sink => {
                let target = self.arguments.last().map_or(&b"."[..], Vec::as_slice);
                let place = relative(target);
                let ends_in = |word: &[u8]| target == word || target.ends_with(&[b"/", word].concat());
                let folder = self.is_folder
                    || target.is_empty()
                    || target.ends_with(b"/")
                    || ends_in(b".")
                    || ends_in(b"..")
                    || target.starts_with(b"~") && !target.contains(&b'/');
                if folder {
                    return Place { path: within(&place, name), or_within: None };
                }
                Place { or_within: Some(within(&place, name)), path: place }
            }
            Role::Source => {
                // The shell may have found several files for one word.
                let of = |argument: &&Vec<u8>| last_name(argument) == name;
                let argument = self.arguments.iter().find(of).or(self.arguments.first());
                let argument = argument.map_or(&b""[..], Vec::as_slice);
                let folder = match argument.strip_suffix(b"/").unwrap_or(argument) {
                    whole if last_name(whole) == b"." || last_name(whole) == b".." => whole,
                    whole => &whole[..whole.len() - last_name(whole).len()],
                };
                Place { path: within(&relative(folder), name), or_within: None }
            }
        }
    }
}

impl File {
    fn fact(&self, action: FileAction, now: Timestamp) -> Fact {
        Fact {
            bytes: Some(self.moving.bytes),
            new_path: self.path.or_within.as_deref().map(shown),
            duration: now.since(self.started),
            ..Fact::new(action, shown(&self.path.path), self.started)
        }
    }
}

impl Folder {
    fn fact(&self, now: Timestamp) -> Fact {
        Fact {
            entries: Some(self.entries),
            duration: now.since(self.started),
            ..Fact::new(FileAction::Browse, shown(&self.place.path), self.started)
        }
    }
}

/// Gathers a line without its end. Whether it is whole.
fn take_line(line: &mut Vec<u8>, bytes: &mut &[u8]) -> Result<bool, Lost> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    line.extend_from_slice(piece);
    *bytes = if end.is_some() { &rest[1..] } else { rest };
    if line.len() > LINE_BYTES {
        return Err(Lost::TooLong(Side::Client, line.len() as u64));
    }
    Ok(end.is_some())
}

/// A complaint without what marks it as one.
fn said(line: &[u8]) -> String {
    let line = match line {
        [1 | 2, rest @ ..] => rest,
        line => line,
    };
    sentence(line.strip_prefix(b"scp: ").unwrap_or(line))
}

fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// A path as it is written in facts: from the root, from a home (`~`), or from where the program began.
fn relative(path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") || path.starts_with(b"~") {
        return path.to_vec();
    }
    let mut whole = b".".to_vec();
    for name in path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        whole.push(b'/');
        whole.extend_from_slice(name);
    }
    whole
}

fn within(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let folder = if folder == b"/" { folder } else { folder.strip_suffix(b"/").unwrap_or(folder) };
    let slash: &[u8] = if folder.ends_with(b"/") { b"" } else { b"/" };
    let mut path = [folder, slash, name].concat();
    path.truncate(PATH_BYTES + 1);
    path
}
