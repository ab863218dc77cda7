//! FTP targets, with TLS and without, with a client of our own: names are bytes, every wait ends, and a target
//! cannot send us elsewhere.

mod buffers;
mod control;
mod listing;
mod pool;
mod transfer;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sojourn_domain::time::{Clock as _, Timestamp};
use sojourn_store::SystemClock;
use tokio::task::JoinSet;

use self::{
    control::{Control, Features, check},
    pool::Pool,
    transfer::{Data, FtpListing, FtpRead, FtpWrite},
};
use super::{
    Capabilities, Entry, EntryKind, FsError, FsErrorKind, FsResult, Listing, Opened, Patience, ReadFile,
    RemoteFs, RemotePath, WriteFile, WriteMode, start_folder,
};
use crate::protocols::{ConnectError, Credential, HostKeyRule, Target, dial::Rules};

/// Reaches a target and logs in.
pub async fn open(
    target: &Target,
    credential: &Credential,
    rules: &Rules,
    patience: Patience,
) -> Result<Opened, ConnectError> {
    let (mut control, host_key) = Control::open(target, credential, rules, patience).await?;
    let home = control.home().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "a target does not say where its home is");
        RemotePath::root()
    });
    let mut pinned = target.clone();
    if let Some(seen) = &host_key {
        // Whoever answers next time must be the same one.
        pinned.host_key = HostKeyRule::Pinned(seen.fingerprint.clone());
    }
    let features = control.features;
    let pool = Arc::new(Pool::new(pinned, credential.clone(), rules.clone(), patience, control));
    let mut tasks = JoinSet::new();
    tasks.spawn(Pool::keep_awake(Arc::downgrade(&pool)));
    let fs = FtpFs { pool, features, home: start_folder(&home, target), _tasks: tasks };
    let first_use = host_key.is_some() && target.host_key == HostKeyRule::FirstUse;
    Ok(Opened { fs: Arc::new(fs), host_key, first_use })
}

#[derive(Debug)]
struct FtpFs {
    pool: Arc<Pool>,
    features: Features,
    home: RemotePath,
    _tasks: JoinSet<()>,
}

/// Runs something that changes nothing, and once more on another connection when the first one breaks.
macro_rules! asking {
    ($asked:expr) => {
        match $asked.await {
            Err(error) if error.kind == FsErrorKind::Lost => $asked.await,
            other => other,
        }
    };
}

/// A file's size; `None` where the target does not say, as for all that is no file.
async fn size_of(control: &mut Control, path: &RemotePath) -> FsResult<Option<u64>> {
    if !control.features.size {
        return Ok(None);
    }
    let reply = control.ask("SIZE", path.as_bytes()).await?;
    if reply.code != 213 {
        return Ok(None);
    }
    Ok(reply.text().trim().parse().ok())
}

/// Looks something up. Without MLST it is pieced together; known to miss then: links to files, which look like
/// files, and links that lead nowhere, which look like nothing.
async fn look(pool: &Arc<Pool>, path: &RemotePath, follow: bool) -> FsResult<Option<Entry>> {
    let mut lease = pool.lease().await?;
    let control = lease.control()?;
    if !control.features.facts {
        let found = pieced(control, path).await?;
        drop(lease);
        return match found {
            Some(found) if found.kind == EntryKind::Folder && !follow => {
                Ok(Some(listed(pool, path).await?.unwrap_or(found)))
            }
            found => Ok(found),
        };
    }
    let reply = control.ask("MLST", path.as_bytes()).await?;
    if reply.code == 250 {
        let line = reply.lines.get(1).map(|line| line.trim_ascii_start());
        let found = line.and_then(listing::facts);
        let found = found
            .ok_or_else(|| FsError::new(FsErrorKind::Other, "the target's answer to MLST cannot be read"))?;
        if follow && found.kind == EntryKind::Link {
            // What it leads to is asked for with commands that follow it.
            return pieced(control, path).await;
        }
        return Ok(Some(Entry { name: path.name().unwrap_or_default().to_vec(), ..found }));
    }
    let fault = reply.fault();
    let gone = matches!(fault.kind, FsErrorKind::NotFound | FsErrorKind::NotAFolder | FsErrorKind::Other);
    if gone { Ok(None) } else { Err(fault) }
}

/// As far as SIZE, MDTM and CWD tell; links are followed.
async fn pieced(control: &mut Control, path: &RemotePath) -> FsResult<Option<Entry>> {
    let name = path.name().unwrap_or_default().to_vec();
    if let Some(size) = size_of(control, path).await? {
        let mut entry = Entry { size: Some(size), ..Entry::new(name, EntryKind::File) };
        if control.features.modified {
            let reply = control.ask("MDTM", path.as_bytes()).await?;
            let time = (reply.code == 213).then(|| reply.text());
            entry.modified = time.and_then(|time| listing::compact_time(time.trim()));
        }
        return Ok(Some(entry));
    }
    let reply = control.ask("CWD", path.as_bytes()).await?;
    Ok(reply.is_good().then(|| Entry::new(name, EntryKind::Folder)))
}

/// What the listing of its folder says of something.
async fn listed(pool: &Arc<Pool>, path: &RemotePath) -> FsResult<Option<Entry>> {
    let (Some(folder), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
    let mut listing = match begin_list(pool, &folder).await {
        Ok(listing) => listing,
        Err(error) if error.is_lost() => return Err(error),
        Err(_) => return Ok(None),
    };
    let mut found = None;
    // To its end, so that the connection can be used again.
    while let Some(entries) = listing.next().await? {
        found = found.or_else(|| entries.into_iter().find(|entry| entry.name == name));
    }
    Ok(found)
}

/// What is there, by all means: for faults that have to be explained.
async fn closely(pool: &Arc<Pool>, path: &RemotePath) -> Option<EntryKind> {
    let found = match look(pool, path, true).await {
        Ok(None) => listed(pool, path).await,
        found => found,
    };
    found.ok().flatten().map(|entry| entry.kind)
}

async fn begin_list(pool: &Arc<Pool>, path: &RemotePath) -> FsResult<FtpListing> {
    let mut lease = pool.lease().await?;
    let control = lease.control()?;
    let facts = control.features.facts;
    let stream = if facts {
        control.transfer(0, "MLSD", path.as_bytes()).await?
    } else {
        // Servers take options and patterns for names in LIST, and names for options and patterns.
        control.ask("CWD", path.as_bytes()).await?.done()?;
        match control.transfer(0, "LIST", b"-a").await {
            Err(error) if !error.is_lost() => control.transfer(0, "LIST", b"").await?,
            begun => begun?,
        }
    };
    let data = Data::new(stream, lease, pool.patience.answer);
    Ok(FtpListing::new(data, facts, SystemClock.now()))
}

async fn open_list(pool: &Arc<Pool>, path: &RemotePath) -> FsResult<Box<dyn Listing>> {
    match begin_list(pool, path).await {
        Ok(listing) => Ok(Box::new(listing)),
        Err(error) if error.kind == FsErrorKind::Other => Err(match closely(pool, path).await {
            None | Some(EntryKind::Link) => FsError::of(FsErrorKind::NotFound),
            Some(EntryKind::Folder) => FsError::of(FsErrorKind::Denied),
            Some(EntryKind::File | EntryKind::Other) => FsError::of(FsErrorKind::NotAFolder),
        }),
        Err(error) => Err(error),
    }
}

async fn open_read(
    pool: &Arc<Pool>,
    path: &RemotePath,
    offset: u64,
    length: Option<u64>,
) -> FsResult<Box<dyn ReadFile>> {
    let mut lease = pool.lease().await?;
    let control = lease.control()?;
    let size = size_of(control, path).await?;
    let nothing = length == Some(0) || (offset > 0 && size.is_some_and(|size| offset >= size));
    if nothing && size.is_some() {
        return Ok(Box::new(FtpRead::nothing(path)));
    }
    match control.transfer(offset, "RETR", path.as_bytes()).await {
        Ok(stream) => {
            let data = Data::new(stream, lease, pool.patience.answer);
            Ok(Box::new(FtpRead::new(data, path, offset, length, size)))
        }
        Err(error) if error.kind == FsErrorKind::Other => {
            drop(lease);
            Err(match closely(pool, path).await {
                None => FsError::of(FsErrorKind::NotFound),
                Some(EntryKind::Folder) => FsError::of(FsErrorKind::IsAFolder),
                Some(EntryKind::File) => FsError::of(FsErrorKind::Denied),
                Some(EntryKind::Link | EntryKind::Other) => error,
            })
        }
        Err(error) => Err(error),
    }
}

async fn open_write(pool: &Arc<Pool>, path: &RemotePath, mode: WriteMode) -> FsResult<Box<dyn WriteFile>> {
    let mut lease = pool.lease().await?;
    let control = lease.control()?;
    let there = match mode {
        WriteMode::Replace => None,
        WriteMode::New | WriteMode::At(_) => {
            check(path.as_bytes())?;
            size_of(control, path).await?
        }
    };
    let (restart, verb, at) = match (mode, there) {
        (WriteMode::New, Some(_)) => return Err(FsError::of(FsErrorKind::Exists)),
        (WriteMode::New | WriteMode::Replace, _) => (0, "STOR", 0),
        (WriteMode::At(0), None) => (0, "STOR", 0),
        (WriteMode::At(at), Some(size)) if at == size => (0, "APPE", at),
        (WriteMode::At(at), Some(size)) if at < size && at > 0 => (at, "STOR", at),
        (WriteMode::At(0), Some(_)) => (0, "STOR", 0),
        (WriteMode::At(at), Some(size)) => {
            let message = format!("the file has {size} bytes, and writing cannot begin at {at}");
            return Err(FsError::new(FsErrorKind::Invalid, message));
        }
        (WriteMode::At(_), None) => {
            drop(lease);
            return Err(match closely(pool, path).await {
                Some(EntryKind::Folder) => FsError::of(FsErrorKind::IsAFolder),
                Some(EntryKind::File) => FsError::of(FsErrorKind::Unsupported),
                Some(EntryKind::Link | EntryKind::Other) | None => FsError::of(FsErrorKind::NotFound),
            });
        }
    };
    match control.transfer(restart, verb, path.as_bytes()).await {
        Ok(stream) => {
            let data = Data::new(stream, lease, pool.patience.answer);
            Ok(Box::new(FtpWrite::new(data, path, at)))
        }
        Err(error) => {
            drop(lease);
            Err(match not_made(pool, path, error).await {
                error if error.kind == FsErrorKind::Exists && mode != WriteMode::New => {
                    let folder = closely(pool, path).await == Some(EntryKind::Folder);
                    FsError::of(if folder { FsErrorKind::IsAFolder } else { FsErrorKind::Denied })
                }
                error => error,
            })
        }
    }
}

/// Something was to be made at `path`.
async fn not_made(pool: &Arc<Pool>, path: &RemotePath, error: FsError) -> FsError {
    if !matches!(error.kind, FsErrorKind::Other | FsErrorKind::IsAFolder | FsErrorKind::NotFound) {
        return error;
    }
    if closely(pool, path).await.is_some() {
        return FsError::of(FsErrorKind::Exists);
    }
    match path.parent() {
        Some(folder) => match closely(pool, &folder).await {
            None => FsError::of(FsErrorKind::NotFound),
            Some(EntryKind::File | EntryKind::Other) => FsError::of(FsErrorKind::NotAFolder),
            Some(EntryKind::Folder | EntryKind::Link) if error.kind == FsErrorKind::Other => {
                FsError::new(FsErrorKind::Denied, error.message())
            }
            Some(EntryKind::Folder | EntryKind::Link) => error,
        },
        None => error,
    }
}

impl FtpFs {
    /// One command; what its fault means is found out where the target leaves it open.
    async fn simple(&self, verb: &str, argument: &[u8]) -> FsResult<()> {
        let mut lease = self.pool.lease().await?;
        lease.control()?.ask(verb, argument).await?.done()?;
        Ok(())
    }

    async fn rename_there(&self, from: &RemotePath, to: &RemotePath) -> FsResult<()> {
        let mut lease = self.pool.lease().await?;
        let control = lease.control()?;
        let reply = control.ask("RNFR", from.as_bytes()).await?;
        if reply.code != 350 {
            let fault = reply.fault();
            drop(lease);
            let gone = fault.kind == FsErrorKind::Other && closely(&self.pool, from).await.is_none();
            return Err(if gone { FsError::of(FsErrorKind::NotFound) } else { fault });
        }
        let reply = control.ask("RNTO", to.as_bytes()).await?;
        if reply.is_good() {
            return Ok(());
        }
        drop(lease);
        Err(not_made(&self.pool, to, reply.fault()).await)
    }
}

impl RemoteFs for FtpFs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            copy: false,
            // Servers on Unix do; one that does not says so.
            rename_over: true,
            links: false,
            permissions: self.features.chmod,
            times: self.features.set_modified || self.features.vsftpd,
            resume_upload: true,
        }
    }

    /// One stream, which the target writes as it comes.
    fn may_miss(&self) -> Option<u64> {
        Some(0)
    }

    fn home(&self) -> &RemotePath {
        &self.home
    }

    fn list<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Box<dyn Listing>>> {
        Box::pin(async move { asking!(open_list(&self.pool, path)) })
    }

    fn stat<'a>(&'a self, path: &'a RemotePath, follow: bool) -> BoxFuture<'a, FsResult<Entry>> {
        Box::pin(async move {
            let found = asking!(look(&self.pool, path, follow))?;
            found.ok_or_else(|| FsError::of(FsErrorKind::NotFound))
        })
    }

    fn read<'a>(
        &'a self,
        path: &'a RemotePath,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, FsResult<Box<dyn ReadFile>>> {
        Box::pin(async move { asking!(open_read(&self.pool, path, offset, length)) })
    }

    fn write<'a>(
        &'a self,
        path: &'a RemotePath,
        mode: WriteMode,
    ) -> BoxFuture<'a, FsResult<Box<dyn WriteFile>>> {
        Box::pin(open_write(&self.pool, path, mode))
    }

    fn mkdir<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            match self.simple("MKD", path.as_bytes()).await {
                Ok(()) => Ok(()),
                Err(error) => Err(not_made(&self.pool, path, error).await),
            }
        })
    }

    fn remove_file<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            match self.simple("DELE", path.as_bytes()).await {
                Err(error) if error.kind == FsErrorKind::Other => {
                    Err(match closely(&self.pool, path).await {
                        None => FsError::of(FsErrorKind::NotFound),
                        Some(EntryKind::Folder) => FsError::of(FsErrorKind::IsAFolder),
                        Some(EntryKind::File | EntryKind::Link | EntryKind::Other) => {
                            FsError::new(FsErrorKind::Denied, error.message())
                        }
                    })
                }
                done => done,
            }
        })
    }

    fn remove_folder<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            match self.simple("RMD", path.as_bytes()).await {
                Err(error) if error.kind == FsErrorKind::Other => {
                    let kind = match closely(&self.pool, path).await {
                        None => FsErrorKind::NotFound,
                        Some(EntryKind::File | EntryKind::Link | EntryKind::Other) => FsErrorKind::NotAFolder,
                        Some(EntryKind::Folder) => {
                            let mut listing = begin_list(&self.pool, path).await?;
                            let mut full = false;
                            while let Some(entries) = listing.next().await? {
                                full |= !entries.is_empty();
                            }
                            if !full {
                                return Err(FsError::new(FsErrorKind::Denied, error.message()));
                            }
                            FsErrorKind::NotEmpty
                        }
                    };
                    Err(FsError::of(kind))
                }
                done => done,
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
            check(from.as_bytes())?;
            check(to.as_bytes())?;
            // FTP has no renaming that keeps what is there.
            if !over && look(&self.pool, to, true).await?.is_some() {
                return Err(FsError::of(FsErrorKind::Exists));
            }
            self.rename_there(from, to).await
        })
    }

    fn copy<'a>(&'a self, _: &'a RemotePath, _: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        unsupported()
    }

    fn read_link<'a>(&'a self, path: &'a RemotePath) -> BoxFuture<'a, FsResult<Vec<u8>>> {
        Box::pin(async move {
            let found = asking!(listed(&self.pool, path))?;
            let found = found.ok_or_else(|| FsError::of(FsErrorKind::NotFound))?;
            found.link_target.ok_or_else(|| FsError::of(FsErrorKind::Unsupported))
        })
    }

    fn make_link<'a>(&'a self, _: &'a RemotePath, _: &'a [u8]) -> BoxFuture<'a, FsResult<()>> {
        unsupported()
    }

    fn make_hard_link<'a>(&'a self, _: &'a RemotePath, _: &'a RemotePath) -> BoxFuture<'a, FsResult<()>> {
        unsupported()
    }

    fn set_permissions<'a>(&'a self, path: &'a RemotePath, permissions: u32) -> BoxFuture<'a, FsResult<()>> {
        if !self.features.chmod {
            return unsupported();
        }
        let argument = [format!("CHMOD {:04o} ", permissions & 0o7777).as_bytes(), path.as_bytes()].concat();
        Box::pin(async move { self.simple("SITE", &argument).await })
    }

    fn set_modified<'a>(&'a self, path: &'a RemotePath, modified: Timestamp) -> BoxFuture<'a, FsResult<()>> {
        let verb = match self.features {
            Features { set_modified: true, .. } => "MFMT",
            Features { vsftpd: true, .. } => "MDTM",
            _ => return unsupported(),
        };
        let argument = [listing::written_time(modified).as_bytes(), b" ", path.as_bytes()].concat();
        Box::pin(async move { self.simple(verb, &argument).await })
    }

    fn truncate<'a>(&'a self, path: &'a RemotePath, length: u64) -> BoxFuture<'a, FsResult<()>> {
        Box::pin(async move {
            // Emptying is all that FTP has.
            if length > 0 {
                return Err(FsError::of(FsErrorKind::Unsupported));
            }
            match self.stat(path, true).await?.kind {
                EntryKind::File => self.write(path, WriteMode::Replace).await?.finish().await,
                EntryKind::Folder => Err(FsError::of(FsErrorKind::IsAFolder)),
                EntryKind::Link | EntryKind::Other => Err(FsError::of(FsErrorKind::Invalid)),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

fn unsupported<'a>() -> BoxFuture<'a, FsResult<()>> {
    Box::pin(async { Err(FsError::of(FsErrorKind::Unsupported)) })
}
