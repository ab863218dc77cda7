//! A folder on a target that is at hand on this machine's disk too.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use sojourn_domain::{
    access::{AuthKind, Protocol},
    connections::ConnectionOptions,
};
use sojourn_gateway::{
    files::{self, FsError, Opened, RemoteFs, RemotePath},
    protocols::{Credential, HostKeyRule, Secret, Target, dial::Rules},
};
use sojourn_testbed::accounts::Account;

/// What a server cannot do, and so is not asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Can {
    /// Names with line ends.
    pub(crate) newlines: bool,
    /// Names are bytes, and stand on its disk as they are; else they are Unicode.
    pub(crate) bytes: bool,
    /// The most bytes of a path that its commands have room for.
    pub(crate) path: usize,
    /// It says of bytes that are written that they have arrived.
    pub(crate) confirms: bool,
    /// It tells the reasons of its refusals apart.
    pub(crate) denials: bool,
}

pub(crate) struct Case {
    pub(crate) fs: Arc<dyn RemoteFs>,
    /// Where the folder is, as the target sees it.
    pub(crate) remote: RemotePath,
    /// The same folder here.
    pub(crate) local: PathBuf,
    pub(crate) uid: u32,
    pub(crate) can: Can,
}

impl Case {
    /// A new folder within the folder.
    pub(crate) fn sub(&self, name: &str) -> Self {
        let local = self.local.join(name);
        fs::create_dir(&local).unwrap();
        chown(&local, Some(self.uid), Some(self.uid)).unwrap();
        Self { fs: self.fs.clone(), remote: self.at(name), local, uid: self.uid, can: self.can }
    }

    pub(crate) fn at(&self, name: impl AsRef<[u8]>) -> RemotePath {
        self.remote.join(name.as_ref()).unwrap()
    }

    /// Puts a file there, behind the target's back.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> RemotePath {
        let file = self.local.join(name);
        fs::write(&file, content).unwrap();
        chown(&file, Some(self.uid), Some(self.uid)).unwrap();
        self.at(name)
    }

    pub(crate) fn bytes(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.local.join(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.local.join(name)).unwrap().permissions().mode() & 0o7777
    }
}

pub(crate) fn target(account: &Account, port: u16, options: ConnectionOptions) -> Target {
    Target {
        host: "127.0.0.1".to_owned(),
        port,
        username: account.name.clone(),
        auth: AuthKind::Password,
        options,
        host_key: HostKeyRule::FirstUse,
    }
}

pub(crate) fn password(account: &Account) -> Credential {
    Credential::Password(Secret::new(account.password.as_str()))
}

pub(crate) async fn open(
    protocol: Protocol,
    account: &Account,
    port: u16,
    options: ConnectionOptions,
) -> Opened {
    let target = target(account, port, options);
    files::open(protocol, &target, &password(account), &Rules::default()).await.unwrap()
}

/// All entries' names, sorted.
pub(crate) async fn names(fs: &dyn RemoteFs, path: &RemotePath) -> Result<Vec<Vec<u8>>, FsError> {
    let mut listing = fs.list(path).await?;
    let mut names = Vec::new();
    while let Some(batch) = listing.next().await? {
        assert!(!batch.is_empty() && batch.len() <= files::BATCH);
        names.extend(batch.into_iter().map(|entry| entry.name));
    }
    names.sort();
    Ok(names)
}

pub(crate) async fn read(
    fs: &dyn RemoteFs,
    path: &RemotePath,
    offset: u64,
    length: Option<u64>,
) -> Result<Vec<u8>, FsError> {
    let mut file = fs.read(path, offset, length).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = file.next().await? {
        assert!(!piece.is_empty());
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

pub(crate) async fn write(
    fs: &dyn RemoteFs,
    path: &RemotePath,
    mode: files::WriteMode,
    bytes: &[u8],
) -> Result<(), FsError> {
    let mut file = fs.write(path, mode).await?;
    for piece in bytes.chunks(70_001) {
        file.write(bytes::Bytes::copy_from_slice(piece)).await?;
    }
    file.finish().await
}

/// Bytes that repeat nowhere near.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(4)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}
