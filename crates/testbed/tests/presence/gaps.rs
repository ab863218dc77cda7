//! A source that cannot see proves nothing: no one leaves, and the gap is shown.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use sojourn_testbed::{
    netns::{Host, Network},
    wait,
};

use super::{SOON, Watch, micros, now, open, text};

/// An ARP source that looks all the time and is quick to close.
pub(super) const BUSY: &[&str] =
    &["arp", "--name", "lan", "--interface", "eth0", "--interval", "1s", "--grace", "1s"];
/// Much longer than [`BUSY`] needs to close a session.
const LONG: Duration = Duration::from_secs(6);

/// The last gap of a source.
pub(super) fn gap(source: &Value) -> Value {
    let gaps = source["gaps"].as_array().unwrap();
    gaps.iter().max_by_key(|gap| micros(&gap["from"])).cloned().unwrap_or_default()
}

/// Nobody has left, and each has the one session.
#[track_caller]
pub(super) fn nothing_happened(watch: &Watch, hosts: &[Host]) {
    for host in hosts {
        assert_eq!(watch.events(&host.mac()), ["New Device"], "{}", host.mac());
        let sessions = watch.sessions(&host.mac());
        assert_eq!(sessions.iter().map(open).collect::<Vec<_>>(), [true], "{sessions:?}");
    }
}

/// Blinds the watcher in some way, and lets it see again.
fn blinded(blind: impl FnOnce(&Host), see: impl FnOnce(&Host)) {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(6);
    let watcher = hosts.remove(0);
    let watch = Watch::start(&watcher, &[BUSY]);
    watch.until_state(&hosts, "online");
    watch.until_health("lan", "ok");
    let from = now();
    blind(&watcher);
    let health = wait::until("the source to know that it is blind", SOON, || {
        let health = watch.source("lan")["health"].clone();
        (health["status"] != "ok").then_some(health)
    });
    assert!(["blind", "failed"].contains(&text(&health["status"]).as_str()), "{health}");
    assert!(!text(&health["message"]).is_empty(), "{health}");
    watch.until_state(&hosts, "unknown");
    wait::during(LONG, || {
        assert!(watch.states().values().all(|state| state != "offline" && state != "down"));
    });
    let gap_open = gap(&watch.source("lan"));
    assert!(gap_open["until"].is_null(), "{gap_open}");
    let timeline = watch.client.get(&format!("/devices/{}/timeline", hosts[0].mac()));
    assert!(!timeline["gaps"].as_array().unwrap().is_empty(), "{timeline}");

    see(&watcher);
    watch.until_health("lan", "ok");
    watch.until_state(&hosts, "online");
    let gap_closed = gap(&watch.source("lan"));
    assert!(micros(&gap_closed["until"]) > from, "{gap_closed}");
    nothing_happened(&watch, &hosts);
}

#[test]
fn a_pulled_cable_of_the_watcher_closes_nothing() {
    blinded(Host::unplug, Host::plug);
}

#[test]
fn an_interface_taken_down_closes_nothing() {
    blinded(|host| host.set_interface(false), |host| host.set_interface(true));
}

#[test]
fn a_killed_server_closes_nothing() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(6);
    let watcher = hosts.remove(0);
    let mut watch = Watch::start(&watcher, &[BUSY]);
    watch.until_state(&hosts, "online");
    watch.until_health("lan", "ok");
    watch.server.take().unwrap().kill();
    let killed = now();
    wait::during(LONG, || {});
    watch.restart();
    watch.until_health("lan", "ok");
    watch.until_state(&hosts, "online");
    nothing_happened(&watch, &hosts);
    let gap = gap(&watch.source("lan"));
    assert_eq!(gap["reason"], "not_running", "{gap}");
    assert!(micros(&gap["from"]) <= killed && micros(&gap["until"]) > killed, "{gap}");
}

#[test]
fn a_departure_during_a_gap_has_no_false_end() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(4);
    let watcher = hosts.remove(0);
    let mut watch = Watch::start(&watcher, &[BUSY]);
    watch.until_state(&hosts, "online");
    let mac = hosts[0].mac();
    watch.until_health("lan", "ok");
    watch.server.take().unwrap().kill();
    let killed = now();
    wait::during(Duration::from_secs(3), || {});
    hosts[0].unplug();
    watch.restart();
    let restarted = now();
    watch.until_state(&hosts[..1], "offline");
    let sessions = watch.sessions(&mac);
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let session = &sessions[0];
    assert!(!open(session), "{session}");
    // It left some time in the gap, and nobody knows when: no end, or none after the last sight.
    let end = &session["ses_DateTimeDisconnection"];
    if end.is_null() {
        assert_eq!(session["ses_Disconnection"], "<missing event>", "{session}");
    } else {
        assert!(micros(end) <= killed, "{session}");
    }
    assert!(watch.event_rows(&mac).iter().all(|event| micros(&event["at"]) <= restarted));
    assert_eq!(watch.events(&mac).len(), 2, "{:?}", watch.event_rows(&mac));
    nothing_happened(&watch, &hosts[1..]);
}

#[test]
fn a_lease_file_that_cannot_be_read_closes_nothing() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let watcher = lan.host();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("leases");
    fs::write(&file, "0 02:00:00:00:00:01 10.91.0.51 one *\n0 02:00:00:00:00:02 10.91.0.52 two *\n").unwrap();
    let leases = [
        "dhcp-leases",
        "--name",
        "leases",
        "--path",
        file.to_str().unwrap(),
        "--interval",
        "1s",
        "--grace",
        "1s",
    ];
    let watch = Watch::start(&watcher, &[&leases]);
    let macs = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    let all = |state: &str| macs.map(|mac| (mac.to_owned(), state.to_owned())).into_iter().collect();
    let states = || -> std::collections::BTreeMap<_, _> {
        watch.states().into_iter().filter(|(mac, _)| macs.contains(&mac.as_str())).collect()
    };
    wait::until_eq("both leases", SOON, &all("online"), states);
    fs::rename(&file, directory.path().join("away")).unwrap();
    wait::until("the source to notice", SOON, || (watch.health("leases") != "ok").then_some(()));
    wait::until_eq("both to be unknown", SOON, &all("unknown"), states);
    wait::during(LONG, || assert_eq!(states(), all("unknown")));
    fs::rename(directory.path().join("away"), &file).unwrap();
    wait::until_eq("both leases again", SOON, &all("online"), states);
    for mac in macs {
        assert_eq!(watch.events(mac), ["New Device"]);
    }
}

#[test]
fn a_pusher_that_says_it_failed_closes_nothing() {
    let Some(network) = Network::new() else { return };
    let watcher = network.segment().host();
    let watch = Watch::start(&watcher, &[&["push", "--name", "script", "--interval", "1s", "--grace", "1s"]]);
    let push = |macs: &[&str], outcome: &str| {
        let at = jiff::Timestamp::from_microsecond(now()).unwrap().to_string();
        let sightings: Vec<_> = macs.iter().map(|mac| json!({"mac": mac, "ip": "192.0.2.60"})).collect();
        watch.client.post(
            "/presence/sightings",
            json!({"source": "script", "sightings": sightings,
                   "scan": {"startedAt": at, "finishedAt": at, "outcome": outcome, "message": "no such host"}}),
        );
    };
    let mac = "02:00:00:00:00:03";
    push(&[mac], "complete");
    wait::until_eq("it to be there", SOON, &"online".to_owned(), || watch.state(mac));
    wait::during(LONG, || push(&[], "failed"));
    assert_eq!(watch.health("script"), "failed");
    assert_eq!(watch.state(mac), "unknown");
    assert_eq!(watch.events(mac), ["New Device"]);
    wait::until_eq("complete scans without it to count", SOON, &"offline".to_owned(), || {
        push(&[], "complete");
        watch.state(mac)
    });
    assert_eq!(watch.events(mac).len(), 2);
}
