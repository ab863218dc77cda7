//! Forwarded ports and the user's agent: what travels beside the sessions.
//!
//! All forwarding over one client's connection is one access session, whose row says where it went.

use std::sync::Arc;

use russh::{
    Channel, ChannelOpenFailure,
    server::{ChannelOpenHandle, Handle, Msg},
};
use sojourn_domain::access::{AuthKind, EndReason, Protocol, Purpose};
use tokio::sync::mpsc;

use super::desk::Desk;
use crate::{
    front::doorkeeper::{Opening, Pass, Running},
    protocols::{
        ConnectError,
        ssh::{Incoming, Link, pipe},
    },
    session::ends::{Carrier, ClientEnd, ClientEvent, QUEUE, TargetEnd, TargetEvent},
};

/// What a client wants to be connected with at the target.
pub(super) enum Wanted {
    Tcp { host: String, port: u32, originator: (String, u32) },
    Unix { path: String },
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix { path } => f.write_str(path),
        }
    }
}

/// Connects a client's channel with something that the target reaches.
pub(super) async fn direct(
    desk: Arc<Desk>,
    handle: Handle,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    wanted: Wanted,
) {
    let (link, running) = match ready(&desk, &handle).await {
        Ok(ready) => ready,
        Err(error) => {
            tracing::debug!(error = error.message, "a port was not forwarded");
            return reply.reject(failure(&error)).await;
        }
    };
    let opened = match &wanted {
        Wanted::Tcp { host, port, originator } => {
            link.direct_tcp(host, *port, (&originator.0, originator.1)).await
        }
        Wanted::Unix { path } => link.direct_unix(path).await,
    };
    match opened {
        Ok(target) => {
            running.destination(&wanted.to_string());
            reply.accept().await;
            join(&desk, channel, target, running).await;
        }
        Err(russh::Error::ChannelOpenFailure(reason)) => reply.reject(reason).await,
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

async fn join(
    desk: &Desk,
    client: Channel<Msg>,
    target: Channel<russh::client::Msg>,
    running: Arc<dyn Running>,
) {
    let count = |to_target: bool, bytes: usize| {
        let bytes = bytes as u64;
        if to_target { running.count(bytes, 0) } else { running.count(0, bytes) }
    };
    tokio::select! {
        () = pipe::join(client, target, count) => {}
        () = desk.closed() => {}
    }
}

fn failure(error: &ConnectError) -> ChannelOpenFailure {
    if matches!(error.reason, EndReason::Unreachable | EndReason::TargetLost) {
        ChannelOpenFailure::ConnectFailed
    } else {
        ChannelOpenFailure::AdministrativelyProhibited
    }
}

/// Has the target listen for the client; the port.
pub(super) async fn listen(
    desk: &Arc<Desk>,
    handle: &Handle,
    address: &str,
    port: u32,
) -> Result<u32, ConnectError> {
    let (link, running) = ready(desk, handle).await?;
    let taken = link.listen(address, port).await.map_err(refused_to_listen)?;
    running.destination(&format!("from {}:{taken}", if address.is_empty() { "*" } else { address }));
    Ok(taken)
}

/// Has the target listen at a UNIX socket.
pub(super) async fn listen_unix(desk: &Arc<Desk>, handle: &Handle, path: &str) -> Result<(), ConnectError> {
    let (link, running) = ready(desk, handle).await?;
    link.listen_unix(path).await.map_err(refused_to_listen)?;
    running.destination(&format!("from {path}"));
    Ok(())
}

fn refused_to_listen(_: russh::Error) -> ConnectError {
    ConnectError::new(EndReason::Denied, "the target does not listen there")
}

/// The link to listen on, for cancelling.
pub(super) async fn known_link(desk: &Arc<Desk>) -> Option<Arc<Link>> {
    let pass = desk.admit(desk.named()?).await.ok()?;
    desk.existing_link(pass.as_ref(), &[]).await
}

/// What forwarding needs, looked up now: the policy, a link, and the session that stands for it.
async fn ready(desk: &Arc<Desk>, handle: &Handle) -> Result<(Arc<Link>, Arc<dyn Running>), ConnectError> {
    let denied = |message: &str| ConnectError::new(EndReason::Denied, message);
    let Some(named) = desk.named() else {
        return Err(denied("name a connection in the login to forward ports"));
    };
    let pass = desk.admit(named).await.map_err(|why| denied(&why))?;
    if pass.protocol() != Protocol::Ssh || !pass.policy().allow_forwarding {
        return Err(denied("this connection does not allow ports to be forwarded"));
    }
    let running = session(desk, pass.as_ref()).await?;
    let link = match desk.existing_link(pass.as_ref(), &[]).await {
        Some(link) => link,
        None => {
            let credential = match pass.target().auth {
                AuthKind::Password | AuthKind::Key | AuthKind::None => pass.credential()?,
                AuthKind::Prompt | AuthKind::Agent => {
                    let message = "this connection needs you to log in at the target: open a terminal first";
                    return Err(ConnectError::new(EndReason::LoginRefused, message));
                }
            };
            desk.link(pass.as_ref(), &credential, handle, &[]).await?.0
        }
    };
    Ok((link, running))
}

/// The session that stands for all forwarding of this client's connection.
async fn session(desk: &Arc<Desk>, pass: &dyn Pass) -> Result<Arc<dyn Running>, ConnectError> {
    let mut forwarding = desk.forwarding.lock().await;
    if let Some((name, running)) = &*forwarding
        && name == pass.name()
    {
        return Ok(running.clone());
    }
    let opening = Opening {
        purpose: Purpose::Forward,
        command: String::new(),
        client: desk.from,
        term: String::new(),
        size: None,
    };
    let seat = pass.begin(opening).await.map_err(|why| ConnectError::new(EndReason::Denied, why))?;
    let (target_events, events) = mpsc::channel(1);
    let (input, mut target_input) = mpsc::channel(1);
    let (client_input, ended_input) = mpsc::channel(1);
    let (client_events, mut told) = mpsc::channel::<ClientEvent>(QUEUE);
    let target = TargetEnd { events, input, carrier: Carrier::default() };
    let client = ClientEnd { input: ended_input, events: client_events, carrier: Carrier::default() };
    let running: Arc<dyn Running> = Arc::from(seat.run(target, client));
    *forwarding = Some((pass.name().to_owned(), running.clone()));
    let holder = desk.clone();
    let handle_gone = async move {
        // Held until the client's connection ends, or the hub ends the session.
        let _client_input = client_input;
        tokio::select! {
            () = holder.closed() => {
                let detail = String::new();
                let _ = target_events.send(TargetEvent::Ended { reason: EndReason::Closed, detail }).await;
            }
            () = async { while told.recv().await.is_some() {} } => {
                // Ended from outside: what is forwarded ends with it.
                holder.close();
            }
            () = async { while target_input.recv().await.is_some() {} } => holder.close(),
        }
    };
    desk.spawn(handle_gone);
    Ok(running)
}

/// Takes up the channels that a target opens, as long as the link lives.
pub(super) async fn take_incoming(
    desk: Arc<Desk>,
    handle: Handle,
    mut incoming: mpsc::Receiver<Box<Incoming>>,
    agent: bool,
    connection: String,
) {
    loop {
        let next = tokio::select! {
            next = incoming.recv() => next,
            () = desk.closed() => None,
        };
        let Some(next) = next else { return };
        desk.spawn(take(desk.clone(), handle.clone(), *next, agent, connection.clone()));
    }
}

async fn take(desk: Arc<Desk>, handle: Handle, incoming: Incoming, agent: bool, connection: String) {
    let (channel, reply, opened) = match incoming {
        Incoming::Agent { channel, reply } => {
            if !agent {
                return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            }
            (channel, reply, handle.channel_open_agent().await)
        }
        Incoming::Tcp { channel, reply, connected, originator } => {
            let opened = handle
                .channel_open_forwarded_tcpip(connected.0, connected.1, originator.0, originator.1)
                .await;
            (channel, reply, opened)
        }
        Incoming::Unix { channel, reply, path } => {
            (channel, reply, handle.channel_open_forwarded_streamlocal(path).await)
        }
    };
    let Ok(client) = opened else { return reply.reject(ChannelOpenFailure::ConnectFailed).await };
    reply.accept().await;
    let running = match &*desk.forwarding.lock().await {
        Some((name, running)) if *name == connection => Some(running.clone()),
        Some(_) | None => None,
    };
    let count = |to_client: bool, bytes: usize| {
        let bytes = bytes as u64;
        if let Some(running) = &running {
            if to_client { running.count(0, bytes) } else { running.count(bytes, 0) }
        }
    };
    tokio::select! {
        () = pipe::join(channel, client, count) => {}
        () = desk.closed() => {}
    }
}
