//! Dynamic channels (MS-RDPEDYC), of which a target may open the few that are known here: through others pictures
//! would come that nobody records, input that nobody sees, devices and files.

use std::collections::BTreeSet;

use super::{
    chunk::{self, Odd, Passing},
    frame::Way,
};

/// What may be opened: changes of the desktop's size.
const ALLOWED: [&[u8]; 1] = [b"Microsoft::Windows::RDS::DisplayControl"];
/// Channels open at a time.
const MOST: usize = 16;
/// `E_FAIL`: what a client answers that has no such channel.
const NO_SUCH: u32 = 0x8000_4005;

const CREATE: u8 = 1;
const DATA_FIRST: u8 = 2;
const DATA: u8 = 3;
const CLOSE: u8 = 4;
const CAPABILITIES: u8 = 5;

#[derive(Debug, Default)]
pub(super) struct Dynamic {
    open: BTreeSet<u32>,
    /// Whether the rest of a message passes that came in pieces, in either direction.
    to_target: bool,
    to_browser: bool,
}

impl Dynamic {
    /// A piece of the channel that carries them all.
    pub(super) fn take(&mut self, way: Way, payload: &[u8], out: &mut Passing) -> Result<(), Odd> {
        let piece = chunk::read(payload)?;
        if piece.is_first() {
            let passes = self.passes(way, &piece, out)?;
            *self.rest(way) = passes;
        }
        if *self.rest(way) {
            out.push((way, payload.to_vec()));
        }
        if piece.is_last() {
            *self.rest(way) = false;
        }
        Ok(())
    }

    fn rest(&mut self, way: Way) -> &mut bool {
        match way {
            Way::ToTarget => &mut self.to_target,
            Way::ToBrowser => &mut self.to_browser,
        }
    }

    fn passes(&mut self, way: Way, piece: &chunk::Chunk<'_>, out: &mut Passing) -> Result<bool, Odd> {
        let &header = piece.body.first().ok_or(Odd("a message of a dynamic channel is empty"))?;
        if header >> 4 == CAPABILITIES {
            return Ok(true);
        }
        let width = match header & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            _ => return Err(Odd("a dynamic channel's number is odd")),
        };
        let number = piece.body.get(1..=width).ok_or(Odd("a dynamic channel has no number"))?;
        let id = number.iter().rev().fold(0_u32, |id, byte| id << 8 | u32::from(*byte));
        Ok(match (header >> 4, way) {
            (CREATE, Way::ToBrowser) => {
                let name = &piece.body[1 + width..];
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                if piece.is_last() && ALLOWED.contains(&name) && self.open.len() < MOST {
                    self.open.insert(id);
                    return Ok(true);
                }
                let mut answer = vec![header];
                answer.extend_from_slice(number);
                answer.extend_from_slice(&NO_SUCH.to_le_bytes());
                chunk::write(Way::ToTarget, &answer, out);
                false
            }
            (CREATE | DATA_FIRST | DATA, _) => self.open.contains(&id),
            (CLOSE, _) => self.open.remove(&id),
            // Compressed data, and what moves channels to another transport.
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Vec<u8> {
        let mut out = Passing::new();
        chunk::write(Way::ToBrowser, bytes, &mut out);
        out.remove(0).1
    }

    fn create(id: u8, name: &[u8]) -> Vec<u8> {
        message(&[&[CREATE << 4, id][..], name, &[0]].concat())
    }

    #[test]
    fn known_channels_open_and_others_do_not() {
        let mut channels = Dynamic::default();
        let mut out = Passing::new();
        let capabilities = message(&[CAPABILITIES << 4, 0, 1, 0]);
        channels.take(Way::ToBrowser, &capabilities, &mut out).unwrap();
        let display = create(7, ALLOWED[0]);
        channels.take(Way::ToBrowser, &display, &mut out).unwrap();
        assert_eq!(out, [(Way::ToBrowser, capabilities), (Way::ToBrowser, display)]);
        out.clear();

        channels.take(Way::ToBrowser, &create(8, b"Microsoft::Windows::RDS::Graphics"), &mut out).unwrap();
        assert_eq!(out.len(), 1);
        let (way, refusal) = &out[0];
        assert_eq!((*way, &refusal[8..]), (Way::ToTarget, &[CREATE << 4, 8, 5, 0x40, 0, 0x80][..]));
        out.clear();

        for (id, passes) in [(7, 2), (8, 0)] {
            let data = message(&[DATA << 4, id, 1, 2, 3]);
            for way in [Way::ToBrowser, Way::ToTarget] {
                channels.take(way, &data, &mut out).unwrap();
            }
            assert_eq!(out.len(), passes, "{id}");
            out.clear();
        }
        channels.take(Way::ToBrowser, &message(&[CLOSE << 4, 7]), &mut out).unwrap();
        channels.take(Way::ToTarget, &message(&[DATA << 4, 7, 1]), &mut out).unwrap();
        assert_eq!(out.len(), 1, "after its end nothing passes");
    }

    #[test]
    fn a_message_in_pieces_has_one_fate() {
        let mut channels = Dynamic::default();
        let mut out = Passing::new();
        let mut pieces = Passing::new();
        chunk::write(Way::ToBrowser, &[&[DATA_FIRST << 4, 9][..], &[0; 4000]].concat(), &mut pieces);
        assert_eq!(pieces.len(), 3);
        for (way, piece) in &pieces {
            channels.take(*way, piece, &mut out).unwrap();
        }
        assert!(out.is_empty());
        let compressed = [&[5, 0, 0, 0, 3, 0, 0x20, 0][..], &[CAPABILITIES << 4]].concat();
        assert!(channels.take(Way::ToTarget, &compressed, &mut out).is_err());
    }
}
