//! Packets out of a stream that comes in pieces of any size.
//!
//! A packet is kept whole only where it is no content of a file: of those, the head alone is gathered
//! and the content is passed on as it comes.

use super::super::{Lost, Side};

/// The largest packet there may be. OpenSSH's own limit is 256 KiB.
pub const PACKET_BYTES: u64 = 16 * 1024 * 1024;
/// The largest packet that is gathered: the largest that OpenSSH sends. Of answers the rest is not needed.
pub const GATHERED_BYTES: usize = 256 * 1024;
/// The longest handle. The drafts allow 256 bytes.
pub const HANDLE_BYTES: usize = 1024;
/// A buffer that has grown beyond this is given back after use.
const KEPT_BYTES: usize = 4096;

pub(super) const WRITE: u8 = 6;
pub(super) const DATA: u8 = 103;

/// What comes out.
pub(super) enum Step<'a> {
    /// A packet without its length, or, of [`WRITE`] and [`DATA`], what stands before the content, and
    /// the content's length.
    Packet(&'a [u8], u32),
    /// A part of the content.
    Content(&'a [u8]),
    /// The content was all there.
    ContentEnd,
}

enum State {
    Length,
    /// Gathers so many bytes, of a packet with so many after them.
    Head {
        until: usize,
        after: u32,
    },
    Content {
        left: u32,
        after: u32,
    },
    Skip(u32),
}

pub(super) struct Framer {
    side: Side,
    state: State,
    gathered: Vec<u8>,
    /// What was gathered has been given out.
    given: bool,
}

impl Framer {
    pub(super) fn new(side: Side) -> Self {
        Self { side, state: State::Length, gathered: Vec::new(), given: false }
    }

    /// The next step; `None` when the input is used up.
    pub(super) fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Step<'a>>, Lost> {
        if std::mem::take(&mut self.given) {
            self.gathered.clear();
            if self.gathered.capacity() > KEPT_BYTES {
                self.gathered = Vec::new();
            }
        }
        loop {
            match self.state {
                State::Length => {
                    if !self.gather(input, 4) {
                        return Ok(None);
                    }
                    let length = number(&self.gathered);
                    self.gathered.clear();
                    if length == 0 {
                        return Err(Lost::Nonsense(self.side, "SFTP"));
                    }
                    if u64::from(length) > PACKET_BYTES {
                        return Err(Lost::TooLong(self.side, u64::from(length)));
                    }
                    self.state = State::Head { until: 1, after: length - 1 };
                }
                State::Head { until, after } => {
                    if !self.gather(input, until) {
                        return Ok(None);
                    }
                    let head = self.gathered.len();
                    let whole = after as usize + head;
                    let wanted = self.wanted(whole)?;
                    if wanted > head {
                        if wanted > whole {
                            return Err(Lost::Nonsense(self.side, "SFTP"));
                        }
                        let after = u32::try_from(whole - wanted).unwrap_or(u32::MAX);
                        self.state = State::Head { until: wanted, after };
                        continue;
                    }
                    self.given = true;
                    if self.has_content() {
                        let content = number(&self.gathered[head - 4..]);
                        let Some(after) = after.checked_sub(content) else {
                            return Err(Lost::Nonsense(self.side, "SFTP"));
                        };
                        self.state = State::Content { left: content, after };
                        return Ok(Some(Step::Packet(&self.gathered, content)));
                    }
                    self.state = State::Skip(after);
                    return Ok(Some(Step::Packet(&self.gathered, 0)));
                }
                State::Content { left: 0, after } => {
                    self.state = State::Skip(after);
                    return Ok(Some(Step::ContentEnd));
                }
                State::Content { left, after } => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let (piece, rest) = input.split_at(input.len().min(left as usize));
                    *input = rest;
                    let left = left - u32::try_from(piece.len()).unwrap_or(left);
                    self.state = State::Content { left, after };
                    return Ok(Some(Step::Content(piece)));
                }
                State::Skip(0) => self.state = State::Length,
                State::Skip(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let (piece, rest) = input.split_at(input.len().min(left as usize));
                    *input = rest;
                    self.state = State::Skip(left - u32::try_from(piece.len()).unwrap_or(left));
                }
            }
        }
    }

    fn has_content(&self) -> bool {
        match self.side {
            Side::Client => self.gathered.first() == Some(&WRITE),
            Side::Target => self.gathered.first() == Some(&DATA),
        }
    }

    /// How much of a packet must be gathered, judging by what has been.
    fn wanted(&self, whole: usize) -> Result<usize, Lost> {
        if !self.has_content() {
            return match self.side {
                Side::Client if whole > GATHERED_BYTES => Err(Lost::TooLong(self.side, whole as u64)),
                Side::Client | Side::Target => Ok(whole.min(GATHERED_BYTES)),
            };
        }
        Ok(match self.side {
            // Type, id, length of the content.
            Side::Target => 9,
            // Type, id, handle, offset, length of the content.
            Side::Client if self.gathered.len() < 9 => 9,
            Side::Client => {
                let handle = number(&self.gathered[5..]) as usize;
                if handle > HANDLE_BYTES {
                    return Err(Lost::Nonsense(self.side, "SFTP"));
                }
                9 + handle + 12
            }
        })
    }

    /// Whether so many bytes have been gathered.
    fn gather(&mut self, input: &mut &[u8], until: usize) -> bool {
        let missing = until.saturating_sub(self.gathered.len());
        let (piece, rest) = input.split_at(missing.min(input.len()));
        self.gathered.extend_from_slice(piece);
        *input = rest;
        self.gathered.len() >= until
    }
}

/// The first four bytes as a number; 0 where there are fewer.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
