//! `sojourn source`, as scripts call it.

use std::process::{Command, Output};

use serde_json::Value;

fn sojourn(folder: &tempfile::TempDir, words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sojourn"))
        .args(words.split(' '))
        .args(["--data-dir", folder.path().to_str().unwrap()])
        .env_remove("SOJOURN_DATABASE")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn sources_are_added_listed_tested_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let call = |words: &str| sojourn(&folder, words);
    let id = stdout(&call("source add arp --name office --interface lo0 --interval 1m --grace 90s"));
    assert!(id.starts_with("source_") && id.ends_with('\n'), "{id:?}");
    let list: Value = serde_json::from_str(&stdout(&call("source list --json"))).unwrap();
    let source = &list["sources"][0];
    assert_eq!((&source["id"], &source["name"]), (&Value::from(id.trim()), &Value::from("office")));
    assert_eq!((&source["intervalSeconds"], &source["graceSeconds"]), (&Value::from(60.0), &Value::from(90)));
    assert!(stdout(&call("source list")).contains("office"));

    // An interface that is not there cannot be looked at.
    let tried = call("source test office");
    assert_eq!(tried.status.code(), Some(1), "{tried:?}");
    assert_eq!(String::from_utf8_lossy(&tried.stderr).lines().count(), 1);

    assert_eq!(call("source add push --name office").status.code(), Some(1));
    for wrong in ["source add radar", "source add arp --cidr 10.0.0.0/8", "source add dhcp-leases"] {
        assert_eq!(call(wrong).status.code(), Some(2), "{wrong}");
    }
    assert_eq!(stdout(&call("source remove office")), "");
    assert_eq!(call("source remove office").status.code(), Some(1));
    let list: Value = serde_json::from_str(&stdout(&call("source list --json"))).unwrap();
    assert_eq!(list["sources"], Value::Array(Vec::new()));
}
