#![no_main]
//! Manifests, indexes and segments as somebody else may have left them in an object store.

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sojourn_domain::{
    id::Id,
    seal::{
        DataKey, Format, Genesis, Hash, Manifest,
        frame::{HEADER, Header, PLAIN_MAX},
        index::Index,
        manifest::{Segment, State, segment_name},
        verify::Verifier,
    },
    time::Timestamp,
};

/// A manifest of one segment that nothing fits.
fn manifest() -> &'static Manifest {
    static MANIFEST: OnceLock<Manifest> = OnceLock::new();
    MANIFEST.get_or_init(|| {
        let at = Timestamp::from_secs(1_700_000_000);
        let key = DataKey::new([1; 32]).commitment();
        let genesis = Genesis { session: Id::new(at, [1; 10]), format: Format::Cast, started_at: at, key };
        let mut manifest = Manifest::new(&genesis, String::new(), String::new());
        manifest.push(Segment {
            name: segment_name(0),
            first_frame: 0,
            frames: 3,
            from: 0,
            to: 300,
            bytes: 300 + 3 * 68 + 24,
            head: Hash([0; 32]),
            closed: true,
        });
        manifest.state = State::Sealed;
        manifest
    })
}

fuzz_target!(|bytes: &[u8]| {
    let _ = Manifest::read(bytes, None);
    if let Ok(index) = Index::parse(bytes) {
        assert_eq!(index.encode(), bytes);
        assert_eq!(index.places().count() as u64, index.frames());
    }
    if let Some(header) = bytes.first_chunk::<HEADER>().and_then(Header::parse) {
        assert!(header.len <= PLAIN_MAX);
        assert_eq!(header.encode(), bytes[..HEADER]);
    }
    let key = DataKey::new([1; 32]);
    let mut verifier = Verifier::new(manifest(), Some(&key)).expect("the key fits");
    for piece in bytes.chunks(7) {
        verifier.feed(piece, &mut |_| {});
    }
    verifier.end_segment();
    assert!(!verifier.finish().faults.is_empty());
});
