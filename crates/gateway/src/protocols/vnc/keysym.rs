//! Names of keys, from the numbers that X gives them (keysyms): X11 protocol, appendix A, and RFC 6143 section 7.5.4.

use sojourn_domain::access::PressedKey;

/// Keysyms of Unicode's characters have this added to them.
const UNICODE: u32 = 0x0100_0000;
/// Keys of the number pad that are characters: this less is the character in ASCII.
const PAD: u32 = 0xff80;

/// A character, or the name that the web has for the key; of others the number.
pub(super) fn name(keysym: u32) -> PressedKey {
    let named = match keysym {
        0xff80 => " ",
        0xff08 => "Backspace",
        0xff09 | 0xff89 | 0xfe20 => "Tab",
        0xff0d | 0xff8d => "Enter",
        0xff13 => "Pause",
        0xff14 => "ScrollLock",
        0xff1b => "Escape",
        0xff50 | 0xff95 => "Home",
        0xff51 | 0xff96 => "ArrowLeft",
        0xff52 | 0xff97 => "ArrowUp",
        0xff53 | 0xff98 => "ArrowRight",
        0xff54 | 0xff99 => "ArrowDown",
        0xff55 | 0xff9a => "PageUp",
        0xff56 | 0xff9b => "PageDown",
        0xff57 | 0xff9c => "End",
        0xff61 => "PrintScreen",
        0xff63 | 0xff9e => "Insert",
        0xff67 => "ContextMenu",
        0xff7f => "NumLock",
        0xffe1 | 0xffe2 => "Shift",
        0xffe3 | 0xffe4 => "Control",
        0xffe5 => "CapsLock",
        0xffe7 | 0xffe8 | 0xffeb | 0xffec => "Meta",
        0xffe9 | 0xffea => "Alt",
        0xfe03 => "AltGraph",
        0xffff | 0xff9f => "Delete",
        _ => "",
    };
    if !named.is_empty() {
        return PressedKey::new(named);
    }
    let character = match keysym {
        0x20..=0x7e | 0xa0..=0xff => char::from_u32(keysym),
        0xffaa..=0xffb9 | 0xffbd => char::from_u32(keysym - PAD),
        UNICODE..=0x0110_ffff => char::from_u32(keysym - UNICODE),
        0xffbe..=0xffd5 => return PressedKey::new(&format!("F{}", keysym - 0xffbd)),
        _ => None,
    };
    match character.filter(|character| !character.is_control()) {
        Some(character) => PressedKey::new(character.encode_utf8(&mut [0; 4])),
        None => PressedKey::new(&format!("0x{keysym:x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_names_of_the_web() {
        for (keysym, expected) in [
            (0x61, "a"),
            (0x20, " "),
            (0xe4, "ä"),
            (0x0100_20ac, "€"),
            (0x0101_f600, "😀"),
            (0xff0d, "Enter"),
            (0xff8d, "Enter"),
            (0xffb7, "7"),
            (0xffab, "+"),
            (0xff80, " "),
            (0xffbd, "="),
            (0xffbe, "F1"),
            (0xffc9, "F12"),
            (0xffe1, "Shift"),
            (0xffff, "Delete"),
            // What is no character is none.
            (0x0100_0007, "0x1000007"),
            (0x0100_d800, "0x100d800"),
            (0x7f, "0x7f"),
            (0, "0x0"),
            (u32::MAX, "0xffffffff"),
        ] {
            assert_eq!(name(keysym).as_str(), expected, "{keysym:#x}");
        }
    }
}
