//! Servers that share the database, and the leases by which one of them does what only one may do.
//!
//! A node writes every few seconds that it runs. One that has not written for [`DEAD_AFTER`] and did not
//! say that it stopped counts as dead: others end its sessions. The nodes' clocks must agree within a few seconds.

use sojourn_domain::{
    access::RecordingState,
    id::{AccessSessionId, NodeId},
    time::{Elapsed, Timestamp},
};

use crate::{
    db::{Store, StoreError},
    identity::id,
};

/// How often a node says that it runs.
pub const BEAT: Elapsed = Elapsed::from_secs(5);
/// Longer than a database may be away without harm.
pub const DEAD_AFTER: Elapsed = Elapsed::from_secs(60);

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub name: String,
    /// Where other nodes reach its API; empty where they cannot.
    pub url: String,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    pub stopped_at: Option<Timestamp>,
    pub live_sessions: i64,
    pub live_file_sessions: i64,
}

/// Whether a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Running,
    /// It said so.
    Stopped,
    /// It said nothing.
    Dead,
}

impl NodeState {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Dead => "dead",
        }
    }
}

impl Node {
    pub fn state(&self, now: Timestamp) -> NodeState {
        match self.stopped_at {
            Some(_) => NodeState::Stopped,
            None if now.since(self.seen_at) > DEAD_AFTER => NodeState::Dead,
            None => NodeState::Running,
        }
    }
}

type Row = (String, String, String, i64, i64, Option<i64>, i64, i64);

fn node(row: Row) -> Result<Node, StoreError> {
    let (text, name, url, started_at, seen_at, stopped_at, live_sessions, live_file_sessions) = row;
    Ok(Node {
        id: id(&text)?,
        name,
        url,
        started_at: Timestamp::from_micros(started_at),
        seen_at: Timestamp::from_micros(seen_at),
        stopped_at: stopped_at.map(Timestamp::from_micros),
        live_sessions,
        live_file_sessions,
    })
}

macro_rules! columns {
    () => {
        "SELECT n.id, n.name, n.url, n.started_at, n.seen_at, n.stopped_at, (SELECT COUNT(*) FROM access_sessions s \
         WHERE s.node = n.id AND s.ended_at IS NULL), (SELECT COUNT(*) FROM file_sessions f \
         WHERE f.node = n.id AND f.ended_at IS NULL) FROM nodes n "
    };
}

impl Store {
    /// A node runs from now on; says when it was last seen, if ever.
    pub async fn node_start(
        &self,
        node: NodeId,
        name: &str,
        url: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut transaction = self.begin().await?;
        let seen: Option<(i64,)> = sqlx::query_as("SELECT seen_at FROM nodes WHERE id = $1")
            .bind(node.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO nodes (id, name, url, started_at, seen_at) VALUES ($1, $2, $3, $4, $4) \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, url = excluded.url, \
             started_at = excluded.started_at, seen_at = excluded.seen_at, stopped_at = NULL",
        )
        .bind(node.to_string())
        .bind(name)
        .bind(url)
        .bind(now.as_micros())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(seen.map(|(at,)| Timestamp::from_micros(at)))
    }

    /// The node still runs.
    pub async fn node_beat(&self, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE nodes SET seen_at = $2 WHERE id = $1")
            .bind(node.to_string())
            .bind(now.as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The node stops in order: its leases are free.
    pub async fn node_stop(&self, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE nodes SET seen_at = $2, stopped_at = $2 WHERE id = $1")
            .bind(node.to_string())
            .bind(now.as_micros())
            .execute(self.write())
            .await?;
        sqlx::query("DELETE FROM leases WHERE node = $1")
            .bind(node.to_string())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// All nodes that there ever were, by name; at most 1000.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(concat!(columns!(), "ORDER BY n.name, n.id LIMIT 1000"))
            .fetch_all(self.read())
            .await?;
        rows.into_iter().map(node).collect()
    }

    pub async fn node(&self, node: NodeId) -> Result<Option<Node>, StoreError> {
        let row: Option<Row> = sqlx::query_as(concat!(columns!(), "WHERE n.id = $1"))
            .bind(node.to_string())
            .fetch_optional(self.read())
            .await?;
        row.map(self::node).transpose()
    }

    /// Takes or keeps a lease until a moment; `false` while another node has it.
    pub async fn lease_take(
        &self,
        name: &str,
        node: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO leases (name, node, until_at) VALUES ($1, $2, $4) \
             ON CONFLICT (name) DO UPDATE SET node = excluded.node, until_at = excluded.until_at \
             WHERE leases.node = excluded.node OR leases.until_at <= $3",
        )
        .bind(name)
        .bind(node.to_string())
        .bind(now.as_micros())
        .bind(until.as_micros())
        .execute(self.write())
        .await?;
        Ok(taken.rows_affected() > 0)
    }

    /// Gives a lease back, where the node has it.
    pub async fn lease_release(&self, name: &str, node: NodeId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM leases WHERE name = $1 AND node = $2")
            .bind(name)
            .bind(node.to_string())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Who has a lease now.
    pub async fn lease_holder(&self, name: &str, now: Timestamp) -> Result<Option<NodeId>, StoreError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT node FROM leases WHERE name = $1 AND until_at > $2")
                .bind(name)
                .bind(now.as_micros())
                .fetch_optional(self.read())
                .await?;
        row.as_ref().map(|(text,)| id(text)).transpose()
    }

    /// The recordings of sessions whose server died end where the others can see: it seals them itself
    /// when it comes back.
    pub async fn recordings_cut_off(&self, sessions: &[AccessSessionId]) -> Result<(), StoreError> {
        for session in sessions {
            sqlx::query("UPDATE access_sessions SET recording = $2 WHERE id = $1 AND recording = $3")
                .bind(session.to_string())
                .bind(RecordingState::Incomplete.key())
                .bind(RecordingState::Live.key())
                .execute(self.write())
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::both_databases;

    use super::*;
    use crate::Entropy;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + second)
    }

    #[tokio::test]
    async fn one_node_has_a_lease_until_it_lets_it_go() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let (a, b): (NodeId, NodeId) = (Entropy.id(at(0)), Entropy.id(at(0)));
            assert!(store.lease_take("job", a, at(0), at(30)).await.unwrap());
            assert!(!store.lease_take("job", b, at(10), at(40)).await.unwrap());
            assert!(store.lease_take("job", a, at(10), at(40)).await.unwrap());
            assert_eq!(store.lease_holder("job", at(39)).await.unwrap(), Some(a));
            assert_eq!(store.lease_holder("job", at(40)).await.unwrap(), None);
            assert!(store.lease_take("job", b, at(40), at(70)).await.unwrap());
            store.lease_release("job", a).await.unwrap();
            assert_eq!(store.lease_holder("job", at(41)).await.unwrap(), Some(b));
            store.node_stop(b, at(42)).await.unwrap();
            assert!(store.lease_take("job", a, at(43), at(70)).await.unwrap());
            store.close().await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_is_dead() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let a: NodeId = Entropy.id(at(0));
            assert_eq!(store.node_start(a, "one", "http://one", at(0)).await.unwrap(), None);
            store.node_beat(a, at(100)).await.unwrap();
            let node = store.node(a).await.unwrap().unwrap();
            assert_eq!((node.state(at(160)), node.state(at(161))), (NodeState::Running, NodeState::Dead));
            store.node_stop(a, at(110)).await.unwrap();
            assert_eq!(store.nodes().await.unwrap()[0].state(at(500)), NodeState::Stopped);
            assert_eq!(store.node_start(a, "one", "http://one", at(600)).await.unwrap(), Some(at(110)));
            assert_eq!(store.node(a).await.unwrap().unwrap().state(at(601)), NodeState::Running);
            store.close().await;
        })
        .await;
    }
}
