//! The verifier: holds segments against their manifest, with or without the data key.
//!
//! Fed with the segments' bytes in order, in pieces of any size; holds at most one frame and one segment's index. A fault does
//! not end it: the next segment is checked from where the manifest says that it begins, so that
//! the report names everything that is damaged.

use super::{
    DataKey, Hash, Position, SealError,
    frame::{HEADER, Header, Opener},
    index::Index,
    manifest::{Manifest, Segment, State},
};

/// One thing that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the manifest is altered: {0}")]
    Manifest(String),
    #[error("the key is not the one that the manifest names")]
    Key,
    #[error("segment {0} is missing")]
    Missing(String),
    #[error("segment {segment}: frame {frame} is altered, missing, or out of its place")]
    Frame { segment: String, frame: u64 },
    #[error("segment {segment} is cut off in frame {frame}")]
    Truncated { segment: String, frame: u64 },
    #[error("segment {0} does not end as the manifest says")]
    Head(String),
    #[error("segment {0}: the index at its end is altered")]
    Index(String),
    #[error("{0} is altered, missing, or does not belong here")]
    File(String),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Frames that are as they were recorded.
    pub frames: u64,
    /// Bytes of their plaintext.
    pub bytes: u64,
    pub segments: u64,
    pub head: Hash,
    pub faults: Vec<Fault>,
}

/// Checks one recording.
#[derive(Debug)]
pub struct Verifier<'a> {
    manifest: &'a Manifest,
    opener: Option<Opener>,
    /// The segment that is being fed.
    current: usize,
    position: Position,
    /// Bytes that are not a whole frame yet.
    buffer: Vec<u8>,
    lens: Index,
    broken: bool,
    report: Report,
}

impl<'a> Verifier<'a> {
    /// With the data key every frame is decrypted too.
    pub fn new(manifest: &'a Manifest, key: Option<&DataKey>) -> Result<Self, SealError> {
        let genesis = manifest.genesis();
        let mut faults = Vec::new();
        let opener = match key {
            Some(key) if key.commitment() == manifest.key_hash => Some(Opener::new(&genesis, key)?),
            Some(_) => {
                faults.push(Fault::Key);
                None
            }
            None => None,
        };
        Ok(Self {
            manifest,
            opener,
            current: 0,
            position: Position::start(&genesis),
            buffer: Vec::new(),
            lens: Index::default(),
            broken: false,
            report: Report { frames: 0, bytes: 0, segments: 0, head: genesis.hash(), faults },
        })
    }

    /// The segment whose bytes come next; `None` after the last.
    pub fn expects(&self) -> Option<&'a Segment> {
        self.manifest.segments.get(self.current)
    }

    /// Something beside the segments is wrong.
    pub fn fault(&mut self, fault: Fault) {
        self.report.faults.push(fault);
    }

    /// The next bytes of the current segment. `plain` gets the text of each frame where the data key is known.
    pub fn feed(&mut self, mut bytes: &[u8], plain: &mut dyn FnMut(&[u8])) {
        let Some(segment) = self.expects() else { return };
        while !bytes.is_empty() && !self.broken {
            let in_frames = !segment.closed || self.lens.frames() < segment.frames;
            let needed = if in_frames {
                match self.buffer.first_chunk::<HEADER>() {
                    None => HEADER,
                    Some(head) => match Header::parse(head).filter(|header| header.follows(&self.position)) {
                        Some(header) => header.frame_len(),
                        None => return self.break_frame(segment),
                    },
                }
            } else {
                // One byte more than there may be, so that a longer index shows.
                Index::encoded_len(segment.frames) as usize + 1
            };
            let taken = needed.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, rest) = bytes.split_at(taken);
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if in_frames && needed > HEADER && self.buffer.len() == needed {
                self.frame(segment, plain);
            } else if !in_frames && self.buffer.len() == needed {
                self.broken = true;
                self.report.faults.push(Fault::Index(segment.name.clone()));
            }
        }
    }

    fn break_frame(&mut self, segment: &Segment) {
        self.broken = true;
        self.report.faults.push(Fault::Frame { segment: segment.name.clone(), frame: self.position.frame });
    }

    /// A whole frame is in the buffer, and its header fits.
    fn frame(&mut self, segment: &Segment, plain: &mut dyn FnMut(&[u8])) {
        let hash = Hash::of(&[&self.buffer]);
        let len = self.buffer.len() - super::frame::OVERHEAD;
        if let Some(opener) = &self.opener {
            match opener.open(self.position.frame, self.position.offset, &mut self.buffer) {
                Ok(text) => plain(text),
                Err(_) => return self.break_frame(segment),
            }
        }
        self.position = Position {
            frame: self.position.frame + 1,
            offset: self.position.offset + len as u64,
            head: hash,
        };
        self.lens.push(len as u32);
        self.buffer.clear();
        // A live segment may hold more than its checkpoint covers: what follows only has to continue the chain.
        if self.lens.frames() == segment.frames && self.position.head != segment.head {
            self.broken = true;
            self.report.faults.push(Fault::Head(segment.name.clone()));
        }
    }

    /// The current segment has no more bytes.
    pub fn end_segment(&mut self) {
        let Some(segment) = self.expects() else { return };
        let frames = self.lens.frames();
        if !self.broken {
            let torn = !self.buffer.is_empty();
            if frames < segment.frames || (torn && !segment.closed && self.manifest.state != State::Live) {
                self.broken = true;
                let (segment, frame) = (segment.name.clone(), self.position.frame);
                self.report.faults.push(Fault::Truncated { segment, frame });
            } else if segment.closed && self.buffer != self.lens.encode() {
                self.broken = true;
                self.report.faults.push(Fault::Index(segment.name.clone()));
            }
        }
        self.next(frames, segment);
    }

    /// The current segment is not there at all.
    pub fn missing_segment(&mut self) {
        let Some(segment) = self.expects() else { return };
        self.broken = true;
        self.report.faults.push(Fault::Missing(segment.name.clone()));
        self.next(0, segment);
    }

    fn next(&mut self, frames: u64, segment: &Segment) {
        self.report.frames += frames;
        self.report.bytes += self.lens.lens().iter().map(|&len| u64::from(len)).sum::<u64>();
        if self.broken {
            // The manifest is signed: where it says that the next one begins, it begins.
            self.position = Position {
                frame: segment.first_frame + segment.frames,
                offset: segment.to,
                head: segment.head,
            };
        } else {
            self.report.segments += 1;
        }
        self.broken = false;
        self.buffer.clear();
        self.lens = Index::default();
        self.current += 1;
    }

    /// All segments were fed or missing.
    pub fn finish(mut self) -> Report {
        while self.expects().is_some() {
            self.missing_segment();
        }
        if self.report.faults.is_empty()
            && self.manifest.state != State::Live
            && self.position != self.manifest.position()
        {
            self.report.faults.push(Fault::Manifest("it does not end where its segments end".to_owned()));
        }
        self.report.head = self.position.head;
        self.report
    }
}
