//! kill -9 at random moments while hosts come and go: no event twice, no closed session lost, and
//! in the end open sessions for exactly those who are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use sojourn_testbed::{
    netns::{Host, Network},
    wait,
};

use super::{SOON, Watch, open, text};

const KILLS: u32 = 60;
/// The longest that a server lives, in milliseconds.
const LONGEST_MS: u64 = 2500;
const HOSTS: u32 = 12;

/// splitmix64: the same run for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

/// What must be there ever after: closed sessions by id, without what may still be told of them
/// (names), and events by number.
#[derive(Default)]
struct Record {
    closed: BTreeMap<String, Value>,
    events: BTreeMap<u64, Value>,
}

impl Record {
    /// Reads everything, and checks it against itself and against what was there before.
    fn check(&mut self, watch: &Watch, round: u32) {
        let answer = watch.client.get("/sessions/list");
        let sessions = answer["sessions"].as_array().unwrap();
        let mut open_macs = BTreeSet::new();
        let mut spans: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for session in sessions {
            let mac = text(&session["ses_MAC"]);
            if open(session) {
                assert!(open_macs.insert(mac.clone()), "round {round}: two open sessions of {mac}");
            }
            let (start, end) =
                (text(&session["ses_DateTimeConnection"]), text(&session["ses_DateTimeDisconnection"]));
            if !start.is_empty() && !end.is_empty() {
                assert!(start <= end, "round {round}: {session}");
                spans.entry(mac).or_default().push((start, end));
            }
        }
        for (mac, spans) in &mut spans {
            spans.sort();
            for pair in spans.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "round {round}: sessions of {mac} overlap: {pair:?}");
            }
        }
        let closed: BTreeMap<_, _> = sessions
            .iter()
            .filter(|session| !open(session))
            .map(|session| {
                let fields = ["ses_MAC", "ses_DateTimeConnection", "ses_DateTimeDisconnection"];
                (text(&session["id"]), fields.iter().map(|field| session[*field].clone()).collect())
            })
            .collect();
        for (id, session) in &self.closed {
            assert_eq!(closed.get(id), Some(session), "round {round}: a closed session was lost or changed");
        }
        self.closed = closed;

        let answer = watch.client.get("/presence/events?limit=1000");
        let mut seen = BTreeSet::new();
        let mut latest: BTreeMap<String, String> = BTreeMap::new();
        let mut events = answer["events"].as_array().unwrap().clone();
        events.reverse();
        for event in &events {
            let (mac, kind) = (text(&event["mac"]), text(&event["type"]));
            assert!(
                seen.insert((mac.clone(), kind.clone(), text(&event["at"]))),
                "round {round}: an event twice: {event}"
            );
            let arrived = |kind: &str| ["New Device", "Connected", "Down Reconnected"].contains(&kind);
            let left = |kind: &str| ["Disconnected", "Device Down", "<missing event>"].contains(&kind);
            if let Some(before) = latest.get(&mac) {
                let alternates = (arrived(before) && left(&kind)) || (left(before) && arrived(&kind));
                assert!(
                    alternates || !(arrived(&kind) || left(&kind)),
                    "round {round}: {before}, then {event}"
                );
            }
            if arrived(&kind) || left(&kind) {
                latest.insert(mac, kind);
            }
            if let Some(before) = self.events.insert(event["id"].as_u64().unwrap(), event.clone()) {
                assert_eq!(before["type"], event["type"], "round {round}");
                assert_eq!(before["at"], event["at"], "round {round}");
            }
        }
        if events.len() < 1000 {
            assert_eq!(self.events.len(), events.len(), "round {round}: an event was lost");
        }
    }
}

#[test]
fn kill_9_at_random_moments() {
    let Some(network) = Network::new() else { return };
    let lan = network.segment();
    let mut hosts = lan.hosts(HOSTS + 1);
    let watcher = hosts.remove(0);
    let mut watch = Watch::start(
        &watcher,
        &[&["arp", "--name", "lan", "--interface", "eth0", "--interval", "1s", "--grace", "0s"]],
    );
    let seed = 20_260_801;
    let mut dice = Dice(seed);
    let mut there = vec![true; hosts.len()];
    let mut record = Record::default();
    for round in 0..KILLS {
        // Some come or go while it runs, so that it dies between and during its transactions.
        for _ in 0..2 {
            let life = Duration::from_millis(dice.below(LONGEST_MS / 2));
            wait::during(life, || {});
            for (host, there) in hosts.iter().zip(&mut there) {
                if dice.below(6) == 0 {
                    *there = !*there;
                    if *there { host.plug() } else { host.unplug() }
                }
            }
        }
        watch.kill_and_restart();
        record.check(&watch, round);
    }
    let is_there =
        |host: &&Host| hosts.iter().zip(&there).any(|(other, there)| *there && other.mac() == host.mac());
    let (here, gone): (Vec<_>, Vec<_>) = hosts.iter().partition(is_there);
    watch.until_state(here.iter().copied(), "online");
    let gone_macs: Vec<_> = gone.iter().map(|host| host.mac()).collect();
    wait::until_eq("those who went to be offline", SOON, &Vec::<String>::new(), || {
        let states = watch.states();
        let present = gone_macs.iter().filter(|mac| states.get(*mac).is_some_and(|state| state != "offline"));
        present.cloned().collect()
    });
    record.check(&watch, KILLS);
    for host in here {
        assert_eq!(watch.sessions(&host.mac()).iter().filter(|session| open(session)).count(), 1);
    }
    for host in gone {
        assert_eq!(watch.sessions(&host.mac()).iter().filter(|session| open(session)).count(), 0);
    }
}
