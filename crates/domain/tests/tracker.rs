//! The tracker against a network that the tests play: what people would see, minute by minute.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a network that tests play may panic")]

mod network;

use network::{Network, minutes, secs};
use sojourn_domain::presence::{DeviceState, Evidence, SourceKind};

const A: u8 = 1;
const B: u8 = 2;

#[test]
fn a_new_device_makes_one_event_and_one_session_whatever_its_addresses() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan_seeing(0, &[(A, "192.0.2.10"), (A, "2001:db8::10")]);
    net.scan_seeing(0, &[(A, "192.0.2.10"), (A, "2001:db8::10")]);
    net.assert_events(A, &["New Device"]);
    net.assert_sessions(A, &["0s New Device - open"]);
}

#[test]
fn a_session_ends_when_the_device_was_last_seen() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    for _ in 0..5 {
        net.scan(0, &[]);
    }
    net.assert_sessions(A, &["0s New Device - 30s Disconnected"]);
    net.scan(0, &[A]);
    net.assert_sessions(A, &["0s New Device - 30s Disconnected", "210s Connected - open"]);
    net.assert_events(A, &["New Device", "Disconnected", "Connected"]);
}

#[test]
fn one_missed_scan_closes_nothing_however_short_the_grace() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.set_grace(0, secs(1));
    net.scan(0, &[A]);
    net.scan(0, &[]);
    net.scan(0, &[A]);
    net.assert_events(A, &["New Device"]);
    net.scan(0, &[]);
    net.scan(0, &[]);
    net.assert_sessions(A, &["0s New Device - 60s Disconnected"]);
}

#[test]
fn a_failing_or_blind_source_closes_nothing_and_the_device_is_unknown() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    for _ in 0..20 {
        net.fail(0);
    }
    net.assert_events(A, &["New Device"]);
    assert_eq!(net.state(A), DeviceState::Unknown);
    for _ in 0..20 {
        net.blind(0);
    }
    net.scan(0, &[A]);
    assert_eq!(net.state(A), DeviceState::Online);
    net.assert_sessions(A, &["0s New Device - open"]);
    assert_eq!(net.gaps(0), ["30s - 1260s blind"]);
}

#[test]
fn leaving_during_a_gap_is_a_missing_end() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    for _ in 0..20 {
        net.fail(0);
    }
    net.scan(0, &[]);
    net.scan(0, &[]);
    net.scan(0, &[]);
    net.assert_sessions(A, &["0s New Device - <missing event> after 30s"]);
    net.assert_events(A, &["New Device", "<missing event>"]);
}

#[test]
fn leaving_seen_twice_before_the_gap_is_a_known_end() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    net.scan(0, &[]);
    net.scan(0, &[]);
    for _ in 0..20 {
        net.fail(0);
    }
    net.scan(0, &[]);
    net.scan(0, &[]);
    net.assert_sessions(A, &["0s New Device - 30s Disconnected"]);
}

#[test]
fn sources_on_different_schedules_do_not_make_devices_flap() {
    let mut net = Network::with(&[SourceKind::Arp, SourceKind::Push]);
    net.set_interval(1, minutes(5));
    // The second source alone knows B, and looks every five minutes.
    for _ in 0..4 {
        net.scan(1, &[B]);
        for _ in 0..10 {
            net.scan(0, &[A]);
        }
    }
    net.assert_events(A, &["New Device"]);
    net.assert_events(B, &["New Device"]);
}

#[test]
fn every_source_that_knows_a_device_must_miss_it() {
    let mut net = Network::with(&[SourceKind::Arp, SourceKind::Push]);
    net.scan(0, &[A]);
    net.scan(1, &[A]);
    for _ in 0..10 {
        net.scan(0, &[]);
        net.scan(1, &[A]);
    }
    net.assert_events(A, &["New Device"]);
    for _ in 0..10 {
        net.scan(0, &[]);
        net.fail(1);
    }
    net.assert_events(A, &["New Device"]);
    assert_eq!(net.state(A), DeviceState::Unknown);
}

#[test]
fn an_alerted_device_goes_down_and_comes_back_reconnected() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.set_policy(A, None, true, false);
    for _ in 0..6 {
        net.scan(0, &[]);
    }
    assert_eq!(net.state(A), DeviceState::Down);
    net.scan(0, &[A]);
    net.assert_events(A, &["New Device", "Device Down", "Down Reconnected"]);
    net.assert_sessions(A, &["0s New Device - 0s Device Down", "210s Down Reconnected - open"]);
}

#[test]
fn a_sleeping_phone_keeps_its_session_and_a_real_departure_its_time() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.set_policy(A, None, false, true);
    for _ in 0..40 {
        net.scan(0, &[]);
    }
    assert_eq!(net.state(A), DeviceState::Sleeping);
    net.scan(0, &[A]);
    net.assert_events(A, &["New Device"]);
    for _ in 0..70 {
        net.scan(0, &[]);
    }
    net.assert_sessions(A, &["0s New Device - 1230s Disconnected"]);
}

#[test]
fn an_address_change_makes_one_event_and_two_addresses_make_none() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan_seeing(0, &[(A, "192.0.2.10")]);
    net.scan_seeing(0, &[(A, "192.0.2.10"), (A, "192.0.2.11")]);
    net.scan_seeing(0, &[(A, "192.0.2.10"), (A, "192.0.2.11")]);
    net.assert_events(A, &["New Device"]);
    net.scan_seeing(0, &[(A, "192.0.2.20")]);
    net.scan_seeing(0, &[(A, "192.0.2.20")]);
    net.assert_events(A, &["New Device", "IP Changed"]);
    assert_eq!(net.info(A, "IP Changed"), "Previous IP: 192.0.2.10");
    net.assert_sessions(A, &["0s New Device - open"]);
}

#[test]
fn a_lease_and_a_scan_about_one_host_make_one_session() {
    let mut net = Network::with(&[SourceKind::Arp, SourceKind::DhcpLeases]);
    net.lease(1, A, 0, minutes(720));
    net.scan(1, &[]);
    net.scan(0, &[A]);
    for _ in 0..10 {
        net.scan(0, &[]);
        net.lease(1, A, 0, minutes(720));
        net.scan(1, &[]);
    }
    net.assert_sessions(A, &["0s New Device - 0s Disconnected"]);
    net.assert_events(A, &["New Device", "Disconnected"]);
}

#[test]
fn a_lease_alone_holds_its_device_until_it_ends() {
    let mut net = Network::with(&[SourceKind::DhcpLeases]);
    for _ in 0..20 {
        net.lease(0, A, 0, minutes(10));
        net.scan(0, &[]);
    }
    net.assert_events(A, &["New Device"]);
    net.scan(0, &[]);
    net.scan(0, &[]);
    net.assert_sessions(A, &["0s New Device - 0s Disconnected"]);
}

#[test]
fn an_exhaustive_scan_disproves_a_lease_inside_its_range() {
    let mut net = Network::with(&[SourceKind::Arp, SourceKind::DhcpLeases]);
    net.cover(0, "192.0.2.0/24");
    net.scan(0, &[]);
    net.lease(1, A, 0, minutes(720));
    net.scan(1, &[]);
    for _ in 0..6 {
        net.scan(0, &[]);
    }
    net.assert_events(A, &["New Device", "Disconnected"]);
}

#[test]
fn a_silent_listener_proves_nothing_for_half_an_hour() {
    let mut net = Network::with(&[SourceKind::Passive]);
    net.scan(0, &[A]);
    for _ in 0..58 {
        net.scan(0, &[]);
    }
    net.assert_events(A, &["New Device"]);
    for _ in 0..5 {
        net.scan(0, &[]);
    }
    net.assert_sessions(A, &["0s New Device - 0s Disconnected"]);
}

#[test]
fn late_evidence_voids_a_departure() {
    let mut net = Network::with(&[SourceKind::Arp, SourceKind::Push]);
    net.scan(0, &[A]);
    for _ in 0..6 {
        net.scan(0, &[]);
    }
    net.assert_events(A, &["New Device", "Disconnected"]);
    net.observe_at(1, A, 60);
    net.assert_events(A, &["New Device", "VOIDED - Disconnected"]);
    net.scan(0, &[]);
    net.scan(0, &[]);
    net.scan(1, &[]);
    net.scan(1, &[]);
    net.assert_sessions(A, &["0s New Device - 60s Disconnected"]);
}

#[test]
fn late_evidence_joins_sessions_and_moves_beginnings() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    for _ in 0..6 {
        net.scan(0, &[]);
    }
    net.scan(0, &[A]);
    net.assert_sessions(A, &["0s New Device - 0s Disconnected", "210s Connected - open"]);
    net.observe_at(0, A, 110);
    net.assert_sessions(A, &["0s New Device - open"]);
    net.assert_events(A, &["New Device", "VOIDED - Disconnected", "VOIDED - Connected"]);
    net.scan(0, &[B]);
    net.observe_at(0, B, 180);
    net.assert_sessions(B, &["180s New Device - open"]);
}

#[test]
fn buffered_scans_of_a_sensor_tell_the_story_as_it_was() {
    let mut net = Network::with(&[SourceKind::Push]);
    net.scan(0, &[A, B]);
    // The sensor is cut off; its scans arrive an hour later, in order.
    let mut buffered = Vec::new();
    for round in 0..100 {
        buffered.push(net.scan_later(if round < 10 { vec![A, B] } else { vec![B] }));
        net.tick();
    }
    assert_eq!(net.state(A), DeviceState::Unknown);
    for scan in buffered {
        net.deliver(0, scan);
    }
    net.assert_sessions(A, &["0s New Device - 300s Disconnected"]);
    net.assert_sessions(B, &["0s New Device - open"]);
    assert!(net.gaps(0).is_empty(), "{:?}", net.gaps(0));
}

#[test]
fn a_restart_is_a_gap_and_not_a_departure() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A, B]);
    net.scan(0, &[A, B]);
    net.restart_after(minutes(60));
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    net.assert_sessions(A, &["0s New Device - open"]);
    net.assert_sessions(B, &["0s New Device - <missing event> after 30s"]);
    assert_eq!(net.gaps(0), ["30s - 3660s not_running"]);
}

#[test]
fn a_quick_restart_is_no_gap() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.restart_after(secs(3));
    net.scan(0, &[A]);
    assert!(net.gaps(0).is_empty());
    net.assert_sessions(A, &["0s New Device - open"]);
}

#[test]
fn a_removed_source_leaves_no_session_open_for_ever() {
    let mut net = Network::with(&[SourceKind::Arp, SourceKind::Push]);
    net.scan(0, &[A, B]);
    net.scan(1, &[B]);
    net.remove_source(0);
    net.assert_sessions(A, &["0s New Device - <missing event> after 0s"]);
    net.assert_sessions(B, &["0s New Device - open"]);
}

#[test]
fn deleted_sessions_stay_deleted() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    net.scan(0, &[A]);
    net.delete_sessions(A);
    net.observe_at(0, A, 45);
    net.assert_sessions(A, &[]);
    net.scan(0, &[A]);
    net.assert_sessions(A, &["60s Connected - open"]);
}

#[test]
fn a_manual_open_session_stands_alone() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A]);
    for _ in 0..6 {
        net.scan(0, &[]);
    }
    net.set_manual_open(A, true);
    net.scan(0, &[A]);
    net.assert_events(A, &["New Device", "Disconnected"]);
    assert_eq!(net.state(A), DeviceState::Online);
}

#[test]
fn a_host_that_says_goodbye_is_gone_at_once() {
    let mut net = Network::with(&[SourceKind::DhcpLeases]);
    net.lease(0, A, 0, minutes(720));
    net.scan(0, &[]);
    net.say(0, A, Evidence::Gone { at: net.now() });
    net.assert_sessions(A, &["0s New Device - 30s Disconnected"]);
}

#[test]
fn what_a_sensor_saw_before_it_was_known_here_counts() {
    let mut net = Network::with(&[SourceKind::Push]);
    net.advance(minutes(60));
    let early = net.now() - minutes(120);
    for round in 0..10 {
        let devices = if round < 3 { vec![A] } else { vec![] };
        net.deliver(0, (early + secs(round * 30), devices));
    }
    net.assert_sessions(A, &["-3600s New Device - -3540s Disconnected"]);
}

#[test]
fn a_name_from_elsewhere_goes_only_to_a_nameless_device() {
    let mut net = Network::with(&[SourceKind::Arp]);
    net.scan(0, &[A, B]);
    let (ip, name) = ("192.0.2.1".parse().unwrap(), |net: &Network| {
        net.tracker.devices().map(|device| device.hostname.clone()).collect::<Vec<_>>()
    });
    net.tracker.name_by_address(ip, "printer.lan");
    net.tracker.name_by_address(ip, "other.lan");
    assert_eq!(name(&net), ["printer.lan", ""]);
}

#[test]
fn a_neighbour_that_the_kernel_still_believes_does_not_flap_however_short_the_grace() {
    let mut net = Network::with(&[SourceKind::Neighbors]);
    net.set_grace(0, secs(1));
    net.scan(0, &[A]);
    net.set_policy(A, Some(secs(1)), false, false);
    // Passes start every 30 s; the kernel asks again after 45 to 75.
    for asked in [0, 45, 120, 195, 240, 315] {
        while net.since_start() < asked + 75 {
            net.observe_at(0, A, asked);
            net.scan(0, &[]);
        }
    }
    net.assert_events(A, &["New Device"]);
    // It leaves: the end is when it was last confirmed, told when no belief is left.
    for _ in 0..4 {
        net.scan(0, &[]);
    }
    net.assert_sessions(A, &["0s New Device - 315s Disconnected"]);
}
