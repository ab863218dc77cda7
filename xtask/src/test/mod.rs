//! `cargo xtask test`: sets up what is missing, runs everything, and counts honestly.
//!
//! The steps go on after one has failed, but for those that stand on it. The last line alone is
//! `N passed, N failed, N skipped`. A step that fails without counting tests counts as one
//! failure; one that cannot run counts as one skip, and where `CI` is set as a failure.

pub(crate) mod conformance;
mod counts;
mod deny;
mod fuzz;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    openapi, python, setup,
    shell::{self, built, cargo, in_ci, program, say, sojourn, tee},
    tidy, web,
};
use counts::Counts;

/// How a step ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ran; a step without tests of its own counts nothing.
    Passed(Counts),
    Failed(Counts, String),
    /// It could not run, for this reason.
    Skipped(String),
}

struct Step {
    name: &'static str,
    what: &'static str,
    /// Steps without which this one makes no sense.
    needs: &'static [&'static str],
    run: fn() -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "setup", what: "what the tests need from the machine", needs: &[], run: set_up },
    Step { name: "tidy", what: "rules that no compiler checks", needs: &[], run: tidy_up },
    Step { name: "fmt", what: "formatting", needs: &[], run: fmt },
    Step { name: "web", what: "the web UI: types and tests", needs: &[], run: web_ui },
    Step {
        name: "build",
        what: "the server with the web UI in it, and all tests",
        needs: &["setup"],
        run: build,
    },
    Step { name: "clippy", what: "lints", needs: &["setup"], run: clippy },
    Step { name: "deny", what: "licences and advisories of dependencies", needs: &[], run: deny::deny },
    Step { name: "rust", what: "unit, property and integration tests", needs: &["build"], run: rust },
    Step { name: "openapi", what: "openapi.json against the server", needs: &["build"], run: golden },
    Step {
        name: "conformance",
        what: "schemathesis against a live server",
        needs: &["build"],
        run: conformance::conformance,
    },
    Step { name: "fuzz", what: "a short run of every fuzz target", needs: &["setup"], run: fuzz::fuzz },
    Step { name: "e2e", what: "the web UI in a browser", needs: &["web", "build"], run: e2e },
];

pub(crate) fn test(args: &[String]) -> Result<bool> {
    if args.iter().any(|arg| arg == "--list") {
        for step in STEPS {
            println!("{:12} {}", step.name, step.what);
        }
        return Ok(true);
    }
    if let Some(unknown) = args.iter().find(|arg| STEPS.iter().all(|step| step.name != **arg)) {
        bail!("no test step is called {unknown:?}; `cargo xtask test --list` names them");
    }
    let mut done: Vec<(&Step, Outcome, Duration)> = Vec::new();
    for step in STEPS.iter().filter(|step| args.is_empty() || args.iter().any(|arg| arg == step.name)) {
        let broken = done.iter().find(|(before, outcome, _)| {
            step.needs.contains(&before.name) && matches!(outcome, Outcome::Failed(..))
        });
        let started = Instant::now();
        let outcome = if let Some((before, ..)) = broken {
            Outcome::Failed(Counts::default(), format!("not run, because {} failed", before.name))
        } else {
            say(&format!("{}: {}", step.name, step.what));
            (step.run)().unwrap_or_else(|error| Outcome::Failed(Counts::default(), format!("{error:#}")))
        };
        let took = started.elapsed();
        say(&format!("{}: {} in {:.1} s", step.name, outcome.word(), took.as_secs_f64()));
        done.push((step, outcome, took));
    }
    Ok(summarise(&done))
}

/// Prints what each step did and the counts; true when nothing failed.
fn summarise(done: &[(&Step, Outcome, Duration)]) -> bool {
    println!();
    let mut sum = Counts::default();
    for (step, outcome, took) in done {
        let (counts, reason) = match outcome {
            Outcome::Passed(counts) => (*counts, ""),
            Outcome::Failed(counts, reason) => {
                (Counts { failed: counts.failed.max(1), ..*counts }, reason.as_str())
            }
            Outcome::Skipped(reason) if in_ci() => {
                (Counts { failed: 1, ..Counts::default() }, reason.as_str())
            }
            Outcome::Skipped(reason) => (Counts { skipped: 1, ..Counts::default() }, reason.as_str()),
        };
        let word = outcome.word();
        let counted = if counts == Counts::default() { String::new() } else { counts.to_string() };
        let line = format!("{:12} {word:8} {:7.1} s  {counted}", step.name, took.as_secs_f64());
        println!("{}", line.trim_end());
        if !reason.is_empty() {
            println!("{:13}{reason}", "");
        }
        sum += counts;
    }
    println!("{sum}");
    sum.failed == 0
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Failed(..) => "FAILED",
            Self::Skipped(_) if in_ci() => "MISSING",
            Self::Skipped(_) => "skipped",
        }
    }

    /// A step that has no tests of its own.
    fn of(ok: bool, otherwise: &str) -> Self {
        if ok {
            Self::Passed(Counts::default())
        } else {
            Self::Failed(Counts::default(), otherwise.to_owned())
        }
    }

    /// A step that ran tests: an unsuccessful end is a failure whatever was counted, and so is a run
    /// without a test.
    fn counted(ok: bool, counts: Counts) -> Self {
        if counts == Counts::default() {
            Self::Failed(counts, String::from("no test ran"))
        } else if ok && counts.failed == 0 {
            Self::Passed(counts)
        } else {
            Self::Failed(counts, String::from("see above"))
        }
    }
}

fn set_up() -> Result<Outcome> {
    setup::room_on_disk()?;
    let missing = setup::setup()?;
    for need in &missing {
        println!("missing: {} (does not run: {})", need.name, need.without);
    }
    if program("python3").is_some() {
        python::install_testbed()?;
    }
    if missing.is_empty() {
        return Ok(Outcome::of(true, ""));
    }
    let names: Vec<_> = missing.iter().map(|need| need.name).collect();
    Ok(Outcome::Skipped(format!("missing: {}", names.join(", "))))
}

fn tidy_up() -> Result<Outcome> {
    Ok(Outcome::of(tidy::tidy()?, "see above"))
}

fn fmt() -> Result<Outcome> {
    let status = cargo().args(["fmt", "--all", "--check"]).status()?;
    Ok(Outcome::of(status.success(), "`cargo fmt` puts it right"))
}

fn clippy() -> Result<Outcome> {
    let status = cargo()
        .args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .status()?;
    Ok(Outcome::of(status.success(), "see above"))
}

fn web_ui() -> Result<Outcome> {
    if program("npm").is_none() {
        return Ok(Outcome::Skipped(String::from("npm is not installed")));
    }
    web::check_node()?;
    web::install()?;
    let checked = web::npm().args(["run", "check"]).status()?.success();
    let (tested, lines) = tee(web::npm().arg("test"))?;
    let counts = Counts::of_vitest(&lines);
    if !checked {
        return Ok(Outcome::Failed(counts, String::from("the type check")));
    }
    Ok(Outcome::counted(tested, counts))
}

/// One command builds the server and all test programs: built by themselves they would have other features of shared
/// crates, and much would be compiled twice.
fn build() -> Result<Outcome> {
    if program("npm").is_some() {
        web::check_node()?;
        web::build()?;
        if !web::npm().args(["run", "budget"]).status()?.success() {
            return Ok(Outcome::Failed(Counts::default(), String::from("the budget of script sizes")));
        }
    }
    shell::run(cargo().args(["test", "--locked", "--workspace", "--no-run"]))?;
    Ok(Outcome::of(true, ""))
}

fn rust() -> Result<Outcome> {
    // What is built takes most of it.
    setup::room_on_disk()?;
    let mut command = cargo();
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]).env("SOJOURN_BIN", sojourn(false));
    let postgres = Postgres::start()?;
    if let Some(postgres) = &postgres {
        command.env("SOJOURN_TEST_POSTGRES", &postgres.url);
    }
    let (ok, lines) = tee(&mut command)?;
    Ok(Outcome::counted(ok, Counts::of_cargo_test(&lines)))
}

fn golden() -> Result<Outcome> {
    Ok(Outcome::of(openapi::compare()?, "openapi.json is out of date: `cargo xtask openapi`"))
}

fn e2e() -> Result<Outcome> {
    if program("npm").is_none() || program("chromium").is_none() {
        return Ok(Outcome::Skipped(String::from("npm or Chromium is not installed")));
    }
    let (ok, lines) = tee(web::npm().args(["run", "e2e"]).env("SOJOURN_BIN", sojourn(false)))?;
    Ok(Outcome::counted(ok, Counts::of_playwright(&lines)))
}

/// One PostgreSQL for all test programs; it stops when this value goes.
struct Postgres {
    url: String,
    child: Child,
}

impl Postgres {
    /// `None` where PostgreSQL is not installed: each test that wants it then says so.
    fn start() -> Result<Option<Self>> {
        let mut child =
            Command::new(built("testbed-postgres")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        let url = url.trim().to_owned();
        if url.is_empty() {
            child.wait()?;
            return Ok(None);
        }
        Ok(Some(Self { url, child }))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Waiting closes its standard input first, and that is what ends it.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_name_earlier_steps() {
        for (at, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(STEPS[..at].iter().any(|before| before.name == *need), "{}", step.name);
            }
        }
    }
}
