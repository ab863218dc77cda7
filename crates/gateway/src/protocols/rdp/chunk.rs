//! Pieces of static virtual channels (MS-RDPBCGR 2.2.6.1.1): a header, and a part of a message.

use super::frame::Way;

pub(super) const FIRST: u32 = 1;
pub(super) const LAST: u32 = 2;
const SHOW_PROTOCOL: u32 = 0x10;
/// We let nobody agree on it.
const COMPRESSED: u32 = 0x0020_0000;
/// The size that every side takes.
const PIECE: usize = 1600;
const HEADER: usize = 8;

/// What is not allowed on a channel, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd(pub &'static str);

#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// Of the whole message.
    pub(super) total: u32,
    pub(super) flags: u32,
    pub(super) body: &'a [u8],
}

impl Chunk<'_> {
    pub(super) fn is_first(&self) -> bool {
        self.flags & FIRST != 0
    }

    pub(super) fn is_last(&self) -> bool {
        self.flags & LAST != 0
    }
}

pub(super) fn read(payload: &[u8]) -> Result<Chunk<'_>, Odd> {
    let (header, body) =
        payload.split_first_chunk::<HEADER>().ok_or(Odd("a channel's piece is too short"))?;
    let [a, b, c, d, e, f, g, h] = *header;
    let flags = u32::from_le_bytes([e, f, g, h]);
    if flags & COMPRESSED != 0 {
        return Err(Odd("a channel's piece is compressed"));
    }
    Ok(Chunk { total: u32::from_le_bytes([a, b, c, d]), flags, body })
}

/// What passes on a channel, each in a piece with its header.
pub(super) type Passing = Vec<(Way, Vec<u8>)>;

/// A message of ours, in as many pieces as it needs.
pub(super) fn write(way: Way, message: &[u8], out: &mut Passing) {
    // Messages of ours are shorter than what is gathered of foreign ones.
    let total = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let last = message.len().div_ceil(PIECE).max(1) - 1;
    let mut pieces = message.chunks(PIECE);
    for at in 0..=last {
        let flags = SHOW_PROTOCOL | if at == 0 { FIRST } else { 0 } | if at == last { LAST } else { 0 };
        let mut piece = Vec::with_capacity(HEADER + PIECE);
        piece.extend_from_slice(&total.to_le_bytes());
        piece.extend_from_slice(&flags.to_le_bytes());
        piece.extend_from_slice(pieces.next().unwrap_or_default());
        out.push((way, piece));
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
