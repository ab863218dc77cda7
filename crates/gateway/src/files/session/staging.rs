//! A file going up beside the place where it belongs, under another name, until it is whole.
//!
//! Whoever looks at the place sees what was there before or all of the new file, never a part of it. It is one
//! operation, an upload to the place; the other name is nobody's business. Where nothing can be made beside it, or a
//! link stands there, the file itself is written.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use sojourn_domain::{
    files::{FileAction, FilePolicy},
    id::FileSessionId,
    time::Timestamp,
};

use super::{FileError, FileSession, Written, operation::Operation};
use crate::files::{Entry, EntryKind, FsError, FsErrorKind, RemoteFs, RemotePath, WriteFile, WriteMode};

/// What removing a part that was left may take.
const UNSTAGE: Duration = Duration::from_secs(30);

/// What is to be written.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Where it belongs.
    pub path: RemotePath,
    /// Where it stands until it is whole; the same, where it is written in its place.
    pub temporary: RemotePath,
    /// How much of it stands there already.
    pub offset: u64,
    /// The whole file's, where it is known.
    pub size: Option<u64>,
    /// Put it in the place of a file that exists.
    pub over: bool,
}

/// What is done when the file is whole.
#[derive(Debug, Clone, Default)]
pub struct Landing {
    /// The time that the file is given, where the target can.
    pub modified: Option<Timestamp>,
    /// Refuse where what is replaced is not as it was when the upload began.
    pub unless_changed: bool,
    /// Refuse where the bytes are others, in lower-case hex. All of it is read again where not all of it went through
    /// in order just now.
    pub sha256: Option<String>,
}

/// An upload under way. Dropped, it was interrupted, and what arrived stays under the other name.
pub struct Staging {
    session: FileSessionId,
    operation: Option<Operation>,
    fs: Arc<dyn RemoteFs>,
    policy: Arc<FilePolicy>,
    stage: Stage,
    file: Option<Box<dyn WriteFile>>,
    /// What it will replace.
    before: Option<Entry>,
    position: u64,
    /// Until where the target had all bytes when the file was closed.
    arrived: u64,
}

impl FileSession {
    /// Begins an upload, or goes on with one.
    pub async fn stage(&self, mut stage: Stage) -> Result<Staging, FileError> {
        let operation = self.enter(FileAction::Upload, &stage.path, None).await?;
        operation.moves_from(stage.offset);
        if let Err(denial) = self.policy.check_upload(stage.size.unwrap_or(0).max(stage.offset)) {
            return Err(operation.denied(denial));
        }
        let in_place = stage.temporary == stage.path;
        let before = match operation.race(self.fs.stat(&stage.path, false)).await {
            Ok(entry) => Some(entry),
            Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => None,
            Err(refused) => return Err(operation.refused(refused)),
        };
        if let Some(entry) = &before {
            if entry.kind == EntryKind::Folder {
                return Err(operation.failed(FsError::of(FsErrorKind::IsAFolder)));
            }
            // What was begun in its place is there by now.
            if !(in_place && stage.offset > 0) {
                if !stage.over {
                    return Err(operation.failed(FsError::of(FsErrorKind::Exists)));
                }
                if let Err(denial) = self.policy.check_replacing() {
                    return Err(operation.denied(denial));
                }
            }
        }
        if before.as_ref().is_some_and(|entry| entry.kind != EntryKind::File) && stage.offset == 0 {
            stage.temporary = stage.path.clone();
        }
        let mode = if stage.offset == 0 { WriteMode::Replace } else { WriteMode::At(stage.offset) };
        let file = match operation.race(self.fs.write(&stage.temporary, mode)).await {
            // The file may be written, and its folder not.
            Err(FileError::Target(error))
                if error.kind == FsErrorKind::Denied && before.is_some() && stage.offset == 0 =>
            {
                stage.temporary = stage.path.clone();
                operation.race(self.fs.write(&stage.path, WriteMode::Replace)).await
            }
            file => file,
        };
        let file = match file {
            Ok(file) => file,
            Err(refused) => return Err(operation.refused(refused)),
        };
        let position = stage.offset;
        Ok(Staging {
            session: self.journal.id(),
            operation: Some(operation),
            fs: Arc::clone(&self.fs),
            policy: Arc::clone(&self.policy),
            stage,
            file: Some(file),
            before,
            position,
            arrived: position,
        })
    }

    /// From where on an upload that was cut goes on. `noted` bytes are known to have arrived; nobody else writes under
    /// the other name, so what it has by now tells how much more must have.
    pub async fn staged(&self, stage: &Stage, noted: u64) -> Result<u64, FileError> {
        let there = match self.look(self.fs.stat(&stage.temporary, false)).await {
            Ok(entry) => entry.size.unwrap_or(0),
            Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => 0,
            Err(refused) => return Err(refused),
        };
        let noted = noted.min(there);
        // In its own place it may be somebody else's by now, and more than there was to send is not ours.
        if stage.temporary == stage.path || stage.size.is_none_or(|size| there > size) {
            return Ok(noted);
        }
        let sure = self.fs.may_miss().map_or(0, |missing| there.saturating_sub(missing));
        Ok(noted.max(sure))
    }

    /// Removes what stands under the other name. It was never a file of anybody's: no event. Also after the session has
    /// ended: what it leaves behind is its own.
    pub async fn unstage(&self, temporary: &RemotePath) -> Result<(), FileError> {
        let removed = tokio::time::timeout(UNSTAGE, self.fs.remove_file(temporary)).await;
        match removed.unwrap_or_else(|_| Err(FsError::of(FsErrorKind::TimedOut))) {
            Err(error) if error.kind == FsErrorKind::NotFound => Ok(()),
            removed => removed.map_err(FileError::Target),
        }
    }
}

impl Staging {
    /// The file session that it belongs to.
    pub fn session(&self) -> FileSessionId {
        self.session
    }

    /// Where the next bytes go.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Until where the target is known to have all bytes.
    pub fn arrived(&self) -> u64 {
        let Some(file) = &self.file else { return self.arrived };
        self.stage.offset.saturating_add(file.arrived()).min(self.position)
    }

    /// Where it stands meanwhile; its own place, where it is written there.
    pub fn temporary(&self) -> &RemotePath {
        &self.stage.temporary
    }

    pub fn in_place(&self) -> bool {
        self.stage.temporary == self.stage.path
    }

    /// Resolves when the session was ended: whoever waits for more to write waits in vain.
    pub fn ended(&self) -> impl Future<Output = FileError> + Send + use<> {
        let journal = self.operation.as_ref().map(|operation| operation.journal().clone());
        async move {
            match journal {
                Some(journal) => journal.ended().await.into(),
                None => closed(),
            }
        }
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<(), FileError> {
        let (Some(operation), Some(file)) = (&self.operation, &mut self.file) else {
            return Err(closed());
        };
        let end = self.position.saturating_add(bytes.len() as u64);
        if let Err(denial) = self.policy.check_upload(end) {
            return Err(self.fail(denial.into()));
        }
        match operation.race(file.write(bytes.clone())).await {
            Ok(()) => {
                operation.passed(self.position, &bytes);
                operation.moved(bytes.len() as u64, true);
                self.position = end;
                Ok(())
            }
            Err(refused) => Err(self.fail(refused)),
        }
    }

    /// Closes the file, so that all that was written is on the target, and says until where that is. The operation was
    /// interrupted.
    pub async fn pause(mut self) -> u64 {
        let sure = self.arrived();
        self.arrived = sure;
        let (Some(operation), Some(file)) = (&self.operation, self.file.take()) else { return sure };
        match operation.race(file.finish()).await {
            Ok(()) => self.position,
            Err(refused) => {
                self.fail(refused);
                sure
            }
        }
    }

    fn fail(&mut self, refused: FileError) -> FileError {
        self.arrived = self.arrived();
        self.file = None;
        match self.operation.take() {
            Some(operation) => operation.refused(refused),
            None => refused,
        }
    }

    /// All was written: puts the file in its place.
    pub async fn land(mut self, landing: Landing) -> Result<Written, FileError> {
        let (Some(operation), Some(file)) = (&self.operation, self.file.take()) else {
            return Err(closed());
        };
        let hash = operation.hash_so_far(self.position);
        let put = async {
            file.finish().await?;
            if let Some(wanted) = &landing.sha256 {
                let hash = match hash {
                    Some(hash) => hash,
                    None => hash_of(&*self.fs, &self.stage.temporary).await?,
                };
                if hash != *wanted {
                    return Err(FsError::new(FsErrorKind::Other, "other bytes have arrived than were sent"));
                }
            }
            put(&*self.fs, &self.stage, self.before.as_ref(), self.position, &landing).await
        };
        if let Err(refused) = operation.race(put).await {
            return Err(self.fail(refused));
        }
        let whole = operation.in_order() == Some(self.position);
        let sha256 = self.operation.take().and_then(|operation| operation.done(whole));
        Ok(Written { end: self.position, sha256 })
    }
}

async fn hash_of(fs: &dyn RemoteFs, path: &RemotePath) -> Result<String, FsError> {
    let mut context = Context::new(&SHA256);
    let mut file = fs.read(path, 0, None).await?;
    while let Some(bytes) = file.next().await? {
        context.update(&bytes);
    }
    Ok(HEXLOWER.encode(context.finish().as_ref()))
}

async fn put(
    fs: &dyn RemoteFs,
    stage: &Stage,
    before: Option<&Entry>,
    size: u64,
    landing: &Landing,
) -> Result<(), FsError> {
    let Stage { path, temporary, .. } = stage;
    let able = fs.capabilities();
    let arrived = fs.stat(temporary, true).await?;
    if arrived.size.is_some_and(|arrived| arrived != size) {
        return Err(FsError::new(FsErrorKind::Other, "the target has another size of it than was sent"));
    }
    let in_place = temporary == path;
    if let Some(permissions) = before.and_then(|before| before.permissions)
        && able.permissions
        && !in_place
        && arrived.permissions.is_some_and(|arrived| arrived != permissions)
    {
        // A file of somebody else's, say: it is written all the same.
        let _ = fs.set_permissions(temporary, permissions).await;
    }
    if let Some(modified) = landing.modified
        && able.times
    {
        // The bytes are what matters.
        let _ = fs.set_modified(temporary, modified).await;
    }
    if in_place {
        return Ok(());
    }
    if landing.unless_changed {
        let now = match fs.stat(path, false).await {
            Ok(entry) => Some(entry),
            Err(error) if error.kind == FsErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let of = |entry: Option<&Entry>| entry.map(|entry| (entry.size, entry.modified));
        if of(now.as_ref()) != of(before) {
            return Err(FsError::new(FsErrorKind::Exists, "somebody else has changed it meanwhile"));
        }
    }
    match fs.rename(temporary, path, stage.over).await {
        Err(error) if stage.over && matches!(error.kind, FsErrorKind::Unsupported | FsErrorKind::Exists) => {
            match fs.remove_file(path).await {
                Err(error) if error.kind != FsErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            fs.rename(temporary, path, false).await
        }
        renamed => renamed,
    }
}

/// It failed before, and its event says why.
fn closed() -> FileError {
    FsError::new(FsErrorKind::Invalid, "the file is not open any more").into()
}
