//! This server among several: its name for the others, its heartbeat, and what it does for those that died.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use sojourn_domain::{
    access::EndReason,
    id::NodeId,
    time::{Clock, Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy, Store, StoreError,
    nodes::{BEAT, NodeState},
};
use tokio::time::MissedTickBehavior;

use crate::{config::Config, http::problem::chain, state::AppState};

/// The node's id in the data directory: it stays the same as long as the directory does.
const ID_FILE: &str = "node";
/// Who has it looks after nodes that died.
const UNDERTAKER: &str = "dead nodes";
/// How long a lease is good; renewed with each beat.
const LEASE: Elapsed = Elapsed::from_secs(30);
/// How long this node must have reached the database without a break before it calls another one dead: after
/// the database was away, nobody has been seen for a while.
const STEADY: Elapsed = Elapsed::from_secs(20);

/// The node of a data directory.
pub fn identity(data_dir: &Path, entropy: Entropy, now: Timestamp) -> anyhow::Result<NodeId> {
    let path = data_dir.join(ID_FILE);
    if path.exists() {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        return text.trim().parse().with_context(|| format!("read {}", path.display()));
    }
    let node: NodeId = entropy.id(now);
    fs::write(&path, format!("{node}\n")).with_context(|| format!("write {}", path.display()))?;
    Ok(node)
}

/// Tells the others that this node runs, and ends what its last run left open: at the moment when it
/// was last known to run.
pub async fn enroll(store: &Store, config: &Config, clock: &dyn Clock) -> anyhow::Result<NodeId> {
    let now = clock.now();
    let node = identity(&config.data_dir, Entropy, now)?;
    let url = config.node_url.clone().unwrap_or_default();
    let seen = store.node_start(node, &config.node_name, &url, now).await.context("enrol this node")?;
    let died = store
        .sessions_end_of_node(&node.to_string(), seen.unwrap_or(now), EndReason::ServerDied)
        .await
        .context("end the sessions of the last run")?;
    let files = store
        .file_sessions_end_of_node(&node.to_string(), seen.unwrap_or(now), EndReason::ServerDied)
        .await
        .context("end the file sessions of the last run")?;
    if !died.is_empty() || !files.is_empty() {
        tracing::warn!(sessions = died.len(), files = files.len(), "the last run died with open sessions");
    }
    Ok(node)
}

/// Runs until the server stops.
pub(crate) async fn keep(state: AppState) {
    let mut beat = tokio::time::interval(BEAT.to_std());
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut steady_since = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = state.shutdown.cancelled() => break,
        }
        let now = state.now();
        if let Err(error) = state.store.node_beat(state.access.node, now).await {
            tracing::warn!(error = chain(&error), "the heartbeat was not written");
            steady_since = None;
            continue;
        }
        let since = *steady_since.get_or_insert(now);
        if now.since(since) >= STEADY
            && let Err(error) = bury(&state, now).await
        {
            tracing::warn!(error = chain(&error), "dead nodes were not looked after");
        }
    }
}

/// The server has stopped: to be called when its sessions have ended.
pub async fn leave(state: &AppState) {
    let stopped =
        tokio::time::timeout(Duration::from_secs(5), state.store.node_stop(state.access.node, state.now()));
    match stopped.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = chain(&error), "the others were not told of the stop"),
        Err(_) => tracing::warn!("the others were not told of the stop in time"),
    }
}

async fn bury(state: &AppState, now: Timestamp) -> Result<(), StoreError> {
    let me = state.access.node;
    if !state.store.lease_take(UNDERTAKER, me, now, now + LEASE).await? {
        return Ok(());
    }
    for node in state.store.nodes().await? {
        if node.id == me
            || node.state(now) != NodeState::Dead
            || node.live_sessions + node.live_file_sessions == 0
        {
            continue;
        }
        let ended = state
            .store
            .sessions_end_of_node(&node.id.to_string(), node.seen_at, EndReason::ServerDied)
            .await?;
        state.store.recordings_cut_off(&ended).await?;
        let files = state
            .store
            .file_sessions_end_of_node(&node.id.to_string(), node.seen_at, EndReason::ServerDied)
            .await?;
        tracing::warn!(node.id = %node.id, sessions = ended.len(), files = files.len(), "ended the sessions of a dead node");
    }
    Ok(())
}
