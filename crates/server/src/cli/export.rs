//! `sojourn export`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use futures_util::TryStreamExt as _;
use serde_json::json;
use sojourn_domain::{id::AccessSessionId, time::Clock as _};
use sojourn_store::{
    SystemClock,
    audit::{By, Deed},
};

use super::{Place, Usage, print_json};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The session's id, sess_…
    session: String,
    /// Where to; replaced if it exists, readable by its owner only
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    file: PathBuf,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let session: AccessSessionId =
            self.session.parse().map_err(|error| Usage(anyhow::anyhow!("{}: {error}", self.session)))?;
        let (store, recordings) = self.place.recordings().await?;
        let bundle = recordings.export(session).await.with_context(|| format!("export {session}"))?;
        let bundle = bundle.with_context(|| format!("there is no recording of {session}"))?;
        let mut bundle = std::pin::pin!(bundle);
        let writing = || format!("write {}", self.file.display());
        // Under another name until it is whole.
        let mut partial = self.file.clone().into_os_string();
        partial.push(".partial");
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .with_context(writing)?;
        let mut out = BufWriter::new(file);
        let mut bytes = 0;
        while let Some(piece) = bundle.try_next().await.with_context(|| format!("export {session}"))? {
            bytes += piece.len();
            out.write_all(&piece).with_context(writing)?;
        }
        out.into_inner()
            .map_err(|error| error.into_error())
            .with_context(writing)?
            .sync_all()
            .with_context(writing)?;
        fs::rename(&partial, &self.file).with_context(writing)?;
        let deed = Deed::done("session.export", session, json!({"bytes": bytes}));
        store.audit(&By::cli(SystemClock.now()), deed).await.context("note the export in the audit trail")?;
        recordings.stop().await;
        store.close().await;
        if self.json {
            print_json(&json!({"session": session, "file": self.file, "bytes": bytes}))
        } else {
            Ok(())
        }
    }
}
