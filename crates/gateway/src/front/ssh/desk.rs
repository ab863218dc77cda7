//! What one client's connection has: who came, for what, and the links to targets that it uses.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use russh::server::Handle;
use sojourn_domain::access::EndReason;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::forward;
use crate::{
    front::doorkeeper::{Caller, Doorkeeper, Pass, Running},
    protocols::{
        ConnectError, Credential, Target,
        ssh::{AgentWay, Greeting, Link},
    },
};

pub(super) struct Desk {
    pub(super) doorkeeper: Arc<dyn Doorkeeper>,
    pub(super) from: SocketAddr,
    caller: OnceLock<Caller>,
    /// The connection that was named in the login.
    named: OnceLock<String>,
    logged_in: CancellationToken,
    /// The client is gone, or is to go.
    closed: CancellationToken,
    /// Whatever still runs is dropped.
    cut: CancellationToken,
    tasks: TaskTracker,
    /// The last is the newest.
    links: AsyncMutex<Vec<(Target, Arc<Link>)>>,
    /// The session that stands for forwarded ports.
    pub(super) forwarding: AsyncMutex<Option<(String, Arc<dyn Running>)>>,
    /// The client forwards its agent.
    agent: Mutex<bool>,
}

impl Desk {
    pub(super) fn new(doorkeeper: Arc<dyn Doorkeeper>, from: SocketAddr) -> Self {
        Self {
            doorkeeper,
            from,
            caller: OnceLock::new(),
            named: OnceLock::new(),
            logged_in: CancellationToken::new(),
            closed: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            links: AsyncMutex::default(),
            forwarding: AsyncMutex::default(),
            agent: Mutex::new(false),
        }
    }

    /// The login succeeded.
    pub(super) fn welcome(&self, caller: Caller, named: Option<&str>) {
        // The first login is the one that counts; there is no second.
        let _ = self.caller.set(caller);
        if let Some(named) = named {
            let _ = self.named.set(named.to_owned());
        }
    }

    pub(super) fn let_in(&self) {
        self.logged_in.cancel();
    }

    /// Waits until the client has logged in.
    pub(super) async fn known(&self) {
        self.logged_in.cancelled().await;
    }

    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    pub(super) fn named(&self) -> Option<&str> {
        self.named.get().map(String::as_str)
    }

    pub(super) fn agent_forwarded(&self) {
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn has_agent(&self) -> bool {
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task of this connection; it is dropped when the connection is cut.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = cut.cancelled() => {}
            }
        });
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits until nothing of this connection runs, after [`Self::close`].
    pub(super) async fn settled(&self) {
        self.tasks.wait().await;
    }

    /// Lets the caller through to a connection, as things are now.
    pub(super) async fn admit(&self, connection: &str) -> Result<Arc<dyn Pass>, String> {
        let Some(caller) = self.caller() else { return Err("nobody has logged in".to_owned()) };
        self.doorkeeper.admit(caller, connection, self.from).await
    }

    /// The newest link to the connection's target, if there is one that holds and is not among those
    /// that have no room.
    pub(super) async fn existing_link(&self, pass: &dyn Pass, full: &[Arc<Link>]) -> Option<Arc<Link>> {
        usable(&mut *self.links.lock().await, pass, full)
    }

    /// Reaches the connection's target. While one channel does, the others wait, and then share the link;
    /// unless it is among those that have no room. The greeting is that of a link that is new.
    pub(super) async fn link(
        self: &Arc<Self>,
        pass: &dyn Pass,
        credential: &Credential,
        handle: &Handle,
        full: &[Arc<Link>],
    ) -> Result<(Arc<Link>, Option<Greeting>), ConnectError> {
        let mut links = self.links.lock().await;
        if let Some(link) = usable(&mut links, pass, full) {
            return Ok((link, None));
        }
        let opened = Link::open(pass.target(), credential, &pass.rules()).await;
        let (link, greeting) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if error.reason == EndReason::HostKey {
                    pass.key_refused(&error).await;
                }
                return Err(error);
            }
        };
        if greeting.first_use {
            pass.pin(greeting.host_key.clone()).await?;
        }
        let link = Arc::new(link);
        links.push((pass.target().clone(), link.clone()));
        drop(links);
        if let Some(incoming) = link.take_incoming() {
            self.spawn(forward::take_incoming(
                self.clone(),
                handle.clone(),
                incoming,
                pass.policy().allow_agent,
                pass.name().to_owned(),
            ));
        }
        Ok((link, Some(greeting)))
    }

    /// The way to the client's agent, if it forwards one.
    pub(super) fn agent_way(&self, handle: &Handle) -> AgentWay {
        if !self.has_agent() {
            return AgentWay::none();
        }
        let handle = handle.clone();
        AgentWay::new(move || {
            let handle = handle.clone();
            Box::pin(async move {
                let channel = handle.channel_open_agent().await.ok()?;
                Some(Box::new(channel.into_stream()) as Box<dyn crate::protocols::ssh::AgentStream>)
            })
        })
    }
}

/// The newest link that holds, leads where the pass does and is not known to have no room.
fn usable(links: &mut Vec<(Target, Arc<Link>)>, pass: &dyn Pass, full: &[Arc<Link>]) -> Option<Arc<Link>> {
    links.retain(|(_, link)| !link.is_closed());
    let has_room = |link: &Arc<Link>| !full.iter().any(|other| Arc::ptr_eq(link, other));
    let found = links.iter().rev().find(|(target, link)| same(target, pass.target()) && has_room(link));
    found.map(|(_, link)| link.clone())
}

fn same(a: &Target, b: &Target) -> bool {
    a.host == b.host && a.port == b.port && a.username == b.username && a.auth == b.auth
}
