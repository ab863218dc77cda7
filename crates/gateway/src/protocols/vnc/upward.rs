//! From the browser to the target (RFC 6143 section 7.5, and what noVNC speaks besides): reads along, tells what a
//! person did from what a program asks for by itself, and leaves out what the connection does not allow.
//!
//! Nothing is passed on that is not understood, and nothing is held but the beginning of one message.

use super::pixels;

/// Longer texts for the clipboard are left out.
pub const LONGEST_TEXT: usize = 1024 * 1024;
/// A list of encodings that is longer is none.
const MOST_ENCODINGS: usize = 1024;
/// RFB 7.8.2 of the community's edition: what travels in a fence.
const FENCE: usize = 64;

/// What may go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allows {
    /// Keys and pointer.
    pub input: bool,
    /// Text from the browser's clipboard.
    pub paste: bool,
    /// Text for the browser's clipboard: both ways need the extended clipboard of both ends.
    pub copy: bool,
}

/// Something that a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A key went down: its X keysym.
    Key(u32),
    /// A button of the mouse went down.
    Click,
    /// Its wheel was turned by a notch.
    Scroll,
    /// The pointer went there.
    Move { x: u16, y: u16 },
}

/// What a person did, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub keys: u64,
    pub pointer: u64,
    pub texts: u64,
}

impl Counts {
    pub fn total(self) -> u64 {
        self.keys + self.pointer + self.texts
    }
}

/// The browser sent what is no message of RFB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Encodings that a browser may ask for: those that [`super::downward`] reads and [`super::picture`] decodes. Neither fences nor
/// continuous updates: with them a client that does not answer would keep the picture from whoever records it.
const ENCODINGS: &[i32] = &[
    0,    // Raw
    1,    // CopyRect
    5,    // Hextile
    16,   // ZRLE
    -223, // DesktopSize
    -224, // LastRect
    -239, // Cursor
    -258, // QEMU's keys
    -261, // QEMU's lamps
    -308, // ExtendedDesktopSize
];
/// What belongs to the picture of the pointer.
const CURSOR: i32 = -239;
/// Levels of compression.
const LEVELS: std::ops::RangeInclusive<i32> = -256..=-247;
const EXTENDED_CLIPBOARD: i32 = 0xc0a1_e5ce_u32.cast_signed();

const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;
const KEY: u8 = 4;
const POINTER: u8 = 5;
const CUT_TEXT: u8 = 6;
const CONTINUOUS_UPDATES: u8 = 150;
const CLIENT_FENCE: u8 = 248;
const SET_DESKTOP_SIZE: u8 = 251;
const QEMU: u8 = 255;

/// Reads what a browser sends.
#[derive(Debug)]
pub struct Upward {
    allows: Allows,
    /// The beginning of a message.
    head: Vec<u8>,
    /// Bytes of a text that follow, and whether they are passed on.
    follow: usize,
    passed: bool,
    counts: Counts,
    deeds: Vec<Deed>,
    /// The mouse's buttons, and where its pointer is.
    buttons: u8,
    place: Option<(u16, u16)>,
    /// The browser draws the pointer itself.
    draws_pointer: bool,
    /// How much of the picture, from its upper left corner, was asked for whether or not it had changed.
    asked: (u16, u16),
}

/// Buttons that are turns of the wheel.
const WHEEL: u8 = 0b111_1000;

impl Upward {
    pub fn new(allows: Allows) -> Self {
        Self {
            allows,
            head: Vec::new(),
            follow: 0,
            passed: false,
            counts: Counts::default(),
            deeds: Vec::new(),
            buttons: 0,
            place: None,
            draws_pointer: false,
            asked: (0, 0),
        }
    }

    /// Whether the whole of a picture of this size was asked for.
    pub fn asked_all_of(&self, width: u16, height: u16) -> bool {
        self.asked.0 >= width && self.asked.1 >= height
    }

    /// Whether what was passed on is whole: something else may be said between.
    pub fn at_rest(&self) -> bool {
        self.follow == 0 || !self.passed
    }

    /// What was done, and passed on, since this was asked last.
    pub fn deeds(&mut self) -> std::vec::Drain<'_, Deed> {
        self.deeds.drain(..)
    }

    /// Whether the browser draws the pointer itself, so that it is not in the target's picture.
    pub fn draws_pointer(&self) -> bool {
        self.draws_pointer
    }

    /// What was done so far; what was not allowed too.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes what the browser sent, and adds what goes to the target.
    pub fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.follow > 0 {
                let (text, rest) = bytes.split_at(self.follow.min(bytes.len()));
                if self.passed {
                    out.extend_from_slice(text);
                }
                self.follow -= text.len();
                bytes = rest;
                continue;
            }
            let need = self.need()?;
            let (more, rest) = bytes.split_at((need - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(more);
            bytes = rest;
            if self.head.len() == need && self.need()? == need {
                self.message(out)?;
                self.head.clear();
            }
        }
        Ok(())
    }

    /// How long the beginning of the message is, as far as is known: more than is there, unless it is all there.
    fn need(&self) -> Result<usize, Broken> {
        let head = &self.head;
        let Some(&kind) = head.first() else { return Ok(1) };
        let number = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        Ok(match kind {
            SET_PIXEL_FORMAT => 20,
            SET_ENCODINGS if head.len() < 4 => 4,
            SET_ENCODINGS if number(2) > MOST_ENCODINGS => return Err(Broken("too many encodings")),
            SET_ENCODINGS => 4 + 4 * number(2),
            UPDATE_REQUEST | CONTINUOUS_UPDATES => 10,
            KEY | CUT_TEXT => 8,
            POINTER => 6,
            CLIENT_FENCE if head.len() < 9 => 9,
            CLIENT_FENCE if usize::from(head[8]) > FENCE => return Err(Broken("a fence that is too long")),
            CLIENT_FENCE => 9 + usize::from(head[8]),
            SET_DESKTOP_SIZE if head.len() < 8 => 8,
            SET_DESKTOP_SIZE => 8 + 16 * usize::from(head[6]),
            QEMU if head.len() < 2 => 2,
            QEMU if head[1] == 0 => 12,
            _ => return Err(Broken("a message that is not known")),
        })
    }

    fn message(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Allows { input, paste, copy } = self.allows;
        let passed = match self.head[0] {
            // It is so already; another would not be understood.
            SET_PIXEL_FORMAT if self.head[4..17] == pixels::FORMAT[..13] => false,
            SET_PIXEL_FORMAT => return Err(Broken("another format of pixels")),
            SET_ENCODINGS => {
                let asked = self.head[4..].as_chunks::<4>().0;
                self.draws_pointer = asked.contains(&CURSOR.to_be_bytes());
                self.encodings(out);
                false
            }
            KEY | QEMU => {
                self.counts.keys += 1;
                let down = if self.head[0] == KEY { self.head[1] } else { self.head[2] | self.head[3] };
                if input && down != 0 {
                    // In both messages at the same place.
                    let keysym = [self.head[4], self.head[5], self.head[6], self.head[7]];
                    self.deeds.push(Deed::Key(u32::from_be_bytes(keysym)));
                }
                input
            }
            UPDATE_REQUEST => {
                if self.head[1..6] == [0; 5] {
                    let short = |at: usize| u16::from_be_bytes([self.head[at], self.head[at + 1]]);
                    self.asked = (short(6), short(8));
                }
                true
            }
            POINTER => {
                self.counts.pointer += 1;
                if input {
                    self.pointed();
                }
                input
            }
            // One that could not be recorded is nobody's wish.
            SET_DESKTOP_SIZE => {
                let short = |at: usize| usize::from(u16::from_be_bytes([self.head[at], self.head[at + 1]]));
                input && short(2) * short(4) <= pixels::MOST_PIXELS
            }
            CUT_TEXT => {
                let length = i32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]]);
                self.follow = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
                self.counts.texts += 1;
                let extended = length < 0;
                self.passed = input && paste && (copy || !extended) && self.follow <= LONGEST_TEXT;
                self.passed
            }
            _ => true,
        };
        if passed {
            out.extend_from_slice(&self.head);
        }
        Ok(())
    }

    fn pointed(&mut self) {
        let head = &self.head;
        let place = (u16::from_be_bytes([head[2], head[3]]), u16::from_be_bytes([head[4], head[5]]));
        let pressed = head[1] & !std::mem::replace(&mut self.buttons, head[1]);
        if self.place.replace(place) != Some(place) {
            self.deeds.push(Deed::Move { x: place.0, y: place.1 });
        }
        if pressed & !WHEEL != 0 {
            self.deeds.push(Deed::Click);
        }
        if pressed & WHEEL != 0 {
            self.deeds.push(Deed::Scroll);
        }
    }

    /// The list without what is not read on the way down.
    fn encodings(&self, out: &mut Vec<u8>) {
        let clipboard = self.allows.input && self.allows.paste && self.allows.copy;
        let good = |encoding: i32| {
            ENCODINGS.contains(&encoding)
                || LEVELS.contains(&encoding)
                || (encoding == EXTENDED_CLIPBOARD && clipboard)
        };
        let mut list = Vec::new();
        for encoding in self.head[4..].as_chunks::<4>().0 {
            if good(i32::from_be_bytes(*encoding)) {
                list.extend_from_slice(encoding);
            }
        }
        // At most as many as came.
        let count = u16::try_from(list.len() / 4).unwrap_or(u16::MAX);
        out.extend_from_slice(&[SET_ENCODINGS, 0]);
        out.extend_from_slice(&count.to_be_bytes());
        out.append(&mut list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Allows = Allows { input: true, paste: true, copy: true };

    fn passed(allows: Allows, bytes: &[u8]) -> Result<(Vec<u8>, Counts), Broken> {
        let mut whole = Vec::new();
        let mut reader = Upward::new(allows);
        reader.take(bytes, &mut whole)?;
        for piece in [1, 2, 5] {
            let (mut out, mut again) = (Vec::new(), Upward::new(allows));
            for piece in bytes.chunks(piece) {
                again.take(piece, &mut out)?;
            }
            assert_eq!((&out, again.counts()), (&whole, reader.counts()));
        }
        Ok((whole, reader.counts()))
    }

    fn cut(text: &str) -> Vec<u8> {
        let mut bytes = vec![CUT_TEXT, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    fn encodings(list: &[i32]) -> Vec<u8> {
        let mut bytes = vec![SET_ENCODINGS, 0];
        bytes.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        bytes.extend(list.iter().flat_map(|encoding| encoding.to_be_bytes()));
        bytes
    }

    const REQUEST: [u8; 10] = [UPDATE_REQUEST, 1, 0, 0, 0, 0, 2, 0, 1, 0];
    const KEY_A: [u8; 8] = [KEY, 1, 0, 0, 0, 0, 0, 0x61];
    const CLICK: [u8; 6] = [POINTER, 1, 0, 9, 0, 9];
    const QEMU_KEY: [u8; 12] = [QEMU, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 30];

    #[test]
    fn what_is_allowed_goes_up_as_it_is() {
        let bytes = [&REQUEST[..], &KEY_A, &CLICK, &QEMU_KEY, &cut("text"), &REQUEST].concat();
        let counts = Counts { keys: 2, pointer: 1, texts: 1 };
        assert_eq!(passed(ALL, &bytes), Ok((bytes.clone(), counts)));
        assert_eq!(counts.total(), 4);
    }

    #[test]
    fn what_a_person_did_is_told() {
        let point = |buttons: u8, x: u8| [POINTER, buttons, 0, x, 0, 9];
        let up = [KEY, 0, 0, 0, 0, 0, 0, 0x61];
        let bytes = [
            &point(0, 5)[..],
            &point(1, 5),
            &point(1, 6),
            &point(0, 6),
            &point(8, 6),
            &point(0, 6),
            &KEY_A,
            &up,
            &QEMU_KEY,
            &REQUEST,
        ]
        .concat();
        let moved = |x| Deed::Move { x, y: 9 };
        let mut reader = Upward::new(ALL);
        reader.take(&bytes, &mut Vec::new()).unwrap();
        let did = [moved(5), Deed::Click, moved(6), Deed::Scroll, Deed::Key(0x61), Deed::Key(0x61)];
        assert_eq!(reader.deeds().collect::<Vec<_>>(), did);
        assert_eq!(reader.deeds().count(), 0);
        let mut looks = Upward::new(Allows { input: false, ..ALL });
        looks.take(&bytes, &mut Vec::new()).unwrap();
        assert_eq!(looks.deeds().count(), 0, "nothing was done that did not arrive");
        assert!(!looks.draws_pointer());
        looks.take(&encodings(&[0, CURSOR]), &mut Vec::new()).unwrap();
        assert!(looks.draws_pointer());
    }

    #[test]
    fn what_is_not_allowed_does_not() {
        let bytes = [&REQUEST[..], &KEY_A, &cut("text"), &CLICK, &REQUEST].concat();
        let no_paste = Allows { paste: false, ..ALL };
        let kept = [&REQUEST[..], &KEY_A, &CLICK, &REQUEST].concat();
        assert_eq!(passed(no_paste, &bytes).unwrap().0, kept);
        let looks = Allows { input: false, ..ALL };
        let (out, counts) = passed(looks, &bytes).unwrap();
        assert_eq!(out, [REQUEST, REQUEST].concat());
        assert_eq!(counts.total(), 3);
        // A text in the extended form, where only one way is allowed.
        let extended = [CUT_TEXT, 0, 0, 0, 0xff, 0xff, 0xff, 0xfc, 1, 0, 0, 1];
        assert_eq!(passed(Allows { copy: false, ..ALL }, &extended).unwrap().0, b"");
        assert_eq!(passed(ALL, &extended).unwrap().0, extended);
        let long = cut(&"x".repeat(LONGEST_TEXT + 1));
        let mut out = Vec::new();
        Upward::new(ALL).take(&[&long[..], &KEY_A].concat(), &mut out).unwrap();
        assert_eq!(out, KEY_A);
    }

    #[test]
    fn only_what_is_read_on_the_way_down_is_asked_for() {
        let asked =
            encodings(&[1, 50, 7, -260, 16, 21, 5, 2, 6, 0, -26, -254, -309, EXTENDED_CLIPBOARD, -316]);
        let told = encodings(&[1, 16, 5, 0, -254, EXTENDED_CLIPBOARD]);
        assert_eq!(passed(ALL, &asked).unwrap().0, told);
        let told = encodings(&[1, 16, 5, 0, -254]);
        assert_eq!(passed(Allows { copy: false, ..ALL }, &asked).unwrap().0, told);
        assert!(passed(ALL, &[SET_ENCODINGS, 0, 0xff, 0xff]).is_err());
    }

    #[test]
    fn pixels_stay_as_they_are() {
        assert_eq!(passed(ALL, &pixels::request()).unwrap().0, b"");
        let mut other = pixels::request();
        other[4] = 8;
        assert!(passed(ALL, &other).is_err());
    }

    #[test]
    fn no_size_is_asked_for_that_cannot_be_recorded() {
        let size = |width: u16, height: u16| {
            let [a, b, c, d] = [width.to_be_bytes(), height.to_be_bytes()].concat()[..] else { panic!() };
            [&[SET_DESKTOP_SIZE, 0, a, b, c, d, 1, 0][..], &[0; 16]].concat()
        };
        let bytes = [size(4096, 4096), size(4097, 4096), size(800, 600)].concat();
        assert_eq!(passed(ALL, &bytes).unwrap().0, [size(4096, 4096), size(800, 600)].concat());
        assert_eq!(passed(Allows { input: false, ..ALL }, &bytes).unwrap().0, b"");
    }

    #[test]
    fn nothing_unknown_goes_up() {
        for bad in [&[7][..], &[250], &[255, 1], &[CLIENT_FENCE, 0, 0, 0, 0, 0, 0, 0, 65]] {
            assert!(passed(ALL, bad).is_err(), "{bad:?}");
        }
    }
}
