//! DHCP servers' lease files: what they say, without judging whether a lease still runs.
//!
//! The files belong to other programs and may be half written or damaged. What cannot be read is
//! counted and skipped; the readers never panic, and keep at most [`MAX_LEASES`] leases.

mod dnsmasq;
mod isc;
mod kea;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use sojourn_domain::{mac::MacAddr, time::Timestamp};

/// More leases than this in a file are not kept: four times what 65,536 addresses need.
pub const MAX_LEASES: usize = 262_144;
/// Larger files are not read. Append-only files grow between the server's clean-ups.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Whose lease file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseFormat {
    /// `dnsmasq.leases`.
    Dnsmasq,
    /// ISC dhcpd's `dhcpd.leases`.
    Isc,
    /// Kea's memfile (`kea-leases4.csv`, `kea-leases6.csv`).
    Kea,
}

impl LeaseFormat {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dnsmasq => "dnsmasq",
            Self::Isc => "ISC dhcpd",
            Self::Kea => "Kea",
        }
    }
}

/// A lease of an address to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub mac: MacAddr,
    pub ip: IpAddr,
    pub hostname: Option<String>,
    /// The server says that it runs. It may be past its end all the same.
    pub active: bool,
    /// When client and server last agreed, if the file tells.
    pub at: Option<Timestamp>,
    /// When it ends or ended; [`Timestamp::MAX`] for never.
    pub until: Timestamp,
}

/// What a file said: the last word on each address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    /// `None` for an empty file of unknown kind.
    pub format: Option<LeaseFormat>,
    pub leases: Vec<Lease>,
    /// Entries that could not be read or name no Ethernet device.
    pub skipped: usize,
    /// The file ends where an entry ends.
    pub whole: bool,
}

/// The bytes are no lease file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a lease file of dnsmasq, ISC dhcpd or Kea")]
pub struct UnknownLeaseFile;

/// Reads a lease file; without a format, finds out whose it is.
pub fn parse(format: Option<LeaseFormat>, bytes: &[u8]) -> Result<Leases, UnknownLeaseFile> {
    let mut book = Book::default();
    let format = match format.or_else(|| detect(bytes)) {
        Some(format) => format,
        None if bytes.iter().all(u8::is_ascii_whitespace) => {
            return Ok(Leases { format: None, leases: Vec::new(), skipped: 0, whole: true });
        }
        None => return Err(UnknownLeaseFile),
    };
    match format {
        LeaseFormat::Dnsmasq => dnsmasq::read(bytes, &mut book),
        LeaseFormat::Isc => isc::read(bytes, &mut book),
        LeaseFormat::Kea => kea::read(bytes, &mut book),
    }
    let mut leases: Vec<_> = book.leases.into_values().collect();
    leases.sort_by_key(|lease| lease.ip);
    Ok(Leases { format: Some(format), leases, skipped: book.skipped, whole: !book.cut })
}

/// Whose file it is, by its first line that says something.
fn detect(bytes: &[u8]) -> Option<LeaseFormat> {
    let mut lines = lines(bytes).map(|line| line.trim_ascii());
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    let Some(first) = first else {
        // ISC writes a comment into a file without leases.
        return bytes.trim_ascii().starts_with(b"#").then_some(LeaseFormat::Isc);
    };
    if first.starts_with(b"address,") {
        return Some(LeaseFormat::Kea);
    }
    let words: Vec<_> =
        first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(3).collect();
    let number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    match words.as_slice() {
        [
            b"lease" | b"authoring-byte-order" | b"server-duid" | b"failover" | b"ia-na" | b"default-duid",
            ..,
        ] => Some(LeaseFormat::Isc),
        [b"duid", ..] => Some(LeaseFormat::Dnsmasq),
        [expiry, _, address, ..] if number(expiry) && ip(address).is_some() => Some(LeaseFormat::Dnsmasq),
        _ => None,
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == b'\n')
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    text(bytes)?.parse().ok()
}

/// A MAC address that names a device.
fn mac(bytes: &[u8]) -> Option<MacAddr> {
    text(bytes)?.parse::<MacAddr>().ok().filter(|mac| mac.is_device())
}

fn seconds(bytes: &[u8]) -> Option<Timestamp> {
    let seconds: i64 = text(bytes)?.parse().ok()?;
    Some(Timestamp::from_secs(seconds).clamp(Timestamp::MIN, Timestamp::MAX))
}

/// Leases by address; later entries replace earlier ones.
#[derive(Default)]
struct Book {
    leases: HashMap<IpAddr, Lease>,
    skipped: usize,
    cut: bool,
}

impl Book {
    fn enter(&mut self, lease: Lease) {
        let room = self.leases.len() < MAX_LEASES;
        match self.leases.entry(lease.ip) {
            Entry::Occupied(mut entry) => {
                // A server may leave out the name of a client that did not repeat it.
                let hostname = entry.get_mut().hostname.take().filter(|_| entry.get().mac == lease.mac);
                let lease = Lease { hostname: lease.hostname.clone().or(hostname), ..lease };
                entry.insert(lease);
            }
            Entry::Vacant(entry) if room => {
                entry.insert(lease);
            }
            Entry::Vacant(_) => self.skipped += 1,
        }
    }

    /// The address is nobody's any more, whoever had it.
    fn end(&mut self, ip: IpAddr, until: Option<Timestamp>) {
        if let Some(lease) = self.leases.get_mut(&ip) {
            lease.active = false;
            lease.until = until.unwrap_or(lease.until).min(lease.until);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whose_file_it_is() {
        for (bytes, format) in [
            (&b"1735689600 aa:bb:cc:dd:ee:0f 10.0.0.5 phone 01:aa\n"[..], Some(LeaseFormat::Dnsmasq)),
            (b"duid 00:01:00:01\n", Some(LeaseFormat::Dnsmasq)),
            (
                b"# The format of this file is documented in the dhcpd.leases(5) manual page.\n",
                Some(LeaseFormat::Isc),
            ),
            (b"\nauthoring-byte-order little-endian;\nlease 10.0.0.5 {\n", Some(LeaseFormat::Isc)),
            (b"address,hwaddr,client_id,valid_lifetime,expire\n", Some(LeaseFormat::Kea)),
            (b"", None),
            (b" \n\n", None),
        ] {
            assert_eq!(parse(None, bytes).unwrap().format, format, "{:?}", text(bytes));
        }
        for bytes in [&b"root:x:0:0:root:/root:/bin/sh\n"[..], b"\x7fELF", b"hello world"] {
            assert_eq!(parse(None, bytes), Err(UnknownLeaseFile));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            for format in [None, Some(LeaseFormat::Dnsmasq), Some(LeaseFormat::Isc), Some(LeaseFormat::Kea)] {
                let _ = parse(format, &bytes);
            }
        }

        #[test]
        fn no_damage_panics_or_makes_up_a_device(
            which in 0..3usize, at in 0..600usize, value: u8, cut in 0..700usize
        ) {
            let mut bytes = [dnsmasq::tests::SAMPLE, isc::tests::SAMPLE, kea::tests::SAMPLE][which].as_bytes().to_vec();
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(cut);
            if let Ok(leases) = parse(None, &bytes) {
                for lease in leases.leases {
                    prop_assert!(lease.mac.is_device());
                }
            }
        }
    }
}
