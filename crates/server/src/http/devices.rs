//! Devices: list, look at, change, enter, forget; and a device's timeline.

use std::{cmp::Ordering, net::IpAddr};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sojourn_domain::mac::MacAddr;
use sojourn_store::presence::devices::{self, Device, NewDevice};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, may},
    extract::{Json, Path, Query},
    page::Page,
    problem::Problem,
    tracking::{self, Standing, Standings},
    wire::{
        self,
        devices::{Belongings, CountsWire, DeviceSet, DeviceWire, NewDeviceWire, StateWire},
        schema,
        values::Done,
    },
};
use crate::state::AppState;

const PAGE: u32 = 100;
const MAX_PAGE: u32 = 2000;
/// Devices that one request changes at most.
const MAX_BULK: usize = 10_000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list, create, update_many)).routes(routes!(show, update, delete))
}

/// Which devices, by whether they are archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Archived {
    #[default]
    False,
    True,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Sort {
    #[default]
    DisplayName,
    State,
    Ip,
    Vendor,
    FirstSeen,
    LastSeen,
    Owner,
    Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Dir {
    #[default]
    Asc,
    Desc,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Text in the name, owner, type, notes, vendor, host name, MAC or IP address, in any case.
    q: Option<String>,
    #[param(inline)]
    state: Option<StateWire>,
    /// Exactly this type.
    r#type: Option<String>,
    /// Exactly this owner.
    owner: Option<String>,
    /// Only devices that nobody has looked at yet, or only the others.
    is_new: Option<bool>,
    #[serde(default)]
    #[param(inline, required = false)]
    archived: Archived,
    #[serde(default)]
    #[param(inline, required = false)]
    sort: Sort,
    #[serde(default)]
    #[param(inline, required = false)]
    dir: Dir,
    #[param(minimum = 1, maximum = 1000000)]
    page: Option<u32>,
    /// Cut to 2000; 100 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
}

impl ListQuery {
    /// Devices that are not archived and hold a text, in an order.
    pub(super) fn holding(q: Option<String>, sort: Sort) -> Self {
        Self { q, sort, ..Self::default() }
    }
}

/// A page of devices.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceList {
    /// Always `true`.
    success: bool,
    devices: Vec<DeviceWire>,
    page: u32,
    limit: u32,
    /// How many devices the filters let through.
    total: usize,
    /// Of all devices, whatever the filters say.
    counts: CountsWire,
}

/// List devices
#[utoipa::path(
    get, path = "/devices", tag = "devices", operation_id = "list_devices", params(ListQuery),
    responses((status = 200, body = DeviceList))
)]
async fn list(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Query(query): Query<ListQuery>,
) -> Result<Json<DeviceList>, Problem> {
    let page = Page::new(query.page, query.limit, PAGE, MAX_PAGE)?;
    let (found, counts) = select(&state, &query).await?;
    let total = found.len();
    let devices = complete(&state, of_page(found, page)).await?;
    Ok(Json(DeviceList { success: true, devices, page: page.number, limit: page.limit, total, counts }))
}

/// The devices that a query asks for, in its order, and the counts of all devices.
pub(super) async fn select(
    state: &AppState,
    query: &ListQuery,
) -> Result<(Vec<(Device, Standing)>, CountsWire), Problem> {
    let standings = Standings::of_all(state).await?;
    let mut counts = CountsWire::default();
    let wanted = Wanted::new(query);
    let mut found = Vec::new();
    for device in devices::all(&state.store).await? {
        let standing = standings.of(&device);
        counts.add(&device, standing.state);
        if wanted.holds(&device, &standing) {
            found.push(Found::new(device, standing, query.sort));
        }
    }
    found.sort_by(|a, b| {
        let order = a.compare(b, query.sort);
        let order = if query.dir == Dir::Desc { order.reverse() } else { order };
        order.then_with(|| a.device.mac.cmp(&b.device.mac))
    });
    Ok((found.into_iter().map(|found| (found.device, found.standing)).collect(), counts))
}

pub(super) fn of_page<T>(found: Vec<T>, page: Page) -> Vec<T> {
    let offset = usize::try_from(page.offset()).unwrap_or(usize::MAX);
    found.into_iter().skip(offset).take(page.limit as usize).collect()
}

/// What a filter asks for.
struct Wanted<'a> {
    query: &'a ListQuery,
    text: Option<String>,
}

impl<'a> Wanted<'a> {
    fn new(query: &'a ListQuery) -> Self {
        let text = query.q.as_ref().map(|text| text.trim().to_lowercase());
        Self { query, text: text.filter(|text| !text.is_empty()) }
    }

    fn holds(&self, device: &Device, standing: &Standing) -> bool {
        let Self { query, text } = self;
        let archived = match query.archived {
            Archived::False => !device.archived,
            Archived::True => device.archived,
            Archived::All => true,
        };
        archived
            && query.state.is_none_or(|state| state == standing.state.into())
            && query.r#type.as_ref().is_none_or(|kind| *kind == device.kind)
            && query.owner.as_ref().is_none_or(|owner| *owner == device.owner)
            && query.is_new.is_none_or(|is_new| is_new == device.is_new)
            && text.as_ref().is_none_or(|text| {
                let holds = |cell: &str| cell.to_lowercase().contains(text);
                let ips = [device.ip4.as_deref(), device.ip6.as_deref()];
                holds(&device.name)
                    || holds(&device.owner)
                    || holds(&device.kind)
                    || holds(&device.notes)
                    || holds(&device.vendor)
                    || holds(&device.hostname)
                    || holds(&device.mac.to_string())
                    || ips.into_iter().flatten().any(holds)
            })
    }
}

/// A device in a list, with what it is sorted by.
struct Found {
    device: Device,
    standing: Standing,
    text: String,
    number: Option<u128>,
}

impl Found {
    fn new(device: Device, standing: Standing, sort: Sort) -> Self {
        let (text, number) = match sort {
            Sort::DisplayName => (device.display_name().to_lowercase(), None),
            Sort::Vendor => (device.vendor.to_lowercase(), None),
            Sort::Owner => (device.owner.to_lowercase(), None),
            Sort::Type => (device.kind.to_lowercase(), None),
            Sort::Ip => (String::new(), ip_number(&device)),
            Sort::State | Sort::FirstSeen | Sort::LastSeen => (String::new(), None),
        };
        Self { device, standing, text, number }
    }

    fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        match sort {
            Sort::DisplayName | Sort::Vendor | Sort::Owner | Sort::Type => {
                // What nobody filled in comes last.
                (self.text.is_empty(), &self.text).cmp(&(other.text.is_empty(), &other.text))
            }
            Sort::Ip => (self.number.is_none(), self.number).cmp(&(other.number.is_none(), other.number)),
            Sort::State => {
                (self.standing.state, &self.device.mac).cmp(&(other.standing.state, &other.device.mac))
            }
            Sort::FirstSeen => self.device.first_seen_at.cmp(&other.device.first_seen_at),
            Sort::LastSeen => self.standing.last_seen.cmp(&other.standing.last_seen),
        }
    }
}

/// IPv4 addresses come before IPv6 addresses.
fn ip_number(device: &Device) -> Option<u128> {
    let ip = device.ip4.as_ref().or(device.ip6.as_ref())?;
    Some(match ip.parse().ok()? {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    })
}

/// Adds to devices what belongs to them.
pub(super) async fn complete(
    state: &AppState,
    found: Vec<(Device, Standing)>,
) -> Result<Vec<DeviceWire>, Problem> {
    let numbers = || found.iter().map(|(device, _)| device.number);
    let (Some(low), Some(high)) = (numbers().min(), numbers().max()) else { return Ok(Vec::new()) };
    // A few devices far apart are read one by one; many, in one go with what lies between them.
    let span = high.abs_diff(low);
    let mut belongings = if found.len() < 20 && span > 100 {
        let (mut addresses, mut sources) = (Vec::new(), Vec::new());
        for number in numbers() {
            addresses.extend(devices::addresses(&state.store, number, number).await?);
            sources.extend(devices::known_by(&state.store, number, number).await?);
        }
        Belongings::new(addresses, sources)
    } else {
        Belongings::new(
            devices::addresses(&state.store, low, high).await?,
            devices::known_by(&state.store, low, high).await?,
        )
    };
    Ok(found
        .into_iter()
        .map(|(device, standing)| DeviceWire::new(device, standing, &mut belongings))
        .collect())
}

/// A whole device, as it is now; `None` when it is not known.
pub(super) async fn whole(state: &AppState, mac: MacAddr) -> Result<Option<DeviceWire>, Problem> {
    let Some(device) = devices::find(&state.store, mac).await? else { return Ok(None) };
    let standing = Standings::of_one(state, mac).await?.of(&device);
    Ok(complete(state, vec![(device, standing)]).await?.pop())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DevicePath {
    /// The device's MAC address.
    #[param(schema_with = schema::mac)]
    mac: String,
}

impl DevicePath {
    pub(super) fn mac(&self) -> Result<MacAddr, Problem> {
        wire::mac("mac", &self.mac)
    }
}

pub(super) fn unknown(mac: MacAddr) -> Problem {
    Problem::not_found(format_args!("device {mac}"))
}

/// Look at a device
#[utoipa::path(
    get, path = "/devices/{mac}", tag = "devices", operation_id = "show_device", params(DevicePath),
    responses((status = 200, body = DeviceWire))
)]
async fn show(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    Path(path): Path<DevicePath>,
) -> Result<Json<DeviceWire>, Problem> {
    let mac = path.mac()?;
    Ok(Json(whole(&state, mac).await?.ok_or_else(|| unknown(mac))?))
}

/// Change a device
#[utoipa::path(
    patch, path = "/devices/{mac}", tag = "devices", operation_id = "update_device", params(DevicePath), request_body = DeviceSet,
    responses((status = 200, body = DeviceWire))
)]
async fn update(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Path(path): Path<DevicePath>,
    Json(set): Json<DeviceSet>,
) -> Result<Json<DeviceWire>, Problem> {
    let mac = path.mac()?;
    let fields = named(&set);
    let change = set.check("")?;
    if state.presence.update_devices(&[mac], change).await?.is_empty() {
        return Err(unknown(mac));
    }
    tracking::audit(&state, &actor, "device.update", mac, serde_json::json!({ "fields": fields })).await?;
    Ok(Json(whole(&state, mac).await?.ok_or_else(|| unknown(mac))?))
}

/// The names of the fields that are set.
fn named(set: &DeviceSet) -> Vec<&'static str> {
    [
        ("name", set.name.is_some()),
        ("owner", set.owner.is_some()),
        ("type", set.r#type.is_some()),
        ("notes", set.notes.is_some()),
        ("graceSeconds", set.grace_seconds.is_some()),
        ("alertDown", set.alert_down.is_some()),
        ("maySleep", set.may_sleep.is_some()),
        ("archived", set.archived.is_some()),
        ("isNew", set.is_new.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect()
}

/// Forget a device
///
/// Its events and sessions go with it, those entered by hand too. Seen again, it is a new device.
#[utoipa::path(
    delete, path = "/devices/{mac}", tag = "devices", operation_id = "delete_device", params(DevicePath),
    responses((status = 200, body = Done))
)]
async fn delete(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Path(path): Path<DevicePath>,
) -> Result<Json<Done>, Problem> {
    let mac = path.mac()?;
    if !state.presence.delete_device(mac).await? {
        return Err(unknown(mac));
    }
    tracking::audit(&state, &actor, "device.delete", mac, serde_json::json!({})).await?;
    Ok(Json(Done::OK))
}

/// Enter a device
#[utoipa::path(
    post, path = "/devices", tag = "devices", operation_id = "create_device", request_body = NewDeviceWire,
    responses(
        (status = 201, body = DeviceWire),
        (status = 409, description = "The device is known already", content_type = "application/problem+json",
         body = super::problem::ProblemBody),
    )
)]
async fn create(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Json(body): Json<NewDeviceWire>,
) -> Result<(StatusCode, Json<DeviceWire>), Problem> {
    let mac = wire::device_mac("mac", &body.mac)?;
    let set = body.set().check("")?;
    let vendor = sojourn_sensor::vendor::of(mac).unwrap_or_default().to_owned();
    let new = NewDevice { mac, vendor, set, now: state.now() };
    if !state.presence.create_device(new).await? {
        return Err(Problem::conflict("device_known", format!("the device {mac} is known already")));
    }
    tracking::audit(&state, &actor, "device.create", mac, serde_json::json!({})).await?;
    let device = whole(&state, mac).await?.ok_or_else(|| unknown(mac))?;
    Ok((StatusCode::CREATED, Json(device)))
}

/// What to change of several devices.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateMany {
    #[schema(max_items = 10000)]
    macs: Vec<MacText>,
    set: DeviceSet,
}

/// A MAC address.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = MacAddress, pattern = "^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$|^[0-9A-Fa-f]{4}([.][0-9A-Fa-f]{4}){2}$")]
struct MacText(String);

/// How many devices were changed.
#[derive(Debug, Serialize, ToSchema)]
struct Changed {
    /// Always `true`.
    ok: bool,
    /// Devices that are not known are left out.
    changed: usize,
}

/// Change several devices, all or none
#[utoipa::path(
    patch, path = "/devices", tag = "devices", operation_id = "update_devices", request_body = UpdateMany,
    responses((status = 200, body = Changed))
)]
async fn update_many(
    Allowed { state, actor, .. }: Allowed<may::PresenceManage>,
    Json(body): Json<UpdateMany>,
) -> Result<Json<Changed>, Problem> {
    if body.macs.len() > MAX_BULK {
        return Err(Problem::invalid("macs", format!("expected at most {MAX_BULK} devices")));
    }
    let mut macs = Vec::with_capacity(body.macs.len());
    for (index, MacText(text)) in body.macs.iter().enumerate() {
        macs.push(wire::mac(&format!("macs[{index}]"), text)?);
    }
    macs.sort_unstable();
    macs.dedup();
    let fields = named(&body.set);
    let change = body.set.check("set.")?;
    let changed = state.presence.update_devices(&macs, change).await?.len();
    if changed > 0 {
        let detail = serde_json::json!({ "fields": fields, "devices": changed });
        tracking::audit(&state, &actor, "devices.update", format!("{changed} devices"), detail).await?;
    }
    Ok(Json(Changed { ok: true, changed }))
}
