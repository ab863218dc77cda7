//! What the pointer looks like where nobody has said.

use std::sync::LazyLock;

use super::PointerShape;

/// The longest side of a pointer.
const MAX_SIDE: u16 = 256;

const ARROW: [&str; 16] = [
    "#          ",
    "##         ",
    "#.#        ",
    "#..#       ",
    "#...#      ",
    "#....#     ",
    "#.....#    ",
    "#......#   ",
    "#.......#  ",
    "#........# ",
    "#.....#####",
    "#..#..#    ",
    "#.# #..#   ",
    "##  #..#   ",
    "#    #..#  ",
    "     ####  ",
];

/// A small arrow, white with a black border.
pub(super) fn arrow() -> &'static PointerShape {
    static SHAPE: LazyLock<PointerShape> = LazyLock::new(|| {
        let pixels = ARROW.iter().flat_map(|line| line.bytes());
        let rgba = pixels.flat_map(|pixel| match pixel {
            b'#' => [0, 0, 0, 255],
            b'.' => [255, 255, 255, 255],
            _ => [0; 4],
        });
        PointerShape { width: 11, height: 16, hot_x: 0, hot_y: 0, rgba: rgba.collect() }
    });
    &SHAPE
}

impl PointerShape {
    /// It is as large as it says, and not too large.
    pub(super) fn fits(&self) -> bool {
        let pixels = usize::from(self.width) * usize::from(self.height);
        pixels > 0
            && self.width <= MAX_SIDE
            && self.height <= MAX_SIDE
            && self.hot_x < MAX_SIDE
            && self.hot_y < MAX_SIDE
            && self.rgba.len() == pixels * 4
    }
}
