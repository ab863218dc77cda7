//! Keeps an RDP desktop for tests until standard input ends; prints how to reach it first, as JSON.

use std::process::ExitCode;

fn main() -> ExitCode {
    match sojourn_testbed::rdp::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Standard error is all there is to tell it on.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{message}\n"));
            ExitCode::FAILURE
        }
    }
}
