//! Entries: the one whose output is coming, and those that are over.

use avt::Terminal;

use super::{
    Confidence, DetectedCommand, Kind, REDACTED, Source,
    keys::Key,
    lines::Open,
    preview::Capture,
    rows::Place,
    shell::{self, Starts},
    watch::Watch,
};
use crate::time::Elapsed;

/// Commands that are remembered, to know them again.
const MAX_HISTORY: usize = 32;

impl Watch {
    /// Makes an entry the last one; the one before it is over.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one entry")]
    pub(super) fn push(
        &mut self,
        terminal: &Terminal,
        kind: Kind,
        command: String,
        elapsed: Elapsed,
        prompt: &str,
        below: u64,
        marked: bool,
    ) {
        if command.trim().is_empty() {
            return;
        }
        self.close(terminal, Place { row: below.saturating_sub(1), col: 0 });
        if kind == Kind::Shell {
            self.running = shell::starts(&command);
            if self.running == Starts::Multiplexer {
                self.multiplexer = Some(if command.contains("screen") { Key::CtrlA } else { Key::CtrlB });
            }
            self.secret_asked = None;
        }
        let (source, confidence) =
            if marked { (Source::Osc133, Confidence::Exact) } else { (Source::Screen, Confidence::Inferred) };
        let remembered = command.clone();
        let entry = DetectedCommand {
            elapsed,
            until: None,
            command,
            output_preview: String::new(),
            source,
            confidence,
            kind,
            exit_code: None,
        };
        if kind == Kind::Shell && remembered.len() < 4096 {
            self.history.push_back(remembered);
            if self.history.len() > MAX_HISTORY {
                self.history.pop_front();
            }
        }
        self.below = below;
        self.prompt_start = None;
        self.input_mark = None;
        let capture = Capture::new(terminal, below);
        self.open = Some(Open { entry, capture, prompt: prompt.to_owned(), below });
    }

    /// The output of the last entry is over, at the latest here.
    pub(super) fn close(&mut self, terminal: &Terminal, end: Place) {
        let Some(Open { mut entry, capture, .. }) = self.open.take() else { return };
        let (end, until) = match self.prompt_start {
            Some((place, when)) if place.row >= capture.start() && place.row <= end.row => (place, when),
            _ => (end, self.shown),
        };
        entry.until = Some(until);
        entry.output_preview = capture.finish(terminal, &self.rows, end);
        self.ready.push(entry);
        self.rows.forget();
    }

    /// Lines that were shown elsewhere, and that no prompt took up, were read by a program; but a shell
    /// without a line editor that has left prompts behind has taken as many of the last.
    pub(super) fn flush_echoed(&mut self) {
        self.flush_some(usize::MAX);
    }

    pub(super) fn flush_some(&mut self, count: usize) {
        let echoed = self.entered.iter().take(count).filter(|line| line.echoed).count();
        let taken = std::mem::take(&mut self.prompts_left).min(echoed);
        let mut left = echoed;
        let mut position = 0;
        while left > 0 && position < self.entered.len() {
            if !self.entered[position].echoed {
                position += 1;
                continue;
            }
            let Some(line) = self.entered.remove(position) else { break };
            let ahead = line.edit.prompt.trim().is_empty()
                && self.secret_asked.is_some_and(|when| line.elapsed < when);
            let kind = if ahead {
                Kind::Password
            } else if left <= taken {
                Kind::Shell
            } else {
                Kind::Stdin
            };
            left -= 1;
            let command = if kind == Kind::Password {
                REDACTED.to_owned()
            } else if line.seen.is_empty() {
                line.model.text()
            } else {
                line.seen
            };
            if command.trim().is_empty() {
                continue;
            }
            self.ready.push(DetectedCommand {
                elapsed: line.elapsed,
                until: None,
                command,
                output_preview: String::new(),
                source: Source::Screen,
                confidence: Confidence::Inferred,
                kind,
                exit_code: None,
            });
        }
    }

    /// A secret was asked for after something was typed ahead: that may have been the secret.
    pub(super) fn hide_echoed(&mut self) {
        let secrets: Vec<String> =
            self.entered.iter().filter(|line| line.echoed).map(|line| line.model.text()).collect();
        let entries = self.ready.iter_mut().chain(self.open.as_mut().map(|open| &mut open.entry));
        for entry in entries {
            for secret in secrets.iter().filter(|secret| secret.len() > 2) {
                entry.output_preview = entry.output_preview.replace(secret.as_str(), REDACTED);
            }
        }
    }
}
