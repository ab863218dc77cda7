//! Desktops' recordings as they are served: with a duration, and so that players can seek.
//!
//! What was recorded is never changed; the file that is served is made of it by a [`Plan`], which follows from the
//! recorded bytes alone. It is made once, before the recording leaves the spool, and kept beside the manifest, sealed with the
//! master key and bound to the recording's last frame. Where it is missing or not genuine it is made again: nothing depends on it.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use sojourn_domain::{
    id::AccessSessionId,
    seal::{Format, Hash, Manifest},
    webm::{Plan, Planner, Slice},
};

use super::{
    Core, RecordingError,
    reader::{Cursor, Reader},
};

/// Beside the manifest, for recordings in WebM.
pub(super) const PLAN: &str = "plan";

fn purpose(session: AccessSessionId, head: Hash) -> String {
    format!("recording plan:{session}:{head}")
}

impl Core {
    /// Makes the plan of a recording that is decided, and keeps it. `None` where the format needs none.
    pub(super) async fn keep_plan(&self, manifest: &Manifest) -> Result<Option<Plan>, RecordingError> {
        match manifest.format {
            Format::Cast => return Ok(None),
            Format::WebM => {}
        }
        let plan = self.make_plan(&self.decided_reader(manifest, &manifest.sealed_key)?).await?;
        let text = plan.encode().map_err(|error| RecordingError::Damaged(error.to_string()))?;
        let text = self.vault.seal(&purpose(manifest.session, manifest.head), text.as_bytes())?;
        self.objects.put(manifest.session, PLAN, text).await?;
        Ok(Some(plan))
    }

    /// The plan that is kept, else a new one.
    pub(super) async fn plan(&self, manifest: &Manifest, reader: &Reader) -> Result<Plan, RecordingError> {
        if let Some(kept) = self.objects.get(manifest.session, PLAN).await? {
            let opened = std::str::from_utf8(&kept)
                .ok()
                .and_then(|text| self.vault.unseal(&purpose(manifest.session, manifest.head), text).ok());
            let plan = opened
                .and_then(|secret| Plan::decode(std::str::from_utf8(secret.expose()).ok()?, manifest.bytes));
            if let Some(plan) = plan {
                return Ok(plan);
            }
            tracing::warn!(session.id = %manifest.session, "the plan of a recording is not the one that was kept");
        }
        self.make_plan(reader).await
    }

    async fn make_plan(&self, reader: &Reader) -> Result<Plan, RecordingError> {
        let mut planner = Planner::default();
        let mut bytes = std::pin::pin!(reader.recorded(0..reader.size));
        loop {
            match bytes.try_next().await {
                Ok(Some(piece)) => planner.feed(&piece),
                Ok(None) => break,
                // What cannot be decrypted is not planned around: whoever asks for it is told.
                Err(error @ (RecordingError::Seal(_) | RecordingError::Damaged(_))) => {
                    tracing::error!(%error, "a recording cannot be read to its end, and is served as it is");
                    return Ok(Plan::unchanged(reader.size));
                }
                Err(error) => return Err(error),
            }
        }
        match planner.finish() {
            Ok(plan) => Ok(plan),
            Err(error) => {
                tracing::info!(%error, "a recording is served as it is");
                Ok(Plan::unchanged(reader.size))
            }
        }
    }
}

/// Where a stream of a planned file is.
struct Planned {
    reader: Reader,
    plan: Arc<Plan>,
    range: Range<u64>,
    recorded: Option<Cursor>,
}

impl Planned {
    async fn next(&mut self) -> Result<Option<Bytes>, RecordingError> {
        loop {
            if let Some(recorded) = &mut self.recorded {
                if let Some(bytes) = recorded.next().await? {
                    self.range.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                self.recorded = None;
            }
            match self.plan.slices(self.range.clone()).next() {
                None => return Ok(None),
                Some(Slice::Made(bytes)) => {
                    self.range.start += bytes.len() as u64;
                    return Ok(Some(Bytes::from(bytes.into_owned())));
                }
                Some(Slice::Kept(range)) => {
                    let end = self.range.start + (range.end - range.start);
                    self.recorded = Some(Cursor::new(self.reader.clone(), range));
                    debug_assert!(end <= self.range.end, "a slice is within its range");
                }
            }
        }
    }
}

/// The bytes `range` of the file that the plan makes.
pub(super) fn planned(
    reader: Reader,
    plan: Arc<Plan>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, RecordingError>> + Send + use<> {
    let planned = Planned { reader, plan, range, recorded: None };
    stream::try_unfold(planned, |mut planned| async move {
        let next = planned.next().await?;
        Ok(next.map(|bytes| (bytes, planned)))
    })
}
