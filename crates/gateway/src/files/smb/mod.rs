//! SMB targets: SMB 2.0.2 to 3.1.1, signed wherever somebody logged in, encrypted where the target asks for it. Never SMB 1.
//!
//! Owns the connection and its shares. Links that a Samba server follows by itself cannot be told from
//! what they lead to; links of Windows are shown as links and not followed.

mod explain;
mod link;
mod names;
mod transfer;
mod wire;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use smb2::{
    FileTimes, RenameOptions, Tree,
    client::Connection,
    msg::{query_info::InfoType, set_info::SetInfoRequest},
    types::{Command, FileId, status::NtStatus},
};
use sojourn_domain::time::Timestamp;
use tokio::sync::Mutex;

use self::{
    link::Link,
    names::Place,
    transfer::{Folder, Reading, Shares, Writing, described, file_time, within},
};
use super::{
    Capabilities, Entry, EntryKind, FsError, FsErrorKind, FsResult, Listing, Opened, Patience, ReadFile,
    RemoteFs, RemotePath, WriteFile, WriteMode, start_folder,
};
use crate::protocols::{ConnectError, Credential, Target, dial::Rules};

/// FileEndOfFileInformation (MS-FSCC 2.4.14).
const END_OF_FILE: u8 = 20;

/// Reaches a target and logs in.
pub async fn open(
    target: &Target,
    credential: &Credential,
    rules: &Rules,
    patience: Patience,
) -> Result<Opened, ConnectError> {
    let link = Link::open(target, credential, rules, patience).await?;
    let fs = Smb {
        home: start_folder(&RemotePath::root(), target),
        target: target.clone(),
        credential: credential.clone(),
        rules: rules.clone(),
        patience,
        link: Mutex::new(State::Up(Arc::new(link))),
    };
    Ok(Opened { fs: Arc::new(fs), host_key: None, first_use: false })
}

#[derive(Debug)]
enum State {
    Up(Arc<Link>),
    /// Broken: made again by the next who comes.
    Down,
    Closed,
}

#[derive(Debug)]
struct Smb {
    target: Target,
    credential: Credential,
    rules: Rules,
    patience: Patience,
    home: RemotePath,
    link: Mutex<State>,
}

/// What is done on a share: with a connection, the share and a path on it.
type Deed<T> = BoxFuture<'static, FsResult<T>>;

/// Whether a deed may be tried again on a new connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It changes nothing.
    Yes,
    No,
}

impl Smb {
    async fn link(&self) -> FsResult<Arc<Link>> {
        let mut state = self.link.lock().await;
        match &*state {
            State::Up(link) if !link.is_broken() => return Ok(Arc::clone(link)),
            State::Closed => return Err(FsError::new(FsErrorKind::Lost, "the connection was closed")),
            State::Up(_) | State::Down => {}
        }
        *state = State::Down;
        let link = Link::open(&self.target, &self.credential, &self.rules, self.patience).await?;
        let link = Arc::new(link);
        *state = State::Up(Arc::clone(&link));
        Ok(link)
    }

    /// Takes a link out of use; files that are open on it stay so.
    async fn forget(&self, broken: &Arc<Link>) {
        let mut state = self.link.lock().await;
        if matches!(&*state, State::Up(link) if Arc::ptr_eq(link, broken)) {
            *state = State::Down;
        }
    }

    async fn with_link<T>(&self, again: Again, deed: impl Fn(Arc<Link>) -> Deed<T>) -> FsResult<T> {
        let link = self.link().await?;
        let fault = match deed(Arc::clone(&link)).await {
            Err(fault) if fault.is_lost() => fault,
            done => return done,
        };
        self.forget(&link).await;
        if again == Again::No || fault.kind == FsErrorKind::TimedOut {
            return Err(fault);
        }
        deed(self.link().await?).await
    }

    /// Does something at a place on a share.
    async fn at<T: Send + 'static>(
        &self,
        path: &RemotePath,
        again: Again,
        deed: impl Fn(Connection, Arc<Tree>, String) -> Deed<T> + Clone + Send + 'static,
    ) -> FsResult<T> {
        let Place::On { share, path } = names::place(&self.target.options.share, path)? else {
            return Err(FsError::new(FsErrorKind::IsAFolder, "the root holds shares and nothing else"));
        };
        let limit = self.patience.answer;
        self.with_link(again, |link| {
            let (share, path, deed) = (share.clone(), path.clone(), deed.clone());
            Box::pin(async move {
                let tree = match tokio::time::timeout(limit, link.tree(&share)).await {
                    Ok(tree) => tree.map_err(|error| explain::share_fault(&share, &error))?,
                    Err(_) => return Err(FsError::of(FsErrorKind::TimedOut)),
                };
                whole(limit, &mut link.connection(), &tree, &path).await?;
                deed(link.connection(), tree, path).await
            })
        })
        .await
    }

    /// As [`Self::at`], below the root of a share.
    async fn below<T: Send + 'static>(
        &self,
        path: &RemotePath,
        again: Again,
        deed: impl Fn(Connection, Arc<Tree>, String) -> Deed<T> + Clone + Send + 'static,
    ) -> FsResult<T> {
        match names::place(&self.target.options.share, path)? {
            Place::On { path, .. } if !path.is_empty() => {}
            Place::On { .. } | Place::Shares => {
                return Err(FsError::new(FsErrorKind::Denied, "a share itself cannot be changed"));
            }
        }
        self.at(path, again, deed).await
    }

    /// Two places on one share.
    fn both(&self, from: &RemotePath, to: &RemotePath) -> FsResult<String> {
        match (names::place(&self.target.options.share, from)?, names::place(&self.target.options.share, to)?)
        {
            (Place::On { share: from, path: source }, Place::On { share: to, path: target })
                if !source.is_empty() && !target.is_empty() =>
            {
                if from.eq_ignore_ascii_case(&to) {
                    return Ok(target);
                }
                Err(FsError::new(FsErrorKind::Unsupported, "the two are on different shares"))
            }
            _ => Err(FsError::new(FsErrorKind::Denied, "a share itself cannot be changed")),
        }
    }

    async fn stat_now(&self, path: &RemotePath) -> FsResult<Entry> {
        let limit = self.patience.answer;
        let name = path.name().unwrap_or_default().to_vec();
        if names::place(&self.target.options.share, path)? == Place::Shares {
            return Ok(Entry::new(name, EntryKind::Folder));
        }
        self.at(path, Again::Yes, move |mut connection, tree, path| {
            let name = name.clone();
            Box::pin(async move {
                let info = within(limit, tree.stat(&mut connection, &path)).await?;
                Ok(described(&name, &info))
            })
        })
        .await
    }

    async fn list_now(&self, path: &RemotePath) -> FsResult<Box<dyn Listing>> {
        let limit = self.patience.answer;
        if names::place(&self.target.options.share, path)? == Place::Shares {
            let list = |link: Arc<Link>| -> Deed<Vec<String>> {
                Box::pin(async move {
                    let shares = tokio::time::timeout(limit, link.shares()).await;
                    shares.unwrap_or_else(|_| Err(FsError::of(FsErrorKind::TimedOut)))
                })
            };
            let shares = self.with_link(Again::Yes, list).await.map_err(|fault| {
                if fault.is_lost() {
                    return fault;
                }
                FsError::new(
                    fault.kind,
                    format!(
                        "the target does not say which shares it has: name one in the connection ({fault})"
                    ),
                )
            })?;
            let named = shares.into_iter().filter(|name| names::is_name(name));
            let mut entries: Vec<_> = named.map(|name| Entry::new(name, EntryKind::Folder)).collect();
            entries.sort_by(|one, other| one.name.cmp(&other.name));
            return Ok(Box::new(Shares(entries)));
        }
        self.at(path, Again::Yes, move |connection, tree, path| {
            Box::pin(async move {
                let reader = within(limit, tree.open_directory_reader(connection, &path)).await?;
                Ok(Box::new(Folder::new(reader, limit)) as Box<dyn Listing>)
            })
        })
        .await
    }

    async fn write_now(&self, path: &RemotePath, mode: WriteMode) -> FsResult<Box<dyn WriteFile>> {
        let limit = self.patience.answer;
        self.below(path, Again::No, move |mut connection, tree, path| {
            Box::pin(async move {
                if let WriteMode::At(offset) = mode
                    && offset > 0
                {
                    let found = within(limit, tree.stat(&mut connection, &path)).await?;
                    if found.size < offset {
                        return Err(FsError::new(
                            FsErrorKind::Invalid,
                            format!("the file has {} bytes only, and was to go on at {offset}", found.size),
                        ));
                    }
                }
                let opened = async {
                    match mode {
                        WriteMode::New => tree.create_file_writer_exclusive(connection, &path).await,
                        WriteMode::Replace => tree.create_file_writer(connection, &path).await,
                        WriteMode::At(offset) => tree.create_file_writer_at(connection, &path, offset).await,
                    }
                };
                let writer = within(limit, opened).await.map_err(|fault| match (mode, fault.kind) {
                    // Whatever it is, it is there.
                    (WriteMode::New, FsErrorKind::IsAFolder) => FsError::of(FsErrorKind::Exists),
                    _ => fault,
                })?;
                Ok(Box::new(Writing::new(writer, limit)) as Box<dyn WriteFile>)
            })
        })
        .await
    }

    async fn copy_now(&self, from: &RemotePath, to: &RemotePath) -> FsResult<()> {
        let limit = self.patience.answer;
        let target = self.both(from, to)?;
        self.below(from, Again::No, move |mut connection, tree, source| {
            let target = target.clone();
            Box::pin(async move {
                let (info, one) = within(limit, tree.stat_with_identity(&mut connection, &source)).await?;
                if info.is_directory {
                    return Err(FsError::of(FsErrorKind::IsAFolder));
                }
                whole(limit, &mut connection, &tree, &target).await?;
                // Copying begins by emptying what is there: it must not be the same file by another name.
                match within(limit, tree.stat_with_identity(&mut connection, &target)).await {
                    Ok((info, _)) if info.is_directory => return Err(FsError::of(FsErrorKind::IsAFolder)),
                    Ok((_, other)) if one.is_some() && one != other => {}
                    Ok(_) => {
                        return Err(FsError::new(
                            FsErrorKind::Invalid,
                            "a file cannot be copied onto itself",
                        ));
                    }
                    Err(fault) if fault.kind == FsErrorKind::NotFound => {}
                    Err(fault) => return Err(fault),
                }
                // Each piece of it has the connection's time limit.
                let copied = tree.server_side_copy_file(&mut connection, &source, &target).await;
                let copied = copied.map_err(|error| explain::fault(&error))?;
                if copied == info.size {
                    return Ok(());
                }
                Err(FsError::new(FsErrorKind::Other, format!("{copied} bytes of {} were copied", info.size)))
            })
        })
        .await
    }

    async fn remove_file_now(&self, path: &RemotePath) -> FsResult<()> {
        let limit = self.patience.answer;
        self.below(path, Again::No, move |mut connection, tree, path| {
            Box::pin(async move {
                let removed = within(limit, tree.delete_file(&mut connection, &path)).await;
                match removed {
                    // A link to a folder is a folder to Windows.
                    Err(fault) if fault.kind == FsErrorKind::IsAFolder => {
                        if !within(limit, tree.stat(&mut connection, &path)).await?.is_link() {
                            return Err(fault);
                        }
                        within(limit, tree.delete_link(&mut connection, &path)).await
                    }
                    done => done,
                }
            })
        })
        .await
    }

    async fn truncate_now(&self, path: &RemotePath, length: u64) -> FsResult<()> {
        let limit = self.patience.answer;
        self.below(path, Again::No, move |mut connection, tree, path| {
            Box::pin(async move {
                // What is not there must not be made.
                within(limit, tree.stat(&mut connection, &path)).await?;
                let (file, _) = within(limit, tree.open_file_readwrite(&mut connection, &path)).await?;
                let cut = within(limit, set_length(&connection, &tree, file, length)).await;
                let closed = within(limit, tree.close_handle(&mut connection, file)).await;
                cut.and(closed)
            })
        })
        .await
    }
}

/// Refuses short forms of names: rules for paths know the long ones. A target that does not say what it has opened
/// (before SMB 3.1.1) is believed.
async fn whole(limit: Duration, connection: &mut Connection, tree: &Tree, path: &str) -> FsResult<()> {
    for (path, name) in names::shortened(path) {
        match within(limit, tree.resolve(connection, path)).await {
            Ok(found) if found.path.rsplit('/').next().is_some_and(|found| names::is_same(found, name)) => {}
            Ok(_) => {
                return Err(FsError::new(
                    FsErrorKind::NotFound,
                    "this is the short form of another name: say that one",
                ));
            }
            Err(fault) if fault.kind == FsErrorKind::NotFound => break,
            Err(fault) if fault.is_lost() => return Err(fault),
            // Whoever may not even look is told so by what they do.
            Err(_) => {}
        }
    }
    Ok(())
}

async fn set_length(connection: &Connection, tree: &Tree, file: FileId, length: u64) -> smb2::Result<()> {
    let request = SetInfoRequest {
        info_type: InfoType::File,
        file_info_class: END_OF_FILE,
        additional_information: 0,
        file_id: file,
        buffer: length.to_le_bytes().to_vec(),
    };
    let answer = connection.execute(Command::SetInfo, &request, Some(tree.tree_id)).await?;
    if answer.header.status == NtStatus::SUCCESS {
        return Ok(());
    }
    Err(smb2::Error::Protocol { status: answer.header.status, command: Command::SetInfo })
}

fn unsupported<'a, T: Send + 'a>(what: &'static str) -> BoxFuture<'a, FsResult<T>> {
    Box::pin(std::future::ready(Err(FsError::new(FsErrorKind::Unsupported, what))))
}

impl RemoteFs for Smb {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            copy: true,
            rename_over: true,
            links: false,
            permissions: false,
            times: true,
            resume_upload: true,
        }
    }

    fn home(&self) -> &RemotePath {
        &self.home
    }

    fn list<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Box<dyn Listing>>> {
        Box::pin(self.list_now(path))
    }

    fn stat<'a>(&'a self, path: &'a RemotePath, _follow: bool) -> BoxFuture<'a, FsResult<Entry>> {
        Box::pin(self.stat_now(path))
    }

    fn read<'a>(
        &'a self,
        path: &'a RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, FsResult<Box<dyn ReadFile>>> {
        let limit = self.patience.answer;
        Box::pin(self.at(path, Again::Yes, move |connection, tree, path| {
            Box::pin(async move {
                let file = within(limit, tree.open_file_reader(connection, &path)).await?;
                if file.info().is_directory {
                    return Err(FsError::of(FsErrorKind::IsAFolder));
                }
                Ok(Box::new(Reading::new(file, offset, length, limit)) as Box<dyn ReadFile>)
            })
        }))
    }

    fn write<'a>(
        &'a self,
        path: &'a RemotePath,
        mode: WriteMode,
    ) -> BoxFuture<'a, FsResult<Box<dyn WriteFile>>> {
        Box::pin(self.write_now(path, mode))
    }

    fn mkdir<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        let limit = self.patience.answer;
        Box::pin(self.below(path, Again::No, move |mut connection, tree, path| {
            Box::pin(async move { within(limit, tree.create_directory(&mut connection, &path)).await })
        }))
    }

    fn remove_file<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(self.remove_file_now(path))
    }

    fn remove_folder<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        let limit = self.patience.answer;
        Box::pin(self.below(path, Again::No, move |mut connection, tree, path| {
            Box::pin(async move { within(limit, tree.delete_directory(&mut connection, &path)).await })
        }))
    }

    fn rename<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        over: bool,
    ) -> BoxFuture<'a, FsResult<()>> {
        let limit = self.patience.answer;
        Box::pin(async move {
            let target = self.both(from, to)?;
            self.below(from, Again::No, move |mut connection, tree, source| {
                let target = target.clone();
                Box::pin(async move {
                    whole(limit, &mut connection, &tree, &target).await?;
                    let options = RenameOptions::new().replace_if_exists(over);
                    within(limit, tree.rename_with(&mut connection, &source, &target, options)).await
                })
            })
            .await
        })
    }

    fn copy<'a>(&'a self, from: &'a RemotePath, to: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(self.copy_now(from, to))
    }

    fn read_link<'a>(&'a self, _: &'a RemotePath) -> BoxFuture<'a, FsResult<Vec<u8>>> {
        unsupported("where a link leads cannot be read over SMB")
    }

    fn make_link<'a>(&'a self, _: &'a RemotePath, _: &'a [u8]) -> BoxFuture<'a, FsResult<()>> {
        unsupported("links cannot be made over SMB")
    }

    fn make_hard_link<'a>(&'a self, _: &'a RemotePath, _: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        unsupported("links cannot be made over SMB")
    }

    fn set_permissions<'a>(&'a self, _: &'a RemotePath, _: u32) -> BoxFuture<'a, FsResult<()>> {
        unsupported("SMB has no permissions of this kind")
    }

    fn set_modified<'a>(&'a self, path: &'a RemotePath, modified: Timestamp) -> BoxFuture<'a, FsResult<()>> {
        let limit = self.patience.answer;
        Box::pin(self.below(path, Again::No, move |mut connection, tree, path| {
            Box::pin(async move {
                let times = FileTimes::new().set_modified(file_time(modified));
                within(limit, tree.set_times(&mut connection, &path, times)).await
            })
        }))
    }

    fn truncate<'a>(&'a self, path: &'a RemotePath, length: u64) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(self.truncate_now(path, length))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            *self.link.lock().await = State::Closed;
        })
    }
}
