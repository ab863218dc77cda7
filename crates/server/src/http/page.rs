//! Pages of lists: `page` from 1, `limit` per page.

use super::problem::Problem;

/// The largest page number; beyond it lies nothing.
pub const MAX_PAGE: u32 = 1_000_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub number: u32,
    pub limit: u32,
}

impl Page {
    /// `limit` above `max_limit` is cut to it; zero is refused.
    pub fn new(
        number: Option<u32>,
        limit: Option<u32>,
        default_limit: u32,
        max_limit: u32,
    ) -> Result<Self, Problem> {
        let number = number.unwrap_or(1);
        if !(1..=MAX_PAGE).contains(&number) {
            return Err(Problem::invalid("page", format!("expected a whole number from 1 to {MAX_PAGE}")));
        }
        let limit = limit.unwrap_or(default_limit);
        if limit == 0 {
            return Err(Problem::invalid("limit", format!("expected a whole number from 1 to {max_limit}")));
        }
        Ok(Self { number, limit: limit.min(max_limit) })
    }

    /// How many rows come before the page.
    pub fn offset(self) -> i64 {
        i64::from(self.number - 1) * i64::from(self.limit)
    }
}
