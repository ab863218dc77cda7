//! What users, roles and labels may be called.

use std::{fmt, str::FromStr};

/// A user's name: 1 to 64 ASCII letters, digits, dots, underscores and dashes, of which the first
/// is a letter or digit. Names that differ only in case are the same name.
///
/// `@`, `+`, `:` and `/` are kept free: native clients write `USER+CONNECTION@HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName(String);

/// A role's name: 1 to 32 lower-case ASCII letters, digits, underscores and dashes, the first a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleName(String);

/// One line of text for people: no control characters, at most `MAX` characters, may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Line<const MAX: usize>(String);

/// The text is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    #[error(
        "expected 1 to 64 letters, digits, dots, underscores and dashes, of which the first is a letter or digit"
    )]
    User,
    #[error(
        "expected 1 to 32 lower-case letters, digits, underscores and dashes, of which the first is a letter"
    )]
    Role,
    #[error("expected one line of at most {max} characters without control characters")]
    Line { max: usize },
}

impl UserName {
    /// What a regular expression for the name looks like; the same rule as [`FromStr`].
    pub const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it is compared.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for UserName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let good = (1..=64).contains(&text.len())
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(rest);
        if good { Ok(Self(text.to_owned())) } else { Err(ParseNameError::User) }
    }
}

impl RoleName {
    /// What a regular expression for the name looks like; the same rule as [`FromStr`].
    pub const PATTERN: &str = "^[a-z][a-z0-9_-]{0,31}$";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let rest =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let good = (1..=32).contains(&text.len())
            && text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
            && text.bytes().all(rest);
        if good { Ok(Self(text.to_owned())) } else { Err(ParseNameError::Role) }
    }
}

impl<const MAX: usize> Line<MAX> {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl<const MAX: usize> FromStr for Line<MAX> {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        if text.chars().any(char::is_control) || text.chars().count() > MAX {
            return Err(ParseNameError::Line { max: MAX });
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! as_text {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl<$($generics)*> serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de, $($generics)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text! {
    [] UserName;
    [] RoleName;
    [const MAX: usize] Line<MAX>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        for good in ["a", "Alice", "alice.b-c_d", "0", &"x".repeat(64)] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a+b", "a:b", "a@b", "a/b", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
        assert_eq!("Alice".parse::<UserName>().unwrap().key(), "alice");
    }

    #[test]
    fn role_names() {
        assert!("night-watch_2".parse::<RoleName>().is_ok());
        for bad in ["", "Admin", "1a", "a b", &"x".repeat(33)] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_keep_their_text_and_refuse_control_characters() {
        assert_eq!(" Ä\u{301} ".parse::<Line<10>>().unwrap().as_str(), " Ä\u{301} ");
        for bad in ["a\tb", "a\u{0}", "a\u{85}b", "12345678901"] {
            assert!(bad.parse::<Line<10>>().is_err(), "{bad:?}");
        }
    }
}
