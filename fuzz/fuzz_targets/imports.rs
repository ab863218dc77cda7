//! Any bytes as the output of arp-scan or nmap.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::time::Timestamp;
use sojourn_fuzz::imports::{ImportFormat, read};

fuzz_target!(|bytes: &[u8]| {
    let at = Timestamp::from_secs(1_800_000_000);
    for format in [None, Some(ImportFormat::ArpScan), Some(ImportFormat::Nmap)] {
        let Ok(import) = read(format, bytes, at) else { continue };
        for sighting in import.sightings {
            assert!(sighting.mac.is_device() && sighting.evidence.at() <= at);
        }
    }
});
