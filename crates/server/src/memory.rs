//! What starting took goes back to the machine.
//!
//! The C library keeps freed memory for later. After the start much of the heap is that: the API's description was built,
//! and the whole of presence was read. Measured on a year of 1,000 devices: 15.9 MB of the server's own memory without,
//! 9.4 MB with it.

/// To be called when the server is ready.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "glibc's function has no safe wrapper")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread, and touches no memory in use.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Other C libraries keep little.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
