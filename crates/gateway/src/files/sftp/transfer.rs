//! Files and folders that are open on an SFTP server. Many requests are under way at once, so that the way there
//! and back does not count; what they may hold in memory is bounded.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;

use super::{
    client::{Awaited, Client, Handle},
    wire::{self, Reader, Request},
};
use crate::files::{Entry, FsError, FsErrorKind, FsResult, Listing, ReadFile, RemotePath, WriteFile};

/// Requests for one file that are under way: 2 MiB with large pieces, which fills 1 Gbit/s at 16 ms.
pub(super) const FLIGHT: usize = 32;
/// A short file is not asked for 32 times.
const FIRST_FLIGHT: usize = 2;
/// Requests for the rest of a folder that are under way.
const LIST_FLIGHT: usize = 4;

struct Asked {
    offset: u64,
    length: u32,
    awaited: Awaited,
}

pub(super) struct SftpRead {
    client: Arc<Client>,
    /// `None` at the end.
    handle: Option<Handle>,
    flight: VecDeque<Asked>,
    room: usize,
    piece: u32,
    /// What is asked for next, and what is given next.
    ahead: u64,
    position: u64,
    /// Where to stop.
    until: u64,
    /// What the target said; at and beyond it one request at a time is enough.
    size: u64,
}

impl SftpRead {
    pub(super) fn new(
        client: Arc<Client>,
        handle: Handle,
        offset: u64,
        length: Option<u64>,
        size: u64,
    ) -> Self {
        Self {
            piece: client.features.read,
            client,
            handle: Some(handle),
            flight: VecDeque::new(),
            room: FIRST_FLIGHT,
            ahead: offset,
            position: offset,
            until: length.map_or(u64::MAX, |length| offset.saturating_add(length)),
            size,
        }
    }

    async fn fill(&mut self) -> FsResult<()> {
        let Some(handle) = &self.handle else { return Ok(()) };
        while self.flight.len() < self.room
            && self.ahead < self.until
            && (self.ahead < self.size || self.flight.is_empty())
        {
            let left = u32::try_from(self.until - self.ahead).unwrap_or(u32::MAX);
            let (offset, length) = (self.ahead, self.piece.min(left));
            let request = Request::on(wire::READ, handle.bytes()).u64(offset).u32(length);
            let awaited = self.client.send(request).await?;
            self.flight.push_back(Asked { offset, length, awaited });
            self.ahead = offset.saturating_add(u64::from(length));
        }
        Ok(())
    }

    async fn next_piece(&mut self) -> FsResult<Option<Bytes>> {
        self.fill().await?;
        let Some(asked) = self.flight.front_mut() else {
            self.handle = None;
            return Ok(None);
        };
        let reply = self.client.answer(&mut asked.awaited).await?;
        let (offset, length) = (asked.offset, asked.length);
        self.flight.pop_front();
        let Some(data) = reply.data()? else {
            self.flight.clear();
            self.end().await?;
            return Ok(None);
        };
        let got = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if got == 0 || got > length {
            return Err(wire::broken());
        }
        self.position = offset + u64::from(got);
        if got < length && self.position < self.until {
            self.ask_rest(self.position, length - got, got).await?;
        } else {
            self.room = (self.room + 2).min(FLIGHT);
        }
        Ok(Some(data))
    }

    /// A server may give less than was asked for, at the end of the file and elsewhere.
    async fn ask_rest(&mut self, offset: u64, length: u32, got: u32) -> FsResult<()> {
        if offset < self.size {
            self.piece = got.max(1024);
        }
        let Some(handle) = &self.handle else { return Ok(()) };
        let request = Request::on(wire::READ, handle.bytes()).u64(offset).u32(length);
        let awaited = self.client.send(request).await?;
        self.flight.push_front(Asked { offset, length, awaited });
        Ok(())
    }

    /// A file may have been cut meanwhile; one that ends before its own size was not read whole.
    async fn end(&mut self) -> FsResult<()> {
        let Some(handle) = self.handle.take() else { return Ok(()) };
        if self.position >= self.size {
            return Ok(());
        }
        let now = self.client.ask(Request::on(wire::FSTAT, handle.bytes())).await?.attributes()?;
        match now.size {
            Some(size) if size > self.position => Err(FsError::new(
                FsErrorKind::Other,
                format!("the target says that the file has {size} bytes, but gave {}", self.position),
            )),
            _ => Ok(()),
        }
    }
}

impl ReadFile for SftpRead {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Bytes>>> {
        Box::pin(async {
            if self.handle.is_none() {
                return Ok(None);
            }
            let piece = self.next_piece().await;
            if piece.is_err() {
                self.flight.clear();
                self.handle = None;
            }
            piece
        })
    }
}

pub(super) struct SftpWrite {
    client: Arc<Client>,
    path: RemotePath,
    handle: Option<Handle>,
    flight: VecDeque<(u64, Awaited)>,
    /// Small pieces are put together.
    gathered: BytesMut,
    offset: u64,
    arrived: u64,
    /// The file was empty when it was opened, so that its size is known at the end.
    whole: bool,
}

impl SftpWrite {
    pub(super) fn new(client: Arc<Client>, path: RemotePath, handle: Handle, at: u64, whole: bool) -> Self {
        Self {
            client,
            path,
            handle: Some(handle),
            flight: VecDeque::new(),
            gathered: BytesMut::new(),
            offset: at,
            arrived: 0,
            whole,
        }
    }

    fn handle(&self) -> FsResult<&Handle> {
        self.handle.as_ref().ok_or_else(|| FsError::of(FsErrorKind::Lost))
    }

    async fn send(&mut self, data: &[u8]) -> FsResult<()> {
        while self.flight.len() >= FLIGHT {
            self.landed().await?;
        }
        let request = Request::write(self.handle()?.bytes(), self.offset, data);
        let awaited = self.client.send(request).await?;
        self.flight.push_back((data.len() as u64, awaited));
        self.offset += data.len() as u64;
        Ok(())
    }

    /// Waits for the oldest piece.
    async fn landed(&mut self) -> FsResult<()> {
        let Some((length, awaited)) = self.flight.front_mut() else { return Ok(()) };
        let reply = self.client.answer(awaited).await?;
        let length = *length;
        self.flight.pop_front();
        match reply.done() {
            Ok(()) => {
                self.arrived += length;
                Ok(())
            }
            Err(error) => Err(super::explain::no_space(&self.client, &self.path, error).await),
        }
    }

    async fn take(&mut self, mut bytes: Bytes) -> FsResult<()> {
        let piece = self.client.features.write as usize;
        while !bytes.is_empty() {
            if self.gathered.is_empty() && bytes.len() >= piece {
                let whole = bytes.split_to(piece);
                self.send(&whole).await?;
                continue;
            }
            let room = piece - self.gathered.len();
            self.gathered.extend_from_slice(&bytes.split_to(bytes.len().min(room)));
            if self.gathered.len() == piece {
                self.send_gathered().await?;
            }
        }
        Ok(())
    }

    async fn send_gathered(&mut self) -> FsResult<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.send(&gathered).await
    }

    async fn all_landed(&mut self) -> FsResult<()> {
        self.send_gathered().await?;
        while !self.flight.is_empty() {
            self.landed().await?;
        }
        Ok(())
    }
}

impl WriteFile for SftpWrite {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async move {
            let taken = self.take(bytes).await;
            if taken.is_err() {
                self.handle = None;
            }
            taken
        })
    }

    fn flush(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(self.all_landed())
    }

    fn sync(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async {
            self.all_landed().await?;
            if !self.client.features.fsync {
                return Err(FsError::of(FsErrorKind::Unsupported));
            }
            let request = Request::extended("fsync@openssh.com").string(self.handle()?.bytes());
            self.client.ask(request).await?.done()
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, FsResult<()>> {
        Box::pin(async move {
            self.all_landed().await?;
            let handle = self.handle.take().ok_or_else(|| FsError::of(FsErrorKind::Lost))?;
            // The server answers in turn, so both may go at once.
            let mut size = self.client.send(Request::on(wire::FSTAT, handle.bytes())).await?;
            let mut closed = self.client.send_close(handle).await?;
            let size = self.client.answer(&mut size).await?;
            self.client
                .answer(&mut closed)
                .await?
                .done()
                .map_err(|error| FsError::new(error.kind, format!("closing the file: {error}")))?;
            match size.attributes()?.size {
                Some(size) if size < self.offset || (self.whole && size != self.offset) => {
                    let expected = self.offset;
                    let message = format!("the target has {size} bytes of the file instead of {expected}");
                    Err(FsError::new(FsErrorKind::Other, message))
                }
                _ => Ok(()),
            }
        })
    }

    fn arrived(&self) -> u64 {
        self.arrived
    }
}

pub(super) struct SftpListing {
    client: Arc<Client>,
    handle: Option<Handle>,
    flight: VecDeque<Awaited>,
}

impl SftpListing {
    pub(super) fn new(client: Arc<Client>, handle: Handle) -> Self {
        Self { client, handle: Some(handle), flight: VecDeque::new() }
    }

    async fn next_entries(&mut self) -> FsResult<Option<Vec<Entry>>> {
        loop {
            let Some(handle) = &self.handle else { return Ok(None) };
            while self.flight.len() < LIST_FLIGHT {
                let awaited = self.client.send(Request::on(wire::READDIR, handle.bytes())).await?;
                self.flight.push_back(awaited);
            }
            let Some(oldest) = self.flight.front_mut() else { return Ok(None) };
            let reply = self.client.answer(oldest).await?;
            self.flight.pop_front();
            let Some(names) = reply.more_names()? else {
                self.handle = None;
                return Ok(None);
            };
            let entries = Reader(names).names()?.ok_or_else(wire::broken)?;
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
    }
}

impl Listing for SftpListing {
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Vec<Entry>>>> {
        Box::pin(async {
            let entries = self.next_entries().await;
            if entries.is_err() {
                self.handle = None;
            }
            entries
        })
    }
}
