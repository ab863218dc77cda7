//! Ethernet frames: who sent them, and what they tell of devices.
//!
//! Reads ARP (RFC 826), DHCPv4 (RFC 2131, 2132, 4702), mDNS (RFC 6762) and IPv6 neighbour
//! discovery (RFC 4861) from hostile bytes: nothing here panics, follows a loop, or allocates
//! more than a name. It opens no socket and knows no time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sojourn_domain::mac::MacAddr;

use crate::hostnames;

/// What one frame tells of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub mac: MacAddr,
    pub ip: Option<IpAddr>,
    pub hostname: Option<String>,
    /// It said that it gives up its lease.
    pub leaves: bool,
}

impl Heard {
    fn new(mac: MacAddr, ip: Option<IpAddr>) -> Option<Self> {
        mac.is_device().then(|| Self { mac, ip: ip.and_then(useful), hostname: None, leaves: false })
    }
}

/// The address, when it tells where a device is: neither link-local, multicast, loopback,
/// broadcast nor unspecified.
pub fn useful(ip: IpAddr) -> Option<IpAddr> {
    let useless = match ip {
        IpAddr::V4(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_link_local()
                || ip.octets()[0] >= 240
                || ip.octets()[0] == 0
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_unicast_link_local()
        }
    };
    (!useless).then_some(ip)
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    pub sender_mac: MacAddr,
    pub sender_ip: Ipv4Addr,
    pub target_mac: MacAddr,
    pub target_ip: Ipv4Addr,
}

pub const ARP_REQUEST: u16 = 1;
pub const ARP_REPLY: u16 = 2;
/// An ARP packet in an Ethernet frame, without padding.
pub const ARP_FRAME_BYTES: usize = 42;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn mac(bytes: &[u8], at: usize) -> Option<MacAddr> {
    array(bytes, at).map(MacAddr::new)
}

fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    array::<4>(bytes, at).map(Ipv4Addr::from)
}

fn ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    array::<16>(bytes, at).map(Ipv6Addr::from)
}

/// An Ethernet frame's sender, ethertype and content, VLAN tags skipped.
fn ethernet(frame: &[u8]) -> Option<(MacAddr, u16, &[u8])> {
    let source = mac(frame, 6)?;
    let mut at = 12;
    for _ in 0..3 {
        let ethertype = be16(frame, at)?;
        if !matches!(ethertype, 0x8100 | 0x88a8) {
            return Some((source, ethertype, frame.get(at + 2..)?));
        }
        at += 4;
    }
    None
}

/// The ARP packet in a frame, when there is one.
pub fn arp(frame: &[u8]) -> Option<Arp> {
    let (_, ethertype, packet) = ethernet(frame)?;
    if ethertype != 0x0806 {
        return None;
    }
    arp_packet(packet)
}

fn arp_packet(packet: &[u8]) -> Option<Arp> {
    // Ethernet, IPv4, and their address lengths.
    if array::<6>(packet, 0)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    Some(Arp {
        operation: be16(packet, 6)?,
        sender_mac: mac(packet, 8)?,
        sender_ip: ipv4(packet, 14)?,
        target_mac: mac(packet, 18)?,
        target_ip: ipv4(packet, 24)?,
    })
}

/// A broadcast frame that asks who has `target`. A `sender_ip` of 0.0.0.0 makes it a probe
/// (RFC 5227), which nobody's ARP cache learns from.
pub fn arp_request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target: Ipv4Addr) -> [u8; ARP_FRAME_BYTES] {
    let mut frame = [0; ARP_FRAME_BYTES];
    frame[0..6].fill(0xff);
    frame[6..12].copy_from_slice(&sender_mac.bytes());
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame[14..20].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    frame[20..22].copy_from_slice(&ARP_REQUEST.to_be_bytes());
    frame[22..28].copy_from_slice(&sender_mac.bytes());
    frame[28..32].copy_from_slice(&sender_ip.octets());
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

/// What a frame tells. At most two devices: a DHCP server and its client.
pub fn parse(frame: &[u8]) -> Vec<Heard> {
    let Some((source, ethertype, packet)) = ethernet(frame) else { return Vec::new() };
    if !source.is_device() {
        return Vec::new();
    }
    match ethertype {
        0x0806 => arp_packet(packet)
            .and_then(|arp| Heard::new(arp.sender_mac, Some(arp.sender_ip.into())))
            .into_iter()
            .collect(),
        0x0800 => from_ipv4(source, packet).unwrap_or_default(),
        0x86dd => from_ipv6(source, packet).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn from_ipv4(source: MacAddr, packet: &[u8]) -> Option<Vec<Heard>> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(be16(packet, 2)?);
    let fragment = be16(packet, 6)? & 0x1fff;
    let (ttl, protocol) = (*packet.get(8)?, *packet.get(9)?);
    if first >> 4 != 4 || header < 20 || fragment != 0 || protocol != 17 {
        return None;
    }
    let sender = ipv4(packet, 12)?;
    // A frame may be padded beyond the packet, or cut by us before its end.
    let packet = packet.get(..total).unwrap_or(packet);
    let udp = packet.get(header..)?;
    let (from, to) = (be16(udp, 0)?, be16(udp, 2)?);
    let data = udp.get(8..)?;
    match (from, to) {
        (67 | 68, 67 | 68) => Some(dhcp(source, data)),
        (5353, 5353) => Some(mdns(source, sender.into(), ttl, data)),
        _ => None,
    }
}

fn from_ipv6(source: MacAddr, packet: &[u8]) -> Option<Vec<Heard>> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let (next, hops) = (*packet.get(6)?, *packet.get(7)?);
    let sender = ipv6(packet, 8)?;
    let data = packet.get(40..)?;
    let data = data.get(..usize::from(be16(packet, 4)?)).unwrap_or(data);
    match next {
        17 if be16(data, 0)? == 5353 && be16(data, 2)? == 5353 => {
            Some(mdns(source, sender.into(), hops, data.get(8..)?))
        }
        // RFC 4861: a hop limit below 255 came through a router and proves nothing.
        58 if hops == 255 => neighbour_discovery(source, sender, data),
        _ => None,
    }
}

fn neighbour_discovery(source: MacAddr, sender: Ipv6Addr, message: &[u8]) -> Option<Vec<Heard>> {
    let heard = match *message.first()? {
        // Router solicitation and advertisement, neighbour solicitation.
        133..=135 => Heard::new(source, Some(sender.into())),
        // A neighbour advertisement speaks for its target, at the address in option 2.
        136 => {
            let target = ipv6(message, 8)?;
            let owner = option(message.get(24..)?, 2).and_then(|option| mac(option, 2)).unwrap_or(source);
            Heard::new(owner, Some(target.into()))
        }
        _ => None,
    };
    Some(heard.into_iter().collect())
}

/// The first neighbour discovery option of a type, header included.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (kind, length) = (*options.first()?, usize::from(*options.get(1)?) * 8);
        // A length of zero would go on for ever (RFC 4861 section 4.6).
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        if kind == wanted {
            return Some(option);
        }
        options = options.get(length..)?;
    }
}

fn dhcp(source: MacAddr, message: &[u8]) -> Vec<Heard> {
    let heard = dhcp_client(source, message);
    let server = match message.first() {
        // Relays and servers are devices too; the client is reported from the message.
        Some(2) => Heard::new(source, None),
        _ => None,
    };
    heard.into_iter().chain(server).collect()
}

fn dhcp_client(source: MacAddr, message: &[u8]) -> Option<Heard> {
    let (operation, hardware, length) = (*message.first()?, *message.get(1)?, *message.get(2)?);
    if hardware != 1 || length != 6 || array(message, 236)? != [0x63, 0x82, 0x53, 0x63] {
        return None;
    }
    let client = mac(message, 28)?;
    let (has, gets) = (ipv4(message, 12)?, ipv4(message, 16)?);
    let (mut kind, mut name, mut full_name) = (0, None, None);
    let mut at = 240;
    // Bounded by the message: each turn moves on by at least one byte.
    while let Some(&code) = message.get(at) {
        if code == 0 {
            at += 1;
            continue;
        }
        let Some(value) = message.get(at + 1).and_then(|&n| message.get(at + 2..at + 2 + usize::from(n)))
        else {
            break;
        };
        match code {
            12 => name = hostnames::clean(value),
            53 => kind = value.first().copied().unwrap_or(0),
            81 => full_name = client_fqdn(value),
            255 => break,
            _ => {}
        }
        at += 2 + value.len();
    }
    match (operation, kind) {
        // Discover, request, decline, inform: the client speaks.
        (1, 1 | 3 | 4 | 8) => {
            let mut heard = Heard::new(client, Some(has.into()))?;
            heard.hostname = name.or(full_name);
            Some(heard)
        }
        // Release: only in the client's own frame.
        (1, 7) if source == client => {
            let mut heard = Heard::new(client, None)?;
            heard.leaves = true;
            Some(heard)
        }
        // Ack: the client asked for it a moment ago.
        (2, 5) => Heard::new(client, Some(if gets.is_unspecified() { has } else { gets }.into())),
        _ => None,
    }
}

/// RFC 4702: flags, two obsolete bytes, and the name in ASCII or in DNS wire form.
fn client_fqdn(value: &[u8]) -> Option<String> {
    let flags = *value.first()?;
    let name = value.get(3..)?;
    if flags & 4 == 0 {
        return hostnames::clean(name);
    }
    // A partial name lacks the closing zero.
    let name = [name, &[0]].concat();
    hostnames::clean(&labels(&name, 0)?.0.join(&b'.'))
}

/// The labels of a DNS name, and where the name ends. Compression pointers must point backwards,
/// which bounds the walk.
fn labels(message: &[u8], start: usize) -> Option<(Vec<&[u8]>, usize)> {
    let mut labels = Vec::new();
    let (mut at, mut end, mut lowest, mut bytes) = (start, None, start, 0);
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((labels, end.unwrap_or(at + 1))),
            1..=63 => {
                labels.push(message.get(at + 1..at + 1 + length)?);
                at += 1 + length;
                bytes += 1 + length;
                if bytes > 255 {
                    return None;
                }
            }
            192..=255 => {
                let target = usize::from(be16(message, at)? & 0x3fff);
                end = end.or(Some(at + 2));
                if target >= lowest {
                    return None;
                }
                (at, lowest) = (target, target);
            }
            _ => return None,
        }
    }
}

/// Where a DNS name ends, without following it.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + length,
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
}

/// More records than this in one message are not read: a frame holds about a hundred.
const MAX_RECORDS: usize = 256;

fn mdns(source: MacAddr, sender: IpAddr, hops: u8, message: &[u8]) -> Vec<Heard> {
    // RFC 6762 section 11: sent with 255. Anything else came from elsewhere, through this sender.
    let ip = (hops == 255).then_some(sender);
    let Some(mut heard) = Heard::new(source, ip) else { return Vec::new() };
    if ip.is_some() {
        heard.hostname = mdns_name(message, sender);
    }
    vec![heard]
}

/// The name whose address record in an answer is the sender's own address.
fn mdns_name(message: &[u8], sender: IpAddr) -> Option<String> {
    let is_answer = be16(message, 2)? & 0x8000 != 0;
    if !is_answer {
        return None;
    }
    let questions = usize::from(be16(message, 4)?);
    let records = (6..12).step_by(2).map(|at| be16(message, at).map_or(0, usize::from)).sum::<usize>();
    let mut at = 12;
    for _ in 0..questions.min(MAX_RECORDS) {
        at = skip_name(message, at)? + 4;
    }
    for _ in 0..records.min(MAX_RECORDS) {
        let name = at;
        at = skip_name(message, at)?;
        let (kind, class, length) = (be16(message, at)?, be16(message, at + 2)?, be16(message, at + 8)?);
        let data = message.get(at + 10..at + 10 + usize::from(length))?;
        at += 10 + usize::from(length);
        let address = match (kind, class & 0x7fff) {
            (1, 1) if data.len() == 4 => ipv4(data, 0).map(IpAddr::from),
            (28, 1) if data.len() == 16 => ipv6(data, 0).map(IpAddr::from),
            _ => None,
        };
        if address == Some(sender) {
            return hostnames::clean(&labels(message, name)?.0.join(&b'.'));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const PHONE: MacAddr = MacAddr::new([0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);
    const SERVER: MacAddr = MacAddr::new([0x00, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e]);

    fn framed(source: MacAddr, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(source.bytes());
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn udp4(source: MacAddr, sender: [u8; 4], ports: (u16, u16), data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend((28 + data.len() as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 255, 17, 0, 0]);
        packet.extend(sender);
        packet.extend([224, 0, 0, 251]);
        packet.extend(ports.0.to_be_bytes());
        packet.extend(ports.1.to_be_bytes());
        packet.extend((8 + data.len() as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(data);
        framed(source, 0x0800, &packet)
    }

    fn dhcp_message(operation: u8, client: MacAddr, gets: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 236];
        message[0..3].copy_from_slice(&[operation, 1, 6]);
        message[16..20].copy_from_slice(&gets);
        message[28..34].copy_from_slice(&client.bytes());
        message.extend([0x63, 0x82, 0x53, 0x63]);
        message.extend(options);
        message.push(255);
        message
    }

    fn heard(mac: MacAddr, ip: Option<&str>, hostname: Option<&str>) -> Heard {
        Heard {
            mac,
            ip: ip.map(|ip| ip.parse().unwrap()),
            hostname: hostname.map(str::to_owned),
            leaves: false,
        }
    }

    #[test]
    fn an_arp_request_reads_as_it_was_built_and_tells_of_its_sender() {
        let frame = arp_request(PHONE, Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 9));
        let packet = arp(&frame).unwrap();
        assert_eq!((packet.operation, packet.sender_mac), (ARP_REQUEST, PHONE));
        assert_eq!(packet.target_ip, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(parse(&frame), [heard(PHONE, Some("10.0.0.5"), None)]);
        // A probe has no address yet, and a link-local address tells nothing.
        assert_eq!(
            parse(&arp_request(PHONE, Ipv4Addr::UNSPECIFIED, [10, 0, 0, 9].into())),
            [heard(PHONE, None, None)]
        );
        assert_eq!(
            parse(&arp_request(PHONE, [169, 254, 1, 2].into(), [10, 0, 0, 9].into())),
            [heard(PHONE, None, None)]
        );
    }

    #[test]
    fn vlan_tags_are_skipped() {
        let frame = arp_request(PHONE, Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 9));
        let mut tagged = frame[..12].to_vec();
        tagged.extend([0x81, 0, 0, 7]);
        tagged.extend(&frame[12..]);
        assert_eq!(arp(&tagged), arp(&frame));
    }

    #[test]
    fn dhcp_tells_name_address_and_departure() {
        let request = dhcp_message(1, PHONE, [0; 4], b"\x35\x01\x03\x0c\x05phone");
        assert_eq!(parse(&udp4(PHONE, [0; 4], (68, 67), &request)), [heard(PHONE, None, Some("phone"))]);

        let fqdn = dhcp_message(1, PHONE, [0; 4], b"\x35\x01\x01\x51\x0e\x04\x00\x00\x05phone\x03lan\x00");
        assert_eq!(parse(&udp4(PHONE, [0; 4], (68, 67), &fqdn)), [heard(PHONE, None, Some("phone.lan"))]);

        let ack = dhcp_message(2, PHONE, [192, 168, 1, 9], b"\x35\x01\x05");
        assert_eq!(
            parse(&udp4(SERVER, [192, 168, 1, 1], (67, 68), &ack)),
            [heard(PHONE, Some("192.168.1.9"), None), heard(SERVER, None, None)]
        );

        let release = dhcp_message(1, PHONE, [0; 4], b"\x35\x01\x07");
        assert!(parse(&udp4(PHONE, [192, 168, 1, 9], (68, 67), &release))[0].leaves);
        // Nobody else can say it for the phone.
        assert_eq!(parse(&udp4(SERVER, [192, 168, 1, 9], (68, 67), &release)), []);

        let evil = dhcp_message(1, PHONE, [0; 4], b"\x35\x01\x03\x0c\x05ph\x1b[m");
        assert_eq!(parse(&udp4(PHONE, [0; 4], (68, 67), &evil)), [heard(PHONE, None, None)]);
    }

    pub(crate) fn mdns_answer() -> Vec<u8> {
        // One answer: a PTR whose name the A record's name points into.
        let mut message = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        message.extend(
            b"\x05_http\x04_tcp\x05local\x00\x00\x0c\x00\x01\x00\x00\x00\x78\x00\x0a\x07printer\xc0\x17",
        );
        message.extend(b"\xc0\x28\x00\x01\x80\x01\x00\x00\x00\x78\x00\x04\x0a\x00\x00\x07");
        message
    }

    #[test]
    fn mdns_names_the_sender_only_by_its_own_address() {
        let message = mdns_answer();
        let names = |sender| parse(&udp4(SERVER, sender, (5353, 5353), &message));
        assert_eq!(names([10, 0, 0, 7]), [heard(SERVER, Some("10.0.0.7"), Some("printer"))]);
        assert_eq!(names([10, 0, 0, 8]), [heard(SERVER, Some("10.0.0.8"), None)]);
    }

    #[test]
    fn compression_loops_end() {
        assert_eq!(labels(b"\xc0\x00", 0), None);
        assert_eq!(labels(b"\x01a\xc0\x00", 0), None);
        assert_eq!(labels(b"\x01a\x00\x01b\xc0\x00", 3).unwrap().0, [b"b", b"a"]);
    }

    #[test]
    fn neighbour_discovery_tells_of_target_and_sender() {
        let packet = |hops: u8, sender: &str, message: &[u8]| {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((message.len() as u16).to_be_bytes());
            packet.extend([58, hops]);
            packet.extend(sender.parse::<Ipv6Addr>().unwrap().octets());
            packet.extend([0xff; 16]);
            packet.extend(message);
            framed(PHONE, 0x86dd, &packet)
        };
        let mut advertisement = vec![136, 0, 0, 0, 0, 0, 0, 0];
        advertisement.extend("2001:db8::5".parse::<Ipv6Addr>().unwrap().octets());
        advertisement.extend([2, 1]);
        advertisement.extend(PHONE.bytes());
        assert_eq!(parse(&packet(255, "fe80::1", &advertisement)), [heard(PHONE, Some("2001:db8::5"), None)]);
        assert_eq!(parse(&packet(64, "fe80::1", &advertisement)), [], "came through a router");
        let solicitation = [135; 24];
        assert_eq!(parse(&packet(255, "::", &solicitation)), [heard(PHONE, None, None)]);
        assert_eq!(
            parse(&packet(255, "2001:db8::9", &solicitation)),
            [heard(PHONE, Some("2001:db8::9"), None)]
        );
        // An option of length zero ends the reading.
        advertisement[25] = 0;
        assert_eq!(parse(&packet(255, "fe80::1", &advertisement)).len(), 1);
    }

    proptest! {
        #[test]
        fn no_frame_panics(frame in proptest::collection::vec(any::<u8>(), 0..400)) {
            for heard in parse(&frame) {
                prop_assert!(heard.mac.is_device());
            }
        }

        #[test]
        fn no_damaged_message_panics(
            which in 0..3usize, at in 0..300usize, value: u8, cut in 0..400usize,
        ) {
            let dhcp = dhcp_message(1, PHONE, [0; 4], b"\x35\x01\x03\x0c\x05phone\x51\x0e\x04\x00\x00\x05phone\x03lan\x00");
            let mut frame = match which {
                0 => udp4(PHONE, [10, 0, 0, 7], (5353, 5353), &mdns_answer()),
                1 => udp4(PHONE, [0; 4], (68, 67), &dhcp),
                _ => arp_request(PHONE, Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 9)).to_vec(),
            };
            if let Some(byte) = frame.get_mut(at) { *byte = value; }
            frame.truncate(cut);
            parse(&frame);
        }
    }
}
