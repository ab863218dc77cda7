//! What the tracker wants written: the difference since the last time it was asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    id::{PresenceSessionId, SourceId},
    presence::{DeviceNumber, EventKind, Gap, PresenceEvent, PresenceSession},
    time::Timestamp,
};

/// When a device was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub device: DeviceNumber,
    pub at: Timestamp,
}

/// An address a device has or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRow {
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// A source knows a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRelation {
    pub seen_at: Timestamp,
    pub held_until: Option<Timestamp>,
}

/// An event that late evidence disproved, and what it says since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoidedEvent {
    pub seq: i64,
    pub kind: EventKind,
    pub info: String,
}

/// Everything in it belongs into one transaction. Keys are unique: the newest state wins.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Devices to insert; their rows are read from the tracker.
    pub new_devices: BTreeSet<DeviceNumber>,
    /// Devices whose row differs from the store's.
    pub devices: BTreeSet<DeviceNumber>,
    pub seen: Vec<Seen>,
    pub addresses: BTreeMap<(DeviceNumber, IpAddr), AddressRow>,
    pub relations: BTreeMap<(DeviceNumber, SourceId), SourceRelation>,
    pub events: Vec<PresenceEvent>,
    pub voided: Vec<VoidedEvent>,
    pub removed_sessions: BTreeSet<PresenceSessionId>,
    pub sessions: BTreeMap<PresenceSessionId, PresenceSession>,
    /// Sources whose row differs from the store's.
    pub sources: BTreeSet<SourceId>,
    pub gaps: BTreeMap<crate::id::GapId, (SourceId, Gap)>,
    pub removed_gaps: BTreeSet<crate::id::GapId>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.new_devices.is_empty()
            && self.devices.is_empty()
            && self.seen.is_empty()
            && self.addresses.is_empty()
            && self.relations.is_empty()
            && self.events.is_empty()
            && self.voided.is_empty()
            && self.removed_sessions.is_empty()
            && self.sessions.is_empty()
            && self.sources.is_empty()
            && self.gaps.is_empty()
            && self.removed_gaps.is_empty()
    }
}
