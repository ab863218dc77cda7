//! Which sources run on this machine: what the store says, and the automatic choice.

use std::{collections::BTreeMap, sync::Arc};

use sojourn_domain::{
    id::SourceId,
    presence::{SourceKind, Strength, tracker::DEFAULT_GRACE},
    time::{Clock, Timestamp},
};
use sojourn_store::{
    Entropy, Store, StoreError,
    presence::sources::{self, NewSource, Source},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    interfaces,
    sources::{RunningSource, SourceMessage, SourceSpec, automatic, spawn},
};

/// The sources that run here.
pub(super) struct Runners {
    running: BTreeMap<SourceId, (SourceSpec, RunningSource)>,
    clock: Arc<dyn Clock>,
    out: mpsc::Sender<SourceMessage>,
    shutdown: CancellationToken,
}

/// What a stored source asks to run; an error is a sentence for people.
pub(super) fn spec(source: &Source) -> Result<SourceSpec, String> {
    let settings =
        serde_json::from_str(&source.settings).map_err(|error| format!("unreadable settings: {error}"))?;
    let spec = SourceSpec { kind: source.kind, settings, interval: source.interval };
    spec.validate().map_err(|error| error.to_string())?;
    Ok(spec)
}

/// What complete scans of a source with these settings prove.
pub(super) fn strength(kind: SourceKind, settings: &str) -> Strength {
    match serde_json::from_str(settings) {
        // A pusher proves nothing until it has reported a scan.
        _ if kind == SourceKind::Push => Strength::Listening,
        Ok(settings) => SourceSpec::new(kind, settings).strength(),
        Err(_) => kind.strength(),
    }
}

impl Runners {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        out: mpsc::Sender<SourceMessage>,
        shutdown: &CancellationToken,
    ) -> Self {
        Self { running: BTreeMap::new(), clock, out, shutdown: shutdown.child_token() }
    }

    /// Runs exactly the sources that are enabled, as they are set now.
    pub(super) async fn sync(&mut self, wanted: &[Source]) {
        let mut specs = BTreeMap::new();
        for source in wanted.iter().filter(|source| source.enabled) {
            if matches!(source.kind, SourceKind::Push | SourceKind::Import) {
                continue;
            }
            match spec(source) {
                Ok(spec) => {
                    specs.insert(source.id, spec);
                }
                Err(message) => tracing::error!(source.name, message, "the source cannot run"),
            }
        }
        let outdated: Vec<_> = self
            .running
            .iter()
            .filter(|(id, (spec, running))| specs.get(id) != Some(spec) || running.is_finished())
            .map(|(id, _)| *id)
            .collect();
        for id in outdated {
            if let Some((_, running)) = self.running.remove(&id) {
                running.stop().await;
            }
        }
        for (id, spec) in specs {
            self.running.entry(id).or_insert_with(|| {
                tracing::info!(source.kind = %spec.kind, source.id = %id, "source started");
                let running =
                    spawn(id, spec.clone(), Arc::clone(&self.clock), self.out.clone(), &self.shutdown);
                (spec, running)
            });
        }
    }

    pub(super) fn scan_now(&self, id: SourceId) -> bool {
        match self.running.get(&id) {
            Some((_, running)) => {
                running.scan_now();
                true
            }
            None => false,
        }
    }

    pub(super) async fn stop(&mut self) {
        self.shutdown.cancel();
        for (_, (_, running)) in std::mem::take(&mut self.running) {
            running.stop().await;
        }
    }
}

/// While no person has chosen sources: adds those that the machine allows and that are not there
/// yet. None is taken away when an interface vanishes: it is blind then, and may come back.
pub(super) async fn choose(store: &Store, entropy: Entropy, now: Timestamp) -> Result<(), StoreError> {
    if !sources::automatic(store).await? {
        return Ok(());
    }
    let interfaces = match interfaces::list().await {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::error!(%error, "cannot list the network interfaces");
            return Ok(());
        }
    };
    let there = sources::all(store).await?;
    for spec in automatic(interfaces::rights(), &interfaces).specs {
        let settings = serde_json::to_string(&spec.settings).unwrap_or_default();
        if there.iter().any(|source| source.kind == spec.kind && source.settings == settings) {
            continue;
        }
        let new = NewSource {
            id: entropy.id(now),
            name: spec.default_name(),
            kind: spec.kind,
            settings,
            interval: spec.interval,
            grace: DEFAULT_GRACE,
            automatic: true,
            now,
        };
        sources::add(store, &new).await?;
    }
    Ok(())
}
