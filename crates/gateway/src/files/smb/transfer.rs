//! Listings and files that are read or written on an SMB target: many requests at once, a bounded amount of memory.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use smb2::{
    DirectoryEntry, DirectoryReader, FileInfo, FileTimes, FileWriter, client::stream::FileReader,
    pack::FileTime,
};
use sojourn_domain::time::Timestamp;

use super::{explain, names};
use crate::files::{BATCH, Entry, EntryKind, FsError, FsErrorKind, FsResult, Listing, ReadFile, WriteFile};

/// Bytes that one request asks for. Targets allow 8 MiB; the library copies what it is given several times, which costs the
/// less the more of it stays in the processor's cache.
const PIECE: u64 = 128 * 1024;
/// Requests that are under way for one file.
const AT_ONCE: usize = 16;
/// Bytes that are written at once: more than is asked for, as each piece is sent alone.
const WRITTEN: usize = 512 * 1024;

/// Waits for a target as long as it may take.
pub(super) async fn within<T>(limit: Duration, what: impl Future<Output = smb2::Result<T>>) -> FsResult<T> {
    match tokio::time::timeout(limit, what).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain::fault(&error)),
        Err(_) => Err(FsError::of(FsErrorKind::TimedOut)),
    }
}

/// 100 nanoseconds since 1601; 0 and -1 stand for none.
pub(super) fn timestamp(time: FileTime) -> Option<Timestamp> {
    const UNIX: i64 = 11_644_473_600_000_000;
    let micros = i64::try_from(time.0 / 10).ok().filter(|micros| *micros != 0)? - UNIX;
    Some(Timestamp::from_micros(micros)).filter(|time| *time <= Timestamp::MAX)
}

pub(super) fn file_time(time: Timestamp) -> FileTime {
    const UNIX: i64 = 11_644_473_600_000_000;
    let since = time.as_micros().saturating_add(UNIX).max(1);
    FileTime(u64::try_from(since).unwrap_or(1).saturating_mul(10))
}

fn kind(folder: bool, link: bool, reparse: bool) -> EntryKind {
    match (folder, link, reparse) {
        (_, true, _) => EntryKind::Link,
        (true, false, _) => EntryKind::Folder,
        // Files that are kept elsewhere (deduplicated, in a cloud) are reparse points and read like others.
        (false, false, true | false) => EntryKind::File,
    }
}

fn entry(name: &str, kind: EntryKind, size: u64, modified: FileTime) -> Entry {
    let mut entry = Entry::new(name, kind);
    if kind == EntryKind::File {
        entry.size = Some(size);
    }
    entry.modified = timestamp(modified);
    entry
}

pub(super) fn described(name: &[u8], info: &FileInfo) -> Entry {
    let kind = kind(info.is_directory, info.is_link(), info.reparse_tag.is_some());
    Entry { name: name.to_vec(), ..entry("", kind, info.size, info.modified) }
}

fn listed(found: &DirectoryEntry) -> Option<Entry> {
    let kind = kind(found.is_directory, found.is_link(), found.reparse_tag.is_some());
    names::is_name(&found.name).then(|| entry(&found.name, kind, found.size, found.modified))
}

/// The entries of a folder.
pub(super) struct Folder {
    pub(super) reader: DirectoryReader,
    /// Of the last answer, what was not given yet.
    rest: VecDeque<Entry>,
    limit: Duration,
}

impl Folder {
    pub(super) fn new(reader: DirectoryReader, limit: Duration) -> Self {
        Self { reader, rest: VecDeque::new(), limit }
    }
}

impl Listing for Folder {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Vec<Entry>>>> {
        Box::pin(async move {
            while self.rest.is_empty() {
                let Some(answer) = within(self.limit, self.reader.next_batch()).await? else {
                    return Ok(None);
                };
                self.rest.extend(answer.iter().filter_map(listed));
            }
            let count = self.rest.len().min(BATCH);
            Ok(Some(self.rest.drain(..count).collect()))
        })
    }
}

/// The shares, as folders.
pub(super) struct Shares(pub(super) Vec<Entry>);

impl Listing for Shares {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Vec<Entry>>>> {
        let count = self.0.len().min(BATCH);
        let batch: Vec<Entry> = self.0.drain(..count).collect();
        Box::pin(std::future::ready(Ok(Some(batch).filter(|batch| !batch.is_empty()))))
    }
}

/// A piece of a file, and how much of it was asked for.
type Piece = BoxFuture<'static, (u64, smb2::Result<Vec<u8>>)>;

/// A file that is read, several pieces at once and in order.
pub(super) struct Reading {
    file: Arc<FileReader>,
    next: u64,
    end: u64,
    pieces: FuturesOrdered<Piece>,
    limit: Duration,
}

impl Reading {
    pub(super) fn new(file: FileReader, offset: u64, length: Option<u64>, limit: Duration) -> Self {
        let size = file.size();
        let end = length.map_or(size, |length| offset.saturating_add(length).min(size));
        let mut reading =
            Self { file: Arc::new(file), next: offset, end, pieces: FuturesOrdered::new(), limit };
        reading.ask();
        reading
    }

    fn ask(&mut self) {
        while self.next < self.end && self.pieces.len() < AT_ONCE {
            let (offset, length) = (self.next, PIECE.min(self.end - self.next));
            let file = Arc::clone(&self.file);
            self.pieces.push_back(Box::pin(async move { (length, file.read_at(offset, length).await) }));
            self.next += length;
        }
    }

    fn stop(&mut self) {
        self.next = self.end;
        self.pieces = FuturesOrdered::new();
    }
}

impl ReadFile for Reading {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Bytes>>> {
        Box::pin(async move {
            let arrived = tokio::time::timeout(self.limit, self.pieces.next()).await;
            let fault = match arrived {
                Ok(None) => return Ok(None),
                Ok(Some((asked, Ok(piece)))) => {
                    if (piece.len() as u64) < asked {
                        // The file became shorter meanwhile.
                        self.stop();
                    } else {
                        self.ask();
                    }
                    return Ok(Some(Bytes::from(piece)).filter(|piece| !piece.is_empty()));
                }
                Ok(Some((_, Err(error)))) => explain::fault(&error),
                Err(_) => FsError::of(FsErrorKind::TimedOut),
            };
            self.stop();
            Err(fault)
        })
    }
}

/// A file that is written.
pub(super) struct Writing {
    writer: Option<FileWriter>,
    /// Bytes that were given to us.
    given: u64,
    /// Confirmed when the writer was lost.
    arrived: u64,
    limit: Duration,
}

impl Writing {
    pub(super) fn new(writer: FileWriter, limit: Duration) -> Self {
        Self { writer: Some(writer), given: 0, arrived: 0, limit }
    }

    async fn put(&mut self, bytes: &[u8]) -> FsResult<()> {
        // Large pieces would be copied and shifted as a whole: the library keeps what it could not send yet.
        for piece in bytes.chunks(WRITTEN) {
            let limit = self.limit;
            let sent = within(limit, self.writer()?.write_chunk(piece)).await;
            self.noted(sent)?;
            self.given += piece.len() as u64;
        }
        Ok(())
    }

    fn writer(&mut self) -> FsResult<&mut FileWriter> {
        self.writer.as_mut().ok_or_else(|| FsError::of(FsErrorKind::Lost))
    }

    /// A writer that failed is not used again; dropping it closes the file where that is still possible.
    fn noted<T>(&mut self, done: FsResult<T>) -> FsResult<T> {
        if done.is_err()
            && let Some(writer) = self.writer.take()
        {
            self.arrived = writer.bytes_written();
        }
        done
    }

    /// Waits for the answers to all that was sent. Setting no times changes nothing, and comes after them.
    async fn settle(&mut self) -> FsResult<()> {
        let limit = self.limit;
        let settled = within(limit, self.writer()?.set_times(FileTimes::new())).await;
        self.noted(settled)
    }
}

impl WriteFile for Writing {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async move { self.put(&bytes).await })
    }

    fn flush(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(self.settle())
    }

    fn sync(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async move {
            let limit = self.limit;
            let written = within(limit, self.writer()?.flush_checkpoint()).await;
            self.noted(written).map(drop)
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, FsResult<()>> {
        Box::pin(async move {
            self.settle().await?;
            let Some(writer) = self.writer.take() else { return Err(FsError::of(FsErrorKind::Lost)) };
            // The library's `finish` waits for the target's disk too, which costs small files dearly. What it calls
            // to abort is to close: everything has arrived.
            let confirmed = within(self.limit, writer.abort()).await?;
            if confirmed == self.given {
                return Ok(());
            }
            Err(FsError::new(
                FsErrorKind::Other,
                format!("the target took {confirmed} bytes of {}", self.given),
            ))
        })
    }

    fn arrived(&self) -> u64 {
        self.writer.as_ref().map_or(self.arrived, FileWriter::bytes_written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        let time = Timestamp::from_micros(1_700_000_000_123_456);
        assert_eq!(timestamp(file_time(time)), Some(time));
        assert_eq!(file_time(Timestamp::from_secs(0)).0, 116_444_736_000_000_000);
        assert_eq!(timestamp(FileTime(0)), None);
        assert_eq!(timestamp(FileTime(u64::MAX)), None);
        assert!(file_time(Timestamp::from_micros(i64::MIN)).0 > 0);
    }
}
