//! What a video frame says of itself in its first bytes.

/// How frames of a track are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Vp8,
    Vp9,
    /// Its frames are not looked into: the container is believed.
    Other,
}

impl Codec {
    pub(super) fn of(id: &[u8]) -> Self {
        match id {
            b"V_VP8" => Self::Vp8,
            b"V_VP9" => Self::Vp9,
            _ => Self::Other,
        }
    }

    /// Whether a frame can be decoded without any before it; `None` where its bytes do not tell.
    pub(super) fn is_key(self, frame: &[u8]) -> Option<bool> {
        match self {
            // RFC 6386, section 9.1: the lowest bit is zero, and the start code follows the tag of three bytes.
            Self::Vp8 => {
                Some(frame.first()? & 1 == 0 && frame.get(3..6).is_none_or(|code| code == [0x9D, 0x01, 0x2A]))
            }
            Self::Vp9 => vp9_is_key(frame),
            Self::Other => None,
        }
    }
}

/// VP9 bitstream, section 6.2: marker 2 bits, profile 2 (and one reserved in profile 3), show_existing_frame, frame_type.
fn vp9_is_key(frame: &[u8]) -> Option<bool> {
    let first = *frame.first()?;
    if first >> 6 != 0b10 {
        return None;
    }
    let shift = u32::from(first & 0b0011_0000 == 0b0011_0000);
    let existing = first & (0b1000 >> shift) != 0;
    let inter = first & (0b0100 >> shift) != 0;
    if existing || inter {
        return Some(false);
    }
    // In profile 3 the sync code is not at whole bytes.
    Some(shift == 1 || frame.get(1..4).is_none_or(|code| code == [0x49, 0x83, 0x42]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_known_by_their_first_bytes() {
        assert_eq!(Codec::of(b"V_VP9").is_key(&[0x82, 0x49, 0x83, 0x42]), Some(true));
        assert_eq!(Codec::Vp9.is_key(&[0xA2, 0x49, 0x83, 0x42]), Some(true));
        assert_eq!(Codec::Vp9.is_key(&[0x86, 0x00, 0x40, 0x92]), Some(false));
        assert_eq!(Codec::Vp9.is_key(&[0x88]), Some(false), "a frame that is shown again");
        assert_eq!(Codec::Vp9.is_key(&[0x82, 0, 0, 0]), Some(false), "no sync code");
        assert_eq!(Codec::Vp9.is_key(&[0xB1, 0x24, 0xC1, 0xA1]), Some(true), "profile 3");
        assert_eq!(Codec::Vp9.is_key(&[0xB2]), Some(false), "profile 3, inter");
        assert_eq!(Codec::Vp9.is_key(&[0x12]), None);
        assert_eq!(Codec::of(b"V_VP8").is_key(&[0x10, 0, 0, 0x9D, 0x01, 0x2A]), Some(true));
        assert_eq!(Codec::Vp8.is_key(&[0x11, 0, 0]), Some(false));
        assert_eq!(Codec::Vp8.is_key(&[]), None);
        assert_eq!(Codec::of(b"V_AV1").is_key(&[0x12, 0]), None);
    }
}
