//! One source saw one device once, and the scan in which it did.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{mac::MacAddr, time::Timestamp};

/// One source saw one device once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub mac: MacAddr,
    /// The address it had; link-local and multicast addresses tell nothing and are left out.
    pub ip: Option<IpAddr>,
    /// The name it gives itself (DHCP, mDNS) or is given (reverse DNS).
    pub hostname: Option<String>,
    pub evidence: Evidence,
}

/// What exactly was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It was there at this moment.
    Seen { at: Timestamp },
    /// It was there at `at`, and holds a lease until `until`.
    Held { at: Timestamp, until: Timestamp },
    /// It said that it leaves: a released or ended lease, a hook's word.
    Gone { at: Timestamp },
}

impl Evidence {
    pub const fn at(self) -> Timestamp {
        match self {
            Self::Seen { at } | Self::Held { at, .. } | Self::Gone { at } => at,
        }
    }
}

/// What a scan was able to look at, for people (`192.168.1.0/24 on eth0`).
pub type Scope = String;

/// A range of addresses: `192.168.1.0/24`. The bits behind the prefix are kept as written and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Subnet {
    /// `None` when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a range of addresses: expected one such as 192.168.1.0/24")]
pub struct ParseSubnetError;

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(ParseSubnetError)?;
        let address = address.parse().map_err(|_| ParseSubnetError)?;
        if !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseSubnetError);
        }
        Self::new(address, prefix.parse().map_err(|_| ParseSubnetError)?).ok_or(ParseSubnetError)
    }
}

/// One pass of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub outcome: ScanOutcome,
    pub scope: Scope,
    /// Where a device cannot hide from this scan: absence counts here even for devices that the
    /// source never saw. Empty for sources that only listen or read.
    pub covers: Vec<Subnet>,
}

/// How a scan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanOutcome {
    /// Everything in its scope was looked at.
    Complete,
    /// It ended in an error; what it saw counts, what it did not see does not.
    Failed { message: String },
    /// It could not look at all.
    Blind { message: String },
}

impl ScanOutcome {
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed { .. } => "failed",
            Self::Blind { .. } => "blind",
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Complete => "",
            Self::Failed { message } | Self::Blind { message } => message,
        }
    }

    /// The outcome of this key; `None` where no outcome is called so.
    pub fn of(key: &str, message: String) -> Option<Self> {
        Some(match key {
            "complete" => Self::Complete,
            "failed" => Self::Failed { message },
            "blind" => Self::Blind { message },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_contains_its_addresses_and_no_others() {
        let subnet: Subnet = "192.168.1.77/24".parse().unwrap();
        assert!(subnet.contains("192.168.1.255".parse().unwrap()));
        assert!(!subnet.contains("192.168.2.1".parse().unwrap()));
        assert!(!subnet.contains("fe80::1".parse().unwrap()));
        let everything: Subnet = "0.0.0.0/0".parse().unwrap();
        assert!(everything.contains("255.255.255.255".parse().unwrap()));
        let one: Subnet = "2001:db8::1/128".parse().unwrap();
        assert!(
            one.contains("2001:db8::1".parse().unwrap()) && !one.contains("2001:db8::2".parse().unwrap())
        );
        for bad in ["192.168.1.0", "192.168.1.0/33", "x/24", "192.168.1.0/+4", "::/129"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
