//! One page of a list in an order that no index has, found in bounded memory.
//!
//! Rows come in any order, several times over if need be: each visit keeps the first so many that come
//! after a bound, and the last of them is the next bound. So a page is found however deep it lies, and memory
//! holds a number of ranks that does not grow with the list.

use std::cmp::{Ordering, Reverse};

use sojourn_domain::{id::PresenceSessionId, time::Timestamp};

/// What a row is sorted by; rows that are alike go by their place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(i128),
    Text(String),
}

/// Where a row stands in time, the latest first. It stays the same while rows are added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Reverse<Timestamp>, Tie);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    Event(Reverse<i64>),
    Session(Reverse<PresenceSessionId>),
}

impl Place {
    pub(super) fn event(at: Timestamp, seq: i64) -> Self {
        Self(Reverse(at), Tie::Event(Reverse(seq)))
    }

    pub(super) fn session(from: Timestamp, id: PresenceSessionId) -> Self {
        Self(Reverse(from), Tie::Session(Reverse(id)))
    }
}

/// A row's key and place.
pub(super) type Rank = (Key, Place);

/// Which way ranks go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direction {
    pub(super) ascending: bool,
    /// From the end of the list, for pages that are nearer to it.
    pub(super) backwards: bool,
}

impl Direction {
    fn compare(self, a: &Rank, b: &Rank) -> Ordering {
        let keys = if self.ascending { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) };
        // The latest of those that are alike come first either way.
        let ranks = keys.then_with(|| a.1.cmp(&b.1));
        if self.backwards { ranks.reverse() } else { ranks }
    }
}

/// Keeps the first rows after a bound.
pub(super) struct Finder<T> {
    direction: Direction,
    after: Option<Rank>,
    keep: usize,
    /// At most twice what is kept, so that cutting it costs little for each row.
    kept: Vec<(Rank, T)>,
}

impl<T> Finder<T> {
    /// Keeps up to `keep` rows of those that come after `after`.
    pub(super) fn new(direction: Direction, after: Option<Rank>, keep: usize) -> Self {
        Self { direction, after, keep, kept: Vec::new() }
    }

    pub(super) fn offer(&mut self, rank: Rank, row: T) {
        let compare = |a: &Rank, b: &Rank| self.direction.compare(a, b);
        if self.keep == 0
            || self.after.as_ref().is_some_and(|after| compare(&rank, after) != Ordering::Greater)
        {
            return;
        }
        self.kept.push((rank, row));
        if self.kept.len() >= self.keep.saturating_mul(2) {
            self.kept.select_nth_unstable_by(self.keep - 1, |a, b| compare(&a.0, &b.0));
            self.kept.truncate(self.keep);
        }
    }

    /// The rows in their order.
    pub(super) fn into_rows(mut self) -> Vec<(Rank, T)> {
        self.kept.sort_unstable_by(|a, b| self.direction.compare(&a.0, &b.0));
        self.kept.truncate(self.keep);
        self.kept
    }
}
