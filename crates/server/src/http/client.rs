//! Who is at the other end of the connection, as far as the network tells.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, Request, header},
};

use crate::config::Config;

/// The peer, or the client behind a trusted reverse proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// It reached us, or the trusted proxy, through TLS.
    pub secure: bool,
}

impl Client {
    pub(super) fn of<B>(request: &Request<B>, config: &Config) -> Self {
        // Without a connection (requests made in process) the address is unspecified.
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip().to_canonical());
        if !config.trusts(peer) {
            return Self { address: peer, secure: config.tls.is_some() };
        }
        let headers = request.headers();
        let secure =
            last(headers, "x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        Self { address: forwarded(headers, config).unwrap_or(peer), secure }
    }
}

/// The last address in X-Forwarded-For that no trusted proxy has: earlier ones may be made up.
fn forwarded(headers: &HeaderMap, config: &Config) -> Option<IpAddr> {
    let mut outermost = None;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for text in value.to_str().ok()?.rsplit(',') {
            let address = parse(text.trim())?;
            if !config.trusts(address) {
                return Some(address);
            }
            outermost = Some(address);
        }
    }
    outermost
}

/// Some proxies add the port.
fn parse(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

/// A request that changes something and carries a cookie must come from our own pages.
///
/// Browsers say where a request comes from: `Sec-Fetch-Site`, and `Origin` on everything but
/// plain reads. A program that says neither is no browser and cannot be led astray by a page.
pub(super) fn foreign_origin(headers: &HeaderMap, config: &Config) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return false,
        Some(_) => return true,
        None => {}
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return false };
    if config.public_url.as_deref().is_some_and(|url| url.eq_ignore_ascii_case(origin)) {
        return false;
    }
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    match (authority, text(header::HOST.as_str())) {
        (Some(authority), Some(host)) => !authority.eq_ignore_ascii_case(host),
        // HTTP/2 has no Host; browsers that speak it send Sec-Fetch-Site.
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn config() -> Config {
        Config::new(Settings {
            data_dir: Some("/x".into()),
            trusted_proxies: Some(vec!["10.0.0.0/8".to_owned()]),
            public_url: Some("https://sojourn.example/".to_owned()),
            ..Settings::default()
        })
        .unwrap()
    }

    fn client(peer: &str, forwarded: &[&str]) -> Client {
        let mut request = Request::builder().header("x-forwarded-proto", "https");
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let mut request = request.body(()).unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        request.extensions_mut().insert(ConnectInfo(peer));
        Client::of(&request, &config())
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let told = client("192.0.2.9", &["198.51.100.1"]);
        assert_eq!((told.address.to_string().as_str(), told.secure), ("192.0.2.9", false));
        let told = client("10.0.0.1", &["198.51.100.1, 203.0.113.5", "10.0.0.2"]);
        assert_eq!((told.address.to_string().as_str(), told.secure), ("203.0.113.5", true));
        assert_eq!(client("10.0.0.1", &["junk"]).address.to_string(), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:99"]).address.to_string(), "2001:db8::1");
        assert_eq!(client("::ffff:192.0.2.9", &[]).address.to_string(), "192.0.2.9");
    }

    #[test]
    fn origins() {
        let foreign = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            foreign_origin(&headers, &config())
        };
        assert!(!foreign(&[("host", "a:1")]));
        assert!(!foreign(&[("host", "a:1"), ("origin", "http://a:1")]));
        assert!(foreign(&[("host", "a:1"), ("origin", "http://b:1")]));
        assert!(foreign(&[("host", "a:1"), ("origin", "null")]));
        assert!(foreign(&[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "same-site")]));
        assert!(!foreign(&[("host", "inner:1"), ("origin", "https://sojourn.example")]));
        assert!(!foreign(&[("host", "b"), ("origin", "http://a"), ("sec-fetch-site", "same-origin")]));
    }
}
