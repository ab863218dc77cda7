//! The command line: what others script against.
//!
//! Exit codes: 0 done, 2 wrong usage, 1 anything else with one line on standard error.

mod audit;
mod backup;
mod commands;
mod connection;
mod export;
mod import;
mod scan;
mod sensor;
mod source;
mod token;
mod user;
mod verify;

use std::{fs::File, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use sojourn_gateway::protocols::dial::Range;
use sojourn_store::{
    Entropy, Store, SystemClock,
    recordings::{Limits, RecordingOptions, Recordings},
};

use crate::config::{Config, Settings};

#[derive(Debug, Parser)]
#[command(
    name = "sojourn",
    version,
    about = "Keeps every session of a network: who is on it, and since when"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<Serve>),
    /// Users
    #[command(subcommand)]
    User(user::User),
    /// Tokens, with which programs prove who they are
    #[command(subcommand)]
    Token(token::Token),
    /// Connections: what may be opened, by whom
    #[command(subcommand)]
    Connection(connection::Connection),
    /// Presence sources
    #[command(subcommand)]
    Source(source::Source),
    /// Scan once and print what was seen
    Scan(scan::Scan),
    /// Run the local sources and report to a server elsewhere
    Sensor(sensor::Sensor),
    /// Bring another tool's output or history in
    #[command(subcommand)]
    Import(import::Import),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Write the whole state into a file, while the server runs
    Backup(backup::Backup),
    /// Bring the state from such a file back; the server must not run
    Restore(backup::Restore),
    /// Find the commands in a recording of a terminal
    Commands(commands::Commands),
    /// Check that recordings, or an evidence bundle, are as they were made
    Verify(verify::Verify),
    /// Write the evidence bundle of a session's recording
    Export(export::Export),
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Settings in TOML; flags and the environment win over them
    #[arg(long, env = "SOJOURN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Which installation an administrative command works on.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The server's data directory
    #[arg(long, env = "SOJOURN_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's database, where it is not in the data directory
    #[arg(long, env = "SOJOURN_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// The server's settings in TOML
    #[arg(long, env = "SOJOURN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    fn settings(&self) -> anyhow::Result<Settings> {
        Settings { data_dir: self.data_dir.clone(), database: self.database.clone(), ..Settings::default() }
            .with_file(self.config.as_deref())
    }

    /// The ranges that no connection may lead to, as the server has them.
    pub(crate) fn deny_targets(&self) -> anyhow::Result<Vec<Range>> {
        let from_environment = || {
            let ranges = std::env::var("SOJOURN_DENY_TARGETS").ok()?;
            Some(ranges.split(',').map(str::to_owned).collect())
        };
        crate::config::denied(&self.settings()?.deny_targets.or_else(from_environment).unwrap_or_default())
    }

    /// Opens the installation's store, beside a running server if there is one.
    pub(crate) async fn open(&self) -> anyhow::Result<Store> {
        Store::open(&self.database()?).await.context("open the database")
    }

    /// The address of the installation's database. Its data directory is made, if it is in one.
    pub(crate) fn database(&self) -> anyhow::Result<String> {
        let settings = self.settings()?;
        match (settings.database, settings.data_dir) {
            (Some(database), _) => Ok(database),
            (None, Some(data_dir)) => {
                crate::serve::prepare_data_dir(&data_dir)?;
                Ok(crate::config::database_url(None, &data_dir).0)
            }
            (None, None) => {
                Err(Usage(anyhow::anyhow!("which installation? give --data-dir DIR or --database URL"))
                    .into())
            }
        }
    }

    /// Opens the installation's recordings, beside a running server if there is one: to read them.
    pub(crate) async fn recordings(&self) -> anyhow::Result<(Store, Recordings)> {
        let settings = self.settings()?;
        let Some(data_dir) = settings.data_dir else {
            return Err(Usage(anyhow::anyhow!("which installation? give --data-dir DIR")).into());
        };
        let store = self.open().await?;
        let key =
            settings.master_key_file.or_else(|| std::env::var_os("SOJOURN_MASTER_KEY_FILE").map(Into::into));
        let vault = crate::access::open_vault(key.as_deref(), &data_dir, &store).await?;
        let options = RecordingOptions {
            spool_dir: data_dir.join("spool"),
            objects: settings.objects.or_else(|| std::env::var("SOJOURN_OBJECTS").ok()),
            objects_dir: data_dir.join("recordings"),
            node: "command line".to_owned(),
            clock: Arc::new(SystemClock),
            entropy: Entropy,
            // The server beside keeps bytes back, not who only reads.
            limits: Limits { reserve_bytes: 0, ..Limits::default() },
        };
        let recordings =
            Recordings::open(store.clone(), vault, options).await.context("open the recordings")?;
        Ok((store, recordings))
    }

    /// Keeps a server from running on the data directory, where one is named.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<File>> {
        let Some(data_dir) = self.settings()?.data_dir else { return Ok(None) };
        crate::serve::prepare_data_dir(&data_dir)?;
        crate::serve::lock(&data_dir).map(Some)
    }
}

/// The command was used wrongly, in a way that clap does not see.
#[derive(Debug)]
pub(crate) struct Usage(anyhow::Error);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}

/// Reads the arguments, does what they say, and tells how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(serve) => {
            let serve = *serve;
            let config = Config::new(serve.settings.with_file(serve.config.as_deref())?).map_err(Usage)?;
            runtime()?.block_on(crate::serve::serve(config))
        }
        Command::User(user) => runtime()?.block_on(user.run()),
        Command::Token(token) => runtime()?.block_on(token.run()),
        Command::Connection(connection) => runtime()?.block_on(connection.run()),
        Command::Audit(audit) => runtime()?.block_on(audit.run()),
        Command::Backup(backup) => runtime()?.block_on(backup.run()),
        Command::Restore(restore) => runtime()?.block_on(restore.run()),
        Command::Source(source) => runtime()?.block_on(source.run()),
        Command::Scan(scan) => runtime()?.block_on(scan.run()),
        Command::Sensor(sensor) => runtime()?.block_on(sensor.run()),
        Command::Import(import) => runtime()?.block_on(import.run()),
        Command::Commands(commands) => commands.run(),
        Command::Verify(verify) => runtime()?.block_on(verify.run()),
        Command::Export(export) => runtime()?.block_on(export.run()),
        Command::Openapi => print(crate::http::openapi::text()),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

/// Prints to standard output; a reader that has gone away is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("write the output")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    print(&format!("{value:#}\n"))
}

/// Columns that are as wide as their widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    // What people wrote must not move the cursor of those who read it.
    lines.extend(rows.map(|row| row.map(|cell| cell.replace(char::is_control, "\u{fffd}"))));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One line on standard error.
fn complain(error: &anyhow::Error) {
    use std::io::Write as _;
    let text = format!("{error:#}").replace('\n', " ");
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "sojourn: {text}");
}
