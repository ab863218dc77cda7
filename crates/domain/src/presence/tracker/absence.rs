//! When a device is absent, and when we merely cannot know.

use super::{Device, DeviceState, Happening, QUIET, SLEEP_GRACE, SourceState, Tracker};
use crate::{
    id::SourceId,
    presence::{DeviceNumber, EventKind, Strength},
    time::{Elapsed, Timestamp},
};

/// Why a device counts as absent.
struct Absence {
    /// At least one source looked all the time.
    certain: bool,
    info: String,
}

impl Tracker {
    /// What people are told of a device.
    pub fn state(&self, device: &Device, now: Timestamp) -> DeviceState {
        let Some(open) = &device.open else {
            return match (device.manual_open, device.down) {
                (true, _) => DeviceState::Online,
                (false, true) => DeviceState::Down,
                (false, false) => DeviceState::Offline,
            };
        };
        let unseen = now.since(open.last_seen);
        let responsible = self.responsible(device);
        let graces = responsible.iter().map(|source| base_grace(device, source));
        if unseen <= graces.max().unwrap_or(super::DEFAULT_GRACE) {
            DeviceState::Online
        } else if responsible.is_empty() || responsible.iter().any(|source| !source.sees()) {
            DeviceState::Unknown
        } else if device.may_sleep {
            DeviceState::Sleeping
        } else {
            DeviceState::Online
        }
    }

    /// The sources that must miss a device before it is absent: the strongest that know it or,
    /// being exhaustive, cover its address.
    fn responsible(&self, device: &Device) -> Vec<&SourceState> {
        let Some(open) = &device.open else { return Vec::new() };
        let from = open.session.from();
        let knows = |source: &SourceState| {
            device.relation(source.config.id).is_some_and(|relation| relation.seen_at >= from)
        };
        let covers = |source: &SourceState| device.ip4.is_some_and(|ip| source.covers(ip));
        for strength in [Strength::Exhaustive, Strength::Listening, Strength::Holding] {
            let found: Vec<_> = self
                .sources
                .values()
                .filter(|source| source.config.enabled && source.config.strength == strength)
                .filter(|source| knows(source) || (strength == Strength::Exhaustive && covers(source)))
                .collect();
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    fn absence(&self, device: &Device) -> Option<Absence> {
        let seen = device.open.as_ref()?.last_seen;
        let responsible = self.responsible(device);
        if responsible.is_empty() || !responsible.iter().all(|source| misses(source, device, seen)) {
            return None;
        }
        let mut hidden = Vec::new();
        for source in &responsible {
            match source.hides_leaving_after(seen) {
                None => return Some(Absence { certain: true, info: String::new() }),
                Some(why) => hidden.push(format!("{} {why}", source.config.name)),
            }
        }
        Some(Absence { certain: false, info: format!("left unseen: {}", hidden.join(", ")) })
    }

    /// Closes the sessions of the devices that are absent now that `source` has looked.
    pub(super) fn close_absent(&mut self, source: SourceId, now: Timestamp) {
        let Some(state) = self.sources.get(&source) else { return };
        let Some(looked_at) = state.complete_at else { return };
        let strength = state.config.strength;
        let absent: Vec<(DeviceNumber, Absence)> = self
            .unseen_longest
            .iter()
            .take_while(|(seen, _)| *seen < looked_at || strength == Strength::Momentary)
            .filter_map(|(_, number)| {
                let device = self.devices.get(number)?;
                let absence = if strength == Strength::Momentary {
                    self.unwatched(device, source)
                } else {
                    self.absence(device)
                };
                Some((*number, absence?))
            })
            .collect();
        for (number, absence) in absent {
            self.close(number, absence.certain, absence.info, now);
        }
    }

    /// Nobody will ever miss the device: only a momentary source told of it.
    fn unwatched(&self, device: &Device, source: SourceId) -> Option<Absence> {
        (device.relation(source).is_some() && self.responsible(device).is_empty())
            .then(|| Absence { certain: false, info: "only an import told of it".to_owned() })
    }

    /// The source is gone for good: devices that only it could miss have left unseen.
    pub fn remove_source(&mut self, id: SourceId, now: Timestamp) {
        let Some(removed) = self.sources.remove(&id) else { return };
        let orphans: Vec<_> = self
            .devices
            .values_mut()
            .filter_map(|device| {
                let known = device.forget_source(id);
                (known && device.open.is_some()).then_some(device.number)
            })
            .collect();
        for number in orphans {
            if self.devices.get(&number).is_some_and(|device| self.responsible(device).is_empty()) {
                let info = format!("left unseen: {} was removed", removed.config.name);
                self.close(number, false, info, now);
            }
        }
        self.changes.relations.retain(|(_, source), _| *source != id);
        self.changes.gaps.retain(|_, (source, _)| *source != id);
        self.changes.sources.remove(&id);
    }

    /// Ends the open session at the time the device was last seen.
    pub(super) fn close(&mut self, number: DeviceNumber, certain: bool, info: String, now: Timestamp) {
        let Some(device) = self.devices.get_mut(&number) else { return };
        let Some(open) = device.open.take() else { return };
        self.unseen_longest.remove(&(open.last_seen, number));
        let kind = match (device.alert_down, certain) {
            (true, _) => EventKind::DeviceDown,
            (false, true) => EventKind::Disconnected,
            (false, false) => EventKind::Missing,
        };
        if device.alert_down {
            device.down = true;
            self.changes.devices.insert(number);
        }
        let ip = device.ip();
        device.save_whereabouts(&mut self.changes);
        let seq =
            self.emit(number, Happening { kind, at: open.last_seen, ip, info: info.clone(), certain }, now);
        let mut session = open.session;
        session.end = super::devices::end(open.last_seen, kind, certain);
        session.closing_seq = Some(seq);
        if !info.is_empty() {
            session.info = info;
        }
        self.remember(session);
    }
}

/// A device's grace with this source, not counting that it may sleep.
fn base_grace(device: &Device, source: &SourceState) -> Elapsed {
    let grace = device.grace.unwrap_or(source.config.grace).max(source.config.least_grace);
    match source.config.strength {
        Strength::Listening => grace.max(QUIET),
        Strength::Exhaustive | Strength::Holding | Strength::Momentary => grace,
    }
}

/// The source has looked, more than once and for long enough, and did not see the device.
fn misses(source: &SourceState, device: &Device, seen: Timestamp) -> bool {
    if !source.sees() {
        return false;
    }
    let mut grace = base_grace(device, source);
    if device.may_sleep {
        grace = grace.max(SLEEP_GRACE);
    }
    let (Some(complete_at), Some(alive_at)) = (source.complete_at, source.alive_at) else { return false };
    match source.config.strength {
        Strength::Exhaustive => {
            source.previous_complete_at.is_some_and(|previous| previous > seen)
                && alive_at.since(seen) > grace
        }
        Strength::Listening => complete_at.since(seen.max(source.sighted_since())) > grace,
        Strength::Holding => {
            let held = device.relation(source.config.id).and_then(|relation| relation.held_until);
            held.is_some_and(|until| until <= complete_at)
        }
        Strength::Momentary => false,
    }
}
