//! Devices: what is known of them, and what people say of them.

use sojourn_domain::{
    mac::MacAddr,
    time::{Elapsed, Timestamp},
};
use sqlx::{Any, Transaction, any::AnyRow};

use super::{CHUNK, Columns as _, numbers};
use crate::{Store, StoreError};

/// A device as it stands in the database. Whether it sleeps, or cannot be known, is the sensor's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub number: i64,
    pub mac: MacAddr,
    /// Given by people; may be empty, as owner, kind and notes.
    pub name: String,
    pub owner: String,
    pub kind: String,
    pub notes: String,
    pub vendor: String,
    pub hostname: String,
    pub ip4: Option<String>,
    pub ip6: Option<String>,
    /// Its own grace period, if it has one.
    pub grace: Option<Elapsed>,
    pub alert_down: bool,
    pub may_sleep: bool,
    pub archived: bool,
    pub is_new: bool,
    /// It left while it was to be alerted about, and has not returned.
    pub down: bool,
    pub first_seen_at: Option<Timestamp>,
    pub seen_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// Since when it is connected, where it is.
    pub connected_since: Option<Timestamp>,
}

impl Device {
    /// What people call it: its name, else its host name, else its vendor and the tail of its MAC.
    pub fn display_name(&self) -> String {
        display_name(&self.name, &self.hostname, &self.vendor, self.mac)
    }
}

/// What people call a device, see [`Device::display_name`].
pub(super) fn display_name(name: &str, hostname: &str, vendor: &str, mac: MacAddr) -> String {
    if !name.is_empty() {
        return name.to_owned();
    }
    if !hostname.is_empty() {
        return hostname.to_owned();
    }
    let mac = mac.to_string();
    if vendor.is_empty() { mac } else { format!("{vendor} {}", &mac[9..]) }
}

macro_rules! columns {
    () => {
        "SELECT d.number, d.mac, d.name, d.owner, d.type, d.notes, d.vendor, d.hostname, d.ip4, d.ip6, d.grace_us, \
         d.alert_down + 2 * d.may_sleep + 4 * d.archived + 8 * d.is_new + 16 * d.down, \
         d.first_seen_at, n.seen_at, d.created_at, s.from_at \
         FROM devices d LEFT JOIN device_seen n ON n.device = d.number \
         LEFT JOIN presence_sessions s ON s.device = d.number AND s.open = 1 "
    };
}

fn device(row: &AnyRow) -> Result<Device, StoreError> {
    let flags = row.int(11)?;
    Ok(Device {
        number: row.int(0)?,
        mac: row.mac(1)?,
        name: row.text(2)?,
        owner: row.text(3)?,
        kind: row.text(4)?,
        notes: row.text(5)?,
        vendor: row.text(6)?,
        hostname: row.text(7)?,
        ip4: row.maybe_text(8)?,
        ip6: row.maybe_text(9)?,
        grace: row.maybe_int(10)?.map(Elapsed::from_micros),
        alert_down: flags & 1 != 0,
        may_sleep: flags & 2 != 0,
        archived: flags & 4 != 0,
        is_new: flags & 8 != 0,
        down: flags & 16 != 0,
        first_seen_at: row.maybe_time(12)?,
        seen_at: row.maybe_time(13)?,
        created_at: row.time(14)?,
        connected_since: row.maybe_time(15)?,
    })
}

/// All devices, by number.
///
/// A whole network is some thousand devices, and what people sort and search by (names in their
/// own language, states that only the sensor knows) is nothing that both databases can do alike.
pub async fn all(store: &Store) -> Result<Vec<Device>, StoreError> {
    let mut devices: Vec<Device> = Vec::new();
    loop {
        let after = devices.last().map_or(i64::MIN, |device| device.number);
        let rows = sqlx::query(concat!(columns!(), "WHERE d.number > $1 ORDER BY d.number LIMIT $2 + 0"))
            .bind(after)
            .bind(i64::from(CHUNK))
            .fetch_all(store.read())
            .await?;
        for row in &rows {
            devices.push(device(row)?);
        }
        if rows.len() < CHUNK as usize {
            return Ok(devices);
        }
    }
}

/// The device with this MAC.
pub async fn find(store: &Store, mac: MacAddr) -> Result<Option<Device>, StoreError> {
    let row = sqlx::query(concat!(columns!(), "WHERE d.mac = $1"))
        .bind(mac.to_string())
        .fetch_optional(store.read())
        .await?;
    row.as_ref().map(device).transpose()
}

/// The devices that have, or had, an address; the one that had it last comes first.
pub async fn with_ip(store: &Store, ip: &str) -> Result<Vec<Device>, StoreError> {
    let rows = sqlx::query(concat!(
        columns!(),
        "JOIN device_addresses a ON a.device = d.number WHERE a.ip = $1 \
         ORDER BY a.last_seen_at DESC, d.number LIMIT 100"
    ))
    .bind(ip)
    .fetch_all(store.read())
    .await?;
    rows.iter().map(device).collect()
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAddress {
    pub device: i64,
    pub ip: String,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
}

/// Addresses that a list tells of one device, the latest ones.
pub const ADDRESSES_SHOWN: usize = 64;

/// The addresses of the devices with numbers from `low` to `high`: by device, the latest first.
pub async fn addresses(store: &Store, low: i64, high: i64) -> Result<Vec<DeviceAddress>, StoreError> {
    let mut found: Vec<DeviceAddress> = Vec::new();
    let (mut after, mut after_ip) = (low, String::new());
    loop {
        let rows = sqlx::query(
            "SELECT device, ip, first_seen_at, last_seen_at FROM device_addresses \
             WHERE (device, ip) > ($1, $2) AND device <= $3 ORDER BY device, ip LIMIT $4 + 0",
        )
        .bind(after)
        .bind(after_ip.as_str())
        .bind(high)
        .bind(i64::from(CHUNK))
        .fetch_all(store.read())
        .await?;
        for row in &rows {
            found.push(DeviceAddress {
                device: row.int(0)?,
                ip: row.text(1)?,
                first_seen_at: row.time(2)?,
                last_seen_at: row.time(3)?,
            });
        }
        match found.last() {
            Some(last) if rows.len() == CHUNK as usize => {
                after = last.device;
                after_ip.clone_from(&last.ip);
            }
            _ => break,
        }
    }
    found.sort_by(|a, b| {
        a.device.cmp(&b.device).then(b.last_seen_at.cmp(&a.last_seen_at)).then(a.ip.cmp(&b.ip))
    });
    Ok(found)
}

/// A source that knows a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBy {
    pub device: i64,
    pub source: String,
    pub name: String,
    pub kind: String,
    pub seen_at: Timestamp,
}

/// Which sources know the devices with numbers from `low` to `high`: by device, the latest first.
pub async fn known_by(store: &Store, low: i64, high: i64) -> Result<Vec<KnownBy>, StoreError> {
    let mut found: Vec<KnownBy> = Vec::new();
    let (mut after, mut after_source) = (low, String::new());
    loop {
        let rows = sqlx::query(
            "SELECT k.device, k.source, s.name, s.kind, k.seen_at \
             FROM device_sources k JOIN sources s ON s.id = k.source \
             WHERE (k.device, k.source) > ($1, $2) AND k.device <= $3 AND s.removed_at IS NULL \
             ORDER BY k.device, k.source LIMIT $4 + 0",
        )
        .bind(after)
        .bind(after_source.as_str())
        .bind(high)
        .bind(i64::from(CHUNK))
        .fetch_all(store.read())
        .await?;
        for row in &rows {
            found.push(KnownBy {
                device: row.int(0)?,
                source: row.text(1)?,
                name: row.text(2)?,
                kind: row.text(3)?,
                seen_at: row.time(4)?,
            });
        }
        match found.last() {
            Some(last) if rows.len() == CHUNK as usize => {
                after = last.device;
                after_source.clone_from(&last.source);
            }
            _ => break,
        }
    }
    found.sort_by(|a, b| {
        a.device.cmp(&b.device).then(b.seen_at.cmp(&a.seen_at)).then(a.source.cmp(&b.source))
    });
    Ok(found)
}

/// What a person changes of a device; `None` leaves it as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceChange {
    pub name: Option<String>,
    pub owner: Option<String>,
    pub kind: Option<String>,
    pub notes: Option<String>,
    /// `Some(None)` takes the device's own grace period away.
    pub grace: Option<Option<Elapsed>>,
    pub alert_down: Option<bool>,
    pub may_sleep: Option<bool>,
    pub archived: Option<bool>,
    pub is_new: Option<bool>,
}

/// A device that a person enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    pub mac: MacAddr,
    pub vendor: String,
    pub set: DeviceChange,
    pub now: Timestamp,
}

/// The device's number, inside a transaction.
pub(super) async fn number(tx: &mut Transaction<'_, Any>, mac: MacAddr) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query("SELECT number FROM devices WHERE mac = $1")
        .bind(mac.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| row.int(0)).transpose()
}

/// The device's number; it is made where it is not known yet.
pub(super) async fn ensure(
    tx: &mut Transaction<'_, Any>,
    mac: MacAddr,
    now: Timestamp,
) -> Result<i64, StoreError> {
    if let Some(number) = number(tx, mac).await? {
        return Ok(number);
    }
    insert(tx, mac, "", now).await
}

async fn insert(
    tx: &mut Transaction<'_, Any>,
    mac: MacAddr,
    vendor: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let number = numbers::next_device(tx).await?;
    sqlx::query(
        "INSERT INTO devices (number, mac, name, owner, type, notes, vendor, hostname, alert_down, may_sleep, \
         archived, is_new, down, created_at, sessions_from_seq, sessions_from_at) \
         VALUES ($5, $1, '', '', '', '', $2, '', 0, 0, 0, 1, 0, $3, 0, $4)",
    )
    .bind(mac.to_string())
    .bind(vendor)
    .bind(now.as_micros())
    .bind(Timestamp::MIN.as_micros())
    .bind(number)
    .execute(&mut **tx)
    .await?;
    Ok(number)
}

async fn change(tx: &mut Transaction<'_, Any>, mac: MacAddr, set: &DeviceChange) -> Result<bool, StoreError> {
    let flag = |value: Option<bool>| value.map(i64::from);
    let changed = sqlx::query(
        "UPDATE devices SET name = COALESCE(CAST($2 AS TEXT), name), owner = COALESCE(CAST($3 AS TEXT), owner), \
         type = COALESCE(CAST($4 AS TEXT), type), notes = COALESCE(CAST($5 AS TEXT), notes), \
         grace_us = CASE WHEN CAST($6 AS BIGINT) = 1 THEN CAST($7 AS BIGINT) ELSE grace_us END, \
         alert_down = COALESCE(CAST($8 AS BIGINT), alert_down), \
         may_sleep = COALESCE(CAST($9 AS BIGINT), may_sleep), \
         archived = COALESCE(CAST($10 AS BIGINT), archived), \
         is_new = COALESCE(CAST($11 AS BIGINT), is_new), \
         down = CASE WHEN CAST($8 AS BIGINT) = 0 THEN 0 ELSE down END WHERE mac = $1",
    )
    .bind(mac.to_string())
    .bind(set.name.as_deref())
    .bind(set.owner.as_deref())
    .bind(set.kind.as_deref())
    .bind(set.notes.as_deref())
    .bind(i64::from(set.grace.is_some()))
    .bind(set.grace.flatten().map(Elapsed::as_micros))
    .bind(flag(set.alert_down))
    .bind(flag(set.may_sleep))
    .bind(flag(set.archived))
    .bind(flag(set.is_new))
    .execute(&mut **tx)
    .await?
    .rows_affected();
    Ok(changed > 0)
}

/// Changes devices, all or none, and says which of them exist.
pub async fn update(store: &Store, macs: &[MacAddr], set: &DeviceChange) -> Result<Vec<MacAddr>, StoreError> {
    let mut tx = store.begin().await?;
    let mut changed = Vec::new();
    for mac in macs {
        if change(&mut tx, *mac, set).await? {
            changed.push(*mac);
        }
    }
    tx.commit().await?;
    Ok(changed)
}

/// Enters a device; `false` when it is known already.
pub async fn create(store: &Store, new: &NewDevice) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    if number(&mut tx, new.mac).await?.is_some() {
        tx.rollback().await?;
        return Ok(false);
    }
    insert(&mut tx, new.mac, &new.vendor, new.now).await?;
    // A device that somebody enters is no news to them.
    let set = DeviceChange { is_new: new.set.is_new.or(Some(false)), ..new.set.clone() };
    change(&mut tx, new.mac, &set).await?;
    tx.commit().await?;
    Ok(true)
}

/// Forgets a device with all its events and sessions; `false` when it was not known. Seen again, it is
/// a new device.
pub async fn delete(store: &Store, mac: MacAddr) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    numbers::note_highest(&mut tx).await?;
    let deleted =
        sqlx::query("DELETE FROM devices WHERE mac = $1").bind(mac.to_string()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(deleted.rows_affected() > 0)
}
