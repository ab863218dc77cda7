//! Which of several nodes keeps presence: the one with the lease, as long as it has it.
//!
//! Two trackers would write one history. A node without the lease answers what the store alone can answer and refuses
//! the rest; it takes over when the lease was let go or has run out, and reads the store only then. Who could not renew
//! its lease in time stops writing some seconds before another may take it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sojourn_domain::{
    id::NodeId,
    time::{Clock, Elapsed, Timestamp},
};
use sojourn_store::{Entropy, Store, StoreError, presence::events};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{MissedTickBehavior, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Command, EngineError, Options, PASSES, PresenceUpdate, Reply,
    actor::{self, Actor},
};
use crate::sources::SourceMessage;

const NAME: &str = "presence";
/// How long the lease is good without being renewed.
const LEASE: Elapsed = Elapsed::from_secs(30);
/// How often it is renewed, or asked for.
const BEAT: Duration = Duration::from_secs(3);
/// How long one renewal may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A holder stops when the lease has less left than this after a renewal that failed: more than another beat with
/// a renewal takes, and what clocks may differ.
const MARGIN: Elapsed = Elapsed::from_secs(12);

/// What every term is made of.
pub(super) struct Terms {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Entropy,
    pub(super) options: Options,
    pub(super) updates: broadcast::Sender<PresenceUpdate>,
    pub(super) healthy: watch::Sender<bool>,
    pub(super) shutdown: CancellationToken,
}

/// The time during which this node keeps presence.
pub(super) struct Term {
    actor: Actor,
    scans: mpsc::Receiver<SourceMessage>,
    held: Option<Held>,
}

/// A lease that is being renewed.
struct Held {
    lease: Lease,
    lost: CancellationToken,
    keeper: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Lease {
    store: Store,
    clock: Arc<dyn Clock>,
    node: NodeId,
}

impl Terms {
    /// Begins a term, unless another node has the lease.
    pub(super) async fn begin(&self) -> Result<Option<Term>, StoreError> {
        let (lost, over) = (CancellationToken::new(), self.shutdown.child_token());
        let mut ours_until = None;
        let held = match self.options.lease {
            None => None,
            Some(node) => {
                let lease = Lease { store: self.store.clone(), clock: Arc::clone(&self.clock), node };
                let Some(until) = lease.take().await? else { return Ok(None) };
                let (until, seen) = watch::channel(until);
                ours_until = Some(seen);
                let keeper = tokio::spawn(lease.clone().keep(until, lost.clone(), over.clone()));
                Some(Held { lease, lost: lost.clone(), keeper: AbortOnDropHandle::new(keeper) })
            }
        };
        let (passes, scans) = mpsc::channel(PASSES);
        let parts = actor::Parts {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            entropy: self.entropy,
            options: self.options.clone(),
            updates: self.updates.clone(),
            healthy: self.healthy.clone(),
            passes,
            shutdown: over,
            lost,
            ours_until,
        };
        match Actor::load(parts).await {
            Ok(actor) => Ok(Some(Term { actor, scans, held })),
            Err(error) => {
                if let Some(held) = held {
                    held.end().await;
                }
                Err(error)
            }
        }
    }

    /// Runs until the shutdown, with or without the lease.
    pub(super) async fn run(self, mut term: Option<Term>, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let Term { actor, scans, held } = match term.take() {
                Some(term) => term,
                None => match self.stand_by(&mut inbox).await {
                    Some(term) => term,
                    None => return,
                },
            };
            actor.run(&mut inbox, scans).await;
            if let Some(held) = held {
                held.end().await;
            }
            if self.shutdown.is_cancelled() {
                return;
            }
        }
    }

    /// Waits for the lease. Subscribers are told of events, which is what the store tells cheaply.
    async fn stand_by(&self, inbox: &mut mpsc::Receiver<Command>) -> Option<Term> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                Some(command) = inbox.recv() => self.refuse(command).await,
                _ = beat.tick() => match self.begin().await {
                    Ok(Some(term)) => {
                        tracing::info!("this node keeps presence from now on");
                        self.healthy.send_replace(true);
                        return Some(term);
                    }
                    Ok(None) => {
                        let latest = events::latest_seq(&self.store).await.ok();
                        self.healthy.send_replace(latest.is_some());
                        if let Some(last_seq) = latest
                            && told.replace(last_seq) != latest
                        {
                            // Nobody may be listening, which is no error.
                            let _ = self.updates.send(PresenceUpdate::Events { last_seq });
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "it is not known which node keeps presence");
                        self.healthy.send_replace(false);
                    }
                }
            }
        }
    }

    /// The name of the node that keeps presence.
    async fn holder(&self) -> Result<Option<String>, StoreError> {
        match self.store.lease_holder(NAME, self.clock.now()).await? {
            Some(node) => Ok(self.store.node(node).await?.map(|node| node.name)),
            None => Ok(None),
        }
    }

    async fn refuse(&self, command: Command) {
        // An asker that went away does not need the answer.
        match command {
            // What the tables say is all that is known here.
            Command::Live(_, reply) => drop(reply.send(Ok(HashMap::new()))),
            // This node keeps nothing back.
            Command::Flush(reply) => drop(reply.send(Ok(()))),
            Command::CreateSession(_, reply) => self.elsewhere(reply).await,
            Command::DeleteSessions(_, reply) => self.elsewhere(reply).await,
            Command::UpdateDevices(_, _, reply) => self.elsewhere(reply).await,
            Command::CreateDevice(_, reply) | Command::DeleteDevice(_, reply) => self.elsewhere(reply).await,
            Command::AddSource(_, reply) => self.elsewhere(reply).await,
            Command::UpdateSource(_, _, reply) => self.elsewhere(reply).await,
            Command::RemoveSource(_, reply) | Command::ScanNow(_, reply) => self.elsewhere(reply).await,
            Command::Here(reply) => self.elsewhere(reply).await,
            Command::Report(_, reply) => self.elsewhere(reply).await,
        }
    }

    async fn elsewhere<T>(&self, reply: Reply<T>) {
        let refusal = match self.holder().await {
            Ok(node) => EngineError::Elsewhere { node },
            Err(error) => error.into(),
        };
        drop(reply.send(Err(refusal)));
    }
}

impl Held {
    /// Lets the lease go, after the last write.
    async fn end(self) {
        self.keeper.abort();
        if self.lost.is_cancelled() {
            return;
        }
        // Not let go, it runs out.
        match timeout(PATIENCE, self.lease.store.lease_release(NAME, self.lease.node)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease of presence was not let go"),
            Err(_) => tracing::warn!("the lease of presence was not let go in time"),
        }
    }
}

impl Lease {
    /// Takes or renews it; says until when.
    async fn take(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let until = now + LEASE;
        Ok(self.store.lease_take(NAME, self.node, now, until).await?.then_some(until))
    }

    /// Renews it until that fails for too long; then the term is over.
    async fn keep(self, until: watch::Sender<Timestamp>, lost: CancellationToken, over: CancellationToken) {
        loop {
            tokio::time::sleep(BEAT).await;
            match timeout(PATIENCE, self.take()).await {
                Ok(Ok(Some(renewed))) => drop(until.send_replace(renewed)),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => tracing::warn!(%error, "the lease of presence was not renewed"),
                Err(_) => tracing::warn!("the lease of presence was not renewed in time"),
            }
            if self.clock.now() + MARGIN >= *until.borrow() {
                break;
            }
        }
        tracing::error!("this node has lost the lease of presence and stops keeping it");
        lost.cancel();
        over.cancel();
    }
}
