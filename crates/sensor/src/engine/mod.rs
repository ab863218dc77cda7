//! The presence engine: one actor that owns the tracker and every write to presence.
//!
//! Sources and people alike send it messages; it lets the tracker decide, writes the difference in
//! one transaction, and only then tells the subscribers. So what is in memory, what is in the store
//! and what people were told never disagree for longer than one transaction, and a crash between
//! any two steps loses nothing that was told.
//!
//! When the store cannot be written, the engine keeps what it has, tries again and takes nothing
//! more in: its queues are bounded, so that sources wait and people get an error.

mod actor;
mod report;
mod runners;
mod terms;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use sojourn_domain::{
    id::{NodeId, SourceId},
    mac::MacAddr,
    presence::{DeviceState, Scan, Sighting, SourceKind, Strength},
    time::{Clock, Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy, Store, StoreError,
    presence::{
        counts::Counts,
        devices::{DeviceChange, NewDevice},
        sessions::{Created, NewSession},
        sources::{Named, NewSource, SourceChange},
    },
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use report::ReportError;

use crate::sources::TestReport;

/// Requests that wait for the actor; when full, the asker waits.
const COMMANDS: usize = 64;
/// Passes of sources that wait for the actor; when full, the source waits with its next scan.
const PASSES: usize = 16;
/// Updates a slow subscriber may be behind; one that is further behind is told how many it lost.
const UPDATES: usize = 4096;

/// How the engine runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Look at the network from this machine. Without it, only what is reported counts.
    pub run_sources: bool,
    /// Ask the system's resolver for the names of private addresses that have none otherwise.
    pub reverse_dns: bool,
    /// How often the times that only a restart needs are written.
    pub flush: Elapsed,
    /// Events, and closed sessions with them, are forgotten after this long; `None` keeps them.
    pub retention: Option<Elapsed>,
    /// This node, where others may share the store: only one of them keeps presence at a time.
    pub lease: Option<NodeId>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            run_sources: true,
            reverse_dns: true,
            flush: Elapsed::from_secs(30),
            retention: None,
            lease: None,
        }
    }
}

/// Something about presence changed, and is in the store.
#[derive(Debug, Clone)]
pub enum PresenceUpdate {
    /// There are new or voided events; the newest has this number.
    Events {
        last_seq: i64,
    },
    /// What is told of a device differs.
    Device(MacAddr),
    /// What is told of a source differs.
    Source(SourceId),
    Counts(Counts),
}

/// What a pusher reports at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushBatch {
    /// The source's name; an unknown one is added.
    pub source: String,
    /// What kind of source stands behind it at the sensor.
    pub kind: Option<SourceKind>,
    /// What its complete scans prove, where the kind does not say it.
    pub strength: Option<Strength>,
    /// How often it reports.
    pub interval: Option<Elapsed>,
    /// Numbers the batches of a pusher that repeats what was not acknowledged.
    pub seq: Option<i64>,
    /// The scan that brought the sightings; without one, they prove no absence.
    pub scan: Option<Scan>,
    pub sightings: Vec<Sighting>,
}

/// What became of a [`PushBatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    pub accepted: usize,
    /// The batch had been taken in before; nothing changed.
    pub duplicate: bool,
}

/// What only the engine knows of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveDevice {
    pub state: DeviceState,
    pub last_seen: Option<Timestamp>,
}

/// Why the engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the presence engine has stopped")]
    Stopped,
    /// Its name, or nobody for the moment.
    #[error("another node keeps presence")]
    Elsewhere { node: Option<String> },
    #[error(transparent)]
    Report(#[from] ReportError),
}

type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

enum Command {
    CreateSession(Box<NewSession>, Reply<Created>),
    DeleteSessions(MacAddr, Reply<u64>),
    UpdateDevices(Vec<MacAddr>, Box<DeviceChange>, Reply<Vec<MacAddr>>),
    CreateDevice(Box<NewDevice>, Reply<bool>),
    DeleteDevice(MacAddr, Reply<bool>),
    AddSource(Box<NewSource>, Reply<Named>),
    UpdateSource(SourceId, Box<SourceChange>, Reply<Named>),
    RemoveSource(SourceId, Reply<bool>),
    ScanNow(SourceId, Reply<bool>),
    /// Only asks whether presence is kept here.
    Here(Reply<()>),
    Report(Box<PushBatch>, Reply<Reported>),
    Live(Option<Vec<MacAddr>>, Reply<HashMap<MacAddr, LiveDevice>>),
    Flush(Reply<()>),
}

/// How everything else speaks with the engine. Cheap to clone.
#[derive(Clone)]
pub struct PresenceHandle {
    commands: mpsc::Sender<Command>,
    updates: broadcast::Sender<PresenceUpdate>,
    healthy: watch::Receiver<bool>,
    store: Store,
    clock: Arc<dyn Clock>,
}

/// The running engine. Dropping it ends it at once; [`Engine::stop`] lets it write what it knows.
pub struct Engine {
    handle: PresenceHandle,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Engine {
    /// Reads the store and starts. Sources begin their first scan at once.
    pub async fn start(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
        options: Options,
    ) -> Result<Self, StoreError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (updates, _) = broadcast::channel(UPDATES);
        let (healthy, health) = watch::channel(true);
        let shutdown = CancellationToken::new();
        let handle = PresenceHandle {
            commands,
            updates: updates.clone(),
            healthy: health,
            store: store.clone(),
            clock: Arc::clone(&clock),
        };
        let terms =
            terms::Terms { store, clock, entropy, options, updates, healthy, shutdown: shutdown.clone() };
        let term = terms.begin().await?;
        if term.is_none() {
            tracing::info!("another node keeps presence; this one waits");
        }
        let task = tokio::spawn(terms.run(term, inbox));
        Ok(Self { handle, shutdown, task })
    }

    pub fn handle(&self) -> PresenceHandle {
        self.handle.clone()
    }

    /// Stops the sources, writes what is known and ends.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the presence engine ended badly");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

impl PresenceHandle {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| EngineError::Stopped)?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Enters a session by hand.
    pub async fn create_session(&self, new: NewSession) -> Result<Created, EngineError> {
        self.ask(|reply| Command::CreateSession(Box::new(new), reply)).await
    }

    /// Deletes all sessions of a device and says how many there were.
    pub async fn delete_sessions(&self, mac: MacAddr) -> Result<u64, EngineError> {
        self.ask(|reply| Command::DeleteSessions(mac, reply)).await
    }

    /// Changes devices, all or none, and says which of them exist.
    pub async fn update_devices(
        &self,
        macs: &[MacAddr],
        set: DeviceChange,
    ) -> Result<Vec<MacAddr>, EngineError> {
        self.ask(|reply| Command::UpdateDevices(macs.to_vec(), Box::new(set), reply)).await
    }

    /// Enters a device by hand; `false` when it is known already.
    pub async fn create_device(&self, new: NewDevice) -> Result<bool, EngineError> {
        self.ask(|reply| Command::CreateDevice(Box::new(new), reply)).await
    }

    /// Forgets a device and its history; `false` when it was not known.
    pub async fn delete_device(&self, mac: MacAddr) -> Result<bool, EngineError> {
        self.ask(|reply| Command::DeleteDevice(mac, reply)).await
    }

    /// Adds a source and starts it.
    pub async fn add_source(&self, new: NewSource) -> Result<Named, EngineError> {
        self.ask(|reply| Command::AddSource(Box::new(new), reply)).await
    }

    pub async fn update_source(&self, id: SourceId, set: SourceChange) -> Result<Named, EngineError> {
        self.ask(|reply| Command::UpdateSource(id, Box::new(set), reply)).await
    }

    /// Takes a source out of service; `false` when there is none.
    pub async fn remove_source(&self, id: SourceId) -> Result<bool, EngineError> {
        self.ask(|reply| Command::RemoveSource(id, reply)).await
    }

    /// Makes one pass of a source now, beside its schedule, and says what came of it; changes
    /// nothing. `None` when there is no such source.
    pub async fn test_source(&self, id: SourceId) -> Result<Option<TestReport>, EngineError> {
        // Another node may see another network.
        self.ask(Command::Here).await?;
        let Some(source) = sojourn_store::presence::sources::find(&self.store, id).await? else {
            return Ok(None);
        };
        Ok(Some(match runners::spec(&source) {
            Ok(spec) => crate::sources::test(&spec, self.clock.as_ref()).await,
            Err(message) => TestReport { ok: false, message, seen: 0 },
        }))
    }

    /// Starts the source's next pass now; `false` when it does not run here.
    pub async fn scan_now(&self, id: SourceId) -> Result<bool, EngineError> {
        self.ask(|reply| Command::ScanNow(id, reply)).await
    }

    /// Takes in what a sensor, a script or a file reports.
    pub async fn report(&self, batch: PushBatch) -> Result<Reported, EngineError> {
        self.ask(|reply| Command::Report(Box::new(batch), reply)).await
    }

    /// What only memory knows of these devices, or of all.
    pub async fn live(
        &self,
        macs: Option<Vec<MacAddr>>,
    ) -> Result<HashMap<MacAddr, LiveDevice>, EngineError> {
        self.ask(|reply| Command::Live(macs, reply)).await
    }

    /// Writes what is known, so that a copy of the store is complete.
    pub async fn flush(&self) -> Result<(), EngineError> {
        self.ask(Command::Flush).await
    }

    /// Everything that changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<PresenceUpdate> {
        self.updates.subscribe()
    }

    /// What it learns reaches the store.
    pub fn is_healthy(&self) -> bool {
        *self.healthy.borrow()
    }
}

/// Between two attempts to write to a store that fails.
const RETRY: Duration = Duration::from_secs(2);
