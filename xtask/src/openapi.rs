//! `cargo xtask openapi`: the committed `openapi.json` is what the server says.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::shell::{cargo, output, root, run, sojourn};

/// Writes `openapi.json`; with `check` compares instead, and says where they part.
pub(crate) fn openapi(check: bool) -> Result<bool> {
    run(cargo().args(["build", "--quiet", "-p", "sojourn-server"]))?;
    if check {
        return compare();
    }
    let file = file();
    fs::write(&file, said()?).with_context(|| file.display().to_string())?;
    println!("wrote openapi.json");
    Ok(true)
}

fn file() -> PathBuf {
    root().join("openapi.json")
}

/// What the server that is built says.
fn said() -> Result<String> {
    let said = output(Command::new(sojourn(false)).arg("openapi"))?;
    Ok(format!("{}\n", said.trim_end()))
}

/// Compares what the server that is built says with what is committed.
pub(crate) fn compare() -> Result<bool> {
    let said = said()?;
    let committed = fs::read_to_string(file()).unwrap_or_default();
    if committed == said {
        return Ok(true);
    }
    let at = committed.lines().zip(said.lines()).take_while(|(a, b)| a == b).count();
    println!("openapi.json is not what the server says, from line {}:", at + 1);
    println!("  committed: {}", committed.lines().nth(at).unwrap_or("(end)"));
    println!("  server:    {}", said.lines().nth(at).unwrap_or("(end)"));
    println!("`cargo xtask openapi` writes it anew; read the difference before committing it.");
    Ok(false)
}
