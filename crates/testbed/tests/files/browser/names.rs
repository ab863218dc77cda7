//! Names that are meant to do harm, or are only strange.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use serde_json::json;
use sojourn_testbed::bed::{shared, text};

use super::house::Page;

#[test]
fn strange_names_go_through_and_harmful_ones_do_not() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "names");
    let folder = bed.target.account().home.join("names");
    page.post("mkdir", json!({"path": folder})).expect(201);
    std::fs::write(folder.join(OsStr::from_bytes(b"caf\xe9\n\x1b[31m")), "x").unwrap();
    std::fs::write(folder.join("<img src=x onerror=alert(1)>"), "y").unwrap();
    std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
    let base = folder.display().to_string();

    let listed = page.call("GET", &format!("list?path={base}"), &[], b"").expect(200).json();
    let entries = listed["entries"].as_array().unwrap();
    let odd = entries.iter().find(|entry| text(&entry["name"]).starts_with("caf")).unwrap();
    assert_eq!(odd["name"], "caf\\xe9\\x0a\\x1b[31m");
    let raw = text(&odd["rawPath"]);
    assert_eq!(page.get(&raw, &[]).expect(200).body, b"x");
    page.post("rename", json!({"from": {"raw": raw}, "to": format!("{base}/plain")})).expect(200);
    assert_eq!(std::fs::read(folder.join("plain")).unwrap(), b"x");
    let html = page.get(&format!("{base}/%3Cimg%20src=x%20onerror=alert(1)%3E"), &[]).expect(200);
    assert_eq!(html.header("content-type"), "application/octet-stream");

    // Upwards is where the root ends.
    let passwd = page.get(&format!("{base}/../../../../../../../../etc/hostname"), &[]);
    assert!(matches!(passwd.status, 200 | 404), "{}", passwd.status);
    for (path, status) in [
        (format!("{base}/a%00b"), 422),
        ("relative".to_owned(), 422),
        (format!("{base}/{}", "x".repeat(256)), 422),
        (format!("/{}", "x/".repeat(2100)), 422),
    ] {
        page.get(&path, &[]).expect(status);
    }
    assert!((400..500).contains(&page.get(&format!("{base}/loop"), &[]).status));
    for name in ["a%0Ab", "a%1B", "%7F"] {
        page.put(&format!("{base}/{name}"), "", b"x").expect(422);
    }
    page.post("mkdir", json!({"path": format!("{base}/a\u{0}")})).expect(422);
    page.post("delete", json!({"paths": ["/"], "recursive": true})).expect(422);
    let deleted = page.post("delete", json!({"paths": [base], "recursive": true})).expect(200);
    assert_eq!(deleted.lines().last().unwrap()["failed"], 0);
    assert!(!folder.exists());
    page.leave();
}
