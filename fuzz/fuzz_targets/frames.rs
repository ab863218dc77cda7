//! Any Ethernet frame: ARP, DHCP, mDNS, neighbour discovery, or what claims to be one of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::frames;

fuzz_target!(|frame: &[u8]| {
    for heard in frames::parse(frame) {
        assert!(heard.mac.is_device());
        // A name of a stranger's making is short and prints as one line.
        if let Some(name) = heard.hostname {
            assert!(name.len() <= 255 && !name.contains(char::is_control), "{name:?}");
        }
    }
    frames::arp(frame);
});
