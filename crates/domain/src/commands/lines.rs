//! Lines on their way from the keys to an entry.

use avt::ScreenKind;

use super::{DetectedCommand, model::Model, preview::Capture, rows::Place};
use crate::time::Elapsed;

/// Where and at what a line is typed.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    /// Where the line begins on the screen.
    pub(super) start: Place,
    /// What stood left of the line in its first row.
    pub(super) prompt: String,
    /// What stood right of it before anything was typed, such as a right prompt.
    pub(super) right: String,
    pub(super) screen: ScreenKind,
    /// A prompt was drawn after typing had begun: where the line is must be found out.
    pub(super) moved: bool,
    /// Something else was shown while the line was typed.
    pub(super) disturbed: bool,
    /// A known prompt of a shell stands in front of it.
    pub(super) known: bool,
    /// The shell said where its line begins.
    pub(super) marked: bool,
    /// A line editor was at work.
    pub(super) editor: bool,
}

/// A line somebody types or has entered.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) model: Model,
    pub(super) edit: Edit,
    pub(super) began: Elapsed,
    /// When it was entered.
    pub(super) elapsed: Elapsed,
    /// It was shown, but not at the prompt of a shell: a program may have read it, or a shell will.
    pub(super) echoed: bool,
    /// What the screen held of it when it was entered.
    pub(super) seen: String,
    /// Nothing of it was on the screen when it was entered.
    pub(super) unseen: bool,
    /// It was on the screen when something else was shown.
    pub(super) shown: bool,
}

impl Line {
    pub(super) fn new(model: Model, edit: Edit, elapsed: Elapsed) -> Self {
        Self {
            model,
            edit,
            began: elapsed,
            elapsed,
            echoed: false,
            seen: String::new(),
            unseen: false,
            shown: false,
        }
    }
}

/// A line that was read off the screen and only waits for its editor to let go of it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) place: Place,
    /// What stands left of it.
    pub(super) prompt: String,
    /// The prompt was still there.
    pub(super) found: bool,
    pub(super) text: String,
    /// The row that was left.
    pub(super) row: u64,
    /// The cursor has not moved since typing began.
    pub(super) unmoved: bool,
    /// How many rows were left while it waited.
    pub(super) breaks: usize,
    pub(super) elapsed: Elapsed,
}

/// The last entry: its output is still coming.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) entry: DetectedCommand,
    pub(super) capture: Capture,
    pub(super) prompt: String,
    /// The row below the line, where either output or a prompt for more follows.
    pub(super) below: u64,
}
