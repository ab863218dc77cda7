//! SFTP targets: version 3 over a channel of an SSH [`Link`], with a client of our own, since names are bytes.

mod client;
mod explain;
mod transfer;
mod wire;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sojourn_domain::{access::EndReason, time::Timestamp};
use tokio::{sync::Mutex, time::timeout};

use self::{
    client::{Client, Features},
    transfer::{SftpListing, SftpRead, SftpWrite},
    wire::{Reader, Request},
};
use super::{
    Capabilities, Entry, EntryKind, FsError, FsErrorKind, FsResult, Listing, Opened, Patience, ReadFile,
    RemoteFs, RemotePath, WriteFile, WriteMode, start_folder,
};
use crate::protocols::{
    ConnectError, Credential, HostKeyRule, Target,
    dial::Rules,
    ssh::{Link, Start, What},
};

/// What one request copies on the server: it answers nothing else meanwhile.
const COPY_PIECE: u64 = 32 * 1024 * 1024;

/// Reaches a target and logs in.
pub async fn open(
    target: &Target,
    credential: &Credential,
    rules: &Rules,
    patience: Patience,
) -> Result<Opened, ConnectError> {
    let mut way =
        Way { target: target.clone(), credential: credential.clone(), rules: rules.clone(), patience };
    let (link, greeting) = Link::open(target, credential, rules).await?;
    // Whoever answers next time must be the same one.
    way.target.host_key = HostKeyRule::Pinned(greeting.host_key.text.clone());
    let client = way.start(link).await?;
    let home = home(&client).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "a target does not say where its home is");
        RemotePath::root()
    });
    let home = start_folder(&home, target);
    let fs = SftpFs { way, features: client.features, home, client: Mutex::new(Some(Arc::new(client))) };
    Ok(Opened { fs: Arc::new(fs), host_key: Some(greeting.host_key), first_use: greeting.first_use })
}

async fn home(client: &Client) -> FsResult<RemotePath> {
    let names = client.ask(Request::on(wire::REALPATH, b".")).await?.name()?;
    let mut names = Reader(names);
    if names.u32()? != 1 {
        return Err(wire::broken());
    }
    let home = names.string()?;
    RemotePath::from_bytes(&home).map_err(|error| FsError::new(FsErrorKind::Invalid, error.to_string()))
}

/// How to get there, also the second time.
#[derive(Debug)]
struct Way {
    target: Target,
    credential: Credential,
    rules: Rules,
    patience: Patience,
}

impl Way {
    async fn start(&self, link: Link) -> Result<Client, ConnectError> {
        let start =
            Start { pty: None, env: Vec::new(), agent: false, what: What::Subsystem("sftp".to_owned()) };
        let failed = |error: &FsError| ConnectError::new(EndReason::Failed, error.message());
        let end = timeout(self.patience.answer, Arc::new(link).start(start))
            .await
            .map_err(|_| failed(&FsError::of(FsErrorKind::TimedOut)))?
            .map_err(ConnectError::from)?;
        Client::start(end, self.patience.answer).await.map_err(|error| failed(&error))
    }
}

#[derive(Debug)]
struct SftpFs {
    way: Way,
    features: Features,
    home: RemotePath,
    /// `None` when it was closed on purpose. Held while a connection is made anew, so that one is enough for all.
    client: Mutex<Option<Arc<Client>>>,
}

/// Runs something that changes nothing, and once more on a new connection when the old one breaks.
macro_rules! asking {
    ($self:ident, $client:ident => $asked:expr) => {{
        let $client = $self.client().await?;
        match $asked.await {
            Err(error) if error.kind == FsErrorKind::Lost => {
                let $client = $self.client().await?;
                $asked.await
            }
            other => other,
        }
    }};
}

impl SftpFs {
    /// The connection, or a new one where it broke.
    async fn client(&self) -> FsResult<Arc<Client>> {
        let mut current = self.client.lock().await;
        let Some(client) = current.as_ref() else {
            return Err(FsError::new(FsErrorKind::Lost, "the connection to the target was closed"));
        };
        if !client.is_ended() {
            return Ok(client.clone());
        }
        let Way { target, credential, rules, .. } = &self.way;
        let (link, _) = Link::open(target, credential, rules).await?;
        let client = Arc::new(self.way.start(link).await?);
        *current = Some(client.clone());
        Ok(client)
    }

    async fn simple(&self, request: Request) -> FsResult<()> {
        self.client().await?.ask(request).await?.done()
    }
}

async fn stat_on(client: &Client, path: &RemotePath, follow: bool) -> FsResult<wire::Attributes> {
    let kind = if follow { wire::STAT } else { wire::LSTAT };
    match client.ask(Request::on(kind, path.as_bytes())).await?.attributes() {
        Ok(found) => Ok(found),
        Err(error) if error.kind == FsErrorKind::NotFound => {
            Err(explain::no_folder(client, path, error).await)
        }
        Err(error) => Err(error),
    }
}

/// What is no file may never answer: a pipe waits for somebody at its other end.
fn must_be_file(found: &wire::Attributes) -> FsResult<()> {
    match found.kind() {
        EntryKind::File | EntryKind::Link => Ok(()),
        EntryKind::Folder => Err(FsError::of(FsErrorKind::IsAFolder)),
        EntryKind::Other => {
            Err(FsError::new(FsErrorKind::Invalid, "it is a device, a pipe or a socket, and no file"))
        }
    }
}

async fn open_read(
    client: Arc<Client>,
    path: &RemotePath,
    offset: u64,
    length: Option<u64>,
) -> FsResult<Box<dyn ReadFile>> {
    let found = stat_on(&client, path, true).await?;
    must_be_file(&found)?;
    let request = Request::on(wire::OPEN, path.as_bytes()).u32(wire::OPEN_READ).no_attributes();
    let handle = client.ask(request).await?.handle()?;
    Ok(Box::new(SftpRead::new(client, handle, offset, length, found.size.unwrap_or(0))))
}

async fn open_write(client: Arc<Client>, path: &RemotePath, mode: WriteMode) -> FsResult<Box<dyn WriteFile>> {
    use wire::{OPEN_CREATE, OPEN_EXCLUSIVE, OPEN_TRUNCATE, OPEN_WRITE};
    let found = match mode {
        WriteMode::New => None,
        WriteMode::Replace | WriteMode::At(_) => match stat_on(&client, path, true).await {
            Ok(found) => Some(found),
            Err(error) if error.kind == FsErrorKind::NotFound => None,
            Err(error) => return Err(error),
        },
    };
    if let Some(found) = &found {
        must_be_file(found)?;
    }
    let (flags, at) = match mode {
        WriteMode::New => (OPEN_WRITE | OPEN_CREATE | OPEN_EXCLUSIVE, 0),
        WriteMode::Replace => (OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE, 0),
        WriteMode::At(0) => (OPEN_WRITE | OPEN_CREATE, 0),
        WriteMode::At(at) => {
            let size = found.as_ref().ok_or_else(|| FsError::of(FsErrorKind::NotFound))?.size.unwrap_or(0);
            if size < at {
                let message = format!("the file has {size} bytes, and writing cannot begin at {at}");
                return Err(FsError::new(FsErrorKind::Invalid, message));
            }
            (OPEN_WRITE, at)
        }
    };
    let request = Request::on(wire::OPEN, path.as_bytes()).u32(flags).no_attributes();
    let handle = match client.ask(request).await?.handle() {
        Ok(handle) => handle,
        Err(error) if mode == WriteMode::New => return Err(explain::taken(&client, path, error).await),
        Err(error) if error.kind == FsErrorKind::NotFound => {
            return Err(explain::no_folder(&client, path, error).await);
        }
        Err(error) => {
            let error = explain::no_file(&client, path, error).await;
            return Err(explain::no_space(&client, path, error).await);
        }
    };
    let whole = match mode {
        WriteMode::New | WriteMode::Replace => true,
        WriteMode::At(_) => false,
    };
    Ok(Box::new(SftpWrite::new(client, path.clone(), handle, at, whole)))
}

async fn open_list(client: Arc<Client>, path: &RemotePath) -> FsResult<Box<dyn Listing>> {
    match client.ask(Request::on(wire::OPENDIR, path.as_bytes())).await?.handle() {
        Ok(handle) => Ok(Box::new(SftpListing::new(client, handle))),
        Err(error) => Err(explain::not_listable(&client, path, error).await),
    }
}

/// The place of `over` a rename where the server has no rename that replaces: what is there is set aside, so that it is
/// still there when the rename fails.
async fn rename_aside(client: &Client, from: &RemotePath, to: &RemotePath) -> FsResult<()> {
    let plain =
        |from: &RemotePath, to: &RemotePath| Request::on(wire::RENAME, from.as_bytes()).string(to.as_bytes());
    let first = client.ask(plain(from, to)).await?.done();
    let Err(error) = first else { return Ok(()) };
    if explain::taken(client, to, error.clone()).await.kind != FsErrorKind::Exists {
        return Err(error);
    }
    let (Some(folder), Some(name)) = (to.parent(), to.name()) else { return Err(error) };
    let kept = &name[..name.len().min(RemotePath::MAX_NAME - 20)];
    let aside = folder.join(&[b".", kept, b".sojourn-aside"].concat());
    let aside = aside.map_err(|error| FsError::new(FsErrorKind::Invalid, error.to_string()))?;
    client.ask(plain(to, &aside)).await?.done()?;
    match client.ask(plain(from, to)).await?.done() {
        Ok(()) => client.ask(Request::on(wire::REMOVE, aside.as_bytes())).await?.done(),
        Err(error) => {
            client.ask(plain(&aside, to)).await?.done()?;
            Err(error)
        }
    }
}

async fn copy_on(client: &Client, from: &RemotePath, to: &RemotePath) -> FsResult<()> {
    let found = stat_on(client, from, true).await?;
    must_be_file(&found)?;
    let size = found.size.unwrap_or(0);
    match stat_on(client, to, true).await {
        Ok(found) => must_be_file(&found)?,
        Err(error) if error.kind == FsErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let open = |path: &RemotePath, flags| Request::on(wire::OPEN, path.as_bytes()).u32(flags).no_attributes();
    let source = client.ask(open(from, wire::OPEN_READ)).await?.handle()?;
    // Not emptied first: it might be the same file under another name.
    let copy = client.ask(open(to, wire::OPEN_WRITE | wire::OPEN_CREATE)).await?.handle()?;
    let mut at = 0;
    while at < size {
        let length = COPY_PIECE.min(size - at);
        let request = Request::extended("copy-data")
            .string(source.bytes())
            .u64(at)
            .u64(length)
            .string(copy.bytes())
            .u64(at);
        if let Err(error) = client.ask(request).await?.done() {
            return Err(explain::no_space(client, to, error).await);
        }
        at += length;
    }
    client.ask(Request::on(wire::FSETSTAT, copy.bytes()).size(size)).await?.done()?;
    let copied = client.ask(Request::on(wire::FSTAT, copy.bytes())).await?.attributes()?;
    client.close(copy).await?;
    if copied.size.is_some_and(|copied| copied != size) {
        return Err(FsError::new(FsErrorKind::Other, "the target's copy has another size"));
    }
    Ok(())
}

impl RemoteFs for SftpFs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            copy: self.features.copy_data,
            rename_over: self.features.posix_rename,
            links: true,
            permissions: true,
            times: true,
            resume_upload: true,
        }
    }

    /// A piece is sent when all but so many bytes before it have been confirmed.
    fn may_miss(&self) -> Option<u64> {
        Some(u64::from(self.features.write).saturating_mul(transfer::FLIGHT as u64))
    }

    fn home(&self) -> &RemotePath {
        &self.home
    }

    fn list<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Box<dyn Listing>>> {
        Box::pin(async move { asking!(self, client => open_list(client, path)) })
    }

    fn stat<'a>(&'a self, path: &'a RemotePath, follow: bool) -> BoxFuture<'a, FsResult<Entry>> {
        Box::pin(async move {
            let found = asking!(self, client => stat_on(&client, path, follow))?;
            Ok(found.entry(path.name().unwrap_or_default().to_vec()))
        })
    }

    fn read<'a>(
        &'a self,
        path: &'a RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, FsResult<Box<dyn ReadFile>>> {
        Box::pin(async move { asking!(self, client => open_read(client, path, offset, length)) })
    }

    fn write<'a>(
        &'a self,
        path: &'a RemotePath,
        mode: WriteMode,
    ) -> BoxFuture<'a, FsResult<Box<dyn WriteFile>>> {
        Box::pin(async move { open_write(self.client().await?, path, mode).await })
    }

    fn mkdir<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            let client = self.client().await?;
            match client.ask(Request::on(wire::MKDIR, path.as_bytes()).no_attributes()).await?.done() {
                Ok(()) => Ok(()),
                Err(error) => Err(explain::taken(&client, path, error).await),
            }
        })
    }

    fn remove_file<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            let client = self.client().await?;
            match client.ask(Request::on(wire::REMOVE, path.as_bytes())).await?.done() {
                Ok(()) => Ok(()),
                Err(error) => Err(explain::no_file(&client, path, error).await),
            }
        })
    }

    fn remove_folder<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            let client = self.client().await?;
            match client.ask(Request::on(wire::RMDIR, path.as_bytes())).await?.done() {
                Ok(()) => Ok(()),
                Err(error) => Err(explain::not_removable(&client, path, error).await),
            }
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a RemotePath,
        to: &'a RemotePath,
        over: bool,
    ) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            let client = self.client().await?;
            let done = if !over {
                // Servers that replace all the same are not asked to.
                if stat_on(&client, to, false).await.is_ok() {
                    return Err(FsError::of(FsErrorKind::Exists));
                }
                client.ask(Request::on(wire::RENAME, from.as_bytes()).string(to.as_bytes())).await?.done()
            } else if self.features.posix_rename {
                let request = Request::extended("posix-rename@openssh.com");
                client.ask(request.string(from.as_bytes()).string(to.as_bytes())).await?.done()
            } else {
                rename_aside(&client, from, to).await
            };
            match done {
                Ok(()) => Ok(()),
                Err(error) if over => Err(explain::no_file(&client, to, error).await),
                Err(error) => Err(explain::taken(&client, to, error).await),
            }
        })
    }

    fn copy<'a>(&'a self, from: &'a RemotePath, to: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            if !self.features.copy_data {
                return Err(FsError::of(FsErrorKind::Unsupported));
            }
            copy_on(&*self.client().await?, from, to).await
        })
    }

    fn read_link<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Vec<u8>>> {
        Box::pin(async move {
            let names = asking!(self, client => async {
                client.ask(Request::on(wire::READLINK, path.as_bytes())).await?.name()
            })?;
            let mut names = Reader(names);
            if names.u32()? != 1 {
                return Err(wire::broken());
            }
            Ok(names.string()?.to_vec())
        })
    }

    fn make_link<'a>(&'a self, path: &'a RemotePath, target: &'a [u8]) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            if target.is_empty() || target.len() > RemotePath::MAX || target.contains(&0) {
                return Err(FsError::new(FsErrorKind::Invalid, "a link cannot lead there"));
            }
            let client = self.client().await?;
            // The draft has the arguments the other way round; OpenSSH mixed them up, and servers do as it does.
            let request = Request::on(wire::SYMLINK, target).string(path.as_bytes());
            match client.ask(request).await?.done() {
                Ok(()) => Ok(()),
                Err(error) => Err(explain::taken(&client, path, error).await),
            }
        })
    }

    fn make_hard_link<'a>(
        &'a self,
        path: &'a RemotePath,
        existing: &'a RemotePath,
    ) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            if !self.features.hard_links {
                return Err(FsError::of(FsErrorKind::Unsupported));
            }
            let client = self.client().await?;
            let request = Request::extended("hardlink@openssh.com").string(existing.as_bytes());
            match client.ask(request.string(path.as_bytes())).await?.done() {
                Ok(()) => Ok(()),
                Err(error) => Err(explain::taken(&client, path, error).await),
            }
        })
    }

    fn set_permissions<'a>(&'a self, path: &'a RemotePath, permissions: u32) -> BoxFuture<'a, FsResult<()>> {
        let request = Request::on(wire::SETSTAT, path.as_bytes()).permissions(permissions & 0o7777);
        Box::pin(self.simple(request))
    }

    fn set_modified<'a>(&'a self, path: &'a RemotePath, modified: Timestamp) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            let seconds = u32::try_from(modified.as_micros().div_euclid(1_000_000)).map_err(|_| {
                FsError::new(FsErrorKind::Invalid, "SFTP has no times before 1970 or after 2106")
            })?;
            self.simple(Request::on(wire::SETSTAT, path.as_bytes()).modified(seconds)).await
        })
    }

    fn truncate<'a>(&'a self, path: &'a RemotePath, length: u64) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            let client = self.client().await?;
            match client.ask(Request::on(wire::SETSTAT, path.as_bytes()).size(length)).await?.done() {
                Ok(()) => Ok(()),
                Err(error) => Err(explain::no_file(&client, path, error).await),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The channel ends with its client, and the link with its last channel.
            self.client.lock().await.take();
        })
    }
}
