//! Pictures as the encoder wants them: 8-bit 4:2:0, BT.709, limited range.

/// Three planes, one after the other. Rows and columns are even in number: of an odd picture the last ones are doubled.
#[derive(Debug)]
pub(super) struct Yuv {
    bytes: Vec<u8>,
    width: usize,
    height: usize,
}

const fn even(length: usize) -> usize {
    length + length % 2
}

impl Yuv {
    /// Black.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let (width, height) = (usize::from(width), usize::from(height));
        let luma = even(width) * even(height);
        let mut bytes = vec![16; luma];
        bytes.resize(luma + luma / 2, 128);
        Self { bytes, width, height }
    }

    pub(super) fn size(&self) -> (u16, u16) {
        // They were given so.
        (self.width as u16, self.height as u16)
    }

    /// Bytes of a line of the first plane, and its lines.
    pub(super) fn planes(&self) -> (u32, u32) {
        // At most one more than was given.
        (even(self.width) as u32, even(self.height) as u32)
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Takes over a part of `pixels` (four bytes each: red, green, blue, nothing), which has this picture's size. The part
    /// is widened to even borders.
    pub(super) fn take(&mut self, pixels: &[u8], left: usize, top: usize, right: usize, bottom: usize) {
        let (stride, lines) = (even(self.width), even(self.height));
        let (left, top) = (left & !1, top & !1);
        let (right, bottom) = (even(right).min(stride), even(bottom).min(lines));
        let (luma, chroma) = self.bytes.split_at_mut(stride * lines);
        let (blue, red) = chroma.split_at_mut(stride * lines / 4);
        for y in (top..bottom).step_by(2) {
            let rows = [y, (y + 1).min(self.height - 1)];
            for x in (left..right).step_by(2) {
                let columns = [x, (x + 1).min(self.width - 1)];
                let mut sum = [0_i32; 3];
                for (dy, row) in rows.into_iter().enumerate() {
                    for (dx, column) in columns.into_iter().enumerate() {
                        let at = (row * self.width + column) * 4;
                        let [r, g, b] = [pixels[at], pixels[at + 1], pixels[at + 2]].map(i32::from);
                        luma[(y + dy) * stride + x + dx] =
                            (((47 * r + 157 * g + 16 * b + 128) >> 8) + 16) as u8;
                        sum = [sum[0] + r, sum[1] + g, sum[2] + b];
                    }
                }
                let [r, g, b] = sum;
                let at = y / 2 * (stride / 2) + x / 2;
                // Of four pixels: ten bits of fraction.
                blue[at] = (((-26 * r - 86 * g + 112 * b + 512) >> 10) + 128) as u8;
                red[at] = (((112 * r - 102 * g - 10 * b + 512) >> 10) + 128) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_standard() {
        for (rgb, expected) in [
            ([0, 0, 0], [16, 128, 128]),
            ([255, 255, 255], [235, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 255, 0], [173, 42, 26]),
            ([0, 0, 255], [32, 240, 118]),
        ] {
            // An odd picture: every place is filled, none is read that is not there.
            let mut picture = Yuv::new(3, 3);
            let pixels = [rgb[0], rgb[1], rgb[2], 77].repeat(9);
            picture.take(&pixels, 0, 0, 3, 3);
            let bytes = picture.bytes_mut();
            assert_eq!(bytes.len(), 24);
            for (plane, value) in [(0..16, expected[0]), (16..20, expected[1]), (20..24, expected[2])] {
                for found in &bytes[plane] {
                    assert!(found.abs_diff(value) <= 1, "{rgb:?}: {bytes:?}");
                }
            }
        }
    }

    #[test]
    fn only_the_part_changes() {
        let mut picture = Yuv::new(8, 8);
        picture.take(&[255; 8 * 8 * 4], 2, 2, 4, 4);
        let white = picture.bytes_mut()[..64].iter().filter(|luma| **luma == 235).count();
        assert_eq!(white, 4);
    }
}
