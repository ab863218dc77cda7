//! What both sides say they can do (MS-RDPBCGR 2.2.1.13, 2.2.7), as far as it decides how pictures come.
//!
//! A browser may say it can do what it likes; a target is told what the recorder can read, and nothing more. So no way of
//! drawing is agreed on that would be shown and not recorded.

use super::chunk::{u16_at, u32_at};

/// Bytes of one update that came in pieces: a whole desktop of 3840 by 2160, as its targets count.
pub(super) const LONGEST_UPDATE: usize = 32 * 1024 * 1024;
/// Shapes of the pointer that are kept.
pub(super) const POINTERS: u16 = 32;

/// Kinds of capability sets (2.2.1.13.1.1.1).
const GENERAL: u16 = 1;
const BITMAP: u16 = 2;
const ORDER: u16 = 3;
const BITMAP_CACHE: u16 = 4;
const CONTROL: u16 = 5;
const ACTIVATION: u16 = 7;
const POINTER: u16 = 8;
const SHARE: u16 = 9;
const COLOUR_CACHE: u16 = 10;
const SOUND: u16 = 12;
const INPUT: u16 = 13;
const FONT: u16 = 14;
const BRUSH: u16 = 15;
const GLYPH_CACHE: u16 = 16;
const OFFSCREEN_CACHE: u16 = 17;
const VIRTUAL_CHANNEL: u16 = 20;
const MULTI_FRAGMENT: u16 = 26;
const LARGE_POINTER: u16 = 27;
const SURFACE_COMMANDS: u16 = 28;
const BITMAP_CODECS: u16 = 29;

/// Of a set: its kind and its length.
const SET_HEADER: usize = 4;
/// Orders may be agreed on, which is said in any case, and none are.
const ORDER_FLAGS: u16 = 2 | 8;
/// Pixels as they are, and of a codec, to a place. No marks of frames: whoever is sent some waits for them to be
/// acknowledged, and a browser that does not would have nothing shown, or recorded, of what goes on.
const SURFACE_BITS: u32 = 0x02 | 0x40;
/// RemoteFX: its name on the wire, and the number by which pictures say that they are coded so.
const REMOTE_FX: [u8; 16] =
    [0x12, 0x2f, 0x77, 0x76, 0x72, 0xbd, 0x63, 0x44, 0xaf, 0xb3, 0xb7, 0x3c, 0x9c, 0x6f, 0x78, 0x86];
pub(super) const REMOTE_FX_NUMBER: u8 = 3;

/// Sets with their headers, and what lies before them.
fn sets(message: &[u8], names: usize) -> Option<(&[u8], Vec<&[u8]>)> {
    let source = usize::from(u16_at(message, names)?);
    let count = u16_at(message, names + 4 + source)?;
    let (before, mut rest) = message.split_at_checked(names + 8 + source)?;
    let mut sets = Vec::new();
    for _ in 0..count {
        let length = usize::from(u16_at(rest, 2)?);
        let (set, behind) = rest.split_at_checked(length).filter(|(set, _)| set.len() >= SET_HEADER)?;
        sets.push(set);
        rest = behind;
    }
    Some((before, sets))
}

/// The desktop's size, as a target says it in a Demand Active message.
pub(super) fn size(demand: &[u8]) -> Option<(u16, u16)> {
    let (_, sets) = sets(demand, 10)?;
    let bitmap = sets.into_iter().find(|set| u16_at(set, 0) == Some(BITMAP))?;
    Some((u16_at(bitmap, SET_HEADER + 8)?, u16_at(bitmap, SET_HEADER + 10)?))
}

/// A browser's Confirm Active message, with what is read here and nothing more.
pub(super) fn limit(confirm: &[u8]) -> Option<Vec<u8>> {
    const NAMES: usize = 12;
    let (before, sets) = sets(confirm, NAMES)?;
    let mut limited = before.to_vec();
    let mut count: u16 = 0;
    for set in sets {
        if let Some(set) = limited_set(set)? {
            limited.extend_from_slice(&set);
            count += 1;
        }
    }
    let put = |limited: &mut Vec<u8>, at: usize, number: u16| {
        limited[at..at + 2].copy_from_slice(&number.to_le_bytes());
    };
    put(&mut limited, before.len() - 4, count);
    let length = u16::try_from(limited.len()).ok()?;
    put(&mut limited, 0, length);
    // The number of sets, two bytes of nothing, and the sets.
    let combined = u16::try_from(limited.len() - before.len() + 4).ok()?;
    put(&mut limited, NAMES + 2, combined);
    Some(limited)
}

/// A set as the target is told it, if it is. Nothing at all where it is too short.
fn limited_set(set: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut kept = set.to_vec();
    let body = &mut kept[SET_HEADER..];
    match u16_at(set, 0)? {
        GENERAL | BITMAP | CONTROL | ACTIVATION | SHARE | COLOUR_CACHE | SOUND | INPUT | FONT | BRUSH
        | VIRTUAL_CHANNEL | LARGE_POINTER => {}
        ORDER => {
            // What is counted from here: which orders, and more of them; a desktop that is saved.
            let flags = u16_at(body, 30)? & ORDER_FLAGS;
            body.get_mut(30..32)?.copy_from_slice(&flags.to_le_bytes());
            body.get_mut(32..64)?.fill(0);
            body.get_mut(66..68)?.fill(0);
            body.get_mut(72..76)?.fill(0);
        }
        // None of any size.
        BITMAP_CACHE | GLYPH_CACHE | OFFSCREEN_CACHE => body.fill(0),
        POINTER => {
            for number in body.get_mut(2..)?.chunks_exact_mut(2) {
                let most = u16_at(number, 0)?.min(POINTERS);
                number.copy_from_slice(&most.to_le_bytes());
            }
        }
        MULTI_FRAGMENT => {
            let most = u32_at(body, 0)?.min(u32::try_from(LONGEST_UPDATE).unwrap_or(u32::MAX));
            body.get_mut(..4)?.copy_from_slice(&most.to_le_bytes());
        }
        SURFACE_COMMANDS => {
            let flags = u32_at(body, 0)? & SURFACE_BITS;
            body.get_mut(..4)?.copy_from_slice(&flags.to_le_bytes());
        }
        BITMAP_CODECS => return codecs(body),
        // Frames that are waited for, caches that stay on disks, windows, what other programs draw: unknown here.
        _ => return Some(None),
    }
    Some(Some(kept))
}

fn codecs(body: &[u8]) -> Option<Option<Vec<u8>>> {
    let (&count, mut rest) = body.split_first()?;
    for _ in 0..count {
        let length = usize::from(u16_at(rest, 17)?);
        let (codec, behind) = rest.split_at_checked(19 + length)?;
        if codec.starts_with(&REMOTE_FX) && codec[16] == REMOTE_FX_NUMBER {
            let mut set = Vec::with_capacity(SET_HEADER + 1 + codec.len());
            set.extend_from_slice(&BITMAP_CODECS.to_le_bytes());
            set.extend_from_slice(&u16::try_from(SET_HEADER + 1 + codec.len()).ok()?.to_le_bytes());
            set.push(1);
            set.extend_from_slice(codec);
            return Some(Some(set));
        }
        rest = behind;
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 4).unwrap();
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), body].concat()
    }

    fn confirm(sets: &[Vec<u8>]) -> Vec<u8> {
        let all = sets.concat();
        let number = |number: usize| u16::try_from(number).unwrap().to_le_bytes();
        let rest = [
            &[0x13, 0, 0xef, 3, 1, 0, 1, 0, 0xea, 3, 4, 0][..],
            &number(all.len() + 4),
            b"RDP\0",
            &number(sets.len()),
            &[0, 0],
            &all,
        ]
        .concat();
        [&number(rest.len() + 2)[..], &rest].concat()
    }

    #[test]
    fn what_is_not_read_is_not_agreed_on() {
        let codec = |name: &[u8; 16], number: u8| [&name[..], &[number, 2, 0, 1, 2]].concat();
        let codecs = |list: &[Vec<u8>]| {
            set(BITMAP_CODECS, &[&[u8::try_from(list.len()).unwrap()][..], &list.concat()].concat())
        };
        let mut order = [7; 84];
        order[30..32].copy_from_slice(&0xff_u16.to_le_bytes());
        let mut kept_order = [7; 84];
        kept_order[30..32].copy_from_slice(&10_u16.to_le_bytes());
        kept_order[32..64].fill(0);
        kept_order[66..68].fill(0);
        kept_order[72..76].fill(0);
        let said = [
            set(GENERAL, &[1; 20]),
            set(ORDER, &order),
            set(BITMAP_CACHE, &[9; 36]),
            // The caches that stay, NineGrid, frames to be acknowledged.
            set(19, &[1; 36]),
            set(21, &[1; 8]),
            set(30, &[20, 0, 0, 0]),
            set(POINTER, &[1, 0, 20, 0, 255, 255]),
            set(MULTI_FRAGMENT, &[255, 255, 255, 255]),
            set(SURFACE_COMMANDS, &[0xff, 0, 0, 0, 0, 0, 0, 0]),
            codecs(&[codec(&[5; 16], 1), codec(&REMOTE_FX, 3), codec(&REMOTE_FX, 4)]),
            codecs(&[codec(&REMOTE_FX, 4)]),
        ];
        let heard = [
            set(GENERAL, &[1; 20]),
            set(ORDER, &kept_order),
            set(BITMAP_CACHE, &[0; 36]),
            set(POINTER, &[1, 0, 20, 0, 32, 0]),
            set(MULTI_FRAGMENT, &[0, 0, 0, 2]),
            set(SURFACE_COMMANDS, &[0x42, 0, 0, 0, 0, 0, 0, 0]),
            codecs(&[codec(&REMOTE_FX, 3)]),
        ];
        assert_eq!(limit(&confirm(&said)), Some(confirm(&heard)));
        assert_eq!(limit(&confirm(&heard)), Some(confirm(&heard)));
    }

    #[test]
    fn what_cannot_be_read_is_not_passed_on() {
        let good = confirm(&[set(GENERAL, &[1; 20]), set(MULTI_FRAGMENT, &[1, 0, 0, 0])]);
        assert!(limit(&good).is_some());
        for length in 0..good.len() {
            assert_eq!(limit(&good[..length]), None, "{length}");
        }
        for bad in [set(ORDER, &[0; 20]), set(SURFACE_COMMANDS, &[1]), set(BITMAP_CODECS, &[1, 2])] {
            assert_eq!(limit(&confirm(&[bad])), None);
        }
        let mut none = set(GENERAL, &[]);
        none[2] = 0;
        assert_eq!(limit(&confirm(&[none])), None);
    }
}
