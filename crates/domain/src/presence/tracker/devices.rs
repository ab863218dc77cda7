//! Devices, and where a sighting lies among their sessions.

use std::net::IpAddr;

use super::{Address, Changes, Happening, Seen, SourceRelation, Tracker, VoidedEvent};
use crate::{
    id::{PresenceSessionId, SourceId},
    mac::MacAddr,
    presence::{DeviceNumber, End, EventKind, Evidence, PresenceSession, Sighting, Start},
    time::{Elapsed, Timestamp},
};

/// What the tracker knows of a device.
#[derive(Debug, Clone)]
pub struct Device {
    pub number: DeviceNumber,
    pub mac: MacAddr,
    pub hostname: String,
    pub ip4: Option<IpAddr>,
    pub ip6: Option<IpAddr>,
    /// The device's own grace; its source's otherwise.
    pub grace: Option<Elapsed>,
    pub alert_down: bool,
    pub may_sleep: bool,
    /// It left while it was to be alerted about, and has not returned.
    pub down: bool,
    /// `None` for a device that was entered by hand and not seen yet.
    pub first_seen: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
    /// Sessions before this were deleted by hand and stay deleted.
    pub sessions_from: Timestamp,
    /// A session that was entered by hand is open; the tracker opens none beside it.
    pub manual_open: bool,
    pub open: Option<OpenSession>,
    /// The newest closed session of the tracker's own.
    pub last: Option<PresenceSession>,
    /// All sessions that began at or after this are `last` or `open`; older ones may be in the store.
    pub remembers_from: Timestamp,
    pub addresses: Vec<Address>,
    pub relations: Vec<Relation>,
    /// `last_seen` as the store has it.
    pub saved_seen: Option<Timestamp>,
}

/// The open session and when the device was last seen in it.
#[derive(Debug, Clone)]
pub struct OpenSession {
    pub session: PresenceSession,
    pub last_seen: Timestamp,
}

/// A source that knows the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    pub source: SourceId,
    pub seen_at: Timestamp,
    pub held_until: Option<Timestamp>,
    /// `seen_at` as the store has it.
    pub saved_at: Timestamp,
}

/// What became of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    Done,
    /// It lies before what is in memory: fetch the sessions around `at` and call
    /// [`Tracker::observe_late`].
    NeedsHistory {
        device: DeviceNumber,
        at: Timestamp,
    },
}

/// The tracker's own sessions around a moment: the last that began at or before it, and the next.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub previous: Option<PresenceSession>,
    pub next: Option<PresenceSession>,
}

impl Device {
    /// A device nobody has seen yet.
    pub fn new(number: DeviceNumber, mac: MacAddr) -> Self {
        Self {
            number,
            mac,
            hostname: String::new(),
            ip4: None,
            ip6: None,
            grace: None,
            alert_down: false,
            may_sleep: false,
            down: false,
            first_seen: None,
            last_seen: None,
            sessions_from: Timestamp::MIN,
            manual_open: false,
            open: None,
            last: None,
            remembers_from: Timestamp::MIN,
            addresses: Vec::new(),
            relations: Vec::new(),
            saved_seen: None,
        }
    }

    /// The address people know it by.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip4.or(self.ip6)
    }

    pub fn relation(&self, source: SourceId) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.source == source)
    }

    /// Whether it was known to the source.
    pub(super) fn forget_source(&mut self, source: SourceId) -> bool {
        let before = self.relations.len();
        self.relations.retain(|relation| relation.source != source);
        self.relations.len() != before
    }

    pub(super) fn take_unsaved_seen(&mut self) -> Option<Seen> {
        let at = self.last_seen.filter(|_| self.last_seen != self.saved_seen)?;
        self.saved_seen = Some(at);
        Some(Seen { device: self.number, at })
    }

    /// Writes down everything that is otherwise only flushed now and then.
    pub(super) fn save_whereabouts(&mut self, changes: &mut Changes) {
        changes.seen.extend(self.take_unsaved_seen());
        self.save_addresses(changes);
        for relation in &mut self.relations {
            relation.saved_at = relation.seen_at;
            save_relation(self.number, relation, changes);
        }
    }

    /// A session in memory may begin earlier than it did: nothing lies between its beginnings.
    fn reach_back_to(&mut self, session: &PresenceSession) {
        let known = |known: &PresenceSession| known.id == session.id;
        if self.last.as_ref().is_some_and(known)
            || self.open.as_ref().is_some_and(|open| known(&open.session))
        {
            self.remembers_from = self.remembers_from.min(session.from());
        }
    }

    fn recent(&self, at: Timestamp) -> History {
        let open = self.open.as_ref().map(|open| &open.session);
        let begun = |session: &&PresenceSession| session.from() <= at;
        let (previous, next) = match (self.last.as_ref(), open) {
            (_, Some(open)) if begun(&open) => (Some(open), None),
            (Some(last), open) if begun(&last) => (Some(last), open),
            (last, open) => (None, last.or(open)),
        };
        History { previous: previous.cloned(), next: next.cloned() }
    }
}

fn save_relation(device: DeviceNumber, relation: &Relation, changes: &mut Changes) {
    let row = SourceRelation { seen_at: relation.seen_at, held_until: relation.held_until };
    changes.relations.insert((device, relation.source), row);
}

/// Which boundary of a session an event made.
#[derive(Clone, Copy)]
enum Boundary {
    Start,
    End,
}

impl Boundary {
    fn voided(self) -> EventKind {
        match self {
            Self::Start => EventKind::VoidedConnected,
            Self::End => EventKind::VoidedDisconnected,
        }
    }
}

/// The end of a session that closed after `last_seen`.
pub(super) fn end(last_seen: Timestamp, kind: EventKind, certain: bool) -> End {
    if certain { End::Known { at: last_seen, kind } } else { End::Missing { last_seen, kind } }
}

/// Sources that look at the same time tell of one arrival in any order: evidence that is older than
/// the opening by no more than this confirms it, instead of voiding it for another.
const SAME_ARRIVAL: Elapsed = Elapsed::from_secs(10);

impl Tracker {
    /// A source saw a device. Sightings of one scan come before its `finish`.
    pub fn observe(&mut self, source: SourceId, sighting: &Sighting, now: Timestamp) -> Observed {
        let at = sighting.evidence.at().min(now);
        if let Some(device) = self.device(sighting.mac)
            && at < device.remembers_from
            && at >= device.sessions_from
        {
            return Observed::NeedsHistory { device: device.number, at };
        }
        self.observe_late(source, sighting, now, None);
        Observed::Done
    }

    /// The same, with the sessions around the sighting where memory does not reach back to it.
    pub fn observe_late(
        &mut self,
        source: SourceId,
        sighting: &Sighting,
        now: Timestamp,
        history: Option<History>,
    ) {
        if !sighting.mac.is_device() || !self.sources.contains_key(&source) {
            return;
        }
        let at = sighting.evidence.at().min(now);
        let number = match self.by_mac.get(&sighting.mac) {
            Some(&number) => number,
            None => self.add_unknown(sighting.mac),
        };
        if !self.relate(number, source, sighting.evidence, at) {
            return;
        }
        if let Some(hostname) = &sighting.hostname {
            self.set_hostname(number, hostname);
        }
        if let Some(ip) = sighting.ip {
            self.see_address(number, ip, at);
        }
        match sighting.evidence {
            Evidence::Seen { .. } | Evidence::Held { .. } => self.place(number, source, at, history, now),
            Evidence::Gone { .. } => self.take_leave(number, source, at, now),
        }
    }

    fn add_unknown(&mut self, mac: MacAddr) -> DeviceNumber {
        let number = self.take_device_number();
        self.insert_device(Device::new(number, mac));
        self.changes.new_devices.insert(number);
        number
    }

    /// The next free device number, for a device that is entered by hand.
    pub fn take_device_number(&mut self) -> DeviceNumber {
        let number = DeviceNumber(self.next_device);
        self.next_device += 1;
        number
    }

    /// Adds a device that the store already has, or is about to.
    pub fn insert_device(&mut self, device: Device) {
        if let Some(open) = &device.open {
            self.unseen_longest.insert((open.last_seen, device.number));
        }
        self.next_device = self.next_device.max(device.number.0 + 1);
        self.by_mac.insert(device.mac, device.number);
        self.devices.insert(device.number, device);
    }

    /// Forgets a device; when it is seen again it is new.
    pub fn remove_device(&mut self, mac: MacAddr) {
        let Some(number) = self.by_mac.remove(&mac) else { return };
        if let Some(open) = self.devices.remove(&number).and_then(|device| device.open) {
            self.unseen_longest.remove(&(open.last_seen, number));
        }
        self.pending_ip.remove(&number);
    }

    /// Someone changed what is expected of a device.
    pub fn set_policy(&mut self, mac: MacAddr, grace: Option<Elapsed>, alert_down: bool, may_sleep: bool) {
        let Some(device) = self.by_mac.get(&mac).and_then(|number| self.devices.get_mut(number)) else {
            return;
        };
        device.grace = grace;
        device.alert_down = alert_down;
        device.may_sleep = may_sleep;
        if device.down && !alert_down {
            device.down = false;
            self.changes.devices.insert(device.number);
        }
    }

    /// A session that was entered by hand is open for the device, or no longer.
    pub fn set_manual_open(&mut self, mac: MacAddr, open: bool) {
        if let Some(device) = self.by_mac.get(&mac).and_then(|number| self.devices.get_mut(number)) {
            device.manual_open = open;
        }
    }

    /// All sessions of a device were deleted by hand; none that began before `now` returns.
    pub fn forget_sessions(&mut self, mac: MacAddr, now: Timestamp) {
        let Some(device) = self.by_mac.get(&mac).and_then(|number| self.devices.get_mut(number)) else {
            return;
        };
        if let Some(open) = device.open.take() {
            self.unseen_longest.remove(&(open.last_seen, device.number));
        }
        device.last = None;
        device.remembers_from = Timestamp::MIN;
        device.manual_open = false;
        device.sessions_from = now;
    }

    /// The highest event number in use.
    pub fn last_seq(&self) -> i64 {
        self.next_seq - 1
    }

    /// Notes that the source knows the device. Returns whether the evidence is news: a lease that
    /// merely still stands is not.
    fn relate(&mut self, number: DeviceNumber, source: SourceId, evidence: Evidence, at: Timestamp) -> bool {
        let Some(device) = self.devices.get_mut(&number) else { return false };
        let held_until = match evidence {
            Evidence::Seen { .. } => None,
            Evidence::Held { until, .. } => Some(until),
            Evidence::Gone { .. } => Some(at),
        };
        let opened = device.open.as_ref().map(|open| open.session.from());
        let Some(relation) = device.relations.iter_mut().find(|relation| relation.source == source) else {
            let relation = Relation { source, seen_at: at, held_until, saved_at: at };
            save_relation(number, &relation, &mut self.changes);
            device.relations.push(relation);
            return !matches!(evidence, Evidence::Gone { .. });
        };
        let same_hold = relation.held_until == held_until;
        if held_until.is_some() && same_hold {
            return false;
        }
        relation.seen_at = relation.seen_at.max(at);
        relation.held_until = held_until;
        // In between, the store only has to know that the source saw it in this session.
        let known_in_session = opened.is_some_and(|opened| relation.saved_at >= opened);
        if !same_hold || !known_in_session {
            relation.saved_at = relation.seen_at;
            save_relation(number, relation, &mut self.changes);
        }
        true
    }

    fn set_hostname(&mut self, number: DeviceNumber, hostname: &str) {
        if let Some(device) = self.devices.get_mut(&number)
            && device.hostname != hostname
            && !hostname.is_empty()
        {
            hostname.clone_into(&mut device.hostname);
            self.changes.devices.insert(number);
        }
    }

    /// An address got a name from elsewhere; the device that has it takes it when it has no other.
    pub fn name_by_address(&mut self, ip: IpAddr, hostname: &str) {
        let nameless = self
            .devices
            .values()
            .find(|device| device.hostname.is_empty() && (device.ip4 == Some(ip) || device.ip6 == Some(ip)));
        if let Some(number) = nameless.map(|device| device.number) {
            self.set_hostname(number, hostname);
        }
    }

    /// How far apart two sightings may lie and still be one presence.
    fn joining_grace(&self, device: &Device, source: SourceId) -> Elapsed {
        let source = self.sources.get(&source).map_or(super::DEFAULT_GRACE, |source| source.config.grace);
        let grace = device.grace.unwrap_or(source);
        if device.may_sleep { grace.max(super::SLEEP_GRACE) } else { grace }
    }

    /// Finds the place of a sighting among the device's sessions, and repairs them.
    fn place(
        &mut self,
        number: DeviceNumber,
        source: SourceId,
        at: Timestamp,
        history: Option<History>,
        now: Timestamp,
    ) {
        let Some(device) = self.devices.get_mut(&number) else { return };
        let first_ever = device.first_seen.is_none();
        if device.first_seen.is_none_or(|first| at < first) {
            device.first_seen = Some(at);
            self.changes.devices.insert(number);
        }
        device.last_seen = device.last_seen.max(Some(at));
        if at < device.sessions_from || device.manual_open {
            return;
        }
        if let Some(open) = &mut device.open
            && at >= open.session.from()
        {
            if at > open.last_seen {
                self.unseen_longest.remove(&(open.last_seen, number));
                open.last_seen = at;
                self.unseen_longest.insert((at, number));
            }
            return;
        }
        let History { previous, next } = history.unwrap_or_else(|| device.recent(at));
        let device = &self.devices[&number];
        let grace = self.joining_grace(device, source);
        if previous.as_ref().is_some_and(|session| session.until().is_none_or(|until| at <= until)) {
            return;
        }
        let previous_near =
            previous.filter(|session| session.until().is_some_and(|until| at.since(until) <= grace));
        let next_is_first = next
            .as_ref()
            .is_some_and(|next| matches!(next.start, Start::Known { kind: EventKind::NewDevice, .. }));
        let (next_near, next_far): (Option<_>, Option<_>) = match next {
            Some(next) if next.from().since(at) <= grace => (Some(next), None),
            next => (None, next),
        };
        match (previous_near, next_near) {
            (Some(previous), Some(next)) => self.join(previous, next, at, now),
            (Some(previous), None) => self.extend_end(previous, next_far.is_some(), at, now),
            (None, Some(next)) if next.from().since(at) <= SAME_ARRIVAL => {}
            (None, Some(next)) => self.extend_start(next, at, now),
            (None, None) => {
                let kind =
                    if first_ever || next_is_first { EventKind::NewDevice } else { EventKind::Connected };
                if let (true, Some(next)) = (next_is_first, &next_far) {
                    self.reopen_as(next.clone(), next.from(), EventKind::Connected, now);
                }
                self.open_alone(number, at, kind, next_far.is_some(), now);
            }
        }
    }

    /// A session of its own.
    fn open_alone(
        &mut self,
        number: DeviceNumber,
        at: Timestamp,
        kind: EventKind,
        past: bool,
        now: Timestamp,
    ) {
        let id: PresenceSessionId = self.new_id(now);
        let Some(device) = self.devices.get_mut(&number) else { return };
        let ip = device.ip();
        let mut kind = kind;
        if device.down && !past {
            device.down = false;
            kind = EventKind::DownReconnected;
            self.changes.devices.insert(number);
        }
        device.save_whereabouts(&mut self.changes);
        let seq = self.emit(number, Happening { kind, at, ip, info: String::new(), certain: true }, now);
        let mut session = PresenceSession {
            id,
            device: number,
            start: Start::Known { at, kind },
            end: End::Open,
            ip,
            info: String::new(),
            opening_seq: Some(seq),
            closing_seq: None,
        };
        if past {
            let info = "seen once, by late evidence".to_owned();
            let closing = self.emit(
                number,
                Happening { kind: EventKind::Missing, at, ip, info: info.clone(), certain: false },
                now,
            );
            session.end = end(at, EventKind::Missing, false);
            session.closing_seq = Some(closing);
            session.info = info;
        }
        self.remember(session);
    }

    /// The device was still there when it was thought to have left.
    fn extend_end(&mut self, mut session: PresenceSession, followed: bool, at: Timestamp, now: Timestamp) {
        let number = session.device;
        self.void(session.closing_seq.take(), Boundary::End, at, now);
        if followed {
            let (kind, certain) = match session.end {
                End::Known { kind, .. } => (kind, true),
                End::Missing { kind, .. } => (kind, false),
                End::Open => return,
            };
            let ip = session.ip;
            session.closing_seq =
                Some(self.emit(number, Happening { kind, at, ip, info: String::new(), certain }, now));
            session.end = end(at, kind, certain);
        } else {
            session.end = End::Open;
            session.info.clear();
            if let Some(device) = self.devices.get_mut(&number)
                && device.down
            {
                device.down = false;
                self.changes.devices.insert(number);
            }
        }
        self.remember_at(session, at);
    }

    /// The device was there before it was thought to have come.
    fn extend_start(&mut self, session: PresenceSession, at: Timestamp, now: Timestamp) {
        if let Start::Known { kind, .. } = session.start {
            self.reopen_as(session, at, kind, now);
        }
    }

    /// Gives a session another opening event.
    fn reopen_as(&mut self, mut session: PresenceSession, at: Timestamp, kind: EventKind, now: Timestamp) {
        self.void(session.opening_seq.take(), Boundary::Start, at, now);
        let seq = self.emit(
            session.device,
            Happening { kind, at, ip: session.ip, info: String::new(), certain: true },
            now,
        );
        session.opening_seq = Some(seq);
        session.start = Start::Known { at, kind };
        self.remember(session);
    }

    /// The device never left between two sessions.
    fn join(&mut self, mut session: PresenceSession, next: PresenceSession, at: Timestamp, now: Timestamp) {
        self.void(session.closing_seq, Boundary::End, at, now);
        self.void(next.opening_seq, Boundary::Start, at, now);
        self.changes.sessions.remove(&next.id);
        self.changes.removed_sessions.insert(next.id);
        session.end = next.end;
        session.closing_seq = next.closing_seq;
        session.info = next.info;
        let Some(device) = self.devices.get_mut(&next.device) else { return };
        let remembered = |known: &PresenceSession| known.id == session.id || known.id == next.id;
        let open = device.open.as_mut().filter(|open| open.session.id == next.id);
        match (open, device.last.as_ref().is_some_and(remembered)) {
            (Some(open), was_last) => {
                open.session = session.clone();
                if was_last {
                    device.last = None;
                }
            }
            (None, true) => device.last = Some(session.clone()),
            (None, false) => {}
        }
        device.reach_back_to(&session);
        self.changes.sessions.insert(session.id, session);
    }

    fn void(&mut self, seq: Option<i64>, boundary: Boundary, at: Timestamp, now: Timestamp) {
        let Some(seq) = seq else { return };
        let info = format!("seen at {} after all, known since {}", at.rfc3339(), now.rfc3339());
        if let Some(position) = self.changes.events.iter().position(|event| event.seq == seq) {
            let event = &mut self.changes.events[position];
            event.kind = boundary.voided();
            event.info = info;
            return;
        }
        self.changes.voided.push(VoidedEvent { seq, kind: boundary.voided(), info });
    }

    /// The device said that it leaves: a word that needs no second look.
    fn take_leave(&mut self, number: DeviceNumber, source: SourceId, at: Timestamp, now: Timestamp) {
        let Some(device) = self.devices.get(&number) else { return };
        let Some(open) = &device.open else { return };
        let stronger_knows = device.relations.iter().any(|relation| {
            relation.source != source
                && relation.seen_at >= open.session.from()
                && self.sources.get(&relation.source).is_some_and(|other| {
                    self.sources.get(&source).is_some_and(|own| other.config.strength > own.config.strength)
                })
        });
        if stronger_knows || at < open.last_seen {
            return;
        }
        let last_seen = open.last_seen;
        self.unseen_longest.remove(&(last_seen, number));
        if let Some(open) = self.devices.get_mut(&number).and_then(|device| device.open.as_mut()) {
            open.last_seen = at;
        }
        self.unseen_longest.insert((at, number));
        self.close(number, true, String::new(), now);
    }

    /// Keeps a changed session, in memory as far as memory goes, and for the store.
    pub(super) fn remember(&mut self, session: PresenceSession) {
        let at = session.from();
        self.remember_at(session, at);
    }

    fn remember_at(&mut self, session: PresenceSession, last_seen: Timestamp) {
        let Some(device) = self.devices.get_mut(&session.device) else { return };
        let is_last = device.last.as_ref().is_some_and(|last| last.id == session.id);
        if session.is_open() {
            let last_seen = match &device.open {
                Some(open) => open.last_seen.max(last_seen),
                None => last_seen,
            };
            if let Some(open) = &device.open {
                self.unseen_longest.remove(&(open.last_seen, device.number));
            }
            if is_last {
                device.last = None;
            }
            self.unseen_longest.insert((last_seen, device.number));
            device.open = Some(OpenSession { session: session.clone(), last_seen });
            device.reach_back_to(&session);
        } else if is_last {
            device.last = Some(session.clone());
            device.reach_back_to(&session);
        } else if session.from() >= device.remembers_from {
            // Of two closed sessions memory holds the newer one, and reaches back to its beginning.
            device.last = Some(match device.last.take() {
                None => session.clone(),
                Some(last) => {
                    let newer = if last.from() > session.from() { last } else { session.clone() };
                    device.remembers_from = newer.from();
                    newer
                }
            });
        }
        // A session that is older than what memory reaches back to is in the store alone.
        self.changes.sessions.insert(session.id, session);
    }
}
