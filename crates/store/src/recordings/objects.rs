//! The object store: files of this machine, or an S3-compatible service.
//!
//! Below the prefix lies a folder for each recording (`sess_…`) with its segments and `manifest.json`. Together with the master
//! key that is a complete archive. Objects are written whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    ops::Range,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig, WriteMultipart,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path as Key,
};
use sojourn_domain::id::AccessSessionId;

use super::{RecordingError, spool::sync_dir};

/// Files up to this size are sent in one request; larger ones in parts of it.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at a time.
const PARTS: usize = 2;
/// The library's own attempts; ours come on top, less often.
const RETRIES: usize = 2;
const RETRY_FOR: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where sealed recordings lie.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// The folder, where it is one of this machine.
    pub(super) local: Option<PathBuf>,
}

impl Objects {
    /// `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`, a path, or nothing: then `dir`.
    pub(super) fn open(
        url: Option<&str>,
        dir: &Path,
        credentials: Option<(&str, &str)>,
    ) -> Result<Self, RecordingError> {
        let Some(url) = url else { return Self::local(dir) };
        match url.split_once("://") {
            Some(("s3", rest)) => Self::s3(url, rest, credentials),
            Some(("file", path)) => Self::local(Path::new(path)),
            None if url.starts_with('/') => Self::local(Path::new(url)),
            _ => Err(RecordingError::UnknownObjects(url.to_owned())),
        }
    }

    fn local(dir: &Path) -> Result<Self, RecordingError> {
        let failed = |error| RecordingError::Spool(dir.display().to_string(), error);
        fs::create_dir_all(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&dir).map_err(RecordingError::Objects)?;
        Ok(Self { store: Arc::new(store), prefix: String::new(), local: Some(dir) })
    }

    fn s3(url: &str, rest: &str, credentials: Option<(&str, &str)>) -> Result<Self, RecordingError> {
        let unknown = || RecordingError::UnknownObjects(url.to_owned());
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(unknown());
        }
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(ClientOptions::new().with_timeout(TIMEOUT).with_connect_timeout(RETRY_FOR))
            .with_retry(RetryConfig {
                max_retries: RETRIES,
                retry_timeout: RETRY_FOR,
                ..RetryConfig::default()
            });
        if let Some((id, secret)) = credentials {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            builder = match pair.split_once('=').ok_or_else(unknown)? {
                ("endpoint", endpoint) => builder
                    .with_endpoint(endpoint)
                    .with_allow_http(endpoint.starts_with("http://"))
                    .with_virtual_hosted_style_request(false),
                ("region", region) => builder.with_region(region),
                _ => return Err(unknown()),
            };
        }
        let store = builder.build().map_err(RecordingError::Objects)?;
        Ok(Self { store: Arc::new(store), prefix: prefix.trim_matches('/').to_owned(), local: None })
    }

    fn folder(&self, session: AccessSessionId) -> String {
        if self.prefix.is_empty() { session.to_string() } else { format!("{}/{session}", self.prefix) }
    }

    fn key(&self, session: AccessSessionId, name: &str) -> Key {
        Key::from(format!("{}/{name}", self.folder(session)))
    }

    /// Moves a file in; it is gone from where it was.
    pub(super) async fn move_in(
        &self,
        session: AccessSessionId,
        name: &str,
        file: &Path,
    ) -> Result<(), RecordingError> {
        match &self.local {
            Some(dir) => {
                let folder = dir.join(session.to_string());
                let (to, from) = (folder.join(name), file.to_owned());
                blocking(&folder.clone(), move || {
                    fs::create_dir_all(&folder)?;
                    match fs::rename(&from, &to) {
                        Ok(()) => {}
                        // Another file system: copied whole under another name first.
                        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                            let partial = to.with_extension("partial");
                            fs::copy(&from, &partial)?;
                            File::open(&partial)?.sync_all()?;
                            fs::rename(&partial, &to)?;
                            fs::remove_file(&from)?;
                        }
                        Err(error) => return Err(error),
                    }
                    sync_dir(&folder)
                })
                .await
            }
            None => {
                self.upload(session, name, file).await?;
                let file = file.to_owned();
                blocking(&file.clone(), move || fs::remove_file(&file)).await
            }
        }
    }

    async fn upload(&self, session: AccessSessionId, name: &str, file: &Path) -> Result<(), RecordingError> {
        let path = file.to_owned();
        let (mut file, mut part, bytes) = blocking(&path, {
            let path = path.clone();
            move || {
                let mut file = File::open(&path)?;
                let bytes = file.metadata()?.len();
                let part = read_part(&mut file)?;
                Ok((file, part, bytes))
            }
        })
        .await?;
        let key = self.key(session, name);
        if bytes <= PART_BYTES as u64 {
            self.store.put(&key, PutPayload::from(part)).await.map_err(RecordingError::Objects)?;
            return Ok(());
        }
        let upload = self.store.put_multipart(&key).await.map_err(RecordingError::Objects)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        while !part.is_empty() {
            if let Err(error) = upload.wait_for_capacity(PARTS).await {
                // What was sent of it is thrown away by the service sooner or later.
                let _ = upload.abort().await;
                return Err(RecordingError::Objects(error));
            }
            upload.put(part);
            (file, part) = blocking(&path, move || {
                let part = read_part(&mut file)?;
                Ok((file, part))
            })
            .await?;
        }
        upload.finish().await.map(|_| ()).map_err(RecordingError::Objects)
    }

    /// Writes a small object.
    pub(super) async fn put(
        &self,
        session: AccessSessionId,
        name: &str,
        text: String,
    ) -> Result<(), RecordingError> {
        match &self.local {
            Some(dir) => {
                let path = dir.join(session.to_string()).join(name);
                blocking(&path.clone(), move || write_whole(&path, text.as_bytes(), true)).await
            }
            None => self
                .store
                .put(&self.key(session, name), PutPayload::from(text.into_bytes()))
                .await
                .map(|_| ())
                .map_err(RecordingError::Objects),
        }
    }

    /// A whole small object; `None` where there is none.
    pub(super) async fn get(
        &self,
        session: AccessSessionId,
        name: &str,
    ) -> Result<Option<Bytes>, RecordingError> {
        match self.store.get(&self.key(session, name)).await {
            Ok(got) => got.bytes().await.map(Some).map_err(RecordingError::Objects),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(RecordingError::Objects(error)),
        }
    }

    pub(super) async fn range(
        &self,
        session: AccessSessionId,
        name: &str,
        range: Range<u64>,
    ) -> Result<Bytes, RecordingError> {
        self.store.get_range(&self.key(session, name), range).await.map_err(RecordingError::Objects)
    }

    /// The bytes of an object, piece by piece; `None` where there is none.
    pub(super) async fn stream(
        &self,
        session: AccessSessionId,
        name: &str,
    ) -> Result<Option<BoxStream<'static, Result<Bytes, RecordingError>>>, RecordingError> {
        match self.store.get(&self.key(session, name)).await {
            Ok(got) => Ok(Some(got.into_stream().map_err(RecordingError::Objects).boxed())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(RecordingError::Objects(error)),
        }
    }

    /// Names and sizes of what lies in a recording's folder.
    pub(super) async fn list(&self, session: AccessSessionId) -> Result<Vec<(String, u64)>, RecordingError> {
        let folder = Key::from(self.folder(session));
        let found: Vec<_> =
            self.store.list(Some(&folder)).try_collect().await.map_err(RecordingError::Objects)?;
        Ok(found
            .into_iter()
            .map(|meta| (meta.location.filename().unwrap_or_default().to_owned(), meta.size))
            .collect())
    }

    /// Bytes of everything below the prefix, by folder.
    pub(super) async fn sizes(&self) -> Result<std::collections::HashMap<String, u64>, RecordingError> {
        let prefix = (!self.prefix.is_empty()).then(|| Key::from(self.prefix.as_str()));
        let mut sizes = std::collections::HashMap::new();
        let mut list = self.store.list(prefix.as_ref());
        while let Some(meta) = list.try_next().await.map_err(RecordingError::Objects)? {
            let folder = meta.location.parts().rev().nth(1).map(|part| part.as_ref().to_owned());
            *sizes.entry(folder.unwrap_or_default()).or_insert(0) += meta.size;
        }
        Ok(sizes)
    }

    /// Removes everything of a recording.
    pub(super) async fn remove(&self, session: AccessSessionId) -> Result<(), RecordingError> {
        if let Some(dir) = &self.local {
            let folder = dir.join(session.to_string());
            return blocking(&folder.clone(), move || match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
            .await;
        }
        for (name, _) in self.list(session).await? {
            match self.store.delete(&self.key(session, &name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(RecordingError::Objects(error)),
            }
        }
        Ok(())
    }
}

fn read_part(file: &mut File) -> io::Result<Bytes> {
    let mut part = Vec::new();
    file.take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part.into())
}

/// Runs what waits for the disk on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RecordingError> {
    let failed = |error| RecordingError::Spool(path.display().to_string(), error);
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(failed),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}

/// Replaces a file as a whole. `durable`: it survives a power cut from now on.
pub(super) fn write_whole(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.exists() {
        fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension("partial");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
    if let Err(error) = written {
        // Nobody needs half of it.
        let _ = fs::remove_file(&partial);
        return Err(error);
    }
    fs::rename(&partial, path)?;
    if durable { sync_dir(folder) } else { Ok(()) }
}
