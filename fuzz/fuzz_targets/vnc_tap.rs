//! Any bytes from a VNC target, in any pieces, as they are decoded for a recording; and any bytes from somebody who looks on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::{
    vnc_downward::Downward,
    vnc_picture::{Canvas, Drawing, Place},
    vnc_viewer::Viewer,
};

/// Remembers what was drawn, in short.
#[derive(Debug, Default, PartialEq, Eq)]
struct Paper {
    drawn: Vec<(Place, usize, u64)>,
}

fn sum(pixels: &[u8]) -> u64 {
    pixels.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

impl Canvas for Paper {
    fn resize(&mut self, width: u16, height: u16) {
        self.drawn.push((Place { x: 0, y: 0, width, height }, 0, 0));
    }

    fn paint(&mut self, place: Place, pixels: &[u8]) {
        // As many as the place has, whatever was sent.
        assert_eq!(pixels.len(), usize::from(place.width) * usize::from(place.height) * 4);
        self.drawn.push((place, pixels.len(), sum(pixels)));
    }

    fn copy(&mut self, from_x: u16, from_y: u16, to: Place) {
        self.drawn.push((to, usize::from(from_x), u64::from(from_y)));
    }

    fn pointer(&mut self, place: Place, pixels: &[u8]) {
        assert_eq!(pixels.len(), usize::from(place.width) * usize::from(place.height) * 4);
        self.drawn.push((place, pixels.len(), sum(pixels)));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(choice % 32) + 1;
    let whole = bytes.len().max(1);
    let draw = |cut: usize| {
        let (mut reader, mut drawing) = (Downward::new(true), Drawing::new(Paper::default()));
        let mut out = Vec::new();
        let good = bytes.chunks(cut).try_for_each(|piece| reader.show(piece, &mut out, &mut drawing));
        (good, drawing.broken(), std::mem::take(&mut drawing.canvas().drawn), out)
    };
    assert_eq!(draw(cut), draw(whole));

    let view = |cut: usize| {
        let mut viewer = Viewer::new(8, 8);
        let good = bytes.chunks(cut).try_for_each(|piece| viewer.take(piece));
        (good, viewer.asked(), viewer.wants_all())
    };
    assert_eq!(view(cut), view(whole));
});
