//! Asks every IPv4 address of a subnet by ARP (RFC 826), twice, and listens for answers.
//!
//! Every host that speaks IPv4 must answer, whatever its firewall, so that a complete pass proves
//! both presence and absence.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use futures_util::future::join_all;
use socket2::SockFilter;
use sojourn_domain::{
    mac::MacAddr,
    presence::{Evidence, Scan, ScanOutcome, Sighting, Subnet},
    time::{Clock, Timestamp},
};
use tokio::time::{Instant, MissedTickBehavior};

use super::{MAX_SCAN_ADDRESSES, Outlet, Pass, SourceSettings, silence::Silence};
use crate::{
    frames,
    interfaces::{self, Interface},
    packet::{self, ETHERTYPE_ARP, FRAME_BYTES, PacketSocket},
};

/// Questions a second: 2,000 take 1.3 Mbit/s on the wire, which the slowest Wi-Fi broadcasts bear.
const PER_SECOND: u128 = 2_000;
/// The most questions at once after this task was kept waiting.
const BURST: u128 = 40;
const TURN: Duration = Duration::from_millis(5);
/// Between the first round and the second, which asks those who did not answer.
const PAUSE: Duration = Duration::from_millis(120);
/// After the last question: at least this long, then as long as answers keep coming, and no longer
/// than `TAIL_MAX`.
const TAIL_MIN: Duration = Duration::from_millis(350);
const TAIL_QUIET: Duration = Duration::from_millis(250);
const TAIL_MAX: Duration = Duration::from_millis(1_000);
/// More MAC addresses that claim one IP address are an attack, not a mistake.
const MACS_AN_ADDRESS: usize = 8;

/// The source. What it remembers between passes only decides what is told at once.
#[derive(Debug)]
pub(super) struct ArpScan {
    interface: Option<String>,
    cidr: Option<Subnet>,
    known: HashSet<MacAddr>,
    silence: Silence,
}

/// What to ask on one interface.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    interface: Interface,
    ranges: Vec<Subnet>,
    /// Whom to ask, in whose name (0.0.0.0 makes it a probe), in this order.
    questions: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// Who answered: address, MAC address and when.
type Answers = HashMap<Ipv4Addr, Vec<(MacAddr, Timestamp)>>;

impl ArpScan {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            interface: settings.interface.clone(),
            cidr: settings.cidr,
            known: HashSet::new(),
            silence: Silence::default(),
        }
    }

    pub(super) async fn pass(&mut self, clock: &dyn Clock, outlet: Option<&Outlet>) -> Pass {
        let started_at = clock.now();
        let mut pass = self.look(clock, outlet).await;
        pass.scan.started_at = started_at;
        pass.scan.finished_at = clock.now();
        pass
    }

    async fn look(&mut self, clock: &dyn Clock, outlet: Option<&Outlet>) -> Pass {
        let plans = match self.plans().await {
            Ok(plans) => plans,
            Err(message) => return empty(clock, self.wanted(), ScanOutcome::Blind { message }),
        };
        let scope = plans.iter().map(Plan::scope).collect::<Vec<_>>().join(", ");
        let mut pass = empty(clock, scope, ScanOutcome::Complete);
        let mut macs = HashSet::new();
        let looks = plans.iter().map(|plan| ask(plan, clock, &self.known, outlet));
        for (plan, (answers, error)) in plans.iter().zip(join_all(looks).await) {
            macs.extend(answers.values().flatten().map(|(mac, _)| *mac));
            if let Some(error) = error {
                let message = packet::explain(&error, &plan.interface.name);
                // Another interface may have been looked at well.
                pass.scan.outcome = if packet::blinds(&error) && plans.len() == 1 {
                    ScanOutcome::Blind { message }
                } else {
                    ScanOutcome::Failed { message }
                };
            }
            // The cable may have been pulled out meanwhile: then silence proves nothing.
            if let Some(message) = self.lost(plan).await {
                pass.scan.outcome = ScanOutcome::Blind { message };
            }
            plan.report(answers, &mut pass, clock.now());
        }
        if pass.scan.outcome == ScanOutcome::Complete {
            match self.silence.judge(&pass.scan.scope, macs.len()) {
                Some(message) => pass.scan.outcome = ScanOutcome::Blind { message },
                None => self.known = macs,
            }
        }
        pass
    }

    async fn lost(&self, plan: &Plan) -> Option<String> {
        let name = &plan.interface.name;
        match interfaces::find(name).await {
            Ok(Some(interface)) => interface.blindness(),
            Ok(None) => Some(format!("the interface {name} is gone")),
            Err(error) => Some(format!("reading the interfaces failed: {error}")),
        }
    }

    fn wanted(&self) -> String {
        match (&self.cidr, &self.interface) {
            (Some(cidr), Some(interface)) => format!("{cidr} on {interface}"),
            (Some(cidr), None) => cidr.to_string(),
            (None, Some(interface)) => interface.clone(),
            (None, None) => "the local network".to_owned(),
        }
    }

    async fn plans(&self) -> Result<Vec<Plan>, String> {
        let interfaces =
            interfaces::list().await.map_err(|error| format!("reading the interfaces failed: {error}"))?;
        choose(interfaces, self.interface.as_deref(), self.cidr)?
            .into_iter()
            .map(|interface| plan(interface, self.cidr))
            .collect()
    }
}

fn empty(clock: &dyn Clock, scope: String, outcome: ScanOutcome) -> Pass {
    let now = clock.now();
    Pass {
        scan: Scan { started_at: now, finished_at: now, outcome, scope, covers: Vec::new() },
        sightings: Vec::new(),
    }
}

/// The named interface, or every one that leads to the range, or to a network at all. An error is
/// a reason for blindness.
fn choose(
    interfaces: Vec<Interface>,
    name: Option<&str>,
    cidr: Option<Subnet>,
) -> Result<Vec<Interface>, String> {
    if let Some(name) = name {
        let interface = interfaces.into_iter().find(|interface| interface.name == name);
        return Ok(vec![interface.ok_or_else(|| format!("there is no interface {name}"))?]);
    }
    let fit: Vec<_> = interfaces
        .into_iter()
        .filter(|interface| interface.broadcast && !interface.port && interface.ipv4().next().is_some())
        .filter(|interface| match cidr {
            Some(cidr) => interface.ipv4().any(|(ip, prefix)| {
                cidr.contains(ip.into())
                    || Subnet::new(ip.into(), prefix).is_some_and(|own| own.contains(cidr.address))
            }),
            None => interface.leads_to_a_network(),
        })
        .collect();
    match cidr {
        Some(cidr) if fit.is_empty() => {
            Err(format!("no interface has an address in {cidr}: name the interface"))
        }
        None if fit.is_empty() => Err("there is no Ethernet interface with an IPv4 address".to_owned()),
        // One that is unplugged is no trouble while another is not.
        _ if fit.iter().any(|interface| interface.blindness().is_none()) => {
            Ok(fit.into_iter().filter(|interface| interface.blindness().is_none()).collect())
        }
        _ => Ok(fit),
    }
}

/// Whom to ask on an interface. An error is a reason for blindness.
fn plan(interface: Interface, cidr: Option<Subnet>) -> Result<Plan, String> {
    if let Some(reason) = interface.blindness() {
        return Err(reason);
    }
    let name = &interface.name;
    if !interface.broadcast || interface.mac.is_none() {
        return Err(format!("the interface {name} is no Ethernet: there is no ARP on it"));
    }
    let ranges: Vec<Subnet> = match cidr {
        Some(cidr) => vec![cidr],
        None => {
            let mut ranges: Vec<_> =
                interface.ipv4().filter_map(|(ip, prefix)| network(ip, prefix)).collect();
            ranges.sort_by_key(|range| (range.address, range.prefix));
            ranges.dedup();
            ranges
        }
    };
    if ranges.is_empty() {
        return Err(format!("the interface {name} has no IPv4 address with a subnet"));
    }
    let total: u64 = ranges.iter().map(|range| 1u64 << (32 - u32::from(range.prefix.min(32)))).sum();
    if total > MAX_SCAN_ADDRESSES {
        return Err(format!(
            "the network of {name} has {total} addresses, a scan takes at most {MAX_SCAN_ADDRESSES} (a /20): \
             give the source a cidr"
        ));
    }
    let own: HashSet<Ipv4Addr> = interface.ipv4().map(|(ip, _)| ip).collect();
    let mut asked = BTreeSet::new();
    let mut questions = Vec::new();
    for range in &ranges {
        // In our own name where we belong to the range, else nameless: a stranger's question is
        // not answered by every system, a probe is.
        let sender =
            own.iter().copied().find(|ip| range.contains((*ip).into())).unwrap_or(Ipv4Addr::UNSPECIFIED);
        for target in hosts(*range) {
            if !own.contains(&target) && asked.insert(target) {
                questions.push((target, sender));
            }
        }
    }
    Ok(Plan { interface, ranges, questions })
}

/// The subnet of an address with the bits behind the prefix cleared; none for a lone address.
pub(super) fn network(ip: Ipv4Addr, prefix: u8) -> Option<Subnet> {
    if prefix >= 32 {
        return None;
    }
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Subnet::new(IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask)), prefix)
}

/// The addresses of a range that a host can have.
pub(super) fn hosts(range: Subnet) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = match range.address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(range.prefix)).unwrap_or(0);
            let (low, high) = (ip.to_bits() & mask, ip.to_bits() | !mask);
            // RFC 3021: a /31 has neither a network nor a broadcast address.
            if range.prefix >= 31 { (low, high) } else { (low + 1, high - 1) }
        }
        // An empty range.
        IpAddr::V6(_) => (1, 0),
    };
    (first..=last).map(Ipv4Addr::from_bits)
}

impl Plan {
    fn scope(&self) -> String {
        let ranges: Vec<_> = self.ranges.iter().map(Subnet::to_string).collect();
        format!("{} on {}", ranges.join(", "), self.interface.name)
    }

    fn report(&self, answers: Answers, pass: &mut Pass, now: Timestamp) {
        pass.scan.covers.extend(&self.ranges);
        let first = pass.sightings.len();
        for (ip, macs) in answers {
            pass.sightings.extend(macs.into_iter().map(|(mac, at)| sighting(mac, ip, at)));
        }
        pass.sightings[first..].sort_by_key(|sighting| (sighting.ip, sighting.mac));
        // This machine is on the network as well, as long as it can look at it.
        if let Some(mac) = self.interface.mac
            && !matches!(pass.scan.outcome, ScanOutcome::Blind { .. })
        {
            pass.sightings.extend(self.interface.ipv4().map(|(ip, _)| sighting(mac, ip, now)));
        }
    }
}

fn sighting(mac: MacAddr, ip: Ipv4Addr, at: Timestamp) -> Sighting {
    Sighting { mac, ip: frames::useful(ip.into()), hostname: None, evidence: Evidence::Seen { at } }
}

/// One conversation with the network.
struct Round<'a> {
    plan: &'a Plan,
    clock: &'a dyn Clock,
    known: &'a HashSet<MacAddr>,
    outlet: Option<&'a Outlet>,
    socket: PacketSocket,
    asked: HashSet<Ipv4Addr>,
    answers: Answers,
    last_answer: Instant,
    frame: [u8; FRAME_BYTES],
}

/// Asks, and brings what was answered until the end or an error.
async fn ask(
    plan: &Plan,
    clock: &dyn Clock,
    known: &HashSet<MacAddr>,
    outlet: Option<&Outlet>,
) -> (Answers, Option<io::Error>) {
    let socket = match PacketSocket::open(&plan.interface, ETHERTYPE_ARP, &answers_only()) {
        Ok(socket) => socket,
        Err(error) => return (Answers::new(), Some(error)),
    };
    let mut round = Round {
        plan,
        clock,
        known,
        outlet,
        socket,
        asked: plan.questions.iter().map(|(target, _)| *target).collect(),
        answers: Answers::new(),
        last_answer: Instant::now(),
        frame: [0; FRAME_BYTES],
    };
    let error = round.run().await.err();
    (round.answers, error)
}

impl Round<'_> {
    async fn run(&mut self) -> io::Result<()> {
        self.put(self.plan.questions.clone()).await?;
        self.listen_until(Instant::now() + PAUSE).await?;
        let unanswered = self.plan.questions.iter().filter(|(target, _)| !self.answers.contains_key(target));
        let unanswered: Vec<_> = unanswered.copied().collect();
        self.put(unanswered).await?;
        let end = Instant::now();
        let mut deadline = end + TAIL_MIN;
        while Instant::now() < deadline {
            self.listen_until(deadline).await?;
            deadline = (self.last_answer + TAIL_QUIET).clamp(end + TAIL_MIN, end + TAIL_MAX);
        }
        Ok(())
    }

    /// Asks at an even pace, and hears answers meanwhile.
    async fn put(&mut self, questions: Vec<(Ipv4Addr, Ipv4Addr)>) -> io::Result<()> {
        let Some(own) = self.plan.interface.mac else { return Ok(()) };
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let began = Instant::now();
        let mut sent: u128 = 0;
        let mut questions = questions.into_iter();
        loop {
            tokio::select! {
                length = self.socket.receive(&mut self.frame) => self.hear(length?),
                _ = turns.tick() => {
                    let due = ((began.elapsed() + TURN).as_millis() * PER_SECOND / 1000).saturating_sub(sent);
                    for _ in 0..due.min(BURST) {
                        let Some((target, sender)) = questions.next() else { return Ok(()) };
                        self.socket.send(&frames::arp_request(own, sender, target)).await?;
                        sent += 1;
                    }
                }
            }
        }
    }

    async fn listen_until(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            tokio::select! {
                length = self.socket.receive(&mut self.frame) => self.hear(length?),
                () = tokio::time::sleep_until(deadline) => return Ok(()),
            }
        }
    }

    /// Takes answers to us, and announcements, of addresses that we asked for; nothing else.
    fn hear(&mut self, length: usize) {
        let Some(arp) = self.frame.get(..length).and_then(frames::arp) else { return };
        let to_us = Some(arp.target_mac) == self.plan.interface.mac;
        let announced = arp.sender_ip == arp.target_ip;
        if arp.operation != frames::ARP_REPLY
            || !(to_us || announced)
            || !arp.sender_mac.is_device()
            || Some(arp.sender_mac) == self.plan.interface.mac
            || !self.asked.contains(&arp.sender_ip)
        {
            return;
        }
        let now = self.clock.now();
        self.last_answer = Instant::now();
        let macs = self.answers.entry(arp.sender_ip).or_default();
        if let Some((_, at)) = macs.iter_mut().find(|(mac, _)| *mac == arp.sender_mac) {
            *at = now;
            return;
        }
        if macs.len() < MACS_AN_ADDRESS {
            macs.push((arp.sender_mac, now));
            if let Some(outlet) = self.outlet
                && !self.known.contains(&arp.sender_mac)
            {
                outlet.live(vec![sighting(arp.sender_mac, arp.sender_ip, now)]);
            }
        }
    }
}

/// Keeps only ARP replies: byte 20 and 21 of the frame are the operation.
fn answers_only() -> [SockFilter; 4] {
    const LOAD_HALF: u16 = 0x28;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(frames::ARP_REPLY)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, addresses: &[&str]) -> Interface {
        Interface {
            name: name.into(),
            index: 2,
            mac: Some(MacAddr::new([0, 0, 0, 0, 0, 1])),
            made_by: None,
            up: true,
            carrier: true,
            broadcast: true,
            port: false,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn planned(interface: Interface, cidr: Option<&str>) -> Result<Plan, String> {
        plan(interface, cidr.map(|text| text.parse().unwrap()))
    }

    #[test]
    fn every_host_address_but_our_own_is_asked_in_our_name() {
        let plan = planned(interface("eth0", &["192.168.1.5/29", "fe80::1/64"]), None).unwrap();
        let us = Ipv4Addr::new(192, 168, 1, 5);
        let targets: Vec<_> = plan.questions.iter().map(|(target, _)| target.octets()[3]).collect();
        assert_eq!(targets, [1, 2, 3, 4, 6]);
        assert!(plan.questions.iter().all(|(_, sender)| *sender == us));
        assert_eq!(plan.scope(), "192.168.1.0/29 on eth0");
    }

    #[test]
    fn a_range_we_do_not_belong_to_is_probed_namelessly() {
        let plan = planned(interface("eth0", &["192.168.1.5/29"]), Some("10.9.0.0/31")).unwrap();
        assert_eq!(
            plan.questions,
            [
                (Ipv4Addr::new(10, 9, 0, 0), Ipv4Addr::UNSPECIFIED),
                (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::UNSPECIFIED)
            ]
        );
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let eth0 = || interface("eth0", &["192.168.1.5/24"]);
        let why = |interface, cidr| planned(interface, cidr).unwrap_err();
        assert!(why(interface("eth0", &[]), None).contains("no IPv4 address"));
        assert!(why(interface("eth0", &["10.1.2.3/8"]), None).contains("at most 4096"));
        assert!(why(Interface { carrier: false, ..eth0() }, None).contains("no carrier"));
        assert!(choose(vec![], Some("eth0"), None).unwrap_err().contains("there is no interface eth0"));
        let elsewhere = Some("10.0.0.0/24".parse().unwrap());
        assert!(
            choose(vec![eth0()], None, elsewhere).unwrap_err().contains("no interface has an address in")
        );
    }

    #[test]
    fn without_a_name_every_plugged_in_network_is_asked() {
        let names = |interfaces: Vec<Interface>| {
            let chosen = choose(interfaces, None, None).unwrap();
            chosen.into_iter().map(|interface| interface.name).collect::<Vec<_>>()
        };
        let eth0 = interface("eth0", &["192.168.1.5/24"]);
        let eth1 = interface("eth1", &["10.0.0.1/24"]);
        let unplugged = Interface { carrier: false, ..interface("eth2", &["10.2.0.1/24"]) };
        assert_eq!(names(vec![eth0, eth1, unplugged.clone()]), ["eth0", "eth1"]);
        assert_eq!(names(vec![unplugged]), ["eth2"]);
    }

    #[test]
    fn ranges_enumerate_their_hosts() {
        let count = |text: &str| hosts(text.parse().unwrap()).count();
        assert_eq!((count("10.0.0.0/22"), count("10.0.0.0/30"), count("10.0.0.0/32")), (1022, 2, 1));
        assert_eq!(count("fd00::/120"), 0);
        assert_eq!(
            hosts("255.255.255.255/30".parse().unwrap()).last(),
            Some(Ipv4Addr::new(255, 255, 255, 254))
        );
    }
}
