//! A target, a running Sojourn, and a user who reaches the one through the other.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use crate::{
    foundations::Foundations,
    process::{Client, Installation, Server},
    ssh_client::Way,
    sshd::Sshd,
    wait,
};
use serde_json::{Value, json};

/// For anything that the server does by itself, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// An installation with the users `admin` and `alice`, and the connection `target`.
#[derive(Debug)]
pub struct Bed {
    /// Before what it stands on.
    server: Option<Server>,
    pub target: Sshd,
    pub installation: Installation,
    pub admin_token: String,
    pub alice_token: String,
    /// The connection's id.
    pub connection: String,
}

impl Bed {
    /// `None`, and a visible line, where there is no sshd.
    pub fn start() -> Option<Self> {
        Self::with(Installation::without_sources(), &json!({}))
    }

    /// With other settings of the server, and a connection's policy beside what every test needs.
    pub fn with(installation: Installation, policy: &Value) -> Option<Self> {
        let target = Sshd::start()?;
        let admin_token = installation.token("admin", "admin");
        let alice_token = installation.token("alice", "user");
        let server = installation.serve();
        let mut bed = Self {
            target,
            installation,
            admin_token,
            alice_token,
            connection: String::new(),
            server: Some(server),
        };
        bed.add_key("alice");
        bed.connection = bed.connect_to_target("target", policy);
        Some(bed)
    }

    /// Lets a user in with the key that opens the target's account, too.
    fn add_key(&self, name: &str) {
        let users = self.admin().get("/users");
        let users = users["users"].as_array().expect("a list of users");
        let user = users.iter().find(|user| user["name"] == name);
        let id = text(&user.unwrap_or_else(|| panic!("no {name} in {users:?}"))["id"]);
        let key =
            fs::read_to_string(self.target.account().key.with_extension("key.pub")).expect("a public key");
        self.admin().post(&format!("/users/{id}/keys"), json!({"publicKey": key, "label": "test"}));
    }

    /// Makes a connection to the target and shares it with alice.
    pub fn connect_to_target(&self, name: &str, policy: &Value) -> String {
        let account = self.target.account();
        let mut allowed = json!({"allowAgent": true, "allowForwarding": true, "allowFiles": true});
        if let (Some(allowed), Some(policy)) = (allowed.as_object_mut(), policy.as_object()) {
            allowed.extend(policy.clone());
        }
        let made = self.admin().post(
            "/connections",
            json!({
                "name": name,
                "protocol": "ssh",
                "host": "127.0.0.1",
                "port": self.target.port(),
                "username": account.name,
                "auth": "key",
                "privateKey": fs::read_to_string(&account.key).expect("a private key"),
                "hostKey": self.target.fingerprint(),
                "policy": allowed,
                "grants": [{"kind": "user", "name": "alice"}],
            }),
        );
        text(&made["id"])
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a running server")
    }

    pub fn admin(&self) -> Client {
        self.server().client(&self.admin_token)
    }

    pub fn alice(&self) -> Client {
        self.server().client(&self.alice_token)
    }

    /// How alice's clients reach the target through Sojourn.
    pub fn way(&self) -> Way {
        let front = self.server().ssh.expect("a server with an SSH front");
        Way::new(front, "alice+target").key(&self.target.account().key)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.server.take().expect("a running server").kill();
    }

    /// SIGTERM; the server must end in order.
    pub fn stop(&mut self) {
        assert!(self.server.take().expect("a running server").terminate().success());
    }

    pub fn serve_again(&mut self) {
        self.server = Some(self.installation.serve());
    }

    /// All sessions that the filter (`a=b&c=d`) finds, newest first.
    pub fn sessions(&self, filter: &str) -> Vec<Value> {
        let answer = self.admin().get(&format!("/sessions?limit=2000&{filter}"));
        answer["sessions"].as_array().expect("a list of sessions").clone()
    }

    /// The session whose command has a word in it; there must be one.
    #[track_caller]
    pub fn session_of(&self, word: &str) -> Value {
        wait::until(&format!("a session with {word:?} in its command"), SOON, || {
            let has = |session: &Value| session["command"].as_str().is_some_and(|text| text.contains(word));
            self.sessions("").into_iter().find(has)
        })
    }

    /// Waits for a session's end and for its recording to be over, and returns it.
    #[track_caller]
    pub fn ended(&self, id: &str) -> Value {
        wait::until(&format!("the end of {id} and of its recording"), SOON, || {
            let session = self.admin().get(&format!("/sessions/{id}"));
            (session["endedAt"].is_string() && session["recording"] != "live").then_some(session)
        })
    }

    /// A session's recording.
    #[track_caller]
    pub fn cast(&self, id: &str) -> Cast {
        let answer = self.admin().send("GET", &format!("/sessions/{id}/recording"), None);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.content_type.starts_with("application/x-asciicast"), "{}", answer.content_type);
        Cast::parse(&answer.text)
    }

    pub fn verify(&self, id: &str) -> Value {
        self.admin().get(&format!("/sessions/{id}/verify"))
    }
}

/// One installation for all tests that only pass through it, while any of them runs.
pub fn shared() -> Option<Arc<Bed>> {
    static SHARED: Mutex<Weak<Bed>> = Mutex::new(Weak::new());
    one_of(&SHARED, Bed::start)
}

/// The same, on PostgreSQL and an S3 server.
pub fn shared_large() -> Option<Arc<Bed>> {
    static SHARED: Mutex<Weak<Bed>> = Mutex::new(Weak::new());
    one_of(&SHARED, || {
        let installation = Installation::without_sources().standing_on(Foundations::new()?);
        Bed::with(installation, &json!({}))
    })
}

fn one_of(shared: &Mutex<Weak<Bed>>, start: impl FnOnce() -> Option<Bed>) -> Option<Arc<Bed>> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bed) = shared.upgrade() {
        return Some(bed);
    }
    let bed = Arc::new(start()?);
    *shared = Arc::downgrade(&bed);
    Some(bed)
}

/// An asciicast v2, read whole.
#[derive(Debug)]
pub struct Cast {
    pub header: Value,
    /// Seconds, kind, data.
    pub events: Vec<(f64, String, String)>,
}

impl Cast {
    /// Every line must be an event with a time not before the one before it.
    #[track_caller]
    pub fn parse(content: &str) -> Self {
        let mut lines = content.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap_or_default())
            .unwrap_or_else(|error| panic!("no header: {error}: {:?}", content.get(..200)));
        assert_eq!(header["version"], 2, "{header}");
        let mut events: Vec<(f64, String, String)> = Vec::new();
        for line in lines {
            let event: (f64, String, String) =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("no event: {error}: {line:?}"));
            assert!(events.last().is_none_or(|before| before.0 <= event.0), "time runs back at {line:?}");
            events.push(event);
        }
        Self { header, events }
    }

    /// The data of all events of a kind.
    pub fn all(&self, kind: &str) -> String {
        self.events.iter().filter(|event| event.1 == kind).map(|event| event.2.as_str()).collect()
    }

    pub fn output(&self) -> String {
        self.all("o")
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
