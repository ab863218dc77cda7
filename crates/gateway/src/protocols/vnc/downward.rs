//! From the target to the browser (RFC 6143 section 7.6 and 7.7): walks from message to message and leaves out texts
//! for the clipboard where the connection does not allow them.
//!
//! It knows the encodings that browsers may ask for, see [`super::upward`], in the one format of pixels
//! ([`super::pixels`]), and is strict: what a target sends unasked ends the session. It holds the beginning of one
//! message and none of its picture.

use super::pixels::BYTES;

/// Longer texts for the clipboard are left out.
pub const LONGEST_TEXT: usize = 1024 * 1024;
/// Compressed pixels of one rectangle.
const LONGEST: usize = 256 * 1024 * 1024;
const FENCE: usize = 64;
/// A new size of the desktop, or of its screens, or why it has none.
pub(super) const EXTENDED_SIZE: i32 = -308;

/// The target sent what cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Who is shown the rectangles that pass by.
pub trait Rectangles {
    /// The next bytes of a rectangle, its head of twelve bytes first.
    fn bytes(&mut self, bytes: &[u8]);
    /// It was whole.
    fn over(&mut self);
}

/// Nobody.
impl Rectangles for () {
    fn bytes(&mut self, _: &[u8]) {}

    fn over(&mut self) {}
}

/// Whether a rectangle of this encoding, with its place, says a new size. An answer to the client's own wish (1) that it
/// cannot be so says none, whatever stands there.
pub(super) fn resizes(encoding: i32, x: usize, y: usize) -> bool {
    encoding == -223 || (encoding == EXTENDED_SIZE && !(x == 1 && y != 0))
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    width: usize,
    height: usize,
}

impl Area {
    fn pixels(self) -> usize {
        self.width * self.height
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Message,
    Update,
    Palette,
    Text,
    Fence,
    FenceText,
    Rectangle,
    Zrle,
    Screens,
    Tile(Tiles),
    TileRest { tiles: Tiles, kind: u8 },
}

/// Where in a rectangle of Hextile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tiles {
    area: Area,
    x: usize,
    y: usize,
}

impl Tiles {
    const SIDE: usize = 16;

    fn tile(self) -> Area {
        Area {
            width: Self::SIDE.min(self.area.width - self.x),
            height: Self::SIDE.min(self.area.height - self.y),
        }
    }

    fn next(mut self) -> Option<Self> {
        self.x += Self::SIDE;
        if self.x >= self.area.width {
            self.x = 0;
            self.y += Self::SIDE;
        }
        (self.y < self.area.height).then_some(self)
    }
}

/// Reads what a target sends.
#[derive(Debug)]
pub struct Downward {
    copy: bool,
    at: At,
    head: Vec<u8>,
    need: usize,
    /// Bytes that pass by, or are left out.
    follow: usize,
    passed: bool,
    /// Rectangles that follow; `None` where a last one says so.
    left: Option<usize>,
    /// Within a rectangle.
    within: bool,
    /// All of the rectangle is there but the bytes that follow.
    closing: bool,
    size: Option<(u16, u16)>,
}

impl Downward {
    /// `copy`: texts for the clipboard are passed on.
    pub fn new(copy: bool) -> Self {
        Self {
            copy,
            at: At::Message,
            head: Vec::new(),
            need: 1,
            follow: 0,
            passed: true,
            left: Some(0),
            within: false,
            closing: false,
            size: None,
        }
    }

    /// The last size that the target has said since its handshake.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// Takes what the target sent, and adds what goes to the browser.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        self.show(bytes, out, &mut ())
    }

    /// The same, and shows the rectangles to somebody.
    pub fn show(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        shown: &mut impl Rectangles,
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.follow > 0 {
                let (now, rest) = bytes.split_at(self.follow.min(bytes.len()));
                if self.passed {
                    out.extend_from_slice(now);
                }
                if self.within {
                    shown.bytes(now);
                }
                self.follow -= now.len();
                self.close(shown);
                bytes = rest;
                continue;
            }
            let (more, rest) = bytes.split_at((self.need - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(more);
            bytes = rest;
            if self.head.len() == self.need {
                let head = std::mem::take(&mut self.head);
                self.passed = true;
                self.within |= self.at == At::Rectangle;
                if self.within {
                    shown.bytes(&head);
                }
                self.step(&head)?;
                self.close(shown);
                // A message that grows keeps what it has; else what was read is over.
                if self.head.is_empty() && self.passed {
                    out.extend_from_slice(&head);
                }
            }
        }
        Ok(())
    }

    /// Says that a rectangle was whole.
    fn close(&mut self, shown: &mut impl Rectangles) {
        if self.closing && self.follow == 0 {
            (self.closing, self.within) = (false, false);
            shown.over();
        }
    }

    fn go(&mut self, at: At, need: usize) {
        (self.at, self.need) = (at, need);
    }

    /// What was read stays, and more is needed.
    fn grow(&mut self, head: &[u8], at: At, need: usize) {
        self.head.extend_from_slice(head);
        self.go(at, need);
    }

    /// So much passes by, and with it the rectangle ends.
    fn pass(&mut self, length: usize) -> Result<(), Broken> {
        if length > LONGEST {
            return Err(Broken("a rectangle that is too long"));
        }
        self.follow = length;
        self.rectangle_over();
        Ok(())
    }

    fn message(&mut self) {
        self.go(At::Message, 1);
    }

    /// One rectangle was read, or all of it but bytes that pass by.
    fn rectangle_over(&mut self) {
        self.closing = true;
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 { self.message() } else { self.go(At::Rectangle, 12) }
            }
            None => self.go(At::Rectangle, 12),
        }
    }

    fn step(&mut self, head: &[u8]) -> Result<(), Broken> {
        let short = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        match self.at {
            At::Message => match head[0] {
                0 => self.grow(head, At::Update, 4),
                1 => self.grow(head, At::Palette, 6),
                // A bell; the end of continuous updates.
                2 | 150 => self.message(),
                3 => self.grow(head, At::Text, 8),
                248 => self.grow(head, At::Fence, 9),
                _ => return Err(Broken("a message that is not known")),
            },
            At::Update => {
                self.left = match short(2) {
                    0xffff => None,
                    count => Some(count),
                };
                if self.left == Some(0) { self.message() } else { self.go(At::Rectangle, 12) }
            }
            At::Palette => {
                self.follow = short(4) * 6;
                self.message();
            }
            At::Text => {
                let length = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                let follow = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
                self.passed = self.copy && follow <= LONGEST_TEXT;
                self.follow = follow;
                self.message();
            }
            At::Fence => match usize::from(head[8]) {
                0 => self.message(),
                length if length > FENCE => return Err(Broken("a fence that is too long")),
                length => self.grow(head, At::FenceText, 9 + length),
            },
            At::FenceText => self.message(),
            At::Rectangle => {
                let area = Area { width: short(4), height: short(6) };
                let encoding = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
                if resizes(encoding, short(0), short(2)) {
                    let [a, b, c, d] = [head[4], head[5], head[6], head[7]];
                    self.size = Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
                }
                self.rectangle(area, encoding)?;
            }
            At::Zrle => {
                let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
                self.pass(usize::try_from(length).unwrap_or(usize::MAX))?;
            }
            At::Screens => self.pass(usize::from(head[0]) * 16)?,
            At::Tile(tiles) => self.tile(tiles, head)?,
            At::TileRest { tiles, kind } => self.tile_rest(tiles, kind, head)?,
        }
        Ok(())
    }

    fn rectangle(&mut self, area: Area, encoding: i32) -> Result<(), Broken> {
        match encoding {
            0 => self.pass(area.pixels() * BYTES)?,
            1 => self.pass(4)?,
            5 if area.pixels() == 0 => self.rectangle_over(),
            5 => self.go(At::Tile(Tiles { area, x: 0, y: 0 }), 1),
            16 => self.go(At::Zrle, 4),
            // New size; QEMU's keys: nothing but the rectangle itself.
            -223 | -258 => self.rectangle_over(),
            // The last one.
            -224 => {
                self.left = Some(0);
                self.rectangle_over();
            }
            -239 => {
                let mask = area.width.div_ceil(8) * area.height;
                self.pass(area.pixels() * BYTES + mask)?;
            }
            -261 => self.pass(1)?,
            EXTENDED_SIZE => self.go(At::Screens, 4),
            _ => return Err(Broken("an encoding that was not asked for")),
        }
        Ok(())
    }

    /// RFC 6143 section 7.7.4.
    fn tile(&mut self, tiles: Tiles, head: &[u8]) -> Result<(), Broken> {
        const RAW: u8 = 1;
        const BACKGROUND: u8 = 2;
        const FOREGROUND: u8 = 4;
        const ANY: u8 = 8;
        let kind = head[0];
        if kind & RAW != 0 {
            self.follow = tiles.tile().pixels() * BYTES;
            self.next_tile(tiles);
            return Ok(());
        }
        let colours = usize::from(kind & BACKGROUND != 0) + usize::from(kind & FOREGROUND != 0);
        let count = usize::from(kind & ANY != 0);
        match colours * BYTES + count {
            0 => self.next_tile(tiles),
            more => self.go(At::TileRest { tiles, kind }, more),
        }
        Ok(())
    }

    fn tile_rest(&mut self, tiles: Tiles, kind: u8, head: &[u8]) -> Result<(), Broken> {
        const ANY: u8 = 8;
        const COLOURED: u8 = 16;
        let count = if kind & ANY == 0 { 0 } else { head.last().copied().map_or(0, usize::from) };
        let each = if kind & COLOURED == 0 { 2 } else { 2 + BYTES };
        self.follow = count * each;
        self.next_tile(tiles);
        Ok(())
    }

    fn next_tile(&mut self, tiles: Tiles) {
        match tiles.next() {
            Some(tiles) => self.go(At::Tile(tiles), 1),
            None => self.rectangle_over(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(copy: bool, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut whole = Vec::new();
        Downward::new(copy).take(bytes, &mut whole)?;
        for piece in [1, 3, 13] {
            let (mut out, mut again) = (Vec::new(), Downward::new(copy));
            for piece in bytes.chunks(piece) {
                again.take(piece, &mut out)?;
            }
            assert_eq!(out, whole, "in pieces of {piece}");
        }
        Ok(whole)
    }

    fn rectangle(width: u16, height: u16, encoding: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend(encoding.to_be_bytes());
        bytes.extend(data);
        bytes
    }

    fn update(rectangles: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(u16::try_from(rectangles.len()).unwrap().to_be_bytes());
        bytes.extend(rectangles.concat());
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = vec![3, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    /// Every encoding, each followed by a text that can only be found where its end was.
    fn everything() -> Vec<Vec<u8>> {
        // Two tiles across and two down: raw, coloured subrectangles, the same colours again, and plain ones.
        let tiles = [
            &[1][..],
            &[9; 16 * 16 * 4],
            &[2 | 4 | 8 | 16, 1, 1, 1, 0, 2, 2, 2, 0, 2],
            &[3; 2 * 6],
            &[0],
            &[8, 1, 0, 0x11],
        ];
        vec![
            rectangle(2, 2, 0, &[7; 16]),
            rectangle(5, 5, 1, &[0, 1, 0, 1]),
            rectangle(20, 20, 5, &tiles.concat()),
            rectangle(64, 64, 16, &[&[0, 0, 0, 5][..], &[1; 5]].concat()),
            rectangle(800, 600, -223, &[]),
            rectangle(9, 2, -239, &[&[1; 9 * 2 * 4][..], &[0xff; 4]].concat()),
            rectangle(800, 600, -308, &[&[1, 0, 0, 0][..], &[0; 16]].concat()),
            rectangle(0, 0, -258, &[]),
            rectangle(0, 0, -261, &[3]),
        ]
    }

    #[test]
    fn every_encoding_is_walked_through() {
        let mut bytes = Vec::new();
        let mut kept = Vec::new();
        for rectangle in everything() {
            kept.extend(update(std::slice::from_ref(&rectangle)));
            bytes.extend(update(&[rectangle]));
            bytes.extend(text("a secret"));
        }
        let more = [
            update(&everything()),
            vec![2],
            vec![150],
            [&[248, 0, 0, 0, 0, 0, 0, 0, 3][..], b"abc"].concat(),
            [&[1, 0, 0, 0, 0, 2][..], &[0; 12]].concat(),
            update(&[]),
            [&[0, 0, 0xff, 0xff][..], &rectangle(1, 1, 0, &[1; 4]), &rectangle(0, 0, -224, &[])].concat(),
            vec![2],
        ]
        .concat();
        bytes.extend(&more);
        kept.extend(&more);
        assert_eq!(passed(true, &bytes), Ok(bytes.clone()));
        assert_eq!(passed(false, &bytes), Ok(kept));
    }

    #[test]
    fn texts_that_are_too_long_are_left_out() {
        let bytes = [text(&"x".repeat(LONGEST_TEXT + 1)), text("short")].concat();
        let mut out = Vec::new();
        Downward::new(true).take(&bytes, &mut out).unwrap();
        assert_eq!(out, text("short"));
        let extended = [&[3, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc][..], &[1; 4]].concat();
        assert_eq!(passed(true, &extended).unwrap(), extended);
        assert_eq!(passed(false, &extended).unwrap(), b"");
    }

    #[test]
    fn nothing_unknown_comes_down() {
        for bad in [
            vec![7],
            update(&[rectangle(1, 1, 50, &[])]),
            update(&[rectangle(1, 1, 7, &[0x80])]),
            update(&[rectangle(1, 1, 16, &[0xff; 4])]),
            update(&[rectangle(0xffff, 0xffff, 0, &[])]),
        ] {
            assert!(passed(true, &bad).is_err(), "{bad:?}");
        }
    }
}
