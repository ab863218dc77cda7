//! A client and a server that do random things with files, and the server's own log of them.

use std::collections::{BTreeMap, HashMap};

use data_encoding::HEXLOWER;

use super::super::super::{Side, sentence, shown};
use crate::{
    files::{Fact, FileAction, FileOutcome},
    time::Timestamp,
};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(super) const READ: u32 = 1;
pub(super) const WRITE: u32 = 2;
pub(super) const CREATE: u32 = 8;
pub(super) const TRUNCATE: u32 = 16;
pub(super) const EXCLUSIVE: u32 = 32;

/// A packet of these parts.
#[derive(Default)]
pub(super) struct Packet(pub(super) Vec<u8>);

impl Packet {
    pub(super) fn new(kind: u8, id: u32) -> Self {
        Self(vec![kind]).number(id)
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn string(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let mut packet = self.number(u32::try_from(text.len()).unwrap());
        packet.0.extend(text);
        packet
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = u32::try_from(self.0.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(self.0);
        bytes
    }

    pub(super) fn status(id: u32, code: u32, text: &str) -> Vec<u8> {
        Self::new(101, id).number(code).string(text).string("en").bytes()
    }
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(super) fn path(&mut self) -> String {
        format!("/data/{}", ["a", "b", "c/d", "e é", "f\u{1b}x"][self.below(5)])
    }
}

pub(super) fn sha(bytes: &[u8]) -> String {
    HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// What is compared: not the times.
pub(super) type Line =
    (FileAction, String, Option<String>, Option<u64>, Option<u64>, Option<String>, FileOutcome, String);

pub(super) fn line(fact: &Fact) -> Line {
    let (path, new_path) = (fact.path.clone(), fact.new_path.clone());
    let (bytes, entries, sha256) = (fact.bytes, fact.entries, fact.sha256.clone());
    (fact.action, path, new_path, bytes, entries, sha256, fact.outcome, fact.error.clone())
}

/// A file or folder that the model has open.
#[derive(Default)]
pub(super) struct Handle {
    pub(super) path: String,
    pub(super) folder: bool,
    pub(super) flags: u32,
    /// Bytes of pieces in the order in which the client got them.
    pub(super) got: Vec<(u64, Vec<u8>)>,
    pub(super) read_tried: bool,
    pub(super) ends: Vec<u64>,
    pub(super) told_size: Option<u64>,
    pub(super) sent: Vec<(u64, Vec<u8>)>,
    pub(super) written: u64,
    pub(super) end: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) spoiled: bool,
    pub(super) errors: Vec<String>,
    pub(super) entries: u64,
    pub(super) copied: bool,
    pub(super) close_sent: bool,
    pub(super) close_answered: bool,
    pub(super) waiting: usize,
}

impl Handle {
    pub(super) fn whole(pieces: &[(u64, Vec<u8>)]) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        for (offset, bytes) in pieces {
            if *offset != all.len() as u64 {
                return None;
            }
            all.extend(bytes);
        }
        Some(all)
    }

    pub(super) fn lines(&self, log: &mut Vec<Line>, cut: bool) {
        let error = self.errors.first().cloned();
        let end = |error: Option<String>, cut: bool| match error {
            Some(error) => (FileOutcome::Failed, error),
            None if cut => (FileOutcome::Interrupted, "the session ended before it was done".to_owned()),
            None => (FileOutcome::Ok, String::new()),
        };
        let path = shown(self.path.as_bytes());
        if self.folder {
            let (outcome, error) = end(error, cut);
            log.push((FileAction::Browse, path, None, None, Some(self.entries), None, outcome, error));
            return;
        }
        let (read, write) = (self.flags & READ != 0, self.flags & WRITE != 0);
        let empties = self.flags & TRUNCATE != 0 || self.flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE;
        let downloads = self.read_tried || (read && !write && !self.copied);
        let uploads = !self.sent.is_empty() || (write && !self.copied && (!downloads || empties));
        if downloads {
            let bytes = self.got.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let all = Self::whole(&self.got).filter(|all| {
                let length = all.len() as u64;
                self.ends.iter().min() == Some(&length) || self.told_size == Some(length)
            });
            let cut = cut && !(all.is_some() && self.waiting == 0);
            let (outcome, error) = end(error.clone().filter(|_| !uploads), cut);
            let sha256 = all.filter(|_| outcome == FileOutcome::Ok).map(|all| sha(&all));
            log.push((FileAction::Download, path.clone(), None, Some(bytes), None, sha256, outcome, error));
        }
        if uploads {
            let (outcome, error) = end(error, cut);
            let all = Self::whole(&self.sent).filter(|all| {
                let length = all.len() as u64;
                !self.spoiled && (empties || self.cut_at == Some(length)) && self.written == length
            });
            let sha256 = all.filter(|_| outcome == FileOutcome::Ok).map(|all| sha(&all));
            log.push((FileAction::Upload, path, None, Some(self.written), None, sha256, outcome, error));
        }
    }
}

/// What happens when an answer arrives.
pub(super) enum Then {
    Open(usize, bool),
    Got(usize, u64, Vec<u8>),
    End(usize, u64),
    Written(usize, u64, u64, bool),
    Closed(usize, bool),
    Entries(usize, u64),
    Size(usize, u64),
    Resized(usize, u64, bool),
    Log(Vec<Line>, Vec<usize>),
    Error(usize),
    Nothing(Vec<usize>),
}

/// A piece of traffic: who sends it, the bytes, and how much the other side must have sent before.
pub(super) struct Sent {
    pub(super) side: Side,
    pub(super) bytes: Vec<u8>,
    pub(super) after: usize,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) handles: Vec<Handle>,
    /// Given out by the server and not taken back: by number.
    pub(super) free: Vec<u32>,
    pub(super) numbers: HashMap<usize, u32>,
    /// The client has it.
    pub(super) usable: Vec<usize>,
    pub(super) answers: Vec<(Vec<u8>, Then, usize, u32)>,
    pub(super) traffic: Vec<Sent>,
    pub(super) sent: [usize; 2],
    pub(super) log: Vec<Line>,
    pub(super) next_id: u32,
    pub(super) free_ids: Vec<u32>,
}

pub(super) const NO: &str = "not\nnow";

impl Model {
    pub(super) fn id(&mut self, random: &mut Random) -> u32 {
        if !self.free_ids.is_empty() && random.one_in(2) {
            return self.free_ids.swap_remove(random.below(self.free_ids.len()));
        }
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn handle(&self, at: usize) -> [u8; 4] {
        self.numbers[&at].to_be_bytes()
    }

    pub(super) fn ask(&mut self, id: u32, request: Vec<u8>, answer: Vec<u8>, then: Then) {
        self.traffic.push(Sent { side: Side::Client, bytes: request, after: self.sent[1] });
        self.sent[0] += 1;
        self.answers.push((answer, then, self.sent[0], id));
    }

    pub(super) fn request(&mut self, random: &mut Random) {
        let id = self.id(random);
        let fails = random.one_in(8);
        let status = |ok: bool| {
            if ok { Packet::status(id, 0, "Success") } else { Packet::status(id, 4, NO) }
        };
        let outcome = if fails {
            (FileOutcome::Failed, sentence(NO.as_bytes()))
        } else {
            (FileOutcome::Ok, String::new())
        };
        let plain = |action, path: &str, new_path: Option<&str>, bytes: Option<u64>| -> Line {
            let text = |path: &str| shown(path.as_bytes());
            let (outcome, error) = outcome.clone();
            (action, text(path), new_path.map(text), bytes, None, None, outcome, error)
        };
        let open = (!self.usable.is_empty()).then(|| self.usable[random.below(self.usable.len())]);
        match (random.below(20), open) {
            (0..=3, _) | (_, None) => self.open(id, fails, random),
            (4..=8, Some(at)) if !self.handles[at].folder => self.read(id, at, fails, random),
            (9..=12, Some(at)) if !self.handles[at].folder => self.write(id, at, fails, random),
            (4..=12, Some(at)) => self.list(id, at, random),
            (13 | 14, Some(at)) => {
                self.usable.retain(|usable| *usable != at);
                self.handles[at].close_sent = true;
                self.handles[at].waiting += 1;
                let request = Packet::new(4, id).string(self.handle(at)).bytes();
                let number = self.numbers[&at];
                self.free.push(number);
                self.ask(id, request, status(!fails), Then::Closed(at, !fails));
            }
            (15, Some(at)) if !self.handles[at].folder => {
                let size = self.files.get(&self.handles[at].path).map_or(0, Vec::len) as u64;
                self.handles[at].waiting += 1;
                let request = Packet::new(8, id).string(self.handle(at)).bytes();
                let answer = Packet::new(105, id).number(1).long(size).bytes();
                self.ask(id, request, answer, Then::Size(at, size));
            }
            (16, Some(at)) if !self.handles[at].folder => {
                let size = random.below(200) as u64;
                self.handles[at].waiting += 1;
                let request = Packet::new(10, id).string(self.handle(at)).number(1).long(size).bytes();
                if let Some(content) = self.files.get_mut(&self.handles[at].path)
                    && !fails
                {
                    content.resize(usize::try_from(size).unwrap(), 0);
                }
                self.ask(id, request, status(!fails), Then::Resized(at, size, !fails));
            }
            (17, Some(at)) if self.usable.len() > 1 => {
                let to = self.usable[random.below(self.usable.len())];
                if self.handles[at].folder || self.handles[to].folder {
                    return;
                }
                let length = random.below(3) as u64 * 10;
                let request = Packet::new(200, id).string("copy-data").string(self.handle(at)).long(7);
                let request = request.long(length).string(self.handle(to)).long(0).bytes();
                let bytes = (length != 0 && !fails).then_some(length);
                let (path, other) = (self.handles[at].path.clone(), self.handles[to].path.clone());
                let mut said = plain(FileAction::Copy, &path, Some(&other), None);
                said.3 = bytes;
                self.handles[at].waiting += 1;
                self.handles[to].waiting += 1;
                self.ask(id, request, status(!fails), Then::Log(vec![said], vec![at, to]));
            }
            (_, Some(_)) => {
                let (one, two) = (random.path(), random.path());
                let (request, lines) = match random.below(10) {
                    0 => {
                        (Packet::new(13, id).string(&one), vec![plain(FileAction::Delete, &one, None, None)])
                    }
                    1 => {
                        (Packet::new(15, id).string(&one), vec![plain(FileAction::Delete, &one, None, None)])
                    }
                    2 => (
                        Packet::new(14, id).string(&one).number(0),
                        vec![plain(FileAction::Mkdir, &one, None, None)],
                    ),
                    3 => (
                        Packet::new(18, id).string(&one).string(&two),
                        vec![plain(FileAction::Rename, &one, Some(&two), None)],
                    ),
                    4 => (
                        Packet::new(200, id).string("posix-rename@openssh.com").string(&one).string(&two),
                        vec![plain(FileAction::Rename, &one, Some(&two), None)],
                    ),
                    5 => (
                        Packet::new(200, id).string("hardlink@openssh.com").string(&one).string(&two),
                        vec![plain(FileAction::Link, &two, Some(&one), None)],
                    ),
                    6 => (
                        Packet::new(20, id).string("../x").string(&two),
                        vec![plain(
                            FileAction::Link,
                            &two,
                            Some(&format!("{}/../x", two.rsplit_once('/').unwrap().0)),
                            None,
                        )],
                    ),
                    7 => (
                        Packet::new(9, id).string(&one).number(5).long(3).number(0o644),
                        vec![
                            plain(FileAction::Truncate, &one, None, Some(3)),
                            plain(FileAction::Chmod, &one, None, None),
                        ],
                    ),
                    8 => (Packet::new(17, id).string(&one), vec![]),
                    _ => (Packet::new(200, id).string("statvfs@openssh.com").string(&one), vec![]),
                };
                self.ask(id, request.bytes(), status(!fails), Then::Log(lines, vec![]));
            }
        }
    }

    pub(super) fn open(&mut self, id: u32, fails: bool, random: &mut Random) {
        let (path, at) = (random.path(), self.handles.len());
        let folder = random.one_in(4);
        let flags = match random.below(6) {
            0 | 1 => READ,
            2 => WRITE | CREATE | TRUNCATE,
            3 => READ | WRITE,
            4 => WRITE | CREATE | EXCLUSIVE,
            _ => WRITE | CREATE,
        };
        self.handles.push(Handle { path: path.clone(), folder, flags, ..Handle::default() });
        let request = match folder {
            true => Packet::new(11, id).string(&path).bytes(),
            false => Packet::new(3, id).string(&path).number(flags).number(4).number(0o644).bytes(),
        };
        if fails {
            return self.ask(id, request, Packet::status(id, 3, NO), Then::Open(at, false));
        }
        let content = self.files.entry(path).or_insert_with(|| vec![b'x'; random.below(300)]);
        if flags & TRUNCATE != 0 && !folder {
            content.clear();
        }
        let number = if self.free.is_empty() {
            at as u32
        } else {
            self.free.swap_remove(random.below(self.free.len()))
        };
        self.numbers.insert(at, number);
        let answer = Packet::new(102, id).string(number.to_be_bytes()).bytes();
        self.ask(id, request, answer, Then::Open(at, true));
    }

    pub(super) fn read(&mut self, id: u32, at: usize, fails: bool, random: &mut Random) {
        let content = self.files.get(&self.handles[at].path).cloned().unwrap_or_default();
        // Mostly where the last one ended.
        let next = self.handles[at].got.iter().map(|(offset, bytes)| *offset + bytes.len() as u64).max();
        let offset = if random.one_in(6) { random.below(300) as u64 } else { next.unwrap_or(0) };
        let length = 1 + random.below(400);
        let request = Packet::new(5, id).string(self.handle(at)).long(offset).number(length as u32).bytes();
        self.handles[at].waiting += 1;
        self.handles[at].read_tried = true;
        if fails {
            return self.ask(id, request, Packet::status(id, 4, NO), Then::Error(at));
        }
        let start = usize::try_from(offset).unwrap();
        if start >= content.len() {
            return self.ask(id, request, Packet::status(id, 1, "End of file"), Then::End(at, offset));
        }
        let mut piece = &content[start..content.len().min(start + length)];
        if random.one_in(4) {
            piece = &piece[..random.below(piece.len() + 1)];
        }
        let answer = Packet::new(103, id).string(piece).bytes();
        self.ask(id, request, answer, Then::Got(at, offset, piece.to_vec()));
    }

    pub(super) fn write(&mut self, id: u32, at: usize, fails: bool, random: &mut Random) {
        let next = self.handles[at].sent.iter().map(|(offset, bytes)| *offset + bytes.len() as u64).max();
        let offset = if random.one_in(8) { random.below(100) as u64 } else { next.unwrap_or(0) };
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        let request = Packet::new(6, id).string(self.handle(at)).long(offset).string(&bytes).bytes();
        let length = bytes.len() as u64;
        let handle = &mut self.handles[at];
        handle.waiting += 1;
        handle.sent.push((offset, bytes));
        let answer = if fails { Packet::status(id, 4, NO) } else { Packet::status(id, 0, "") };
        self.ask(id, request, answer, Then::Written(at, offset, length, !fails));
    }

    pub(super) fn list(&mut self, id: u32, at: usize, random: &mut Random) {
        self.handles[at].waiting += 1;
        let request = Packet::new(12, id).string(self.handle(at)).bytes();
        if random.one_in(3) {
            return self.ask(id, request, Packet::status(id, 1, ""), Then::Nothing(vec![at]));
        }
        let count = random.below(6);
        let mut answer = Packet::new(104, id).number(count as u32 + 2);
        for name in [".".to_owned(), "..".to_owned()].into_iter().chain((0..count).map(|n| format!("n{n}"))) {
            answer = answer.string(&name).string(format!("-rw {name}")).number(0xf | 0x8000_0000);
            answer = answer.long(1).long(2).number(3).long(4).number(1).string("a@b").string("c");
        }
        self.ask(id, request, answer.bytes(), Then::Entries(at, count as u64));
    }

    /// One of the answers arrives.
    pub(super) fn arrive(&mut self, random: &mut Random) {
        if self.answers.is_empty() {
            return;
        }
        let (bytes, then, after, id) = self.answers.remove(random.below(self.answers.len()));
        self.traffic.push(Sent { side: Side::Target, bytes, after });
        self.sent[1] += 1;
        self.free_ids.push(id);
        let error = sentence(NO.as_bytes());
        let mut done = Vec::new();
        match then {
            Then::Open(at, true) => self.usable.push(at),
            Then::Open(at, false) => {
                let handle = &self.handles[at];
                let action = match (handle.folder, handle.flags & WRITE != 0) {
                    (true, _) => FileAction::Browse,
                    (false, true) => FileAction::Upload,
                    (false, false) => FileAction::Download,
                };
                let bytes = (!handle.folder).then_some(0);
                let path = shown(handle.path.as_bytes());
                self.log.push((action, path, None, bytes, None, None, FileOutcome::Failed, error));
            }
            Then::Got(at, offset, bytes) => {
                self.handles[at].got.push((offset, bytes));
                done.push(at);
            }
            Then::End(at, offset) => {
                self.handles[at].ends.push(offset);
                done.push(at);
            }
            Then::Written(at, offset, length, ok) => {
                let handle = &mut self.handles[at];
                if ok {
                    handle.written += length;
                    handle.end = handle.end.max(offset + length);
                } else {
                    handle.errors.push(error);
                    handle.spoiled = true;
                }
                done.push(at);
            }
            Then::Closed(at, ok) => {
                let handle = &mut self.handles[at];
                handle.close_answered = true;
                if !ok {
                    handle.errors.push(error);
                }
                done.push(at);
            }
            Then::Entries(at, count) => {
                self.handles[at].entries += count;
                done.push(at);
            }
            Then::Size(at, size) => {
                self.handles[at].told_size = Some(size);
                done.push(at);
            }
            Then::Resized(at, size, ok) => {
                let handle = &mut self.handles[at];
                if ok && handle.flags & WRITE != 0 && handle.end == size {
                    handle.cut_at = Some(size);
                } else {
                    handle.spoiled |= ok;
                    let (outcome, error) =
                        if ok { (FileOutcome::Ok, String::new()) } else { (FileOutcome::Failed, error) };
                    let path = shown(handle.path.as_bytes());
                    let line = (FileAction::Truncate, path, None, Some(size), None, None, outcome, error);
                    self.log.push(line);
                }
                done.push(at);
            }
            Then::Log(lines, of) => {
                self.log.extend(lines);
                for at in &of {
                    self.handles[*at].copied = true;
                }
                if let [_, to] = of[..] {
                    self.handles[to].spoiled = true;
                }
                done = of;
            }
            Then::Error(at) => {
                self.handles[at].errors.push(error);
                done.push(at);
            }
            Then::Nothing(of) => done = of,
        }
        for at in done {
            self.release(at);
        }
    }

    pub(super) fn release(&mut self, at: usize) {
        let handle = &mut self.handles[at];
        handle.waiting -= 1;
        if handle.close_answered && handle.waiting == 0 {
            let mut log = std::mem::take(&mut self.log);
            self.handles[at].lines(&mut log, false);
            self.log = log;
        }
    }

    pub(super) fn play(random: &mut Random, requests: usize) -> Self {
        let mut model = Self::default();
        for _ in 0..requests {
            model.request(random);
            while random.one_in(2) && !model.answers.is_empty() {
                model.arrive(random);
            }
        }
        model
    }

    /// The rest arrives and everything is closed, or it is cut off here.
    pub(super) fn end(&mut self, random: &mut Random, cut: bool) {
        if !cut {
            while !self.answers.is_empty() {
                self.arrive(random);
            }
            return;
        }
        let mut log = std::mem::take(&mut self.log);
        for (at, handle) in self.handles.iter().enumerate() {
            let given = self.numbers.contains_key(&at)
                && !self.answers.iter().any(|(_, then, ..)| matches!(then, Then::Open(of, _) if *of == at));
            if given && !(handle.close_answered && handle.waiting == 0) {
                handle.lines(&mut log, true);
            }
        }
        for (_, then, ..) in &self.answers {
            let why = "the session ended before it was done".to_owned();
            match then {
                Then::Open(at, _) => {
                    let handle = &self.handles[*at];
                    let action = match (handle.folder, handle.flags & WRITE != 0) {
                        (true, _) => FileAction::Browse,
                        (false, true) => FileAction::Upload,
                        (false, false) => FileAction::Download,
                    };
                    let path = shown(handle.path.as_bytes());
                    log.push((action, path, None, None, None, None, FileOutcome::Interrupted, why));
                }
                Then::Resized(at, ..) => {
                    let path = shown(self.handles[*at].path.as_bytes());
                    let outcome = FileOutcome::Interrupted;
                    log.push((FileAction::Truncate, path, None, None, None, None, outcome, why));
                }
                Then::Log(lines, _) => {
                    for (action, path, new_path, ..) in lines.clone() {
                        log.push((
                            action,
                            path,
                            new_path,
                            None,
                            None,
                            None,
                            FileOutcome::Interrupted,
                            why.clone(),
                        ));
                    }
                }
                Then::Got(..)
                | Then::End(..)
                | Then::Written(..)
                | Then::Closed(..)
                | Then::Entries(..)
                | Then::Size(..)
                | Then::Error(_)
                | Then::Nothing(_) => {}
            }
        }
        self.log = log;
    }
}
