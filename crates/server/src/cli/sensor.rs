//! `sojourn sensor`: runs the local sources and reports to a server elsewhere.

use std::{env, fs, io::IsTerminal as _, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use sojourn_domain::{
    presence::{SourceKind, Subnet},
    time::Elapsed,
};
use sojourn_sensor::{
    forwarder::{self, Choice, Secret, SensorConfig, ServerAddress, SpoolLimits},
    sources::{SourceSettings, SourceSpec},
};
use sojourn_store::clock::{Entropy, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Usage;

/// How a server elsewhere is reached.
#[derive(Debug, Args)]
pub(super) struct Elsewhere {
    /// The server's address, such as https://sojourn.example.org
    #[arg(long, env = "SOJOURN_SERVER", value_name = "URL")]
    server: String,
    /// A token of a user with presence.manage
    #[arg(long, env = "SOJOURN_TOKEN", value_name = "T", hide_env_values = true)]
    token: Option<String>,
    /// A file with the token, which other users of this machine cannot see as they can an argument
    #[arg(long, env = "SOJOURN_TOKEN_FILE", value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// A certificate authority (PEM) to trust besides the system's
    #[arg(long, env = "SOJOURN_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Elsewhere {
    pub(super) fn address(&self) -> anyhow::Result<ServerAddress> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(file)) => {
                fs::read_to_string(file).with_context(|| format!("read the token in {}", file.display()))?
            }
            (None, None) => {
                return Err(Usage(anyhow::anyhow!("who reports? give --token T or --token-file FILE")).into());
            }
        };
        let read = |file: &PathBuf| fs::read(file).with_context(|| format!("read {}", file.display()));
        let ca = self.ca.as_ref().map(read).transpose()?;
        Ok(ServerAddress { url: self.server.clone(), token: Secret(token), ca })
    }
}

#[derive(Debug, Args)]
pub(super) struct Sensor {
    #[command(flatten)]
    server: Elsewhere,
    /// The sensor's name; this machine's unless given
    #[arg(long, env = "SOJOURN_SENSOR_NAME", value_name = "N")]
    name: Option<String>,
    /// Where reports wait while the server cannot be reached
    #[arg(long, env = "SOJOURN_BUFFER", value_name = "DIR")]
    buffer: Option<PathBuf>,
    /// The most that waits, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    buffer_size: u64,
    /// The longest that a report waits
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    buffer_age: Elapsed,
    /// An interface to look through; all that lead to a network unless given. May be repeated
    #[arg(long, value_name = "I")]
    interface: Vec<String>,
    /// Ask these IPv4 ranges by ARP instead of the interface's own subnets. May be repeated
    #[arg(long, value_name = "CIDR")]
    cidr: Vec<Subnet>,
    /// A DHCP server's lease file on this machine. May be repeated
    #[arg(long, value_name = "FILE")]
    leases: Vec<PathBuf>,
    /// From the start of one scan to the start of the next, where sources are given by --cidr or --leases
    #[arg(long, value_name = "DURATION")]
    interval: Option<Elapsed>,
    /// What to log, such as info or sojourn_sensor=debug
    #[arg(long, env = "SOJOURN_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

impl Sensor {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = SensorConfig {
            server: self.server.address()?,
            name: self.name.clone().unwrap_or_else(machine_name),
            buffer: self.buffer.clone().map_or_else(default_buffer, Ok)?,
            limits: SpoolLimits { bytes: self.buffer_size << 20, age: self.buffer_age },
            choice: self.choice()?,
        };
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|error| Usage(anyhow::anyhow!("--log {:?}: {error}", self.log)))?;
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_env_filter(filter)
            .try_init()
            .map_err(|error| anyhow::anyhow!("start the log: {error}"))?;
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = shutdown.clone();
        let signals = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
        }));
        forwarder::run(config, Arc::new(SystemClock), Entropy, shutdown).await?;
        drop(signals);
        Ok(())
    }

    /// The sources that were asked for, or the automatic choice.
    fn choice(&self) -> anyhow::Result<Choice> {
        if self.cidr.is_empty() && self.leases.is_empty() {
            if self.interval.is_some() {
                return Err(Usage(anyhow::anyhow!("--interval goes with --cidr or --leases")).into());
            }
            return Ok(Choice::Automatic { interfaces: self.interface.clone() });
        }
        let interface = match self.interface.as_slice() {
            [] => None,
            [interface] => Some(interface.clone()),
            _ => return Err(Usage(anyhow::anyhow!("with --cidr, give one --interface")).into()),
        };
        let mut specs = Vec::new();
        for cidr in &self.cidr {
            let settings = SourceSettings {
                interface: interface.clone(),
                cidr: Some(*cidr),
                ..SourceSettings::default()
            };
            specs.push(SourceSpec::new(SourceKind::Arp, settings));
        }
        for path in &self.leases {
            let path = std::path::absolute(path).context("the lease file")?;
            let settings = SourceSettings { path: Some(path), ..SourceSettings::default() };
            specs.push(SourceSpec::new(SourceKind::DhcpLeases, settings));
        }
        for spec in &mut specs {
            spec.interval = self.interval.unwrap_or(spec.interval);
            spec.validate().map_err(|error| Usage(anyhow::anyhow!("{}: {error}", error.field)))?;
        }
        Ok(Choice::These(specs))
    }
}

fn machine_name() -> String {
    // What `uname` tells; empty where /proc is not to be read.
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let short = name.trim().split('.').next().unwrap_or_default();
    if short.is_empty() { "sensor".to_owned() } else { short.to_owned() }
}

/// Where systemd, the user's session or the system keeps what programs must not lose.
fn default_buffer() -> anyhow::Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(state) = folder("STATE_DIRECTORY") {
        return Ok(state);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/sojourn-sensor"));
    }
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("sojourn-sensor"))
        .ok_or_else(|| Usage(anyhow::anyhow!("where may reports wait? give --buffer DIR")).into())
}
