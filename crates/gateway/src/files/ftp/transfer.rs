//! Transfers over a data connection. Only one whose end the target has confirmed leaves its control connection
//! behind for others.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, future::BoxFuture};
use sojourn_domain::time::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{buffers::Buffers, control::Stream, listing, pool::Lease};
use crate::files::{BATCH, Entry, FsError, FsErrorKind, FsResult, Listing, ReadFile, RemotePath, WriteFile};

/// What is read at once.
const PIECE: usize = 128 * 1024;
/// What is gathered before it is passed on, where it is there already: TLS gives at most 16 KiB at once.
const GATHERED: usize = 64 * 1024;
/// A line of a listing that is longer is none.
const LONGEST_LINE: usize = 16 * 1024;
/// How long a target may take to notice that a transfer was given up.
const NOTICE: Duration = Duration::from_secs(3);

/// A data connection and the control connection that it belongs to.
pub(super) struct Data {
    stream: Box<dyn Stream>,
    lease: Lease,
    patience: Duration,
    /// What went wrong behind bytes that were passed on.
    fault: Option<io::Error>,
}

impl Data {
    pub(super) fn new(stream: Box<dyn Stream>, lease: Lease, patience: Duration) -> Self {
        Self { stream, lease, patience, fault: None }
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self, buffer: &mut BytesMut) -> FsResult<Option<usize>> {
        let read = match self.fault.take() {
            Some(fault) => Ok(Err(fault)),
            None => timeout(self.patience, self.gather(buffer)).await,
        };
        match read {
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(length)) => Ok(Some(length)),
            // Many end without TLS's own goodbye; the reply and the size tell whether it was the end.
            Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Ok(Err(error)) => {
                Err(FsError::new(FsErrorKind::Lost, format!("the target cut the transfer: {error}")))
            }
            Err(_) => Err(FsError::of(FsErrorKind::TimedOut)),
        }
    }

    /// Waits for bytes, and takes what else is there already.
    async fn gather(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut length = self.stream.read_buf(buffer).await?;
        while (1..GATHERED).contains(&length) && buffer.len() < buffer.capacity() {
            match self.stream.read_buf(buffer).now_or_never() {
                Some(Ok(more @ 1..)) => length += more,
                // It will be said again.
                None | Some(Ok(0)) => break,
                Some(Err(fault)) => {
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        Ok(length)
    }

    /// The target's last word on a transfer that was carried to its end.
    async fn conclude(mut self) -> FsResult<(Lease, super::control::Reply)> {
        drop(self.stream);
        let reply = self.lease.control()?.late_reply().await?;
        if !reply.is_good() {
            return Err(match reply.fault() {
                error if matches!(reply.code, 425 | 426 | 451) && error.kind == FsErrorKind::Other => {
                    FsError::said(FsErrorKind::Lost, reply.text().as_bytes())
                }
                error => error,
            });
        }
        self.lease.control()?.dirty = false;
        Ok((self.lease, reply))
    }

    /// Stops a transfer before its end; where the target takes that well, its connection can be used again.
    async fn abandon(mut self) {
        drop(self.stream);
        let Ok(control) = self.lease.control() else { return };
        if let Ok(reply) = control.reply_within(NOTICE).await {
            control.dirty = !matches!(reply.code, 226 | 250 | 426 | 451);
        }
    }
}

pub(super) struct FtpRead {
    data: Option<Data>,
    path: RemotePath,
    position: u64,
    until: u64,
    /// What the target said.
    size: Option<u64>,
    buffers: Buffers,
}

impl FtpRead {
    /// Nothing is there to be read.
    pub(super) fn nothing(path: &RemotePath) -> Self {
        Self {
            data: None,
            path: path.clone(),
            position: 0,
            until: 0,
            size: None,
            buffers: Buffers::default(),
        }
    }

    pub(super) fn new(
        data: Data,
        path: &RemotePath,
        offset: u64,
        length: Option<u64>,
        size: Option<u64>,
    ) -> Self {
        let until = length.map_or(u64::MAX, |length| offset.saturating_add(length));
        Self { data: Some(data), position: offset, until, size, ..Self::nothing(path) }
    }

    async fn next_piece(&mut self) -> FsResult<Option<Bytes>> {
        let Some(data) = &mut self.data else { return Ok(None) };
        let mut buffer = self.buffers.take(PIECE);
        if data.next(&mut buffer).await?.is_none() {
            if let Some(data) = self.data.take() {
                let (lease, _) = data.conclude().await?;
                self.check_size(lease).await?;
            }
            return Ok(None);
        }
        let mut piece = self.buffers.give(buffer);
        let left = usize::try_from(self.until - self.position).unwrap_or(usize::MAX);
        piece.truncate(left);
        self.position += piece.len() as u64;
        if self.position >= self.until
            && let Some(data) = self.data.take()
        {
            data.abandon().await;
        }
        Ok(Some(piece))
    }

    /// A file may have been cut meanwhile; one that ends before its own size was not read whole.
    async fn check_size(&mut self, mut lease: Lease) -> FsResult<()> {
        if self.size.is_none_or(|size| size <= self.position) {
            return Ok(());
        }
        match super::size_of(lease.control()?, &self.path).await? {
            Some(size) if size > self.position => Err(FsError::new(
                FsErrorKind::Other,
                format!("the target says that the file has {size} bytes, but gave {}", self.position),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl ReadFile for FtpRead {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Bytes>>> {
        Box::pin(async {
            let piece = self.next_piece().await;
            if piece.is_err() {
                self.data = None;
            }
            piece
        })
    }
}

pub(super) struct FtpWrite {
    data: Option<Data>,
    path: RemotePath,
    /// Where the file must end.
    end: u64,
    sent: u64,
}

impl FtpWrite {
    pub(super) fn new(data: Data, path: &RemotePath, at: u64) -> Self {
        Self { data: Some(data), path: path.clone(), end: at, sent: 0 }
    }

    async fn send(&mut self, bytes: &[u8]) -> FsResult<()> {
        let Some(data) = &mut self.data else { return Err(FsError::of(FsErrorKind::Lost)) };
        for piece in bytes.chunks(PIECE) {
            match timeout(data.patience, data.stream.write_all(piece)).await {
                Ok(Ok(())) => {
                    self.sent += piece.len() as u64;
                    self.end += piece.len() as u64;
                }
                Ok(Err(error)) => {
                    // It says why, if it still can.
                    let said = match data.lease.control() {
                        Ok(control) => control.reply_within(NOTICE).await.ok(),
                        Err(_) => None,
                    };
                    return Err(match said.map(|reply| reply.fault()) {
                        Some(fault) if fault.kind != FsErrorKind::Other => fault,
                        Some(_) | None => {
                            let message = format!("the target cut the transfer: {error}");
                            FsError::new(FsErrorKind::Lost, message)
                        }
                    });
                }
                Err(_) => return Err(FsError::of(FsErrorKind::TimedOut)),
            }
        }
        Ok(())
    }

    async fn end(mut self) -> FsResult<()> {
        let Some(mut data) = self.data.take() else { return Err(FsError::of(FsErrorKind::Lost)) };
        let cut = |error: &std::io::Error| {
            FsError::new(FsErrorKind::Lost, format!("the target cut the transfer: {error}"))
        };
        match timeout(data.patience, data.stream.shutdown()).await {
            Ok(Ok(())) => {}
            // The target may have closed already, having all that it wants: its reply tells.
            Ok(Err(error)) if error.kind() == ErrorKind::NotConnected => {}
            Ok(Err(error)) => return Err(cut(&error)),
            Err(_) => return Err(FsError::of(FsErrorKind::TimedOut)),
        }
        // Until the target closes too: what it sends besides are the tickets that the next data connection needs.
        let mut rest = [0; 512];
        while let Ok(Ok(1..)) = timeout(data.patience, data.stream.read(&mut rest)).await {}
        let (mut lease, _) = data.conclude().await?;
        match super::size_of(lease.control()?, &self.path).await? {
            Some(size) if size != self.end => {
                let expected = self.end;
                let message = format!("the target has {size} bytes of the file instead of {expected}");
                Err(FsError::new(FsErrorKind::Other, message))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl WriteFile for FtpWrite {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async move {
            let sent = self.send(&bytes).await;
            if sent.is_err() {
                self.data = None;
            }
            sent
        })
    }

    fn flush(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async {
            let Some(data) = &mut self.data else { return Err(FsError::of(FsErrorKind::Lost)) };
            match timeout(data.patience, data.stream.flush()).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(FsError::of(FsErrorKind::Lost)),
                Err(_) => Err(FsError::of(FsErrorKind::TimedOut)),
            }
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, FsResult<()>> {
        Box::pin(self.end())
    }

    fn arrived(&self) -> u64 {
        self.sent
    }
}

pub(super) struct FtpListing {
    data: Option<Data>,
    buffer: BytesMut,
    /// MLSD, not LIST.
    facts: bool,
    now: Timestamp,
    entries: Vec<Entry>,
}

impl FtpListing {
    pub(super) fn new(data: Data, facts: bool, now: Timestamp) -> Self {
        Self { data: Some(data), buffer: BytesMut::new(), facts, now, entries: Vec::new() }
    }

    fn take_line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let entry = if self.facts { listing::facts(line) } else { listing::line(line, self.now) };
        let Some(mut entry) = entry else { return };
        // A few give the whole path.
        if let Some(slash) = entry.name.iter().rposition(|byte| *byte == b'/') {
            entry.name.drain(..=slash);
        }
        if listing::is_name(&entry.name) {
            self.entries.push(entry);
        }
    }

    async fn next_entries(&mut self) -> FsResult<Option<Vec<Entry>>> {
        loop {
            while self.entries.len() < BATCH
                && let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(end + 1);
                self.take_line(&line[..end]);
            }
            // What is there goes out: whoever waits sees something at once.
            if !self.entries.is_empty() {
                return Ok(Some(std::mem::take(&mut self.entries)));
            }
            if self.buffer.len() > LONGEST_LINE {
                return Err(FsError::new(FsErrorKind::Other, "the target's listing cannot be read"));
            }
            let Some(data) = &mut self.data else { return Ok(None) };
            self.buffer.reserve(PIECE);
            if data.next(&mut self.buffer).await?.is_none() {
                let rest = self.buffer.split();
                self.take_line(&rest);
                let Some(data) = self.data.take() else { return Ok(None) };
                let (_, reply) = data.conclude().await?;
                // vsftpd has an empty list for what it may not look into.
                if reply.text().contains("failed to open directory") {
                    return Err(FsError::of(FsErrorKind::Denied));
                }
            }
        }
    }
}

impl Listing for FtpListing {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Vec<Entry>>>> {
        Box::pin(async {
            let entries = self.next_entries().await;
            if entries.is_err() {
                self.data = None;
            }
            entries
        })
    }
}
