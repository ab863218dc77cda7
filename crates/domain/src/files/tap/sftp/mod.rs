//! The tap of SFTP, version 3 as OpenSSH speaks it and what matters here of versions 4 to 6.
//!
//! Requests are kept until their answer: only the answer says what became of them. Files are known by
//! the handles that the target gives out. A handle that is used before it was given, or after it was
//! given back, counts for whatever file has it when the answer comes: the order of answers is then the
//! order of doing.
//!
//! Paths are made absolute with the answer to `realpath .` where the client has asked for it; else they
//! begin with `./`. `..` stays: where it leads only the target knows.
//!
//! Known to be missed: a file that somebody else changes meanwhile has the hash of what passed through
//! here; where writing appends, the offsets are those that the client named.

mod answer;
mod asked;
mod framing;
mod open;
mod requests;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{HashMap, VecDeque};

pub use self::framing::{GATHERED_BYTES, HANDLE_BYTES, PACKET_BYTES};
use self::{
    answer::Answer,
    asked::{Asked, Kind, Which},
    framing::{Framer, Step},
    open::{Content, Folder, Open, OpenFile},
    requests::{INIT, Request},
    wire::Reader,
};
use super::{Lost, PATH_BYTES, Side, shown};
use crate::{
    files::{Fact, FileAction, FileOutcome},
    time::Timestamp,
};

/// Files and folders that may be open at once. OpenSSH's server has about as many.
pub const OPEN: usize = 1024;
/// Requests that may wait for their answers. paramiko asks for a whole file at once.
pub const IN_FLIGHT: usize = 65_536;
/// Bytes of paths and handles in all of them.
pub const HELD_BYTES: usize = 2 * 1024 * 1024;
/// Files whose size the client has last asked for by their path.
const SIZES: usize = 16;

/// Content that is passing in one direction.
#[derive(Clone, Copy)]
struct Passing {
    file: Option<u64>,
    offset: u64,
    length: u32,
}

/// The state of one SFTP stream.
pub struct SftpTap {
    client: Framer,
    server: Framer,
    /// As the target told it, once.
    version: Option<u32>,
    home: Option<Vec<u8>>,
    asked: HashMap<u32, Asked>,
    /// Requests with an id that waits already; the drafts forbid it.
    twins: VecDeque<(u32, Asked)>,
    handles: HashMap<Box<[u8]>, u64>,
    open: HashMap<u64, Open>,
    /// Numbers requests and files in their order.
    next: u64,
    held: usize,
    sizes: VecDeque<(Vec<u8>, u64)>,
    up: Option<Passing>,
    down: Option<Passing>,
    unknown: Option<(String, u64)>,
    lost: Option<Lost>,
}

impl Default for SftpTap {
    fn default() -> Self {
        Self {
            client: Framer::new(Side::Client),
            server: Framer::new(Side::Target),
            version: None,
            home: None,
            asked: HashMap::new(),
            twins: VecDeque::new(),
            handles: HashMap::new(),
            open: HashMap::new(),
            next: 0,
            held: 0,
            sizes: VecDeque::new(),
            up: None,
            down: None,
            unknown: None,
            lost: None,
        }
    }
}

impl SftpTap {
    pub(super) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    pub(super) fn remark(&self) -> Option<String> {
        let (name, count) = self.unknown.as_ref()?;
        Some(format!("requests that nobody knows were granted, {count} in all; the first: {name}"))
    }

    /// What it holds: open files and folders, requests, bytes of their paths. For tests of the limits.
    pub fn load(&self) -> (usize, usize, usize) {
        (self.open.len(), self.asked.len() + self.twins.len(), self.held)
    }

    pub(super) fn client(&mut self, now: Timestamp, bytes: &[u8], facts: &mut Vec<Fact>) {
        let mut framer = std::mem::replace(&mut self.client, Framer::new(Side::Client));
        self.feed(&mut framer, bytes, now, facts, Self::client_step);
        self.client = framer;
    }

    pub(super) fn server(&mut self, now: Timestamp, bytes: &[u8], facts: &mut Vec<Fact>) {
        let mut framer = std::mem::replace(&mut self.server, Framer::new(Side::Target));
        self.feed(&mut framer, bytes, now, facts, Self::server_step);
        self.server = framer;
    }

    fn feed(
        &mut self,
        framer: &mut Framer,
        mut bytes: &[u8],
        now: Timestamp,
        facts: &mut Vec<Fact>,
        step: fn(&mut Self, Step<'_>, Timestamp, &mut Vec<Fact>) -> Result<(), Lost>,
    ) {
        while self.lost.is_none() {
            let done = match framer.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(next)) => step(self, next, now, facts),
                Err(lost) => Err(lost),
            };
            if let Err(lost) = done {
                self.lose(lost, now, facts);
            }
        }
    }

    /// All that is still open was interrupted.
    pub(super) fn finish(&mut self, now: Timestamp, facts: &mut Vec<Fact>) {
        self.interrupt("the session ended before it was done", now, facts);
    }

    pub(super) fn moving(&self, now: Timestamp) -> Vec<Fact> {
        self.open.values().flat_map(|open| open.moving(now)).collect()
    }

    fn lose(&mut self, lost: Lost, now: Timestamp, facts: &mut Vec<Fact>) {
        self.interrupt(&format!("audit lost: {lost}"), now, facts);
        self.lost = Some(lost);
    }

    fn interrupt(&mut self, why: &str, now: Timestamp, facts: &mut Vec<Fact>) {
        let begun = facts.len();
        let mut waiting: Vec<Asked> =
            self.asked.drain().chain(self.twins.drain(..)).map(|(_, asked)| asked).collect();
        waiting.sort_by_key(|asked| asked.order);
        let path_of = |which: &Which| {
            let id = match which {
                Which::Known(id) => Some(id),
                Which::ByHandle(handle) => self.handles.get(handle),
            };
            id.and_then(|id| self.open.get(id)).map(|open| open.path.as_slice())
        };
        for asked in waiting {
            asked.interrupted(why, now, path_of, facts);
        }
        let mut open: Vec<(u64, Open)> = self.open.drain().collect();
        open.sort_by_key(|(id, _)| *id);
        for (_, open) in open {
            open.finish(true, why, now, facts);
        }
        // In the order in which they were begun.
        facts[begun..].sort_by_key(|fact| fact.started);
        self.handles = HashMap::new();
        self.sizes = VecDeque::new();
        self.held = 0;
        self.up = None;
        self.down = None;
    }

    // What the client sends.

    fn client_step(&mut self, step: Step<'_>, now: Timestamp, _: &mut Vec<Fact>) -> Result<(), Lost> {
        match step {
            Step::Packet(packet, content) => self.request(packet, content, now),
            Step::Content(piece) => {
                if let Some(file) = self.up.and_then(|up| up.file) {
                    self.file(file, |file| file.up.pass(piece));
                }
                Ok(())
            }
            Step::ContentEnd => {
                self.up = None;
                Ok(())
            }
        }
    }

    fn request(&mut self, packet: &[u8], content: u32, now: Timestamp) -> Result<(), Lost> {
        let mut reader = Reader(packet);
        let nonsense = Lost::Nonsense(Side::Client, "SFTP");
        let kind = reader.byte().ok_or(nonsense.clone())?;
        if kind == INIT {
            return Ok(());
        }
        let id = reader.number().ok_or(nonsense.clone())?;
        let request = Request::read(kind, &mut reader, self.version()).ok_or(nonsense)?;
        let kind = self.kind(request, content);
        let held = kind.held();
        self.hold(held)?;
        if self.asked.len() + self.twins.len() >= IN_FLIGHT {
            return Err(Lost::InFlight(IN_FLIGHT));
        }
        let asked = Asked { order: self.next_order(), started: now, kind, held };
        match self.asked.entry(id) {
            std::collections::hash_map::Entry::Occupied(_) => self.twins.push_back((id, asked)),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(asked);
            }
        }
        Ok(())
    }

    fn kind(&mut self, request: Request<'_>, content: u32) -> Kind {
        match request {
            Request::Open { path, mode } => Kind::Open { path: self.resolved(path), mode },
            Request::OpenFolder { path } => Kind::OpenFolder { path: self.resolved(path) },
            Request::Read { handle, offset } => {
                let of = self.used(handle);
                if let Which::Known(file) = of {
                    self.file(file, |file| file.down.attempt(offset));
                }
                Kind::Read { of, offset }
            }
            Request::Write { handle, offset } => {
                let of = self.used(handle);
                let file = match of {
                    Which::Known(file) => Some(file),
                    Which::ByHandle(_) => None,
                };
                self.up = Some(Passing { file, offset, length: content });
                if let Some(file) = file {
                    self.file(file, |file| file.up.begin(offset));
                }
                Kind::Write { of, offset, length: content }
            }
            Request::ReadFolder { handle } => Kind::ReadFolder { of: self.used(handle) },
            Request::Close { handle } => {
                let of = self.used(handle);
                if let Which::Known(file) = of
                    && let Some(open) = self.open.get_mut(&file)
                {
                    open.closing = true;
                }
                Kind::Close { of }
            }
            Request::Stat { path } => Kind::Stat { path: self.resolved(path) },
            Request::StatHandle { handle } => Kind::StatHandle { of: self.used(handle) },
            Request::SetStat { path, attributes } => Kind::SetStat { path: self.resolved(path), attributes },
            Request::SetStatHandle { handle, attributes } => {
                Kind::SetStatHandle { of: self.used(handle), attributes }
            }
            Request::CopyData { from, offset, length, to } => {
                Kind::CopyData { from: self.used(from), to: self.used(to), offset, length }
            }
            Request::Remove { path } => self.plain(FileAction::Delete, path, None),
            Request::Mkdir { path } => self.plain(FileAction::Mkdir, path, None),
            Request::Rename { from, to } => self.plain(FileAction::Rename, from, Some(to)),
            Request::CopyFile { from, to } => self.plain(FileAction::Copy, from, Some(to)),
            Request::Link { link, names, symbolic } => {
                let path = self.resolved(link);
                let new_path = match path.iter().rposition(|byte| *byte == b'/') {
                    // The text of a symbolic link counts from the folder that it lies in.
                    Some(folder) if symbolic && !names.starts_with(b"/") => {
                        self.resolved(&[&path[..=folder], names].concat())
                    }
                    Some(_) | None => self.resolved(names),
                };
                Kind::Plain { action: FileAction::Link, path, new_path: Some(new_path) }
            }
            Request::RealPath { path: b"." | b"" } => Kind::Home,
            Request::RealPath { .. } | Request::Harmless => Kind::Harmless,
            Request::Unknown(name) => Kind::Unknown(cut(name)),
        }
    }

    fn plain(&self, action: FileAction, path: &[u8], new_path: Option<&[u8]>) -> Kind {
        let new_path = new_path.map(|path| self.resolved(path));
        Kind::Plain { action, path: self.resolved(path), new_path }
    }

    /// An absolute path as it is; another one from where the target's server began.
    fn resolved(&self, path: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(path.len().min(PATH_BYTES) + 2);
        if !path.starts_with(b"/") {
            whole.extend_from_slice(self.home.as_deref().unwrap_or(b"."));
        }
        for name in path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
            if whole.last() != Some(&b'/') {
                whole.push(b'/');
            }
            whole.extend_from_slice(name);
            if whole.len() > PATH_BYTES {
                break;
            }
        }
        if whole.is_empty() {
            whole.push(b'/');
        }
        cut(&whole)
    }

    /// The file that a client means by a handle, one use of it begun.
    fn used(&mut self, handle: &[u8]) -> Which {
        let known = self.handles.get(handle).copied();
        if let Some(id) = known
            && let Some(open) = self.open.get_mut(&id)
            && !open.closing
        {
            open.in_use += 1;
            return Which::Known(id);
        }
        Which::ByHandle(handle.into())
    }

    fn next_order(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn version(&self) -> u32 {
        self.version.unwrap_or(3)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Lost> {
        self.held += bytes;
        if self.held > HELD_BYTES { Err(Lost::Paths(HELD_BYTES)) } else { Ok(()) }
    }

    fn file(&mut self, id: u64, change: impl FnOnce(&mut OpenFile)) {
        if let Some(Open { content: Content::File(file), .. }) = self.open.get_mut(&id) {
            change(file);
        }
    }

    // What the target sends.

    fn server_step(&mut self, step: Step<'_>, now: Timestamp, facts: &mut Vec<Fact>) -> Result<(), Lost> {
        match step {
            Step::Packet(packet, content) => self.answer(packet, content, now, facts),
            Step::Content(piece) => {
                if let Some(file) = self.down.and_then(|down| down.file) {
                    self.file(file, |file| file.down.pass(piece));
                }
                Ok(())
            }
            Step::ContentEnd => {
                if let Some(Passing { file: Some(id), offset, length }) = self.down.take() {
                    self.file(id, |file| file.down.arrived(offset, u64::from(length)));
                    self.release(id, now, facts);
                }
                Ok(())
            }
        }
    }

    fn answer(
        &mut self,
        packet: &[u8],
        content: u32,
        now: Timestamp,
        facts: &mut Vec<Fact>,
    ) -> Result<(), Lost> {
        const VERSION: u8 = 2;
        let nonsense = Lost::Nonsense(Side::Target, "SFTP");
        let mut reader = Reader(packet);
        let kind = reader.byte().ok_or(nonsense.clone())?;
        let number = reader.number().ok_or(nonsense.clone())?;
        if kind == VERSION {
            self.version.get_or_insert(number);
            return Ok(());
        }
        let answer = Answer::read(kind, reader, content, self.version()).ok_or(nonsense)?;
        self.down = None;
        // An answer to nothing: the client will make nothing of it either.
        let Some(asked) = self.asked.remove(&number) else { return Ok(()) };
        if !self.twins.is_empty()
            && let Some(at) = self.twins.iter().position(|(id, _)| *id == number)
            && let Some((id, twin)) = self.twins.remove(at)
        {
            self.asked.insert(id, twin);
        }
        self.held = self.held.saturating_sub(asked.held);
        self.answered(asked, &answer, now, facts)
    }

    fn answered(
        &mut self,
        asked: Asked,
        answer: &Answer<'_>,
        now: Timestamp,
        facts: &mut Vec<Fact>,
    ) -> Result<(), Lost> {
        let Asked { started, kind, .. } = asked;
        let duration = now.since(started);
        let done = |action, path: &[u8], facts: &mut Vec<Fact>| {
            let mut fact = Fact { duration, ..Fact::new(action, shown(path), started) };
            if !answer.is_ok() {
                fact.outcome = FileOutcome::Failed;
                fact.error = answer.error();
            }
            facts.push(fact);
        };
        match kind {
            Kind::Open { path, mode } => {
                if let Answer::Handle(handle) = answer {
                    let known_size = self.sizes.iter().find(|(of, _)| *of == path).map(|(_, size)| *size);
                    let file = OpenFile::new(mode, known_size);
                    self.opened(handle, path, Content::File(Box::new(file)), started)?;
                } else {
                    let action = if mode.write { FileAction::Upload } else { FileAction::Download };
                    done(action, &path, facts);
                    if let Some(fact) = facts.last_mut() {
                        fact.bytes = Some(0);
                    }
                }
            }
            Kind::OpenFolder { path } => {
                if let Answer::Handle(handle) = answer {
                    self.opened(handle, path, Content::Folder(Folder::default()), started)?;
                } else {
                    done(FileAction::Browse, &path, facts);
                }
            }
            Kind::Read { of, offset } => {
                if let Answer::Data(length) = answer {
                    let file = self.now_of(&of, true)?;
                    if let Some(id) = file {
                        self.file(id, |file| file.down.begin(offset));
                    }
                    // Released when all of it has passed.
                    self.down = Some(Passing { file, offset, length: *length });
                } else if let Some(id) = self.now_of(&of, false)? {
                    self.file(id, |file| {
                        if answer.is_end() {
                            file.read_to_end(offset);
                        } else {
                            file.failed(answer.error());
                        }
                    });
                    self.release(id, now, facts);
                }
            }
            Kind::Write { of, offset, length } => {
                if let Some(id) = self.now_of(&of, answer.is_ok())? {
                    let early = matches!(of, Which::ByHandle(_));
                    self.file(id, |file| {
                        if early {
                            file.up.begin(offset);
                            file.up.spoil();
                        }
                        if answer.is_ok() {
                            file.up.arrived(offset, u64::from(length));
                        } else {
                            file.failed(answer.error());
                            file.up.spoil();
                        }
                    });
                    self.release(id, now, facts);
                }
            }
            Kind::ReadFolder { of } => {
                if let Some(id) = self.now_of(&of, !answer.is_refusal())? {
                    let version = self.version();
                    if let Some(Open { content: Content::Folder(folder), .. }) = self.open.get_mut(&id) {
                        if let Answer::Name(count, reader) = answer {
                            let mut reader = Reader(reader.0);
                            folder.entries += wire::entries(&mut reader, *count, version);
                        } else if !answer.is_end() {
                            folder.error = Some(answer.error());
                        }
                    }
                    self.release(id, now, facts);
                }
            }
            Kind::Close { of } => {
                if let Some(id) = self.now_of(&of, false)? {
                    if let Some(open) = self.open.get_mut(&id) {
                        open.closed = true;
                        if !answer.is_ok() {
                            open.failed(answer.error());
                        }
                        let handle = std::mem::take(&mut open.handle);
                        if self.handles.get(&handle) == Some(&id) {
                            self.handles.remove(&handle);
                        }
                    }
                    self.release(id, now, facts);
                }
            }
            Kind::Stat { path } => {
                if let Answer::Attributes(Some(size)) = answer {
                    self.sizes.retain(|(of, _)| *of != path);
                    self.sizes.push_front((path, *size));
                    self.sizes.truncate(SIZES);
                }
            }
            Kind::StatHandle { of } => {
                if let Some(id) = self.now_of(&of, false)? {
                    if let Answer::Attributes(Some(size)) = answer {
                        self.file(id, |file| file.known_size = Some(*size));
                    }
                    self.release(id, now, facts);
                }
            }
            Kind::SetStat { path, attributes } => {
                if let Some(size) = attributes.size {
                    done(FileAction::Truncate, &path, facts);
                    if let Some(fact) = facts.last_mut() {
                        fact.bytes = Some(size);
                    }
                }
                if attributes.others {
                    done(FileAction::Chmod, &path, facts);
                }
            }
            Kind::SetStatHandle { of, attributes } => {
                if let Some(id) = self.now_of(&of, answer.is_ok())? {
                    let path = self.open.get(&id).map(|open| open.path.clone()).unwrap_or_default();
                    if let Some(size) = attributes.size {
                        // An upload that cuts what was there before at its own end says nothing new.
                        let mut its_own_end = false;
                        self.file(id, |file| its_own_end = file.resized(size, answer.is_ok()));
                        if !its_own_end {
                            done(FileAction::Truncate, &path, facts);
                            if let Some(fact) = facts.last_mut() {
                                fact.bytes = Some(size);
                            }
                        }
                    }
                    if attributes.others {
                        done(FileAction::Chmod, &path, facts);
                    }
                    self.release(id, now, facts);
                }
            }
            Kind::CopyData { from, to, offset, length } => {
                let source = self.now_of(&from, answer.is_ok())?;
                let target = self.now_of(&to, answer.is_ok())?;
                if let (Some(source), Some(target)) = (source, target) {
                    self.file(source, |file| file.copied = true);
                    self.file(target, |file| {
                        file.copied = true;
                        file.up.spoil();
                    });
                    let path_of = |id| self.open.get(&id).map(|open: &Open| shown(&open.path));
                    let (path, new_path) = (path_of(source), path_of(target));
                    done(FileAction::Copy, &[], facts);
                    if let Some(fact) = facts.last_mut() {
                        fact.path = path.unwrap_or_default();
                        fact.new_path = new_path;
                        fact.offset = offset;
                        // 0 stands for all there is, and nobody says how much that was.
                        fact.bytes = (length != 0 && answer.is_ok()).then_some(length);
                    }
                }
                for id in source.into_iter().chain(target) {
                    self.release(id, now, facts);
                }
            }
            Kind::Plain { action, path, new_path } => {
                done(action, &path, facts);
                if let Some(fact) = facts.last_mut() {
                    fact.new_path = new_path.as_deref().map(shown);
                }
            }
            Kind::Home => {
                if let Answer::Name(_, reader) = answer
                    && let Some(home) = Reader(reader.0).string()
                    && home.starts_with(b"/")
                {
                    self.home = Some(cut(home));
                }
            }
            Kind::Unknown(name) if !answer.is_refusal() => {
                self.unknown.get_or_insert_with(|| (shown(&name), 0)).1 += 1;
            }
            Kind::Unknown(_) | Kind::Harmless => {}
        }
        Ok(())
    }

    fn opened(
        &mut self,
        handle: &[u8],
        path: Vec<u8>,
        content: Content,
        started: Timestamp,
    ) -> Result<(), Lost> {
        if self.open.len() >= OPEN {
            return Err(Lost::OpenFiles(OPEN));
        }
        let open = Open::new(path, handle.into(), content, started);
        self.hold(open.held)?;
        let id = self.next_order();
        self.handles.insert(handle.into(), id);
        self.open.insert(id, open);
        Ok(())
    }

    /// The file that a request was about, one use of it still to be released. A request that the target
    /// granted (`granted`) was about some file.
    fn now_of(&mut self, which: &Which, granted: bool) -> Result<Option<u64>, Lost> {
        match which {
            Which::Known(id) => Ok(Some(*id)),
            Which::ByHandle(handle) => match self.handles.get(handle).copied() {
                Some(id) => {
                    if let Some(open) = self.open.get_mut(&id) {
                        open.in_use += 1;
                    }
                    Ok(Some(id))
                }
                None if granted => Err(Lost::UnknownHandle),
                None => Ok(None),
            },
        }
    }

    /// One use of a file is over. What was closed is done with its last use.
    fn release(&mut self, id: u64, now: Timestamp, facts: &mut Vec<Fact>) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.in_use = open.in_use.saturating_sub(1);
        if open.closed
            && open.in_use == 0
            && let Some(open) = self.open.remove(&id)
        {
            self.held = self.held.saturating_sub(open.held);
            open.finish(false, "", now, facts);
        }
    }
}

fn cut(path: &[u8]) -> Vec<u8> {
    // One more than is shown, so that it is seen to be longer.
    path[..path.len().min(PATH_BYTES + 1)].to_vec()
}
