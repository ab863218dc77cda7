//! `sojourn scan`: one active scan, printed. Needs no server and no data directory.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::bail;
use clap::Args;
use serde_json::json;
use sojourn_domain::{
    mac::MacAddr,
    presence::{Evidence, ScanOutcome, SourceKind, Subnet},
};
use sojourn_sensor::{
    interfaces,
    sources::{Pass, SourceSettings, SourceSpec, scan_once},
    vendor,
};
use sojourn_store::clock::SystemClock;

use super::{Usage, print, print_json, table};

#[derive(Debug, Args)]
pub(super) struct Scan {
    /// The interface to look through; all that lead to a network unless given
    #[arg(long, value_name = "I")]
    interface: Option<String>,
    /// The IPv4 range to ask; the interface's own subnets unless given
    #[arg(long, value_name = "CIDR")]
    cidr: Option<Subnet>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of the output.
#[derive(Default)]
struct Found {
    ips: Vec<IpAddr>,
    hostname: Option<String>,
}

impl Scan {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        // Without raw sockets the kernel can still be made to ask for us.
        let raw = interfaces::rights().raw_sockets;
        let kind = if raw { SourceKind::Arp } else { SourceKind::Neighbors };
        let settings = SourceSettings {
            interface: self.interface.clone(),
            cidr: self.cidr,
            ..SourceSettings::default()
        };
        let pass = scan_once(&SourceSpec::new(kind, settings), &SystemClock)
            .await
            .map_err(|error| Usage(anyhow::anyhow!("--{}: {error}", error.field)))?;
        match &pass.scan.outcome {
            ScanOutcome::Complete => {}
            ScanOutcome::Failed { message } | ScanOutcome::Blind { message } => bail!("{message}"),
        }
        let found = found(&pass);
        if self.json {
            let devices: Vec<_> = found
                .iter()
                .map(|(mac, found)| {
                    json!({
                        "mac": mac.to_string(),
                        "ips": found.ips,
                        "hostname": found.hostname,
                        "vendor": vendor::of(*mac),
                        "randomised": mac.is_randomised(),
                    })
                })
                .collect();
            return print_json(&json!({
                "source": kind.key(),
                "scope": pass.scan.scope,
                "startedAt": pass.scan.started_at.rfc3339(),
                "finishedAt": pass.scan.finished_at.rfc3339(),
                "devices": devices,
            }));
        }
        let mut lines: Vec<_> = found.iter().collect();
        lines.sort_by_key(|(mac, found)| (found.ips.first().copied(), **mac));
        let rows = lines.iter().map(|(mac, found)| {
            let ips: Vec<_> = found.ips.iter().map(IpAddr::to_string).collect();
            let maker = if mac.is_randomised() { "(made up by the device)" } else { "" };
            [ips.join(" "), mac.to_string(), vendor::of(**mac).unwrap_or(maker).to_owned()]
        });
        let mut text = table(["ADDRESS", "MAC", "VENDOR"], rows);
        let seconds = pass.scan.finished_at.since(pass.scan.started_at).as_millis() as f64 / 1000.0;
        text += &format!("{} devices in {} ({seconds:.1} s)\n", found.len(), pass.scan.scope);
        print(&text)
    }
}

/// What was seen during the scan, by device.
fn found(pass: &Pass) -> BTreeMap<MacAddr, Found> {
    let mut all: BTreeMap<MacAddr, Found> = BTreeMap::new();
    for sighting in &pass.sightings {
        // The kernel's table also remembers who was there a while ago.
        let long_ago = pass.scan.started_at - sojourn_domain::time::Elapsed::from_minutes(1);
        if !matches!(sighting.evidence, Evidence::Seen { at } if at >= long_ago) {
            continue;
        }
        let found = all.entry(sighting.mac).or_default();
        if let Some(ip) = sighting.ip
            && !found.ips.contains(&ip)
        {
            found.ips.push(ip);
            found.ips.sort_unstable();
        }
        found.hostname = found.hostname.take().or_else(|| sighting.hostname.clone());
    }
    all
}
