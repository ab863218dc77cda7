//! Buffers that a file is read into, used again as soon as nobody holds what was read: fresh memory of this size costs
//! as much as copying the file into it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Of which one is read into while the others are hashed and sent.
const BUFFERS: usize = 24;

#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The oldest first, which is free first.
    given: VecDeque<Bytes>,
}

impl Buffers {
    /// An empty buffer for so many bytes.
    pub(super) fn take(&mut self, size: usize) -> BytesMut {
        if let Some(oldest) = self.given.pop_front() {
            match oldest.try_into_mut() {
                Ok(mut buffer) => {
                    buffer.clear();
                    buffer.reserve(size);
                    return buffer;
                }
                Err(held) => self.given.push_front(held),
            }
        }
        BytesMut::with_capacity(size)
    }

    /// What was read, to be given away.
    pub(super) fn give(&mut self, buffer: BytesMut) -> Bytes {
        let bytes = buffer.freeze();
        if self.given.len() < BUFFERS {
            self.given.push_back(bytes.clone());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_once_nobody_holds_it() {
        let mut buffers = Buffers::default();
        let mut filled = |bytes: &[u8]| {
            let mut buffer = buffers.take(1000);
            assert!(buffer.is_empty() && buffer.capacity() >= 1000);
            buffer.extend_from_slice(bytes);
            let place = buffer.as_ptr();
            (buffers.give(buffer), place)
        };
        let (mut first, at) = filled(b"one");
        let (second, elsewhere) = filled(b"two");
        assert_ne!(at, elsewhere, "the first is still held");
        first.truncate(1);
        assert_eq!((&first[..], &second[..]), (&b"o"[..], &b"two"[..]));
        drop(first);
        assert_eq!(filled(b"three").1, at);
    }

    #[test]
    fn they_are_few() {
        let mut buffers = Buffers::default();
        let held: Vec<_> = (0..100_u8)
            .map(|number| {
                let mut buffer = buffers.take(10);
                buffer.extend_from_slice(&[number]);
                buffers.give(buffer)
            })
            .collect();
        assert!(held.iter().zip(0..).all(|(bytes, number)| bytes[..] == [number]));
        assert_eq!(buffers.given.len(), BUFFERS);
    }
}
