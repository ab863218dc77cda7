//! What a line must be, judged by the keys alone.

use super::keys::Key;

/// A line is no longer than this; what is typed beyond is only on the screen.
const MAX_CHARS: usize = 16 * 1024;

/// How far the keys alone tell the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// A key did something that only the screen tells: history, completion, a vi command.
    Unknown,
    /// The cursor was moved: right if whoever read it has a line editor with the usual keys.
    Plausible,
    /// Characters and deletions at the end.
    Certain,
}

/// The line that is being typed. It may be a secret: it has no `Debug`, and is wiped when it is over.
#[derive(Clone)]
pub(super) struct Model {
    chars: Vec<char>,
    cursor: usize,
    pub(super) certainty: Certainty,
    /// Characters that were typed, whether they are still there or not.
    pub(super) typed: usize,
    /// An escape was pressed: in vi mode, letters are commands now.
    escaped: bool,
    /// The line was given to an editor.
    pub(super) in_editor: bool,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            chars: Vec::new(),
            cursor: 0,
            certainty: Certainty::Certain,
            typed: 0,
            escaped: false,
            in_editor: false,
        }
    }

    /// A line that began with what nobody saw being typed.
    pub(super) fn unknown() -> Self {
        let mut model = Self::new();
        model.certainty = Certainty::Unknown;
        model
    }

    pub(super) fn text(&self) -> String {
        self.chars.iter().collect()
    }

    /// The next line belongs to this one.
    pub(super) fn append(&mut self, next: &Self) {
        self.chars.push('\n');
        self.chars.extend(&next.chars);
        self.at_most(next.certainty);
    }

    fn at_most(&mut self, certainty: Certainty) {
        self.certainty = self.certainty.min(certainty);
    }

    fn moved(&mut self) {
        self.at_most(Certainty::Plausible);
    }

    pub(super) fn press(&mut self, key: Key) {
        let end = self.chars.len();
        match key {
            Key::Char(ch) => {
                if self.escaped && ch == 'v' {
                    self.in_editor = true;
                }
                self.insert(ch);
            }
            Key::PastedNewline => self.insert('\n'),
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.chars.remove(self.cursor);
            }
            // At the end of a line, these take over what a shell suggests.
            Key::Right | Key::End if self.cursor == end && !matches!(key, Key::End if end == 0) => {
                self.at_most(Certainty::Unknown);
            }
            Key::Right => {
                self.cursor += 1;
                self.moved();
            }
            Key::End => self.cursor = end,
            Key::Left | Key::CtrlB => {
                self.cursor = self.cursor.saturating_sub(1);
                self.moved();
            }
            Key::Home | Key::CtrlA => {
                self.cursor = 0;
                self.moved();
            }
            Key::Delete | Key::EndOfInput if self.cursor < end => {
                self.chars.remove(self.cursor);
            }
            Key::KillLine => {
                // Some kill the whole line, some up to the cursor.
                if self.cursor < end {
                    self.at_most(Certainty::Unknown);
                }
                self.chars.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::KillToEnd => self.chars.truncate(self.cursor),
            Key::KillWord => self.kill_word(),
            Key::EditCommand => {
                self.in_editor = true;
                self.at_most(Certainty::Unknown);
            }
            Key::Escape => {
                self.escaped = true;
                self.at_most(Certainty::Unknown);
            }
            Key::Other => self.at_most(Certainty::Unknown),
            Key::Backspace
            | Key::Delete
            | Key::EndOfInput
            | Key::Redraw
            | Key::Suspend
            | Key::Interrupt
            | Key::Enter
            | Key::EnterAndNext => {}
        }
    }

    fn insert(&mut self, ch: char) {
        self.typed += 1;
        if self.chars.len() >= MAX_CHARS {
            self.at_most(Certainty::Unknown);
            return;
        }
        self.chars.insert(self.cursor, ch);
        self.cursor += 1;
    }

    /// What a word is differs between shells, except where it is letters after a blank.
    fn kill_word(&mut self) {
        let before = &self.chars[..self.cursor];
        let blanks = before.iter().rev().take_while(|ch| **ch == ' ').count();
        let word = before[..before.len() - blanks].iter().rev().take_while(|ch| ch.is_alphanumeric()).count();
        let start = self.cursor - blanks - word;
        if start > 0 && self.chars[start - 1] != ' ' {
            self.at_most(Certainty::Unknown);
        }
        self.chars.drain(start..self.cursor);
        self.cursor = start;
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.chars.fill('\0');
    }
}
