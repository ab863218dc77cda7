//! `cargo xtask bench`: release builds, measured; the benchmark prints its own table.

use anyhow::Result;

use crate::shell::{cargo, run, say, sojourn};

pub(crate) fn bench(args: &[String]) -> Result<bool> {
    say("server, release");
    run(cargo().args(["build", "--release", "--locked", "-p", "sojourn-server"]))?;
    say("benchmarks");
    run(cargo()
        .args(["bench", "--locked", "-p", "sojourn-testbed", "--bench", "goals", "--"])
        .args(args)
        .env("SOJOURN_BIN", sojourn(true)))?;
    Ok(true)
}
