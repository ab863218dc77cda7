//! What happens between a key and its effect on the screen.

use std::collections::VecDeque;

use avt::{
    Line as Row, Observation, Observer, Operation, Position, ScreenKind, Terminal,
    parser::{DecMode, EdScope, Function, Osc, ShellIntegration},
};

use super::{
    DetectedCommand, Kind,
    flood::Shape,
    keys::Key,
    lines::{Candidate, Edit, Line, Open},
    model::Certainty,
    prompt::Prompts,
    rows::{Place, Rows},
    shell::Starts,
};
use crate::time::Elapsed;

/// Lines that were entered and not yet seen to take effect; beyond, the oldest is given up.
pub(super) const MAX_ENTERED: usize = 512;

pub(super) struct Watch {
    pub(super) ready: Vec<DetectedCommand>,
    pub(super) has_input: bool,
    pub(super) now: Elapsed,
    /// When output came last.
    pub(super) shown: Elapsed,
    pub(super) rows: Rows,
    pub(super) prompts: Prompts,
    /// Bracketed paste is on.
    pub(super) editor: bool,
    /// When it was switched on, and where: a prompt is being drawn there.
    pub(super) prompt_start: Option<(Place, Elapsed)>,
    pub(super) current: Option<Line>,
    pub(super) entered: VecDeque<Line>,
    pub(super) candidate: Option<Candidate>,
    pub(super) open: Option<Open>,
    /// The row below the last line that took effect.
    pub(super) below: u64,
    /// The last commands of shells.
    pub(super) history: VecDeque<String>,
    /// What the last command of a shell started.
    pub(super) running: Starts,
    /// When a secret was entered last, since the last command of a shell.
    pub(super) secret_asked: Option<Elapsed>,
    /// What keys reach the multiplexer instead of the shells in it.
    pub(super) multiplexer: Option<Key>,
    pub(super) after_prefix: bool,
    /// Only a part of the screen scrolls.
    pub(super) margins: bool,
    /// Long lines go on in the next row, and always have.
    pub(super) wraps: bool,
    /// The next line begins with what nobody typed.
    pub(super) next_unknown: bool,
    /// Prompts that were left behind while lines waited that had been shown elsewhere.
    pub(super) prompts_left: usize,
    /// The last shell reads its lines without an editor of its own.
    pub(super) plain_shell: bool,
    /// The line went to an editor, and the shell will print what comes back.
    pub(super) edited_elsewhere: bool,
    /// That line, for shells that give it back to be edited further.
    pub(super) suspended: Option<Line>,
    /// OSC 133: where the line begins.
    pub(super) input_mark: Option<Edit>,
}

impl Watch {
    pub(super) fn new(has_input: bool) -> Self {
        Self {
            ready: Vec::new(),
            has_input,
            now: Elapsed::ZERO,
            shown: Elapsed::ZERO,
            rows: Rows::default(),
            prompts: Prompts::default(),
            editor: false,
            prompt_start: None,
            current: None,
            entered: VecDeque::new(),
            candidate: None,
            open: None,
            below: 0,
            history: VecDeque::new(),
            running: Starts::Unknown,
            secret_asked: None,
            multiplexer: None,
            after_prefix: false,
            margins: false,
            wraps: true,
            next_unknown: false,
            prompts_left: 0,
            plain_shell: false,
            edited_elsewhere: false,
            suspended: None,
            input_mark: None,
        }
    }

    pub(super) fn now(&mut self, elapsed: Elapsed) {
        self.now = elapsed;
    }

    pub(super) fn feed(&mut self, terminal: &mut Terminal, text: &str) {
        if !text.is_empty() {
            terminal.feed_with(text, &mut *self);
        }
    }

    /// Nothing waits for what is shown, but for the last of it.
    pub(super) fn is_quiet(&self, terminal: &Terminal) -> bool {
        self.has_input
            && self.entered.is_empty()
            && self.current.is_none()
            && self.candidate.is_none()
            && !self.edited_elsewhere
            && !self.margins
            && self.open.as_ref().is_none_or(|open| open.capture.is_full())
            && terminal.active_screen_kind() == ScreenKind::Primary
    }

    pub(super) fn shape(&self, terminal: &Terminal) -> Shape {
        let (cols, rows) = terminal.size();
        Shape { cols, rows, wraps: self.wraps }
    }

    pub(super) fn output_over(&mut self, terminal: &Terminal) {
        self.leave_line(terminal);
        if !self.has_input {
            self.guess_typing(terminal);
        }
        self.shown = self.now;
    }

    // Output.

    pub(super) fn editor_on(&mut self, terminal: &Terminal) {
        if self.candidate.is_some() {
            self.settle(terminal);
        }
        self.editor = true;
        if terminal.active_screen_kind() == ScreenKind::Primary {
            self.edited_elsewhere = false;
            self.resume(terminal);
        }
        self.note_shown(terminal);
        // Some switch it on behind their prompt, having said before where that begins.
        let cursor = self.rows.cursor(terminal);
        let said = self.prompt_start.is_some_and(|(place, _)| place.row + 4 > cursor.row);
        if cursor.col == 0 || !said {
            self.prompt_start = Some((cursor, self.now));
        }
        if self.has_input {
            let waiting = self.entered.iter_mut().filter(|line| !line.echoed);
            for line in waiting.chain(self.current.as_mut()) {
                line.edit.moved |= !line.edit.marked;
            }
        }
    }

    /// Some shells give a line back from an editor, to be edited further.
    fn resume(&mut self, terminal: &Terminal) {
        let row = self.rows.cursor(terminal).row;
        if let Some(mut line) = self.suspended.take()
            && self.current.is_none()
            && self.locate(terminal, &line.edit, row).is_some_and(|place| place == line.edit.start)
        {
            line.model.certainty = Certainty::Unknown;
            line.model.in_editor = false;
            line.edit.marked = true;
            self.current = Some(line);
        }
    }

    /// Something else is about to be shown: is what was typed so far on the screen?
    pub(super) fn note_shown(&mut self, terminal: &Terminal) {
        let row = self.rows.cursor(terminal).row;
        let Some(line) = self.current.as_mut().filter(|line| !line.edit.moved && !line.edit.disturbed) else {
            return;
        };
        let text = self.rows.region(terminal, line.edit.start, row, "");
        // The last keys may not have come back yet.
        let first = line.model.text().chars().next();
        line.shown = first.is_some() && text.chars().next() == first;
    }

    pub(super) fn editor_off(&mut self, terminal: &Terminal) {
        self.editor = false;
        let row = self.rows.cursor(terminal).row;
        // The cursor came back: something was listed below the line, which goes on.
        self.candidate.take_if(|candidate| candidate.row >= row);
        if self.candidate.is_some() {
            self.settle(terminal);
        } else if self.entered.iter().all(|line| line.echoed)
            && let Some(line) = self.current.take_if(|line| line.edit.editor && line.model.in_editor)
        {
            self.suspended = Some(line);
            self.edited_elsewhere = true;
        }
    }

    fn mark(&mut self, terminal: &Terminal, mark: ShellIntegration) {
        match mark {
            ShellIntegration::PromptStart => {
                if self.candidate.is_some() {
                    self.settle(terminal);
                }
                self.prompt_start = Some((self.rows.cursor(terminal), self.now));
            }
            ShellIntegration::CommandStart => {
                self.input_mark = None;
                let edit = Edit { marked: true, moved: false, ..self.edit_at_cursor(terminal) };
                self.prompts.learn(&edit.prompt);
                let line = self.entered.iter_mut().find(|line| !line.echoed);
                if let Some(line) = line.or(self.current.as_mut()) {
                    line.edit = edit.clone();
                }
                self.input_mark = Some(edit);
            }
            ShellIntegration::CommandExecuted => {
                if self.candidate.is_some() {
                    self.settle(terminal);
                }
                self.input_mark = None;
            }
            ShellIntegration::CommandFinished { exit_status } => {
                self.input_mark = None;
                if let Some(open) = &mut self.open
                    && open.entry.kind == Kind::Shell
                {
                    open.entry.exit_code = exit_status;
                }
            }
        }
    }

    fn edit_at_cursor(&self, terminal: &Terminal) -> Edit {
        let start = self.rows.cursor(terminal);
        Edit {
            start,
            prompt: self.rows.left(terminal, start),
            right: self.rows.right(terminal, start),
            screen: terminal.active_screen_kind(),
            moved: false,
            disturbed: false,
            marked: false,
            known: true,
            editor: self.editor,
        }
    }

    pub(super) fn resize(&mut self, terminal: &mut Terminal, cols: usize, rows: usize) {
        // Rows are broken anew: the emulator knows where the beginnings of lines have gone.
        let first = self.rows.first_on_screen(terminal);
        let screen = terminal.active_screen_kind();
        let mut anchors = Vec::new();
        for edit in self.edits() {
            let row = edit.start.row.checked_sub(first).and_then(|row| isize::try_from(row).ok());
            let place = row.filter(|_| edit.screen == screen);
            let anchor =
                place.and_then(|row| terminal.anchor_at(Position { screen, col: edit.start.col, row }));
            anchors.push(anchor);
        }
        terminal.resize_with(cols, rows, &mut *self);
        let first = self.rows.first_on_screen(terminal);
        for (edit, anchor) in self.edits().zip(anchors) {
            let position = anchor.and_then(|anchor| terminal.resolve(&anchor));
            if let Some(position) = position
                && let Ok(row) = u64::try_from(position.row)
            {
                edit.start = Place { row: first + row, col: position.col };
            }
        }
    }

    fn edits(&mut self) -> impl Iterator<Item = &mut Edit> {
        let lines = self.entered.iter_mut().chain(&mut self.current).chain(&mut self.suspended);
        lines.map(|line| &mut line.edit).chain(&mut self.input_mark)
    }

    pub(super) fn finish(&mut self, terminal: &Terminal) {
        if self.candidate.is_some() {
            self.settle(terminal);
        }
        let (end, shown) = (self.end_of_output(terminal), self.shown);
        let waits = end != self.rows.cursor(terminal);
        self.close(terminal, end);
        // Nobody knows whether the last command was over, unless a prompt came after it.
        if !waits && let Some(entry) = self.ready.last_mut().filter(|entry| entry.until == Some(shown)) {
            entry.until = None;
        }
        self.flush_echoed();
        self.ready.sort_by_key(|entry| entry.elapsed);
    }

    /// Where output ends: in front of a known prompt, if the cursor stands behind one.
    fn end_of_output(&self, terminal: &Terminal) -> Place {
        let cursor = self.rows.cursor(terminal);
        let left = self.rows.left(terminal, cursor);
        match self.prompts.exact(&left) {
            Some(known) => Place { col: cursor.col.saturating_sub(known.chars().count()), ..cursor },
            None => cursor,
        }
    }

    pub(super) fn hibernate(&mut self) {
        self.rows.forget();
    }

    fn keeps_rows(&self) -> bool {
        self.current.is_some() || !self.entered.is_empty() || self.candidate.is_some()
    }
}

/// Shows nothing and moves nothing but to the start of the row.
fn is_idle(function: &Function) -> bool {
    if let Function::Decset(modes) | Function::Decrst(modes) = function {
        return modes
            .as_slice()
            .iter()
            .all(|mode| matches!(mode, DecMode::CursorKeys | DecMode::AutoWrap | DecMode::TextCursorEnable));
    }
    matches!(
        function,
        Function::Cr | Function::Sgr(_) | Function::Gzd4(_) | Function::G1d4(_) | Function::Si | Function::So
    )
}

impl Observer for Watch {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        let Operation::Function(function) = operation else { return };
        // By far the most frequent, and nothing waits for it.
        if matches!(function, Function::Print(_)) && self.candidate.is_none() {
            return;
        }
        let terminal = context.terminal();
        self.follow_modes(terminal, function);
        if matches!(function, Function::Lf | Function::Nel) {
            self.line_feed(terminal);
        } else if let Function::Osc(Osc::ShellIntegration(mark)) = function {
            self.mark(terminal, *mark);
        } else if self.leaves_row(terminal, function) {
            self.line_feed(terminal);
        } else if !is_idle(function) {
            self.leave_line(terminal);
            if matches!(function, Function::Ed(EdScope::Below)) {
                self.erase_below(terminal);
            }
        }
    }

    fn evicted(&mut self, _: &mut Observation<'_>, line: &Row) {
        if let Some(open) = &mut self.open {
            open.capture.leave(self.rows.gone, line);
        }
        let keep = self.keeps_rows();
        self.rows.leave(line, keep);
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

impl Watch {
    /// Something else than a line feed follows: a line that is complete takes effect.
    fn leave_line(&mut self, terminal: &Terminal) {
        if self.candidate.is_some() && !self.waits_for_editor(terminal) {
            self.settle(terminal);
        }
    }

    /// Whether a line that is complete waits until its editor lets go of it. A multiplexer passes on
    /// only some of what the editors inside it say.
    pub(super) fn waits_for_editor(&self, terminal: &Terminal) -> bool {
        self.editor && terminal.active_screen_kind() == ScreenKind::Primary
    }

    fn follow_modes(&mut self, terminal: &Terminal, function: &Function) {
        if let Function::Decstbm(top, bottom) = function {
            let rows = terminal.size().1;
            self.margins = *top > 1 || (*bottom != 0 && usize::from(*bottom) < rows);
        } else if let Function::Decrst(modes) = function {
            self.wraps &= !modes.as_slice().contains(&DecMode::AutoWrap);
        }
    }

    /// zsh clears the screen below before it draws its prompt.
    fn erase_below(&mut self, terminal: &Terminal) {
        let cursor = self.rows.cursor(terminal);
        if cursor.col == 0 && self.current.is_none() && self.entered.is_empty() {
            self.prompt_start = Some((cursor, self.now));
        }
    }

    /// A line feed by other means: a multiplexer goes where it wants, and an editor that has let go
    /// of its line walks down.
    fn leaves_row(&self, terminal: &Terminal, function: &Function) -> bool {
        let Some(line) = self.entered.iter().find(|line| !line.echoed) else { return false };
        let cursor = terminal.cursor().row;
        let target = if let Function::Cup(row, _) | Function::Vpa(row) = function {
            usize::from(*row).saturating_sub(1)
        } else {
            cursor + usize::from(matches!(function, Function::Cud(_) | Function::Cnl(_) | Function::Vpr(_)))
        };
        let last = terminal.size().1 - 1;
        match terminal.active_screen_kind() {
            ScreenKind::Primary => target > cursor && line.edit.editor && !self.editor,
            // The last row is the multiplexer's own.
            ScreenKind::Alternate => {
                let ends = matches!(function, Function::Decrst(_)) && !is_idle(function);
                let scrolls = matches!(function, Function::Su(_) | Function::Decstbm(..) | Function::Dl(_));
                cursor < last && ((target != cursor && target < last) || scrolls || ends)
            }
        }
    }
}
