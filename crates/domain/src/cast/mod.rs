//! The asciicast codec: how a terminal session is written down.
//!
//! Owns the text of a recording (asciicast v2, <https://docs.asciinema.org/manual/asciicast/v2/>), the
//! decoding of its bytes into characters, and what a person would have read on the screen. Refuses to
//! know where recordings are kept, and what the bytes meant.

mod reader;
mod transcript;
mod utf8;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{CastError, Event, EventData, Reader};
pub use transcript::Transcript;
pub use utf8::Utf8Stream;
pub use writer::Writer;

use std::collections::BTreeMap;

/// The media type of a recording.
pub const CONTENT_TYPE: &str = "application/x-asciicast";

/// What stands in front of the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    pub cols: u16,
    pub rows: u16,
    /// When the recording began, in whole seconds since 1970.
    pub timestamp: Option<i64>,
    pub title: Option<String>,
    /// Such as `SHELL` and `TERM`. Never what a user has set: it may be secret.
    pub env: BTreeMap<String, String>,
}

/// The largest screen that is emulated: a client names its size, and memory follows it.
const MAX_SIDE: u16 = 1000;

pub(crate) fn bounded(cols: u16, rows: u16) -> (usize, usize) {
    (usize::from(cols.clamp(1, MAX_SIDE)), usize::from(rows.clamp(1, MAX_SIDE)))
}

/// An emulated terminal without a history.
pub(crate) fn terminal(cols: u16, rows: u16) -> avt::Terminal {
    let (cols, rows) = bounded(cols, rows);
    match avt::Terminal::new(cols, rows) {
        Ok(terminal) => terminal,
        Err(_) => unreachable!("both sides are at least 1"),
    }
}
