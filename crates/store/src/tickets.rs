//! Tickets: each admits one WebSocket, once, within [`LIFETIME`], for one user and one thing.
//!
//! A browser cannot send a credential with a WebSocket; it fetches a ticket with one and shows it
//! instead. A ticket in a log is worth nothing: it was used, or is too old.

use sojourn_domain::{
    id::{AccessSessionId, ConnectionId, UserId},
    time::{Elapsed, Timestamp},
};

use crate::{
    db::{Store, StoreError},
    identity::{SecretHash, id},
};

/// How long a ticket waits to be used.
pub const LIFETIME: Elapsed = Elapsed::from_secs(30);

/// What a ticket admits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    /// A new session on a connection.
    Open(ConnectionId),
    /// One's own live session, after a lost connection.
    Attach(AccessSessionId),
    /// Somebody's live session, to look on.
    Watch(AccessSessionId),
    /// Somebody's live session, to take part.
    Join(AccessSessionId),
}

impl Admits {
    const fn key(self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Attach(_) => "attach",
            Self::Watch(_) => "watch",
            Self::Join(_) => "join",
        }
    }

    const fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Open(connection) => Some(connection),
            Self::Attach(_) | Self::Watch(_) | Self::Join(_) => None,
        }
    }

    const fn session(self) -> Option<AccessSessionId> {
        match self {
            Self::Open(_) => None,
            Self::Attach(session) | Self::Watch(session) | Self::Join(session) => Some(session),
        }
    }
}

/// A ticket that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub user: UserId,
    pub admits: Admits,
}

impl Store {
    /// Keeps a ticket of which the caller has the secret; says until when it is good.
    pub async fn ticket_make(
        &self,
        secret: &SecretHash,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let expires_at = now + LIFETIME;
        sqlx::query(
            "INSERT INTO tickets (hash, user_id, purpose, connection_id, session_id, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(secret.as_str())
        .bind(ticket.user.to_string())
        .bind(ticket.admits.key())
        .bind(ticket.admits.connection().map(|connection| connection.to_string()))
        .bind(ticket.admits.session().map(|session| session.to_string()))
        .bind(expires_at.as_micros())
        .execute(self.write())
        .await?;
        Ok(expires_at)
    }

    /// Takes a ticket: whoever asks again, or later, gets none. The user still has to be looked up.
    pub async fn ticket_take(
        &self,
        secret: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError> {
        type Row = (String, String, Option<String>, Option<String>, i64);
        let row: Option<Row> = sqlx::query_as(
            "DELETE FROM tickets WHERE hash = $1 \
             RETURNING user_id, purpose, connection_id, session_id, expires_at",
        )
        .bind(secret.as_str())
        .fetch_optional(self.write())
        .await?;
        let Some((user, purpose, connection, session, expires_at)) = row else { return Ok(None) };
        if Timestamp::from_micros(expires_at) <= now {
            return Ok(None);
        }
        let connection: Option<ConnectionId> = connection.as_deref().map(id).transpose()?;
        let session: Option<AccessSessionId> = session.as_deref().map(id).transpose()?;
        let admits = match (purpose.as_str(), connection, session) {
            ("open", Some(connection), _) => Admits::Open(connection),
            ("attach", _, Some(session)) => Admits::Attach(session),
            ("watch", _, Some(session)) => Admits::Watch(session),
            ("join", _, Some(session)) => Admits::Join(session),
            _ => return Err(StoreError::Corrupt(format!("ticket for {purpose:?}"))),
        };
        Ok(Some(Ticket { user: id(&user)?, admits }))
    }

    /// Forgets tickets that nobody used.
    pub async fn tickets_prune(&self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tickets WHERE expires_at <= $1")
            .bind(now.as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }
}
