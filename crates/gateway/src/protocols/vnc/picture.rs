//! Decodes the rectangles of a target's picture for whoever records it: raw, copied, Hextile and ZRLE, in the one format
//! of pixels ([`super::pixels`]), and the shape of the pointer.
//!
//! It holds one rectangle and the history of one zlib stream. It draws nothing itself: it says what to draw. Nothing that a
//! target sends makes it hold more than [`LONGEST`] bytes of a rectangle and [`MOST_PIXELS`] of its picture.

use flate2::{Decompress, FlushDecompress, Status};

use super::{
    downward::{Broken, EXTENDED_SIZE, Rectangles, resizes},
    pixels::{BYTES, MOST_PIXELS, SHORT_BYTES},
};

/// Bytes of one rectangle, as it is sent.
pub const LONGEST: usize = MOST_PIXELS * BYTES + 64 * 1024;
/// What is kept of a buffer that was needed once.
const KEPT: usize = 1024 * 1024;

/// Where, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub x: u16,
    pub y: u16,
    pub width: u16,
    pub height: u16,
}

/// What takes a picture.
pub trait Canvas {
    /// The whole desktop has this size from now on.
    fn resize(&mut self, width: u16, height: u16);
    /// Four bytes a pixel, red first, row by row.
    fn paint(&mut self, place: Place, pixels: &[u8]);
    fn copy(&mut self, from_x: u16, from_y: u16, to: Place);
    /// Four bytes a pixel with alpha, and where its point is; nothing where there is none to be seen.
    fn pointer(&mut self, place: Place, pixels: &[u8]);
}

/// Reads rectangles one after the other.
#[derive(Debug)]
pub struct Picture {
    zlib: Decompress,
}

/// Gathers a rectangle until it is whole, and draws it. What cannot be read is the last.
#[derive(Debug)]
pub struct Drawing<C> {
    picture: Picture,
    rectangle: Vec<u8>,
    broken: Option<Broken>,
    canvas: C,
}

impl<C: Canvas> Drawing<C> {
    pub fn new(canvas: C) -> Self {
        Self { picture: Picture::default(), rectangle: Vec::new(), broken: None, canvas }
    }

    pub fn canvas(&mut self) -> &mut C {
        &mut self.canvas
    }

    /// Why nothing is drawn any more.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }
}

impl<C: Canvas> Rectangles for Drawing<C> {
    fn bytes(&mut self, bytes: &[u8]) {
        if self.broken.is_none() && self.rectangle.len() + bytes.len() > LONGEST {
            self.broken = Some(Broken("a rectangle that is too long to be recorded"));
        }
        if self.broken.is_none() {
            self.rectangle.extend_from_slice(bytes);
        }
    }

    fn over(&mut self) {
        if self.broken.is_none() {
            self.broken = self.picture.rectangle(&self.rectangle, &mut self.canvas).err();
        }
        self.rectangle.clear();
        self.rectangle.shrink_to(KEPT);
    }
}

/// A side of ZRLE's tiles, and of Hextile's.
const ZRLE_SIDE: usize = 64;
const HEXTILE_SIDE: usize = 16;

fn broken<T>() -> Result<T, Broken> {
    Err(Broken("a picture that cannot be read"))
}

impl Default for Picture {
    fn default() -> Self {
        Self { zlib: Decompress::new(true) }
    }
}

/// Takes from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else { return broken() };
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }

    fn pixel(&mut self) -> Result<[u8; 4], Broken> {
        let bytes = self.take(BYTES)?;
        Ok([bytes[0], bytes[1], bytes[2], 0xff])
    }

    fn short_pixel(&mut self) -> Result<[u8; 4], Broken> {
        let bytes = self.take(SHORT_BYTES)?;
        Ok([bytes[0], bytes[1], bytes[2], 0xff])
    }
}

/// Pixels of a part of the picture.
struct Sheet {
    width: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    fn new(width: usize, height: usize) -> Self {
        Self { width, pixels: vec![0; width * height * BYTES] }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 4]) -> Result<(), Broken> {
        let at = (y * self.width + x) * BYTES;
        match self.pixels.get_mut(at..at + BYTES) {
            Some(pixel) if x < self.width => {
                pixel.copy_from_slice(&colour);
                Ok(())
            }
            Some(_) | None => broken(),
        }
    }

    fn fill(
        &mut self,
        x: usize,
        y: usize,
        width: usize,
        height: usize,
        colour: [u8; 4],
    ) -> Result<(), Broken> {
        if x + width > self.width {
            return broken();
        }
        for row in y..y + height {
            let from = (row * self.width + x) * BYTES;
            let Some(line) = self.pixels.get_mut(from..from + width * BYTES) else { return broken() };
            line.as_chunks_mut::<BYTES>().0.fill(colour);
        }
        Ok(())
    }
}

impl Picture {
    /// Reads one rectangle, whole: its head of twelve bytes and what belongs to it.
    pub fn rectangle(&mut self, bytes: &[u8], canvas: &mut impl Canvas) -> Result<(), Broken> {
        let mut reader = Reader(bytes);
        let head = reader.take(12)?;
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let place = Place { x: short(0), y: short(2), width: short(4), height: short(6) };
        let (width, height) = (usize::from(place.width), usize::from(place.height));
        let encoding = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        // A refused size may be any: nothing is drawn for it.
        if width * height > MOST_PIXELS && encoding != EXTENDED_SIZE {
            return broken();
        }
        match encoding {
            0 => canvas.paint(place, reader.take(width * height * BYTES)?),
            1 => {
                let from = reader.take(4)?;
                let at = |at: usize| u16::from_be_bytes([from[at], from[at + 1]]);
                canvas.copy(at(0), at(2), place);
            }
            5 => {
                let sheet = hextile(&mut reader, width, height)?;
                canvas.paint(place, &sheet.pixels);
            }
            16 => {
                let length = reader.take(4)?;
                let data = reader.0;
                if u32::try_from(data.len())
                    != Ok(u32::from_be_bytes([length[0], length[1], length[2], length[3]]))
                {
                    return broken();
                }
                let sheet = self.zrle(data, width, height)?;
                canvas.paint(place, &sheet.pixels);
            }
            encoding if resizes(encoding, place.x.into(), place.y.into()) => {
                canvas.resize(place.width, place.height);
            }
            -239 => {
                let mut pixels = reader.take(width * height * BYTES)?.to_vec();
                let row = width.div_ceil(8);
                let mask = reader.take(row * height)?;
                for (at, pixel) in pixels.as_chunks_mut::<BYTES>().0.iter_mut().enumerate() {
                    let (x, y) = (at % width, at / width);
                    pixel[3] = if mask[y * row + x / 8] & (0x80 >> (x % 8)) == 0 { 0 } else { 0xff };
                }
                canvas.pointer(place, &pixels);
            }
            // They say something that is not seen.
            _ => {}
        }
        Ok(())
    }

    /// RFC 6143 section 7.7.6: tiles of 64 pixels, all of them in one stream of zlib.
    fn zrle(&mut self, data: &[u8], width: usize, height: usize) -> Result<Sheet, Broken> {
        let tiles = width.div_ceil(ZRLE_SIDE) * height.div_ceil(ZRLE_SIDE);
        // No tile is longer than its kind, a palette and every pixel with a length of its own.
        let most = width * height * (SHORT_BYTES + 1) + tiles * (1 + 127 * SHORT_BYTES);
        let plain = self.inflate(data, most)?;
        let mut reader = Reader(&plain);
        let mut sheet = Sheet::new(width, height);
        for y in (0..height).step_by(ZRLE_SIDE) {
            for x in (0..width).step_by(ZRLE_SIDE) {
                let (across, down) = (ZRLE_SIDE.min(width - x), ZRLE_SIDE.min(height - y));
                zrle_tile(&mut reader, &mut sheet, (x, y), (across, down))?;
            }
        }
        Ok(sheet)
    }

    fn inflate(&mut self, mut data: &[u8], most: usize) -> Result<Vec<u8>, Broken> {
        const STEP: usize = 64 * 1024;
        let mut plain = Vec::new();
        loop {
            let (before_in, before_out) = (self.zlib.total_in(), self.zlib.total_out());
            plain.reserve(STEP);
            let Ok(status) = self.zlib.decompress_vec(data, &mut plain, FlushDecompress::Sync) else {
                return broken();
            };
            let read = usize::try_from(self.zlib.total_in() - before_in).unwrap_or(usize::MAX);
            data = data.get(read..).unwrap_or_default();
            if plain.len() > most || status == Status::StreamEnd {
                return broken();
            }
            if data.is_empty() && plain.len() < plain.capacity() {
                return Ok(plain);
            }
            if read == 0 && self.zlib.total_out() == before_out {
                return broken();
            }
        }
    }
}

fn zrle_tile(
    reader: &mut Reader<'_>,
    sheet: &mut Sheet,
    (left, top): (usize, usize),
    (across, down): (usize, usize),
) -> Result<(), Broken> {
    let pixels = across * down;
    let mut draw = |at: usize, colour| sheet.set(left + at % across, top + at / across, colour);
    let kind = reader.byte()?;
    let (runs, colours) = (kind & 0x80 != 0, usize::from(kind & 0x7f));
    let mut palette = Vec::new();
    for _ in 0..colours {
        palette.push(reader.short_pixel()?);
    }
    let pick = |index: usize| palette.get(index).copied().ok_or(Broken("a picture that cannot be read"));
    match (runs, colours) {
        (false, 0) => {
            for at in 0..pixels {
                draw(at, reader.short_pixel()?)?;
            }
        }
        (false, 1) => sheet.fill(left, top, across, down, pick(0)?)?,
        (false, 2..=16) => {
            let bits = match colours {
                2 => 1,
                3 | 4 => 2,
                _ => 4,
            };
            for row in 0..down {
                let packed = reader.take((across * bits).div_ceil(8))?;
                for column in 0..across {
                    let bit = column * bits;
                    let index = packed[bit / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1);
                    draw(row * across + column, pick(usize::from(index))?)?;
                }
            }
        }
        (true, 0) => {
            let mut at = 0;
            while at < pixels {
                let colour = reader.short_pixel()?;
                let end = at + run(reader)?;
                if end > pixels {
                    return broken();
                }
                for at in at..end {
                    draw(at, colour)?;
                }
                at = end;
            }
        }
        (true, 2..) => {
            let mut at = 0;
            while at < pixels {
                let index = reader.byte()?;
                let colour = pick(usize::from(index & 0x7f))?;
                let end = at + if index & 0x80 == 0 { 1 } else { run(reader)? };
                if end > pixels {
                    return broken();
                }
                for at in at..end {
                    draw(at, colour)?;
                }
                at = end;
            }
        }
        (false, _) | (true, 1) => return broken(),
    }
    Ok(())
}

/// A length: bytes of 255, and one that is less, and one more than their sum.
fn run(reader: &mut Reader<'_>) -> Result<usize, Broken> {
    let mut length = 1;
    loop {
        let byte = reader.byte()?;
        length += usize::from(byte);
        if byte != 255 {
            return Ok(length);
        }
    }
}

/// RFC 6143 section 7.7.4.
fn hextile(reader: &mut Reader<'_>, width: usize, height: usize) -> Result<Sheet, Broken> {
    let mut sheet = Sheet::new(width, height);
    let (mut background, mut foreground) = ([0, 0, 0, 0xff], [0, 0, 0, 0xff]);
    for top in (0..height).step_by(HEXTILE_SIDE) {
        for left in (0..width).step_by(HEXTILE_SIDE) {
            let (across, down) = (HEXTILE_SIDE.min(width - left), HEXTILE_SIDE.min(height - top));
            let kind = reader.byte()?;
            if kind & 1 != 0 {
                for at in 0..across * down {
                    let colour = reader.pixel()?;
                    sheet.set(left + at % across, top + at / across, colour)?;
                }
                continue;
            }
            if kind & 2 != 0 {
                background = reader.pixel()?;
            }
            if kind & 4 != 0 {
                foreground = reader.pixel()?;
            }
            sheet.fill(left, top, across, down, background)?;
            let count = if kind & 8 == 0 { 0 } else { reader.byte()? };
            for _ in 0..count {
                let colour = if kind & 16 == 0 { foreground } else { reader.pixel()? };
                let at = reader.take(2)?;
                let (x, y) = (usize::from(at[0] >> 4), usize::from(at[0] & 15));
                let (wide, high) = (usize::from(at[1] >> 4) + 1, usize::from(at[1] & 15) + 1);
                if x + wide > across || y + high > down {
                    return broken();
                }
                sheet.fill(left + x, top + y, wide, high, colour)?;
            }
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;
    use crate::protocols::vnc::downward::Downward;

    /// What was drawn, on a small desktop.
    #[derive(Debug, Default)]
    struct Paper {
        size: (u16, u16),
        pixels: Vec<[u8; 4]>,
        pointer: Option<(Place, Vec<u8>)>,
    }

    impl Paper {
        fn at(&self, x: u16, y: u16) -> [u8; 3] {
            let [r, g, b, _] = self.pixels[usize::from(y) * usize::from(self.size.0) + usize::from(x)];
            [r, g, b]
        }

        fn put(&mut self, place: Place, mut pixel: impl FnMut(usize, usize) -> [u8; 4]) {
            for y in 0..usize::from(place.height) {
                for x in 0..usize::from(place.width) {
                    let to = (usize::from(place.y) + y) * usize::from(self.size.0) + usize::from(place.x) + x;
                    self.pixels[to] = pixel(x, y);
                }
            }
        }
    }

    impl Canvas for Paper {
        fn resize(&mut self, width: u16, height: u16) {
            self.size = (width, height);
            self.pixels = vec![[0; 4]; usize::from(width) * usize::from(height)];
        }

        fn paint(&mut self, place: Place, pixels: &[u8]) {
            let width = usize::from(place.width);
            let pixels = pixels.as_chunks::<4>().0;
            self.put(place, |x, y| pixels[y * width + x]);
        }

        fn copy(&mut self, from_x: u16, from_y: u16, to: Place) {
            let (before, width) = (self.pixels.clone(), usize::from(self.size.0));
            self.put(to, |x, y| before[(usize::from(from_y) + y) * width + usize::from(from_x) + x]);
        }

        fn pointer(&mut self, place: Place, pixels: &[u8]) {
            self.pointer = Some((place, pixels.to_vec()));
        }
    }

    fn rectangle(place: [u16; 4], encoding: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = place.iter().flat_map(|number| number.to_be_bytes()).collect();
        bytes.extend(encoding.to_be_bytes());
        bytes.extend(data);
        bytes
    }

    /// Draws updates of one rectangle each, however they are cut.
    fn drawn(rectangles: &[Vec<u8>]) -> (Paper, Option<Broken>) {
        let stream: Vec<u8> = rectangles.iter().flat_map(|one| [&[0, 0, 0, 1][..], one].concat()).collect();
        let draw = |piece: usize| {
            let mut drawing = Drawing::new(Paper::default());
            drawing.canvas().resize(100, 80);
            let mut reader = Downward::new(true);
            for piece in stream.chunks(piece) {
                reader.show(piece, &mut Vec::new(), &mut drawing).unwrap();
            }
            drawing
        };
        let whole = draw(stream.len());
        for piece in [1, 7, 100] {
            assert_eq!(draw(piece).canvas.pixels, whole.canvas.pixels, "in pieces of {piece}");
        }
        (whole.canvas, whole.broken)
    }

    const RED: [u8; 4] = [200, 10, 20, 0];
    const BLUE: [u8; 4] = [10, 20, 200, 0];

    #[test]
    fn plain_pixels_copies_and_sizes() {
        let (paper, broken) = drawn(&[
            rectangle([0, 0, 60, 50], -223, &[]),
            rectangle([1, 2, 2, 2], 0, &[RED, BLUE, BLUE, RED].concat()),
            rectangle([10, 10, 2, 2], 1, &[0, 1, 0, 2]),
        ]);
        assert_eq!(broken, None);
        assert_eq!(paper.size, (60, 50));
        assert_eq!([paper.at(1, 2), paper.at(2, 2)], [[200, 10, 20], [10, 20, 200]]);
        assert_eq!([paper.at(10, 11), paper.at(11, 11)], [[10, 20, 200], [200, 10, 20]]);
    }

    #[test]
    fn hextile_of_every_kind() {
        let data = [
            // 16x16: red with a blue part; then 4x16: the same ground; then raw, then coloured parts.
            &[2 | 4 | 8][..],
            &RED,
            &BLUE,
            &[1, 0x23, 0x10],
            &[0],
            &[1],
            &BLUE.repeat(16 * 4),
            &[2 | 8 | 16],
            &RED,
            &[1],
            &BLUE,
            &[0x00, 0x00],
        ]
        .concat();
        let (paper, broken) = drawn(&[rectangle([0, 0, 20, 20], 5, &data)]);
        assert_eq!(broken, None);
        assert_eq!(
            [paper.at(2, 3), paper.at(3, 3), paper.at(4, 3)],
            [[10, 20, 200], [10, 20, 200], [200, 10, 20]]
        );
        assert_eq!([paper.at(19, 3), paper.at(3, 19)], [[200, 10, 20], [10, 20, 200]]);
        assert_eq!([paper.at(16, 16), paper.at(17, 16)], [[10, 20, 200], [200, 10, 20]]);
        let outside = [&[8 | 16][..], &[1], &RED, &[0xff, 0x11]].concat();
        assert!(drawn(&[rectangle([0, 0, 16, 16], 5, &outside)]).1.is_some());
    }

    fn zlib(compress: &mut Compress, plain: &[u8]) -> Vec<u8> {
        let mut data = Vec::with_capacity(plain.len() * 2 + 1000);
        compress.compress_vec(plain, &mut data, FlushCompress::Sync).unwrap();
        [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], &data].concat()
    }

    #[test]
    fn zrle_of_every_kind() {
        let mut compress = Compress::new(Compression::fast(), true);
        let [red, blue] = [&RED[..3], &BLUE[..3]];
        let mut rectangles = Vec::new();
        let tiles = [
            // Raw.
            [&[0][..], &red.repeat(16)].concat(),
            // One colour.
            [&[1][..], blue].concat(),
            // Two colours, a bit each.
            [&[2][..], red, blue, &[0x50, 0x50, 0x50, 0x50]].concat(),
            // Three, two bits each.
            [&[3][..], red, blue, red, &[0b0001_0001; 4]].concat(),
            // Runs.
            [&[128][..], red, &[7], blue, &[7]].concat(),
            // Runs of a palette.
            [&[130][..], red, blue, &[0x80, 13, 1, 1]].concat(),
        ];
        for (number, tile) in (0_u16..).zip(&tiles) {
            rectangles.push(rectangle([number * 4, 0, 4, 4], 16, &zlib(&mut compress, tile)));
        }
        let (paper, broken) = drawn(&rectangles);
        assert_eq!(broken, None);
        let row: Vec<bool> = (0..24).map(|x| paper.at(x, 3) == [10, 20, 200]).collect();
        let expected = [
            [false; 4],
            [true; 4],
            [false, true, false, true],
            [false, true, false, true],
            [true; 4],
            [false, false, true, true],
        ];
        assert_eq!(row, expected.concat());

        // Many tiles, with a length that takes two bytes.
        let mut compress = Compress::new(Compression::fast(), true);
        let run = |pixels: usize| {
            let mut bytes = vec![128];
            bytes.extend(red);
            bytes.extend(vec![255; (pixels - 1) / 255]);
            bytes.push(u8::try_from((pixels - 1) % 255).unwrap());
            bytes
        };
        let plain = [run(64 * 64), run(36 * 64), run(64 * 16), run(36 * 16)].concat();
        let (paper, broken) = drawn(&[rectangle([0, 0, 100, 80], 16, &zlib(&mut compress, &plain))]);
        assert_eq!(broken, None);
        assert!((0..80).all(|y| (0..100).all(|x| paper.at(x, y) == [200, 10, 20])));
    }

    #[test]
    fn what_cannot_be_read_is_the_last() {
        let paint = rectangle([0, 0, 1, 1], 0, &RED);
        let mut compress = Compress::new(Compression::fast(), true);
        for bad in [
            // No zlib; too many pixels in a run; a colour that is not there; a kind that is none; too little.
            rectangle([0, 0, 4, 4], 16, &[0, 0, 0, 4, 1, 2, 3, 4]),
            rectangle([0, 0, 4, 4], 16, &zlib(&mut compress, &[128, 1, 2, 3, 16])),
            rectangle(
                [0, 0, 4, 4],
                16,
                &zlib(&mut Compress::new(Compression::fast(), true), &[130, 1, 2, 3, 4, 5, 6, 5]),
            ),
            rectangle(
                [0, 0, 4, 4],
                16,
                &zlib(&mut Compress::new(Compression::fast(), true), &[129, 1, 2, 3]),
            ),
            rectangle([0, 0, 4, 4], 16, &zlib(&mut Compress::new(Compression::fast(), true), &[1, 1])),
            // More than any tile has.
            rectangle(
                [0, 0, 1, 1],
                16,
                &zlib(&mut Compress::new(Compression::fast(), true), &vec![0; 1_000_000]),
            ),
        ] {
            let (paper, broken) = drawn(&[bad, paint.clone()]);
            assert!(broken.is_some());
            assert_eq!(paper.at(0, 0), [0; 3], "nothing is drawn any more");
        }
    }

    #[test]
    fn a_size_that_cannot_be_changes_nothing() {
        let screens = [&[1, 0, 0, 0][..], &[0; 16]].concat();
        let refused = rectangle([1, 3, 9000, 9000], -308, &screens);
        let (paper, broken) = drawn(std::slice::from_ref(&refused));
        assert_eq!((broken, paper.size), (None, (100, 80)));
        let told = rectangle([2, 0, 50, 40], -308, &screens);
        assert_eq!(drawn(std::slice::from_ref(&told)).0.size, (50, 40));
        let mut reader = Downward::new(true);
        for (one, size) in [(refused, None), (told, Some((50, 40)))] {
            reader.take(&[&[0, 0, 0, 1][..], &one].concat(), &mut Vec::new()).unwrap();
            assert_eq!(reader.size(), size);
        }
    }

    #[test]
    fn the_pointer_has_a_shape() {
        let data = [&RED[..], &BLUE, &[0x40]].concat();
        let (paper, broken) = drawn(&[rectangle([1, 0, 2, 1], -239, &data)]);
        assert_eq!(broken, None);
        let (place, pixels) = paper.pointer.unwrap();
        assert_eq!((place.x, place.width, place.height), (1, 2, 1));
        assert_eq!([pixels[3], pixels[7]], [0, 0xff]);
    }
}
