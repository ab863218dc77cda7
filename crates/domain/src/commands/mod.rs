//! The command log: what was entered in a terminal, read off what was typed and what was shown.
//!
//! Owns the detector and the words of its answers. Refuses to know where they are kept, and who typed.
//!
//! # How it works
//! What stands left of the cursor when somebody begins to type is the prompt, and where it stands the
//! line begins. The line is read off the emulated screen when it takes effect: at the line feed that
//! answers Enter, or, where a line editor says so by switching bracketed paste off, when it lets go. The
//! keys are followed as well; what they tell is used where the screen cannot: for lines typed ahead,
//! torn apart by other output, or not echoed, which are secrets and never kept. A prompt is a shell's if
//! it was one before, looks like one that was, or appears after a command that starts a shell; others
//! belong to programs. Where the shell marks its lines (OSC 133) nothing is guessed.
//!
//! # What it is known to miss
//! Each of these has a recording or a test, and none of them invents a command but the first.
//! - `histverify` and the like, where Enter only expands: the line counts as entered (`bash_bang`).
//! - Panes beside each other in a multiplexer: rows hold lines of both (`bash_tmux_split`).
//! - Keys other than characters, typed ahead before the first prompt of a session (`zsh_slow_start`).
//! - Without the input: several lines shown at once, secrets, zsh lines that were given up.
//! - A command that an editor brought back (`C-x C-e` in bash) is known by its first line.
//! - What is typed into programs that read key by key, or that take the screen, is no line.

mod detector;
mod effects;
mod entries;
mod flood;
mod keys;
mod lines;
mod marks;
mod model;
mod preview;
mod prompt;
mod rows;
mod shell;
mod typing;
mod watch;

use std::fmt;

pub use detector::Detector;

use crate::time::Elapsed;

/// How an entry became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The command of an exec request.
    Exec,
    /// The shell marked its prompt and its commands (OSC 133).
    Osc133,
    /// Read off the screen and the input.
    Screen,
}

/// How sure an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Confidence {
    Exact,
    Inferred,
}

/// What was entered into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A command line, into a shell.
    Shell,
    /// A line, into a program that prompts for lines, such as a database client.
    Repl,
    /// A line, into another program.
    Stdin,
    /// Something that was not echoed. The entry says [`REDACTED`].
    Password,
}

/// Stands where a secret was typed.
pub const REDACTED: &str = "[redacted]";

macro_rules! keys {
    ($($name:ident { $($case:ident = $key:literal),* })*) => {
        $(impl $name {
            /// The word in the API and in the store.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$case => $key),* }
            }

            pub fn from_key(key: &str) -> Option<Self> {
                match key { $($key => Some(Self::$case),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.key())
            }
        })*
    };
}

keys! {
    Source { Exec = "exec", Osc133 = "osc133", Screen = "screen" }
    Confidence { Exact = "exact", Inferred = "inferred" }
    Kind { Shell = "shell", Repl = "repl", Stdin = "stdin", Password = "password" }
}

/// One entry of the command log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedCommand {
    /// When it was entered.
    pub elapsed: Elapsed,
    /// When its output was over; absent where the session ended first.
    pub until: Option<Elapsed>,
    /// The final text, after editing, history and completion; lines are joined by `\n`.
    pub command: String,
    /// The first lines of what it showed, as a person saw them.
    pub output_preview: String,
    pub source: Source,
    pub confidence: Confidence,
    pub kind: Kind,
    /// Where the shell told it.
    pub exit_code: Option<u8>,
}

/// A screen, as the escape sequences that draw it on an empty terminal of its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub cols: u16,
    pub rows: u16,
    pub dump: String,
}
