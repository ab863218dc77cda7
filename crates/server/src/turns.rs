//! Taking turns at a password.
//!
//! Attempts are charged before they are looked at (`sojourn_store::identity::guess`), so a browser that
//! restores twelve tabs, or a script that logs in thirty times at once, would use up its free failures
//! without one of them being wrong. Therefore one after the other tries a name from an address, and a
//! few at once an address: who waits here has not been charged. Another node has turns of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sojourn_store::identity::GuessSubject;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::problem::Problem;

/// Attempts from one address that are looked at together; fewer than it may fail for free.
const OF_ADDRESS: usize = 8;
/// Beyond so many that wait for a turn, newcomers are sent away.
const LONGEST_QUEUE: usize = 512;

/// Who is trying, by name and address, and by address.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Weak<Semaphore>>>>);

/// Somebody's turn, for as long as it lives.
#[must_use = "the turn ends when this is dropped"]
pub struct Turn {
    _pair: OwnedSemaphorePermit,
    _address: OwnedSemaphorePermit,
    // After the permits: a queue is forgotten when nobody is in it.
    _queues: [Arc<Semaphore>; 2],
}

impl Turns {
    /// Waits for a turn.
    pub(crate) async fn take(&self, subject: &GuessSubject) -> Result<Turn, Problem> {
        let queues = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|_, queue| queue.strong_count() > 0);
            let mut queue = |key: String, at_once| match queues.get(&key).and_then(Weak::upgrade) {
                Some(queue) => queue,
                None => {
                    let queue = Arc::new(Semaphore::new(at_once));
                    queues.insert(key, Arc::downgrade(&queue));
                    queue
                }
            };
            [queue(subject.pair(), 1), queue(subject.address(), OF_ADDRESS)]
        };
        let [pair, address] = &queues;
        // Each that waits or tries holds the queue, with its permit too.
        if Arc::strong_count(pair) > LONGEST_QUEUE {
            return Err(Problem::unavailable("too many are logging in at once; try again", 2));
        }
        let closed = |_| Problem::internal();
        let pair = Arc::clone(pair).acquire_owned().await.map_err(closed)?;
        let address = Arc::clone(address).acquire_owned().await.map_err(closed)?;
        Ok(Turn { _pair: pair, _address: address, _queues: queues })
    }
}
