//! DHCP servers' lease files.

use serde::{Deserialize, Serialize};

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
