//! Floods of output, of which only the last screenful can be seen.
//!
//! While nobody types and no preview is open, plain text is held back instead of emulated. When
//! somebody looks, or anything else comes, only the end of it is: whatever was above has left the
//! screen, and left no trace but the pen. What is dropped is therefore text, colours, line feeds and
//! the clearing of rows to their ends; nothing that moves, scrolls, or switches modes.

/// More is not held back.
const MAX_HELD_BYTES: usize = if cfg!(test) { 64 } else { 64 * 1024 };

/// Text that has not reached the emulator yet.
#[derive(Debug, Default)]
pub(super) struct Flood {
    held: String,
    /// Where the held text ends; ground where nothing is held.
    state: State,
    /// Where the text ends that the emulator was fed.
    fed: Parse,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
}

/// How an emulator's parser stands, as far as it matters here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Parse {
    #[default]
    Ground,
    Escape,
    Intermediate,
    Csi,
    Osc,
    /// DCS, SOS, PM and APC.
    Text,
}

/// What the emulator looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) cols: usize,
    pub(super) rows: usize,
    /// Characters beyond the last column go to the next row.
    pub(super) wraps: bool,
}

impl Flood {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The text that was held back. It draws the same, now that only its end is left.
    pub(super) fn held(&self) -> &str {
        &self.held
    }

    /// There is more than can be held, and nothing of it that can be dropped.
    pub(super) fn is_over(&self) -> bool {
        self.held.len() > MAX_HELD_BYTES
    }

    /// Takes what may be held back from the start of the text, and returns the rest. Nothing may be
    /// held back in the middle of a sequence that the emulator has begun.
    pub(super) fn hold<'a>(&mut self, text: &'a str, shape: Shape) -> &'a str {
        if self.fed != Parse::Ground {
            return text;
        }
        let (plain, rest) = text.split_at(self.plain(text));
        self.held.push_str(plain);
        if self.is_over() {
            self.shorten(shape);
        }
        rest
    }

    /// How much of the text is plain, keeping the state between calls.
    fn plain(&mut self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Ground {
                at += bytes[at..]
                    .iter()
                    .position(|byte| SPECIAL[usize::from(*byte)])
                    .unwrap_or(bytes.len() - at);
                let Some(&byte) = bytes.get(at) else { break };
                // U+0080 to U+009F control as well; they begin with this byte.
                let harmless = byte == 0xc2 && bytes.get(at + 1).is_some_and(|next| *next >= 0xa0);
                if harmless {
                    at += 2;
                    continue;
                }
                if byte != 0x1b {
                    return at;
                }
                self.state = State::Escape;
                at += 1;
                continue;
            }
            let byte = bytes[at];
            self.state = match (self.state, byte) {
                (State::Escape, b'[') => State::Csi,
                (State::Csi, b'0'..=b'9' | b';' | b':') => State::Csi,
                (State::Csi, b'm' | b'K') => State::Ground,
                _ => return at,
            };
            at += 1;
        }
        bytes.len()
    }

    /// Hands the held text over, as short as it may be.
    pub(super) fn release(&mut self, shape: Shape) -> String {
        self.shorten(shape);
        self.fed = match std::mem::take(&mut self.state) {
            State::Ground => Parse::Ground,
            State::Escape => Parse::Escape,
            State::Csi => Parse::Csi,
        };
        std::mem::take(&mut self.held)
    }

    /// The emulator was fed this.
    pub(super) fn fed(&mut self, text: &str) {
        // What comes before the last escape does not matter; the rarer controls begin with C2.
        let rest = if text.as_bytes().contains(&0xc2) {
            text
        } else if let Some(start) = text.rfind('\u{1b}') {
            &text[start..]
        } else if self.fed == Parse::Ground {
            return;
        } else {
            text
        };
        self.fed = rest.chars().fold(self.fed, Parse::step);
    }

    /// Drops what has left the screen whatever was on it: all before the last line feeds, two for each
    /// row, up to the start of a row. The first of them bring the cursor to the last row, wherever it
    /// was; the others move up what was below the cursor. Of what is dropped, only the pen lasts.
    fn shorten(&mut self, shape: Shape) {
        let bytes = self.held.as_bytes();
        let feeds = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').skip(2 * shape.rows);
        let cut = feeds.map(|(at, _)| at + 1).find(|cut| bytes[..*cut].ends_with(b"\r\n"));
        if let Some(cut) = cut
            && let Some(mut pen) = pen(&self.held[..cut])
        {
            pen.push('\r');
            pen.push_str(&self.held[cut..]);
            self.held = pen;
        }
        // A row without an end: whole rows of it are dropped.
        let screen = shape.cols * (shape.rows + 1);
        let run = self.held.bytes().rev().take_while(|byte| matches!(byte, b' '..=b'~')).count();
        if shape.wraps && self.state == State::Ground && self.is_over() && run > 2 * screen {
            let start = self.held.len() - run;
            // The run may begin inside a sequence.
            let inside = self.held[..start].ends_with('\u{1b}');
            let sequence =
                if inside { self.held[start..].find(['m', 'K']).map_or(run, |at| at + 1) } else { 0 };
            let start = start + sequence;
            let drop = (run - sequence).saturating_sub(screen) / shape.cols * shape.cols;
            self.held.drain(start..start + drop);
        }
    }
}

impl Parse {
    fn step(self, ch: char) -> Self {
        match (self, ch) {
            (_, '\u{1b}') => Self::Escape,
            (_, '\u{18}' | '\u{1a}' | '\u{9c}') | (Self::Osc, '\u{7}') => Self::Ground,
            (_, '\u{9b}') => Self::Csi,
            (_, '\u{9d}') => Self::Osc,
            (_, '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}') => Self::Text,
            (_, '\u{80}'..='\u{9f}') => Self::Ground,
            (Self::Escape, '[') => Self::Csi,
            (Self::Escape, ']') => Self::Osc,
            (Self::Escape, 'P' | 'X' | '^' | '_') => Self::Text,
            (Self::Escape, ' '..='/') => Self::Intermediate,
            (Self::Escape | Self::Intermediate, '0'..='~') | (Self::Csi, '@'..='~') => Self::Ground,
            (state, _) => state,
        }
    }
}

/// Bytes that are not simply shown.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'\n' as usize] = false;
    table[b'\r' as usize] = false;
    table[b'\t' as usize] = false;
    table[0x7f] = true;
    table[0xc2] = true;
    table
};

/// What is left of the pen after this text; nothing where that would be long.
fn pen(text: &str) -> Option<String> {
    let mut pen = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('\u{1b}') {
        rest = &rest[start..];
        let end = rest.find(['m', 'K']).map_or(rest.len(), |end| end + 1);
        let sequence = &rest[..end];
        if matches!(sequence, "\u{1b}[m" | "\u{1b}[0m") || sequence.starts_with("\u{1b}[0;") {
            pen.clear();
        }
        if sequence.ends_with('m') {
            pen.push_str(sequence);
        }
        rest = &rest[end..];
        if pen.len() > 4096 {
            return None;
        }
    }
    Some(pen)
}

#[cfg(test)]
mod tests {
    use avt::Terminal;
    use proptest::prelude::*;

    use super::super::Detector;
    use crate::time::Elapsed;

    fn rows(terminal: &Terminal) -> (Vec<String>, (usize, usize)) {
        let lines = terminal.screen().visible_lines().map(|line| format!("{line:?}")).collect();
        (lines, (terminal.cursor().col, terminal.cursor().row))
    }

    /// Whatever is held back, the screen is the one that the emulator alone would show.
    fn same_screen(pieces: &[String]) {
        let mut detector = Detector::new(11, 4);
        let mut plain = Terminal::new(11, 4).unwrap();
        for piece in pieces {
            detector.output(Elapsed::ZERO, piece.as_bytes());
            plain.feed(piece.as_str());
            let mut seen = Terminal::new(11, 4).unwrap();
            seen.feed(detector.screen().dump);
            assert_eq!(rows(&seen), rows(&plain), "{pieces:?}");
        }
        detector.hibernate();
        detector.output(Elapsed::ZERO, b"\r\x1b[2Cx");
        plain.feed("\r\x1b[2Cx");
        let mut seen = Terminal::new(11, 4).unwrap();
        seen.feed(detector.screen().dump);
        assert_eq!(rows(&seen), rows(&plain), "{pieces:?}");
    }

    #[test]
    fn long_floods_end_in_the_same_screen() {
        let lines: String = (0..20_000).map(|n| format!("\x1b[3{}mline {n}\x1b[K\r\n", n % 8)).collect();
        let words = "no end ".repeat(40_000);
        let bare: String = (0..30_000).map(|n| format!("{n}\n")).collect();
        for text in [&lines, &words, &bare] {
            for size in [100, 4096, 70_000] {
                let pieces: Vec<String> = text
                    .as_bytes()
                    .chunks(size)
                    .map(|piece| String::from_utf8_lossy(piece).into_owned())
                    .collect();
                let whole = [pieces.concat()];
                same_screen(&whole);
                if size > 100 {
                    same_screen(&pieces);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_output_ends_in_the_same_screen(
            pieces in prop::collection::vec(
                prop_oneof![
                    4 => "[a-z ]{0,30}(\r\n){0,3}",
                    2 => "(\x1b\\[[0-9;]{0,4}[mK]|[a-z日é]{1,9}|\r\n|\t){0,12}",
                    1 => "\x1b(\\[|\\]|P)?[0-9;?]{0,3}",
                    1 => prop::sample::select(vec![
                        "\x1b[2;3r", "\x1b[r", "\x1b[?7l", "\x1b[?7h", "\x1b[4h", "\x1b[4l", "\x1b[?1049h", "\x1b[?1049l",
                        "\x0e", "\x0f", "\x1bc", "\x1b[2J", "\x1b[H", "\x08", "\x1b7", "\x1b8", "\u{9b}", "\u{85}", "\x18",
                        "\x1b]0;t\x07", "\x1b]0;t\x1b\\", "\n\n\n\n\n",
                    ]).prop_map(str::to_owned),
                ],
                0..40,
            )
        ) {
            same_screen(&pieces);
        }
    }
}
