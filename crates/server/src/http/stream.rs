//! `/presence/stream`: what changes, while it changes, as server-sent events.
//!
//! Each stream follows the engine's updates through a bounded queue. Updates that wait are told together,
//! each device and source once, as it is then. A client that is too slow to follow is told `lost` and
//! let go; so is nobody's memory. A client that returns with `Last-Event-ID` gets the presence events
//! that it missed from the store.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    time::Duration,
};

use axum::{
    extract::{FromRequestParts as _, State},
    http::{StatusCode, request::Parts},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use sojourn_domain::{id::SourceId, mac::MacAddr};
use sojourn_sensor::engine::PresenceUpdate;
use sojourn_store::presence::{devices, events, sources};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError, error::TryRecvError},
    time::{Instant, Interval, MissedTickBehavior},
};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Allowed, Gate, may},
    devices::{ListQuery, complete, select},
    problem::Problem,
    tracking::Standings,
    wire::{
        Time,
        devices::{CountsWire, DeviceWire},
        events::EventWire,
    },
};
use crate::state::AppState;

/// A comment is sent after so long without anything else, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is looked up whether the client still may listen.
const CHECK: Duration = Duration::from_secs(10);
/// Counts are told at most so often.
const COUNTS: Duration = Duration::from_secs(1);
/// Streams at once; each holds a connection.
const MAX_STREAMS: i64 = 1000;
/// Presence events that are read from the store at once.
const CHUNK: u32 = 500;
/// From so many devices on, they are read together.
const TOGETHER: usize = 20;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(listen))
}

/// Listen to presence
///
/// Server-sent events: `presence` (id: its number; data: the event), `device` (the whole device, or `mac` and
/// `removed`), `source` (the whole source, or `id` and `removed`), `counts` (of devices by state, and `at`), and
/// `lost` when the client was too slow, after which the stream ends. A comment is sent every 15 seconds.
/// `Last-Event-ID` resumes presence events.
#[utoipa::path(
    get, path = "/presence/stream", tag = "presence", operation_id = "presence_stream",
    params(("Last-Event-ID" = Option<i64>, Header, description = "The last presence event that the client has")),
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String))
)]
async fn listen(
    Allowed { state, .. }: Allowed<may::PresenceView>,
    State(gate): State<Gate>,
    parts: Parts,
) -> Result<Response, Problem> {
    let open = &state.metrics.requests.streams;
    if open.inc() >= MAX_STREAMS {
        open.dec();
        return Err(Problem::unavailable("too many event streams are open", 30));
    }
    let counted = Counted(state.clone());
    let updates = state.presence.subscribe();
    let latest = events::latest_seq(&state.store).await?;
    let last = match parts.headers.get("last-event-id") {
        None => latest,
        Some(value) => {
            let read = value.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok());
            let told = read.filter(|told| *told >= 0).ok_or_else(|| {
                Problem::invalid(
                    "Last-Event-ID",
                    "expected the id of a presence event, a whole number from 0",
                )
            })?;
            // A database that was set back knows fewer events than the client.
            told.min(latest)
        }
    };
    let follower = Follower {
        _counted: counted,
        state,
        gate,
        parts,
        updates,
        waiting: VecDeque::new(),
        last_seq: last,
        behind: last < latest,
        checks: every(CHECK),
        counted_at: None,
        wants_counts: true,
        ended: false,
    };
    let body = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    })
    // Whatever is wrapped around an answer may poll once more after the end.
    .fuse();
    let sse = Sse::new(body).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    // Proxies that gather answers are told not to.
    Ok((StatusCode::OK, [("x-accel-buffering", "no")], sse).into_response())
}

fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Counts a stream as open while it lives.
struct Counted(AppState);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.requests.streams.dec();
    }
}

struct Follower {
    _counted: Counted,
    state: AppState,
    gate: Gate,
    parts: Parts,
    updates: Receiver<PresenceUpdate>,
    /// What is to be told next.
    waiting: VecDeque<Event>,
    /// The last presence event that was told.
    last_seq: i64,
    /// There are presence events to be read from the store.
    behind: bool,
    checks: Interval,
    counted_at: Option<Instant>,
    wants_counts: bool,
    ended: bool,
}

/// Updates that are told together.
#[derive(Default)]
struct Together {
    devices: BTreeSet<MacAddr>,
    sources: BTreeSet<SourceId>,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if let Err(problem) = self.gather().await {
                // The client comes back, and learns from the answer what is the matter.
                tracing::debug!(code = problem.code(), "an event stream ended");
                return None;
            }
        }
    }

    /// Waits for something to tell.
    async fn gather(&mut self) -> Result<(), Problem> {
        if self.behind {
            return self.read_events().await;
        }
        let counts_at = self.counted_at.map_or_else(Instant::now, |at| at + COUNTS);
        let state = self.state.clone();
        tokio::select! {
            biased;
            () = state.shutdown.cancelled() => self.ended = true,
            // A token that was revoked while the client did not listen is found out before
            // anything more is told.
            _ = self.checks.tick() => {
                Allowed::<may::PresenceView>::from_request_parts(&mut self.parts, &self.gate).await?;
            }
            () = tokio::time::sleep_until(counts_at), if self.wants_counts => self.count().await?,
            update = self.updates.recv() => match update {
                Ok(update) => self.take(update).await?,
                Err(RecvError::Lagged(_)) => self.lose(),
                Err(RecvError::Closed) => self.ended = true,
            },
        }
        Ok(())
    }

    fn lose(&mut self) {
        self.waiting.push_back(Event::default().event("lost").data("{}"));
        self.ended = true;
    }

    /// Takes an update and all others that wait.
    async fn take(&mut self, update: PresenceUpdate) -> Result<(), Problem> {
        let mut together = Together::default();
        let mut next = Some(update);
        while let Some(update) = next {
            match update {
                PresenceUpdate::Events { last_seq } => self.behind |= last_seq > self.last_seq,
                PresenceUpdate::Device(mac) => {
                    together.devices.insert(mac);
                    self.wants_counts = true;
                }
                PresenceUpdate::Source(id) => {
                    together.sources.insert(id);
                }
                PresenceUpdate::Counts(_) => self.wants_counts = true,
            }
            next = match self.updates.try_recv() {
                Ok(update) => Some(update),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Closed) => {
                    self.ended = true;
                    None
                }
                Err(TryRecvError::Lagged(_)) => {
                    self.lose();
                    return Ok(());
                }
            };
        }
        if self.behind {
            self.read_events().await?;
        }
        self.tell_devices(together.devices).await?;
        for id in together.sources {
            self.tell_source(id).await?;
        }
        Ok(())
    }

    async fn read_events(&mut self) -> Result<(), Problem> {
        let found = events::recorded_after(&self.state.store, self.last_seq, CHUNK).await?;
        self.behind = found.len() == CHUNK as usize;
        for event in found {
            self.last_seq = event.seq;
            let event = EventWire::from(event);
            let told = Event::default().event("presence").id(event.id.to_string());
            self.waiting.push_back(with(told, &event)?);
        }
        Ok(())
    }

    async fn tell_devices(&mut self, macs: BTreeSet<MacAddr>) -> Result<(), Problem> {
        let mut told = BTreeSet::new();
        let mut found = Vec::new();
        if macs.len() < TOGETHER {
            for mac in &macs {
                let Some(device) = devices::find(&self.state.store, *mac).await? else { continue };
                let standing = Standings::of_one(&self.state, *mac).await?.of(&device);
                found.push((device, standing));
            }
        } else if !macs.is_empty() {
            let standings = Standings::of_all(&self.state).await?;
            for device in devices::all(&self.state.store).await? {
                if macs.contains(&device.mac) {
                    let standing = standings.of(&device);
                    found.push((device, standing));
                }
            }
        }
        for (device, _) in &found {
            told.insert(device.mac);
        }
        let whole: Vec<DeviceWire> = complete(&self.state, found).await?;
        for device in &whole {
            self.waiting.push_back(with(Event::default().event("device"), device)?);
        }
        for mac in macs.difference(&told) {
            let removed = serde_json::json!({ "mac": mac, "removed": true });
            self.waiting.push_back(with(Event::default().event("device"), &removed)?);
        }
        Ok(())
    }

    async fn tell_source(&mut self, id: SourceId) -> Result<(), Problem> {
        let event = Event::default().event("source");
        let event = match sources::find(&self.state.store, id).await? {
            Some(source) => with(event, &super::sources::whole(&self.state, source).await?)?,
            None => with(event, &serde_json::json!({ "id": id, "removed": true }))?,
        };
        self.waiting.push_back(event);
        Ok(())
    }

    async fn count(&mut self) -> Result<(), Problem> {
        #[derive(Serialize)]
        struct CountsAt {
            #[serde(flatten)]
            counts: CountsWire,
            at: Time,
        }
        let (_, counts) = select(&self.state, &ListQuery::default()).await?;
        let counts = CountsAt { counts, at: Time(self.state.now()) };
        self.waiting.push_back(with(Event::default().event("counts"), &counts)?);
        self.wants_counts = false;
        self.counted_at = Some(Instant::now());
        Ok(())
    }
}

fn with<T: Serialize>(event: Event, data: &T) -> Result<Event, Problem> {
    let text = serde_json::to_string(data).map_err(|error| {
        tracing::error!(%error, "an event could not be written");
        Problem::internal()
    })?;
    Ok(event.data(text))
}
