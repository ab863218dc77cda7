//! Host names: what strangers call themselves, made safe to keep and show.

/// The longest name kept (RFC 1035 section 2.3.4).
pub const MAX_HOSTNAME_BYTES: usize = 253;

/// The name in bytes that came from the network or a file, or `None` when it is no name.
///
/// A trailing dot, closing zeros and a `.local` or `.localdomain` ending are cut off. Names that
/// are not UTF-8, too long, or hold characters that control terminals or turn text around are
/// refused as a whole: half a name would be another name.
pub fn clean(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_end_matches('\0').trim().trim_end_matches('.');
    let text = [".local", ".localdomain"].iter().fold(text, |text, ending| {
        let cut = text.len().saturating_sub(ending.len());
        match text.get(cut..) {
            Some(tail) if cut > 0 && tail.eq_ignore_ascii_case(ending) => &text[..cut],
            _ => text,
        }
    });
    let nameless = ["", "*", "-", "localhost", "localhost6", "unknown", "(none)"];
    if text.len() > MAX_HOSTNAME_BYTES
        || nameless.iter().any(|word| text.eq_ignore_ascii_case(word))
        || text.chars().any(refused)
    {
        return None;
    }
    Some(text.to_owned())
}

/// Control characters, and the invisible ones that reorder or hide text (Unicode TR 36).
fn refused(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_as_devices_send_them() {
        for (bytes, name) in [
            (&b"laptop"[..], Some("laptop")),
            (b"laptop\0\0", Some("laptop")),
            (b"printer.local.", Some("printer")),
            (b"NAS.Local", Some("NAS")),
            (b"host.lan", Some("host.lan")),
            ("Käthes-iPad".as_bytes(), Some("Käthes-iPad")),
            (b"42", Some("42")),
            (b"", None),
            (b"*", None),
            (b"localhost", None),
            (b"x\x1b[31m", None),
            (b"a\nb", None),
            ("evil\u{202e}txt".as_bytes(), None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(clean(bytes).as_deref(), name, "{bytes:?}");
        }
        assert_eq!(clean(&[b'a'; 254]), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_what_comes_out_is_printable_and_short(bytes: Vec<u8>) {
            if let Some(name) = clean(&bytes) {
                prop_assert!(!name.is_empty() && name.len() <= MAX_HOSTNAME_BYTES);
                prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }
}
