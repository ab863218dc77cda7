//! The audit trail: every administrative act and every refusal, append only, chained by hashes.
//!
//! An entry's hash is SHA-256 over the previous entry's hash and the entry's canonical text, both
//! in one go: whoever kept a head (`seq`, `hash`) sees whether anything up to it was altered.
//! Writers queue on the row that holds the head, so the chain never forks.
//!
//! An administrative act is an [`Act`]: a transaction that cannot be committed without its entry.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use sojourn_domain::{id::UserId, time::Timestamp};
use sqlx::{Any, AnyConnection, Transaction};

use crate::db::{Store, StoreError};

const HEAD: &str = "audit_head";
/// Entries that [`Store::audit_verify`] reads at once.
const VERIFY_CHUNK: i64 = 1000;

/// What kind of somebody acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// A person, in a browser.
    User,
    /// A program, with a user's token.
    Token,
    /// The server by itself.
    System,
    /// Nobody who proved an identity.
    Anonymous,
    /// Whoever runs the command line on the server's machine.
    Cli,
}

impl ActorKind {
    pub const fn key(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Token => "token",
            Self::System => "system",
            Self::Anonymous => "anonymous",
            Self::Cli => "cli",
        }
    }
}

/// Who acts, when, and from where.
#[derive(Debug, Clone)]
pub struct By {
    pub kind: ActorKind,
    /// A user's id; empty where there is none.
    pub id: String,
    pub name: String,
    pub at: Timestamp,
    /// Empty where there is none.
    pub client_address: String,
}

impl By {
    pub fn user(kind: ActorKind, id: UserId, name: &str, at: Timestamp, client_address: String) -> Self {
        Self { kind, id: id.to_string(), name: name.to_owned(), at, client_address }
    }

    pub fn cli(at: Timestamp) -> Self {
        Self::nobody(ActorKind::Cli, at)
    }

    pub fn system(at: Timestamp) -> Self {
        Self::nobody(ActorKind::System, at)
    }

    pub fn anonymous(at: Timestamp, client_address: String) -> Self {
        Self { client_address, ..Self::nobody(ActorKind::Anonymous, at) }
    }

    fn nobody(kind: ActorKind, at: Timestamp) -> Self {
        Self { kind, id: String::new(), name: kind.key().to_owned(), at, client_address: String::new() }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Done,
    Refused,
    Failed,
}

impl Outcome {
    pub const ALL: &'static [Outcome] = &[Self::Done, Self::Refused, Self::Failed];

    pub const fn key(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What was done, or refused.
#[derive(Debug, Clone)]
pub struct Deed {
    /// `noun.verb`, such as `user.create`.
    pub action: String,
    /// What it was done to: an id, a name, a path.
    pub object: String,
    pub outcome: Outcome,
    /// A JSON object. Never holds a secret.
    pub detail: serde_json::Value,
}

impl Deed {
    pub fn done(action: &str, object: impl std::fmt::Display, detail: serde_json::Value) -> Self {
        Self { action: action.to_owned(), object: object.to_string(), outcome: Outcome::Done, detail }
    }

    pub fn refused(action: &str, object: impl std::fmt::Display, detail: serde_json::Value) -> Self {
        Self { outcome: Outcome::Refused, ..Self::done(action, object, detail) }
    }
}

/// An entry, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub seq: i64,
    pub at: Timestamp,
    pub actor_kind: String,
    pub actor_id: String,
    pub actor_name: String,
    pub action: String,
    pub object: String,
    pub outcome: String,
    /// JSON text.
    pub detail: String,
    pub client_address: String,
    /// 64 lower-case hexadecimal digits.
    pub hash: String,
}

/// The newest entry: keep a copy elsewhere, and everything up to it can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Zero where nothing was written yet.
    pub seq: i64,
    pub hash: String,
}

/// Which entries are asked for; all conditions hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// A user's name or id.
    pub actor: Option<String>,
    /// An action, or the noun before its dot.
    pub action: Option<String>,
    pub outcome: Option<Outcome>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Text somewhere in the entry.
    pub q: Option<String>,
}

/// What [`Store::audit_verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Entries that are as they were written, from the first on.
    pub checked: i64,
    /// The first place where something is missing or altered.
    pub broken_at: Option<i64>,
    pub head: Head,
}

type Row = (i64, i64, String, String, String, String, String, String, String, String, String);

impl AuditEntry {
    fn from_row(row: Row) -> Self {
        let (
            seq,
            at,
            actor_kind,
            actor_id,
            actor_name,
            action,
            object,
            outcome,
            detail,
            client_address,
            hash,
        ) = row;
        Self {
            seq,
            at: Timestamp::from_micros(at),
            actor_kind,
            actor_id,
            actor_name,
            action,
            object,
            outcome,
            detail,
            client_address,
            hash,
        }
    }

    /// The hash over this entry's text and the hash before it.
    ///
    /// The text is a JSON array of strings in a fixed order, so that it has one form only.
    pub fn chained(&self, previous: &str) -> String {
        let seq = self.seq.to_string();
        let at = self.at.as_micros().to_string();
        let fields: [&str; 10] = [
            &seq,
            &at,
            &self.actor_kind,
            &self.actor_id,
            &self.actor_name,
            &self.action,
            &self.object,
            &self.outcome,
            &self.detail,
            &self.client_address,
        ];
        let text = serde_json::Value::from(fields.to_vec()).to_string();
        let mut hasher = Sha256::new();
        hasher.update(previous.as_bytes());
        hasher.update(text.as_bytes());
        HEXLOWER.encode(&hasher.finalize())
    }
}

/// An administrative act in the making: it holds the head, so acts happen one after the other, and
/// checks made within one (such as "is there another administrator?") stay true until its end.
/// Dropped without [`Act::commit`], it did not happen.
#[derive(Debug)]
pub(crate) struct Act {
    transaction: Transaction<'static, Any>,
    head: Head,
}

impl Act {
    pub(crate) async fn begin(store: &Store) -> Result<Self, StoreError> {
        let mut transaction = store.begin().await?;
        let head = lock_head(&mut transaction).await?;
        Ok(Self { transaction, head })
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// Writes the entry and makes everything lasting.
    pub(crate) async fn commit(mut self, by: &By, deed: Deed) -> Result<Head, StoreError> {
        append(&mut self.transaction, &mut self.head, by, deed).await?;
        self.transaction.commit().await?;
        Ok(self.head)
    }
}

/// Takes the row that holds the head, and thereby the right to append, until the transaction ends.
async fn lock_head(connection: &mut AnyConnection) -> Result<Head, StoreError> {
    let (text,): (String,) = sqlx::query_as(
        "INSERT INTO meta (name, value) VALUES ($1, '0 ') \
         ON CONFLICT (name) DO UPDATE SET value = meta.value RETURNING value",
    )
    .bind(HEAD)
    .fetch_one(connection)
    .await?;
    parse_head(&text)
}

fn parse_head(text: &str) -> Result<Head, StoreError> {
    let head = text
        .split_once(' ')
        .and_then(|(seq, hash)| Some(Head { seq: seq.parse().ok()?, hash: hash.to_owned() }));
    head.ok_or_else(|| StoreError::Corrupt("the head of the audit trail".to_owned()))
}

async fn append(
    connection: &mut AnyConnection,
    head: &mut Head,
    by: &By,
    deed: Deed,
) -> Result<(), StoreError> {
    // PostgreSQL's text holds no NUL; nothing that reaches this point has one for a good reason.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let mut entry = AuditEntry {
        seq: head.seq + 1,
        at: by.at,
        actor_kind: by.kind.key().to_owned(),
        actor_id: clean(&by.id),
        actor_name: clean(&by.name),
        action: clean(&deed.action),
        object: clean(&deed.object),
        outcome: deed.outcome.key().to_owned(),
        detail: deed.detail.to_string(),
        client_address: clean(&by.client_address),
        hash: String::new(),
    };
    entry.hash = entry.chained(&head.hash);
    sqlx::query(
        "INSERT INTO audit (seq, at, actor_kind, actor_id, actor_name, action, object, outcome, detail, \
         client_address, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(entry.seq)
    .bind(entry.at.as_micros())
    .bind(entry.actor_kind)
    .bind(entry.actor_id)
    .bind(entry.actor_name)
    .bind(entry.action)
    .bind(entry.object)
    .bind(entry.outcome)
    .bind(entry.detail)
    .bind(entry.client_address)
    .bind(entry.hash.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE meta SET value = $2 WHERE name = $1")
        .bind(HEAD)
        .bind(format!("{} {}", entry.seq, entry.hash))
        .execute(connection)
        .await?;
    *head = Head { seq: entry.seq, hash: entry.hash };
    Ok(())
}

impl Store {
    /// Writes an entry about something that changes nothing here: a refusal, or an act on the outside.
    pub async fn audit(&self, by: &By, deed: Deed) -> Result<Head, StoreError> {
        Act::begin(self).await?.commit(by, deed).await
    }

    /// The newest entry.
    pub async fn audit_head(&self) -> Result<Head, StoreError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
            .bind(HEAD)
            .fetch_optional(self.read())
            .await?;
        row.map_or_else(|| Ok(Head::default()), |(text,)| parse_head(&text))
    }

    /// Entries, newest first, and how many there are in all.
    pub async fn audit_list(
        &self,
        filter: &AuditFilter,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<AuditEntry>, i64), StoreError> {
        let nouns = filter.action.as_ref().map(|action| format!("{}.%", like(action)));
        let q = filter.q.as_ref().map(|q| format!("%{}%", like(&q.to_lowercase())));
        let outcome = filter.outcome.map(Outcome::key);
        let from = filter.from.map(Timestamp::as_micros);
        let to = filter.to.map(Timestamp::as_micros);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT seq, at, actor_kind, actor_id, actor_name, action, object, outcome, detail, client_address, hash \
             FROM audit WHERE (CAST($1 AS TEXT) IS NULL OR actor_name = $1 OR actor_id = $1) \
             AND (CAST($2 AS TEXT) IS NULL OR action = $2 OR action LIKE $3 ESCAPE '!') \
             AND (CAST($4 AS TEXT) IS NULL OR outcome = $4) \
             AND (CAST($5 AS BIGINT) IS NULL OR at >= $5) AND (CAST($6 AS BIGINT) IS NULL OR at < $6) \
             AND (CAST($7 AS TEXT) IS NULL OR LOWER(actor_name) LIKE $7 ESCAPE '!' OR action LIKE $7 ESCAPE '!' \
             OR LOWER(object) LIKE $7 ESCAPE '!' OR LOWER(detail) LIKE $7 ESCAPE '!' \
             OR client_address LIKE $7 ESCAPE '!') ORDER BY seq DESC LIMIT $8 + 0 OFFSET $9 + 0",
        )
        .bind(&filter.actor)
        .bind(&filter.action)
        .bind(&nouns)
        .bind(outcome)
        .bind(from)
        .bind(to)
        .bind(&q)
        .bind(limit)
        .bind(offset)
        .fetch_all(self.read())
        .await?;
        let (total,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM audit WHERE (CAST($1 AS TEXT) IS NULL OR actor_name = $1 OR actor_id = $1) \
             AND (CAST($2 AS TEXT) IS NULL OR action = $2 OR action LIKE $3 ESCAPE '!') \
             AND (CAST($4 AS TEXT) IS NULL OR outcome = $4) \
             AND (CAST($5 AS BIGINT) IS NULL OR at >= $5) AND (CAST($6 AS BIGINT) IS NULL OR at < $6) \
             AND (CAST($7 AS TEXT) IS NULL OR LOWER(actor_name) LIKE $7 ESCAPE '!' OR action LIKE $7 ESCAPE '!' \
             OR LOWER(object) LIKE $7 ESCAPE '!' OR LOWER(detail) LIKE $7 ESCAPE '!' \
             OR client_address LIKE $7 ESCAPE '!')",
        )
        .bind(&filter.actor)
        .bind(&filter.action)
        .bind(&nouns)
        .bind(outcome)
        .bind(from)
        .bind(to)
        .bind(&q)
        .fetch_one(self.read())
        .await?;
        Ok((rows.into_iter().map(AuditEntry::from_row).collect(), total))
    }

    /// Goes through the whole chain.
    pub async fn audit_verify(&self) -> Result<Verification, StoreError> {
        // Entries that are written meanwhile lie beyond this head, and are not looked at.
        let head = self.audit_head().await?;
        let mut reached = Head::default();
        while reached.seq < head.seq {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT seq, at, actor_kind, actor_id, actor_name, action, object, outcome, detail, \
                 client_address, hash FROM audit WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3 + 0",
            )
            .bind(reached.seq)
            .bind(head.seq)
            .bind(VERIFY_CHUNK)
            .fetch_all(self.read())
            .await?;
            if rows.is_empty() {
                return Ok(Verification { checked: reached.seq, broken_at: Some(reached.seq + 1), head });
            }
            for entry in rows.into_iter().map(AuditEntry::from_row) {
                if entry.seq != reached.seq + 1 || entry.hash != entry.chained(&reached.hash) {
                    return Ok(Verification { checked: reached.seq, broken_at: Some(reached.seq + 1), head });
                }
                reached = Head { seq: entry.seq, hash: entry.hash };
            }
        }
        let broken_at = (reached != head).then_some(reached.seq);
        Ok(Verification { checked: reached.seq, broken_at, head })
    }
}

/// Text for LIKE with `ESCAPE '!'`.
fn like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sojourn_testbed::both_databases;

    use super::*;

    fn by(second: i64, name: &str) -> By {
        By {
            kind: ActorKind::User,
            id: format!("user_{name}"),
            name: name.to_owned(),
            at: Timestamp::from_secs(second),
            client_address: "192.0.2.1".to_owned(),
        }
    }

    #[tokio::test]
    async fn entries_chain_and_filters_find_them() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            assert_eq!(store.audit_verify().await.unwrap().checked, 0);
            for second in 0..5 {
                let name = if second % 2 == 0 { "alice" } else { "bob" };
                let deed = Deed::done(
                    "user.create",
                    format!("user_{second}"),
                    json!({"n": second, "odd_%": "x\u{0}"}),
                );
                store.audit(&by(second, name), deed).await.unwrap();
            }
            store
                .audit(&By::system(Timestamp::from_secs(9)), Deed::refused("auth.login", "", json!({})))
                .await
                .unwrap();
            let found = async |filter: AuditFilter| {
                let (entries, total) = store.audit_list(&filter, 100, 0).await.unwrap();
                assert_eq!(entries.len() as i64, total);
                entries.iter().map(|entry| entry.seq).collect::<Vec<_>>()
            };
            let text = |text: &str| Some(text.to_owned());
            assert_eq!(found(AuditFilter::default()).await, [6, 5, 4, 3, 2, 1]);
            assert_eq!(found(AuditFilter { actor: text("bob"), ..Default::default() }).await, [4, 2]);
            assert_eq!(found(AuditFilter { action: text("user"), ..Default::default() }).await.len(), 5);
            assert_eq!(
                found(AuditFilter { outcome: Some(Outcome::Refused), ..Default::default() }).await,
                [6]
            );
            assert_eq!(found(AuditFilter { q: text("ODD_%"), ..Default::default() }).await.len(), 5);
            assert_eq!(found(AuditFilter { q: text("oddX"), ..Default::default() }).await.len(), 0);
            let window = AuditFilter {
                from: Some(Timestamp::from_secs(1)),
                to: Some(Timestamp::from_secs(3)),
                ..Default::default()
            };
            assert_eq!(found(window).await, [3, 2]);
            let verification = store.audit_verify().await.unwrap();
            assert_eq!((verification.checked, verification.broken_at), (6, None));
        })
        .await;
    }

    #[tokio::test]
    async fn what_was_altered_or_removed_is_found() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            for second in 0..5 {
                store.audit(&by(second, "alice"), Deed::done("a.b", second, json!({}))).await.unwrap();
            }
            let broken = async || store.audit_verify().await.unwrap().broken_at;
            let run = async |sql: &'static str| {
                sqlx::query(sql).execute(store.write()).await.unwrap();
            };
            run("UPDATE audit SET actor_name = 'bob' WHERE seq = 3").await;
            assert_eq!(broken().await, Some(3));
            run("UPDATE audit SET actor_name = 'alice' WHERE seq = 3").await;
            assert_eq!(broken().await, None);
            run("DELETE FROM audit WHERE seq = 5").await;
            assert_eq!(broken().await, Some(5));
            run("DELETE FROM audit WHERE seq = 1").await;
            assert_eq!(broken().await, Some(1));
        })
        .await;
    }

    #[tokio::test]
    async fn writers_at_once_make_one_chain() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let tasks: Vec<_> = (0..20)
                .map(|second| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        store
                            .audit(&by(second, "alice"), Deed::done("a.b", second, json!({})))
                            .await
                            .unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let verification = store.audit_verify().await.unwrap();
            assert_eq!((verification.checked, verification.broken_at), (20, None));
        })
        .await;
    }
}
