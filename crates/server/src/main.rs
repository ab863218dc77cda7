//! The binary `sojourn`.

fn main() -> std::process::ExitCode {
    sojourn_server::cli::main()
}
