//! What a person does with keyboard and mouse, as a browser tells it: fast-path input (MS-RDPBCGR 2.2.8.1.2) and its
//! older form (2.2.8.1.1.3). Which key it was is not read.

use super::chunk::{u16_at, u32_at};

/// Something that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Key,
    Click(u16, u16),
    Scroll(u16, u16),
    Move(u16, u16),
}

/// Bits of a pointer's flags.
const WHEELS: u16 = 0x0600;
const DOWN: u16 = 0x8000;
/// A key goes up: of fast-path events, of the older ones.
const RELEASE: u8 = 1;
const OLD_RELEASE: u16 = 0x8000;

/// What a fast-path message tells. What cannot be read to its end tells what was read until there.
pub fn fast(frame: &[u8]) -> Vec<Act> {
    let mut acts = Vec::new();
    let Some((header, mut rest)) = frame.split_first() else { return acts };
    let long = rest.first().is_some_and(|length| length & 0x80 != 0);
    rest = rest.get(if long { 2 } else { 1 }..).unwrap_or_default();
    let mut events = header >> 2 & 0xf;
    if events == 0 {
        let Some((&number, more)) = rest.split_first() else { return acts };
        (events, rest) = (number, more);
    }
    for _ in 0..events {
        let Some((&event, more)) = rest.split_first() else { return acts };
        let (length, act) = match event >> 5 {
            // A key by its place, and by its character.
            0 => (1, (event & RELEASE == 0).then_some(Act::Key)),
            4 => (2, (event & RELEASE == 0).then_some(Act::Key)),
            1 => (6, mouse(more)),
            2 => (6, more_buttons(more)),
            // Movement without a place.
            5 => (6, None),
            // The state of lock keys; a time stamp.
            3 => (0, None),
            6 => (4, None),
            _ => return acts,
        };
        let Some(behind) = more.get(length..) else { return acts };
        acts.extend(act);
        rest = behind;
    }
    acts
}

/// What a message of the older form tells; of its data, behind the headers.
pub fn slow(data: &[u8]) -> Vec<Act> {
    let (events, _) = data.get(4..).unwrap_or_default().as_chunks::<12>();
    let act = |event: &[u8; 12]| match u16_at(event, 4)? {
        4 | 5 => (u16_at(event, 6)? & OLD_RELEASE == 0).then_some(Act::Key),
        0x8001 => mouse(&event[6..]),
        0x8002 => more_buttons(&event[6..]),
        _ => None,
    };
    events.iter().filter_map(act).collect()
}

fn mouse(bytes: &[u8]) -> Option<Act> {
    let (flags, x, y) = (u16_at(bytes, 0)?, u16_at(bytes, 2)?, u16_at(bytes, 4)?);
    Some(if flags & WHEELS != 0 {
        Act::Scroll(x, y)
    } else if flags & DOWN != 0 {
        Act::Click(x, y)
    } else {
        Act::Move(x, y)
    })
}

fn more_buttons(bytes: &[u8]) -> Option<Act> {
    let (flags, places) = (u16_at(bytes, 0)?, u32_at(bytes, 2)?);
    let [a, b, c, d] = places.to_le_bytes();
    let (x, y) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    Some(if flags & DOWN != 0 { Act::Click(x, y) } else { Act::Move(x, y) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_read() {
        let key = [0, 30];
        let up = [1, 30];
        let moved = [0x20, 0, 8, 60, 0, 40, 0];
        let wheel = [0x20, 0x78, 2, 60, 0, 40, 0];
        let click = [0x20, 0, 0x90, 1, 1, 2, 0];
        let fourth = [0x40, 1, 0x80, 1, 1, 2, 0];
        let locks = [0x62];
        let character = [0x80, 0x41, 0];
        let events = [&key[..], &up, &moved, &wheel, &click, &fourth, &locks, &character].concat();
        let acts = [
            Act::Key,
            Act::Move(60, 40),
            Act::Scroll(60, 40),
            Act::Click(257, 2),
            Act::Click(257, 2),
            Act::Key,
        ];
        let short = [&[8 << 2, u8::try_from(events.len() + 2).unwrap()][..], &events].concat();
        assert_eq!(fast(&short), acts);
        let counted = [&[0, 0x80, u8::try_from(events.len() + 4).unwrap(), 8][..], &events].concat();
        assert_eq!(fast(&counted), acts);
        assert_eq!(fast(&short[..10]), [Act::Key], "cut off");
        assert_eq!((fast(&[]), fast(&[4, 3, 0xe0])), (Vec::new(), Vec::new()));
    }

    #[test]
    fn the_older_form_is_read() {
        let event = |kind: u16, flags: u16| {
            let (kind, flags) = (kind.to_le_bytes(), flags.to_le_bytes());
            [&[0; 4][..], &kind, &flags, &[9, 0, 7, 0]].concat()
        };
        let data = [vec![3, 0, 0, 0], event(4, 0), event(4, 0xc000), event(0x8001, 0x0800)].concat();
        assert_eq!(slow(&data), [Act::Key, Act::Move(9, 7)]);
        assert_eq!(slow(&data[..20]), [Act::Key]);
    }
}
