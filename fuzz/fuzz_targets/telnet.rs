//! Any bytes from a Telnet target, in any pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::telnet::Codec;

fuzz_target!(|bytes: &[u8]| {
    let (mut data, mut reply) = (Vec::new(), Vec::new());
    Codec::new("xterm-256color", 80, 24).receive(bytes, &mut data, &mut reply);
    // Nothing grows out of proportion.
    assert!(data.len() <= bytes.len() && reply.len() <= bytes.len() * 6);
    let cut = bytes.first().map_or(1, |byte| usize::from(byte % 16) + 1);
    let mut pieces = Codec::new("xterm-256color", 80, 24);
    let (mut again, mut answers) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(cut) {
        pieces.receive(piece, &mut again, &mut answers);
    }
    assert_eq!((again, answers), (data, reply));
});
