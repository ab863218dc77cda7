//! Escape sequences that tell about lines, and that the emulator passes over.

/// Something a program told the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Bracketed paste was switched on: a line editor waits for a line.
    EditorOn,
    /// Bracketed paste was switched off: the line editor has its line, or gave up.
    EditorOff,
}

/// Finds the marks in text that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Marks {
    state: State,
    /// The parameter that is being read, if it can still be the one.
    parameter: u16,
    found: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Bracket,
    Private,
}

impl Marks {
    /// How much of the text comes up to and with the next mark, and the mark.
    pub(super) fn next(&mut self, text: &str) -> (usize, Option<Mark>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Ground {
                match text[at..].find('\u{1b}') {
                    None => break,
                    Some(offset) => at += offset,
                }
            }
            let byte = bytes[at];
            at += 1;
            self.state = match (self.state, byte) {
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') => State::Bracket,
                (State::Bracket, b'?') => {
                    (self.parameter, self.found) = (0, false);
                    State::Private
                }
                (State::Private, b'0'..=b'9') => {
                    self.parameter = self.parameter.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                    State::Private
                }
                (State::Private, b';') => {
                    self.found |= self.parameter == 2004;
                    self.parameter = 0;
                    State::Private
                }
                (State::Private, b'h' | b'l') if self.found || self.parameter == 2004 => {
                    self.state = State::Ground;
                    return (at, Some(if byte == b'h' { Mark::EditorOn } else { Mark::EditorOff }));
                }
                _ => State::Ground,
            };
            // A byte that ends a sequence is ASCII; one inside a character never gets here but
            // right after an escape, and then the search goes on behind that character.
            while at < bytes.len() && !text.is_char_boundary(at) {
                at += 1;
            }
        }
        (bytes.len(), None)
    }
}
