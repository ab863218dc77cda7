//! The house that the SSH front asks: logins with the same limits and the same trail as over HTTP,
//! permissions looked up for every channel, sessions through the hub.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use sojourn_domain::{
    access::{ClientKind, ConnectionPolicy, EndReason, Protocol},
    files::{FileProtocol, tap::Tap},
    id::AccessSessionId,
    identity::UserName,
    policy::Permission,
};
use sojourn_gateway::{
    admission::{Admission, Refused},
    files::session::{FileJournal, FileOpening},
    front::{
        doorkeeper::{Caller, Choice, Doorkeeper, Opening, Pass, Running, Seat},
        ssh::{Front, FrontDeps, host_keys},
    },
    protocols::{ConnectError, Credential, Secret, Target, dial::Rules, ssh::SeenKey},
    session::{
        Begun, Refusal, SessionHandle,
        ends::{ClientEnd, TargetEnd},
    },
};
use sojourn_store::{
    StoreError,
    audit::{ActorKind, By, Deed},
    connections::{ConnectionFilter, Reach},
    identity::{Attempt, GuessSubject, User},
};
use tokio::net::TcpListener;

use crate::{credentials, http::problem::chain, password::Password, state::AppState, targets};

/// Connections in the menu.
const CHOICES: i64 = 1000;

/// Starts the front.
pub fn start(state: &AppState, listener: TcpListener) -> anyhow::Result<Front> {
    let host_keys = host_keys::open(&state.config.data_dir)?;
    for key in &host_keys {
        tracing::info!(fingerprint = host_keys::fingerprint(key), kind = %key.algorithm(), "SSH host key");
    }
    Front::start(FrontDeps {
        doorkeeper: Arc::new(Door { state: state.clone() }),
        listener,
        host_keys,
        shutdown: state.shutdown.clone(),
    })
    .context("start the SSH front")
}

struct Door {
    state: AppState,
}

/// What a person is told when the server failed them.
fn failed(error: &StoreError) -> String {
    tracing::error!(error = chain(error), "the SSH front could not look something up");
    "the server failed; its log says why".to_owned()
}

impl Door {
    fn by(&self, caller: &Caller, from: SocketAddr) -> By {
        let address = from.ip().to_canonical().to_string();
        By::user(ActorKind::User, caller.user, &caller.name, self.state.now(), address)
    }

    async fn refuse_login(&self, object: &str, reason: &str, from: SocketAddr) {
        let by = By::anonymous(self.state.now(), from.ip().to_canonical().to_string());
        self.state.refusals.note(by, Deed::refused("ssh.login", object, json!({})), reason).await;
    }

    async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        match name.parse::<UserName>() {
            Ok(name) => self.state.store.user_by_name(&name).await,
            Err(_) => Ok(None),
        }
    }

    /// The same steps as a login over HTTP.
    async fn try_password(
        &self,
        name: &str,
        password: Secret,
        from: SocketAddr,
    ) -> Result<Option<Caller>, StoreError> {
        let state = &self.state;
        let Ok(password) = Password::try_from(password.reveal().to_owned()) else { return Ok(None) };
        let known: Option<UserName> = name.parse().ok();
        // All names that no user can have are one name.
        let key = known.as_ref().map_or("?".to_owned(), UserName::key);
        let subject = GuessSubject::new(&key, from.ip().to_canonical());
        // Who waits has not been charged: many logins at once do not count as guesses.
        let Ok(_turn) = state.passwords.turn(&subject).await else {
            tracing::warn!("too many log in over SSH at once");
            return Ok(None);
        };
        let now = state.now();
        match state.store.guess(&subject, now).await? {
            Attempt::Charged => {}
            Attempt::Blocked { .. } => {
                self.refuse_login("", "slowed_down", from).await;
                return Ok(None);
            }
        }
        let user = self.user(name).await?;
        let kept = match &user {
            Some(user) => state.store.user_password(user.id).await?,
            None => None,
        };
        // Too many log in at once: this one may try again.
        let right = state.passwords.is_right(password, kept).await.unwrap_or(false);
        let Some(user) = user else {
            self.refuse_login("", "unknown_name", from).await;
            return Ok(None);
        };
        if !right || user.disabled {
            let reason = if right { "disabled" } else { "password" };
            self.refuse_login(&user.id.to_string(), reason, from).await;
            return Ok(None);
        }
        state.store.guess_was_right(&subject, now).await?;
        self.welcome(user, json!({"method": "password"}), from).await.map(Some)
    }

    async fn try_key(
        &self,
        name: &str,
        fingerprint: &str,
        from: SocketAddr,
    ) -> Result<Option<Caller>, StoreError> {
        let Some(user) = self.user(name).await? else { return Ok(None) };
        let keys = self.state.store.public_key_find(fingerprint).await?;
        let Some(key) = keys.iter().find(|key| key.user == user.id && !user.disabled) else {
            self.refuse_login(&user.id.to_string(), "key", from).await;
            return Ok(None);
        };
        self.state.store.public_key_used(key.id, self.state.now()).await?;
        let detail = json!({"method": "key", "key": key.id, "fingerprint": fingerprint});
        self.welcome(user, detail, from).await.map(Some)
    }

    async fn welcome(
        &self,
        user: User,
        detail: serde_json::Value,
        from: SocketAddr,
    ) -> Result<Caller, StoreError> {
        let caller = Caller { user: user.id, name: user.name };
        self.state.store.audit(&self.by(&caller, from), Deed::done("ssh.login", caller.user, detail)).await?;
        Ok(caller)
    }

    async fn list(&self, caller: &Caller) -> Result<Vec<Choice>, String> {
        let store = &self.state.store;
        let user = store.user(caller.user).await.map_err(|error| failed(&error))?;
        let Some(user) = user.filter(|user| !user.disabled) else {
            return Err(Refused::User.to_string());
        };
        let permissions = store.role_permissions(&user.role).await.map_err(|error| failed(&error))?;
        let permissions = permissions.unwrap_or_default();
        if !permissions.contains(&Permission::ConnectionsUse) {
            return Err(Refused::Permission(Permission::ConnectionsUse).to_string());
        }
        let all = permissions.contains(&Permission::ConnectionsEditAny);
        let reach = Reach { user: user.id, role: &user.role, all };
        let found = store.connections(&reach, &ConnectionFilter::default(), CHOICES, 0).await;
        let (found, _) = found.map_err(|error| failed(&error))?;
        Ok(found
            .into_iter()
            .map(|listed| listed.connection)
            .filter(|connection| permissions.contains(&connection.protocol.permission()))
            .map(|connection| Choice {
                name: connection.name,
                folder: connection.folder,
                protocol: connection.protocol,
            })
            .collect())
    }

    async fn let_through(
        &self,
        caller: &Caller,
        connection: &str,
        from: SocketAddr,
    ) -> Result<Arc<dyn Pass>, String> {
        match Admission::check(&self.state.store, caller.user, connection).await {
            Ok(admission) => {
                let target = Target::of(&admission);
                let by = self.by(caller, from);
                Ok(Arc::new(Through { state: self.state.clone(), admission, target, by }))
            }
            Err(Refused::Store(error)) => Err(failed(&error)),
            Err(refused) => {
                let deed = Deed::refused("session.open", connection, json!({}));
                self.state.refusals.note(self.by(caller, from), deed, &refused.to_string()).await;
                Err(refused.to_string())
            }
        }
    }
}

impl Doorkeeper for Door {
    fn password<'a>(
        &'a self,
        name: &'a str,
        password: Secret,
        from: SocketAddr,
    ) -> BoxFuture<'a, Option<Caller>> {
        Box::pin(async move {
            self.try_password(name, password, from).await.unwrap_or_else(|error| {
                failed(&error);
                None
            })
        })
    }

    fn knows_key<'a>(&'a self, name: &'a str, fingerprint: &'a str, _: SocketAddr) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let looked_up = async {
                let Some(user) = self.user(name).await? else { return Ok(false) };
                let keys = self.state.store.public_key_find(fingerprint).await?;
                Ok(keys.iter().any(|key| key.user == user.id))
            };
            looked_up.await.unwrap_or_else(|error: StoreError| {
                failed(&error);
                false
            })
        })
    }

    fn key<'a>(
        &'a self,
        name: &'a str,
        fingerprint: &'a str,
        from: SocketAddr,
    ) -> BoxFuture<'a, Option<Caller>> {
        Box::pin(async move {
            self.try_key(name, fingerprint, from).await.unwrap_or_else(|error| {
                failed(&error);
                None
            })
        })
    }

    fn choices<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Vec<Choice>, String>> {
        Box::pin(self.list(caller))
    }

    fn admit<'a>(
        &'a self,
        caller: &'a Caller,
        connection: &'a str,
        from: SocketAddr,
    ) -> BoxFuture<'a, Result<Arc<dyn Pass>, String>> {
        Box::pin(self.let_through(caller, connection, from))
    }
}

/// An admission, for one channel.
struct Through {
    state: AppState,
    admission: Admission,
    target: Target,
    by: By,
}

impl Pass for Through {
    fn name(&self) -> &str {
        &self.admission.connection().name
    }

    fn protocol(&self) -> Protocol {
        self.admission.connection().protocol
    }

    fn policy(&self) -> &ConnectionPolicy {
        &self.admission.connection().policy
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn rules(&self) -> Rules {
        credentials::rules(&self.state)
    }

    fn credential(&self) -> Result<Credential, ConnectError> {
        Credential::kept(self.admission.connection(), &self.state.access.vault)
    }

    fn pin(&self, key: SeenKey) -> BoxFuture<'_, Result<(), ConnectError>> {
        Box::pin(async move { targets::pin(&self.state.store, &self.admission, &key, &self.by).await })
    }

    fn key_refused(&self, error: &ConnectError) -> BoxFuture<'_, ()> {
        let error = error.clone();
        Box::pin(
            async move { targets::key_refused(&self.state, &self.admission, &error, self.by.clone()).await },
        )
    }

    fn begin(&self, opening: Opening) -> BoxFuture<'_, Result<Box<dyn Seat>, String>> {
        Box::pin(async move {
            let opening = sojourn_gateway::session::Opening {
                purpose: opening.purpose,
                command: opening.command,
                client_kind: ClientKind::Native,
                client_address: opening.client.ip().to_canonical().to_string(),
                term: opening.term,
                size: opening.size,
            };
            match self.state.hub.begin(&self.admission, opening).await {
                Ok(begun) => Ok(Box::new(Taken(begun)) as Box<dyn Seat>),
                Err(Refusal::Store(error)) => Err(failed(&error)),
                Err(refusal) => Err(refusal.to_string()),
            }
        })
    }

    fn begin_files(
        &self,
        protocol: FileProtocol,
        client: SocketAddr,
        carried_by: Option<AccessSessionId>,
    ) -> BoxFuture<'_, Result<FileJournal, String>> {
        let opening = FileOpening {
            protocol,
            client_kind: ClientKind::Native,
            client_address: client.ip().to_canonical().to_string(),
            access_session: carried_by,
        };
        Box::pin(async move {
            match self.state.files.begin(&self.admission, opening).await {
                Ok(journal) => Ok(journal),
                Err(Refusal::Store(error)) => Err(failed(&error)),
                Err(refusal) => Err(refusal.to_string()),
            }
        })
    }
}

struct Taken(Begun);

impl Seat for Taken {
    fn id(&self) -> AccessSessionId {
        self.0.id()
    }

    fn called_off(&mut self) -> BoxFuture<'_, (EndReason, String)> {
        Box::pin(async move {
            let ended = self.0.called_off().await;
            let text = if ended.detail.is_empty() {
                format!("the session was ended: {}", ended.reason)
            } else {
                ended.detail
            };
            (ended.reason, text)
        })
    }

    fn read_along(&mut self, tap: Tap, journal: FileJournal) {
        self.0.read_along(tap, journal);
    }

    fn fail(self: Box<Self>, reason: EndReason, detail: String) -> BoxFuture<'static, ()> {
        Box::pin(self.0.fail(reason, detail))
    }

    fn run(self: Box<Self>, target: TargetEnd, client: ClientEnd) -> Box<dyn Running> {
        Box::new(Runs(self.0.run(target, client)))
    }
}

struct Runs(SessionHandle);

impl Running for Runs {
    fn count(&self, bytes_in: u64, bytes_out: u64) {
        self.0.count(bytes_in, bytes_out);
    }

    fn destination(&self, text: &str) {
        self.0.destination(text);
    }
}
