use std::{path::Path, process::Command, sync::Arc, time::Duration};

use sojourn_domain::{
    access::{ClientKind, ConnectionPolicy, Protocol, Purpose, RecordPolicy, RecordingState},
    id::AccessSessionId,
    time::Clock as _,
    webm,
};
use sojourn_store::{
    Entropy, Store, SystemClock,
    access::NewAccessSession,
    recordings::{Format, Limits, RecordingOptions, Recordings},
    vault::{MasterKey, Vault},
};

use sojourn_testbed::wait;

use super::*;
use crate::sinks::witness;

struct House {
    store: Store,
    recordings: Recordings,
    folder: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("db")).await.unwrap();
        let recordings = Self::open(&store, folder.path()).await;
        Self { store, recordings, folder }
    }

    async fn open(store: &Store, folder: &Path) -> Recordings {
        let vault = Vault::with_key(&MasterKey::new([7; 32]), Entropy).unwrap();
        let options = RecordingOptions {
            spool_dir: folder.join("spool"),
            objects: None,
            objects_dir: folder.join("objects"),
            node: "test".to_owned(),
            clock: Arc::new(SystemClock),
            entropy: Entropy,
            limits: Limits::default(),
        };
        Recordings::open(store.clone(), vault, options).await.unwrap()
    }

    async fn begin(&self) -> (AccessSessionId, Recorder) {
        let now = SystemClock.now();
        let new = NewAccessSession {
            id: Entropy.id(now),
            user: Entropy.id(now),
            user_name: "alice".to_owned(),
            connection: Entropy.id(now),
            connection_name: "desk".to_owned(),
            protocol: Protocol::Rdp,
            purpose: Purpose::Desktop,
            command: String::new(),
            target: String::new(),
            client_kind: ClientKind::Web,
            client_address: String::new(),
            node: "test".to_owned(),
            started_at: now,
        };
        self.store.session_begin(&new).await.unwrap();
        (new.id, self.recordings.begin(new.id, Format::WebM).await.unwrap())
    }

    /// The file that is served.
    async fn file(&self, id: AccessSessionId) -> (std::path::PathBuf, RecordingState) {
        let reader = self.recordings.open_reader(id).await.unwrap().unwrap();
        let bytes = reader.bytes(0..reader.size).await.unwrap();
        let path = self.folder.path().join(format!("{id}.webm"));
        std::fs::write(&path, bytes).unwrap();
        (path, reader.state)
    }
}

/// What ffmpeg's programs say; nothing may go wrong, and nothing be remarked.
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn said(program: &str, args: &[&str]) -> Option<Vec<u8>> {
    let output = match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{program}: {error}");
            eprintln!("SKIPPED: {program}: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.trim().is_empty(), "{program} {args:?}: {text}");
    Some(output.stdout)
}

/// Of each frame, decoded: its time, whether it is a key frame, and its size.
fn frames(file: &Path) -> Option<Vec<(f64, bool, u32, u32)>> {
    let args = ["-v", "error", "-show_entries", "frame=pts_time,key_frame,width,height", "-of", "csv=p=0"];
    let text = said("ffprobe", &[args.as_slice(), &[file.to_str().unwrap()]].concat())?;
    let text = String::from_utf8(text).unwrap();
    let frame = |line: &str| {
        let parts: Vec<&str> = line.trim_end_matches(',').split(',').collect();
        let number = |at: usize| parts[at].parse::<u32>().unwrap();
        (parts[1].parse().unwrap(), parts[0] == "1", number(2), number(3))
    };
    Some(text.lines().map(frame).collect())
}

fn duration(file: &Path) -> Option<f64> {
    let args = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file.to_str().unwrap()];
    Some(String::from_utf8(said("ffprobe", &args)?).unwrap().trim().parse().unwrap())
}

fn at(ms: i64) -> Elapsed {
    Elapsed::from_millis(ms)
}

fn fill(tap: &DesktopTap, elapsed: Elapsed, area: Area, rgb: [u8; 3]) {
    let bytes = [rgb[0], rgb[1], rgb[2], 0].repeat(usize::from(area.width) * usize::from(area.height));
    let pixels = Pixels { bytes: &bytes, stride: usize::from(area.width) * 4, order: PixelOrder::Rgbx };
    tap.paint(elapsed, area, pixels).unwrap();
}

/// Waits until what was painted is on its way into a recording.
async fn seen(recorder: &DesktopRecorder) {
    let until = Instant::now() + Duration::from_secs(60);
    while lock(&recorder.desktop.shared).canvas.news() != News::None {
        assert!(Instant::now() < until, "nobody looks at the canvas");
        tokio::task::yield_now().await;
    }
}

const SMALL: Area = Area { x: 10, y: 10, width: 40, height: 30 };

#[tokio::test(flavor = "multi_thread")]
async fn what_was_painted_is_seen_and_sizes_change_within_one_recording() {
    let house = House::new().await;
    let (id, recorder) = house.begin().await;
    let recorder = DesktopRecorder::start(recorder, DesktopOptions::default()).unwrap();
    let tap = recorder.tap();
    tap.resize(at(0), 321, 201).unwrap();
    fill(&tap, at(0), Area { x: 0, y: 0, width: 321, height: 201 }, [200, 30, 30]);
    seen(&recorder).await;
    for step in 1..=8_i64 {
        fill(&tap, at(step * 1000), SMALL, [0, 25 * step as u8, 90]);
        tap.pointer(at(step * 1000), Some((100, 100 + step as u16)));
        seen(&recorder).await;
    }
    // Nothing changes: painted again as it was.
    fill(&tap, at(8500), SMALL, [0, 200, 90]);
    assert_eq!(lock(&recorder.desktop.shared).canvas.news(), News::None);
    tap.resize(at(9000), 640, 360).unwrap();
    fill(&tap, at(9000), Area { x: 0, y: 0, width: 640, height: 360 }, [20, 20, 220]);
    seen(&recorder).await;
    assert_eq!(*recorder.failure().borrow(), None);
    let report = recorder.finish(at(12_000), true).await;
    assert_eq!(report.finished.unwrap().state, RecordingState::Sealed);
    assert!((11..=20).contains(&report.frames), "{report:?}");
    assert!(house.recordings.verify(id).await.unwrap().ok());

    let (file, state) = house.file(id).await;
    assert_eq!(state, RecordingState::Sealed);
    let Some(frames) = frames(&file) else { return };
    assert_eq!(frames.len() as u64, report.frames, "each can be decoded");
    assert_eq!(frames[0], (0.0, true, 321, 201));
    let last = frames.last().unwrap();
    assert_eq!((last.0, last.2, last.3), (11.98, 640, 360));
    assert!(frames.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let keys: Vec<f64> = frames.iter().filter(|frame| frame.1).map(|frame| frame.0).collect();
    assert_eq!(keys, [0.0, 5.0, 9.0], "every five seconds, and with a new size");
    assert!((duration(&file).unwrap() - 12.0).abs() < 0.002);

    // The picture at eight seconds, as somebody sees it who goes there at once.
    let pixels = |seconds: &str, size: &str| {
        let args = [
            "-v",
            "error",
            "-ss",
            seconds,
            "-i",
            file.to_str().unwrap(),
            "-frames:v",
            "1",
            "-s",
            size,
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-",
        ];
        said("ffmpeg", &args).unwrap()
    };
    let picture = pixels("8", "321x201");
    let close = |picture: &[u8], width: usize, x: usize, y: usize, expected: [u8; 3]| {
        let at = (y * width + x) * 3;
        let found = &picture[at..at + 3];
        let far = found.iter().zip(expected).any(|(found, expected)| found.abs_diff(expected) > 24);
        assert!(!far, "{found:?} at {x},{y} instead of {expected:?}");
    };
    close(&picture, 321, 300, 20, [200, 30, 30]);
    close(&picture, 321, 30, 25, [0, 200, 90]);
    close(&picture, 321, 104, 116, [255, 255, 255]);
    close(&pixels("11", "640x360"), 640, 320, 180, [20, 20, 220]);
}

/// A session's desktop, 160 by 120, on which a red picture was seen.
async fn red(house: &House) -> (AccessSessionId, witness::Desktop) {
    let (id, recorder) = house.begin().await;
    let tap = DesktopTap::default();
    let begun = tokio::time::Instant::now();
    let kept = (house.store.clone(), house.recordings.vault().clone());
    let policy = ConnectionPolicy { record: RecordPolicy::Mandatory, ..ConnectionPolicy::default() };
    let mut desktop = witness::Desktop::start(kept, id, begun, tap.clone(), &policy);
    desktop.record(recorder, String::new()).unwrap();
    tap.resize(at(0), 160, 120).unwrap();
    fill(&tap, at(0), Area { x: 0, y: 0, width: 160, height: 120 }, [220, 20, 20]);
    let until = Instant::now() + Duration::from_secs(60);
    while lock(&tap.0.shared).canvas.news() != News::None {
        assert!(Instant::now() < until, "nobody looks at the canvas");
        tokio::task::yield_now().await;
    }
    (id, desktop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_waits_for_what_is_still_to_be_painted() {
    let house = House::new().await;
    let (id, desktop) = red(&house).await;
    let witness = desktop.witness();
    let (first, second) = (witness.hold(), witness.hold());
    let mut ending = tokio::spawn(desktop.finish_within(at(3000), Duration::from_secs(60)));
    fill(witness.tap(), at(1000), SMALL, [20, 220, 20]);
    drop(first);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut ending).await.is_err(), "one is missing");
    fill(witness.tap(), at(2000), Area { x: 0, y: 0, width: 160, height: 120 }, [20, 20, 220]);
    drop(second);
    ending.await.unwrap();
    let (file, state) = house.file(id).await;
    assert_eq!(state, RecordingState::Sealed);
    let args = ["-v", "error", "-ss", "2.5", "-i", file.to_str().unwrap(), "-frames:v", "1"];
    let raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let Some(picture) = said("ffmpeg", &[args.as_slice(), &raw].concat()) else { return };
    let far = picture[..3].iter().zip([20, 20, 220]).any(|(found, wanted)| found.abs_diff(wanted) > 24);
    assert!(!far, "{:?}", &picture[..3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_painted_in_time_is_a_gap() {
    let house = House::new().await;
    let (id, desktop) = red(&house).await;
    let held = desktop.witness().hold();
    desktop.finish_within(at(3000), Duration::from_millis(10)).await;
    let verified = house.recordings.verify(id).await.unwrap();
    let gaps: Vec<_> = verified.gaps.iter().map(|gap| (gap.reason, gap.message.as_str())).collect();
    let late = "what the target showed last could not be read in time";
    assert_eq!(gaps, [(GapReason::RecorderFailed, late)]);
    assert_eq!(house.file(id).await.1, RecordingState::Incomplete);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_that_stands_still_costs_nothing() {
    let house = House::new().await;
    let (id, recorder) = house.begin().await;
    let recorder = DesktopRecorder::start(recorder, DesktopOptions::default()).unwrap();
    let tap = recorder.tap();
    tap.resize(at(0), 64, 48).unwrap();
    fill(&tap, at(0), Area { x: 0, y: 0, width: 64, height: 48 }, [0, 0, 0]);
    seen(&recorder).await;
    for step in 0..2000 {
        fill(&tap, at(step), SMALL, [0, 0, 0]);
        tap.pointer(at(step), None);
    }
    let report = recorder.finish(at(60_000), true).await;
    assert!(report.frames <= 3, "{report:?}");
    let (file, _) = house.file(id).await;
    let Some(length) = duration(&file) else { return };
    assert!((length - 60.0).abs() < 0.002, "{length}: as long as the session, and no longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_begins_with_the_first_picture() {
    let house = House::new().await;
    let (id, recorder) = house.begin().await;
    let recorder = DesktopRecorder::start(recorder, DesktopOptions::default()).unwrap();
    let tap = recorder.tap();
    tap.resize(at(0), 64, 48).unwrap();
    tap.pointer(at(100), Some((3, 3)));
    // Time for several looks.
    wait::during(Duration::from_millis(400), || {
        assert_eq!(lock(&recorder.desktop.shared).canvas.news(), News::None)
    });
    // It comes in two parts, and is a picture when it is whole.
    fill(&tap, at(700), Area { x: 0, y: 0, width: 64, height: 24 }, [20, 20, 220]);
    fill(&tap, at(710), Area { x: 0, y: 24, width: 64, height: 24 }, [20, 20, 220]);
    seen(&recorder).await;
    // A new size is no picture either.
    tap.resize(at(5000), 32, 32).unwrap();
    recorder.finish(at(9000), true).await;
    let (file, _) = house.file(id).await;
    let Some(frames) = frames(&file) else { return };
    assert_eq!(frames.iter().map(|frame| (frame.0, frame.2)).collect::<Vec<_>>(), [(0.0, 64), (8.98, 64)]);
    let args = ["-v", "error", "-i", file.to_str().unwrap(), "-fps_mode", "passthrough"];
    let raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let pictures = said("ffmpeg", &[args.as_slice(), &raw].concat()).unwrap();
    for picture in pictures.chunks(64 * 48 * 3) {
        let far = |pixel: &[u8]| pixel.iter().zip([20, 20, 220]).any(|(one, other)| one.abs_diff(other) > 40);
        assert!(!far(&picture[picture.len() - 3..]), "{:?}", &picture[..3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_died_leaves_a_file_that_plays_and_has_a_duration() {
    let house = House::new().await;
    let (id, recorder) = house.begin().await;
    let mut durable = recorder.durable();
    let recorder = DesktopRecorder::start(recorder, DesktopOptions::default()).unwrap();
    let tap = recorder.tap();
    tap.resize(at(0), 160, 120).unwrap();
    for step in 0..12_i64 {
        fill(&tap, at(step * 500), SMALL, [20 * step as u8, 90, 0]);
        seen(&recorder).await;
    }
    // What was encoded is handed on within half a second, and durable soon after.
    let mut bytes = 0;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(3), durable.changed()).await {
        bytes = *durable.borrow_and_update();
    }
    assert!(bytes > 500, "{bytes}");
    // The spool as it is at this moment is all that is left.
    let left = tempfile::tempdir().unwrap();
    copy(&house.folder.path().join("spool"), &left.path().join("spool"));
    let again = House {
        store: house.store.clone(),
        recordings: House::open(&house.store, left.path()).await,
        folder: left,
    };
    assert_eq!(again.recordings.recover().await.unwrap().incomplete, 1);
    let until = Instant::now() + Duration::from_secs(60);
    while again.recordings.open_reader(id).await.unwrap().unwrap().state == RecordingState::Live {
        assert!(Instant::now() < until, "never sealed");
        tokio::task::yield_now().await;
    }
    let (file, state) = again.file(id).await;
    assert_eq!(state, RecordingState::Incomplete);
    let Some(frames) = frames(&file) else { return };
    assert_eq!(frames.last().unwrap().0, 5.5);
    assert!(duration(&file).unwrap() >= 5.5);
    drop(recorder);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_prefix_of_what_is_recorded_plays() {
    let house = House::new().await;
    let (id, recorder) = house.begin().await;
    let recorder = DesktopRecorder::start(recorder, DesktopOptions::default()).unwrap();
    let tap = recorder.tap();
    tap.resize(at(0), 160, 120).unwrap();
    for step in 0..10_i64 {
        fill(&tap, at(step * 700), SMALL, [20 * step as u8, 0, 90]);
        seen(&recorder).await;
    }
    recorder.finish(at(7000), true).await;
    let (file, _) = house.file(id).await;
    let bytes = std::fs::read(file).unwrap();
    let mut frames = 0;
    for cut in (0..bytes.len()).step_by(97) {
        let mut out = Vec::new();
        if webm::remux(&bytes[..cut], &mut out).is_ok() {
            frames += 1;
        }
    }
    assert!(frames > bytes.len() / 97 / 4, "{frames}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_recorder_leaves_an_incomplete_recording() {
    let house = House::new().await;
    let (id, recorder) = house.begin().await;
    let recorder = DesktopRecorder::start(recorder, DesktopOptions::default()).unwrap();
    recorder.tap().resize(at(0), 64, 48).unwrap();
    fill(&recorder.tap(), at(0), SMALL, [9, 9, 9]);
    seen(&recorder).await;
    drop(recorder);
    let until = Instant::now() + Duration::from_secs(60);
    while house.recordings.open_reader(id).await.unwrap().unwrap().state == RecordingState::Live {
        assert!(Instant::now() < until, "never sealed");
        tokio::task::yield_now().await;
    }
    let (_, state) = house.file(id).await;
    assert_eq!(state, RecordingState::Incomplete);
}

#[test]
fn a_tap_takes_no_more_than_it_can() {
    let tap = DesktopTap(Arc::default());
    assert_eq!(tap.resize(at(0), 0, 1), Err(TapError::Size));
    let pixels = Pixels { bytes: &[0; 16], stride: 8, order: PixelOrder::Bgrx };
    // There is no desktop yet: everything is outside.
    assert_eq!(tap.paint(at(0), Area { x: 0, y: 0, width: 9, height: 9 }, pixels), Ok(()));
    tap.resize(at(5), 4, 4).unwrap();
    assert_eq!(
        tap.paint_from(at(6), pixels, Area { x: 1, y: 1, width: 2, height: 1 }),
        Err(TapError::Pixels)
    );
    assert_eq!(tap.paint_from(at(6), pixels, Area { x: 1, y: 1, width: 1, height: 1 }), Ok(()));
    tap.copy(at(2), 9, 9, Area { x: 0, y: 0, width: 9, height: 9 }).unwrap();
    assert_eq!(lock(&tap.0.shared).canvas.elapsed(), at(6), "times do not run backwards");
}
