//! Links libvpx into the binary, with other memory functions than its own: `src/sinks/desktop/vpx_memory.rs` has them, and says why.
//!
//! Some distributions have no archive of the library's objects. There it is loaded at the start, as it is, and each desktop that is
//! recorded takes a good half more memory.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const LIBRARY: &str = "libvpx.a";
/// The object that has the memory functions, and nothing else.
const MEMORY: &str = "vpx_mem.c.o";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in ["VPX_LIB_DIR", "AR", "CC"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rustc-check-cfg=cfg(own_vpx_memory)");
    match without_memory() {
        Ok(directory) => {
            println!("cargo:rustc-link-search=native={}", directory.display());
            println!("cargo:rustc-link-lib=static=sojourn_vpx");
            println!("cargo:rustc-cfg=own_vpx_memory");
        }
        Err(why) => println!("cargo:warning=desktops are recorded with the shared libvpx: {why}"),
    }
}

/// Makes an archive of the library's objects but that one, and says in which directory.
fn without_memory() -> Result<PathBuf, String> {
    let from = library()?;
    println!("cargo:rerun-if-changed={}", from.display());
    let directory = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);
    let archive = directory.join("libsojourn_vpx.a");
    fs::copy(&from, &archive).map_err(|error| format!("{}: {error}", from.display()))?;
    let archive = archive.to_string_lossy();
    if !run("AR", "ar", &["t", &archive])?.lines().any(|object| object == MEMORY) {
        return Err(format!("{} has no {MEMORY}", from.display()));
    }
    run("AR", "ar", &["d", &archive, MEMORY])?;
    Ok(directory)
}

/// Where the linker would find it.
fn library() -> Result<PathBuf, String> {
    if let Ok(directory) = env::var("VPX_LIB_DIR") {
        return Ok(Path::new(&directory).join(LIBRARY));
    }
    let found = run("CC", "cc", &[&format!("-print-file-name={LIBRARY}")])?;
    // A bare name says that there is none.
    let found = Path::new(found.trim());
    if found.is_absolute() { Ok(found.to_owned()) } else { Err(format!("there is no {LIBRARY}")) }
}

fn run(variable: &str, program: &str, args: &[&str]) -> Result<String, String> {
    let program = env::var(variable).unwrap_or_else(|_| program.to_owned());
    let ran = Command::new(&program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if ran.status.success() {
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&ran.stderr)))
    }
}
