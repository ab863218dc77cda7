//! The detector: terminal, input and time in, entries out.

use avt::Terminal;

use super::{
    DetectedCommand, Snapshot,
    flood::Flood,
    keys::Keys,
    marks::{Mark, Marks},
    watch::Watch,
};
use crate::{
    cast::{self, Utf8Stream},
    time::Elapsed,
};

/// Watches one terminal. Everything is told to it in the order in which it happened; nothing in it
/// waits, and what it holds is bounded.
///
/// Its emulated terminal serves live viewers as well, through [`Detector::screen`].
pub struct Detector {
    screen: Screen,
    decoder: Utf8Stream,
    keys: Keys,
    marks: Marks,
    flood: Flood,
    watch: Watch,
}

enum Screen {
    Live(Box<Terminal>),
    /// What draws the screen again, while nothing happens.
    Asleep(Snapshot),
}

impl Detector {
    pub fn new(cols: u16, rows: u16) -> Self {
        Self::with(cols, rows, Watch::new(true))
    }

    /// For a recording that holds no input: what was entered is judged by the screen alone.
    pub fn without_input(cols: u16, rows: u16) -> Self {
        Self::with(cols, rows, Watch::new(false))
    }

    fn with(cols: u16, rows: u16, watch: Watch) -> Self {
        Self {
            screen: Screen::Live(Box::new(cast::terminal(cols, rows))),
            decoder: Utf8Stream::new(),
            keys: Keys::default(),
            marks: Marks::default(),
            flood: Flood::default(),
            watch,
        }
    }

    /// What the target showed. The chunks may split characters and escape sequences.
    pub fn output(&mut self, elapsed: Elapsed, bytes: &[u8]) {
        let terminal = self.screen.wake();
        let Self { decoder, marks, flood, watch, .. } = self;
        watch.now(elapsed);
        decoder.decode(bytes, |text| show(terminal, marks, flood, watch, text));
        watch.output_over(terminal);
    }

    /// What the user typed.
    pub fn input(&mut self, elapsed: Elapsed, bytes: &[u8]) {
        let terminal = self.screen.wake();
        let Self { keys, marks, flood, watch, .. } = self;
        release(terminal, marks, flood, watch);
        watch.now(elapsed);
        keys.feed(bytes, |key| watch.key(terminal, key));
    }

    pub fn resize(&mut self, elapsed: Elapsed, cols: u16, rows: u16) {
        let terminal = self.screen.wake();
        release(terminal, &mut self.marks, &mut self.flood, &mut self.watch);
        self.watch.now(elapsed);
        let (cols, rows) = cast::bounded(cols, rows);
        self.watch.resize(terminal, cols, rows);
    }

    /// The entries that are final, oldest first. Each is handed out once.
    pub fn take(&mut self) -> Vec<DetectedCommand> {
        std::mem::take(&mut self.watch.ready)
    }

    /// The session is over: what is open becomes final.
    pub fn finish(&mut self, elapsed: Elapsed) {
        let terminal = self.screen.wake();
        release(terminal, &mut self.marks, &mut self.flood, &mut self.watch);
        self.watch.now(elapsed);
        self.watch.finish(terminal);
    }

    /// The screen as it is, for somebody who begins to watch.
    pub fn screen(&self) -> Snapshot {
        match &self.screen {
            Screen::Asleep(snapshot) => snapshot.clone(),
            Screen::Live(terminal) => {
                let mut snapshot = snapshot(terminal);
                snapshot.dump.push_str(self.flood.held());
                snapshot
            }
        }
    }

    /// Gives up the emulator and keeps what draws its screen again: for a terminal where nothing
    /// has happened for a while. Whatever happens next wakes it.
    pub fn hibernate(&mut self) {
        if let Screen::Live(terminal) = &mut self.screen {
            release(terminal, &mut self.marks, &mut self.flood, &mut self.watch);
            self.watch.hibernate();
            self.screen = Screen::Asleep(snapshot(terminal));
        }
    }
}

impl Screen {
    fn wake(&mut self) -> &mut Terminal {
        if let Self::Asleep(snapshot) = self {
            let mut terminal = cast::terminal(snapshot.cols, snapshot.rows);
            terminal.feed(snapshot.dump.as_str());
            *self = Self::Live(Box::new(terminal));
        }
        match self {
            Self::Live(terminal) => terminal,
            Self::Asleep(_) => unreachable!("it was just woken"),
        }
    }
}

/// Holds back what nobody will see, and feeds the rest.
fn show(terminal: &mut Terminal, marks: &mut Marks, flood: &mut Flood, watch: &mut Watch, mut text: &str) {
    while !text.is_empty() {
        if watch.is_quiet(terminal) {
            text = flood.hold(text, watch.shape(terminal));
            if text.is_empty() && !flood.is_over() {
                return;
            }
        }
        release(terminal, marks, flood, watch);
        // Behind whatever could not be held back, a flood may go on.
        let end = text.find('\n').map_or(text.len(), |end| end + 1);
        let (now, later) = text.split_at(end);
        feed(terminal, marks, watch, now);
        flood.fed(now);
        text = later;
    }
}

fn release(terminal: &mut Terminal, marks: &mut Marks, flood: &mut Flood, watch: &mut Watch) {
    if !flood.is_empty() {
        let held = flood.release(watch.shape(terminal));
        feed(terminal, marks, watch, &held);
    }
}

/// Feeds the emulator up to each mark that it does not know, and tells the watch of it there.
fn feed(terminal: &mut Terminal, marks: &mut Marks, watch: &mut Watch, mut text: &str) {
    while !text.is_empty() {
        let (length, mark) = marks.next(text);
        let (before, after) = text.split_at(length);
        watch.feed(terminal, before);
        match mark {
            Some(Mark::EditorOn) => watch.editor_on(terminal),
            Some(Mark::EditorOff) => watch.editor_off(terminal),
            None => {}
        }
        text = after;
    }
}

fn snapshot(terminal: &Terminal) -> Snapshot {
    let (cols, rows) = terminal.size();
    let side = |cells: usize| u16::try_from(cells).unwrap_or(u16::MAX);
    Snapshot { cols: side(cols), rows: side(rows), dump: terminal.dump() }
}
