//! What servers answer to MLSD, MLST (RFC 3659) and LIST, line by line.
//!
//! LIST is for people and has no standard: the dialects here are those of Unix (GNU, BSD, vsftpd, ProFTPD) and of
//! Windows. Known to miss: links whose own name holds ` -> `, names with line ends, and the seconds of all times.

use jiff::civil;
use sojourn_domain::time::Timestamp;

use crate::files::{Entry, EntryKind};

/// One line of MLSD or MLST: `type=file;size=5; name`.
pub(super) fn facts(line: &[u8]) -> Option<Entry> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (facts, name) = (std::str::from_utf8(&line[..space]).ok()?, &line[space + 1..]);
    let mut entry = Entry::new(name, EntryKind::Other);
    let mut known = false;
    for fact in facts.split(';').filter(|fact| !fact.is_empty()) {
        let (key, value) = fact.split_once('=')?;
        match key.to_ascii_lowercase().as_str() {
            "type" => {
                known = true;
                let kind = value.to_ascii_lowercase();
                entry.kind = match kind.as_str() {
                    "file" => EntryKind::File,
                    "dir" | "cdir" | "pdir" => EntryKind::Folder,
                    kind if kind.starts_with("os.unix=slink") || kind.starts_with("os.unix=symlink") => {
                        entry.link_target = value.split_once(':').map(|(_, target)| target.into());
                        EntryKind::Link
                    }
                    _ => EntryKind::Other,
                };
                if matches!(kind.as_str(), "cdir" | "pdir") {
                    entry.name = b".".to_vec();
                }
            }
            "size" => entry.size = value.parse().ok(),
            "modify" => entry.modified = compact_time(value),
            "unix.mode" => entry.permissions = u32::from_str_radix(value, 8).ok().map(|mode| mode & 0o7777),
            "unix.uid" => entry.uid = value.parse().ok(),
            "unix.gid" => entry.gid = value.parse().ok(),
            "unix.owner" | "unix.ownername" => entry.owner = person(value),
            "unix.group" | "unix.groupname" => entry.group = person(value),
            _ => {}
        }
    }
    known.then_some(entry)
}

/// `20261122060000`, with or without a fraction, in UTC.
pub(super) fn compact_time(text: &str) -> Option<Timestamp> {
    let digits = text.split('.').next()?;
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<i8>().ok();
    let date = civil::DateTime::new(
        digits[..4].parse().ok()?,
        number(4, 6)?,
        number(6, 8)?,
        number(8, 10)?,
        number(10, 12)?,
        number(12, 14)?.min(59),
        0,
    );
    instant(date.ok()?)
}

pub(super) fn written_time(time: Timestamp) -> String {
    let digits = time.rfc3339();
    digits.chars().take(19).filter(char::is_ascii_digit).collect()
}

fn instant(date: civil::DateTime) -> Option<Timestamp> {
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_secs(zoned.timestamp().as_second()))
}

fn person(name: &str) -> Option<String> {
    let good = !name.is_empty()
        && name.len() <= 64
        && !name.chars().any(char::is_control)
        && !name.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| name.to_owned())
}

/// One line of LIST. `None`: it is no entry.
pub(super) fn line(line: &[u8], now: Timestamp) -> Option<Entry> {
    match line.first()? {
        b'-' | b'd' | b'l' | b'b' | b'c' | b'p' | b's' => unix(line, now),
        b'0'..=b'9' => windows(line),
        _ => None,
    }
}

/// The words of a line, with where each ends.
fn words(line: &[u8]) -> impl Iterator<Item = (&str, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line[at..].iter().position(|byte| *byte != b' ')?;
        let end = line[start..].iter().position(|byte| *byte == b' ').map_or(line.len(), |end| start + end);
        at = end;
        // A word of a name may be anything; it ends what can be told from words.
        Some((std::str::from_utf8(&line[start..end]).unwrap_or(""), end))
    })
}

fn month(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let word = word.to_ascii_lowercase();
    let at = MONTHS.iter().position(|month| word == *month)?;
    i8::try_from(at + 1).ok()
}

/// `-rw-r--r--    1 deploy   users           5 Nov 22 06:00 name`
fn unix(line: &[u8], now: Timestamp) -> Option<Entry> {
    let found: Vec<(&str, usize)> = words(line).take(12).collect();
    let mode = found.first()?.0;
    // Where the date is, the size is before it and the name after it, whatever else a server puts in.
    let (at, time, name_at) = (2..=8).find_map(|at| {
        let (first, second, third) = (found.get(at)?, found.get(at + 1)?, found.get(at + 2));
        if let Some(time) = dated(first.0, second.0, third?.0, now) {
            return Some((at, time, third?.1));
        }
        iso(first.0, second.0).map(|time| (at, time, second.1))
    })?;
    let name = line.get(name_at + 1..)?;
    let kind = match line[0] {
        b'-' => EntryKind::File,
        b'd' => EntryKind::Folder,
        b'l' => EntryKind::Link,
        _ => EntryKind::Other,
    };
    let mut entry = Entry::new(name, kind);
    if kind == EntryKind::Link
        && let Some(arrow) = name.windows(4).position(|window| window == b" -> ")
    {
        entry.name = name[..arrow].to_vec();
        entry.link_target = Some(name[arrow + 4..].to_vec());
    }
    entry.size = found[at - 1].0.parse().ok();
    entry.modified = Some(time);
    entry.permissions = permissions(mode.as_bytes());
    if at >= 5 {
        let (owner, group) = (found[2].0, found[3].0);
        (entry.owner, entry.group) = (person(owner), person(group));
        (entry.uid, entry.gid) = (owner.parse().ok(), group.parse().ok());
    }
    Some(entry)
}

/// `Nov 22 06:00`, which is the last one that was not in the future, or `Nov 22  2024`.
fn dated(month_word: &str, day: &str, time_or_year: &str, now: Timestamp) -> Option<Timestamp> {
    // Some write the day first.
    let (month, day) = match month(month_word) {
        Some(month) => (month, day.parse::<i8>().ok()?),
        None => (month(day)?, month_word.parse::<i8>().ok()?),
    };
    let Some((hour, minute)) = time_or_year.split_once(':') else {
        let year = time_or_year.parse::<i16>().ok().filter(|year| (1900..=9999).contains(year))?;
        return instant(civil::DateTime::new(year, month, day, 0, 0, 0, 0).ok()?);
    };
    let (hour, minute) = (hour.parse().ok()?, minute.get(..2)?.parse().ok()?);
    let year = now.local(&jiff::tz::TimeZone::UTC).year();
    let in_year = |year: i16| instant(civil::DateTime::new(year, month, day, hour, minute, 0, 0).ok()?);
    // A day of tolerance, for zones and for clocks.
    let tomorrow = now.as_micros() + 86_400_000_000;
    in_year(year).filter(|time| time.as_micros() <= tomorrow).or_else(|| in_year(year - 1))
}

/// `2026-11-22 06:00`
fn iso(date: &str, time: &str) -> Option<Timestamp> {
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let (hour, minute) = time.split_once(':')?;
    let year = year.parse().ok().filter(|year| *year >= 1900)?;
    let minute = minute.get(..2)?.parse().ok()?;
    let date =
        civil::DateTime::new(year, month.parse().ok()?, day.parse().ok()?, hour.parse().ok()?, minute, 0, 0);
    instant(date.ok()?)
}

/// `rwxr-sr-t` after the kind.
fn permissions(mode: &[u8]) -> Option<u32> {
    let letters = mode.get(1..10)?;
    let mut bits = 0;
    for (at, letter) in letters.iter().enumerate() {
        let bit = 0o400 >> at;
        let special = 0o4000 >> (at / 3);
        bits |= match letter {
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            b'-' => 0,
            _ => return None,
        };
    }
    Some(bits)
}

/// `11-22-26  06:00AM       <DIR>          name`
fn windows(line: &[u8]) -> Option<Entry> {
    let mut found = words(line);
    let (date, time, (size, end)) = (found.next()?.0, found.next()?.0, found.next()?);
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i16>().ok());
    let (month, day, year) = (date.next()??, date.next()??, date.next()??);
    let year = match year {
        0..=69 => 2000 + year,
        70..=99 => 1900 + year,
        year => year,
    };
    let half = time.get(time.len().checked_sub(2)?..)?.to_ascii_uppercase();
    let (clock, noon) = match half.as_str() {
        "AM" => (time.get(..time.len() - 2)?, Some(0)),
        "PM" => (time.get(..time.len() - 2)?, Some(12)),
        _ => (time, None),
    };
    let (hour, minute) = clock.split_once(':')?;
    let hour: i8 = hour.parse().ok()?;
    let hour = noon.map_or(hour, |noon| hour % 12 + noon);
    let modified = civil::DateTime::new(
        year,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        hour,
        minute.parse().ok()?,
        0,
        0,
    );
    // Folders have the name where files have it: after `<DIR>` come as many spaces as fill the column.
    let name = if size == "<DIR>" {
        let rest = line.get(end..)?;
        rest.get(10..).filter(|_| rest.starts_with(b"          ")).unwrap_or_else(|| rest.trim_ascii_start())
    } else {
        line.get(end + 1..)?
    };
    let mut entry = Entry::new(name, if size == "<DIR>" { EntryKind::Folder } else { EntryKind::File });
    entry.size = size.parse().ok();
    if entry.size.is_none() && entry.kind == EntryKind::File {
        return None;
    }
    entry.modified = modified.ok().and_then(instant);
    Some(entry)
}

/// A name that can be one in a folder.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && name.len() <= 1024
        && !name.iter().any(|byte| matches!(byte, b'/' | 0 | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        compact_time("20261122060000").unwrap()
    }

    fn read(text: &str) -> (String, EntryKind, Option<u64>, String) {
        let entry = line(text.as_bytes(), now()).unwrap_or_else(|| panic!("{text}"));
        let modified = entry.modified.map(|time| time.rfc3339()[..16].to_owned()).unwrap_or_default();
        (String::from_utf8(entry.name).unwrap(), entry.kind, entry.size, modified)
    }

    #[test]
    fn dialects_of_list() {
        use EntryKind::{File, Folder, Link, Other};
        for (text, name, kind, size, time) in [
            // vsftpd, ProFTPD, GNU
            (
                "-rw-r--r--    1 1000     1000            5 Nov 22 05:59  two  spaces",
                " two  spaces",
                File,
                Some(5),
                "2026-11-22T05:59",
            ),
            (
                "drwxr-xr-x    2 deploy   users        4096 Nov 23 12:00 later",
                "later",
                Folder,
                Some(4096),
                "2025-11-23T12:00",
            ),
            (
                "lrwxrwxrwx    1 0        0               4 Feb 29  2024 link -> file",
                "link",
                Link,
                Some(4),
                "2024-02-29T00:00",
            ),
            (
                "crw-rw-rw-    1 0 0       1,   3 Jan 01  2020 null",
                "null",
                Other,
                Some(3),
                "2020-01-01T00:00",
            ),
            // no group; ACLs; ISO dates; the day first; spaces in the owner
            (
                "-rw-r--r--   1 owner    123 Mar  3 03:03 nogroup",
                "nogroup",
                File,
                Some(123),
                "2026-03-03T03:03",
            ),
            ("-rw-r--r--+  1 a b 7 2026-11-22 05:00 iso", "iso", File, Some(7), "2026-11-22T05:00"),
            ("-rw-r--r--  1 a b 7 22 Nov 05:00 day", "day", File, Some(7), "2026-11-22T05:00"),
            (
                "-rw-r--r--  1 DOM\\Some One Users 7 Nov  1 05:00 owner",
                "owner",
                File,
                Some(7),
                "2026-11-01T05:00",
            ),
            // a date in the name
            (
                "-rw-r--r-- 1 a b 9 Nov 1 05:00 May 3 2020 x",
                "May 3 2020 x",
                File,
                Some(9),
                "2026-11-01T05:00",
            ),
            // IIS
            (
                "11-22-26  06:00PM                12345 a b.txt",
                "a b.txt",
                File,
                Some(12345),
                "2026-11-22T18:00",
            ),
            (
                "02-03-2024  12:30AM       <DIR>          My Folder",
                "My Folder",
                Folder,
                None,
                "2024-02-03T00:30",
            ),
        ] {
            let expected = (name.to_owned(), kind, size, time.to_owned());
            assert_eq!(read(text), expected, "{text}");
        }
        for no_entry in ["total 12", "", "-rw", "11-22-26 x", "d", "- 1 2 3"] {
            assert_eq!(line(no_entry.as_bytes(), now()), None, "{no_entry}");
        }
        let entry = line(b"-rwsr-x--T 1 deploy 1000 5 Nov 22 05:59 a\xff", now()).unwrap();
        assert_eq!((entry.permissions, &entry.name[..]), (Some(0o5750), &b"a\xff"[..]));
        assert_eq!((entry.owner.as_deref(), entry.gid), (Some("deploy"), Some(1000)));
    }

    #[test]
    fn facts_of_mlsd() {
        let entry =
            facts(b"Type=file;Size=5;Modify=20261122060000.5;UNIX.mode=0640;unique=x;  name; x").unwrap();
        assert_eq!((&entry.name[..], entry.kind, entry.size), (&b" name; x"[..], EntryKind::File, Some(5)));
        assert_eq!((entry.modified, entry.permissions), (Some(now()), Some(0o640)));
        assert_eq!(facts(b"type=cdir; /home").unwrap().name, b".");
        let link = facts(b"type=OS.unix=slink:/to;perm=adfr; link").unwrap();
        assert_eq!((link.kind, link.link_target), (EntryKind::Link, Some(b"/to".to_vec())));
        for bad in ["", "name", " name", "size=3; name", "type; name"] {
            assert_eq!(facts(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(written_time(now()), "20261122060000");
    }

    proptest! {
        #[test]
        fn nothing_breaks_them(bytes: Vec<u8>, text in "[-dlrwx0-9A-Za-z: ;=<>]{0,80}") {
            for input in [&bytes[..], text.as_bytes()] {
                let _ = line(input, now());
                let _ = facts(input);
            }
        }
    }
}
