//! What the tracker knows of a source: how far it has looked, and when it could not.

use std::collections::VecDeque;

use super::{Changes, QUIET, Random};
use crate::{
    id::{Id, SourceId},
    presence::{Gap, GapReason, Health, Scan, ScanOutcome, Scope, SourceKind, Strength, Subnet},
    time::{Elapsed, Timestamp},
};

/// Closed gaps that are kept in memory for each source; older ones stay in the store.
const GAPS_KEPT: usize = 64;
/// A source may be this late beyond three of its intervals before it counts as silent.
const SILENCE_SLACK: Elapsed = Elapsed::from_secs(5);

/// What someone decided about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    pub id: SourceId,
    pub name: String,
    pub kind: SourceKind,
    /// What its complete scans prove. A pusher's follows from what it reports.
    pub strength: Strength,
    pub interval: Elapsed,
    pub grace: Elapsed,
    /// A shorter grace, of the source or of a device, counts as this one.
    pub least_grace: Elapsed,
    pub enabled: bool,
    pub created_at: Timestamp,
}

/// A source and how far it has looked.
#[derive(Debug, Clone)]
pub struct SourceState {
    pub config: SourceConfig,
    pub scope: Scope,
    pub covers: Vec<Subnet>,
    /// Before this nobody looked: when it was added, or the first scan it told of.
    pub watching_since: Timestamp,
    pub health: Health,
    pub health_since: Timestamp,
    pub last_started: Option<Timestamp>,
    pub last_finished: Option<Timestamp>,
    pub last_seen_count: Option<i64>,
    /// How the scan that finished last ended, whatever became of the source since.
    pub last_outcome: Option<ScanOutcome>,
    /// When the last complete scan started, and the one before it.
    pub complete_at: Option<Timestamp>,
    pub previous_complete_at: Option<Timestamp>,
    /// When the last complete scan finished: until then the source is known to have seen.
    pub alive_at: Option<Timestamp>,
    /// The last batch that a numbering pusher had acknowledged.
    pub last_seq: i64,
    /// Closed gaps, oldest first.
    pub gaps: VecDeque<Gap>,
    pub open_gap: Option<Gap>,
}

impl SourceState {
    /// A source that was just added.
    pub fn new(config: SourceConfig) -> Self {
        let health = if config.enabled { Health::Waiting } else { Health::Stopped };
        Self {
            scope: Scope::new(),
            covers: Vec::new(),
            watching_since: config.created_at,
            health,
            health_since: config.created_at,
            last_started: None,
            last_finished: None,
            last_seen_count: None,
            last_outcome: None,
            complete_at: None,
            previous_complete_at: None,
            alive_at: None,
            last_seq: 0,
            gaps: VecDeque::new(),
            open_gap: None,
            config,
        }
    }

    /// Someone changed it.
    pub(super) fn configure(
        &mut self,
        config: SourceConfig,
        now: Timestamp,
        random: &mut Random,
        changes: &mut Changes,
    ) {
        let was_enabled = self.config.enabled;
        self.config = config;
        match (was_enabled, self.config.enabled) {
            (true, false) => {
                if self.alive_at.is_some() {
                    self.begin_gap(GapReason::NotRunning, "it was switched off", now, random, changes);
                }
                self.set_health(Health::Stopped, now, changes);
            }
            (false, true) => self.set_health(Health::Waiting, now, changes),
            (true, true) | (false, false) => {}
        }
        changes.sources.insert(self.config.id);
    }

    /// It completed its last scan, and nothing speaks against it since.
    pub fn sees(&self) -> bool {
        self.config.enabled && self.health == Health::Ok
    }

    /// A gap kept the source from noticing that a device left after `seen`: it had not been looked
    /// for twice when the gap began.
    pub(super) fn hides_leaving_after(&self, seen: Timestamp) -> Option<&'static str> {
        if seen < self.watching_since {
            return Some("was not looking yet");
        }
        self.gaps
            .iter()
            .find(|gap| {
                gap.before.is_none_or(|before| seen >= before) && gap.until.is_some_and(|until| seen < until)
            })
            .map(|gap| match gap.reason {
                GapReason::Failed => "failed",
                GapReason::Blind => "could not see",
                GapReason::NotRunning => "was not running",
            })
    }

    /// When the last gap ended.
    pub(super) fn sighted_since(&self) -> Timestamp {
        self.gaps.back().and_then(|gap| gap.until).unwrap_or(self.watching_since)
    }

    pub(super) fn covers(&self, ip: std::net::IpAddr) -> bool {
        self.covers.iter().any(|subnet| subnet.contains(ip))
    }

    /// Takes in how a scan ended. Returns whether it was complete and the newest so far.
    pub(super) fn finish(
        &mut self,
        scan: &Scan,
        seen: usize,
        now: Timestamp,
        random: &mut Random,
        changes: &mut Changes,
    ) -> bool {
        if !self.config.enabled {
            return false;
        }
        if self.last_started.is_some_and(|last| scan.started_at < last) {
            // Delivered out of order: what it saw was observed, its silence proves nothing now.
            return false;
        }
        changes.sources.extend(self.changed_visibly(scan).then_some(self.config.id));
        self.last_started = Some(scan.started_at);
        self.last_finished = Some(scan.finished_at);
        self.last_seen_count = Some(i64::try_from(seen).unwrap_or(i64::MAX));
        self.last_outcome = Some(scan.outcome.clone());
        match &scan.outcome {
            ScanOutcome::Complete => {
                if self.complete_at.is_none() {
                    self.watching_since = self.watching_since.min(scan.started_at);
                }
                self.scope.clone_from(&scan.scope);
                self.covers.clone_from(&scan.covers);
                self.end_gap(scan.started_at, changes);
                self.set_health(Health::Ok, now, changes);
                self.previous_complete_at = self.complete_at;
                self.complete_at = Some(scan.started_at);
                self.alive_at = Some(scan.finished_at);
                true
            }
            ScanOutcome::Failed { message } => {
                self.begin_gap(GapReason::Failed, message, now, random, changes);
                false
            }
            ScanOutcome::Blind { message } => {
                self.begin_gap(GapReason::Blind, message, now, random, changes);
                false
            }
        }
    }

    fn changed_visibly(&self, scan: &Scan) -> bool {
        self.last_started.is_none() || self.scope != scan.scope
    }

    /// Opens a gap when the source has been silent for too long.
    pub(super) fn notice_silence(&mut self, now: Timestamp, random: &mut Random, changes: &mut Changes) {
        let Some(alive_at) = self.alive_at else { return };
        let patience = match self.config.strength {
            Strength::Momentary => return,
            Strength::Listening if self.config.kind == SourceKind::Push => QUIET,
            Strength::Listening | Strength::Holding | Strength::Exhaustive => {
                Elapsed::from_micros(self.config.interval.as_micros().saturating_mul(3)) + SILENCE_SLACK
            }
        };
        if self.health == Health::Ok && now.since(alive_at) > patience {
            self.begin_gap(GapReason::NotRunning, "it has stopped reporting", now, random, changes);
        }
    }

    /// Whatever happened since the source was last known to see was not seen.
    pub(super) fn begin_gap(
        &mut self,
        reason: GapReason,
        message: &str,
        now: Timestamp,
        random: &mut Random,
        changes: &mut Changes,
    ) {
        self.set_health(Health::Gap(reason, message.to_owned()), now, changes);
        if let Some(gap) = &mut self.open_gap {
            if gap.reason != reason || gap.message != message {
                gap.reason = reason;
                message.clone_into(&mut gap.message);
                changes.gaps.insert(gap.id, (self.config.id, gap.clone()));
            }
            return;
        }
        let gap = Gap {
            id: Id::new(now, random()),
            from: self.alive_at.unwrap_or(self.config.created_at),
            until: None,
            before: self.previous_complete_at,
            reason,
            message: message.to_owned(),
        };
        changes.gaps.insert(gap.id, (self.config.id, gap.clone()));
        self.open_gap = Some(gap);
    }

    fn end_gap(&mut self, until: Timestamp, changes: &mut Changes) {
        let Some(mut gap) = self.open_gap.take() else { return };
        let until = until.max(gap.from);
        let interval_and_half = Elapsed::from_micros(self.config.interval.as_micros().saturating_mul(3) / 2);
        if gap.reason == GapReason::NotRunning && until.since(gap.from) <= interval_and_half {
            // No look was due in it: a quick restart, or reports that were merely late.
            changes.gaps.remove(&gap.id);
            changes.removed_gaps.insert(gap.id);
            return;
        }
        gap.until = Some(until);
        changes.gaps.insert(gap.id, (self.config.id, gap.clone()));
        self.gaps.push_back(gap);
        if self.gaps.len() > GAPS_KEPT {
            self.gaps.pop_front();
        }
    }

    pub(super) fn set_health(&mut self, health: Health, now: Timestamp, changes: &mut Changes) {
        if self.health != health {
            if self.health.key() != health.key() {
                self.health_since = now;
            }
            self.health = health;
            changes.sources.insert(self.config.id);
        }
    }
}
