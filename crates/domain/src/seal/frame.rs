//! Frames: pieces of at most 64 KiB, encrypted, numbered and chained.
//!
//! A frame, numbers big-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the plaintext in bytes, 1 to 65536 |
//! | 8 | number, from 0, without holes |
//! | 8 | offset of its first byte in the recording's plaintext |
//! | 32 | hash of the frame before it; of the [`Genesis`] for the first |
//! | length + 16 | AES-256-GCM ciphertext and tag |
//!
//! A frame's hash is SHA-256 over all these bytes. The nonce is four zero bytes and the number; the additional
//! data are the genesis hash and the 52 bytes of the header. A data key encrypts one recording, each number once: a frame that
//! could not be written is written again with the same bytes or not at all, and nothing is appended after a crash.
//!
//! The chain needs no key. A frame from another place, recording or time breaks it, and cannot be decrypted either.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Hash, SealError};
use crate::{id::AccessSessionId, time::Timestamp};

/// The longest plaintext of one frame.
pub const PLAIN_MAX: usize = 64 * 1024;
/// What stands before the ciphertext.
pub const HEADER: usize = 52;
/// GCM's tag, after the ciphertext.
pub const TAG: usize = 16;
/// What a frame is longer than its plaintext.
pub const OVERHEAD: usize = HEADER + TAG;

/// What the plaintext is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// asciicast v2.
    Cast,
    /// WebM.
    WebM,
}

impl Format {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Cast => "cast",
            Self::WebM => "webm",
        }
    }

    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Cast => "application/x-asciicast",
            Self::WebM => "video/webm",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        match text {
            "cast" => Ok(Self::Cast),
            "webm" => Ok(Self::WebM),
            _ => Err(SealError::Unreadable("a recording's format")),
        }
    }
}

/// The secret of one recording: 32 random bytes. Gone from memory when dropped; has no printing `Debug`.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    pub fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(Self::new).map_err(|_| SealError::Unreadable("a data key"))
    }

    /// For wrapping, and for a bundle.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Names the key without telling it.
    pub fn commitment(&self) -> Hash {
        Hash::of(&[b"sojourn data key\n", self.0.as_slice()])
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice()).map(LessSafeKey::new).map_err(|_| SealError::Crypto)
    }
}

/// What a chain begins with: whose recording it is, and under which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    pub session: AccessSessionId,
    pub format: Format,
    pub started_at: Timestamp,
    /// [`DataKey::commitment`].
    pub key: Hash,
}

impl Genesis {
    pub fn hash(&self) -> Hash {
        let text = format!(
            "sojourn recording 1\n{}\n{}\n{}\n{}\n",
            self.session,
            self.format.key(),
            self.started_at.as_micros(),
            self.key
        );
        Hash::of(&[text.as_bytes()])
    }
}

/// A place between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Frames before it.
    pub frame: u64,
    /// Bytes of plaintext before it.
    pub offset: u64,
    /// Hash of the frame before it, or of the genesis.
    pub head: Hash,
}

impl Position {
    pub fn start(genesis: &Genesis) -> Self {
        Self { frame: 0, offset: 0, head: genesis.hash() }
    }
}

/// What stands before a frame's ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of plaintext, 1 to [`PLAIN_MAX`].
    pub len: usize,
    pub number: u64,
    pub offset: u64,
    pub previous: Hash,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        // At most PLAIN_MAX, which fits.
        bytes[..4].copy_from_slice(&(self.len as u32).to_be_bytes());
        bytes[4..12].copy_from_slice(&self.number.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.offset.to_be_bytes());
        bytes[20..].copy_from_slice(&self.previous.0);
        bytes
    }

    /// Reads a header; `None` where it is none.
    pub fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (offset, previous) = rest.split_first_chunk::<8>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        if len == 0 || len > PLAIN_MAX {
            return None;
        }
        Some(Self {
            len,
            number: u64::from_be_bytes(*number),
            offset: u64::from_be_bytes(*offset),
            previous: Hash(previous.try_into().ok()?),
        })
    }

    /// Bytes of the whole frame.
    pub const fn frame_len(&self) -> usize {
        self.len + OVERHEAD
    }

    /// It is the one that belongs at `position`.
    pub fn follows(&self, position: &Position) -> bool {
        self.number == position.frame && self.offset == position.offset && self.previous == position.head
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

fn aad(genesis: &Hash, header: &[u8; HEADER]) -> Aad<[u8; HEADER + Hash::LEN]> {
    let mut data = [0; HEADER + Hash::LEN];
    data[..Hash::LEN].copy_from_slice(&genesis.0);
    data[Hash::LEN..].copy_from_slice(header);
    Aad::from(data)
}

/// Makes the frames of one recording.
#[derive(Debug)]
pub struct Sealer {
    cipher: LessSafeKey,
    genesis: Hash,
    position: Position,
}

impl Sealer {
    pub fn new(genesis: &Genesis, key: &DataKey) -> Result<Self, SealError> {
        Ok(Self { cipher: key.cipher()?, genesis: genesis.hash(), position: Position::start(genesis) })
    }

    /// Appends the frame of `plain` (1 to [`PLAIN_MAX`] bytes) to `out`.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if plain.is_empty() || plain.len() > PLAIN_MAX {
            return Err(SealError::Crypto);
        }
        let header = Header {
            len: plain.len(),
            number: self.position.frame,
            offset: self.position.offset,
            previous: self.position.head,
        };
        let encoded = header.encode();
        let start = out.len();
        out.reserve(header.frame_len());
        out.extend_from_slice(&encoded);
        out.extend_from_slice(plain);
        let tag = self
            .cipher
            .seal_in_place_separate_tag(
                header.nonce(),
                aad(&self.genesis, &encoded),
                &mut out[start + HEADER..],
            )
            .map_err(|_| SealError::Crypto)?;
        out.extend_from_slice(tag.as_ref());
        self.position = Position {
            frame: self.position.frame + 1,
            offset: self.position.offset + plain.len() as u64,
            head: Hash::of(&[&out[start..]]),
        };
        Ok(())
    }

    /// Where the next frame goes.
    pub fn position(&self) -> Position {
        self.position
    }
}

/// Reads the frames of one recording.
#[derive(Debug)]
pub struct Opener {
    cipher: LessSafeKey,
    genesis: Hash,
}

impl Opener {
    pub fn new(genesis: &Genesis, key: &DataKey) -> Result<Self, SealError> {
        Ok(Self { cipher: key.cipher()?, genesis: genesis.hash() })
    }

    /// Decrypts frame `number`, which begins at `offset` of the plaintext, in place, and returns its text.
    pub fn open<'a>(&self, number: u64, offset: u64, frame: &'a mut [u8]) -> Result<&'a [u8], SealError> {
        let altered = SealError::Frame(number);
        let (head, body) = frame.split_first_chunk_mut::<HEADER>().ok_or(SealError::Truncated(number))?;
        let header = Header::parse(head).ok_or(altered.clone())?;
        if header.number != number || header.offset != offset || body.len() != header.len + TAG {
            return Err(altered);
        }
        self.cipher
            .open_in_place(header.nonce(), aad(&self.genesis, head), body)
            .map(|plain| &*plain)
            .map_err(|_| altered)
    }
}
