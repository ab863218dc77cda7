//! Devices as they go over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sojourn_domain::{presence::DeviceState, time::Elapsed};
use sojourn_store::presence::devices::{ADDRESSES_SHOWN, Device, DeviceAddress, DeviceChange, KnownBy};
use utoipa::ToSchema;

use super::{Time, line, schema};
use crate::http::{problem::Problem, tracking::Standing};

/// What people are told of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StateWire {
    Online,
    /// Unseen for a while, as it may be.
    Sleeping,
    /// Unseen, but whoever would see it cannot look.
    Unknown,
    /// Absent, and to be alerted about.
    Down,
    Offline,
}

impl From<DeviceState> for StateWire {
    fn from(state: DeviceState) -> Self {
        match state {
            DeviceState::Online => Self::Online,
            DeviceState::Sleeping => Self::Sleeping,
            DeviceState::Unknown => Self::Unknown,
            DeviceState::Down => Self::Down,
            DeviceState::Offline => Self::Offline,
        }
    }
}

/// How many devices are in which state. Archived devices count under `archived` and `all` alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct CountsWire {
    pub online: u64,
    pub sleeping: u64,
    pub unknown: u64,
    pub down: u64,
    pub offline: u64,
    pub archived: u64,
    pub new: u64,
    pub all: u64,
}

impl CountsWire {
    pub fn add(&mut self, device: &Device, state: DeviceState) {
        self.all += 1;
        if device.archived {
            self.archived += 1;
            return;
        }
        self.new += u64::from(device.is_new);
        *match state {
            DeviceState::Online => &mut self.online,
            DeviceState::Sleeping => &mut self.sleeping,
            DeviceState::Unknown => &mut self.unknown,
            DeviceState::Down => &mut self.down,
            DeviceState::Offline => &mut self.offline,
        } += 1;
    }
}

/// An address of a device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressWire {
    ip: String,
    /// 4 or 6.
    #[schema(minimum = 4, maximum = 6)]
    family: u8,
    first_seen: Time,
    last_seen: Time,
}

/// A source that knows a device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSourceWire {
    id: String,
    name: String,
    kind: String,
    last_seen: Time,
}

/// A device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceWire {
    #[schema(example = "AA:BB:CC:DD:EE:FF")]
    mac: String,
    /// Given by people; may be empty, as owner, type and notes.
    name: String,
    /// The name, else the host name, else the vendor and the tail of the MAC address.
    display_name: String,
    owner: String,
    r#type: String,
    notes: String,
    /// From the IEEE's registry; may be empty.
    vendor: String,
    /// What it calls itself; may be empty.
    hostname: String,
    /// The MAC address was made by software, as phones do against tracking.
    randomised: bool,
    /// Nobody has looked at it yet.
    is_new: bool,
    state: StateWire,
    /// Since when it is in this state, where that is known.
    since: Option<Time>,
    first_seen: Option<Time>,
    last_seen: Option<Time>,
    /// The primary IPv4 address, else the IPv6 address.
    ip: Option<String>,
    addresses: Vec<AddressWire>,
    /// Its own grace period, if it has one.
    grace_seconds: Option<i64>,
    alert_down: bool,
    may_sleep: bool,
    archived: bool,
    sources: Vec<DeviceSourceWire>,
}

/// What belongs to devices and is read for many of them at once.
#[derive(Debug, Default)]
pub struct Belongings {
    addresses: BTreeMap<i64, Vec<DeviceAddress>>,
    sources: BTreeMap<i64, Vec<KnownBy>>,
}

impl Belongings {
    pub fn new(addresses: Vec<DeviceAddress>, sources: Vec<KnownBy>) -> Self {
        let mut found = Self::default();
        for address in addresses {
            found.addresses.entry(address.device).or_default().push(address);
        }
        for source in sources {
            found.sources.entry(source.device).or_default().push(source);
        }
        found
    }
}

impl DeviceWire {
    pub(in crate::http) fn new(device: Device, standing: Standing, belongings: &mut Belongings) -> Self {
        let addresses = belongings.addresses.remove(&device.number).unwrap_or_default();
        let sources = belongings.sources.remove(&device.number).unwrap_or_default();
        Self {
            display_name: device.display_name(),
            mac: device.mac.to_string(),
            randomised: device.mac.is_randomised(),
            name: device.name,
            owner: device.owner,
            r#type: device.kind,
            notes: device.notes,
            vendor: device.vendor,
            hostname: device.hostname,
            is_new: device.is_new,
            state: standing.state.into(),
            since: standing.since.map(Time),
            first_seen: device.first_seen_at.map(Time),
            last_seen: standing.last_seen.map(Time),
            ip: device.ip4.or(device.ip6),
            addresses: addresses
                .into_iter()
                .take(ADDRESSES_SHOWN)
                .map(|address| AddressWire {
                    family: if address.ip.contains(':') { 6 } else { 4 },
                    ip: address.ip,
                    first_seen: Time(address.first_seen_at),
                    last_seen: Time(address.last_seen_at),
                })
                .collect(),
            grace_seconds: device.grace.map(Elapsed::as_secs),
            alert_down: device.alert_down,
            may_sleep: device.may_sleep,
            archived: device.archived,
            sources: sources
                .into_iter()
                .map(|source| DeviceSourceWire {
                    id: source.source,
                    name: source.name,
                    kind: source.kind,
                    last_seen: Time(source.seen_at),
                })
                .collect(),
        }
    }
}

/// What to change of a device; what is left out stays as it is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceSet {
    #[schema(max_length = 128)]
    pub name: Option<String>,
    #[schema(max_length = 128)]
    pub owner: Option<String>,
    #[schema(max_length = 64)]
    pub r#type: Option<String>,
    /// May have several lines.
    #[schema(max_length = 4000)]
    pub notes: Option<String>,
    /// How long it may be unseen before it is absent; null takes its own grace period away.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 2592000)]
    pub grace_seconds: Option<Option<i64>>,
    pub alert_down: Option<bool>,
    pub may_sleep: Option<bool>,
    pub archived: Option<bool>,
    pub is_new: Option<bool>,
}

/// Tells null from nothing.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::<i64>::deserialize(deserializer).map(Some)
}

/// The longest grace period: 30 days.
const MAX_GRACE_SECONDS: i64 = 2_592_000;

impl DeviceSet {
    /// Checks the values; `place` stands before the names of fields in what is said about them.
    pub fn check(self, place: &str) -> Result<DeviceChange, Problem> {
        let field = |name: &str| format!("{place}{name}");
        let text = |name: &str, text: Option<String>, max| {
            text.map(|text| line(&field(name), text, max)).transpose()
        };
        if self.grace_seconds.flatten().is_some_and(|grace| !(0..=MAX_GRACE_SECONDS).contains(&grace)) {
            let message = format!("expected whole seconds from 0 to {MAX_GRACE_SECONDS}, or null");
            return Err(Problem::invalid(field("graceSeconds"), message));
        }
        let unfit = |c: char| c.is_control() && c != '\n' && c != '\t';
        if self.notes.as_ref().is_some_and(|notes| notes.chars().any(unfit) || notes.chars().count() > 4000) {
            let message = "expected at most 4000 characters without control characters other than line feeds";
            return Err(Problem::invalid(field("notes"), message));
        }
        Ok(DeviceChange {
            name: text("name", self.name, 128)?,
            owner: text("owner", self.owner, 128)?,
            kind: text("type", self.r#type, 64)?,
            notes: self.notes,
            grace: self.grace_seconds.map(|grace| grace.map(Elapsed::from_secs)),
            alert_down: self.alert_down,
            may_sleep: self.may_sleep,
            archived: self.archived,
            is_new: self.is_new,
        })
    }
}

/// A device that a person enters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewDeviceWire {
    #[schema(schema_with = schema::mac)]
    pub mac: String,
    #[schema(max_length = 128)]
    pub name: Option<String>,
    #[schema(max_length = 128)]
    pub owner: Option<String>,
    #[schema(max_length = 64)]
    pub r#type: Option<String>,
    #[schema(max_length = 4000)]
    pub notes: Option<String>,
    #[schema(minimum = 0, maximum = 2592000)]
    pub grace_seconds: Option<i64>,
    pub alert_down: Option<bool>,
    pub may_sleep: Option<bool>,
    pub archived: Option<bool>,
    pub is_new: Option<bool>,
}

impl NewDeviceWire {
    pub fn set(self) -> DeviceSet {
        DeviceSet {
            name: self.name,
            owner: self.owner,
            r#type: self.r#type,
            notes: self.notes,
            grace_seconds: Some(self.grace_seconds),
            alert_down: self.alert_down,
            may_sleep: self.may_sleep,
            archived: self.archived,
            is_new: self.is_new,
        }
    }
}
