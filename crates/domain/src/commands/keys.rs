//! Input bytes into keys.

use crate::cast::Utf8Stream;

/// What a person pressed, as far as it matters to a line that is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    /// A line feed inside a bracketed paste: part of the line.
    PastedNewline,
    Enter,
    /// Ctrl-O: enters the line and brings the next one of the history.
    EnterAndNext,
    Backspace,
    Delete,
    Left,
    Right,
    Home,
    /// Ctrl-A: to the start of the line, or the prefix of a multiplexer.
    CtrlA,
    /// Ctrl-B: one to the left, or the prefix of a multiplexer.
    CtrlB,
    End,
    KillLine,
    KillToEnd,
    KillWord,
    /// Ctrl-D: deletes, or ends the input.
    EndOfInput,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L: draws the screen again.
    Redraw,
    /// Ctrl-X Ctrl-E and the like: the line goes to an editor.
    EditCommand,
    Escape,
    /// Anything that may change the line in a way that only the screen tells.
    Other,
}

impl Key {
    /// Changes a line that is there, and begins none.
    pub(super) fn only_edits(self) -> bool {
        matches!(
            self,
            Self::Backspace
                | Self::Delete
                | Self::Left
                | Self::Home
                | Self::CtrlA
                | Self::CtrlB
                | Self::KillLine
                | Self::KillToEnd
                | Self::KillWord
                | Self::EndOfInput
        )
    }
}

/// An escape sequence longer than this is none.
const MAX_SEQUENCE: usize = 64;

/// Cuts input into keys. Sequences and characters may be split between chunks. What a terminal
/// answers by itself (reports of its cursor, of focus, of the mouse) is no key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    text: Utf8Stream,
    state: State,
    sequence: String,
    pasting: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After an escape in the same chunk.
    Escape,
    /// After an escape that ended its chunk, and so was probably a key of its own.
    LoneEscape,
    Csi,
    Ss3,
    /// OSC, DCS, APC: an answer of the terminal, up to BEL or ST.
    Answer,
    AnswerEscape,
    CtrlX,
    /// After Ctrl-V: the next character stands for itself.
    Literal,
}

impl Keys {
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Key)) {
        let mut text = std::mem::take(&mut self.text);
        text.decode(bytes, |piece| {
            for ch in piece.chars() {
                self.character(ch, &mut sink);
            }
        });
        self.text = text;
        if self.state == State::Escape {
            self.state = State::LoneEscape;
            sink(Key::Escape);
        }
    }

    fn character(&mut self, ch: char, sink: &mut impl FnMut(Key)) {
        match self.state {
            State::Ground => self.ground(ch, sink),
            State::Literal => {
                self.state = State::Ground;
                sink(Key::Other);
            }
            State::CtrlX => {
                self.state = State::Ground;
                sink(if ch == '\u{5}' { Key::EditCommand } else { Key::Other });
            }
            State::Escape | State::LoneEscape => {
                let lone = self.state == State::LoneEscape;
                self.sequence.clear();
                match ch {
                    '[' => self.state = State::Csi,
                    'O' => self.state = State::Ss3,
                    ']' | 'P' | '_' | '^' if !lone => self.state = State::Answer,
                    '\u{1b}' => self.state = State::Escape,
                    _ if lone => {
                        self.state = State::Ground;
                        self.ground(ch, sink);
                    }
                    _ => {
                        self.state = State::Ground;
                        sink(Key::Other);
                    }
                }
            }
            State::Ss3 => {
                self.state = State::Ground;
                sink(cursor_key(ch));
            }
            State::Csi => {
                self.sequence.push(ch);
                let over = ch.is_ascii() && (0x40..0x7f).contains(&(ch as u32)) && self.sequence != "[";
                if over || self.sequence.len() > MAX_SEQUENCE {
                    self.state = State::Ground;
                    self.csi(sink);
                }
            }
            State::Answer => match ch {
                '\u{7}' | '\u{9c}' => self.state = State::Ground,
                '\u{1b}' => self.state = State::AnswerEscape,
                // Nobody answers that much: it was no answer.
                _ if self.sequence.len() > 4096 => self.state = State::Ground,
                _ => self.sequence.push(ch),
            },
            State::AnswerEscape => self.state = State::Ground,
        }
    }

    fn ground(&mut self, ch: char, sink: &mut impl FnMut(Key)) {
        if self.pasting {
            match ch {
                '\u{1b}' => self.state = State::Escape,
                '\r' | '\n' => sink(Key::PastedNewline),
                '\t' => sink(Key::Char('\t')),
                _ if ch.is_control() => sink(Key::Other),
                _ => sink(Key::Char(ch)),
            }
            return;
        }
        let key = match ch {
            '\u{1b}' => {
                self.state = State::Escape;
                return;
            }
            '\u{16}' => {
                self.state = State::Literal;
                return;
            }
            '\u{18}' => {
                self.state = State::CtrlX;
                return;
            }
            '\r' | '\n' => Key::Enter,
            '\u{f}' => Key::EnterAndNext,
            '\u{7f}' | '\u{8}' => Key::Backspace,
            '\u{1}' => Key::CtrlA,
            '\u{2}' => Key::CtrlB,
            '\u{3}' => Key::Interrupt,
            '\u{4}' => Key::EndOfInput,
            '\u{5}' => Key::End,
            '\u{6}' => Key::Right,
            '\u{b}' => Key::KillToEnd,
            '\u{c}' => Key::Redraw,
            '\u{15}' => Key::KillLine,
            '\u{17}' => Key::KillWord,
            '\u{1a}' => Key::Suspend,
            _ if ch.is_control() => Key::Other,
            _ => Key::Char(ch),
        };
        sink(key);
    }

    fn csi(&mut self, sink: &mut impl FnMut(Key)) {
        let sequence = self.sequence.as_str();
        let Some(last) = sequence.chars().last() else { return };
        match sequence {
            "200~" => self.pasting = true,
            "201~" => self.pasting = false,
            "1~" | "7~" => sink(Key::Home),
            "4~" | "8~" => sink(Key::End),
            "3~" => sink(Key::Delete),
            "I" | "O" => {}
            _ if sequence.starts_with(['?', '>', '<', '=']) => {}
            _ if matches!(last, 'R' | 'c' | 'n' | 'y' | 't' | 'M' | 'm' | 'x') => {}
            _ if sequence.chars().count() == 1 => sink(cursor_key(last)),
            _ => sink(Key::Other),
        }
    }
}

fn cursor_key(ch: char) -> Key {
    match ch {
        'C' => Key::Right,
        'D' => Key::Left,
        'H' => Key::Home,
        'F' => Key::End,
        'M' => Key::Enter,
        _ => Key::Other,
    }
}
