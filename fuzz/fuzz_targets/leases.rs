//! Any bytes as a lease file of each kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::leases::{LeaseFormat, parse};

fuzz_target!(|bytes: &[u8]| {
    for format in [None, Some(LeaseFormat::Dnsmasq), Some(LeaseFormat::Isc), Some(LeaseFormat::Kea)] {
        let Ok(read) = parse(format, bytes) else { continue };
        for lease in read.leases {
            assert!(lease.mac.is_device());
            if let Some(name) = lease.hostname {
                assert!(name.len() <= 255 && !name.contains(char::is_control), "{name:?}");
            }
        }
    }
});
