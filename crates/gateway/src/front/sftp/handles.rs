//! What a client has open. SFTP reads and writes anywhere in a file; targets stream. A file that is read or written in
//! order is one stream; what comes a little out of order is put in order; anything else begins a new stream there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use super::wire::Attributes;
use crate::files::{
    Entry, RemotePath, WriteMode,
    session::{Browsing, FileError, FileSession, Reading, Writing},
};

/// What may be open at once.
pub(super) const HANDLES: usize = 256;
/// How far out of order the requests for one file may come.
const WINDOW: u64 = 4 * 1024 * 1024;
/// What all files of one client together may keep because it came out of order.
const KEPT: usize = 16 * 1024 * 1024;

/// Something open.
pub(super) enum Open {
    Folder(Folder),
    File(Box<File>),
}

pub(super) struct Folder {
    pub(super) browsing: Browsing,
    pub(super) waiting: VecDeque<Entry>,
}

/// A file, for reading, writing or both.
pub(super) struct File {
    pub(super) path: RemotePath,
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) appends: bool,
    /// It was made, or emptied, when it was opened.
    pub(super) fresh: bool,
    /// When it was opened, where that was asked.
    pub(super) size: u64,
    reading: Option<Reading>,
    /// Read from the target, and not asked for yet.
    ahead: Ahead,
    pub(super) writing: Option<Writing>,
    /// Written by the client before what belongs in front of it.
    early: Ahead,
    /// To be set when the file is closed: writing would change them again.
    pub(super) set_at_end: Attributes,
    /// Something went wrong: closing says so again.
    pub(super) failed: Option<FileError>,
}

/// Pieces of a file, by where they stand. They do not overlap.
#[derive(Default)]
struct Ahead {
    pieces: BTreeMap<u64, Bytes>,
    bytes: usize,
}

impl Ahead {
    fn put(&mut self, at: u64, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.insert(at, piece);
        }
    }

    fn take(&mut self, at: u64) -> Option<Bytes> {
        let piece = self.pieces.remove(&at)?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// The piece that holds a byte, from that byte on; what stands before it in the piece stays.
    fn take_from(&mut self, offset: u64) -> Option<Bytes> {
        let (at, piece) = self.pieces.range(..=offset).next_back()?;
        let (at, skip) = (*at, usize::try_from(offset - *at).ok()?);
        if skip >= piece.len() {
            return None;
        }
        let mut piece = self.take(at)?;
        let rest = piece.split_off(skip);
        self.put(at, piece);
        Some(rest)
    }

    fn touches(&self, offset: u64, length: u64) -> bool {
        let before = self.pieces.range(..offset).next_back();
        let before = before.is_some_and(|(at, piece)| at + piece.len() as u64 > offset);
        before || self.pieces.range(offset..offset.saturating_add(length)).next().is_some()
    }

    fn first(&self) -> Option<u64> {
        self.pieces.keys().next().copied()
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }
}

impl File {
    pub(super) fn new(path: RemotePath, reads: bool, writes: bool) -> Self {
        Self {
            path,
            reads,
            writes,
            appends: false,
            fresh: false,
            size: 0,
            reading: None,
            ahead: Ahead::default(),
            writing: None,
            early: Ahead::default(),
            set_at_end: Attributes::default(),
            failed: None,
        }
    }

    /// What it keeps because it came out of order.
    pub(super) fn kept(&self) -> usize {
        self.ahead.bytes + self.early.bytes
    }

    /// Begins to read.
    pub(super) async fn begin_reading(
        &mut self,
        session: &FileSession,
        offset: u64,
    ) -> Result<(), FileError> {
        self.reading = Some(session.read(&self.path, offset, None).await?);
        Ok(())
    }

    /// So many bytes from a place, fewer only at the file's end; nothing beyond it.
    pub(super) async fn read(
        &mut self,
        session: &FileSession,
        offset: u64,
        length: usize,
        room: usize,
    ) -> Result<(Vec<Bytes>, usize), FileError> {
        // What was written is there before it is read.
        self.settle().await?;
        let (mut pieces, mut total) = (Vec::new(), 0);
        while total < length {
            let at = offset + total as u64;
            let Some(mut piece) = self.piece(session, at, room).await? else { break };
            if piece.len() > length - total {
                let rest = piece.split_off(length - total);
                self.ahead.put(at + piece.len() as u64, rest);
            }
            total += piece.len();
            pieces.push(piece);
        }
        if let Some(reading) = &mut self.reading {
            reading.deliver(total as u64);
        }
        Ok((pieces, total))
    }

    /// What stands at a place; `None` beyond the file's end.
    async fn piece(
        &mut self,
        session: &FileSession,
        at: u64,
        room: usize,
    ) -> Result<Option<Bytes>, FileError> {
        if let Some(piece) = self.ahead.take_from(at) {
            return Ok(Some(piece));
        }
        if self.reading.is_none() {
            self.begin_reading(session, at).await?;
        }
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let position = reading.position();
        if at < position || at - position > WINDOW {
            self.ahead.clear();
            reading.seek(at).await?;
        }
        loop {
            let position = reading.position();
            let Some(mut piece) = reading.pull().await? else { return Ok(None) };
            let end = position + piece.len() as u64;
            if end <= at {
                // Asked for later than what follows.
                if self.ahead.bytes + piece.len() <= room.min(WINDOW as usize) {
                    self.ahead.put(position, piece);
                }
                continue;
            }
            let rest = piece.split_off(usize::try_from(at - position).unwrap_or(0));
            self.ahead.put(position, piece);
            return Ok(Some(rest));
        }
    }

    /// Begins to write.
    pub(super) async fn begin_writing(
        &mut self,
        session: &FileSession,
        mode: WriteMode,
        permissions: Option<u32>,
    ) -> Result<(), FileError> {
        self.fresh = match mode {
            WriteMode::New | WriteMode::Replace => true,
            WriteMode::At(_) => self.fresh,
        };
        self.writing = Some(session.write_with(&self.path, mode, permissions).await?);
        Ok(())
    }

    pub(super) async fn write(
        &mut self,
        session: &FileSession,
        offset: u64,
        data: Bytes,
        room: usize,
    ) -> Result<(), FileError> {
        let written = self.place(session, offset, data, room).await;
        if let Err(error) = &written {
            self.early.clear();
            self.failed = Some(error.clone());
        }
        written
    }

    async fn place(
        &mut self,
        session: &FileSession,
        offset: u64,
        data: Bytes,
        room: usize,
    ) -> Result<(), FileError> {
        self.ahead.clear();
        let offset =
            if self.appends { self.writing.as_ref().map_or(self.size, Writing::position) } else { offset };
        if self.writing.is_none() {
            self.begin_writing(session, WriteMode::At(offset), None).await?;
        }
        if self.early.touches(offset, data.len() as u64) {
            self.settle().await?;
        }
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let position = writing.position();
        if offset > position {
            let near =
                offset - position <= WINDOW && self.early.bytes + data.len() <= room.min(WINDOW as usize);
            if near {
                self.early.put(offset, data);
                return Ok(());
            }
            self.settle().await?;
        }
        let Some(writing) = &mut self.writing else { return Ok(()) };
        if offset != writing.position() {
            writing.seek(offset).await?;
        }
        writing.write(data).await?;
        while let Some(next) = self.early.take(writing.position()) {
            writing.write(next).await?;
        }
        Ok(())
    }

    /// Writes what waits for what should have come before it.
    pub(super) async fn settle(&mut self) -> Result<(), FileError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        while let Some(at) = self.early.first() {
            if at != writing.position() {
                writing.seek(at).await?;
            }
            if let Some(piece) = self.early.take(at) {
                writing.write(piece).await?;
            }
        }
        if self.reads {
            writing.flush().await?;
        }
        Ok(())
    }

    /// Whatever was written is on the target.
    pub(super) async fn sync(&mut self) -> Result<(), FileError> {
        self.settle().await?;
        match &mut self.writing {
            Some(writing) => writing.flush().await,
            None => Ok(()),
        }
    }

    pub(super) async fn set_length(&mut self, session: &FileSession, length: u64) -> Result<(), FileError> {
        self.ahead.clear();
        if self.writing.is_none() {
            return session.truncate(&self.path, length).await;
        }
        self.settle().await?;
        match &mut self.writing {
            Some(writing) => writing.set_length(length).await,
            None => Ok(()),
        }
    }

    /// The client is done with it.
    pub(super) async fn close(mut self, session: &FileSession) -> Result<(), FileError> {
        if let Some(mut reading) = self.reading.take() {
            // Some ask for exactly what there is and never see the end.
            while reading.may_be_whole() && reading.pull().await?.is_some() {}
            reading.finish();
        }
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if !self.writes {
            return Ok(());
        }
        if self.writing.is_none() && !self.reads {
            self.begin_writing(session, WriteMode::At(self.size), None).await?;
        }
        self.settle().await?;
        if let Some(writing) = self.writing.take() {
            writing.finish().await?;
        }
        Ok(())
    }

    /// Nothing was done with it, and now the target itself fills or reads it.
    pub(super) async fn step_aside(&mut self) {
        if let Some(reading) = self.reading.take() {
            reading.forget();
        }
        if let Some(writing) = self.writing.take() {
            writing.forget().await;
        }
        self.reads = false;
        self.writes = false;
    }

    /// Whether nothing was read or written yet.
    pub(super) fn is_untouched(&self) -> bool {
        let unread = self.reading.as_ref().is_none_or(|reading| reading.position() == 0);
        let unwritten = self.writing.as_ref().is_none_or(|writing| writing.end() == 0);
        unread && unwritten && self.early.bytes == 0 && self.failed.is_none()
    }

    /// The client is gone without closing it: what has gone through whole is whole all the same.
    pub(super) fn leave(mut self) {
        if let Some(mut reading) = self.reading.take()
            && reading.is_whole()
        {
            reading.finish();
        }
    }
}

/// All that a client has open, by handle.
#[derive(Default)]
pub(super) struct Handles {
    open: HashMap<u32, Open>,
    next: u32,
}

impl Handles {
    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= HANDLES
    }

    pub(super) fn put(&mut self, open: Open) -> [u8; 4] {
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(handle, open);
        handle.to_be_bytes()
    }

    fn key(handle: &[u8]) -> Option<u32> {
        handle.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn get(&mut self, handle: &[u8]) -> Option<&mut Open> {
        self.open.get_mut(&Self::key(handle)?)
    }

    pub(super) fn file(&mut self, handle: &[u8]) -> Option<&mut File> {
        match self.get(handle)? {
            Open::File(file) => Some(file),
            Open::Folder(_) => None,
        }
    }

    /// A file, and what it may keep because it came out of order.
    pub(super) fn file_and_room(&mut self, handle: &[u8]) -> Option<(&mut File, usize)> {
        let key = Self::key(handle)?;
        let kept = |open: &Open| match open {
            Open::File(file) => file.kept(),
            Open::Folder(_) => 0,
        };
        let others: usize =
            self.open.iter().filter(|(other, _)| **other != key).map(|(_, open)| kept(open)).sum();
        Some((self.file(handle)?, KEPT.saturating_sub(others)))
    }

    pub(super) fn take(&mut self, handle: &[u8]) -> Option<Open> {
        self.open.remove(&Self::key(handle)?)
    }

    pub(super) fn leave(self) {
        for open in self.open.into_values() {
            if let Open::File(file) = open {
                file.leave();
            }
        }
    }
}
