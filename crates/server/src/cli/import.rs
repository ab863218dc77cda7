//! `sojourn import`: hands another tool's output to a running server.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sojourn_sensor::{forwarder, imports::ImportFormat};

use super::{print, print_json, sensor::Elsewhere};

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// The output of arp-scan, with or without its header
    ArpScan(Output),
    /// XML, as nmap -oX writes it
    Nmap(Output),
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    server: Elsewhere,
    /// The name of the source under which it is kept
    #[arg(long, value_name = "NAME", default_value = "import")]
    source: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (format, output) = match self {
            Self::ArpScan(output) => (ImportFormat::ArpScan, output),
            Self::Nmap(output) => (ImportFormat::Nmap, output),
        };
        let file = if output.file == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("read standard input")?;
            bytes
        } else {
            fs::read(&output.file).with_context(|| format!("read {}", output.file.display()))?
        };
        let imported = forwarder::import(&output.server.address()?, format, &output.source, file).await?;
        if output.json {
            return print_json(&json!({ "hosts": imported.hosts, "sightings": imported.sightings }));
        }
        print(&format!("{} hosts, {} sightings\n", imported.hosts, imported.sightings))
    }
}
