//! Any keys and any output, in any order: nothing panics, previews stay bounded, and the screen is the
//! one that the emulator alone would show.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::{commands::Detector, time::Elapsed};

fuzz_target!(|bytes: &[u8]| {
    let mut detector = Detector::new(20, 5);
    let mut blind = Detector::without_input(20, 5);
    let mut found = Vec::new();
    // A piece begins with what it is.
    for (at, piece) in bytes.split(|byte| *byte == 0xff).enumerate() {
        let now = Elapsed::from_millis(at as i64 * 70);
        let Some((kind, rest)) = piece.split_first() else { continue };
        match kind % 5 {
            0 | 1 => {
                detector.output(now, rest);
                blind.output(now, rest);
            }
            2 | 3 => detector.input(now, rest),
            _ => match rest {
                [cols, rows, ..] => detector.resize(now, u16::from(*cols), u16::from(*rows)),
                _ => detector.hibernate(),
            },
        }
        assert!(detector.screen().cols > 0);
        found.extend(detector.take());
    }
    detector.finish(Elapsed::from_secs(1000));
    blind.finish(Elapsed::from_secs(1000));
    found.extend(detector.take());
    for entry in found {
        assert!(!entry.command.trim().is_empty());
        assert!(entry.output_preview.len() <= 8192, "{}", entry.output_preview.len());
    }
});
