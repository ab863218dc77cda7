//! The clipboard (MS-RDPECLIP) as far as policy lets it pass, in each direction by itself.
//!
//! What may not be had is not offered: lists of formats are cut. Who asks for it all the same is answered that it
//! cannot be had, so that neither side waits for ever.

use std::collections::BTreeSet;

use super::{
    chunk::{self, Odd, Passing, u16_at, u32_at},
    frame::Way,
};

/// What of the clipboard may go which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clips {
    /// From the desktop to the user.
    pub copy: bool,
    /// From the user to the desktop.
    pub paste: bool,
    /// Files, too, where texts and pictures may go.
    pub files: bool,
}

impl Clips {
    pub(super) fn any(self) -> bool {
        self.copy || self.paste
    }

    fn may(self, way: Way) -> bool {
        match way {
            Way::ToTarget => self.paste,
            Way::ToBrowser => self.copy,
        }
    }
}

/// What passed in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Texts and pictures.
    pub texts: u64,
    /// Pieces of files.
    pub files: u64,
    pub bytes: u64,
    /// What was asked for, or sent, against the policy.
    pub refused: u64,
}

/// The longest list of formats. Real ones have a few hundred bytes.
const LIST: usize = 64 * 1024;

const FORMAT_LIST: u16 = 2;
const FORMAT_DATA_REQUEST: u16 = 4;
const FORMAT_DATA: u16 = 5;
const CAPABILITIES: u16 = 7;
const FILE_REQUEST: u16 = 8;
const FILE_DATA: u16 = 9;
/// Of the header's flags.
const FAIL: u16 = 2;
const ASCII_NAMES: u16 = 4;
/// Of the general capabilities' flags.
const LONG_NAMES: u32 = 2;
/// What carries files, among the formats that have a number of their own.
const DROPPED_FILES: u32 = 15;
/// Formats below have no name.
const NAMED: u32 = 0xc000;
/// Formats with a name that are texts and pictures; others may be files.
const HARMLESS: [&str; 4] = ["HTML Format", "Rich Text Format", "PNG", "image/png"];

#[derive(Debug)]
pub(super) struct Clipboard {
    clips: Clips,
    to_target: Half,
    to_browser: Half,
}

/// What one side says.
#[derive(Debug, Default)]
struct Half {
    message: Message,
    /// It can do long names of formats.
    long_names: bool,
    /// Formats that it has offered and that may be had.
    offered: BTreeSet<u32>,
    passed: Passed,
}

/// The message of which pieces come.
#[derive(Debug, Default)]
enum Message {
    #[default]
    None,
    Passing,
    Dropped,
    List(Vec<u8>),
}

fn back(way: Way) -> Way {
    match way {
        Way::ToTarget => Way::ToBrowser,
        Way::ToBrowser => Way::ToTarget,
    }
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    // Bodies are as short as what was gathered.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&kind.to_le_bytes()[..], &flags.to_le_bytes(), &length.to_le_bytes(), body].concat()
}

impl Clipboard {
    pub(super) fn new(clips: Clips) -> Self {
        Self { clips, to_target: Half::default(), to_browser: Half::default() }
    }

    /// What passed so far.
    pub(super) fn passed(&self, way: Way) -> Passed {
        match way {
            Way::ToTarget => self.to_target.passed,
            Way::ToBrowser => self.to_browser.passed,
        }
    }

    fn half(&mut self, way: Way) -> &mut Half {
        match way {
            Way::ToTarget => &mut self.to_target,
            Way::ToBrowser => &mut self.to_browser,
        }
    }

    pub(super) fn take(&mut self, way: Way, payload: &[u8], out: &mut Passing) -> Result<(), Odd> {
        let piece = chunk::read(payload)?;
        if piece.is_first() {
            let begun = self.begin(way, &piece, out)?;
            self.half(way).message = begun;
        } else if let Message::List(list) = &mut self.half(way).message {
            list.extend_from_slice(piece.body);
        }
        match &mut self.half(way).message {
            Message::None => return Err(Odd("a clipboard's message has no beginning")),
            Message::Passing => out.push((way, payload.to_vec())),
            Message::Dropped => {}
            Message::List(list) if list.len() > LIST => return Err(Odd("a list of formats is too long")),
            Message::List(_) => {}
        }
        if piece.is_last()
            && let Message::List(list) = std::mem::take(&mut self.half(way).message)
        {
            let cut = self.cut(way, &list);
            chunk::write(way, &cut, out);
        }
        Ok(())
    }

    /// Whether a message passes, from its first piece.
    fn begin(&mut self, way: Way, piece: &chunk::Chunk<'_>, out: &mut Passing) -> Result<Message, Odd> {
        let short = Odd("a clipboard's message is too short");
        let kind = u16_at(piece.body, 0).ok_or(short)?;
        let flags = u16_at(piece.body, 2).ok_or(short)?;
        let body = piece.body.get(8..).ok_or(short)?;
        let clips = self.clips;
        let files = clips.files;
        let bytes = u64::from(piece.total.saturating_sub(8));
        let mut refuse = |to: Way, answer: Vec<u8>| {
            chunk::write(to, &answer, out);
            Ok(Message::Dropped)
        };
        match kind {
            // That it is there; that a list was taken; where files are kept meanwhile; locks.
            1 | 3 | 6 | 10 | 11 => Ok(Message::Passing),
            CAPABILITIES => {
                // One set, the general one: its flags are the last of its fields.
                let general = u16_at(body, 4) == Some(1);
                self.half(way).long_names =
                    general && u32_at(body, 12).is_some_and(|flags| flags & LONG_NAMES != 0);
                Ok(Message::Passing)
            }
            FORMAT_LIST => Ok(Message::List(piece.body.to_vec())),
            FORMAT_DATA_REQUEST => {
                let format = u32_at(body, 0).ok_or(short)?;
                if clips.may(back(way)) && self.half(back(way)).offered.contains(&format) {
                    return Ok(Message::Passing);
                }
                self.half(back(way)).passed.refused += 1;
                refuse(back(way), message(FORMAT_DATA, FAIL, &[]))
            }
            FORMAT_DATA if flags & FAIL != 0 => Ok(Message::Passing),
            FORMAT_DATA if clips.may(way) => {
                let passed = &mut self.half(way).passed;
                passed.texts += 1;
                passed.bytes += bytes;
                Ok(Message::Passing)
            }
            FORMAT_DATA => {
                self.half(way).passed.refused += 1;
                refuse(way, message(FORMAT_DATA, FAIL, &[]))
            }
            FILE_REQUEST | FILE_DATA => {
                let from = if kind == FILE_REQUEST { back(way) } else { way };
                let stream = body.first_chunk::<4>().copied().ok_or(short)?;
                if files && clips.may(from) {
                    if kind == FILE_DATA && flags & FAIL == 0 {
                        let passed = &mut self.half(way).passed;
                        passed.files += 1;
                        passed.bytes += bytes;
                    }
                    return Ok(Message::Passing);
                }
                self.half(from).passed.refused += 1;
                refuse(from, message(FILE_DATA, FAIL, &stream))
            }
            _ => Ok(Message::Dropped),
        }
    }

    /// The list of formats of which only what may be had is left.
    fn cut(&mut self, way: Way, list: &[u8]) -> Vec<u8> {
        let flags = u16_at(list, 2).unwrap_or_default();
        let body = list.get(8..).unwrap_or_default();
        let long = self.to_target.long_names && self.to_browser.long_names;
        let entries = if long { long_entries(body) } else { short_entries(body, flags & ASCII_NAMES != 0) };
        let Clips { files, .. } = self.clips;
        let may = self.clips.may(way);
        let half = self.half(way);
        half.offered.clear();
        let mut left = Vec::new();
        for Entry { id, name, bytes } in entries.unwrap_or_default() {
            let harmless = if id < NAMED { id != DROPPED_FILES } else { HARMLESS.contains(&name.as_str()) };
            if may && (files || harmless) {
                half.offered.insert(id);
                left.extend_from_slice(bytes);
            }
        }
        message(FORMAT_LIST, flags, &left)
    }
}

struct Entry<'a> {
    id: u32,
    name: String,
    bytes: &'a [u8],
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(&units[..end])
}

/// MS-RDPECLIP 2.2.3.1.2.1: a number and a name that ends with a null. `None` where it is none of these.
fn long_entries(mut body: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !body.is_empty() {
        let id = u32_at(body, 0)?;
        let units = body.get(4..)?.as_chunks::<2>().0.iter().position(|unit| *unit == [0, 0])?;
        let (bytes, rest) = body.split_at_checked(4 + (units + 1) * 2)?;
        entries.push(Entry { id, name: utf16(&bytes[4..]), bytes });
        body = rest;
    }
    Some(entries)
}

/// MS-RDPECLIP 2.2.3.1.1.1: a number and 32 bytes of name.
fn short_entries(body: &[u8], ascii: bool) -> Option<Vec<Entry<'_>>> {
    let (entries, rest) = body.as_chunks::<36>();
    if !rest.is_empty() {
        return None;
    }
    let read = |bytes: &'_ [u8; 36]| {
        let name = &bytes[4..];
        if ascii {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            String::from_utf8_lossy(&name[..end]).into_owned()
        } else {
            utf16(name)
        }
    };
    entries
        .iter()
        .map(|bytes| Some(Entry { id: u32_at(bytes, 0)?, name: read(bytes), bytes: bytes.as_slice() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u32 = 13;
    const FILES: u32 = 0xc0a1;

    fn pieces(way: Way, message: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Passing::new();
        chunk::write(way, message, &mut out);
        out.into_iter().map(|(_, piece)| piece).collect()
    }

    struct Both(Clipboard);

    impl Both {
        fn new(clips: Clips) -> Self {
            let mut both = Self(Clipboard::new(clips));
            let capabilities = message(CAPABILITIES, 0, &[1, 0, 0, 0, 1, 0, 12, 0, 2, 0, 0, 0, 2, 0, 0, 0]);
            for way in [Way::ToBrowser, Way::ToTarget] {
                assert_eq!(both.say(way, &capabilities), [(way, capabilities.clone())]);
            }
            both
        }

        /// What comes of a message: whole messages, without headers of pieces.
        fn say(&mut self, way: Way, said: &[u8]) -> Vec<(Way, Vec<u8>)> {
            let mut out = Passing::new();
            for piece in pieces(way, said) {
                self.0.take(way, &piece, &mut out).unwrap();
            }
            let mut whole: Vec<(Way, Vec<u8>)> = Vec::new();
            for (way, piece) in out {
                let chunk = chunk::read(&piece).unwrap();
                if chunk.is_first() {
                    whole.push((way, Vec::new()));
                }
                whole.last_mut().unwrap().1.extend_from_slice(chunk.body);
            }
            whole
        }
    }

    fn list(formats: &[(u32, &str)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (id, name) in formats {
            body.extend(id.to_le_bytes());
            body.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        }
        message(FORMAT_LIST, 0, &body)
    }

    fn ask(format: u32) -> Vec<u8> {
        message(FORMAT_DATA_REQUEST, 0, &format.to_le_bytes())
    }

    const ALL: Clips = Clips { copy: true, paste: true, files: true };

    #[test]
    fn each_direction_is_by_itself() {
        for (copy, paste) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut both = Both::new(Clips { copy, paste, files: false });
            for (way, may) in [(Way::ToBrowser, copy), (Way::ToTarget, paste)] {
                let offered = list(&[(TEXT, ""), (FILES, "FileGroupDescriptorW"), (0xc0de, "HTML Format")]);
                let seen = if may { list(&[(TEXT, ""), (0xc0de, "HTML Format")]) } else { list(&[]) };
                assert_eq!(both.say(way, &offered), [(way, seen)]);

                let denied = (way, message(FORMAT_DATA, FAIL, &[]));
                let asked = both.say(back(way), &ask(TEXT));
                assert_eq!(asked, [if may { (back(way), ask(TEXT)) } else { denied.clone() }]);
                assert_eq!(both.say(back(way), &ask(FILES)).first(), Some(&denied));
                assert_eq!(both.say(back(way), &ask(1)).first(), Some(&denied), "was not offered");

                let text = message(FORMAT_DATA, 1, &[b'x'; 5000]);
                let told = both.say(way, &text);
                assert_eq!(told, [if may { (way, text) } else { denied }], "also when nobody asked");
                let passed = both.0.passed(way);
                assert_eq!((passed.texts, passed.bytes), if may { (1, 5000) } else { (0, 0) });
                assert_eq!(passed.refused, if may { 2 } else { 4 });
            }
        }
    }

    #[test]
    fn files_pass_where_they_may() {
        let request = message(FILE_REQUEST, 0, &[9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        let data = message(FILE_DATA, 1, &[9, 0, 0, 0, b'a', b'b']);
        let denied = message(FILE_DATA, FAIL, &[9, 0, 0, 0]);
        let mut both = Both::new(ALL);
        let offered = list(&[(FILES, "FileGroupDescriptorW")]);
        assert_eq!(both.say(Way::ToBrowser, &offered), [(Way::ToBrowser, offered.clone())]);
        assert_eq!(both.say(Way::ToTarget, &request), [(Way::ToTarget, request.clone())]);
        assert_eq!(both.say(Way::ToBrowser, &data), [(Way::ToBrowser, data.clone())]);
        assert_eq!(both.0.passed(Way::ToBrowser), Passed { files: 1, bytes: 6, ..Passed::default() });

        let mut both = Both::new(Clips { files: false, ..ALL });
        assert_eq!(both.say(Way::ToBrowser, &offered), [(Way::ToBrowser, list(&[]))]);
        assert_eq!(both.say(Way::ToTarget, &request), [(Way::ToBrowser, denied.clone())]);
        assert_eq!(both.say(Way::ToBrowser, &data), [(Way::ToBrowser, denied)]);
    }

    #[test]
    fn lists_with_short_names_are_cut_too() {
        let mut both = Both(Clipboard::new(Clips { files: false, ..ALL }));
        let entry = |id: u32, name: &str| {
            let mut bytes = [id.to_le_bytes().as_slice(), name.as_bytes()].concat();
            bytes.resize(36, 0);
            bytes
        };
        let body = [entry(TEXT, ""), entry(FILES, "FileGroupDescriptorW"), entry(0xc001, "PNG")].concat();
        let left = [entry(TEXT, ""), entry(0xc001, "PNG")].concat();
        let told = both.say(Way::ToTarget, &message(FORMAT_LIST, ASCII_NAMES, &body));
        assert_eq!(told, [(Way::ToTarget, message(FORMAT_LIST, ASCII_NAMES, &left))]);
        let odd = both.say(Way::ToTarget, &message(FORMAT_LIST, 0, &body[1..]));
        assert_eq!(
            odd,
            [(Way::ToTarget, message(FORMAT_LIST, 0, &[]))],
            "what cannot be read offers nothing"
        );
    }

    #[test]
    fn what_is_no_message_ends_it() {
        let mut out = Passing::new();
        let mut clipboard = Clipboard::new(ALL);
        assert!(clipboard.take(Way::ToTarget, &[1, 2, 3], &mut out).is_err());
        assert!(
            clipboard.take(Way::ToTarget, &[9, 0, 0, 0, 2, 0, 0, 0, 1], &mut out).is_err(),
            "no beginning"
        );
        let mut long = pieces(Way::ToTarget, &vec![0; LIST + 5000]);
        long[0][8] = 2;
        let taken = long.iter().try_for_each(|piece| clipboard.take(Way::ToTarget, piece, &mut out));
        assert_eq!(taken, Err(Odd("a list of formats is too long")));
    }
}
