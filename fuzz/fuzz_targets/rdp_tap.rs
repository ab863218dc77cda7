//! Any messages from an RDP target, as they are decoded for a recording. Panics of the decoders are caught where they run; one that shows here
//! is still to be kept from them where its cause can be seen before.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::rdp::picture::{Canvas, Picture, Place, Pointer, Seen};

#[derive(Debug, Default)]
struct Paper {
    size: (u16, u16),
}

impl Canvas for Paper {
    fn resize(&mut self, width: u16, height: u16) {
        assert!(usize::from(width) * usize::from(height) <= 16 * 1024 * 1024);
        self.size = (width, height);
    }

    fn paint(&mut self, place: Place, pixels: &[u8], stride: usize) {
        let (width, height) = (usize::from(place.width), usize::from(place.height));
        // As many as the place has, whatever was sent.
        assert!(width > 0 && height > 0 && width * 4 <= stride);
        assert!((height - 1) * stride + width * 4 <= pixels.len());
        assert_ne!(self.size, (0, 0), "nothing before its size");
    }

    fn point(&mut self, _: u16, _: u16) {}

    fn pointer(&mut self, pointer: Pointer<'_>) {
        if let Pointer::Shape { width, height, pixels, .. } = pointer {
            assert!(width > 0 && height > 0);
            assert_eq!(pixels.len(), usize::from(width) * usize::from(height) * 4);
        }
    }
}

/// A desktop of 300 by 200.
const DEMAND: &[u8] = b"\x36\0\x11\0\xea\x03\x01\0\x01\0\x04\0\x20\0RDP\0\x01\0\0\0\x02\0\x1c\0\x10\0\x01\0\x01\0\x01\0\
    \x2c\x01\xc8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fuzz_target!(|bytes: &[u8]| {
    let mut picture = Picture::new(Paper::default());
    picture.see(&Seen::Slow(Bytes::from_static(DEMAND))).expect("a desktop");
    assert_eq!(picture.canvas().size, (300, 200));
    let mut rest = bytes;
    // What kind of message, its length, and the message: or, of updates, the update.
    while let [kind, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (message, behind) = behind.split_at(length);
        rest = behind;
        let seen = match kind {
            0 => Seen::Fast(Bytes::copy_from_slice(message)),
            1 => Seen::Slow(Bytes::copy_from_slice(message)),
            // As short as can be said in two bytes.
            kind => {
                let message = &message[..message.len().min(0x7000)];
                let update = [&[*kind][..], &(message.len() as u16).to_le_bytes(), message].concat();
                let length = (update.len() + 3) as u16 | 0x8000;
                Seen::Fast([&[0][..], &length.to_be_bytes(), &update].concat().into())
            }
        };
        if picture.see(&seen).is_err() {
            break;
        }
    }
});
