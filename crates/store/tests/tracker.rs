//! What the tracker wants written is written, and read back it goes on as if nothing had happened.

#![expect(clippy::unwrap_used, reason = "a house that tests play in may panic")]

use sojourn_domain::{
    id::{Id, SourceId},
    mac::MacAddr,
    presence::{
        Evidence, Scan, ScanOutcome, Sighting, SourceKind, Tracker,
        tracker::{DEFAULT_GRACE, Observed},
    },
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy, Store,
    presence::{
        apply::{Batch, apply},
        load,
        sources::{NewSource, add},
    },
};
use sojourn_testbed::both_databases;

const EPOCH: Timestamp = Timestamp::from_secs(1_750_000_000);

fn mac(device: u8) -> MacAddr {
    MacAddr::new([0, 0x16, 0x3e, 0, 0, device])
}

fn at(secs: i64) -> Timestamp {
    EPOCH + Elapsed::from_secs(secs)
}

struct House {
    store: Store,
    tracker: Tracker,
    source: SourceId,
}

impl House {
    async fn open(url: &str) -> Self {
        let store = Store::open(url).await.unwrap();
        let source = Id::new(EPOCH, [1; 10]);
        let new = NewSource {
            id: source,
            name: "arp".into(),
            kind: SourceKind::Arp,
            settings: "{}".into(),
            interval: Elapsed::from_secs(30),
            grace: DEFAULT_GRACE,
            automatic: false,
            now: EPOCH,
        };
        add(&store, &new).await.unwrap();
        let tracker = Self::load(&store).await;
        Self { store, tracker, source }
    }

    async fn load(store: &Store) -> Tracker {
        load::tracker(store, |kind, _| kind.strength(), Box::new(|| Entropy.bytes())).await.unwrap()
    }

    async fn save(&mut self, now: Timestamp) {
        if let Some(batch) = Batch::take(&mut self.tracker, |_| "Xensource, Inc.".into(), now) {
            apply(&self.store, &batch).await.unwrap();
        }
    }

    async fn see(&mut self, device: u8, secs: i64, now: i64) {
        let sighting = Sighting {
            mac: mac(device),
            ip: Some(format!("192.0.2.{device}").parse().unwrap()),
            hostname: Some(format!("host-{device}")),
            evidence: Evidence::Seen { at: at(secs) },
        };
        if let Observed::NeedsHistory { device, at: moment } =
            self.tracker.observe(self.source, &sighting, at(now))
        {
            self.save(at(now)).await;
            let history = load::history(&self.store, device, moment).await.unwrap();
            self.tracker.observe_late(self.source, &sighting, at(now), Some(history));
        }
    }

    async fn scan(&mut self, secs: i64, devices: &[u8], outcome: ScanOutcome) {
        for device in devices {
            self.see(*device, secs, secs).await;
        }
        let scan = Scan {
            started_at: at(secs),
            finished_at: at(secs),
            outcome,
            scope: "192.0.2.0/24 on test".into(),
            covers: vec![],
        };
        self.tracker.finish(self.source, &scan, devices.len(), at(secs));
        self.save(at(secs)).await;
    }

    /// The tracker in memory and the one that the store gives are the same.
    async fn assert_reloads(&mut self, now: Timestamp) {
        self.tracker.checkpoint();
        self.save(now).await;
        let loaded = Self::load(&self.store).await;
        let devices = |tracker: &Tracker| {
            let mut devices: Vec<_> = tracker.devices().cloned().collect();
            for device in &mut devices {
                device.addresses.sort_by_key(|address| address.ip);
                // In memory it may reach further back than what a restart knows.
                device.remembers_from = Timestamp::MIN;
                for relation in &mut device.relations {
                    relation.seen_at = relation.saved_at;
                }
                for address in &mut device.addresses {
                    address.last_seen = address.first_seen;
                }
            }
            format!("{devices:#?}")
        };
        assert_eq!(devices(&loaded), devices(&self.tracker));
        assert_eq!(loaded.last_seq(), self.tracker.last_seq());
        let sources = |tracker: &Tracker| {
            let mut sources: Vec<_> = tracker.sources().cloned().collect();
            sources.iter_mut().for_each(|source| source.covers.clear());
            format!("{sources:#?}")
        };
        assert_eq!(sources(&loaded), sources(&self.tracker));
    }
}

const OK: ScanOutcome = ScanOutcome::Complete;

#[tokio::test]
async fn a_reloaded_tracker_is_the_one_that_was_written() {
    both_databases(async |url| {
        let mut house = House::open(url).await;
        house.scan(0, &[1, 2, 3], OK).await;
        house.assert_reloads(at(1)).await;
        for round in 1..10 {
            house.scan(round * 30, &[1], OK).await;
        }
        house.assert_reloads(at(300)).await;
        house.scan(300, &[1, 2], OK).await;
        house.scan(330, &[1], ScanOutcome::Failed { message: "no buffer space".into() }).await;
        house.assert_reloads(at(331)).await;
        house.scan(600, &[1], OK).await;
        house.scan(630, &[1], OK).await;
        house.scan(660, &[1], OK).await;
        house.assert_reloads(at(661)).await;
    })
    .await;
}

#[tokio::test]
async fn late_evidence_finds_history_that_is_only_in_the_store() {
    both_databases(async |url| {
        let mut house = House::open(url).await;
        for start in [0, 1000, 2000] {
            house.scan(start, &[1], OK).await;
            for round in 1..10 {
                house.scan(start + round * 30, &[], OK).await;
            }
        }
        let device = house.tracker.device(mac(1)).unwrap().number;
        // Near the end of the first session: it lasted longer. Then between the second and third:
        // a session of its own.
        house.see(1, 60, 3000).await;
        house.see(1, 1500, 3000).await;
        house.save(at(3000)).await;
        let mut told = Vec::new();
        let mut moment = at(4000);
        while let Some(session) = load::history(&house.store, device, moment).await.unwrap().previous {
            moment = session.from() - Elapsed::from_micros(1);
            let until = session.until().map(|until| until.since(EPOCH).as_secs());
            told.push((session.from().since(EPOCH).as_secs(), until));
        }
        assert_eq!(told, [(2000, Some(2000)), (1500, Some(1500)), (1000, Some(1000)), (0, Some(60))]);
    })
    .await;
}

#[tokio::test]
async fn what_a_crash_loses_of_a_batch_is_all_of_it() {
    both_databases(async |url| {
        let mut house = House::open(url).await;
        house.scan(0, &[1], OK).await;
        house.see(2, 30, 30).await;
        let batch = Batch::take(&mut house.tracker, |_| String::new(), at(30)).unwrap();
        apply(&house.store, &batch).await.unwrap();
        // The same batch again breaks on its first row, and changes nothing.
        assert!(apply(&house.store, &batch).await.unwrap_err().is_conflict());
        house.assert_reloads(at(31)).await;
    })
    .await;
}
