//! The manifest: what a recording consists of, signed.
//!
//! The file has two lines of JSON, each ended by a line feed, without any other white space between values. The first is the
//! manifest, its fields in the order of [`Manifest`]; the second is `{"publicKey":…,"signature":…}`, both in
//! base64. The signature (ed25519, RFC 8032) is over `sojourn recording manifest 1`, a line feed, and the bytes of
//! the first line without its line feed. There is one way to write a manifest: text that means the
//! same in another form is refused.
//!
//! Times are microseconds since 1970 in UTC (`…Us`), sizes bytes, hashes hexadecimal SHA-256. A manifest in state `live` is
//! a checkpoint: it covers the recording as far as it says, and whatever follows must continue its chain.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{Format, Genesis, Hash, Position, PublicKey, SealError, SigningKey, index::Index};
use crate::{id::AccessSessionId, time::Timestamp};

const KIND: &str = "sojourn-recording";
const VERSION: u32 = 1;
const CONTEXT: &[u8] = b"sojourn recording manifest 1\n";

/// How far a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being written.
    Live,
    /// Whole.
    Sealed,
    /// Something is missing, and [`Manifest::gaps`] says what.
    Incomplete,
}

/// Why a stretch is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The server died.
    Crash,
    /// The disk was full.
    DiskFull,
    /// The disk or the object store failed.
    StorageFailed,
    /// Whoever recorded fell behind, or failed.
    RecorderFailed,
    /// What lay in the spool was not what the server had written there.
    SpoolAltered,
}

impl GapReason {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::DiskFull => "disk_full",
            Self::StorageFailed => "storage_failed",
            Self::RecorderFailed => "recorder_failed",
            Self::SpoolAltered => "spool_altered",
        }
    }
}

/// A stretch that could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gap {
    /// Where in the recording's plaintext it is: before this byte.
    pub offset: u64,
    /// Since the recording's start.
    pub from_ms: i64,
    /// Since the recording's start; null where nobody knows.
    pub to_ms: Option<i64>,
    pub reason: GapReason,
    pub message: String,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Segment {
    /// Its file or object, beside the manifest.
    pub name: String,
    /// The number of its first frame.
    pub first_frame: u64,
    pub frames: u64,
    /// Its plaintext is `from..to` of the recording.
    pub from: u64,
    pub to: u64,
    /// Bytes of the file, with the index where it is closed.
    pub bytes: u64,
    /// The hash of its last frame.
    pub head: Hash,
    /// The index is at its end, and nothing is added any more.
    pub closed: bool,
}

/// What a recording consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Always `sojourn-recording`.
    pub kind: String,
    /// Of this format.
    pub version: u32,
    pub session: AccessSessionId,
    pub format: Format,
    pub state: State,
    pub started_at_us: i64,
    /// When this was signed.
    pub signed_at_us: i64,
    /// The node that recorded.
    pub node: String,
    /// [`super::DataKey::commitment`].
    pub key_hash: Hash,
    /// The data key, sealed by the master key.
    pub sealed_key: String,
    pub frames: u64,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// The hash of the last frame; of the genesis where there is none.
    pub head: Hash,
    pub segments: Vec<Segment>,
    pub gaps: Vec<Gap>,
    /// Who, where, when: what the session's row said.
    pub facts: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Seal {
    public_key: String,
    signature: String,
}

impl Manifest {
    /// A recording without frames yet.
    pub fn new(genesis: &Genesis, node: String, sealed_key: String) -> Self {
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            session: genesis.session,
            format: genesis.format,
            state: State::Live,
            started_at_us: genesis.started_at.as_micros(),
            signed_at_us: genesis.started_at.as_micros(),
            node,
            key_hash: genesis.key,
            sealed_key,
            frames: 0,
            bytes: 0,
            head: genesis.hash(),
            segments: Vec::new(),
            gaps: Vec::new(),
            facts: BTreeMap::new(),
        }
    }

    pub fn genesis(&self) -> Genesis {
        Genesis {
            session: self.session,
            format: self.format,
            started_at: Timestamp::from_micros(self.started_at_us),
            key: self.key_hash,
        }
    }

    /// Where the chain stands after the last frame.
    pub fn position(&self) -> Position {
        Position { frame: self.frames, offset: self.bytes, head: self.head }
    }

    /// Adds a segment, and what it adds to the whole.
    pub fn push(&mut self, segment: Segment) {
        self.frames = segment.first_frame + segment.frames;
        self.bytes = segment.to;
        self.head = segment.head;
        self.segments.push(segment);
    }

    /// The two lines of the file.
    pub fn sign(&self, key: &SigningKey) -> Result<String, SealError> {
        let unwritable = |_| SealError::Unreadable("the manifest");
        let text = serde_json::to_string(self).map_err(unwritable)?;
        let signature = key.sign(&[CONTEXT, text.as_bytes()].concat());
        let seal = Seal { public_key: key.public().to_string(), signature: BASE64.encode(&signature) };
        Ok(format!("{text}\n{}\n", serde_json::to_string(&seal).map_err(unwritable)?))
    }

    /// Reads a file and checks its signature: with the given key, else with the one in the file, which proves only
    /// that the file is whole. Returns the key it was signed with.
    pub fn read(file: &[u8], key: Option<&PublicKey>) -> Result<(Self, PublicKey), SealError> {
        let unreadable = || SealError::Unreadable("the manifest");
        let file = std::str::from_utf8(file).map_err(|_| unreadable())?;
        let (text, rest) = file.split_once('\n').ok_or_else(unreadable)?;
        let seal: Seal = serde_json::from_str(rest).map_err(|_| unreadable())?;
        if serde_json::to_string(&seal).ok().is_none_or(|canonical| rest != format!("{canonical}\n")) {
            return Err(unreadable());
        }
        let signer = PublicKey::parse(&seal.public_key)?;
        if key.is_some_and(|key| *key != signer) {
            return Err(SealError::Signature);
        }
        let signature = BASE64.decode(seal.signature.as_bytes()).map_err(|_| unreadable())?;
        signer.verify(&[CONTEXT, text.as_bytes()].concat(), &signature)?;
        let manifest: Self = serde_json::from_str(text).map_err(|_| unreadable())?;
        if serde_json::to_string(&manifest).ok().as_deref() != Some(text)
            || manifest.kind != KIND
            || manifest.version != VERSION
        {
            return Err(unreadable());
        }
        manifest.consistent()?;
        Ok((manifest, signer))
    }

    /// Its parts add up to the whole.
    fn consistent(&self) -> Result<(), SealError> {
        let wrong = || SealError::Unreadable("the manifest's list of segments");
        let mut at = Position::start(&self.genesis());
        for (number, segment) in self.segments.iter().enumerate() {
            let index = if segment.closed { Index::encoded_len(segment.frames) } else { 0 };
            let plain = segment.to.checked_sub(segment.from).ok_or_else(wrong)?;
            let overhead = segment.frames.checked_mul(super::frame::OVERHEAD as u64).ok_or_else(wrong)?;
            let bytes = plain.checked_add(overhead).and_then(|sum| sum.checked_add(index));
            if segment.first_frame != at.frame
                || segment.from != at.offset
                || segment.name != segment_name(number)
                || bytes != Some(segment.bytes)
                || (!segment.closed && self.state != State::Live)
            {
                return Err(wrong());
            }
            let frame = at.frame.checked_add(segment.frames).ok_or_else(wrong)?;
            at = Position { frame, offset: segment.to, head: segment.head };
        }
        if at == self.position() { Ok(()) } else { Err(wrong()) }
    }
}

/// The name of a segment's file or object.
pub fn segment_name(number: usize) -> String {
    format!("{number:06}.seg")
}
