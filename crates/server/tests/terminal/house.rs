//! A server in process on a port of its own, and a browser's half of `/terminal`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, Protocol},
    connections::ConnectionOptions,
    id::{AccessSessionId, ConnectionId, UserId},
    policy::Visibility,
    time::Clock as _,
};
use sojourn_sensor::engine::{Engine, Options};
use sojourn_server::{
    access::Access,
    config::{Config, Settings},
    http,
    state::{AppState, Background},
};
use sojourn_store::{
    Entropy, Store, SystemClock,
    access::AccessSession,
    audit::By,
    connections::{Connection, Grantee, NewConnection},
    identity::{NewToken, NewUser, PasswordHash, SecretHash},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) state: AppState,
    pub(crate) address: SocketAddr,
    client: reqwest::Client,
    _engine: Engine,
    _background: Background,
    _folder: tempfile::TempDir,
}

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Persona {
    pub(crate) user: UserId,
    token: String,
}

/// What a connection is made of in tests.
pub(crate) struct Target<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    pub(crate) username: &'a str,
    pub(crate) auth: AuthKind,
    pub(crate) secret: Option<Value>,
    pub(crate) policy: ConnectionPolicy,
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("db").display());
        Self::on(folder, &database, |_| {}).await
    }

    /// On a database that others may share.
    pub(crate) async fn on(
        folder: tempfile::TempDir,
        database: &str,
        settle: impl FnOnce(&mut Settings),
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = Settings {
            data_dir: Some(folder.path().to_owned()),
            database: Some(database.to_owned()),
            node_url: Some(format!("http://{address}")),
            ..Settings::default()
        };
        settle(&mut settings);
        let config = Config::new(settings).unwrap();
        let clock = Arc::new(SystemClock);
        let store = Store::open(&config.database.0).await.unwrap();
        let options = Options { run_sources: false, ..Options::default() };
        let engine = Engine::start(store.clone(), clock.clone(), Entropy, options).await.unwrap();
        let access = Access::open(&store, &config, clock.clone()).await.unwrap();
        let (state, background) =
            AppState::start(store.clone(), engine.handle(), clock, config, access, CancellationToken::new());
        let app = http::app(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            store,
            state,
            address,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            _engine: engine,
            _background: background,
            _folder: folder,
        }
    }

    pub(crate) async fn persona(&self, name: &str, role: &str) -> Persona {
        let now = SystemClock.now();
        let by = By::cli(now);
        let new = NewUser {
            id: Entropy.id(now),
            name: name.parse().unwrap(),
            display_name: Default::default(),
            role: role.parse().unwrap(),
            password: PasswordHash("none".to_owned()),
        };
        let user = self.store.user_add(&new, &by).await.unwrap().id;
        let token = http::auth::new_secret(http::auth::TOKEN_PREFIX, Entropy);
        let new = NewToken {
            id: Entropy.id(now),
            user,
            label: "test".parse().unwrap(),
            secret: SecretHash::of(&token),
            permissions: None,
            expires_at: None,
        };
        self.store.token_add(&new, &by).await.unwrap();
        Persona { user, token }
    }

    /// A connection of `owner`, shared with everybody of the role `user`.
    pub(crate) async fn connection(&self, owner: &Persona, target: Target<'_>) -> ConnectionId {
        let now = SystemClock.now();
        let id: ConnectionId = Entropy.id(now);
        let seal = |secret: Value| {
            let purpose = Connection::sealed_for(id);
            self.state.access.vault.seal(&purpose, secret.to_string().as_bytes()).unwrap()
        };
        let new = NewConnection {
            id,
            // Says nothing of where it leads.
            name: format!("target-{}", id.to_string().replace('_', "-")).parse().unwrap(),
            protocol: target.protocol,
            host: "127.0.0.1".parse().unwrap(),
            port: target.port,
            username: target.username.to_owned(),
            auth: target.auth,
            secret: target.secret.map(seal),
            host_key: None,
            owner: owner.user,
            folder: String::new(),
            tags: Vec::new(),
            notes: String::new(),
            policy: target.policy,
            options: ConnectionOptions::default(),
            grants: vec![Grantee::Role("user".to_owned())],
        };
        self.store.connection_create(&new, &By::cli(now)).await.unwrap();
        id
    }

    pub(crate) async fn post(&self, who: &Persona, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.post(url).bearer_auth(&who.token).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn get(&self, who: &Persona, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.get(url).bearer_auth(&who.token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn ticket(&self, who: &Persona, path: &str, body: Value) -> String {
        let (status, answer) = self.post(who, path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer["ticket"].as_str().unwrap().to_owned()
    }

    /// Shows a ticket.
    pub(crate) async fn socket(&self, ticket: &str) -> Result<Browser, Error> {
        let mut request = format!("ws://{}/api/v1/terminal", self.address).into_client_request().unwrap();
        let protocols = format!("sojourn.terminal.v1, ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        let origin = format!("http://{}", self.address);
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let (socket, answer) = tokio_tungstenite::connect_async(request).await?;
        assert_eq!(answer.headers()["sec-websocket-protocol"], "sojourn.terminal.v1");
        Ok(Browser { socket, seen: Vec::new(), received: 0, words: Vec::new() })
    }

    /// Opens a terminal.
    pub(crate) async fn open(&self, who: &Persona, connection: ConnectionId) -> Browser {
        let ticket = self.ticket(who, &format!("/connections/{connection}/tickets"), json!({})).await;
        let mut browser = self.socket(&ticket).await.unwrap();
        browser.say(json!({"type": "start", "cols": 80, "rows": 24, "term": "xterm-256color"})).await;
        browser
    }

    /// Comes to a live session.
    pub(crate) async fn come(&self, who: &Persona, session: &str, purpose: &str, start: Value) -> Browser {
        let path = format!("/sessions/{session}/tickets");
        let ticket = self.ticket(who, &path, json!({"purpose": purpose})).await;
        let mut browser = self.socket(&ticket).await.unwrap();
        browser.say(start).await;
        browser
    }

    pub(crate) async fn row(&self, session: &str) -> AccessSession {
        let id: AccessSessionId = session.parse().unwrap();
        self.store.session(Visibility::Any, id).await.unwrap().unwrap()
    }

    /// The session's row once it has ended.
    pub(crate) async fn ended(&self, session: &str) -> AccessSession {
        let id: AccessSessionId = session.parse().unwrap();
        if let Some(handle) = self.state.hub.get(id) {
            tokio::time::timeout(LIMIT, handle.ended()).await.unwrap();
        }
        self.row(session).await
    }
}

/// The browser's half.
pub(crate) struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Output that no `until` has taken yet.
    pub(crate) seen: Vec<u8>,
    /// Output bytes since the session's start.
    pub(crate) received: u64,
    /// Words that were read past.
    pub(crate) words: Vec<Value>,
}

impl Browser {
    pub(crate) async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.socket.send(Message::binary(text.as_bytes().to_vec())).await.unwrap();
    }

    pub(crate) async fn acknowledge(&mut self) {
        let received = self.received;
        self.say(json!({"type": "ack", "received": received})).await;
    }

    /// The next word; output is kept.
    async fn read(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(LIMIT, self.socket.next()).await.expect("something comes");
            match message {
                Some(Ok(Message::Binary(bytes))) => {
                    self.received += bytes.len() as u64;
                    self.seen.extend_from_slice(&bytes);
                    return Some(Value::Null);
                }
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    }

    /// The next word of a type.
    pub(crate) async fn word(&mut self, kind: &str) -> Value {
        if let Some(at) = self.words.iter().position(|word| word["type"] == kind) {
            return self.words.remove(at);
        }
        loop {
            let word = self.read().await.unwrap_or_else(|| panic!("closed before {kind}: {:?}", self.text()));
            if word["type"] == kind {
                if kind == "snapshot" {
                    self.received = word["offset"].as_u64().unwrap();
                    self.seen.clear();
                }
                return word;
            }
            assert!(word["type"] != "end", "{kind}: {word}");
            if !word.is_null() {
                self.words.push(word);
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Output up to and with a text, acknowledged.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            let seen = self.text();
            if let Some(at) = seen.find(text) {
                let end = at + text.len();
                let before = seen[..end].to_owned();
                self.seen = seen.as_bytes()[end..].to_vec();
                self.acknowledge().await;
                return before;
            }
            match self.read().await {
                Some(Value::Null) => {}
                Some(word) => {
                    assert!(word["type"] != "end", "{text}: {word} {seen}");
                    self.words.push(word);
                }
                None => panic!("closed before {text:?}: {seen}"),
            }
        }
    }

    /// The last word.
    pub(crate) async fn end(&mut self) -> Value {
        self.word("end").await
    }

    /// The connection breaks.
    pub(crate) fn lose(self) -> u64 {
        self.received
    }
}
