//! Which addresses a device has, and when its primary one changed.

use std::net::IpAddr;

use super::{AddressRow, Changes, Device, Happening, Tracker};
use crate::{
    id::SourceId,
    presence::{DeviceNumber, EventKind, Scan, Strength},
    time::{Elapsed, Timestamp},
};

/// Addresses kept in memory for each device; the store keeps them all.
const ADDRESSES_KEPT: usize = 32;
/// An IPv6 address that was not seen for so long is no longer shown as the device's.
const IPV6_STALE: Elapsed = Elapsed::from_minutes(24 * 60);

/// An address and when it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// Addresses that name a host beyond its own link.
fn is_telling(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local())
        }
    }
}

impl Device {
    fn address(&self, ip: IpAddr) -> Option<&Address> {
        self.addresses.iter().find(|address| address.ip == ip)
    }

    fn see_address(&mut self, ip: IpAddr, at: Timestamp, changes: &mut Changes) {
        if let Some(known) = self.addresses.iter_mut().find(|address| address.ip == ip) {
            known.last_seen = known.last_seen.max(at);
            if at < known.first_seen {
                known.first_seen = at;
                save(self.number, known, changes);
            }
            return;
        }
        if self.addresses.len() >= ADDRESSES_KEPT
            && let Some(oldest) = (0..self.addresses.len()).min_by_key(|&i| self.addresses[i].last_seen)
        {
            let dropped = self.addresses.swap_remove(oldest);
            save(self.number, &dropped, changes);
        }
        let address = Address { ip, first_seen: at, last_seen: at };
        save(self.number, &address, changes);
        self.addresses.push(address);
    }

    /// An address that the store knows; the newest come first.
    pub fn load_address(&mut self, address: Address) {
        if self.addresses.len() < ADDRESSES_KEPT {
            self.addresses.push(address);
        }
    }

    /// Writes down when each address was last seen; done when a session closes.
    pub(super) fn save_addresses(&self, changes: &mut Changes) {
        for address in &self.addresses {
            save(self.number, address, changes);
        }
    }
}

fn save(device: DeviceNumber, address: &Address, changes: &mut Changes) {
    let row = AddressRow { first_seen: address.first_seen, last_seen: address.last_seen };
    changes.addresses.insert((device, address.ip), row);
}

impl Tracker {
    /// A sighting carried an address.
    pub(super) fn see_address(&mut self, number: DeviceNumber, ip: IpAddr, at: Timestamp) {
        let Some(device) = self.devices.get_mut(&number).filter(|_| is_telling(ip)) else { return };
        device.see_address(ip, at, &mut self.changes);
        match ip {
            IpAddr::V4(_) => match device.ip4 {
                None => {
                    device.ip4 = Some(ip);
                    self.changes.devices.insert(number);
                }
                Some(primary) if primary != ip => {
                    self.pending_ip.insert(number, ip);
                }
                Some(_) => {}
            },
            IpAddr::V6(_) => {
                let current = device.ip6.and_then(|primary| device.address(primary));
                if current.is_none_or(|current| at.since(current.last_seen) > IPV6_STALE) {
                    device.ip6 = Some(ip);
                    self.changes.devices.insert(number);
                }
            }
        }
    }

    /// Decides, after a complete scan, whether a new address replaced the primary one or stands
    /// beside it: one that was still seen in the scan was not replaced.
    pub(super) fn settle_addresses(&mut self, source: SourceId, scan: &Scan, now: Timestamp) {
        let Some(strength) = self.sources.get(&source).map(|state| state.config.strength) else { return };
        let mut settled = Vec::new();
        for (&number, &candidate) in &self.pending_ip {
            let Some(device) = self.devices.get(&number) else {
                settled.push((number, None));
                continue;
            };
            if device.relation(source).is_none() {
                continue;
            }
            let primary_seen = device.ip4.and_then(|ip| device.address(ip)).map(|address| address.last_seen);
            let Some(new) = device.address(candidate) else {
                settled.push((number, None));
                continue;
            };
            if primary_seen.is_some_and(|seen| seen >= scan.started_at) {
                settled.push((number, None));
            } else if new.last_seen >= scan.started_at
                || (strength == Strength::Holding && primary_seen.is_none_or(|seen| seen < new.last_seen))
            {
                let since = primary_seen.map_or(new.first_seen, |seen| new.first_seen.max(seen));
                settled.push((number, Some((candidate, since))));
            }
        }
        for (number, change) in settled {
            self.pending_ip.remove(&number);
            let (Some((ip, at)), Some(device)) = (change, self.devices.get_mut(&number)) else { continue };
            let info = device.ip4.map(|previous| format!("Previous IP: {previous}")).unwrap_or_default();
            device.ip4 = Some(ip);
            self.changes.devices.insert(number);
            self.emit(
                number,
                Happening { kind: EventKind::IpChanged, at, ip: Some(ip), info, certain: true },
                now,
            );
        }
    }
}
