//! RFB towards somebody who looks on: the server's half, with pictures of one encoding (zlib, 6 of the registry) and new sizes.
//!
//! Who looks on asks for each picture when they have taken the one before, so nothing is ever queued for them: what
//! changes meanwhile is in the next one. Whatever else they send is read and means nothing.

use flate2::{Compress, Compression, FlushCompress};

use super::pixels;

/// A list of encodings that is longer is none.
const MOST_ENCODINGS: usize = 1024;
const FENCE: usize = 64;
const ZLIB: i32 = 6;
const DESKTOP_SIZE: i32 = -223;

/// What was sent is no message of RFB, or the viewer cannot be shown a desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Where a picture belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub x: u16,
    pub y: u16,
    pub width: u16,
    pub height: u16,
}

/// What a viewer wants, and what they were shown.
#[derive(Debug)]
pub struct Viewer {
    head: Vec<u8>,
    /// Bytes of a text that follow, and mean nothing.
    follow: usize,
    asked: bool,
    /// Even if nothing has changed.
    whole: bool,
    reads: bool,
    size: (u16, u16),
    zlib: Compress,
}

impl Viewer {
    /// One who was told this size.
    pub fn new(width: u16, height: u16) -> Self {
        Self {
            head: Vec::new(),
            follow: 0,
            asked: false,
            whole: false,
            reads: false,
            size: (width, height),
            zlib: Compress::new(Compression::fast(), true),
        }
    }

    /// They wait for a picture.
    pub fn asked(&self) -> bool {
        self.asked
    }

    /// They want to see all of it again.
    pub fn wants_all(&self) -> bool {
        self.asked && self.whole
    }

    /// Takes what they sent.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.follow > 0 {
                let length = self.follow.min(bytes.len());
                bytes = &bytes[length..];
                self.follow -= length;
                continue;
            }
            let need = self.need()?;
            let (more, rest) = bytes.split_at((need - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(more);
            bytes = rest;
            if self.head.len() == need && self.need()? == need {
                self.message()?;
                self.head.clear();
            }
        }
        Ok(())
    }

    /// How long the message is, as far as its beginning says.
    fn need(&self) -> Result<usize, Broken> {
        let head = &self.head;
        let Some(&kind) = head.first() else { return Ok(1) };
        let number = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        Ok(match kind {
            0 => 20,
            2 if head.len() < 4 => 4,
            2 if number(2) > MOST_ENCODINGS => return Err(Broken("too many encodings")),
            2 => 4 + 4 * number(2),
            3 | 150 => 10,
            4 | 6 => 8,
            5 => 6,
            248 if head.len() < 9 => 9,
            248 if usize::from(head[8]) > FENCE => return Err(Broken("a fence that is too long")),
            248 => 9 + usize::from(head[8]),
            251 if head.len() < 8 => 8,
            251 => 8 + 16 * usize::from(head[6]),
            255 if head.len() < 2 => 2,
            255 if head[1] == 0 => 12,
            _ => return Err(Broken("a message that is not known")),
        })
    }

    fn message(&mut self) -> Result<(), Broken> {
        let head = &self.head;
        match head[0] {
            0 if head[4..17] != pixels::FORMAT[..13] => return Err(Broken("another format of pixels")),
            2 => {
                let asked = head[4..].as_chunks::<4>().0;
                let reads = |encoding: i32| asked.contains(&encoding.to_be_bytes());
                if !reads(ZLIB) || !reads(DESKTOP_SIZE) {
                    return Err(Broken("no wish for zlib and for new sizes"));
                }
                self.reads = true;
            }
            3 if !self.reads => return Err(Broken("a wish for a picture before one for its encoding")),
            3 => {
                self.asked = true;
                self.whole |= head[1] == 0;
            }
            6 => {
                let length = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                self.follow = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
            }
            _ => {}
        }
        Ok(())
    }

    /// An update for somebody who asked: the desktop's size, where it is another than they know, and the pixels of a
    /// place, four bytes each. Fewer pixels than the place has are an error of the caller, and nothing is sent.
    pub fn update(&mut self, size: (u16, u16), place: Place, picture: &[u8]) -> Vec<u8> {
        if picture.len() != usize::from(place.width) * usize::from(place.height) * pixels::BYTES {
            return Vec::new();
        }
        (self.asked, self.whole) = (false, false);
        let resized = std::mem::replace(&mut self.size, size) != size;
        let mut update = vec![0, 0, 0, 1 + u8::from(resized)];
        let mut rectangle = |place: Place, encoding: i32| {
            for number in [place.x, place.y, place.width, place.height] {
                update.extend_from_slice(&number.to_be_bytes());
            }
            update.extend_from_slice(&encoding.to_be_bytes());
        };
        if resized {
            rectangle(Place { x: 0, y: 0, width: size.0, height: size.1 }, DESKTOP_SIZE);
        }
        rectangle(place, ZLIB);
        let at = update.len();
        update.extend_from_slice(&[0; 4]);
        self.compress(picture, &mut update);
        let length = u32::try_from(update.len() - at - 4).unwrap_or(u32::MAX);
        update[at..at + 4].copy_from_slice(&length.to_be_bytes());
        update
    }

    fn compress(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        const STEP: usize = 64 * 1024;
        loop {
            out.reserve(STEP);
            let before = self.zlib.total_in();
            // Into memory nothing can fail.
            let _ = self.zlib.compress_vec(plain, out, FlushCompress::Sync);
            let read = usize::try_from(self.zlib.total_in() - before).unwrap_or(usize::MAX);
            plain = plain.get(read..).unwrap_or_default();
            if plain.is_empty() && out.len() < out.capacity() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    fn encodings(list: &[i32]) -> Vec<u8> {
        let mut bytes = vec![2, 0];
        bytes.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        bytes.extend(list.iter().flat_map(|encoding| encoding.to_be_bytes()));
        bytes
    }

    const ASK: [u8; 10] = [3, 1, 0, 0, 0, 0, 0, 9, 0, 9];

    #[test]
    fn who_asks_is_shown_what_changed() {
        let mut viewer = Viewer::new(20, 10);
        let mut inflate = Decompress::new(true);
        let hello =
            [&pixels::request()[..], &encodings(&[7, ZLIB, DESKTOP_SIZE]), &[5, 1, 0, 1, 0, 1]].concat();
        for piece in hello.chunks(3) {
            viewer.take(piece).unwrap();
        }
        assert!(!viewer.asked());
        for (size, place) in [
            ((20, 10), Place { x: 3, y: 4, width: 5, height: 6 }),
            ((300, 200), Place { x: 0, y: 0, width: 300, height: 200 }),
            ((300, 200), Place { x: 1, y: 0, width: 1, height: 1 }),
        ] {
            viewer.take(&ASK).unwrap();
            assert!(viewer.asked() && !viewer.wants_all());
            let pixels: Vec<u8> = (0..usize::from(place.width) * usize::from(place.height) * 4)
                .map(|at| u8::try_from(at * at % 251).unwrap())
                .collect();
            let resized = viewer.size != size;
            let update = viewer.update(size, place, &pixels);
            assert!(!viewer.asked());
            assert_eq!(update[..4], [0, 0, 0, 1 + u8::from(resized)]);
            let at = if resized { 16 } else { 4 };
            assert_eq!(update[at + 8..at + 12], ZLIB.to_be_bytes());
            let data = &update[at + 12..];
            assert_eq!(u32::from_be_bytes(data[..4].try_into().unwrap()) as usize, data.len() - 4);
            let mut plain = Vec::with_capacity(pixels.len() + 100);
            inflate.decompress_vec(&data[4..], &mut plain, FlushDecompress::Sync).unwrap();
            assert!(plain == pixels, "{size:?} {place:?}");
        }
    }

    #[test]
    fn who_cannot_be_shown_it_is_told_so() {
        assert!(Viewer::new(1, 1).take(&ASK).is_err());
        assert!(Viewer::new(1, 1).take(&encodings(&[0, 7, 16])).is_err());
        assert!(Viewer::new(1, 1).take(&[7]).is_err());
        let mut other = pixels::request();
        other[4] = 8;
        assert!(Viewer::new(1, 1).take(&other).is_err());
        // A text of any length means nothing.
        let text = [&[6, 0, 0, 0, 0, 0, 0, 3][..], b"abc", &encodings(&[ZLIB, DESKTOP_SIZE]), &ASK].concat();
        let mut viewer = Viewer::new(1, 1);
        viewer.take(&text).unwrap();
        assert!(viewer.asked());
        assert_eq!(viewer.update((1, 1), Place { x: 0, y: 0, width: 2, height: 2 }, &[0; 3]), b"");
    }
}
