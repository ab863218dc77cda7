//! Recordings of our own, as they are written while they are made.
//!
//! The header comes once, then clusters of known size, each written whole: whatever is cut off behind a cluster still plays. A key frame begins a
//! cluster. How long it all is, and where key frames lie, is not in these bytes, because what was written is never changed: a
//! [`Plan`](super::Plan) adds it.

use super::ebml::{self, put, put_id, put_short, put_unsigned, size};

/// Blocks of one cluster that wait to be written, at most (and one frame more).
pub const CLUSTER_BYTES: usize = 256 * 1024;
/// The furthest that a block is from its cluster's time, in milliseconds.
const FURTHEST_MS: u64 = 30_000;
const TRACK: u8 = 1;

/// The one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    pub width: u16,
    pub height: u16,
    /// How long every frame is shown at least, in milliseconds. What nobody tells players they guess from the first frames, and a guess
    /// that is too long has Chromium show a picture from before the place that it was sent to.
    pub frame_ms: u8,
}

/// Writes one recording: VP9, times in milliseconds. Appends to what it is given.
#[derive(Debug, Default)]
pub struct Writer {
    /// Blocks, and the time of the first.
    cluster: Vec<u8>,
    time_ms: u64,
    last_ms: u64,
}

impl Writer {
    /// What comes first.
    pub fn header(&mut self, video: Video, title: &str, out: &mut Vec<u8>) {
        ebml::put_file_header(out);
        put_id(ebml::SEGMENT, out);
        out.extend_from_slice(&ebml::UNKNOWN_SIZE);
        let mut info = Vec::new();
        put_unsigned(ebml::TIMESTAMP_SCALE, 1_000_000, &mut info);
        put_short(ebml::MUXING_APP, b"Sojourn", &mut info);
        put_short(ebml::WRITING_APP, b"Sojourn", &mut info);
        // Title.
        put(0x7BA9, title.as_bytes(), &mut info);
        put(ebml::INFO, &info, out);
        let mut picture = Vec::new();
        put_short(ebml::PIXEL_WIDTH, &video.width.to_be_bytes(), &mut picture);
        put_short(ebml::PIXEL_HEIGHT, &video.height.to_be_bytes(), &mut picture);
        let mut entry = Vec::new();
        for (id, value) in [
            (ebml::TRACK_NUMBER, TRACK),
            (ebml::TRACK_UID, TRACK),
            (ebml::TRACK_TYPE, 1),
            (ebml::FLAG_LACING, 0),
        ] {
            put_short(id, &[value], &mut entry);
        }
        put_short(ebml::CODEC_ID, b"V_VP9", &mut entry);
        let frame_ns = u64::from(video.frame_ms) * 1_000_000;
        put_unsigned(ebml::DEFAULT_DURATION, frame_ns, &mut entry);
        put_short(ebml::VIDEO, &picture, &mut entry);
        let mut tracks = Vec::new();
        put_short(ebml::TRACK_ENTRY, &entry, &mut tracks);
        put(ebml::TRACKS, &tracks, out);
    }

    /// Takes a frame. What goes before it is written when it is a key frame, or much has gathered. Times that run backwards
    /// are taken as standing still.
    pub fn frame(&mut self, time_ms: u64, key: bool, frame: &[u8], out: &mut Vec<u8>) {
        let (relative, _) = self.place(time_ms, key, out);
        put_id(ebml::SIMPLE_BLOCK, &mut self.cluster);
        self.cluster.extend_from_slice(&size(frame.len() as u64 + 4));
        self.block(relative, if key { 0x80 } else { 0 }, frame);
    }

    /// Takes the frame that is the last, and says how long it is shown: with it the recording says when it ends.
    pub fn last_frame(&mut self, time_ms: u64, key: bool, frame: &[u8], duration_ms: u64, out: &mut Vec<u8>) {
        let (relative, step) = self.place(time_ms, key, out);
        let mut said = Vec::new();
        put_unsigned(ebml::BLOCK_DURATION, duration_ms, &mut said);
        if !key {
            // In a group it is this that tells it from a key frame: where the frame before it is.
            put(ebml::REFERENCE_BLOCK, &(-step).to_be_bytes(), &mut said);
        }
        let block = frame.len() as u64 + 4;
        let mut head = Vec::new();
        put_id(ebml::BLOCK, &mut head);
        head.extend_from_slice(&size(block));
        put_id(ebml::BLOCK_GROUP, &mut self.cluster);
        self.cluster.extend_from_slice(&size(head.len() as u64 + block + said.len() as u64));
        self.cluster.append(&mut head);
        self.block(relative, 0, frame);
        self.cluster.append(&mut said);
    }

    /// Where a frame of this time belongs: in the cluster, and behind the frame before it.
    fn place(&mut self, time_ms: u64, key: bool, out: &mut Vec<u8>) -> (i16, i64) {
        let time_ms = time_ms.max(self.last_ms);
        // Milliseconds of less than a lifetime.
        let step = (time_ms - self.last_ms) as i64;
        self.last_ms = time_ms;
        if key || self.cluster.len() >= CLUSTER_BYTES || time_ms.saturating_sub(self.time_ms) > FURTHEST_MS {
            self.flush(out);
        }
        if self.cluster.is_empty() {
            self.time_ms = time_ms;
        }
        // At most FURTHEST_MS, which fits.
        ((time_ms - self.time_ms) as i16, step)
    }

    fn block(&mut self, relative: i16, flags: u8, frame: &[u8]) {
        self.cluster.push(0x80 | TRACK);
        self.cluster.extend_from_slice(&relative.to_be_bytes());
        self.cluster.push(flags);
        self.cluster.extend_from_slice(frame);
    }

    /// When the first frame that waits was shown, in milliseconds.
    pub fn waits_since(&self) -> Option<u64> {
        (!self.cluster.is_empty()).then_some(self.time_ms)
    }

    /// Writes what waits as a cluster.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.cluster.is_empty() {
            return;
        }
        put_id(ebml::CLUSTER, out);
        out.extend_from_slice(&size(self.cluster.len() as u64 + 10));
        put_unsigned(ebml::TIMESTAMP, self.time_ms, out);
        out.append(&mut self.cluster);
    }

    /// Writes a remark, after what waits.
    pub fn remark(&mut self, name: &str, text: &str, out: &mut Vec<u8>) {
        self.flush(out);
        let mut simple = Vec::new();
        put(ebml::TAG_NAME, name.as_bytes(), &mut simple);
        put(ebml::TAG_STRING, text.as_bytes(), &mut simple);
        let mut tag = Vec::new();
        put(ebml::TARGETS, &[], &mut tag);
        put(ebml::SIMPLE_TAG, &simple, &mut tag);
        let mut tags = Vec::new();
        put(ebml::TAG, &tag, &mut tags);
        put(ebml::TAGS, &tags, out);
    }
}
