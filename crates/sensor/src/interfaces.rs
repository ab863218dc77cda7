//! The machine's network interfaces, and what this process may do on them.
//!
//! Read from the kernel by rtnetlink, which needs no privilege and respects the network namespace
//! of the calling thread (unlike /sys).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    address::AddressAttribute,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType},
};
use sojourn_domain::{mac::MacAddr, presence::Subnet};

/// A network interface as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its Ethernet address; absent on interfaces that have none (tunnels, loopback).
    pub mac: Option<MacAddr>,
    /// What made it (`veth`, `bridge`, `vlan`); absent for hardware.
    pub made_by: Option<String>,
    /// Switched on.
    pub up: bool,
    /// Something answers at the other end of the cable.
    pub carrier: bool,
    /// Ethernet with broadcast and ARP.
    pub broadcast: bool,
    /// It is a port of a bridge or bond; addresses and traffic belong to that one.
    pub port: bool,
    /// Its addresses with the prefix of their subnet, IPv4 first.
    pub addresses: Vec<Subnet>,
}

impl Interface {
    /// Why nothing can be seen through it now, in a sentence.
    pub fn blindness(&self) -> Option<String> {
        let name = &self.name;
        if !self.up {
            Some(format!("the interface {name} is down"))
        } else if !self.carrier {
            Some(format!("the interface {name} has no carrier: nothing is plugged in at the other end"))
        } else {
            None
        }
    }

    /// Its IPv4 addresses with prefix length.
    pub fn ipv4(&self) -> impl Iterator<Item = (Ipv4Addr, u8)> + '_ {
        self.addresses.iter().filter_map(|subnet| match subnet.address {
            IpAddr::V4(address) => Some((address, subnet.prefix)),
            IpAddr::V6(_) => None,
        })
    }

    /// Its IPv6 addresses with prefix length, link-local ones too.
    pub fn ipv6(&self) -> impl Iterator<Item = (Ipv6Addr, u8)> + '_ {
        self.addresses.iter().filter_map(|subnet| match subnet.address {
            IpAddr::V6(address) => Some((address, subnet.prefix)),
            IpAddr::V4(_) => None,
        })
    }

    /// Devices of people are behind it: an Ethernet interface of this machine's own, not the inner
    /// plumbing of containers and virtual machines.
    pub fn leads_to_a_network(&self) -> bool {
        const PLUMBING: &[&str] = &[
            "docker", "br-", "veth", "virbr", "vnet", "cni", "flannel", "cali", "lxc", "lxdbr", "podman",
            "kube",
        ];
        // A veth end inside a container is that container's way out, and is called eth0 there.
        let plumbing = PLUMBING.iter().any(|prefix| self.name.starts_with(prefix));
        let unfit = matches!(self.made_by.as_deref(), Some("dummy" | "ifb" | "nlmon"));
        self.broadcast && self.mac.is_some() && !self.port && !plumbing && !unfit
    }
}

/// What this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// It may open raw sockets (CAP_NET_RAW).
    pub raw_sockets: bool,
}

/// Finds out by trying, which is true also under seccomp and user namespaces.
pub fn rights() -> Rights {
    // Protocol 0: the socket receives nothing.
    let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None);
    Rights { raw_sockets: socket.is_ok() }
}

/// All interfaces, ordered by the kernel's number.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the kernel's many attributes, these are what matters here"
)]
pub async fn list() -> io::Result<Vec<Interface>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    let mut interfaces = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(io::Error::other)? {
        if let Some(interface) = from_link(&link) {
            interfaces.insert(interface.index, interface);
        }
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(io::Error::other)? {
        // On point-to-point links `Address` is the other end; `Local`, where given, is ours.
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => address = Some(*ip),
                AddressAttribute::Address(ip) => address = address.or(Some(*ip)),
                _ => {}
            }
        }
        if let Some(interface) = interfaces.get_mut(&message.header.index)
            && let Some(subnet) = address.and_then(|ip| Subnet::new(ip, message.header.prefix_len))
        {
            interface.addresses.push(subnet);
        }
    }
    drop(connection);
    Ok(interfaces
        .into_values()
        .map(|mut interface: Interface| {
            // Stable, so that the primary address stays first.
            interface.addresses.sort_by_key(|subnet| subnet.address.is_ipv6());
            interface
        })
        .collect())
}

/// The interface of that name, when there is one.
pub async fn find(name: &str) -> io::Result<Option<Interface>> {
    Ok(list().await?.into_iter().find(|interface| interface.name == name))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the kernel's many attributes, these are what matters here"
)]
fn from_link(link: &netlink_packet_route::link::LinkMessage) -> Option<Interface> {
    let flags = link.header.flags;
    let mut name = None;
    let mut mac = None;
    let mut made_by = None;
    let mut carrier = flags.contains(LinkFlags::LowerUp);
    let mut port = false;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr::new)
            }
            LinkAttribute::Carrier(value) => carrier = *value != 0,
            // A VRF has ports too, but these keep their own addresses and subnets.
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => made_by = Some(kind_name(kind)),
                        LinkInfo::PortKind(kind) => port = kind.to_string() != "vrf",
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let ethernet = link.header.link_layer_type == LinkLayerType::Ether;
    Some(Interface {
        name: name?,
        index: link.header.index,
        mac: mac.filter(|mac| ethernet && mac.is_device()),
        made_by,
        up: flags.contains(LinkFlags::Up),
        carrier,
        broadcast: ethernet && flags.contains(LinkFlags::Broadcast) && !flags.contains(LinkFlags::Noarp),
        port,
        addresses: Vec::new(),
    })
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet(name: &str) -> Interface {
        Interface {
            name: name.into(),
            index: 2,
            mac: Some(MacAddr::new([2, 0, 0, 0, 0, 1])),
            made_by: None,
            up: true,
            carrier: true,
            broadcast: true,
            port: false,
            addresses: vec!["192.168.1.5/24".parse().unwrap()],
        }
    }

    #[tokio::test]
    async fn the_loopback_is_listed_and_leads_nowhere() {
        let loopback = find("lo").await.unwrap().expect("every network namespace has a loopback");
        assert!(!loopback.leads_to_a_network());
        assert_eq!(loopback.mac, None);
    }

    #[test]
    fn inner_plumbing_is_not_a_network_of_people() {
        assert!(ethernet("eth0").leads_to_a_network());
        assert!(ethernet("br0").leads_to_a_network());
        assert!(ethernet("wlp3s0").leads_to_a_network());
        for name in ["docker0", "br-0123456789ab", "veth12ab", "virbr0"] {
            assert!(!ethernet(name).leads_to_a_network(), "{name}");
        }
        assert!(!Interface { port: true, ..ethernet("eth1") }.leads_to_a_network());
        assert!(!Interface { broadcast: false, ..ethernet("tun0") }.leads_to_a_network());
        assert!(!Interface { made_by: Some("ifb".into()), ..ethernet("ifb0") }.leads_to_a_network());
    }

    #[test]
    fn blindness_says_why() {
        assert_eq!(ethernet("eth0").blindness(), None);
        assert!(Interface { up: false, ..ethernet("eth0") }.blindness().unwrap().contains("down"));
        assert!(Interface { carrier: false, ..ethernet("eth0") }.blindness().unwrap().contains("carrier"));
    }
}
