//! What other tools saw: the output of `arp-scan` and of `nmap -oX`, as sightings.

use std::net::IpAddr;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use sojourn_domain::{
    mac::MacAddr,
    presence::{Evidence, Sighting},
    time::Timestamp,
};

use crate::{frames::useful, hostnames};

/// Whose output it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    ArpScan,
    Nmap,
}

impl std::fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ArpScan => "arp-scan",
            Self::Nmap => "nmap",
        })
    }
}

impl std::str::FromStr for ImportFormat {
    type Err = ImportError;
    fn from_str(text: &str) -> Result<Self, ImportError> {
        match text {
            "arp-scan" => Ok(Self::ArpScan),
            "nmap" => Ok(Self::Nmap),
            _ => Err(ImportError::UnknownFormat(text.to_owned())),
        }
    }
}

/// What a file told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub format: ImportFormat,
    /// Hosts that were up, with or without a MAC address.
    pub hosts: usize,
    /// Hosts whose MAC address the tool did not learn: those behind a router, and itself. They
    /// cannot be told apart from other devices and are left out.
    pub without_mac: usize,
    pub sightings: Vec<Sighting>,
}

/// Why a file cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("neither the output of arp-scan nor of nmap -oX")]
    Unrecognised,
    #[error("no import format is called {0:?}: expected arp-scan or nmap")]
    UnknownFormat(String),
    #[error("damaged nmap XML: {0}")]
    Damaged(String),
}

/// Reads a file; without a format, finds out whose it is. `at` is when the tool ran, for files
/// that do not say; nothing is dated later than that.
pub fn read(format: Option<ImportFormat>, bytes: &[u8], at: Timestamp) -> Result<Import, ImportError> {
    match format {
        Some(ImportFormat::ArpScan) => Ok(arp_scan(bytes, at)),
        Some(ImportFormat::Nmap) => nmap(bytes, at),
        None if bytes.trim_ascii_start().starts_with(b"<") => nmap(bytes, at),
        None => {
            let import = arp_scan(bytes, at);
            // A scan that nobody answered still has arp-scan's own lines.
            let signed = bytes.windows(9).any(|window| window == b"arp-scan ");
            if import.hosts > 0 || signed { Ok(import) } else { Err(ImportError::Unrecognised) }
        }
    }
}

/// Reads `arp-scan`'s output, with or without header and footer (`--plain`). Lines that are no
/// answers are skipped.
pub fn arp_scan(bytes: &[u8], at: Timestamp) -> Import {
    let mut sightings = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        sightings.extend(answer(line, at).or_else(|| scanner(line, at)));
    }
    Import { format: ImportFormat::ArpScan, hosts: sightings.len(), without_mac: 0, sightings }
}

/// `192.168.1.10<TAB>aa:bb:cc:dd:ee:ff<TAB>Vendor (DUP: 2)`
fn answer(line: &str, at: Timestamp) -> Option<Sighting> {
    let mut fields = line.split('\t');
    let ip: IpAddr = fields.next()?.trim().parse().ok()?;
    sighting(fields.next()?.trim(), ip, at)
}

/// The machine that scanned: `Interface: eth0, type: EN10MB, MAC: aa:…, IPv4: 192.168.1.5`.
fn scanner(line: &str, at: Timestamp) -> Option<Sighting> {
    let line = line.trim().strip_prefix("Interface: ")?;
    let value = |key: &str| line.split(", ").find_map(|part| part.strip_prefix(key));
    sighting(value("MAC: ")?, value("IPv4: ")?.parse().ok()?, at)
}

fn sighting(mac: &str, ip: IpAddr, at: Timestamp) -> Option<Sighting> {
    let mac: MacAddr = mac.parse().ok()?;
    mac.is_device().then(|| Sighting { mac, ip: useful(ip), hostname: None, evidence: Evidence::Seen { at } })
}

/// A host of an nmap run while it is read.
#[derive(Default)]
struct Host {
    up: bool,
    mac: Option<MacAddr>,
    ips: Vec<IpAddr>,
    hostname: Option<String>,
    at: Option<Timestamp>,
}

/// Addresses of one host that are kept: nmap writes one or two.
const MAX_ADDRESSES: usize = 16;

/// Reads `nmap -oX` output of any kind of scan. A run that was interrupted counts as far as it got.
pub fn nmap(bytes: &[u8], at: Timestamp) -> Result<Import, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ImportError::Damaged("it is not UTF-8".to_owned()))?;
    let mut reader = Reader::from_str(text);
    let mut import = Import { format: ImportFormat::Nmap, hosts: 0, without_mac: 0, sightings: Vec::new() };
    let (mut is_nmap, mut run_at, mut host) = (false, at, None::<Host>);
    loop {
        let event = reader
            .read_event()
            .map_err(|error| ImportError::Damaged(format!("{error} at byte {}", reader.error_position())))?;
        match event {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) => match (tag.name().as_ref(), &mut host) {
                ("nmaprun", _) => {
                    is_nmap = true;
                    run_at = time(&tag, "start").unwrap_or(at);
                }
                ("host", host) => {
                    // `starttime` is missing in ping scans of older versions.
                    let at = time(&tag, "endtime").or_else(|| time(&tag, "starttime"));
                    *host = Some(Host { at, ..Host::default() });
                }
                ("status", Some(host)) => host.up = attribute(&tag, "state").as_deref() == Some("up"),
                ("address", Some(host)) => address(&tag, host),
                ("hostname", Some(host)) if host.hostname.is_none() => {
                    host.hostname =
                        attribute(&tag, "name").and_then(|name| hostnames::clean(name.as_bytes()));
                }
                _ => {}
            },
            Event::End(tag) if tag.name().as_ref() == "host" => {
                if let Some(host) = host.take() {
                    finish(host, run_at, at, &mut import);
                }
            }
            Event::End(_)
            | Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
    if is_nmap { Ok(import) } else { Err(ImportError::Unrecognised) }
}

/// An attribute's value; only XML's five own entities are resolved, so that nothing expands.
fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.attributes().flatten().find(|attribute| attribute.key.as_ref() == name)?;
    Some(attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

fn time(tag: &BytesStart<'_>, name: &str) -> Option<Timestamp> {
    let seconds: i64 = attribute(tag, name)?.parse().ok()?;
    (seconds > 0).then(|| Timestamp::from_secs(seconds))
}

fn address(tag: &BytesStart<'_>, host: &mut Host) {
    let Some(value) = attribute(tag, "addr") else { return };
    if attribute(tag, "addrtype").as_deref() == Some("mac") {
        host.mac = value.parse::<MacAddr>().ok().filter(|mac| mac.is_device());
    } else if let Ok(ip) = value.parse()
        && host.ips.len() < MAX_ADDRESSES
    {
        host.ips.push(ip);
    }
}

fn finish(host: Host, run_at: Timestamp, latest: Timestamp, import: &mut Import) {
    if !host.up {
        return;
    }
    import.hosts += 1;
    let Some(mac) = host.mac else {
        import.without_mac += 1;
        return;
    };
    let evidence = Evidence::Seen { at: host.at.unwrap_or(run_at).min(latest) };
    let mut ips: Vec<_> = host.ips.into_iter().filter_map(useful).map(Some).collect();
    if ips.is_empty() {
        ips.push(None);
    }
    import.sightings.extend(ips.into_iter().map(|ip| Sighting {
        mac,
        ip,
        hostname: host.hostname.clone(),
        evidence,
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

    const ARP_SCAN: &str = "\
Interface: eth0, type: EN10MB, MAC: 02:00:00:00:00:05, IPv4: 192.168.1.5
Starting arp-scan 1.10.0 with 256 hosts (https://github.com/royhills/arp-scan)
192.168.1.1\t44:4e:6d:00:00:01\tAVM Audiovisuelles Marketing und Computersysteme GmbH
192.168.1.7\tb8:27:eb:00:00:07\tRaspberry Pi Foundation
192.168.1.7\tb8:27:eb:00:00:08\tRaspberry Pi Foundation (DUP: 2)

2 packets received by filter, 0 packets dropped by kernel
Ending arp-scan 1.10.0: 256 hosts scanned in 1.862 seconds (137.49 hosts/sec). 2 responded
";

    const NMAP: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE nmaprun [<!ENTITY x "boom">]>
<?xml-stylesheet href="file:///usr/bin/../share/nmap/nmap.xsl" type="text/xsl"?>
<nmaprun scanner="nmap" args="nmap -sn -oX - 192.168.1.0/24" start="1735689600" version="7.93">
<host><status state="up" reason="arp-response" reason_ttl="0"/>
<address addr="192.168.1.1" addrtype="ipv4"/>
<address addr="44:4E:6D:00:00:01" addrtype="mac" vendor="AVM &amp; Co"/>
<hostnames>
<hostname name="fritz.box" type="PTR"/>
</hostnames>
</host>
<host starttime="1735689700" endtime="1735689800"><status state="up" reason="nd-response"/>
<address addr="2001:db8::7" addrtype="ipv6"/><address addr="B8:27:EB:00:00:07" addrtype="mac"/>
<ports><port protocol="tcp" portid="22"><state state="open"/></port></ports></host>
<host><status state="down" reason="no-response"/><address addr="192.168.1.9" addrtype="ipv4"/></host>
<host><status state="up" reason="localhost-response"/><address addr="192.168.1.5" addrtype="ipv4"/></host>
<runstats><finished time="1735689900"/><hosts up="3" down="1" total="4"/></runstats>
</nmaprun>
"#;

    #[test]
    fn arp_scan_s_answers_and_the_scanner_itself() {
        let import = read(None, ARP_SCAN.as_bytes(), AT).unwrap();
        assert_eq!((import.format, import.hosts), (ImportFormat::ArpScan, 4));
        let seen: Vec<_> =
            import.sightings.iter().map(|s| (s.mac.to_string(), s.ip.unwrap().to_string())).collect();
        assert_eq!(seen[0], ("02:00:00:00:00:05".to_owned(), "192.168.1.5".to_owned()));
        assert_eq!(
            seen[3],
            ("B8:27:EB:00:00:08".to_owned(), "192.168.1.7".to_owned()),
            "two devices, one address"
        );
        let plain: String =
            ARP_SCAN.lines().filter(|line| line.contains('\t')).map(|l| format!("{l}\n")).collect();
        assert_eq!(read(None, plain.as_bytes(), AT).unwrap().hosts, 3);
    }

    #[test]
    fn nmap_s_hosts_with_their_own_times() {
        let import = read(None, NMAP.as_bytes(), AT).unwrap();
        assert_eq!((import.format, import.hosts, import.without_mac), (ImportFormat::Nmap, 3, 1));
        let [router, pi] = import.sightings.as_slice() else { panic!("{import:?}") };
        assert_eq!(router.hostname.as_deref(), Some("fritz.box"));
        assert_eq!(router.evidence.at(), Timestamp::from_secs(1_735_689_600), "when the run started");
        assert_eq!(pi.evidence.at(), Timestamp::from_secs(1_735_689_800), "when the host was done");
        assert_eq!(pi.ip, Some("2001:db8::7".parse().unwrap()));
    }

    #[test]
    fn an_interrupted_run_counts_as_far_as_it_got() {
        let cut = NMAP.find("<ports>").unwrap();
        assert_eq!(nmap(&NMAP.as_bytes()[..cut], AT).unwrap().hosts, 1);
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b"hello\n"[..], b"<html><body/></html>", b"", b"\xff\xfe"] {
            assert!(read(None, bytes, AT).is_err(), "{bytes:?}");
        }
        assert!(read(None, b"<nmaprun><host></nmaprun>", AT).is_err(), "tags that do not close");
    }

    #[test]
    fn nothing_is_dated_later_than_the_import() {
        let early = Timestamp::from_secs(1_000);
        assert!(nmap(NMAP.as_bytes(), early).unwrap().sightings.iter().all(|s| s.evidence.at() == early));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = read(None, &bytes, AT);
            let _ = nmap(&bytes, AT);
        }

        #[test]
        fn no_damage_panics(at in 0..1500usize, value: u8, cut in 0..2000usize, which: bool) {
            let mut bytes = if which { NMAP } else { ARP_SCAN }.as_bytes().to_vec();
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(cut);
            let _ = read(None, &bytes, AT);
        }
    }
}
