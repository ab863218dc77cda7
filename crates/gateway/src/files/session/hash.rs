//! The hash of a file that goes through in order.
//!
//! Hashing takes longer than carrying does. Large pieces are hashed on a thread beside what moves them, and
//! what passes meanwhile waits for it, up to a limit.

use std::{mem, sync::mpsc};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use bytes::Bytes;

/// From this size on a piece is worth another thread.
const LARGE: usize = 64 * 1024;
/// Bytes, and pieces, that may wait to be hashed.
const WAITING: usize = 2 * 1024 * 1024;
const PIECES: usize = 256;

pub(super) struct InOrder {
    /// How much went through.
    bytes: u64,
    state: State,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

enum State {
    Here(Context),
    /// With a thread that hashes.
    Away(mpsc::Receiver<Context>),
    /// That thread did not come back: there is no hash.
    Lost,
}

impl std::fmt::Debug for InOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InOrder({})", self.bytes)
    }
}

impl Default for InOrder {
    fn default() -> Self {
        let state = State::Here(Context::new(&SHA256));
        Self { bytes: 0, state, waiting: Vec::new(), waiting_bytes: 0 }
    }
}

impl InOrder {
    /// How much went through.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece. Must be called within the runtime.
    pub(super) fn pass(&mut self, piece: &Bytes) {
        self.bytes += piece.len() as u64;
        self.waiting.push(piece.clone());
        self.waiting_bytes += piece.len();
        if let State::Away(back) = &self.state {
            let much = self.waiting_bytes >= WAITING || self.waiting.len() >= PIECES;
            // Waiting takes no longer than hashing here would.
            let back = if much { back.recv().map_err(Into::into) } else { back.try_recv() };
            self.state = match back {
                Ok(context) => State::Here(context),
                Err(mpsc::TryRecvError::Empty) => return,
                Err(mpsc::TryRecvError::Disconnected) => State::Lost,
            };
        }
        self.go_on();
    }

    /// Hashes what waits, here or beside.
    fn go_on(&mut self) {
        let waiting = mem::take(&mut self.waiting);
        let large = mem::take(&mut self.waiting_bytes) >= LARGE;
        self.state = match mem::replace(&mut self.state, State::Lost) {
            State::Here(context) if large => {
                let (done, back) = mpsc::sync_channel(1);
                tokio::task::spawn_blocking(move || {
                    // Nobody wants it when the transfer is over.
                    let _ = done.send(hashed(context, &waiting));
                });
                State::Away(back)
            }
            State::Here(context) => State::Here(hashed(context, &waiting)),
            state @ (State::Away(_) | State::Lost) => state,
        };
    }

    /// Waits until all is hashed.
    fn settle(&mut self) -> Option<&Context> {
        if let State::Away(back) = &self.state {
            self.state = back.recv().map_or(State::Lost, State::Here);
        }
        let waiting = mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.state = match mem::replace(&mut self.state, State::Lost) {
            State::Here(context) => State::Here(hashed(context, &waiting)),
            state @ (State::Away(_) | State::Lost) => state,
        };
        match &self.state {
            State::Here(context) => Some(context),
            State::Away(_) | State::Lost => None,
        }
    }

    /// Of everything that has gone through.
    pub(super) fn digest(&mut self) -> Option<Digest> {
        self.settle().map(|context| context.clone().finish())
    }
}

fn hashed(mut context: Context, pieces: &[Bytes]) -> Context {
    for piece in pieces {
        context.update(piece);
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small and large pieces in turn, so many that some have to wait.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn pieces_of_any_size_are_hashed_in_order() {
        let content: Vec<u8> = (0..12_000_000_u32).flat_map(|i| (i / 5).to_le_bytes()).collect();
        let mut hash = InOrder::default();
        let mut whole = Bytes::from(content.clone());
        let mut turn = 0_usize;
        while !whole.is_empty() {
            turn += 1;
            let size = [1, LARGE - 1, LARGE, 7 * LARGE, 300][turn % 5].min(whole.len());
            hash.pass(&whole.split_to(size));
            assert!(hash.waiting_bytes <= WAITING + 7 * LARGE && hash.waiting.len() <= PIECES);
            if turn == 50 {
                let so_far = usize::try_from(hash.bytes()).unwrap();
                let expected = aws_lc_rs::digest::digest(&SHA256, &content[..so_far]);
                assert_eq!(hash.digest().unwrap().as_ref(), expected.as_ref());
            }
        }
        assert_eq!(hash.bytes(), content.len() as u64);
        let expected = aws_lc_rs::digest::digest(&SHA256, &content);
        assert_eq!(hash.digest().unwrap().as_ref(), expected.as_ref());
    }

    #[tokio::test]
    async fn a_thread_that_does_not_come_back_costs_the_hash_and_nothing_else() {
        let (done, back) = mpsc::sync_channel(1);
        let mut hash = InOrder { state: State::Away(back), ..InOrder::default() };
        drop(done);
        hash.pass(&Bytes::from_static(b"piece"));
        assert_eq!(hash.bytes(), 5);
        assert!(hash.digest().is_none());
    }
}
