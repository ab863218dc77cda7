//! The SSH server that users' own clients connect to, as `alice+web-server@gateway`.
//!
//! A client's connection has a [`desk::Desk`]: who it is, and the links to the targets that it uses.
//! Each of its session channels is an access session of its own.

mod client;
mod desk;
mod files;
mod forward;
mod handler;
pub mod host_keys;
mod leash;
mod menu;
mod session;
mod transfer;

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use russh::{
    Disconnect, MethodSet, SshId,
    keys::PrivateKey,
    server::{Config, run_stream},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    desk::Desk,
    handler::{ClientHandler, METHODS},
    leash::Leash,
};
use crate::{
    front::doorkeeper::Doorkeeper,
    protocols::ssh::{CONTROLS, PACKET, WINDOW, front_preferences},
};

/// OpenSSH's client speaks its extensions only to those who call themselves OpenSSH: to others it does not
/// say that nobody reads any more, and `ssh … yes | head` would never end. The version is one whose ways
/// all clients know; the comment says who it is.
const IDENTIFICATION: &str = "SSH-2.0-OpenSSH_9.2 Sojourn";
/// Clients' connections at once; more are not accepted until one ends.
const CONNECTIONS: usize = 4096;
/// Of them, those that have not logged in.
const STRANGERS: usize = 128;
/// How long logging in may take.
const LOGIN: Duration = Duration::from_secs(120);
/// How long the key exchange may take.
const HELLO: Duration = Duration::from_secs(20);
/// A silent client is asked so often whether it is there, and given up after three times.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a client gets to say goodbye, and its last output to go out.
const FAREWELL: Duration = Duration::from_secs(5);
/// Passwords and keys that one connection may try.
const ATTEMPTS: usize = 10;

/// What the front works with.
pub struct FrontDeps {
    pub doorkeeper: Arc<dyn Doorkeeper>,
    pub listener: TcpListener,
    pub host_keys: Vec<PrivateKey>,
    /// No more clients, and those that are here are sent away once their sessions have ended.
    pub shutdown: CancellationToken,
}

/// The running front.
pub struct Front {
    address: SocketAddr,
    tasks: TaskTracker,
}

impl Front {
    /// Starts to accept clients.
    pub fn start(deps: FrontDeps) -> std::io::Result<Self> {
        let address = deps.listener.local_addr()?;
        let tasks = TaskTracker::new();
        let config = Arc::new(Config {
            server_id: SshId::Standard(Cow::Borrowed(IDENTIFICATION)),
            methods: MethodSet::from(METHODS),
            auth_rejection_time: Duration::from_millis(300),
            // The first attempt of every client is without any proof.
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: deps.host_keys,
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            channel_buffer_size: CONTROLS,
            close_after_consumer: true,
            event_buffer_size: 32,
            preferred: front_preferences(),
            server_cipher_order: true,
            max_auth_attempts: ATTEMPTS,
            inactivity_timeout: None,
            keepalive_interval: Some(KEEP_ALIVE),
            keepalive_max: 3,
            nodelay: true,
            ..Config::default()
        });
        let house = House {
            config,
            doorkeeper: deps.doorkeeper,
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            tasks: tasks.clone(),
            shutdown: deps.shutdown,
        };
        tasks.spawn(house.accept(deps.listener));
        Ok(Self { address, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all clients are gone, after the shutdown was called for.
    pub async fn stop(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[derive(Clone)]
struct House {
    config: Arc<Config>,
    doorkeeper: Arc<dyn Doorkeeper>,
    strangers: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl House {
    async fn accept(self, listener: TcpListener) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let seat = tokio::select! {
                seat = seats.clone().acquire_owned() => seat,
                () = self.shutdown.cancelled() => return,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, from)) => {
                    let house = self.clone();
                    self.tasks.spawn(async move {
                        house.serve(stream, from).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    // Out of files, most likely; it passes.
                    tracing::warn!(%error, "an SSH client could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream, from: SocketAddr) {
        // Strangers beyond the number are sent away at once, so that they cost nothing.
        let Ok(stranger) = self.strangers.clone().try_acquire_owned() else { return };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "an SSH client was gone at once");
            return;
        }
        let cut = CancellationToken::new();
        let _cut_at_the_end = cut.clone().drop_guard();
        let desk = Arc::new(Desk::new(self.doorkeeper.clone(), from));
        let leash = Leash::new(stream, cut.clone());
        let handler = ClientHandler::new(desk.clone());
        let hello = Box::pin(run_stream(self.config.clone(), leash, handler));
        let began = tokio::time::timeout(HELLO, hello).await;
        let session = match began {
            Ok(Ok(session)) => session,
            Ok(Err(_)) | Err(_) => return,
        };
        let handle = session.handle();
        let mut session = std::pin::pin!(session);
        tokio::select! {
            ended = &mut session => return farewell(&desk, ended).await,
            () = desk.known() => drop(stranger),
            () = tokio::time::sleep(LOGIN) => return,
            () = self.shutdown.cancelled() => {}
        }
        tokio::select! {
            ended = &mut session => return farewell(&desk, ended).await,
            () = self.shutdown.cancelled() => {}
        }
        // The hub ends the sessions; their last words get out first.
        desk.close();
        if tokio::time::timeout(FAREWELL, desk.settled()).await.is_err() {
            tracing::debug!("a client's sessions did not end in time");
        }
        let _ = handle
            .disconnect(Disconnect::ByApplication, "the server is stopping".to_owned(), "en".to_owned())
            .await;
        let _ = tokio::time::timeout(FAREWELL, &mut session).await;
    }
}

async fn farewell(desk: &Desk, ended: Result<(), russh::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "an SSH client's connection ended");
    }
    desk.close();
    // What still hangs on a target that does not move is cut.
    if tokio::time::timeout(FAREWELL, desk.settled()).await.is_err() {
        desk.cut();
        desk.settled().await;
    }
}
