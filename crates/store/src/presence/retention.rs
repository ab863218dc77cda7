//! Forgetting presence that is older than someone wants to keep.

use sojourn_domain::time::Timestamp;

use super::numbers;
use crate::{Store, StoreError};

/// Forgets the events before `cutoff`, and the tracker's closed sessions that ended before it.
///
/// Kept are: sessions entered by hand; open sessions; and the events that opened or closed a
/// session which is kept, so that a device that never leaves keeps its beginning.
pub async fn forget_before(store: &Store, cutoff: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    numbers::note_highest(&mut tx).await?;
    sqlx::query("DELETE FROM presence_sessions WHERE until_at < $1 AND open = 0 AND manual = 0")
        .bind(cutoff.as_micros())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "DELETE FROM presence_events WHERE at < $1 AND NOT EXISTS (\
         SELECT 1 FROM presence_sessions s WHERE s.device = presence_events.device AND s.until_at >= $1 \
         AND (s.opening_seq = presence_events.seq OR s.closing_seq = presence_events.seq))",
    )
    .bind(cutoff.as_micros())
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM presence_counts WHERE at < $1")
        .bind(cutoff.as_micros())
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM source_gaps WHERE until_at < $1")
        .bind(cutoff.as_micros())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}
