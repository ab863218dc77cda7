//! What a source is told to do, and what of it makes sense.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    presence::{SourceKind, Strength, sighting::Subnet},
    time::Elapsed,
};

use crate::leases::LeaseFormat;

/// A subnet with more addresses than this is not scanned: a /20.
pub const MAX_SCAN_ADDRESSES: u64 = 4096;

/// The settings of one source, as the API and the store keep them (JSON, unknown keys refused).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSettings {
    /// `arp`, `neighbors`, `passive`: the interface; without it, every suitable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `arp`, `neighbors`: look at this IPv4 range instead of the interface's own subnets.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "subnet_text")]
    pub cidr: Option<Subnet>,
    /// `dhcp-leases`: the lease file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `dhcp-leases`: whose file it is; without it, found out from the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LeaseFormat>,
    /// `neighbors`: whom to make the kernel ask; without it, everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nudge: Option<Nudge>,
}

/// Whom the `neighbors` source makes the kernel ask, by sending an empty datagram to the discard
/// port (9), before it reads the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nudge {
    /// Every address of the IPv4 subnets, and every IPv6 neighbour that is known.
    #[default]
    All,
    /// The neighbours that are known.
    Known,
    /// Nobody: the table shows whom this machine talked to, and silence proves nothing.
    Off,
}

/// A source to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    pub kind: SourceKind,
    pub settings: SourceSettings,
    /// From the start of one pass to the start of the next.
    pub interval: Elapsed,
}

/// What is wrong with a source's settings; `field` is the JSON key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    pub field: &'static str,
    pub message: String,
}

fn refuse(field: &'static str, message: impl Into<String>) -> Result<(), SpecError> {
    Err(SpecError { field, message: message.into() })
}

impl SourceSpec {
    /// A source of this kind with the default interval.
    pub fn new(kind: SourceKind, settings: SourceSettings) -> Self {
        Self { kind, settings, interval: Self::default_interval(kind) }
    }

    pub const fn default_interval(_kind: SourceKind) -> Elapsed {
        Elapsed::from_secs(30)
    }

    /// What a complete pass without a device proves, which for `neighbors` depends on nudging.
    pub fn strength(&self) -> Strength {
        match (self.kind, self.settings.nudge) {
            (SourceKind::Neighbors, Some(Nudge::Off)) => Strength::Listening,
            _ => self.kind.strength(),
        }
    }

    /// A name for people and for a forwarding sensor: `arp:eth0`, `dhcp-leases:/var/lib/…`.
    pub fn default_name(&self) -> String {
        let mut parts = vec![self.kind.key().to_owned()];
        parts.extend(self.settings.interface.clone());
        parts.extend(self.settings.cidr.map(|cidr| cidr.to_string()));
        parts.extend(self.settings.path.as_ref().map(|path| path.display().to_string()));
        parts.join(":")
    }

    /// Refuses settings that can never work, whatever the state of the machine.
    pub fn validate(&self) -> Result<(), SpecError> {
        let settings = &self.settings;
        let kind = self.kind;
        let on_interfaces = matches!(kind, SourceKind::Arp | SourceKind::Neighbors | SourceKind::Passive);
        if let Some(interface) = &settings.interface {
            if !on_interfaces {
                return refuse("interface", format!("a source of kind {kind} takes no interface"));
            }
            // Linux: IFNAMSIZ is 16 with the closing zero; neither slashes nor spaces.
            if interface.is_empty()
                || interface.len() > 15
                || interface.bytes().any(|b| b == b'/' || b.is_ascii_whitespace() || b.is_ascii_control())
            {
                return refuse("interface", "not an interface name: expected 1 to 15 bytes such as eth0");
            }
        }
        if let Some(cidr) = settings.cidr {
            if !matches!(kind, SourceKind::Arp | SourceKind::Neighbors) {
                return refuse("cidr", format!("a source of kind {kind} takes no cidr"));
            }
            if !cidr.address.is_ipv4() {
                return refuse("cidr", "only IPv4 ranges can be asked address by address");
            }
            let addresses = 1u64 << (32 - u32::from(cidr.prefix.min(32)));
            if addresses > MAX_SCAN_ADDRESSES {
                return refuse(
                    "cidr",
                    format!(
                        "{cidr} has {addresses} addresses, a scan takes at most {MAX_SCAN_ADDRESSES} (a /20): \
                         split it among several sources"
                    ),
                );
            }
        }
        match (&settings.path, kind) {
            (Some(path), SourceKind::DhcpLeases) if !path.is_absolute() => {
                refuse("path", "the lease file's path must be absolute")?;
            }
            (None, SourceKind::DhcpLeases) => {
                refuse("path", "a dhcp-leases source needs the lease file's path")?
            }
            (Some(_), kind) if kind != SourceKind::DhcpLeases => {
                refuse("path", format!("a source of kind {kind} takes no path"))?;
            }
            _ => {}
        }
        if settings.format.is_some() && kind != SourceKind::DhcpLeases {
            refuse("format", format!("a source of kind {kind} takes no format"))?;
        }
        if settings.nudge.is_some() && kind != SourceKind::Neighbors {
            refuse("nudge", format!("a source of kind {kind} takes no nudge"))?;
        }
        if self.interval < Elapsed::from_secs(1) || self.interval > Elapsed::from_secs(86_400) {
            refuse("intervalSeconds", "the interval must be between 1 second and 1 day")?;
        }
        Ok(())
    }
}

/// A range of addresses as text in JSON.
mod subnet_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use sojourn_domain::presence::sighting::Subnet;

    pub(super) fn serialize<S: Serializer>(value: &Option<Subnet>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(subnet) => serializer.collect_str(subnet),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Subnet>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trips_and_unknown_keys_are_refused() {
        let settings = SourceSettings {
            interface: Some("eth0".into()),
            cidr: Some("192.168.1.0/24".parse().unwrap()),
            nudge: Some(Nudge::Known),
            ..SourceSettings::default()
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(json, r#"{"interface":"eth0","cidr":"192.168.1.0/24","nudge":"known"}"#);
        assert_eq!(serde_json::from_str::<SourceSettings>(&json).unwrap(), settings);
        assert_eq!(serde_json::from_str::<SourceSettings>("{}").unwrap(), SourceSettings::default());
        assert!(serde_json::from_str::<SourceSettings>(r#"{"iface":"eth0"}"#).is_err());
        assert!(serde_json::from_str::<SourceSettings>(r#"{"cidr":"192.168.1.0"}"#).is_err());
    }

    #[test]
    fn settings_that_cannot_work_name_their_field() {
        let field =
            |kind, settings| SourceSpec::new(kind, settings).validate().err().map(|error| error.field);
        let cidr = |text: &str| SourceSettings { cidr: Some(text.parse().unwrap()), ..Default::default() };
        let path = |text: &str| SourceSettings { path: Some(text.into()), ..Default::default() };
        assert_eq!(field(SourceKind::Arp, SourceSettings::default()), None);
        assert_eq!(field(SourceKind::Arp, cidr("10.0.0.0/20")), None);
        assert_eq!(field(SourceKind::Arp, cidr("10.0.0.0/19")), Some("cidr"));
        assert_eq!(field(SourceKind::Arp, cidr("0.0.0.0/0")), Some("cidr"));
        assert_eq!(field(SourceKind::Arp, cidr("fd00::/120")), Some("cidr"));
        assert_eq!(field(SourceKind::Passive, cidr("10.0.0.0/24")), Some("cidr"));
        assert_eq!(field(SourceKind::DhcpLeases, SourceSettings::default()), Some("path"));
        assert_eq!(field(SourceKind::DhcpLeases, path("leases")), Some("path"));
        assert_eq!(field(SourceKind::DhcpLeases, path("/var/lib/misc/dnsmasq.leases")), None);
        assert_eq!(field(SourceKind::Arp, path("/x")), Some("path"));
        let interface = SourceSettings { interface: Some("../../etc".into()), ..Default::default() };
        assert_eq!(field(SourceKind::Arp, interface), Some("interface"));
    }
}
