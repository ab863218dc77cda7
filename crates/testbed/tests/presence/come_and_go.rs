//! Hosts come and go, and the record is exactly that.

use std::collections::BTreeMap;

use sojourn_testbed::{
    netns::{Host, Network},
    postgres::Cluster,
    process::Installation,
    tools::Dnsmasq,
    wait,
};

use super::{SECOND, SOON, Watch, micros, now, open, text};

/// An ARP source that scans when it is asked and closes sessions as soon as two scans allow it.
const ON_DEMAND: &[&str] =
    &["arp", "--name", "lan", "--interface", "eth0", "--interval", "1h", "--grace", "0s"];

#[test]
fn forty_hosts_come_and_go() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(41);
    let watcher = hosts.remove(0);
    let watch = Watch::start(&watcher, &[ON_DEMAND]);
    watch.until_state(&hosts, "online");
    for host in &hosts {
        assert_eq!(watch.events(&host.mac()), ["New Device"], "{}", host.mac());
        let device = watch.device(&host.mac()).unwrap();
        assert_eq!(device["ip"], host.ipv4().to_string(), "{device}");
    }

    let (leaving, staying) = hosts.split_at(10);
    watch.scan("lan");
    let before_leaving = now();
    let last_seen: BTreeMap<_, _> = leaving
        .iter()
        .map(|host| (host.mac(), micros(&watch.device(&host.mac()).unwrap()["lastSeen"])))
        .collect();
    leaving.iter().for_each(Host::unplug);
    // Three, so that the two that count have certainly begun after the cables were pulled.
    watch.scans("lan", 3);
    watch.until_state(leaving, "offline");
    for host in leaving {
        let mac = host.mac();
        assert_eq!(watch.events(&mac), ["New Device", "Disconnected"], "{mac}");
        let sessions = watch.sessions(&mac);
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        // It ended when the device was last seen, not when that was noticed.
        let end = micros(&sessions[0]["ses_DateTimeDisconnection"]);
        assert_eq!(end / 1000, last_seen[&mac] / 1000, "{sessions:?}");
        assert!(end <= before_leaving, "{sessions:?}");
        let event = watch.event_rows(&mac).pop().unwrap();
        assert_eq!(micros(&event["at"]) / 1000, end / 1000, "{event}");
    }

    leaving.iter().for_each(Host::plug);
    let back = now();
    wait::until_eq("all to be back", SOON, &40, || {
        watch.scan("lan");
        watch.states().iter().filter(|(mac, state)| *state == "online" && **mac != watcher.mac()).count()
    });
    for host in leaving {
        let mac = host.mac();
        assert_eq!(watch.events(&mac), ["New Device", "Disconnected", "Connected"], "{mac}");
        let sessions = watch.sessions(&mac);
        assert_eq!(sessions.iter().map(open).collect::<Vec<_>>(), [false, true], "{sessions:?}");
        assert!(micros(&sessions[1]["ses_DateTimeConnection"]) >= back - SECOND, "{sessions:?}");
    }
    for host in staying {
        assert_eq!(watch.events(&host.mac()), ["New Device"]);
        let sessions = watch.sessions(&host.mac());
        assert_eq!(sessions.iter().map(open).collect::<Vec<_>>(), [true], "{sessions:?}");
    }
}

#[test]
fn one_missed_scan_closes_nothing() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(3);
    let watch = Watch::start(&hosts[0], &[ON_DEMAND]);
    watch.until_state(&hosts[1..], "online");
    let mac = hosts[1].mac();
    for _ in 0..3 {
        let seen = watch.scan("lan");
        hosts[1].unplug();
        assert_eq!(watch.scan("lan"), seen - 1, "the scan did miss it");
        assert_eq!(watch.state(&mac), "online");
        hosts[1].plug();
        wait::until_eq("the scan to see it again", SOON, &seen, || watch.scan("lan"));
    }
    assert_eq!(watch.events(&mac), ["New Device"]);
    assert_eq!(watch.sessions(&mac).len(), 1);
}

#[test]
fn the_grace_period_is_waited_for() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(3);
    let source =
        ["arp", "--name", "lan", "--interface", "eth0", "--interval", "1h", "--grace", "2m"].as_slice();
    let watch = Watch::start(&hosts[0], &[source]);
    watch.until_state(&hosts[1..], "online");
    // One of the two has a grace period of its own.
    watch.client.patch(&format!("/devices/{}", hosts[1].mac()), serde_json::json!({"graceSeconds": 1}));
    hosts[1..].iter().for_each(Host::unplug);
    wait::until("the short grace period to pass", SOON, || {
        watch.scan("lan");
        (watch.state(&hosts[1].mac()) == "offline").then_some(())
    });
    assert_eq!(watch.state(&hosts[2].mac()), "online");
    assert_eq!(watch.events(&hosts[2].mac()), ["New Device"]);
}

#[test]
fn an_address_change_is_one_event() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(2);
    let watch = Watch::start(&hosts[0], &[ON_DEMAND]);
    watch.until_state(&hosts[1..], "online");
    let mac = hosts[1].mac();
    let new = lan.address(200);
    hosts[1].change_ipv4(new);
    wait::until_eq("the new address", SOON, &new.to_string(), || {
        watch.scan("lan");
        text(&watch.device(&mac).unwrap()["ip"])
    });
    watch.scans("lan", 3);
    assert_eq!(watch.events(&mac), ["New Device", "IP Changed"]);
    let sessions = watch.sessions(&mac);
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert!(open(&sessions[0]));
}

#[test]
fn alert_when_down_and_back() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(2);
    let watch = Watch::start(&hosts[0], &[ON_DEMAND]);
    watch.until_state(&hosts[1..], "online");
    let mac = hosts[1].mac();
    watch.client.patch(&format!("/devices/{mac}"), serde_json::json!({"alertDown": true}));
    hosts[1].unplug();
    wait::until_eq("it to be down", SOON, &"down".to_owned(), || {
        watch.scan("lan");
        watch.state(&mac)
    });
    hosts[1].plug();
    wait::until_eq("it to be back", SOON, &"online".to_owned(), || {
        watch.scan("lan");
        watch.state(&mac)
    });
    assert_eq!(watch.events(&mac), ["New Device", "Device Down", "Down Reconnected"]);
}

#[test]
fn two_addresses_are_one_session() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(4);
    let neighbors =
        ["neighbors", "--name", "table", "--interface", "eth0", "--interval", "2s", "--grace", "30s"];
    let watch = Watch::start(&hosts[0], &[ON_DEMAND, &neighbors]);
    watch.until_state(&hosts[1..], "online");
    for host in &hosts[1..] {
        host.speak_to(hosts[0].ipv4().into());
        host.speak_to(hosts[0].ipv6().into());
        let ipv6 = host.ipv6().to_string();
        wait::until(&format!("{ipv6} to be known"), SOON, || {
            let device = watch.device(&host.mac()).unwrap();
            let addresses = device["addresses"].as_array().unwrap().clone();
            addresses.iter().any(|address| address["ip"] == ipv6.as_str()).then_some(())
        });
        assert_eq!(watch.device(&host.mac()).unwrap()["ip"], host.ipv4().to_string());
        assert_eq!(watch.events(&host.mac()), ["New Device"], "{}", host.mac());
        assert_eq!(watch.sessions(&host.mac()).len(), 1);
    }
}

#[test]
fn a_lease_and_a_scan_are_one_session() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(2);
    let range = [lan.address(100).to_string(), lan.address(150).to_string()];
    let Some(dnsmasq) = Dnsmasq::start(&hosts[0], &range[0], &range[1]) else { return };
    let address = dnsmasq.lease(&hosts[1], "phone");
    let leases = dnsmasq.leases();
    let path = leases.to_str().unwrap();
    let leases = ["dhcp-leases", "--name", "leases", "--path", path, "--interval", "1s"];
    let watch = Watch::start(&hosts[0], &[ON_DEMAND, &leases]);
    let mac = hosts[1].mac();
    let device = wait::until("both sources to know it", SOON, || {
        watch.device(&mac).filter(|device| device["sources"].as_array().is_some_and(|list| list.len() == 2))
    });
    assert_eq!(device["hostname"], "phone", "{device}");
    assert_eq!(device["ip"], address.to_string(), "{device}");
    assert_eq!(watch.events(&mac), ["New Device"]);
    assert_eq!(watch.sessions(&mac).len(), 1);

    // It leaves without a word to the DHCP server: the scan knows better than the lease.
    hosts[1].unplug();
    watch.scans("lan", 3);
    watch.until_state(&hosts[1..], "offline");
    assert_eq!(watch.events(&mac), ["New Device", "Disconnected"]);
    assert_eq!(watch.sessions(&mac).len(), 1);
}

#[test]
fn the_same_on_postgresql() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let hosts = lan.hosts(3);
    let Some(cluster) = Cluster::on(&hosts[0]) else { return };
    let mut watch = Watch::start_with(Installation::on(&hosts[0]).database(&cluster.url()), &[ON_DEMAND]);
    watch.until_state(&hosts[1..], "online");
    let mac = hosts[1].mac();
    hosts[1].unplug();
    watch.scans("lan", 3);
    watch.until_state(&hosts[1..2], "offline");
    watch.kill_and_restart();
    hosts[1].plug();
    wait::until_eq("it to be back", SOON, &"online".to_owned(), || {
        watch.scan("lan");
        watch.state(&mac)
    });
    assert_eq!(watch.events(&mac), ["New Device", "Disconnected", "Connected"]);
    assert_eq!(watch.sessions(&mac).len(), 2);
    assert_eq!(watch.events(&hosts[2].mac()), ["New Device"]);
}
