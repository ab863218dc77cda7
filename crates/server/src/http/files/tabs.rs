//! The file sessions of browsers: one for each page that somebody has open.
//!
//! A page names itself with a random word (`Sojourn-Tab`). What it is called by decides nothing: a session is found by
//! the credential of the request and the connection first of all, so that no word leads to the session of anybody
//! else, and a request without a word gets the one session of its credential on that connection. A session ends when
//! its page closes it, when nothing was done for [`IDLE`], when its login or token ends, when its connection is
//! changed, and for whatever the gateway's hub ends sessions.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::http::HeaderMap;
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, EndReason, Protocol},
    connections::ConnectionOptions,
    id::{ConnectionId, LoginId, TokenId, UploadId, UserId},
};
use sojourn_gateway::files::session::FileSession;
use sojourn_store::connections::Connection;
use tokio::{sync::Mutex as Turn, time::Instant};

use super::{
    paths::values,
    uploads::{Open, Opens},
};
use crate::{
    http::{
        actor::{Actor, Credential},
        problem::{Problem, chain},
    },
    state::AppState,
};

/// The header in which a page names itself.
pub(super) const HEADER: &str = "sojourn-tab";
/// A session in which nothing is done ends after so long.
const IDLE: Duration = Duration::from_secs(600);
/// How often it is looked whether sessions are over.
const SWEEP: Duration = Duration::from_secs(3);
/// Pages at once, of everybody and of one user.
const MOST: usize = 1000;
const MOST_OF_USER: usize = 100;

/// What the caller came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Login(LoginId),
    Token(TokenId),
}

impl Holder {
    fn of(actor: &Actor) -> Self {
        match actor.credential {
            Credential::Login(id) => Self::Login(id),
            Credential::Token { id, .. } => Self::Token(id),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    holder: Holder,
    connection: ConnectionId,
    tab: String,
}

/// A page's place. Its session is opened when it is first needed.
pub(super) struct Tab {
    user: UserId,
    /// Requests that are being answered.
    running: AtomicUsize,
    used: Mutex<Instant>,
    /// Held while a session is opened, so that a page has one.
    session: Turn<Option<Opened>>,
    pub(super) uploads: Mutex<Opens>,
}

#[derive(Clone)]
struct Opened {
    session: FileSession,
    version: Version,
}

/// What of a connection makes another session of it. That a host key was pinned does not.
#[derive(Clone, PartialEq)]
pub(super) struct Version {
    host: String,
    port: u16,
    protocol: Protocol,
    username: String,
    auth: AuthKind,
    /// Sealed.
    secret: Option<String>,
    policy: ConnectionPolicy,
    options: ConnectionOptions,
}

impl Version {
    pub(super) fn of(connection: &Connection) -> Self {
        Self {
            host: connection.host.clone(),
            port: connection.port,
            protocol: connection.protocol,
            username: connection.username.clone(),
            auth: connection.auth,
            secret: connection.secret.clone(),
            policy: connection.policy.clone(),
            options: connection.options.clone(),
        }
    }
}

/// All pages of this node.
#[derive(Clone, Default)]
pub struct Tabs(Arc<Mutex<HashMap<Key, Arc<Tab>>>>);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session, and word that it is in use.
#[derive(Clone)]
pub(super) struct InUse {
    pub(super) session: FileSession,
    pub(super) tab: Arc<Tab>,
    _running: Arc<Running>,
}

struct Running(Arc<Tab>);

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.0.used) = Instant::now();
        self.0.running.fetch_sub(1, SeqCst);
    }
}

/// What the page calls itself: in the header, or, where a browser sets none (links, pictures, beacons), in the query.
pub(super) fn name(headers: &HeaderMap, query: Option<&str>) -> Result<String, Problem> {
    let text = match headers.get(HEADER) {
        Some(value) => value.as_bytes().to_vec(),
        None => values(query, "tab").into_iter().next().unwrap_or_default(),
    };
    let good = text.len() <= 64 && text.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    match String::from_utf8(text) {
        Ok(text) if good => Ok(text),
        Ok(_) | Err(_) => Err(Problem::invalid(
            "Sojourn-Tab",
            "expected at most 64 letters, digits, hyphens and underscores",
        )),
    }
}

impl Tabs {
    /// The session of a page; `open` makes one where there is none that is live.
    pub(super) async fn session<F, R>(
        &self,
        actor: &Actor,
        connection: ConnectionId,
        version: Version,
        tab: String,
        open: F,
    ) -> Result<InUse, Problem>
    where
        F: FnOnce() -> R,
        R: Future<Output = Result<FileSession, Problem>>,
    {
        let running = self.tab(actor, Key { holder: Holder::of(actor), connection, tab })?;
        let tab = Arc::clone(&running.0);
        let mut session = tab.session.lock().await;
        if let Some(opened) = session.as_ref() {
            match opened.session.journal().is_ended() {
                // Whoever ended it meant the page: it does not go on as if nothing had happened.
                Some(ended) if ended.reason == EndReason::Terminated => {
                    return Err(Problem::conflict("session_terminated", format!("{ended}")));
                }
                Some(_) => *session = None,
                None if opened.version != version => {
                    let opened = session.take();
                    close(opened, EndReason::Closed, "the connection was changed").await;
                }
                None => {
                    let session = opened.session.clone();
                    return Ok(InUse { session, tab: Arc::clone(&tab), _running: running });
                }
            }
        }
        lock(&tab.uploads).clear();
        let opened = open().await?;
        *session = Some(Opened { session: opened.clone(), version });
        drop(session);
        Ok(InUse { session: opened, tab, _running: running })
    }

    /// The page's place, marked as in use.
    fn tab(&self, actor: &Actor, key: Key) -> Result<Arc<Running>, Problem> {
        let mut all = lock(&self.0);
        if let Some(tab) = all.get(&key) {
            tab.running.fetch_add(1, SeqCst);
            return Ok(Arc::new(Running(Arc::clone(tab))));
        }
        let of_user = all.values().filter(|tab| tab.user == actor.user).count();
        if all.len() >= MOST || of_user >= MOST_OF_USER {
            return Err(Problem::unavailable("too many pages have files open; close some of them", 60));
        }
        let tab = Arc::new(Tab {
            user: actor.user,
            running: AtomicUsize::new(1),
            used: Mutex::new(Instant::now()),
            session: Turn::new(None),
            uploads: Mutex::default(),
        });
        all.insert(key, Arc::clone(&tab));
        Ok(Arc::new(Running(tab)))
    }

    /// Ends the session of a page, if it has one.
    pub(super) async fn close(&self, actor: &Actor, connection: ConnectionId, tab: String) {
        let key = Key { holder: Holder::of(actor), connection, tab };
        let tab = lock(&self.0).remove(&key);
        if let Some(tab) = tab {
            end(&tab, EndReason::Closed, "").await;
        }
    }

    /// An upload, as far as other pages than this one have it open.
    pub(super) fn elsewhere(&self, id: UploadId, here: &Arc<Tab>) -> Vec<Arc<Turn<Open>>> {
        self.all()
            .iter()
            .filter(|(_, tab)| !Arc::ptr_eq(tab, here))
            .filter_map(|(_, tab)| lock(&tab.uploads).remove(&id))
            .collect()
    }

    fn all(&self) -> Vec<(Key, Arc<Tab>)> {
        lock(&self.0).iter().map(|(key, tab)| (key.clone(), Arc::clone(tab))).collect()
    }

    fn forget(&self, key: &Key, tab: &Arc<Tab>) {
        let mut all = lock(&self.0);
        if all.get(key).is_some_and(|kept| Arc::ptr_eq(kept, tab)) {
            all.remove(key);
        }
    }
}

async fn end(tab: &Tab, reason: EndReason, detail: &str) {
    let opened = tab.session.lock().await.take();
    close(opened, reason, detail).await;
    lock(&tab.uploads).clear();
}

async fn close(opened: Option<Opened>, reason: EndReason, detail: &str) {
    if let Some(Opened { session, .. }) = opened {
        session.journal().clone().end(reason, detail).await;
    }
}

/// Ends sessions whose time or credential is over, until the server stops.
pub async fn keep(state: AppState) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => break,
            _ = sweep.tick() => look(&state).await,
        }
    }
    for (key, tab) in state.tabs.all() {
        end(&tab, EndReason::ServerStopped, "the server is stopping").await;
        state.tabs.forget(&key, &tab);
    }
}

async fn look(state: &AppState) {
    let mut logins: HashMap<UserId, Vec<LoginId>> = HashMap::new();
    for (key, tab) in state.tabs.all() {
        let idle = tab.running.load(SeqCst) == 0 && lock(&tab.used).elapsed() >= IDLE;
        let over = if idle {
            Some((EndReason::Idle, "nothing was done for ten minutes"))
        } else {
            match holds(state, &mut logins, key.holder, tab.user).await {
                Ok(true) => None,
                Ok(false) if matches!(key.holder, Holder::Login(_)) => {
                    Some((EndReason::Closed, "the user logged out"))
                }
                Ok(false) => Some((EndReason::Revoked, "the token was revoked")),
                // A database that does not answer takes nobody's right away.
                Err(error) => {
                    tracing::debug!(error = chain(&error), "credentials of file sessions were not looked up");
                    return;
                }
            }
        };
        if let Some((reason, detail)) = over {
            state.tabs.forget(&key, &tab);
            // One that is being opened would hold up all others.
            tokio::spawn(async move { end(&tab, reason, detail).await });
            continue;
        }
        super::uploads::rest(state, &tab).await;
    }
}

/// Whether a credential is still good.
async fn holds(
    state: &AppState,
    logins: &mut HashMap<UserId, Vec<LoginId>>,
    holder: Holder,
    user: UserId,
) -> Result<bool, sojourn_store::StoreError> {
    let now = state.now();
    match holder {
        Holder::Login(login) => {
            let known = match logins.entry(user) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let found = state.store.logins(user, now, state.config.login_idle).await?;
                    place.insert(found.into_iter().map(|login| login.id).collect())
                }
            };
            Ok(known.contains(&login))
        }
        Holder::Token(token) => Ok(state.store.token(token).await?.is_some_and(|token| {
            token.revoked_at.is_none() && token.expires_at.is_none_or(|expires| expires > now)
        })),
    }
}
