//! What takes time: a folder being read, a file going down or up. Each is one operation; dropped, it was interrupted.

use std::sync::Arc;

use bytes::Bytes;
use sojourn_domain::files::{Denial, FilePolicy};

use super::{FileError, is_file, operation::Operation};
use crate::files::{
    Entry, FsError, FsErrorKind, FsResult, Listing, ReadFile, RemoteFs, RemotePath, WriteFile, WriteMode,
};

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

fn deny(operation: &mut Option<Operation>, denial: Denial) -> FileError {
    match operation.take() {
        Some(operation) => operation.denied(denial),
        None => denial.into(),
    }
}

/// It failed before, and its event says why.
fn closed() -> FileError {
    FsError::new(FsErrorKind::Invalid, "the file is not open any more").into()
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
    /// Where the file ends, as soon as that was seen.
    end: Option<u64>,
    /// Bytes that were delivered.
    delivered: u64,
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
            end: None,
            delivered: 0,
            sha256: None,
        })
    }

    /// Where the next bytes stand in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file is known to be so long: whoever has read that much in order has all of it.
    pub fn expect_size(&mut self, size: u64) {
        self.end.get_or_insert(size);
    }

    /// The next bytes; `None` at the end of the file, or of what was asked for. [`Self::finish`] ends the operation.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FileError> {
        let bytes = self.pull().await?;
        if let Some(bytes) = &bytes {
            self.deliver(bytes.len() as u64);
        }
        Ok(bytes)
    }

    /// The next bytes, of which [`Self::deliver`] says how many are wanted.
    pub(crate) async fn pull(&mut self) -> Result<Option<Bytes>, FileError> {
        let Some(operation) = &self.operation else { return Err(closed()) };
        let Some(file) = &mut self.file else { return Ok(None) };
        match operation.race(file.next()).await {
            Ok(Some(bytes)) => {
                let end = self.position + bytes.len() as u64;
                if let Err(denial) = self.policy.check_download(end) {
                    self.file = None;
                    return Err(deny(&mut self.operation, denial));
                }
                operation.passed(self.position, &bytes);
                self.position = end;
                Ok(Some(bytes))
            }
            Ok(None) => {
                if self.length.is_none() {
                    self.end = Some(self.position);
                }
                self.file = None;
                Ok(None)
            }
            Err(refused) => {
                self.file = None;
                Err(refuse(&mut self.operation, refused))
            }
        }
    }

    pub(crate) fn deliver(&mut self, length: u64) {
        self.delivered += length;
        if let Some(operation) = &self.operation {
            operation.moved(length, false);
        }
    }

    /// Goes on at another place of the file, to its end.
    pub async fn seek(&mut self, offset: u64) -> Result<(), FileError> {
        let Some(operation) = &self.operation else { return Err(closed()) };
        self.file = None;
        match operation.race(self.fs.read(&self.path, offset, None)).await {
            Ok(file) => {
                self.file = Some(file);
                self.position = offset;
                self.length = None;
                Ok(())
            }
            Err(refused) => Err(refuse(&mut self.operation, refused)),
        }
    }

    /// Everything has gone through in order so far, and whether that was all was not seen yet.
    pub(crate) fn may_be_whole(&self) -> bool {
        let through = self.operation.as_ref().and_then(Operation::in_order);
        self.end.is_none() && through == Some(self.position) && self.delivered == self.position
    }

    /// The whole file has gone through.
    pub(crate) fn is_whole(&self) -> bool {
        let through = self.operation.as_ref().and_then(Operation::in_order);
        through.is_some() && through == self.end && through == Some(self.delivered)
    }

    /// Enough was read. Says the file's hash, where all of it went through in order. Without it, a file that is
    /// dropped was interrupted.
    pub fn finish(&mut self) -> Option<String> {
        let whole = self.is_whole();
        if let Some(operation) = self.operation.take() {
            self.file = None;
            self.sha256 = operation.done(whole);
        }
        self.sha256.clone()
    }

    /// It came to nothing, and another operation takes its place.
    pub(crate) fn forget(mut self) {
        if let Some(operation) = self.operation.take() {
            operation.forget();
        }
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
    /// `None` while what was written is safe, and nothing follows yet.
    file: Option<Box<dyn WriteFile>>,
    position: u64,
    /// The end of what was written.
    end: u64,
    /// It began with an empty file, or was cut at its end.
    fresh: bool,
}

impl Writing {
    pub(super) async fn open(
        operation: Operation,
        fs: Arc<dyn RemoteFs>,
        policy: Arc<FilePolicy>,
        path: RemotePath,
        mode: WriteMode,
        permissions: Option<u32>,
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
                Ok(entry) => is_file(&entry) && (fresh || entry.size.is_none_or(|size| size > position)),
                Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => false,
                Err(refused) => return Err(operation.refused(refused)),
            };
            if there {
                return Err(operation.denied(denial));
            }
        }
        let opened = async {
            let permissions = match permissions {
                // Those of a file that is there stay.
                Some(_) if mode != WriteMode::New && fs.stat(&path, true).await.is_ok() => None,
                permissions => permissions.filter(|_| fs.capabilities().permissions),
            };
            let file = reach(fs.as_ref(), &path, mode).await?;
            if let Some(permissions) = permissions {
                fs.set_permissions(&path, permissions).await?;
            }
            Ok(file)
        };
        let file = match operation.race(opened).await {
            Ok(file) => file,
            Err(refused) => return Err(operation.refused(refused)),
        };
        let operation = Some(operation);
        Ok(Self { operation, fs, policy, path, file: Some(file), position, end: position, fresh })
    }

    /// Where the next bytes go.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The end of what was written.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// It failed, and its event says why.
    pub fn is_over(&self) -> bool {
        self.operation.is_none()
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        if self.file.is_none() {
            self.seek(self.position).await?;
        }
        let (Some(operation), Some(file)) = (&self.operation, &mut self.file) else {
            return Err(closed());
        };
        let end = self.position + bytes.len() as u64;
        if let Err(denial) = self.policy.check_upload(end) {
            self.file = None;
            return Err(deny(&mut self.operation, denial));
        }
        match operation.race(file.write(bytes.clone())).await {
            Ok(()) => {
                operation.passed(self.position, &bytes);
                operation.moved(bytes.len() as u64, true);
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
        if let Err(denial) = self.policy.check_upload(offset) {
            self.file = None;
            return Err(deny(&mut self.operation, denial));
        }
        self.flush().await?;
        let Some(operation) = &self.operation else { return Err(closed()) };
        match operation.race(reach(self.fs.as_ref(), &self.path, WriteMode::At(offset))).await {
            Ok(file) => {
                self.file = Some(file);
                self.position = offset;
                Ok(())
            }
            Err(refused) => Err(refuse(&mut self.operation, refused)),
        }
    }

    /// Waits until the target has what was written so far.
    pub async fn flush(&mut self) -> Result<(), FileError> {
        let Some(operation) = &self.operation else { return Err(closed()) };
        let Some(file) = self.file.take() else { return Ok(()) };
        match operation.race(file.finish()).await {
            Ok(()) => Ok(()),
            Err(refused) => Err(refuse(&mut self.operation, refused)),
        }
    }

    /// Cuts the file there, or makes it longer.
    pub async fn set_length(&mut self, length: u64) -> Result<(), FileError> {
        if let Err(denial) = self.policy.check_upload(length) {
            self.file = None;
            return Err(deny(&mut self.operation, denial));
        }
        if self.fresh && length == self.end {
            return Ok(());
        }
        self.flush().await?;
        let Some(operation) = &self.operation else { return Err(closed()) };
        let cut = async {
            if self.fs.stat(&self.path, true).await?.size == Some(length) {
                return Ok(());
            }
            self.fs.truncate(&self.path, length).await
        };
        match operation.race(cut).await {
            Ok(()) => {
                self.fresh = length == self.end;
                self.end = self.end.min(length);
                Ok(())
            }
            Err(refused) => Err(refuse(&mut self.operation, refused)),
        }
    }

    /// All was written: waits until the target has it. Without it, what is dropped was interrupted.
    pub async fn finish(mut self) -> Result<Written, FileError> {
        self.flush().await?;
        let Some(operation) = self.operation.take() else { return Err(closed()) };
        let whole = self.fresh && operation.in_order() == Some(self.end);
        Ok(Written { end: self.end, sha256: operation.done(whole) })
    }

    /// It came to nothing, and another operation takes its place.
    pub(crate) async fn forget(mut self) {
        if let Some(operation) = self.operation.take() {
            if let Some(file) = self.file.take() {
                // It is written over at once.
                drop(operation.race(file.finish()).await);
            }
            operation.forget();
        }
    }
}

/// Begins to write; beyond the end of a file there are zeros in between.
async fn reach(fs: &dyn RemoteFs, path: &RemotePath, mode: WriteMode) -> FsResult<Box<dyn WriteFile>> {
    match (fs.write(path, mode).await, mode) {
        (Err(error), WriteMode::At(offset)) if offset > 0 && error.kind == FsErrorKind::Invalid => {
            if fs.stat(path, true).await?.size.is_none_or(|size| size >= offset) {
                return Err(error);
            }
            fs.truncate(path, offset).await?;
            fs.write(path, mode).await
        }
        (opened, _) => opened,
    }
}
