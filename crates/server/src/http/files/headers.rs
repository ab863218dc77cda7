//! What an answer says about a file besides its bytes: its tag, its type, its name, and that no browser is to run
//! anything of it in this server's name.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use sojourn_domain::time::Timestamp;

use super::paths::encoded;

/// Runs nothing, loads nothing, is of no origin, stands in no frame.
const SANDBOX: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// The tag of a file as it is: its size and when it was changed. A target that does not say when gives a tag that
/// no condition takes for proof.
pub(super) fn etag(size: Option<u64>, modified: Option<Timestamp>) -> String {
    let size = size.unwrap_or_default();
    match modified {
        Some(at) => format!("\"{size:x}-{:x}\"", at.as_micros()),
        None => format!("W/\"{size:x}\""),
    }
}

/// Types that a browser shows without running anything of them, by what the name ends in. SVG is not among them: it
/// may hold scripts. Text of any kind is shown as plain text.
fn shown(name: &[u8]) -> Option<&'static str> {
    let (_, end) = name.rsplit_once_byte(b'.')?;
    let end = end.to_ascii_lowercase();
    let is = |words: &str| words.split(' ').any(|word| word.as_bytes() == end);
    Some(match end.as_slice() {
        b"png" => "image/png",
        b"jpg" | b"jpeg" => "image/jpeg",
        b"gif" => "image/gif",
        b"webp" => "image/webp",
        b"avif" => "image/avif",
        b"bmp" => "image/bmp",
        _ if is(
            "txt text log md markdown csv tsv json yaml yml toml ini conf cfg env properties xml html \
                 htm css js mjs ts tsx jsx svelte vue rs go py rb php pl sh bash zsh fish c h cc cpp hpp java \
                 kt swift sql diff patch tex rst service timer socket nfo srt vtt",
        ) =>
        {
            "text/plain; charset=utf-8"
        }
        _ => return None,
    })
}

/// `rsplit_once` for bytes.
trait RsplitOnce {
    fn rsplit_once_byte(&self, at: u8) -> Option<(&[u8], &[u8])>;
}

impl RsplitOnce for [u8] {
    fn rsplit_once_byte(&self, at: u8) -> Option<(&[u8], &[u8])> {
        let place = self.iter().rposition(|byte| *byte == at)?;
        Some((&self[..place], &self[place + 1..]))
    }
}

/// Sets what every answer with bytes of a target has.
pub(super) fn guard(headers: &mut HeaderMap, name: &[u8], inline: bool) {
    let media = shown(name);
    let kind = if inline && media.is_some() { "inline" } else { "attachment" };
    saved(headers, kind, name);
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_TYPE, media.unwrap_or("application/octet-stream"));
    set(header::CONTENT_SECURITY_POLICY, SANDBOX);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CACHE_CONTROL, "private, no-cache");
}

/// The name under which a browser saves an answer (RFC 6266), in ASCII and in UTF-8 (RFC 8187).
pub(super) fn saved(headers: &mut HeaderMap, kind: &str, name: &[u8]) {
    let text = String::from_utf8_lossy(name);
    let text: Cow<'_, str> = if text.chars().any(unsafe_in_name) {
        text.chars().map(|c| if unsafe_in_name(c) { '_' } else { c }).collect::<String>().into()
    } else {
        text
    };
    let ascii: String = text
        .chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '_' })
        .map(|c| if matches!(c, '"' | '\\' | '%') { '_' } else { c })
        .collect();
    let value = format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{}", encoded(text.as_bytes()));
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

/// What must not reach the disk of a person by a name: separators, control characters, and what turns text around
/// so that an ending looks like another.
fn unsafe_in_name(c: char) -> bool {
    c.is_control()
        || matches!(c, '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &[u8], inline: bool) -> (String, String) {
        let mut headers = HeaderMap::new();
        guard(&mut headers, name, inline);
        let text = |name| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert!(text(header::CONTENT_SECURITY_POLICY).contains("sandbox"));
        assert_eq!(text(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        (text(header::CONTENT_DISPOSITION), text(header::CONTENT_TYPE))
    }

    #[test]
    fn nothing_that_could_run_is_shown() {
        for (name, media) in [
            ("a.png", "image/png"),
            ("A.JPG", "image/jpeg"),
            ("page.html", "text/plain; charset=utf-8"),
            ("x.js", "text/plain; charset=utf-8"),
        ] {
            let (disposition, found) = of(name.as_bytes(), true);
            assert!(disposition.starts_with("inline; "), "{name}: {disposition}");
            assert_eq!(found, media, "{name}");
            assert!(of(name.as_bytes(), false).0.starts_with("attachment; "));
        }
        for name in ["a.svg", "a.pdf", "noending", "x.swf", "a.xhtml", ".png.exe"] {
            let (disposition, found) = of(name.as_bytes(), true);
            assert!(disposition.starts_with("attachment; "), "{name}: {disposition}");
            assert_eq!(found, "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn names_to_save_hold_no_tricks() {
        let name = |name: &[u8]| of(name, false).0;
        assert_eq!(name(b"a b.txt"), "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt");
        assert_eq!(
            name("Zürich\"\r\nX: y".as_bytes()),
            "attachment; filename=\"Z_rich___X: y\"; filename*=UTF-8''Z%C3%BCrich%22__X%3A%20y"
        );
        assert!(!name("evil\u{202e}gpj.exe".as_bytes()).contains("%E2%80%AE"));
        assert!(name(b"a\xff").contains("a%EF%BF%BD"));
    }

    #[test]
    fn a_tag_changes_with_the_file() {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        assert_ne!(etag(Some(1), Some(at)), etag(Some(2), Some(at)));
        assert_ne!(etag(Some(1), Some(at)), etag(Some(1), Some(Timestamp::from_micros(1))));
        assert!(etag(Some(1), None).starts_with("W/"));
    }
}
