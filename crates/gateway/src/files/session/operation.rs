//! One operation under way: it has its place in the journal and leaves exactly one event, however it ends.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sojourn_domain::{
    files::{Denial, Fact, FileAction, FileOutcome},
    time::Elapsed,
};
use tokio::{sync::mpsc::OwnedPermit, time::Instant};

use super::{
    FileError,
    hash::InOrder,
    journal::{FileEnded, FileJournal, Shared, lock},
};
use crate::files::{FsError, RemotePath};

/// From here on a transfer is kept at once, lest a server that dies takes it along untold.
const LARGE: u64 = 64 * 1024;

/// Whether a transfer has moved so much that it is kept at once.
pub(super) fn is_large(fact: &Fact) -> bool {
    fact.bytes.is_some_and(|bytes| bytes >= LARGE)
}

/// What is known of an operation so far, and its place in the journal.
#[derive(Debug)]
pub(super) struct Pending {
    place: OwnedPermit<Fact>,
    fact: Fact,
    begun: Instant,
    /// From the file's beginning on.
    hash: Option<InOrder>,
}

impl Pending {
    fn send(mut self, shared: &Shared) {
        let duration = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.fact.duration = Elapsed::from_micros(duration);
        shared.touch();
        // The place was kept: this waits for nobody.
        self.place.send(self.fact);
    }

    /// A transfer, as far as it has come.
    pub(super) fn moving(&self) -> Option<Fact> {
        self.fact.bytes?;
        let duration = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        Some(Fact { duration: Elapsed::from_micros(duration), ..self.fact.clone() })
    }

    /// Cut off: by the end of the session, or by whoever wanted it.
    pub(super) fn interrupted(mut self, shared: &Shared) {
        self.fact.outcome = FileOutcome::Interrupted;
        self.fact.error = match shared.ending() {
            Some(FileEnded { reason, detail }) if detail.is_empty() => format!("the session ended: {reason}"),
            Some(FileEnded { detail, .. }) => detail,
            None => "it was cut off".to_owned(),
        };
        self.send(shared);
    }
}

/// Dropped, the operation was interrupted.
#[derive(Debug)]
pub(super) struct Operation {
    journal: FileJournal,
    key: u64,
    pending: Arc<Mutex<Option<Pending>>>,
}

impl Drop for Operation {
    fn drop(&mut self) {
        let pending = lock(&self.pending).take();
        self.journal.shared().let_go(self.key);
        if let Some(pending) = pending {
            pending.interrupted(self.journal.shared());
        }
    }
}

impl Operation {
    /// Takes a place in the journal; waits while the store is behind.
    pub(super) async fn begin(
        journal: &FileJournal,
        action: FileAction,
        path: &RemotePath,
        new_path: Option<&RemotePath>,
    ) -> Result<Self, FileEnded> {
        let place = journal.place().await?;
        let mut fact = Fact::new(action, path.display(), journal.now());
        fact.new_path = new_path.map(RemotePath::display);
        journal.shared().touch();
        let pending = Pending { place, fact, begun: Instant::now(), hash: None };
        let pending = Arc::new(Mutex::new(Some(pending)));
        let key = journal.shared().keep(&pending);
        let operation = Self { journal: journal.clone(), key, pending };
        match journal.is_ended() {
            None => Ok(operation),
            // It was ended at this very moment: nothing was begun, and nothing is to be told.
            Some(ended) => {
                lock(&operation.pending).take();
                Err(ended)
            }
        }
    }

    pub(super) fn journal(&self) -> &FileJournal {
        &self.journal
    }

    pub(super) fn know(&self, learn: impl FnOnce(&mut Fact)) {
        if let Some(pending) = lock(&self.pending).as_mut() {
            learn(&mut pending.fact);
        }
    }

    /// A transfer that begins at `offset`.
    pub(super) fn moves_from(&self, offset: u64) {
        if let Some(pending) = lock(&self.pending).as_mut() {
            pending.fact.bytes = Some(0);
            pending.fact.offset = offset;
            pending.hash = (offset == 0).then(InOrder::default);
        }
    }

    /// So many bytes of a transfer are there where they were to go.
    pub(super) fn moved(&self, length: u64, up: bool) {
        self.journal.shared().touch();
        self.journal.shared().count(if up { length } else { 0 }, if up { 0 } else { length });
        let mut grown = false;
        self.know(|fact| {
            let before = is_large(fact);
            *fact.bytes.get_or_insert(0) += length;
            grown = !before && is_large(fact);
        });
        if grown {
            self.journal.shared().has_large();
        }
    }

    /// Bytes went past that stand at `offset` in the file.
    pub(super) fn passed(&self, offset: u64, bytes: &Bytes) {
        let mut pending = lock(&self.pending);
        let Some(pending) = pending.as_mut() else { return };
        match &mut pending.hash {
            Some(hash) if hash.bytes() == offset => hash.pass(bytes),
            Some(_) => pending.hash = None,
            None => {}
        }
    }

    /// Until where the file went through in order from its beginning.
    pub(super) fn in_order(&self) -> Option<u64> {
        lock(&self.pending).as_ref().and_then(|pending| pending.hash.as_ref()).map(InOrder::bytes)
    }

    /// The hash of what went through, where that is the file's first `length` bytes in order.
    pub(super) fn hash_so_far(&self, length: u64) -> Option<String> {
        let mut pending = lock(&self.pending);
        let hash = pending.as_mut()?.hash.as_mut().filter(|hash| hash.bytes() == length)?;
        Some(HEXLOWER.encode(hash.digest()?.as_ref()))
    }

    /// It went well. `whole`: the file is what went through in order. Says its hash.
    pub(super) fn done(self, whole: bool) -> Option<String> {
        let mut pending = lock(&self.pending).take()?;
        let hash = pending.hash.take().filter(|_| whole).and_then(|mut hash| hash.digest());
        let hash = hash.map(|hash| HEXLOWER.encode(hash.as_ref()));
        pending.fact.sha256.clone_from(&hash);
        pending.send(self.journal.shared());
        hash
    }

    /// It came to nothing, and another operation takes its place.
    pub(super) fn forget(self) {
        lock(&self.pending).take();
    }

    pub(super) fn denied(self, denial: Denial) -> FileError {
        if let Some(mut pending) = lock(&self.pending).take() {
            pending.fact.outcome = FileOutcome::Denied;
            pending.fact.error = denial.to_string();
            pending.send(self.journal.shared());
        }
        FileError::Denied(denial)
    }

    pub(super) fn failed(self, error: FsError) -> FileError {
        if let Some(mut pending) = lock(&self.pending).take() {
            let cut = error.is_lost();
            let moving = pending.fact.bytes.is_some_and(|bytes| bytes > 0);
            pending.fact.outcome = if cut && moving { FileOutcome::Interrupted } else { FileOutcome::Failed };
            pending.fact.error = error.to_string();
            pending.send(self.journal.shared());
        }
        FileError::Target(error)
    }

    pub(super) fn refused(self, refused: FileError) -> FileError {
        match refused {
            FileError::Denied(denial) => self.denied(denial),
            FileError::Target(error) => self.failed(error),
            // Its event was made when the session ended.
            FileError::Ended(ended) => FileError::Ended(ended),
        }
    }

    /// Does it, unless the session ends meanwhile.
    pub(super) async fn race<T>(
        &self,
        work: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FileError> {
        tokio::select! {
            biased;
            ended = self.journal.ended() => Err(FileError::Ended(ended)),
            done = work => done.map_err(FileError::Target),
        }
    }

    /// Does it and says how it went.
    pub(super) async fn run<T>(self, work: impl Future<Output = Result<T, FsError>>) -> Result<T, FileError> {
        match self.race(work).await {
            Ok(value) => {
                self.done(false);
                Ok(value)
            }
            Err(refused) => Err(self.refused(refused)),
        }
    }
}
