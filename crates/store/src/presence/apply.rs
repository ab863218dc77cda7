//! Writing what the tracker wants written, in one transaction.

use sojourn_domain::{
    id::{GapId, PresenceSessionId, SourceId},
    mac::MacAddr,
    presence::{
        Changes, DeviceNumber, End, Gap, PresenceEvent, PresenceSession, ScanOutcome, Start, Tracker,
        tracker::{Device, SourceState},
    },
    time::Timestamp,
};
use sqlx::AnyConnection;

use crate::{Store, StoreError};

/// The tracker's changes with the rows they need, independent of the tracker from here on.
#[derive(Debug, Clone)]
pub struct Batch {
    changes: Changes,
    new_devices: Vec<NewRow>,
    devices: Vec<Device>,
    sources: Vec<SourceState>,
    recorded_at: Timestamp,
}

#[derive(Debug, Clone)]
struct NewRow {
    device: Device,
    vendor: String,
}

impl Batch {
    /// Takes the tracker's changes; `None` when there are none.
    pub fn take(
        tracker: &mut Tracker,
        vendor_of: impl Fn(MacAddr) -> String,
        recorded_at: Timestamp,
    ) -> Option<Self> {
        let changes = tracker.take_changes();
        if changes.is_empty() {
            return None;
        }
        let rows = |numbers: &std::collections::BTreeSet<DeviceNumber>| -> Vec<Device> {
            numbers.iter().filter_map(|number| tracker.device_by_number(*number)).cloned().collect()
        };
        let new_devices = rows(&changes.new_devices)
            .into_iter()
            .map(|device| NewRow { vendor: vendor_of(device.mac), device })
            .collect();
        let devices = rows(&changes.devices);
        let sources = changes.sources.iter().filter_map(|id| tracker.source(*id)).cloned().collect();
        Some(Self { changes, new_devices, devices, sources, recorded_at })
    }

    /// The events it brings, in the order in which they were recorded.
    pub fn events(&self) -> &[PresenceEvent] {
        &self.changes.events
    }

    /// Everything about a device that people see has changed, for these devices.
    pub fn touched_devices(&self) -> impl Iterator<Item = DeviceNumber> {
        let of_sessions = self.changes.sessions.values().map(|session| session.device);
        self.changes
            .new_devices
            .iter()
            .copied()
            .chain(self.changes.devices.iter().copied())
            .chain(self.changes.events.iter().map(|event| event.device))
            .chain(of_sessions)
    }

    pub fn touched_sources(&self) -> impl Iterator<Item = SourceId> {
        self.changes.sources.iter().copied().chain(self.changes.gaps.values().map(|(source, _)| *source))
    }
}

/// Writes a batch, whole or not at all.
///
/// Events that a batch voids may be gone through retention; everything else it changes exists.
pub async fn apply(store: &Store, batch: &Batch) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let changes = &batch.changes;
    for row in &batch.new_devices {
        insert_device(&mut tx, row, batch.recorded_at).await?;
    }
    for device in &batch.devices {
        update_device(&mut tx, device).await?;
    }
    for source in &batch.sources {
        update_source(&mut tx, source).await?;
    }
    for void in &changes.voided {
        sqlx::query("UPDATE presence_events SET type = $2, info = $3 WHERE seq = $1")
            .bind(void.seq)
            .bind(void.kind.name())
            .bind(void.info.as_str())
            .execute(&mut *tx)
            .await?;
    }
    for event in &changes.events {
        insert_event(&mut tx, event).await?;
    }
    for id in &changes.removed_sessions {
        remove_session(&mut tx, *id).await?;
    }
    // Closed ones first: a device may have one open session only.
    let (open, closed): (Vec<_>, Vec<_>) = changes.sessions.values().partition(|session| session.is_open());
    for session in closed.into_iter().chain(open) {
        upsert_session(&mut tx, session).await?;
    }
    for seen in &changes.seen {
        sqlx::query(
            "INSERT INTO device_seen (device, seen_at) VALUES ($1, $2) \
             ON CONFLICT (device) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(seen.device.0)
        .bind(seen.at.as_micros())
        .execute(&mut *tx)
        .await?;
    }
    for ((device, ip), row) in &changes.addresses {
        sqlx::query(
            "INSERT INTO device_addresses (device, ip, first_seen_at, last_seen_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (device, ip) DO UPDATE SET first_seen_at = excluded.first_seen_at, \
             last_seen_at = excluded.last_seen_at",
        )
        .bind(device.0)
        .bind(ip.to_string())
        .bind(row.first_seen.as_micros())
        .bind(row.last_seen.as_micros())
        .execute(&mut *tx)
        .await?;
    }
    for ((device, source), row) in &changes.relations {
        sqlx::query(
            "INSERT INTO device_sources (device, source, seen_at, held_until) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (device, source) DO UPDATE SET seen_at = excluded.seen_at, \
             held_until = excluded.held_until",
        )
        .bind(device.0)
        .bind(source.to_string())
        .bind(row.seen_at.as_micros())
        .bind(row.held_until.map(Timestamp::as_micros))
        .execute(&mut *tx)
        .await?;
    }
    for id in &changes.removed_gaps {
        remove_gap(&mut tx, *id).await?;
    }
    for (source, gap) in changes.gaps.values() {
        upsert_gap(&mut tx, *source, gap).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn insert_device(tx: &mut AnyConnection, row: &NewRow, now: Timestamp) -> Result<(), StoreError> {
    let NewRow { device, vendor } = row;
    sqlx::query(
        "INSERT INTO devices (number, mac, name, owner, type, notes, vendor, hostname, ip4, ip6, grace_us, \
         alert_down, may_sleep, archived, is_new, down, first_seen_at, created_at, sessions_from_seq, \
         sessions_from_at) \
         VALUES ($1, $2, '', '', '', '', $3, $4, $5, $6, NULL, 0, 0, 0, 1, 0, $7, $8, 0, $9)",
    )
    .bind(device.number.0)
    .bind(device.mac.to_string())
    .bind(vendor.as_str())
    .bind(device.hostname.as_str())
    .bind(device.ip4.map(|ip| ip.to_string()))
    .bind(device.ip6.map(|ip| ip.to_string()))
    .bind(device.first_seen.map(Timestamp::as_micros))
    .bind(now.as_micros())
    .bind(Timestamp::MIN.as_micros())
    .execute(tx)
    .await?;
    Ok(())
}

async fn update_device(tx: &mut AnyConnection, device: &Device) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE devices SET hostname = $2, ip4 = $3, ip6 = $4, down = $5, first_seen_at = $6 WHERE number = $1",
    )
    .bind(device.number.0)
    .bind(device.hostname.as_str())
    .bind(device.ip4.map(|ip| ip.to_string()))
    .bind(device.ip6.map(|ip| ip.to_string()))
    .bind(i64::from(device.down))
    .bind(device.first_seen.map(Timestamp::as_micros))
    .execute(tx)
    .await?;
    Ok(())
}

async fn update_source(tx: &mut AnyConnection, source: &SourceState) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE sources SET scope = $2, health = $3, health_since = $4, health_message = $5, \
         last_started_at = $6, last_finished_at = $7, last_seen_count = $8, complete_at = $9, \
         previous_complete_at = $10, alive_at = $11, last_seq = $12, last_outcome = $13, last_message = $14 \
         WHERE id = $1",
    )
    .bind(source.config.id.to_string())
    .bind(source.scope.as_str())
    .bind(source.health.key())
    .bind(source.health_since.as_micros())
    .bind(source.health.message())
    .bind(source.last_started.map(Timestamp::as_micros))
    .bind(source.last_finished.map(Timestamp::as_micros))
    .bind(source.last_seen_count)
    .bind(source.complete_at.map(Timestamp::as_micros))
    .bind(source.previous_complete_at.map(Timestamp::as_micros))
    .bind(source.alive_at.map(Timestamp::as_micros))
    .bind(source.last_seq)
    .bind(source.last_outcome.as_ref().map(ScanOutcome::key))
    .bind(source.last_outcome.as_ref().map(ScanOutcome::message))
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_event(tx: &mut AnyConnection, event: &PresenceEvent) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO presence_events (seq, device, at, recorded_at, type, ip, info, certain) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(event.seq)
    .bind(event.device.0)
    .bind(event.at.as_micros())
    .bind(event.recorded_at.as_micros())
    .bind(event.kind.name())
    .bind(event.ip.map(|ip| ip.to_string()))
    .bind(event.info.as_str())
    .bind(i64::from(event.certain))
    .execute(tx)
    .await?;
    Ok(())
}

async fn remove_session(tx: &mut AnyConnection, id: PresenceSessionId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM presence_sessions WHERE id = $1 AND manual = 0")
        .bind(id.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

async fn upsert_session(tx: &mut AnyConnection, session: &PresenceSession) -> Result<(), StoreError> {
    let (started_at, start_type) = match session.start {
        Start::Known { at, kind } => (Some(at), kind.name()),
        Start::Missing => (None, sojourn_domain::presence::EventKind::Missing.name()),
    };
    let (ended_at, end_type) = match session.end {
        End::Open => (None, None),
        End::Known { at, kind } => (Some(at), Some(kind.name())),
        End::Missing { kind, .. } => (None, Some(kind.name())),
    };
    sqlx::query(
        "INSERT INTO presence_sessions (id, device, started_at, ended_at, from_at, until_at, start_type, \
         end_type, ip, info, open, manual, opening_seq, closing_seq) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13) \
         ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, ended_at = excluded.ended_at, \
         from_at = excluded.from_at, until_at = excluded.until_at, start_type = excluded.start_type, \
         end_type = excluded.end_type, ip = excluded.ip, info = excluded.info, open = excluded.open, \
         opening_seq = excluded.opening_seq, closing_seq = excluded.closing_seq",
    )
    .bind(session.id.to_string())
    .bind(session.device.0)
    .bind(started_at.map(Timestamp::as_micros))
    .bind(ended_at.map(Timestamp::as_micros))
    .bind(session.from().as_micros())
    .bind(session.until().map_or(i64::MAX, Timestamp::as_micros))
    .bind(start_type)
    .bind(end_type)
    .bind(session.ip.map(|ip| ip.to_string()))
    .bind(session.info.as_str())
    .bind(i64::from(session.is_open()))
    .bind(session.opening_seq)
    .bind(session.closing_seq)
    .execute(tx)
    .await?;
    Ok(())
}

async fn remove_gap(tx: &mut AnyConnection, id: GapId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM source_gaps WHERE id = $1").bind(id.to_string()).execute(tx).await?;
    Ok(())
}

async fn upsert_gap(tx: &mut AnyConnection, source: SourceId, gap: &Gap) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO source_gaps (id, source, from_at, until_at, before_at, reason, message) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (id) DO UPDATE SET until_at = excluded.until_at, reason = excluded.reason, \
         message = excluded.message",
    )
    .bind(gap.id.to_string())
    .bind(source.to_string())
    .bind(gap.from.as_micros())
    .bind(gap.until.map(Timestamp::as_micros))
    .bind(gap.before.map(Timestamp::as_micros))
    .bind(gap.reason.key())
    .bind(gap.message.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
