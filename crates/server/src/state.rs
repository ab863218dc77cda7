//! What every request may need, put together once at the start, and the small tasks that keep it.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use sojourn_domain::{
    id::{LoginId, TokenId},
    time::{Clock, Timestamp},
};
use sojourn_gateway::{
    files::session::{FileHub, FileHubDeps},
    session::{Hub, HubDeps, Limits, supplied::Supplied},
};
use sojourn_sensor::engine::PresenceHandle;
use sojourn_store::{Entropy, Store, StoreError, recordings::Kept};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    config::Config,
    http::{
        files::tabs::{self, Tabs},
        metrics::Metrics,
        problem::chain,
    },
    nodes,
    password::Passwords,
    refusals::{self, Refusals},
};

/// Notes of use that may wait to be written.
const USES: usize = 64;
/// A client that records its desktop itself may be silent for so many times as long as a lost terminal is kept.
const SUPPLIED_GRACES: u32 = 5;
/// How often what has ended is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// Shared by all requests; cheap to clone. Handlers get it only through a guard
/// ([`crate::http::actor`]), never directly.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    /// The vault and the recordings.
    pub access: Access,
    /// All live sessions of this node.
    pub hub: Hub,
    /// Those of them whose clients record.
    pub supplied: Supplied,
    /// All live file sessions of this node.
    pub files: FileHub,
    /// The file sessions of browsers' pages.
    pub tabs: Tabs,
    /// Every change of presence goes through it.
    pub presence: PresenceHandle,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub config: Arc<Config>,
    /// The zone in which local times are read and written.
    pub zone: TimeZone,
    pub metrics: Arc<Metrics>,
    pub passwords: Passwords,
    /// Word to the audit trail of what was refused.
    pub refusals: Refusals,
    /// Cancelled when the server stops: streams end, tasks finish.
    pub shutdown: CancellationToken,
    uses: mpsc::Sender<Use>,
}

/// A credential was used; written at most once a minute for each.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    Token(TokenId, Timestamp),
    Login(LoginId, Timestamp),
}

/// The tasks behind an [`AppState`]. They end with this value.
pub struct Background {
    tasks: JoinSet<()>,
}

impl AppState {
    /// Puts the state together and starts the tasks behind it.
    pub fn start(
        store: Store,
        presence: PresenceHandle,
        clock: Arc<dyn Clock>,
        config: Config,
        access: Access,
        shutdown: CancellationToken,
    ) -> (Self, Background) {
        let (uses, used) = mpsc::channel(USES);
        let hub = Hub::start(HubDeps {
            store: store.clone(),
            recordings: access.recordings.clone(),
            clock: Arc::clone(&clock),
            entropy: Entropy,
            node: access.node,
            limits: Limits::default(),
            shutdown: shutdown.clone(),
        });
        let state = Self {
            refusals: Refusals::new(store.clone()),
            supplied: Supplied::new(
                hub.clone(),
                config.attach_grace.to_std().saturating_mul(SUPPLIED_GRACES),
            ),
            hub,
            tabs: Tabs::default(),
            files: FileHub::start(FileHubDeps {
                store: store.clone(),
                clock: Arc::clone(&clock),
                entropy: Entropy,
                node: access.node,
                limits: Limits::default(),
                shutdown: shutdown.clone(),
            }),
            store,
            access,
            presence,
            clock,
            entropy: Entropy,
            zone: config.zone(),
            config: Arc::new(config),
            metrics: Arc::new(Metrics::new()),
            passwords: Passwords::new(Entropy),
            shutdown,
            uses,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(write_uses(state.store.clone(), used, state.shutdown.clone()));
        tasks.spawn(keep_house(state.clone()));
        tasks.spawn(nodes::keep(state.clone()));
        tasks.spawn(tabs::keep(state.clone()));
        (state, Background { tasks })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes that a credential was used. When many wait already the note is dropped: the next use
    /// makes another.
    pub fn note_use(&self, used: Use) {
        let _ = self.uses.try_send(used);
    }
}

impl Background {
    /// Waits until the tasks have finished what they were about, after the shutdown was called for.
    pub async fn finish(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a background task ended early");
            }
        }
    }
}

async fn write_uses(store: Store, mut used: mpsc::Receiver<Use>, shutdown: CancellationToken) {
    loop {
        let next = tokio::select! {
            next = used.recv() => next,
            () = shutdown.cancelled() => None,
        };
        let written = match next {
            Some(Use::Token(token, at)) => store.token_used(token, at).await,
            Some(Use::Login(login, at)) => store.login_used(login, at).await,
            None => return,
        };
        log_failure(written, "the use of a credential was not noted");
    }
}

/// Refusals are gathered by the minute; ended logins and old guesses are forgotten.
async fn keep_house(state: AppState) {
    let mut gather = tokio::time::interval(refusals::WINDOW.to_std());
    let mut forget = tokio::time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            _ = gather.tick() => state.refusals.flush(state.now()).await,
            _ = forget.tick() => {
                let now = state.now();
                log_failure(state.store.guesses_prune(now).await, "old guesses were not forgotten");
                log_failure(state.store.tickets_prune(now).await, "old tickets were not forgotten");
                let pruned = state.store.logins_prune(now, state.config.login_idle).await;
                log_failure(pruned, "ended logins were not forgotten");
                let kept = state.access.recordings.keep(state.config.keep_recordings).await;
                match kept {
                    Ok(Kept { removed: 0, .. }) => {}
                    Ok(Kept { removed, bytes }) => tracing::info!(removed, bytes, "old recordings were removed"),
                    Err(error) => tracing::warn!(error = chain(&error), "old recordings were not removed"),
                }
                if let Some(age) = state.config.keep_file_sessions {
                    let expired = state.store.file_sessions_expire(now - age, now).await;
                    log_failure(expired.map(|_| ()), "old file sessions were not removed");
                }
                log_failure(state.store.tickets_prune(now).await, "old tickets were not forgotten");
            }
            () = state.shutdown.cancelled() => break,
        }
    }
    state.refusals.flush(state.now()).await;
}

fn log_failure(result: Result<(), StoreError>, what: &'static str) {
    if let Err(error) = result {
        tracing::warn!(error = chain(&error), "{what}");
    }
}
