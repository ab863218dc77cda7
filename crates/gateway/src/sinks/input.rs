//! What was done with mouse and keyboard in a session, on its way into the store.
//!
//! Whoever sees it tells a [`InputLog`] and waits for nothing; a task of its own writes it down, a few times a second at most. Of
//! what comes too fast to be written something is left out, which is said in the log. Which key it was is kept only where the
//! connection's policy asks for it, and sealed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sojourn_domain::{
    access::{InputKind, PressedKey},
    id::AccessSessionId,
    time::Elapsed,
};
use sojourn_store::{Store, access::InputEvent, vault::Vault};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Events that wait to be written; more are left out.
const WAITING: usize = 2048;
/// How often what has come is written.
const EVERY: Duration = Duration::from_millis(500);
/// Events of one session; more are left out.
pub(crate) const MOST: i64 = 500_000;
/// How long the last of them may take to be written.
const LAST: Duration = Duration::from_secs(5);

/// Where to tell what was done. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InputLog {
    events: mpsc::Sender<(i64, InputKind, Option<PressedKey>)>,
    left_out: Arc<AtomicU64>,
}

/// The task that writes. Dropped, it writes what has come and ends.
#[derive(Debug)]
pub(crate) struct InputWriter {
    over: CancellationToken,
    done: oneshot::Receiver<()>,
}

impl InputLog {
    /// Starts the task. To be called within the runtime.
    pub(crate) fn start(store: Store, vault: Vault, session: AccessSessionId) -> (Self, InputWriter) {
        let (events, came) = mpsc::channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let (said, done) = oneshot::channel();
        let over = CancellationToken::new();
        let work =
            Work { store, vault, session, came, batch: Vec::new(), next: 0, left_out: Arc::clone(&left_out) };
        let ending = over.clone();
        tokio::spawn(async move {
            work.run(ending).await;
            // Nobody waits for it where the session is gone.
            let _ = said.send(());
        });
        (Self { events, left_out }, InputWriter { over, done })
    }

    pub fn note(&self, elapsed: Elapsed, kind: InputKind, pressed: Option<PressedKey>) {
        if self.events.try_send((elapsed.as_micros() / 1000, kind, pressed)).is_err() {
            self.left_out.fetch_add(1, Relaxed);
        }
    }
}

impl InputWriter {
    /// Waits until what has come is written.
    pub(crate) async fn finish(mut self) {
        self.over.cancel();
        if tokio::time::timeout(LAST, &mut self.done).await.is_err() {
            tracing::error!("the last input events of a session were not written in time");
        }
    }
}

impl Drop for InputWriter {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

struct Work {
    store: Store,
    vault: Vault,
    session: AccessSessionId,
    came: mpsc::Receiver<(i64, InputKind, Option<PressedKey>)>,
    batch: Vec<InputEvent>,
    next: i64,
    left_out: Arc<AtomicU64>,
}

impl Work {
    async fn run(mut self, over: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                _ = ticks.tick() => {}
            }
            self.gather();
            self.write().await;
        }
        self.came.close();
        self.gather();
        self.write().await;
        let left_out = self.left_out.load(Relaxed);
        if left_out > 0 {
            tracing::warn!(session.id = %self.session, left_out, "input events of a session were left out");
        }
        if !self.batch.is_empty() {
            let lost = self.batch.len();
            tracing::error!(session.id = %self.session, lost, "input events of a session were not written");
        }
    }

    /// What has come and has room.
    fn gather(&mut self) {
        while self.batch.len() < WAITING {
            let Ok((elapsed_ms, kind, pressed)) = self.came.try_recv() else { return };
            if self.next >= MOST {
                self.left_out.fetch_add(1, Relaxed);
                continue;
            }
            self.batch.push(InputEvent { number: self.next, elapsed_ms, kind, pressed });
            self.next += 1;
        }
    }

    /// What cannot be written now is tried again with what comes next.
    async fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.store.input_events_add(&self.vault, self.session, &self.batch).await {
            Ok(()) => self.batch.clear(),
            Err(error) => tracing::warn!(session.id = %self.session, %error, "input events were not written"),
        }
    }
}
