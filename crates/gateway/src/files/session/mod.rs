//! File sessions: a user moving files on a connection, and what is written down of it.
//!
//! The way of one: [`crate::admission::Admission::check`], [`FileHub::begin`] (its row stands before anything is
//! reached), [`crate::files::open`], [`FileSession::new`]. A [`FileSession`] is the only way to touch a target's files:
//! each operation is held against the connection's policy and leaves exactly one event, however it ends. Whatever
//! happens, the row is ended: the [`FileJournal`] does so when the last of it is dropped.
//!
//! It knows neither clients nor protocols.

mod hash;
mod hub;
mod journal;
mod operation;
mod policy;
mod staging;
mod transfer;

use std::sync::Arc;

use sojourn_domain::{
    access::EndReason,
    files::{Denial, FileAction, FilePolicy},
    time::Timestamp,
};

use self::operation::Operation;
pub use self::{
    hub::{FileHub, FileHubDeps, FileOpening, FileSessionHandle},
    journal::{EndsAs, FileEnded, FileFacts, FileJournal},
    staging::{Landing, Stage, Staging},
    transfer::{Browsing, Reading, Writing, Written},
};
use crate::files::{Capabilities, Entry, EntryKind, FsError, FsErrorKind, RemoteFs, RemotePath, WriteMode};

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The connection's policy refuses it.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The target refused it, or could not.
    #[error(transparent)]
    Target(#[from] FsError),
    /// The file session has ended.
    #[error(transparent)]
    Ended(#[from] FileEnded),
}

/// A target's files, as a user may touch them. Cheap to clone.
#[derive(Clone)]
pub struct FileSession {
    fs: Arc<dyn RemoteFs>,
    policy: Arc<FilePolicy>,
    journal: FileJournal,
}

impl std::fmt::Debug for FileSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSession({})", self.journal.id())
    }
}

impl FileSession {
    pub fn new(journal: FileJournal, fs: Arc<dyn RemoteFs>, policy: FilePolicy) -> Self {
        Self { fs, policy: Arc::new(policy), journal }
    }

    pub fn journal(&self) -> &FileJournal {
        &self.journal
    }

    pub fn policy(&self) -> &FilePolicy {
        &self.policy
    }

    pub fn capabilities(&self) -> Capabilities {
        self.fs.capabilities()
    }

    async fn begin(
        &self,
        action: FileAction,
        path: &RemotePath,
        new_path: Option<&RemotePath>,
    ) -> Result<Operation, FileError> {
        Ok(Operation::begin(&self.journal, action, path, new_path).await?)
    }

    /// Begins an operation that the policy lets through.
    async fn enter(
        &self,
        action: FileAction,
        path: &RemotePath,
        new_path: Option<&RemotePath>,
    ) -> Result<Operation, FileError> {
        let operation = self.begin(action, path, new_path).await?;
        match self.check(&operation, action, path, new_path).await {
            Ok(()) => Ok(operation),
            Err(refused) => Err(operation.refused(refused)),
        }
    }

    /// Reads a folder, without what the policy hides.
    pub async fn list(&self, path: &RemotePath) -> Result<Browsing, FileError> {
        let operation = self.enter(FileAction::Browse, path, None).await?;
        match operation.race(self.fs.list(path)).await {
            Ok(listing) => Ok(Browsing::new(operation, listing, path.clone(), Arc::clone(&self.policy))),
            Err(refused) => Err(operation.refused(refused)),
        }
    }

    /// What a path is. Looking is no operation; but that somebody looked at what they may not is an event, and looking is
    /// called browsing.
    pub async fn stat(&self, path: &RemotePath, follow: bool) -> Result<Entry, FileError> {
        self.stat_to(FileAction::Browse, path, follow).await
    }

    /// The same as the first step of something: where it is refused, that is what was refused.
    pub async fn stat_to(
        &self,
        action: FileAction,
        path: &RemotePath,
        follow: bool,
    ) -> Result<Entry, FileError> {
        self.may_look(action, path, follow).await?;
        self.look(self.fs.stat(path, follow)).await
    }

    /// The same for whoever goes on whatever is found, so that what follows is refused and has its event.
    pub async fn glance(&self, path: &RemotePath, follow: bool) -> Result<Entry, FileError> {
        self.check_look(path, follow).await?;
        self.look(self.fs.stat(path, follow)).await
    }

    pub async fn read_link(&self, path: &RemotePath) -> Result<Vec<u8>, FileError> {
        self.may_look(FileAction::Browse, path, false).await?;
        self.look(self.fs.read_link(path)).await
    }

    async fn may_look(&self, action: FileAction, path: &RemotePath, follow: bool) -> Result<(), FileError> {
        match self.check_look(path, follow).await {
            Err(FileError::Denied(denial)) => Err(self.begin(action, path, None).await?.denied(denial)),
            checked => checked,
        }
    }

    /// What leaves no event.
    async fn look<T>(&self, work: impl Future<Output = Result<T, FsError>>) -> Result<T, FileError> {
        self.journal.shared().touch();
        tokio::select! {
            biased;
            ended = self.journal.ended() => Err(ended.into()),
            done = work => done.map_err(FileError::Target),
        }
    }

    /// Reads a file from `offset` on, to its end or so many bytes.
    pub async fn read(
        &self,
        path: &RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Reading, FileError> {
        let operation = self.enter(FileAction::Download, path, None).await?;
        operation.moves_from(offset);
        Reading::open(operation, Arc::clone(&self.fs), Arc::clone(&self.policy), path.clone(), offset, length)
            .await
    }

    /// Writes a file. [`Writing::finish`] says that all of it arrived.
    pub async fn write(&self, path: &RemotePath, mode: WriteMode) -> Result<Writing, FileError> {
        self.write_with(path, mode, None).await
    }

    /// The same; a file that was not there before gets these permissions, where the target has such.
    pub async fn write_with(
        &self,
        path: &RemotePath,
        mode: WriteMode,
        permissions: Option<u32>,
    ) -> Result<Writing, FileError> {
        let operation = self.enter(FileAction::Upload, path, None).await?;
        let (fs, policy) = (Arc::clone(&self.fs), Arc::clone(&self.policy));
        Writing::open(operation, fs, policy, path.clone(), mode, permissions).await
    }

    pub async fn mkdir(&self, path: &RemotePath) -> Result<(), FileError> {
        self.mkdir_with(path, None).await
    }

    /// The same, with permissions, where the target has such.
    pub async fn mkdir_with(&self, path: &RemotePath, permissions: Option<u32>) -> Result<(), FileError> {
        let operation = self.enter(FileAction::Mkdir, path, None).await?;
        let made = async {
            self.fs.mkdir(path).await?;
            match permissions.filter(|_| self.fs.capabilities().permissions) {
                Some(permissions) => self.fs.set_permissions(path, permissions).await,
                None => Ok(()),
            }
        };
        operation.run(made).await
    }

    pub async fn remove_file(&self, path: &RemotePath) -> Result<(), FileError> {
        self.enter(FileAction::Delete, path, None).await?.run(self.fs.remove_file(path)).await
    }

    pub async fn remove_folder(&self, path: &RemotePath) -> Result<(), FileError> {
        self.enter(FileAction::Delete, path, None).await?.run(self.fs.remove_folder(path)).await
    }

    /// `over`: what stands there already is replaced.
    pub async fn rename(&self, from: &RemotePath, to: &RemotePath, over: bool) -> Result<(), FileError> {
        let operation = self.enter(FileAction::Rename, from, Some(to)).await?;
        let operation = self.unless_replacing(operation, to, over && from != to).await?;
        operation.run(self.fs.rename(from, to, over)).await
    }

    /// Copies a file within the target, where it can ([`Capabilities::copy`]); what stands there already is replaced.
    pub async fn copy(&self, from: &RemotePath, to: &RemotePath) -> Result<(), FileError> {
        let operation = self.enter(FileAction::Copy, from, Some(to)).await?;
        let operation = self.unless_replacing(operation, to, true).await?;
        operation.run(self.fs.copy(from, to)).await
    }

    pub async fn set_permissions(&self, path: &RemotePath, permissions: u32) -> Result<(), FileError> {
        self.set_attributes(path, Some(permissions), None).await
    }

    pub async fn set_modified(&self, path: &RemotePath, modified: Timestamp) -> Result<(), FileError> {
        self.set_attributes(path, None, Some(modified)).await
    }

    /// Permissions and the time of the last change, in one operation.
    pub async fn set_attributes(
        &self,
        path: &RemotePath,
        permissions: Option<u32>,
        modified: Option<Timestamp>,
    ) -> Result<(), FileError> {
        let operation = self.enter(FileAction::Chmod, path, None).await?;
        let set = async {
            if let Some(permissions) = permissions {
                self.fs.set_permissions(path, permissions).await?;
            }
            if let Some(modified) = modified {
                self.fs.set_modified(path, modified).await?;
            }
            Ok(())
        };
        operation.run(set).await
    }

    pub async fn truncate(&self, path: &RemotePath, length: u64) -> Result<(), FileError> {
        let operation = self.enter(FileAction::Truncate, path, None).await?;
        operation.know(|fact| fact.bytes = Some(length));
        if let Err(denial) = self.policy.check_upload(length) {
            return Err(operation.denied(denial));
        }
        operation.run(self.fs.truncate(path, length)).await
    }

    /// Makes the symbolic link `path` that says `target`, which need not be a path of anything.
    pub async fn make_link(&self, path: &RemotePath, target: &[u8]) -> Result<(), FileError> {
        // A relative one counts from the folder that the link is in.
        let named = policy::link_target(path, target);
        let operation = match &named {
            Ok(named) => self.enter(FileAction::Link, path, Some(named)).await?,
            Err(_) => self.enter(FileAction::Link, path, None).await?,
        };
        match named {
            Ok(_) => operation.run(self.fs.make_link(path, target)).await,
            Err(error) => Err(operation.failed(error)),
        }
    }

    /// Makes one more name for a file.
    pub async fn make_hard_link(&self, path: &RemotePath, existing: &RemotePath) -> Result<(), FileError> {
        let operation = self.enter(FileAction::Link, path, Some(existing)).await?;
        operation.run(self.fs.make_hard_link(path, existing)).await
    }

    /// The folder that a user begins in.
    pub fn home(&self) -> &RemotePath {
        self.fs.home()
    }

    /// Says goodbye to the target, and ends the session.
    pub async fn close(self, reason: EndReason, detail: impl Into<String>) {
        self.journal.clone().end(reason, detail).await;
        self.fs.close().await;
    }

    /// Under a policy by which nothing is replaced, there must be nothing.
    async fn unless_replacing(
        &self,
        operation: Operation,
        to: &RemotePath,
        over: bool,
    ) -> Result<Operation, FileError> {
        let Err(denial) = self.policy.check_replacing() else { return Ok(operation) };
        if !over {
            return Ok(operation);
        }
        match operation.race(self.fs.stat(to, false)).await {
            Ok(_) => Err(operation.denied(denial)),
            Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => Ok(operation),
            Err(refused) => Err(operation.refused(refused)),
        }
    }
}

/// Whether a path names a file that can be replaced.
fn is_file(entry: &Entry) -> bool {
    entry.kind == EntryKind::File
}
