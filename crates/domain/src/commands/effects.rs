//! From the screen to lines that have taken effect.

use avt::{ScreenKind, Terminal};

use super::{
    Kind, REDACTED,
    lines::{Candidate, Edit, Line},
    model::Certainty,
    preview::Capture,
    prompt::{self, Asks},
    rows::Place,
    shell,
    watch::Watch,
};
use crate::time::Elapsed;

impl Watch {
    /// The cursor is about to leave its row downwards.
    pub(super) fn line_feed(&mut self, terminal: &Terminal) {
        if !self.has_input && self.entered.is_empty() {
            self.read_row(terminal);
            return;
        }
        if self.entered.is_empty() && self.current.is_none() && !self.edited_elsewhere {
            return;
        }
        let row = self.rows.cursor(terminal).row;
        if self.edited_elsewhere && terminal.active_screen_kind() == ScreenKind::Primary && !self.editor {
            let text = self.rows.region(terminal, Place { row, col: 0 }, row, "");
            if !text.is_empty() && self.now != Elapsed::ZERO {
                self.edited_elsewhere = false;
                let prompt = self.prompts.known().next().unwrap_or_default().to_owned();
                self.push(terminal, Kind::Shell, text, self.now, &prompt, row + 1, false);
                return;
            }
        }
        let head = self.entered.iter().position(|line| !line.echoed);
        if head.is_none() {
            self.note_shown(terminal);
            if let Some(line) = &mut self.current {
                line.edit.disturbed = true;
            }
        }
        let screen = terminal.active_screen_kind();
        let Some(line) = head.and_then(|head| self.entered.get(head)).filter(|line| !line.edit.moved) else {
            self.match_row(terminal, row);
            return;
        };
        if line.edit.screen != screen {
            return;
        }
        let edit = &line.edit;
        let place = self.locate(terminal, edit, row);
        if place.is_none() && row < edit.start.row {
            // A prompt of several rows is drawn again.
            return;
        }
        let text = place.map(|place| self.rows.region(terminal, place, row, &edit.right));
        let before = self.candidate.take();
        let unmoved = self.rows.cursor(terminal) == edit.start;
        self.candidate = Some(Candidate {
            prompt: place.map_or_else(|| edit.prompt.clone(), |place| self.rows.left(terminal, place)),
            place: place.unwrap_or(edit.start),
            found: place.is_some(),
            text: text.unwrap_or_default(),
            row,
            unmoved: before.as_ref().map_or(unmoved, |before| before.unmoved),
            breaks: before.map_or(0, |before| before.breaks) + 1,
            elapsed: self.now,
        });
        if screen == ScreenKind::Alternate {
            self.settle(terminal);
        }
    }

    /// Without input: a row that begins with a known prompt, all of it shown at once, holds a line.
    fn read_row(&mut self, terminal: &Terminal) {
        let row = self.rows.cursor(terminal).row;
        let start = self.rows.logical_start(terminal, row);
        let left = self.rows.left(terminal, Place { row: start, col: usize::MAX });
        let Some(prompt) = self.prompts.beginning(&left).filter(|known| known.trim().chars().count() > 1)
        else {
            return;
        };
        let prompt = prompt.to_owned();
        let Some(place) = self.rows.find(terminal, &prompt, start, start) else { return };
        let text = self.rows.region(terminal, place, row, "");
        if text.is_empty() || text.ends_with("^C") {
            return;
        }
        self.close(terminal, Place { row: start, col: 0 });
        self.push(terminal, Kind::Shell, text, self.now, &prompt, row + 1, false);
    }

    /// Where the line of an edit begins on the screen as it is now.
    pub(super) fn locate(&self, terminal: &Terminal, edit: &Edit, row: u64) -> Option<Place> {
        if edit.prompt.trim().is_empty() {
            return (edit.start.row <= row).then_some(edit.start);
        }
        let known = self.prompts.exact(&edit.prompt);
        let find = |first| {
            self.rows
                .find(terminal, &edit.prompt, first, row)
                .max_by_row(known.and_then(|known| self.rows.find(terminal, known, first, row)))
        };
        if edit.start.row <= row {
            return find(edit.start.row);
        }
        // The screen was cleared, and the prompt drawn further up: older prompts are not meant.
        let below = self.below;
        (below <= row).then(|| find(below)).flatten().or_else(|| find(self.rows.logical_start(terminal, row)))
    }

    /// A row is left, and nobody knows where the lines are that wait: looks for one of them at a known
    /// prompt, or for the echo of the first.
    pub(super) fn match_row(&mut self, terminal: &Terminal, row: u64) {
        if self.entered.is_empty() {
            return;
        }
        let first = row.saturating_sub(64).max(self.rows.oldest(terminal));
        let mut found = None;
        for known in self.prompts.known() {
            let Some(place) = self.rows.find(terminal, known, first, row) else { continue };
            let text = self.rows.region(terminal, place, row, "");
            let certain = |line: &Line| line.model.certainty == Certainty::Certain;
            let exact = |line: &Line| {
                let typed = line.model.text();
                // A right prompt may stand behind it.
                let before = text.strip_prefix(typed.trim_end()).is_some_and(|rest| rest.starts_with("  "));
                certain(line) && (same(&typed, &text) || (before && !typed.trim().is_empty()))
            };
            let position = self.entered.iter().position(exact);
            let position = position.or_else(|| self.entered.iter().position(|line| !certain(line)));
            let position = position.filter(|_| !text.is_empty());
            if let Some(position) = position {
                found = Some((position, text, known.to_owned(), place));
                break;
            }
        }
        if let Some((position, text, prompt, place)) = found {
            for line in self.entered.iter_mut().take(position) {
                line.echoed = true;
            }
            let Some(line) = self.entered.remove(position) else { return };
            let text = if line.model.certainty == Certainty::Certain { line.model.text() } else { text };
            if !self.continues(place, &prompt) {
                self.close(terminal, Place { row: place.row, col: 0 });
                self.flush_some(position);
            }
            self.push(terminal, Kind::Shell, text, line.elapsed, &prompt, row + 1, line.edit.marked);
            return;
        }
        let start = Place { row: self.rows.logical_start(terminal, row), col: 0 };
        let shown = self.rows.region(terminal, start, row, "");
        if self.match_end(terminal, start, row, &shown) {
            return;
        }
        if self.plain_shell && self.entered.iter().any(|line| line.echoed) {
            let typed = self.current.as_ref().map(|line| line.model.text()).unwrap_or_default();
            let mut shown = shown.as_str();
            if let Some(rest) = strip_common(shown, &typed) {
                shown = rest;
            }
            if self.prompts.known().any(|known| shown.starts_with(known.trim_end())) {
                self.prompts_left += 1;
            }
        }
    }

    /// Looks for one of the lines at the end of what is shown: behind an unknown prompt, or as the mere
    /// echo of what is typed ahead.
    fn match_end(&mut self, terminal: &Terminal, start: Place, row: u64, shown: &str) -> bool {
        let ends = |line: &Line| {
            let text = line.model.text();
            let text = text.trim_end();
            let prompt = shown.strip_suffix(text).unwrap_or_default();
            let matches =
                line.model.certainty == Certainty::Certain && !text.is_empty() && shown.ends_with(text);
            matches.then(|| prompt.to_owned())
        };
        let drawn = self.prompt_start.is_some_and(|(place, _)| (start.row..=row).contains(&place.row));
        let at_prompt = self.entered.iter().enumerate().find_map(|(position, line)| {
            let prompt = ends(line).filter(|prompt| {
                !prompt.trim().is_empty() && line.edit.screen == terminal.active_screen_kind()
            })?;
            let likely = drawn || (prompt::is_shellish(prompt.trim()) && self.prompts.resembles_any(&prompt));
            likely.then_some((position, prompt))
        });
        if let Some((position, prompt)) = at_prompt {
            for line in self.entered.iter_mut().take(position) {
                line.echoed = true;
            }
            let Some(line) = self.entered.remove(position) else { return false };
            let repl = self.prompts.judge(&prompt, self.running) == Asks::Repl;
            if !repl {
                self.close(terminal, start);
                self.flush_some(position);
                self.prompts.learn(&prompt);
            }
            let kind = if repl { Kind::Repl } else { Kind::Shell };
            let text = line.model.text().trim_end().to_owned();
            self.push(terminal, kind, text, line.elapsed, &prompt, row + 1, line.edit.marked);
            return true;
        }
        let Some(line) = self.entered.iter_mut().find(|line| !line.echoed) else { return false };
        if ends(line).is_some() {
            line.echoed = true;
            return true;
        }
        false
    }

    /// A line from the history is the one that was entered before, whatever an editor made of its
    /// breaks; and what a shell indents to its prompt is not indented.
    fn recall(&self, text: String, col: usize) -> String {
        if let Some(before) = self.history.iter().rev().find(|before| same(before, &text)) {
            return before.clone();
        }
        let blank = |line: &str| line.chars().take_while(|ch| *ch == ' ').count() >= col;
        if !text.contains('\n') || !text.lines().skip(1).all(blank) {
            return text;
        }
        let lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| if at == 0 { line } else { line.get(col..).unwrap_or("") });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The line that waited takes effect.
    pub(super) fn settle(&mut self, terminal: &Terminal) {
        let Some(candidate) = self.candidate.take() else { return };
        let Some(position) = self.entered.iter().position(|line| !line.echoed) else { return };
        let Some(mut line) = self.entered.remove(position) else { return };
        if !self.has_input {
            line.elapsed = candidate.elapsed;
        }
        // A line editor that stayed at work has taken several lines for one.
        if line.edit.editor && candidate.breaks > 1 {
            self.absorb(&mut line, position, &candidate);
        }
        let below = match terminal.active_screen_kind() {
            ScreenKind::Primary => self.rows.cursor(terminal).row,
            ScreenKind::Alternate => (candidate.row + 1).min(terminal.size().1 as u64 - 1),
        };
        self.accept(terminal, &line, candidate, below);
    }

    /// Takes in the lines that followed, where the screen holds them together.
    pub(super) fn absorb(&mut self, line: &mut Line, position: usize, candidate: &Candidate) {
        let mut joined = line.model.text();
        let mut count = 0;
        for (index, next) in self.entered.iter().skip(position).enumerate() {
            joined.push('\n');
            joined.push_str(&next.model.text());
            if same(&joined, &candidate.text) {
                count = index + 1;
                break;
            }
        }
        for _ in 0..count {
            if let Some(next) = self.entered.remove(position) {
                line.elapsed = next.elapsed;
                line.model.append(&next.model);
            }
        }
    }

    pub(super) fn accept(&mut self, terminal: &Terminal, line: &Line, candidate: Candidate, below: u64) {
        let Candidate { place, mut prompt, found, text: mut shown, unmoved, .. } = candidate;
        if self.prompts.exact(&prompt).is_none() {
            let plain = prompt::ungarble(&prompt);
            if plain != prompt && (line.edit.known || self.prompts.exact(&plain).is_some()) {
                (prompt, shown) = (plain, prompt::ungarble(&shown));
            }
        }
        let edit = &line.edit;
        let typed = line.model.text();
        let certain = line.model.certainty == Certainty::Certain;
        let continues = self.continues(place, &prompt);
        let last_row = self.rows.left(terminal, Place { row: below.saturating_sub(1), col: usize::MAX });
        let after_prompt = edit.disturbed && self.prompts.beginning(&last_row).is_some();
        let here = edit.known && place == edit.start;
        let asks = if edit.marked || after_prompt || here {
            Asks::Shell
        } else {
            self.prompts.judge(&prompt, self.running)
        };
        let at_shell = matches!(asks, Asks::Shell | Asks::NewShell);
        if !self.has_input && (shown.ends_with("^C") || !(at_shell || continues || asks == Asks::Repl)) {
            return;
        }
        if typed.trim().is_empty() && shown.is_empty() {
            if continues && let Some(open) = &mut self.open {
                open.entry.command.push('\n');
                open.below = below;
                open.capture = Capture::new(terminal, below);
                return;
            }
            if asks == Asks::NewShell && prompt::is_shellish(prompt.trim()) {
                self.prompts.learn(&prompt);
            }
            return;
        }
        let agreed = line.model.certainty >= Certainty::Plausible && same(&typed, &shown);
        let other_start = shown.chars().next() != typed.chars().next();
        // A multiplexer may draw what comes next before it has drawn all of what was typed.
        let begun = certain
            && edit.screen == ScreenKind::Alternate
            && (at_shell || !shown.is_empty())
            && typed.starts_with(&shown);
        let text = if agreed || begun || (certain && (edit.disturbed || !found)) {
            Some(typed)
        } else if !found {
            Some(line.seen.clone())
        } else if shown.is_empty() {
            (certain && edit.editor && !unmoved).then_some(typed)
        } else if !typed.is_empty()
            && ((hides(&shown) && typed != shown) || (certain && !edit.editor && !at_shell && other_start))
        {
            // Stars, or what a program said instead of an echo.
            None
        } else {
            Some(shown)
        };
        let Some(text) = text else {
            self.secret_asked = Some(line.elapsed);
            self.hide_echoed();
            self.push(terminal, Kind::Password, REDACTED.to_owned(), line.elapsed, &prompt, below, false);
            return;
        };
        let mut text = text.trim_end().to_owned();
        if text.trim().is_empty() {
            return;
        }
        if !certain && at_shell {
            text = self.recall(text, place.col);
        }
        if continues && let Some(open) = &mut self.open {
            open.entry.command.push('\n');
            open.entry.command.push_str(&text);
            open.below = below;
            open.capture = Capture::new(terminal, below);
            if open.entry.kind == Kind::Shell {
                self.running = shell::starts(&open.entry.command);
            }
            return;
        }
        let kind = match asks {
            Asks::Shell | Asks::NewShell => Kind::Shell,
            Asks::Repl => Kind::Repl,
            Asks::Program => Kind::Stdin,
        };
        if kind == Kind::Stdin {
            // A program may have read it, or a shell will: that shows at the next prompt.
            let mut line = line.clone();
            line.echoed = true;
            line.seen = text;
            let position = self.entered.iter().position(|line| !line.echoed).unwrap_or(self.entered.len());
            self.entered.insert(position, line);
            return;
        }
        if asks == Asks::NewShell {
            self.prompts.learn(&prompt);
        }
        if kind == Kind::Shell {
            self.plain_shell = !edit.editor;
            self.close(terminal, Place { row: place.row, col: 0 });
            self.flush_echoed();
        }
        self.push(terminal, kind, text, line.elapsed, &prompt, below, edit.marked);
    }
}

/// Whether two lines are the same but for blanks and where they are broken.
fn same(one: &str, other: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|ch| !ch.is_whitespace()).collect::<String>();
    letters(one) == letters(other)
}

/// Shown instead of what is typed.
fn hides(shown: &str) -> bool {
    let mut chars = shown.chars();
    chars.next().is_some_and(|first| matches!(first, '*' | '•' | '●' | 'x') && chars.all(|ch| ch == first))
}

/// What of `shown` follows the longest beginning that it has in common with `typed`.
fn strip_common<'a>(shown: &'a str, typed: &str) -> Option<&'a str> {
    let length = shown.char_indices().zip(typed.chars()).take_while(|((_, a), b)| a == b).count();
    shown.char_indices().nth(length).map(|(start, _)| &shown[start..])
}

trait Later {
    fn max_by_row(self, other: Self) -> Self;
}

impl Later for Option<Place> {
    fn max_by_row(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(other)) => Some(if other.row > one.row { other } else { one }),
            (one, other) => one.or(other),
        }
    }
}
