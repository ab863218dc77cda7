//! Numbers, strings and attributes out of a packet.

/// Reads a packet from its beginning. `None` where it ends too early.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }
}

/// What of a file's attributes matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    /// There are others: permissions, owner, times.
    pub(super) others: bool,
}

const SIZE: u32 = 1;

impl Attributes {
    /// Begins with the flags; later versions of the protocol have a byte for the kind after them.
    pub(super) fn read(reader: &mut Reader<'_>, version: u32) -> Option<Self> {
        let flags = reader.number()?;
        if version >= 4 {
            reader.byte()?;
        }
        let size = if flags & SIZE != 0 { Some(reader.long()?) } else { None };
        Some(Self { size, others: flags & !SIZE != 0 })
    }
}

/// How many of a NAME packet's entries are not `.` or `..`. Begins after the number of entries. Where
/// attributes are not those of version 3, all count that the packet has room for.
pub(super) fn entries(reader: &mut Reader<'_>, count: u32, version: u32) -> u64 {
    // Two strings and the flags, at least.
    const LEAST_BYTES: usize = 12;
    let count = (count as usize).min(reader.0.len() / LEAST_BYTES);
    let mut dots = 0;
    if version == 3 {
        for _ in 0..count {
            let Some(name) = entry(reader) else { break };
            if matches!(name, b"." | b"..") {
                dots += 1;
            }
        }
    }
    (count - dots) as u64
}

fn entry<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    const UID_GID: u32 = 2;
    const PERMISSIONS: u32 = 4;
    const TIMES: u32 = 8;
    const EXTENDED: u32 = 0x8000_0000;
    let name = reader.string()?;
    reader.string()?;
    let flags = reader.number()?;
    for (flag, length) in [(SIZE, 8), (UID_GID, 8), (PERMISSIONS, 4), (TIMES, 8)] {
        if flags & flag != 0 {
            reader.take(length)?;
        }
    }
    if flags & EXTENDED != 0 {
        for _ in 0..reader.number()? {
            reader.string()?;
            reader.string()?;
        }
    }
    Some(name)
}
