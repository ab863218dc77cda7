//! `cargo xtask`: builds, runs, tests and measures Sojourn.
//!
//! Compiles in a few seconds, because it is the first thing that anyone waits for: no dependency
//! but anyhow. It knows programs and files, nothing of what is inside Sojourn.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "talking to a person is its job")]

mod bench;
mod isolate;
mod openapi;
mod python;
mod run;
mod setup;
mod shell;
mod test;
mod tidy;
mod web;

use std::{env, process::ExitCode};

const HELP: &str = "\
cargo xtask COMMAND

  run [--release] [-- ARGS]   build everything and serve; ARGS go to `sojourn serve`
  build [--release]           build the web UI and the server with it inside
  test [STEP]…                set up what is missing and run all tests, or only some steps
  bench                       measure, and print every figure beside its goal
  tidy                        check the rules that no compiler checks
  openapi [--check]           write openapi.json from the server, or compare
  help                        this text; `test --list` names the steps
";

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let command = if args.is_empty() { String::from("help") } else { args.remove(0) };
    let result = match command.as_str() {
        "run" => run::run(&args),
        "build" => run::build(args.iter().any(|arg| arg == "--release")).map(|_| true),
        "test" => test::test(&args),
        "bench" => bench::bench(&args),
        "tidy" => tidy::tidy(),
        "openapi" => openapi::openapi(args.iter().any(|arg| arg == "--check")),
        // What `test` runs again inside a network of its own.
        "conformance-inside" => test::conformance::inside(),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(true)
        }
        _ => {
            eprint!("no command is called {command:?}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
