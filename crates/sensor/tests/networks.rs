//! Sources on networks of real hosts, in network namespaces.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use sojourn_domain::{
    id::Id,
    mac::MacAddr,
    presence::{Evidence, ScanOutcome, SourceKind},
    time::{Clock as _, Elapsed},
};
use sojourn_sensor::sources::{
    self, Nudge, Pass, RunningSource, SourceMessage, SourceSettings, SourceSpec, scan_once,
};
use sojourn_store::clock::SystemClock;
use sojourn_testbed::{
    netns::{Host, INTERFACE, Network},
    tools,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Runs a future on a host: everything it opens belongs to the host's network.
fn stand_on<T: Send>(host: &Host, future: impl Future<Output = T> + Send) -> T {
    host.on(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future))
}

fn spec(kind: SourceKind) -> SourceSpec {
    let settings = SourceSettings { interface: Some(INTERFACE.to_owned()), ..SourceSettings::default() };
    SourceSpec::new(kind, settings)
}

fn once(host: &Host, spec: &SourceSpec) -> Pass {
    stand_on(host, async { scan_once(spec, &SystemClock).await.unwrap() })
}

fn seen(pass: &Pass) -> BTreeSet<(String, Option<IpAddr>)> {
    pass.sightings.iter().map(|sighting| (sighting.mac.to_string(), sighting.ip)).collect()
}

fn macs(pass: &Pass) -> BTreeSet<String> {
    pass.sightings.iter().map(|sighting| sighting.mac.to_string()).collect()
}

fn at_home<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> BTreeSet<(String, Option<IpAddr>)> {
    hosts.into_iter().map(|host| (host.mac(), Some(host.ipv4().into()))).collect()
}

fn start(mut spec: SourceSpec, interval: Elapsed) -> (RunningSource, mpsc::Receiver<SourceMessage>) {
    spec.interval = interval;
    let (out, messages) = mpsc::channel(16);
    let id = Id::new(SystemClock.now(), [1; 10]);
    (sources::spawn(id, spec, Arc::new(SystemClock), out, &CancellationToken::new()), messages)
}

async fn next_pass(messages: &mut mpsc::Receiver<SourceMessage>) -> Pass {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(40), messages.recv()).await.unwrap().unwrap();
        if let SourceMessage::Pass { pass, .. } = message {
            return pass;
        }
    }
}

/// The next sighting told between passes of a device.
async fn told_of(
    messages: &mut mpsc::Receiver<SourceMessage>,
    mac: &str,
) -> sojourn_domain::presence::Sighting {
    let mac: MacAddr = mac.parse().unwrap();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(40), messages.recv()).await.unwrap().unwrap();
        if let SourceMessage::Sighted { sightings, .. } = message
            && let Some(sighting) = sightings.into_iter().find(|sighting| sighting.mac == mac)
        {
            return sighting;
        }
    }
}

/// Shortens how long the kernel believes a confirmed neighbour (30 s), and how long it waits before
/// it asks one that is no longer believed (5 s).
fn believe_for_two_seconds() {
    for family in ["ipv4", "ipv6"] {
        let folder = format!("/proc/sys/net/{family}/neigh/{INTERFACE}");
        std::fs::write(format!("{folder}/base_reachable_time_ms"), "2000").unwrap();
        std::fs::write(format!("{folder}/delay_first_probe_time"), "1").unwrap();
    }
}

fn assert_blind(pass: &Pass, words: &str) {
    let ScanOutcome::Blind { message } = &pass.scan.outcome else {
        panic!("expected a blind scan: {pass:?}")
    };
    assert!(message.contains(words), "{message}");
    assert!(pass.sightings.is_empty() || words.contains("nobody"), "a blind scan tells nothing: {pass:?}");
}

#[test]
fn an_arp_scan_finds_every_host_of_a_large_network_and_nothing_else() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment_of(22);
    let offsets: Vec<u32> = (0..40).map(|n| 1 + n * 25).collect();
    let hosts = segment.hosts_at(&offsets);
    let pass = once(&hosts[7], &spec(SourceKind::Arp));
    assert_eq!(pass.scan.outcome, ScanOutcome::Complete);
    assert_eq!(seen(&pass), at_home(&hosts));
    assert_eq!(pass.scan.scope, format!("{} on {INTERFACE}", segment.cidr()));
    assert!(pass.scan.covers.iter().any(|range| range.contains(segment.address(600).into())));
}

#[test]
fn an_arp_scan_tells_apart_absence_and_blindness() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment();
    let hosts = segment.hosts(6);
    stand_on(&hosts[0], async {
        let (source, mut messages) = start(spec(SourceKind::Arp), Elapsed::from_secs(600));
        assert_eq!(seen(&next_pass(&mut messages).await), at_home(&hosts));

        hosts[5].unplug();
        source.scan_now();
        let pass = next_pass(&mut messages).await;
        assert_eq!(pass.scan.outcome, ScanOutcome::Complete);
        assert_eq!(seen(&pass), at_home(&hosts[..5]));

        // Everybody at once is more likely a broken switch.
        for host in &hosts[1..5] {
            host.unplug();
        }
        source.scan_now();
        assert_blind(&next_pass(&mut messages).await, "nobody answers any more, although 5 devices did");

        for host in &hosts[1..] {
            host.plug();
        }
        source.scan_now();
        assert_eq!(seen(&next_pass(&mut messages).await), at_home(&hosts));

        hosts[0].unplug();
        source.scan_now();
        assert_blind(&next_pass(&mut messages).await, "no carrier");

        hosts[0].plug();
        hosts[0].set_interface(false);
        source.scan_now();
        assert_blind(&next_pass(&mut messages).await, "is down");

        hosts[0].set_interface(true);
        source.scan_now();
        assert_eq!(seen(&next_pass(&mut messages).await), at_home(&hosts));
        source.stop().await;
    });
}

#[test]
fn an_arrival_is_told_before_the_scan_ends() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment_of(22);
    let hosts = segment.hosts(2);
    hosts[1].unplug();
    stand_on(&hosts[0], async {
        let (source, mut messages) = start(spec(SourceKind::Arp), Elapsed::from_secs(600));
        assert_eq!(seen(&next_pass(&mut messages).await), at_home(&hosts[..1]));
        hosts[1].plug();
        source.scan_now();
        let told = told_of(&mut messages, &hosts[1].mac()).await;
        let pass = next_pass(&mut messages).await;
        assert!(told.evidence.at() < pass.scan.finished_at);
        assert_eq!(seen(&pass), at_home(&hosts));
    });
}

#[test]
fn the_neighbour_table_shows_ipv4_and_ipv6_hosts_and_that_one_left() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment();
    let hosts = segment.hosts(8);
    stand_on(&hosts[0], async {
        let (source, mut messages) = start(spec(SourceKind::Neighbors), Elapsed::from_secs(600));
        let pass = next_pass(&mut messages).await;
        assert_eq!(pass.scan.outcome, ScanOutcome::Complete);
        assert!(seen(&pass).is_superset(&at_home(&hosts)), "{pass:?}");
        assert!(pass.scan.covers.iter().any(|range| range.contains(hosts[3].ipv4().into())));
        for host in &hosts[1..] {
            assert!(
                pass.sightings
                    .iter()
                    .any(|s| s.mac.to_string() == host.mac() && s.ip.is_none_or(|ip| ip.is_ipv6())),
                "{} was seen by IPv6: {pass:?}",
                host.mac()
            );
        }

        believe_for_two_seconds();
        hosts[7].unplug();
        let left = SystemClock.now();
        // The kernel believes a row that was confirmed before for a while, but says since when.
        for _ in 0..20 {
            source.scan_now();
            let pass = next_pass(&mut messages).await;
            assert_eq!(pass.scan.outcome, ScanOutcome::Complete);
            let mut of_it =
                pass.sightings.iter().filter(|sighting| sighting.mac.to_string() == hosts[7].mac());
            assert!(of_it.clone().all(|sighting| sighting.evidence.at() <= left), "{pass:?}");
            if of_it.next().is_none() {
                return;
            }
        }
        panic!("the kernel still believes in a host that left a minute ago");
    });
}

#[test]
fn the_neighbour_table_tells_of_an_arrival_at_once() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment();
    let hosts = segment.hosts(3);
    hosts[2].unplug();
    stand_on(&hosts[0], async {
        let mut quiet = spec(SourceKind::Neighbors);
        quiet.settings.nudge = Some(Nudge::Off);
        let (_source, mut messages) = start(quiet, Elapsed::from_secs(600));
        let pass = next_pass(&mut messages).await;
        assert!(!macs(&pass).contains(&hosts[2].mac()));
        hosts[2].plug();
        // It asks who we are, we answer, and our kernel confirms it when it talks back.
        hosts[2].speak_to(hosts[0].ipv4().into());
        hosts[0].speak_to(hosts[2].ipv4().into());
        told_of(&mut messages, &hosts[2].mac()).await;
    });
}

#[test]
fn listening_hears_hosts_and_the_names_they_ask_a_lease_by() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment();
    let hosts = segment.hosts(3);
    let (ear, talker) = (&hosts[0], &hosts[1]);
    stand_on(ear, async {
        let (source, mut messages) = start(spec(SourceKind::Passive), Elapsed::from_secs(600));
        let first = next_pass(&mut messages).await;
        assert_eq!(first.scan.outcome, ScanOutcome::Complete);
        assert!(first.scan.covers.is_empty());
        // An ARP question for somebody who is not there is heard by all.
        talker.speak_to(segment.address(200).into());
        let told = told_of(&mut messages, &talker.mac()).await;
        assert_eq!(told.ip, Some(talker.ipv4().into()));

        if let Some(server) = tools::Dnsmasq::start(
            &hosts[2],
            &segment.address(100).to_string(),
            &segment.address(150).to_string(),
        ) {
            let leased = server.lease(talker, "talkative-phone");
            talker.speak_to(segment.address(201).into());
            source.scan_now();
            let pass = next_pass(&mut messages).await;
            let of_it: Vec<_> =
                pass.sightings.iter().filter(|sighting| sighting.mac.to_string() == talker.mac()).collect();
            assert!(of_it.iter().any(|s| s.hostname.as_deref() == Some("talkative-phone")), "{pass:?}");
            assert!(of_it.iter().any(|s| s.ip == Some(leased.into())), "{pass:?}");
        }

        ear.set_interface(false);
        // It notices by itself.
        let pass = next_pass(&mut messages).await;
        assert_blind(&pass, "is down");
    });
}

#[test]
fn an_interface_that_does_not_exist_blinds_every_source() {
    let Some(network) = Network::new() else { return };
    let host = network.segment().host();
    for kind in [SourceKind::Arp, SourceKind::Neighbors, SourceKind::Passive] {
        let mut spec = spec(kind);
        spec.settings.interface = Some("nowhere0".to_owned());
        assert_blind(&once(&host, &spec), "there is no interface nowhere0");
    }
}

#[test]
fn a_real_server_s_lease_file_tells_of_a_host_that_takes_a_lease() {
    let Some(network) = Network::new() else { return };
    let segment = network.segment();
    let hosts = segment.hosts(2);
    let (first, last) = (segment.address(100).to_string(), segment.address(150).to_string());
    let Some(server) = tools::Dnsmasq::start(&hosts[0], &first, &last) else { return };
    let settings = SourceSettings { path: Some(server.leases()), ..SourceSettings::default() };
    let spec = SourceSpec::new(SourceKind::DhcpLeases, settings);
    stand_on(&hosts[0], async {
        let (_source, mut messages) = start(spec, Elapsed::from_secs(600));
        let before = next_pass(&mut messages).await;
        assert!(before.sightings.is_empty(), "{before:?}");
        let leased = server.lease(&hosts[1], "tablet");
        let pass = next_pass(&mut messages).await;
        let [sighting] = pass.sightings.as_slice() else { panic!("{pass:?}") };
        assert_eq!((sighting.mac.to_string(), sighting.ip), (hosts[1].mac(), Some(leased.into())));
        assert_eq!(sighting.hostname.as_deref(), Some("tablet"));
        let Evidence::Held { at, until } = sighting.evidence else { panic!("{pass:?}") };
        assert!(
            until.since(at) > Elapsed::from_secs(100) && until.since(at) < Elapsed::from_secs(130),
            "{pass:?}"
        );
    });
}
