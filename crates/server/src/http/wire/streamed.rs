//! Lists that are written while they are read, in bounded memory.

use std::future::Future;

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, future::join, stream};
use serde::Serialize;
use sojourn_store::StoreError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use crate::http::problem::{Problem, chain};

/// Chunks that are read before the client has taken those before; a full queue stops the reading.
const AHEAD: usize = 2;

pub const JSON: &str = "application/json";

/// Items of a JSON list, separated by commas; or a chunk of text that was written otherwise.
#[derive(Debug, Default)]
pub struct Items {
    text: Vec<u8>,
    /// There was an item, here or in a piece that is gone.
    begun: bool,
}

impl Items {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), begun: false }
    }

    pub fn written(text: Vec<u8>) -> Self {
        Self { begun: !text.is_empty(), text }
    }

    pub fn push<T: Serialize>(&mut self, item: &T) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.begun, true) {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, item)
            .map_err(|error| StoreError::Corrupt(format!("an item of a list: {error}")))
    }
}

/// What stands around the chunks of a list.
struct Frame {
    content_type: &'static str,
    head: Vec<u8>,
    separator: &'static [u8],
    tail: &'static [u8],
}

/// Answers JSON: `head`, the items of all chunks with commas between them, and `tail`.
///
/// See [`text`] for how it is read.
pub async fn list<P, F, R>(
    head: impl Into<String>,
    tail: &'static str,
    first: P,
    next: F,
) -> Result<Response, Problem>
where
    P: Send + 'static,
    F: FnMut(P) -> R + Send + 'static,
    R: Future<Output = Result<(Items, Option<P>), StoreError>> + Send + 'static,
{
    let head = head.into().into_bytes();
    stream_in(Frame { content_type: JSON, head, separator: b",", tail: tail.as_bytes() }, first, next).await
}

/// Answers text: `head`, and the chunks one after the other.
///
/// `next` reads the chunk after a position, and says where to go on, if anywhere. The first chunk is read
/// before the answer begins, so that what fails at once is told as a problem. What fails later
/// breaks the connection off: the client sees that the document is not complete.
pub async fn text<P, F, R>(
    content_type: &'static str,
    head: Vec<u8>,
    first: P,
    next: F,
) -> Result<Response, Problem>
where
    P: Send + 'static,
    F: FnMut(P) -> R + Send + 'static,
    R: Future<Output = Result<(Items, Option<P>), StoreError>> + Send + 'static,
{
    stream_in(Frame { content_type, head, separator: b"", tail: b"" }, first, next).await
}

async fn stream_in<P, F, R>(frame: Frame, first: P, mut next: F) -> Result<Response, Problem>
where
    P: Send + 'static,
    F: FnMut(P) -> R + Send + 'static,
    R: Future<Output = Result<(Items, Option<P>), StoreError>> + Send + 'static,
{
    let Frame { content_type, head: mut opening, separator, tail } = frame;
    let (items, position) = next(first).await?;
    let mut begun = !items.text.is_empty();
    opening.extend_from_slice(&items.text);
    if position.is_none() {
        opening.extend_from_slice(tail);
    }
    let (out, chunks) = mpsc::channel(AHEAD);
    // Ends when the list does, or with the body when the client goes away.
    let reader = position.map(|position| AbortOnDropHandle::new(tokio::spawn(read_on(position, next, out))));
    let rest = ReceiverStream::new(chunks).map(move |chunk| {
        let _owned = &reader;
        chunk.map(|(mut text, last)| {
            if !text.is_empty() && std::mem::replace(&mut begun, true) {
                text.splice(0..0, separator.iter().copied());
            }
            if last {
                text.extend_from_slice(tail);
            }
            Bytes::from(text)
        })
    });
    let body = stream::once(async move { Ok(Bytes::from(opening)) }).chain(rest).fuse();
    Ok(([(header::CONTENT_TYPE, content_type)], Body::from_stream(body)).into_response())
}

/// Reads chunks while earlier ones are on their way to the client.
async fn read_on<P, F, R>(
    mut position: P,
    mut next: F,
    out: mpsc::Sender<Result<(Vec<u8>, bool), StoreError>>,
) where
    F: FnMut(P) -> R,
    R: Future<Output = Result<(Items, Option<P>), StoreError>>,
{
    loop {
        let read = next(position).await;
        let (chunk, further) = match read {
            Ok((items, further)) => (Ok((items.text, further.is_none())), further),
            Err(error) => {
                tracing::error!(error = %chain(&error), "a list broke off");
                (Err(error), None)
            }
        };
        // Nobody reads any more: the client went away.
        if out.send(chunk).await.is_err() {
            return;
        }
        let Some(further) = further else { return };
        position = further;
    }
}

/// Answers JSON as [`list`] does, for the longest lists: a chunk is written while the next one is read.
///
/// `next` reads the chunk after a position, and says where to go on, if anywhere; `write` makes items of what was
/// read.
pub async fn pipelined<P, T, F, R, W>(
    head: &'static str,
    tail: &'static str,
    first: P,
    mut next: F,
    mut write: W,
) -> Result<Response, Problem>
where
    P: Send + 'static,
    T: Send + 'static,
    F: FnMut(P) -> R + Send + 'static,
    R: Future<Output = Result<(T, Option<P>), StoreError>> + Send + 'static,
    W: FnMut(T, &mut Items) -> Result<(), StoreError> + Send + 'static,
{
    let (chunk, position) = next(first).await?;
    let Some(position) = position else {
        let mut items = Items::default();
        write(chunk, &mut items)?;
        return Ok(whole(head, items, tail));
    };
    let (out, pieces) = mpsc::channel(AHEAD);
    // Ends when the list does, or with the body when the client goes away.
    let reader = tokio::spawn(write_on(chunk, position, tail, next, write, out));
    let reader = AbortOnDropHandle::new(reader);
    let pieces = ReceiverStream::new(pieces).map(move |piece| {
        let _owned = &reader;
        piece.map(Bytes::from)
    });
    let body = stream::once(async move { Ok(Bytes::from_static(head.as_bytes())) }).chain(pieces).fuse();
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// Writes chunks, and reads further ones while earlier ones are on their way to the client.
async fn write_on<P, T, F, R, W>(
    mut chunk: T,
    position: P,
    tail: &str,
    mut next: F,
    mut write: W,
    out: mpsc::Sender<Result<Vec<u8>, StoreError>>,
) where
    F: FnMut(P) -> R,
    R: Future<Output = Result<(T, Option<P>), StoreError>>,
    W: FnMut(T, &mut Items) -> Result<(), StoreError>,
{
    let mut items = Items::default();
    let mut further = Some(position);
    // Pieces are about as long as those before.
    let mut length = 0;
    loop {
        items.text.reserve(length);
        let (read, written) = match further.take() {
            // The database is asked first, and works while the chunk is written.
            Some(position) => {
                let (read, written) = join(next(position), async { write(chunk, &mut items) }).await;
                (Some(read), written)
            }
            None => (None, write(chunk, &mut items)),
        };
        if read.is_none() {
            items.text.extend_from_slice(tail.as_bytes());
        }
        length = length.max(items.text.len());
        let piece = written.map(|()| std::mem::take(&mut items.text));
        // A failure ends the list behind the piece; nobody reads any more when the client went away.
        if !told(&out, piece).await {
            return;
        }
        match read {
            Some(Ok((read, position))) => (chunk, further) = (read, position),
            Some(Err(error)) => {
                told(&out, Err(error)).await;
                return;
            }
            None => return,
        }
    }
}

/// Hands a piece to the client; `false` if there is nobody to go on for.
async fn told(out: &mpsc::Sender<Result<Vec<u8>, StoreError>>, piece: Result<Vec<u8>, StoreError>) -> bool {
    if let Err(error) = &piece {
        tracing::error!(error = %chain(error), "a list broke off");
    }
    let whole = piece.is_ok();
    out.send(piece).await.is_ok() && whole
}

/// Answers `head`, the items and `tail` at once.
pub fn whole(head: &str, items: Items, tail: &str) -> Response {
    let mut text = head.as_bytes().to_vec();
    text.extend_from_slice(&items.text);
    text.extend_from_slice(tail.as_bytes());
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}
