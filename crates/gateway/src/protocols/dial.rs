//! Reaching a host over TCP: names are resolved here, and addresses that no connection may lead to
//! are refused whatever name they hide behind.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use sojourn_domain::access::EndReason;
use tokio::net::TcpStream;

use super::ConnectError;

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ATTEMPTS: usize = 4;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    address: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no range such as 10.0.0.0/8")]
pub struct ParseRangeError(String);

impl FromStr for Range {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let bad = || ParseRangeError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest { Err(bad()) } else { Ok(Self { address, prefix }) }
    }
}

impl Range {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                (range.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                (range.to_bits() ^ address.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Where connections may lead.
///
/// Never to an unspecified or multicast address, nor to the link-local ones at which clouds hand
/// out their machines' credentials. What else is off limits, an administrator lists.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub deny: Vec<Range>,
}

impl Rules {
    /// Why the address is refused, if it is.
    pub fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        if address.is_unspecified() {
            return Some("an address that stands for none");
        }
        if address.is_multicast() || matches!(address, IpAddr::V4(address) if address.is_broadcast()) {
            return Some("an address of many hosts at once");
        }
        let metadata = match address {
            IpAddr::V4(address) => address.is_link_local(),
            // Amazon's, which is no link-local one.
            IpAddr::V6(address) => address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        };
        if metadata {
            return Some("an address at which clouds keep their machines' credentials");
        }
        self.deny.iter().any(|range| range.contains(address)).then_some("an address that the settings deny")
    }
}

/// Connects to the first address that answers.
pub async fn dial(host: &str, port: u16, rules: &Rules) -> Result<TcpStream, ConnectError> {
    let unreachable = |message: String| ConnectError::new(EndReason::Unreachable, message);
    let resolved = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.take(ATTEMPTS).collect(),
        Ok(Err(error)) => {
            tracing::debug!(target.host = host, %error, "a target's name has no address");
            return Err(unreachable("the target's name has no address".to_owned()));
        }
        Err(_) => return Err(unreachable("nobody knows the target's name just now".to_owned())),
    };
    let mut last = unreachable("the target's name has no address".to_owned());
    for address in addresses {
        if let Some(why) = rules.refuses(address.ip()) {
            last = ConnectError::new(EndReason::Denied, format!("the target has {why}"));
            continue;
        }
        last = match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|error| unreachable(explain(&error)))?;
                return Ok(stream);
            }
            Ok(Err(error)) => unreachable(explain(&error)),
            Err(_) => unreachable("the target does not answer".to_owned()),
        };
    }
    Err(last)
}

fn explain(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        "nothing listens on the target's port".to_owned()
    } else if matches!(kind, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) {
        "there is no way to the target".to_owned()
    } else if kind == io::ErrorKind::TimedOut {
        "the target does not answer".to_owned()
    } else {
        format!("the target cannot be reached: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_connection_leads_to() {
        let rules = Rules { deny: vec!["10.9.0.0/16".parse().unwrap(), "fd12::/16".parse().unwrap()] };
        for bad in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "10.9.200.1",
            "::ffff:10.9.0.1",
            "fd12:3::4",
        ] {
            assert!(rules.refuses(bad.parse().unwrap()).is_some(), "{bad}");
        }
        for good in ["127.0.0.1", "10.10.0.1", "192.168.1.1", "fe80::1", "fd13::1", "2001:db8::1"] {
            assert!(rules.refuses(good.parse().unwrap()).is_none(), "{good}");
        }
        assert!("0.0.0.0/0".parse::<Range>().unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Range>().is_err());
        assert!("web".parse::<Range>().is_err());
    }
}
