//! What changed about a device's presence.

use std::{fmt, net::IpAddr};

use crate::{presence::DeviceNumber, time::Timestamp};

/// What happened. The text forms are NetAlertX's, so that its users' filters go on working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Seen for the first time; opens a session.
    NewDevice,
    /// Seen again after it had left; opens a session.
    Connected,
    /// Seen again after it was reported down; opens a session.
    DownReconnected,
    /// Left; closes the session at the time it was last seen.
    Disconnected,
    /// Left, although it is to be alerted about; closes the session.
    DeviceDown,
    /// Found absent after a stretch in which nobody could look: when it left is unknown.
    Missing,
    /// Its primary address changed; the session goes on.
    IpChanged,
    /// An opening that late evidence disproved.
    VoidedConnected,
    /// A closing that late evidence disproved.
    VoidedDisconnected,
}

impl EventKind {
    pub const ALL: &'static [EventKind] = &[
        Self::NewDevice,
        Self::Connected,
        Self::DownReconnected,
        Self::Disconnected,
        Self::DeviceDown,
        Self::Missing,
        Self::IpChanged,
        Self::VoidedConnected,
        Self::VoidedDisconnected,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::NewDevice => "New Device",
            Self::Connected => "Connected",
            Self::DownReconnected => "Down Reconnected",
            Self::Disconnected => "Disconnected",
            Self::DeviceDown => "Device Down",
            Self::Missing => "<missing event>",
            Self::IpChanged => "IP Changed",
            Self::VoidedConnected => "VOIDED - Connected",
            Self::VoidedDisconnected => "VOIDED - Disconnected",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    pub const fn opens(self) -> bool {
        matches!(self, Self::NewDevice | Self::Connected | Self::DownReconnected)
    }

    pub const fn closes(self) -> bool {
        matches!(self, Self::Disconnected | Self::DeviceDown | Self::Missing)
    }

    /// What the event becomes when late evidence disproves it.
    pub const fn voided(self) -> Self {
        if self.opens() { Self::VoidedConnected } else { Self::VoidedDisconnected }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One change of a device's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceEvent {
    /// Orders events by when they were recorded; grows without repetition.
    pub seq: i64,
    pub device: DeviceNumber,
    /// When it happened. For an uncertain closing: when the device was last seen.
    pub at: Timestamp,
    /// When we came to know of it.
    pub recorded_at: Timestamp,
    pub kind: EventKind,
    pub ip: Option<IpAddr>,
    /// More, in a sentence for people; may be empty.
    pub info: String,
    /// The time is known. An uncertain closing happened at some time after `at`.
    pub certain: bool,
}
