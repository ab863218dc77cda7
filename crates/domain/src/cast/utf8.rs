//! Characters out of chunks that split them.

use std::str;

/// Decodes a stream of bytes that arrives in chunks. A character that is split between two chunks
/// stays whole; only bytes that can never become a character turn into U+FFFD, one for each maximal
/// part of a broken character (Unicode 16, section 3.9, as `String::from_utf8_lossy` does).
#[derive(Debug, Default, Clone)]
pub struct Utf8Stream {
    /// The first bytes of a character whose rest has not come yet.
    pending: [u8; 4],
    pending_len: usize,
}

impl Utf8Stream {
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands the text of the chunk to `sink`, piece by piece, without copying what is whole.
    pub fn decode(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&str)) {
        while self.pending_len > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return };
            self.pending[self.pending_len] = next;
            match str::from_utf8(&self.pending[..=self.pending_len]) {
                Ok(text) => {
                    sink(text);
                    self.pending_len = 0;
                    bytes = rest;
                }
                Err(error) if error.error_len().is_none() => {
                    self.pending_len += 1;
                    bytes = rest;
                }
                Err(_) => {
                    // The new byte does not continue the character: it is looked at again.
                    sink("\u{fffd}");
                    self.pending_len = 0;
                }
            }
        }
        self.decode_whole(bytes, sink);
    }

    fn decode_whole(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&str)) {
        loop {
            match str::from_utf8(bytes) {
                Ok("") => return,
                Ok(text) => return sink(text),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    if let Ok(text) = str::from_utf8(valid)
                        && !text.is_empty()
                    {
                        sink(text);
                    }
                    let Some(broken) = error.error_len() else {
                        self.pending[..rest.len()].copy_from_slice(rest);
                        self.pending_len = rest.len();
                        return;
                    };
                    sink("\u{fffd}");
                    bytes = &rest[broken..];
                }
            }
        }
    }

    /// Whether a character is waiting for its rest.
    pub fn is_pending(&self) -> bool {
        self.pending_len > 0
    }

    /// The stream is over: a character without its rest becomes U+FFFD.
    pub fn finish(&mut self) -> Option<&'static str> {
        (std::mem::take(&mut self.pending_len) > 0).then_some("\u{fffd}")
    }
}
