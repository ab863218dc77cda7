//! The files of one recording in the spool: batches of frames are appended to the current segment, which is closed with its
//! index when it is long enough.
//!
//! Knows nothing of who waits for what; after a failed write nothing but whole frames is left.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use sojourn_domain::seal::{
    Hash, Position,
    index::Index,
    manifest::{Segment, segment_name},
};

use super::{Durable, Live, Refused, Spool, lock};

/// Frames after which a segment ends, whatever its size: bounds the index.
const SEGMENT_FRAMES: u64 = 262_144;
/// Frames on their way to the file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) frames: Vec<(u32, Hash)>,
    pub(super) plain: usize,
}

/// What has been written.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) current: Option<Arc<File>>,
    /// Bytes of whole frames in the current file.
    pub(super) at: u64,
    pub(super) index: Index,
    pub(super) start: Position,
    pub(super) position: Position,
    pub(super) closed: Vec<Segment>,
    pub(super) batches: VecDeque<Batch>,
    pub(super) failing: Option<(Instant, Refused)>,
    pub(super) unsynced: Vec<Arc<File>>,
    pub(super) dir_unsynced: bool,
    pub(super) durable: Durable,
    pub(super) footer_due: bool,
    pub(super) all_written: bool,
}

impl Files {
    /// The segment that is being written, as an entry of a checkpoint.
    pub(super) fn open_segment(&self) -> Option<Segment> {
        (self.index.frames() > 0).then(|| Segment {
            name: segment_name(self.closed.len()),
            first_frame: self.start.frame,
            frames: self.index.frames(),
            from: self.start.offset,
            to: self.position.offset,
            bytes: self.at,
            head: self.position.head,
            closed: false,
        })
    }

    pub(super) fn write(&mut self, live: &Live, spool: &Spool) -> io::Result<()> {
        while let Some(batch) = self.batches.front() {
            let file = match &self.current {
                Some(file) => file.clone(),
                None => {
                    let path = live.dir.join(segment_name(self.closed.len()));
                    let file = File::options()
                        .create(true)
                        .truncate(true)
                        .read(true)
                        .write(true)
                        .mode(0o600)
                        .open(path)?;
                    self.dir_unsynced = true;
                    self.at = 0;
                    self.start = self.position;
                    let file = Arc::new(file);
                    self.current = Some(file.clone());
                    file
                }
            };
            if let Err(error) = file.write_all_at(&batch.bytes, self.at) {
                // Half a frame is no frame. If even this fails, the next try overwrites it.
                let _ = file.set_len(self.at);
                return Err(error);
            }
            let len = batch.bytes.len() as u64;
            for &(plain, head) in &batch.frames {
                self.index.push(plain);
                self.position = Position {
                    frame: self.position.frame + 1,
                    offset: self.position.offset + u64::from(plain),
                    head,
                };
            }
            self.at += len;
            spool.bytes.fetch_add(len, Ordering::Relaxed);
            let plain = batch.plain;
            self.batches.pop_front();
            if !self.unsynced.iter().any(|other| Arc::ptr_eq(other, &file)) {
                self.unsynced.push(file);
            }
            spool.held.fetch_sub(plain as u64, Ordering::Relaxed);
            let mut state = lock(&live.state);
            state.waiting = state.waiting.saturating_sub(plain);
            drop(state);
            live.room.notify_waiters();
            if self.at >= spool.limits.segment_bytes || self.index.frames() >= SEGMENT_FRAMES {
                self.footer_due = true;
            }
            if self.footer_due {
                let bytes = self.end_segment()?;
                spool.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Writes the index behind the last frame; the next frame begins a new segment. Returns the bytes added.
    pub(super) fn end_segment(&mut self) -> io::Result<u64> {
        let (Some(file), Some(segment)) = (self.current.clone(), self.open_segment()) else { return Ok(0) };
        let index = self.index.encode();
        if let Err(error) = file.write_all_at(&index, self.at) {
            let _ = file.set_len(self.at);
            return Err(error);
        }
        if !self.unsynced.iter().any(|other| Arc::ptr_eq(other, &file)) {
            self.unsynced.push(file);
        }
        let bytes = self.at + index.len() as u64;
        self.closed.push(Segment { bytes, closed: true, ..segment });
        self.current = None;
        self.index = Index::default();
        self.at = 0;
        self.start = self.position;
        self.footer_due = false;
        Ok(index.len() as u64)
    }
}
