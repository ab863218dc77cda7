//! What the API says of recordings.

use serde::Serialize;
use sojourn_domain::seal::Gap;
use sojourn_store::recordings::{Pressure, StorageReport, Verification};
use utoipa::ToSchema;

use super::Time;

/// A stretch that could not be recorded. Times are milliseconds since the recording's start.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Gap)]
pub struct GapBody {
    #[schema(minimum = 0)]
    pub from_ms: i64,
    /// `null` where nobody knows.
    pub to_ms: Option<i64>,
    /// Where in the recording, in bytes.
    #[schema(minimum = 0)]
    pub offset: u64,
    #[schema(pattern = "^(crash|disk_full|storage_failed|recorder_failed|spool_altered)$")]
    pub reason: &'static str,
    pub message: String,
}

impl From<Gap> for GapBody {
    fn from(gap: Gap) -> Self {
        Self {
            from_ms: gap.from_ms.max(0),
            to_ms: gap.to_ms,
            offset: gap.offset,
            reason: gap.reason.key(),
            message: gap.message,
        }
    }
}

/// What became of a check.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verification)]
pub struct VerificationBody {
    #[schema(pattern = "^(sealed|incomplete|live|altered|none)$")]
    pub status: &'static str,
    /// Nothing is altered.
    pub ok: bool,
    pub message: String,
    pub checked_at: Time,
    #[schema(minimum = 0)]
    pub frames: u64,
    #[schema(minimum = 0)]
    pub segments: u64,
    /// Of the recording, without encryption.
    #[schema(minimum = 0)]
    pub bytes: u64,
    pub gaps: Vec<GapBody>,
    /// Everything that is not as it was recorded.
    pub faults: Vec<String>,
    /// Base64 of the ed25519 key with which the manifest is signed.
    pub public_key: String,
    /// The hash of the last frame. Whoever keeps it can tell later that the recording is still the same.
    pub head: Option<String>,
}

impl From<Verification> for VerificationBody {
    fn from(found: Verification) -> Self {
        Self {
            status: found.status.key(),
            ok: found.ok(),
            message: found.message(),
            checked_at: Time(found.checked_at),
            frames: found.frames,
            segments: found.segments,
            bytes: found.bytes,
            faults: found.faults.iter().map(ToString::to_string).collect(),
            gaps: found.gaps.into_iter().map(GapBody::from).collect(),
            public_key: found.public_key.to_string(),
            head: found.head.map(|head| head.to_string()),
        }
    }
}

/// What recordings take up, in bytes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Storage {
    #[schema(minimum = 0)]
    pub bytes: u64,
    pub breakdown: StorageBreakdown,
    /// How many there are.
    #[schema(minimum = 0)]
    pub recordings: u64,
    /// Still free on the fuller of this server's disks.
    #[schema(minimum = 0)]
    pub free: u64,
    #[schema(pattern = "^(normal|warn|refuse_new|end_mandatory)$")]
    pub pressure: &'static str,
}

/// What [`Storage::bytes`] is the sum of.
#[derive(Debug, Serialize, ToSchema)]
pub struct StorageBreakdown {
    #[schema(minimum = 0)]
    pub sealed: u64,
    #[schema(minimum = 0)]
    pub incomplete: u64,
    /// Of live recordings, in the object store already.
    #[schema(minimum = 0)]
    pub live: u64,
    /// On this server's disk, before it is sealed.
    #[schema(minimum = 0)]
    pub spool: u64,
    /// In the object store, and belonging to no recording.
    #[schema(minimum = 0)]
    pub stray: u64,
}

impl From<StorageReport> for Storage {
    fn from(report: StorageReport) -> Self {
        Self {
            bytes: report.bytes,
            breakdown: StorageBreakdown {
                sealed: report.sealed,
                incomplete: report.incomplete,
                live: report.live,
                spool: report.spool,
                stray: report.stray,
            },
            recordings: report.recordings,
            free: report.free,
            pressure: report.pressure.unwrap_or(Pressure::Normal).key(),
        }
    }
}
