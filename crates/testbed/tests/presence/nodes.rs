//! Two nodes on one PostgreSQL: one of them keeps presence, and the other takes over when it is gone.

use sojourn_testbed::{
    netns::{Host, Network},
    postgres::Cluster,
    process::{Answer, Installation},
    wait,
};

use super::{
    SOON, Watch,
    gaps::{BUSY, gap, nothing_happened},
    micros, now, open, text,
};

/// A node that uses the database of a host, looks at that host's network and shares a master key.
fn node(host: &Host, cluster: &Cluster, name: &str, key_of: Option<&Watch>) -> Installation {
    let node = Installation::on(host).database(&cluster.url()).variable("SOJOURN_NODE_NAME", name);
    if let Some(other) = key_of {
        let key = |installation: &Installation| installation.data_dir().join("master.key");
        std::fs::copy(key(&other.installation), key(&node)).unwrap();
    }
    node
}

/// Something that only the node does that keeps presence.
fn ask_for_a_scan(watch: &Watch) -> Answer {
    let id = text(&watch.source("lan")["id"]);
    watch.client.send("POST", &format!("/sources/{id}/scan"), None)
}

#[track_caller]
fn waits_for(watch: &Watch, holder: &str) {
    let refused = ask_for_a_scan(watch);
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.text.contains(&format!("node {holder} keeps presence")), "{}", refused.text);
}

#[test]
fn another_node_takes_over_without_a_false_departure() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(6);
    let watcher = hosts.remove(0);
    let Some(cluster) = Cluster::on(&watcher) else { return };
    let mut one = Watch::start_with(node(&watcher, &cluster, "one", None), &[BUSY]);
    one.until_state(&hosts, "online");
    one.until_health("lan", "ok");
    let second = node(&watcher, &cluster, "two", Some(&one));
    let server = second.serve();
    let client = server.client(&one.token);
    let mut two = Watch { installation: second, token: one.token.clone(), server: Some(server), client };
    // It answers what the store says, and leaves the rest to the other.
    waits_for(&two, "one");
    two.until_state(&hosts, "online");

    one.server.take().unwrap().kill();
    let killed = now();
    let (gone, here) = (&hosts[..1], &hosts[1..]);
    gone[0].unplug();
    // A lease runs out in half a minute.
    wait::until("the other node to take over", 2 * SOON, || {
        (ask_for_a_scan(&two).status < 300).then_some(())
    });
    two.until_health("lan", "ok");
    two.until_state(here, "online");
    two.until_state(gone, "offline");
    nothing_happened(&two, here);
    // It left when nobody looked.
    let mac = gone[0].mac();
    let sessions = two.sessions(&mac);
    assert_eq!(sessions.iter().map(open).collect::<Vec<_>>(), [false], "{sessions:?}");
    let end = &sessions[0]["ses_DateTimeDisconnection"];
    if end.is_null() {
        assert_eq!(sessions[0]["ses_Disconnection"], "<missing event>", "{sessions:?}");
    } else {
        assert!(micros(end) <= killed, "{sessions:?}");
    }
    assert_eq!(two.events(&mac).len(), 2, "{:?}", two.event_rows(&mac));
    let gap = gap(&two.source("lan"));
    assert_eq!(gap["reason"], "not_running", "{gap}");
    assert!(micros(&gap["from"]) <= killed && micros(&gap["until"]) > killed, "{gap}");

    // The one that died comes back, waits, and takes over at once when the other stops in order.
    one.restart();
    waits_for(&one, "two");
    assert!(two.server.take().unwrap().terminate().success());
    wait::until("the first node to take over", SOON, || (ask_for_a_scan(&one).status < 300).then_some(()));
    one.until_health("lan", "ok");
    one.until_state(here, "online");
    nothing_happened(&one, here);
}
