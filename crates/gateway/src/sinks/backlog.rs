//! What waits for the screen: bounded, and cheap to fall behind in.
//!
//! A flood of plain text is cut to what can still be seen of it when too much waits: lines that
//! have scrolled away leave no trace on a screen. Other output is never cut: beyond [`HARD_BYTES`] the session waits.
//!
//! Known to be wrong after a cut: a screen whose scrolled region is not the whole screen, with the cursor
//! outside of it; and a command that was typed ahead and whose prompt has no escape sequence is missed.

use std::{collections::VecDeque, sync::Mutex};

use bytes::{Bytes, BytesMut};
use sojourn_domain::time::Elapsed;
use tokio::sync::{Notify, oneshot};

use super::screen::Snapshot;
use crate::session::handle::{Ended, Watcher};

/// Waiting bytes from which on plain text is cut.
const SOFT_BYTES: usize = 1024 * 1024;
/// Waiting bytes from which on the session waits.
const HARD_BYTES: usize = 8 * 1024 * 1024;
/// Waiting bytes from which on it is time to work on them, where nobody looks.
const PRESSING_BYTES: usize = 64 * 1024;
/// Plain text is gathered to this size before it is cut, so that cutting costs little.
const TAIL_BYTES: usize = 256 * 1024;
/// Lines that are kept of a cut text: more than any screen has in the emulator.
const TAIL_LINES: usize = 600;

#[derive(Debug)]
pub(crate) enum Item {
    Output(Elapsed, Bytes),
    /// So many bytes of output were cut.
    Skipped(u64),
    Input(Elapsed, Bytes),
    Resize(Elapsed, u16, u16),
    Watch(Box<Watcher>),
    Snapshot(oneshot::Sender<Snapshot>),
    Finish(Box<Ended>),
}

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    pub(crate) arrived: Notify,
    /// Something does not suffer waiting for more: somebody asks, or much has arrived.
    pub(crate) pressing: Notify,
    room: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// The newest of what waits: plain text that is being gathered.
    tail: BytesMut,
    tail_at: Elapsed,
    skipped: u64,
}

impl Backlog {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn output(&self, elapsed: Elapsed, bytes: &Bytes) {
        let mut waiting = self.waiting();
        waiting.output(elapsed, bytes);
        let pressing = waiting.bytes >= PRESSING_BYTES;
        drop(waiting);
        self.tell(pressing);
    }

    fn tell(&self, pressing: bool) {
        self.arrived.notify_one();
        if pressing {
            self.pressing.notify_one();
        }
    }

    pub(crate) fn push(&self, item: Item) {
        let mut waiting = self.waiting();
        waiting.seal_tail();
        if let Item::Input(_, bytes) = &item {
            waiting.bytes += bytes.len();
        }
        let pressing = waiting.bytes >= PRESSING_BYTES
            || matches!(item, Item::Watch(_) | Item::Snapshot(_) | Item::Finish(_));
        waiting.items.push_back(item);
        drop(waiting);
        self.tell(pressing);
    }

    pub(crate) fn pop(&self) -> Option<Item> {
        let mut waiting = self.waiting();
        if waiting.items.is_empty() {
            waiting.seal_tail();
        }
        let item = waiting.items.pop_front();
        if let Some(Item::Output(_, bytes) | Item::Input(_, bytes)) = &item {
            let full = waiting.bytes >= HARD_BYTES;
            waiting.bytes -= bytes.len();
            if full && waiting.bytes < HARD_BYTES {
                self.room.notify_one();
            }
        }
        if waiting.items.is_empty() && waiting.items.capacity() > 64 {
            waiting.items = VecDeque::new();
        }
        item
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting().bytes < HARD_BYTES
    }

    /// Waits for room. The one waiter is the session's actor.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            self.room.notified().await;
        }
    }
}

impl Waiting {
    fn output(&mut self, elapsed: Elapsed, bytes: &Bytes) {
        self.bytes += bytes.len();
        if self.bytes < SOFT_BYTES || !plain(bytes) {
            self.seal_tail();
            self.items.push_back(Item::Output(elapsed, bytes.clone()));
            return;
        }
        if self.tail.is_empty() {
            self.tail_at = elapsed;
        }
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= TAIL_BYTES
            && let Some(cut) = cut(&self.tail)
        {
            let _ = self.tail.split_to(cut);
            self.bytes -= cut;
            self.skipped += cut as u64;
            self.tail_at = elapsed;
        }
    }

    fn seal_tail(&mut self) {
        if self.skipped > 0 {
            self.items.push_back(Item::Skipped(std::mem::take(&mut self.skipped)));
        }
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail).freeze();
            self.items.push_back(Item::Output(self.tail_at, tail));
        }
    }
}

/// Text that does nothing to a terminal but print and go to the next line.
fn plain(bytes: &[u8]) -> bool {
    // 0xC2 begins the C1 controls in UTF-8.
    bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e | 0x80..=0xc1 | 0xc3..=0xff | b'\r' | b'\n' | b'\t'))
}

/// Where the last [`TAIL_LINES`] lines begin, if they begin in the first column.
fn cut(text: &[u8]) -> Option<usize> {
    let mut lines = 0;
    for (at, byte) in text.iter().enumerate().rev() {
        if *byte == b'\n' {
            lines += 1;
            if lines > TAIL_LINES && at > 0 && text[at - 1] == b'\r' {
                return Some(at + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(backlog: &Backlog) -> (Vec<u8>, u64) {
        let (mut text, mut skipped) = (Vec::new(), 0);
        while let Some(item) = backlog.pop() {
            match item {
                Item::Output(_, bytes) => text.extend_from_slice(&bytes),
                Item::Skipped(bytes) => skipped += bytes,
                Item::Input(..) | Item::Resize(..) | Item::Watch(_) | Item::Snapshot(_) | Item::Finish(_) => {
                }
            }
        }
        (text, skipped)
    }

    #[test]
    fn a_flood_of_plain_text_is_cut_to_its_last_lines() {
        let backlog = Backlog::default();
        let mut all = Vec::new();
        for number in 0..2_000_000 {
            all.extend_from_slice(format!("line {number}\r\n").as_bytes());
        }
        for piece in all.chunks(32 * 1024) {
            backlog.output(Elapsed::ZERO, &Bytes::copy_from_slice(piece));
            assert!(backlog.has_room());
        }
        let (text, skipped) = drain(&backlog);
        assert_eq!(text.len() as u64 + skipped, all.len() as u64);
        assert!(text.len() < 2 * SOFT_BYTES && text.ends_with(&all[all.len() - 4000..]));
        assert_eq!(backlog.waiting().bytes, 0);
    }

    #[test]
    fn what_draws_is_never_cut_and_waits_for_room() {
        let backlog = Backlog::default();
        let piece = Bytes::from("\x1b[31mred\x1b[0m\r\n".repeat(2000));
        let mut sent = 0;
        while backlog.has_room() {
            backlog.output(Elapsed::ZERO, &piece);
            sent += piece.len();
        }
        let (text, skipped) = drain(&backlog);
        assert_eq!((text.len(), skipped), (sent, 0));
        assert!(backlog.has_room());
    }
}
