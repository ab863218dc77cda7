//! Which sources to run when nobody configured any.

use sojourn_domain::presence::SourceKind;

use super::settings::{Nudge, SourceSettings, SourceSpec};
use crate::interfaces::{Interface, Rights};

/// The automatic choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    pub specs: Vec<SourceSpec>,
    /// What more could be seen and how to allow it, in sentences for people.
    pub suggestions: Vec<String>,
}

/// Chooses what the machine allows: with raw sockets, asking by ARP and listening on every
/// Ethernet interface with an IPv4 address, and the kernel's neighbour table for IPv6; without
/// them, the neighbour table with nudging. Interfaces that are down are chosen too when they have
/// an address: they may come up, and until then the source says that it is blind.
pub fn automatic(rights: Rights, interfaces: &[Interface]) -> Automatic {
    let mut specs = Vec::new();
    let mut suggestions = Vec::new();
    let fit: Vec<_> = interfaces
        .iter()
        .filter(|interface| interface.leads_to_a_network() && !interface.addresses.is_empty())
        .collect();
    for interface in &fit {
        let on =
            |nudge| SourceSettings { interface: Some(interface.name.clone()), nudge, ..Default::default() };
        let has_ipv4 = interface.ipv4().next().is_some();
        // A larger network is left to the neighbour table until somebody says which ranges are used.
        let too_large = interface.ipv4().any(|(_, prefix)| prefix < 20);
        if rights.raw_sockets && has_ipv4 && !too_large {
            specs.push(SourceSpec::new(SourceKind::Arp, on(None)));
            specs.push(SourceSpec::new(SourceKind::Passive, on(None)));
            // Every IPv4 address is asked by the ARP scan already.
            specs.push(SourceSpec::new(SourceKind::Neighbors, on(Some(Nudge::Known))));
        } else {
            if rights.raw_sockets {
                specs.push(SourceSpec::new(SourceKind::Passive, on(None)));
            }
            specs.push(SourceSpec::new(SourceKind::Neighbors, on(None)));
        }
        if too_large {
            suggestions.push(format!(
                "The network of {} is larger than a /20 and is not scanned as a whole: add arp sources with the \
                 ranges in use.",
                interface.name
            ));
        }
    }
    if !rights.raw_sockets {
        suggestions.push(
            "Without the right to open raw sockets only the kernel's neighbour table is read. Grant it to see \
             every device faster, with host names: `setcap cap_net_raw+ep /path/to/sojourn`, or \
             `AmbientCapabilities=CAP_NET_RAW` in the systemd unit, then restart."
                .to_owned(),
        );
    }
    if fit.is_empty() {
        suggestions.push(
            "No Ethernet or Wi-Fi interface with an address was found: connect this machine to the network, or \
             add a source by hand."
                .to_owned(),
        );
    }
    suggestions.push(
        "If the DHCP server runs on this machine, add its lease file as a dhcp-leases source for host names. \
         Other subnets are seen by `sojourn sensor` on a machine there."
            .to_owned(),
    );
    Automatic { specs, suggestions }
}

#[cfg(test)]
mod tests {
    use sojourn_domain::mac::MacAddr;

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

    fn names(automatic: &Automatic) -> Vec<String> {
        automatic.specs.iter().map(SourceSpec::default_name).collect()
    }

    #[test]
    fn raw_sockets_bring_asking_and_listening() {
        let interfaces =
            [interface("eth0", &["192.168.1.5/24", "fe80::1/64"]), interface("docker0", &["172.17.0.1/16"])];
        let chosen = automatic(Rights { raw_sockets: true }, &interfaces);
        assert_eq!(names(&chosen), ["arp:eth0", "passive:eth0", "neighbors:eth0"]);
        assert!(chosen.specs.iter().all(|spec| spec.validate().is_ok()));
        assert!(!chosen.suggestions.iter().any(|text| text.contains("setcap")));
    }

    #[test]
    fn without_them_the_neighbour_table_is_nudged_and_the_way_to_more_is_told() {
        let chosen = automatic(Rights { raw_sockets: false }, &[interface("eth0", &["192.168.1.5/24"])]);
        assert_eq!(names(&chosen), ["neighbors:eth0"]);
        assert_eq!(chosen.specs[0].settings.nudge, None);
        assert!(chosen.suggestions.iter().any(|text| text.contains("setcap cap_net_raw+ep")));
    }

    #[test]
    fn no_network_is_said() {
        let chosen = automatic(Rights { raw_sockets: true }, &[interface("eth0", &[])]);
        assert!(chosen.specs.is_empty());
        assert!(chosen.suggestions.iter().any(|text| text.contains("No Ethernet")));
    }
}
