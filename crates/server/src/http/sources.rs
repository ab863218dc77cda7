//! Presence sources: health, settings, test and scan.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sojourn_domain::{id::SourceId, presence::tracker::DEFAULT_GRACE, time::Elapsed};
use sojourn_sensor::{interfaces, sources::SourceSpec};
use sojourn_store::presence::sources::{self, Named, NewSource, Source, SourceChange};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Path},
    problem::Problem,
    tracking,
    wire::{
        self,
        sources::{KindWire, SettingsWire, SourceWire},
        values::Done,
    },
};
use crate::state::AppState;

/// Gaps that a source is listed with.
const GAPS: u32 = 20;
const MAX_NAME: usize = 64;
const MAX_GRACE: Elapsed = Elapsed::from_minutes(30 * 24 * 60);

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(update, delete))
        .routes(routes!(test))
        .routes(routes!(scan))
}

/// What the machine allows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Rights {
    /// Raw sockets may be opened, which ARP scans and listening need.
    raw_sockets: bool,
}

/// All sources.
#[derive(Debug, Serialize, ToSchema)]
struct SourceList {
    sources: Vec<SourceWire>,
    /// The machine chooses its sources itself.
    automatic: bool,
    rights: Rights,
    /// What more could be seen and how, in sentences for people.
    suggestions: Vec<String>,
}

/// List sources
#[utoipa::path(get, path = "/sources", tag = "sources", operation_id = "list_sources", responses((status = 200, body = SourceList)))]
async fn list(Allowed { state, .. }: Allowed<may::PresenceView>) -> Result<Json<SourceList>, Problem> {
    let mut found = Vec::new();
    for source in sources::all(&state.store).await? {
        found.push(whole(&state, source).await?);
    }
    let rights = interfaces::rights();
    let suggestions = match interfaces::list().await {
        Ok(interfaces) if state.config.local_sources => {
            sojourn_sensor::sources::automatic(rights, &interfaces).suggestions
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "cannot list the network interfaces");
            Vec::new()
        }
    };
    Ok(Json(SourceList {
        sources: found,
        automatic: state.config.local_sources && sources::automatic(&state.store).await?,
        rights: Rights { raw_sockets: rights.raw_sockets },
        suggestions,
    }))
}

/// A source with its latest gaps.
pub(super) async fn whole(state: &AppState, source: Source) -> Result<SourceWire, Problem> {
    let gaps = sources::gaps_of(&state.store, source.id, GAPS).await?;
    Ok(SourceWire::new(source, gaps))
}

/// A source to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSourceBody {
    kind: KindWire,
    /// Kind and settings unless said otherwise.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    #[serde(default)]
    settings: SettingsWire,
    /// From the start of one scan to the start of the next; 30 unless said otherwise.
    #[schema(minimum = 1, maximum = 86400)]
    interval_seconds: Option<f64>,
    /// How long a device may be unseen; 120 unless said otherwise. `neighbors` takes less than 90 for 90: the
    /// kernel believes a neighbour that long before it asks again.
    #[schema(minimum = 0, maximum = 2592000)]
    grace_seconds: Option<i64>,
}

/// What to change of a source; what is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceSet {
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    settings: Option<SettingsWire>,
    #[schema(minimum = 1, maximum = 86400)]
    interval_seconds: Option<f64>,
    #[schema(minimum = 0, maximum = 2592000)]
    grace_seconds: Option<i64>,
    enabled: Option<bool>,
}

fn name(text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::invalid("name", "expected a name"));
    }
    wire::line("name", text, MAX_NAME)
}

/// To the millisecond; whether it makes sense is for the specification to say.
fn interval(seconds: f64) -> Elapsed {
    // Saturates, and what is no number is zero.
    Elapsed::from_millis((seconds * 1000.0).round() as i64)
}

fn grace(seconds: i64) -> Result<Elapsed, Problem> {
    let grace = Elapsed::from_secs(seconds);
    if grace < Elapsed::ZERO || grace > MAX_GRACE {
        let message = format!("expected whole seconds from 0 to {}", MAX_GRACE.as_secs());
        return Err(Problem::invalid("graceSeconds", message));
    }
    Ok(grace)
}

/// What the settings say to do, if that makes sense.
fn spec(
    kind: sojourn_domain::presence::SourceKind,
    settings: &SettingsWire,
    interval: Option<Elapsed>,
) -> Result<SourceSpec, Problem> {
    let settings = settings.read().map_err(|error| Problem::invalid("settings", error.to_string()))?;
    let mut spec = SourceSpec::new(kind, settings);
    spec.interval = interval.unwrap_or(spec.interval);
    spec.validate().map_err(|error| {
        let place = if error.field == "intervalSeconds" { "" } else { "settings." };
        Problem::invalid(format!("{place}{}", error.field), error.message)
    })?;
    Ok(spec)
}

fn settings_text(spec: &SourceSpec) -> Result<String, Problem> {
    serde_json::to_string(&spec.settings).map_err(|error| {
        tracing::error!(%error, "settings of a source could not be written");
        Problem::internal()
    })
}

fn name_taken(name: &str) -> Problem {
    Problem::conflict("source_name_taken", format!("another source is called {name:?}"))
}

/// Add a source
///
/// A source that is added by hand ends the automatic choice.
#[utoipa::path(
    post, path = "/sources", tag = "sources", operation_id = "create_source", request_body = NewSourceBody,
    responses(
        (status = 201, body = SourceWire),
        (status = 409, description = "Another source has the name", content_type = "application/problem+json",
         body = super::problem::ProblemBody),
    )
)]
async fn create(
    Allowed { state, actor, .. }: Allowed<may::SettingsManage>,
    Json(body): Json<NewSourceBody>,
) -> Result<(StatusCode, Json<SourceWire>), Problem> {
    let spec = spec(body.kind.into(), &body.settings, body.interval_seconds.map(interval))?;
    let now = state.now();
    let new = NewSource {
        id: state.entropy.id(now),
        name: match body.name {
            Some(text) => name(text)?,
            None => spec.default_name(),
        },
        kind: spec.kind,
        settings: settings_text(&spec)?,
        interval: spec.interval,
        grace: body.grace_seconds.map(grace).transpose()?.unwrap_or(DEFAULT_GRACE),
        automatic: false,
        now,
    };
    let (id, name) = (new.id, new.name.clone());
    let detail = serde_json::json!({ "name": name, "kind": spec.kind.key(), "settings": spec.settings });
    match state.presence.add_source(new).await? {
        Named::Done => {}
        Named::NameTaken | Named::Unknown => return Err(name_taken(&name)),
    }
    tracking::audit(&state, &actor, "source.create", id, detail).await?;
    Ok((StatusCode::CREATED, Json(find(&state, id).await?)))
}

async fn find(state: &AppState, id: SourceId) -> Result<SourceWire, Problem> {
    let source = sources::find(&state.store, id).await?.ok_or_else(|| unknown(&id.to_string()))?;
    whole(state, source).await
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format_args!("source {:?}", id.chars().take(64).collect::<String>()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct SourcePath {
    id: String,
}

impl SourcePath {
    fn id(&self) -> Result<SourceId, Problem> {
        self.id.parse().map_err(|_| unknown(&self.id))
    }
}

/// Change a source
#[utoipa::path(
    patch, path = "/sources/{id}", tag = "sources", operation_id = "update_source", params(SourcePath), request_body = SourceSet,
    responses(
        (status = 200, body = SourceWire),
        (status = 409, description = "Another source has the name", content_type = "application/problem+json",
         body = super::problem::ProblemBody),
    )
)]
async fn update(
    Allowed { state, actor, .. }: Allowed<may::SettingsManage>,
    Path(path): Path<SourcePath>,
    Json(body): Json<SourceSet>,
) -> Result<Json<SourceWire>, Problem> {
    let id = path.id()?;
    let source = sources::find(&state.store, id).await?.ok_or_else(|| unknown(&path.id))?;
    let interval = body.interval_seconds.map(interval);
    let settings = match (&body.settings, interval) {
        (Some(settings), _) => Some(settings_text(&spec(source.kind, settings, interval)?)?),
        (None, Some(_)) => {
            // Settings that were stored make sense; only the interval is to be checked.
            let stored = serde_json::from_str(&source.settings).unwrap_or_default();
            spec(source.kind, &stored, interval)?;
            None
        }
        (None, None) => None,
    };
    let change = SourceChange {
        name: body.name.map(name).transpose()?,
        settings,
        interval,
        grace: body.grace_seconds.map(grace).transpose()?,
        enabled: body.enabled,
    };
    let detail = serde_json::json!({
        "name": change.name, "settings": change.settings, "intervalSeconds": body.interval_seconds,
        "graceSeconds": body.grace_seconds, "enabled": change.enabled,
    });
    let new_name = change.name.clone();
    match state.presence.update_source(id, change).await? {
        Named::Done => {}
        Named::NameTaken => return Err(name_taken(new_name.as_deref().unwrap_or(&source.name))),
        Named::Unknown => return Err(unknown(&path.id)),
    }
    tracking::audit(&state, &actor, "source.update", id, detail).await?;
    Ok(Json(find(&state, id).await?))
}

/// Remove a source
///
/// Its gaps stay in the history.
#[utoipa::path(
    delete, path = "/sources/{id}", tag = "sources", operation_id = "delete_source", params(SourcePath),
    responses((status = 200, body = Done))
)]
async fn delete(
    Allowed { state, actor, .. }: Allowed<may::SettingsManage>,
    Path(path): Path<SourcePath>,
) -> Result<Json<Done>, Problem> {
    let id = path.id()?;
    if !state.presence.remove_source(id).await? {
        return Err(unknown(&path.id));
    }
    tracking::audit(&state, &actor, "source.delete", id, serde_json::json!({})).await?;
    Ok(Json(Done::OK))
}

/// What trying a source out brought.
#[derive(Debug, Serialize, ToSchema)]
struct Tested {
    ok: bool,
    /// What came of it, for people.
    message: String,
    /// Devices seen.
    seen: usize,
}

/// Try a source out
///
/// Makes one scan beside the source's schedule, and changes nothing.
#[utoipa::path(
    post, path = "/sources/{id}/test", tag = "sources", operation_id = "test_source", params(SourcePath),
    responses((status = 200, body = Tested))
)]
async fn test(
    Allowed { state, .. }: Allowed<may::SettingsManage>,
    Path(path): Path<SourcePath>,
) -> Result<Json<Tested>, Problem> {
    let report = state.presence.test_source(path.id()?).await?.ok_or_else(|| unknown(&path.id))?;
    Ok(Json(Tested { ok: report.ok, message: report.message, seen: report.seen }))
}

/// Scan now
///
/// The scan runs by itself; what it brings is told as that of any other scan.
#[utoipa::path(
    post, path = "/sources/{id}/scan", tag = "sources", operation_id = "scan_source", params(SourcePath),
    responses(
        (status = 202, description = "The scan starts", body = Done),
        (status = 409, description = "The source does not run here", content_type = "application/problem+json",
         body = super::problem::ProblemBody),
    )
)]
async fn scan(
    Allowed { state, .. }: Allowed<may::SettingsManage>,
    Path(path): Path<SourcePath>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let id = path.id()?;
    if sources::find(&state.store, id).await?.is_none() {
        return Err(unknown(&path.id));
    }
    if !state.presence.scan_now(id).await? {
        return Err(Problem::conflict("source_not_running", "the source does not run on this server"));
    }
    Ok((StatusCode::ACCEPTED, Json(Done::OK)))
}
