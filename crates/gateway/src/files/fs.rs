//! The one trait through which files on a target are touched.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sojourn_domain::time::Timestamp;

use super::{FsError, FsErrorKind, FsResult, RemotePath};

/// Entries in one batch of a listing, at most.
pub const BATCH: usize = 1000;

/// How long a target is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For an answer, from the last sign of life on.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(30) }
    }
}

/// What a target can do beyond reading and writing whole files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Copies files by itself.
    pub copy: bool,
    /// A rename replaces what is there, in one step.
    pub rename_over: bool,
    /// Symbolic links can be read and made.
    pub links: bool,
    /// Permissions can be set.
    pub permissions: bool,
    /// The time of the last change can be set.
    pub times: bool,
    /// [`WriteMode::At`] goes on where a cut upload ended.
    pub resume_upload: bool,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    File,
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a socket, a pipe.
    Other,
}

/// Something in a folder. What a target does not say is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// One name, never `.` or `..`, without `/` and NUL; not always UTF-8. Empty for the root.
    pub name: Vec<u8>,
    pub kind: EntryKind,
    /// Bytes.
    pub size: Option<u64>,
    pub modified: Option<Timestamp>,
    /// The lowest twelve bits of a mode, such as 0o644.
    pub permissions: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub owner: Option<String>,
    pub group: Option<String>,
    /// Where a link leads, where the target said so by itself.
    pub link_target: Option<Vec<u8>>,
}

impl Entry {
    pub fn new(name: impl Into<Vec<u8>>, kind: EntryKind) -> Self {
        Self {
            name: name.into(),
            kind,
            size: None,
            modified: None,
            permissions: None,
            uid: None,
            gid: None,
            owner: None,
            group: None,
            link_target: None,
        }
    }
}

/// A folder's entries, without `.` and `..`, in the target's order. Dropping it ends it.
pub trait Listing: Send {
    /// Up to [`BATCH`] entries, at least one; `None` at the end.
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Vec<Entry>>>>;
}

/// A file that is read. Dropping it ends it.
pub trait ReadFile: Send {
    /// The next bytes, at least one; `None` at the end. An error is the end too.
    fn next(&mut self) -> BoxFuture<'_, FsResult<Option<Bytes>>>;
}

/// A file that is written. Dropped before [`Self::finish`] it is cut: what has arrived stays on the target.
pub trait WriteFile: Send {
    /// Takes bytes; waits while too much is on its way.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, FsResult<()>>;

    /// Waits until what was written has arrived, as far as the protocol confirms that.
    fn flush(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Waits until what was written is on the target's disk; `Unsupported` where that cannot be asked.
    fn sync(&mut self) -> BoxFuture<'_, FsResult<()>> {
        Box::pin(async { Err(FsError::of(FsErrorKind::Unsupported)) })
    }

    /// Everything has arrived, the file is closed and has the size that it must have.
    fn finish(self: Box<Self>) -> BoxFuture<'static, FsResult<()>>;

    /// Bytes of this transfer that are known to have arrived; where the protocol confirms nothing (FTP), bytes that
    /// the network has taken.
    fn arrived(&self) -> u64;
}

/// Where writing begins, and what happens to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// A new file: [`FsErrorKind::Exists`] where there is something. Targets that cannot make sure in one step
    /// look first.
    New,
    /// A new file, or the file that is there emptied first.
    Replace,
    /// The file that is there, from this byte on; what follows is kept where the protocol can (FTP cuts it off). The
    /// file has at least so many bytes. At 0 it is made if need be.
    At(u64),
}

/// The files of one target, for as long as somebody has them open.
///
/// Behind it stand one or a few connections, which are made again once when they are found broken and nothing
/// was changed yet. Every call ends within a time limit, whatever the target does; one that is dropped leaves nothing
/// behind but what the target has already done. Methods may be called from many tasks at once.
///
/// Names are the target's: links are followed by the target, and a policy on paths sees them before that.
pub trait RemoteFs: Send + Sync + fmt::Debug {
    fn capabilities(&self) -> Capabilities;

    /// Of a file that was written in order through here, by somebody who died: how many bytes before its end may be
    /// missing, because what follows them arrived first. `None` where that is not known.
    fn may_miss(&self) -> Option<u64> {
        None
    }

    /// The folder that a user begins in.
    fn home(&self) -> &RemotePath;

    /// A folder's entries; links are not followed but for the folder itself.
    fn list<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Box<dyn Listing>>>;

    fn stat<'a>(&'a self, path: &'a RemotePath, follow: bool) -> BoxFuture<'a, FsResult<Entry>>;

    /// Bytes from `offset` on: `length` of them, or all; fewer where the file ends before. Nothing at all
    /// where it ends at or before the offset.
    fn read<'a>(
        &'a self,
        path: &'a RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, FsResult<Box<dyn ReadFile>>>;

    fn write<'a>(
        &'a self,
        path: &'a RemotePath,
        mode: WriteMode,
    ) -> BoxFuture<'a, FsResult<Box<dyn WriteFile>>>;

    /// Makes one folder in one that is there.
    fn mkdir<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>>;

    /// Removes a file or a link, never what the link leads to.
    fn remove_file<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>>;

    /// Removes an empty folder.
    fn remove_folder<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>>;

    /// Renames or moves. With `over`, a file that is there is replaced; without, it is [`FsErrorKind::Exists`].
    fn rename<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        over: bool,
    ) -> BoxFuture<'a, FsResult<()>>;

    /// Copies one file on the target itself, replacing what is there; [`FsErrorKind::Unsupported`] where it cannot.
    fn copy<'a>(&'a self, from: &'a RemotePath, to: &'a RemotePath) -> BoxFuture<'a, FsResult<()>>;

    /// Where a link leads: bytes as they were written, relative or not.
    fn read_link<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Vec<u8>>>;

    /// Makes a symbolic link at `path` that leads to `target`, which is written as it is.
    fn make_link<'a>(&'a self, path: &'a RemotePath, target: &'a [u8]) -> BoxFuture<'a, FsResult<()>>;

    /// Makes one more name for a file.
    fn make_hard_link<'a>(
        &'a self,
        path: &'a RemotePath,
        existing: &'a RemotePath,
    ) -> BoxFuture<'a, FsResult<()>>;

    /// The lowest twelve bits of a mode; links are followed.
    fn set_permissions<'a>(&'a self, path: &'a RemotePath, permissions: u32) -> BoxFuture<'a, FsResult<()>>;

    /// Times may be kept to the second only.
    fn set_modified<'a>(&'a self, path: &'a RemotePath, modified: Timestamp) -> BoxFuture<'a, FsResult<()>>;

    /// Cuts a file, or makes it longer with zeros.
    fn truncate<'a>(&'a self, path: &'a RemotePath, length: u64) -> BoxFuture<'a, FsResult<()>>;

    /// Says goodbye to the target. Calls that follow fail; those under way may.
    fn close(&self) -> BoxFuture<'_, ()>;
}
