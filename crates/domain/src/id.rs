//! Typed, unguessable identifiers.
//!
//! An id is a UUIDv7 in the [TypeID](https://github.com/jetify-com/typeid) text form: a kind
//! prefix, an underscore and 26 characters of Crockford base 32 (`user_01h455vb4pex5vsknk084sn02q`).
//! It sorts by the time it was made. Knowing one grants nothing.

use std::{fmt, marker::PhantomData, str::FromStr};

use uuid::Uuid;

use crate::time::Timestamp;

/// A kind of thing that has an [`Id`]; `PREFIX` stands before the underscore.
pub trait Kind {
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $alias:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {}
        impl Kind for $name {
            const PREFIX: &'static str = $prefix;
        }
        pub type $alias = Id<$name>;
    )*};
}

kinds! {
    /// A person (or service) that may log in.
    User = "user", UserId;
    /// A program's credential.
    Token = "token", TokenId;
    /// A browser's login.
    Login = "login", LoginId;
    /// A presence source.
    Source = "source", SourceId;
    /// A presence session.
    PresenceSession = "psess", PresenceSessionId;
    /// A stretch in which a source could not see.
    Gap = "gap", GapId;
    /// A target that may be opened.
    Connection = "conn", ConnectionId;
    /// A user on a connection: a terminal or a desktop.
    AccessSession = "sess", AccessSessionId;
    /// A command in an access session.
    Command = "cmd", CommandId;
    /// A user moving files on a connection.
    FileSession = "fsess", FileSessionId;
    /// One operation in a file session.
    FileEvent = "evt", FileEventId;
    /// A file that a browser sends in pieces.
    Upload = "upl", UploadId;
    /// A user's public key.
    PublicKey = "key", PublicKeyId;
    /// One running server.
    Node = "node", NodeId;
}

/// The id of a `K`.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// The text is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 26 characters")]
pub struct ParseIdError {
    prefix: &'static str,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;
/// No digit.
const NONE: u8 = u8::MAX;
/// What each byte is worth as a digit.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        values[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

impl<K: Kind> Id<K> {
    /// Makes a new id from the time and ten random bytes (74 bits of them are used).
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Self { uuid, kind: PhantomData }
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TEXT_LEN];
        let mut rest = self.uuid.as_u128();
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        // The bytes are digits of the alphabet.
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = ParseIdError { prefix: K::PREFIX };
        let digits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .filter(|digits| digits.len() == TEXT_LEN)
            .ok_or(error.clone())?;
        let mut value: u128 = 0;
        for (position, byte) in digits.bytes().enumerate() {
            let digit = VALUES[usize::from(byte)];
            // 26 digits hold 130 bits; the first may use three of its five.
            if digit == NONE || (position == 0 && digit > 7) {
                return Err(error);
            }
            value = (value << 5) | u128::from(digit);
        }
        Ok(Self { uuid: Uuid::from_u128(value), kind: PhantomData })
    }
}

impl<K: Kind> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_knows_its_kind() {
        let id = UserId::new(Timestamp::from_micros(1_700_000_000_000_000), [7; 10]);
        let text = id.to_string();
        assert!(text.starts_with("user_01hf7yat00"), "{text}");
        assert_eq!(text.parse::<UserId>().unwrap(), id);
        assert!(text.parse::<TokenId>().is_err());
    }

    #[test]
    fn the_published_example_of_typeid_reads_as_its_uuid() {
        let id: UserId = "user_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert_eq!(id.uuid.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn overlong_and_foreign_digits_are_refused() {
        for bad in ["user_81h455vb4pex5vsknk084sn02q", "user_01h455vb4pex5vsknk084sn02l", "user_", ""] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }
}
