//! Settings: defaults, a TOML file, the environment and flags, of which the last wins.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use serde::Deserialize;
use sojourn_domain::time::Elapsed;
use sojourn_gateway::protocols::dial::Range;
use sojourn_store::recordings::{Keeping, Thresholds};

/// Where the server listens unless told otherwise.
pub const DEFAULT_HTTP: &str = "127.0.0.1:7420";
/// Where native SSH listens unless told otherwise.
pub const DEFAULT_SSH: &str = "127.0.0.1:7422";

/// What may be set. The same names serve as flags (`--tls-cert`), in the environment
/// (`SOJOURN_TLS_CERT`) and in the file (`tls_cert`).
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directory of the database and of everything else that is kept
    #[arg(long, env = "SOJOURN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// postgres://USER:PASSWORD@HOST:PORT/NAME or sqlite:PATH [default: SQLite in the data directory]
    #[arg(long, env = "SOJOURN_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,

    /// Address of the web UI and the API; port 0 picks a free one [default: 127.0.0.1:7420]
    #[arg(long, env = "SOJOURN_HTTP", value_name = "ADDR")]
    pub http: Option<String>,

    /// Address of native SSH, or off; port 0 picks a free one [default: 127.0.0.1:7422]
    #[arg(long, env = "SOJOURN_SSH", value_name = "ADDR")]
    pub ssh: Option<String>,

    /// Address or range such as 10.0.0.0/8 that no connection may lead to; may be repeated
    #[arg(long, env = "SOJOURN_DENY_TARGETS", value_name = "RANGE", value_delimiter = ',')]
    pub deny_targets: Option<Vec<String>>,

    /// Certificate chain in PEM; with --tls-key the server speaks HTTPS
    #[arg(long, env = "SOJOURN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key in PEM
    #[arg(long, env = "SOJOURN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Address or subnet of a reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; may be repeated
    #[arg(long, env = "SOJOURN_TRUSTED_PROXIES", value_name = "ADDR", value_delimiter = ',')]
    pub trusted_proxies: Option<Vec<String>>,

    /// The address under which browsers reach the server, such as https://sojourn.example
    #[arg(long, env = "SOJOURN_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Zone of local times, such as Europe/Berlin [default: the system's, else UTC]
    #[arg(long, env = "SOJOURN_TIMEZONE", value_name = "ZONE")]
    pub timezone: Option<String>,

    /// How the log on standard error is written [default: text]
    #[arg(long, env = "SOJOURN_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What is logged: error, warn, info, debug, trace, or directives such as info,sojourn_server=debug [default: info]
    #[arg(long, env = "SOJOURN_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Serve /metrics without a credential
    #[arg(long, env = "SOJOURN_METRICS_PUBLIC", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub metrics_public: Option<bool>,

    /// A browser's login ends after so long without use [default: 7d]
    #[arg(long, env = "SOJOURN_LOGIN_IDLE", value_name = "DURATION")]
    pub login_idle: Option<String>,

    /// A browser's login ends after so long in any case [default: 30d]
    #[arg(long, env = "SOJOURN_LOGIN_LIFETIME", value_name = "DURATION")]
    pub login_lifetime: Option<String>,

    /// Look at the network from this machine; without it only sensors and scripts report [default: true]
    #[arg(long, env = "SOJOURN_LOCAL_SOURCES", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub local_sources: Option<bool>,

    /// Ask the system's resolver how private addresses without a name are called [default: true]
    #[arg(long, env = "SOJOURN_REVERSE_DNS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub reverse_dns: Option<bool>,

    /// Presence events, and closed sessions with them, are forgotten after so long [default: never]
    #[arg(long, env = "SOJOURN_KEEP_PRESENCE", value_name = "DURATION")]
    pub keep_presence: Option<String>,

    /// File with the master key that protects credentials and recordings; SOJOURN_MASTER_KEY may hold the key itself
    /// [default: master.key in the data directory, made at the first start]
    #[arg(long, env = "SOJOURN_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,

    /// Where sealed recordings go: s3://BUCKET/PREFIX?endpoint=URL [default: the data directory]
    #[arg(long, env = "SOJOURN_OBJECTS", value_name = "URL", hide_env_values = true)]
    pub objects: Option<String>,

    /// What this server is called among several [default: the machine's host name]
    #[arg(long, env = "SOJOURN_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Where the other servers on the same database reach this one's API, such as https://node2.example:7420
    #[arg(long, env = "SOJOURN_NODE_URL", value_name = "URL")]
    pub node_url: Option<String>,

    /// Recordings are removed after so long, unless they are held [default: never]
    #[arg(long, env = "SOJOURN_KEEP_RECORDINGS", value_name = "DURATION")]
    pub keep_recordings: Option<String>,

    /// File sessions are removed with their events after so long, unless they are held [default: as long as recordings]
    #[arg(long, env = "SOJOURN_KEEP_FILE_SESSIONS", value_name = "DURATION")]
    pub keep_file_sessions: Option<String>,

    /// The oldest recordings are removed when all take up more than this, such as 500G [default: no bound]
    #[arg(long, env = "SOJOURN_MAX_RECORDINGS_BYTES", value_name = "SIZE")]
    pub max_recordings_bytes: Option<String>,

    /// Free disk below which the log warns [default: 2G]
    #[arg(long, env = "SOJOURN_DISK_WARN", value_name = "SIZE")]
    pub disk_warn: Option<String>,

    /// Free disk below which no session that must be recorded begins [default: 512M]
    #[arg(long, env = "SOJOURN_DISK_REFUSE", value_name = "SIZE")]
    pub disk_refuse: Option<String>,

    /// Free disk below which sessions that must be recorded end [default: 128M]
    #[arg(long, env = "SOJOURN_DISK_END", value_name = "SIZE")]
    pub disk_end: Option<String>,

    /// What may wait on this machine's disk while the object store does not answer [default: 16G]
    #[arg(long, env = "SOJOURN_MAX_SPOOL_BYTES", value_name = "SIZE")]
    pub max_spool_bytes: Option<String>,

    /// How long a web terminal whose connection was lost may come back to its session [default: 2m]
    #[arg(long, env = "SOJOURN_ATTACH_GRACE", value_name = "DURATION")]
    pub attach_grace: Option<String>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Fills what is not set here from the file.
    pub fn with_file(self, path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(self) };
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let file: Self = toml::from_str(&text).map_err(|error| {
            // One line: where it is, and what is wrong.
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            anyhow::anyhow!("read {} line {line}: {}", path.display(), error.message().replace('\n', " "))
        })?;
        Ok(Self {
            data_dir: self.data_dir.or(file.data_dir),
            database: self.database.or(file.database),
            http: self.http.or(file.http),
            ssh: self.ssh.or(file.ssh),
            deny_targets: self.deny_targets.or(file.deny_targets),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            public_url: self.public_url.or(file.public_url),
            timezone: self.timezone.or(file.timezone),
            log_format: self.log_format.or(file.log_format),
            log: self.log.or(file.log),
            metrics_public: self.metrics_public.or(file.metrics_public),
            login_idle: self.login_idle.or(file.login_idle),
            login_lifetime: self.login_lifetime.or(file.login_lifetime),
            local_sources: self.local_sources.or(file.local_sources),
            reverse_dns: self.reverse_dns.or(file.reverse_dns),
            keep_presence: self.keep_presence.or(file.keep_presence),
            master_key_file: self.master_key_file.or(file.master_key_file),
            objects: self.objects.or(file.objects),
            keep_recordings: self.keep_recordings.or(file.keep_recordings),
            keep_file_sessions: self.keep_file_sessions.or(file.keep_file_sessions),
            max_recordings_bytes: self.max_recordings_bytes.or(file.max_recordings_bytes),
            disk_warn: self.disk_warn.or(file.disk_warn),
            disk_refuse: self.disk_refuse.or(file.disk_refuse),
            disk_end: self.disk_end.or(file.disk_end),
            max_spool_bytes: self.max_spool_bytes.or(file.max_spool_bytes),
            node_name: self.node_name.or(file.node_name),
            node_url: self.node_url.or(file.node_url),
            attach_grace: self.attach_grace.or(file.attach_grace),
        })
    }
}

/// Settings that were read, checked and completed.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    /// Where the database is, as [`sojourn_store::Store::open`] takes it. Holds a password: never log it.
    pub database: DatabaseUrl,
    pub http: SocketAddr,
    /// `None` when it is off.
    pub ssh: Option<SocketAddr>,
    /// Where no connection may lead.
    pub deny_targets: Vec<Range>,
    pub tls: Option<TlsFiles>,
    pub trusted_proxies: Vec<Subnet>,
    /// Without a slash at its end.
    pub public_url: Option<String>,
    pub log_format: LogFormat,
    pub log: String,
    pub metrics_public: bool,
    pub login_idle: Elapsed,
    pub login_lifetime: Elapsed,
    pub local_sources: bool,
    pub reverse_dns: bool,
    pub keep_presence: Option<Elapsed>,
    pub master_key_file: Option<PathBuf>,
    /// May hold a password.
    pub objects: Option<String>,
    /// How long recordings stay.
    pub keep_recordings: Keeping,
    /// How long file sessions stay.
    pub keep_file_sessions: Option<Elapsed>,
    /// The rungs of the disk ladder.
    pub disk: Thresholds,
    pub max_spool_bytes: u64,
    pub node_name: String,
    /// Without a slash at its end.
    pub node_url: Option<String>,
    pub attach_grace: Elapsed,
    zone: TimeZone,
}

/// A database address; prints without the password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.split(':').next().unwrap_or_default())?;
        f.write_str(":…")
    }
}

#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The ranges that no connection may lead to.
pub(crate) fn denied(ranges: &[String]) -> anyhow::Result<Vec<Range>> {
    ranges.iter().map(|text| text.parse().with_context(|| format!("deny_targets {text:?}"))).collect()
}

impl Config {
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        let data_dir = settings
            .data_dir
            .context("no data directory: give --data-dir DIR, SOJOURN_DATA_DIR or data_dir in the file")?;
        let http = settings.http.as_deref().unwrap_or(DEFAULT_HTTP);
        let http: SocketAddr = http
            .parse()
            .with_context(|| format!("--http {http}: expected ADDRESS:PORT such as {DEFAULT_HTTP}"))?;
        let ssh = match settings.ssh.as_deref().unwrap_or(DEFAULT_SSH) {
            "off" => None,
            ssh => Some(ssh.parse().with_context(|| {
                format!("--ssh {ssh}: expected ADDRESS:PORT such as {DEFAULT_SSH}, or off")
            })?),
        };
        let deny_targets = denied(settings.deny_targets.as_deref().unwrap_or_default())?;
        let tls = match (settings.tls_cert, settings.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => bail!("tls_cert and tls_key belong together"),
        };
        let trusted_proxies = settings
            .trusted_proxies
            .unwrap_or_default()
            .iter()
            .map(|text| text.parse().with_context(|| format!("trusted_proxies {text:?}")))
            .collect::<anyhow::Result<Vec<Subnet>>>()?;
        if tls.is_none() && trusted_proxies.is_empty() && !http.ip().is_loopback() {
            bail!(
                "--http {http} is reachable from the network: give --tls-cert and --tls-key, or \
                 --trusted-proxies when a reverse proxy in front speaks TLS"
            );
        }
        let public_url = settings.public_url.map(|url| url.trim_end_matches('/').to_owned());
        if let Some(url) = &public_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            bail!("public_url {url:?}: expected https://HOST or http://HOST");
        }
        let zone = match settings.timezone {
            Some(name) => TimeZone::get(&name).with_context(|| format!("timezone {name:?}"))?,
            None => system_zone(),
        };
        let duration = |name: &str, text: Option<String>, default: &str| -> anyhow::Result<Elapsed> {
            let text = text.as_deref().unwrap_or(default);
            Elapsed::parse(text).with_context(|| format!("{name} {text:?}"))
        };
        let node_url = settings.node_url.map(|url| url.trim_end_matches('/').to_owned());
        if let Some(url) = &node_url
            && !url.starts_with("https://")
            && !url.starts_with("http://")
        {
            bail!("node_url {url:?}: expected https://HOST or http://HOST");
        }
        let keep_presence = match settings.keep_presence {
            Some(text) => Some(duration("keep_presence", Some(text), "")?),
            None => None,
        };
        let keep_recordings = match settings.keep_recordings {
            Some(text) => Some(duration("keep_recordings", Some(text), "")?),
            None => None,
        };
        let keep_file_sessions = match settings.keep_file_sessions {
            Some(text) => Some(duration("keep_file_sessions", Some(text), "")?),
            None => keep_recordings,
        };
        Ok(Self {
            database: database_url(settings.database, &data_dir),
            data_dir,
            http,
            ssh,
            deny_targets,
            tls,
            trusted_proxies,
            public_url,
            log_format: settings.log_format.unwrap_or(LogFormat::Text),
            log: settings.log.unwrap_or_else(|| "info".to_owned()),
            metrics_public: settings.metrics_public.unwrap_or(false),
            login_idle: duration("login_idle", settings.login_idle, "7d")?,
            login_lifetime: duration("login_lifetime", settings.login_lifetime, "30d")?,
            local_sources: settings.local_sources.unwrap_or(true),
            reverse_dns: settings.reverse_dns.unwrap_or(true),
            keep_presence,
            master_key_file: settings.master_key_file,
            objects: settings.objects,
            keep_recordings: Keeping {
                age: keep_recordings,
                bytes: match settings.max_recordings_bytes {
                    Some(text) => Some(size("max_recordings_bytes", &text)?),
                    None => None,
                },
            },
            keep_file_sessions,
            disk: disk(settings.disk_warn, settings.disk_refuse, settings.disk_end)?,
            max_spool_bytes: size("max_spool_bytes", settings.max_spool_bytes.as_deref().unwrap_or("16G"))?,
            node_name: settings.node_name.unwrap_or_else(host_name),
            node_url,
            attach_grace: duration("attach_grace", settings.attach_grace, "2m")?,
            zone,
        })
    }

    pub fn zone(&self) -> TimeZone {
        self.zone.clone()
    }

    /// The peer is a reverse proxy whose word about its clients counts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|subnet| subnet.contains(peer))
    }
}

/// Reads a number of bytes: digits, and K, M, G or T for powers of 1024.
fn size(name: &str, text: &str) -> anyhow::Result<u64> {
    let wrong = || format!("{name} {text:?}: expected a number of bytes such as 500M or 2G");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let power = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => bail!(wrong()),
    };
    let number: u64 = digits.parse().with_context(wrong)?;
    number.checked_mul(1024_u64.pow(power)).with_context(wrong)
}

fn disk(warn: Option<String>, refuse: Option<String>, end: Option<String>) -> anyhow::Result<Thresholds> {
    let otherwise = Thresholds::default();
    let read =
        |name: &str, text: Option<String>, otherwise| text.map_or(Ok(otherwise), |text| size(name, &text));
    let disk = Thresholds {
        warn_bytes: read("disk_warn", warn, otherwise.warn_bytes)?,
        refuse_bytes: read("disk_refuse", refuse, otherwise.refuse_bytes)?,
        end_bytes: read("disk_end", end, otherwise.end_bytes)?,
    };
    if disk.warn_bytes < disk.refuse_bytes || disk.refuse_bytes < disk.end_bytes {
        bail!("disk_warn must be at least disk_refuse, and that at least disk_end");
    }
    Ok(disk)
}

/// The database in the data directory, unless another is named.
pub fn database_url(database: Option<String>, data_dir: &Path) -> DatabaseUrl {
    DatabaseUrl(database.unwrap_or_else(|| format!("sqlite:{}", data_dir.join("sojourn.sqlite").display())))
}

/// What the machine calls itself.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "sojourn".to_owned() } else { name.to_owned() }
}

/// The system's zone where it has a name that others know too, else UTC.
fn system_zone() -> TimeZone {
    let zone = TimeZone::system();
    if zone.iana_name().is_some() { zone } else { TimeZone::UTC }
}

/// An address with the number of its leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().context("expected an address or a subnet such as 10.0.0.0/8")?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|&bits| bits <= most).context("the prefix is too long")?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

impl Subnet {
    pub fn contains(self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                let cut = |address: u32| address.checked_shr(shift).unwrap_or(0);
                cut(own.to_bits()) == cut(other.to_bits())
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                let cut = |address: u128| address.checked_shr(shift).unwrap_or(0);
                cut(own.to_bits()) == cut(other.to_bits())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(http: &str) -> Settings {
        Settings { data_dir: Some("/x".into()), http: Some(http.to_owned()), ..Settings::default() }
    }

    #[test]
    fn a_network_address_needs_tls_or_a_proxy() {
        assert!(Config::new(at("127.0.0.1:0")).is_ok());
        assert!(Config::new(at("[::1]:0")).is_ok());
        let refused = Config::new(at("0.0.0.0:7420")).unwrap_err().to_string();
        assert!(refused.contains("--tls-cert"), "{refused}");
        let proxied = Settings { trusted_proxies: Some(vec!["10.0.0.1".to_owned()]), ..at("0.0.0.0:7420") };
        assert!(Config::new(proxied).is_ok());
    }

    #[test]
    fn the_file_is_overruled_and_its_unknown_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sojourn.toml");
        std::fs::write(&path, "http = \"127.0.0.1:1\"\ntimezone = \"Europe/Berlin\"\n").unwrap();
        let settings = at("127.0.0.1:2").with_file(Some(&path)).unwrap();
        let config = Config::new(settings).unwrap();
        assert_eq!(config.http.port(), 2);
        assert_eq!(config.zone().iana_name(), Some("Europe/Berlin"));
        std::fs::write(&path, "http = \"127.0.0.1:1\"\nhtpp = 1\n").unwrap();
        let refused = at("127.0.0.1:2").with_file(Some(&path)).unwrap_err().to_string();
        assert!(refused.contains("line 2") && refused.contains("htpp"), "{refused}");
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("512", 512), ("2K", 2048), ("1MiB", 1 << 20), ("3gb", 3 << 30)] {
            assert_eq!(size("x", text).unwrap(), bytes, "{text}");
        }
        for text in ["", "G", "1.5G", "-1", "5X", "99999999T"] {
            assert!(size("x", text).is_err(), "{text}");
        }
        assert!(disk(Some("1M".into()), Some("2M".into()), None).is_err());
    }

    #[test]
    fn subnets_hold_what_they_say() {
        let within = |subnet: &str, address: &str| {
            subnet.parse::<Subnet>().unwrap().contains(address.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.255.0.1"));
        assert!(!within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("10.1.2.3", "10.1.2.3"));
        assert!(within("0.0.0.0/0", "192.0.2.1"));
        assert!(within("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(within("2001:db8::/32", "2001:db8::1"));
        assert!(!within("2001:db8::/32", "10.0.0.1"));
        assert!("10.0.0.0/33".parse::<Subnet>().is_err());
    }
}
