//! Any bytes as a desktop's recording: whatever plays is planned the same in any pieces, adds up, and what was made of it
//! is undamaged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::webm::{Plan, Planner, Slice, remux};

fuzz_target!(|bytes: &[u8]| {
    let mut file = Vec::new();
    let made = remux(bytes, &mut file);
    let mut planner = Planner::default();
    for piece in bytes.chunks(7) {
        planner.feed(piece);
    }
    assert_eq!(planner.finish(), made);
    let Ok(plan) = made else { return };
    assert_eq!(file.len() as u64, plan.size());
    let text = plan.encode().expect("a plan is text");
    assert_eq!(Plan::decode(&text, bytes.len() as u64).as_ref(), Some(&plan));
    let half = plan.size() / 2;
    let mut at = half;
    for slice in plan.slices(half..plan.size()) {
        at += match slice {
            Slice::Made(bytes) => bytes.len() as u64,
            Slice::Kept(range) => {
                assert!(range.end <= bytes.len() as u64);
                range.end - range.start
            }
        };
    }
    assert_eq!(at, plan.size());
    let again = remux(&file, &mut Vec::new()).expect("what was made can be read");
    assert!(!again.damaged());
});
