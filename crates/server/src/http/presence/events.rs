//! `/presence/events`: what changed, and when.

use serde::{Deserialize, Serialize};
use sojourn_domain::{mac::MacAddr, presence::EventKind};
use sojourn_store::presence::{
    CHUNK,
    events::{self, Filter, ListedEvent, Position},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::http::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Query},
    page::Page,
    problem::Problem,
    wire::{self, events::EventWire, schema},
};

const LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
/// Events that one request with a search reads at most; `next` says where to go on.
const MAX_READ: usize = 200_000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    #[param(schema_with = schema::mac, required = false)]
    mac: Option<MacAddr>,
    /// `New Device`, `Connected`, `Disconnected`, `Device Down`, `Down Reconnected`, `IP Changed`,
    /// `<missing event>`, `VOIDED - Connected` or `VOIDED - Disconnected`.
    r#type: Option<String>,
    /// Happened at or after this time.
    #[param(schema_with = schema::date, required = false)]
    from: Option<String>,
    /// Happened before this time; of a day, at its end.
    #[param(schema_with = schema::date, required = false)]
    to: Option<String>,
    /// Text in the device's name, owner, host name, vendor or MAC address, or in the event's type, IP
    /// address or info, in any case.
    q: Option<String>,
    /// Goes on behind the event with this id.
    before: Option<i64>,
    /// Only events that were recorded after the one with this id.
    after: Option<i64>,
    /// Cut to 1000; 100 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
}

/// Events, the latest first.
#[derive(Debug, Serialize, ToSchema)]
struct EventList {
    /// Always `true`.
    success: bool,
    events: Vec<EventWire>,
    /// What to send as `before` for more; null when there is no more.
    next: Option<i64>,
}

/// List presence events
#[utoipa::path(
    get, path = "/presence/events", tag = "presence", operation_id = "list_presence_events", params(ListQuery),
    responses((status = 200, body = EventList))
)]
async fn list(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<ListQuery>,
) -> Result<Json<EventList>, Problem> {
    let limit = Page::new(None, query.limit, LIMIT, MAX_LIMIT)?.limit as usize;
    if query.r#type.as_deref().is_some_and(|name| EventKind::parse(name).is_none()) {
        let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        return Err(Problem::invalid("type", format!("expected one of: {}", names.join(", "))));
    }
    let filter = Filter {
        mac: query.mac,
        kind: query.r#type,
        from: wire::start(&state, "from", query.from.as_deref())?,
        until: wire::end(&state, "to", query.to.as_deref())?,
        after_seq: query.after,
    };
    let mut position = match query.before {
        None => Position::NEWEST,
        Some(seq) => match events::position(&state.store, seq).await? {
            Some(position) => position,
            None => return Ok(Json(EventList { success: true, events: Vec::new(), next: None })),
        },
    };
    let text = query.q.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    // Without a search, one more than asked for tells whether there is more.
    let chunk_limit = if text.is_some() { CHUNK } else { limit as u32 + 1 };
    let (mut found, mut read, mut last_seq) = (Vec::new(), 0, None);
    let more = 'reading: loop {
        let chunk = events::list(&state.store, &filter, position, chunk_limit).await?;
        let ended = chunk.len() < chunk_limit as usize;
        read += chunk.len();
        for event in chunk {
            if found.len() == limit {
                break 'reading true;
            }
            (position, last_seq) = (event.position(), Some(event.seq));
            if text.as_ref().is_none_or(|text| holds(&event, text)) {
                found.push(event);
            }
        }
        if ended || read >= MAX_READ {
            break !ended;
        }
    };
    let next = last_seq.filter(|_| more);
    Ok(Json(EventList { success: true, events: found.into_iter().map(EventWire::from).collect(), next }))
}

fn holds(event: &ListedEvent, text: &str) -> bool {
    let holds = |cell: &str| cell.to_lowercase().contains(text);
    holds(&event.device_name)
        || holds(&event.device_owner)
        || holds(&event.device_hostname)
        || holds(&event.device_vendor)
        || holds(&event.mac.to_string())
        || holds(&event.kind)
        || holds(&event.info)
        || event.ip.as_deref().is_some_and(holds)
}
