//! `cargo xtask tidy`: the house's rules that no compiler checks.
//!
//! Checks what git tracks or would track. A heuristic: it reads lines, not syntax trees; a rule's
//! words inside a string or a comment count too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::shell::{output, root};

/// Lines of a source file beyond which its header must argue for its size.
const MAX_LINES: usize = 800;

/// Dependencies that only the named crates may have; a `*` stands for any ending.
const WALLS: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("object_store", &["store"]),
    ("rusqlite", &[]),
    ("axum*", &["server"]),
    ("tower*", &["server"]),
    ("utoipa*", &["server"]),
    ("rtnetlink", &["sensor"]),
    ("netlink-*", &["sensor"]),
    ("etherparse", &["sensor"]),
    ("dhcproto", &["sensor"]),
    ("pcap*", &["sensor"]),
    ("pnet*", &["sensor"]),
    ("russh*", &["gateway"]),
    ("suppaftp", &["gateway"]),
    ("smb2", &["gateway"]),
    ("ironrdp*", &["gateway"]),
    ("vnc-rs", &["gateway"]),
    ("anyhow", &["server", "xtask", "testbed"]),
];

/// What the domain does without: input and output, tasks, the clock, randomness.
const NOT_IN_DOMAIN: &[&str] =
    &["tokio*", "sqlx", "axum*", "hyper*", "reqwest", "ureq", "socket2", "rustix", "nix", "rand", "tracing*"];

/// Which of the project's crates may name which.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("store", &["domain"]),
    ("sensor", &["domain", "store"]),
    ("gateway", &["domain", "store"]),
    ("server", &["domain", "store", "sensor", "gateway"]),
    ("testbed", &[]),
    ("xtask", &[]),
];

/// Words that have no place in Rust files, and why.
const BANNED: &[(&str, &str)] = &[
    (concat!("unbounded", "_channel"), "every queue is bounded"),
    (concat!("unbounded", "()"), "every queue is bounded"),
    (concat!("#[", "allow("), "use expect, with a reason"),
    (concat!("#![", "allow("), "use expect, with a reason"),
    (concat!("todo", "!("), "finish it, or leave it out"),
    (concat!("unimplemented", "!("), "finish it, or leave it out"),
    (concat!("dbg", "!("), "a trace for one person"),
];

/// Waiting by the clock makes tests slow or flaky; the test bed's `wait` is the one place for it.
const SLEEPS: &[&str] = &[concat!("thread::", "sleep"), concat!("time::", "sleep")];
const MAY_SLEEP: &str = "crates/testbed/src/wait.rs";

/// Places of one machine.
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Prints every breach; true when there is none.
pub(crate) fn tidy() -> Result<bool> {
    let files = output(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut breaches = Vec::new();
    // Other projects keep their own rules.
    for name in files.lines().filter(|name| !name.starts_with("vendor/")) {
        // Absent when deleted and not yet committed; not text when it is a picture.
        let Ok(text) = fs::read_to_string(root().join(name)) else { continue };
        file(name, &text, &mut breaches);
    }
    migrations(files.lines(), &mut breaches);
    for breach in &breaches {
        println!("{breach}");
    }
    if !breaches.is_empty() {
        println!("tidy: {} to put right", breaches.len());
    }
    Ok(breaches.is_empty())
}

fn file(name: &str, text: &str, breaches: &mut Vec<String>) {
    let path = Path::new(name);
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => {
            size(name, text, breaches);
            rust(name, text, breaches);
        }
        Some("ts" | "svelte" | "js" | "mjs" | "css" | "sql" | "py" | "sh") => size(name, text, breaches),
        _ => {}
    }
    match file {
        "Cargo.toml" => manifest(name, text, breaches),
        "Cargo.lock" => cargo_lock(name, text, breaches),
        "package-lock.json" if text.contains("\"resolved\"") => {
            breaches.push(format!(
                "{name}: names a registry; npm's omit-lockfile-registry-resolved leaves it out"
            ));
        }
        _ => {}
    }
    for (number, line) in text.lines().enumerate() {
        for place in PLACES.iter().filter(|place| line.contains(*place)) {
            breaches.push(format!("{name}:{}: {place} is a place of one machine", number + 1));
        }
    }
}

fn size(name: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    let argued = text.lines().take(40).any(|line| {
        ["//! Size:", "// Size:", "-- Size:", "# Size:", "/* Size:", "<!-- Size:"]
            .iter()
            .any(|mark| line.trim_start().starts_with(mark))
    });
    if lines > MAX_LINES && !argued {
        breaches.push(format!(
            "{name}: {lines} lines; split it by concept, or argue in its header (`//! Size: …`) against {MAX_LINES}"
        ));
    }
}

fn rust(name: &str, text: &str, breaches: &mut Vec<String>) {
    let mut in_tests = name.contains("/tests/") || name.contains("/benches/") || name.ends_with("/tests.rs");
    let may_sleep = name == MAY_SLEEP;
    for (number, line) in text.lines().enumerate() {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        for (word, reason) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
            breaches.push(format!("{name}:{}: {word}: {reason}", number + 1));
        }
        if (in_tests || name.starts_with("crates/testbed/")) && !may_sleep {
            for word in SLEEPS.iter().filter(|word| line.contains(*word)) {
                breaches
                    .push(format!("{name}:{}: {word}: wait for the event, not for the clock", number + 1));
            }
        }
    }
}

fn manifest(name: &str, text: &str, breaches: &mut Vec<String>) {
    let directory = name.strip_suffix("/Cargo.toml").unwrap_or_default();
    let member = directory.strip_prefix("crates/").unwrap_or(directory);
    if !directory.starts_with("crates/") && directory != "xtask" {
        return;
    }
    if !text.contains("[lints]\nworkspace = true") {
        breaches.push(format!("{name}: does not take the workspace's lints"));
    }
    let mut section = "";
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let for_tests = section.contains("dev-dependencies");
        if !section.ends_with("dependencies]") {
            continue;
        }
        let Some(dependency) = line.split(['.', '=', ' ']).next().filter(|word| !word.is_empty()) else {
            continue;
        };
        if dependency.starts_with('#') {
            continue;
        }
        let mut breach = |what: String| breaches.push(format!("{name}:{}: {what}", number + 1));
        if !line.contains("workspace = true") {
            breach(format!("{dependency}: versions stand in the workspace's manifest"));
        }
        if for_tests {
            continue;
        }
        for (wall, within) in WALLS {
            if matches(wall, dependency) && !within.contains(&member) {
                breach(format!(
                    "{dependency} belongs to {}",
                    if within.is_empty() { "no crate".into() } else { within.join(", ") }
                ));
            }
        }
        if member == "domain" && NOT_IN_DOMAIN.iter().any(|pattern| matches(pattern, dependency)) {
            breach(format!("{dependency}: the domain is pure"));
        }
        let direction = DIRECTIONS.iter().find(|(from, _)| *from == member);
        if let (Some(own), Some((_, may))) = (dependency.strip_prefix("sojourn-"), direction)
            && !may.contains(&own)
        {
            breach(format!("{member} must not know {own}"));
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn cargo_lock(name: &str, text: &str, breaches: &mut Vec<String>) {
    let known = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("source = ") && line != known {
            breaches.push(format!("{name}:{}: {line} is not the public registry", number + 1));
        }
    }
}

/// Numbered `0001_…` without holes or doubles.
fn migrations<'a>(files: impl Iterator<Item = &'a str>, breaches: &mut Vec<String>) {
    let mut names: Vec<PathBuf> = files
        .filter(|name| name.contains("/migrations/") && name.ends_with(".sql"))
        .map(PathBuf::from)
        .collect();
    names.sort();
    for (at, path) in names.iter().enumerate() {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let expected = format!("{:04}_", at + 1);
        if !file.starts_with(&expected) {
            breaches.push(format!("{}: expected to start with {expected}", path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Vec<String> {
        let mut breaches = Vec::new();
        file(name, text, &mut breaches);
        breaches
    }

    #[test]
    fn a_long_file_argues_for_itself() {
        let long = "x();\n".repeat(MAX_LINES + 1);
        assert_eq!(of("crates/store/src/a.rs", &long).len(), 1);
        assert!(of("crates/store/src/a.rs", &format!("//! A.\n//! Size: one table.\n{long}")).is_empty());
    }

    #[test]
    fn walls_hold() {
        let lints = "[lints]\nworkspace = true\n";
        let with = |section: &str, name: &str| format!("[{section}]\n{name}.workspace = true\n{lints}");
        assert!(of("crates/store/Cargo.toml", &with("dependencies", "sqlx")).is_empty());
        assert_eq!(of("crates/server/Cargo.toml", &with("dependencies", "sqlx")).len(), 1);
        assert_eq!(of("crates/domain/Cargo.toml", &with("dependencies", "tokio-util")).len(), 1);
        assert_eq!(of("crates/store/Cargo.toml", &with("dependencies", "sojourn-sensor")).len(), 1);
        assert!(of("crates/store/Cargo.toml", &with("dev-dependencies", "sojourn-testbed")).is_empty());
        assert_eq!(of("crates/server/Cargo.toml", "[dependencies]\nserde = \"1\"\n").len(), 2);
    }

    #[test]
    fn tests_wait_for_events() {
        let sleep = format!("fn f() {{}}\n#[cfg(test)]\nmod t {{ {}(x); }}\n", SLEEPS[0]);
        assert_eq!(of("crates/store/src/a.rs", &sleep).len(), 1);
        assert!(of("crates/store/src/a.rs", &format!("{}(x);\n", SLEEPS[1])).is_empty());
    }

    #[test]
    fn lock_files_name_no_other_registry() {
        assert_eq!(of("web/package-lock.json", "{\"resolved\": \"https://example.net/a.tgz\"}").len(), 1);
        assert_eq!(of("Cargo.lock", "source = \"git+https://example.net/a\"\n").len(), 1);
    }

    #[test]
    fn migrations_are_numbered() {
        let mut breaches = Vec::new();
        let names = ["s/migrations/0001_a.sql", "s/migrations/0003_b.sql"];
        migrations(names.into_iter(), &mut breaches);
        assert_eq!(breaches.len(), 1);
    }
}
