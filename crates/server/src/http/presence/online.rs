//! `/presence/online`: is it online?

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sojourn_domain::{mac::MacAddr, presence::DeviceState};
use sojourn_store::presence::devices::{self, Device};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::{
    http::{
        Routes,
        actor::{Allowed, may},
        devices::{ListQuery, select},
        extract::{Json, Query},
        problem::Problem,
        tracking::{Standing, Standings},
        wire::{
            Time,
            devices::{CountsWire, StateWire},
            schema,
        },
    },
    state::AppState,
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(online))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OnlineQuery {
    /// Which device, by its MAC address.
    #[param(schema_with = schema::mac, required = false)]
    mac: Option<MacAddr>,
    /// Which device, by an address that it has or had; the one that had it last.
    #[param(schema_with = schema::ip, required = false)]
    ip: Option<String>,
    /// Which device, by its name or host name, in any case.
    name: Option<String>,
}

/// Whether one device is online.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IsOnline {
    /// Always `true`.
    success: bool,
    /// Also while it sleeps; null when whoever would see it cannot look.
    online: Option<bool>,
    state: StateWire,
    /// Since when, where that is known.
    since: Option<Time>,
    mac: String,
    name: String,
    ip: Option<String>,
    last_seen: Option<Time>,
}

/// A device that is here.
#[derive(Debug, Serialize, ToSchema)]
struct OnlineDevice {
    mac: String,
    name: String,
    ip: Option<String>,
    since: Option<Time>,
    state: StateWire,
}

/// Everything that is online, sleeping or unknown.
#[derive(Debug, Serialize, ToSchema)]
struct WhoIsOnline {
    /// Always `true`.
    success: bool,
    at: Time,
    devices: Vec<OnlineDevice>,
    counts: CountsWire,
}

/// One device, or all.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Online {
    One(IsOnline),
    All(WhoIsOnline),
}

/// Is it online?
///
/// Without a filter: who is online, which leaves archived devices out.
#[utoipa::path(
    get, path = "/presence/online", tag = "presence", operation_id = "presence_online", params(OnlineQuery),
    responses(
        (status = 200, body = Online),
        (status = 404, description = "No such device is known", content_type = "application/problem+json",
         body = crate::http::problem::ProblemBody),
    )
)]
async fn online(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<OnlineQuery>,
) -> Result<Json<Online>, Problem> {
    if query.mac.is_none() && query.ip.is_none() && query.name.is_none() {
        return Ok(Json(Online::All(everybody(&state).await?)));
    }
    let mut found: Option<Vec<Device>> = None;
    let mut narrow = |candidates: Vec<Device>| {
        found = Some(match found.take() {
            None => candidates,
            Some(before) => {
                before.into_iter().filter(|device| candidates.iter().any(|c| c.mac == device.mac)).collect()
            }
        });
    };
    if let Some(mac) = query.mac {
        narrow(devices::find(&state.store, mac).await?.into_iter().collect());
    }
    if let Some(text) = query.ip {
        let ip: IpAddr =
            text.parse().map_err(|_| Problem::invalid("ip", "expected an IPv4 or IPv6 address"))?;
        narrow(devices::with_ip(&state.store, &ip.to_string()).await?);
    }
    if let Some(text) = query.name {
        let wanted = text.trim().to_lowercase();
        let is = |name: &str| !name.is_empty() && name.to_lowercase() == wanted;
        let called = |device: &Device| is(&device.name) || is(&device.hostname) || is(&device.display_name());
        narrow(devices::all(&state.store).await?.into_iter().filter(called).collect());
    }
    let found = found.unwrap_or_default();
    let standings = match found.as_slice() {
        [one] => Standings::of_one(&state, one.mac).await?,
        _ => Standings::of_all(&state).await?,
    };
    // Of several, the one that is here; else the one that came first.
    let mut standing: Vec<(Device, Standing)> = found
        .into_iter()
        .map(|device| {
            let standing = standings.of(&device);
            (device, standing)
        })
        .collect();
    standing.sort_by_key(|(_, standing)| standing.state);
    let (device, standing) =
        standing.into_iter().next().ok_or_else(|| Problem::not_found("device like this"))?;
    Ok(Json(Online::One(IsOnline {
        success: true,
        online: match standing.state {
            DeviceState::Online | DeviceState::Sleeping => Some(true),
            DeviceState::Unknown => None,
            DeviceState::Down | DeviceState::Offline => Some(false),
        },
        state: standing.state.into(),
        since: standing.since.map(Time),
        mac: device.mac.to_string(),
        name: device.display_name(),
        ip: device.ip4.or(device.ip6),
        last_seen: standing.last_seen.map(Time),
    })))
}

async fn everybody(state: &AppState) -> Result<WhoIsOnline, Problem> {
    let (found, counts) = select(state, &ListQuery::default()).await?;
    let here = |standing: &Standing| !matches!(standing.state, DeviceState::Down | DeviceState::Offline);
    let devices = found
        .into_iter()
        .filter(|(_, standing)| here(standing))
        .map(|(device, standing)| OnlineDevice {
            mac: device.mac.to_string(),
            name: device.display_name(),
            ip: device.ip4.or(device.ip6),
            since: standing.since.map(Time),
            state: standing.state.into(),
        })
        .collect();
    Ok(WhoIsOnline { success: true, at: Time(state.now()), devices, counts })
}
