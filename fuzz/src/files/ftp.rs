//! Listings of FTP targets.

use sojourn_domain::time::Timestamp;

use super::Entry;

#[path = "../../../crates/gateway/src/files/ftp/listing.rs"]
#[expect(dead_code, reason = "what is sent is not fuzzed")]
mod listing;

/// A line of MLSD or MLST.
pub fn facts(line: &[u8]) -> Option<Entry> {
    listing::facts(line)
}

/// A line of LIST.
pub fn line(line: &[u8], now: Timestamp) -> Option<Entry> {
    listing::line(line, now)
}
