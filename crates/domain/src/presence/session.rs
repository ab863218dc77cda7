//! Presence sessions, and how events make them.

use std::net::IpAddr;

use crate::{
    id::PresenceSessionId,
    presence::{DeviceNumber, EventKind, PresenceEvent},
    time::Timestamp,
};

/// How a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Known {
        at: Timestamp,
        kind: EventKind,
    },
    /// Nobody saw it begin.
    Missing,
}

/// How a session ended, or that it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open,
    Known {
        at: Timestamp,
        kind: EventKind,
    },
    /// It ended at some time after `last_seen`, unseen.
    Missing {
        last_seen: Timestamp,
        kind: EventKind,
    },
}

/// An interval in which a device was on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceSession {
    pub id: PresenceSessionId,
    pub device: DeviceNumber,
    pub start: Start,
    pub end: End,
    pub ip: Option<IpAddr>,
    pub info: String,
    /// The events that made its boundaries.
    pub opening_seq: Option<i64>,
    pub closing_seq: Option<i64>,
}

impl PresenceSession {
    /// Where it lies in time: its start, or the earliest moment that is known of it.
    pub fn from(&self) -> Timestamp {
        match (self.start, self.end) {
            (Start::Known { at, .. }, _) => at,
            (Start::Missing, End::Known { at, .. } | End::Missing { last_seen: at, .. }) => at,
            (Start::Missing, End::Open) => Timestamp::MIN,
        }
    }

    /// The last moment at which it is known to have lasted; `None` while open.
    pub fn until(&self) -> Option<Timestamp> {
        match self.end {
            End::Open => None,
            End::Known { at, .. } | End::Missing { last_seen: at, .. } => Some(at),
        }
    }

    pub fn is_open(&self) -> bool {
        self.end == End::Open
    }
}

/// A session as events tell it, without an identity of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    pub start: Start,
    pub end: End,
    pub ip: Option<IpAddr>,
}

/// The sessions of one device, from all its events in any order.
///
/// The tracker never needs it: this is the definition against which it is tested, and what a
/// repair would run.
pub fn replay(events: &[PresenceEvent]) -> Vec<Replayed> {
    let mut boundaries: Vec<&PresenceEvent> =
        events.iter().filter(|event| event.kind.opens() || event.kind.closes()).collect();
    // At one moment a session can only begin and end, never end and begin: a sighting at the very
    // moment of an end lies inside the session.
    boundaries.sort_by_key(|event| (event.at, event.kind.closes(), event.seq));
    let mut sessions: Vec<Replayed> = Vec::new();
    for event in boundaries {
        let open = sessions.last_mut().filter(|session| session.end == End::Open);
        if event.kind.opens() {
            if let Some(open) = open {
                open.end = End::Missing { last_seen: event.at, kind: EventKind::Missing };
            }
            let start = Start::Known { at: event.at, kind: event.kind };
            sessions.push(Replayed { start, end: End::Open, ip: event.ip });
            continue;
        }
        let end = end_of(event);
        match open {
            Some(open) => open.end = end,
            None => sessions.push(Replayed { start: Start::Missing, end, ip: event.ip }),
        }
    }
    sessions
}

/// The end that a closing event gives its session.
pub fn end_of(closing: &PresenceEvent) -> End {
    if closing.certain {
        End::Known { at: closing.at, kind: closing.kind }
    } else {
        End::Missing { last_seen: closing.at, kind: closing.kind }
    }
}
