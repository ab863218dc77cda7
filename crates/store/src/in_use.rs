//! Who uses a database: any number of servers, or one program that replaces everything in it.
//!
//! A server keeps what it knows of presence in memory and would write it over what was restored beneath it.
//! The lock of the data directory keeps the two apart where both name one; this does it by the database
//! itself. The claim goes with the process, however it ends: on PostgreSQL it is an advisory lock of a
//! connection of its own, beside SQLite it is the lock of a file, `DATABASE.lock`.

use std::{
    fs::{File, TryLockError},
    io,
    path::PathBuf,
    time::Duration,
};

use sqlx::{AnyConnection, Connection as _};
use tokio_util::task::AbortOnDropHandle;

use crate::{StoreError, db::url_of_file};

/// "sojourn" in ASCII.
const ADVISORY_LOCK: i64 = 0x73_6f6a_6f75_726e;
/// How often a server looks whether its connection still holds its claim.
const LOOKS_EVERY: Duration = Duration::from_secs(15);

/// What a program does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Serves from it, beside other servers.
    Serve,
    /// Replaces what is in it.
    Replace,
}

/// Why a database cannot be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("a server runs on the database")]
    Served,
    #[error("the database is being restored")]
    Replaced,
    #[error("lock {}: {error}", path.display())]
    Lock { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The database is ours for a purpose, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    _file: Option<File>,
    _connection: Option<AnyConnection>,
    _keeper: Option<AbortOnDropHandle<()>>,
}

/// Claims the database behind `url`, which exists.
pub async fn claim(url: &str, purpose: Purpose) -> Result<Claim, ClaimError> {
    if let Some(database) = url_of_file(url) {
        let mut path = database.into_os_string();
        path.push(".lock");
        return Ok(Claim { _file: Some(lock_file(path.into(), purpose)?), _connection: None, _keeper: None });
    }
    let connection = lock_database(url, purpose).await?;
    Ok(match purpose {
        Purpose::Replace => Claim { _file: None, _connection: Some(connection), _keeper: None },
        Purpose::Serve => {
            let keeper = tokio::spawn(keep(url.to_owned(), connection));
            Claim { _file: None, _connection: None, _keeper: Some(AbortOnDropHandle::new(keeper)) }
        }
    })
}

fn lock_file(path: PathBuf, purpose: Purpose) -> Result<File, ClaimError> {
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let locked = open.map_err(TryLockError::Error).and_then(|file| {
        match purpose {
            Purpose::Serve => file.try_lock_shared()?,
            Purpose::Replace => file.try_lock()?,
        }
        Ok(file)
    });
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => taken(purpose),
        TryLockError::Error(error) => ClaimError::Lock { path, error },
    })
}

fn taken(purpose: Purpose) -> ClaimError {
    match purpose {
        Purpose::Serve => ClaimError::Replaced,
        Purpose::Replace => ClaimError::Served,
    }
}

async fn lock_database(url: &str, purpose: Purpose) -> Result<AnyConnection, ClaimError> {
    let mut connection = AnyConnection::connect(url).await.map_err(StoreError::from)?;
    let lock = match purpose {
        Purpose::Serve => "SELECT CASE WHEN pg_try_advisory_lock_shared($1) THEN 1 ELSE 0 END",
        Purpose::Replace => "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END",
    };
    let (locked,): (i32,) = sqlx::query_as(lock)
        .bind(ADVISORY_LOCK)
        .fetch_one(&mut connection)
        .await
        .map_err(StoreError::from)?;
    if locked == 1 { Ok(connection) } else { Err(taken(purpose)) }
}

/// Keeps a server's claim through restarts of PostgreSQL.
async fn keep(url: String, connection: AnyConnection) {
    let mut held = Some(connection);
    let mut looks = tokio::time::interval(LOOKS_EVERY);
    loop {
        looks.tick().await;
        if let Some(connection) = &mut held
            && sqlx::query("SELECT 1").execute(connection).await.is_ok()
        {
            continue;
        }
        held = match lock_database(&url, Purpose::Serve).await {
            Ok(connection) => Some(connection),
            Err(ClaimError::Replaced) => {
                tracing::error!("the database is being restored while this server runs on it: restart it");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "the database cannot be claimed; trying again");
                None
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::both_databases;

    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn servers_share_a_database_and_nobody_replaces_it_beneath_them() {
        both_databases(async |url| {
            Store::open(url).await.unwrap().close().await;
            let one = claim(url, Purpose::Serve).await.unwrap();
            let two = claim(url, Purpose::Serve).await.unwrap();
            let refused = async || claim(url, Purpose::Replace).await.unwrap_err();
            assert!(matches!(refused().await, ClaimError::Served));
            drop(one);
            assert!(matches!(refused().await, ClaimError::Served));
            drop(two);
            // PostgreSQL notices a while after the connection is gone.
            let replacing = loop {
                match claim(url, Purpose::Replace).await {
                    Ok(claim) => break claim,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            assert!(matches!(claim(url, Purpose::Serve).await.unwrap_err(), ClaimError::Replaced));
            drop(replacing);
        })
        .await;
    }
}
