//! Reports that wait for the server, on disk: one file each, named by its number, oldest first.
//!
//! A file is complete or not there (written aside, synced, renamed). The spool is bounded by size
//! and age; what is thrown away leaves, for each source, one report of a failed scan over its time,
//! so that the server knows of the gap.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sojourn_domain::time::{Elapsed, Timestamp};

use super::batch::Batch;

/// Numbers are taken from the clock (microseconds); so many are reserved on disk ahead of use, so
/// that a restart with an earlier clock never uses one again.
const RESERVED: i64 = 3_600_000_000;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct SpoolLimits {
    pub bytes: u64,
    pub age: Elapsed,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, age: Elapsed::from_secs(7 * 86_400) }
    }
}

#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    limits: SpoolLimits,
    /// Waiting files and their sizes.
    files: BTreeMap<i64, u64>,
    bytes: u64,
    last: i64,
    ceiling: i64,
    /// The file that stands for what was thrown away of a source.
    lost: HashMap<String, i64>,
    /// The file that is being sent: it must not become another meanwhile.
    sending: Option<i64>,
    _lock: File,
}

/// A file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    batch: Batch,
    /// It stands for this many reports that were thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

impl Spool {
    /// Opens the spool in a folder, which is made when absent. Refused while another process uses it.
    pub(super) fn open(folder: &Path, limits: SpoolLimits, now: Timestamp) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another sensor uses it: give each its own --buffer"))?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|n| n.parse().ok());
            if let Some(number) = number {
                files.insert(number, entry.metadata()?.len());
            } else if name.to_str().is_some_and(|name| name.ends_with(".part")) {
                // Of a process that was killed while it wrote.
                fs::remove_file(entry.path())?;
            }
        }
        let reserved = match fs::read_to_string(folder.join("numbers")) {
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let newest = files.keys().next_back().copied().unwrap_or(0);
        let mut spool = Self {
            folder: folder.to_owned(),
            limits,
            bytes: files.values().sum(),
            files,
            last: now.as_micros().max(reserved).max(newest),
            ceiling: 0,
            lost: HashMap::new(),
            sending: None,
            _lock: lock,
        };
        let numbers: Vec<_> = spool.files.keys().copied().collect();
        for number in numbers {
            match spool.read(number) {
                Ok(Kept { batch, lost: Some(_) }) => {
                    spool.lost.insert(batch.source, number);
                }
                Ok(_) => {}
                Err(error) => spool.discard(number, &error)?,
            }
        }
        Ok(spool)
    }

    /// A number that was never used before and is higher than all that were.
    pub(super) fn number(&mut self, now: Timestamp) -> io::Result<i64> {
        self.last = now.as_micros().max(self.last + 1);
        if self.last >= self.ceiling {
            let ceiling = self.last + RESERVED;
            self.write("numbers", format!("{ceiling}\n").as_bytes())?;
            self.ceiling = ceiling;
        }
        Ok(self.last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Keeps a numbered report, and throws the oldest away when there is too much.
    pub(super) fn keep(&mut self, batch: Batch, now: Timestamp) -> io::Result<()> {
        let Some(number) = batch.seq else { return Ok(()) };
        self.put(number, &Kept { batch, lost: None })?;
        self.trim(now)
    }

    /// The oldest report, which then is not thrown away. Files that cannot be read are set aside.
    pub(super) fn oldest(&mut self) -> io::Result<Option<(i64, Batch)>> {
        while let Some(&number) = self.files.keys().next() {
            match self.read(number) {
                Ok(kept) => {
                    self.sending = Some(number);
                    return Ok(Some((number, kept.batch)));
                }
                Err(error) => self.discard(number, &error)?,
            }
        }
        Ok(None)
    }

    /// The report has been taken in.
    pub(super) fn done(&mut self, number: i64) -> io::Result<()> {
        self.remove(number)?;
        self.lost.retain(|_, lost| *lost != number);
        Ok(())
    }

    fn trim(&mut self, now: Timestamp) -> io::Result<()> {
        let oldest_kept = (now - self.limits.age).as_micros();
        // What stands for lost reports is small, is never thrown away, and is one file a source.
        loop {
            let stands: Vec<_> = self.lost.values().copied().chain(self.sending).collect();
            let Some(number) = self.files.keys().copied().find(|number| !stands.contains(number)) else {
                return Ok(());
            };
            if self.bytes <= self.limits.bytes && number >= oldest_kept {
                return Ok(());
            }
            self.throw_away(number)?;
        }
    }

    fn throw_away(&mut self, number: i64) -> io::Result<()> {
        let batch = match self.read(number) {
            Ok(kept) => kept.batch,
            Err(error) => return self.discard(number, &error),
        };
        if batch.scan.is_none() {
            return self.remove(number);
        }
        let stood = self.lost.get(&batch.source).copied();
        let earlier = match stood {
            Some(stood) => self.read(stood).ok().map(|kept| (kept.batch, kept.lost.unwrap_or(0))),
            None => None,
        };
        let (batch, count) = batch.lost(earlier);
        if count == 1 {
            tracing::warn!(source = %batch.source, "the buffer is full: the oldest scans are thrown away");
        }
        let source = batch.source.clone();
        // Under the number of the latest that it stands for: the server takes rising numbers only.
        self.put(number, &Kept { batch, lost: Some(count) })?;
        self.lost.insert(source, number);
        match stood {
            Some(stood) => self.remove(stood),
            None => Ok(()),
        }
    }

    fn path(&self, number: i64) -> PathBuf {
        self.folder.join(format!("{number:020}.json"))
    }

    fn read(&self, number: i64) -> io::Result<Kept> {
        serde_json::from_slice(&fs::read(self.path(number))?).map_err(io::Error::other)
    }

    fn put(&mut self, number: i64, kept: &Kept) -> io::Result<()> {
        let bytes = serde_json::to_vec(kept).map_err(io::Error::other)?;
        self.write(&format!("{number:020}.json"), &bytes)?;
        let before = self.files.insert(number, bytes.len() as u64).unwrap_or(0);
        self.bytes = self.bytes + bytes.len() as u64 - before;
        Ok(())
    }

    fn remove(&mut self, number: i64) -> io::Result<()> {
        if let Some(bytes) = self.files.remove(&number) {
            self.bytes -= bytes;
            fs::remove_file(self.path(number))?;
        }
        Ok(())
    }

    /// A damaged file says nothing, and must not hold up the others.
    fn discard(&mut self, number: i64, error: &io::Error) -> io::Result<()> {
        tracing::error!(file = %self.path(number).display(), %error, "a buffered report cannot be read and is set aside");
        if let Some(bytes) = self.files.remove(&number) {
            self.bytes -= bytes;
            fs::rename(self.path(number), self.path(number).with_extension("damaged"))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.folder.join(format!("{name}.part"));
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(part, self.folder.join(name))?;
        // The name is durable when its folder is.
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use sojourn_domain::presence::{Scan, ScanOutcome, SourceKind};

    use super::{super::batch::Sender, *};

    const START: Timestamp = Timestamp::from_secs(1_735_718_400);

    fn at(seconds: i64) -> Timestamp {
        START + Elapsed::from_secs(seconds)
    }

    fn batch(spool: &mut Spool, source: &str, seconds: i64) -> Batch {
        let number = spool.number(at(seconds)).unwrap();
        let sender = Sender {
            name: source.to_owned(),
            kind: SourceKind::Arp,
            strength: SourceKind::Arp.strength(),
            interval: Elapsed::from_secs(30),
        };
        let scan = Scan {
            started_at: at(seconds),
            finished_at: at(seconds + 1),
            outcome: ScanOutcome::Complete,
            scope: "x".repeat(200),
            covers: Vec::new(),
        };
        sender.batch(Some(number), Some(&scan), &[])
    }

    fn drain(spool: &mut Spool) -> Vec<Batch> {
        let mut all = Vec::new();
        while let Some((number, batch)) = spool.oldest().unwrap() {
            spool.done(number).unwrap();
            all.push(batch);
        }
        all
    }

    #[test]
    fn reports_outlive_the_process_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), SpoolLimits::default(), at(0)).unwrap();
        assert!(Spool::open(folder.path(), SpoolLimits::default(), at(0)).is_err(), "one process at a time");
        let sent: Vec<_> = (0..5).map(|n| batch(&mut spool, "a", n)).collect();
        for batch in &sent {
            spool.keep(batch.clone(), at(10)).unwrap();
        }
        fs::write(folder.path().join("00000000000000000001.json"), b"{half").unwrap();
        fs::write(folder.path().join("x.part"), b"").unwrap();
        drop(spool);
        let mut spool = Spool::open(folder.path(), SpoolLimits::default(), at(0)).unwrap();
        assert_eq!(spool.len(), 5, "the damaged file is set aside");
        assert_eq!(drain(&mut spool), sent);
        assert!(spool.is_empty());
    }

    #[test]
    fn numbers_rise_even_when_the_clock_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), SpoolLimits::default(), at(0)).unwrap();
        let first = spool.number(at(100)).unwrap();
        assert!(spool.number(at(50)).unwrap() > first);
        drop(spool);
        let mut spool = Spool::open(folder.path(), SpoolLimits::default(), at(-86_400)).unwrap();
        assert!(spool.number(at(-86_400)).unwrap() > first);
    }

    #[test]
    fn what_is_thrown_away_leaves_a_failed_scan_over_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { bytes: 3_000, age: Elapsed::from_secs(3600) };
        let mut spool = Spool::open(folder.path(), limits, at(0)).unwrap();
        let mut sent = Vec::new();
        for n in 0..20 {
            let batch = batch(&mut spool, if n % 2 == 0 { "a" } else { "b" }, n * 10);
            sent.push(batch.clone());
            spool.keep(batch, at(n * 10)).unwrap();
        }
        drop(spool);
        let mut spool = Spool::open(folder.path(), limits, at(200)).unwrap();
        assert!(spool.bytes <= 3_000);
        let kept = drain(&mut spool);
        let (lost, whole): (Vec<_>, Vec<_>) =
            kept.iter().partition(|batch| batch.scan.as_ref().is_some_and(|scan| scan.outcome == "failed"));
        assert_eq!(lost.len(), 2, "one a source");
        assert!(!whole.is_empty() && whole.iter().all(|batch| sent.contains(batch)));
        for batch in lost {
            let scan = batch.scan.as_ref().unwrap();
            let first = if batch.source == "a" { at(0) } else { at(10) };
            assert_eq!(scan.started_at, first.rfc3339());
            assert!(whole.iter().filter(|b| b.source == batch.source).all(|b| b.seq > batch.seq));
            assert!(scan.message.as_ref().unwrap().contains("thrown away"));
        }
        assert!(kept.is_sorted_by_key(|batch| batch.seq));
    }

    #[test]
    fn old_reports_are_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { bytes: 1 << 20, age: Elapsed::from_secs(60) };
        let mut spool = Spool::open(folder.path(), limits, at(0)).unwrap();
        for seconds in [0, 10, 100] {
            let batch = batch(&mut spool, "a", seconds);
            spool.keep(batch, at(seconds)).unwrap();
        }
        let outcomes: Vec<_> =
            drain(&mut spool).into_iter().map(|batch| batch.scan.unwrap().outcome).collect();
        assert_eq!(outcomes, ["failed", "complete"]);
    }
}
