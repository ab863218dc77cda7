//! What a file is, as clients are told: attributes, and the line that `ls -l` would write.

use std::fmt::Write as _;

use sojourn_domain::time::{Elapsed, Timestamp};

use super::wire::Attributes;
use crate::files::{Entry, EntryKind};

/// Older files have a year in their line and no time of day.
const RECENT: Elapsed = Elapsed::from_secs(180 * 24 * 3600);

/// What is said of an entry. Clients tell files from folders by the mode: it is always there.
pub(super) fn attributes(entry: &Entry) -> Attributes {
    let (kind, usual) = match entry.kind {
        EntryKind::File => (0o100_000, 0o644),
        EntryKind::Folder => (0o040_000, 0o755),
        EntryKind::Link => (0o120_000, 0o777),
        // Which of the others it is, is not known.
        EntryKind::Other => (0o010_000, 0o644),
    };
    Attributes {
        size: entry.size,
        owner: entry.uid.zip(entry.gid),
        mode: Some(kind | entry.permissions.unwrap_or(usual)),
        modified: entry.modified.map(seconds),
    }
}

/// What a client's seconds mean.
pub(super) fn timestamp(seconds: u32) -> Timestamp {
    Timestamp::from_secs(i64::from(seconds))
}

fn seconds(time: Timestamp) -> u32 {
    let seconds = time.as_millis().div_euclid(1000);
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// The line of `ls -l`, which some clients read.
pub(super) fn long(entry: &Entry, now: Timestamp) -> Vec<u8> {
    let attributes = attributes(entry);
    let mode = attributes.mode.unwrap_or(0);
    let mut line = String::with_capacity(64);
    line.push(match entry.kind {
        EntryKind::File => '-',
        EntryKind::Folder => 'd',
        EntryKind::Link => 'l',
        EntryKind::Other => 'p',
    });
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        line.push(if mode >> bit & 1 == 1 { letter } else { '-' });
    }
    let owner = word(entry.owner.as_deref(), entry.uid);
    let group = word(entry.group.as_deref(), entry.gid);
    // Writing to a String cannot fail.
    let _ = write!(line, "    1 {owner:<8} {group:<8} {:>8} ", entry.size.unwrap_or(0));
    let modified = entry.modified.unwrap_or_default();
    // 2023-11-14T22:13:19.000Z
    let text = modified.rfc3339();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("??");
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = part(5, 7).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).copied().unwrap_or("Jan");
    let day = part(8, 10).trim_start_matches('0');
    let age = now.since(modified);
    let _ = if age > RECENT || age < Elapsed::ZERO {
        write!(line, "{month} {day:>2}  {} ", part(0, 4))
    } else {
        write!(line, "{month} {day:>2} {} ", part(11, 16))
    };
    let mut line = line.into_bytes();
    line.extend_from_slice(&entry.name);
    line
}

/// A word without spaces, so that the line keeps its columns.
fn word(name: Option<&str>, number: Option<u32>) -> String {
    match (name, number) {
        (Some(name), _) if !name.is_empty() => {
            name.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
        }
        (_, Some(number)) => number.to_string(),
        (_, None) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_ls() {
        let now = Timestamp::from_secs(1_700_000_000);
        let entry = Entry {
            size: Some(12),
            modified: Some(Timestamp::from_secs(1_699_999_999)),
            permissions: Some(0o640),
            owner: Some("do main".to_owned()),
            gid: Some(7),
            ..Entry::new(&b"a \xff"[..], EntryKind::File)
        };
        let line = long(&entry, now);
        assert_eq!(line, b"-rw-r-----    1 do_main  7              12 Nov 14 22:13 a \xff");
        let old =
            Entry { modified: Some(Timestamp::from_secs(0)), ..Entry::new(&b"d"[..], EntryKind::Folder) };
        let line = long(&old, now);
        assert_eq!(line, b"drwxr-xr-x    1 ?        ?               0 Jan  1  1970 d");
        assert_eq!(attributes(&old).mode, Some(0o040_755));
    }
}
