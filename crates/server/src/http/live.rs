//! Sessions that are live now: the list, what happens to them, and ending them.
//!
//! Whoever may watch or see everybody's sessions sees them all; others see their own. What this server does not run
//! itself is known from the database alone: of another node's sessions there is no size and no idle time.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    extract::{FromRequestParts as _, State},
    http::request::Parts,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::json;
use sojourn_domain::{
    access::EndReason,
    id::AccessSessionId,
    policy::{Permission, Visibility},
};
use sojourn_gateway::session::SessionNews;
use sojourn_store::{
    access::{AccessSession, SessionFilter},
    audit::Deed,
};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Gate, Known},
    extract::{Json, OptionalJson, Path},
    problem::Problem,
    wire::{
        access::{Reason, SessionBody, ViewerBody},
        values::Done,
    },
};
use crate::state::AppState;

/// Sessions in the list.
const MOST: i64 = 2000;
/// How often a stream looks at what other nodes did, at what went through, and at whether the listener still may.
const LOOK: Duration = Duration::from_secs(3);
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a request waits for a session that it ended.
pub(super) const ENDING: Duration = Duration::from_secs(5);
/// Streams at once; each holds a connection.
const MAX_STREAMS: i64 = 1000;

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(listen)).routes(routes!(terminate))
}

/// A session that is live.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LiveSession)]
struct LiveBody {
    #[serde(flatten)]
    session: SessionBody,
    /// Characters in a line; `null` where there is no terminal, or the session is another node's.
    #[schema(minimum = 0)]
    cols: Option<u16>,
    #[schema(minimum = 0)]
    rows: Option<u16>,
    /// Since something was typed; `null` where the session is another node's.
    #[schema(minimum = 0)]
    idle_ms: Option<i64>,
}

/// Live sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveSessions)]
struct LiveList {
    sessions: Vec<LiveBody>,
}

fn visibility(actor: &Actor) -> Result<Visibility, Problem> {
    if actor.may(Permission::SessionsWatch) || actor.may(Permission::SessionsViewAny) {
        return Ok(Visibility::Any);
    }
    actor.require(Permission::SessionsViewOwn)?;
    Ok(Visibility::Own(actor.user))
}

fn body(state: &AppState, session: AccessSession, actor: &Actor) -> LiveBody {
    let live = state.hub.get(session.id);
    let mut session = SessionBody::new(session, actor);
    let Some(live) = live else { return LiveBody { session, cols: None, rows: None, idle_ms: None } };
    let numbers = live.numbers();
    session.bytes_in = numbers.bytes_in;
    session.bytes_out = numbers.bytes_out;
    session.viewers = numbers
        .viewers
        .into_iter()
        .map(|viewer| ViewerBody { name: viewer.name, mode: viewer.mode.key() })
        .collect();
    let terminal = live.facts().terminal;
    LiveBody {
        session,
        cols: terminal.then_some(numbers.cols),
        rows: terminal.then_some(numbers.rows),
        idle_ms: Some(numbers.idle.as_micros() / 1000),
    }
}

async fn live(state: &AppState, actor: &Actor) -> Result<Vec<AccessSession>, Problem> {
    let filter = SessionFilter { live: Some(true), ..SessionFilter::default() };
    let (sessions, _) = state.store.sessions(visibility(actor)?, &filter, MOST, 0).await?;
    Ok(sessions)
}

/// Sessions that are live, newest first
///
/// Everybody's with `sessions.watch` or `sessions.view_any`, else one's own; at most 2000.
#[utoipa::path(
    get, path = "/sessions/live", tag = "sessions", operation_id = "list_live_sessions",
    responses((status = 200, body = LiveList))
)]
async fn list(Known { state, actor }: Known) -> Result<Json<LiveList>, Problem> {
    let sessions = live(&state, &actor).await?;
    let sessions = sessions.into_iter().map(|session| body(&state, session, &actor)).collect();
    Ok(Json(LiveList { sessions }))
}

/// End a live session
///
/// One's own; another's with `sessions.terminate`. The one whose session it is reads the reason.
#[utoipa::path(
    post, path = "/sessions/{id}/terminate", tag = "sessions", operation_id = "terminate_session",
    params(("id" = String, Path, pattern = "^sess_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body(content = inline(Option<Reason>)),
    responses((status = 200, body = Done))
)]
async fn terminate(
    Known { state, actor }: Known,
    Path(id): Path<AccessSessionId>,
    OptionalJson(reason): OptionalJson<Reason>,
) -> Result<Json<Done>, Problem> {
    let none = || Problem::not_found("such session");
    let session = state.store.session(Visibility::Any, id).await?.ok_or_else(none)?;
    if session.user != actor.user && !actor.may(Permission::SessionsTerminate) {
        let knows = actor.may(Permission::SessionsWatch) || actor.may(Permission::SessionsViewAny);
        return Err(if knows {
            Problem::forbidden("permission_missing", "this needs the permission sessions.terminate")
        } else {
            Problem::hidden("such session")
        });
    }
    let over = || Problem::conflict("session_over", "the session has ended");
    if !session.is_live() {
        return Err(over());
    }
    let reason = reason.unwrap_or_default().reason.into_string();
    let detail = match reason.as_str() {
        "" => format!("ended by {}", actor.name),
        reason => format!("ended by {}: {reason}", actor.name),
    };
    let by = actor.by(state.now());
    state.store.audit(&by, Deed::done("session.terminate", id, json!({"reason": reason}))).await?;
    match state.hub.get(id) {
        Some(handle) => {
            handle.terminate(EndReason::Terminated, detail).await.map_err(|_| over())?;
            // A session whose target or client is stuck ends soon all the same.
            drop(tokio::time::timeout(ENDING, handle.ended()).await);
        }
        None => super::terminal::remote::terminate(&state, &session.node, id, actor.user, detail).await?,
    }
    Ok(Json(Done::OK))
}

/// Listen to live sessions
///
/// Server-sent events: `session` (the whole session, as in the list) when one begins, ends, or something about it
/// changes. What is live is sent first.
#[utoipa::path(
    get, path = "/sessions/stream", tag = "sessions", operation_id = "sessions_stream",
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String))
)]
async fn listen(
    Known { state, actor }: Known,
    State(gate): State<Gate>,
    parts: Parts,
) -> Result<Response, Problem> {
    visibility(&actor)?;
    let open = &state.metrics.requests.streams;
    if open.inc() >= MAX_STREAMS {
        open.dec();
        return Err(Problem::unavailable("too many event streams are open", 30));
    }
    let counted = Counted(state.clone());
    let mut looks = interval_at(Instant::now(), LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        _counted: counted,
        news: state.hub.news(),
        state,
        gate,
        parts,
        looks,
        told: HashMap::new(),
        waiting: Vec::new(),
    };
    let body = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    })
    .fuse();
    let sse = Sse::new(body).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok(([("x-accel-buffering", "no")], sse).into_response())
}

/// Counts a stream as open while it lives.
struct Counted(AppState);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.requests.streams.dec();
    }
}

struct Listener {
    _counted: Counted,
    state: AppState,
    gate: Gate,
    parts: Parts,
    news: broadcast::Receiver<SessionNews>,
    looks: Interval,
    /// What was told of each live session.
    told: HashMap<AccessSessionId, String>,
    waiting: Vec<String>,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(text) = self.waiting.pop() {
                return Some(Event::default().event("session").data(text));
            }
            tokio::select! {
                () = self.state.shutdown.cancelled() => return None,
                _ = self.looks.tick() => {}
                news = self.news.recv() => match news {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
            // The client comes back, and learns from the answer what is the matter.
            self.look().await.ok()?;
        }
    }

    /// Whether the listener still may listen, and what is different.
    async fn look(&mut self) -> Result<(), Problem> {
        let Known { state, actor } = Known::from_request_parts(&mut self.parts, &self.gate).await?;
        // News that came meanwhile is in what is looked up now.
        self.news = self.news.resubscribe();
        let mut before = std::mem::take(&mut self.told);
        for session in live(&state, &actor).await? {
            let id = session.id;
            let text = text(&LiveLine::of(&body(&state, session, &actor)))?;
            if before.remove(&id).as_ref() != Some(&text) {
                self.waiting.push(text.clone());
            }
            self.told.insert(id, text);
        }
        for id in before.into_keys() {
            if let Some(session) = state.store.session(visibility(&actor)?, id).await? {
                self.waiting.push(text(&body(&state, session, &actor))?);
            }
        }
        // The last is told first, see `next`.
        self.waiting.reverse();
        Ok(())
    }
}

/// What is told: without the idle time, which is different each time.
struct LiveLine;

impl LiveLine {
    fn of(body: &LiveBody) -> serde_json::Value {
        let mut value = serde_json::to_value(body).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("idleMs");
        }
        value
    }
}

fn text<T: Serialize>(value: &T) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| {
        tracing::error!(%error, "a session could not be written");
        Problem::internal()
    })
}
