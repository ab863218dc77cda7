//! A few control connections to one target: each carries one transfer at a time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sojourn_domain::access::EndReason;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::control::Control;
use crate::{
    files::{FsError, FsErrorKind, FsResult, Patience},
    protocols::{Credential, Target, dial::Rules},
};

/// Connections at once. A target that takes fewer is asked for no more than it takes.
const MOST: usize = 5;
/// One that lay idle for longer is asked whether it is there.
const FRESH: Duration = Duration::from_secs(5);
/// Idle ones are kept awake so often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long somebody waits for one to become free.
const QUEUE: Duration = Duration::from_secs(60);

pub(super) struct Pool {
    target: Target,
    credential: Credential,
    rules: Rules,
    pub(super) patience: Patience,
    idle: Mutex<Vec<(Control, Instant)>>,
    room: Arc<Semaphore>,
    leased: AtomicUsize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("host", &self.target.host).finish_non_exhaustive()
    }
}

/// A control connection, for as long as somebody uses it.
pub(super) struct Lease {
    control: Option<Control>,
    pool: Arc<Pool>,
    _room: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn control(&mut self) -> FsResult<&mut Control> {
        self.control.as_mut().ok_or_else(|| FsError::of(FsErrorKind::Lost))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.leased.fetch_sub(1, Ordering::Relaxed);
        // One that is in the middle of something is closed.
        if let Some(control) = self.control.take().filter(|control| !control.dirty) {
            self.pool.put_back(control);
        }
    }
}

impl Pool {
    pub(super) fn new(
        target: Target,
        credential: Credential,
        rules: Rules,
        patience: Patience,
        first: Control,
    ) -> Self {
        let idle = Mutex::new(vec![(first, Instant::now())]);
        Self {
            target,
            credential,
            rules,
            patience,
            idle,
            room: Arc::new(Semaphore::new(MOST)),
            leased: AtomicUsize::new(0),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Control, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, control: Control) {
        if !self.room.is_closed() {
            self.idle().push((control, Instant::now()));
        }
    }

    fn pop(&self) -> Option<(Control, Instant)> {
        self.idle().pop()
    }

    /// A connection that is known to answer, or was made just now.
    pub(super) async fn lease(self: &Arc<Self>) -> FsResult<Lease> {
        loop {
            let room = match timeout(QUEUE, self.room.clone().acquire_owned()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => {
                    return Err(FsError::new(FsErrorKind::Lost, "the connection to the target was closed"));
                }
                Err(_) => {
                    return Err(FsError::new(
                        FsErrorKind::TimedOut,
                        "all connections that the target allows are busy",
                    ));
                }
            };
            while let Some((mut control, since)) = self.pop() {
                if since.elapsed() < FRESH || control.is_alive().await {
                    return Ok(self.lend(control, room));
                }
            }
            match self.connect().await {
                Ok(control) => return Ok(self.lend(control, room)),
                // There are others, and this one more is too many, now and later.
                Err(error)
                    if matches!(error.reason, EndReason::LoginRefused | EndReason::Failed)
                        && self.leased.load(Ordering::Relaxed) > 0 =>
                {
                    tracing::debug!(%error, "a target takes no more connections");
                    room.forget();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn lend(self: &Arc<Self>, control: Control, room: OwnedSemaphorePermit) -> Lease {
        self.leased.fetch_add(1, Ordering::Relaxed);
        Lease { control: Some(control), pool: self.clone(), _room: room }
    }

    async fn connect(&self) -> Result<Control, crate::protocols::ConnectError> {
        let opened = Control::open(&self.target, &self.credential, &self.rules, self.patience).await;
        opened.map(|(control, _)| control)
    }

    /// Asks idle connections for a sign of life, so that neither target nor firewall forgets them.
    pub(super) async fn keep_awake(pool: std::sync::Weak<Self>) {
        loop {
            tokio::time::sleep(KEEP_ALIVE).await;
            let Some(pool) = pool.upgrade() else { return };
            let idle = std::mem::take(&mut *pool.idle());
            for (mut control, since) in idle {
                if since.elapsed() < KEEP_ALIVE || control.is_alive().await {
                    pool.put_back(control);
                }
            }
        }
    }

    pub(super) async fn close(&self) {
        self.room.close();
        let idle = std::mem::take(&mut *self.idle());
        for (control, _) in idle {
            control.goodbye().await;
        }
    }
}
