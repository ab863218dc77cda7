//! Any command, and any bytes of both sides, in any pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::{
    files::{
        Fact,
        tap::{Ending, Tap},
    },
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_secs(1);

fn run(command: &[u8], bytes: &[u8], size: usize) -> Option<(Vec<Fact>, Option<String>)> {
    let mut tap = Tap::of_command(command)?;
    let mut facts = Vec::new();
    // Who sends changes at this byte, which neither side needs.
    for (at, piece) in bytes.split(|byte| *byte == 0xff).enumerate() {
        for part in piece.chunks(size) {
            match at % 2 {
                0 => tap.client(NOW, part, &mut facts),
                _ => tap.server(NOW, part, &mut facts),
            }
        }
    }
    tap.finish(NOW, Ending::Exit(1), &mut facts);
    Some((facts, tap.lost().map(ToString::to_string)))
}

fuzz_target!(|bytes: &[u8]| {
    let (command, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0xff).unwrap_or(0));
    let _ = run(command, rest, usize::MAX);
    for command in [&b"scp -r -t dir/sub"[..], b"scp -rp -f 'a b' ~/c/.", b"rsync --server -s . x"] {
        let whole = run(command, bytes, usize::MAX);
        assert_eq!(whole, run(command, bytes, 1));
        for fact in whole.map(|(facts, _)| facts).unwrap_or_default() {
            assert!(fact.path.chars().all(|c| !c.is_control()) && !fact.error.chars().any(char::is_control));
        }
    }
});
