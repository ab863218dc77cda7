//! Whatever is done to a sealed recording is reported.

#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

use proptest::prelude::*;
use sojourn_domain::{
    id::Id,
    seal::{
        DataKey, Format, Genesis, Manifest, Position, SealError, Sealer, SigningKey,
        frame::{HEADER, Header, OVERHEAD, Opener, PLAIN_MAX},
        index::Index,
        manifest::{Segment, State, segment_name},
        verify::Verifier,
    },
    time::Timestamp,
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[3; 32]).unwrap()
}

/// A sealed recording, as it lies in an object store.
#[derive(Clone)]
struct Sealed {
    manifest: String,
    segments: Vec<(String, Vec<u8>)>,
    data_key: DataKey,
    plain: Vec<u8>,
}

/// Seals frames of the given lengths, `per_segment` of them in each segment.
fn sealed(lens: &[usize], per_segment: usize, data: u8) -> Sealed {
    let data_key = DataKey::new([data; 32]);
    let at = Timestamp::from_secs(1_700_000_000);
    let genesis = Genesis {
        session: Id::new(at, [data; 10]),
        format: Format::Cast,
        started_at: at,
        key: data_key.commitment(),
    };
    let mut sealer = Sealer::new(&genesis, &data_key).unwrap();
    let mut manifest = Manifest::new(&genesis, "node".to_owned(), "sealed key".to_owned());
    let (mut segments, mut plain) = (Vec::new(), Vec::new());
    for (number, lens) in lens.chunks(per_segment).enumerate() {
        let (mut bytes, mut index) = (Vec::new(), Index::default());
        let start = sealer.position();
        for &len in lens {
            let text: Vec<u8> = (0..len).map(|at| (at * 7 + plain.len()) as u8).collect();
            sealer.seal(&text, &mut bytes).unwrap();
            index.push(u32::try_from(len).unwrap());
            plain.extend(text);
        }
        bytes.extend(index.encode());
        let end = sealer.position();
        manifest.push(Segment {
            name: segment_name(number),
            first_frame: start.frame,
            frames: end.frame - start.frame,
            from: start.offset,
            to: end.offset,
            bytes: bytes.len() as u64,
            head: end.head,
            closed: true,
        });
        segments.push((segment_name(number), bytes));
    }
    manifest.state = State::Sealed;
    Sealed { manifest: manifest.sign(&key()).unwrap(), segments, data_key, plain }
}

/// Checks it with the public key alone, or with the data key too; in pieces of any size.
fn whole(sealed: &Sealed, with_key: bool, piece: usize) -> bool {
    let Ok((manifest, _)) = Manifest::read(sealed.manifest.as_bytes(), Some(&key().public())) else {
        return false;
    };
    let mut verifier = Verifier::new(&manifest, with_key.then_some(&sealed.data_key)).unwrap();
    let mut plain = Vec::new();
    while let Some(expected) = verifier.expects() {
        match sealed.segments.iter().find(|(name, _)| *name == expected.name) {
            Some((_, bytes)) => {
                for piece in bytes.chunks(piece) {
                    verifier.feed(piece, &mut |text| plain.extend_from_slice(text));
                }
                verifier.end_segment();
            }
            None => verifier.missing_segment(),
        }
    }
    let report = verifier.finish();
    if report.faults.is_empty() && with_key {
        assert_eq!(plain, sealed.plain);
    }
    report.faults.is_empty()
}

/// It is reported without the data key, and with it.
fn noticed(sealed: &Sealed) -> bool {
    !whole(sealed, false, 1000) && !whole(sealed, true, 1000)
}

#[test]
fn an_untouched_recording_is_whole_however_it_is_fed() {
    for lens in [&[][..], &[1], &[PLAIN_MAX], &[10, 20, 30, 40, 50], &[PLAIN_MAX, 1, PLAIN_MAX]] {
        let sealed = sealed(lens, 2, 1);
        for piece in [1, 52, 68, 1000, usize::MAX] {
            assert!(whole(&sealed, true, piece) && whole(&sealed, false, piece), "{lens:?} in {piece}");
        }
    }
}

#[test]
fn every_flipped_bit_of_every_segment_is_noticed() {
    let good = sealed(&[5, 1, 9, 30], 2, 1);
    for segment in 0..good.segments.len() {
        for bit in 0..good.segments[segment].1.len() * 8 {
            let mut altered = good.clone();
            altered.segments[segment].1[bit / 8] ^= 1 << (bit % 8);
            assert!(noticed(&altered), "bit {bit} of segment {segment}");
        }
    }
}

#[test]
fn every_flipped_bit_of_the_manifest_is_noticed() {
    let good = sealed(&[5, 9], 1, 1);
    for bit in 0..good.manifest.len() * 8 {
        let mut bytes = good.manifest.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::read(&bytes, Some(&key().public())).is_err(), "bit {bit} of the manifest");
    }
    for len in 0..good.manifest.len() {
        assert!(Manifest::read(&good.manifest.as_bytes()[..len], None).is_err(), "cut at {len}");
    }
    let other = SigningKey::from_seed(&[4; 32]).unwrap().public();
    assert_eq!(Manifest::read(good.manifest.as_bytes(), Some(&other)).unwrap_err(), SealError::Signature);
}

#[test]
fn a_manifest_that_says_something_else_is_not_signed() {
    let good = sealed(&[5, 9], 1, 1);
    let (_, seal) = good.manifest.split_once('\n').unwrap();
    let (manifest, _) = Manifest::read(good.manifest.as_bytes(), None).unwrap();
    let mut shorter = manifest.clone();
    let last = shorter.segments.pop().unwrap();
    (shorter.frames, shorter.bytes, shorter.head) = (1, last.from, shorter.segments[0].head);
    let incomplete = Manifest { state: State::Incomplete, ..manifest };
    for edited in [shorter, incomplete] {
        let text = serde_json::to_string(&edited).unwrap();
        assert!(Manifest::read(format!("{text}\n{seal}").as_bytes(), None).is_err());
    }
    // The same meaning in another form is not the signed text either.
    let spaced = good.manifest.replacen("\":", "\": ", 1);
    assert!(Manifest::read(spaced.as_bytes(), None).is_err());
}

#[test]
fn signed_manifests_whose_parts_do_not_add_up_are_refused() {
    let good = sealed(&[5, 9], 1, 1);
    let (manifest, _) = Manifest::read(good.manifest.as_bytes(), None).unwrap();
    let spoil: [fn(&mut Manifest); 6] = [
        |m| m.bytes += 1,
        |m| m.frames += 1,
        |m| m.segments.swap(0, 1),
        |m| m.segments[1].from = u64::MAX,
        |m| m.segments[0].frames = u64::MAX / 2,
        |m| m.segments[1].closed = false,
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut spoilt = manifest.clone();
        spoil(&mut spoilt);
        let text = spoilt.sign(&key()).unwrap();
        assert!(Manifest::read(text.as_bytes(), None).is_err(), "{number}");
    }
}

/// The frames of a segment, and its index.
fn frames(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut frames = Vec::new();
    let mut at = 0;
    let index = bytes.len() - 12;
    let count = u32::from_be_bytes(bytes[index..index + 4].try_into().unwrap()) as usize;
    for _ in 0..count {
        let header = Header::parse(bytes[at..at + HEADER].try_into().unwrap()).unwrap();
        frames.push(bytes[at..at + header.frame_len()].to_vec());
        at += header.frame_len();
    }
    (frames, bytes[at..].to_vec())
}

/// A segment of frames, with an index that fits them.
fn joined(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut index = Index::default();
    for frame in frames {
        index.push(u32::try_from(frame.len() - OVERHEAD).unwrap());
    }
    [frames.concat(), index.encode()].concat()
}

#[test]
fn a_frame_of_another_recording_fits_nowhere() {
    let (good, other) = (sealed(&[5, 5, 5], 3, 1), sealed(&[5, 5, 5], 3, 2));
    for place in 0..3 {
        let (mut ours, _) = frames(&good.segments[0].1);
        ours[place] = frames(&other.segments[0].1).0[place].clone();
        let mut altered = good.clone();
        altered.segments[0].1 = joined(&ours);
        assert!(noticed(&altered));
    }
    let mut altered = good.clone();
    altered.segments = other.segments;
    assert!(noticed(&altered));
    // And with another data key nothing is shown.
    altered = good;
    altered.data_key = DataKey::new([9; 32]);
    assert!(!whole(&altered, true, 1000));
}

#[test]
fn frames_open_at_their_place_only() {
    let good = sealed(&[5, 9], 2, 1);
    let (manifest, _) = Manifest::read(good.manifest.as_bytes(), None).unwrap();
    let opener = Opener::new(&manifest.genesis(), &good.data_key).unwrap();
    let (frames, _) = frames(&good.segments[0].1);
    assert_eq!(opener.open(1, 5, &mut frames[1].clone()).unwrap(), &good.plain[5..]);
    for (number, offset) in [(0, 5), (1, 4), (2, 5)] {
        assert!(opener.open(number, offset, &mut frames[1].clone()).is_err());
    }
    assert!(opener.open(1, 5, &mut frames[1][..20].to_vec()).is_err());
    let start = Position::start(&manifest.genesis());
    assert!(Header::parse(frames[0][..HEADER].try_into().unwrap()).unwrap().follows(&start));
}

#[test]
fn the_index_leads_to_every_byte() {
    let mut index = Index::default();
    for len in [3, 1, 65_536] {
        index.push(len);
    }
    assert_eq!(Index::parse(&index.encode()).unwrap(), index);
    let found: Vec<u64> = [0, 2, 3, 4, 65_539].into_iter().map(|at| index.find(at).unwrap().frame).collect();
    assert_eq!(found, [0, 0, 1, 2, 2]);
    assert_eq!(index.find(65_540), None);
    assert_eq!(index.find(4).unwrap().at, 3 + 1 + 2 * OVERHEAD as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Frames are dropped, repeated, exchanged or moved, with an index made to fit.
    #[test]
    fn frames_that_are_dropped_repeated_or_moved_are_noticed(
        lens in prop::collection::vec(1_usize..300, 2..12),
        per_segment in 1_usize..5,
        segment in any::<prop::sample::Index>(),
        (one, two) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        what in 0..4,
    ) {
        let mut altered = sealed(&lens, per_segment, 1);
        let segment = segment.index(altered.segments.len());
        let (mut frames, _) = frames(&altered.segments[segment].1);
        let (one, two) = (one.index(frames.len()), two.index(frames.len()));
        match what {
            0 => { frames.remove(one); }
            1 => { let again = frames[one].clone(); frames.insert(two, again); }
            2 => { prop_assume!(one != two); frames.swap(one, two); }
            _ => { prop_assume!(one != two); let moved = frames.remove(one); frames.insert(two, moved); }
        }
        altered.segments[segment].1 = joined(&frames);
        prop_assert!(noticed(&altered));
    }

    #[test]
    fn segments_that_are_dropped_repeated_or_swapped_are_noticed(
        lens in prop::collection::vec(1_usize..300, 4..12),
        (one, two) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        what in 0..3,
    ) {
        let mut altered = sealed(&lens, 2, 1);
        let (one, two) = (one.index(altered.segments.len()), two.index(altered.segments.len()));
        prop_assume!(one != two);
        match what {
            0 => { altered.segments.remove(one); }
            1 => altered.segments[one].1 = altered.segments[two].1.clone(),
            _ => {
                let other = std::mem::take(&mut altered.segments[two].1);
                altered.segments[two].1 = std::mem::replace(&mut altered.segments[one].1, other);
            }
        }
        prop_assert!(noticed(&altered));
    }

    #[test]
    fn whatever_is_cut_off_or_added_is_noticed(
        lens in prop::collection::vec(1_usize..300, 1..8),
        segment in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let good = sealed(&lens, 3, 1);
        let segment = segment.index(good.segments.len());
        let mut cut = good.clone();
        let len = at.index(cut.segments[segment].1.len());
        cut.segments[segment].1.truncate(len);
        prop_assert!(noticed(&cut));
        let mut longer = good;
        longer.segments[segment].1.extend(more);
        prop_assert!(noticed(&longer));
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Manifest::read(&bytes, None);
        let _ = Index::parse(&bytes);
        if let Some(head) = bytes.first_chunk() {
            let _ = Header::parse(head);
        }
        let good = sealed(&[5, 9], 1, 1);
        let mut altered = good;
        altered.segments[0].1 = bytes;
        prop_assert!(noticed(&altered));
    }
}
