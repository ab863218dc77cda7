//! When a source makes its passes.

use std::{sync::Arc, time::Duration};

use sojourn_domain::{
    presence::{Scan, ScanOutcome, SourceKind},
    time::{Clock, Timestamp},
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Outlet, Pass, arp::ArpScan, dhcp_leases::DhcpLeases, neighbors::Neighbors, passive::Passive,
    settings::SourceSpec,
};

/// How long a listening source listens when it is tried out.
const TRY_OUT: Duration = Duration::from_secs(10);

/// One of the kinds of sources that run. A kind's `pass` looks once; its `rest` is what it does
/// between passes and ends when it is worth making the next pass early. Both may be dropped at any
/// await: what must survive that is in the source itself.
enum Runner {
    Arp(ArpScan),
    Neighbors(Neighbors),
    Passive(Passive),
    Leases(DhcpLeases),
    /// Others report it.
    Reported,
}

impl Runner {
    fn new(spec: &SourceSpec) -> Self {
        let settings = &spec.settings;
        match spec.kind {
            SourceKind::Arp => Self::Arp(ArpScan::new(settings)),
            SourceKind::Neighbors => Self::Neighbors(Neighbors::new(settings)),
            SourceKind::Passive => Self::Passive(Passive::new(settings)),
            SourceKind::DhcpLeases => Self::Leases(DhcpLeases::new(settings)),
            SourceKind::Import | SourceKind::Push => Self::Reported,
        }
    }

    async fn pass(&mut self, clock: &dyn Clock, outlet: Option<&Outlet>) -> Pass {
        match self {
            Self::Arp(source) => source.pass(clock, outlet).await,
            Self::Neighbors(source) => source.pass(clock).await,
            Self::Passive(source) => source.pass(clock).await,
            Self::Leases(source) => source.pass(clock).await,
            Self::Reported => reported(clock.now()),
        }
    }

    async fn rest(&mut self, clock: &dyn Clock, outlet: Option<&Outlet>) {
        match self {
            Self::Neighbors(source) => source.rest(clock, outlet).await,
            Self::Passive(source) => source.rest(clock, outlet).await,
            Self::Leases(source) => source.rest().await,
            Self::Arp(_) | Self::Reported => std::future::pending().await,
        }
    }
}

fn reported(at: Timestamp) -> Pass {
    Pass {
        scan: Scan {
            started_at: at,
            finished_at: at,
            outcome: ScanOutcome::Complete,
            scope: "what others report".to_owned(),
            covers: Vec::new(),
        },
        sightings: Vec::new(),
    }
}

pub(super) async fn run(
    spec: SourceSpec,
    clock: Arc<dyn Clock>,
    outlet: Outlet,
    trigger: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let mut runner = Runner::new(&spec);
    if let Runner::Reported = runner {
        return shutdown.cancelled().await;
    }
    let work = async {
        let mut turns = interval(spec.interval.to_std().max(Duration::from_millis(100)));
        // A pass that took longer than the interval is followed by the next at once, and the
        // schedule goes on from there: no bursts to catch up.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut early = true;
            tokio::select! {
                _ = turns.tick() => early = false,
                () = trigger.notified() => {}
                () = runner.rest(&*clock, Some(&outlet)) => {}
            }
            if early {
                turns.reset();
            }
            let pass = runner.pass(&*clock, Some(&outlet)).await;
            if !outlet.pass(pass).await {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
}

pub(super) async fn once(spec: &SourceSpec, clock: &dyn Clock) -> Pass {
    let mut runner = Runner::new(spec);
    let first = runner.pass(clock, None).await;
    if spec.kind != SourceKind::Passive || first.scan.outcome != ScanOutcome::Complete {
        return first;
    }
    // Listening is what happens between passes. Its end is the point, not an error.
    let _ = tokio::time::timeout(TRY_OUT, runner.rest(clock, None)).await;
    let mut pass = runner.pass(clock, None).await;
    pass.scan.started_at = first.scan.started_at;
    pass
}
