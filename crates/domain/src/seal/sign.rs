//! Hashes, and the ed25519 keys that sign manifests.
//!
//! A public key is written as PEM (RFC 8410 SubjectPublicKeyInfo), which OpenSSL and others read, and as
//! the base64 of its 32 bytes inside manifests. A private key never leaves the process.

use std::fmt;

use aws_lc_rs::{
    digest,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use data_encoding::{BASE64, HEXLOWER};

use super::SealError;

/// SHA-256; 64 lower-case hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub const LEN: usize = 32;

    /// The hash of several pieces, one after the other.
    pub fn of(pieces: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for piece in pieces {
            context.update(piece);
        }
        let mut hash = [0; Self::LEN];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Hash {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| SealError::Unreadable("a hash"))?;
        bytes.try_into().map(Self).map_err(|_| SealError::Unreadable("a hash"))
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What manifests are signed with. Has no printing `Debug`.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

impl SigningKey {
    /// The key that belongs to 32 secret bytes (RFC 8032's seed).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, SealError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| SealError::Crypto)
    }

    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// 64 bytes (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(message).as_ref());
        signature
    }
}

/// What manifests are checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// The DER that stands before the 32 bytes in a SubjectPublicKeyInfo of ed25519.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

impl PublicKey {
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SealError> {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).map_err(|_| SealError::Signature)
    }

    pub fn to_pem(self) -> String {
        let der = [SPKI.as_slice(), self.0.as_slice()].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", BASE64.encode(&der))
    }

    /// Reads PEM, or the bare base64 of the 32 bytes.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let unreadable = || SealError::Unreadable("a public key");
        let body: String = match text.trim().strip_prefix(PEM_BEGIN) {
            Some(rest) => {
                let (body, _) = rest.split_once(PEM_END).ok_or_else(unreadable)?;
                body.split_whitespace().collect()
            }
            None => text.trim().to_owned(),
        };
        let bytes = BASE64.decode(body.as_bytes()).map_err(|_| unreadable())?;
        let key = bytes.strip_prefix(&SPKI).unwrap_or(&bytes);
        key.try_into().map(Self).map_err(|_| unreadable())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_vector_of_rfc_8032() {
        let seed =
            HEXLOWER.decode(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_seed(seed.as_slice().try_into().unwrap()).unwrap();
        assert_eq!(
            HEXLOWER.encode(&key.public().0),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let signature = key.sign(b"");
        assert!(HEXLOWER.encode(&signature).starts_with("e5564300c360ac729086e2cc806e828a"));
        assert!(key.public().verify(b"", &signature).is_ok());
        assert!(key.public().verify(b"x", &signature).is_err());
        assert!(!format!("{key:?}").contains("9d61"));
    }

    #[test]
    fn public_keys_read_back() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap().public();
        assert_eq!(PublicKey::parse(&key.to_pem()).unwrap(), key);
        assert_eq!(PublicKey::parse(&key.to_string()).unwrap(), key);
        for bad in ["", "x", "-----BEGIN PUBLIC KEY-----", "AAAA"] {
            assert!(PublicKey::parse(bad).is_err(), "{bad}");
        }
    }
}
