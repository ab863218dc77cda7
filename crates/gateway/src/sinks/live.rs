//! Viewers of a live session.
//!
//! Each has a bounded queue. Who cannot follow misses output and is given the whole screen again when
//! there is room; the session never waits for a viewer.

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};

use super::screen::Snapshot;
use crate::session::handle::{LiveEvent, Viewer, Watcher};

/// A screen takes two places: itself and the beginning of a character that was cut in two.
const PLACES: usize = 2;

pub(crate) struct Live {
    seats: Vec<Seat>,
    next: u64,
    gone: FuturesUnordered<BoxFuture<'static, u64>>,
    told: watch::Sender<Vec<Viewer>>,
}

struct Seat {
    id: u64,
    viewer: Viewer,
    events: mpsc::Sender<LiveEvent>,
    /// Has missed something and needs the screen.
    behind: bool,
}

impl Live {
    pub(crate) fn new(told: watch::Sender<Vec<Viewer>>) -> Self {
        Self { seats: Vec::new(), next: 0, gone: FuturesUnordered::new(), told }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Somebody waits for a screen.
    pub(crate) fn any_behind(&self) -> bool {
        self.seats.iter().any(|seat| seat.behind)
    }

    pub(crate) fn add(&mut self, watcher: Watcher, snapshot: Snapshot) {
        let id = self.next;
        self.next += 1;
        let events = watcher.events.clone();
        self.gone.push(
            async move {
                events.closed().await;
                id
            }
            .boxed(),
        );
        self.seats.push(Seat { id, viewer: watcher.viewer, events: watcher.events, behind: true });
        // Whoever sees the screen is in the list already.
        self.tell_viewers();
        if let Some(seat) = self.seats.last_mut() {
            seat.show(snapshot);
        }
    }

    /// Waits until a viewer has left; for ever where there is none.
    pub(crate) async fn left(&mut self) {
        match self.gone.next().await {
            Some(id) => {
                self.seats.retain(|seat| seat.id != id);
                self.tell_viewers();
            }
            None => std::future::pending().await,
        }
    }

    fn tell_viewers(&self) {
        self.told.send_replace(self.seats.iter().map(|seat| seat.viewer.clone()).collect());
    }

    pub(crate) fn tell(&mut self, event: &LiveEvent) {
        for seat in self.seats.iter_mut().filter(|seat| !seat.behind) {
            seat.behind = seat.events.try_send(event.clone()).is_err();
        }
    }

    /// All have missed something.
    pub(crate) fn lose(&mut self) {
        for seat in &mut self.seats {
            seat.behind = true;
        }
    }

    /// Shows the screen to those that missed something and have read what they had.
    pub(crate) fn catch_up(&mut self, screen: impl Fn() -> Snapshot) {
        let ready = |seat: &Seat| seat.behind && seat.events.capacity() * 2 >= seat.events.max_capacity();
        if !self.seats.iter().any(ready) {
            return;
        }
        let snapshot = screen();
        for seat in self.seats.iter_mut().filter(|seat| ready(seat)) {
            seat.show(snapshot.clone());
        }
    }

    /// The last word, for which room is awaited.
    pub(crate) async fn end(mut self, event: LiveEvent) {
        let all = self.seats.drain(..).map(|seat| {
            let event = event.clone();
            // A viewer that left needs no last word.
            async move { drop(seat.events.send(event).await) }
        });
        futures_util::future::join_all(all).await;
        self.told.send_replace(Vec::new());
    }
}

impl Seat {
    fn show(&mut self, snapshot: Snapshot) {
        if self.events.capacity() < PLACES {
            return;
        }
        let carry = snapshot.carry.clone();
        let mut shown = self.events.try_send(LiveEvent::Snapshot(snapshot)).is_ok();
        if shown && !carry.is_empty() {
            shown = self.events.try_send(LiveEvent::Output(carry)).is_ok();
        }
        self.behind = !shown;
    }
}
