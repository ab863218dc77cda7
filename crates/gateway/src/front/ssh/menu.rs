//! The menu of connections, for a terminal: typing narrows it down, arrows choose, Enter opens.
//!
//! Pure: keys in, screen out.

use crate::front::doorkeeper::Choice;

/// What the keys came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Show the screen again.
    Draw,
    /// This one, by its name.
    Open(String),
    Leave,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

pub(super) struct Menu {
    caller: String,
    choices: Vec<Choice>,
    filter: String,
    /// Of those that fit the filter.
    chosen: usize,
    escape: Escape,
    /// Bytes of a character that came in pieces.
    half: Vec<u8>,
}

/// Lines that are not choices.
const FRAME: usize = 5;

impl Menu {
    pub(super) fn new(caller: &str, choices: Vec<Choice>) -> Self {
        Self {
            caller: caller.to_owned(),
            choices,
            filter: String::new(),
            chosen: 0,
            escape: Escape::None,
            half: Vec::new(),
        }
    }

    fn fitting(&self) -> Vec<&Choice> {
        let filter = self.filter.to_lowercase();
        let fits = |choice: &&Choice| {
            choice.name.to_lowercase().contains(&filter) || choice.folder.to_lowercase().contains(&filter)
        };
        self.choices.iter().filter(fits).collect()
    }

    pub(super) fn keys(&mut self, keys: &[u8]) -> Answer {
        for key in keys {
            let count = self.fitting().len();
            match (&self.escape, *key) {
                (Escape::None, 0x1b) => self.escape = Escape::Begun,
                (Escape::Begun, b'[' | b'O') => self.escape = Escape::Sequence,
                (Escape::Begun, _) => return Answer::Leave,
                (Escape::Sequence, b'0'..=b'9' | b';') => {}
                (Escape::Sequence, key) => {
                    self.escape = Escape::None;
                    match key {
                        b'A' => self.chosen = self.chosen.checked_sub(1).unwrap_or(count.saturating_sub(1)),
                        b'B' => self.chosen = if self.chosen + 1 < count { self.chosen + 1 } else { 0 },
                        b'H' => self.chosen = 0,
                        b'F' => self.chosen = count.saturating_sub(1),
                        _ => {}
                    }
                }
                (Escape::None, b'\r' | b'\n') => {
                    if let Some(choice) = self.fitting().get(self.chosen) {
                        return Answer::Open(choice.name.clone());
                    }
                }
                // Ctrl-C, Ctrl-D
                (Escape::None, 3 | 4) => return Answer::Leave,
                // Ctrl-P, Ctrl-N
                (Escape::None, 0x10) => {
                    self.chosen = self.chosen.checked_sub(1).unwrap_or(count.saturating_sub(1));
                }
                (Escape::None, 0x0e | b'\t') => {
                    self.chosen = if self.chosen + 1 < count { self.chosen + 1 } else { 0 };
                }
                (Escape::None, 0x15) => self.narrow(String::new()),
                (Escape::None, 8 | 0x7f) => {
                    let mut filter = self.filter.clone();
                    filter.pop();
                    self.narrow(filter);
                }
                (Escape::None, key) if key < 0x20 => {}
                (Escape::None, key) => self.character(key),
            }
        }
        Answer::Draw
    }

    /// The person pressed Escape alone, if nothing followed it for a while.
    pub(super) fn in_escape(&self) -> bool {
        self.escape == Escape::Begun
    }

    fn character(&mut self, byte: u8) {
        self.half.push(byte);
        match std::str::from_utf8(&self.half) {
            Ok(text) if self.filter.chars().count() < 64 => {
                let filter = format!("{}{text}", self.filter);
                self.half.clear();
                self.narrow(filter);
            }
            Ok(_) => self.half.clear(),
            Err(_) if self.half.len() >= 4 => self.half.clear(),
            Err(_) => {}
        }
    }

    fn narrow(&mut self, filter: String) {
        self.filter = filter;
        self.chosen = 0;
    }

    /// The whole screen, for a terminal of so many columns and rows.
    pub(super) fn screen(&self, cols: usize, rows: usize) -> String {
        let (cols, rows) = (if cols == 0 { 80 } else { cols }, if rows == 0 { 24 } else { rows });
        let fitting = self.fitting();
        let room = rows.saturating_sub(FRAME).max(1);
        let first = (self.chosen + 1).saturating_sub(room);
        let mut out = String::from("\x1b[?25l\x1b[H\x1b[2J");
        out.push_str(&format!("\x1b[1m{}\x1b[0m\r\n", cut(&format!("Sojourn · {}", self.caller), cols)));
        out.push_str(&format!("{}\r\n\r\n", cut(&format!("Connection: {}_", self.filter), cols)));
        if fitting.is_empty() {
            let text = if self.choices.is_empty() {
                "Nobody has shared a connection with you yet."
            } else {
                "No connection is called so."
            };
            out.push_str(&format!("{}\r\n", cut(text, cols)));
        }
        for (at, choice) in fitting.iter().enumerate().skip(first).take(room) {
            let place =
                if choice.folder.is_empty() { String::new() } else { format!("  ({})", choice.folder) };
            let line = cut(&format!("  {}  {}{place}", choice.name, choice.protocol), cols);
            if at == self.chosen {
                out.push_str(&format!("\x1b[7m{line}\x1b[0m\r\n"));
            } else {
                out.push_str(&format!("{line}\r\n"));
            }
        }
        let help = "Type to narrow down, arrows to choose, Enter to open, Esc to leave";
        out.push_str(&format!("\r\n\x1b[2m{}\x1b[0m", cut(help, cols)));
        out
    }
}

/// At most so many characters, and none that moves the cursor.
fn cut(text: &str, cols: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    clean.take(cols.saturating_sub(1)).collect()
}

/// What is written when the menu goes.
pub(super) const GONE: &str = "\x1b[0m\x1b[H\x1b[2J\x1b[?25h";

#[cfg(test)]
mod tests {
    use sojourn_domain::access::Protocol;

    use super::*;

    fn menu(names: &[&str]) -> Menu {
        let choice =
            |name: &&str| Choice { name: (*name).to_owned(), folder: String::new(), protocol: Protocol::Ssh };
        Menu::new("alice", names.iter().map(choice).collect())
    }

    #[test]
    fn arrows_choose_and_go_round() {
        let mut it = menu(&["a", "b", "c"]);
        assert_eq!(it.keys(b"\x1b[B\x1b[B\r"), Answer::Open("c".to_owned()));
        assert_eq!(it.keys(b"\x1b[B\r"), Answer::Open("a".to_owned()));
        assert_eq!(it.keys(b"\x1bOA\r"), Answer::Open("c".to_owned()));
    }

    #[test]
    fn typing_narrows_down() {
        let mut it = menu(&["web-1", "web-2", "büro"]);
        assert_eq!(it.keys("BÜ".as_bytes()), Answer::Draw);
        assert!(it.screen(80, 24).contains("büro") && !it.screen(80, 24).contains("web-1"));
        assert_eq!(it.keys(b"\r"), Answer::Open("büro".to_owned()));
        assert_eq!(it.keys(b"\x7f\x7fweb\x1b[B\r"), Answer::Open("web-2".to_owned()));
        assert_eq!(it.keys(b"zzz\r"), Answer::Draw);
        assert_eq!(it.keys(b"\x03"), Answer::Leave);
    }

    #[test]
    fn it_fits_small_screens_and_shows_no_escapes_of_others() {
        let names: Vec<String> = (0..100).map(|n| format!("host-{n}")).collect();
        let mut it = menu(&names.iter().map(String::as_str).collect::<Vec<_>>());
        it.keys(b"\x1b[F");
        let screen = it.screen(20, 8);
        assert!(screen.contains("host-99") && !screen.contains("host-5 "));
        assert!(screen.matches("\r\n").count() < 8);
        let mut evil = menu(&["a"]);
        evil.choices[0].folder = "\x1b]0;x\x07".to_owned();
        assert!(!evil.screen(80, 24).contains('\x07'));
        assert_eq!(menu(&[]).keys(b"\r"), Answer::Draw);
    }
}
