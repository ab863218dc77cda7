//! Recordings that nobody reads without the key and nobody alters unnoticed.
//!
//! Owns the formats: frames ([`frame`]) in segments, their index ([`index`]), the signed manifest
//! ([`manifest`]) and the verifier ([`verify`]). Pure: bytes in, bytes out. Where the bytes lie, when
//! they reach the disk and who may read them is decided elsewhere.
//!
//! # What is proved, and with what
//!
//! The chain of hashes runs over the *encrypted* frames, so that whoever has the segments, the manifest and the
//! server's public key can check that nothing was altered, dropped, repeated, reordered or swapped, without being able to
//! read a word. Who also has the recording's data key (it lies in an evidence bundle, and the server has
//! it wrapped by its master key) decrypts every frame and thereby sees that the text shown is the text recorded: the signed
//! manifest holds the data key's hash, so there is one key, and one text, that fits.

pub mod frame;
pub mod index;
pub mod manifest;
mod sign;
pub mod verify;

pub use frame::{DataKey, Format, Genesis, Position, Sealer};
pub use manifest::{Gap, GapReason, Manifest};
pub use sign::{Hash, PublicKey, SigningKey};

/// What is wrong with sealed bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the cryptographic library refused")]
    Crypto,
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    #[error("the signature is not of this key over this text")]
    Signature,
    #[error("frame {0} is altered, or not the one that belongs here")]
    Frame(u64),
    #[error("the bytes end in the middle of frame {0}")]
    Truncated(u64),
}
