//! Presence, from end to end: real hosts on real segments, the real server, its HTTP API.
//!
//! Scans are asked for one by one where a test counts them, and come by themselves where it is
//! about time. Needs root for network namespaces, and the built `sojourn`.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::expect_used, reason = "a failed step fails the test")]

mod come_and_go;
mod crash;
mod gaps;
mod nodes;
mod remote;

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use sojourn_testbed::{
    netns::Host,
    process::{Client, Installation, Server},
    wait,
};

/// For anything that the server does by itself, on a busy machine.
const SOON: Duration = Duration::from_secs(40);

/// A running server and an administrator's client.
struct Watch {
    installation: Installation,
    token: String,
    server: Option<Server>,
    client: Client,
}

impl Watch {
    /// Starts a server on a host with one source; `source` as after `sojourn source add`.
    fn start(host: &Host, sources: &[&[&str]]) -> Self {
        Self::start_with(Installation::on(host), sources)
    }

    fn start_with(installation: Installation, sources: &[&[&str]]) -> Self {
        let token = installation.token("admin", "admin");
        for source in sources {
            installation.add_source(source);
        }
        let server = installation.serve();
        let client = server.client(&token);
        Self { installation, token, server: Some(server), client }
    }

    /// Kills the server and starts it again.
    fn kill_and_restart(&mut self) {
        self.server.take().expect("a running server").kill();
        self.restart();
    }

    fn restart(&mut self) {
        let server = self.installation.serve();
        self.client = server.client(&self.token);
        self.server = Some(server);
    }

    fn source(&self, name: &str) -> Value {
        let answer = self.client.get("/sources");
        let sources = answer["sources"].as_array().unwrap();
        sources.iter().find(|source| source["name"] == name).unwrap_or_else(|| panic!("{answer}")).clone()
    }

    fn health(&self, name: &str) -> String {
        text(&self.source(name)["health"]["status"])
    }

    /// Waits for a source's health.
    #[track_caller]
    fn until_health(&self, name: &str, status: &str) {
        wait::until_eq(&format!("{name} to be {status}"), SOON, &status.to_owned(), || self.health(name));
    }

    /// Asks for one scan more, and waits for its end. Returns how many devices it saw.
    #[track_caller]
    fn scan(&self, name: &str) -> u64 {
        let (source, asked) = (self.source(name), now());
        self.client.send("POST", &format!("/sources/{}/scan", text(&source["id"])), None).ok();
        let scan = wait::until("a scan's end", SOON, || {
            let scan = self.source(name)["lastScan"].clone();
            // Not one that was under way already. The API's times have milliseconds.
            (!scan.is_null() && micros(&scan["startedAt"]) >= asked - 1000).then_some(scan)
        });
        assert_eq!(scan["outcome"], "complete", "{scan}");
        scan["seen"].as_u64().unwrap_or_default()
    }

    /// Several scans, one after the other.
    #[track_caller]
    fn scans(&self, name: &str, count: u32) {
        for _ in 0..count {
            self.scan(name);
        }
    }

    /// All presence events of a device, oldest first, as their type names.
    fn events(&self, mac: &str) -> Vec<String> {
        self.event_rows(mac).iter().map(|event| text(&event["type"])).collect()
    }

    fn event_rows(&self, mac: &str) -> Vec<Value> {
        let answer = self.client.get(&format!("/presence/events?mac={mac}&limit=1000"));
        let mut events = answer["events"].as_array().unwrap().clone();
        events.reverse();
        events
    }

    /// All sessions of a device, oldest first.
    fn sessions(&self, mac: &str) -> Vec<Value> {
        let answer = self.client.get(&format!("/sessions/list?mac={mac}"));
        let mut sessions = answer["sessions"].as_array().unwrap().clone();
        sessions.reverse();
        sessions
    }

    fn device(&self, mac: &str) -> Option<Value> {
        let answer = self.client.send("GET", &format!("/devices/{mac}"), None);
        if answer.status == 404 {
            return None;
        }
        let body = answer.ok();
        // Bare or wrapped: only its contents matter here.
        Some(body.get("device").cloned().unwrap_or(body))
    }

    fn state(&self, mac: &str) -> String {
        self.device(mac).map_or_else(|| String::from("unheard of"), |device| text(&device["state"]))
    }

    /// The state of every device, by MAC.
    fn states(&self) -> BTreeMap<String, String> {
        let answer = self.client.get("/devices?limit=2000&archived=all");
        let devices = answer["devices"].as_array().unwrap();
        devices.iter().map(|device| (text(&device["mac"]), text(&device["state"]))).collect()
    }

    /// Waits until every one of the hosts is in a state.
    #[track_caller]
    fn until_state<'a>(&self, hosts: impl IntoIterator<Item = &'a Host>, state: &str) {
        let wanted: Vec<_> = hosts.into_iter().map(Host::mac).collect();
        wait::until_eq(&format!("hosts to be {state}"), SOON, &Vec::new(), || {
            let states = self.states();
            let state_of = |mac: &String| states.get(mac).cloned().unwrap_or_default();
            wanted
                .iter()
                .filter(|mac| state_of(mac) != state)
                .map(|mac| (mac.clone(), state_of(mac)))
                .collect()
        });
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Microseconds since 1970 of a time as the API writes it.
fn micros(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}")).as_microsecond()
}

/// This machine's clock, in microseconds since 1970; the server's is the same.
#[expect(clippy::disallowed_methods, reason = "compared with times that a real server took from its clock")]
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

const SECOND: i64 = 1_000_000;

/// Whether a session of the list is open.
fn open(session: &Value) -> bool {
    session["ses_StillConnected"] == 1
}
