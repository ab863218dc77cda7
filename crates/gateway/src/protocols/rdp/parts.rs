//! Share control messages (MS-RDPBCGR 2.2.8.1.1.1), of which one MCS message may bring several.

use super::chunk::u16_at;

/// The kind that holds data, of which there are kinds, too.
const DATA: u16 = 7;

/// One share control message.
pub(super) struct Part<'a> {
    pub(super) kind: u16,
    pub(super) bytes: &'a [u8],
}

impl Part<'_> {
    pub(super) fn is_data(&self, second: u8) -> bool {
        self.kind == DATA && self.bytes.get(14) == Some(&second)
    }
}

/// The share control messages of one MCS message; `None` where it holds something else, such as a licence.
pub(super) fn parts(mut payload: &[u8]) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    while !payload.is_empty() {
        let length = usize::from(u16_at(payload, 0)?);
        let kind = u16_at(payload, 2)? & 0xf;
        if length < 6 {
            return None;
        }
        let (bytes, rest) = payload.split_at_checked(length)?;
        parts.push(Part { kind, bytes });
        payload = rest;
    }
    Some(parts)
}

/// The message without data of some kinds; `None` where it has none of them.
pub(super) fn without(payload: &[u8], kinds: &[u8]) -> Option<Vec<u8>> {
    let parts = parts(payload)?;
    let goes = |part: &Part<'_>| kinds.iter().any(|kind| part.is_data(*kind));
    if !parts.iter().any(goes) {
        return None;
    }
    let kept = parts.iter().filter(|part| !goes(part)).flat_map(|part| part.bytes);
    Some(kept.copied().collect())
}
