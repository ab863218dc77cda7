//! Devices, sources, presence events and presence sessions.
//!
//! Every list is read in chunks by key, so that no read transaction stays open while a slow client
//! takes its answer, and memory does not grow with the history. Order is by position in time, then
//! by id or seq, so that it is stable.
//!
//! The queries know nothing of time zones, colours or wording: they take and give points in time.

pub mod apply;
pub mod counts;
pub mod devices;
pub mod events;
pub mod load;
mod numbers;
pub mod retention;
pub mod sessions;
pub mod sources;
pub mod timeline;

use sojourn_domain::{mac::MacAddr, time::Timestamp};
use sqlx::{Row as _, any::AnyRow};

use crate::StoreError;

/// How many rows one statement of a long list reads.
pub const CHUNK: u32 = 1000;

/// Typed access to a row's columns by position.
pub(crate) trait Columns {
    fn int(&self, index: usize) -> Result<i64, StoreError>;
    fn flag(&self, index: usize) -> Result<bool, StoreError> {
        Ok(self.int(index)? != 0)
    }
    fn maybe_int(&self, index: usize) -> Result<Option<i64>, StoreError>;
    fn time(&self, index: usize) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::from_micros(self.int(index)?))
    }
    fn maybe_time(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe_int(index)?.map(Timestamp::from_micros))
    }
    fn text(&self, index: usize) -> Result<String, StoreError>;
    fn maybe_text(&self, index: usize) -> Result<Option<String>, StoreError>;
    fn parsed<T: std::str::FromStr>(&self, index: usize, what: &str) -> Result<T, StoreError>;
    fn mac(&self, index: usize) -> Result<MacAddr, StoreError> {
        self.parsed(index, "MAC address")
    }
}

impl Columns for AnyRow {
    fn int(&self, index: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(index)?)
    }

    fn maybe_int(&self, index: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(index)?)
    }

    fn text(&self, index: usize) -> Result<String, StoreError> {
        Ok(self.try_get(index)?)
    }

    fn maybe_text(&self, index: usize) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(index)?)
    }

    fn parsed<T: std::str::FromStr>(&self, index: usize, what: &str) -> Result<T, StoreError> {
        let text: &str = self.try_get(index)?;
        text.parse().map_err(|_| StoreError::Corrupt(format!("{what} {text:?}")))
    }
}

#[cfg(test)]
mod tests;
