//! Connections, and with whom they are shared.
//!
//! Nothing here is found without a [`Reach`]: whose connections the caller may know of. Secrets
//! are texts that the vault sealed; what is in them is unknown here.

use data_encoding::{BASE64, BASE64_NOPAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, Protocol},
    connections::{ConnectionName, ConnectionOptions, HostName},
    id::{ConnectionId, UserId},
    time::Timestamp,
};
use sqlx::{AnyConnection, any::AnyRow};

use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
    identity::roles,
    presence::Columns as _,
};

/// A connection, as its row and its owner's say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub id: ConnectionId,
    pub name: String,
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    /// At the target; empty where the target asks for none.
    pub username: String,
    pub auth: AuthKind,
    /// The credential, sealed under the purpose `connection:ID`.
    pub secret: Option<String>,
    pub host_key: Option<PinnedKey>,
    /// `None` when the owner was removed: then only those who may edit everything see to it.
    pub owner: Option<UserId>,
    pub owner_name: Option<String>,
    pub folder: String,
    pub tags: Vec<String>,
    pub notes: String,
    pub policy: ConnectionPolicy,
    pub options: ConnectionOptions,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Connection {
    /// What the connection's secret is sealed for.
    pub fn sealed_for(id: ConnectionId) -> String {
        format!("connection:{id}")
    }

    /// Where it leads, for people: `ssh://root@web:22`.
    pub fn target(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let at = if self.username.is_empty() { String::new() } else { format!("{}@", self.username) };
        format!("{}://{at}{host}:{}", self.protocol, self.port)
    }
}

/// A target's host key that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedKey {
    /// The public key in OpenSSH's text form, or its `SHA256:` fingerprint alone.
    pub text: String,
    pub at: Timestamp,
    /// Who pinned it.
    pub by: String,
}

impl PinnedKey {
    /// As OpenSSH writes it: `SHA256:` and base 64 without padding.
    pub fn fingerprint(&self) -> String {
        if self.text.starts_with("SHA256:") {
            return self.text.clone();
        }
        let key = self.text.split_ascii_whitespace().nth(1).unwrap_or_default();
        let bytes = BASE64.decode(key.as_bytes()).unwrap_or_default();
        format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(&bytes)))
    }

    /// `ssh-ed25519` and the like, where the whole key is known.
    pub fn algorithm(&self) -> Option<&str> {
        self.text.split_once(' ').map(|(algorithm, _)| algorithm)
    }
}

/// Which connections somebody may know of: their own, those shared with them or their role, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach<'a> {
    pub user: UserId,
    pub role: &'a str,
    pub all: bool,
}

/// With whom a connection is shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    User(UserId),
    Role(String),
}

impl Grantee {
    const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Role(_) => "role",
        }
    }

    fn key(&self) -> String {
        match self {
            Self::User(user) => user.to_string(),
            Self::Role(role) => role.clone(),
        }
    }
}

/// A grantee, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionGrant {
    pub grantee: Grantee,
    pub name: String,
}

/// A connection to be made.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub id: ConnectionId,
    pub name: ConnectionName,
    pub protocol: Protocol,
    pub host: HostName,
    pub port: u16,
    pub username: String,
    pub auth: AuthKind,
    pub secret: Option<String>,
    /// OpenSSH's text form, or a `SHA256:` fingerprint.
    pub host_key: Option<String>,
    pub owner: UserId,
    pub folder: String,
    pub tags: Vec<String>,
    pub notes: String,
    pub policy: ConnectionPolicy,
    pub options: ConnectionOptions,
    pub grants: Vec<Grantee>,
}

/// What is to be different; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct ConnectionChange {
    pub name: Option<ConnectionName>,
    pub protocol: Option<Protocol>,
    pub host: Option<HostName>,
    pub port: Option<u16>,
    pub username: Option<String>,
    pub auth: Option<AuthKind>,
    /// `Some(None)` forgets it.
    pub secret: Option<Option<String>>,
    pub folder: Option<String>,
    pub tags: Option<Vec<String>>,
    pub notes: Option<String>,
    pub policy: Option<ConnectionPolicy>,
    pub options: Option<ConnectionOptions>,
}

/// Which connections are asked for; all conditions hold.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    /// Text in the name, folder, tags or notes; of one's own, or with a reach over all, in the host too.
    pub q: Option<String>,
    pub folder: Option<String>,
    pub tag: Option<String>,
    pub protocol: Option<Protocol>,
}

/// A connection in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedConnection {
    pub connection: Connection,
    /// It is shared with the one who asks.
    pub granted: bool,
    /// Of the sessions that the one who asks may see.
    pub last_used_at: Option<Timestamp>,
    pub live_sessions: i64,
}

/// The folders and tags that connections are sorted by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shelves {
    pub folders: Vec<String>,
    pub tags: Vec<String>,
}

/// Why a connection could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a connection of this name exists")]
    NameTaken,
    #[error("there is no such user to share with")]
    UnknownUser,
    #[error("there is no role {0:?}")]
    UnknownRole(String),
}

impl From<sqlx::Error> for ConnectionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn name_taken(error: sqlx::Error) -> ConnectionError {
    match StoreError::from(error) {
        error if error.is_conflict() => ConnectionError::NameTaken,
        error => ConnectionError::Store(error),
    }
}

macro_rules! columns {
    () => {
        "c.id, c.name, c.protocol, c.host, c.port, c.username, c.auth, c.secret, c.host_key, c.host_key_at, \
         c.host_key_by, c.owner_id, u.name, c.folder, c.tags, c.notes, c.policy, c.created_at, c.updated_at, \
         c.options"
    };
}

macro_rules! from {
    () => {
        " FROM connections c LEFT JOIN users u ON u.id = c.owner_id "
    };
}

/// What a list tells of a connection besides: whether it is shared with the asker, when it was last used
/// and how many sessions are live, as far as the asker may know of them.
macro_rules! facts {
    () => {
        concat!(
            ", CASE WHEN ",
            granted!(),
            " THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END, \
             (SELECT MAX(s.started_at) FROM access_sessions s WHERE s.connection_id = c.id \
             AND (CAST($3 AS BIGINT) = 1 OR s.user_id = $1)), \
             (SELECT COUNT(*) FROM access_sessions s WHERE s.connection_id = c.id AND s.ended_at IS NULL \
             AND (CAST($3 AS BIGINT) = 1 OR s.user_id = $1))"
        )
    };
}

/// $1 is the user, $2 the role.
macro_rules! granted {
    () => {
        "EXISTS (SELECT 1 FROM connection_grants g WHERE g.connection_id = c.id \
         AND ((g.grantee_kind = 'user' AND g.grantee = $1) OR (g.grantee_kind = 'role' AND g.grantee = $2)))"
    };
}

/// $3 is 1 for all.
macro_rules! within_reach {
    () => {
        concat!("(CAST($3 AS BIGINT) = 1 OR c.owner_id = $1 OR ", granted!(), ")")
    };
}

/// $4 a pattern, $5 a folder, $6 a pattern for a tag, $7 a protocol.
macro_rules! filtered {
    () => {
        " AND (CAST($4 AS TEXT) IS NULL OR c.name_key LIKE $4 ESCAPE '!' OR LOWER(c.folder) LIKE $4 ESCAPE '!' \
         OR LOWER(c.tags) LIKE $4 ESCAPE '!' OR LOWER(c.notes) LIKE $4 ESCAPE '!' \
         OR ((CAST($3 AS BIGINT) = 1 OR c.owner_id = $1) AND LOWER(c.host) LIKE $4 ESCAPE '!')) \
         AND (CAST($5 AS TEXT) IS NULL OR c.folder = $5) \
         AND (CAST($6 AS TEXT) IS NULL OR c.tags LIKE $6 ESCAPE '!') \
         AND (CAST($7 AS TEXT) IS NULL OR c.protocol = $7) "
    };
}

fn connection(row: &AnyRow) -> Result<Connection, StoreError> {
    let host_key = match (row.maybe_text(8)?, row.maybe_time(9)?) {
        (Some(text), Some(at)) => Some(PinnedKey { text, at, by: row.maybe_text(10)?.unwrap_or_default() }),
        (Some(_) | None, _) => None,
    };
    Ok(Connection {
        id: row.parsed(0, "id")?,
        name: row.text(1)?,
        protocol: row.parsed(2, "protocol")?,
        host: row.text(3)?,
        port: u16::try_from(row.int(4)?).map_err(|_| StoreError::Corrupt("port".to_owned()))?,
        username: row.text(5)?,
        auth: row.parsed(6, "kind of credential")?,
        secret: row.maybe_text(7)?,
        host_key,
        owner: row.maybe_text(11)?.as_deref().map(crate::identity::id).transpose()?,
        owner_name: row.maybe_text(12)?,
        folder: row.text(13)?,
        tags: json_text(&row.text(14)?)?,
        notes: row.text(15)?,
        policy: json_text(&row.text(16)?)?,
        created_at: row.time(17)?,
        updated_at: row.time(18)?,
        options: json_text(&row.text(19)?)?,
    })
}

fn listed(row: &AnyRow) -> Result<ListedConnection, StoreError> {
    Ok(ListedConnection {
        connection: connection(row)?,
        granted: row.flag(20)?,
        last_used_at: row.maybe_time(21)?,
        live_sessions: row.int(22)?,
    })
}

fn json_text<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("a connection's JSON: {error}")))
}

fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// PostgreSQL's text holds no NUL.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Text for LIKE with `ESCAPE '!'`.
pub(crate) fn like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

async fn by_id(connection: &mut AnyConnection, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), from!(), "WHERE c.id = $1"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(self::connection).transpose()
}

async fn set_grants(
    connection: &mut AnyConnection,
    id: ConnectionId,
    grants: &[Grantee],
    now: Timestamp,
) -> Result<(), ConnectionError> {
    sqlx::query("DELETE FROM connection_grants WHERE connection_id = $1")
        .bind(id.to_string())
        .execute(&mut *connection)
        .await?;
    for grantee in grants {
        match grantee {
            Grantee::User(user) => {
                sqlx::query("SELECT 1 FROM users WHERE id = $1")
                    .bind(user.to_string())
                    .fetch_optional(&mut *connection)
                    .await?
                    .ok_or(ConnectionError::UnknownUser)?;
            }
            Grantee::Role(role) => {
                roles::permissions(&mut *connection, role)
                    .await?
                    .ok_or_else(|| ConnectionError::UnknownRole(role.clone()))?;
            }
        }
        sqlx::query(
            "INSERT INTO connection_grants (connection_id, grantee_kind, grantee, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (connection_id, grantee_kind, grantee) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(grantee.kind())
        .bind(grantee.key())
        .bind(now.as_micros())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn grants_text(grants: &[Grantee]) -> Vec<String> {
    grants.iter().map(|grantee| format!("{}:{}", grantee.kind(), grantee.key())).collect()
}

impl Store {
    pub async fn connection_create(
        &self,
        new: &NewConnection,
        by: &By,
    ) -> Result<Connection, ConnectionError> {
        let mut act = Act::begin(self).await?;
        let pinned = new.host_key.as_ref();
        sqlx::query(
            "INSERT INTO connections (id, name, name_key, protocol, host, port, username, auth, secret, host_key, \
             host_key_at, host_key_by, owner_id, folder, tags, notes, policy, created_at, updated_at, options) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18, $19)",
        )
        .bind(new.id.to_string())
        .bind(new.name.as_str())
        .bind(new.name.key())
        .bind(new.protocol.key())
        .bind(new.host.as_str())
        .bind(i64::from(new.port))
        .bind(clean(&new.username))
        .bind(new.auth.key())
        .bind(new.secret.as_deref())
        .bind(pinned.map(|text| clean(text)))
        .bind(pinned.map(|_| by.at.as_micros()))
        .bind(pinned.map(|_| by.name.as_str()))
        .bind(new.owner.to_string())
        .bind(clean(&new.folder))
        .bind(to_json(&new.tags)?)
        .bind(clean(&new.notes))
        .bind(to_json(&new.policy)?)
        .bind(by.at.as_micros())
        .bind(to_json(&new.options)?)
        .execute(act.connection())
        .await
        .map_err(name_taken)?;
        set_grants(act.connection(), new.id, &new.grants, by.at).await?;
        let made = by_id(act.connection(), new.id).await?;
        let made = made.ok_or_else(|| StoreError::Corrupt("a connection that was just made".to_owned()))?;
        let detail = json!({
            "name": made.name, "target": made.target(), "auth": made.auth, "owner": new.owner,
            "hostKey": made.host_key.as_ref().map(PinnedKey::fingerprint), "policy": made.policy,
            "options": made.options,
            "grants": grants_text(&new.grants),
        });
        act.commit(by, Deed::done("connection.create", new.id, detail)).await?;
        Ok(made)
    }

    /// A connection within reach.
    pub async fn connection(
        &self,
        reach: &Reach<'_>,
        id: ConnectionId,
    ) -> Result<Option<ListedConnection>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            facts!(),
            from!(),
            "WHERE c.id = $4 AND ",
            within_reach!()
        ))
        .bind(reach.user.to_string())
        .bind(reach.role)
        .bind(i64::from(reach.all))
        .bind(id.to_string())
        .fetch_optional(self.read())
        .await?;
        row.as_ref().map(listed).transpose()
    }

    /// The connection that somebody may open, by its id or its name: their own, one that is shared with
    /// them or their role, or any within a reach over all.
    pub async fn connection_usable(
        &self,
        reach: &Reach<'_>,
        id_or_name: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            from!(),
            "WHERE (c.id = $4 OR c.name_key = $5) AND ",
            within_reach!()
        ))
        .bind(reach.user.to_string())
        .bind(reach.role)
        .bind(i64::from(reach.all))
        .bind(clean(id_or_name))
        .bind(clean(&ConnectionName::key_of(id_or_name)))
        .fetch_optional(self.read())
        .await?;
        row.as_ref().map(connection).transpose()
    }

    /// Connections within reach by name, and how many there are in all.
    pub async fn connections(
        &self,
        reach: &Reach<'_>,
        filter: &ConnectionFilter,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<ListedConnection>, i64), StoreError> {
        let q = filter.q.as_ref().map(|q| format!("%{}%", like(&clean(&q.to_lowercase()))));
        let tag = filter.tag.as_ref().map(to_json).transpose()?.map(|tag| format!("%{}%", like(&tag)));
        let folder = filter.folder.as_ref().map(|folder| clean(folder));
        let protocol = filter.protocol.map(Protocol::key);
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            facts!(),
            from!(),
            "WHERE ",
            within_reach!(),
            filtered!(),
            "ORDER BY c.name_key LIMIT $8 + 0 OFFSET $9 + 0"
        ))
        .bind(reach.user.to_string())
        .bind(reach.role)
        .bind(i64::from(reach.all))
        .bind(q.as_deref())
        .bind(folder.as_deref())
        .bind(tag.as_deref())
        .bind(protocol)
        .bind(limit)
        .bind(offset)
        .fetch_all(self.read())
        .await?;
        let (total,): (i64,) = sqlx::query_as(concat!(
            "SELECT COUNT(*) FROM connections c WHERE ",
            within_reach!(),
            filtered!()
        ))
        .bind(reach.user.to_string())
        .bind(reach.role)
        .bind(i64::from(reach.all))
        .bind(q)
        .bind(folder)
        .bind(tag)
        .bind(protocol)
        .fetch_one(self.read())
        .await?;
        Ok((rows.iter().map(listed).collect::<Result<_, _>>()?, total))
    }

    /// All folders and tags of the connections within reach.
    pub async fn connection_shelves(&self, reach: &Reach<'_>) -> Result<Shelves, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(concat!(
            "SELECT DISTINCT c.folder, c.tags FROM connections c WHERE ",
            within_reach!()
        ))
        .bind(reach.user.to_string())
        .bind(reach.role)
        .bind(i64::from(reach.all))
        .fetch_all(self.read())
        .await?;
        let mut shelves = Shelves::default();
        for (folder, tags) in rows {
            if !folder.is_empty() {
                shelves.folders.push(folder);
            }
            shelves.tags.extend(json_text::<Vec<String>>(&tags)?);
        }
        for names in [&mut shelves.folders, &mut shelves.tags] {
            names.sort();
            names.dedup();
        }
        Ok(shelves)
    }

    /// Changes a connection; `None` where there is none. Where it leads elsewhere, the pinned host
    /// key is forgotten only when the protocol changes: a host that moved proves itself with its key.
    pub async fn connection_update(
        &self,
        id: ConnectionId,
        change: &ConnectionChange,
        by: &By,
    ) -> Result<Option<Connection>, ConnectionError> {
        let mut act = Act::begin(self).await?;
        let Some(before) = by_id(act.connection(), id).await? else { return Ok(None) };
        let secret = change.secret.as_ref();
        sqlx::query(
            "UPDATE connections SET name = COALESCE(CAST($2 AS TEXT), name), \
             name_key = COALESCE(CAST($3 AS TEXT), name_key), \
             protocol = COALESCE(CAST($4 AS TEXT), protocol), host = COALESCE(CAST($5 AS TEXT), host), \
             port = COALESCE(CAST($6 AS BIGINT), port), username = COALESCE(CAST($7 AS TEXT), username), \
             auth = COALESCE(CAST($8 AS TEXT), auth), \
             secret = CASE WHEN CAST($9 AS BIGINT) = 1 THEN CAST($10 AS TEXT) ELSE secret END, \
             folder = COALESCE(CAST($11 AS TEXT), folder), tags = COALESCE(CAST($12 AS TEXT), tags), \
             notes = COALESCE(CAST($13 AS TEXT), notes), policy = COALESCE(CAST($14 AS TEXT), policy), \
             updated_at = CAST($15 AS BIGINT), options = COALESCE(CAST($17 AS TEXT), options), \
             host_key = CASE WHEN CAST($16 AS BIGINT) = 1 THEN NULL ELSE host_key END, \
             host_key_at = CASE WHEN CAST($16 AS BIGINT) = 1 THEN NULL ELSE host_key_at END, \
             host_key_by = CASE WHEN CAST($16 AS BIGINT) = 1 THEN NULL ELSE host_key_by END WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(change.name.as_ref().map(ConnectionName::as_str))
        .bind(change.name.as_ref().map(ConnectionName::key))
        .bind(change.protocol.map(Protocol::key))
        .bind(change.host.as_ref().map(HostName::as_str))
        .bind(change.port.map(i64::from))
        .bind(change.username.as_ref().map(|text| clean(text)))
        .bind(change.auth.map(AuthKind::key))
        .bind(i64::from(secret.is_some()))
        .bind(secret.and_then(Option::as_deref))
        .bind(change.folder.as_ref().map(|text| clean(text)))
        .bind(change.tags.as_ref().map(to_json).transpose()?)
        .bind(change.notes.as_ref().map(|text| clean(text)))
        .bind(change.policy.as_ref().map(to_json).transpose()?)
        .bind(by.at.as_micros())
        .bind(i64::from(change.protocol.is_some_and(|protocol| protocol != before.protocol)))
        .bind(change.options.as_ref().map(to_json).transpose()?)
        .execute(act.connection())
        .await
        .map_err(name_taken)?;
        let Some(after) = by_id(act.connection(), id).await? else { return Ok(None) };
        let mut detail = serde_json::Map::new();
        detail.insert("name".to_owned(), json!(before.name));
        let mut changed = |field: &str, from: serde_json::Value, to: serde_json::Value| {
            if from != to {
                detail.insert(field.to_owned(), json!({"from": from, "to": to}));
            }
        };
        changed("newName", json!(before.name), json!(after.name));
        changed("target", json!(before.target()), json!(after.target()));
        changed("auth", json!(before.auth), json!(after.auth));
        changed("folder", json!(before.folder), json!(after.folder));
        changed("tags", json!(before.tags), json!(after.tags));
        changed("notes", json!(before.notes), json!(after.notes));
        changed("policy", json!(before.policy), json!(after.policy));
        changed("options", json!(before.options), json!(after.options));
        if secret.is_some() {
            detail.insert(
                "secret".to_owned(),
                json!(if after.secret.is_some() { "changed" } else { "forgotten" }),
            );
        }
        act.commit(by, Deed::done("connection.change", id, detail.into())).await?;
        Ok(Some(after))
    }

    /// Removes a connection and all that it was shared with; `false` where there is none. Sessions
    /// keep its name.
    pub async fn connection_delete(&self, id: ConnectionId, by: &By) -> Result<bool, StoreError> {
        let mut act = Act::begin(self).await?;
        let Some(before) = by_id(act.connection(), id).await? else { return Ok(false) };
        sqlx::query("DELETE FROM connections WHERE id = $1")
            .bind(id.to_string())
            .execute(act.connection())
            .await?;
        let detail = json!({"name": before.name, "target": before.target()});
        act.commit(by, Deed::done("connection.delete", id, detail)).await?;
        Ok(true)
    }

    /// With whom a connection is shared: users first, then roles, by name.
    pub async fn connection_grants(&self, id: ConnectionId) -> Result<Vec<ConnectionGrant>, StoreError> {
        let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "SELECT g.grantee_kind, g.grantee, u.name FROM connection_grants g \
             LEFT JOIN users u ON g.grantee_kind = 'user' AND u.id = g.grantee WHERE g.connection_id = $1 \
             ORDER BY g.grantee_kind DESC, u.name_key, g.grantee",
        )
        .bind(id.to_string())
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(kind, key, name)| match kind.as_str() {
                "user" => Ok(ConnectionGrant {
                    grantee: Grantee::User(crate::identity::id(&key)?),
                    name: name.unwrap_or_default(),
                }),
                _ => Ok(ConnectionGrant { name: key.clone(), grantee: Grantee::Role(key) }),
            })
            .collect()
    }

    /// Shares a connection with these, and with nobody else; `false` where there is none.
    pub async fn connection_share(
        &self,
        id: ConnectionId,
        grants: &[Grantee],
        by: &By,
    ) -> Result<bool, ConnectionError> {
        let mut act = Act::begin(self).await?;
        let Some(before) = by_id(act.connection(), id).await? else { return Ok(false) };
        set_grants(act.connection(), id, grants, by.at).await?;
        let detail = json!({"name": before.name, "grants": grants_text(grants)});
        act.commit(by, Deed::done("connection.share", id, detail)).await?;
        Ok(true)
    }

    /// Pins a host key where none is pinned; `false` where one is, or there is no such connection.
    /// `host_key`: OpenSSH's text form, or a `SHA256:` fingerprint.
    pub async fn connection_pin_first(
        &self,
        id: ConnectionId,
        host_key: &str,
        by: &By,
    ) -> Result<bool, StoreError> {
        self.pin(id, Some(host_key), true, by).await
    }

    /// Pins a host key in the place of whatever was pinned, or forgets it; `false` where there is no
    /// such connection.
    pub async fn connection_pin(
        &self,
        id: ConnectionId,
        host_key: Option<&str>,
        by: &By,
    ) -> Result<bool, StoreError> {
        self.pin(id, host_key, false, by).await
    }

    async fn pin(
        &self,
        id: ConnectionId,
        host_key: Option<&str>,
        first: bool,
        by: &By,
    ) -> Result<bool, StoreError> {
        let mut act = Act::begin(self).await?;
        let Some(before) = by_id(act.connection(), id).await? else { return Ok(false) };
        if first && before.host_key.is_some() {
            return Ok(false);
        }
        sqlx::query("UPDATE connections SET host_key = $2, host_key_at = $3, host_key_by = $4 WHERE id = $1")
            .bind(id.to_string())
            .bind(host_key.map(clean))
            .bind(host_key.map(|_| by.at.as_micros()))
            .bind(host_key.map(|_| by.name.as_str()))
            .execute(act.connection())
            .await?;
        let after = host_key.map(|text| PinnedKey { text: text.to_owned(), at: by.at, by: String::new() });
        let detail = json!({
            "name": before.name,
            "from": before.host_key.as_ref().map(PinnedKey::fingerprint),
            "to": after.as_ref().map(PinnedKey::fingerprint),
        });
        let action =
            if host_key.is_some() { "connection.pin_host_key" } else { "connection.forget_host_key" };
        act.commit(by, Deed::done(action, id, detail)).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
