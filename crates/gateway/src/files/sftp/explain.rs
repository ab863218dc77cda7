//! Version 3 says `FAILURE` for most faults. Here the target is asked once more, for what stands in the way.

use super::{
    client::{Client, Reply},
    wire::{self, Reader, Request},
};
use crate::files::{EntryKind, FsError, FsErrorKind, RemotePath};

/// Below this many free bytes a write that failed, failed for want of space.
const SCANT: u64 = 1024 * 1024;

async fn kind_of(client: &Client, path: &RemotePath) -> Option<EntryKind> {
    let found = client.ask(Request::on(wire::LSTAT, path.as_bytes())).await.ok()?;
    found.attributes().ok().map(|found| found.kind())
}

/// Something was to be made at `path`.
pub(super) async fn taken(client: &Client, path: &RemotePath, error: FsError) -> FsError {
    if error.kind == FsErrorKind::NotFound {
        return no_folder(client, path, error).await;
    }
    if error.kind != FsErrorKind::Other {
        return error;
    }
    if kind_of(client, path).await.is_some() {
        return FsError::of(FsErrorKind::Exists);
    }
    no_space(client, path, error).await
}

/// Servers call it "not found" when something on the way is no folder.
pub(super) async fn no_folder(client: &Client, path: &RemotePath, error: FsError) -> FsError {
    let Some(parent) = path.parent() else { return error };
    match kind_of(client, &parent).await {
        Some(EntryKind::File | EntryKind::Other) => FsError::of(FsErrorKind::NotAFolder),
        Some(EntryKind::Folder | EntryKind::Link) | None => error,
    }
}

/// A file was to be removed, read or written.
pub(super) async fn no_file(client: &Client, path: &RemotePath, error: FsError) -> FsError {
    // BSD and macOS call it a matter of permission.
    let unclear = matches!(error.kind, FsErrorKind::Other | FsErrorKind::Denied);
    if unclear && kind_of(client, path).await == Some(EntryKind::Folder) {
        return FsError::of(FsErrorKind::IsAFolder);
    }
    error
}

/// A folder was to be removed.
pub(super) async fn not_removable(client: &Client, path: &RemotePath, error: FsError) -> FsError {
    match (error.kind, kind_of(client, path).await) {
        (FsErrorKind::Other, Some(EntryKind::Folder)) => FsError::of(FsErrorKind::NotEmpty),
        (
            FsErrorKind::Other | FsErrorKind::NotFound,
            Some(EntryKind::File | EntryKind::Link | EntryKind::Other),
        ) => FsError::of(FsErrorKind::NotAFolder),
        _ => error,
    }
}

/// A folder was to be listed.
pub(super) async fn not_listable(client: &Client, path: &RemotePath, error: FsError) -> FsError {
    match (error.kind, kind_of(client, path).await) {
        (FsErrorKind::Other | FsErrorKind::NotFound, Some(EntryKind::File | EntryKind::Other)) => {
            FsError::of(FsErrorKind::NotAFolder)
        }
        _ => error,
    }
}

/// Something was to be written below `path`, or into it.
pub(super) async fn no_space(client: &Client, path: &RemotePath, error: FsError) -> FsError {
    if error.kind != FsErrorKind::Other || !client.features.statvfs {
        return error;
    }
    let folder = path.parent().unwrap_or_else(RemotePath::root);
    let request = Request::extended("statvfs@openssh.com").string(folder.as_bytes());
    let Ok(Reply::Extended(body)) = client.ask(request).await else { return error };
    let mut body = Reader(body);
    let mut next = || body.u64().unwrap_or(u64::MAX);
    let (_block, fragment, _blocks, _free, available, _files, _free_files, free_nodes) =
        (next(), next(), next(), next(), next(), next(), next(), next());
    // Some file systems make files without end and say 0 of both.
    let full = available.saturating_mul(fragment) < SCANT || (free_nodes == 0 && _files > 0);
    if full { FsError::of(FsErrorKind::NoSpace) } else { error }
}
