//! `sojourn import`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Import {}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {}
    }
}
