//! Follows a DHCP server's lease file.
//!
//! The file is looked at every second and read when it changed. (Looking is one `stat`, works on
//! network file systems, and survives every way in which servers replace their files, which file
//! notifications do not.) Reading is repeated until the file holds still, so that a half-written
//! file never looks like departures.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, Metadata},
    io::{self, Read as _},
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sojourn_domain::{
    mac::MacAddr,
    presence::{Evidence, Scan, ScanOutcome, Sighting},
    time::{Clock, Elapsed, Timestamp},
};

use super::{Pass, SourceSettings};
use crate::{
    frames,
    leases::{self, Lease, LeaseFormat, Leases, MAX_FILE_BYTES},
};

const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// A file that changes or is cut off is read again after this long, this many times.
const SETTLES: Duration = Duration::from_millis(150);
const ATTEMPTS: usize = 6;
/// A lease that is missing from the file ended only when it is still missing after this long.
const MISSES: Elapsed = Elapsed::from_secs(2);

#[derive(Debug)]
pub(super) struct DhcpLeases {
    path: PathBuf,
    format: Option<LeaseFormat>,
    /// The leases that ran at the last reading; `None` before the first.
    running: Option<HashMap<Key, Held>>,
    /// Leases that vanished before their end: since when, and how old the file was then.
    missing: HashMap<Key, (Timestamp, Timestamp, Held)>,
    stamps: Option<Vec<Stamp>>,
}

type Key = (MacAddr, IpAddr);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    at: Timestamp,
    until: Timestamp,
}

/// What changes when a file changes or is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: Timestamp,
}

/// A file that held still while it was read.
struct Reading {
    leases: Leases,
    modified: Timestamp,
    stamps: Vec<Stamp>,
}

enum Trouble {
    Blind(String),
    Failed(String),
    /// Worth another attempt.
    Unsettled(String),
}

impl DhcpLeases {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            path: settings.path.clone().unwrap_or_default(),
            format: settings.format,
            running: None,
            missing: HashMap::new(),
            stamps: None,
        }
    }

    pub(super) async fn pass(&mut self, clock: &dyn Clock) -> Pass {
        let started_at = clock.now();
        let mut scope = format!("leases in {}", self.path.display());
        let (outcome, sightings) = match self.read().await {
            Ok(reading) => {
                if let Some(format) = reading.leases.format {
                    scope = format!("{} {scope}", format.name());
                }
                if reading.leases.skipped > 0 {
                    tracing::debug!(path = %self.path.display(), skipped = reading.leases.skipped, "leases without a readable device");
                }
                self.stamps = Some(reading.stamps.clone());
                (ScanOutcome::Complete, self.compare(&reading, clock.now()))
            }
            Err(trouble) => {
                // Whatever it was, look again when the file has changed.
                self.stamps = stamps(&self.path).ok();
                let outcome = match trouble {
                    Trouble::Blind(message) => ScanOutcome::Blind { message },
                    Trouble::Failed(message) | Trouble::Unsettled(message) => ScanOutcome::Failed { message },
                };
                (outcome, Vec::new())
            }
        };
        let scan = Scan { started_at, finished_at: clock.now(), outcome, scope, covers: Vec::new() };
        Pass { scan, sightings }
    }

    /// Until the file changes, or a missing lease has been missing long enough.
    pub(super) async fn rest(&mut self) {
        let mut looks = 0u32;
        loop {
            tokio::time::sleep(LOOKS_EVERY).await;
            looks += 1;
            if !self.missing.is_empty() && i64::from(looks) > MISSES.as_secs() {
                return;
            }
            let path = self.path.clone();
            // Network file systems may be slow to answer.
            let now = tokio::task::spawn_blocking(move || stamps(&path).ok()).await.unwrap_or(None);
            if now != self.stamps {
                return;
            }
        }
    }

    async fn read(&self) -> Result<Reading, Trouble> {
        let mut attempt = 1;
        loop {
            let (path, format) = (self.path.clone(), self.format);
            let reading = tokio::task::spawn_blocking(move || read(&path, format)).await;
            match reading
                .unwrap_or_else(|error| Err(Trouble::Failed(format!("reading was interrupted: {error}"))))
            {
                Err(Trouble::Unsettled(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(Trouble::Blind(_)) if attempt < 3 => attempt += 1, // between two names of a rotation
                result => return result,
            }
            tokio::time::sleep(SETTLES).await;
        }
    }

    /// What the file says now, and what is no longer in it.
    fn compare(&mut self, reading: &Reading, now: Timestamp) -> Vec<Sighting> {
        let modified = reading.modified.min(now);
        let before = self.running.take();
        let longest = longest_lease(&reading.leases.leases, modified);
        let mut running = HashMap::new();
        let mut sightings = Vec::new();
        let mut holders = HashSet::new();
        let by_address: HashMap<IpAddr, &Lease> =
            reading.leases.leases.iter().map(|lease| (lease.ip, lease)).collect();
        for lease in &reading.leases.leases {
            if !lease.active || lease.until <= now {
                continue;
            }
            let key = (lease.mac, lease.ip);
            let known = before.as_ref().map(|before| before.get(&key));
            let at = match (lease.at, known) {
                (Some(at), _) => at.min(now),
                // dnsmasq does not write when. An end that moved was moved when the file changed.
                (None, Some(Some(held))) if held.until == lease.until => held.at,
                (None, Some(_)) => modified,
                // Nothing known yet: no later than the file, and as long before the lease's end as
                // leases last here.
                (None, None) => modified.min(lease.until - longest),
            };
            running.insert(key, Held { at, until: lease.until });
            holders.insert(lease.mac);
            sightings.push(Sighting {
                mac: lease.mac,
                ip: frames::useful(lease.ip),
                hostname: lease.hostname.clone(),
                evidence: Evidence::Held { at, until: lease.until },
            });
        }
        self.missing.retain(|key, _| !running.contains_key(key));
        let mut gone = Vec::new();
        for (key, held) in before.unwrap_or_default() {
            if running.contains_key(&key) || held.until <= now {
                continue;
            }
            match by_address.get(&key.1) {
                // Ended before its end: released, reclaimed, or given to somebody else.
                Some(lease) if lease.mac == key.0 => gone.push((key, lease.until.min(now), held)),
                Some(lease) => gone.push((key, lease.at.unwrap_or(modified).min(now), held)),
                // ISC's journal may forget an entry when it is rewritten, and says so when one ends.
                None if reading.leases.format == Some(LeaseFormat::Isc) => {}
                None => {
                    self.missing.entry(key).or_insert((now, modified, held));
                }
            }
        }
        self.missing.retain(|key, (since, modified, held)| {
            if now.since(*since) < MISSES {
                return true;
            }
            if held.until > *since {
                gone.push((*key, *modified, *held));
            }
            false
        });
        // A device that has another lease has moved, not left.
        gone.retain(|((mac, _), _, _)| !holders.contains(mac));
        sightings.extend(gone.into_iter().map(|((mac, ip), at, held)| Sighting {
            mac,
            ip: frames::useful(ip),
            hostname: None,
            evidence: Evidence::Gone { at: at.max(held.at) },
        }));
        sightings.sort_by_key(|sighting| (sighting.mac, sighting.ip));
        self.running = Some(running);
        sightings
    }
}

/// How long leases last, from the one that was granted when the file was last written; zero when
/// that cannot be told. Where clients get leases of different lengths, this is the longest, and
/// the time of a grant derived from it is too early rather than too late.
fn longest_lease(leases: &[Lease], modified: Timestamp) -> Elapsed {
    leases
        .iter()
        .filter(|lease| lease.until < Timestamp::MAX)
        .map(|lease| lease.until.since(modified))
        .max()
        .unwrap_or(Elapsed::ZERO)
        .max(Elapsed::ZERO)
}

fn stamp(metadata: &Metadata) -> Stamp {
    let modified = metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000);
    Stamp { inode: metadata.ino(), bytes: metadata.len(), modified: Timestamp::from_micros(modified) }
}

/// The files that make up Kea's leases, oldest first: while it cleans up, the journal is split
/// (Kea ARM, "Lease File Cleanup").
fn kea_files(path: &Path) -> Vec<PathBuf> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let completed = with(".completed");
    if completed.exists() {
        return vec![completed, path.to_owned()];
    }
    vec![with(".2"), with(".1"), path.to_owned()]
}

/// The stamps of the file and of those that may belong to it.
fn stamps(path: &Path) -> io::Result<Vec<Stamp>> {
    let mut stamps = vec![stamp(&path.metadata()?)];
    // Absent in most cases, and always for other servers than Kea.
    stamps
        .extend(kea_files(path).iter().rev().skip(1).filter_map(|file| Some(stamp(&file.metadata().ok()?))));
    Ok(stamps)
}

fn read(path: &Path, format: Option<LeaseFormat>) -> Result<Reading, Trouble> {
    let unreadable = |error: io::Error| {
        Trouble::Blind(if error.kind() == io::ErrorKind::NotFound {
            format!("there is no file {}", path.display())
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            format!("this process may not read {}: let its user read the file", path.display())
        } else {
            format!("reading {} failed: {error}", path.display())
        })
    };
    let before = stamps(path).map_err(unreadable)?;
    let mut bytes = content(path).map_err(unreadable)?;
    let mut read = leases::parse(format, &bytes);
    if let Ok(Leases { format: Some(LeaseFormat::Kea), .. }) = read {
        let mut all = Vec::new();
        for file in kea_files(path) {
            match content(&file) {
                Ok(part) => all.extend(part),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        bytes = all;
        read = leases::parse(Some(LeaseFormat::Kea), &bytes);
    }
    let leases = read.map_err(|error| Trouble::Failed(format!("{} is {error}", path.display())))?;
    let after = stamps(path).map_err(unreadable)?;
    if before != after || !leases.whole {
        return Err(Trouble::Unsettled(format!(
            "{} is being written and did not hold still",
            path.display()
        )));
    }
    Ok(Reading { leases, modified: after[0].modified, stamps: after })
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe would wait for its writer.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicI64, Ordering},
        time::SystemTime,
    };

    use super::*;

    /// 2025-01-01T08:00:00Z
    const NOW: i64 = 1_735_718_400;

    /// A clock that is set by hand, in seconds.
    struct Hand(AtomicI64);
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    struct Case {
        source: DhcpLeases,
        clock: Hand,
        folder: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("leases");
            let settings = SourceSettings { path: Some(path), ..SourceSettings::default() };
            Self { source: DhcpLeases::new(&settings), clock: Hand(AtomicI64::new(NOW)), folder }
        }

        /// Writes the file as of a moment.
        fn write(&self, name: &str, modified: i64, text: &str) {
            let path = self.folder.path().join(name);
            fs::write(&path, text).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified as u64);
            File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
        }

        async fn pass_at(&mut self, now: i64) -> Pass {
            self.clock.0.store(now, Ordering::Relaxed);
            self.source.pass(&self.clock).await
        }

        async fn seen_at(&mut self, now: i64) -> Vec<(String, Evidence)> {
            let pass = self.pass_at(now).await;
            assert_eq!(pass.scan.outcome, ScanOutcome::Complete);
            pass.sightings.into_iter().map(|s| (s.ip.unwrap().to_string(), s.evidence)).collect()
        }
    }

    fn held(at: i64, until: i64) -> Evidence {
        Evidence::Held { at: Timestamp::from_secs(at), until: Timestamp::from_secs(until) }
    }

    fn gone(at: i64) -> Evidence {
        Evidence::Gone { at: Timestamp::from_secs(at) }
    }

    fn dnsmasq(leases: &[(i64, u8)]) -> String {
        leases
            .iter()
            .map(|(until, n)| format!("{until} aa:bb:cc:dd:ee:{n:02x} 10.0.0.{n} host{n} *\n"))
            .collect()
    }

    #[tokio::test]
    async fn dnsmasq_grants_are_dated_by_the_file_and_by_moved_ends() {
        let mut case = Case::new();
        // Leases last an hour: host 1 got its half an hour before host 2, whose grant wrote the file.
        case.write(
            "leases",
            NOW - 60,
            &dnsmasq(&[(NOW - 60 + 1800, 1), (NOW - 60 + 3600, 2), (NOW - 10, 3)]),
        );
        assert_eq!(
            case.seen_at(NOW).await,
            [
                ("10.0.0.1".to_owned(), held(NOW - 60 - 1800, NOW - 60 + 1800)),
                ("10.0.0.2".to_owned(), held(NOW - 60, NOW - 60 + 3600)),
            ]
        );
        // Unchanged: the same again.
        assert_eq!(case.seen_at(NOW + 30).await.len(), 2);
        // Host 1 renewed, host 4 came.
        case.write("leases", NOW + 40, &dnsmasq(&[(NOW + 3640, 1), (NOW - 60 + 3600, 2), (NOW + 3640, 4)]));
        assert_eq!(
            case.seen_at(NOW + 41).await,
            [
                ("10.0.0.1".to_owned(), held(NOW + 40, NOW + 3640)),
                ("10.0.0.2".to_owned(), held(NOW - 60, NOW - 60 + 3600)),
                ("10.0.0.4".to_owned(), held(NOW + 40, NOW + 3640)),
            ]
        );
    }

    #[tokio::test]
    async fn a_lease_missing_before_its_end_was_released_when_it_stays_missing() {
        let mut case = Case::new();
        case.write("leases", NOW, &dnsmasq(&[(NOW + 3600, 1), (NOW + 3600, 2)]));
        case.seen_at(NOW).await;
        case.write("leases", NOW + 10, &dnsmasq(&[(NOW + 3600, 1)]));
        assert_eq!(case.seen_at(NOW + 10).await.len(), 1, "it may be half written");
        assert_eq!(
            case.seen_at(NOW + 13).await,
            [("10.0.0.1".to_owned(), held(NOW, NOW + 3600)), ("10.0.0.2".to_owned(), gone(NOW + 10)),]
        );
        assert_eq!(case.seen_at(NOW + 20).await.len(), 1, "said once");
    }

    #[tokio::test]
    async fn a_file_that_is_rewritten_makes_no_departure() {
        let mut case = Case::new();
        let whole = dnsmasq(&[(NOW + 3600, 1), (NOW + 3600, 2)]);
        case.write("leases", NOW, &whole);
        case.seen_at(NOW).await;
        case.write("leases", NOW + 10, &whole[..whole.len() - 12]);
        let pass = case.pass_at(NOW + 10).await;
        assert!(matches!(pass.scan.outcome, ScanOutcome::Failed { .. }), "{pass:?}");
        case.write("leases", NOW + 11, "");
        assert_eq!(case.seen_at(NOW + 11).await, []);
        case.write("leases", NOW + 12, &whole);
        assert_eq!(case.seen_at(NOW + 20).await.len(), 2);
        assert_eq!(case.seen_at(NOW + 30).await.len(), 2);
    }

    #[tokio::test]
    async fn leases_that_run_out_are_no_departure_and_no_presence() {
        let mut case = Case::new();
        case.write("leases", NOW, &dnsmasq(&[(NOW + 60, 1)]));
        assert_eq!(case.seen_at(NOW).await.len(), 1);
        assert_eq!(case.seen_at(NOW + 61).await, []);
        case.write("leases", NOW + 70, "");
        assert_eq!(case.seen_at(NOW + 80).await, []);
        assert_eq!(case.seen_at(NOW + 90).await, []);
    }

    #[tokio::test]
    async fn isc_says_when_a_client_let_go() {
        let mut case = Case::new();
        let entry = |state: &str, ends: &str| {
            format!(
                "lease 10.0.0.5 {{ starts 3 2025/01/01 07:30:00; ends 3 2025/01/01 {ends}; cltt 3 2025/01/01 07:30:00; \
                 binding state {state}; hardware ethernet aa:bb:cc:dd:ee:05; }}\n"
            )
        };
        let mut text = entry("active", "08:30:00");
        case.write("leases", NOW, &text);
        assert_eq!(case.seen_at(NOW).await, [("10.0.0.5".to_owned(), held(NOW - 1800, NOW + 1800))]);
        text += &entry("free", "08:05:00");
        case.write("leases", NOW + 300, &text);
        assert_eq!(case.seen_at(NOW + 310).await, [("10.0.0.5".to_owned(), gone(NOW + 300))]);
        assert_eq!(case.seen_at(NOW + 320).await, []);
    }

    #[tokio::test]
    async fn a_device_that_took_another_address_has_not_left() {
        let mut case = Case::new();
        case.write("leases", NOW, &dnsmasq(&[(NOW + 3600, 1)]));
        case.seen_at(NOW).await;
        case.write("leases", NOW + 10, &format!("{} aa:bb:cc:dd:ee:01 10.0.0.9 host1 *\n", NOW + 3610));
        case.seen_at(NOW + 10).await;
        assert_eq!(case.seen_at(NOW + 20).await, [("10.0.0.9".to_owned(), held(NOW + 10, NOW + 3610))]);
    }

    #[tokio::test]
    async fn kea_cleaning_up_loses_no_lease() {
        const HEADER: &str =
            "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n";
        let row = |n: u8, until: i64, state: u8| {
            format!("10.0.0.{n},aa:bb:cc:dd:ee:{n:02x},,3600,{until},1,0,0,host{n},{state}\n")
        };
        let mut case = Case::new();
        let old = [HEADER, &row(1, NOW + 3000, 0), &row(2, NOW + 3000, 0)].concat();
        case.write("leases", NOW, &old);
        assert_eq!(case.seen_at(NOW).await.len(), 2);
        // The journal is set aside, a new one begun.
        case.write("leases.1", NOW, &old);
        case.write("leases", NOW + 5, HEADER);
        assert_eq!(case.seen_at(NOW + 5).await.len(), 2);
        case.write("leases", NOW + 6, &[HEADER, &row(1, NOW + 3606, 0), &row(2, NOW + 3000, 3)].concat());
        assert_eq!(
            case.seen_at(NOW + 7).await,
            [("10.0.0.1".to_owned(), held(NOW + 6, NOW + 3606)), ("10.0.0.2".to_owned(), gone(NOW + 7)),]
        );
        fs::remove_file(case.folder.path().join("leases.1")).unwrap();
        case.write("leases.completed", NOW + 8, &[HEADER, &row(1, NOW + 3000, 0)].concat());
        assert_eq!(case.seen_at(NOW + 9).await, [("10.0.0.1".to_owned(), held(NOW + 6, NOW + 3606))]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_blinds_and_what_is_foreign_fails() {
        let mut case = Case::new();
        let outcome = case.pass_at(NOW).await.scan.outcome;
        assert!(
            matches!(&outcome, ScanOutcome::Blind { message } if message.contains("there is no file")),
            "{outcome:?}"
        );
        case.write("leases", NOW, "root:x:0:0::/root:/bin/sh\n");
        let outcome = case.pass_at(NOW).await.scan.outcome;
        assert!(
            matches!(&outcome, ScanOutcome::Failed { message } if message.contains("not a lease file")),
            "{outcome:?}"
        );
        fs::remove_file(case.folder.path().join("leases")).unwrap();
        fs::create_dir(case.folder.path().join("leases")).unwrap();
        let outcome = case.pass_at(NOW).await.scan.outcome;
        assert!(
            matches!(&outcome, ScanOutcome::Blind { message } if message.contains("not a file")),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn a_change_is_noticed_within_a_second_or_two() {
        let mut case = Case::new();
        case.write("leases", NOW, &dnsmasq(&[(NOW + 3600, 1)]));
        case.seen_at(NOW).await;
        let rest = tokio::time::timeout(Duration::from_millis(1_500), case.source.rest()).await;
        assert!(rest.is_err(), "nothing changed");
        // Replaced as a whole, as most servers do.
        case.write("new", NOW + 1, &dnsmasq(&[(NOW + 3600, 1), (NOW + 3600, 2)]));
        fs::rename(case.folder.path().join("new"), case.folder.path().join("leases")).unwrap();
        tokio::time::timeout(Duration::from_secs(20), case.source.rest()).await.expect("the change");
        assert_eq!(case.seen_at(NOW + 2).await.len(), 2);
    }
}
