//! What holds a web terminal to its session while its connection comes and goes.
//!
//! To the actor it is a client that is always there. Output is kept until the browser has acknowledged it, and counted
//! from the session's beginning, so that whoever comes back goes on at the byte where they were. While
//! [`WINDOW`] bytes are unacknowledged nothing more is taken from the actor, which holds the target back:
//! nothing is lost and nothing grows. Who comes back without knowing where they were gets the screen.

use std::{collections::VecDeque, future::pending, time::Duration};

use bytes::{Buf as _, Bytes};
use sojourn_domain::id::{AccessSessionId, UserId};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    ends::{Carrier, ClientEnd, ClientEvent, ClientInput, place},
    handle::{Gone, SessionHandle},
    hub::Hub,
};
use crate::sinks::screen::Snapshot;

/// Output that may be unacknowledged.
pub const WINDOW: usize = 256 * 1024;
/// The queues to the actor: short, because what is in them is beyond the window.
const QUEUE: usize = 4;
/// The queues to the browser's connection.
const ATTACHED: usize = 4;

/// To the browser's connection.
#[derive(Debug)]
pub enum TetherEvent {
    /// First of all, where the browser did not go on at a byte of its own.
    Snapshot(Snapshot),
    Output(Bytes),
    /// Anything but output.
    Event(ClientEvent),
    /// Another connection took the place of this one. The last event.
    Replaced,
}

/// A browser's connection to a session. Dropping it begins the grace period.
#[derive(Debug)]
pub struct Attached {
    pub handle: SessionHandle,
    pub events: mpsc::Receiver<TetherEvent>,
    pub input: mpsc::Sender<ClientInput>,
    /// Output bytes since the session's beginning that have arrived. Apart from the keys: they may have to wait.
    pub received: watch::Sender<u64>,
}

/// The way back to a session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tether {
    handle: SessionHandle,
    user: UserId,
    attach: mpsc::Sender<Attaching>,
}

#[derive(Debug)]
struct Attaching {
    received: Option<u64>,
    events: mpsc::Sender<TetherEvent>,
    input: mpsc::Receiver<ClientInput>,
    acknowledged: watch::Receiver<u64>,
    done: oneshot::Sender<()>,
}

/// The half of the ends that the tether keeps.
pub(super) struct Started {
    input: mpsc::Sender<ClientInput>,
    events: mpsc::Receiver<ClientEvent>,
}

/// The client's end for the actor, and the tether's.
pub(super) fn ends() -> (ClientEnd, Started) {
    let (input, typed) = mpsc::channel(QUEUE);
    let (told, events) = mpsc::channel(QUEUE);
    (ClientEnd { input: typed, events: told, carrier: Carrier::default() }, Started { input, events })
}

impl Started {
    pub(super) fn start(self, hub: &Hub, handle: SessionHandle, user: UserId, grace: Duration) -> Tether {
        let (attach, attaching) = mpsc::channel(1);
        let tether = Tether { handle: handle.clone(), user, attach };
        let id = handle.id();
        hub.keep_tether(id, tether.clone());
        let work = Work {
            handle,
            grace,
            shutdown: hub.shutdown().clone(),
            attaching,
            events: self.events,
            input: Some(self.input),
            attached: None,
            typed: None,
            acknowledged: None,
            detached_at: Instant::now(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            start: 0,
            sent: 0,
            taken: 0,
            skip_to: 0,
            waiting: VecDeque::new(),
            inward: None,
            over: false,
            unsaid: false,
            told: false,
        };
        let registered = Registered { hub: hub.clone(), id };
        hub.spawn(async move {
            work.run().await;
            drop(registered);
        });
        tether
    }
}

struct Registered {
    hub: Hub,
    id: AccessSessionId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.hub.drop_tether(self.id);
    }
}

impl Tether {
    /// Whose session it is: nobody else comes back to it.
    pub fn user(&self) -> UserId {
        self.user
    }

    pub fn handle(&self) -> &SessionHandle {
        &self.handle
    }

    /// Takes the place of whatever connection there was. `received`: the bytes that the browser has; `None`
    /// where it has none of the screen.
    pub async fn attach(&self, received: Option<u64>) -> Result<Attached, Gone> {
        let (told, events) = mpsc::channel(ATTACHED);
        let (input, typed) = mpsc::channel(ATTACHED);
        let (done, attached) = oneshot::channel();
        let (received_now, acknowledged) = watch::channel(0);
        let attaching = Attaching { received, events: told, input: typed, acknowledged, done };
        self.attach.send(attaching).await.map_err(|_| Gone)?;
        attached.await.map_err(|_| Gone)?;
        Ok(Attached { handle: self.handle.clone(), events, input, received: received_now })
    }
}

struct Work {
    handle: SessionHandle,
    grace: Duration,
    shutdown: CancellationToken,
    attaching: mpsc::Receiver<Attaching>,
    events: mpsc::Receiver<ClientEvent>,
    /// Dropped, the actor knows that the client is gone.
    input: Option<mpsc::Sender<ClientInput>>,
    attached: Option<mpsc::Sender<TetherEvent>>,
    typed: Option<mpsc::Receiver<ClientInput>>,
    acknowledged: Option<watch::Receiver<u64>>,
    detached_at: Instant,
    /// Output that is not acknowledged.
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// Output bytes before those that are kept.
    start: u64,
    /// Output bytes that went to the connection.
    sent: u64,
    /// Output bytes that came from the actor.
    taken: u64,
    /// Output before this is part of the screen that was sent.
    skip_to: u64,
    /// What is not output, to be sent after all output.
    waiting: VecDeque<TetherEvent>,
    inward: Option<ClientInput>,
    /// The actor says nothing more.
    over: bool,
    /// It went without a last word.
    unsaid: bool,
    /// And the connection has heard it.
    told: bool,
}

impl Work {
    async fn run(mut self) {
        while !self.told {
            let room = self.kept_bytes < WINDOW && self.waiting.len() < QUEUE;
            let due = self.has_something();
            tokio::select! {
                biased;
                attaching = self.attaching.recv() => {
                    let Some(attaching) = attaching else { break };
                    self.attach(attaching).await;
                }
                () = sleep_until(self.detached_at + self.grace), if self.attached.is_none() => break,
                () = self.shutdown.cancelled(), if self.attached.is_none() => break,
                typed = typed(self.typed.as_mut()), if self.inward.is_none() => match typed {
                    Some(event) => self.inward = Some(event),
                    None => self.detach(),
                },
                bytes = acknowledged(self.acknowledged.as_mut()) => match bytes {
                    Some(bytes) => self.acknowledge(bytes),
                    None => self.detach(),
                },
                () = place(self.input.as_ref()), if self.inward.is_some() => self.pass_input(),
                () = place(self.attached.as_ref()), if due => self.send(),
                event = self.events.recv(), if room && !self.over => self.take(event),
                ended = self.handle.ended(), if self.unsaid => {
                    self.unsaid = false;
                    let last = ClientEvent::Ended { reason: ended.reason, detail: ended.detail };
                    self.waiting.push_back(TetherEvent::Event(last));
                }
            }
        }
    }

    /// There is room for one, and nobody else fills it.
    fn pass_input(&mut self) {
        let (Some(input), Some(event)) = (&self.input, self.inward.take()) else { return };
        if input.try_send(event).is_err() {
            self.input = None;
        }
    }

    fn send(&mut self) {
        let Some(event) = self.next() else { return };
        let last = matches!(event, TetherEvent::Event(ClientEvent::Ended { .. }));
        let Some(connection) = &self.attached else { return };
        match connection.try_send(event) {
            Ok(()) => self.told = last,
            Err(TrySendError::Closed(event) | TrySendError::Full(event)) => {
                // It has gone. Output is kept anyway; the rest is said again to whoever comes.
                if matches!(event, TetherEvent::Event(_)) {
                    self.waiting.push_front(event);
                }
                self.detach();
            }
        }
    }

    fn end(&self) -> u64 {
        self.start + self.kept_bytes as u64
    }

    fn has_something(&self) -> bool {
        self.attached.is_some() && (self.sent < self.end() || !self.waiting.is_empty())
    }

    fn take(&mut self, event: Option<ClientEvent>) {
        match event {
            Some(ClientEvent::Output(bytes) | ClientEvent::ErrorOutput(bytes)) => self.keep(bytes),
            Some(event) => {
                self.over = matches!(event, ClientEvent::Ended { .. });
                self.waiting.push_back(TetherEvent::Event(event));
            }
            None => {
                // What is kept is still to be read.
                self.over = true;
                self.unsaid = true;
            }
        }
    }

    fn keep(&mut self, mut bytes: Bytes) {
        let skipped = self.skip_to.saturating_sub(self.taken).min(bytes.len() as u64);
        self.taken += bytes.len() as u64;
        bytes.advance(usize::try_from(skipped).unwrap_or(bytes.len()));
        if !bytes.is_empty() {
            self.kept_bytes += bytes.len();
            self.kept.push_back(bytes);
        }
    }

    /// The next thing to send.
    fn next(&mut self) -> Option<TetherEvent> {
        if matches!(self.waiting.front(), Some(TetherEvent::Snapshot(_))) {
            return self.waiting.pop_front();
        }
        let mut at = self.start;
        for piece in &self.kept {
            let end = at + piece.len() as u64;
            if self.sent < end {
                let from = usize::try_from(self.sent - at).unwrap_or(0);
                self.sent = end;
                return Some(TetherEvent::Output(piece.slice(from..)));
            }
            at = end;
        }
        self.waiting.pop_front()
    }

    /// Lets go of what has arrived. A browser that claims more than it was sent is not believed.
    fn acknowledge(&mut self, received: u64) {
        let mut more = received.min(self.sent).saturating_sub(self.start);
        while let Some(front) = self.kept.front_mut()
            && more > 0
        {
            let taken = more.min(front.len() as u64);
            front.advance(usize::try_from(taken).unwrap_or(front.len()));
            if front.is_empty() {
                self.kept.pop_front();
            }
            more -= taken;
            self.start += taken;
            self.kept_bytes -= usize::try_from(taken).unwrap_or(self.kept_bytes);
        }
    }

    fn detach(&mut self) {
        self.attached = None;
        self.typed = None;
        self.acknowledged = None;
        self.detached_at = Instant::now();
    }

    async fn attach(&mut self, attaching: Attaching) {
        if let Some(before) = self.attached.take() {
            // A connection that is stuck learns it when it is not any more.
            drop(before.try_send(TetherEvent::Replaced));
        }
        self.waiting.retain(|event| !matches!(event, TetherEvent::Snapshot(_)));
        match attaching.received {
            Some(received) if (self.start..=self.end()).contains(&received) => {
                self.sent = received;
                self.acknowledge(received);
            }
            Some(_) | None => self.begin_with_screen().await,
        }
        // Who asked may be gone again; the next look at the connection tells.
        let _ = attaching.done.send(());
        self.attached = Some(attaching.events);
        self.typed = Some(attaching.input);
        self.acknowledged = Some(attaching.acknowledged);
    }

    /// The screen takes the place of everything until then.
    async fn begin_with_screen(&mut self) {
        match self.handle.snapshot().await {
            Ok(mut snapshot) => {
                // The screen has seen at least what is kept here. A character that is cut in two is sent
                // as output, before what follows it.
                let carry = std::mem::take(&mut snapshot.carry);
                self.skip_to = snapshot.offset;
                snapshot.offset -= carry.len() as u64;
                self.start = snapshot.offset;
                self.sent = self.start;
                self.kept_bytes = carry.len();
                self.kept = VecDeque::from_iter((!carry.is_empty()).then_some(carry));
                self.waiting.push_front(TetherEvent::Snapshot(snapshot));
            }
            // It has ended: what is kept is all that there is.
            Err(Gone) => self.sent = self.start,
        }
    }
}

/// The next message of the connection, where there is one.
async fn typed(attached: Option<&mut mpsc::Receiver<ClientInput>>) -> Option<ClientInput> {
    match attached {
        Some(input) => input.recv().await,
        None => pending().await,
    }
}

/// How much has arrived, when that changes.
async fn acknowledged(attached: Option<&mut watch::Receiver<u64>>) -> Option<u64> {
    match attached {
        Some(received) => {
            received.changed().await.ok()?;
            Some(*received.borrow_and_update())
        }
        None => pending().await,
    }
}
