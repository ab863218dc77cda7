//! A server in process, on a SQLite file of its own, with a clock that stands still.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sojourn_domain::{
    id::UserId,
    policy::Permissions,
    time::{Clock, Elapsed, Timestamp},
};
use sojourn_sensor::engine::{Engine, Options};
use sojourn_server::{
    access::Access,
    config::{Config, Settings},
    http,
    password::{NewPassword, hash_now},
    state::{AppState, Background},
};
use sojourn_store::{
    Entropy, Store,
    audit::{AuditEntry, AuditFilter, By},
    identity::{NewToken, NewUser, SecretHash},
    recordings::Recordings,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The password of every user that [`House::user`] makes.
pub(crate) const PASSWORD: &str = "correct horse";

/// A clock that moves when it is told to.
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(crate) fn advance(&self, length: Elapsed) {
        self.0.fetch_add(length.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) recordings: Recordings,
    app: Router,
    _engine: Engine,
    _background: Background,
    _folder: tempfile::TempDir,
}

/// What a request proves itself with.
#[derive(Debug, Clone)]
pub(crate) enum As {
    Nobody,
    Bearer(String),
    Cookie(String),
}

/// A request in the making.
pub(crate) struct Call<'a> {
    house: &'a House,
    request: axum::http::request::Builder,
    body: Body,
    from: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(settle: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            data_dir: Some(folder.path().to_owned()),
            timezone: Some("Europe/Berlin".to_owned()),
            ..Settings::default()
        };
        settle(&mut settings);
        let config = Config::new(settings).unwrap();
        let store = Store::open(&config.database.0).await.unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(1_760_000_000_000_000)));
        let options = Options { run_sources: false, ..Options::default() };
        let engine = Engine::start(store.clone(), clock.clone(), Entropy, options).await.unwrap();
        let access = Access::open(&store, &config, clock.clone()).await.unwrap();
        let recordings = access.recordings.clone();
        let (state, background) = AppState::start(
            store.clone(),
            engine.handle(),
            clock.clone(),
            config,
            access,
            CancellationToken::new(),
        );
        Self {
            app: http::app(state),
            store,
            clock,
            recordings,
            _engine: engine,
            _background: background,
            _folder: folder,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Makes a user with [`PASSWORD`].
    pub(crate) async fn user(&self, name: &str, role: &str) -> UserId {
        let password = NewPassword::try_from(PASSWORD.to_owned()).unwrap();
        let new = NewUser {
            id: Entropy.id(self.now()),
            name: name.parse().unwrap(),
            display_name: Default::default(),
            role: role.parse().unwrap(),
            password: hash_now(&password, Entropy).unwrap(),
        };
        self.store.user_add(&new, &By::cli(self.now())).await.unwrap().id
    }

    /// Makes a token, with a subset of permissions if one is given.
    pub(crate) async fn token(&self, user: UserId, permissions: Option<Permissions>) -> As {
        let secret = http::auth::new_secret(http::auth::TOKEN_PREFIX, Entropy);
        let new = NewToken {
            id: Entropy.id(self.now()),
            user,
            label: "test".parse().unwrap(),
            secret: SecretHash::of(&secret),
            permissions,
            expires_at: None,
        };
        self.store.token_add(&new, &By::cli(self.now())).await.unwrap();
        As::Bearer(secret)
    }

    /// Makes a user and a token of it.
    pub(crate) async fn persona(&self, role: &str) -> As {
        let user = self.user(&format!("the-{role}"), role).await;
        self.token(user, None).await
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            house: self,
            request: Request::builder().method(method).uri(path),
            body: Body::empty(),
            from: ([192, 0, 2, 1], 50000).into(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PATCH, path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// Logs in through the API.
    pub(crate) async fn log_in(&self, name: &str) -> As {
        let answer = self.post("/auth/login", serde_json::json!({"name": name, "password": PASSWORD})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.cookie()
    }

    /// The audit trail, oldest first.
    pub(crate) async fn audit(&self) -> Vec<AuditEntry> {
        let (mut entries, _) = self.store.audit_list(&AuditFilter::default(), 1_000_000, 0).await.unwrap();
        entries.reverse();
        entries
    }

    /// `action outcome` of the newest entry.
    pub(crate) async fn last_audit(&self) -> String {
        let entry = self.audit().await.pop().unwrap();
        format!("{} {}", entry.action, entry.outcome)
    }
}

impl<'a> Call<'a> {
    pub(crate) fn r#as(mut self, who: &As) -> Self {
        self.request = match who {
            As::Nobody => self.request,
            As::Bearer(secret) => self.request.header(header::AUTHORIZATION, format!("Bearer {secret}")),
            As::Cookie(secret) => {
                self.request.header(header::COOKIE, format!("a=b; sojourn_login={secret}; c"))
            }
        };
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = SocketAddr::new(address.parse().unwrap(), 50000);
        self
    }

    /// The answer's head: for bodies that do not end.
    pub(crate) async fn status(self) -> StatusCode {
        self.send().await.0.status
    }

    /// The answer with its body as it is: for what is no text.
    pub(crate) async fn bytes(self) -> (StatusCode, Vec<u8>) {
        let (parts, body) = self.send().await;
        (parts.status, body.collect().await.unwrap().to_bytes().to_vec())
    }

    async fn send(self) -> (axum::http::response::Parts, Body) {
        let mut request = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.from));
        self.house.app.clone().oneshot(request).await.unwrap().into_parts()
    }
}

impl<'a> IntoFuture for Call<'a> {
    type Output = Answer;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Answer> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (parts, body) = self.send().await;
            let bytes = body.collect().await.unwrap().to_bytes();
            let answer = Answer {
                status: parts.status,
                headers: parts.headers,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            };
            answer.check_problem();
            answer
        })
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The problem's code.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The field that a 422 names first.
    pub(crate) fn field(&self) -> String {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", self.text);
        self.json()["errors"][0]["field"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The login that the answer sets.
    pub(crate) fn cookie(&self) -> As {
        let value = self.header("set-cookie");
        let secret = value.split(';').next().unwrap().strip_prefix("sojourn_login=").unwrap();
        As::Cookie(secret.to_owned())
    }

    /// Every error has the one shape.
    fn check_problem(&self) {
        if !self.status.is_client_error() && !self.status.is_server_error() {
            return;
        }
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["success"], false);
        assert_eq!(problem["error"], problem["detail"]);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_ne!(self.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", self.text);
        if self.status == StatusCode::UNAUTHORIZED {
            assert!(self.headers.contains_key(header::WWW_AUTHENTICATE));
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            assert!(self.headers.contains_key(header::RETRY_AFTER));
        }
    }
}
