//! What is sent: one pass of one source, as `POST /presence/sightings` takes it.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    presence::{Evidence, Scan, ScanOutcome, Sighting, SourceKind, Strength},
    time::{Elapsed, Timestamp},
};

/// The server takes no more at once, and no longer texts.
pub(super) const MAX_SIGHTINGS: usize = 10_000;
const MAX_MESSAGE: usize = 500;
const MAX_SCOPE: usize = 200;

/// A report of one source. Times are RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    /// `SENSOR/arp:eth0`
    pub source: String,
    pub kind: String,
    /// What a complete scan proves, where the kind does not say it: `listening` for a neighbour table that is
    /// only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<String>,
    pub interval_seconds: i64,
    /// Rises with each report of a source; the server takes each once. Absent where a report that
    /// comes twice does no harm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// The sensor's clock when it is sent, by which the server may correct the other times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<BatchScan>,
    pub sightings: Vec<BatchSighting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchScan {
    pub started_at: String,
    pub finished_at: String,
    /// `complete`, `failed` or `blind`
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub covers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchSighting {
    pub mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// The text with its middle cut out where it is longer: what distinguishes names stands at the ends.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let (head, tail) = (limit / 2, limit - limit / 2 - 1);
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// Who reports.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub name: String,
    pub kind: SourceKind,
    pub strength: Strength,
    pub interval: Elapsed,
}

impl Sender {
    /// A report of what was seen, with the scan that saw it.
    pub(super) fn batch(&self, seq: Option<i64>, scan: Option<&Scan>, sightings: &[Sighting]) -> Batch {
        Batch {
            source: self.name.clone(),
            kind: self.kind.key().to_owned(),
            strength: (self.strength != self.kind.strength()).then(|| self.strength.key().to_owned()),
            interval_seconds: self.interval.as_secs(),
            seq,
            sent_at: None,
            scan: scan.map(BatchScan::new),
            sightings: sightings.iter().map(BatchSighting::new).collect(),
        }
    }
}

impl BatchScan {
    fn new(scan: &Scan) -> Self {
        let (outcome, message) = match &scan.outcome {
            ScanOutcome::Complete => ("complete", None),
            ScanOutcome::Failed { message } => ("failed", Some(message.clone())),
            ScanOutcome::Blind { message } => ("blind", Some(message.clone())),
        };
        Self {
            started_at: scan.started_at.rfc3339(),
            finished_at: scan.finished_at.rfc3339(),
            outcome: outcome.to_owned(),
            message: message.map(|message| shorten(&message, MAX_MESSAGE)),
            scope: shorten(&scan.scope, MAX_SCOPE),
            covers: scan.covers.iter().map(ToString::to_string).collect(),
        }
    }
}

impl BatchSighting {
    fn new(sighting: &Sighting) -> Self {
        let until = match sighting.evidence {
            Evidence::Held { until, .. } => Some(until.min(Timestamp::MAX).rfc3339()),
            Evidence::Seen { .. } | Evidence::Gone { .. } => None,
        };
        Self {
            mac: sighting.mac.to_string(),
            ip: sighting.ip.map(|ip| ip.to_string()),
            hostname: sighting.hostname.clone(),
            at: sighting.evidence.at().rfc3339(),
            until,
            gone: matches!(sighting.evidence, Evidence::Gone { .. }),
        }
    }
}

impl Batch {
    /// What stands for reports that had to be thrown away: a failed scan over their time.
    /// `earlier` is such a stand-in for reports before.
    pub(super) fn lost(self, earlier: Option<(Batch, u64)>) -> (Batch, u64) {
        let (started_at, count) = match &earlier {
            Some((batch, count)) => (batch.scan.as_ref().map(|scan| scan.started_at.clone()), count + 1),
            None => (None, 1),
        };
        let Batch { source, kind, strength, interval_seconds, seq, scan, .. } = self;
        let scan = scan.map(|scan| BatchScan {
            started_at: started_at.unwrap_or(scan.started_at),
            outcome: "failed".to_owned(),
            message: Some(format!(
                "the server could not be reached for so long that {count} scans of this sensor were thrown away"
            )),
            covers: Vec::new(),
            ..scan
        });
        (
            Batch {
                source,
                kind,
                strength,
                interval_seconds,
                seq,
                sent_at: None,
                scan,
                sightings: Vec::new(),
            },
            count,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Nudge, SourceSettings, SourceSpec};

    #[test]
    fn a_table_that_is_only_read_is_reported_as_a_listener() {
        for (nudge, strength) in [(Nudge::Off, Some("listening")), (Nudge::Known, None), (Nudge::All, None)] {
            let settings = SourceSettings { nudge: Some(nudge), ..SourceSettings::default() };
            let spec = SourceSpec::new(SourceKind::Neighbors, settings);
            let sender = Sender {
                name: "attic/neighbors".to_owned(),
                kind: spec.kind,
                strength: spec.strength(),
                interval: spec.interval,
            };
            let batch = serde_json::to_value(sender.batch(Some(1), None, &[])).unwrap();
            assert_eq!(batch["kind"], "neighbors");
            assert_eq!(batch.get("strength").and_then(serde_json::Value::as_str), strength);
        }
    }
}
