//! One source saw one device once, and the scan in which it did.

use std::net::IpAddr;

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

/// One pass of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub outcome: ScanOutcome,
    pub scope: Scope,
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
