//! Listens on an interface for what devices say by themselves: ARP, DHCP, mDNS and IPv6 neighbour
//! discovery. Sends nothing.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
};

use futures_util::future::select_all;
use socket2::SockFilter;
use sojourn_domain::{
    mac::MacAddr,
    presence::{Evidence, Scan, ScanOutcome, Sighting},
    time::{Clock, Timestamp},
};

use super::{Outlet, Pass, SourceSettings};
use crate::{
    frames::{self, Heard},
    interfaces::{self, Interface},
    packet::{self, ETHERTYPE_ALL, FRAME_BYTES, PacketSocket},
};

/// Pairs of MAC and IP address kept in one pass. Anyone on the network can make up addresses;
/// beyond this they are not kept, and the pass says so.
pub(super) const MAX_HEARD: usize = 8_192;

#[derive(Debug)]
pub(super) struct Passive {
    interface: Option<String>,
    ears: Vec<Ear>,
    heard: HashMap<(MacAddr, Option<IpAddr>), Note>,
    /// Of the previous pass: what is in it is not told at once again.
    before: HashSet<(MacAddr, Option<IpAddr>)>,
    overflow: u64,
    since: Option<Timestamp>,
}

#[derive(Debug)]
struct Ear {
    interface: Interface,
    socket: PacketSocket,
    frame: [u8; FRAME_BYTES],
}

#[derive(Debug)]
struct Note {
    evidence: Evidence,
    hostname: Option<String>,
}

impl Ear {
    fn open(interface: &Interface) -> io::Result<Self> {
        let socket = PacketSocket::open(interface, ETHERTYPE_ALL, &talk_of_devices())?;
        if let Err(error) = socket.hear_all_multicast(interface) {
            tracing::debug!(interface = %interface.name, %error, "only subscribed multicast is heard");
        }
        Ok(Self { interface: interface.clone(), socket, frame: [0; FRAME_BYTES] })
    }

    async fn next(&mut self) -> io::Result<Vec<Heard>> {
        let length = self.socket.receive(&mut self.frame).await?;
        Ok(self.frame.get(..length).map(frames::parse).unwrap_or_default())
    }
}

impl Passive {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            interface: settings.interface.clone(),
            ears: Vec::new(),
            heard: HashMap::new(),
            before: HashSet::new(),
            overflow: 0,
            since: None,
        }
    }

    /// Reports what was heard since the last pass, and sees to it that all interfaces are listened to.
    pub(super) async fn pass(&mut self, clock: &dyn Clock) -> Pass {
        let now = clock.now();
        self.catch_up(now);
        let trouble = self.open().await;
        let names: Vec<_> = self.ears.iter().map(|ear| ear.interface.name.as_str()).collect();
        let scope = match (names.is_empty(), &self.interface) {
            (false, _) => format!("what is said on {}", names.join(", ")),
            (true, Some(interface)) => format!("what is said on {interface}"),
            (true, None) => "what is said on the local network".to_owned(),
        };
        let overflow = std::mem::take(&mut self.overflow);
        let outcome = match trouble {
            Some(message) if self.ears.is_empty() => ScanOutcome::Blind { message },
            Some(message) => ScanOutcome::Failed { message },
            None if overflow > 0 => ScanOutcome::Failed {
                message: format!(
                    "more than {MAX_HEARD} addresses were heard at once, which looks like an attack: {overflow} \
                     more frames were not counted"
                ),
            },
            None => ScanOutcome::Complete,
        };
        let heard = std::mem::take(&mut self.heard);
        self.before = heard.keys().copied().collect();
        let mut sightings: Vec<_> =
            heard.into_iter().map(|((mac, ip), note)| note.sighting(mac, ip)).collect();
        for ear in &self.ears {
            if let Some(mac) = ear.interface.mac {
                let own = ear.interface.addresses.iter().filter_map(|subnet| frames::useful(subnet.address));
                sightings.extend(own.map(|ip| Sighting {
                    mac,
                    ip: Some(ip),
                    hostname: None,
                    evidence: Evidence::Seen { at: now },
                }));
            }
        }
        sightings.sort_by_key(|sighting| (sighting.mac, sighting.ip));
        let started_at = self.since.replace(now).unwrap_or(now);
        Pass { scan: Scan { started_at, finished_at: now, outcome, scope, covers: Vec::new() }, sightings }
    }

    /// Hears until an interface is lost.
    pub(super) async fn rest(&mut self, clock: &dyn Clock, outlet: Option<&Outlet>) {
        if self.ears.is_empty() {
            // Blind: the next pass tries again.
            return std::future::pending().await;
        }
        loop {
            let (result, index, others) =
                select_all(self.ears.iter_mut().map(|ear| Box::pin(ear.next()))).await;
            drop(others);
            match result {
                Ok(heard) => self.note(heard, clock.now(), outlet),
                Err(error) => {
                    let ear = self.ears.remove(index);
                    tracing::debug!(interface = %ear.interface.name, %error, "listening ended");
                    return;
                }
            }
        }
    }

    /// Hears what has arrived before the pass; bounded, because more may come in meanwhile.
    fn catch_up(&mut self, at: Timestamp) {
        for index in 0..self.ears.len() {
            for _ in 0..MAX_HEARD {
                let ear = &mut self.ears[index];
                let Some(length) = ear.socket.received(&mut ear.frame) else { break };
                let heard = ear.frame.get(..length).map(frames::parse).unwrap_or_default();
                self.note(heard, at, None);
            }
        }
    }

    /// Listens to what should be listened to and is not; says what is wrong.
    async fn open(&mut self) -> Option<String> {
        let interfaces = match interfaces::list().await {
            Ok(interfaces) => interfaces,
            Err(error) => return Some(format!("reading the interfaces failed: {error}")),
        };
        let wanted: Vec<_> = match &self.interface {
            Some(name) => interfaces.into_iter().filter(|interface| interface.name == *name).collect(),
            None => interfaces.into_iter().filter(Interface::leads_to_a_network).collect(),
        };
        let mut trouble = match (&self.interface, wanted.is_empty()) {
            (Some(name), true) => Some(format!("there is no interface {name}")),
            (None, true) => Some("there is no Ethernet interface".to_owned()),
            (_, false) => None,
        };
        let mut ears = std::mem::take(&mut self.ears);
        for interface in wanted {
            let ear =
                ears.iter().position(|ear| ear.interface.index == interface.index).map(|at| ears.remove(at));
            if let Some(reason) = interface.blindness() {
                trouble = trouble.or(Some(reason));
                continue;
            }
            if !interface.broadcast {
                trouble = trouble.or(Some(format!("the interface {} is no Ethernet", interface.name)));
                continue;
            }
            match ear.map_or_else(|| Ear::open(&interface), Ok) {
                Ok(ear) => self.ears.push(Ear { interface, ..ear }),
                Err(error) => trouble = trouble.or(Some(packet::explain(&error, &interface.name))),
            }
        }
        trouble
    }

    fn note(&mut self, heard: Vec<Heard>, at: Timestamp, outlet: Option<&Outlet>) {
        let mut fresh = Vec::new();
        for Heard { mac, ip, hostname, leaves } in heard {
            let key = (mac, ip);
            let evidence = if leaves { Evidence::Gone { at } } else { Evidence::Seen { at } };
            let full = self.heard.len() >= MAX_HEARD;
            let note = match self.heard.entry(key) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(_) if full => {
                    self.overflow += 1;
                    continue;
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let note = entry.insert(Note { evidence, hostname: None });
                    if !self.before.contains(&key) {
                        fresh.push((key, evidence, hostname.clone()));
                    }
                    note
                }
            };
            if leaves || (hostname.is_some() && note.hostname != hostname) {
                fresh.push((key, evidence, hostname.clone()));
            }
            note.evidence = evidence;
            note.hostname = hostname.or(note.hostname.take());
        }
        if let Some(outlet) = outlet {
            fresh.dedup();
            outlet.live(
                fresh
                    .into_iter()
                    .map(|((mac, ip), evidence, hostname)| Sighting { mac, ip, hostname, evidence })
                    .collect(),
            );
        }
    }
}

impl Note {
    fn sighting(self, mac: MacAddr, ip: Option<IpAddr>) -> Sighting {
        Sighting { mac, ip, hostname: self.hostname, evidence: self.evidence }
    }
}

/// A classic BPF program that keeps ARP, DHCP, mDNS and neighbour discovery, so that this process
/// sleeps through everything else that crosses the interface.
fn talk_of_devices() -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_HALF_INDEXED: u16 = 0x48;
    const LOAD_IP_HEADER_LENGTH: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_GREATER: u16 = 0x25;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let op = SockFilter::new;
    // Jumps count from the next instruction. Number 21 accepts, 22 rejects.
    vec![
        op(LOAD_HALF, 0, 0, 12),              // 0: ethertype
        op(JUMP_IF_EQUAL, 19, 0, 0x0806),     // 1: ARP: accept
        op(JUMP_IF_EQUAL, 0, 9, 0x0800),      // 2: IPv4: go on, else to 12
        op(LOAD_BYTE, 0, 0, 23),              // 3: protocol
        op(JUMP_IF_EQUAL, 0, 17, 17),         // 4: UDP, else reject
        op(LOAD_HALF, 0, 0, 20),              // 5: fragment offset
        op(JUMP_IF_SET, 15, 0, 0x1fff),       // 6: a later fragment: reject
        op(LOAD_IP_HEADER_LENGTH, 0, 0, 14),  // 7
        op(LOAD_HALF_INDEXED, 0, 0, 16),      // 8: destination port
        op(JUMP_IF_EQUAL, 11, 0, 67),         // 9
        op(JUMP_IF_EQUAL, 10, 0, 68),         // 10
        op(JUMP_IF_EQUAL, 9, 10, 5353),       // 11
        op(JUMP_IF_EQUAL, 0, 9, 0x86dd),      // 12: IPv6, else reject
        op(LOAD_BYTE, 0, 0, 20),              // 13: next header
        op(JUMP_IF_EQUAL, 3, 0, 58),          // 14: ICMPv6: to 18
        op(JUMP_IF_EQUAL, 0, 6, 17),          // 15: UDP, else reject
        op(LOAD_HALF, 0, 0, 56),              // 16: destination port
        op(JUMP_IF_EQUAL, 3, 4, 5353),        // 17
        op(LOAD_BYTE, 0, 0, 54),              // 18: ICMPv6 type
        op(JUMP_IF_AT_LEAST, 0, 2, 133),      // 19
        op(JUMP_IF_GREATER, 1, 0, 136),       // 20
        op(RETURN, 0, 0, FRAME_BYTES as u32), // 21
        op(RETURN, 0, 0, 0),                  // 22
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_000);

    fn heard(last: u32, ip: Option<&str>, hostname: Option<&str>) -> Heard {
        let bytes = last.to_be_bytes();
        Heard {
            mac: MacAddr::new([2, 0, bytes[0], bytes[1], bytes[2], bytes[3]]),
            ip: ip.map(|ip| ip.parse().unwrap()),
            hostname: hostname.map(str::to_owned),
            leaves: false,
        }
    }

    #[test]
    fn a_flood_of_made_up_addresses_is_bounded_and_counted() {
        let mut passive = Passive::new(&SourceSettings::default());
        for last in 0..MAX_HEARD as u32 + 100 {
            passive.note(vec![heard(last, None, None)], AT, None);
        }
        assert_eq!((passive.heard.len(), passive.overflow), (MAX_HEARD, 100));
    }

    #[test]
    fn fresh_devices_and_names_are_told_at_once_and_only_once() {
        let mut passive = Passive::new(&SourceSettings::default());
        let (out, mut told) = tokio::sync::mpsc::channel(16);
        let id = sojourn_domain::id::Id::new(AT, [0; 10]);
        let outlet = Outlet { source: id, out };
        let mut tell = |passive: &mut Passive, heard| {
            passive.note(vec![heard], AT, Some(&outlet));
            told.try_recv().ok().map(|message| match message {
                super::super::SourceMessage::Sighted { sightings, .. } => sightings.len(),
                super::super::SourceMessage::Pass { .. } => 0,
            })
        };
        assert_eq!(tell(&mut passive, heard(1, Some("10.0.0.1"), None)), Some(1));
        assert_eq!(tell(&mut passive, heard(1, Some("10.0.0.1"), None)), None);
        assert_eq!(tell(&mut passive, heard(1, Some("10.0.0.1"), Some("phone"))), Some(1));
        assert_eq!(tell(&mut passive, heard(1, Some("10.0.0.1"), Some("phone"))), None);
        assert_eq!(tell(&mut passive, heard(1, Some("10.0.0.2"), None)), Some(1));
        assert_eq!(passive.heard.len(), 2);
        assert_eq!(passive.heard.values().filter(|note| note.hostname.is_some()).count(), 1);
    }
}
