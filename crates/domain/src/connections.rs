//! What connections may be called, and where they may lead.

use std::{fmt, net::IpAddr, str::FromStr};

pub mod options;

pub use options::{BadOption, ConnectionOptions, FtpTls, auth_kinds};

/// A connection's name: one line of 1 to 128 characters that neither begins nor ends with a space
/// and does not look like an id. Names that differ only in case are the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectionName(String);

/// Where a target is: a DNS name, or an address (IPv6 without brackets, with a zone where needed).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

/// The text is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseConnectionError {
    #[error(
        "expected one line of 1 to 128 characters that neither begins nor ends with a space and does not begin with conn_"
    )]
    Name,
    #[error("expected a host name or an IP address, without a port")]
    Host,
}

impl ConnectionName {
    pub const MAX_CHARS: usize = 128;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it is compared.
    pub fn key(&self) -> String {
        Self::key_of(&self.0)
    }

    /// A text as names are compared with, whether it is a name or not.
    pub fn key_of(text: &str) -> String {
        text.to_lowercase()
    }
}

impl FromStr for ConnectionName {
    type Err = ParseConnectionError;

    fn from_str(text: &str) -> Result<Self, ParseConnectionError> {
        let good = (1..=Self::MAX_CHARS).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && text.trim() == text
            && !text.to_ascii_lowercase().starts_with("conn_");
        if good { Ok(Self(text.to_owned())) } else { Err(ParseConnectionError::Name) }
    }
}

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ParseConnectionError;

    fn from_str(text: &str) -> Result<Self, ParseConnectionError> {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let in_zone = |zone: &str| {
            (1..=32).contains(&zone.len())
                && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        let good = match (address.parse::<IpAddr>(), zone) {
            (Ok(_), None) => true,
            (Ok(IpAddr::V6(_)), Some(zone)) => in_zone(zone),
            (Ok(IpAddr::V4(_)) | Err(_), Some(_)) => false,
            (Err(_), None) => is_dns_name(text),
        };
        if good { Ok(Self(text.to_owned())) } else { Err(ParseConnectionError::Host) }
    }
}

/// RFC 1123 section 2.1, and underscores, which are in use. What looks like a number is an
/// address that somebody wrote wrong.
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(ConnectionName, HostName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names() {
        for good in ["web-server", "Web Server", "Büro 2", "a", &"x".repeat(128)] {
            assert!(good.parse::<ConnectionName>().is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a\nb", "a\u{0}", "conn_1", "CONN_x", &"x".repeat(129)] {
            assert!(bad.parse::<ConnectionName>().is_err(), "{bad:?}");
        }
        assert_eq!("BÜRO".parse::<ConnectionName>().unwrap().key(), "büro");
    }

    #[test]
    fn hosts() {
        for good in
            ["web.example.org", "web", "a_b.example.", "192.0.2.1", "::1", "fe80::1%eth0", "xn--bro-hoa.de"]
        {
            assert!(good.parse::<HostName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "web:22",
            "[::1]",
            "http://web",
            "192.0.2",
            "999.1.1.1",
            "a..b",
            "-a",
            "a/b",
            "web%eth0",
            "user@web",
            "büro",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
    }
}
