//! Which part of a representation a request asks for: Range and If-Range, as RFC 9110 has them.
//!
//! One range of bytes is served; several, other units and what cannot be read are ignored, which section 14.2 allows: then
//! the whole is sent.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Range(Range<u64>),
    /// 416: nothing of it exists.
    Outside,
}

/// Reads the headers of a GET for something of `size` bytes with the strong tag `etag`, quotes included.
pub(super) fn part(headers: &HeaderMap, size: u64, etag: &str) -> Part {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Part::Whole };
    // Nothing here has a date, and a weak tag never matches: only the strong tag does.
    if let Some(condition) = headers.get(header::IF_RANGE)
        && condition.as_bytes() != etag.as_bytes()
    {
        return Part::Whole;
    }
    range.to_str().ok().and_then(|text| parse(text, size)).unwrap_or(Part::Whole)
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LAST_ONES`; `None` where it is something else.
fn parse(text: &str, size: u64) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = (first.trim_end(), last.trim_start());
    let range = if first.is_empty() {
        size.saturating_sub(number(last)?)..size
    } else {
        let first = number(first)?;
        let end = if last.is_empty() { size } else { number(last)?.saturating_add(1) };
        if end <= first && !last.is_empty() {
            return None;
        }
        first..end.min(size)
    };
    Some(if range.start < range.end { Part::Range(range) } else { Part::Outside })
}

/// Digits alone; a number beyond all sizes is the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// One of the tags in If-Match or If-None-Match is this one, or it is `*`.
pub(super) fn names(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> Option<bool> {
    let mut present = None;
    for value in headers.get_all(name) {
        let text = value.to_str().unwrap_or_default();
        let found = text.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag);
        present = Some(present.unwrap_or(false) || found);
    }
    present
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(header::HeaderName, &str)], size: u64) -> Part {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        part(&headers, size, "\"a\"")
    }

    fn asked(range: &str) -> Part {
        of(&[(header::RANGE, range)], 100)
    }

    #[test]
    fn ranges_as_rfc_9110_writes_them() {
        assert_eq!(asked("bytes=0-0"), Part::Range(0..1));
        assert_eq!(asked("bytes=10-19"), Part::Range(10..20));
        assert_eq!(asked("bytes=90-"), Part::Range(90..100));
        assert_eq!(asked("bytes=90-1000"), Part::Range(90..100));
        assert_eq!(asked("bytes=-10"), Part::Range(90..100));
        assert_eq!(asked("bytes=-1000"), Part::Range(0..100));
        assert_eq!(asked("Bytes= 5-6"), Part::Range(5..7));
        assert_eq!(asked("bytes=0-99999999999999999999999999"), Part::Range(0..100));
        for outside in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(asked(outside), Part::Outside, "{outside}");
        }
        for whole in
            ["bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=+1-2", ""]
        {
            assert_eq!(asked(whole), Part::Whole, "{whole}");
        }
        assert_eq!(of(&[(header::RANGE, "bytes=0-0")], 0), Part::Outside);
        assert_eq!(of(&[], 100), Part::Whole);
    }

    #[test]
    fn if_range_lets_a_range_pass_only_for_the_same_bytes() {
        let range = (header::RANGE, "bytes=0-0");
        let with = |tag| of(&[range.clone(), (header::IF_RANGE, tag)], 100);
        assert_eq!(with("\"a\""), Part::Range(0..1));
        for other in ["\"b\"", "W/\"a\"", "Sat, 29 Oct 1994 19:43:31 GMT"] {
            assert_eq!(with(other), Part::Whole, "{other}");
        }
    }
}
