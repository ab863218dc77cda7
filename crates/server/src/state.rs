//! What every request may need, put together once at the start.

use std::sync::Arc;

use jiff::tz::TimeZone;
use sojourn_domain::time::{Clock, Timestamp};
use sojourn_sensor::engine::PresenceHandle;
use sojourn_store::{Entropy, Store};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, http::metrics::Metrics};

/// Shared by all requests; cheap to clone. Handlers get it only through a guard
/// ([`crate::http::actor`]), never directly.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    /// Every change of presence goes through it.
    pub presence: PresenceHandle,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub config: Arc<Config>,
    /// The zone in which local times are read and written.
    pub zone: TimeZone,
    pub metrics: Arc<Metrics>,
    /// Cancelled when the server stops: streams end, tasks finish.
    pub shutdown: CancellationToken,
}

impl AppState {
    pub fn new(
        store: Store,
        presence: PresenceHandle,
        clock: Arc<dyn Clock>,
        config: Config,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            presence,
            clock,
            entropy: Entropy,
            zone: config.zone(),
            config: Arc::new(config),
            metrics: Arc::new(Metrics::new()),
            shutdown,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
