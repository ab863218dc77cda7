//! Anything that an SFTP target sends, in any pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::files::sftp::read;

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, bytes.len().max(1));
    let cut = bytes.first().map_or(1, |byte| usize::from(byte % 16) + 1);
    assert_eq!(read(bytes, cut), whole);
    for answer in whole.0 {
        for entry in answer.names.into_iter().flatten().flatten() {
            // A name leads nowhere else.
            assert!(!entry.name.is_empty() && !entry.name.contains(&b'/') && !entry.name.contains(&0));
            assert!(entry.name != b"." && entry.name != b"..");
        }
        if let Ok(fault) = answer.fault {
            assert!(!fault.message().chars().any(char::is_control), "{fault}");
            assert!(fault.message().len() < 2000);
        }
    }
});
