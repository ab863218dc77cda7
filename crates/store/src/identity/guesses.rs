//! Slowing down those who guess at passwords, without locking anybody out for good.
//!
//! Failures are counted for an address, for a name, and for the pair of both; each hour without
//! one halves the count. Past a number of free failures each further one blocks for twice as
//! long, up to a limit. What is blocked:
//!
//! - *address*: everything from it (an IPv6 network of 64 bits is one address);
//! - *pair*: this name from this address;
//! - *name*: this name, but only from addresses that have failed at it. Somebody who guesses from
//!   everywhere therefore cannot keep the owner out: a first try from an address that has not
//!   failed is always heard.
//!
//! An attempt is charged before the password is looked at, and given back when it was right, so
//! that attempts at once gain nothing; callers take turns, so that right ones at once lose nothing. While something is blocked, attempts are not charged.

use std::net::IpAddr;

use serde_json::json;
use sojourn_domain::time::{Elapsed, Timestamp};
use sqlx::AnyConnection;

use crate::{
    audit::{Act, By, Deed},
    db::{Store, StoreError},
};

/// What is guessed at, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuessSubject {
    name_key: String,
    address: String,
}

impl GuessSubject {
    /// `name_key` is a user name as it is compared, or anything that stands for names that no
    /// user can have.
    pub fn new(name_key: &str, address: IpAddr) -> Self {
        Self { name_key: name_key.to_owned(), address: network(address) }
    }

    /// The address, as it is counted.
    pub fn address(&self) -> String {
        format!("address:{}", self.address)
    }

    /// The name from this address, as it is counted.
    pub fn pair(&self) -> String {
        format!("pair:{}@{}", self.name_key, self.address)
    }

    fn rows(&self) -> [(String, Limit); 3] {
        [(self.address(), ADDRESS), (format!("name:{}", self.name_key), NAME), (self.pair(), PAIR)]
    }
}

/// Providers give a home or a server a whole /64: its addresses are one.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            format!("{}/64", std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

/// Whether somebody may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Yes, and it was charged.
    Charged,
    /// Not before this moment.
    Blocked { until: Timestamp },
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    free: u32,
    longest: Elapsed,
}

const ADDRESS: Limit = Limit { free: 20, longest: Elapsed::from_minutes(15) };
const NAME: Limit = Limit { free: 25, longest: Elapsed::from_minutes(1) };
/// Those who log in at once in several tabs are charged together until the first is found right.
const PAIR: Limit = Limit { free: 8, longest: Elapsed::from_minutes(15) };
const HALVES_AFTER: Elapsed = Elapsed::from_minutes(60);
/// Never a moment of now: attempts at once have read their clocks in another order than they are heard.
const NOT_BLOCKED: Timestamp = Timestamp::from_micros(0);
/// By then every count has been halved to nothing.
const FORGOTTEN_AFTER: Elapsed = Elapsed::from_minutes(24 * 60);

impl Limit {
    /// Until when the `failures`-th failure blocks.
    fn block(self, failures: i64, now: Timestamp) -> Timestamp {
        let past = u32::try_from(failures - i64::from(self.free)).unwrap_or(0);
        let Some(doublings) = past.checked_sub(1) else { return NOT_BLOCKED };
        let secs = 1i64.checked_shl(doublings).filter(|&secs| secs > 0).unwrap_or(i64::MAX);
        now + Elapsed::from_secs(secs).min(self.longest)
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: i64,
    blocked_until: Timestamp,
}

/// Reads a count, and holds its row until the transaction ends.
async fn hold(connection: &mut AnyConnection, subject: &str, now: Timestamp) -> Result<Count, StoreError> {
    let (failures, last_at, blocked_until): (i64, i64, i64) = sqlx::query_as(
        "INSERT INTO guesses (subject, failures, last_at, blocked_until) VALUES ($1, 0, $2, 0) \
         ON CONFLICT (subject) DO UPDATE SET failures = guesses.failures \
         RETURNING failures, last_at, blocked_until",
    )
    .bind(subject)
    .bind(now.as_micros())
    .fetch_one(connection)
    .await?;
    let quiet = now.since(Timestamp::from_micros(last_at)).as_micros().max(0);
    let halvings = u32::try_from(quiet / HALVES_AFTER.as_micros()).unwrap_or(u32::MAX);
    Ok(Count {
        failures: failures.checked_shr(halvings).unwrap_or(0),
        blocked_until: Timestamp::from_micros(blocked_until),
    })
}

async fn put(
    connection: &mut AnyConnection,
    subject: &str,
    count: Count,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE guesses SET failures = $2, last_at = $3, blocked_until = $4 WHERE subject = $1")
        .bind(subject)
        .bind(count.failures)
        .bind(now.as_micros())
        .bind(count.blocked_until.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Asks whether somebody may try a password, and charges the attempt.
    pub async fn guess(&self, subject: &GuessSubject, now: Timestamp) -> Result<Attempt, StoreError> {
        let mut transaction = self.begin().await?;
        let rows = subject.rows();
        let mut counts = Vec::with_capacity(rows.len());
        for (row, _) in &rows {
            counts.push(hold(&mut transaction, row, now).await?);
        }
        let [address, name, pair] = [counts[0], counts[1], counts[2]];
        let mut until = address.blocked_until.max(pair.blocked_until);
        if pair.failures > 0 {
            until = until.max(name.blocked_until);
        }
        if until > now {
            return Ok(Attempt::Blocked { until });
        }
        for ((row, limit), count) in rows.iter().zip(counts) {
            let failures = count.failures + 1;
            let blocked_until = limit.block(failures, now).max(count.blocked_until);
            put(&mut transaction, row, Count { failures, blocked_until }, now).await?;
        }
        transaction.commit().await?;
        Ok(Attempt::Charged)
    }

    /// The attempt was right: what it was charged is given back, and the pair is forgiven. The
    /// address and the name keep what others failed.
    pub async fn guess_was_right(&self, subject: &GuessSubject, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let [address, name, (pair, _)] = subject.rows();
        for (row, _) in [address, name] {
            let count = hold(&mut transaction, &row, now).await?;
            let count = Count { failures: (count.failures - 1).max(0), blocked_until: NOT_BLOCKED };
            put(&mut transaction, &row, count, now).await?;
        }
        sqlx::query("DELETE FROM guesses WHERE subject = $1").bind(pair).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets all failures at a name, and of the addresses that they came from; says how many
    /// counts were forgotten.
    pub async fn guesses_forget(&self, name_key: &str, by: &By) -> Result<u64, StoreError> {
        let mut act = Act::begin(self).await?;
        let pairs = format!("pair:{name_key}@");
        let length = i64::try_from(pairs.chars().count()).unwrap_or(i64::MAX);
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT subject FROM guesses WHERE SUBSTR(subject, 1, CAST($2 AS INTEGER)) = $1")
                .bind(&pairs)
                .bind(length)
                .fetch_all(act.connection())
                .await?;
        let mut subjects = vec![format!("name:{name_key}")];
        for (subject,) in rows {
            subjects.push(format!("address:{}", subject.trim_start_matches(pairs.as_str())));
            subjects.push(subject);
        }
        let mut forgotten = 0;
        for subject in subjects {
            forgotten += sqlx::query("DELETE FROM guesses WHERE subject = $1")
                .bind(subject)
                .execute(act.connection())
                .await?
                .rows_affected();
        }
        act.commit(by, Deed::done("user.unlock", name_key, json!({"counts": forgotten}))).await?;
        Ok(forgotten)
    }

    /// Forgets what counts for nothing any more.
    pub async fn guesses_prune(&self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM guesses WHERE last_at < $1 AND blocked_until < $2")
            .bind((now - FORGOTTEN_AFTER).as_micros())
            .bind(now.as_micros())
            .execute(self.write())
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::both_databases;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + second)
    }

    fn subject(name: &str, address: &str) -> GuessSubject {
        GuessSubject::new(name, address.parse().unwrap())
    }

    #[tokio::test]
    async fn a_pair_is_blocked_for_longer_and_longer_and_forgiven_when_right() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let alice = subject("alice", "192.0.2.1");
            let mut now = at(0);
            for _ in 0..8 {
                assert_eq!(store.guess(&alice, now).await.unwrap(), Attempt::Charged);
            }
            let mut waits = Vec::new();
            for _ in 0..11 {
                assert_eq!(store.guess(&alice, now).await.unwrap(), Attempt::Charged);
                let Attempt::Blocked { until } = store.guess(&alice, now).await.unwrap() else { panic!() };
                waits.push(until.since(now).as_secs());
                now = until;
            }
            assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
            assert_eq!(waits[10], 900);
            // Another name from there, and the same name from elsewhere, are heard.
            assert_eq!(store.guess(&subject("bob", "192.0.2.1"), now).await.unwrap(), Attempt::Charged);
            assert_eq!(store.guess(&subject("alice", "192.0.2.2"), now).await.unwrap(), Attempt::Charged);
            assert_eq!(store.guess(&alice, now).await.unwrap(), Attempt::Charged);
            store.guess_was_right(&alice, now).await.unwrap();
            assert_eq!(store.guess(&alice, now).await.unwrap(), Attempt::Charged);
        })
        .await;
    }

    #[tokio::test]
    async fn guessing_from_everywhere_keeps_nobody_out_who_has_not_failed() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            for i in 0..200 {
                let from = format!("198.51.{}.{}", 100 + i / 100, i % 100);
                assert_eq!(store.guess(&subject("admin", &from), at(0)).await.unwrap(), Attempt::Charged);
            }
            // Those who have failed wait for the name ...
            let again = store.guess(&subject("admin", "198.51.100.7"), at(1)).await.unwrap();
            assert!(matches!(again, Attempt::Blocked { until } if until <= at(61)), "{again:?}");
            // ... and the owner, from an address that has not, does not.
            assert_eq!(store.guess(&subject("admin", "203.0.113.1"), at(1)).await.unwrap(), Attempt::Charged);
        })
        .await;
    }

    #[tokio::test]
    async fn an_address_that_tries_many_names_is_blocked_and_time_forgives() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            // All of one /64.
            for i in 0..21 {
                let from = format!("2001:db8::{i:x}");
                let name = format!("user{i}");
                assert_eq!(store.guess(&subject(&name, &from), at(0)).await.unwrap(), Attempt::Charged);
            }
            let other = subject("other", "2001:db8::ffff");
            assert!(matches!(store.guess(&other, at(0)).await.unwrap(), Attempt::Blocked { .. }));
            assert_eq!(
                store.guess(&subject("other", "2001:db8:1::1"), at(0)).await.unwrap(),
                Attempt::Charged
            );
            // An hour later half of it is forgotten: there are free failures again.
            assert_eq!(store.guess(&other, at(3601)).await.unwrap(), Attempt::Charged);
            assert_eq!(store.guess(&other, at(3601)).await.unwrap(), Attempt::Charged);
            store.guesses_prune(at(3 * 86_400)).await.unwrap();
            let (left,): (i64,) =
                sqlx::query_as("SELECT COUNT(*) FROM guesses").fetch_one(store.read()).await.unwrap();
            assert_eq!(left, 0);
        })
        .await;
    }

    #[tokio::test]
    async fn attempts_at_once_gain_nothing() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let alice = subject("alice", "192.0.2.1");
            let tasks: Vec<_> = (0..30)
                .map(|_| {
                    let (store, alice) = (store.clone(), alice.clone());
                    tokio::spawn(async move { store.guess(&alice, at(0)).await.unwrap() == Attempt::Charged })
                })
                .collect();
            let mut heard = 0;
            for task in tasks {
                heard += i32::from(task.await.unwrap());
            }
            assert_eq!(heard, 9);
        })
        .await;
    }

    #[tokio::test]
    async fn who_read_the_clock_first_may_be_heard_last() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let (alice, bob) = (subject("alice", "192.0.2.1"), subject("bob", "192.0.2.1"));
            for now in [at(3), at(2)] {
                assert_eq!(store.guess(&alice, now).await.unwrap(), Attempt::Charged);
            }
            store.guess_was_right(&alice, at(3)).await.unwrap();
            for other in [&alice, &bob] {
                assert_eq!(store.guess(other, at(1)).await.unwrap(), Attempt::Charged);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn forgetting_a_name_forgives_its_addresses_too() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let alice = subject("a_ice", "192.0.2.1");
            for _ in 0..9 {
                store.guess(&alice, at(0)).await.unwrap();
                store.guess(&subject("alice", "192.0.2.9"), at(0)).await.unwrap();
            }
            assert_eq!(store.guesses_forget("a_ice", &By::cli(at(0))).await.unwrap(), 3);
            assert_eq!(store.guess(&alice, at(0)).await.unwrap(), Attempt::Charged);
            let other = store.guess(&subject("alice", "192.0.2.9"), at(0)).await.unwrap();
            assert!(matches!(other, Attempt::Blocked { .. }));
        })
        .await;
    }
}
