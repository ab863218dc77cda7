//! The test bed's networks are what they claim to be.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use sojourn_testbed::{
    netns::{Host, Network},
    wait,
};

/// A datagram from one host reaches a socket on the other.
fn reaches(from: &Host, to: &Host, address: IpAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let receiver = to.on(|| UdpSocket::bind(any).unwrap());
    receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let sender = from.on(|| UdpSocket::bind(any).unwrap());
    // Unreachable is an answer too.
    let _ = sender.send_to(b"hello", (address, port));
    receiver.recv(&mut [0; 16]).is_ok()
}

#[test]
fn forty_hosts_come_and_go_within_seconds() {
    let Some(network) = Network::new() else { return };
    let started = Instant::now();
    let lan = network.segment();
    let hosts = lan.hosts(40);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let prefix = hosts[0].namespace().split("-lan").next().unwrap().to_owned();
    let (first, last) = (&hosts[0], &hosts[39]);
    assert!(reaches(first, last, last.ipv4().into()));
    assert!(reaches(first, last, last.ipv6().into()));

    last.unplug();
    assert!(!reaches(first, last, last.ipv4().into()));
    last.plug();
    wait::until("the host to be back", Duration::from_secs(5), || {
        reaches(first, last, last.ipv4().into()).then_some(())
    });
    last.set_interface(false);
    assert!(!reaches(first, last, last.ipv6().into()));
    last.set_interface(true);
    wait::until("the interface to be back", Duration::from_secs(5), || {
        reaches(first, last, last.ipv6().into()).then_some(())
    });

    let elsewhere = lan.address(200);
    last.change_ipv4(elsewhere);
    last.change_mac("02:00:00:00:00:77");
    wait::until("the new address", Duration::from_secs(5), || {
        reaches(first, last, elsewhere.into()).then_some(())
    });
    let seen = first.command("ip").args(["neigh", "show", &elsewhere.to_string()]).output().unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains("02:00:00:00:00:77"), "{seen:?}");

    drop((hosts, lan, network));
    let left: Vec<_> = fs::read_dir("/run/netns")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(&format!("{prefix}-")))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_router_joins_two_segments_until_it_is_cut() {
    let Some(network) = Network::new() else { return };
    let (left, right) = (network.segment(), network.segment_of(22));
    let (a, b) = (left.host(), right.hosts_at(&[700]).remove(0));
    assert!(!reaches(&a, &b, b.ipv4().into()));
    let router = network.router(&left, &right, [&a, &b]);
    let both = || reaches(&a, &b, b.ipv4().into()) && reaches(&b, &a, a.ipv6().into());
    wait::until("the route", Duration::from_secs(5), || both().then_some(()));
    router.cut();
    assert!(!reaches(&a, &b, b.ipv4().into()));
    router.mend();
    wait::until("the route again", Duration::from_secs(5), || both().then_some(()));
}

#[test]
fn macs_differ_and_some_have_makers() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let macs: Vec<_> = lan.hosts(6).iter().map(Host::mac).collect();
    assert_eq!(macs[0], "02:5A:00:5B:00:01");
    assert_eq!(macs[1], "3C:22:FB:5B:00:02");
    assert_eq!(macs.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
}
