//! What a source of sightings is able to prove.

use std::{fmt, str::FromStr};

use crate::time::{Elapsed, Timestamp};

/// How a source comes to know of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// Asks every address of a subnet by ARP on a raw socket.
    Arp,
    /// Reads the kernel's neighbour table, after nudging the subnet where that is allowed.
    Neighbors,
    /// Listens to ARP, DHCP, mDNS and neighbour discovery.
    Passive,
    /// Reads a DHCP server's leases.
    DhcpLeases,
    /// A file of another tool, read once.
    Import,
    /// Reported through the API, by a sensor or a script.
    Push,
}

/// What a complete scan without a device says about the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Nothing: the source tells of moments only.
    Momentary,
    /// A lease runs, whether or not the device is there.
    Holding,
    /// The device was silent; only a long silence counts.
    Listening,
    /// It was asked and did not answer.
    Exhaustive,
}

impl SourceKind {
    pub const ALL: &'static [SourceKind] =
        &[Self::Arp, Self::Neighbors, Self::Passive, Self::DhcpLeases, Self::Import, Self::Push];

    pub const fn key(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Neighbors => "neighbors",
            Self::Passive => "passive",
            Self::DhcpLeases => "dhcp-leases",
            Self::Import => "import",
            Self::Push => "push",
        }
    }

    pub const fn strength(self) -> Strength {
        match self {
            Self::Arp | Self::Neighbors | Self::Push => Strength::Exhaustive,
            Self::Passive => Strength::Listening,
            Self::DhcpLeases => Strength::Holding,
            Self::Import => Strength::Momentary,
        }
    }

    /// A device that is there may go unconfirmed for so long, whatever grace anybody chose.
    ///
    /// The kernel believes a confirmed neighbour for up to 45 seconds (1.5 times `base_reachable_time`,
    /// 30 seconds by default) and does not ask it again before; then it waits five seconds and asks three
    /// times; and a pass over a large subnet takes some twenty seconds itself.
    pub const fn least_grace(self) -> Elapsed {
        match self {
            Self::Neighbors => Elapsed::from_secs(90),
            Self::Arp | Self::Passive | Self::DhcpLeases | Self::Import | Self::Push => Elapsed::ZERO,
        }
    }
}

impl Strength {
    pub const ALL: &'static [Strength] = &[Self::Momentary, Self::Holding, Self::Listening, Self::Exhaustive];

    pub const fn key(self) -> &'static str {
        match self {
            Self::Momentary => "momentary",
            Self::Holding => "holding",
            Self::Listening => "listening",
            Self::Exhaustive => "exhaustive",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// The text names no kind of source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no source kind is called {0:?}: expected arp, neighbors, passive, dhcp-leases, import or push")]
pub struct UnknownSourceKind(pub String);

impl FromStr for SourceKind {
    type Err = UnknownSourceKind;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.key() == text)
            .ok_or_else(|| UnknownSourceKind(text.to_owned()))
    }
}

/// Why a source could not see for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapReason {
    /// Its scan ended in an error.
    Failed,
    /// It ran but could not see: no carrier, no right, an unreadable file.
    Blind,
    /// It, or the server, was not running.
    NotRunning,
}

impl GapReason {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Blind => "blind",
            Self::NotRunning => "not_running",
        }
    }
}

impl FromStr for GapReason {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Failed, Self::Blind, Self::NotRunning]
            .into_iter()
            .find(|reason| reason.key() == text)
            .ok_or(())
    }
}

/// A stretch in which a source could not see. Shown as a gap, never as departures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub id: crate::id::GapId,
    /// The last moment at which the source is known to have seen.
    pub from: Timestamp,
    /// When it saw again; `None` while it does not.
    pub until: Option<Timestamp>,
    /// When the last but one complete scan before the gap started. A device that was not seen
    /// since had been looked for twice, so that the gap hides nothing of its leaving.
    pub before: Option<Timestamp>,
    pub reason: GapReason,
    pub message: String,
}

/// How a source does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It has not finished its first scan.
    Waiting,
    Ok,
    /// It cannot see, for the reason its open gap names.
    Gap(GapReason, String),
    /// Someone switched it off.
    Stopped,
}

impl Health {
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ok => "ok",
            Self::Gap(GapReason::Failed, _) => "failed",
            Self::Gap(GapReason::Blind, _) => "blind",
            Self::Gap(GapReason::NotRunning, _) => "not_running",
            Self::Stopped => "stopped",
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Gap(_, message) => message,
            Self::Waiting | Self::Ok | Self::Stopped => "",
        }
    }
}
