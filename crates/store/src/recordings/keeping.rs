//! How long recordings stay: retention by age and size, legal hold, purge, and what all of it takes up.

use std::sync::Arc;

use sojourn_domain::{
    id::AccessSessionId,
    time::{Elapsed, Timestamp},
};

use super::{
    Core, Pressure, RecordingError, Recordings, rows,
    sealing::chain,
    spool::{Phase, lock},
};
use crate::audit::{By, Deed};

/// Recordings that are looked at in one go.
const AT_ONCE: i64 = 200;

/// How long recordings are kept. Those under legal hold are, however long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeping {
    /// Since the recording's start.
    pub age: Option<Elapsed>,
    /// Bytes of all sealed recordings together; the oldest go first.
    pub bytes: Option<u64>,
}

/// What [`Recordings::keep`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    pub removed: u64,
    pub bytes: u64,
}

/// What recordings take up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorageReport {
    /// All that lies in the object store and the spool.
    pub bytes: u64,
    /// Of it in the object store, by the recording's state.
    pub sealed: u64,
    pub incomplete: u64,
    /// Segments of live recordings that are in the object store already.
    pub live: u64,
    /// This node's spool.
    pub spool: u64,
    /// In the object store, and belonging to no recording.
    pub stray: u64,
    pub recordings: u64,
    /// Free bytes of the fuller disk.
    pub free: u64,
    pub pressure: Option<Pressure>,
}

impl Recordings {
    /// Removes everything of a session's recording: data key, segments, manifest, spool, row. False where there is none.
    /// Who does it writes the audit entry, which stays.
    pub async fn purge(&self, session: AccessSessionId) -> Result<bool, RecordingError> {
        self.core.purge(session).await
    }

    /// Removes what is older or more than is kept, and what belongs to no session any more.
    pub async fn keep(&self, keeping: Keeping) -> Result<Kept, RecordingError> {
        let core = &self.core;
        let mut kept = Kept::default();
        for session in rows::orphans(&core.store).await? {
            core.purge(session).await?;
        }
        for row in rows::of_node(&core.store, &core.options.node, rows::PURGING).await? {
            core.purge_bytes(row.session).await?;
        }
        let now = core.options.clock.now();
        if let Some(age) = keeping.age {
            loop {
                let old = rows::oldest(&core.store, Some(now - age), AT_ONCE).await?;
                if old.is_empty() {
                    break;
                }
                for (session, bytes) in old {
                    core.retire(session, bytes, "age", now, &mut kept).await?;
                }
            }
        }
        if let Some(most) = keeping.bytes {
            let mut all: u64 = rows::totals(&core.store).await?.iter().map(|(_, _, bytes)| bytes).sum();
            while all > most {
                let old = rows::oldest(&core.store, None, AT_ONCE).await?;
                if old.is_empty() {
                    tracing::warn!(
                        bytes = all,
                        most,
                        "recordings under legal hold take up more than is kept"
                    );
                    break;
                }
                for (session, bytes) in old {
                    if all <= most {
                        break;
                    }
                    core.retire(session, bytes, "size", now, &mut kept).await?;
                    all = all.saturating_sub(bytes);
                }
            }
        }
        Ok(kept)
    }

    /// Counts what really lies there.
    pub async fn storage(&self) -> Result<StorageReport, RecordingError> {
        let core = &self.core;
        let mut report =
            StorageReport { pressure: Some(*core.pressure.borrow()), ..StorageReport::default() };
        let mut sizes = core.objects.sizes().await?;
        for (session, state) in rows::states(&core.store).await? {
            report.recordings += 1;
            let bytes = sizes.remove(&session).unwrap_or(0);
            match state.as_str() {
                "sealed" => report.sealed += bytes,
                "incomplete" => report.incomplete += bytes,
                "live" => report.live += bytes,
                _ => {
                    report.recordings -= 1;
                    report.stray += bytes;
                }
            }
        }
        report.stray += sizes.values().sum::<u64>();
        let room = core.room().await?;
        report.spool = room.spool_bytes;
        report.free = room.free_bytes;
        report.bytes = report.sealed + report.incomplete + report.live + report.stray + report.spool;
        Ok(report)
    }
}

impl Core {
    async fn retire(
        &self,
        session: AccessSessionId,
        bytes: u64,
        why: &str,
        now: Timestamp,
        kept: &mut Kept,
    ) -> Result<(), RecordingError> {
        match self.purge(session).await {
            Ok(_) => {}
            // Put under hold since the list was made.
            Err(RecordingError::Held) => return Ok(()),
            Err(error) => return Err(error),
        }
        let deed = Deed::done("recording.expire", session, serde_json::json!({"by": why, "bytes": bytes}));
        self.store.audit(&By::system(now), deed).await?;
        kept.removed += 1;
        kept.bytes += bytes;
        Ok(())
    }

    pub(super) async fn purge(&self, session: AccessSessionId) -> Result<bool, RecordingError> {
        let Some(row) = rows::get(&self.store, session).await? else { return Ok(false) };
        if rows::held(&self.store, session).await? == Some(true) {
            return Err(RecordingError::Held);
        }
        let live: Option<Arc<_>> = lock(&self.live).get(&session).cloned();
        if live.is_some_and(|live| *live.phase.borrow() == Phase::Writing) {
            return Err(RecordingError::Live);
        }
        if row.state == rows::LIVE && row.node != self.options.node {
            return Err(RecordingError::Live);
        }
        // Without its key the recording is gone for good, whatever happens to its bytes.
        rows::purging(&self.store, session).await?;
        self.purge_bytes(session).await?;
        Ok(true)
    }

    /// Removes the bytes of a recording whose row says so, and then the row.
    pub(super) async fn purge_bytes(&self, session: AccessSessionId) -> Result<(), RecordingError> {
        lock(&self.waiting).remove(&session);
        lock(&self.live).remove(&session);
        if let Err(error) = self.objects.remove(session).await {
            tracing::warn!(session.id = %session, error = %chain(&error), "a purged recording's bytes are still there");
            return Err(error);
        }
        self.forget_spool(session).await?;
        rows::purged(&self.store, session).await
    }
}
