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

/// What a film shows at a moment and a place; `None` where nothing here can tell.
pub(crate) fn shown(file: &Path, seconds: f64, width: usize, (x, y): (usize, usize)) -> Option<Colour> {
    let at = format!("{seconds:.3}");
    let path = file.to_str().unwrap();
    let args =
        ["-v", "error", "-ss", &at, "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let picture = said("ffmpeg", &args)?;
    let at = (y * width + x) * 3;
    Some([picture[at], picture[at + 1], picture[at + 2]])
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
    // Each frame at its own time: a film has no rate, and the one that is guessed is not that of all its frames.
    let decode = ["-v", "warning", "-i", path, "-fps_mode", "passthrough", "-enc_time_base", "1:1000"];
    said("ffmpeg", &[decode.as_slice(), &["-f", "null", "-"]].concat())?;
    let told = String::from_utf8(said("mkvinfo", &[path])?).unwrap();
    assert!(told.contains("Cues") && told.contains("Duration"), "{told}");
    Some(length)
}

/// As far as a video keeps colours.
pub(crate) fn close(found: Colour, expected: Colour) -> bool {
    found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 20)
}
