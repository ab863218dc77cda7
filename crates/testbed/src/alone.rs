//! A test in a process of its own, whose memory is nobody else's.

use std::{env, fs, process::Command};

/// Set in that process.
const ALONE: &str = "SOJOURN_TEST_ALONE";

/// True in a process where only this test runs; else runs it in one, and fails where it fails there. The test
/// is named by its `module_path!()` and its function.
pub fn alone(module: &str, function: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let (_, modules) = module.split_once("::").expect("a module of a crate");
    let name = format!("{modules}::{function}");
    let mut child = Command::new(env::current_exe().expect("a test"));
    let ran = child.args(["--exact", &name]).env(ALONE, "1").output().expect("the test runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    false
}

/// Bytes of this process that are in memory.
pub fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().strip_suffix(" kB").and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}
