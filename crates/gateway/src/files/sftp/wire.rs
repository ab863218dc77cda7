//! SFTP version 3 as bytes (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for its extensions): packets
//! that we send, and the parts of packets that come. Names are bytes throughout.
//!
//! Everything that comes may be hostile: lengths are checked against what is there, and nothing is allocated for
//! what a number promises.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sojourn_domain::time::Timestamp;

use crate::files::{Entry, EntryKind, FsError, FsErrorKind, FsResult};

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

pub(super) const OPEN_READ: u32 = 0x01;
pub(super) const OPEN_WRITE: u32 = 0x02;
pub(super) const OPEN_CREATE: u32 = 0x08;
pub(super) const OPEN_TRUNCATE: u32 = 0x10;
pub(super) const OPEN_EXCLUSIVE: u32 = 0x20;

const HAS_SIZE: u32 = 0x01;
const HAS_OWNER: u32 = 0x02;
const HAS_PERMISSIONS: u32 = 0x04;
const HAS_TIMES: u32 = 0x08;
const HAS_EXTENDED: u32 = 0x8000_0000;

pub(super) const OK: u32 = 0;
pub(super) const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const BAD_MESSAGE: u32 = 5;
const NO_CONNECTION: u32 = 6;
const CONNECTION_LOST: u32 = 7;
const UNSUPPORTED: u32 = 8;

/// The largest packet that is taken: OpenSSH's own limit.
pub(super) const MAX_PACKET: usize = 256 * 1024;

/// A packet to be sent. Its number is set when it goes.
pub(super) struct Request(BytesMut);

impl Request {
    pub(super) fn new(kind: u8) -> Self {
        Self::with_room(kind, 256)
    }

    fn with_room(kind: u8, room: usize) -> Self {
        let mut packet = BytesMut::with_capacity(room);
        packet.put_u32(0);
        packet.put_u8(kind);
        packet.put_u32(0);
        Self(packet)
    }

    pub(super) fn on(kind: u8, path_or_handle: &[u8]) -> Self {
        Self::new(kind).string(path_or_handle)
    }

    pub(super) fn extended(name: &str) -> Self {
        Self::new(EXTENDED).string(name.as_bytes())
    }

    pub(super) fn write(handle: &[u8], offset: u64, data: &[u8]) -> Self {
        Self::with_room(WRITE, data.len() + handle.len() + 32).string(handle).u64(offset).string(data)
    }

    pub(super) fn string(mut self, bytes: &[u8]) -> Self {
        // What is sent is ours and was measured before: paths, and pieces of a file.
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.put_u32(number);
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    pub(super) fn no_attributes(self) -> Self {
        self.u32(0)
    }

    pub(super) fn size(self, bytes: u64) -> Self {
        self.u32(HAS_SIZE).u64(bytes)
    }

    pub(super) fn permissions(self, mode: u32) -> Self {
        self.u32(HAS_PERMISSIONS).u32(mode)
    }

    /// The time of the last change, in seconds; version 3 has no way to leave the other time as it is.
    pub(super) fn modified(self, seconds: u32) -> Self {
        self.u32(HAS_TIMES).u32(seconds).u32(seconds)
    }

    /// The packet as it goes.
    pub(super) fn numbered(mut self, id: u32) -> Bytes {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0[5..9].copy_from_slice(&id.to_be_bytes());
        self.0.freeze()
    }
}

/// The first packet of all, which has no number.
pub(super) fn init() -> Bytes {
    Bytes::from_static(&[0, 0, 0, 5, INIT, 0, 0, 0, 3])
}

/// Puts packets together from pieces.
#[derive(Default)]
pub(super) struct Framer(BytesMut);

impl Framer {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next packet: its kind, and what follows.
    pub(super) fn packet(&mut self) -> FsResult<Option<(u8, Bytes)>> {
        let Some((head, rest)) = self.0.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 || length > MAX_PACKET {
            return Err(FsError::new(
                FsErrorKind::Lost,
                "the target does not speak SFTP: it sent a packet of an impossible size (does its login shell write \
                 text?)",
            ));
        }
        if rest.len() < length {
            // Once, for all of it.
            self.0.reserve(length + 4 - self.0.len());
            return Ok(None);
        }
        self.0.advance(4);
        let mut packet = self.0.split_to(length).freeze();
        let kind = packet.get_u8();
        Ok(Some((kind, packet)))
    }
}

/// Reads the parts of a packet.
pub(super) struct Reader(pub(super) Bytes);

pub(super) fn broken() -> FsError {
    FsError::new(FsErrorKind::Other, "the target's answer cannot be read as SFTP")
}

impl Reader {
    pub(super) fn u32(&mut self) -> FsResult<u32> {
        self.0.try_get_u32().map_err(|_| broken())
    }

    pub(super) fn u64(&mut self) -> FsResult<u64> {
        self.0.try_get_u64().map_err(|_| broken())
    }

    pub(super) fn string(&mut self) -> FsResult<Bytes> {
        let length = self.u32()? as usize;
        if length > self.0.len() { Err(broken()) } else { Ok(self.0.split_to(length)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn attributes(&mut self) -> FsResult<Attributes> {
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
        Ok(found)
    }

    /// The entries of a NAME packet; those whose names are none are left out. `None`: the list was empty, which no
    /// server sends that goes on.
    pub(super) fn names(&mut self) -> FsResult<Option<Vec<Entry>>> {
        let count = self.u32()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let name = self.string()?;
            let long = self.string()?;
            let attributes = self.attributes()?;
            if !is_name(&name) {
                continue;
            }
            let mut entry = attributes.entry(name.to_vec());
            (entry.owner, entry.group) = owners(&long);
            entries.push(entry);
        }
        Ok((count > 0).then_some(entries))
    }
}

/// One name of something in a folder. A target that sends another thing is not followed there.
fn is_name(name: &[u8]) -> bool {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME_TAKEN
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0);
    if !good && name != b"." && name != b".." {
        tracing::debug!("a target lists something whose name is none");
    }
    good
}

/// More than any file system has: some count characters, not bytes.
const MAX_NAME_TAKEN: usize = 1024;

/// Owner and group as `ls -l` writes them; numbers are no names.
fn owners(long: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(text) = std::str::from_utf8(long) else { return (None, None) };
    let mut words = text.split_ascii_whitespace();
    let looks_right = words.next().is_some_and(|mode| mode.len() >= 10)
        && words.next().is_some_and(|links| links == "?" || links.parse::<u64>().is_ok());
    if !looks_right {
        return (None, None);
    }
    let mut name = || {
        let word = words.next()?;
        let good = !word.bytes().all(|byte| byte.is_ascii_digit()) && word.len() <= 64;
        (good && !word.chars().any(char::is_control)).then(|| word.to_owned())
    };
    (name(), name())
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    pub(super) modified: Option<u32>,
}

impl Attributes {
    pub(super) fn kind(&self) -> EntryKind {
        match self.mode.map(|mode| mode & 0o170_000) {
            Some(0o040_000) => EntryKind::Folder,
            Some(0o120_000) => EntryKind::Link,
            // Some servers leave the type out.
            Some(0o100_000 | 0) | None => EntryKind::File,
            Some(_) => EntryKind::Other,
        }
    }

    pub(super) fn entry(&self, name: Vec<u8>) -> Entry {
        Entry {
            size: self.size,
            modified: self.modified.map(|seconds| Timestamp::from_secs(i64::from(seconds))),
            permissions: self.mode.map(|mode| mode & 0o7777),
            uid: self.owner.map(|(uid, _)| uid),
            gid: self.owner.map(|(_, gid)| gid),
            ..Entry::new(name, self.kind())
        }
    }
}

/// What a status other than OK means.
pub(super) fn fault(code: u32, message: &[u8]) -> FsError {
    let kind = match code {
        NO_SUCH_FILE => FsErrorKind::NotFound,
        PERMISSION_DENIED => FsErrorKind::Denied,
        BAD_MESSAGE => FsErrorKind::Invalid,
        NO_CONNECTION | CONNECTION_LOST => FsErrorKind::Lost,
        UNSUPPORTED => FsErrorKind::Unsupported,
        _ => FsErrorKind::Other,
    };
    // OpenSSH's words for the codes say nothing that ours do not.
    let usual: &[&[u8]] =
        &[b"Failure", b"No such file", b"Permission denied", b"Bad message", b"Operation unsupported"];
    if usual.contains(&message) { FsError::of(kind) } else { FsError::said(kind, message) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_come_in_any_pieces() {
        let packets: Vec<u8> = [&init()[..], &Request::on(STAT, b"/a\xff").numbered(7)].concat();
        for size in 1..packets.len() {
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for piece in packets.chunks(size) {
                framer.push(piece);
                while let Some(packet) = framer.packet().unwrap() {
                    found.push(packet);
                }
            }
            assert_eq!(found[0], (INIT, Bytes::from_static(&[0, 0, 0, 3])));
            let mut reader = Reader(found[1].1.clone());
            assert_eq!((found[1].0, reader.u32().unwrap()), (STAT, 7));
            assert_eq!((&reader.string().unwrap()[..], found.len()), (&b"/a\xff"[..], 2));
        }
        let mut framer = Framer::default();
        framer.push(b"Welcome to this machine\n");
        assert!(framer.packet().is_err());
    }

    #[test]
    fn names_that_are_none_are_left_out() {
        let entry = |name: &[u8]| {
            let mut bytes = BytesMut::new();
            for text in [name, b"-rw-r--r--    1 deploy   1000         3 Nov 22 06:00 a"] {
                bytes.put_u32(text.len() as u32);
                bytes.put_slice(text);
            }
            bytes.put_u32(HAS_SIZE | HAS_PERMISSIONS);
            bytes.put_u64(3);
            bytes.put_u32(0o100_644);
            bytes
        };
        let names: [&[u8]; 6] = [b".", b"..", b"../x", b"", b"a\0", b"-\xff \n"];
        let mut packet = BytesMut::new();
        packet.put_u32(names.len() as u32);
        names.iter().for_each(|name| packet.extend_from_slice(&entry(name)));
        let found = Reader(packet.freeze()).names().unwrap().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].name[..], found[0].size), (&b"-\xff \n"[..], Some(3)));
        assert_eq!((found[0].owner.as_deref(), found[0].group.as_deref()), (Some("deploy"), None));
        assert_eq!((found[0].permissions, found[0].kind), (Some(0o644), EntryKind::File));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_is_too_much(bytes: Vec<u8>) {
            let _ = Reader(Bytes::from(bytes.clone())).names();
            let _ = Reader(Bytes::from(bytes.clone())).attributes();
            let mut framer = Framer::default();
            framer.push(&bytes);
            while let Ok(Some(_)) = framer.packet() {}
        }
    }
}
