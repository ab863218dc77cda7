//! Turns sightings into events and sessions, incrementally.
//!
//! Pure: the caller passes the time and randomness in, and writes what [`Tracker::take_changes`]
//! returns to the store in one transaction. Work is proportional to what changed.
//!
//! The rules, in the order in which the code follows them:
//! - *Present*: any sighting opens a session or keeps it open ([`devices`]).
//! - *Absent*: only when every source responsible for the device has completed at least two scans
//!   without it, for longer than the grace period. A source that cannot see says nothing
//!   ([`absence`]).
//! - *When*: a session ends when the device was last seen. Where a gap hid the leaving, the end is
//!   missing instead of invented.
//! - *Late facts* extend, join or add sessions; events they disprove are voided ([`devices`]).
//! - Sessions entered by hand are never touched; while one is open, no other opens.
//!
//! Known to miss: an absence shorter than two scans of the responsible sources; a change of IPv6
//! addresses makes no event, because privacy addresses change daily by design.

mod absence;
mod addresses;
mod changes;
mod devices;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

pub use addresses::Address;
pub use changes::{AddressRow, Changes, Seen, SourceRelation, VoidedEvent};
pub use devices::{Device, History, Observed, OpenSession, Relation};
pub use sources::{SourceConfig, SourceState};

use crate::{
    id::{Id, Kind, SourceId},
    mac::MacAddr,
    presence::{DeviceNumber, EventKind, GapReason, PresenceEvent, Scan},
    time::{Elapsed, Timestamp},
};

/// Without a device's own or its source's: how long a device may be unseen before it is absent.
pub const DEFAULT_GRACE: Elapsed = Elapsed::from_minutes(2);
/// How long a device that may sleep can be unseen.
pub const SLEEP_GRACE: Elapsed = Elapsed::from_minutes(30);
/// How long a listening source must hear nothing before its silence counts.
pub const QUIET: Elapsed = Elapsed::from_minutes(30);

/// What people are told of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceState {
    Online,
    /// Unseen for a while, as it may be.
    Sleeping,
    /// Unseen, but whoever would see it cannot look.
    Unknown,
    /// Absent, and to be alerted about.
    Down,
    Offline,
}

impl DeviceState {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Sleeping => "sleeping",
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Offline => "offline",
        }
    }
}

/// Draws ten random bytes for an id.
pub type Random = Box<dyn FnMut() -> [u8; 10] + Send>;

/// What an event says, before it is numbered.
struct Happening {
    kind: EventKind,
    at: Timestamp,
    ip: Option<IpAddr>,
    info: String,
    certain: bool,
}

/// Everything that is known of who is on the network.
pub struct Tracker {
    devices: BTreeMap<DeviceNumber, Device>,
    by_mac: HashMap<MacAddr, DeviceNumber>,
    sources: BTreeMap<SourceId, SourceState>,
    /// Devices with an open session of the tracker's own, by when they were last seen.
    unseen_longest: BTreeSet<(Timestamp, DeviceNumber)>,
    /// New IPv4 addresses that may replace the primary one.
    pending_ip: BTreeMap<DeviceNumber, IpAddr>,
    next_device: i64,
    next_seq: i64,
    random: Random,
    changes: Changes,
}

impl Tracker {
    /// Starts from what the store holds. `next_device` and `next_seq` are the first free numbers.
    pub fn new(
        sources: Vec<SourceState>,
        devices: Vec<Device>,
        next_device: i64,
        next_seq: i64,
        random: Random,
    ) -> Self {
        let mut tracker = Self {
            devices: BTreeMap::new(),
            by_mac: HashMap::new(),
            sources: sources.into_iter().map(|source| (source.config.id, source)).collect(),
            unseen_longest: BTreeSet::new(),
            pending_ip: BTreeMap::new(),
            next_device,
            next_seq,
            random,
            changes: Changes::default(),
        };
        for device in devices {
            tracker.insert_device(device);
        }
        tracker
    }

    /// The server was not running since each source was last known to see.
    pub fn resume(&mut self, now: Timestamp) {
        for source in self.sources.values_mut().filter(|source| source.config.enabled) {
            if source.alive_at.is_some() && source.open_gap.is_none() {
                let reason = GapReason::NotRunning;
                source.begin_gap(reason, "Sojourn was not running", now, &mut self.random, &mut self.changes);
            }
        }
    }

    /// Adds a source, or takes in what someone changed about it.
    pub fn configure_source(&mut self, config: SourceConfig, now: Timestamp) {
        let id = config.id;
        match self.sources.get_mut(&id) {
            None => {
                self.sources.insert(id, SourceState::new(config));
                self.changes.sources.insert(id);
            }
            Some(source) => source.configure(config, now, &mut self.random, &mut self.changes),
        }
    }

    /// The last numbered batch of a pusher was taken in.
    pub fn acknowledge(&mut self, source: SourceId, seq: i64) {
        if let Some(state) = self.sources.get_mut(&source) {
            state.last_seq = seq;
            self.changes.sources.insert(source);
        }
    }

    /// What has to be written since the last call, in one transaction.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    pub fn device(&self, mac: MacAddr) -> Option<&Device> {
        self.devices.get(self.by_mac.get(&mac)?)
    }

    pub fn device_by_number(&self, number: DeviceNumber) -> Option<&Device> {
        self.devices.get(&number)
    }

    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    pub fn source(&self, id: SourceId) -> Option<&SourceState> {
        self.sources.get(&id)
    }

    pub fn sources(&self) -> impl Iterator<Item = &SourceState> {
        self.sources.values()
    }

    /// A source finished a scan; its sightings were observed before.
    pub fn finish(&mut self, source: SourceId, scan: &Scan, seen: usize, now: Timestamp) {
        let Some(state) = self.sources.get_mut(&source) else { return };
        let complete = state.finish(scan, seen, now, &mut self.random, &mut self.changes);
        if complete {
            self.settle_addresses(source, scan, now);
            self.close_absent(source, now);
        }
    }

    /// Time passed: sources that fell silent are found out. Closes nothing.
    pub fn tick(&mut self, now: Timestamp) {
        for source in self.sources.values_mut() {
            source.notice_silence(now, &mut self.random, &mut self.changes);
        }
    }

    /// The times that only a restart needs, for the periodic flush.
    pub fn checkpoint(&mut self) {
        for device in self.devices.values_mut() {
            if let Some(seen) = device.take_unsaved_seen() {
                self.changes.seen.push(seen);
            }
        }
        for source in self.sources.values() {
            self.changes.sources.insert(source.config.id);
        }
    }

    pub(in crate::presence) fn new_id<K: Kind>(&mut self, now: Timestamp) -> Id<K> {
        Id::new(now, (self.random)())
    }

    fn emit(&mut self, device: DeviceNumber, happening: Happening, now: Timestamp) -> i64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let Happening { kind, at, ip, info, certain } = happening;
        self.changes.events.push(PresenceEvent {
            seq,
            device,
            at,
            recorded_at: now,
            kind,
            ip,
            info,
            certain,
        });
        seq
    }
}
