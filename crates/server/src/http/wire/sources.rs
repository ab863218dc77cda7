//! Presence sources as they go over the wire.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    presence::{ScanOutcome, SourceKind},
    time::Elapsed,
};
use sojourn_sensor::sources::SourceSettings;
use sojourn_store::presence::sources::{Source, SourceGap};
use utoipa::ToSchema;

use super::Time;

/// How a source comes to know of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KindWire {
    Arp,
    Neighbors,
    Passive,
    DhcpLeases,
    Import,
    Push,
}

impl From<KindWire> for SourceKind {
    fn from(kind: KindWire) -> Self {
        match kind {
            KindWire::Arp => Self::Arp,
            KindWire::Neighbors => Self::Neighbors,
            KindWire::Passive => Self::Passive,
            KindWire::DhcpLeases => Self::DhcpLeases,
            KindWire::Import => Self::Import,
            KindWire::Push => Self::Push,
        }
    }
}

impl From<SourceKind> for KindWire {
    fn from(kind: SourceKind) -> Self {
        match kind {
            SourceKind::Arp => Self::Arp,
            SourceKind::Neighbors => Self::Neighbors,
            SourceKind::Passive => Self::Passive,
            SourceKind::DhcpLeases => Self::DhcpLeases,
            SourceKind::Import => Self::Import,
            SourceKind::Push => Self::Push,
        }
    }
}

/// What a source looks at; each kind has its own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettingsWire {
    /// `arp`, `neighbors`, `passive`: the interface; without it, every suitable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "eth0")]
    interface: Option<String>,
    /// `arp`, `neighbors`: look at this IPv4 range instead of the interface's own subnets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "192.168.1.0/24")]
    cidr: Option<String>,
    /// `dhcp-leases`: the lease file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/var/lib/misc/dnsmasq.leases")]
    path: Option<String>,
    /// `dhcp-leases`: whose file it is; without it, found out from the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    format: Option<String>,
    /// `neighbors`: whom to make the kernel ask: `all`, `known`, `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    nudge: Option<String>,
}

impl SettingsWire {
    /// The sensor knows which values make sense; it says what is wrong with them.
    pub fn read(&self) -> Result<SourceSettings, serde_json::Error> {
        serde_json::to_value(self).and_then(serde_json::from_value)
    }
}

/// How a source does.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthWire {
    status: StatusWire,
    since: Time,
    /// What is the matter, for people; may be empty.
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusWire {
    Ok,
    /// Its scan ended in an error.
    Failed,
    /// It runs and cannot see: no carrier, no right, an unreadable file.
    Blind,
    /// It has not finished its first scan.
    Waiting,
    /// It does not run, or is switched off.
    Stopped,
}

/// The last scan that finished.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScanWire {
    started_at: Time,
    finished_at: Time,
    outcome: ScanOutcomeWire,
    /// Devices seen.
    seen: i64,
    /// Why it did not complete, for people; else empty.
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ScanOutcomeWire {
    Complete,
    Failed,
    Blind,
}

/// A stretch in which a source could not see.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GapWire {
    source_id: String,
    source_name: String,
    from: Time,
    /// Null while it lasts.
    until: Option<Time>,
    reason: GapReasonWire,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum GapReasonWire {
    Failed,
    Blind,
    NotRunning,
}

impl From<SourceGap> for GapWire {
    fn from(gap: SourceGap) -> Self {
        use sojourn_domain::presence::GapReason;
        Self {
            source_id: gap.source.to_string(),
            source_name: gap.source_name,
            from: Time(gap.from),
            until: gap.until.map(Time),
            reason: match gap.reason {
                GapReason::Failed => GapReasonWire::Failed,
                GapReason::Blind => GapReasonWire::Blind,
                GapReason::NotRunning => GapReasonWire::NotRunning,
            },
            message: gap.message,
        }
    }
}

/// A presence source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceWire {
    id: String,
    name: String,
    kind: KindWire,
    enabled: bool,
    /// Chosen by the machine, not by a person.
    automatic: bool,
    settings: SettingsWire,
    /// From the start of one scan to the start of the next.
    interval_seconds: f64,
    grace_seconds: i64,
    /// What it looks at, for people.
    #[schema(example = "192.168.1.0/24 on eth0")]
    scope: String,
    health: HealthWire,
    last_scan: Option<ScanWire>,
    last_complete_at: Option<Time>,
    /// How many devices it knows.
    device_count: i64,
    /// The latest ones, newest first.
    gaps: Vec<GapWire>,
}

impl SourceWire {
    pub fn new(source: Source, gaps: Vec<SourceGap>) -> Self {
        let status = match source.health.as_str() {
            "ok" => StatusWire::Ok,
            "failed" => StatusWire::Failed,
            "blind" => StatusWire::Blind,
            "waiting" => StatusWire::Waiting,
            // `stopped`, and `not_running` until its first scan after a start.
            _ => StatusWire::Stopped,
        };
        let last_scan = match (source.last_started_at, source.last_finished_at, source.last_outcome) {
            (Some(started), Some(finished), Some(outcome)) => Some(ScanWire {
                started_at: Time(started),
                finished_at: Time(finished),
                outcome: match &outcome {
                    ScanOutcome::Complete => ScanOutcomeWire::Complete,
                    ScanOutcome::Failed { .. } => ScanOutcomeWire::Failed,
                    ScanOutcome::Blind { .. } => ScanOutcomeWire::Blind,
                },
                seen: source.last_seen_count.unwrap_or(0),
                message: outcome.message().to_owned(),
            }),
            _ => None,
        };
        Self {
            id: source.id.to_string(),
            name: source.name,
            kind: source.kind.into(),
            enabled: source.enabled,
            automatic: source.automatic,
            // What cannot be read is shown as nothing; the engine has logged why.
            settings: serde_json::from_str(&source.settings).unwrap_or_default(),
            interval_seconds: seconds(source.interval),
            grace_seconds: source.grace.as_secs(),
            scope: source.scope,
            health: HealthWire { status, since: Time(source.health_since), message: source.health_message },
            last_scan,
            last_complete_at: source.complete_at.map(Time),
            device_count: source.device_count,
            gaps: gaps.into_iter().map(GapWire::from).collect(),
        }
    }
}

fn seconds(length: Elapsed) -> f64 {
    length.as_millis() as f64 / 1000.0
}
