//! From the body of a request onto the target.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures_util::StreamExt as _;
use sojourn_domain::{
    id::{FileSessionId, UploadId},
    time::Clock,
};
use sojourn_gateway::files::{
    RemotePath,
    session::{FileError, Staging},
};
use sojourn_store::Store;
use tokio::time::Instant;

use crate::{
    http::problem::{Problem, chain},
    state::AppState,
};

/// How long a client may send nothing in the middle of a body.
const STALL: Duration = Duration::from_secs(120);
/// Small pieces are put together up to here: each costs the target an answer.
const PIECE: usize = 256 * 1024;
/// What is read on after a refusal, so that the client comes to read the answer.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN: Duration = Duration::from_secs(3);
/// How far an upload has come is written down so often at most.
const NOTE: Duration = Duration::from_secs(1);
/// Bytes of a name that are kept in the name of what is under way.
const KEPT: usize = 180;

/// Why not all of a body was written.
pub(super) enum Cut {
    /// The client went away, or sent nothing for too long.
    Client(Problem),
    /// There was more than there may be.
    TooMuch,
    Target(FileError),
}

impl From<Cut> for Problem {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Client(problem) => problem,
            Cut::TooMuch => Problem::invalid("body", "more was sent than the file has left"),
            Cut::Target(error) => error.into(),
        }
    }
}

/// Writes a body, at most `most` bytes of it.
pub(super) async fn pour(
    body: &mut Pieces,
    staging: &mut Staging,
    most: Option<u64>,
    mut notes: Option<&mut Notes>,
) -> Result<(), Cut> {
    let end = most.map(|most| staging.position().saturating_add(most));
    loop {
        let piece = tokio::select! {
            biased;
            ended = staging.ended() => return Err(Cut::Target(ended)),
            piece = body.next() => piece.map_err(Cut::Client)?,
        };
        let Some(piece) = piece else { return Ok(()) };
        if end.is_some_and(|end| staging.position() + piece.len() as u64 > end) {
            return Err(Cut::TooMuch);
        }
        staging.write(piece).await.map_err(Cut::Target)?;
        if let Some(notes) = &mut notes {
            notes.arrived(staging.arrived()).await;
        }
    }
}

/// Where it is written down now and then how far an upload has come.
pub(super) struct Notes {
    store: Store,
    clock: Arc<dyn Clock>,
    upload: UploadId,
    session: FileSessionId,
    noted: Instant,
}

impl Notes {
    pub(super) fn new(state: &AppState, upload: UploadId, session: FileSessionId) -> Self {
        let (store, clock) = (state.store.clone(), Arc::clone(&state.clock));
        Self { store, clock, upload, session, noted: Instant::now() }
    }

    async fn arrived(&mut self, received: u64) {
        if self.noted.elapsed() < NOTE {
            return;
        }
        self.noted = Instant::now();
        let now = self.clock.now();
        if let Err(error) = self.store.upload_progress(self.upload, self.session, received, None, now).await {
            tracing::warn!(error = chain(&error), "how far an upload has come was not noted");
        }
    }
}

/// A body in pieces of a size that is worth sending on.
pub(super) struct Pieces {
    body: axum::body::BodyDataStream,
    ended: bool,
}

impl Pieces {
    pub(super) fn new(body: Body) -> Self {
        Self { body: body.into_data_stream(), ended: false }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let mut gathered = BytesMut::new();
        while !self.ended {
            // What has come already is not held back for what may come.
            let next = if gathered.is_empty() {
                match tokio::time::timeout(STALL, self.body.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        return Err(Problem::new(
                            axum::http::StatusCode::REQUEST_TIMEOUT,
                            "stalled",
                            "nothing more of the body came for two minutes",
                        ));
                    }
                }
            } else {
                match futures_util::FutureExt::now_or_never(self.body.next()) {
                    Some(next) => next,
                    None => break,
                }
            };
            match next {
                Some(Ok(piece)) if gathered.is_empty() && piece.len() >= PIECE / 4 => return Ok(Some(piece)),
                Some(Ok(piece)) => gathered.extend_from_slice(&piece),
                Some(Err(_)) => return Err(Problem::unreadable("the body could not be read to its end")),
                None => self.ended = true,
            }
            if gathered.len() >= PIECE {
                break;
            }
        }
        Ok((!gathered.is_empty()).then(|| gathered.freeze()))
    }

    /// Reads on for a while without a use for it.
    pub(super) async fn drain(mut self) {
        let reading = async {
            let mut read = 0;
            while let Some(Ok(piece)) = self.body.next().await {
                read += piece.len();
                if read > DRAIN_BYTES {
                    break;
                }
            }
        };
        // Whoever sends on and on is cut off.
        let _ = tokio::time::timeout(DRAIN, reading).await;
    }
}

/// Where a file stands until it is whole: hidden, beside its place, and nobody else's.
pub(super) fn temporary(path: &RemotePath, id: UploadId) -> Result<RemotePath, Problem> {
    let name = path.name().unwrap_or_default();
    let mut kept = &name[..name.len().min(KEPT)];
    if name.len() > KEPT
        && let Ok(text) = std::str::from_utf8(name)
    {
        // No character is cut in two.
        kept = &name[..text.floor_char_boundary(KEPT)];
    }
    let hidden = [b".".as_slice(), kept, b".", id.to_string().as_bytes(), b".part"].concat();
    let beside = path.parent().and_then(|folder| folder.join(&hidden).ok());
    beside.ok_or_else(|| Problem::invalid("path", "the path is too long"))
}
