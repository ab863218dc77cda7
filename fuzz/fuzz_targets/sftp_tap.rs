//! Any bytes of both sides, in any pieces: nothing panics, nothing grows, and how the bytes were split
//! makes no difference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::{
    files::{
        Fact,
        tap::{Ending, Tap, sftp},
    },
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_secs(1);

/// Pieces: a byte that says who sends how much, then that much.
fn pieces(mut bytes: &[u8]) -> Vec<(bool, &[u8])> {
    let mut pieces = Vec::new();
    while let Some((head, rest)) = bytes.split_first() {
        let (piece, rest) = rest.split_at(rest.len().min(usize::from(head >> 1) + 1));
        pieces.push((head & 1 == 0, piece));
        bytes = rest;
    }
    pieces
}

fn run(pieces: &[(bool, &[u8])], size: usize) -> (Vec<Fact>, Option<String>) {
    let mut tap = Tap::of_subsystem("sftp").expect("a tap");
    let mut facts = Vec::new();
    for (client, piece) in pieces {
        for part in piece.chunks(size) {
            match client {
                true => tap.client(NOW, part, &mut facts),
                false => tap.server(NOW, part, &mut facts),
            }
            let Tap::Sftp(tap) = &tap else { unreachable!() };
            let (open, asked, held) = tap.load();
            assert!(open <= sftp::OPEN && asked <= sftp::IN_FLIGHT && held <= sftp::HELD_BYTES * 2);
        }
    }
    tap.finish(NOW, Ending::Cut, &mut facts);
    let count = facts.len();
    tap.finish(NOW, Ending::Cut, &mut facts);
    assert_eq!(facts.len(), count);
    (facts, tap.lost().map(ToString::to_string))
}

fuzz_target!(|bytes: &[u8]| {
    let pieces = pieces(bytes);
    let whole = run(&pieces, usize::MAX);
    assert_eq!(whole, run(&pieces, 1));
    for fact in whole.0 {
        assert!(fact.path.chars().all(|c| !c.is_control()) && !fact.error.chars().any(char::is_control));
        assert!(fact.sha256.is_none() || fact.bytes.is_some());
    }
});
