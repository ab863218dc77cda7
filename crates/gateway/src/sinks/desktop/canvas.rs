//! The desktop as it looks now, painted by whoever decodes it, looked at by whoever records it.

use sojourn_domain::time::Elapsed;

use super::{Area, PixelOrder, Pixels, PointerShape, TapError, pointer, yuv::Yuv};

/// Pixels of the largest desktop: 16 Mi, such as 4096 times 4096, which takes 64 MiB here and 24 in the encoder.
pub const MAX_PIXELS: usize = 16 * 1024 * 1024;

/// A part of the desktop, borders excluded at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
}

impl Part {
    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    fn join(all: &mut Option<Self>, part: Self) {
        *all = Some(all.map_or(part, |whole| whole.with(part)));
    }

    /// What of it lies within a desktop of this size.
    fn within(self, width: usize, height: usize) -> Option<Self> {
        let part = Self { right: self.right.min(width), bottom: self.bottom.min(height), ..self };
        (part.left < part.right && part.top < part.bottom).then_some(part)
    }
}

#[derive(Debug, Default)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// Red, green, blue, nothing.
    pixels: Vec<u8>,
    /// What differs from the picture that was taken last.
    dirty: Option<Part>,
    /// What was painted since the desktop has this size: the smallest part that holds it all.
    painted: Option<Part>,
    /// A picture of this size was taken.
    taken: bool,
    elapsed: Elapsed,
    pointer: Option<(u16, u16)>,
    shape: Option<PointerShape>,
    /// Where the pointer is in the picture that was taken last.
    drawn: Option<Part>,
    /// Others that look at it.
    eyes: Vec<Eye>,
}

/// Whether there is something to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// Nothing is different, or nothing was painted yet at all.
    None,
    /// A first picture, of which parts are still black: more of it is on its way, if the desktop is one that shows more.
    Begun,
    Some,
}

/// Of somebody who looks at the desktop: what differs from what they saw last, and where the pointer was in it.
#[derive(Debug, Clone, Copy)]
struct Eye {
    id: u64,
    dirty: Option<Part>,
    drawn: Option<Part>,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// Of the whole desktop.
    pub width: u16,
    pub height: u16,
    /// The part that was taken, with the pointer in it.
    pub area: Area,
    /// Red, green, blue, nothing.
    pub pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn size(&self) -> (u16, u16) {
        // They were given so.
        (self.width as u16, self.height as u16)
    }

    pub(super) fn news(&self) -> News {
        match (self.dirty, self.painted) {
            (Some(_), Some(painted)) if self.taken || painted == self.whole() => News::Some,
            (Some(_), Some(_)) => News::Begun,
            (None, _) | (_, None) => News::None,
        }
    }

    /// When something was painted last.
    pub(super) fn elapsed(&self) -> Elapsed {
        self.elapsed
    }

    pub(super) fn at(&mut self, elapsed: Elapsed) {
        self.elapsed = self.elapsed.max(elapsed);
    }

    pub(super) fn resize(&mut self, width: u16, height: u16) -> Result<(), TapError> {
        let (width, height) = (usize::from(width), usize::from(height));
        if width == 0 || height == 0 || width * height > MAX_PIXELS {
            return Err(TapError::Size);
        }
        if (width, height) != (self.width, self.height) {
            (self.width, self.height) = (width, height);
            self.pixels = vec![0; width * height * 4];
            self.dirty = Some(self.whole());
            (self.painted, self.taken) = (None, false);
            self.drawn = None;
            let whole = self.whole();
            for eye in &mut self.eyes {
                (eye.dirty, eye.drawn) = (Some(whole), None);
            }
        }
        Ok(())
    }

    /// Whoever looks has not seen this.
    fn spoil(&mut self, part: Part) {
        Part::join(&mut self.dirty, part);
        for eye in &mut self.eyes {
            Part::join(&mut eye.dirty, part);
        }
    }

    /// Somebody looks, and has seen nothing yet.
    pub(super) fn open(&mut self, id: u64) {
        let dirty = (self.width > 0).then(|| self.whole());
        self.eyes.push(Eye { id, dirty, drawn: None });
    }

    /// Somebody wants to see all of it again.
    pub(super) fn reopen(&mut self, id: u64) {
        self.close(id);
        self.open(id);
    }

    pub(super) fn close(&mut self, id: u64) {
        self.eyes.retain(|eye| eye.id != id);
    }

    /// Somebody has something to see.
    pub(super) fn watched(&self) -> bool {
        self.eyes.iter().any(|eye| eye.dirty.is_some())
    }

    pub(super) fn unseen(&self, id: u64) -> bool {
        self.eyes.iter().any(|eye| eye.id == id && eye.dirty.is_some())
    }

    /// What somebody has not seen yet, if anything.
    pub(super) fn glance(&mut self, id: u64) -> Option<Glance> {
        let at = self.eyes.iter().position(|eye| eye.id == id)?;
        let dirty = self.eyes[at].dirty.take()?.within(self.width, self.height)?;
        let pointed = self.pointed();
        let under = pointed.map(|part| (part, self.lines(part)));
        self.draw();
        let pixels = self.lines(dirty);
        if let Some((part, saved)) = under {
            self.put_back(part, &saved);
        }
        self.eyes[at].drawn = pointed;
        let (width, height) = self.size();
        // Each lies within the desktop, whose sides are as short.
        let area = Area {
            x: dirty.left as u16,
            y: dirty.top as u16,
            width: (dirty.right - dirty.left) as u16,
            height: (dirty.bottom - dirty.top) as u16,
        };
        Some(Glance { width, height, area, pixels })
    }

    fn whole(&self) -> Part {
        Part { left: 0, top: 0, right: self.width, bottom: self.height }
    }

    /// The part of an area that lies on the desktop.
    fn part(&self, area: Area) -> Part {
        let (left, top) = (usize::from(area.x), usize::from(area.y));
        Part {
            left: left.min(self.width),
            top: top.min(self.height),
            right: (left + usize::from(area.width)).min(self.width),
            bottom: (top + usize::from(area.height)).min(self.height),
        }
    }

    /// Takes an area from pixels in which it begins at column `x` and row `y`.
    pub(super) fn paint(
        &mut self,
        area: Area,
        pixels: &Pixels<'_>,
        x: usize,
        y: usize,
    ) -> Result<(), TapError> {
        let part = self.part(area);
        let columns = part.right.saturating_sub(part.left);
        if columns == 0 || part.bottom <= part.top {
            return Ok(());
        }
        let rows = part.bottom - part.top;
        let end = (y + rows - 1)
            .checked_mul(pixels.stride)
            .and_then(|start| start.checked_add((x + columns) * 4))
            .filter(|end| *end <= pixels.bytes.len());
        if end.is_none() || (x + columns) * 4 > pixels.stride {
            return Err(TapError::Pixels);
        }
        Part::join(&mut self.painted, part);
        let mut different = None;
        for row in 0..rows {
            let from = (y + row) * pixels.stride + x * 4;
            let source = &pixels.bytes[from..from + columns * 4];
            let to = ((part.top + row) * self.width + part.left) * 4;
            let target = &mut self.pixels[to..to + columns * 4];
            let mut changed = false;
            for (new, old) in source.chunks_exact(4).zip(target.chunks_exact_mut(4)) {
                let rgb = match pixels.order {
                    PixelOrder::Rgbx => [new[0], new[1], new[2]],
                    PixelOrder::Bgrx => [new[2], new[1], new[0]],
                };
                if old[..3] != rgb {
                    old[..3].copy_from_slice(&rgb);
                    changed = true;
                }
            }
            if changed {
                let line = part.top + row;
                Part::join(&mut different, Part { top: line, bottom: line + 1, ..part });
            }
        }
        if let Some(part) = different {
            self.spoil(part);
        }
        Ok(())
    }

    /// Copies what lies elsewhere on the desktop.
    pub(super) fn copy(&mut self, from_x: u16, from_y: u16, to: Area) {
        let (from_x, from_y) = (usize::from(from_x), usize::from(from_y));
        let part = self.part(to);
        let columns = part.right.saturating_sub(part.left).min(self.width.saturating_sub(from_x));
        let rows = part.bottom.saturating_sub(part.top).min(self.height.saturating_sub(from_y));
        if columns == 0 || rows == 0 {
            return;
        }
        let mut row = |row: usize| {
            let from = ((from_y + row) * self.width + from_x) * 4;
            let to = ((part.top + row) * self.width + part.left) * 4;
            self.pixels.copy_within(from..from + columns * 4, to);
        };
        // What overlaps is copied from the side where nothing is lost.
        if part.top > from_y {
            (0..rows).rev().for_each(&mut row);
        } else {
            (0..rows).for_each(&mut row);
        }
        let moved = Part { right: part.left + columns, bottom: part.top + rows, ..part };
        self.spoil(moved);
    }

    pub(super) fn point(&mut self, at: Option<(u16, u16)>) {
        if self.pointer != at {
            self.pointer = at;
            self.repoint();
        }
    }

    pub(super) fn shape(&mut self, shape: Option<PointerShape>) -> Result<(), TapError> {
        if shape.as_ref().is_some_and(|shape| !shape.fits()) {
            return Err(TapError::Pointer);
        }
        if self.shape != shape {
            self.shape = shape;
            self.repoint();
        }
        Ok(())
    }

    /// Where the pointer was and where it is are to be looked at again.
    fn repoint(&mut self) {
        let now = self.pointed();
        for part in [self.drawn, now].into_iter().flatten() {
            Part::join(&mut self.dirty, part);
        }
        for eye in &mut self.eyes {
            for part in [eye.drawn, now].into_iter().flatten() {
                Part::join(&mut eye.dirty, part);
            }
        }
    }

    /// The part of the desktop that the pointer covers.
    fn pointed(&self) -> Option<Part> {
        let (x, y) = self.pointer?;
        let shape = self.shape.as_ref().unwrap_or(pointer::arrow());
        let left = usize::from(x).saturating_sub(usize::from(shape.hot_x));
        let top = usize::from(y).saturating_sub(usize::from(shape.hot_y));
        let right = (usize::from(x) + usize::from(shape.width)).min(self.width);
        let bottom = (usize::from(y) + usize::from(shape.height)).min(self.height);
        (left < right && top < bottom).then_some(Part { left, top, right, bottom })
    }

    /// Brings a picture of this size up to date, the pointer in it.
    pub(super) fn take(&mut self, picture: &mut Yuv) {
        let Some(dirty) = self.dirty.take() else { return };
        self.taken = true;
        let pointed = self.pointed();
        let under = pointed.map(|part| (part, self.lines(part)));
        self.draw();
        picture.take(&self.pixels, dirty.left, dirty.top, dirty.right, dirty.bottom);
        if let Some((part, saved)) = under {
            self.put_back(part, &saved);
        }
        self.drawn = pointed;
    }

    /// Nobody looks any more.
    pub(super) fn forget(&mut self) {
        self.dirty = None;
    }

    /// The picture is a new one: all of it is to be taken.
    pub(super) fn all_dirty(&mut self) {
        self.dirty = Some(self.whole());
    }

    fn lines(&self, part: Part) -> Vec<u8> {
        let mut lines = Vec::with_capacity((part.right - part.left) * (part.bottom - part.top) * 4);
        for y in part.top..part.bottom {
            let row = y * self.width * 4;
            lines.extend_from_slice(&self.pixels[row + part.left * 4..row + part.right * 4]);
        }
        lines
    }

    fn put_back(&mut self, part: Part, lines: &[u8]) {
        let length = (part.right - part.left) * 4;
        for (y, line) in (part.top..part.bottom).zip(lines.chunks_exact(length)) {
            let row = y * self.width * 4 + part.left * 4;
            self.pixels[row..row + length].copy_from_slice(line);
        }
    }

    fn draw(&mut self) {
        let Some((x, y)) = self.pointer else { return };
        let shape = self.shape.as_ref().unwrap_or(pointer::arrow());
        for (row, line) in shape.rgba.chunks_exact(usize::from(shape.width) * 4).enumerate() {
            let Some(y) = (usize::from(y) + row).checked_sub(usize::from(shape.hot_y)) else { continue };
            for (column, pixel) in line.chunks_exact(4).enumerate() {
                let Some(x) = (usize::from(x) + column).checked_sub(usize::from(shape.hot_x)) else {
                    continue;
                };
                if x >= self.width || y >= self.height {
                    continue;
                }
                let at = (y * self.width + x) * 4;
                let alpha = u32::from(pixel[3]);
                for (under, over) in self.pixels[at..at + 3].iter_mut().zip(pixel) {
                    let mixed = (u32::from(*over) * alpha + u32::from(*under) * (255 - alpha)) / 255;
                    // A mean of two bytes.
                    *under = mixed as u8;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: u16, height: u16) -> Canvas {
        let mut canvas = Canvas::default();
        canvas.resize(width, height).unwrap();
        canvas.take(&mut Yuv::new(width, height));
        assert_eq!(canvas.news(), News::None);
        canvas
    }

    fn area(x: u16, y: u16, width: u16, height: u16) -> Area {
        Area { x, y, width, height }
    }

    #[test]
    fn what_is_painted_is_cut_to_the_desktop_and_what_stays_the_same_is_no_change() {
        let mut canvas = canvas(8, 8);
        let bytes = [1, 2, 3, 9].repeat(16);
        let pixels = Pixels { bytes: &bytes, stride: 16, order: PixelOrder::Bgrx };
        canvas.paint(area(6, 6, 4, 4), &pixels, 0, 0).unwrap();
        assert_eq!(canvas.dirty, Some(Part { left: 6, top: 6, right: 8, bottom: 8 }));
        assert_eq!(canvas.pixels[(7 * 8 + 7) * 4..][..3], [3, 2, 1]);
        canvas.take(&mut Yuv::new(8, 8));
        canvas.paint(area(6, 6, 4, 4), &pixels, 0, 0).unwrap();
        assert_eq!(canvas.news(), News::None);
        canvas.paint(area(60_000, 60_000, u16::MAX, u16::MAX), &pixels, 0, 0).unwrap();
        assert_eq!(canvas.news(), News::None);
        assert_eq!(canvas.paint(area(0, 0, 5, 1), &pixels, 0, 0), Err(TapError::Pixels));
        assert_eq!(canvas.paint(area(0, 0, 4, 5), &pixels, 0, 0), Err(TapError::Pixels));
        let huge = Pixels { stride: usize::MAX, ..pixels };
        assert_eq!(canvas.paint(area(0, 0, 4, 4), &huge, 0, 0), Err(TapError::Pixels));
    }

    #[test]
    fn a_desktop_that_nobody_painted_is_no_picture() {
        let mut canvas = Canvas::default();
        let bytes = [0; 16 * 4];
        let pixels = Pixels { bytes: &bytes, stride: 16, order: PixelOrder::Rgbx };
        for (width, height) in [(4, 4), (4, 3)] {
            canvas.resize(width, height).unwrap();
            canvas.point(Some((1, 1)));
            assert_eq!(canvas.news(), News::None);
            canvas.paint(area(0, 0, 4, 2), &pixels, 0, 0).unwrap();
            assert_eq!(canvas.news(), News::Begun);
            // Black it may be.
            canvas.paint(area(0, 2, 4, 2), &pixels, 0, 0).unwrap();
            assert_eq!(canvas.news(), News::Some);
            canvas.take(&mut Yuv::new(width, height));
            assert_eq!(canvas.news(), News::None);
            canvas.point(None);
            assert_eq!(canvas.news(), News::Some);
        }
    }

    #[test]
    fn overlapping_copies_lose_nothing() {
        let mut canvas = canvas(1, 6);
        let bytes: Vec<u8> = (0..6).flat_map(|row| [row, 0, 0, 0]).collect();
        let pixels = Pixels { bytes: &bytes, stride: 4, order: PixelOrder::Rgbx };
        canvas.paint(area(0, 0, 1, 6), &pixels, 0, 0).unwrap();
        let reds = |canvas: &Canvas| canvas.pixels.iter().step_by(4).copied().collect::<Vec<_>>();
        canvas.copy(0, 0, area(0, 2, 1, 4));
        assert_eq!(reds(&canvas), [0, 1, 0, 1, 2, 3]);
        canvas.copy(0, 1, area(0, 0, 1, 5));
        assert_eq!(reds(&canvas), [1, 0, 1, 2, 3, 3]);
        canvas.copy(9, 9, area(0, 0, 1, 5));
        canvas.copy(0, 5, area(0, 0, 9, 9));
        assert_eq!(reds(&canvas)[0], 3);
    }

    #[test]
    fn the_pointer_is_in_the_picture_and_not_on_the_desktop() {
        let mut canvas = canvas(40, 40);
        let mut picture = Yuv::new(40, 40);
        let light = |picture: &mut Yuv| picture.bytes_mut()[..1600].iter().filter(|luma| **luma > 30).count();
        canvas.point(Some((39, 39)));
        canvas.take(&mut picture);
        canvas.point(Some((5, 5)));
        canvas.take(&mut picture);
        assert!(light(&mut picture) > 20, "the arrow is white within");
        assert!(canvas.pixels.iter().all(|byte| *byte == 0));
        canvas.point(None);
        canvas.take(&mut picture);
        assert_eq!(light(&mut picture), 0);
        let odd = PointerShape { width: 2, height: 2, hot_x: 1, hot_y: 1, rgba: vec![255; 15] };
        assert_eq!(canvas.shape(Some(odd.clone())), Err(TapError::Pointer));
        canvas.point(Some((0, 0)));
        canvas.shape(Some(PointerShape { rgba: vec![255; 16], ..odd })).unwrap();
        canvas.take(&mut picture);
        assert_eq!(light(&mut picture), 1, "the rest of it is outside");
    }

    #[test]
    fn everybody_who_looks_sees_all_of_it() {
        let mut canvas = Canvas::default();
        canvas.open(1);
        assert_eq!(canvas.glance(1), None, "there is nothing yet");
        canvas.resize(8, 4).unwrap();
        assert!(canvas.watched());
        let bytes = [9, 8, 7, 0].repeat(4);
        let pixels = Pixels { bytes: &bytes, stride: 8, order: PixelOrder::Rgbx };
        canvas.paint(area(2, 1, 2, 2), &pixels, 0, 0).unwrap();
        let first = canvas.glance(1).unwrap();
        assert_eq!((first.width, first.height, first.area), (8, 4, area(0, 0, 8, 4)));
        assert_eq!(first.pixels.chunks(4).filter(|pixel| pixel[..3] == [9, 8, 7]).count(), 4);
        assert_eq!(canvas.glance(1), None);
        canvas.open(2);
        assert_eq!(canvas.glance(2), Some(first), "who comes later sees the same");
        canvas.point(Some((7, 3)));
        canvas.copy(2, 1, area(0, 0, 1, 1));
        let (one, two) = (canvas.glance(1).unwrap(), canvas.glance(2).unwrap());
        assert_eq!(one, two);
        assert_eq!(one.area, area(0, 0, 8, 4), "from the copy to the pointer");
        assert_eq!(one.pixels[..3], [9, 8, 7]);
        assert_eq!(one.pixels[(3 * 8 + 7) * 4..][..3], [0, 0, 0]);
        canvas.point(None);
        assert_eq!(canvas.glance(1).unwrap().area, area(7, 3, 1, 1), "where it was");
        canvas.close(2);
        assert_eq!(canvas.glance(2), None);
        canvas.resize(3, 3).unwrap();
        assert_eq!(canvas.glance(1).unwrap().area, area(0, 0, 3, 3));
    }

    #[test]
    fn sizes_have_bounds() {
        let mut canvas = Canvas::default();
        for (width, height) in [(0, 5), (5, 0), (u16::MAX, u16::MAX), (4097, 4096)] {
            assert_eq!(canvas.resize(width, height), Err(TapError::Size));
        }
        assert_eq!(canvas.resize(4096, 4096), Ok(()));
    }
}
