//! Programs from PyPI that some tests need: an S3 server and other people's SSH libraries.
//!
//! `cargo xtask test` installs them into a virtual environment below the target directory.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::skip;

/// The environment's Python; `None`, and a visible line, where nothing was installed.
pub fn interpreter() -> Option<PathBuf> {
    let test = env::current_exe().expect("a test knows its own file");
    let found =
        test.ancestors().map(|folder| folder.join("testbed/venv/bin/python")).find(|file| file.is_file());
    if found.is_none() {
        skip::whole("the test environment of Python is not there: cargo xtask test setup");
    }
    found
}

/// A command that runs a script, with an empty standard input and no environment of a user's own.
pub fn script(directory: &Path, name: &str, text: &str) -> Option<Command> {
    let python = interpreter()?;
    let file = directory.join(name);
    fs::write(&file, text).expect("a script");
    let mut command = Command::new(python);
    command.arg("-I").arg(file).stdin(std::process::Stdio::null()).env_remove("SSH_AUTH_SOCK");
    Some(command)
}
