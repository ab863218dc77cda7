//! The SFTP server that users' own clients speak to where the target speaks something else, or where a policy must be
//! able to say no: version 3, as OpenSSH's server speaks it, over a [`FileSession`].
//!
//! Requests are answered one after the other, as OpenSSH's server does; what makes it fast are the streams behind the
//! handles, which read ahead and write behind. A client that reads no answers is held back by the channel's window, and
//! so is one that asks faster than the target answers: nothing waits here but what has been asked for.
//!
//! Known to be missing: owners cannot be set, the size of the file system is not told, and names are resolved by their
//! letters alone, so that `..` after a link leads to where the link is.

mod handles;
mod names;
pub mod wire;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use sojourn_domain::files::{Denial, FileAction};

use self::{
    handles::{File, Folder, HANDLES, Handles, Open},
    names::timestamp,
    wire::{Attributes, Framer, Names, Nonsense, Request, code, flag},
};
use crate::files::{
    Entry, EntryKind, FsError, FsErrorKind, RemotePath, WriteMode,
    session::{FileEnded, FileError, FileSession},
};

/// The longest answer with names.
const NAMES: usize = 64 * 1024;
/// What closing all files of a client that has gone may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// The way from and to a client.
pub(crate) trait Wire: Send {
    /// The next bytes; `None` when no more come.
    fn receive(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
    /// Sends, when the client has room; `false` when it is gone.
    fn send(&mut self, packet: Bytes) -> impl Future<Output = bool> + Send;
}

/// How it came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The client has said all and heard all.
    Done,
    /// The client went away.
    Gone,
    /// The client speaks something else.
    Nonsense(Nonsense),
    /// Somebody ended the file session.
    Ended(FileEnded),
}

/// Serves one client until it leaves.
pub(crate) async fn serve(session: &FileSession, wire: &mut impl Wire) -> Over {
    let mut server = Server { session, handles: Handles::default() };
    let over = server.run(wire).await;
    // Nothing is written any more; a file that was read whole is told so.
    let _ = tokio::time::timeout(FAREWELL, async { server.handles.leave() }).await;
    over
}

struct Server<'a> {
    session: &'a FileSession,
    handles: Handles,
}

/// What is answered where it is not done.
enum Fault {
    File(FileError),
    Status(u32, &'static str),
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

const NO_HANDLE: Fault = Fault::Status(code::FAILURE, "the handle is none, or of another kind");

impl Server<'_> {
    async fn run(&mut self, wire: &mut impl Wire) -> Over {
        let mut framer = Framer::default();
        let mut greeted = false;
        loop {
            let packet = match framer.packet() {
                Err(nonsense) => return Over::Nonsense(nonsense),
                Ok(Some(packet)) => packet,
                Ok(None) => {
                    let piece = tokio::select! {
                        biased;
                        ended = self.session.journal().ended() => return Over::Ended(ended),
                        piece = wire.receive() => piece,
                    };
                    match piece {
                        Some(piece) => framer.push(&piece),
                        None => return Over::Done,
                    }
                    continue;
                }
            };
            let answer = if greeted {
                match wire::request(packet) {
                    Ok((number, request)) => self.answer(number, request).await,
                    Err(nonsense) => return Over::Nonsense(nonsense),
                }
            } else {
                if let Err(nonsense) = wire::greeting(&packet) {
                    return Over::Nonsense(nonsense);
                }
                greeted = true;
                self.version()
            };
            let sent = tokio::select! {
                biased;
                ended = self.session.journal().ended() => return Over::Ended(ended),
                sent = wire.send(answer) => sent,
            };
            if !sent {
                return Over::Gone;
            }
        }
    }

    fn version(&self) -> Bytes {
        let can = self.session.capabilities();
        let mut extensions = vec![
            ("posix-rename@openssh.com", "1"),
            ("fsync@openssh.com", "1"),
            ("lsetstat@openssh.com", "1"),
            ("limits@openssh.com", "1"),
            ("expand-path@openssh.com", "1"),
        ];
        if can.links {
            extensions.push(("hardlink@openssh.com", "1"));
        }
        if can.copy {
            extensions.push(("copy-data", "1"));
        }
        wire::version(&extensions)
    }

    async fn answer(&mut self, number: u32, request: Option<Request>) -> Bytes {
        let Some(request) = request else {
            return wire::status(number, code::BAD_MESSAGE, "the request cannot be read");
        };
        match self.done(number, request).await {
            Ok(answer) => answer,
            Err(Fault::Status(code, sentence)) => wire::status(number, code, sentence),
            Err(Fault::File(error)) => wire::status(number, status(&error), &error.to_string()),
        }
    }

    async fn done(&mut self, number: u32, request: Request) -> Result<Bytes, Fault> {
        let session = self.session;
        match request {
            Request::Open { path, flags, attributes } => {
                let handle = self.open(&path, flags, attributes).await?;
                return Ok(wire::handle(number, &handle));
            }
            Request::OpenFolder { path } => {
                self.room()?;
                let browsing = session.list(&self.path(&path)?).await?;
                let handle = self.handles.put(Open::Folder(Folder { browsing, waiting: VecDeque::new() }));
                return Ok(wire::handle(number, &handle));
            }
            Request::Read { handle, offset, length } => {
                return self.read(number, &handle, offset, length).await;
            }
            Request::ReadFolder { handle } => return self.read_folder(number, &handle).await,
            Request::Stat { path, follow } => {
                let entry = session.stat(&self.path(&path)?, follow).await?;
                return Ok(wire::attributes(number, &names::attributes(&entry)));
            }
            Request::StatHandle { handle } => {
                let attributes = self.stat_handle(&handle).await?;
                return Ok(wire::attributes(number, &attributes));
            }
            Request::RealPath { path, expand } => {
                let real = self.real_path(&path, expand)?;
                return Ok(wire::name(number, real.as_bytes()));
            }
            Request::ReadLink { path } => {
                let target = session.read_link(&self.path(&path)?).await?;
                return Ok(wire::name(number, &target));
            }
            Request::Limits => return Ok(wire::limits(number, HANDLES as u64)),
            Request::Close { handle } => self.close(&handle).await?,
            Request::Write { handle, offset, data } => {
                let (file, room) = self.handles.file_and_room(&handle).ok_or(NO_HANDLE)?;
                if !file.writes {
                    return Err(Fault::Status(
                        code::PERMISSION_DENIED,
                        "the file was not opened for writing",
                    ));
                }
                file.write(session, offset, data, room).await?;
            }
            Request::SetStat { path, attributes, follow } => {
                set(session, &self.path(&path)?, attributes, follow).await?;
            }
            Request::SetStatHandle { handle, attributes } => self.set_handle(&handle, attributes).await?,
            Request::Remove { path } => session.remove_file(&self.path(&path)?).await?,
            Request::Rmdir { path } => session.remove_folder(&self.path(&path)?).await?,
            Request::Mkdir { path, attributes } => {
                // What a client's file system has by default is left to the target.
                let usual = |mode: &u32| ![0o777, 0o775, 0o755].contains(&(mode & 0o777));
                let permissions = attributes.mode.filter(usual).map(|mode| mode & 0o7777);
                session.mkdir_with(&self.path(&path)?, permissions).await?;
            }
            Request::Rename { from, to, over } => {
                session.rename(&self.path(&from)?, &self.path(&to)?, over).await?;
            }
            Request::Link { link, target } => session.make_link(&self.path(&link)?, &target).await?,
            Request::HardLink { link, existing } => {
                session.make_hard_link(&self.path(&link)?, &self.path(&existing)?).await?;
            }
            Request::Sync { handle } => self.handles.file(&handle).ok_or(NO_HANDLE)?.sync().await?,
            Request::CopyData { from, offset, length, to, to_offset } => {
                self.copy(&from, offset, length, &to, to_offset).await?;
            }
            Request::Unsupported => {
                return Err(Fault::Status(code::UNSUPPORTED, "this server does not know the request"));
            }
        }
        Ok(wire::status(number, code::OK, ""))
    }

    fn path(&self, path: &[u8]) -> Result<RemotePath, Fault> {
        // An empty one is where one is, as in OpenSSH's server.
        let path = self.session.home().resolve(path);
        path.map_err(|error| FileError::from(FsError::new(FsErrorKind::Invalid, error.to_string())).into())
    }

    fn real_path(&self, path: &[u8], expand: bool) -> Result<RemotePath, Fault> {
        let path = match path.strip_prefix(b"~") {
            Some(rest) if expand => match rest {
                b"" => b".",
                [b'/', rest @ ..] => rest.strip_prefix(b"/").unwrap_or(rest),
                _ => return Err(Fault::Status(code::FAILURE, "nobody else's home is known here")),
            },
            Some(_) | None => path,
        };
        self.path(path)
    }

    fn room(&self) -> Result<(), Fault> {
        if self.handles.is_full() {
            return Err(Fault::Status(code::FAILURE, "too many files are open"));
        }
        Ok(())
    }

    async fn open(&mut self, path: &[u8], flags: u32, attributes: Attributes) -> Result<[u8; 4], Fault> {
        self.room()?;
        let path = self.path(path)?;
        let has = |flag: u32| flags & flag != 0;
        let (reads, writes) = (has(flag::READ), has(flag::WRITE) || has(flag::APPEND));
        if !reads && !writes {
            return Err(Fault::Status(code::FAILURE, "a file is opened for reading, writing or both"));
        }
        let mut file = File::new(path, reads, writes);
        file.appends = has(flag::APPEND);
        if writes {
            // What a client's file system has by default is left to the target.
            let usual = |mode: &u32| ![0o644, 0o664, 0o666].contains(&(mode & 0o777));
            let permissions = attributes.mode.filter(usual).map(|mode| mode & 0o7777);
            if has(flag::CREATE) && has(flag::EXCLUSIVE) {
                file.begin_writing(self.session, WriteMode::New, permissions).await?;
            } else if has(flag::CREATE) && has(flag::TRUNCATE) {
                file.begin_writing(self.session, WriteMode::Replace, permissions).await?;
            } else {
                match self.session.stat_to(FileAction::Upload, &file.path, true).await {
                    Ok(entry) if entry.kind == EntryKind::Folder => {
                        return Err(FileError::from(FsError::of(FsErrorKind::IsAFolder)).into());
                    }
                    Ok(_) if has(flag::TRUNCATE) => {
                        file.begin_writing(self.session, WriteMode::Replace, None).await?;
                    }
                    Ok(entry) => file.size = entry.size.unwrap_or(0),
                    Err(FileError::Target(error))
                        if error.kind == FsErrorKind::NotFound && has(flag::CREATE) =>
                    {
                        file.begin_writing(self.session, WriteMode::New, permissions).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        } else {
            file.begin_reading(self.session, 0).await?;
        }
        Ok(self.handles.put(Open::File(Box::new(file))))
    }

    async fn read(&mut self, number: u32, handle: &[u8], offset: u64, length: u32) -> Result<Bytes, Fault> {
        let (file, room) = self.handles.file_and_room(handle).ok_or(NO_HANDLE)?;
        if !file.reads {
            return Err(Fault::Status(code::PERMISSION_DENIED, "the file was not opened for reading"));
        }
        let length = u64::from(length).min(wire::MAX_DATA) as usize;
        let (pieces, total) = file.read(self.session, offset, length, room).await?;
        if total == 0 && length > 0 {
            return Err(Fault::Status(code::EOF, ""));
        }
        Ok(wire::data(number, &pieces, total))
    }

    async fn read_folder(&mut self, number: u32, handle: &[u8]) -> Result<Bytes, Fault> {
        let Some(Open::Folder(folder)) = self.handles.get(handle) else { return Err(NO_HANDLE) };
        if folder.waiting.is_empty() {
            match folder.browsing.next().await? {
                Some(entries) => folder.waiting.extend(entries),
                None => return Err(Fault::Status(code::EOF, "")),
            }
        }
        let now = self.session.journal().now();
        let mut names = Names::new(number);
        while let Some(entry) = folder.waiting.pop_front() {
            names.push(&entry.name, &names::long(&entry, now), &names::attributes(&entry));
            if names.len() > NAMES {
                break;
            }
        }
        Ok(names.done())
    }

    async fn stat_handle(&mut self, handle: &[u8]) -> Result<Attributes, Fault> {
        let file = self.handles.file(handle).ok_or(NO_HANDLE)?;
        let written = file.writing.as_ref().map(|writing| writing.end());
        let end = written.map(|end| if file.fresh { end } else { end.max(file.size) });
        match self.session.stat(&file.path, true).await {
            Ok(mut entry) => {
                // What is on its way counts too.
                entry.size = end.or(entry.size);
                Ok(names::attributes(&entry))
            }
            Err(FileError::Target(error)) if end.is_some() && !error.is_lost() => {
                let entry = Entry { size: end, ..Entry::new(Vec::new(), EntryKind::File) };
                Ok(names::attributes(&entry))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn close(&mut self, handle: &[u8]) -> Result<(), Fault> {
        match self.handles.take(handle).ok_or(NO_HANDLE)? {
            Open::Folder(mut folder) => folder.browsing.finish(),
            Open::File(file) => {
                let (path, at_end) = (file.path.clone(), file.set_at_end);
                file.close(self.session).await?;
                set(self.session, &path, at_end, true).await?;
            }
        }
        Ok(())
    }

    async fn set_handle(&mut self, handle: &[u8], attributes: Attributes) -> Result<(), Fault> {
        let Some(open) = self.handles.get(handle) else { return Err(NO_HANDLE) };
        let Open::File(file) = open else { return Err(NO_HANDLE) };
        if let Some(size) = attributes.size {
            file.set_length(self.session, size).await?;
        }
        let rest = Attributes { size: None, ..attributes };
        if !file.writes {
            let path = file.path.clone();
            return set(self.session, &path, rest, true).await;
        }
        file.set_at_end.mode = rest.mode.or(file.set_at_end.mode);
        file.set_at_end.modified = rest.modified.or(file.set_at_end.modified);
        if rest.owner.is_some() {
            return Err(Fault::Status(code::UNSUPPORTED, "owners cannot be set here"));
        }
        Ok(())
    }

    /// The whole of a file into an empty one, which is all that clients ask for.
    async fn copy(
        &mut self,
        from: &[u8],
        offset: u64,
        length: u64,
        to: &[u8],
        to_offset: u64,
    ) -> Result<(), Fault> {
        let source = self.handles.file(from).ok_or(NO_HANDLE)?;
        let (source_path, source_good) = (source.path.clone(), source.reads && source.is_untouched());
        let target = self.handles.file(to).ok_or(NO_HANDLE)?;
        let good = source_good && target.writes && target.fresh && target.is_untouched();
        let target_path = target.path.clone();
        if !good || offset != 0 || length != 0 || to_offset != 0 || source_path == target_path {
            return Err(Fault::Status(code::UNSUPPORTED, "only whole files are copied, into empty ones"));
        }
        target.step_aside().await;
        if let Some(source) = self.handles.file(from) {
            source.step_aside().await;
        }
        self.session.copy(&source_path, &target_path).await?;
        Ok(())
    }
}

/// Sets what the target can set. What it cannot is left: a client that cannot keep a file's time has sent the file
/// all the same.
async fn set(
    session: &FileSession,
    path: &RemotePath,
    attributes: Attributes,
    follow: bool,
) -> Result<(), Fault> {
    let can = session.capabilities();
    if let Some(size) = attributes.size {
        session.truncate(path, size).await?;
    }
    let permissions = attributes.mode.filter(|_| can.permissions).map(|mode| mode & 0o7777);
    let modified = attributes.modified.filter(|_| can.times).map(timestamp);
    if permissions.is_some() || modified.is_some() {
        if !follow && session.stat_to(FileAction::Chmod, path, false).await?.kind == EntryKind::Link {
            return Err(Fault::Status(code::UNSUPPORTED, "a link itself cannot be changed"));
        }
        match session.set_attributes(path, permissions, modified).await {
            Err(FileError::Target(error)) if error.kind == FsErrorKind::Unsupported => {}
            set => set?,
        }
    }
    if attributes.owner.is_some() {
        return Err(Fault::Status(code::UNSUPPORTED, "owners cannot be set here"));
    }
    Ok(())
}

/// The number that comes nearest to an error.
fn status(error: &FileError) -> u32 {
    match error {
        FileError::Denied(
            Denial::ReadOnly
            | Denial::NoDelete
            | Denial::PathDenied
            | Denial::PathNotAllowed
            | Denial::UploadTooLarge(_)
            | Denial::DownloadTooLarge(_),
        ) => code::PERMISSION_DENIED,
        FileError::Target(error) => match error.kind {
            FsErrorKind::NotFound | FsErrorKind::NotAFolder => code::NO_SUCH_FILE,
            FsErrorKind::Denied => code::PERMISSION_DENIED,
            FsErrorKind::Unsupported => code::UNSUPPORTED,
            FsErrorKind::Exists
            | FsErrorKind::NotEmpty
            | FsErrorKind::IsAFolder
            | FsErrorKind::NoSpace
            | FsErrorKind::Lost
            | FsErrorKind::TimedOut
            | FsErrorKind::Invalid
            | FsErrorKind::Other => code::FAILURE,
        },
        FileError::Ended(_) => code::FAILURE,
    }
}
