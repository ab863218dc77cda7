//! A few control connections to one target: each carries one transfer at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
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
    connections: Mutex<Connections>,
    room: Arc<Semaphore>,
}

/// The connections there are.
#[derive(Default)]
struct Connections {
    idle: Vec<(Control, Instant)>,
    /// Those that somebody uses or is making: each of them has a permit.
    used: usize,
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
    /// Until there is one place less for all.
    room: Option<OwnedSemaphorePermit>,
}

impl Lease {
    pub(super) fn control(&mut self) -> FsResult<&mut Control> {
        self.control.as_mut().ok_or_else(|| FsError::of(FsErrorKind::Lost))
    }

    /// The target refused one more connection. True when there are others: one that became idle meanwhile is taken, or
    /// else this lease's place is gone for good. In one look at all of them, or the last place could go.
    fn leave_to_others(&mut self) -> bool {
        let mut connections = self.pool.connections();
        if let Some((control, _)) = connections.idle.pop() {
            self.control = Some(control);
        } else if connections.used > 1 {
            connections.used -= 1;
            if let Some(room) = self.room.take() {
                room.forget();
            }
        } else {
            return false;
        }
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that is in the middle of something is closed.
        let control = self.control.take().filter(|control| !control.dirty);
        let mut connections = self.pool.connections();
        connections.used -= usize::from(self.room.is_some());
        if let Some(control) = control.filter(|_| !self.pool.room.is_closed()) {
            connections.idle.push((control, Instant::now()));
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
        let connections = Connections { idle: vec![(first, Instant::now())], used: 0 };
        Self {
            target,
            credential,
            rules,
            patience,
            connections: Mutex::new(connections),
            room: Arc::new(Semaphore::new(MOST)),
        }
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.connections().used += 1;
            let mut lease = Lease { control: None, pool: self.clone(), room: Some(room) };
            while let Some((mut control, since)) = self.pop() {
                if since.elapsed() < FRESH || control.is_alive().await {
                    lease.control = Some(control);
                    return Ok(lease);
                }
            }
            match self.connect().await {
                Ok(control) => {
                    lease.control = Some(control);
                    return Ok(lease);
                }
                // There are others, and this one more is too many, now and later.
                Err(error)
                    if matches!(error.reason, EndReason::LoginRefused | EndReason::Failed)
                        && lease.leave_to_others() =>
                {
                    tracing::debug!(%error, "a target takes no more connections");
                    if lease.control.is_some() {
                        return Ok(lease);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn pop(&self) -> Option<(Control, Instant)> {
        self.connections().idle.pop()
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
            let idle = std::mem::take(&mut pool.connections().idle);
            for (mut control, since) in idle {
                if (since.elapsed() < KEEP_ALIVE || control.is_alive().await) && !pool.room.is_closed() {
                    pool.connections().idle.push((control, Instant::now()));
                }
            }
        }
    }

    pub(super) async fn close(&self) {
        self.room.close();
        let idle = std::mem::take(&mut self.connections().idle);
        for (control, _) in idle {
            control.goodbye().await;
        }
    }
}
