//! Any answer of an FTP server to LIST, MLSD or MLST, line by line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::time::Timestamp;
use sojourn_fuzz::files::ftp::{facts, line};

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp::from_secs(1_795_000_000);
    for text in bytes.split(|byte| *byte == b'\n') {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        for entry in [facts(text), line(text, now)].into_iter().flatten() {
            // What is read is a part of what was sent; twelve bits are all that permissions have.
            assert!(entry.name.len() <= text.len());
            assert!(entry.link_target.is_none_or(|target| target.len() <= text.len()));
            assert!(entry.permissions.is_none_or(|permissions| permissions <= 0o7777));
            for name in [entry.owner, entry.group].into_iter().flatten() {
                assert!(!name.chars().any(char::is_control), "{name:?}");
            }
        }
    }
});
