//! What takes time: a folder being read, a file going down or up. Each is one operation; dropped, it was interrupted.

use std::sync::Arc;

use bytes::Bytes;
use sojourn_domain::files::{Denial, FilePolicy};

use super::{FileError, is_file, operation::Operation};
use crate::files::{Entry, FsErrorKind, Listing, ReadFile, RemoteFs, RemotePath, WriteFile, WriteMode};

/// A folder being read.
pub struct Browsing {
    operation: Option<Operation>,
    listing: Box<dyn Listing>,
    path: RemotePath,
    policy: Arc<FilePolicy>,
    entries: u64,
}

impl Browsing {
    pub(super) fn new(
        operation: Operation,
        listing: Box<dyn Listing>,
        path: RemotePath,
        policy: Arc<FilePolicy>,
    ) -> Self {
        operation.know(|fact| fact.entries = Some(0));
        Self { operation: Some(operation), listing, path, policy, entries: 0 }
    }

    /// The next entries; `None` at the end, which is when the operation is over.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, FileError> {
        loop {
            let Some(operation) = &self.operation else { return Ok(None) };
            let batch = match operation.race(self.listing.next()).await {
                Ok(batch) => batch,
                Err(refused) => return Err(refuse(&mut self.operation, refused)),
            };
            let Some(mut batch) = batch else {
                self.finish();
                return Ok(None);
            };
            if !self.policy.allow.is_empty() || !self.policy.deny.is_empty() {
                batch.retain(|entry| {
                    self.path.join(&entry.name).is_ok_and(|path| self.policy.shows(path.as_bytes()))
                });
            }
            self.entries += batch.len() as u64;
            operation.know(|fact| fact.entries = Some(self.entries));
            // A batch of which nothing may be seen is not the end.
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    /// Enough was read. Without it, a listing that is dropped before its end was interrupted.
    pub fn finish(&mut self) {
        if let Some(operation) = self.operation.take() {
            operation.done(false);
        }
    }
}

fn refuse(operation: &mut Option<Operation>, refused: FileError) -> FileError {
    match operation.take() {
        Some(operation) => operation.refused(refused),
        None => refused,
    }
}

/// A file going down.
pub struct Reading {
    operation: Option<Operation>,
    fs: Arc<dyn RemoteFs>,
    policy: Arc<FilePolicy>,
    path: RemotePath,
    file: Option<Box<dyn ReadFile>>,
    /// Where in the file the next bytes stand.
    position: u64,
    length: Option<u64>,
    /// The file's end was seen, at `position`.
    at_end: bool,
    size: Option<u64>,
    /// What finishing said.
    sha256: Option<String>,
}

impl Reading {
    pub(super) async fn open(
        operation: Operation,
        fs: Arc<dyn RemoteFs>,
        policy: Arc<FilePolicy>,
        path: RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Self, FileError> {
        if policy.max_download_bytes.is_some() {
            // What is too long is not begun, and not to be had in parts either.
            let size = match operation.race(fs.stat(&path, true)).await {
                Ok(entry) => entry.size,
                Err(refused) => return Err(operation.refused(refused)),
            };
            if let Err(denial) = policy.check_download(size.unwrap_or(0)) {
                return Err(operation.denied(denial));
            }
        }
        let file = match operation.race(fs.read(&path, offset, length)).await {
            Ok(file) => file,
            Err(refused) => return Err(operation.refused(refused)),
        };
        Ok(Self {
            operation: Some(operation),
            fs,
            policy,
            path,
            file: Some(file),
            position: offset,
            length,
            at_end: false,
            size: None,
            sha256: None,
        })
    }

    /// Where the next bytes stand in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file is known to be so long: whoever has read that much in order has all of it.
    pub fn expect_size(&mut self, size: u64) {
        self.size = Some(size);
    }

    /// The next bytes; `None` at the end of the file, or of what was asked for. [`Self::finish`] ends the operation.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        let (Some(operation), Some(file)) = (&self.operation, &mut self.file) else { return Ok(None) };
        match operation.race(file.next()).await {
            Ok(Some(bytes)) => {
                let end = self.position + bytes.len() as u64;
                if let Err(denial) = self.policy.check_download(end) {
                    return Err(self.deny(denial));
                }
                operation.moved(self.position, &bytes, false);
                self.position = end;
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.at_end = self.length.is_none();
                Ok(None)
            }
            Err(refused) => {
                self.file = None;
                Err(refuse(&mut self.operation, refused))
            }
        }
    }

    fn deny(&mut self, denial: Denial) -> FileError {
        self.file = None;
        match self.operation.take() {
            Some(operation) => operation.denied(denial),
            None => denial.into(),
        }
    }

    /// Goes on at another place of the file, to its end.
    pub async fn seek(&mut self, offset: u64) -> Result<(), FileError> {
        let Some(operation) = &self.operation else { return Ok(()) };
        self.file = None;
        match operation.race(self.fs.read(&self.path, offset, None)).await {
            Ok(file) => {
                self.file = Some(file);
                self.position = offset;
                self.length = None;
                self.at_end = false;
                Ok(())
            }
            Err(refused) => Err(refuse(&mut self.operation, refused)),
        }
    }

    /// Whether everything has gone through in order from the file's beginning, and only its end is not seen yet.
    pub fn may_be_whole(&self) -> bool {
        self.operation.as_ref().and_then(Operation::in_order) == Some(self.position)
    }

    /// Enough was read. Says the file's hash, where all of it went through in order. Without it, a file that is
    /// dropped was interrupted.
    pub fn finish(&mut self) -> Option<String> {
        if let Some(operation) = self.operation.take() {
            let through = operation.in_order();
            let end = if self.at_end { Some(self.position) } else { self.size };
            self.file = None;
            self.sha256 = operation.done(through.is_some() && through == end);
        }
        self.sha256.clone()
    }
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where in the file the last byte that was written stands, plus one.
    pub end: u64,
    /// Of the whole file, where all of it went through in order.
    pub sha256: Option<String>,
}

/// A file going up.
pub struct Writing {
    operation: Option<Operation>,
    fs: Arc<dyn RemoteFs>,
    policy: Arc<FilePolicy>,
    path: RemotePath,
    file: Option<Box<dyn WriteFile>>,
    position: u64,
    /// The end of what was written.
    end: u64,
    /// It began with an empty file.
    fresh: bool,
}

impl Writing {
    pub(super) async fn open(
        operation: Operation,
        fs: Arc<dyn RemoteFs>,
        policy: Arc<FilePolicy>,
        path: RemotePath,
        mode: WriteMode,
    ) -> Result<Self, FileError> {
        let (position, fresh) = match mode {
            WriteMode::New | WriteMode::Replace => (0, true),
            WriteMode::At(offset) => (offset, false),
        };
        operation.moves_from(position);
        if let Err(denial) = policy.check_upload(position) {
            return Err(operation.denied(denial));
        }
        if let Err(denial) = policy.check_replacing()
            && mode != WriteMode::New
        {
            // Going on at a file's end replaces nothing.
            let there = match operation.race(fs.stat(&path, true)).await {
                Ok(entry) => is_file(&entry) && entry.size.is_none_or(|size| size > position || fresh),
                Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => false,
                Err(refused) => return Err(operation.refused(refused)),
            };
            if there {
                return Err(operation.denied(denial));
            }
        }
        let file = match operation.race(fs.write(&path, mode)).await {
            Ok(file) => file,
            Err(refused) => return Err(operation.refused(refused)),
        };
        Ok(Self {
            operation: Some(operation),
            fs,
            policy,
            path,
            file: Some(file),
            position,
            end: position,
            fresh,
        })
    }

    /// Where the next bytes go.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        let (Some(operation), Some(file)) = (&self.operation, &mut self.file) else {
            return Err(closed());
        };
        let end = self.position + bytes.len() as u64;
        if let Err(denial) = self.policy.check_upload(end) {
            self.file = None;
            return Err(match self.operation.take() {
                Some(operation) => operation.denied(denial),
                None => denial.into(),
            });
        }
        match operation.race(file.write(bytes.clone())).await {
            Ok(()) => {
                operation.moved(self.position, &bytes, true);
                self.position = end;
                self.end = self.end.max(end);
                Ok(())
            }
            Err(refused) => {
                self.file = None;
                Err(refuse(&mut self.operation, refused))
            }
        }
    }

    /// What was written so far is on the target; goes on at another place of the file.
    pub async fn seek(&mut self, offset: u64) -> Result<(), FileError> {
        let (Some(operation), Some(file)) = (&self.operation, self.file.take()) else {
            return Err(closed());
        };
        let again = async {
            file.finish().await?;
            self.fs.write(&self.path, WriteMode::At(offset)).await
        };
        match operation.race(again).await {
            Ok(file) => {
                self.file = Some(file);
                self.position = offset;
                Ok(())
            }
            Err(refused) => Err(refuse(&mut self.operation, refused)),
        }
    }

    /// All was written: waits until the target has it. Without it, what is dropped was interrupted.
    pub async fn finish(mut self) -> Result<Written, FileError> {
        let (Some(operation), Some(file)) = (&self.operation, self.file.take()) else {
            return Err(closed());
        };
        if let Err(refused) = operation.race(file.finish()).await {
            return Err(refuse(&mut self.operation, refused));
        }
        let whole = self.fresh && operation.in_order() == Some(self.end);
        let sha256 = self.operation.take().and_then(|operation| operation.done(whole));
        Ok(Written { end: self.end, sha256 })
    }
}

/// It failed before, and its event says why.
fn closed() -> FileError {
    crate::files::FsError::new(FsErrorKind::Invalid, "the file is not open any more").into()
}
