//! The kernel's neighbour table (IPv4 by ARP, IPv6 by neighbour discovery), read by rtnetlink
//! without any privilege.
//!
//! The table shows whom this machine talked to. To make it show who is there, the source *nudges*:
//! it sends an empty datagram to the discard port of every address of the subnets and of every
//! known neighbour, for which the kernel has to ask where they are. What the kernel confirmed, and
//! when, is in the row. The kernel believes a confirmed row for up to 45 seconds before it asks
//! again, so a device may be believed present for about 80 seconds after it left; its last
//! confirmation, which becomes the time last seen, is exact. A grace period shorter than that would
//! make devices flap that never left: `SourceKind::least_grace` is what counts at least.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};
use rtnetlink::{MulticastGroup, packet_core::NetlinkPayload};
use socket2::{Domain, Protocol, Socket, Type};
use sojourn_domain::{
    mac::MacAddr,
    presence::{Evidence, Scan, ScanOutcome, Sighting, Subnet},
    time::{Clock, Elapsed, Timestamp},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Nudge, Outlet, Pass, SourceSettings,
    arp::{hosts, network},
    silence::Silence,
};
use crate::{
    frames,
    interfaces::{self, Interface},
};

/// More addresses than a /22 has are not nudged: the kernel's table holds 1,024 rows by default,
/// and a pass has to end before the next begins.
const MAX_NUDGED: usize = 1_022;
/// Rows that nudging may add to the table before the kernel has given up the unanswered ones.
const BATCH: usize = 256;
/// The kernel asks three times, a second apart, and gives up.
const GIVES_UP: Duration = Duration::from_millis(3_200);
/// A row that was known waits five seconds before the kernel asks again, three times.
const SETTLES: Duration = Duration::from_millis(8_500);
const LOOKS_EVERY: Duration = Duration::from_millis(400);
/// Time for neighbours to speak up after a call to all IPv6 nodes.
const CALLED: Duration = Duration::from_millis(600);
/// Addresses remembered to be nudged again although the kernel forgot them.
const MAX_KNOWN: usize = 4_096;
const FORGET_AFTER: Elapsed = Elapsed::from_secs(24 * 3600);
/// The unit of the ages in a row: USER_HZ, which Linux fixes at 100 a second.
const TICK: Elapsed = Elapsed::from_millis(10);
/// Where a datagram is thrown away (RFC 863).
const DISCARD: u16 = 9;

#[derive(Debug)]
pub(super) struct Neighbors {
    interface: Option<String>,
    cidr: Option<Subnet>,
    nudge: Nudge,
    /// Neighbours seen, by interface, and when they were last confirmed.
    known: HashMap<(u32, IpAddr), Timestamp>,
    present: HashSet<MacAddr>,
    watched: Vec<u32>,
    feed: Option<Feed>,
    silence: Silence,
}

/// Notifications of changed rows.
#[derive(Debug)]
struct Feed {
    changed: mpsc::Receiver<Row>,
    _reader: AbortOnDropHandle<()>,
}

/// A row of the table that names an Ethernet neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    interface: u32,
    ip: IpAddr,
    mac: Option<MacAddr>,
    state: State,
    /// How long ago it was confirmed.
    confirmed: Elapsed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The kernel is asking.
    Asking,
    Confirmed,
    /// It was confirmed once.
    Old,
    Failed,
}

/// What there is to do on one interface.
struct Field {
    interface: Interface,
    ranges: Vec<Subnet>,
    addresses: Vec<Ipv4Addr>,
}

impl Neighbors {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            interface: settings.interface.clone(),
            cidr: settings.cidr,
            nudge: settings.nudge.unwrap_or_default(),
            known: HashMap::new(),
            present: HashSet::new(),
            watched: Vec::new(),
            feed: None,
            silence: Silence::default(),
        }
    }

    pub(super) async fn pass(&mut self, clock: &dyn Clock) -> Pass {
        let started_at = clock.now();
        let mut scan = Scan {
            started_at,
            finished_at: started_at,
            outcome: ScanOutcome::Complete,
            scope: format!("neighbours on {}", self.interface.as_deref().unwrap_or("the local network")),
            covers: Vec::new(),
        };
        let mut sightings = Vec::new();
        scan.outcome = match self.look(clock, &mut scan, &mut sightings).await {
            Ok(()) => ScanOutcome::Complete,
            Err(Trouble::Blind(message)) => ScanOutcome::Blind { message },
            Err(Trouble::Failed(message)) => ScanOutcome::Failed { message },
        };
        scan.finished_at = clock.now();
        Pass { scan, sightings }
    }

    async fn look(
        &mut self,
        clock: &dyn Clock,
        scan: &mut Scan,
        sightings: &mut Vec<Sighting>,
    ) -> Result<(), Trouble> {
        let fields = self.fields().await?;
        let names: Vec<_> = fields.iter().map(|field| field.interface.name.clone()).collect();
        scan.scope = match self.nudge {
            Nudge::All => {
                let ranges: Vec<_> =
                    fields.iter().flat_map(|field| &field.ranges).map(Subnet::to_string).collect();
                format!("{} and IPv6 neighbours on {}", ranges.join(", "), names.join(", "))
            }
            Nudge::Known => format!("known neighbours on {}", names.join(", ")),
            Nudge::Off => format!("neighbour table of {}", names.join(", ")),
        };
        self.watched = fields.iter().map(|field| field.interface.index).collect();
        if self.feed.is_none() {
            // Without it arrivals show at the end of a pass instead of at once.
            self.feed =
                Feed::open().inspect_err(|error| tracing::debug!(%error, "no neighbour notifications")).ok();
        }
        let mut answered = match self.nudge {
            Nudge::Off => HashSet::new(),
            Nudge::All | Nudge::Known => self.nudge(&fields).await?,
        };
        let now = clock.now();
        let rows = self.rows(&fields).await?;
        for field in &fields {
            if let Ok(Some(interface)) = interfaces::find(&field.interface.name).await
                && let Some(reason) = interface.blindness()
            {
                return Err(Trouble::Blind(reason));
            }
        }
        self.remember(&rows, now);
        // A confirmation during this pass counts even when the kernel no longer believes it.
        let during = now.since(scan.started_at);
        let holds = |row: &&Row| {
            row.state == State::Confirmed || (row.state != State::Failed && row.confirmed <= during)
        };
        answered.extend(rows.iter().filter(holds).filter_map(|row| row.mac));
        // Whom the kernel is still asking has not failed to answer.
        let asked = rows.iter().filter(|row| row.state == State::Asking).filter_map(|row| row.mac);
        let heard: HashSet<_> = answered.iter().copied().chain(asked).collect();
        if self.nudge == Nudge::All
            && let Some(reason) = self.silence.judge(&scan.scope, heard.len())
        {
            return Err(Trouble::Blind(reason));
        }
        self.present = answered;
        sightings.extend(rows.iter().filter_map(|row| row.sighting(now)));
        for field in &fields {
            scan.covers.extend(&field.ranges);
            sightings.extend(own(&field.interface, now));
        }
        sightings.sort_by_key(|sighting| (sighting.mac, sighting.ip));
        Ok(())
    }

    /// Tells of devices that the kernel has just confirmed and that were not there in the last pass.
    pub(super) async fn rest(&mut self, clock: &dyn Clock, outlet: Option<&Outlet>) {
        loop {
            let Some(feed) = &mut self.feed else { return std::future::pending().await };
            let Some(row) = feed.changed.recv().await else {
                self.feed = None;
                continue;
            };
            if row.state == State::Confirmed
                && self.watched.contains(&row.interface)
                && row.mac.is_some_and(|mac| self.present.insert(mac))
                && let Some(outlet) = outlet
            {
                outlet.live(row.sighting(clock.now()).into_iter().collect());
            }
        }
    }

    async fn fields(&self) -> Result<Vec<Field>, Trouble> {
        let interfaces = interfaces::list()
            .await
            .map_err(|error| Trouble::Blind(format!("reading the interfaces failed: {error}")))?;
        let chosen: Vec<_> = match &self.interface {
            Some(name) => interfaces.into_iter().filter(|interface| interface.name == *name).collect(),
            None => interfaces
                .into_iter()
                .filter(|interface| interface.leads_to_a_network() && !interface.addresses.is_empty())
                .collect(),
        };
        let sighted = chosen.iter().any(|interface| interface.blindness().is_none());
        let mut fields = Vec::new();
        for interface in chosen {
            match interface.blindness() {
                // One that is unplugged is no trouble while another is not.
                Some(_) if sighted => {}
                Some(reason) => return Err(Trouble::Blind(reason)),
                None => fields.push(self.field(interface)),
            }
        }
        if fields.is_empty() {
            return Err(Trouble::Blind(match &self.interface {
                Some(name) => format!("there is no interface {name}"),
                None => "there is no Ethernet interface with an address".to_owned(),
            }));
        }
        Ok(fields)
    }

    fn field(&self, interface: Interface) -> Field {
        let own: HashSet<_> = interface.ipv4().map(|(ip, _)| ip).collect();
        let mut ranges = Vec::new();
        let mut addresses = Vec::new();
        if self.nudge == Nudge::All {
            for subnet in interface.ipv4().filter_map(|(ip, prefix)| network(ip, prefix)) {
                // Only what is on the link: a datagram for elsewhere would go to the router.
                let range = match self.cidr {
                    Some(cidr) if subnet.contains(cidr.address) => cidr,
                    Some(_) => continue,
                    None => subnet,
                };
                let fresh: Vec<_> =
                    hosts(range).take(MAX_NUDGED + 1 + own.len()).filter(|ip| !own.contains(ip)).collect();
                if addresses.len() + fresh.len() <= MAX_NUDGED {
                    addresses.extend(fresh);
                    ranges.push(range);
                }
            }
            addresses.sort_unstable();
            addresses.dedup();
        }
        Field { interface, ranges, addresses }
    }

    /// Makes the kernel ask, and waits until it has answers or has given up. The neighbours that
    /// were confirmed at any look: rows confirmed together are doubted together, and a single look
    /// may fall into the moment when all of them are.
    async fn nudge(&mut self, fields: &[Field]) -> Result<HashSet<MacAddr>, Trouble> {
        for field in fields {
            call_all_nodes(&field.interface);
        }
        let mut questions: VecDeque<(&Field, IpAddr)> = VecDeque::new();
        for field in fields {
            questions.extend(field.addresses.iter().map(|ip| (field, IpAddr::V4(*ip))));
        }
        while !questions.is_empty() {
            let batch: Vec<_> = questions.drain(..questions.len().min(BATCH)).collect();
            send(&batch).map_err(Trouble::Failed)?;
            if !questions.is_empty() {
                tokio::time::sleep(GIVES_UP).await;
            }
        }
        tokio::time::sleep(CALLED).await;
        // Those who are known, those who answered the call, and those whom the kernel forgot.
        let rows = self.rows(fields).await?;
        let mut again: HashSet<(u32, IpAddr)> =
            rows.iter().filter(|row| row.state == State::Old).map(|row| (row.interface, row.ip)).collect();
        let listed: HashSet<_> = rows.iter().map(|row| (row.interface, row.ip)).collect();
        again.extend(self.known.keys().filter(|key| !listed.contains(key)));
        let again: Vec<_> = again
            .into_iter()
            .filter_map(|(index, ip)| Some((fields.iter().find(|field| field.interface.index == index)?, ip)))
            .filter(|(field, ip)| field.interface.addresses.iter().any(|subnet| subnet.contains(*ip)))
            .collect();
        for batch in again.chunks(BATCH) {
            send(batch).map_err(Trouble::Failed)?;
        }
        let mut answered = HashSet::new();
        let end = Instant::now() + SETTLES;
        while Instant::now() < end {
            tokio::time::sleep(LOOKS_EVERY).await;
            let rows = self.rows(fields).await?;
            answered
                .extend(rows.iter().filter(|row| row.state == State::Confirmed).filter_map(|row| row.mac));
            if rows.iter().all(|row| row.state != State::Asking) {
                break;
            }
        }
        Ok(answered)
    }

    /// The rows of these interfaces.
    async fn rows(&self, fields: &[Field]) -> Result<Vec<Row>, Trouble> {
        let rows = dump()
            .await
            .map_err(|error| Trouble::Failed(format!("reading the neighbour table failed: {error}")))?;
        Ok(rows
            .into_iter()
            .filter(|row| fields.iter().any(|field| field.interface.index == row.interface))
            .filter(|row| self.cidr.is_none_or(|cidr| row.ip.is_ipv6() || cidr.contains(row.ip)))
            .collect())
    }

    fn remember(&mut self, rows: &[Row], now: Timestamp) {
        for row in rows.iter().filter(|row| row.state == State::Confirmed) {
            if self.known.len() < MAX_KNOWN || self.known.contains_key(&(row.interface, row.ip)) {
                self.known.insert((row.interface, row.ip), now - row.confirmed);
            }
        }
        self.known.retain(|_, at| now.since(*at) < FORGET_AFTER);
    }
}

enum Trouble {
    Blind(String),
    Failed(String),
}

impl Row {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of the kernel's many attributes, these are what matters here"
    )]
    fn read(message: &NeighbourMessage) -> Option<Self> {
        // Proxy rows and rows that a switch driver or daemon put in say nothing about presence.
        if message.header.flags.intersects(NeighbourFlags::Proxy | NeighbourFlags::ExtLearned) {
            return None;
        }
        let state = match message.header.state {
            NeighbourState::Reachable => State::Confirmed,
            NeighbourState::Stale => State::Old,
            NeighbourState::Incomplete | NeighbourState::Delay | NeighbourState::Probe => State::Asking,
            NeighbourState::Failed => State::Failed,
            // Made by hand, or of interfaces without addresses to ask for.
            NeighbourState::Permanent | NeighbourState::Noarp | NeighbourState::None => return None,
            _ => return None,
        };
        let (mut ip, mut mac, mut confirmed) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(*v4)),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(*v6)),
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = <[u8; 6]>::try_from(bytes.as_slice())
                        .ok()
                        .map(MacAddr::new)
                        .filter(|mac| mac.is_device());
                }
                NeighbourAttribute::CacheInfo(info) => confirmed = Some(info.confirmed),
                _ => {}
            }
        }
        let ip = ip.filter(|ip| !ip.is_multicast() && !ip.is_loopback() && !ip.is_unspecified())?;
        let confirmed = Elapsed::from_micros(i64::from(confirmed?).saturating_mul(TICK.as_micros()));
        Some(Self { interface: message.header.ifindex, ip, mac, state, confirmed })
    }

    /// Rows that were asked in vain are no sighting; rows still being asked about were confirmed
    /// when they say so.
    fn sighting(&self, now: Timestamp) -> Option<Sighting> {
        if self.state == State::Failed || self.confirmed > FORGET_AFTER {
            return None;
        }
        let evidence = Evidence::Seen { at: now - self.confirmed };
        Some(Sighting { mac: self.mac?, ip: frames::useful(self.ip), hostname: None, evidence })
    }
}

impl Feed {
    fn open() -> io::Result<Self> {
        let (connection, _, mut messages) = rtnetlink::new_multicast_connection(&[MulticastGroup::Neigh])?;
        // Full: dropped, because the next pass reads the whole table.
        let (out, changed) = mpsc::channel(256);
        let reader = tokio::spawn(async move {
            let connection = AbortOnDropHandle::new(tokio::spawn(connection));
            while let Some((message, _)) = messages.next().await {
                if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) =
                    message.payload
                    && let Some(row) = Row::read(&message)
                    && matches!(out.try_send(row), Err(mpsc::error::TrySendError::Closed(_)))
                {
                    break;
                }
            }
            drop(connection);
        });
        Ok(Self { changed, _reader: AbortOnDropHandle::new(reader) })
    }
}

async fn dump() -> Result<Vec<Row>, rtnetlink::Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|_| rtnetlink::Error::RequestFailed)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut messages = handle.neighbours().get().execute();
    let mut rows = Vec::new();
    while let Some(message) = messages.try_next().await? {
        rows.extend(Row::read(&message));
    }
    drop(connection);
    Ok(rows)
}

fn own(interface: &Interface, at: Timestamp) -> Vec<Sighting> {
    let Some(mac) = interface.mac else { return Vec::new() };
    let addresses = interface.addresses.iter().filter_map(|subnet| frames::useful(subnet.address));
    addresses
        .map(|ip| Sighting { mac, ip: Some(ip), hostname: None, evidence: Evidence::Seen { at } })
        .collect()
}

/// Sends an empty datagram to each. A fresh socket a batch: unanswered datagrams wait in the
/// kernel at the socket's expense. Only what stops all of them is an error.
fn send(batch: &[(&Field, IpAddr)]) -> Result<(), String> {
    let mut sockets: HashMap<(u32, bool), Socket> = HashMap::new();
    let mut refused = None;
    let mut sent = 0usize;
    for (field, ip) in batch {
        let key = (field.interface.index, ip.is_ipv4());
        let socket = match sockets.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                match socket(&field.interface, ip.is_ipv4()) {
                    Ok(socket) => entry.insert(socket),
                    Err(error) => {
                        refused = Some(error);
                        continue;
                    }
                }
            }
        };
        let to = match ip {
            IpAddr::V4(ip) => SocketAddr::from((*ip, DISCARD)),
            IpAddr::V6(ip) => {
                let scope = if ip.is_unicast_link_local() { field.interface.index } else { 0 };
                SocketAddrV6::new(*ip, DISCARD, 0, scope).into()
            }
        };
        match socket.send_to(&[], &to.into()) {
            Ok(_) => sent += 1,
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if sent == 0 && error.raw_os_error() == Some(libc::EPERM) => {
            Err(format!("a firewall on this machine refuses the datagrams that make the kernel ask: {error}"))
        }
        Some(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Err(format!(
            "the kernel's neighbour table is full ({error}): raise net.ipv4.neigh.default.gc_thresh3 (1024 rows by \
             default)"
        )),
        Some(error) if sent == 0 => Err(format!("sending to the neighbours failed: {error}")),
        _ => Ok(()),
    }
}

fn socket(interface: &Interface, ipv4: bool) -> io::Result<Socket> {
    let socket =
        Socket::new(if ipv4 { Domain::IPV4 } else { Domain::IPV6 }, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Nothing of this is meant for anybody beyond the link.
    if ipv4 {
        socket.set_ttl_v4(1)?
    } else {
        socket.set_unicast_hops_v6(1)?
    }
    if let Err(error) = socket.bind_device(Some(interface.name.as_bytes())) {
        // Before Linux 5.7 only privileged processes may; routing then finds the interface.
        tracing::trace!(%error, "not bound to the interface");
    }
    Ok(socket)
}

/// Pings the IPv6 nodes on the link, who must find out our address to answer, and so enter the
/// table. Where neither an unprivileged nor a raw ICMP socket is to be had, it is left out.
fn call_all_nodes(interface: &Interface) {
    if interface.ipv6().next().is_none() {
        return;
    }
    let send = |kind: Type| {
        let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
        socket.set_multicast_if_v6(interface.index)?;
        socket.set_nonblocking(true)?;
        let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, interface.index);
        // Echo request; the kernel fills in the checksum.
        socket.send_to(&[128, 0, 0, 0, 0x50, 0x6a, 0, 1], &SocketAddr::V6(all_nodes).into())
    };
    if let Err(error) = send(Type::DGRAM).or_else(|_: io::Error| send(Type::RAW)) {
        tracing::trace!(%error, "IPv6 nodes were not called");
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::neighbour::{NeighbourCacheInfo, NeighbourHeader};

    use super::*;

    fn message(state: NeighbourState, ip: &str, mac: &[u8], confirmed: u32) -> NeighbourMessage {
        let mut cache = NeighbourCacheInfo::parse(&[0; 16]).unwrap();
        cache.confirmed = confirmed;
        let ip = match ip.parse().unwrap() {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        };
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader { ifindex: 2, state, ..NeighbourHeader::default() };
        message.attributes = vec![
            NeighbourAttribute::Destination(ip),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
            NeighbourAttribute::CacheInfo(cache),
        ];
        message
    }

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    #[test]
    fn a_row_tells_when_it_was_confirmed() {
        let now = Timestamp::from_secs(1_000);
        for state in
            [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay, NeighbourState::Probe]
        {
            let row = Row::read(&message(state, "10.0.0.9", &MAC, 1_250)).unwrap();
            let sighting = row.sighting(now).unwrap();
            assert_eq!(sighting.evidence.at(), Timestamp::from_millis(987_500), "{state:?}");
            assert_eq!(sighting.ip, Some("10.0.0.9".parse().unwrap()));
        }
    }

    #[test]
    fn rows_that_prove_nothing_are_left_out() {
        let now = Timestamp::from_secs(1_000);
        let seen =
            |state, ip, mac: &[u8]| Row::read(&message(state, ip, mac, 0)).and_then(|row| row.sighting(now));
        assert_eq!(seen(NeighbourState::Failed, "10.0.0.9", &MAC), None);
        assert_eq!(seen(NeighbourState::Incomplete, "10.0.0.9", &[]), None);
        assert_eq!(seen(NeighbourState::Noarp, "10.0.0.9", &MAC), None);
        assert_eq!(seen(NeighbourState::Permanent, "10.0.0.9", &MAC), None);
        assert_eq!(seen(NeighbourState::Reachable, "ff02::1", &MAC), None);
        assert_eq!(seen(NeighbourState::Reachable, "10.0.0.9", &[0; 6]), None);
        assert_eq!(seen(NeighbourState::Reachable, "10.0.0.9", &[1; 6]), None, "a group");
        let link_local = seen(NeighbourState::Reachable, "fe80::9", &MAC).unwrap();
        assert_eq!(link_local.ip, None);
    }

    #[test]
    fn a_network_too_large_to_nudge_is_not_claimed_to_be_covered() {
        let interface = |address: &str| Interface {
            name: "eth0".into(),
            index: 2,
            mac: Some(MacAddr::new(MAC)),
            made_by: None,
            up: true,
            carrier: true,
            broadcast: true,
            port: false,
            addresses: vec![address.parse().unwrap()],
        };
        let source = Neighbors::new(&SourceSettings::default());
        let field = source.field(interface("10.0.0.1/22"));
        assert_eq!((field.addresses.len(), field.ranges.len()), (1021, 1));
        let field = source.field(interface("10.0.0.1/16"));
        assert_eq!((field.addresses.len(), field.ranges.len()), (0, 0));
    }
}
