//! Any text as a MAC address.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::mac::MacAddr;

fuzz_target!(|text: &str| {
    if let Ok(mac) = text.parse::<MacAddr>() {
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }
});
