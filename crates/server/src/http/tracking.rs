//! The one place through which requests change presence, and learn what only the engine knows.

use std::collections::HashMap;

use sojourn_domain::{mac::MacAddr, presence::DeviceState, time::Timestamp};
use sojourn_sensor::engine::{EngineError, LiveDevice};
use sojourn_store::{StoreError, audit::Deed, presence::devices::Device};

use super::{actor::Actor, problem::Problem};
use crate::state::AppState;

/// What people are told of a device, and since when it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: DeviceState,
    pub(super) since: Option<Timestamp>,
    pub(super) last_seen: Option<Timestamp>,
}

/// The standings of devices.
#[derive(Debug, Default)]
pub(super) struct Standings(HashMap<MacAddr, LiveDevice>);

impl Standings {
    /// Of all devices.
    pub(super) async fn of_all(state: &AppState) -> Result<Self, Problem> {
        Ok(Self(state.presence.live(None).await?))
    }

    /// Of one device.
    pub(super) async fn of_one(state: &AppState, mac: MacAddr) -> Result<Self, Problem> {
        Ok(Self(state.presence.live(Some(vec![mac])).await?))
    }

    pub(super) fn of(&self, device: &Device) -> Standing {
        let live = self.0.get(&device.mac);
        let last_seen = live.and_then(|live| live.last_seen).max(device.seen_at);
        // A device that the engine has not taken in yet is what the tables say.
        let state = live.map_or(
            match (device.connected_since, device.down) {
                (Some(_), _) => DeviceState::Online,
                (None, true) => DeviceState::Down,
                (None, false) => DeviceState::Offline,
            },
            |live| live.state,
        );
        let since = match state {
            DeviceState::Online => device.connected_since,
            DeviceState::Sleeping | DeviceState::Unknown | DeviceState::Down | DeviceState::Offline => {
                last_seen
            }
        };
        // An opening that nobody saw lies at the beginning of time.
        let since = since.filter(|since| *since > Timestamp::MIN);
        Standing { state, since, last_seen }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Stopped => Self::unavailable("the presence engine is stopping", 5),
            EngineError::Elsewhere { node: Some(node) } => Self::unavailable(
                format!("the node {node} keeps presence now: ask that one, or try again later"),
                30,
            ),
            EngineError::Elsewhere { node: None } => {
                Self::unavailable("no node keeps presence at the moment; try again soon", 5)
            }
            EngineError::Report(error) => report_problem(&error),
        }
    }
}

fn report_problem(error: &sojourn_sensor::engine::ReportError) -> Problem {
    use sojourn_sensor::engine::ReportError;
    match error {
        ReportError::NotAPusher(_) => Problem::conflict("source_looks_for_itself", error.to_string()),
        ReportError::SwitchedOff(_) => Problem::conflict("source_switched_off", error.to_string()),
        ReportError::Backwards => Problem::invalid("scan.finishedAt", error.to_string()),
        ReportError::Ahead(_) => Problem::invalid("sightings", error.to_string()),
    }
}

/// Tells the audit trail what somebody did.
pub(super) async fn audit(
    state: &AppState,
    actor: &Actor,
    action: &str,
    object: impl std::fmt::Display,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    let by = actor.by(state.now());
    state.store.audit(&by, Deed::done(action, object, detail)).await?;
    Ok(())
}
