//! ISC dhcpd's `dhcpd.leases`: a journal to which each change of a lease is appended.
//!
//! `lease ADDRESS { starts W Y/M/D H:M:S; ends …; cltt …; binding state active; hardware ethernet
//! MAC; client-hostname "NAME"; }`. Times are in UTC, or `epoch SECONDS`, or `never`.

use jiff::{civil, tz::TimeZone};
use sojourn_domain::time::Timestamp;

use super::{Book, Lease, ip, mac, seconds, text};
use crate::hostnames;

/// A piece of the file's grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    Quoted(Vec<u8>),
    End,
    Open,
    Close,
}

struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            return Some(match byte {
                b';' => Token::End,
                b'{' => Token::Open,
                b'}' => Token::Close,
                b'"' => Token::Quoted(self.quoted()?),
                b'#' => {
                    while self.bytes.get(self.at).is_some_and(|&byte| byte != b'\n') {
                        self.at += 1;
                    }
                    continue;
                }
                byte if byte.is_ascii_whitespace() => continue,
                _ => {
                    let start = self.at - 1;
                    while self.bytes.get(self.at).is_some_and(|byte| !b" \t\r\n;{}\"#".contains(byte)) {
                        self.at += 1;
                    }
                    Token::Word(&self.bytes[start..self.at])
                }
            });
        }
    }
}

impl Tokens<'_> {
    /// A string up to its closing quote, with `\"`, `\\` and octal `\ooo`; `None` when it is cut off.
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(out),
                b'\\' => {
                    let digits = self.bytes.get(self.at..self.at + 3).filter(|digits| {
                        digits[0] <= b'3' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
                    });
                    if let Some(digits) = digits {
                        out.push(digits.iter().fold(0, |value: u8, digit| (value << 3) | (digit - b'0')));
                        self.at += 3;
                    } else {
                        out.push(*self.bytes.get(self.at)?);
                        self.at += 1;
                    }
                }
                byte => out.push(byte),
            }
        }
    }
}

/// A statement has at most this many words that matter.
const WORDS: usize = 6;

pub(super) fn read(bytes: &[u8], book: &mut Book) {
    let mut tokens = Tokens { bytes, at: 0 };
    let mut statement: Vec<Token<'_>> = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            Token::End | Token::Close => statement.clear(),
            Token::Open => {
                match statement.as_slice() {
                    [Token::Word(b"lease"), Token::Word(address)] => {
                        let address = ip(address);
                        let Some(entry) = entry(&mut tokens) else { break };
                        match address {
                            Some(ip) => entry.enter(ip, book),
                            None => book.skipped += 1,
                        }
                    }
                    // Failover peers, DHCPv6 associations (which name no MAC address), classes.
                    _ => {
                        if skip_block(&mut tokens).is_none() {
                            break;
                        }
                    }
                }
                statement.clear();
            }
            token if statement.len() < WORDS => statement.push(token),
            Token::Word(_) | Token::Quoted(_) => {}
        }
    }
    // The last entry is closed by a brace, the last statement by a semicolon.
    let end = bytes.trim_ascii_end();
    let comment =
        end.rsplit(|&byte| byte == b'\n').next().is_some_and(|line| line.trim_ascii().starts_with(b"#"));
    book.cut = !(end.is_empty() || end.ends_with(b"}") || end.ends_with(b";") || comment);
}

/// Skips to the brace that closes the open one; `None` when there is none.
fn skip_block(tokens: &mut Tokens<'_>) -> Option<()> {
    let mut depth = 1usize;
    while depth > 0 {
        match tokens.next()? {
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            Token::Word(_) | Token::Quoted(_) | Token::End => {}
        }
    }
    Some(())
}

#[derive(Default)]
struct LeaseEntry {
    mac: Option<sojourn_domain::mac::MacAddr>,
    hostname: Option<String>,
    active: bool,
    starts: Option<Timestamp>,
    last_contact: Option<Timestamp>,
    ends: Option<Timestamp>,
}

/// The content of a lease up to its closing brace; `None` when it is cut off.
fn entry(tokens: &mut Tokens<'_>) -> Option<LeaseEntry> {
    let mut entry = LeaseEntry::default();
    let mut statement: Vec<Token<'_>> = Vec::new();
    loop {
        match tokens.next()? {
            Token::Close => return Some(entry),
            Token::Open => {
                skip_block(tokens)?;
                statement.clear();
            }
            Token::End => {
                entry.take(&statement);
                statement.clear();
            }
            token @ (Token::Word(_) | Token::Quoted(_)) => {
                if statement.len() < WORDS {
                    statement.push(token);
                }
            }
        }
    }
}

impl LeaseEntry {
    fn take(&mut self, statement: &[Token<'_>]) {
        match statement {
            [Token::Word(b"starts"), rest @ ..] => self.starts = time(rest),
            [Token::Word(b"ends"), rest @ ..] => self.ends = time(rest),
            [Token::Word(b"cltt"), rest @ ..] => self.last_contact = time(rest),
            [Token::Word(b"binding"), Token::Word(b"state"), Token::Word(state)] => {
                self.active = *state == b"active"
            }
            [Token::Word(b"hardware"), Token::Word(b"ethernet"), Token::Word(address)] => {
                self.mac = mac(address)
            }
            [Token::Word(b"client-hostname"), Token::Quoted(name)] => self.hostname = hostnames::clean(name),
            _ => {}
        }
    }

    fn enter(self, ip: std::net::IpAddr, book: &mut Book) {
        let Some(mac) = self.mac else {
            // A freed lease may have lost its client.
            if self.active {
                book.skipped += 1;
            }
            return book.end(ip, self.ends);
        };
        book.enter(Lease {
            mac,
            ip,
            hostname: self.hostname,
            active: self.active,
            at: self.last_contact.or(self.starts),
            until: self.ends.unwrap_or(Timestamp::MAX),
        });
    }
}

fn time(words: &[Token<'_>]) -> Option<Timestamp> {
    match words {
        [Token::Word(b"never")] => Some(Timestamp::MAX),
        [Token::Word(b"epoch"), Token::Word(at)] => seconds(at),
        [Token::Word(_weekday), Token::Word(day), Token::Word(clock)] => {
            let (day, clock) = (text(day)?, text(clock)?);
            let mut day = day.splitn(3, '/').map(str::parse::<i16>);
            let mut clock = clock.splitn(3, ':').map(str::parse::<i8>);
            let mut next_day = || day.next()?.ok();
            let (year, month, day) = (next_day()?, next_day()?, next_day()?);
            let mut next = || clock.next()?.ok();
            let (hour, minute, second) = (next()?, next()?, next()?);
            let at = civil::DateTime::new(
                year,
                i8::try_from(month).ok()?,
                i8::try_from(day).ok()?,
                hour,
                minute,
                // A leap second.
                second.min(59),
                0,
            );
            let at = at.ok()?.to_zoned(TimeZone::UTC).ok()?;
            Some(Timestamp::from_micros(at.timestamp().as_microsecond()))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::leases::{LeaseFormat, Leases, parse};

    pub(crate) const SAMPLE: &str = r#"# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

lease 192.168.1.20 {
  starts 3 2025/01/01 08:00:00;
  ends 3 2025/01/01 09:00:00;
  tstp 3 2025/01/01 09:00:00;
  cltt 3 2025/01/01 08:00:00;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet aa:bb:cc:dd:ee:20;
  uid "\001\252\273\314\335\356 ";
  set vendor-class-identifier = "android-dhcp-13";
  client-hostname "tablet";
}
lease 192.168.1.21 {
  starts epoch 1735718400; # Wed Jan 01 08:00:00 2025
  ends never;
  binding state active;
  hardware ethernet aa:bb:cc:dd:ee:21;
  on expiry { set x = "}"; }
}
lease 192.168.1.20 {
  starts 3 2025/01/01 08:00:00;
  ends 3 2025/01/01 08:20:00;
  cltt 3 2025/01/01 08:00:00;
  binding state free;
  hardware ethernet aa:bb:cc:dd:ee:20;
}
lease 192.168.1.22 {
  starts 3 2025/01/01 08:00:00;
  ends 3 2025/01/01 08:00:00;
  binding state abandoned;
}
server-duid "\000\001\000\001+";
"#;

    fn leases(text: &str) -> Leases {
        parse(Some(LeaseFormat::Isc), text.as_bytes()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn the_last_entry_of_an_address_wins() {
        let read = leases(SAMPLE);
        assert_eq!((read.skipped, read.whole), (0, true));
        let [tablet, forever] = read.leases.as_slice() else { panic!("{read:?}") };
        assert!(!tablet.active, "released after twenty minutes");
        assert_eq!(tablet.until, at("2025-01-01T08:20:00Z"));
        assert_eq!(tablet.hostname.as_deref(), Some("tablet"), "kept from the earlier entry");
        assert!(forever.active);
        assert_eq!((forever.at, forever.until), (Some(at("2025-01-01T08:00:00Z")), Timestamp::MAX));
    }

    #[test]
    fn every_other_state_is_no_lease() {
        for state in ["free", "released", "expired", "abandoned", "backup", "reset", "bootp", "declined"] {
            let text = SAMPLE
                .replace("binding state free;\n  hardware", &format!("binding state {state};\n  hardware"));
            assert!(!leases(&text).leases[0].active, "{state}");
        }
    }

    #[test]
    fn a_half_written_entry_is_not_read() {
        let end = SAMPLE.find("hardware ethernet aa:bb:cc:dd:ee:21").unwrap();
        let read = leases(&SAMPLE[..end + 36]);
        assert_eq!((read.leases.len(), read.whole), (1, true), "ends in a semicolon, but the entry is open");
        assert!(!leases(&SAMPLE[..end + 10]).whole);
    }

    #[test]
    fn an_entry_that_lost_its_client_ends_the_lease() {
        let text =
            format!("{SAMPLE}lease 192.168.1.21 {{ ends 3 2025/01/01 10:00:00; binding state free; }}\n");
        let read = leases(&text);
        assert!(!read.leases[1].active);
        assert_eq!(read.leases[1].until, at("2025-01-01T10:00:00Z"));
    }
}
