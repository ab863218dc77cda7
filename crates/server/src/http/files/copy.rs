//! Copying: on the target itself where it can, else through here, also from one connection to another.
//!
//! What goes through here is a download and an upload, with an event of each; no more of it is held at a time than
//! what is on its way.

use axum::{extract::RawQuery, http::HeaderMap, response::Response};
use sojourn_domain::{
    files::FileAction,
    id::{ConnectionId, UploadId},
};
use sojourn_gateway::files::{
    Entry, EntryKind, FsError, FsErrorKind, RemotePath,
    session::{FileError, FileSession, Landing, Stage},
};
use sojourn_store::Entropy;
use utoipa_axum::routes;

use super::{
    change::folders,
    open::{enter, of_session},
    progress::{self, Gone, Lines},
    receive::temporary,
    walk::{Order, Step, Tally, Walk},
};
use crate::{
    http::{
        Routes,
        actor::{Allowed, may},
        extract::{Json, Path},
        problem::{Problem, ProblemBody},
        wire::files::{CopyRequest, ProgressLine},
    },
    state::AppState,
};

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(copy))
}

/// Copy a file or a folder
///
/// `to` is the copy itself, not the folder that it is put into. Links are not copied and not followed, but for the one that is
/// asked for. The answer is one line of progress after the other (`application/x-ndjson`): what could not be copied has a line with
/// `error` and `code`, and the last line has `finished`. Closing the connection stops it.
#[utoipa::path(
    post, path = "/files/{connection}/copy", tag = "files", operation_id = "copy_files",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = CopyRequest,
    responses(
        (status = 200, body = ProgressLine, content_type = "application/x-ndjson", description = "How far it has come"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "There is something of that name, or a password is needed"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "A target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "A target did not answer"),
    )
)]
async fn copy(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<CopyRequest>,
) -> Result<Response, Problem> {
    let (from, to) = (request.from.read("from")?, request.to.read_new("to")?);
    let other: Option<ConnectionId> = match &request.to_connection {
        Some(text) => {
            Some(text.parse().map_err(|_| Problem::invalid("toConnection", "expected a connection's id"))?)
        }
        None => None,
    };
    let other = other.filter(|other| *other != connection);
    if other.is_none() && to.is_within(&from) {
        return Err(Problem::invalid("to", "a folder is not copied into itself, nor a file onto itself"));
    }
    let source = enter(&state, &actor, connection, &headers, query.as_deref()).await?;
    let target = match other {
        Some(other) => enter(&state, &actor, other, &headers, query.as_deref()).await?,
        None => source.clone(),
    };
    // Copied by the target itself, or through here: then it is fetched and sent.
    let (reads, writes) = if other.is_none() && source.session.capabilities().copy {
        (FileAction::Copy, FileAction::Copy)
    } else {
        (FileAction::Download, FileAction::Upload)
    };
    let entry = source.session.stat_to(reads, &from, true).await?;
    // A folder is merged with one that exists, where that is wished for.
    match target.session.stat_to(writes, &to, false).await {
        Ok(there)
            if !request.overwrite
                || (there.kind == EntryKind::Folder) != (entry.kind == EntryKind::Folder) =>
        {
            return Err(FileError::from(FsError::of(FsErrorKind::Exists)).into());
        }
        Ok(_) => {}
        Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let kept = source.clone();
    let answer = progress::answer(move |lines| async move {
        let task = Copying {
            state,
            within: other.is_none(),
            over: request.overwrite,
            source: source.session.clone(),
            target: target.session.clone(),
            lines,
            tally: Tally::default(),
        };
        let done = task.all(from, to, entry).await;
        drop((source, target));
        done
    });
    Ok(of_session(&kept, answer))
}

struct Copying {
    state: AppState,
    /// Both ends are one connection.
    within: bool,
    over: bool,
    source: FileSession,
    target: FileSession,
    lines: Lines,
    tally: Tally,
}

impl Copying {
    async fn all(mut self, from: RemotePath, to: RemotePath, entry: Entry) -> Result<(), Gone> {
        let mut walk = Walk::new(Order::FoldersFirst);
        walk.begin(Step { path: from.clone(), kind: entry.kind, entry: Some(entry) }, true);
        while let Some(step) = walk.step(&self.source).await {
            let (path, done) = match step {
                // A link within would have to be followed.
                Ok(step) if step.kind == EntryKind::Link => continue,
                Ok(step) => {
                    let done = self.one(&from, &to, &step).await;
                    (step.path, done)
                }
                Err((path, error)) => (path, Err(error)),
            };
            match done {
                Ok(Ok(())) => {
                    self.tally.done += 1;
                    let tally = &self.tally;
                    self.lines.progress(|| tally.line(Some(&path))).await?;
                }
                Ok(Err(gone)) => return Err(gone),
                Err(error) => self.tally.failed(&mut self.lines, &path, error).await?,
            }
        }
        self.tally.finish(&mut self.lines).await
    }

    async fn one(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
        step: &Step,
    ) -> Result<Result<(), Gone>, FileError> {
        let mut place = to.clone();
        for name in step.path.names().skip(from.names().count()) {
            place =
                place.join(name).map_err(|error| FsError::new(FsErrorKind::Invalid, error.to_string()))?;
        }
        match step.kind {
            EntryKind::Folder => folders(&self.target, &place).await.map(Ok),
            EntryKind::File | EntryKind::Link | EntryKind::Other => {
                if self.within && self.source.capabilities().copy {
                    if !self.over {
                        self.free(&place).await?;
                    }
                    self.source.copy(&step.path, &place).await?;
                    self.tally.bytes += step.entry.as_ref().and_then(|entry| entry.size).unwrap_or(0);
                    return Ok(Ok(()));
                }
                self.through(&step.path, place, step.entry.as_ref()).await
            }
        }
    }

    /// Nothing stands there.
    async fn free(&self, place: &RemotePath) -> Result<(), FileError> {
        match self.target.stat_to(FileAction::Copy, place, false).await {
            Ok(_) => Err(FsError::of(FsErrorKind::Exists).into()),
            Err(FileError::Target(error)) if error.kind == FsErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Piece by piece through here.
    async fn through(
        &mut self,
        from: &RemotePath,
        place: RemotePath,
        entry: Option<&Entry>,
    ) -> Result<Result<(), Gone>, FileError> {
        let now = self.state.now();
        let id: UploadId = Entropy.id(now);
        let beside =
            temporary(&place, id).map_err(|problem| FsError::new(FsErrorKind::Invalid, problem.detail()))?;
        let size = entry.and_then(|entry| entry.size);
        let stage = Stage { path: place, temporary: beside, offset: 0, size, over: self.over };
        let mut reading = self.source.read(from, 0, None).await?;
        let mut staging = self.target.stage(stage).await?;
        // The task that this runs in is dropped when nobody listens any more: then nothing may be left behind.
        let part =
            (!staging.in_place()).then(|| Leftover::new(self.target.clone(), staging.temporary().clone()));
        loop {
            let piece = match reading.next().await? {
                Some(piece) => piece,
                None => break,
            };
            let length = piece.len() as u64;
            staging.write(piece).await?;
            self.tally.bytes += length;
            let tally = &self.tally;
            let line = || ProgressLine { size, ..tally.line(Some(from)) };
            if let Err(gone) = self.lines.progress(line).await {
                return Ok(Err(gone));
            }
        }
        reading.finish();
        let modified = entry.and_then(|entry| entry.modified);
        staging.land(Landing { modified, ..Landing::default() }).await?;
        if let Some(part) = part {
            part.landed();
        }
        Ok(Ok(()))
    }
}

/// A part of a copy; dropped before it has landed it is removed.
struct Leftover(Option<(FileSession, RemotePath)>);

impl Leftover {
    fn new(session: FileSession, path: RemotePath) -> Self {
        Self(Some((session, path)))
    }

    fn landed(mut self) {
        self.0 = None;
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let Some((session, path)) = self.0.take() else { return };
        tokio::spawn(async move {
            if let Err(error) = session.unstage(&path).await {
                tracing::warn!(file_session.id = %session.journal().id(), %error, "a part of a copy was left");
            }
        });
    }
}
