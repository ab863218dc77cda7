//! What the tools of others make of a film.

use std::{ops::RangeInclusive, path::Path, process::Command};

pub(crate) type Colour = [u8; 3];

/// What a program prints; nothing may go wrong, and nothing be remarked. `None` where it is not installed.
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
pub(crate) fn said(program: &str, args: &[&str]) -> Option<Vec<u8>> {
    match Command::new(program).args(args).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.trim().is_empty(), "{program} {args:?}: {text}");
            Some(output.stdout)
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{program}: {error}");
            eprintln!("SKIPPED: {program}: {error}");
            None
        }
    }
}

/// What a film shows at a moment and a place, as players do: of the frames that began before it, the last. `None` where nothing here
/// can tell.
pub(crate) fn shown(file: &Path, seconds: f64, (x, y): (usize, usize)) -> Option<Colour> {
    let at = format!("{seconds:.3}");
    let place = format!("format=rgb24,crop=1:1:{x}:{y}");
    let path = file.to_str().unwrap();
    let args = ["-v", "error", "-i", path, "-to", &at, "-vf", &place, "-fps_mode", "passthrough"];
    let colours = said("ffmpeg", &[args.as_slice(), &["-f", "rawvideo", "-"]].concat())?;
    Some(*colours.as_chunks::<3>().0.last().unwrap())
}

/// Every picture of a film, one after the other, as it is stored.
pub(crate) fn pictures(file: &Path) -> Option<Vec<u8>> {
    let path = file.to_str().unwrap();
    let args = ["-v", "error", "-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24"];
    said("ffmpeg", &[args.as_slice(), &["-"]].concat())
}

/// A film is whole: its length is known and within these seconds, players can seek in it, all of it can be decoded, and nothing in it
/// is remarked by those who read it. Returns its length.
pub(crate) fn sound(file: &Path, seconds: RangeInclusive<f64>) -> Option<f64> {
    let path = file.to_str().unwrap();
    let length = ["-v", "warning", "-show_entries", "format=duration", "-of", "csv=p=0", path];
    let length = String::from_utf8(said("ffprobe", &length)?).unwrap().trim().parse::<f64>().unwrap();
    assert!(length.is_finite() && seconds.contains(&length), "{length} s instead of {seconds:?}");
    said("ffmpeg", &["-v", "error", "-i", path, "-f", "null", "-"])?;
    let told = String::from_utf8(said("mkvinfo", &[path])?).unwrap();
    for part in ["Cues", "Duration", "Default duration: 00:00:00.020000000"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    Some(length)
}

/// As far as a video keeps colours.
pub(crate) fn close(found: Colour, expected: Colour) -> bool {
    found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 20)
}
