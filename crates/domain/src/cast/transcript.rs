//! A recording as plain text.

use avt::Terminal;

use super::EventData;

/// What a person would have read: lines in the order in which they left the screen, after all
/// editing and overwriting, wrapped lines joined, without what full-screen programs drew.
///
/// Feed it the events of a recording; each call returns the lines that are final. It holds one screen.
pub struct Transcript {
    terminal: Terminal,
    lines: avt::observer::Transcript,
}

impl Transcript {
    pub fn new(cols: u16, rows: u16) -> Self {
        Self { terminal: super::terminal(cols, rows), lines: avt::observer::Transcript::new() }
    }

    pub fn event(&mut self, event: &EventData) -> Vec<String> {
        match event {
            EventData::Output(text) => self.terminal.feed_with(text.as_str(), &mut self.lines),
            EventData::Resize { cols, rows } => {
                let (cols, rows) = super::bounded(*cols, *rows);
                self.terminal.resize_with(cols, rows, &mut self.lines)
            }
            EventData::Input(_) | EventData::Marker(_) | EventData::Exit(_) | EventData::Other { .. } => {
                Vec::new()
            }
        }
    }

    /// What is still on the screen.
    pub fn finish(self) -> Vec<String> {
        self.lines.finish(&self.terminal)
    }
}
