use std::ops::Range;

use proptest::prelude::*;

use super::{ebml::*, *};

/// A block, as somebody who reads whole files in the plain way sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    time: i64,
    frame: Vec<u8>,
}

/// A reader of whole files that shares nothing with the scanner but the reading of headers.
#[derive(Debug, Default)]
struct Simple {
    blocks: Vec<Seen>,
    /// Where clusters begin, counted from the segment's data.
    clusters: Vec<u64>,
    cues: Vec<(u64, u64)>,
    seeks: Vec<(u32, u64)>,
    duration: Option<f64>,
    segment: Range<u64>,
}

fn read(bytes: &[u8]) -> Simple {
    let mut simple = Simple::default();
    let mut at = 0;
    let mut base = 0;
    let mut data_at = 0;
    while let Ok(Some(header)) = Header::parse(&bytes[at..]) {
        let start = at;
        at += header.len;
        let data = || &bytes[at..at + header.size.unwrap() as usize];
        match header.id {
            SEGMENT => {
                data_at = at;
                simple.segment = at as u64..at as u64 + header.size.unwrap_or(0);
                continue;
            }
            CLUSTER => {
                simple.clusters.push((start - data_at) as u64);
                continue;
            }
            BLOCK_GROUP => continue,
            TIMESTAMP => base = unsigned(data()).unwrap() as i64,
            SIMPLE_BLOCK | BLOCK => {
                let data = data();
                let time = i64::from(i16::from_be_bytes([data[1], data[2]]));
                simple.blocks.push(Seen { time: base + time, frame: data[4..].to_vec() });
            }
            INFO => {
                let duration = children(data()).find(|(id, _)| *id == DURATION);
                simple.duration = duration.map(|(_, bytes)| f64::from_be_bytes(bytes.try_into().unwrap()));
            }
            SEEK_HEAD => {
                for (_, seek) in children(data()) {
                    let numbers: Vec<u64> = children(seek).map(|(_, data)| unsigned(data).unwrap()).collect();
                    simple.seeks.push((numbers[0] as u32, numbers[1]));
                }
            }
            CUES => {
                for (_, point) in children(data()) {
                    let parts: Vec<_> = children(point).collect();
                    let position = children(parts[1].1).last().unwrap();
                    simple.cues.push((unsigned(parts[0].1).unwrap(), unsigned(position.1).unwrap()));
                }
            }
            _ => {}
        }
        at += header.size.unwrap() as usize;
    }
    simple
}

/// What a foreign file is made of.
#[derive(Debug, Clone)]
struct Part {
    step: u8,
    key: bool,
    bytes: u8,
    /// 0: a simple block; 1: a group; 2: a group with a duration.
    form: u8,
    /// A new cluster, of known or unknown size.
    cluster: Option<bool>,
    /// Something else stands before it.
    void: bool,
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part =
        (0..200_u8, prop::bool::weighted(0.2), any::<u8>(), 0..3_u8, any::<Option<bool>>(), any::<bool>())
            .prop_map(|(step, key, bytes, form, cluster, void)| Part {
                step,
                key,
                bytes,
                form,
                cluster,
                void,
            });
    prop::collection::vec(part, 1..60)
}

fn frame(key: bool, number: usize, bytes: u8) -> Vec<u8> {
    let mut frame = if key { vec![0x82, 0x49, 0x83, 0x42] } else { vec![0x86, 0, 0, 0] };
    frame.extend((0..bytes).map(|byte| byte.wrapping_mul(31) ^ number as u8));
    frame
}

/// A file as browsers write it, and the frames in it.
fn foreign(parts: &[Part]) -> (Vec<u8>, Vec<Seen>, Vec<u64>) {
    let mut out = Vec::new();
    Writer::default().header(Video { width: 64, height: 48, frame_ms: 20 }, "x", &mut out);
    let (mut time, mut base) = (0_u64, 0);
    let mut cluster: Option<(bool, Vec<u8>)> = None;
    let (mut seen, mut keys) = (Vec::new(), Vec::new());
    let end = |cluster: Option<(bool, Vec<u8>)>, out: &mut Vec<u8>| {
        let Some((known, data)) = cluster else { return };
        put_id(CLUSTER, out);
        out.extend_from_slice(&if known { size(data.len() as u64) } else { UNKNOWN_SIZE });
        out.extend_from_slice(&data);
    };
    for (number, part) in parts.iter().enumerate() {
        time += u64::from(part.step);
        if part.cluster.is_some() || cluster.is_none() || time - base > 30_000 {
            end(cluster.take(), &mut out);
            base = time;
            let mut data = Vec::new();
            put_unsigned(TIMESTAMP, time, &mut data);
            cluster = Some((part.cluster.unwrap_or(true), data));
        }
        let (_, data) = cluster.as_mut().unwrap();
        if part.void {
            put(0xEC, &[0; 5], data);
        }
        let frame = frame(part.key, number, part.bytes);
        let mut block = vec![0x81];
        block.extend_from_slice(&((time - base) as i16).to_be_bytes());
        // The flag lies: every frame says that it is a key frame.
        block.push(if part.form == 0 { 0x80 } else { 0 });
        block.extend_from_slice(&frame);
        if part.form == 0 {
            put(SIMPLE_BLOCK, &block, data);
        } else {
            let mut group = Vec::new();
            put(BLOCK, &block, &mut group);
            if part.form == 2 {
                put_short(BLOCK_DURATION, &[20], &mut group);
            }
            put(BLOCK_GROUP, &group, data);
        }
        if part.key && keys.last().is_none_or(|last| *last < time) {
            keys.push(time);
        }
        seen.push(Seen { time: time as i64, frame });
    }
    end(cluster, &mut out);
    (out, seen, keys)
}

fn planned(bytes: &[u8], pieces: &[usize]) -> Result<Plan, WebmError> {
    let mut planner = Planner::default();
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*piece).clamp(1, rest.len()));
        planner.feed(now);
        rest = later;
    }
    planner.finish()
}

fn joined(plan: &Plan, recording: &[u8], range: Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    for slice in plan.slices(range) {
        match slice {
            Slice::Made(bytes) => out.extend_from_slice(&bytes),
            Slice::Kept(range) => out.extend_from_slice(&recording[range.start as usize..range.end as usize]),
        }
    }
    out
}

proptest! {
    #[test]
    fn a_foreign_file_becomes_one_with_the_same_frames_in_which_one_can_seek(parts in parts(), pieces in prop::collection::vec(1..300_usize, 1..5)) {
        let (source, frames, keys) = foreign(&parts);
        let mut file = Vec::new();
        let plan = remux(&source, &mut file).unwrap();
        prop_assert!(!plan.damaged());
        prop_assert_eq!(file.len() as u64, plan.size());
        prop_assert_eq!(&planned(&source, &pieces).unwrap(), &plan, "whatever pieces it comes in");
        prop_assert_eq!(Plan::decode(&plan.encode().unwrap(), source.len() as u64), Some(plan.clone()));

        let simple = read(&file);
        prop_assert_eq!(&simple.blocks, &frames);
        prop_assert_eq!(simple.segment.end, file.len() as u64);
        let times: Vec<u64> = simple.cues.iter().map(|(time, _)| *time).collect();
        prop_assert_eq!(times, keys);
        for (_, at) in &simple.cues {
            prop_assert!(simple.clusters.contains(at), "a cue leads to a cluster");
        }
        let duration = simple.duration.unwrap();
        prop_assert!(duration >= frames.last().unwrap().time as f64 && duration.is_finite());
        for (id, at) in simple.seeks {
            let header = Header::parse(&file[(simple.segment.start + at) as usize..]).unwrap().unwrap();
            prop_assert_eq!(header.id, id);
        }
        // Once more changes nothing but what stands before the clusters.
        let mut again = Vec::new();
        remux(&file, &mut again).unwrap();
        prop_assert_eq!(again, file);
    }

    #[test]
    fn any_part_of_the_file_is_that_part(parts in parts(), from in 0..20_000_u64, len in 0..5_000_u64) {
        let (source, ..) = foreign(&parts);
        let mut file = Vec::new();
        let plan = remux(&source, &mut file).unwrap();
        let (from, to) = (from.min(plan.size()), (from + len).min(plan.size()));
        prop_assert_eq!(joined(&plan, &source, from..from + len), &file[from as usize..to.max(from) as usize]);
    }

    #[test]
    fn a_file_that_was_cut_off_keeps_its_whole_frames(parts in parts(), cut in 0.0..1.0_f64) {
        let (source, frames, _) = foreign(&parts);
        let cut = (source.len() as f64 * cut) as usize;
        let mut file = Vec::new();
        if remux(&source[..cut], &mut file).is_ok() {
            let simple = read(&file);
            prop_assert_eq!(&simple.blocks[..], &frames[..simple.blocks.len()]);
            prop_assert!(simple.blocks.len() <= frames.len());
        }
    }

    #[test]
    fn altered_bytes_do_no_harm(parts in parts(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let (mut source, ..) = foreign(&parts);
        for (index, byte) in changes {
            let index = index.index(source.len());
            source[index] = byte;
        }
        let mut file = Vec::new();
        if let Ok(plan) = remux(&source, &mut file) {
            prop_assert_eq!(file.len() as u64, plan.size());
            let mut again = Vec::new();
            let plan = remux(&file, &mut again).unwrap();
            prop_assert!(!plan.damaged());
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(remux(&bytes, &mut Vec::new()).is_err());
    }

    #[test]
    fn what_the_writer_writes_is_kept_whole(steps in prop::collection::vec((0..400_u64, prop::bool::weighted(0.1), any::<u8>(), any::<bool>()), 1..80)) {
        let mut out = Vec::new();
        let mut writer = Writer::default();
        writer.header(Video { width: 640, height: 480, frame_ms: 20 }, "a desktop", &mut out);
        let head = out.len();
        let mut time = 0;
        let mut frames = Vec::new();
        for (number, (step, key, bytes, flush)) in steps.into_iter().enumerate() {
            time += step;
            let frame = frame(key, number, bytes);
            writer.frame(time, key, &frame, &mut out);
            frames.push(Seen { time: time as i64, frame });
            if flush {
                writer.flush(&mut out);
            }
        }
        writer.flush(&mut out);
        let mut file = Vec::new();
        let plan = remux(&out, &mut file).unwrap();
        prop_assert_eq!(&read(&file).blocks, &frames);
        prop_assert!(file.ends_with(&out[head..]));
        prop_assert_eq!(plan.slices(0..plan.size()).count(), 2, "the head, and all the rest as it was");
    }
}

#[test]
fn the_recording_of_a_browser_gets_a_duration_and_cues() {
    let source = include_bytes!("../../tests/desktop/browser-chunks-without-cues.webm");
    assert_eq!(read(source).duration, None);
    let mut file = Vec::new();
    let plan = remux(source, &mut file).unwrap();
    let simple = read(&file);
    assert_eq!(plan.duration_ms(), 20_000);
    assert_eq!(simple.duration, Some(20_000.0));
    assert_eq!(simple.blocks.len(), 200);
    assert_eq!(simple.blocks, read(source).blocks);
    assert!(!simple.cues.is_empty());
    assert!(!plan.damaged());
}

#[test]
fn a_film_is_as_long_as_it_says() {
    for (ends, key) in [(true, false), (true, true), (false, false)] {
        let mut out = Vec::new();
        let mut writer = Writer::default();
        writer.header(Video { width: 2, height: 2, frame_ms: 20 }, "", &mut out);
        // A desktop that stood still for ten seconds twice.
        let mut frames = Vec::new();
        for (number, time) in [0, 10_000, 20_000].into_iter().enumerate() {
            let frame = frame(number == 0, number, 9);
            writer.frame(time, number == 0, &frame, &mut out);
            writer.flush(&mut out);
            frames.push(Seen { time: time as i64, frame });
        }
        if ends {
            let frame = frame(key, 3, 200);
            writer.last_frame(20_399, key, &frame, 1, &mut out);
            frames.push(Seen { time: 20_399, frame });
        }
        writer.flush(&mut out);
        let mut file = Vec::new();
        let plan = remux(&out, &mut file).unwrap();
        assert!(!plan.damaged());
        let simple = read(&file);
        assert_eq!(simple.blocks, frames);
        assert_eq!(simple.cues.len(), 1 + usize::from(key));
        // What no recording says is guessed to be little.
        assert_eq!(plan.duration_ms(), if ends { 20_400 } else { 20_020 });
    }
}

#[test]
fn remarks_stay_in_the_file() {
    let mut out = Vec::new();
    let mut writer = Writer::default();
    writer.header(Video { width: 2, height: 2, frame_ms: 20 }, "", &mut out);
    writer.frame(0, true, &frame(true, 0, 3), &mut out);
    writer.remark("SLOW", "from 1 s to 2 s", &mut out);
    writer.frame(100, false, &frame(false, 1, 3), &mut out);
    writer.flush(&mut out);
    let mut file = Vec::new();
    remux(&out, &mut file).unwrap();
    assert!(file.windows(15).any(|window| window == b"from 1 s to 2 s"));
    assert_eq!(read(&file).blocks.len(), 2);
}

#[test]
fn a_damaged_stretch_costs_no_more_than_its_cluster() {
    let mut out = Vec::new();
    let mut writer = Writer::default();
    writer.header(Video { width: 2, height: 2, frame_ms: 20 }, "", &mut out);
    let mut starts = Vec::new();
    for number in 0..3 {
        starts.push(out.len());
        writer.frame(number as u64 * 100, true, &frame(true, number, 9), &mut out);
        writer.flush(&mut out);
    }
    // The size of the second cluster's block says more than there is.
    out[starts[1] + 22 + 2] = 0x7F;
    let mut file = Vec::new();
    let plan = remux(&out, &mut file).unwrap();
    assert!(plan.damaged());
    let times: Vec<i64> = read(&file).blocks.iter().map(|block| block.time).collect();
    assert_eq!(times, [0, 200]);
}

#[test]
fn what_cannot_play_has_a_reason() {
    let why = |bytes: &[u8]| remux(bytes, &mut Vec::new()).unwrap_err();
    assert_eq!(why(b""), WebmError::NotWebm);
    assert_eq!(why(b"chunk-1"), WebmError::NotWebm);
    let mut out = Vec::new();
    Writer::default().header(Video { width: 2, height: 2, frame_ms: 20 }, "", &mut out);
    assert_eq!(why(&out), WebmError::NoFrames);
    let mut bare = Vec::new();
    put_file_header(&mut bare);
    assert_eq!(why(&bare), WebmError::NoTracks);
    let plan = Plan::unchanged(7);
    assert_eq!(plan.slices(2..9).collect::<Vec<_>>(), [Slice::Kept(2..7)]);
    assert_eq!(Plan::unchanged(0).size(), 0);
}

#[test]
fn many_key_frames_have_a_bounded_number_of_cues() {
    let mut out = Vec::new();
    let mut writer = Writer::default();
    writer.header(Video { width: 2, height: 2, frame_ms: 20 }, "", &mut out);
    for number in 0..3 * MAX_CUES {
        writer.frame(number as u64 * 10, true, &[0x82, 0x49, 0x83, 0x42], &mut out);
    }
    writer.flush(&mut out);
    let mut file = Vec::new();
    remux(&out, &mut file).unwrap();
    let cues = read(&file).cues;
    assert!(cues.len() < MAX_CUES && cues.len() > MAX_CUES / 4, "{}", cues.len());
    assert!(cues.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert!(cues.last().unwrap().0 > 10 * 2 * MAX_CUES as u64);
}
