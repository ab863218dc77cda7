//! A gateway in this process, with a house that lets everybody to one target and connects both ends
//! of a session with nothing in between.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, EndReason, Protocol},
    connections::ConnectionOptions,
    files::{FileProtocol, tap::Tap},
    id::{AccessSessionId, UserId},
};
use sojourn_gateway::{
    files::session::FileJournal,
    front::{
        doorkeeper::{Caller, Choice, Doorkeeper, Opening, Pass, Running, Seat},
        ssh::{Front, FrontDeps, host_keys},
    },
    protocols::{ConnectError, Credential, HostKeyRule, Secret, Target, dial::Rules, ssh::SeenKey},
    session::ends::{ClientEnd, ClientEvent, ClientInput, TargetEnd, TargetEvent, TargetInput},
};
use sojourn_testbed::{ssh_client::Way, sshd::Sshd};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What the house was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) openings: Vec<Opening>,
    pub(crate) failures: Vec<(EndReason, String)>,
    pub(crate) pinned: Option<String>,
    pub(crate) destinations: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct House {
    pub(crate) target: Target,
    pub(crate) credential: Credential,
    pub(crate) policy: ConnectionPolicy,
    /// The fingerprint of alice's key.
    pub(crate) key: String,
    pub(crate) told: Arc<Mutex<Told>>,
}

pub(crate) fn caller() -> Caller {
    Caller {
        user: UserId::new(sojourn_domain::time::Timestamp::default(), [7; 10]),
        name: "alice".to_owned(),
    }
}

impl Doorkeeper for House {
    fn password<'a>(
        &'a self,
        name: &'a str,
        password: Secret,
        _: SocketAddr,
    ) -> BoxFuture<'a, Option<Caller>> {
        let right = name == "alice" && password.reveal() == PASSWORD;
        Box::pin(async move { right.then(caller) })
    }

    fn knows_key<'a>(&'a self, name: &'a str, fingerprint: &'a str, _: SocketAddr) -> BoxFuture<'a, bool> {
        Box::pin(async move { name == "alice" && fingerprint == self.key })
    }

    fn key<'a>(
        &'a self,
        name: &'a str,
        fingerprint: &'a str,
        _: SocketAddr,
    ) -> BoxFuture<'a, Option<Caller>> {
        Box::pin(async move { (name == "alice" && fingerprint == self.key).then(caller) })
    }

    fn choices<'a>(&'a self, _: &'a Caller) -> BoxFuture<'a, Result<Vec<Choice>, String>> {
        let choice =
            |name: &str| Choice { name: name.to_owned(), folder: "lab".to_owned(), protocol: Protocol::Ssh };
        Box::pin(async move { Ok(vec![choice("db"), choice("web")]) })
    }

    fn admit<'a>(
        &'a self,
        _: &'a Caller,
        connection: &'a str,
        _: SocketAddr,
    ) -> BoxFuture<'a, Result<Arc<dyn Pass>, String>> {
        Box::pin(async move {
            if connection != "web" {
                return Err("there is no such connection".to_owned());
            }
            let mut pass = self.clone();
            if let Some(pinned) = &self.told.lock().unwrap().pinned {
                pass.target.host_key = HostKeyRule::Pinned(pinned.clone());
            }
            Ok(Arc::new(pass) as Arc<dyn Pass>)
        })
    }
}

impl Pass for House {
    fn name(&self) -> &str {
        "web"
    }

    fn protocol(&self) -> Protocol {
        Protocol::Ssh
    }

    fn policy(&self) -> &ConnectionPolicy {
        &self.policy
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn rules(&self) -> Rules {
        Rules::default()
    }

    fn credential(&self) -> Result<Credential, ConnectError> {
        Ok(self.credential.clone())
    }

    fn pin(&self, key: SeenKey) -> BoxFuture<'_, Result<(), ConnectError>> {
        self.told.lock().unwrap().pinned = Some(key.text);
        Box::pin(async { Ok(()) })
    }

    fn key_refused(&self, error: &ConnectError) -> BoxFuture<'_, ()> {
        self.told.lock().unwrap().failures.push((error.reason, error.message.clone()));
        Box::pin(async {})
    }

    fn begin(&self, opening: Opening) -> BoxFuture<'_, Result<Box<dyn Seat>, String>> {
        self.told.lock().unwrap().openings.push(opening);
        let seat = Box::new(Direct(self.told.clone())) as Box<dyn Seat>;
        Box::pin(async { Ok(seat) })
    }

    fn begin_files(
        &self,
        _: FileProtocol,
        _: SocketAddr,
        _: Option<AccessSessionId>,
    ) -> BoxFuture<'_, Result<FileJournal, String>> {
        Box::pin(async { Err("this house keeps no file sessions".to_owned()) })
    }
}

struct Direct(Arc<Mutex<Told>>);

impl Seat for Direct {
    fn id(&self) -> AccessSessionId {
        AccessSessionId::new(sojourn_domain::time::Timestamp::default(), [7; 10])
    }

    fn read_along(&mut self, _: Tap, _: FileJournal) {}

    fn called_off(&mut self) -> BoxFuture<'_, (EndReason, String)> {
        Box::pin(std::future::pending())
    }

    fn fail(self: Box<Self>, reason: EndReason, detail: String) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().failures.push((reason, detail));
        Box::pin(async {})
    }

    fn run(self: Box<Self>, target: TargetEnd, client: ClientEnd) -> Box<dyn Running> {
        let TargetEnd { mut events, input, mut carrier } = target;
        carrier.detach();
        let ClientEnd { input: mut typed, events: shown, mut carrier } = client;
        carrier.detach();
        tokio::spawn(async move {
            let output_over = AtomicBool::new(false);
            let down = async {
                while let Some(event) = events.recv().await {
                    let event = match event {
                        TargetEvent::Output(bytes) => ClientEvent::Output(bytes),
                        TargetEvent::ErrorOutput(bytes) => ClientEvent::ErrorOutput(bytes),
                        TargetEvent::Touched => continue,
                        TargetEvent::Eof => {
                            output_over.store(true, Ordering::Relaxed);
                            ClientEvent::Eof
                        }
                        TargetEvent::Exit(exit) => ClientEvent::Exit(exit),
                        TargetEvent::Ended { reason, detail } => ClientEvent::Ended { reason, detail },
                    };
                    if shown.send(event).await.is_err() {
                        return;
                    }
                }
            };
            let up = async {
                while let Some(event) = typed.recv().await {
                    let event = match event {
                        ClientInput::Data(bytes) => TargetInput::Data(bytes),
                        ClientInput::Resize(size) => TargetInput::Resize(size),
                        ClientInput::Signal(name) => TargetInput::Signal(name),
                        ClientInput::Break(length) => TargetInput::Break(length),
                        ClientInput::Unread => TargetInput::Unread,
                        ClientInput::Eof => TargetInput::Eof,
                        // Clients close when both directions are over, and still hear how the program ended.
                        ClientInput::Close if output_over.load(Ordering::Relaxed) => TargetInput::Eof,
                        ClientInput::Close => return,
                    };
                    if input.send(event).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = down => {}
                () = up => {}
            }
        });
        self
    }
}

impl Running for Direct {
    fn count(&self, _: u64, _: u64) {}

    fn destination(&self, text: &str) {
        self.0.lock().unwrap().destinations.push(text.to_owned());
    }
}

/// A gateway and its one target.
pub(crate) struct Lab {
    pub(crate) sshd: Sshd,
    pub(crate) house: House,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    runtime: Option<Runtime>,
    front: Option<Front>,
}

impl Lab {
    pub(crate) fn new() -> Option<Self> {
        Self::with(|_| {})
    }

    /// `None`, and a visible line, where there is no sshd.
    pub(crate) fn with(change: impl FnOnce(&mut House)) -> Option<Self> {
        let sshd = Sshd::start()?;
        let account = sshd.account();
        let mut house = House {
            target: Target {
                host: "127.0.0.1".to_owned(),
                port: sshd.port(),
                username: account.name.clone(),
                auth: AuthKind::Key,
                options: ConnectionOptions::default(),
                host_key: HostKeyRule::FirstUse,
            },
            credential: Credential::Key {
                private_key: Secret::new(std::fs::read_to_string(&account.key).unwrap()),
                passphrase: None,
            },
            policy: ConnectionPolicy { allow_agent: true, ..ConnectionPolicy::default() },
            key: sojourn_testbed::sshd::fingerprint(&account.key),
            told: Arc::default(),
        };
        change(&mut house);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = CancellationToken::new();
        let front = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let keys = tempfile::tempdir().unwrap();
            Front::start(FrontDeps {
                doorkeeper: Arc::new(house.clone()),
                listener,
                host_keys: host_keys::open(keys.path()).unwrap(),
                shutdown: shutdown.clone(),
            })
            .unwrap()
        });
        let address = front.address();
        Some(Self { sshd, house, address, shutdown, runtime: Some(runtime), front: Some(front) })
    }

    /// `alice+web`, by key.
    pub(crate) fn way(&self) -> Way {
        Way::new(self.address, "alice+web").key(&self.sshd.account().key)
    }

    pub(crate) fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.house.told.lock().unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let (Some(runtime), Some(front)) = (self.runtime.take(), self.front.take()) {
            runtime.block_on(front.stop());
            runtime.shutdown_background();
        }
    }
}
