//! One pass over foreign bytes, in pieces of any size, that finds tracks and blocks and skips what is in them.
//!
//! A block is told when its last byte has come, so a file that was cut off yields its whole blocks. Bytes that fit nowhere are
//! skipped up to the next cluster, and [`Scanner::damaged`] says so. Only the first segment of a file is read.

use std::ops::Range;

use super::{
    ebml::{self, Header, children, number, unsigned},
    video::Codec,
};

/// The longest description of tracks, and the longest `Info`, that is read.
pub const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// The longest element header.
const HEADER_BYTES: usize = 12;
/// Of a block: its track number (8), time (2), flags (1), and what tells of a key frame (10).
const BLOCK_PREFIX: u64 = 21;
/// The longest element that holds one number.
const NUMBER_BYTES: u64 = 8;
/// Tracks of a file that are known; blocks of others are left out.
const MAX_TRACKS: usize = 16;

/// What a file says of its tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracks {
    /// The data of the `Tracks` element, as it was.
    pub bytes: Vec<u8>,
    pub(super) entries: Vec<Track>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) number: u64,
    pub(super) video: bool,
    pub(super) codec: Codec,
    pub(super) default_duration_ns: u64,
}

/// Where a cluster lies. Offsets are in the bytes that were fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    pub start: u64,
    /// `None` where its size is unknown.
    pub end: Option<u64>,
    /// In ticks.
    pub time: u64,
    /// Up to the block there was nothing in it but its time and whole blocks.
    pub plain: bool,
}

/// A whole `SimpleBlock` or `BlockGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub cluster: Cluster,
    /// The element, with its header.
    pub range: Range<u64>,
    pub track: u64,
    pub video: bool,
    /// In ticks; may be negative by a little.
    pub time: i64,
    /// In ticks, where the file says it.
    pub duration: Option<u64>,
    /// It can be decoded without any before it, as its own bytes say.
    pub key: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Tracks(Tracks),
    Block(Block),
    /// Where a `Tags` element lies.
    Tags(Range<u64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Cluster,
    Group,
}

/// An element that others are in.
#[derive(Debug, Clone, Copy)]
struct Level {
    kind: Kind,
    end: Option<u64>,
}

/// The cluster that is being read.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: u64,
    end: Option<u64>,
    time: Option<u64>,
    plain: bool,
}

/// What the first bytes of a block say.
#[derive(Debug, Clone, Copy)]
struct Head {
    track: Track,
    relative: i16,
    /// What the frame says of itself.
    told: Option<bool>,
    /// What the container says of it.
    flagged: bool,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    start: u64,
    head: Option<Head>,
    duration: Option<u64>,
    refers: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A header comes.
    Header,
    /// The first `want` bytes of an element's data are kept.
    Gather {
        id: u32,
        start: u64,
        want: usize,
        end: u64,
    },
    Skip {
        until: u64,
    },
    /// A simple block, whose frame is skipped.
    Pass {
        start: u64,
        until: u64,
        head: Option<Head>,
    },
    /// Looking for the next cluster; the last four bytes.
    Lost(u32),
    Over,
}

/// Finds what is in a file. See the module.
#[derive(Debug)]
pub struct Scanner {
    at: u64,
    step: Step,
    /// A header, or what is gathered.
    kept: Vec<u8>,
    levels: Vec<Level>,
    is_webm: bool,
    scale_ns: u64,
    tracks: Vec<Track>,
    has_tracks: bool,
    cluster: Option<Open>,
    group: Option<Group>,
    damaged: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            at: 0,
            step: Step::Header,
            kept: Vec::new(),
            levels: Vec::new(),
            is_webm: false,
            scale_ns: 1_000_000,
            tracks: Vec::new(),
            has_tracks: false,
            cluster: None,
            group: None,
            damaged: false,
        }
    }
}

impl Scanner {
    /// Bytes were met that fit nowhere, and skipped.
    pub fn damaged(&self) -> bool {
        self.damaged
    }

    /// Nanoseconds of one tick, in which all times are.
    pub fn scale_ns(&self) -> u64 {
        self.scale_ns
    }

    /// It began as WebM or Matroska does.
    pub fn is_webm(&self) -> bool {
        self.is_webm
    }

    /// The next bytes of the file.
    pub fn feed(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Item)) {
        while !bytes.is_empty() {
            let taken = match self.step {
                Step::Over => return,
                Step::Header => {
                    self.kept.push(bytes[0]);
                    self.at += 1;
                    self.header();
                    1
                }
                Step::Gather { want, .. } => {
                    let taken = bytes.len().min(want - self.kept.len());
                    self.kept.extend_from_slice(&bytes[..taken]);
                    self.at += taken as u64;
                    taken
                }
                Step::Skip { until } | Step::Pass { until, .. } => {
                    let left = usize::try_from(until - self.at).unwrap_or(usize::MAX);
                    let taken = bytes.len().min(left);
                    self.at += taken as u64;
                    taken
                }
                Step::Lost(last) => {
                    let last = last << 8 | u32::from(bytes[0]);
                    self.at += 1;
                    self.step = Step::Lost(last);
                    if last == ebml::CLUSTER {
                        self.levels.clear();
                        self.levels.push(Level { kind: Kind::Segment, end: None });
                        self.kept = last.to_be_bytes().to_vec();
                        self.step = Step::Header;
                    }
                    1
                }
            };
            bytes = &bytes[taken..];
            self.settle(found);
        }
    }

    /// Does what is due when the bytes for it have come.
    fn settle(&mut self, found: &mut impl FnMut(Item)) {
        loop {
            match self.step {
                Step::Gather { id, start, want, end } if self.kept.len() == want => {
                    self.gathered(id, start, end, found);
                }
                Step::Skip { until } if until == self.at => self.step = Step::Header,
                Step::Pass { start, until, head } if until == self.at => {
                    self.step = Step::Header;
                    if let Some(head) = head {
                        self.tell(start, head, None, found);
                    }
                }
                Step::Header if self.kept.is_empty() && self.ends() => self.leave(found),
                Step::Header
                | Step::Gather { .. }
                | Step::Skip { .. }
                | Step::Pass { .. }
                | Step::Lost(_)
                | Step::Over => return,
            }
        }
    }

    fn ends(&self) -> bool {
        self.levels.last().is_some_and(|level| level.end == Some(self.at))
    }

    /// Leaves the innermost element.
    fn leave(&mut self, found: &mut impl FnMut(Item)) {
        match self.levels.pop().map(|level| level.kind) {
            Some(Kind::Group) => {
                let Some(group) = self.group.take() else { return };
                match (group.head, &mut self.cluster) {
                    (Some(head), _) => {
                        let head = Head { flagged: !group.refers, ..head };
                        self.tell(group.start, head, group.duration, found);
                    }
                    (None, Some(cluster)) => cluster.plain = false,
                    (None, None) => {}
                }
            }
            Some(Kind::Cluster) => self.cluster = None,
            Some(Kind::Segment) => self.step = Step::Over,
            None => {}
        }
    }

    fn lose(&mut self) {
        self.kept.clear();
        self.damaged = true;
        self.cluster = None;
        self.group = None;
        self.step = if self.has_tracks { Step::Lost(0) } else { Step::Over };
    }

    /// Looks whether the bytes kept are a whole header, and what follows it.
    fn header(&mut self) {
        let header = match Header::parse(&self.kept) {
            Ok(None) if self.kept.len() < HEADER_BYTES => return,
            Ok(Some(header)) => header,
            Ok(None) | Err(_) => return self.lose(),
        };
        self.kept.clear();
        let start = self.at - header.len as u64;
        let end = match header.size {
            Some(size) => match self.at.checked_add(size) {
                Some(end) => Some(end),
                None => return self.lose(),
            },
            None => None,
        };
        // What cannot be in a cluster of unknown size ends it.
        if is_top(header.id)
            && self.levels.last().is_some_and(|level| level.kind == Kind::Cluster && level.end.is_none())
        {
            self.levels.pop();
            self.cluster = None;
        }
        let level = self.levels.last().copied();
        let outer = level.and_then(|level| level.end);
        if outer.is_some_and(|outer| end.is_none_or(|end| end > outer)) {
            return self.lose();
        }
        self.enter(level.map(|level| level.kind), header.id, start, end);
    }

    /// Begins with an element's data.
    fn enter(&mut self, level: Option<Kind>, id: u32, start: u64, end: Option<u64>) {
        let Some(known) = end else {
            return match (level, id) {
                (None, ebml::SEGMENT) => self.descend(Kind::Segment, end),
                (Some(Kind::Segment), ebml::CLUSTER) => self.open(start, end),
                _ => self.lose(),
            };
        };
        let size = known - self.at;
        let gather = |most: u64| Step::Gather { id, start, want: size.min(most) as usize, end: known };
        match (level, id) {
            (None, ebml::EBML) if size <= MAX_HEAD_BYTES => self.step = gather(MAX_HEAD_BYTES),
            (None, ebml::SEGMENT) if self.is_webm => self.descend(Kind::Segment, end),
            (None, ebml::SEGMENT) => self.step = Step::Over,
            // Another file was appended: only the first one is read.
            (Some(Kind::Segment), ebml::EBML | ebml::SEGMENT) => {
                self.damaged = true;
                self.step = Step::Over;
            }
            (Some(Kind::Segment), ebml::INFO | ebml::TRACKS | ebml::TAGS) if size <= MAX_HEAD_BYTES => {
                self.step = gather(MAX_HEAD_BYTES);
            }
            (Some(Kind::Segment), ebml::CLUSTER) => self.open(start, end),
            (Some(Kind::Cluster), ebml::TIMESTAMP) if size <= NUMBER_BYTES => {
                self.step = gather(NUMBER_BYTES)
            }
            (Some(Kind::Cluster), ebml::SIMPLE_BLOCK) => self.step = gather(BLOCK_PREFIX),
            (Some(Kind::Cluster), ebml::BLOCK_GROUP) => {
                self.group = Some(Group { start, head: None, duration: None, refers: false });
                self.descend(Kind::Group, end);
            }
            (Some(Kind::Group), ebml::BLOCK) => self.step = gather(BLOCK_PREFIX),
            (Some(Kind::Group), ebml::BLOCK_DURATION) if size <= NUMBER_BYTES => {
                self.step = gather(NUMBER_BYTES);
            }
            _ => {
                if let (Some(Kind::Group), ebml::REFERENCE_BLOCK, Some(group)) = (level, id, &mut self.group)
                {
                    group.refers = true;
                }
                if let (Some(Kind::Cluster), Some(cluster)) = (level, &mut self.cluster) {
                    cluster.plain = false;
                }
                self.step = Step::Skip { until: known };
            }
        }
    }

    fn descend(&mut self, kind: Kind, end: Option<u64>) {
        self.levels.push(Level { kind, end });
        self.step = Step::Header;
    }

    fn open(&mut self, start: u64, end: Option<u64>) {
        self.cluster = Some(Open { start, end, time: None, plain: true });
        self.descend(Kind::Cluster, end);
    }

    /// The bytes of interest of an element have come.
    fn gathered(&mut self, id: u32, start: u64, end: u64, found: &mut impl FnMut(Item)) {
        let kept = std::mem::take(&mut self.kept);
        self.step = Step::Skip { until: end };
        match id {
            ebml::EBML => {
                let kind = children(&kept).find(|(id, _)| *id == ebml::DOC_TYPE).map(|(_, kind)| kind);
                self.is_webm = matches!(kind, Some(b"webm" | b"matroska"));
                if !self.is_webm {
                    self.step = Step::Over;
                }
            }
            ebml::INFO => {
                let scale = children(&kept).find(|(id, _)| *id == ebml::TIMESTAMP_SCALE);
                if let Some(scale) = scale.and_then(|(_, scale)| unsigned(scale)) {
                    self.scale_ns = scale;
                }
            }
            ebml::TRACKS if !self.has_tracks => {
                self.tracks = tracks(&kept);
                self.has_tracks = true;
                found(Item::Tracks(Tracks { bytes: kept, entries: self.tracks.clone() }));
            }
            ebml::TIMESTAMP => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.plain &= cluster.time.is_none();
                    cluster.time = unsigned(&kept);
                }
            }
            ebml::BLOCK_DURATION => {
                if let Some(group) = &mut self.group {
                    group.duration = unsigned(&kept);
                }
            }
            ebml::BLOCK => {
                let head = self.head(&kept);
                if let Some(group) = &mut self.group {
                    group.head = head;
                }
            }
            ebml::TAGS => found(Item::Tags(start..end)),
            ebml::SIMPLE_BLOCK => {
                let head = self.head(&kept);
                if let (None, Some(cluster)) = (&head, &mut self.cluster) {
                    cluster.plain = false;
                }
                self.step = Step::Pass { start, until: end, head };
            }
            _ => {}
        }
    }

    /// Reads what stands before a block's frame; `None` when it is of no track that is known.
    fn head(&self, bytes: &[u8]) -> Option<Head> {
        let (track, len) = number(bytes).ok().flatten()?;
        let (time, rest) = bytes.get(len..)?.split_first_chunk::<2>()?;
        let (&flags, frame) = rest.split_first()?;
        let track = *self.tracks.iter().find(|known| Some(known.number) == track)?;
        // Frames that share a block (flags 0x06) do not begin here.
        let told = if flags & 0x06 == 0 { track.codec.is_key(frame) } else { None };
        Some(Head { track, relative: i16::from_be_bytes(*time), told, flagged: flags & 0x80 != 0 })
    }

    fn tell(&mut self, start: u64, head: Head, duration: Option<u64>, found: &mut impl FnMut(Item)) {
        let Some(open) = self.cluster else { return };
        // The base of its time must stand before it.
        let Some((time, base)) = open.time.and_then(|time| Some((time, i64::try_from(time).ok()?))) else {
            self.damaged = true;
            return;
        };
        let Some(at) = base.checked_add(i64::from(head.relative)) else { return };
        let default = head.track.default_duration_ns.checked_div(self.scale_ns).filter(|ticks| *ticks > 0);
        found(Item::Block(Block {
            cluster: Cluster { start: open.start, end: open.end, time, plain: open.plain },
            range: start..self.at,
            track: head.track.number,
            video: head.track.video,
            time: at,
            duration: duration.or(default),
            key: head.told.unwrap_or(head.flagged),
        }));
    }
}

/// It stands in a segment, or beside one.
fn is_top(id: u32) -> bool {
    matches!(
        id,
        ebml::EBML
            | ebml::SEGMENT
            | ebml::SEEK_HEAD
            | ebml::INFO
            | ebml::TRACKS
            | ebml::CLUSTER
            | ebml::CUES
            | ebml::TAGS
            | ebml::ATTACHMENTS
            | ebml::CHAPTERS
    )
}

fn tracks(bytes: &[u8]) -> Vec<Track> {
    children(bytes)
        .filter(|(id, _)| *id == ebml::TRACK_ENTRY)
        .filter_map(|(_, entry)| {
            let get = |wanted| children(entry).find(|(id, _)| *id == wanted).map(|(_, data)| data);
            let uint = |wanted| get(wanted).and_then(unsigned);
            Some(Track {
                number: uint(ebml::TRACK_NUMBER).filter(|number| *number > 0)?,
                video: uint(ebml::TRACK_TYPE) == Some(1),
                codec: get(ebml::CODEC_ID).map_or(Codec::Other, Codec::of),
                default_duration_ns: uint(ebml::DEFAULT_DURATION).unwrap_or(0),
            })
        })
        .take(MAX_TRACKS)
        .collect()
}
