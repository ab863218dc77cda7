//! `sojourn source`.
//!
//! Works through the database: a running server notices what changed within seconds.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use sojourn_domain::{
    identity::Line,
    presence::{SourceKind, Subnet, tracker::DEFAULT_GRACE},
    time::{Clock as _, Elapsed, Timestamp},
};
use sojourn_sensor::{
    leases::LeaseFormat,
    sources::{self as sensors, SourceSettings, SourceSpec},
};
use sojourn_store::{
    Entropy, Store, SystemClock,
    audit::{By, Deed},
    presence::sources::{self, Named, NewSource, Source as Stored},
};

use super::{Place, Usage, print, print_json, table};

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// Add a source; one that looks for itself switches the automatic choice off
    Add(Add),
    /// List sources with their health
    List(List),
    /// Look once, as the source would, and say what came of it
    Test(Test),
    /// Take a source out of service; the gaps it left stay in the history
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// arp, neighbors, passive, dhcp-leases or push
    kind: SourceKind,
    /// [default: kind and settings]
    #[arg(long, value_name = "NAME")]
    name: Option<Line<64>>,
    /// Where to look [default: every suitable one]
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Look at this IPv4 range instead of the interface's own subnets
    #[arg(long, value_name = "CIDR")]
    cidr: Option<Subnet>,
    /// The lease file
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Whose lease file it is [default: found out from its content]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// From the start of one scan to the start of the next [default: 30s]
    #[arg(long, value_name = "DURATION")]
    interval: Option<Elapsed>,
    /// How long a device may be unseen before it is absent [default: 2m]
    #[arg(long, value_name = "DURATION")]
    grace: Option<Elapsed>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// A source's name, or its id as `source list` prints it
    source: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// A source's name, or its id as `source list` prints it
    source: String,
    #[command(flatten)]
    place: Place,
}

impl Source {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run().await,
            Self::List(list) => list.run().await,
            Self::Test(test) => test.run().await,
            Self::Remove(remove) => remove.run().await,
        }
    }
}

impl Add {
    /// What was asked for, where it makes sense.
    fn spec(&self) -> anyhow::Result<SourceSpec> {
        let format: Option<LeaseFormat> = match &self.format {
            Some(text) => {
                Some(serde_json::from_value(json!(text)).with_context(|| format!("--format {text:?}"))?)
            }
            None => None,
        };
        let path = match &self.path {
            Some(path) => {
                Some(std::path::absolute(path).with_context(|| format!("--path {}", path.display()))?)
            }
            None => None,
        };
        let settings = SourceSettings {
            interface: self.interface.clone(),
            cidr: self.cidr,
            path,
            format,
            ..SourceSettings::default()
        };
        let mut spec = SourceSpec::new(self.kind, settings);
        spec.interval = self.interval.unwrap_or(spec.interval);
        spec.validate().with_context(|| format!("add a source of kind {}", self.kind))?;
        if self.kind == SourceKind::Import {
            bail!("add a source of kind import: files are imported with `sojourn import` or the API");
        }
        Ok(spec)
    }

    async fn run(self) -> anyhow::Result<()> {
        let spec = self.spec().map_err(Usage)?;
        let store = self.place.open().await?;
        let now = SystemClock.now();
        let new = NewSource {
            id: Entropy.id(now),
            name: self.name.map_or_else(|| spec.default_name(), Line::into_string),
            kind: spec.kind,
            settings: serde_json::to_string(&spec.settings)?,
            interval: spec.interval,
            grace: self.grace.unwrap_or(DEFAULT_GRACE),
            automatic: false,
            now,
        };
        match sources::add(&store, &new).await.context("add the source")? {
            Named::Done => {}
            Named::NameTaken | Named::Unknown => bail!("another source is called {:?}", new.name),
        }
        let detail = json!({ "name": new.name, "kind": new.kind.key(), "settings": spec.settings });
        let deed = Deed::done("source.create", new.id, detail);
        store.audit(&By::cli(now), deed).await.context("write the audit trail")?;
        let added = find(&store, &new.id.to_string()).await?;
        store.close().await;
        if self.json { print_json(&shown(&added)) } else { print(&format!("{}\n", added.id)) }
    }
}

/// The source with this id or name.
async fn find(store: &Store, text: &str) -> anyhow::Result<Stored> {
    let found = match text.parse() {
        Ok(id) => sources::find(store, id).await,
        Err(_) => sources::find_by_name(store, text).await,
    };
    found.context("find the source")?.with_context(|| format!("there is no source {text:?}"))
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let found = sources::all(&store).await.context("list sources")?;
        store.close().await;
        if self.json {
            return print_json(&json!({ "sources": found.iter().map(shown).collect::<Vec<_>>() }));
        }
        let rows = found.into_iter().map(|source| {
            let health = match source.health_message.as_str() {
                "" => source.health,
                message => format!("{}: {message}", source.health),
            };
            [
                source.id.to_string(),
                source.name,
                source.kind.to_string(),
                if source.enabled { "on" } else { "off" }.to_owned(),
                source.scope,
                source.device_count.to_string(),
                health,
            ]
        });
        print(&table(["ID", "NAME", "KIND", "RUNS", "SCOPE", "DEVICES", "HEALTH"], rows))
    }
}

impl Test {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let source = find(&store, &self.source).await?;
        store.close().await;
        let settings = serde_json::from_str(&source.settings).context("read the source's settings")?;
        let spec = SourceSpec { kind: source.kind, settings, interval: source.interval };
        let report = sensors::test(&spec, &SystemClock).await;
        if self.json {
            print_json(&json!({ "ok": report.ok, "message": report.message, "seen": report.seen }))?;
        } else if report.ok {
            print(&format!("{}\n", report.message))?;
        }
        anyhow::ensure!(report.ok, "{}: {}", source.name, report.message);
        Ok(())
    }
}

impl Remove {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let source = find(&store, &self.source).await?;
        let now = SystemClock.now();
        sources::remove(&store, source.id, now).await.context("remove the source")?;
        let deed = Deed::done("source.delete", source.id, json!({ "name": source.name }));
        store.audit(&By::cli(now), deed).await.context("write the audit trail")?;
        store.close().await;
        Ok(())
    }
}

fn shown(source: &Stored) -> serde_json::Value {
    // Settings that cannot be read are shown as they are.
    let settings: serde_json::Value =
        serde_json::from_str(&source.settings).unwrap_or_else(|_| json!(source.settings));
    json!({
        "id": source.id,
        "name": source.name,
        "kind": source.kind.key(),
        "enabled": source.enabled,
        "automatic": source.automatic,
        "settings": settings,
        "intervalSeconds": source.interval.as_millis() as f64 / 1000.0,
        "graceSeconds": source.grace.as_secs(),
        "scope": source.scope,
        "health": {
            "status": source.health,
            "since": source.health_since.rfc3339(),
            "message": source.health_message,
        },
        "lastCompleteAt": source.complete_at.map(Timestamp::rfc3339),
        "deviceCount": source.device_count,
    })
}
