//! What clients ask for and what they are answered, as bytes: SFTP version 3 (draft-ietf-secsh-filexfer-02) and what
//! OpenSSH's PROTOCOL adds to it. Names are bytes throughout.
//!
//! Every length is checked against what is there; nothing is allocated for what a number promises.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The longest packet that is taken: OpenSSH's limit.
pub const MAX_PACKET: usize = 256 * 1024;
/// The most data that a client is told to send or to ask for at once.
pub(super) const MAX_DATA: u64 = MAX_PACKET as u64 - 1024;
/// The longest handle that is looked at; ours are shorter.
const MAX_HANDLE: usize = 256;

pub(super) mod code {
    pub(in super::super) const OK: u32 = 0;
    pub(in super::super) const EOF: u32 = 1;
    pub(in super::super) const NO_SUCH_FILE: u32 = 2;
    pub(in super::super) const PERMISSION_DENIED: u32 = 3;
    pub(in super::super) const FAILURE: u32 = 4;
    pub(in super::super) const BAD_MESSAGE: u32 = 5;
    pub(in super::super) const UNSUPPORTED: u32 = 8;
}

pub(super) mod flag {
    pub(in super::super) const READ: u32 = 0x01;
    pub(in super::super) const WRITE: u32 = 0x02;
    pub(in super::super) const APPEND: u32 = 0x04;
    pub(in super::super) const CREATE: u32 = 0x08;
    pub(in super::super) const TRUNCATE: u32 = 0x10;
    pub(in super::super) const EXCLUSIVE: u32 = 0x20;
}

const HAS_SIZE: u32 = 0x01;
const HAS_OWNER: u32 = 0x02;
const HAS_PERMISSIONS: u32 = 0x04;
const HAS_TIMES: u32 = 0x08;
const HAS_EXTENDED: u32 = 0x8000_0000;

/// What is to be set, or known, of a file. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub size: Option<u64>,
    pub owner: Option<(u32, u32)>,
    /// With the type of file, in answers.
    pub mode: Option<u32>,
    pub modified: Option<u32>,
}

/// A request without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Open {
        path: Bytes,
        flags: u32,
        attributes: Attributes,
    },
    Close {
        handle: Bytes,
    },
    Read {
        handle: Bytes,
        offset: u64,
        length: u32,
    },
    Write {
        handle: Bytes,
        offset: u64,
        data: Bytes,
    },
    Stat {
        path: Bytes,
        follow: bool,
    },
    StatHandle {
        handle: Bytes,
    },
    SetStat {
        path: Bytes,
        attributes: Attributes,
        follow: bool,
    },
    SetStatHandle {
        handle: Bytes,
        attributes: Attributes,
    },
    OpenFolder {
        path: Bytes,
    },
    ReadFolder {
        handle: Bytes,
    },
    Remove {
        path: Bytes,
    },
    Mkdir {
        path: Bytes,
        attributes: Attributes,
    },
    Rmdir {
        path: Bytes,
    },
    RealPath {
        path: Bytes,
        expand: bool,
    },
    Rename {
        from: Bytes,
        to: Bytes,
        over: bool,
    },
    ReadLink {
        path: Bytes,
    },
    /// `target` is the link's text.
    Link {
        link: Bytes,
        target: Bytes,
    },
    HardLink {
        link: Bytes,
        existing: Bytes,
    },
    Sync {
        handle: Bytes,
    },
    CopyData {
        from: Bytes,
        offset: u64,
        length: u64,
        to: Bytes,
        to_offset: u64,
    },
    Limits,
    /// What is known to exist, but not here.
    Unsupported,
}

/// The client speaks something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    #[error("a packet of {0} bytes")]
    Length(usize),
    #[error("no greeting at first")]
    Greeting,
    #[error("a packet without a number")]
    Number,
}

/// Puts packets together from pieces.
#[derive(Default)]
pub struct Framer(BytesMut);

impl Framer {
    pub fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next packet, its kind first.
    pub fn packet(&mut self) -> Result<Option<Bytes>, Nonsense> {
        let Some((head, rest)) = self.0.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 || length > MAX_PACKET {
            return Err(Nonsense::Length(length));
        }
        if rest.len() < length {
            let missing = length - rest.len();
            self.0.reserve(missing);
            return Ok(None);
        }
        self.0.advance(4);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

/// The version in the greeting.
pub fn greeting(packet: &Bytes) -> Result<u32, Nonsense> {
    match packet.split_first() {
        Some((1, version)) => {
            version.first_chunk().map(|it| u32::from_be_bytes(*it)).ok_or(Nonsense::Greeting)
        }
        Some(_) | None => Err(Nonsense::Greeting),
    }
}

/// A request and its number. `Ok((_, None))`: it cannot be read, and that is answered.
pub fn request(packet: Bytes) -> Result<(u32, Option<Request>), Nonsense> {
    let mut reader = Reader(packet);
    let kind = reader.u8().ok_or(Nonsense::Number)?;
    let number = reader.u32().ok_or(Nonsense::Number)?;
    Ok((number, read(kind, &mut reader)))
}

fn read(kind: u8, reader: &mut Reader) -> Option<Request> {
    Some(match kind {
        3 => Request::Open { path: reader.string()?, flags: reader.u32()?, attributes: reader.attributes()? },
        4 => Request::Close { handle: reader.handle()? },
        5 => Request::Read { handle: reader.handle()?, offset: reader.u64()?, length: reader.u32()? },
        6 => Request::Write { handle: reader.handle()?, offset: reader.u64()?, data: reader.string()? },
        7 => Request::Stat { path: reader.string()?, follow: false },
        8 => Request::StatHandle { handle: reader.handle()? },
        9 => Request::SetStat { path: reader.string()?, attributes: reader.attributes()?, follow: true },
        10 => Request::SetStatHandle { handle: reader.handle()?, attributes: reader.attributes()? },
        11 => Request::OpenFolder { path: reader.string()? },
        12 => Request::ReadFolder { handle: reader.handle()? },
        13 => Request::Remove { path: reader.string()? },
        14 => {
            let path = reader.string()?;
            // Some clients leave the attributes out.
            Request::Mkdir { path, attributes: reader.attributes().unwrap_or_default() }
        }
        15 => Request::Rmdir { path: reader.string()? },
        16 => Request::RealPath { path: reader.string()?, expand: false },
        17 => Request::Stat { path: reader.string()?, follow: true },
        18 => Request::Rename { from: reader.string()?, to: reader.string()?, over: false },
        19 => Request::ReadLink { path: reader.string()? },
        // OpenSSH has the arguments the other way round than the draft, and all follow it.
        20 => {
            let target = reader.string()?;
            Request::Link { link: reader.string()?, target }
        }
        200 => {
            let name = reader.string()?;
            extended(&name, reader)?
        }
        _ => Request::Unsupported,
    })
}

fn extended(name: &[u8], reader: &mut Reader) -> Option<Request> {
    Some(match name {
        b"posix-rename@openssh.com" => {
            Request::Rename { from: reader.string()?, to: reader.string()?, over: true }
        }
        b"hardlink@openssh.com" => {
            let existing = reader.string()?;
            Request::HardLink { link: reader.string()?, existing }
        }
        b"fsync@openssh.com" => Request::Sync { handle: reader.handle()? },
        b"lsetstat@openssh.com" => {
            Request::SetStat { path: reader.string()?, attributes: reader.attributes()?, follow: false }
        }
        b"limits@openssh.com" => Request::Limits,
        b"expand-path@openssh.com" => Request::RealPath { path: reader.string()?, expand: true },
        b"copy-data" => {
            let (from, offset, length) = (reader.handle()?, reader.u64()?, reader.u64()?);
            Request::CopyData { from, offset, length, to: reader.handle()?, to_offset: reader.u64()? }
        }
        _ => Request::Unsupported,
    })
}

struct Reader(Bytes);

impl Reader {
    fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    fn string(&mut self) -> Option<Bytes> {
        let length = self.u32()? as usize;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn handle(&mut self) -> Option<Bytes> {
        self.string().filter(|handle| handle.len() <= MAX_HANDLE)
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let flags = self.u32()?;
        let mut found = Attributes::default();
        if flags & HAS_SIZE != 0 {
            found.size = Some(self.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            found.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & HAS_PERMISSIONS != 0 {
            found.mode = Some(self.u32()?);
        }
        if flags & HAS_TIMES != 0 {
            let _accessed = self.u32()?;
            found.modified = Some(self.u32()?);
        }
        if flags & HAS_EXTENDED != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(found)
    }
}

/// An answer on its way.
pub(super) struct Answer(BytesMut);

impl Answer {
    fn new(kind: u8, number: u32, room: usize) -> Self {
        let mut packet = BytesMut::with_capacity(room + 16);
        packet.put_u32(0);
        packet.put_u8(kind);
        packet.put_u32(number);
        Self(packet)
    }

    fn string(mut self, bytes: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    fn attributes(mut self, attributes: &Attributes) -> Self {
        let Attributes { size, owner, mode, modified } = attributes;
        let mut flags = 0;
        for (there, flag) in [
            (size.is_some(), HAS_SIZE),
            (owner.is_some(), HAS_OWNER),
            (mode.is_some(), HAS_PERMISSIONS),
            (modified.is_some(), HAS_TIMES),
        ] {
            flags |= if there { flag } else { 0 };
        }
        self.0.put_u32(flags);
        if let Some(size) = size {
            self.0.put_u64(*size);
        }
        if let Some((uid, gid)) = owner {
            self.0.put_u32(*uid);
            self.0.put_u32(*gid);
        }
        if let Some(mode) = mode {
            self.0.put_u32(*mode);
        }
        if let Some(modified) = modified {
            self.0.put_u32(*modified);
            self.0.put_u32(*modified);
        }
        self
    }

    /// The packet as it goes.
    pub(super) fn done(mut self) -> Bytes {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0.freeze()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Answers the greeting: version 3, and what goes beyond it.
pub(super) fn version(extensions: &[(&str, &str)]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u32(0);
    packet.put_u8(2);
    packet.put_u32(3);
    let mut answer = Answer(packet);
    for (name, data) in extensions {
        answer = answer.string(name.as_bytes()).string(data.as_bytes());
    }
    answer.done()
}

pub(super) fn status(number: u32, code: u32, sentence: &str) -> Bytes {
    let mut answer = Answer::new(101, number, sentence.len() + 16);
    answer.0.put_u32(code);
    answer.string(sentence.as_bytes()).string(b"en").done()
}

pub(super) fn handle(number: u32, handle: &[u8]) -> Bytes {
    Answer::new(102, number, 16).string(handle).done()
}

/// Data in pieces, `length` bytes in all.
pub(super) fn data(number: u32, pieces: &[Bytes], length: usize) -> Bytes {
    let mut answer = Answer::new(103, number, length);
    answer.0.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for piece in pieces {
        answer.0.extend_from_slice(piece);
    }
    answer.done()
}

/// One name, without anything known of it.
pub(super) fn name(number: u32, name: &[u8]) -> Bytes {
    let mut names = Names::new(number);
    names.push(name, name, &Attributes::default());
    names.done()
}

/// Several names.
pub(super) struct Names {
    answer: Answer,
    count: u32,
}

impl Names {
    pub(super) fn new(number: u32) -> Self {
        let mut answer = Answer::new(104, number, 256);
        answer.0.put_u32(0);
        Self { answer, count: 0 }
    }

    pub(super) fn push(&mut self, name: &[u8], long: &[u8], attributes: &Attributes) {
        let answer = std::mem::replace(&mut self.answer, Answer(BytesMut::new()));
        self.answer = answer.string(name).string(long).attributes(attributes);
        self.count += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.answer.len()
    }

    pub(super) fn done(mut self) -> Bytes {
        self.answer.0[9..13].copy_from_slice(&self.count.to_be_bytes());
        self.answer.done()
    }
}

pub(super) fn attributes(number: u32, attributes: &Attributes) -> Bytes {
    Answer::new(105, number, 48).attributes(attributes).done()
}

/// The answer to `limits@openssh.com`.
pub(super) fn limits(number: u32, handles: u64) -> Bytes {
    let mut answer = Answer::new(201, number, 32);
    for limit in [MAX_PACKET as u64, MAX_DATA, MAX_DATA, handles] {
        answer.0.put_u64(limit);
    }
    answer.done()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body: Vec<u8> = [&[kind, 0, 0, 0, 9], parts.concat().as_slice()].concat();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    #[test]
    fn requests_come_in_any_pieces() {
        let stream = [
            packet(18, &[&string(b"/a\xff"), &string(b"/b")]),
            packet(200, &[&string(b"posix-rename@openssh.com"), &string(b"/a"), &string(b"/b")]),
            packet(6, &[&string(b"7"), &[0, 0, 0, 0, 0, 0, 1, 0], &string(b"data")]),
            packet(9, &[&string(b"/a"), &[0, 0, 0, 0xc], &[0, 0, 1, 0xa4], &[0, 0, 0, 1], &[0, 0, 0, 2]]),
            packet(14, &[&string(b"/d")]),
            packet(5, &[b"\0\0"]),
            packet(99, &[]),
        ]
        .concat();
        let rename = |path: &'static [u8], over| Request::Rename {
            from: Bytes::from_static(path),
            to: Bytes::from_static(b"/b"),
            over,
        };
        let expected = [
            Some(rename(b"/a\xff", false)),
            Some(rename(b"/a", true)),
            Some(Request::Write {
                handle: Bytes::from_static(b"7"),
                offset: 256,
                data: Bytes::from_static(b"data"),
            }),
            Some(Request::SetStat {
                path: Bytes::from_static(b"/a"),
                attributes: Attributes { mode: Some(0o644), modified: Some(2), ..Attributes::default() },
                follow: true,
            }),
            Some(Request::Mkdir { path: Bytes::from_static(b"/d"), attributes: Attributes::default() }),
            None,
            Some(Request::Unsupported),
        ];
        for size in 1..stream.len() {
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                framer.push(piece);
                while let Some(packet) = framer.packet().unwrap() {
                    found.push(request(packet).unwrap());
                }
            }
            assert!(found.iter().all(|(number, _)| *number == 9));
            assert_eq!(found.into_iter().map(|(_, request)| request).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn impossible_lengths_are_found_at_once() {
        for length in [0u32, MAX_PACKET as u32 + 1, u32::MAX] {
            let mut framer = Framer::default();
            framer.push(&length.to_be_bytes());
            assert_eq!(framer.packet(), Err(Nonsense::Length(length as usize)));
        }
        assert_eq!(greeting(&Bytes::from_static(&[1, 0, 0, 0, 3])), Ok(3));
        assert_eq!(greeting(&Bytes::from_static(&[1, 0])), Err(Nonsense::Greeting));
        assert_eq!(request(Bytes::from_static(&[3, 0])), Err(Nonsense::Number));
    }

    proptest! {
        #[test]
        fn anything_may_come(bytes: Vec<u8>) {
            let mut framer = Framer::default();
            framer.push(&bytes);
            while let Ok(Some(packet)) = framer.packet() {
                let _ = greeting(&packet);
                let _ = request(packet);
            }
        }
    }
}
