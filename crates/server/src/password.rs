//! Passwords: what is accepted, how they are hashed and compared.
//!
//! argon2id with 46 MiB and one pass, which OWASP recommends first. (Its equal, 19 MiB and two
//! passes, costs more memory in the end: glibc keeps what is below 32 MiB in the heap of each
//! thread that ever hashed; 30 logins left 350 MiB behind.) Hashing runs on threads of its own,
//! two at once, with a short queue: logging in can neither starve other requests nor fill the
//! memory.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Context as _;
use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc,
};
use serde::Deserialize;
use sojourn_store::{
    Entropy,
    identity::{GuessSubject, PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{
    http::problem::Problem,
    turns::{Turn, Turns},
};

/// NIST SP 800-63B asks for at least eight.
const SHORTEST: usize = 8;
const LONGEST: usize = 1024;
const MEMORY_KIB: u32 = 46 * 1024;
const PASSES: u32 = 1;
/// Hashes at once: one takes 46 MiB and a core for some 30 ms.
const AT_ONCE: usize = 2;
/// Beyond so many that wait, newcomers are sent away.
const QUEUE: usize = 64;

/// A password as somebody typed it: at most 1024 characters. Prints nothing.
#[derive(Clone)]
pub struct Password(String);

/// A password that somebody wants to have: at least 8 characters too.
#[derive(Clone, Debug)]
pub struct NewPassword(Password);

/// The text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a password of 8 to 1024 characters")]
pub struct BadPassword;

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl TryFrom<String> for Password {
    type Error = BadPassword;

    fn try_from(text: String) -> Result<Self, BadPassword> {
        if text.chars().count() > LONGEST { Err(BadPassword) } else { Ok(Self(text)) }
    }
}

impl TryFrom<String> for NewPassword {
    type Error = BadPassword;

    fn try_from(text: String) -> Result<Self, BadPassword> {
        if text.chars().count() < SHORTEST { Err(BadPassword) } else { Password::try_from(text).map(Self) }
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

/// Hashes and compares; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// What the password of a user that does not exist is compared with, so that the time it
    /// takes tells nothing.
    nobody: Arc<OnceLock<String>>,
    turns: Turns,
    entropy: Entropy,
}

/// Counts somebody who waits, for as long as it lives.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Passwords {
    pub fn new(entropy: Entropy) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(AtomicUsize::new(0)),
            nobody: Arc::default(),
            turns: Turns::default(),
            entropy,
        }
    }

    /// Waits until nobody else tries this name from this address. To be held from before the attempt is
    /// charged until it is known whether it was right.
    pub async fn turn(&self, subject: &GuessSubject) -> Result<Turn, Problem> {
        self.turns.take(subject).await
    }

    /// What is kept of a password.
    pub async fn hash(&self, password: NewPassword) -> Result<PasswordHash, Problem> {
        let salt = self.entropy.bytes::<16>();
        self.run(move || hash(&password.0.0, &salt)).await?.map(PasswordHash).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "a password could not be hashed");
            Problem::internal()
        })
    }

    /// Whether it is the password. `None` compares with nobody's, takes as long, and is never right.
    pub async fn is_right(&self, password: Password, kept: Option<PasswordHash>) -> Result<bool, Problem> {
        let nobody = self.nobody.clone();
        let salt = self.entropy.bytes::<16>();
        self.run(move || {
            let nobody = nobody.get_or_init(|| hash("nobody's password", &salt).unwrap_or_default());
            let text = kept.as_ref().map_or(nobody.as_str(), |hash| hash.0.as_str());
            let right = phc::PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password.0.as_bytes(), &hash).is_ok());
            right && kept.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Problem::unavailable("too many are logging in at once; try again", 2));
        }
        let waiting = Waiting(self.waiting.clone());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Problem::internal())?;
        // The permit goes with the work, not with a caller that may have gone away.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (permit, waiting);
            work()
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "hashing a password ended early");
            Problem::internal()
        })
    }
}

/// The PHC string of a password, without a queue: for the command line.
pub fn hash_now(password: &NewPassword, entropy: Entropy) -> anyhow::Result<PasswordHash> {
    hash(&password.0.0, &entropy.bytes::<16>()).map(PasswordHash)
}

fn hash(password: &str, salt: &[u8]) -> anyhow::Result<String> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).context("argon2 parameters")?;
    let hash: phc::PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), salt)
        .context("argon2")?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(text: &str) -> Result<NewPassword, BadPassword> {
        NewPassword::try_from(text.to_owned())
    }

    fn typed(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn the_password_is_right_and_others_are_not() {
        let passwords = Passwords::new(Entropy);
        let kept = passwords.hash(new("correct horse").unwrap()).await.unwrap();
        assert!(kept.0.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{}", kept.0);
        assert!(passwords.is_right(typed("correct horse"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is_right(typed("correct horse "), Some(kept)).await.unwrap());
        assert!(!passwords.is_right(typed("nobody's password"), None).await.unwrap());
        assert!(!passwords.is_right(typed("x"), Some(PasswordHash(String::new()))).await.unwrap());
    }

    #[test]
    fn lengths_and_printing() {
        assert!(new("1234567").is_err());
        assert!(new(&"ä".repeat(1024)).is_ok());
        assert!(new(&"ä".repeat(1025)).is_err());
        assert_eq!(format!("{:?}", new("secret password").unwrap()), "NewPassword(…)");
    }
}
