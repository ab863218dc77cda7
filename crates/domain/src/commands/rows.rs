//! Rows of the screen as text, by numbers that scrolling does not change.

use std::collections::VecDeque;

use avt::{Cell, Line, ScreenKind, Terminal};

/// A place that stays the same while the screen scrolls: rows count from the first that ever was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) row: u64,
    pub(super) col: usize,
}

/// Rows that have left the screen but may still be asked for.
const MAX_KEPT: usize = 256;

/// Numbers the rows of the primary screen, and keeps some that have left it.
#[derive(Default)]
pub(super) struct Rows {
    /// How many rows have left the screen: the number of its first row.
    pub(super) gone: u64,
    kept: VecDeque<Line>,
}

impl Rows {
    /// A row left the screen; it is kept while somebody may ask for it.
    pub(super) fn leave(&mut self, line: &Line, keep: bool) {
        self.gone += 1;
        if keep {
            if self.kept.len() == MAX_KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(line.clone());
        } else if !self.kept.is_empty() {
            self.kept.clear();
        }
    }

    pub(super) fn forget(&mut self) {
        self.kept = VecDeque::new();
    }

    /// The number of the first row of the screen.
    pub(super) fn first_on_screen(&self, terminal: &Terminal) -> u64 {
        match terminal.active_screen_kind() {
            ScreenKind::Primary => self.gone,
            ScreenKind::Alternate => 0,
        }
    }

    pub(super) fn cursor(&self, terminal: &Terminal) -> Place {
        let cursor = terminal.cursor();
        Place { row: self.first_on_screen(terminal) + cursor.row as u64, col: cursor.col }
    }

    /// The oldest row that can still be read.
    pub(super) fn oldest(&self, terminal: &Terminal) -> u64 {
        let first = self.first_on_screen(terminal);
        match terminal.active_screen_kind() {
            ScreenKind::Primary => first.saturating_sub(self.kept.len() as u64),
            ScreenKind::Alternate => first,
        }
    }

    pub(super) fn line<'a>(&'a self, terminal: &'a Terminal, row: u64) -> Option<&'a Line> {
        let first = self.first_on_screen(terminal);
        if let Some(on_screen) = row.checked_sub(first) {
            return terminal.screen().line(usize::try_from(on_screen).ok()?);
        }
        let back = usize::try_from(first - row).ok()?;
        self.kept.get(self.kept.len().checked_sub(back)?)
    }

    /// The text of a row up to a column, blanks included.
    pub(super) fn left(&self, terminal: &Terminal, place: Place) -> String {
        let cells = self.line(terminal, place.row).map(Line::cells).unwrap_or_default();
        text(&cells[..place.col.min(cells.len())])
    }

    /// What stands far right of a column, such as a right prompt.
    pub(super) fn right(&self, terminal: &Terminal, place: Place) -> String {
        let cells = self.line(terminal, place.row).map(Line::cells).unwrap_or_default();
        let right = text(&cells[place.col.min(cells.len())..]);
        if right.starts_with("  ") { right.trim().to_owned() } else { String::new() }
    }

    /// The first row of the line that was wrapped into this row.
    pub(super) fn logical_start(&self, terminal: &Terminal, row: u64) -> u64 {
        let wrapped = |row: u64| self.line(terminal, row).is_some_and(Line::is_wrapped);
        let mut start = row;
        while start > row.saturating_sub(64) && start.checked_sub(1).is_some_and(wrapped) {
            start -= 1;
        }
        start
    }

    /// The text of a wrapped line up to a place, blanks included.
    pub(super) fn logical_left(&self, terminal: &Terminal, place: Place) -> String {
        let mut all = String::new();
        for row in self.logical_start(terminal, place.row)..place.row {
            all.push_str(&self.left(terminal, Place { row, col: usize::MAX }));
        }
        all.push_str(&self.left(terminal, place));
        all
    }

    /// The text from a place to the end of a row, with wrapped rows joined, without what stands at
    /// the right of the first row.
    pub(super) fn region(&self, terminal: &Terminal, start: Place, last: u64, right: &str) -> String {
        let mut all = String::new();
        for row in start.row..=last {
            let Some(line) = self.line(terminal, row) else { continue };
            let cells = line.cells();
            let col = if row == start.row { start.col.min(cells.len()) } else { 0 };
            let part = text(&cells[col..]);
            let whole = part.trim_end();
            if row == start.row
                && !right.is_empty()
                && let Some(rest) = whole.strip_suffix(right)
                && (rest.is_empty() || rest.ends_with(' '))
            {
                all.push_str(rest.trim_end());
                all.push('\n');
                continue;
            }
            // A line editor that breaks lines itself fills the row to its last cell.
            let full = cells.last().is_some_and(|cell| cell.char() != ' ' || cell.width() == 0);
            if row < last && (line.is_wrapped() || full) {
                all.push_str(&part);
            } else {
                all.push_str(part.trim_end());
                all.push('\n');
            }
        }
        all.truncate(all.trim_end().len());
        all
    }

    /// The column after `prompt` in the last row from `first` to `last` that begins with it.
    pub(super) fn find(&self, terminal: &Terminal, prompt: &str, first: u64, last: u64) -> Option<Place> {
        let first = first.max(self.oldest(terminal));
        (first..=last).rev().find_map(|row| {
            let col = after_prompt(self.line(terminal, row)?.cells(), prompt)?;
            Some(Place { row, col })
        })
    }
}

fn text(cells: &[Cell]) -> String {
    cells.iter().filter(|cell| cell.width() > 0).map(Cell::char).collect()
}

/// The column at which what follows `prompt` begins, where the cells begin with it.
pub(super) fn after_prompt(cells: &[Cell], prompt: &str) -> Option<usize> {
    let mut wanted = prompt.chars();
    for (col, cell) in cells.iter().enumerate() {
        if cell.width() == 0 {
            continue;
        }
        match wanted.next() {
            None => return Some(col),
            Some(ch) if ch == cell.char() => {}
            Some(_) => return None,
        }
    }
    wanted.next().is_none().then_some(cells.len())
}
