//! Presence events as they go over the wire.

use serde::Serialize;
use sojourn_store::presence::events::ListedEvent;
use utoipa::ToSchema;

use super::Time;

/// A presence event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventWire {
    /// Grows in the order in which events are recorded.
    pub id: i64,
    /// When it happened. Where that is not certain: when the device was last seen.
    at: Time,
    /// When it became known.
    recorded_at: Time,
    /// `New Device`, `Connected`, `Disconnected`, `Device Down`, `Down Reconnected`, `IP Changed`,
    /// `<missing event>`, `VOIDED - Connected` or `VOIDED - Disconnected`.
    #[schema(example = "Connected")]
    r#type: String,
    mac: String,
    /// What people call the device.
    name: String,
    ip: Option<String>,
    /// More, for people; may be empty.
    info: String,
    /// The time is known.
    certain: bool,
}

impl From<ListedEvent> for EventWire {
    fn from(event: ListedEvent) -> Self {
        Self {
            id: event.seq,
            at: Time(event.at),
            recorded_at: Time(event.recorded_at),
            mac: event.mac.to_string(),
            name: event.display_name(),
            r#type: event.kind,
            ip: event.ip,
            info: event.info,
            certain: event.certain,
        }
    }
}
