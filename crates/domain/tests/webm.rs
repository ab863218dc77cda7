//! Files made of recordings, as other people's programs see them: ffprobe and mkvinfo.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests say what they skip, and stop where they cannot go on"
)]

use std::{path::PathBuf, process::Command};

use sojourn_domain::webm::{Plan, remux};

const BROWSER: &[u8] = include_bytes!("desktop/browser-chunks-without-cues.webm");

/// What a program says, both ways together; `None` (and a word of it) where the program is not installed.
fn said(program: &str, args: &[&str]) -> Option<String> {
    match Command::new(program).args(args).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&text));
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var_os("CI").is_none(),
                "{program} is not installed, and nothing is skipped here"
            );
            eprintln!("SKIPPED: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// A file that goes away with the test.
struct Kept(PathBuf);

impl Kept {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("sojourn-webm-{}-{name}.webm", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn made(bytes: &[u8]) -> (Plan, Vec<u8>) {
    let mut file = Vec::new();
    let plan = remux(bytes, &mut file).unwrap();
    (plan, file)
}

/// Every packet's time and the hash of its bytes.
fn packets(file: &Kept) -> Option<Vec<String>> {
    let text = said(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_data_hash",
            "md5",
            "-show_entries",
            "packet=pts_time,data_hash",
            "-of",
            "csv=p=0",
            file.path(),
        ],
    )?;
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn ffprobe_finds_the_duration_and_the_same_packets() {
    let (_, file) = made(BROWSER);
    let (before, after) = (Kept::new("before", BROWSER), Kept::new("after", &file));
    let Some(packets_before) = packets(&before) else { return };
    assert_eq!(packets_before.len(), 200);
    assert_eq!(packets(&after).unwrap(), packets_before);
    let duration = |file: &Kept| {
        said("ffprobe", &["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file.path()])
    };
    assert_eq!(duration(&before).unwrap().trim(), "N/A");
    assert_eq!(duration(&after).unwrap().trim(), "20.000000");
}

#[test]
fn ffprobe_seeks_by_the_cues() {
    // The same pictures twice: the second begins with a key frame of its own.
    let mut twice = BROWSER.to_vec();
    let first = 433;
    let offset = 20_000_u64;
    let mut at = first;
    // Clusters have their time in the first element; those of the copy are twenty seconds later.
    while at < BROWSER.len() {
        let size_len = 1 + BROWSER[at + 4].leading_zeros() as usize;
        let size =
            BROWSER[at + 4..at + 4 + size_len].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let size = (size & ((1 << (7 * size_len)) - 1)) as usize;
        let data = &BROWSER[at + 4 + size_len..at + 4 + size_len + size];
        let time_len = (data[1] & 0x7F) as usize;
        let time = data[2..2 + time_len].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)) + offset;
        twice.extend_from_slice(&[0x1F, 0x43, 0xB6, 0x75]);
        twice.extend_from_slice(&[0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        twice.extend_from_slice(&[0xE7, 0x88]);
        twice.extend_from_slice(&time.to_be_bytes());
        twice.extend_from_slice(&data[2 + time_len..]);
        at += 4 + size_len + size;
    }
    let (plan, file) = made(&twice);
    assert_eq!(plan.duration_ms(), 40_000);
    let file = Kept::new("twice", &file);
    let found = said(
        "ffprobe",
        &[
            "-v",
            "error",
            "-read_intervals",
            "31%+#1",
            "-show_entries",
            "packet=pts_time,flags",
            "-of",
            "csv=p=0",
            file.path(),
        ],
    );
    let Some(found) = found else { return };
    assert!(found.starts_with("20.000000,K"), "the last key frame before 31 s: {found}");
}

#[test]
fn mkvinfo_finds_nothing_wrong() {
    let (_, file) = made(BROWSER);
    let file = Kept::new("mkvinfo", &file);
    let Some(text) = said("mkvinfo", &["-v", "-v", file.path()]) else { return };
    for part in ["Segment: size", "Seek entry", "Duration: 00:00:20", "Cue point", "V_VP9"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let text = text.to_lowercase();
    for wrong in ["unknown element", "unknown id", "error", "warning"] {
        assert!(!text.contains(wrong), "{wrong} in {text}");
    }
}
