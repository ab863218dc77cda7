//! The one format of pixels that targets are asked for: four bytes, little endian, red lowest, true colour. It is
//! what browsers ask for, and so nothing has to be kept of what somebody asked for when.

/// As it stands in ServerInit and SetPixelFormat (RFC 6143 section 7.4).
pub const FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0];

/// Bytes of a pixel.
pub const BYTES: usize = 4;
/// Bytes of a pixel where RFB leaves out the one that is nothing (ZRLE, Tight).
pub const SHORT_BYTES: usize = 3;

/// Pixels of one rectangle, and of the largest desktop that is recorded.
pub const MOST_PIXELS: usize = 16 * 1024 * 1024;

/// SetPixelFormat (RFC 6143 section 7.5.1).
pub fn request() -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend_from_slice(&FORMAT);
    message
}
