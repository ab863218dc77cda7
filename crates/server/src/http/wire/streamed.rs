//! JSON lists that are written while they are read, in bounded memory.

use std::future::Future;

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use sojourn_store::StoreError;

use crate::http::problem::{Problem, chain};

/// Items of a JSON list, separated by commas.
#[derive(Debug, Default)]
pub struct Items {
    text: Vec<u8>,
}

impl Items {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes) }
    }

    pub fn push<T: Serialize>(&mut self, item: &T) -> Result<(), StoreError> {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, item)
            .map_err(|error| StoreError::Corrupt(format!("an item of a list: {error}")))
    }
}

/// Answers `head`, the items of all chunks, and `tail`.
///
/// `next` reads the chunk after a position, and says where to go on, if anywhere. The first chunk is read
/// before the answer begins, so that what fails at once is told as a problem. What fails later
/// breaks the connection off: the client sees that the document is not complete.
pub async fn list<P, F, R>(
    head: &'static str,
    tail: &'static str,
    first: P,
    mut next: F,
) -> Result<Response, Problem>
where
    P: Send + 'static,
    F: FnMut(P) -> R + Send + 'static,
    R: Future<Output = Result<(Items, Option<P>), StoreError>> + Send,
{
    let (items, position) = next(first).await?;
    let mut begun = !items.text.is_empty();
    let mut opening = head.as_bytes().to_vec();
    opening.extend_from_slice(&items.text);
    if position.is_none() {
        opening.extend_from_slice(tail.as_bytes());
    }
    let state = position.map(|position| (position, next));
    let rest = stream::unfold(state, move |state| async move {
        let (position, mut next) = state?;
        Some(match next(position).await {
            Ok((items, position)) => {
                (Ok((items.text, position.is_none())), position.map(|position| (position, next)))
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "a list broke off");
                (Err(error), None)
            }
        })
    })
    .map(move |chunk| {
        chunk.map(|(mut text, last)| {
            if !text.is_empty() && std::mem::replace(&mut begun, true) {
                text.insert(0, b',');
            }
            if last {
                text.extend_from_slice(tail.as_bytes());
            }
            Bytes::from(text)
        })
    });
    // Compression asks once more after the end, which an unfold answers with a panic.
    let body = stream::once(async move { Ok(Bytes::from(opening)) }).chain(rest).fuse();
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// Answers `head`, the items and `tail` at once.
pub fn whole(head: &str, items: Items, tail: &str) -> Response {
    let mut text = head.as_bytes().to_vec();
    text.extend_from_slice(&items.text);
    text.extend_from_slice(tail.as_bytes());
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
