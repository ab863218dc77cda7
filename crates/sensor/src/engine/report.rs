//! What others report: a batch becomes sightings and a scan of a source that is made on demand.

use sojourn_domain::{
    presence::{Scan, ScanOutcome, SourceKind, Strength, tracker::DEFAULT_GRACE},
    time::{Elapsed, Timestamp},
};
use sojourn_store::presence::sources::{self, Named, NewSource, Source, SourceChange};

use super::{EngineError, PushBatch, Reported, actor::Actor};

/// How often a pusher that does not say so is expected to report.
const PUSH_INTERVAL: Elapsed = Elapsed::from_secs(60);
/// Reported times may be this far ahead of our clock.
const AHEAD: Elapsed = Elapsed::from_secs(5);

/// Why a report cannot be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("the source {0:?} looks for itself and takes no reports")]
    NotAPusher(String),
    #[error("the source {0:?} is switched off")]
    SwitchedOff(String),
    #[error("the scan ends before it starts")]
    Backwards,
    #[error("the reported time {at} lies in the future", at = .0.rfc3339())]
    Ahead(Timestamp),
}

impl Actor {
    pub(super) async fn report(&mut self, batch: PushBatch) -> Result<Reported, EngineError> {
        let now = self.now();
        check(&batch, now)?;
        let kind = if batch.kind == Some(SourceKind::Import) { SourceKind::Import } else { SourceKind::Push };
        let source = self.pusher(&batch, kind, now).await?;
        if let Some(interval) = batch.interval.filter(|interval| *interval != source.interval) {
            let set = SourceChange { interval: Some(interval), ..SourceChange::default() };
            sources::update(&self.store, source.id, &set).await?;
            self.sync_sources().await?;
        }
        self.describe(&source, &batch, now);
        if let (Some(seq), Some(state)) = (batch.seq, self.tracker.source(source.id))
            && seq <= state.last_seq
        {
            return Ok(Reported { accepted: 0, duplicate: true });
        }
        let accepted = batch.sightings.len();
        for sighting in &batch.sightings {
            self.observe(source.id, sighting).await?;
        }
        // What a sensor's source tells between its scans is no scan: in one, everybody else would be
        // absent. A script that never scans shows by its reports that it works.
        let between_scans = batch.scan.is_none()
            && batch.kind.is_some_and(|kind| !matches!(kind, SourceKind::Push | SourceKind::Import));
        if !between_scans {
            let scan = batch.scan.unwrap_or_else(|| Scan {
                started_at: now,
                finished_at: now,
                outcome: ScanOutcome::Complete,
                scope: "what is reported".to_owned(),
                covers: Vec::new(),
            });
            self.tracker.finish(source.id, &scan, accepted, now);
        }
        if let Some(seq) = batch.seq {
            self.tracker.acknowledge(source.id, seq);
        }
        self.save().await;
        Ok(Reported { accepted, duplicate: false })
    }

    /// The source that reports under this name; an unknown one is added without ending the
    /// automatic choice, because it looks from elsewhere.
    async fn pusher(
        &mut self,
        batch: &PushBatch,
        kind: SourceKind,
        now: Timestamp,
    ) -> Result<Source, EngineError> {
        if let Some(source) = sources::find_by_name(&self.store, &batch.source).await? {
            if !matches!(source.kind, SourceKind::Push | SourceKind::Import) {
                return Err(ReportError::NotAPusher(source.name).into());
            }
            if !source.enabled {
                return Err(ReportError::SwitchedOff(source.name).into());
            }
            return Ok(source);
        }
        let new = NewSource {
            id: self.entropy.id(now),
            name: batch.source.clone(),
            kind,
            settings: "{}".to_owned(),
            interval: batch.interval.unwrap_or(PUSH_INTERVAL),
            grace: DEFAULT_GRACE,
            automatic: true,
            now,
        };
        match sources::add(&self.store, &new).await? {
            Named::Done | Named::NameTaken | Named::Unknown => {}
        }
        self.sync_sources().await?;
        sources::find_by_name(&self.store, &batch.source)
            .await?
            .ok_or_else(|| ReportError::SwitchedOff(batch.source.clone()).into())
    }

    /// What its scans prove follows from what stands behind it.
    fn describe(&mut self, source: &Source, batch: &PushBatch, now: Timestamp) {
        let Some(state) = self.tracker.source(source.id) else { return };
        let mut config = state.config.clone();
        let kind = batch.kind.unwrap_or(SourceKind::Push);
        (config.strength, config.least_grace) = match (source.kind, &batch.scan) {
            (SourceKind::Import, _) => (Strength::Momentary, Elapsed::ZERO),
            (_, Some(_)) => (batch.strength.unwrap_or(kind.strength()), kind.least_grace()),
            // Loose sightings between scans change nothing.
            (_, None) => (config.strength, config.least_grace),
        };
        if config != state.config {
            self.tracker.configure_source(config, now);
        }
    }
}

fn check(batch: &PushBatch, now: Timestamp) -> Result<(), ReportError> {
    let latest = now + AHEAD;
    if let Some(scan) = &batch.scan {
        if scan.finished_at < scan.started_at {
            return Err(ReportError::Backwards);
        }
        if scan.finished_at > latest {
            return Err(ReportError::Ahead(scan.finished_at));
        }
    }
    match batch.sightings.iter().map(|sighting| sighting.evidence.at()).find(|at| *at > latest) {
        Some(at) => Err(ReportError::Ahead(at)),
        None => Ok(()),
    }
}
