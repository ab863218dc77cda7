//! The index at the end of a closed segment: where each frame begins, in four bytes a frame.
//!
//! After the last frame of a segment stand, big-endian: for each frame the length of its plaintext (4 bytes),
//! the number of frames (4 bytes) and the eight bytes `SJRNIDX1`. A frame is [`OVERHEAD`] longer than its plaintext, so the
//! lengths alone give both the place in the segment and the offset in the recording.
//!
//! The index proves nothing: it says where to look, and what is found there must be the right frame.

use super::{
    SealError,
    frame::{OVERHEAD, PLAIN_MAX},
};

const MAGIC: &[u8; 8] = b"SJRNIDX1";
const TRAILER: usize = 12;

/// Lengths of the plaintexts of a segment's frames, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index(Vec<u32>);

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of the segment's frames, from 0.
    pub frame: u64,
    /// Bytes of plaintext before it in the segment.
    pub plain: u64,
    /// Bytes of the segment before it.
    pub at: u64,
    /// Bytes of the frame.
    pub len: usize,
}

impl Index {
    pub fn push(&mut self, plain_len: u32) {
        self.0.push(plain_len);
    }

    pub fn frames(&self) -> u64 {
        self.0.len() as u64
    }

    pub fn lens(&self) -> &[u32] {
        &self.0
    }

    /// Bytes of the encoded index of so many frames.
    pub const fn encoded_len(frames: u64) -> u64 {
        frames.saturating_mul(4).saturating_add(TRAILER as u64)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 4 + TRAILER);
        for len in &self.0 {
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        // A segment is cut long before it has so many frames.
        bytes.extend_from_slice(&(self.0.len() as u32).to_be_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    /// Reads an encoded index, and nothing but it.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        let unreadable = SealError::Unreadable("a segment's index");
        let split = bytes.len().checked_sub(TRAILER).ok_or(unreadable.clone())?;
        let (lens, trailer) = bytes.split_at(split);
        let (count, magic) = trailer.split_first_chunk::<4>().ok_or(unreadable.clone())?;
        if magic != MAGIC || lens.len() as u64 != u64::from(u32::from_be_bytes(*count)) * 4 {
            return Err(unreadable);
        }
        let lens: Vec<u32> =
            lens.chunks_exact(4).filter_map(|len| len.try_into().ok()).map(u32::from_be_bytes).collect();
        if lens.iter().any(|&len| len == 0 || len as usize > PLAIN_MAX) {
            return Err(unreadable);
        }
        Ok(Self(lens))
    }

    /// The frame that holds byte `offset` of the segment's plaintext.
    pub fn find(&self, offset: u64) -> Option<Place> {
        self.places().find(|place| offset < place.plain + (place.len - OVERHEAD) as u64)
    }

    /// All frames in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let mut plain = 0;
        let mut at = 0;
        self.0.iter().enumerate().map(move |(frame, &len)| {
            let place = Place { frame: frame as u64, plain, at, len: len as usize + OVERHEAD };
            plain += u64::from(len);
            at += place.len as u64;
            place
        })
    }
}
