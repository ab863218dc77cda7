//! `sojourn scan`.

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Scan {}

impl Scan {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("not there yet")
    }
}
