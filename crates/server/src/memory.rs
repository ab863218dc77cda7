//! Memory that is no longer used goes back to the machine.
//!
//! The C library keeps freed memory for later. After the start much of the heap is that: the API's description was built,
//! and the whole of presence was read. Measured on a year of 1,000 devices: 15.9 MB of the server's own memory without
//! giving back, 9.4 MB with it. What logging in or a large transfer took for a moment is left behind in the same way.

use std::{fs, time::Duration};

/// How often it is looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(10);
/// So much more in use than after the last time is worth a look through the heap, which takes milliseconds.
const WORTH_BYTES: u64 = 4 << 20;

/// What was in use when all that could go back had gone.
pub(crate) struct Memory {
    least: u64,
}

impl Memory {
    /// To be called when the server is ready.
    pub(crate) fn given_back() -> Self {
        give_back();
        Self { least: resident().unwrap_or(u64::MAX) }
    }

    /// Gives back what was left behind since, where that may be much.
    pub(crate) fn look(&mut self) {
        let Some(resident) = resident() else { return };
        self.least = self.least.min(resident);
        if resident - self.least >= WORTH_BYTES {
            *self = Self::given_back();
        }
    }
}

/// Bytes of the server that are in memory; not known everywhere.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

#[cfg(target_env = "gnu")]
fn give_back() {
    #[expect(unsafe_code, reason = "glibc's function has no safe wrapper")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread, and touches no memory in use.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Other C libraries keep little.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use sojourn_testbed::alone::alone;

    use super::*;

    #[test]
    fn what_was_left_behind_goes_back() {
        if !alone(module_path!(), "what_was_left_behind_goes_back") {
            return;
        }
        let mut memory = Memory::given_back();
        let mut pieces: Vec<Vec<u8>> = (0..40_000).map(|_| vec![1; 1000]).collect();
        // One in a hundred stays, so that no whole end of the heap is free.
        let mut at = 0;
        pieces.retain(|_| {
            at += 1;
            at % 100 == 0
        });
        let before = resident().unwrap();
        memory.look();
        let after = resident().unwrap();
        assert_eq!(pieces.len(), 400);
        assert!(before - after > 30_000_000, "{before} before, {after} after");
    }
}
