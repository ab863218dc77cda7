//! How the frames of a recording make a file in which players can seek.
//!
//! The file is `EBML`, `Segment` with its size, `SeekHead`, `Info` with a finite duration, `Tracks` as they were, `Cues`, then the
//! clusters. Blocks keep every byte and their times. A video key frame begins a cluster, so that a cue leads to it. Nothing is copied: a plan
//! says which bytes are made and which are those of the recording, so a part of the file costs what that part costs.
//!
//! The plan follows from the recording's bytes alone: whoever has those makes the same file.

use std::ops::Range;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{
    WebmError,
    ebml::{self, put, put_id, put_short, put_unsigned, size},
    scan::{Block, Item, Scanner, Tracks},
};

/// Cues of one file. Of more every other one is left out, again and again.
pub const MAX_CUES: usize = 8192;
/// Pieces of one file. A recording that was made in one go and cut nowhere is one.
pub const MAX_PIECES: usize = 262_144;
/// How long a last frame is shown, in nanoseconds at most, where the recording does not say it: as long as the one before it was, but
/// that may have been a desktop that stood still.
const LAST_FRAME_NS: u64 = 100_000_000;
/// Bytes of a cluster's header and time, as made here.
const CLUSTER_HEAD: u64 = 22;
/// Written by.
const APP: &[u8] = b"Sojourn";

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Bytes `from..to` of the recording.
    Kept { from: u64, to: u64 },
    /// The head of a cluster whose blocks have so many bytes.
    Head { time: u64, bytes: u64 },
}

impl Piece {
    fn len(self) -> u64 {
        match self {
            Self::Kept { from, to } => to - from,
            Self::Head { .. } => CLUSTER_HEAD,
        }
    }
}

/// Bytes of the file, as [`Plan::slices`] gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slice<'a> {
    Made(std::borrow::Cow<'a, [u8]>),
    /// These bytes of the recording.
    Kept(Range<u64>),
}

/// A file made of a recording. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    head: Vec<u8>,
    pieces: Vec<Piece>,
    /// Where each piece begins in the file.
    starts: Vec<u64>,
    size: u64,
    duration_ms: u64,
    damaged: bool,
}

/// The form in which a plan is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    version: u32,
    head: String,
    /// `[from, to]` of the recording, or `[time, bytes, 0]` of a cluster's head.
    pieces: Vec<Vec<u64>>,
    duration_ms: u64,
    damaged: bool,
}

const VERSION: u32 = 1;

impl Plan {
    fn new(head: Vec<u8>, pieces: Vec<Piece>, duration_ms: u64, damaged: bool) -> Self {
        let mut size = head.len() as u64;
        let starts = pieces
            .iter()
            .map(|piece| {
                let start = size;
                size += piece.len();
                start
            })
            .collect();
        Self { head, pieces, starts, size, duration_ms, damaged }
    }

    /// The bytes as they are: for a recording that no player would understand.
    pub fn unchanged(bytes: u64) -> Self {
        let all = (bytes > 0).then_some(Piece::Kept { from: 0, to: bytes });
        Self::new(Vec::new(), all.into_iter().collect(), 0, true)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How long it plays; zero where nobody knows.
    pub fn duration_ms(&self) -> u64 {
        self.duration_ms
    }

    /// The recording had bytes that fit nowhere, and are not in the file.
    pub fn damaged(&self) -> bool {
        self.damaged
    }

    /// What the bytes `range` of the file are, in order. What lies behind its end is left out.
    pub fn slices(&self, range: Range<u64>) -> impl Iterator<Item = Slice<'_>> {
        let end = range.end.min(self.size);
        let mut at = range.start.min(end);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            if at < self.head.len() as u64 {
                let to = end.min(self.head.len() as u64);
                let part = &self.head[at as usize..to as usize];
                at = to;
                return Some(Slice::Made(part.into()));
            }
            let number = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
            let (start, piece) = (self.starts[number], self.pieces[number]);
            let to = end.min(start + piece.len());
            let part = at - start..to - start;
            at = to;
            Some(match piece {
                Piece::Kept { from, .. } => Slice::Kept(from + part.start..from + part.end),
                Piece::Head { time, bytes } => {
                    let head = cluster_head(time, bytes);
                    Slice::Made(head[part.start as usize..part.end as usize].to_vec().into())
                }
            })
        })
    }

    /// As text.
    pub fn encode(&self) -> Result<String, WebmError> {
        let pieces = self.pieces.iter().map(|piece| match *piece {
            Piece::Kept { from, to } => vec![from, to],
            Piece::Head { time, bytes } => vec![time, bytes, 0],
        });
        let kept = Kept {
            version: VERSION,
            head: BASE64.encode(&self.head),
            pieces: pieces.collect(),
            duration_ms: self.duration_ms,
            damaged: self.damaged,
        };
        serde_json::to_string(&kept).map_err(|_| WebmError::TooManyPieces)
    }

    /// Reads [`Plan::encode`]'s text, for a recording of `bytes` bytes; `None` where it is none.
    pub fn decode(text: &str, bytes: u64) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok().filter(|kept: &Kept| kept.version == VERSION)?;
        let pieces = kept
            .pieces
            .iter()
            .map(|piece| match *piece.as_slice() {
                [from, to] if from < to && to <= bytes => Some(Piece::Kept { from, to }),
                [time, bytes, 0] => Some(Piece::Head { time, bytes }),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        let head = BASE64.decode(kept.head.as_bytes()).ok()?;
        Some(Self::new(head, pieces, kept.duration_ms, kept.damaged))
    }
}

fn cluster_head(time: u64, bytes: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(CLUSTER_HEAD as usize);
    put_id(ebml::CLUSTER, &mut head);
    head.extend_from_slice(&size(bytes + 10));
    put_unsigned(ebml::TIMESTAMP, time, &mut head);
    head
}

/// A cluster of the file in the making.
#[derive(Debug)]
struct Forming {
    /// Where the recording's cluster begins.
    start: u64,
    /// Where it ends, if it may be taken whole.
    whole: Option<u64>,
    time: u64,
    /// Pieces when it began.
    first: usize,
    bytes: u64,
    last_to: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cue {
    time: u64,
    track: u64,
    /// Where its cluster begins, counted from the first cluster.
    at: u64,
}

/// Makes a plan from a recording's bytes, fed in order, in pieces of any size.
#[derive(Debug, Default)]
pub struct Planner {
    scanner: Scanner,
    gathered: Gathered,
}

/// The last frame of a track, in ticks.
#[derive(Debug, Clone, Copy)]
struct Last {
    track: u64,
    time: i64,
    /// How long the one before it was shown.
    step: u64,
    /// How long it is shown, as the recording says.
    duration: Option<u64>,
}

#[derive(Debug, Default)]
struct Gathered {
    tracks: Option<Tracks>,
    pieces: Vec<Piece>,
    /// Bytes of the pieces up to the cluster in the making.
    bytes: u64,
    forming: Option<Forming>,
    cues: Vec<Cue>,
    /// Key frames for one cue.
    every: u64,
    keys: u64,
    last: Vec<Last>,
    blocks: u64,
    overflowed: bool,
}

impl Planner {
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { scanner, gathered } = self;
        scanner.feed(bytes, &mut |item| gathered.take(item));
    }

    /// How long what was fed plays, in milliseconds.
    fn ms(&self, ticks: u64) -> u64 {
        u64::try_from(u128::from(ticks) * u128::from(self.scanner.scale_ns()) / 1_000_000).unwrap_or(u64::MAX)
    }

    /// The plan, or why there is none.
    pub fn finish(mut self) -> Result<Plan, WebmError> {
        self.gathered.close();
        if !self.scanner.is_webm() {
            return Err(WebmError::NotWebm);
        }
        if self.gathered.overflowed {
            return Err(WebmError::TooManyPieces);
        }
        let duration = self.gathered.ends_at(self.scanner.scale_ns());
        // Longer than a hundred years, or counted in nothing: no player could show it.
        let duration_ms = self.ms(duration);
        if self.scanner.scale_ns() == 0 || duration_ms > 100 * 366 * 86_400_000 {
            return Err(WebmError::Times);
        }
        let Gathered { tracks, pieces, bytes, cues, blocks, .. } = self.gathered;
        let tracks = tracks.filter(|tracks| !tracks.entries.is_empty()).ok_or(WebmError::NoTracks)?;
        if blocks == 0 {
            return Err(WebmError::NoFrames);
        }
        let head = head(&tracks, self.scanner.scale_ns(), duration, bytes, &cues);
        Ok(Plan::new(head, pieces, duration_ms, self.scanner.damaged()))
    }
}

impl Gathered {
    fn take(&mut self, item: Item) {
        match item {
            Item::Tracks(tracks) => self.tracks = Some(tracks),
            Item::Block(block) => self.block(&block),
            Item::Tags(range) => self.tags(range),
        }
    }

    fn block(&mut self, block: &Block) {
        if self.overflowed {
            return;
        }
        let key = block.video && block.key;
        let same = self.forming.as_ref().is_some_and(|forming| forming.start == block.cluster.start);
        if !same || key {
            // A cluster that is cut at a key frame is taken whole in neither half.
            if let (true, Some(forming)) = (same, &mut self.forming) {
                forming.whole = None;
            }
            self.close();
            self.open(block, !same);
            if key {
                self.cue(block);
            }
        }
        let Some(forming) = &mut self.forming else { return };
        if !block.cluster.plain {
            forming.whole = None;
        }
        let Range { start: from, end: to } = block.range;
        forming.bytes += to - from;
        forming.last_to = to;
        self.blocks += 1;
        // What stands before is this cluster's head at least.
        self.keep(from, to);
        self.time(block);
    }

    fn open(&mut self, block: &Block, first: bool) {
        let whole = block.cluster.end.filter(|_| first && block.cluster.plain);
        self.forming = Some(Forming {
            start: block.cluster.start,
            whole,
            time: block.cluster.time,
            first: self.pieces.len(),
            bytes: 0,
            last_to: 0,
        });
        self.pieces.push(Piece::Head { time: block.cluster.time, bytes: 0 });
    }

    /// Ends the cluster in the making.
    fn close(&mut self) {
        let Some(forming) = self.forming.take() else { return };
        if forming.whole == Some(forming.last_to) {
            // Nothing would change: it is taken as it is, together with what stands before it.
            self.pieces.truncate(forming.first);
            self.keep(forming.start, forming.last_to);
            self.bytes += forming.last_to - forming.start;
            return;
        }
        if let Some(head) = self.pieces.get_mut(forming.first) {
            *head = Piece::Head { time: forming.time, bytes: forming.bytes };
        }
        self.bytes += CLUSTER_HEAD + forming.bytes;
    }

    /// Adds bytes of the recording, to the piece before them if they follow it.
    fn keep(&mut self, from: u64, to: u64) {
        match self.pieces.last_mut() {
            Some(Piece::Kept { to: last, .. }) if *last == from => *last = to,
            _ => self.pieces.push(Piece::Kept { from, to }),
        }
        self.overflowed |= self.pieces.len() > MAX_PIECES;
    }

    fn tags(&mut self, range: Range<u64>) {
        self.close();
        self.keep(range.start, range.end);
        self.bytes += range.end - range.start;
    }

    fn cue(&mut self, block: &Block) {
        let time = u64::try_from(block.time).unwrap_or(0);
        let every = self.every.max(1);
        let due = self.keys.is_multiple_of(every);
        self.keys += 1;
        if !due || self.cues.last().is_some_and(|last| last.time >= time) {
            return;
        }
        self.cues.push(Cue { time, track: block.track, at: self.bytes });
        if self.cues.len() >= MAX_CUES {
            let mut odd = false;
            self.cues.retain(|_| {
                odd = !odd;
                odd
            });
            self.every = every * 2;
        }
    }

    fn time(&mut self, block: &Block) {
        let Block { track, time, duration, .. } = *block;
        match self.last.iter_mut().find(|last| last.track == track) {
            Some(last) if time < last.time => {}
            Some(last) => {
                let step = if time > last.time { time.abs_diff(last.time) } else { last.step };
                *last = Last { step, time, duration, ..*last };
            }
            None => self.last.push(Last { track, time, step: 0, duration }),
        }
    }

    /// When the last picture, or sound, is over.
    fn ends_at(&self, scale_ns: u64) -> u64 {
        let most = LAST_FRAME_NS.checked_div(scale_ns).unwrap_or(0);
        let end = |last: &Last| {
            let start = u64::try_from(last.time).unwrap_or(0);
            start.saturating_add(last.duration.unwrap_or(last.step.min(most)))
        };
        self.last.iter().map(end).max().unwrap_or(0)
    }
}

/// Everything before the clusters.
fn head(tracks: &Tracks, scale_ns: u64, duration: u64, clusters: u64, cues: &[Cue]) -> Vec<u8> {
    let mut info = Vec::new();
    put_unsigned(ebml::TIMESTAMP_SCALE, scale_ns, &mut info);
    put_short(ebml::DURATION, &(duration as f64).to_be_bytes(), &mut info);
    put_short(ebml::MUXING_APP, APP, &mut info);
    put_short(ebml::WRITING_APP, APP, &mut info);
    let mut middle = Vec::new();
    put(ebml::INFO, &info, &mut middle);
    let tracks_at = middle.len() as u64;
    put(ebml::TRACKS, &tracks.bytes, &mut middle);
    let cues_at = middle.len() as u64;
    // Two passes: positions have a fixed length, so only the second one knows them.
    let seek_len = seek_head(0, 0, 0, !cues.is_empty()).len() as u64;
    let cues_len = cue_points(cues, 0).len() as u64;
    let first = seek_len + cues_at + cues_len;
    let mut out = Vec::new();
    ebml::put_file_header(&mut out);
    put_id(ebml::SEGMENT, &mut out);
    out.extend_from_slice(&size(first + clusters));
    out.extend_from_slice(&seek_head(seek_len, seek_len + tracks_at, seek_len + cues_at, !cues.is_empty()));
    out.extend_from_slice(&middle);
    out.extend_from_slice(&cue_points(cues, first));
    out
}

fn seek_head(info: u64, tracks: u64, cues: u64, has_cues: bool) -> Vec<u8> {
    let mut entries = Vec::new();
    let all = [(ebml::INFO, info), (ebml::TRACKS, tracks), (ebml::CUES, cues)];
    for (id, at) in all.into_iter().filter(|(id, _)| has_cues || *id != ebml::CUES) {
        let mut entry = Vec::new();
        let mut name = Vec::new();
        put_id(id, &mut name);
        put_short(ebml::SEEK_ID, &name, &mut entry);
        put_unsigned(ebml::SEEK_POSITION, at, &mut entry);
        put_short(ebml::SEEK, &entry, &mut entries);
    }
    let mut out = Vec::new();
    put(ebml::SEEK_HEAD, &entries, &mut out);
    out
}

fn cue_points(cues: &[Cue], first: u64) -> Vec<u8> {
    if cues.is_empty() {
        return Vec::new();
    }
    let mut points = Vec::new();
    for cue in cues {
        let mut position = Vec::new();
        put_unsigned(ebml::CUE_TRACK, cue.track, &mut position);
        put_unsigned(ebml::CUE_CLUSTER_POSITION, first + cue.at, &mut position);
        let mut point = Vec::new();
        put_unsigned(ebml::CUE_TIME, cue.time, &mut point);
        put_short(ebml::CUE_TRACK_POSITIONS, &position, &mut point);
        put_short(ebml::CUE_POINT, &point, &mut points);
    }
    let mut out = Vec::new();
    put(ebml::CUES, &points, &mut out);
    out
}

/// Appends the file made of a recording that is in memory. See [`Plan`].
pub fn remux(recording: &[u8], out: &mut Vec<u8>) -> Result<Plan, WebmError> {
    let mut planner = Planner::default();
    planner.feed(recording);
    let plan = planner.finish()?;
    for slice in plan.slices(0..plan.size()) {
        match slice {
            Slice::Made(bytes) => out.extend_from_slice(&bytes),
            Slice::Kept(range) => out.extend_from_slice(&recording[range.start as usize..range.end as usize]),
        }
    }
    Ok(plan)
}
