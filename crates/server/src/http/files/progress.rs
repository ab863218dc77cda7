//! Answers that tell how something goes on: one JSON object a line (`application/x-ndjson`).
//!
//! The work ends with the answer: who closes the connection stops it, and what was under way is written down as
//! interrupted.

use std::future::Future;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use crate::http::AsItIs;

/// Lines that wait for a slow reader; when they are full the work waits.
const LINES: usize = 16;
/// Lines of progress are written no more often.
const PACE: Duration = Duration::from_millis(200);

pub(super) const MEDIA: &str = "application/x-ndjson";

/// Where lines are written to.
pub(super) struct Lines {
    out: mpsc::Sender<Bytes>,
    told: Option<Instant>,
}

/// Nobody reads any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Lines {
    /// Writes a line that must not be missed.
    pub(super) async fn say<T: Serialize>(&mut self, line: &T) -> Result<(), Gone> {
        let mut text = serde_json::to_vec(line).map_err(|error| {
            tracing::error!(%error, "a line of an answer could not be written");
            Gone
        })?;
        text.push(b'\n');
        self.out.send(text.into()).await.map_err(|_| Gone)
    }

    /// Writes a line unless another was written a moment ago.
    pub(super) async fn progress<T: Serialize>(&mut self, line: impl FnOnce() -> T) -> Result<(), Gone> {
        let now = Instant::now();
        if self.told.is_some_and(|told| now.duration_since(told) < PACE) {
            return if self.out.is_closed() { Err(Gone) } else { Ok(()) };
        }
        self.told = Some(now);
        self.say(&line()).await
    }
}

/// Answers with the lines that `work` writes.
pub(super) fn answer<F, R>(work: F) -> Response
where
    F: FnOnce(Lines) -> R,
    R: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (out, lines) = mpsc::channel(LINES);
    let work = work(Lines { out, told: None });
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        // Nobody is left who could be told.
        let _ = work.await;
    }));
    let body = ReceiverStream::new(lines).map(move |line| {
        let _owned = &task;
        Ok::<_, std::convert::Infallible>(line)
    });
    let mut response = Body::from_stream(body.fuse()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.extensions_mut().insert(AsItIs);
    response
}
