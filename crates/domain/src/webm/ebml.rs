//! Element identifiers, and the two kinds of numbers of variable length that stand before every element.

pub(super) const EBML: u32 = 0x1A45_DFA3;
pub(super) const DOC_TYPE: u32 = 0x4282;
pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
pub(super) const INFO: u32 = 0x1549_A966;
pub(super) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
pub(super) const DURATION: u32 = 0x4489;
pub(super) const MUXING_APP: u32 = 0x4D80;
pub(super) const WRITING_APP: u32 = 0x5741;
pub(super) const TRACKS: u32 = 0x1654_AE6B;
pub(super) const TRACK_ENTRY: u32 = 0xAE;
pub(super) const TRACK_NUMBER: u32 = 0xD7;
pub(super) const TRACK_UID: u32 = 0x73C5;
pub(super) const TRACK_TYPE: u32 = 0x83;
pub(super) const FLAG_LACING: u32 = 0x9C;
pub(super) const CODEC_ID: u32 = 0x86;
pub(super) const DEFAULT_DURATION: u32 = 0x23_E383;
pub(super) const VIDEO: u32 = 0xE0;
pub(super) const PIXEL_WIDTH: u32 = 0xB0;
pub(super) const PIXEL_HEIGHT: u32 = 0xBA;
pub(super) const CLUSTER: u32 = 0x1F43_B675;
pub(super) const TIMESTAMP: u32 = 0xE7;
pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
pub(super) const BLOCK_GROUP: u32 = 0xA0;
pub(super) const BLOCK: u32 = 0xA1;
pub(super) const BLOCK_DURATION: u32 = 0x9B;
pub(super) const REFERENCE_BLOCK: u32 = 0xFB;
pub(super) const CUES: u32 = 0x1C53_BB6B;
pub(super) const CUE_POINT: u32 = 0xBB;
pub(super) const CUE_TIME: u32 = 0xB3;
pub(super) const CUE_TRACK_POSITIONS: u32 = 0xB7;
pub(super) const CUE_TRACK: u32 = 0xF7;
pub(super) const CUE_CLUSTER_POSITION: u32 = 0xF1;
pub(super) const SEEK: u32 = 0x4DBB;
pub(super) const SEEK_ID: u32 = 0x53AB;
pub(super) const SEEK_POSITION: u32 = 0x53AC;
pub(super) const TAGS: u32 = 0x1254_C367;
pub(super) const TAG: u32 = 0x7373;
pub(super) const TARGETS: u32 = 0x63C0;
pub(super) const SIMPLE_TAG: u32 = 0x67C8;
pub(super) const TAG_NAME: u32 = 0x45A3;
pub(super) const TAG_STRING: u32 = 0x4487;
pub(super) const ATTACHMENTS: u32 = 0x1941_A469;
pub(super) const CHAPTERS: u32 = 0x1043_A770;

/// The size that says: until something comes that cannot be inside.
pub(super) const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// What stands before an element's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u32,
    /// Bytes of the data; `None` where the size is unknown.
    pub(super) size: Option<u64>,
    /// Bytes of the header itself.
    pub(super) len: usize,
}

/// The bytes are no header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Header {
    /// Reads a header from the first bytes; `None` while they are too few (twelve always are enough).
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let id_len = first.leading_zeros() as usize + 1;
        if id_len > 4 {
            return Err(Malformed);
        }
        let Some(id) = bytes.get(..id_len) else { return Ok(None) };
        let id = id.iter().fold(0, |id: u32, &byte| id << 8 | u32::from(byte));
        match number(&bytes[id_len..])? {
            None => Ok(None),
            Some((size, len)) => Ok(Some(Self { id, size, len: id_len + len })),
        }
    }
}

/// A number of one to eight bytes and how many they are; the number is `None` when all its bits are ones.
pub(super) fn number(bytes: &[u8]) -> Result<Option<(Option<u64>, usize)>, Malformed> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return Err(Malformed);
    }
    let Some(digits) = bytes.get(..len) else { return Ok(None) };
    let value = digits.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
    let ones = (1 << (7 * len)) - 1;
    let value = value & ones;
    Ok(Some(((value != ones).then_some(value), len)))
}

/// An unsigned integer of at most eight bytes.
pub(super) fn unsigned(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte)))
}

/// The elements in some bytes, one after the other, as far as they are whole.
pub(super) fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let header = Header::parse(bytes).ok().flatten()?;
        let size = usize::try_from(header.size?).ok()?;
        let data = bytes.get(header.len..)?.get(..size)?;
        bytes = &bytes[header.len + size..];
        Some((header.id, data))
    })
}

pub(super) fn put_id(id: u32, out: &mut Vec<u8>) {
    let bytes = id.to_be_bytes();
    let zeros = id.leading_zeros() as usize / 8;
    out.extend_from_slice(&bytes[zeros..]);
}

/// A size in eight bytes. More than fits in 56 bits does not exist.
pub(super) fn size(bytes: u64) -> [u8; 8] {
    let mut size = bytes.to_be_bytes();
    size[0] = 0x01;
    size
}

/// An element whose header has a size of eight bytes.
pub(super) fn put(id: u32, data: &[u8], out: &mut Vec<u8>) {
    put_id(id, out);
    out.extend_from_slice(&size(data.len() as u64));
    out.extend_from_slice(data);
}

/// An element whose header has a size of one byte: at most 126 bytes of data.
pub(super) fn put_short(id: u32, data: &[u8], out: &mut Vec<u8>) {
    debug_assert!(data.len() < 0x7F, "a short element is short");
    put_id(id, out);
    out.push(0x80 | (data.len() as u8 & 0x7F));
    out.extend_from_slice(data);
}

/// An unsigned integer in eight bytes, so that elements have one length whatever they say.
pub(super) fn put_unsigned(id: u32, value: u64, out: &mut Vec<u8>) {
    put_short(id, &value.to_be_bytes(), out);
}

/// The header of a WebM file.
pub(super) fn put_file_header(out: &mut Vec<u8>) {
    let mut data = Vec::new();
    // EBMLVersion, EBMLReadVersion, EBMLMaxIDLength, EBMLMaxSizeLength.
    for (id, value) in [(0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8)] {
        put_short(id, &[value], &mut data);
    }
    put_short(DOC_TYPE, b"webm", &mut data);
    // DocTypeVersion, DocTypeReadVersion.
    for (id, value) in [(0x4287, 4), (0x4285, 2)] {
        put_short(id, &[value], &mut data);
    }
    put_short(EBML, &data, out);
}
