//! What a client asks for, as the drafts (draft-ietf-secsh-filexfer-02, and -13 for later versions) and
//! OpenSSH's PROTOCOL file write it.

use super::wire::{Attributes, Reader};

/// A request. Paths and handles are as the client wrote them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Open {
        path: &'a [u8],
        mode: Mode,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
    },
    /// Without its content.
    Write {
        handle: &'a [u8],
        offset: u64,
    },
    Stat {
        path: &'a [u8],
    },
    StatHandle {
        handle: &'a [u8],
    },
    SetStat {
        path: &'a [u8],
        attributes: Attributes,
    },
    SetStatHandle {
        handle: &'a [u8],
        attributes: Attributes,
    },
    OpenFolder {
        path: &'a [u8],
    },
    ReadFolder {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    Mkdir {
        path: &'a [u8],
    },
    RealPath {
        path: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `names` is the text of a symbolic link, or the other name of a file.
    Link {
        link: &'a [u8],
        names: &'a [u8],
        symbolic: bool,
    },
    CopyFile {
        from: &'a [u8],
        to: &'a [u8],
    },
    CopyData {
        from: &'a [u8],
        offset: u64,
        length: u64,
        to: &'a [u8],
    },
    /// Changes nothing.
    Harmless,
    /// Nobody knows what it does.
    Unknown(&'a [u8]),
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) read: bool,
    pub(super) write: bool,
    /// What was in the file is gone, or there was no file.
    pub(super) empties: bool,
}

impl Mode {
    fn of_flags(flags: u32) -> Self {
        const READ: u32 = 1;
        const WRITE: u32 = 2;
        const APPEND: u32 = 4;
        const CREATE: u32 = 8;
        const TRUNCATE: u32 = 16;
        const EXCLUSIVE: u32 = 32;
        Self {
            read: flags & READ != 0,
            write: flags & (WRITE | APPEND) != 0,
            empties: flags & TRUNCATE != 0 || flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE,
        }
    }

    /// Versions 5 and 6.
    fn of_access(access: u32, flags: u32) -> Self {
        const READ_DATA: u32 = 1;
        const WRITE_DATA: u32 = 2;
        const APPEND_DATA: u32 = 4;
        // Create new, create or truncate, truncate existing; else the file stays as it is.
        let empties = matches!(flags & 7, 0 | 1 | 4);
        let write = access & (WRITE_DATA | APPEND_DATA) != 0;
        Self { read: access & READ_DATA != 0, write, empties }
    }
}

pub(super) const INIT: u8 = 1;

impl<'a> Request<'a> {
    /// Begins after the id. `None` where it is none.
    pub(super) fn read(kind: u8, reader: &mut Reader<'a>, version: u32) -> Option<Self> {
        Some(match kind {
            3 => {
                let path = reader.string()?;
                let flags = reader.number()?;
                let mode = match version {
                    0..=4 => Mode::of_flags(flags),
                    _ => Mode::of_access(flags, reader.number()?),
                };
                Self::Open { path, mode }
            }
            4 => Self::Close { handle: reader.string()? },
            5 => Self::Read { handle: reader.string()?, offset: reader.long()? },
            6 => Self::Write { handle: reader.string()?, offset: reader.long()? },
            7 | 17 => Self::Stat { path: reader.string()? },
            8 => Self::StatHandle { handle: reader.string()? },
            9 => Self::SetStat { path: reader.string()?, attributes: Attributes::read(reader, version)? },
            10 => {
                let handle = reader.string()?;
                Self::SetStatHandle { handle, attributes: Attributes::read(reader, version)? }
            }
            11 => Self::OpenFolder { path: reader.string()? },
            12 => Self::ReadFolder { handle: reader.string()? },
            13 | 15 => Self::Remove { path: reader.string()? },
            14 => Self::Mkdir { path: reader.string()? },
            16 => Self::RealPath { path: reader.string()? },
            18 => Self::Rename { from: reader.string()?, to: reader.string()? },
            // Reads a link; takes and gives back a lock.
            19 | 22 | 23 => Self::Harmless,
            // OpenSSH has the arguments the other way round than the draft, and all follow it.
            20 => {
                let names = reader.string()?;
                Self::Link { link: reader.string()?, names, symbolic: true }
            }
            21 => {
                let link = reader.string()?;
                let names = reader.string()?;
                Self::Link { link, names, symbolic: reader.byte()? != 0 }
            }
            200 => Self::extended(reader)?,
            _ => Self::Unknown(b"a request of an unknown kind"),
        })
    }

    fn extended(reader: &mut Reader<'a>) -> Option<Self> {
        Some(match reader.string()? {
            b"posix-rename@openssh.com" => Self::Rename { from: reader.string()?, to: reader.string()? },
            b"hardlink@openssh.com" => {
                let names = reader.string()?;
                Self::Link { link: reader.string()?, names, symbolic: false }
            }
            b"lsetstat@openssh.com" => {
                Self::SetStat { path: reader.string()?, attributes: Attributes::read(reader, 3)? }
            }
            b"copy-data" => {
                let (from, offset, length) = (reader.string()?, reader.long()?, reader.long()?);
                Self::CopyData { from, offset, length, to: reader.string()? }
            }
            b"copy-file" => Self::CopyFile { from: reader.string()?, to: reader.string()? },
            b"fsync@openssh.com"
            | b"statvfs@openssh.com"
            | b"fstatvfs@openssh.com"
            | b"limits@openssh.com"
            | b"expand-path@openssh.com"
            | b"home-directory"
            | b"users-groups-by-id@openssh.com"
            | b"version-select"
            | b"vendor-id"
            | b"check-file-name"
            | b"check-file-handle"
            | b"space-available" => Self::Harmless,
            name => Self::Unknown(name),
        })
    }
}
