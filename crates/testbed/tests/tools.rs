//! The programs we compare ourselves with do their work in our networks.

use std::{collections::BTreeSet, fs};

use sojourn_testbed::{
    netns::Network,
    tools::{Dnsmasq, arp_scan},
};

#[test]
fn arp_scan_finds_all_hosts() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(5);
    let Some(scan) = arp_scan(&hosts[0], &lan.cidr()) else { return };
    let found: BTreeSet<_> = scan.output.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    for host in &hosts[1..] {
        assert!(found.contains(host.mac().to_lowercase().as_str()), "{}", scan.output);
    }
}

#[test]
fn dnsmasq_gives_leases() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(2);
    let range = [lan.address(100).to_string(), lan.address(150).to_string()];
    let Some(dnsmasq) = Dnsmasq::start(&hosts[0], &range[0], &range[1]) else { return };
    let leased = dnsmasq.lease(&hosts[1], "phone");
    assert_eq!(hosts[1].ipv4(), leased);
    let leases = fs::read_to_string(dnsmasq.leases()).unwrap();
    let fields: Vec<_> = leases.split_whitespace().collect();
    assert_eq!(fields[1].to_uppercase(), hosts[1].mac());
    assert_eq!((fields[2], fields[3]), (leased.to_string().as_str(), "phone"));
}
