//! `sojourn source`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Source {}

impl Source {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {}
    }
}
