//! Reading back what the tracker needs: all devices and sources, and of each device's sessions
//! the open one and the last.

use std::collections::{BTreeMap, VecDeque};

use sojourn_domain::{
    id::SourceId,
    mac::MacAddr,
    presence::{
        DeviceNumber, End, EventKind, Gap, GapReason, Health, PresenceSession, ScanOutcome, SourceKind,
        Start, Strength, Tracker,
        tracker::{Address, Device, History, OpenSession, Random, Relation, SourceConfig, SourceState},
    },
    time::{Elapsed, Timestamp},
};
use sqlx::any::AnyRow;

use super::{Columns as _, numbers};
use crate::{Store, StoreError, readers::Readers};

/// Gaps of each source that matter to the tracker.
const GAPS: i64 = 64;

macro_rules! session_columns {
    () => {
        "SELECT id, device, started_at, ended_at, from_at, until_at, start_type, end_type, ip, info, open, \
         opening_seq, closing_seq FROM presence_sessions "
    };
}

/// The tracker as the store last knew it. `strength_of` tells what a source's settings (JSON) make
/// of its kind.
pub async fn tracker(
    store: &Store,
    strength_of: impl Fn(SourceKind, &str) -> Strength,
    random: Random,
) -> Result<Tracker, StoreError> {
    let sources = sources(store, strength_of).await?;
    let devices = devices(store, None).await?;
    let mut connection = store.read().acquire().await?;
    let next_device = numbers::next_device(&mut connection).await?;
    let next_seq = numbers::next_event(&mut connection).await?;
    Ok(Tracker::new(sources, devices, next_device, next_seq, random))
}

/// One device as the tracker would load it.
pub async fn device(store: &Store, mac: MacAddr) -> Result<Option<Device>, StoreError> {
    Ok(devices(store, Some(mac)).await?.pop())
}

/// The tracker's own sessions around a moment.
pub async fn history(store: &Store, device: DeviceNumber, at: Timestamp) -> Result<History, StoreError> {
    let previous = sqlx::query(concat!(
        session_columns!(),
        "WHERE device = $1 AND manual = 0 AND from_at <= $2 ORDER BY from_at DESC, id DESC LIMIT 1"
    ))
    .bind(device.0)
    .bind(at.as_micros())
    .fetch_optional(store.read())
    .await?;
    let next = sqlx::query(concat!(
        session_columns!(),
        "WHERE device = $1 AND manual = 0 AND from_at > $2 ORDER BY from_at, id LIMIT 1"
    ))
    .bind(device.0)
    .bind(at.as_micros())
    .fetch_optional(store.read())
    .await?;
    Ok(History {
        previous: previous.as_ref().map(session).transpose()?,
        next: next.as_ref().map(session).transpose()?,
    })
}

fn session(row: &AnyRow) -> Result<PresenceSession, StoreError> {
    let kind = |text: Option<String>| {
        let text = text.unwrap_or_default();
        EventKind::parse(&text).ok_or_else(|| StoreError::Corrupt(format!("event type {text:?}")))
    };
    let start = match row.maybe_time(2)? {
        Some(at) => Start::Known { at, kind: kind(row.maybe_text(6)?)? },
        None => Start::Missing,
    };
    let end = match (row.flag(10)?, row.maybe_time(3)?) {
        (true, _) => End::Open,
        (false, Some(at)) => End::Known { at, kind: kind(row.maybe_text(7)?)? },
        (false, None) => End::Missing { last_seen: row.time(5)?, kind: kind(row.maybe_text(7)?)? },
    };
    Ok(PresenceSession {
        id: row.parsed(0, "session id")?,
        device: DeviceNumber(row.int(1)?),
        start,
        end,
        ip: row.maybe_text(8)?.and_then(|ip| ip.parse().ok()),
        info: row.text(9)?,
        opening_seq: row.maybe_int(11)?,
        closing_seq: row.maybe_int(12)?,
    })
}

/// All devices, or one.
async fn devices(store: &Store, only: Option<MacAddr>) -> Result<Vec<Device>, StoreError> {
    let pool = store.read();
    let only = only.map(|mac| mac.to_string());
    let rows = sqlx::query(
        "SELECT d.number, d.mac, d.hostname, d.ip4, d.ip6, d.grace_us, d.alert_down, d.may_sleep, d.down, \
         d.first_seen_at, s.seen_at, d.sessions_from_at, \
         (SELECT COUNT(*) FROM presence_sessions m WHERE m.device = d.number AND m.open = 1 AND m.manual = 1) \
         FROM devices d LEFT JOIN device_seen s ON s.device = d.number \
         WHERE CAST($1 AS TEXT) IS NULL OR d.mac = $1 ORDER BY d.number",
    )
    .bind(only.as_deref())
    .fetch_all(pool)
    .await?;
    let mut devices = BTreeMap::new();
    for row in &rows {
        let mut device = Device::new(DeviceNumber(row.int(0)?), row.mac(1)?);
        device.hostname = row.text(2)?;
        device.ip4 = row.maybe_text(3)?.and_then(|ip| ip.parse().ok());
        device.ip6 = row.maybe_text(4)?.and_then(|ip| ip.parse().ok());
        device.grace = row.maybe_int(5)?.map(Elapsed::from_micros);
        device.alert_down = row.flag(6)?;
        device.may_sleep = row.flag(7)?;
        device.down = row.flag(8)?;
        device.first_seen = row.maybe_time(9)?;
        device.last_seen = row.maybe_time(10)?;
        device.saved_seen = device.last_seen;
        device.sessions_from = row.time(11)?;
        device.manual_open = row.flag(12)?;
        devices.insert(device.number, device);
    }
    let range = match (devices.keys().next(), devices.keys().next_back()) {
        (Some(first), Some(last)) => (first.0, last.0),
        _ => return Ok(Vec::new()),
    };
    load_addresses(pool, range, &mut devices).await?;
    load_relations(pool, range, &mut devices).await?;
    load_sessions(pool, range, &mut devices).await?;
    Ok(devices.into_values().collect())
}

type Devices = BTreeMap<DeviceNumber, Device>;

async fn load_addresses(pool: &Readers, range: (i64, i64), devices: &mut Devices) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT device, ip, first_seen_at, last_seen_at FROM device_addresses \
         WHERE device BETWEEN $1 AND $2 ORDER BY device, last_seen_at DESC",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(pool)
    .await?;
    for row in &rows {
        if let Some(device) = devices.get_mut(&DeviceNumber(row.int(0)?)) {
            let address =
                Address { ip: row.parsed(1, "address")?, first_seen: row.time(2)?, last_seen: row.time(3)? };
            device.load_address(address);
        }
    }
    Ok(())
}

async fn load_relations(pool: &Readers, range: (i64, i64), devices: &mut Devices) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT device, source, seen_at, held_until FROM device_sources \
         WHERE device BETWEEN $1 AND $2 ORDER BY device, source",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(pool)
    .await?;
    for row in &rows {
        if let Some(device) = devices.get_mut(&DeviceNumber(row.int(0)?)) {
            let seen_at = row.time(2)?;
            device.relations.push(Relation {
                source: row.parsed(1, "source id")?,
                seen_at,
                held_until: row.maybe_time(3)?,
                saved_at: seen_at,
            });
        }
    }
    Ok(())
}

async fn load_sessions(pool: &Readers, range: (i64, i64), devices: &mut Devices) -> Result<(), StoreError> {
    let open = sqlx::query(concat!(
        session_columns!(),
        "WHERE open = 1 AND manual = 0 AND device BETWEEN $1 AND $2 ORDER BY device"
    ))
    .bind(range.0)
    .bind(range.1)
    .fetch_all(pool)
    .await?;
    for row in &open {
        let session = session(row)?;
        if let Some(device) = devices.get_mut(&session.device) {
            let last_seen = device.last_seen.unwrap_or_else(|| session.from()).max(session.from());
            device.open = Some(OpenSession { session, last_seen });
        }
    }
    // The index on (device, from_at, id) finds each device's last session in one step.
    let last = sqlx::query(
        "SELECT p.id, p.device, p.started_at, p.ended_at, p.from_at, p.until_at, p.start_type, p.end_type, p.ip, \
         p.info, p.open, p.opening_seq, p.closing_seq FROM devices d JOIN presence_sessions p ON p.id = \
         (SELECT l.id FROM presence_sessions l WHERE l.device = d.number AND l.open = 0 AND l.manual = 0 \
         ORDER BY l.from_at DESC, l.id DESC LIMIT 1) WHERE d.number BETWEEN $1 AND $2 ORDER BY d.number",
    )
    .bind(range.0)
    .bind(range.1)
    .fetch_all(pool)
    .await?;
    for row in &last {
        let session = session(row)?;
        if let Some(device) = devices.get_mut(&session.device) {
            device.remembers_from = session.from();
            device.last = Some(session);
        }
    }
    Ok(())
}

async fn sources(
    store: &Store,
    strength_of: impl Fn(SourceKind, &str) -> Strength,
) -> Result<Vec<SourceState>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, name, kind, settings, interval_us, grace_us, enabled, created_at, scope, health, health_since, \
         health_message, last_started_at, last_finished_at, last_seen_count, complete_at, previous_complete_at, \
         alive_at, last_seq, last_outcome, last_message FROM sources WHERE removed_at IS NULL ORDER BY created_at, id",
    )
    .fetch_all(store.read())
    .await?;
    let mut sources = Vec::with_capacity(rows.len());
    for row in &rows {
        let kind: SourceKind = row.parsed(2, "source kind")?;
        let config = SourceConfig {
            id: row.parsed(0, "source id")?,
            name: row.text(1)?,
            kind,
            strength: strength_of(kind, &row.text(3)?),
            interval: Elapsed::from_micros(row.int(4)?),
            grace: Elapsed::from_micros(row.int(5)?),
            least_grace: kind.least_grace(),
            enabled: row.flag(6)?,
            created_at: row.time(7)?,
        };
        let mut state = SourceState::new(config);
        state.scope = row.text(8)?;
        state.health = health(&row.text(9)?, row.text(11)?);
        state.health_since = row.time(10)?;
        state.last_started = row.maybe_time(12)?;
        state.last_finished = row.maybe_time(13)?;
        state.last_seen_count = row.maybe_int(14)?;
        state.complete_at = row.maybe_time(15)?;
        state.previous_complete_at = row.maybe_time(16)?;
        state.alive_at = row.maybe_time(17)?;
        state.last_seq = row.int(18)?;
        state.last_outcome = outcome(row.maybe_text(19)?, row.maybe_text(20)?)?;
        (state.gaps, state.open_gap) = gaps(store, state.config.id).await?;
        sources.push(state);
    }
    Ok(sources)
}

/// How a scan ended, as two columns tell it.
pub(super) fn outcome(
    key: Option<String>,
    message: Option<String>,
) -> Result<Option<ScanOutcome>, StoreError> {
    let Some(key) = key else { return Ok(None) };
    ScanOutcome::of(&key, message.unwrap_or_default())
        .map(Some)
        .ok_or_else(|| StoreError::Corrupt(format!("scan outcome {key:?}")))
}

fn health(key: &str, message: String) -> Health {
    match key {
        "ok" => Health::Ok,
        "stopped" => Health::Stopped,
        "failed" => Health::Gap(GapReason::Failed, message),
        "blind" => Health::Gap(GapReason::Blind, message),
        "not_running" => Health::Gap(GapReason::NotRunning, message),
        _ => Health::Waiting,
    }
}

async fn gaps(store: &Store, source: SourceId) -> Result<(VecDeque<Gap>, Option<Gap>), StoreError> {
    let rows = sqlx::query(
        "SELECT id, from_at, until_at, before_at, reason, message FROM source_gaps \
         WHERE source = $1 ORDER BY from_at DESC, id DESC LIMIT $2 + 0",
    )
    .bind(source.to_string())
    .bind(GAPS)
    .fetch_all(store.read())
    .await?;
    let (mut closed, mut open) = (VecDeque::new(), None);
    for row in rows.iter().rev() {
        let reason = row.text(4)?;
        let gap = Gap {
            id: row.parsed(0, "gap id")?,
            from: row.time(1)?,
            until: row.maybe_time(2)?,
            before: row.maybe_time(3)?,
            reason: reason.parse().map_err(|()| StoreError::Corrupt(format!("gap reason {reason:?}")))?,
            message: row.text(5)?,
        };
        match gap.until {
            Some(_) => closed.push_back(gap),
            None => open = Some(gap),
        }
    }
    Ok((closed, open))
}
