//! Commands on their way to the store.
//!
//! Writing them never holds the screen up: one write is under way at a time, what comes meanwhile waits for
//! the next. While the database does not answer they wait, up to a bound.

use std::time::Duration;

use sojourn_domain::{commands::DetectedCommand, id::AccessSessionId, time::Timestamp};
use sojourn_store::{Entropy, Store, access::NewCommand};
use tokio::task::JoinHandle;

use crate::session::rows;

/// Commands that may wait for the database; beyond them the newest are lost, and the log says so.
const WAITING: usize = 10_000;
/// Between two attempts.
const RETRY: Duration = Duration::from_secs(2);
/// How long the end of a session waits for its commands to be written.
const FINISH: Duration = Duration::from_secs(60);

pub(crate) struct Commands {
    store: Store,
    entropy: Entropy,
    session: AccessSessionId,
    started_at: Timestamp,
    waiting: Vec<NewCommand>,
    writing: Option<JoinHandle<Vec<NewCommand>>>,
    lost: u64,
}

impl Commands {
    pub(crate) fn new(
        store: Store,
        entropy: Entropy,
        session: AccessSessionId,
        started_at: Timestamp,
    ) -> Self {
        Self { store, entropy, session, started_at, waiting: Vec::new(), writing: None, lost: 0 }
    }

    pub(crate) fn add(&mut self, detected: Vec<DetectedCommand>) {
        if detected.is_empty() {
            return;
        }
        for command in detected {
            if self.waiting.len() < WAITING {
                self.waiting.push(rows::command(self.entropy, self.started_at, command));
            } else {
                self.lost += 1;
            }
        }
        self.write();
    }

    fn write(&mut self) {
        if self.writing.is_some() || self.waiting.is_empty() {
            return;
        }
        let commands = std::mem::take(&mut self.waiting);
        let (store, session) = (self.store.clone(), self.session);
        self.writing = Some(tokio::spawn(async move {
            match store.commands_add(session, &commands).await {
                Ok(()) => Vec::new(),
                Err(error) => {
                    tracing::warn!(session.id = %session, %error, "commands wait to be written");
                    tokio::time::sleep(RETRY).await;
                    commands
                }
            }
        }));
    }

    /// Waits until a write has ended; for ever where none is under way.
    pub(crate) async fn progress(&mut self) {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let unwritten = writing.await;
        self.writing = None;
        match unwritten {
            Ok(unwritten) => {
                self.waiting.splice(0..0, unwritten);
            }
            Err(error) => tracing::error!(session.id = %self.session, %error, "commands were not written"),
        }
        self.write();
    }

    /// Writes what is left.
    pub(crate) async fn finish(mut self) {
        let all = async {
            while self.writing.is_some() {
                self.progress().await;
            }
        };
        if tokio::time::timeout(FINISH, all).await.is_err() {
            self.lost += self.waiting.len() as u64;
        }
        if self.lost > 0 {
            tracing::error!(session.id = %self.session, lost = self.lost, "commands of a session were lost");
        }
    }
}
