//! schemathesis against a live server: no 5xx, and every answer as `openapi.json` has it.
//!
//! Server and schemathesis run in a network that has a loopback and nothing else, because the
//! server scans whatever networks it finds.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{Outcome, counts::Counts};
use crate::{
    isolate, python,
    shell::{self, program, sojourn, target, tee},
};

/// The version whose options are used below.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Examples for each operation, beside those that cover the schema's corners.
const EXAMPLES: &str = "20";

pub(super) fn conformance() -> Result<Outcome> {
    if program("python3").is_none() {
        return Ok(Outcome::Skipped(String::from("python3 is not installed")));
    }
    let Some(mut inside) = isolate::command(&env::current_exe()?) else {
        return Ok(Outcome::Skipped(String::from("no right to make a network of its own")));
    };
    python::install(&venv(), &[SCHEMATHESIS])?;
    let (ok, _) = tee(inside.arg("conformance-inside"))?;
    let report = fs::read_to_string(report_file()).unwrap_or_default();
    Ok(Outcome::counted(ok, of_junit(&report)))
}

/// What runs inside the network of its own.
pub(crate) fn inside() -> Result<bool> {
    let data = target().join("conformance/data");
    // Absent the first time.
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let mut server = Server::start(&data)?;
    add_admin(&data)?;
    let token = shell::output(
        Command::new(sojourn(false)).args(["token", "create", "--user", "admin", "--data-dir"]).arg(&data),
    )?;
    let status = Command::new(venv().join("bin/schemathesis"))
        .args(["run", &format!("http://{}/openapi.json", server.address)])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim())])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1"])
        // An event stream never ends.
        .args(["--exclude-path-regex", "/stream$"])
        // What a schema cannot say (a role that exists, an end not before its start) is refused with
        // 422, and where a key may be missing `null` is taken too: neither is a fault of an answer.
        .args(["--exclude-checks", "positive_data_acceptance,negative_data_rejection"])
        .args(["--generation-database", "none", "--continue-on-failure", "--no-color"])
        .args(["--report", "junit", "--report-junit-path"])
        .arg(report_file())
        .current_dir(target().join("conformance"))
        .status()?;
    if server.child.try_wait()?.is_some() {
        bail!("the server ended while it was being tested");
    }
    Ok(status.success())
}

fn venv() -> PathBuf {
    target().join("conformance/venv")
}

fn report_file() -> PathBuf {
    target().join("conformance/report.xml")
}

fn add_admin(data: &Path) -> Result<()> {
    let mut child = Command::new(sojourn(false))
        .args(["user", "add", "admin", "--role", "admin", "--password-stdin", "--data-dir"])
        .arg(data)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"correct horse battery staple\n")?;
    }
    if !child.wait()?.success() {
        bail!("the administrator could not be made");
    }
    Ok(())
}

/// A running server; it is killed with this value.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Result<Self> {
        let log = fs::File::create(target().join("conformance/server.log"))?;
        let mut child = Command::new(sojourn(false))
            .args(["serve", "--http", "127.0.0.1:0", "--ssh", "off", "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no pipe from the server")?).lines();
        let mut server = Self { child, address: String::new() };
        for line in stdout.by_ref() {
            let line = line?;
            if let Some(rest) = line.strip_prefix("ready ") {
                let http = rest.split_whitespace().find_map(|word| word.strip_prefix("http="));
                server.address = http.context("the ready line names no address")?.to_owned();
                // Read on, so that the server never meets a full or a closed pipe.
                std::thread::spawn(move || stdout.for_each(drop));
                return Ok(server);
            }
        }
        bail!("the server ended before it was ready: see target/conformance/server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts the `<testcase …>` elements of a JUnit report by what stands inside them.
fn of_junit(report: &str) -> Counts {
    let mut counts = Counts::default();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        if case.contains("<failure") || case.contains("<error") {
            counts.failed += 1;
        } else if case.contains("<skipped") {
            counts.skipped += 1;
        } else {
            counts.passed += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_counted_by_case() {
        let report = r#"<testsuites tests="3"><testsuite name="x">
            <testcase name="GET /a" time="1"/><testcase name="GET /b"><failure>no</failure></testcase>
            <testcase name="GET /c"><skipped/></testcase></testsuite></testsuites>"#;
        assert_eq!(of_junit(report), Counts { passed: 1, failed: 1, skipped: 1 });
    }
}
