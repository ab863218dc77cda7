//! Connections for reading.
//!
//! PostgreSQL's come from sqlx's pool. It asks each connection that comes back whether it still answers, in a task of its
//! own, and hands out the one that was idle for longest. SQLite's connections are threads of this process: to ask
//! one is to wake it twice, which costs as much as most statements do, and a reader that comes meanwhile
//! opens another one, with a cache of its own. So they are kept here: nobody is asked, and the first
//! that is free is taken, so that few readers share few warm caches.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use futures_util::{
    TryFutureExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, Describe, Either, Error, Execute, Executor, SqlStr,
    any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo},
    pool::PoolConnection,
};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::db::{ACQUIRE_TIMEOUT, set_up_sqlite};

/// Connections for reading. A statement runs on it as it does on a pool.
#[derive(Debug, Clone)]
pub(crate) enum Readers {
    Sqlite(Arc<Slots>),
    Postgres(AnyPool),
}

/// One connection for several statements, until it is dropped.
pub(crate) enum Reader {
    Sqlite { connection: OwnedMappedMutexGuard<Slot, AnyConnection>, _turn: OwnedSemaphorePermit },
    Postgres(PoolConnection<Any>),
}

/// Connections to a SQLite database, each opened when it is first wanted.
pub(crate) struct Slots {
    url: String,
    slots: Vec<Arc<Mutex<Slot>>>,
    /// As many as there are slots: who has a turn finds one that is free.
    turns: Arc<Semaphore>,
}

type Slot = Option<AnyConnection>;

impl Readers {
    pub(crate) fn sqlite(url: &str, connections: u32) -> Self {
        let slots: Vec<_> = (0..connections).map(|_| Arc::default()).collect();
        let turns = Arc::new(Semaphore::new(slots.len()));
        Self::Sqlite(Arc::new(Slots { url: url.to_owned(), slots, turns }))
    }

    /// A connection for several statements.
    pub(crate) async fn acquire(&self) -> Result<Reader, Error> {
        match self {
            Self::Sqlite(slots) => {
                let (mut slot, turn) = slots.free().await?;
                // What fails on it later is not seen here, so that it is asked once before.
                if opened(&mut slot)?.ping().await.is_err() {
                    *slot = Some(slots.open().await?);
                }
                let connection = OwnedMutexGuard::try_map(slot, Option::as_mut);
                Ok(Reader::Sqlite { connection: connection.map_err(|_| Error::WorkerCrashed)?, _turn: turn })
            }
            Self::Postgres(pool) => pool.acquire().await.map(Reader::Postgres),
        }
    }

    /// Waits for running statements and closes all connections.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(slots) => slots.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Slots {
    /// The first slot that is free, with an open connection. The slot is let go before the turn.
    async fn free(&self) -> Result<(OwnedMutexGuard<Slot>, OwnedSemaphorePermit), Error> {
        let turn = tokio::time::timeout(ACQUIRE_TIMEOUT, self.turns.clone().acquire_owned());
        let turn = turn.await.map_err(|_| Error::PoolTimedOut)?.map_err(|_| Error::PoolClosed)?;
        let free = self.slots.iter().find_map(|slot| slot.clone().try_lock_owned().ok());
        let mut slot = free.ok_or(Error::PoolTimedOut)?;
        if slot.is_none() {
            *slot = Some(self.open().await?);
        }
        Ok((slot, turn))
    }

    async fn open(&self) -> Result<AnyConnection, Error> {
        let mut connection = AnyConnection::connect(&self.url).await?;
        set_up_sqlite(&mut connection).await?;
        Ok(connection)
    }

    async fn close(&self) {
        self.turns.close();
        for slot in &self.slots {
            if let Some(connection) = slot.lock().await.take()
                && let Err(error) = connection.close().await
            {
                tracing::debug!(%error, "a connection to the database did not close in order");
            }
        }
    }
}

fn opened(slot: &mut Slot) -> Result<&mut AnyConnection, Error> {
    slot.as_mut().ok_or(Error::WorkerCrashed)
}

/// A connection whose thread is gone answers nothing any more: the next reader opens another one.
fn give_up_crashed<T>(slot: &mut Slot, result: &Result<T, Error>) {
    if matches!(result, Err(Error::WorkerCrashed)) {
        *slot = None;
    }
}

impl<'c> Executor<'c> for &Readers {
    type Database = Any;

    /// On SQLite all rows are read before the first is given: every list has a limit, and nobody
    /// keeps a connection while an answer is on its way.
    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let slots = match self {
            Readers::Sqlite(slots) => slots.clone(),
            Readers::Postgres(pool) => return pool.fetch_many(query),
        };
        let rows = async move {
            let (mut slot, turn) = slots.free().await?;
            let rows: Result<Vec<_>, _> = opened(&mut slot)?.fetch_many(query).try_collect().await;
            give_up_crashed(&mut slot, &rows);
            drop((slot, turn));
            Ok(stream::iter(rows?.into_iter().map(Ok)))
        };
        Box::pin(rows.try_flatten_stream())
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let slots = match self {
            Readers::Sqlite(slots) => slots.clone(),
            Readers::Postgres(pool) => return pool.fetch_optional(query),
        };
        Box::pin(async move {
            let (mut slot, _turn) = slots.free().await?;
            let row = opened(&mut slot)?.fetch_optional(query).await;
            give_up_crashed(&mut slot, &row);
            row
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        let readers = self.clone();
        Box::pin(async move { readers.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'c: 'e,
    {
        let readers = self.clone();
        Box::pin(async move { readers.acquire().await?.describe(sql).await })
    }
}

impl Deref for Reader {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        match self {
            Self::Sqlite { connection, .. } => connection,
            Self::Postgres(connection) => connection,
        }
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        match self {
            Self::Sqlite { connection, .. } => connection,
            Self::Postgres(connection) => connection,
        }
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("connections", &self.slots.len()).finish_non_exhaustive()
    }
}
