//! A whole server in process, on a new database, with a clock that the test sets.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use jiff::tz::TimeZone;
use serde_json::Value;
use sojourn_domain::{
    id::UserId,
    time::{Clock, Timestamp},
};
use sojourn_sensor::engine::{Engine, Options};
use sojourn_server::{
    access::Access,
    config::{Config, Settings},
    http,
    state::{AppState, Background},
};
use sojourn_store::{
    Entropy, Store,
    audit::By,
    identity::{NewToken, NewUser, PasswordHash, SecretHash},
};
use sojourn_testbed::postgres::{Database, fresh_database};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A clock that stands until it is set.
#[derive(Debug)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn set(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

const BERLIN: &str = "Europe/Berlin";
/// Noon of the day after the seed's example, there.
const NOW: &str = "2025-08-02T10:00:00Z";

pub(crate) struct House {
    app: Router,
    pub(crate) store: Store,
    clock: Arc<SetClock>,
    pub(crate) zone: TimeZone,
    admin: String,
    engine: Engine,
    _background: Background,
    _folder: tempfile::TempDir,
    shutdown: CancellationToken,
    /// It goes last, when nothing uses it any more.
    database: Option<Database>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The answer's list of sessions.
    pub(crate) fn sessions(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        let json = self.json();
        assert_eq!(json["success"], true);
        json["sessions"].as_array().expect("a list of sessions").clone()
    }

    /// The field that a 422 names.
    pub(crate) fn wrong_field(&self) -> String {
        assert_eq!(self.status, 422, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let json = self.json();
        assert_eq!(json["success"], false);
        json["errors"][0]["field"].as_str().expect("a named field").to_owned()
    }
}

impl House {
    /// On SQLite, in Berlin, at [`NOW`].
    pub(crate) async fn new() -> Self {
        Self::at("sqlite", BERLIN, NOW).await
    }

    /// One on SQLite and, where it is installed, one on PostgreSQL, otherwise like [`House::new`].
    pub(crate) async fn on_each_database() -> Vec<Self> {
        let mut houses = vec![Self::new().await];
        if let Some(database) = fresh_database() {
            let mut house = Self::at(database.url(), BERLIN, NOW).await;
            house.database = Some(database);
            houses.push(house);
        }
        houses
    }

    pub(crate) async fn at(url: &str, zone: &str, now: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match url {
            "sqlite" => format!("sqlite:{}", folder.path().join("sojourn.db").display()),
            other => other.to_owned(),
        };
        let zone = TimeZone::get(zone).unwrap();
        let now = Timestamp::parse(now, &zone).unwrap();
        let store = Store::open(&url).await.unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(now.as_micros())));
        let config = Config::new(Settings {
            data_dir: Some(folder.path().to_owned()),
            timezone: zone.iana_name().map(str::to_owned),
            local_sources: Some(false),
            ..Settings::default()
        })
        .unwrap();
        let options = Options { run_sources: false, ..Options::default() };
        let engine = Engine::start(store.clone(), clock.clone(), Entropy, options).await.unwrap();
        let shutdown = CancellationToken::new();
        let access = Access::open(&store, &config, clock.clone()).await.unwrap();
        let (state, background) =
            AppState::start(store.clone(), engine.handle(), clock.clone(), config, access, shutdown.clone());
        let mut house = Self {
            app: http::app(state),
            store,
            clock,
            zone,
            admin: String::new(),
            engine,
            _background: background,
            _folder: folder,
            shutdown,
            database: None,
        };
        house.admin = house.token("admin").await;
        house
    }

    /// A token of a new user with a role.
    pub(crate) async fn token(&self, role: &str) -> String {
        let now = self.clock.now();
        let user: UserId = Entropy.id(now);
        let new = NewUser {
            id: user,
            name: format!("{role}-{}", &user.to_string()[20..]).parse().unwrap(),
            display_name: "Somebody".parse().unwrap(),
            role: role.parse().unwrap(),
            password: PasswordHash("none".to_owned()),
        };
        self.store.user_add(&new, &By::cli(now)).await.unwrap();
        let secret = http::auth::new_secret(http::auth::TOKEN_PREFIX, Entropy);
        let token = NewToken {
            id: Entropy.id(now),
            user,
            label: "test".parse().unwrap(),
            secret: SecretHash::of(&secret),
            permissions: None,
            expires_at: None,
        };
        self.store.token_add(&token, &By::cli(now)).await.unwrap();
        secret
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn at_time(&self, text: &str) {
        self.clock.set(Timestamp::parse(text, &self.zone).unwrap());
    }

    /// The answer, with its body still to be read.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.open(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path.replace(' ', "%20"));
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.admin));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_owned()))).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.answer(self.request("GET", path, None)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.answer(self.request(method, path, Some(&body.to_string()))).await
    }

    /// Enters a session by hand, which must succeed.
    pub(crate) async fn enter(&self, mac: &str, start: &str, end: Option<&str>) {
        let mut body = serde_json::json!({ "mac": mac, "ip": "192.168.1.10", "start_time": start });
        if let Some(end) = end {
            body["end_time"] = end.into();
        }
        let answer = self.send("POST", "/sessions/create", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// A source reports that it saw these devices, and no others, at a time.
    pub(crate) async fn scan(&self, at: &str, macs: &[&str]) {
        self.at_time(at);
        let at = self.clock.now().rfc3339();
        let sightings: Vec<Value> =
            macs.iter().map(|mac| serde_json::json!({ "mac": mac, "ip": "192.168.1.20" })).collect();
        let report = serde_json::json!({
            "source": "test", "intervalSeconds": 60, "sightings": sightings,
            "scan": { "startedAt": at, "finishedAt": at, "outcome": "complete", "covers": ["192.168.1.0/24"] },
        });
        let answer = self.send("POST", "/presence/sightings", report).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    #[expect(clippy::print_stdout, reason = "a failing test shows it, and so on which database it failed")]
    pub(crate) async fn stop(self) {
        println!("passed on {:?}", self.store.database());
        self.shutdown.cancel();
        self.engine.stop().await;
        self.store.close().await;
    }
}
