//! `sojourn audit`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Place, print, print_json};

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Go through the chain of the audit trail, and say whether anything is missing or altered
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Verify(verify) => verify.run().await,
        }
    }
}

impl Verify {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let found = store.audit_verify().await.context("read the audit trail")?;
        store.close().await;
        if self.json {
            print_json(&json!({
                "checked": found.checked,
                "brokenAt": found.broken_at,
                "head": {"seq": found.head.seq, "hash": found.head.hash},
            }))?;
        } else if found.broken_at.is_none() {
            print(&format!(
                "{} entries, unaltered; head {} {}\n",
                found.checked, found.head.seq, found.head.hash
            ))?;
        }
        match found.broken_at {
            None => Ok(()),
            Some(seq) => anyhow::bail!("the audit trail is altered or incomplete at entry {seq}"),
        }
    }
}
