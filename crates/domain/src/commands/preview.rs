//! The first lines of what a command showed.

use avt::{Line, ScreenKind, Terminal};

use super::rows::{Place, Rows};

/// The preview holds no more than this.
const MAX_LINES: usize = 20;
const MAX_BYTES: usize = 2048;

/// Collects what a command shows: the rows that leave the screen as they leave it, the others when
/// it is over. What full-screen programs drew is not in it.
#[derive(Debug)]
pub(super) struct Capture {
    start: u64,
    /// On the alternate screen rows have no lasting numbers.
    screen: Screen,
    text: String,
    lines: usize,
    wrapped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Screen {
    Primary,
    Alternate,
}

impl Capture {
    pub(super) fn new(terminal: &Terminal, start: u64) -> Self {
        let screen = match terminal.active_screen_kind() {
            ScreenKind::Primary => Screen::Primary,
            ScreenKind::Alternate => Screen::Alternate,
        };
        Self { start, screen, text: String::new(), lines: 0, wrapped: false }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Whether rows that leave the screen still matter.
    pub(super) fn is_open(&self) -> bool {
        self.screen == Screen::Primary && !self.is_full()
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines >= MAX_LINES || self.text.len() >= MAX_BYTES
    }

    /// A row left the screen, `row` being its number.
    pub(super) fn leave(&mut self, row: u64, line: &Line) {
        if row >= self.start && self.is_open() {
            self.push(line);
            self.start = row + 1;
        }
    }

    fn push(&mut self, line: &Line) {
        if self.lines > 0 && !self.wrapped {
            self.text.push('\n');
        }
        if !self.wrapped {
            self.lines += 1;
        }
        self.wrapped = line.is_wrapped();
        let text = line.text();
        self.text.push_str(if self.wrapped { &text } else { text.trim_end() });
        if self.text.len() > MAX_BYTES {
            let mut end = MAX_BYTES;
            while !self.text.is_char_boundary(end) {
                end -= 1;
            }
            self.text.truncate(end);
        }
    }

    /// The output is over, at this place.
    pub(super) fn finish(mut self, terminal: &Terminal, rows: &Rows, end: Place) -> String {
        let primary = terminal.active_screen_kind() == ScreenKind::Primary;
        if primary == (self.screen == Screen::Primary) {
            for row in self.start.max(rows.oldest(terminal))..end.row {
                if self.is_full() {
                    break;
                }
                if let Some(line) = rows.line(terminal, row) {
                    self.push(line);
                }
            }
            if end.col > 0 && !self.is_full() && end.row >= self.start {
                let left = rows.left(terminal, end);
                if !left.trim().is_empty() {
                    if self.lines > 0 && !self.wrapped {
                        self.text.push('\n');
                    }
                    self.text.push_str(left.trim_end());
                }
            }
        }
        let start = self.text.len() - self.text.trim_start_matches('\n').len();
        self.text[start..].trim_end().to_owned()
    }
}
