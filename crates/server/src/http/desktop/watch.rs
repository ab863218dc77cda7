//! Looking on at a live desktop: RFB in which the server shows what it sees itself, and takes nothing.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use sojourn_domain::{
    access::EndReason,
    id::{AccessSessionId, UserId},
};
use sojourn_gateway::{
    admission::Refused,
    protocols::vnc::{
        browser::{self, Welcome},
        viewer::{self, Place},
    },
    session::{Looking, SessionHandle, ViewMode, Viewer},
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{
    say,
    wire::{FromBrowser, ToBrowser},
};
use crate::{
    http::{
        problem::chain,
        terminal::{
            Pulse,
            view::{CHECK, may_view, note},
        },
    },
    state::AppState,
};

/// Pictures follow each other not faster than this.
const PAUSE: Duration = Duration::from_millis(66);
/// The same for small pictures among many.
const SLOW: Duration = Duration::from_millis(500);
/// How long there may be no desktop yet.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one message.
const PIECE: usize = 256 * 1024;

/// Returns the last word, or nothing where the socket is gone.
pub(super) async fn watch(
    state: &AppState,
    user: UserId,
    session: AccessSessionId,
    address: String,
    slow: bool,
    socket: &mut WebSocket,
) -> Option<ToBrowser> {
    let over = || ToBrowser::end(EndReason::Closed, "the session has ended");
    let Some(handle) = state.hub.get(session) else { return Some(over()) };
    let facts = handle.facts();
    let name = match may_view(state, user, facts.user, facts.connection, ViewMode::Watch).await {
        Ok(name) => name,
        Err(refused) => return Some(denied(&refused)),
    };
    if !handle.has_desktop() {
        return Some(ToBrowser::end(EndReason::Denied, "the session has no desktop to look at"));
    }
    if let Err(error) = note(state, user, &name, address, session, ViewMode::Watch).await {
        tracing::error!(error = chain(&error), "a viewer could not be written down");
        return Some(ToBrowser::end(EndReason::Failed, "the server cannot write that down now"));
    }
    let Ok(looking) = handle.look(Viewer { user, name, mode: ViewMode::Watch }).await else {
        return Some(over());
    };
    say(socket, ToBrowser::watched(facts).message()).await?;
    let show = Show { state, user, handle: &handle, looking, pause: if slow { SLOW } else { PAUSE } };
    show.run(socket).await
}

fn denied(refused: &Refused) -> ToBrowser {
    if let Refused::Store(error) = refused {
        tracing::error!(error = chain(error), "a viewer could not be looked up");
        return ToBrowser::end(EndReason::Failed, "the server cannot look that up now");
    }
    ToBrowser::end(EndReason::Denied, refused.to_string())
}

struct Show<'a> {
    state: &'a AppState,
    user: UserId,
    handle: &'a SessionHandle,
    looking: Looking,
    pause: Duration,
}

/// What a browser is at.
enum Stage {
    Welcome(Box<Welcome>),
    Shown(Box<viewer::Viewer>),
}

impl Show<'_> {
    async fn run(&self, socket: &mut WebSocket) -> Option<ToBrowser> {
        // Before there is a desktop it has no size to be told.
        let beginning = tokio::select! {
            () = async { drop(timeout(PATIENCE, self.looking.eye.changed()).await) } => None,
            ended = self.handle.ended() => Some(ToBrowser::end(ended.reason, ended.detail)),
        };
        if beginning.is_some() {
            return beginning;
        }
        let (width, height) = self.looking.eye.size();
        if width == 0 {
            return Some(ToBrowser::end(EndReason::Failed, "there is nothing to look at yet"));
        }
        say(socket, Message::Binary(Bytes::from_static(browser::HELLO))).await?;
        let name = &self.handle.facts().connection_name;
        let mut stage = Stage::Welcome(Box::new(Welcome::new(width, height, name)));
        let size = (width, height);
        let mut pulse = Pulse::new();
        let mut checks = interval_at(Instant::now() + CHECK, CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        let (owner, connection) = (self.handle.facts().user, self.handle.facts().connection);
        loop {
            let asked = matches!(&stage, Stage::Shown(viewer) if viewer.asked());
            tokio::select! {
                ended = self.handle.ended() => return Some(ToBrowser::end(ended.reason, ended.detail)),
                () = self.something(next), if asked => {
                    if let Some(why) = self.looking.eye.lost() {
                        return Some(ToBrowser::end(EndReason::Failed, format!("the desktop cannot be shown any more: {why}")));
                    }
                    stage = match stage {
                        Stage::Shown(viewer) => Stage::Shown(self.show(viewer, socket).await?),
                        Stage::Welcome(welcome) => Stage::Welcome(welcome),
                    };
                    next = Instant::now() + self.pause;
                }
                message = socket.recv() => {
                    pulse.hear();
                    match message {
                        Some(Ok(Message::Binary(bytes))) => {
                            if let Err(why) = self.take(&mut stage, size, &bytes, socket).await? {
                                return Some(ToBrowser::end(EndReason::Denied, format!("the browser sent {why}")));
                            }
                        }
                        Some(Ok(Message::Text(text))) => if let Some(FromBrowser::Close) = FromBrowser::read(&text) {
                            return None;
                        },
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    }
                }
                _ = checks.tick() => match may_view(self.state, self.user, owner, connection, ViewMode::Watch).await {
                    // A database that does not answer takes nobody's right away.
                    Ok(_) | Err(Refused::Store(_)) => {}
                    Err(refused) => return Some(denied(&refused)),
                },
                alive = pulse.tick() => {
                    if !alive {
                        return None;
                    }
                    say(socket, Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    /// Waits until it is time for a picture and there is something new on it.
    async fn something(&self, next: Instant) {
        sleep_until(next).await;
        self.looking.eye.changed().await;
    }

    /// What the browser sent; why it cannot be shown anything.
    async fn take(
        &self,
        stage: &mut Stage,
        size: (u16, u16),
        bytes: &[u8],
        socket: &mut WebSocket,
    ) -> Option<Result<(), &'static str>> {
        let rest = match stage {
            Stage::Welcome(welcome) => {
                let mut answer = Vec::new();
                let came = welcome.take(bytes, &mut answer);
                if !answer.is_empty() {
                    say(socket, Message::Binary(answer.into())).await?;
                }
                match came {
                    Ok(None) => return Some(Ok(())),
                    Ok(Some(rest)) => rest,
                    Err(browser::NotRfb) => return Some(Err("no RFB 3.8 without a login")),
                }
            }
            Stage::Shown(_) => bytes.to_vec(),
        };
        if let Stage::Welcome(_) = stage {
            *stage = Stage::Shown(Box::new(viewer::Viewer::new(size.0, size.1)));
        }
        let Stage::Shown(viewer) = stage else { return Some(Ok(())) };
        let before = viewer.wants_all();
        if let Err(viewer::Broken(why)) = viewer.take(&rest) {
            return Some(Err(why));
        }
        if viewer.wants_all() && !before {
            self.looking.eye.forget();
        }
        Some(Ok(()))
    }

    /// Sends what is different. Where others are served nothing is compressed: a large picture takes tens of milliseconds.
    async fn show(
        &self,
        mut viewer: Box<viewer::Viewer>,
        socket: &mut WebSocket,
    ) -> Option<Box<viewer::Viewer>> {
        let Some(glance) = self.looking.eye.glance() else { return Some(viewer) };
        let compressed = spawn_blocking(move || {
            let area = glance.area;
            let place = Place { x: area.x, y: area.y, width: area.width, height: area.height };
            let update = viewer.update((glance.width, glance.height), place, &glance.pixels);
            (viewer, Bytes::from(update))
        });
        let (viewer, mut update) = match compressed.await {
            Ok(compressed) => compressed,
            Err(error) => {
                tracing::error!(%error, "a picture could not be compressed");
                return None;
            }
        };
        while !update.is_empty() {
            let piece = update.split_to(update.len().min(PIECE));
            say(socket, Message::Binary(piece)).await?;
        }
        Some(viewer)
    }
}
