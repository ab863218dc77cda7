//! `POST /presence/sightings`: what sensors and scripts report.

use axum::extract::{DefaultBodyLimit, Request};
use serde::{Deserialize, Serialize};
use sojourn_domain::{
    presence::{Evidence, Scan, ScanOutcome, Sighting, SourceKind, Strength, Subnet},
    time::{Elapsed, Timestamp},
};
use sojourn_sensor::{
    engine::PushBatch,
    imports::{self, ImportFormat},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::{
    http::{
        Routes,
        actor::{Allowed, may},
        extract::{self, Json, Query},
        problem::Problem,
        tracking,
        wire::{self, schema, sources::KindWire},
    },
    state::AppState,
};

const MAX_SIGHTINGS: usize = 10_000;
/// 10,000 sightings with long names.
const BODY_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// A file of another tool.
const IMPORT_LIMIT_BYTES: usize = 32 * 1024 * 1024;
/// A sender's clock may be so far ahead of ours before its times are corrected.
const CLOCK_TOLERANCE: Elapsed = Elapsed::from_secs(2);
/// A sender's clock may seem so far behind: a report that is repeated on the way through an outage
/// is old when it comes, and its times are right.
const TRANSIT_TOLERANCE: Elapsed = Elapsed::from_secs(60);
const MAX_NAME: usize = 64;
/// The longest name that DNS knows, and some.
const MAX_HOSTNAME: usize = 255;

pub(super) fn router() -> Routes {
    Routes::new()
        .merge(Routes::new().routes(routes!(sightings)).layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES)))
        .merge(Routes::new().routes(routes!(import)).layer(DefaultBodyLimit::max(IMPORT_LIMIT_BYTES)))
}

/// What a sensor or script reports at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Report {
    /// The source's name; an unknown one is added.
    #[schema(min_length = 1, max_length = 64)]
    source: String,
    /// What stands behind it; `push`, which means that a complete scan proves absence, unless said otherwise.
    kind: Option<KindWire>,
    /// What a complete scan without a device says of it; as `kind` has it unless said otherwise.
    strength: Option<StrengthWire>,
    /// How often it reports, so that its silence can be noticed.
    #[schema(minimum = 1, maximum = 86400)]
    interval_seconds: Option<f64>,
    /// Numbers the reports of a sender that repeats what was not acknowledged: an earlier number changes nothing.
    #[schema(minimum = 0)]
    seq: Option<i64>,
    /// The sender's time, by which its clock is corrected.
    #[schema(schema_with = schema::time, required = false)]
    sent_at: Option<String>,
    /// The scan that brought the sightings; without one they prove no absence.
    scan: Option<ScanReport>,
    #[schema(max_items = 10000)]
    sightings: Vec<SightingReport>,
}

/// What a complete scan without a device says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StrengthWire {
    /// It was asked and did not answer: it is absent when two scans and the grace period say so.
    Exhaustive,
    /// It was silent: only half an hour of silence counts.
    Listening,
    /// A lease runs, whether or not the device is there.
    Holding,
    /// Nothing.
    Momentary,
}

impl From<StrengthWire> for Strength {
    fn from(strength: StrengthWire) -> Self {
        match strength {
            StrengthWire::Exhaustive => Self::Exhaustive,
            StrengthWire::Listening => Self::Listening,
            StrengthWire::Holding => Self::Holding,
            StrengthWire::Momentary => Self::Momentary,
        }
    }
}

/// One pass of the source.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScanReport {
    #[schema(schema_with = schema::time)]
    started_at: String,
    #[schema(schema_with = schema::time)]
    finished_at: String,
    outcome: OutcomeReport,
    /// Why it failed.
    #[schema(max_length = 500)]
    message: Option<String>,
    /// What it looked at, for people.
    #[schema(max_length = 200)]
    scope: Option<String>,
    /// The subnets in which no device could hide from it.
    #[serde(default)]
    #[schema(max_items = 64)]
    covers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OutcomeReport {
    Complete,
    Failed,
    Blind,
}

/// A device was seen, or left.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SightingReport {
    #[schema(schema_with = schema::mac)]
    mac: String,
    #[schema(schema_with = schema::ip, required = false)]
    ip: Option<String>,
    /// What the device calls itself.
    #[schema(max_length = 255)]
    hostname: Option<String>,
    /// When; the end of the scan, else now, unless said otherwise.
    #[schema(schema_with = schema::time, required = false)]
    at: Option<String>,
    /// Until when it holds a lease.
    #[schema(schema_with = schema::time, required = false)]
    until: Option<String>,
    /// It said that it leaves.
    #[serde(default)]
    gone: bool,
}

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
struct Reported {
    /// Always `true`.
    success: bool,
    /// How many sightings were taken in.
    accepted: usize,
    /// The report had been taken in before; nothing changed.
    duplicate: bool,
}

/// Reads the times of a report by the sender's clock.
struct SendersTimes<'a> {
    state: &'a AppState,
    /// How much our clock is ahead of the sender's.
    ahead: Elapsed,
}

impl<'a> SendersTimes<'a> {
    fn new(state: &'a AppState, sent_at: Option<&str>, now: Timestamp) -> Result<Self, Problem> {
        let mut ahead = Elapsed::ZERO;
        if let Some(text) = sent_at {
            ahead = now.since(wire::time(state, "sentAt", text)?);
            if ahead >= Elapsed::ZERO - CLOCK_TOLERANCE && ahead <= TRANSIT_TOLERANCE {
                ahead = Elapsed::ZERO;
            }
        }
        Ok(Self { state, ahead })
    }

    fn read(&self, field: &str, text: &str) -> Result<Timestamp, Problem> {
        Ok(wire::time(self.state, field, text)? + self.ahead)
    }

    fn scan(&self, report: ScanReport) -> Result<Scan, Problem> {
        let mut covers = Vec::new();
        for (index, text) in report.covers.iter().enumerate() {
            let field = || format!("scan.covers[{index}]");
            covers
                .push(text.parse::<Subnet>().map_err(|error| Problem::invalid(field(), error.to_string()))?);
        }
        let message = wire::line("scan.message", report.message.unwrap_or_default(), 500)?;
        Ok(Scan {
            started_at: self.read("scan.startedAt", &report.started_at)?,
            finished_at: self.read("scan.finishedAt", &report.finished_at)?,
            outcome: match report.outcome {
                OutcomeReport::Complete => ScanOutcome::Complete,
                OutcomeReport::Failed => ScanOutcome::Failed { message },
                OutcomeReport::Blind => ScanOutcome::Blind { message },
            },
            scope: wire::line("scan.scope", report.scope.unwrap_or_default(), 200)?,
            covers,
        })
    }

    fn sighting(
        &self,
        index: usize,
        report: SightingReport,
        default: Timestamp,
    ) -> Result<Sighting, Problem> {
        let field = |name: &str| format!("sightings[{index}].{name}");
        let time =
            |name: &str, text: Option<&str>| text.map(|text| self.read(&field(name), text)).transpose();
        let mac = wire::device_mac(&field("mac"), &report.mac)?;
        let ip = report.ip.map(|text| text.parse()).transpose();
        let ip = ip.map_err(|_| Problem::invalid(field("ip"), "expected an IPv4 or IPv6 address"))?;
        let hostname = report.hostname.filter(|name| !name.is_empty());
        let hostname = hostname.map(|name| wire::line(&field("hostname"), name, MAX_HOSTNAME)).transpose()?;
        let at = time("at", report.at.as_deref())?.unwrap_or(default);
        let until = time("until", report.until.as_deref())?;
        let evidence = match (report.gone, until) {
            (true, Some(_)) => {
                return Err(Problem::invalid(
                    field("until"),
                    "what is gone holds no lease: send gone or until",
                ));
            }
            (true, None) => Evidence::Gone { at },
            (false, Some(until)) => Evidence::Held { at, until },
            (false, None) => Evidence::Seen { at },
        };
        Ok(Sighting { mac, ip, hostname, evidence })
    }
}

/// Report sightings
#[utoipa::path(
    post, path = "/presence/sightings", tag = "presence", operation_id = "report_sightings", request_body = Report,
    responses(
        (status = 200, body = Reported),
        (status = 409, description = "The source looks for itself, or is switched off",
         content_type = "application/problem+json", body = crate::http::problem::ProblemBody),
    )
)]
async fn sightings(
    Allowed { state, .. }: Allowed<may::PresenceManage>,
    Json(report): Json<Report>,
) -> Result<Json<Reported>, Problem> {
    if report.source.trim().is_empty() {
        return Err(Problem::invalid("source", "expected the source's name"));
    }
    if report.sightings.len() > MAX_SIGHTINGS {
        return Err(Problem::invalid("sightings", format!("expected at most {MAX_SIGHTINGS} sightings")));
    }
    if report.seq.is_some_and(|seq| seq < 0) {
        return Err(Problem::invalid("seq", "expected a whole number from 0"));
    }
    let interval =
        report.interval_seconds.map(|seconds| Elapsed::from_millis((seconds * 1000.0).round() as i64));
    if interval.is_some_and(|i| i < Elapsed::from_secs(1) || i > Elapsed::from_secs(86_400)) {
        return Err(Problem::invalid("intervalSeconds", "expected from 1 second to 86400"));
    }
    let now = state.now();
    let times = SendersTimes::new(&state, report.sent_at.as_deref(), now)?;
    let scan = report.scan.map(|scan| times.scan(scan)).transpose()?;
    let default = scan.as_ref().map_or(now, |scan| scan.finished_at);
    let mut sightings = Vec::with_capacity(report.sightings.len());
    for (index, sighting) in report.sightings.into_iter().enumerate() {
        sightings.push(times.sighting(index, sighting, default)?);
    }
    let batch = PushBatch {
        source: wire::line("source", report.source, MAX_NAME)?,
        kind: report.kind.map(Into::into),
        strength: report.strength.map(Into::into),
        interval,
        seq: report.seq,
        scan,
        sightings,
    };
    let reported = state.presence.report(batch).await?;
    Ok(Json(Reported { success: true, accepted: reported.accepted, duplicate: reported.duplicate }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// Found out from the content.
    #[default]
    Auto,
    ArpScan,
    /// XML, as `nmap -oX` writes it.
    Nmap,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    #[serde(default)]
    #[param(inline, required = false)]
    format: Format,
    /// The name of the source under which it is kept; `import` unless said otherwise.
    #[param(min_length = 1, max_length = 64)]
    source: Option<String>,
    /// When the tool ran, where its output does not say so; now unless said otherwise.
    #[param(schema_with = schema::time, required = false)]
    at: Option<String>,
}

/// What a file brought.
#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    /// Always `true`.
    success: bool,
    /// Hosts that were up.
    hosts: usize,
    /// Sightings taken in; hosts whose MAC address the tool did not learn bring none.
    sightings: usize,
}

/// Import the output of arp-scan or nmap
///
/// The body is the file, at most 32 MB.
#[utoipa::path(
    post, path = "/presence/import", tag = "presence", operation_id = "import_presence", params(ImportQuery),
    request_body(content = String, content_type = "text/plain"),
    responses(
        (status = 200, body = Imported),
        (status = 409, description = "The source looks for itself, or is switched off",
         content_type = "application/problem+json", body = crate::http::problem::ProblemBody),
    )
)]
async fn import(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Json<Imported>, Problem> {
    let source = wire::line("source", query.source.unwrap_or_else(|| "import".to_owned()), MAX_NAME)?;
    if source.trim().is_empty() {
        return Err(Problem::invalid("source", "expected the source's name"));
    }
    let at = query.at.as_deref().map(|text| wire::time(&state, "at", text)).transpose()?;
    let at = at.unwrap_or_else(|| state.now());
    let bytes = extract::body(request, &state).await?;
    let format = match query.format {
        Format::Auto => None,
        Format::ArpScan => Some(ImportFormat::ArpScan),
        Format::Nmap => Some(ImportFormat::Nmap),
    };
    // A large file keeps a core busy for a while.
    let read = tokio::task::spawn_blocking(move || imports::read(format, &bytes, at)).await;
    let found = read.map_err(|error| {
        tracing::error!(%error, "an import ended badly");
        Problem::internal()
    })?;
    let found = found.map_err(|error| Problem::invalid("body", error.to_string()))?;
    let hosts = found.hosts;
    let batch = PushBatch {
        source: source.clone(),
        kind: Some(SourceKind::Import),
        strength: None,
        interval: None,
        seq: None,
        scan: None,
        sightings: found.sightings,
    };
    let reported = state.presence.report(batch).await?;
    let detail = serde_json::json!({ "hosts": hosts, "sightings": reported.accepted });
    tracking::audit(&state, &actor, "presence.import", source, detail).await?;
    Ok(Json(Imported { success: true, hosts, sightings: reported.accepted }))
}
