//! The process's real clock and randomness. Everything else takes them as arguments.

use rand::Rng as _;
use sojourn_domain::{
    id::{Id, Kind},
    time::{Clock, Timestamp},
};

/// The machine's clock, in UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entropy;

impl Entropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    pub fn bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A new id, made at `now`.
    pub fn id<K: Kind>(self, now: Timestamp) -> Id<K> {
        Id::new(now, self.bytes())
    }
}
