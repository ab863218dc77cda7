//! Numbers of devices and events, each given once.
//!
//! The next number is one more than the highest that was ever given, even when what had it is gone: what
//! still speaks of an old number, such as a browser that asks for the events after it, must never meet
//! another device or event. Whoever deletes notes the highest first, in the same transaction.

use sqlx::AnyConnection;

use super::Columns as _;
use crate::StoreError;

/// The number for the next device.
pub(super) async fn next_device(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let highest = sqlx::query(
        "SELECT COALESCE(MAX(n), 0) FROM (SELECT MAX(number) AS n FROM devices \
         UNION ALL SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'highest_device') given",
    );
    Ok(highest.fetch_one(connection).await?.int(0)? + 1)
}

/// The number for the next event.
pub(super) async fn next_event(connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let highest = sqlx::query(
        "SELECT COALESCE(MAX(n), 0) FROM (SELECT MAX(seq) AS n FROM presence_events \
         UNION ALL SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'highest_event') given",
    );
    Ok(highest.fetch_one(connection).await?.int(0)? + 1)
}

/// Notes the highest numbers, before devices or events are deleted.
pub(super) async fn note_highest(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let device = next_device(connection).await? - 1;
    let event = next_event(connection).await? - 1;
    for (name, highest) in [("highest_device", device), ("highest_event", event)] {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(highest.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sojourn_domain::{mac::MacAddr, time::Timestamp};
    use sojourn_testbed::both_databases;

    use super::*;
    use crate::{
        Store,
        presence::{
            devices::{self, DeviceChange, NewDevice},
            retention,
        },
    };

    const NOW: Timestamp = Timestamp::from_secs(1_750_000_000);

    fn mac(device: u8) -> MacAddr {
        MacAddr::new([2, 0, 0, 0, 0, device])
    }

    async fn enter(store: &Store, device: u8) -> i64 {
        let new =
            NewDevice { mac: mac(device), vendor: String::new(), set: DeviceChange::default(), now: NOW };
        assert!(devices::create(store, &new).await.unwrap());
        let row = sqlx::query("SELECT number FROM devices WHERE mac = $1").bind(mac(device).to_string());
        row.fetch_one(store.read()).await.unwrap().int(0).unwrap()
    }

    async fn event(store: &Store, seq: i64, device: i64) {
        sqlx::query(
            "INSERT INTO presence_events (seq, device, at, recorded_at, type, info, certain) \
             VALUES ($1, $2, $3, $3, 'New Device', '', 1)",
        )
        .bind(seq)
        .bind(device)
        .bind(NOW.as_micros())
        .execute(store.write())
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn no_number_is_given_twice_whatever_was_deleted_and_however_often_it_restarts() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            assert_eq!((enter(&store, 1).await, enter(&store, 2).await), (1, 2));
            event(&store, 7, 1).await;
            event(&store, 8, 2).await;
            for _ in 0..2 {
                // The second time there is nothing to delete.
                let store = Store::open(url).await.unwrap();
                devices::delete(&store, mac(2)).await.unwrap();
                store.close().await;
                let store = Store::open(url).await.unwrap();
                let mut connection = store.read().acquire().await.unwrap();
                assert_eq!(next_device(&mut connection).await.unwrap(), 3);
                assert_eq!(next_event(&mut connection).await.unwrap(), 9);
            }
            let store = Store::open(url).await.unwrap();
            assert_eq!(enter(&store, 2).await, 3);
            event(&store, 9, 3).await;
            retention::forget_before(&store, Timestamp::from_secs(1_760_000_000)).await.unwrap();
            let mut connection = store.read().acquire().await.unwrap();
            assert_eq!(next_event(&mut connection).await.unwrap(), 10);
        })
        .await;
    }
}
