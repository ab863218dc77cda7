//! MAC addresses (IEEE 802 EUI-48), the identity of a device.

use std::{fmt, str::FromStr};

/// An EUI-48 address. Its text form is upper case with colons (`AA:BB:CC:DD:EE:FF`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// The text is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a MAC address: expected six bytes such as AA:BB:CC:DD:EE:FF, AA-BB-CC-DD-EE-FF, AABB.CCDD.EEFF or AABBCCDDEEFF"
)]
pub struct ParseMacError;

impl MacAddr {
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The I/G bit is set: the address names a group (multicast, broadcast), never one device.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// The U/L bit is set: made by software, as phones do against tracking, not by a maker.
    pub const fn is_randomised(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// It can name one device: neither a group nor all zeros.
    pub const fn is_device(self) -> bool {
        !self.is_group() && !self.is_zero()
    }
}

impl MacAddr {
    /// Appends the text form.
    pub fn write(&self, out: &mut String) {
        self.with_text(|text| out.push_str(text));
    }

    fn with_text<R>(&self, take: impl FnOnce(&str) -> R) -> R {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = [b':'; 17];
        for (i, byte) in self.0.iter().enumerate() {
            text[i * 3] = HEX[usize::from(byte >> 4)];
            text[i * 3 + 1] = HEX[usize::from(byte & 15)];
        }
        take(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.pad(text))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Accepts colons, dashes, Cisco dots and bare hex, in any case. Mixed separators are refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let (group, separator) = match bytes.len() {
            12 => (12, b':'),
            14 => (4, b'.'),
            17 if bytes[2] == b'-' => (2, b'-'),
            17 => (2, b':'),
            _ => return Err(ParseMacError),
        };
        let mut out = [0u8; 6];
        let mut nibbles = 0;
        for (i, &byte) in bytes.iter().enumerate() {
            if i % (group + 1) == group {
                if byte != separator {
                    return Err(ParseMacError);
                }
                continue;
            }
            let digit = (byte as char).to_digit(16).ok_or(ParseMacError)? as u8;
            out[nibbles / 2] = out[nibbles / 2] << 4 | digit;
            nibbles += 1;
        }
        Ok(Self(out))
    }
}

impl serde::Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for MacAddr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_written_form_reads_as_the_same_address() {
        let expected = MacAddr::new([0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0x0F]);
        for text in ["AA:BB:CC:DD:EE:0F", "aa-bb-cc-dd-ee-0f", "AABB.ccdd.EE0F", "aabbccddee0f"] {
            assert_eq!(text.parse::<MacAddr>(), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), "AA:BB:CC:DD:EE:0F");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "storage",
            "AA:BB:CC:DD:EE",
            "AA:BB:CC:DD:EE:GG",
            "AA:BB-CC:DD:EE:FF",
            "AA-BB:CC:DD:EE:FF",
            "AABB:CCDD:EEFF",
            "ÄÄBBCCDDEEF",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn flags_come_from_the_first_byte() {
        assert!(MacAddr::new([0x02, 0, 0, 0, 0, 1]).is_randomised());
        assert!(!MacAddr::new([0x00, 0, 0, 0, 0, 1]).is_randomised());
        assert!(!MacAddr::new([0xff; 6]).is_device());
        assert!(!MacAddr::new([0; 6]).is_device());
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 6]) {
            let mac = MacAddr::new(bytes);
            prop_assert_eq!(mac.to_string().parse::<MacAddr>(), Ok(mac));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<MacAddr>();
        }
    }
}
