//! Rows in one text.
//!
//! To hand over a row costs the driver several times what finding it costs the database: a word from thread to thread,
//! and a type and an allocation for every column. So what is long, or asked for often, is put together by the
//! database and taken apart here: a number with a comma behind it, a text with its length in bytes and a
//! colon before it, and neither digit where there is NULL.
//!
//! Neither database promises the order in which it puts rows together, though both keep that of the subquery. Who
//! needs an order sorts, which costs next to nothing where the rows are sorted already.

use std::str::FromStr;

use sojourn_domain::{mac::MacAddr, time::Timestamp};
use sqlx::{Any, Executor, Row as _, any::AnyArguments, query::Query};

use crate::StoreError;

/// A query whose only row and column holds the rows of another one, whose columns are named in the order in which
/// [`Fields`] are to be read, each with `int` or `text`.
macro_rules! packed {
    (@column int $column:ident) => { concat!("p.", stringify!($column), ", ','") };
    (@column text $column:ident) => {
        concat!("octet_length(p.", stringify!($column), "), ':', p.", stringify!($column))
    };
    ({ $kind:ident $column:ident $(, $kinds:ident $columns:ident)* $(,)? }, $rows:expr $(,)?) => {
        concat!(
            "SELECT string_agg(concat(",
            $crate::packed::packed!(@column $kind $column),
            $(", ", $crate::packed::packed!(@column $kinds $columns),)*
            "), '') FROM (",
            $rows,
            ") p"
        )
    };
}
pub(crate) use packed;

/// Runs a packed query and reads each of its rows with `read`.
pub(crate) async fn rows<'e, T>(
    query: Query<'e, Any, AnyArguments>,
    executor: impl Executor<'e, Database = Any>,
    mut read: impl FnMut(&mut Fields<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let row = query.fetch_one(executor).await?;
    // No rows: no text.
    let text: Option<&str> = row.try_get(0)?;
    let mut fields = Fields { rest: text.unwrap_or_default() };
    let mut rows = Vec::new();
    while !fields.rest.is_empty() {
        rows.push(read(&mut fields)?);
    }
    Ok(rows)
}

/// What is left of packed rows. Columns are read one after another, and by what they are.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    pub(crate) fn maybe_int(&mut self) -> Result<Option<i64>, StoreError> {
        let (digits, rest) = self.rest.split_once(',').ok_or_else(|| self.corrupt())?;
        let number = (!digits.is_empty()).then(|| digits.parse()).transpose().map_err(|_| self.corrupt())?;
        self.rest = rest;
        Ok(number)
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        self.maybe_int()?.ok_or_else(|| self.corrupt())
    }

    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp::from_micros)
    }

    pub(crate) fn maybe_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe_int()?.map(Timestamp::from_micros))
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<&'a str>, StoreError> {
        let (length, rest) = self.rest.split_once(':').ok_or_else(|| self.corrupt())?;
        if length.is_empty() {
            self.rest = rest;
            return Ok(None);
        }
        let length = length.parse().map_err(|_| self.corrupt())?;
        let (text, rest) = rest.split_at_checked(length).ok_or_else(|| self.corrupt())?;
        self.rest = rest;
        Ok(Some(text))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, StoreError> {
        self.maybe_text()?.ok_or_else(|| self.corrupt())
    }

    pub(crate) fn parsed<T: FromStr>(&mut self, what: &str) -> Result<T, StoreError> {
        let text = self.text()?;
        text.parse().map_err(|_| StoreError::Corrupt(format!("{what} {text:?}")))
    }

    pub(crate) fn mac(&mut self) -> Result<MacAddr, StoreError> {
        self.parsed("MAC address")
    }

    fn corrupt(&self) -> StoreError {
        let near: String = self.rest.chars().take(40).collect();
        StoreError::Corrupt(format!("packed rows near {near:?}"))
    }
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::both_databases;

    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn rows_come_out_as_they_went_in() {
        const QUERY: &str = packed!(
            { int number, text words, int no_number, text no_words },
            "SELECT * FROM (SELECT 1 AS number, CAST($1 AS TEXT) AS words, CAST(NULL AS BIGINT) AS no_number, \
             CAST(NULL AS TEXT) AS no_words UNION ALL SELECT 3, '', 7, 'x' UNION ALL \
             SELECT -9223372036854775807, ',:', NULL, NULL) r ORDER BY number DESC LIMIT 10"
        );
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            let words = "3:é,\n\u{1f}:12,5:ü😀";
            let found = rows(sqlx::query(QUERY).bind(words), store.read(), |fields| {
                Ok((
                    fields.int()?,
                    fields.text()?.to_owned(),
                    fields.maybe_int()?,
                    fields.maybe_text()?.is_some(),
                ))
            });
            let expected = [
                (3, String::new(), Some(7), true),
                (1, words.to_owned(), None, false),
                (-i64::MAX, ",:".to_owned(), None, false),
            ];
            let mut found = found.await.unwrap();
            found.sort_by(|a, b| b.cmp(a));
            assert_eq!(found, expected);
            let none = packed!({ int number }, "SELECT 1 AS number WHERE 1 = 0");
            assert!(rows(sqlx::query(none), store.read(), |fields| fields.int()).await.unwrap().is_empty());
        })
        .await;
    }

    #[test]
    fn what_is_cut_short_is_no_row() {
        for text in ["1", "5:abc", "3:é", "x,", ":"] {
            let mut fields = Fields { rest: text };
            assert!(fields.int().is_err() || fields.text().is_err(), "{text}");
        }
        assert!(Fields { rest: "2:é" }.text().is_ok_and(|text| text == "é"));
        assert!(Fields { rest: "1:é" }.text().is_err());
    }
}
