//! From keys to lines that wait for their effect.

use avt::{ScreenKind, Terminal};

use super::{
    Kind, REDACTED,
    keys::Key,
    lines::{Edit, Line},
    model::Model,
    prompt::{self, Asks},
    rows::Place,
    shell::{self, Starts},
    watch::{MAX_ENTERED, Watch},
};

impl Watch {
    pub(super) fn key(&mut self, terminal: &Terminal, key: Key) {
        if !self.has_input || matches!(key, Key::Suspend | Key::Redraw) {
            return;
        }
        if key == Key::Interrupt {
            self.current = None;
            self.next_unknown = false;
            return;
        }
        if self.is_prefix(terminal, key) {
            return;
        }
        self.doubt(terminal);
        if self.current.is_none() && key.only_edits() {
            return;
        }
        if self.current.is_none() && !self.begin(terminal) {
            return;
        }
        let Some(mut line) = self.current.take() else { return };
        line.model.press(key);
        if !matches!(key, Key::Enter | Key::EnterAndNext) {
            self.current = Some(line);
            return;
        }
        line.elapsed = self.now;
        line.edit.editor |= self.editor;
        if !line.edit.moved
            && let Some(place) = self.locate(terminal, &line.edit, self.rows.cursor(terminal).row)
        {
            line.seen = self.rows.region(terminal, place, self.rows.cursor(terminal).row, &line.edit.right);
            line.unseen = line.seen.is_empty();
        }
        self.next_unknown = key == Key::EnterAndNext;
        if self.entered.len() == MAX_ENTERED {
            self.entered.pop_front();
        }
        self.entered.push_back(line);
    }

    /// Keys for a multiplexer: its prefix and the one after it.
    fn is_prefix(&mut self, terminal: &Terminal, key: Key) -> bool {
        let prefix = std::mem::take(&mut self.after_prefix);
        if terminal.active_screen_kind() == ScreenKind::Primary {
            return false;
        }
        if !prefix && Some(key) == self.multiplexer {
            self.after_prefix = true;
            self.current = None;
        }
        prefix || self.after_prefix
    }

    /// Somebody begins to type. False where what is typed is no line.
    fn begin(&mut self, terminal: &Terminal) -> bool {
        let mut edit = self.edit_here(terminal);
        let known = edit.known;
        // A program may have switched bracketed paste on and left it so: then a prompt tells.
        let passed = self.candidate.as_ref().is_some_and(|candidate| candidate.place.row < edit.start.row);
        if self.candidate.is_some() && (!self.waits_for_editor(terminal) || (known && passed)) {
            self.settle(terminal);
        }
        if terminal.active_screen_kind() == ScreenKind::Alternate && !self.types_on_alternate(&edit) {
            return false;
        }
        if self.running == Starts::FullScreen && !known && !edit.marked && !self.editor {
            return false;
        }
        edit.moved = self.entered.iter().any(|line| !line.echoed) && !edit.marked;
        if !edit.moved || self.is_idle_at(&edit) {
            edit.moved = false;
            self.arrive(terminal, &edit);
        }
        let model = if std::mem::take(&mut self.next_unknown) { Model::unknown() } else { Model::new() };
        self.current = Some(Line::new(model, edit, self.now));
        true
    }

    /// Keys came before a prompt that is drawn now. A line editor would have shown them again: where
    /// it has not, a program has taken them one by one, as pagers do.
    fn doubt(&mut self, terminal: &Terminal) {
        let Some(line) = self.current.take_if(|line| line.edit.moved || line.edit.disturbed) else { return };
        let cursor = self.rows.cursor(terminal);
        let left = self.rows.left(terminal, cursor);
        let gone = self.prompts.exact(&left).is_some()
            && self.shown > line.began
            && self.now.as_millis() - self.shown.as_millis() > 100
            && (self.editor || !line.shown)
            && !line.model.text().trim().is_empty();
        if !gone {
            self.current = Some(line);
        }
    }

    /// A prompt waits, and has done so for a while: nothing that was entered is still coming.
    pub(super) fn is_idle_at(&self, edit: &Edit) -> bool {
        let last = self.entered.iter().filter(|line| !line.echoed).map(|line| line.elapsed).max();
        let drawn = self.editor
            && !edit.prompt.trim().is_empty()
            && self.prompt_start.is_some_and(|(_, when)| last.is_none_or(|last| when > last));
        (drawn || edit.known)
            && last.is_none_or(|last| last < self.shown)
            && self.now.as_millis() - self.shown.as_millis() > 150
    }

    pub(super) fn edit_here(&self, terminal: &Terminal) -> Edit {
        if let Some(mark) = &self.input_mark {
            return mark.clone();
        }
        let start = self.rows.cursor(terminal);
        let left = self.rows.left(terminal, start);
        let mut edit = Edit {
            start,
            right: self.rows.right(terminal, start),
            screen: terminal.active_screen_kind(),
            moved: false,
            disturbed: false,
            marked: false,
            known: self.is_known(terminal, start),
            editor: self.editor,
            prompt: left,
        };
        // A line may be there already: one typed ahead, or one a shell brought back.
        if !edit.known
            && let Some(known) = self.prompts.beginning(&edit.prompt)
            && let Some(place) = self.rows.find(terminal, known, start.row, start.row)
        {
            edit.prompt = known.to_owned();
            edit.start = place;
            edit.known = true;
        }
        edit
    }

    /// Whether a known prompt ends here, perhaps after output that filled its row, perhaps drawn with
    /// the wrong characters.
    pub(super) fn is_known(&self, terminal: &Terminal, place: Place) -> bool {
        let left = self.rows.logical_left(terminal, place);
        self.prompts.exact(&left).is_some() || self.prompts.exact(&prompt::ungarble(&left)).is_some()
    }

    /// On the alternate screen only shells inside a multiplexer read lines.
    pub(super) fn types_on_alternate(&self, edit: &Edit) -> bool {
        let shown = edit.prompt.trim();
        if self.edited_elsewhere || shown.is_empty() {
            return false;
        }
        if self.prompts.exact(&edit.prompt).is_some() {
            return true;
        }
        match self.running {
            Starts::FullScreen => false,
            Starts::Multiplexer | Starts::Shell => prompt::is_shellish(shown) || prompt::is_question(shown),
            Starts::Repl => true,
            Starts::AnyPrompt | Starts::OtherPrompt | Starts::Unknown => {
                self.prompts.resembles_any(&edit.prompt) || prompt::asks_for_secret(shown)
            }
        }
    }

    /// A line begins at a place that is certain: where that is a shell's prompt, what came before is over.
    pub(super) fn arrive(&mut self, terminal: &Terminal, edit: &Edit) {
        let asks = if edit.marked || edit.known {
            Asks::Shell
        } else {
            self.prompts.judge(&edit.prompt, self.running)
        };
        if !matches!(asks, Asks::Shell | Asks::NewShell) || self.continues(edit.start, &edit.prompt) {
            return;
        }
        self.candidate = None;
        self.give_up(terminal);
        let end = Place { row: edit.start.row, col: 0 };
        self.close(terminal, end);
        self.flush_echoed();
    }

    /// Lines that were entered and left no trace: where nothing of them was ever shown, and no editor was
    /// at work, they were secrets.
    fn give_up(&mut self, terminal: &Terminal) {
        let hidden = |line: &Line| {
            !line.echoed
                && line.unseen
                && line.edit.screen == ScreenKind::Primary
                && !line.edit.editor
                && !line.edit.known
                && line.model.text().chars().count() >= 4
        };
        let secret = self
            .entered
            .iter()
            .find(|line| hidden(line))
            .map(|line| (line.elapsed, line.edit.prompt.clone()));
        self.entered.retain(|line| line.echoed);
        if let Some((elapsed, prompt)) = secret {
            self.secret_asked = Some(elapsed);
            let below = self.rows.cursor(terminal).row;
            self.push(terminal, Kind::Password, REDACTED.to_owned(), elapsed, &prompt, below, false);
        }
    }

    /// Whether a line at this prompt goes on with the last entry.
    pub(super) fn continues(&self, start: Place, prompt: &str) -> bool {
        let Some(open) = &self.open else { return false };
        if start.row != open.below || matches!(open.entry.kind, Kind::Stdin | Kind::Password) {
            return false;
        }
        let same = prompt == open.prompt;
        let known = self.prompts.exact(prompt).is_some();
        let more = prompt::is_continuation(prompt);
        match open.entry.kind {
            Kind::Shell if more && !known => true,
            Kind::Shell => (!same || more) && shell::is_incomplete(&open.entry.command),
            Kind::Repl => !same && more,
            Kind::Stdin | Kind::Password => false,
        }
    }

    /// Without input, somebody types wherever a prompt was drawn.
    pub(super) fn guess_typing(&mut self, terminal: &Terminal) {
        let drawn = self.prompt_start.is_some_and(|(_, when)| self.now.as_millis() - when.as_millis() < 30);
        if drawn && self.editor {
            self.entered.clear();
        }
        if !self.entered.is_empty() || self.candidate.is_some() {
            return;
        }
        let left = self.rows.left(terminal, self.rows.cursor(terminal));
        let likely = self.prompts.exact(&left).is_some()
            || (left.ends_with(' ')
                && prompt::is_shellish(left.trim())
                && left.contains(['@', '$', '%', '#']));
        if left.trim().is_empty() || !(self.editor || likely) {
            return;
        }
        let edit = self.edit_here(terminal);
        self.arrive(terminal, &edit);
        let model = Model::unknown();
        self.entered.push_back(Line::new(model, edit, self.now));
    }
}
