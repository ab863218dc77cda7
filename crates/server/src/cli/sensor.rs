//! `sojourn sensor`.

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Sensor {}

impl Sensor {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("not there yet")
    }
}
