//! Presence sources: what looks at the network and says whom it saw.
//!
//! A source runs as one task with its own schedule. Each pass ends in a [`Pass`] that says how it
//! went: complete, failed, or blind. A source never ends because of an error: it reports it and
//! tries again at its next turn. What a sighting means for a device's presence is decided
//! elsewhere; nothing here knows of sessions or of the store.

mod arp;
mod automatic;
mod dhcp_leases;
mod neighbors;
mod passive;
mod schedule;
mod settings;
mod silence;

use std::sync::Arc;

use sojourn_domain::{
    id::SourceId,
    presence::{Scan, ScanOutcome, Sighting},
    time::Clock,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use automatic::{Automatic, automatic};
pub use settings::{MAX_SCAN_ADDRESSES, Nudge, SourceSettings, SourceSpec, SpecError};

/// What one pass brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    pub scan: Scan,
    pub sightings: Vec<Sighting>,
}

/// What a running source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceMessage {
    /// A pass ended, well or badly.
    Pass { source: SourceId, pass: Pass },
    /// Seen in the middle of a pass, told at once so that an arrival shows within a second. The
    /// same sightings come again in the pass.
    Sighted { source: SourceId, sightings: Vec<Sighting> },
}

/// What trying a source out brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    pub ok: bool,
    /// A sentence for people.
    pub message: String,
    /// Devices seen.
    pub seen: usize,
}

/// A running source. Dropping it ends the source.
#[derive(Debug)]
pub struct RunningSource {
    shutdown: CancellationToken,
    trigger: Arc<Notify>,
    task: JoinHandle<()>,
}

impl RunningSource {
    /// Starts a pass now instead of at the next turn; several calls before it starts are one.
    pub fn scan_now(&self) {
        self.trigger.notify_one();
    }

    /// Ends the source and waits until it has let go of its sockets and files.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        // A panic inside the task has been logged by the runtime; there is nothing left to stop.
        let _ = (&mut self.task).await;
    }

    /// The task ended by itself, which only a panic does.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for RunningSource {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// Where a source sends what it sees: when the receiver is behind, the source waits with its next
/// pass; live sightings are then left to the pass that carries them anyway.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    source: SourceId,
    out: mpsc::Sender<SourceMessage>,
}

impl Outlet {
    /// `false` when nobody listens any more.
    pub(crate) async fn pass(&self, pass: Pass) -> bool {
        if let ScanOutcome::Failed { message } | ScanOutcome::Blind { message } = &pass.scan.outcome {
            tracing::debug!(source.id = %self.source, scope = %pass.scan.scope, message, "a scan did not complete");
        }
        self.out.send(SourceMessage::Pass { source: self.source, pass }).await.is_ok()
    }

    /// Full: dropped, because the pass brings it again.
    pub(crate) fn live(&self, sightings: Vec<Sighting>) {
        if !sightings.is_empty() {
            let _ = self.out.try_send(SourceMessage::Sighted { source: self.source, sightings });
        }
    }
}

/// Starts a source. It makes its first pass at once, then one each interval, measured from start
/// to start. `out` may be small: a full channel makes the source wait, and nothing is lost but
/// passes that were never made.
///
/// Must be called inside a tokio runtime. `import` and `push` have nothing to run: their task only
/// waits for its end.
pub fn spawn(
    id: SourceId,
    spec: SourceSpec,
    clock: Arc<dyn Clock>,
    out: mpsc::Sender<SourceMessage>,
    shutdown: &CancellationToken,
) -> RunningSource {
    let shutdown = shutdown.child_token();
    let trigger = Arc::new(Notify::new());
    let task = tokio::spawn(schedule::run(
        spec,
        clock,
        Outlet { source: id, out },
        Arc::clone(&trigger),
        shutdown.clone(),
    ));
    RunningSource { shutdown, trigger, task }
}

/// Makes one pass of what `spec` describes and says how it went; changes nothing.
pub async fn test(spec: &SourceSpec, clock: &dyn Clock) -> TestReport {
    let pass = match scan_once(spec, clock).await {
        Ok(pass) => pass,
        Err(error) => return TestReport { ok: false, message: error.to_string(), seen: 0 },
    };
    let mut macs: Vec<_> = pass.sightings.iter().map(|s| s.mac).collect();
    macs.sort_unstable();
    macs.dedup();
    let seen = macs.len();
    let devices = if seen == 1 { "1 device".to_owned() } else { format!("{seen} devices") };
    match pass.scan.outcome {
        ScanOutcome::Complete => {
            TestReport { ok: true, message: format!("{devices} seen in {}", pass.scan.scope), seen }
        }
        ScanOutcome::Failed { message } | ScanOutcome::Blind { message } => {
            TestReport { ok: false, message, seen }
        }
    }
}

/// Makes one pass of what `spec` describes. Listening sources listen for ten seconds at most.
pub async fn scan_once(spec: &SourceSpec, clock: &dyn Clock) -> Result<Pass, SpecError> {
    spec.validate()?;
    Ok(schedule::once(spec, clock).await)
}
