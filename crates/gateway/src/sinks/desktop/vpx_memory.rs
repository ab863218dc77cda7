//! The memory functions of libvpx, in place of its own (`build.rs` takes those away).
//!
//! A VP9 encoder asks for room for every token that a picture could consist of: 48 bytes for each pixel, 44 MB at 1280x720. Pictures of
//! desktops have few. The library's own `vpx_calloc` writes zeros over all of it; what the C library hands out is zero already, and
//! takes no memory before it is used. An encoder takes 46 MB with these functions, and 81 MB with its own.
#![expect(unsafe_code, reason = "functions that a C library calls; each is one of the C library's own")]

use std::{ffi::c_void, ptr};

/// The alignment must be a power of two and a multiple of a pointer's size, as for every caller in the library.
// SAFETY: nothing else in the binary has this name: the library's own function was left out of it.
#[unsafe(no_mangle)]
extern "C" fn vpx_memalign(alignment: usize, size: usize) -> *mut c_void {
    let mut memory = ptr::null_mut();
    // SAFETY: `memory` is where the answer goes; a wrong alignment is refused.
    match unsafe { libc::posix_memalign(&mut memory, alignment, size) } {
        0 => memory,
        _ => ptr::null_mut(),
    }
}

// SAFETY: as above. The library asks for the alignment of two pointers, which is the C library's.
#[unsafe(no_mangle)]
extern "C" fn vpx_malloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    unsafe { libc::malloc(size) }
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn vpx_calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: any number of any size may be asked for; an overflow is refused.
    unsafe { libc::calloc(count, size) }
}

/// # Safety
///
/// It is null, or came from a function above and was not given back yet.
// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn vpx_free(memory: *mut c_void) {
    // SAFETY: all functions above hand out what the C library's `free` takes, once, as the caller sees to.
    unsafe { libc::free(memory) };
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::alone::{alone, resident};

    use crate::sinks::desktop::{vpx::Encoder, yuv::Yuv};

    const ENCODERS: u64 = 3;
    const MEGABYTE: u64 = 1_000_000;

    #[test]
    fn an_encoder_uses_no_memory_for_what_a_picture_has_not() {
        if !alone(module_path!(), "an_encoder_uses_no_memory_for_what_a_picture_has_not") {
            return;
        }
        // Some text on a page.
        let mut pixels = vec![0xf0; 1280 * 720 * 4];
        for (at, pixel) in pixels.chunks_exact_mut(4).enumerate() {
            let (column, line) = (at % 1280, at / 1280);
            if line % 20 < 10 && (column * 7 + line * 13) % 31 < 9 {
                pixel.fill(0x20);
            }
        }
        let mut picture = Yuv::new(1280, 720);
        picture.take(&pixels, 0, 0, 1280, 720);
        let before = resident();
        let encoders: Vec<Encoder> = (0..ENCODERS)
            .map(|_| {
                let (mut encoder, mut frames) = (Encoder::new(1280, 720).unwrap(), 0);
                for frame in 0..10 {
                    encoder.encode(&mut picture, frame * 100, frame == 0, &mut |_, _| frames += 1).unwrap();
                }
                assert_eq!(frames, 10);
                encoder
            })
            .collect();
        let each = (resident() - before) / ENCODERS;
        drop(encoders);
        assert!(each < 60 * MEGABYTE, "{} MB", each / MEGABYTE);
    }
}
