//! A file's content on its way in one direction.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;

/// What is known of content that passes. It is hashed as long as it goes through in order from the beginning.
#[derive(Default)]
pub(super) struct Moving {
    /// It was tried at all.
    pub(super) attempted: bool,
    /// Where the first piece belongs.
    pub(super) offset: u64,
    /// Bytes that arrived at the other side, as far as that is known.
    pub(super) bytes: u64,
    /// The end of the farthest piece that arrived.
    pub(super) end: u64,
    /// Where the next piece must belong for the hash to go on.
    next: u64,
    hash: Option<Context>,
    broken: bool,
}

impl Moving {
    /// A piece is asked for, or announced.
    pub(super) fn attempt(&mut self, offset: u64) {
        if !self.attempted {
            self.attempted = true;
            self.offset = offset;
        }
    }

    /// A piece begins.
    pub(super) fn begin(&mut self, offset: u64) {
        self.attempt(offset);
        if offset != self.next {
            self.spoil();
        }
    }

    /// A part of the piece that has begun.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.next += bytes.len() as u64;
            self.hash.get_or_insert_with(|| Context::new(&SHA256)).update(bytes);
        }
    }

    /// A piece has arrived.
    pub(super) fn arrived(&mut self, offset: u64, length: u64) {
        self.bytes = self.bytes.saturating_add(length);
        self.end = self.end.max(offset.saturating_add(length));
    }

    /// The hash can not become that of a whole file any more.
    pub(super) fn spoil(&mut self) {
        self.broken = true;
        self.hash = None;
    }

    /// Whether everything up to here, and nothing else, was hashed and arrived.
    pub(super) fn is_all_until(&self, end: u64) -> bool {
        !self.broken && self.next == end && self.bytes == end
    }

    /// SHA-256 of what went through; `None` where it did not go in order.
    pub(super) fn sha256(&mut self) -> Option<String> {
        if self.broken {
            return None;
        }
        let hash = self.hash.take().unwrap_or_else(|| Context::new(&SHA256));
        self.broken = true;
        Some(HEXLOWER.encode(hash.finish().as_ref()))
    }
}
