//! A session whose row stands and that has not connected yet.

use std::{sync::Arc, time::Duration};

use sojourn_domain::{
    access::{ClientKind, ConnectionPolicy, EndReason, Purpose, RecordPolicy},
    files::tap::Tap,
    time::Timestamp,
};
use sojourn_store::access::SessionEnd;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    actor::{Actor, DRAIN, Outcome, Parts},
    ends::{ClientEnd, TargetEnd, TerminalSize},
    handle::{Control, Ended, LiveEvent, SessionFacts, SessionHandle, Shared},
    hub::{Hub, SessionNews},
    rows,
    tether::{self, Tether},
};
use crate::{
    files::session::FileJournal,
    sinks::{
        commands::Commands,
        files::Files,
        recorder::Tape,
        screen::Screen,
        witness::{Desktop, Witness},
    },
};

/// Words that may wait for a session that connects; who comes later is told that it has ended.
const EARLY: usize = 256;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Opening {
    pub purpose: Purpose,
    /// What exec is asked to run, or the name of the subsystem; else empty.
    pub command: String,
    pub client_kind: ClientKind,
    pub client_address: String,
    /// `TERM`; empty without a terminal.
    pub term: String,
    /// With a terminal.
    pub size: Option<TerminalSize>,
}

/// Ends the row and leaves the registry, whatever becomes of the task that holds it.
pub(super) struct Guard {
    hub: Hub,
    pub(super) shared: Arc<Shared>,
    slot: Option<OwnedSemaphorePermit>,
    done: bool,
}

impl Guard {
    pub(super) fn new(hub: Hub, shared: Arc<Shared>, slot: OwnedSemaphorePermit) -> Self {
        Self { hub, shared, slot: Some(slot), done: false }
    }

    /// Ends the row in order.
    async fn end(mut self, outcome: Outcome) {
        self.done = true;
        let facts = &self.shared.facts;
        if facts.purpose == Purpose::Exec {
            let until = self.shared.elapsed();
            let command = rows::exec(
                self.hub.entropy(),
                facts.started_at,
                until,
                &facts.command,
                &outcome.preview,
                outcome.ended.exit.as_ref(),
            );
            if let Err(error) = self.hub.store().commands_add(facts.id, &[command]).await {
                tracing::error!(session.id = %facts.id, %error, "the command of a session was not written");
            }
        }
        finish(&self.hub, &self.shared, outcome).await;
        self.slot = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (hub, shared, slot) = (self.hub.clone(), Arc::clone(&self.shared), self.slot.take());
        self.hub.spawn(async move {
            let ended = Ended { reason: EndReason::Failed, detail: String::new(), exit: None };
            let outcome = Outcome { ended, sha_in: None, sha_out: None, preview: Vec::new() };
            finish(&hub, &shared, outcome).await;
            drop(slot);
        });
    }
}

async fn finish(hub: &Hub, shared: &Arc<Shared>, outcome: Outcome) {
    let (bytes_in, bytes_out) = shared.bytes();
    let Ended { reason, detail, exit } = &outcome.ended;
    let destinations = shared.destinations();
    let detail = match (detail.is_empty(), destinations.is_empty()) {
        (_, true) => detail.clone(),
        (true, false) => destinations,
        (false, false) => format!("{detail}; {destinations}"),
    };
    let end = SessionEnd {
        at: hub.now(),
        reason: *reason,
        detail,
        exit: exit.as_ref().map(rows::exit),
        bytes_in,
        bytes_out,
        sha_in: outcome.sha_in,
        sha_out: outcome.sha_out,
    };
    rows::end(hub.store(), shared.facts.id, &end).await;
    tracing::info!(
        session.id = %shared.facts.id, reason = %end.reason,
        duration_ms = shared.elapsed().as_micros() / 1000, "session ended"
    );
    hub.leave(shared.facts.id);
    shared.ended.send_replace(Some(outcome.ended));
    hub.tell(SessionNews::Ended(shared.facts.id));
}

/// A session that was begun. Dropped, it ends as failed.
pub struct Begun {
    pub(super) guard: Guard,
    pub(super) heard: mpsc::Receiver<Control>,
    pub(super) tape: Option<Tape>,
    pub(super) files: Option<Files>,
    pub(super) desktop: Option<Desktop>,
    pub(super) policy: ConnectionPolicy,
    /// Words that came while nothing had connected, for the actor: whoever watches from then on waits for output.
    pub(super) early: Vec<Control>,
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Begun({})", self.guard.shared.facts.id)
    }
}

impl Begun {
    pub fn facts(&self) -> &SessionFacts {
        &self.guard.shared.facts
    }

    pub fn id(&self) -> sojourn_domain::id::AccessSessionId {
        self.guard.shared.facts.id
    }

    pub fn started_at(&self) -> Timestamp {
        self.guard.shared.facts.started_at
    }

    /// Whom a desktop's protocol tells what there is to see and what was done; `None` where there is no desktop.
    pub fn witness(&self) -> Option<Witness> {
        self.desktop.as_ref().map(Desktop::witness)
    }

    /// A tap reads along and says what is done with files; without it the session does not go on where
    /// recording is mandatory.
    pub fn read_along(&mut self, tap: Tap, journal: FileJournal) {
        let mandatory = self.policy.record == RecordPolicy::Mandatory;
        self.files = Some(Files::new(tap, journal, mandatory));
    }

    /// The session ended before it got anywhere.
    pub async fn fail(self, reason: EndReason, detail: impl Into<String>) {
        let Self { guard, mut heard, tape, files, desktop, policy: _, early } = self;
        let ended = Ended { reason, detail: detail.into(), exit: None };
        // Who asks from now on is told that it is over.
        heard.close();
        let late = std::iter::from_fn(|| heard.try_recv().ok());
        for word in early.into_iter().chain(late) {
            if let Control::Watch(watcher) = word {
                // Its queue is empty, or it has left.
                drop(watcher.events.try_send(LiveEvent::Ended(ended.clone())));
            }
        }
        if let Some(files) = files {
            files.finish(None, ended.reason, &ended.detail).await;
        }
        if let Some(tape) = tape {
            tape.finish(guard.shared.elapsed()).await;
        }
        if let Some(desktop) = desktop {
            desktop.finish(guard.shared.elapsed()).await;
        }
        guard.end(Outcome { ended, sha_in: None, sha_out: None, preview: Vec::new() }).await;
    }

    /// Terminated, or the server stopped, while nothing has connected yet: resolves with how. For use in a
    /// `select!` beside connecting; [`Begun::fail`] follows.
    pub async fn called_off(&mut self) -> Ended {
        loop {
            match self.heard.recv().await {
                Some(Control::End(ended)) => return *ended,
                Some(word) if self.early.len() < EARLY => self.early.push(word),
                Some(Control::Watch(_) | Control::Look(_) | Control::Snapshot(_) | Control::Notice(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Lets bytes pass between the two ends until one of them, or somebody outside, ends it.
    pub fn run(self, target: TargetEnd, client: ClientEnd) -> SessionHandle {
        self.start(target, client, DRAIN)
    }

    fn start(self, target: TargetEnd, client: ClientEnd, drain: Duration) -> SessionHandle {
        let Self { guard, heard, tape, files, desktop, policy, early } = self;
        let shared = Arc::clone(&guard.shared);
        let handle = SessionHandle(Arc::clone(&shared));
        let hub = guard.hub.clone();
        let facts = &shared.facts;
        let screen = facts.terminal.then(|| {
            let commands = Commands::new(hub.store().clone(), hub.entropy(), facts.id, facts.started_at);
            Screen::start(&shared, commands)
        });
        let actor = Actor::new(Parts {
            shared,
            screen,
            tape,
            files,
            desktop,
            heard,
            early,
            target,
            client,
            tell_watched: policy.tell_watched,
            drain,
            idle_limit: policy.idle_limit_seconds,
            time_limit: policy.time_limit_seconds,
        });
        hub.spawn(async move {
            let outcome = actor.run().await;
            guard.end(outcome).await;
        });
        handle
    }

    /// The same for a client that may lose its connection and come back within `grace`.
    pub fn run_tethered(self, target: TargetEnd, grace: Duration) -> (SessionHandle, Tether) {
        let hub = self.guard.hub.clone();
        let user = self.facts().user;
        let (client, started) = tether::ends();
        // What is left waits for as long as somebody may come back for it.
        let handle = self.start(target, client, DRAIN + grace);
        let tether = started.start(&hub, handle.clone(), user, grace);
        (handle, tether)
    }
}
