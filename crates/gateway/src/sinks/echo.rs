//! What was typed and may be recorded: what the target showed.
//!
//! Keys wait until the target has echoed them, in order and before anything else that it prints. What it has
//! not echoed when the line ends, or after [`PATIENCE`], is recorded as [`REDACTED`]. So a password never
//! gets into a recording; neither do keys that a full-screen program takes without showing them. Control keys
//! that print nothing themselves are let through.

use std::collections::VecDeque;

use sojourn_domain::time::Elapsed;

/// Stands for what was typed without echo.
pub(crate) const REDACTED: &str = "[redacted]";
/// How long an echo may take.
const PATIENCE: Elapsed = Elapsed::from_secs(2);
/// Typed bytes that may wait; more were pasted faster than anything echoes, and are given up.
const WAITING: usize = 16 * 1024;

/// Reads along with output.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reading {
    #[default]
    Text,
    Escape,
    Csi,
    /// OSC, DCS and the like, up to BEL or ST.
    Text7,
    Text7Escape,
}

/// A typed byte.
#[derive(Debug, Clone, Copy)]
struct Key {
    byte: u8,
    /// A terminal would show it.
    prints: bool,
}

impl Key {
    fn ends_line(self) -> bool {
        matches!(self.byte, b'\r' | b'\n')
    }
}

#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// Of the line that is being typed: what has not been echoed yet.
    typed: VecDeque<Key>,
    since: Elapsed,
    /// Of the line that is being typed: what was echoed.
    shown: Vec<u8>,
    reading: Reading,
}

impl Echo {
    /// Takes keys; returns what may be recorded now.
    pub(crate) fn input(&mut self, elapsed: Elapsed, bytes: &[u8]) -> Vec<u8> {
        let mut out = self.late(elapsed);
        if self.typed.len() + bytes.len() > WAITING {
            self.typed.clear();
            out.extend_from_slice(REDACTED.as_bytes());
            return out;
        }
        if self.typed.is_empty() {
            self.since = elapsed;
        }
        for key in keys(bytes) {
            // Keys that print nothing wait only for those before them.
            if self.typed.is_empty() && !key.prints {
                out.push(key.byte);
            } else {
                self.typed.push_back(key);
            }
        }
        out
    }

    /// Takes output; returns what may be recorded now.
    pub(crate) fn output(&mut self, elapsed: Elapsed, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            if self.typed.is_empty() && self.reading == Reading::Text {
                // Nothing is awaited; only where sequences begin matters.
                if *byte == 0x1b {
                    self.reading = Reading::Escape;
                }
                continue;
            }
            let Some(byte) = self.read(*byte) else { continue };
            self.shown_byte(byte, &mut out);
        }
        out.extend(self.late(elapsed));
        out
    }

    /// The end: what is left.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.give_up(&mut out);
        out
    }

    fn late(&mut self, elapsed: Elapsed) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.typed.is_empty() && (elapsed - self.since) > PATIENCE {
            self.give_up(&mut out);
        }
        out
    }

    /// Text and line ends of the output, without escape sequences.
    fn read(&mut self, byte: u8) -> Option<u8> {
        use Reading as R;
        let (next, text) = match (self.reading, byte) {
            (R::Text, 0x1b) => (R::Escape, None),
            (R::Text, b'\n') => (R::Text, Some(byte)),
            (R::Text, _) => (R::Text, printable(byte).then_some(byte)),
            (R::Escape, b'[') => (R::Csi, None),
            (R::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (R::Text7, None),
            (R::Escape, 0x20..=0x2f) => (R::Escape, None),
            (R::Escape, _) => (R::Text, None),
            (R::Csi, 0x40..=0x7e) => (R::Text, None),
            (R::Csi, _) => (R::Csi, None),
            (R::Text7, 0x07) => (R::Text, None),
            (R::Text7, 0x1b) => (R::Text7Escape, None),
            (R::Text7, _) => (R::Text7, None),
            (R::Text7Escape, b'\\') => (R::Text, None),
            (R::Text7Escape, _) => (R::Text7, None),
        };
        self.reading = next;
        text
    }

    fn shown_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.typed.front() {
            None => {}
            Some(typed) if typed.prints && typed.byte == byte => {
                self.typed.pop_front();
                self.shown.push(byte);
                // Keys that print nothing follow at once; a line's end waits for its own line.
                while let Some(next) = self.typed.front().copied()
                    && !next.prints
                    && !next.ends_line()
                {
                    self.typed.pop_front();
                    self.shown.push(next.byte);
                }
                match self.typed.front() {
                    None => out.append(&mut self.shown),
                    Some(next) if next.ends_line() => {
                        out.append(&mut self.shown);
                        self.line_end(out);
                    }
                    Some(_) => {}
                }
            }
            // The line was entered, or something else is printed: what is typed is not shown.
            Some(_) => self.give_up_line(out),
        }
    }

    /// The line's end goes through, and whatever follows that prints nothing.
    fn line_end(&mut self, out: &mut Vec<u8>) {
        while let Some(next) = self.typed.front().copied()
            && !next.prints
        {
            self.typed.pop_front();
            out.push(next.byte);
        }
    }

    /// What was typed of this line was not shown.
    fn give_up_line(&mut self, out: &mut Vec<u8>) {
        self.shown.clear();
        let mut hidden = false;
        while let Some(next) = self.typed.front().copied()
            && !next.ends_line()
        {
            self.typed.pop_front();
            hidden |= next.prints;
        }
        if hidden {
            out.extend_from_slice(REDACTED.as_bytes());
        }
        self.line_end(out);
    }

    fn give_up(&mut self, out: &mut Vec<u8>) {
        while !self.typed.is_empty() {
            self.give_up_line(out);
        }
    }
}

/// What was typed at once. A key such as an arrow sends an escape sequence, which prints nothing.
fn keys(bytes: &[u8]) -> impl Iterator<Item = Key> + '_ {
    #[derive(Clone, Copy)]
    enum At {
        Text,
        Escape,
        Csi,
        Ss3,
    }
    let mut at = At::Text;
    bytes.iter().map(move |byte| {
        let (next, prints) = match (at, *byte) {
            (At::Text, 0x1b) => (At::Escape, false),
            (At::Text, byte) => (At::Text, printable(byte)),
            (At::Escape, b'[') => (At::Csi, false),
            (At::Escape, b'O') => (At::Ss3, false),
            (At::Csi, 0x20..=0x3f) => (At::Csi, false),
            (At::Escape | At::Csi | At::Ss3, _) => (At::Text, false),
        };
        at = next;
        Key { byte: *byte, prints }
    })
}

fn printable(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Terminal(Echo, Vec<u8>, i64);

    impl Terminal {
        fn new() -> Self {
            Self(Echo::default(), Vec::new(), 0)
        }
        fn typed(&mut self, text: &str) -> &mut Self {
            self.2 += 10;
            let out = self.0.input(Elapsed::from_millis(self.2), text.as_bytes());
            self.1.extend(out);
            self
        }
        fn shows(&mut self, text: &str) -> &mut Self {
            self.2 += 10;
            let out = self.0.output(Elapsed::from_millis(self.2), text.as_bytes());
            self.1.extend(out);
            self
        }
        fn recorded(&mut self) -> String {
            let rest = self.0.finish();
            self.1.extend(rest);
            String::from_utf8(self.1.clone()).unwrap()
        }
    }

    #[test]
    fn what_is_echoed_is_recorded() {
        let mut terminal = Terminal::new();
        terminal.shows("$ ").typed("l").shows("l").typed("s").shows("\x1b[1ms\x1b[0m").typed("\r");
        assert_eq!(terminal.shows("\r\nfile\r\n$ ").recorded(), "ls\r");
        let mut pasted = Terminal::new();
        pasted.shows("$ ").typed("echo é\r").shows("echo é\r\né\r\n$ ");
        assert_eq!(pasted.recorded(), "echo é\r");
    }

    #[test]
    fn what_is_not_echoed_is_not() {
        let mut keys = Terminal::new();
        keys.shows("Password: ");
        for key in ["h", "u", "n", "t", "e", "r", "2", "\r"] {
            keys.typed(key);
        }
        keys.shows("\r\nLast login: never\r\n$ ").typed("id\r").shows("id\r\n");
        assert_eq!(keys.recorded(), "[redacted]\rid\r");
        let mut pasted = Terminal::new();
        pasted.shows("Password: ").typed("Last\r").shows("\r\nLast login: never\r\n$ ");
        assert_eq!(pasted.recorded(), "[redacted]\r");
        let mut ahead = Terminal::new();
        ahead.typed("secret\rls\r").shows("\r\nls\r\n");
        assert_eq!(ahead.recorded(), "[redacted]\rls\r");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut terminal = Terminal::new();
        terminal.typed("ZZ");
        terminal.2 += 5_000;
        terminal.typed("\x1b[A").shows("x");
        assert_eq!(terminal.recorded(), "[redacted]\x1b[A");
    }
}
