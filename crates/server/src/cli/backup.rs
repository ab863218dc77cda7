//! `sojourn backup` and `sojourn restore`: the whole state in one file.
//!
//! The file is gzip around what `sojourn_store::backup` describes; `zcat` shows it. One made of
//! SQLite restores into PostgreSQL, and the other way round.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::json;
use sojourn_domain::time::Clock as _;
use sojourn_store::{
    Store, SystemClock,
    audit::{By, Deed},
    in_use,
};

use super::{Place, print_json};

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Where to; replaced if it exists, readable by its owner only
    file: PathBuf,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// What `sojourn backup` wrote
    file: PathBuf,
    /// Replace what is there already
    #[arg(long)]
    force: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Backup {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let now = SystemClock.now();
        let writing = || format!("write {}", self.file.display());
        // Under another name until it is whole: a backup that was interrupted replaces no good one.
        let partial = with_suffix(&self.file, ".partial");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .with_context(writing)?;
        let mut out = GzEncoder::new(BufWriter::new(file), Compression::fast());
        let dumped = store.dump(&mut out, env!("CARGO_PKG_VERSION"), now).await.with_context(writing)?;
        let mut out = out.finish().with_context(writing)?;
        out.flush().with_context(writing)?;
        out.get_ref().sync_all().with_context(writing)?;
        fs::rename(&partial, &self.file).with_context(writing)?;
        let deed = Deed::done("state.backup", "", json!({"rows": dumped.rows}));
        store.audit(&By::cli(now), deed).await.context("note the backup in the audit trail")?;
        store.close().await;
        if self.json { print_json(&json!({"rows": dumped.rows, "file": self.file})) } else { Ok(()) }
    }
}

impl Restore {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let reading = || format!("restore {}", self.file.display());
        let checked = Store::check_dump(&mut open(&self.file)?).with_context(reading)?;
        // A running server keeps what it knows of presence in memory, and would write it over this.
        let _lock = self.place.lock()?;
        let store = self.place.open().await?;
        let _claim = in_use::claim(&self.place.database()?, in_use::Purpose::Replace).await?;
        let loaded = store.load(&mut open(&self.file)?, self.force).await.with_context(|| {
            let hint = if self.force { "" } else { " (--force replaces what is there)" };
            format!("restore {}{hint}", self.file.display())
        })?;
        anyhow::ensure!(loaded == checked, "the file changed while it was read");
        let deed = Deed::done("state.restore", "", json!({"rows": loaded.rows}));
        store.audit(&By::cli(SystemClock.now()), deed).await.context("note it in the audit trail")?;
        store.close().await;
        if self.json { print_json(&json!({"rows": loaded.rows, "file": self.file})) } else { Ok(()) }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Gzip, or what was unpacked from it.
fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead + Send>> {
    let reading = || format!("read {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut magic = [0; 2];
    let zipped = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.rewind().with_context(reading)?;
    Ok(if zipped { Box::new(BufReader::new(GzDecoder::new(file))) } else { Box::new(BufReader::new(file)) })
}
