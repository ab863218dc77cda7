//! The detector: terminal, input and time in, entries out.

use avt::Terminal;

use super::{DetectedCommand, Snapshot};
use crate::{
    cast::{self, Utf8Stream},
    time::Elapsed,
};

/// Watches one terminal. Everything is told to it in the order in which it happened; nothing in it
/// waits, and what it holds is bounded.
///
/// Its emulated terminal serves live viewers as well, through [`Detector::screen`].
pub struct Detector {
    terminal: Screen,
    output: Utf8Stream,
    ready: Vec<DetectedCommand>,
}

enum Screen {
    Live(Box<Terminal>),
    /// What draws the screen again, while nothing happens.
    Asleep(Snapshot),
}

impl Detector {
    pub fn new(cols: u16, rows: u16) -> Self {
        Self {
            terminal: Screen::Live(Box::new(cast::terminal(cols, rows))),
            output: Utf8Stream::new(),
            ready: Vec::new(),
        }
    }

    /// What the target showed. The chunks may split characters and escape sequences.
    pub fn output(&mut self, _elapsed: Elapsed, bytes: &[u8]) {
        self.wake();
        if let Screen::Live(terminal) = &mut self.terminal {
            self.output.decode(bytes, |text| terminal.feed(text));
        }
    }

    /// What the user typed.
    pub fn input(&mut self, _elapsed: Elapsed, _bytes: &[u8]) {}

    pub fn resize(&mut self, _elapsed: Elapsed, cols: u16, rows: u16) {
        self.wake();
        if let Screen::Live(terminal) = &mut self.terminal {
            let (cols, rows) = cast::bounded(cols, rows);
            terminal.resize(cols, rows);
        }
    }

    /// The entries that are final, oldest first. Each is handed out once.
    pub fn take(&mut self) -> Vec<DetectedCommand> {
        std::mem::take(&mut self.ready)
    }

    /// The session is over: what is open becomes final.
    pub fn finish(&mut self, _elapsed: Elapsed) {}

    /// The screen as it is, for somebody who begins to watch.
    pub fn screen(&self) -> Snapshot {
        match &self.terminal {
            Screen::Asleep(snapshot) => snapshot.clone(),
            Screen::Live(terminal) => snapshot(terminal),
        }
    }

    /// Gives up the emulator and keeps what draws its screen again: for a terminal where nothing
    /// has happened for a while. Whatever happens next wakes it.
    pub fn hibernate(&mut self) {
        if let Screen::Live(terminal) = &self.terminal {
            self.terminal = Screen::Asleep(snapshot(terminal));
        }
    }

    fn wake(&mut self) {
        if let Screen::Asleep(snapshot) = &self.terminal {
            let mut terminal = cast::terminal(snapshot.cols, snapshot.rows);
            terminal.feed(snapshot.dump.as_str());
            self.terminal = Screen::Live(Box::new(terminal));
        }
    }
}

fn snapshot(terminal: &Terminal) -> Snapshot {
    let (cols, rows) = terminal.size();
    let side = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
    Snapshot { cols: side(cols), rows: side(rows), dump: terminal.dump() }
}
