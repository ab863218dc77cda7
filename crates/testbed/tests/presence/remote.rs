//! A sensor on another segment reports through an outage: nothing lost, nothing twice.

use std::time::Duration;

use sojourn_testbed::{
    netns::{Host, Network},
    process::{Installation, Process, binary},
    wait,
};

use super::{SOON, Watch, micros, now, open};

/// Makes what a sensor reports count as quickly as its scans come.
fn hasten(watch: &Watch) {
    // A whole scan was reported, not only sightings on the way.
    wait::until("a reported scan", SOON, || {
        let answer = watch.client.get("/sources");
        let scanned =
            |source: &serde_json::Value| source["lastScan"]["seen"].as_u64().is_some_and(|seen| seen >= 4);
        answer["sources"].as_array().unwrap().iter().any(scanned).then_some(())
    });
    for source in watch.client.get("/sources")["sources"].as_array().unwrap() {
        let path = format!("/sources/{}", super::text(&source["id"]));
        watch.client.patch(&path, serde_json::json!({"intervalSeconds": 1, "graceSeconds": 1}));
    }
}

#[test]
fn a_sensor_reports_through_an_outage() {
    let Some(network) = Network::new() else { return };
    let (near, far) = (network.segment(), network.segment());
    let home = near.host();
    let mut hosts = far.hosts(6);
    let post = hosts.remove(0);
    let router = network.router(&near, &far, [&home, &post]);

    let installation = Installation::on(&home)
        .http(format!("{}:0", home.ipv4()))
        .argument("--trusted-proxies")
        .argument("192.0.2.1");
    let watch = Watch::start_with(
        installation,
        &[&["arp", "--name", "near", "--interface", "eth0", "--interval", "1s", "--grace", "1s"]],
    );
    let address = watch.server.as_ref().unwrap().address;
    let buffer = tempfile::tempdir().unwrap();
    let mut command = post.command(binary());
    command.args(["sensor", "--server", &format!("http://{address}"), "--token", &watch.token]);
    command.args(["--name", "far", "--interval", "1s", "--cidr", &far.cidr(), "--buffer"]);
    command.arg(buffer.path());
    let (sensor, _lines) = Process::start(command);
    watch.until_state(&hosts, "online");
    hasten(&watch);

    router.cut();
    let cut = now();
    hosts[0].unplug();
    wait::during(Duration::from_secs(8), || {
        let states = watch.states();
        assert!(
            hosts.iter().all(|host| ["online", "unknown"].contains(&states[&host.mac()].as_str())),
            "{states:?}"
        );
    });
    let back = now();
    hosts[0].plug();
    wait::during(Duration::from_secs(4), || {});
    router.mend();
    watch.until_state(&hosts, "online");

    let mac = hosts[0].mac();
    wait::until_eq("what happened in the outage", SOON * 3, &3, || watch.events(&mac).len());
    assert_eq!(watch.events(&mac), ["New Device", "Disconnected", "Connected"]);
    let sessions = watch.sessions(&mac);
    assert_eq!(sessions.iter().map(open).collect::<Vec<_>>(), [false, true], "{sessions:?}");
    let (end, start) =
        (micros(&sessions[0]["ses_DateTimeDisconnection"]), micros(&sessions[1]["ses_DateTimeConnection"]));
    assert!(cut - 5_000_000 <= end && end <= cut + 2_000_000, "{sessions:?}");
    assert!(back <= start && start <= back + 5_000_000, "{sessions:?}");
    for host in &hosts[1..] {
        assert_eq!(watch.events(&host.mac()), ["New Device"], "{}", host.mac());
    }
    drop(sensor);
}

#[test]
fn a_killed_sensor_closes_nothing() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(5);
    let home = hosts.remove(0);
    let watch = Watch::start_with(Installation::on(&home).argument("--local-sources=false"), &[]);
    let address = watch.server.as_ref().unwrap().address;
    let buffer = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = home.command(binary());
        command.args(["sensor", "--server", &format!("http://{address}"), "--token", &watch.token]);
        command.args(["--name", "far", "--interval", "1s", "--cidr", &lan.cidr(), "--buffer"]);
        command.arg(buffer.path());
        Process::start(command).0
    };
    let sensor = start();
    watch.until_state(&hosts, "online");
    hasten(&watch);
    sensor.kill();
    let mut answer = serde_json::Value::Null;
    let deadline = std::time::Instant::now() + SOON;
    wait::until("the silence to be noticed", SOON * 2, || {
        answer = watch.client.get("/sources");
        assert!(std::time::Instant::now() < deadline, "{answer:#}");
        let quiet =
            answer["sources"].as_array().unwrap().iter().all(|source| source["health"]["status"] != "ok");
        quiet.then_some(())
    });
    watch.until_state(&hosts, "unknown");
    wait::during(Duration::from_secs(5), || {
        assert!(watch.states().values().all(|state| state != "offline" && state != "down"));
    });
    let _sensor = start();
    watch.until_state(&hosts, "online");
    for host in &hosts {
        assert_eq!(watch.events(&host.mac()), ["New Device"], "{}", Host::mac(host));
    }
}
