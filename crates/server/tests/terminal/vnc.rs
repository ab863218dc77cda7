//! Desktops against a real TigerVNC, seen through a small RFB client on the WebSocket.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, DesktopPolicy, EndReason, Protocol, RecordPolicy},
    id::ConnectionId,
    time::Elapsed,
};
use sojourn_testbed::vnc::{Login, Vnc};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::{
    house::{House, LIMIT, Persona, Target},
    ssh::people,
};

type Colour = [u8; 3];

const BLUE: Colour = [0x20, 0x40, 0x60];
/// Far from the terminal in the corner.
const FREE: (usize, usize) = (700, 500);

pub(crate) fn policy(desktop: DesktopPolicy) -> ConnectionPolicy {
    ConnectionPolicy { record: RecordPolicy::BestEffort, desktop, ..ConnectionPolicy::default() }
}

pub(crate) fn target(port: u16, password: Option<&str>, policy: ConnectionPolicy) -> Target<'static> {
    Target {
        protocol: Protocol::Vnc,
        port,
        username: "",
        auth: if password.is_some() { AuthKind::Password } else { AuthKind::None },
        secret: password.map(|password| json!({"password": password})),
        policy,
    }
}

/// A browser's half of `/desktop`.
pub(crate) struct Screen {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) came: Vec<u8>,
    words: Vec<Value>,
    picture: Vec<Colour>,
    /// Texts for the clipboard that came.
    texts: Vec<String>,
}

impl Screen {
    async fn socket(house: &House, path: &str, protocol: &str, ticket: &str) -> Result<Self, Error> {
        Self::at(house.address, path, protocol, ticket).await
    }

    pub(crate) async fn at(
        address: SocketAddr,
        path: &str,
        protocol: &str,
        ticket: &str,
    ) -> Result<Self, Error> {
        let url = format!("ws://{address}/api/v1{path}");
        let mut request = url.into_client_request().unwrap();
        let protocols = format!("{protocol}, ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let picture = vec![[0; 3]; usize::from(Vnc::WIDTH) * usize::from(Vnc::HEIGHT)];
        Ok(Self { socket, came: Vec::new(), words: Vec::new(), picture, texts: Vec::new() })
    }

    /// Shows a ticket and says how it starts.
    pub(crate) async fn come(house: &House, who: &Persona, connection: ConnectionId, start: Value) -> Self {
        let ticket = house.ticket(who, &format!("/connections/{connection}/tickets"), json!({})).await;
        let mut screen = Self::socket(house, "/desktop", "sojourn.desktop.v1", &ticket).await.unwrap();
        screen.say(start).await;
        screen
    }

    /// A desktop, up to its first picture being asked for. Returns the session's word too.
    async fn open(house: &House, who: &Persona, connection: ConnectionId) -> (Self, Value) {
        let mut screen = Self::come(house, who, connection, json!({"type": "start"})).await;
        let session = screen.word("session").await;
        screen.welcome().await;
        (screen, session)
    }

    async fn welcome(&mut self) {
        // Raw, and some that nobody may ask for.
        self.welcome_with(&[0, 50, -307, -309]).await;
        self.request(false).await;
    }

    /// The handshake, and a wish for encodings.
    pub(crate) async fn welcome_with(&mut self, encodings: &[i32]) {
        assert_eq!(self.exact(12).await, b"RFB 003.008\n");
        self.send(b"RFB 003.008\n").await;
        assert_eq!(self.exact(2).await, [1, 1], "one login: none");
        self.send(&[1]).await;
        assert_eq!(self.exact(4).await, [0; 4]);
        self.send(&[1]).await;
        let init = self.exact(24).await;
        assert_eq!(init[..4], [3, 0x20, 2, 0x58], "800 by 600");
        let length = usize::from(u16::from_be_bytes([init[22], init[23]]));
        let name = String::from_utf8(self.exact(length).await).unwrap();
        assert!(name.starts_with("target-"), "the connection's name, not the target's: {name}");
        let mut message = vec![2, 0];
        message.extend(u16::try_from(encodings.len()).unwrap().to_be_bytes());
        message.extend(encodings.iter().flat_map(|encoding| encoding.to_be_bytes()));
        self.send(&message).await;
    }

    pub(crate) async fn say(&mut self, word: Value) {
        self.socket.send(Message::text(word.to_string())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    async fn request(&mut self, more: bool) {
        self.send(&[3, u8::from(more), 0, 0, 0, 0, 3, 0x20, 2, 0x58]).await;
    }

    /// Something from the server: bytes are kept, a word is returned; nothing where the socket is closed.
    pub(crate) async fn read(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(LIMIT, self.socket.next()).await.expect("something comes") {
                Some(Ok(Message::Binary(bytes))) => {
                    self.came.extend_from_slice(&bytes);
                    return Some(Value::Null);
                }
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn exact(&mut self, length: usize) -> Vec<u8> {
        while self.came.len() < length {
            let word = self.read().await.expect("more");
            if !word.is_null() {
                assert_ne!(word["type"], "end", "{word}");
                self.words.push(word);
            }
        }
        let rest = self.came.split_off(length);
        std::mem::replace(&mut self.came, rest)
    }

    pub(crate) async fn word(&mut self, kind: &str) -> Value {
        if let Some(at) = self.words.iter().position(|word| word["type"] == kind) {
            return self.words.remove(at);
        }
        loop {
            let word = self.read().await.unwrap_or_else(|| panic!("closed before {kind}"));
            if word["type"] == kind {
                return word;
            }
            assert_ne!(word["type"], "end", "{kind}: {word}");
            if !word.is_null() {
                self.words.push(word);
            }
        }
    }

    /// One message of RFB.
    async fn message(&mut self) {
        let number = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        match self.exact(1).await[0] {
            0 => {
                let head = self.exact(3).await;
                for _ in 0..number(&head[1..]) {
                    let head = self.exact(12).await;
                    assert_eq!(head[8..], [0; 4], "raw was asked for");
                    let (x, y) = (number(&head), number(&head[2..]));
                    let (width, height) = (number(&head[4..]), number(&head[6..]));
                    let pixels = self.exact(width * height * 4).await;
                    for (at, pixel) in pixels.chunks(4).enumerate() {
                        let place = (y + at / width) * usize::from(Vnc::WIDTH) + x + at % width;
                        self.picture[place] = [pixel[0], pixel[1], pixel[2]];
                    }
                }
                self.request(true).await;
            }
            2 => {}
            3 => {
                let head = self.exact(7).await;
                let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
                let text = self.exact(usize::try_from(length).unwrap()).await;
                self.texts.push(text.into_iter().map(char::from).collect());
            }
            other => panic!("message {other}"),
        }
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let waited = async {
            while !done(self) {
                self.message().await;
            }
        };
        tokio::time::timeout(LIMIT, waited).await.unwrap_or_else(|_| panic!("in vain for {what}"));
    }

    async fn until_colour(&mut self, colour: Colour) {
        let place = FREE.1 * usize::from(Vnc::WIDTH) + FREE.0;
        self.until(&format!("{colour:?}"), |screen| screen.picture[place] == colour).await;
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        for char in text.chars() {
            let key = if char == '\n' { 0xff0d } else { u32::from(char) };
            for down in [1, 0] {
                self.send(&[&[4, down, 0, 0][..], &key.to_be_bytes()].concat()).await;
            }
        }
    }

    /// Into the terminal.
    async fn point(&mut self) {
        self.send(&[5, 0, 0, 60, 0, 40]).await;
    }

    async fn paste(&mut self, text: &str) {
        let length = u32::try_from(text.len()).unwrap();
        self.send(&[&[6, 0, 0, 0][..], &length.to_be_bytes(), text.as_bytes()].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_is_seen_and_typed_into_until_somebody_ends_it() {
    let Some(mut desktop) = Vnc::start(Login::Password) else { return };
    desktop.listen_for_colours();
    let house = House::new().await;
    let (admin, user) = people(&house).await;
    let own = policy(DesktopPolicy::default());
    let connection = house.connection(&admin, target(desktop.port(), Some(desktop.password()), own)).await;
    let (mut screen, session) = Screen::open(&house, &user, connection).await;
    assert_eq!((&session["recorded"], &session["viewOnly"]), (&json!(true), &json!(false)));
    let id = session["id"].as_str().unwrap().to_owned();
    screen.until_colour(BLUE).await;
    desktop.paint("#806040");
    screen.until_colour([0x80, 0x60, 0x40]).await;
    screen.point().await;
    screen.type_in("#106010\n").await;
    screen.until_colour([0x10, 0x60, 0x10]).await;
    assert_eq!(desktop.typed(), "#106010\n");

    let (_, live) = house.get(&admin, "/sessions/live").await;
    let listed = &live["sessions"][0];
    assert_eq!((&listed["id"], &listed["protocol"]), (&json!(id), &json!("vnc")), "{live}");
    assert!(listed["idleMs"].as_i64().unwrap() < 20_000, "{live}");
    assert!(listed["bytesOut"].as_u64().unwrap() > 800 * 600 * 4, "{live}");
    let path = format!("/sessions/{id}/terminate");
    let (status, answer) = house.post(&admin, &path, json!({"reason": "lunch"})).await;
    assert_eq!(status, 200, "{answer}");
    let end = screen.word("end").await;
    assert_eq!(end["reason"], "terminated");
    assert!(end["detail"].as_str().unwrap().ends_with(": lunch"), "{end}");
    let row = house.ended(&id).await;
    assert_eq!(row.end_reason, Some(EndReason::Terminated));
    assert_eq!(row.protocol, Protocol::Vnc);
    assert!(row.bytes_in > 0 && row.bytes_out > 800 * 600 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn clipboards_meet_where_they_may() {
    let Some(mut desktop) = Vnc::start(Login::Password) else { return };
    desktop.listen_for_colours();
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let connection = async |desktop_policy| {
        let made = target(desktop.port(), Some(desktop.password()), policy(desktop_policy));
        house.connection(&admin, made).await
    };
    // Neither way: what comes after has come, and the texts have not.
    let none = DesktopPolicy { allow_copy: false, allow_paste: false, view_only: false };
    let (mut screen, session) = Screen::open(&house, &admin, connection(none).await).await;
    assert_eq!((&session["allowCopy"], &session["allowPaste"]), (&json!(false), &json!(false)));
    screen.until_colour(BLUE).await;
    desktop.copy("from the desktop");
    screen.paste("from the browser").await;
    screen.point().await;
    screen.type_in("#601010\n").await;
    screen.until_colour([0x60, 0x10, 0x10]).await;
    assert_eq!(desktop.clipboard().as_deref(), Some("from the desktop"));
    assert_eq!(screen.texts, Vec::<String>::new());
    screen.say(json!({"type": "close"})).await;
    assert_eq!(screen.word("end").await["reason"], "closed");
    house.ended(session["id"].as_str().unwrap()).await;

    let (mut screen, session) =
        Screen::open(&house, &admin, connection_named(&house, &admin, &desktop).await).await;
    assert_eq!((&session["allowCopy"], &session["allowPaste"]), (&json!(true), &json!(true)));
    screen.until_colour([0x60, 0x10, 0x10]).await;
    desktop.copy("again from the desktop");
    screen.until("a text", |screen| screen.texts.iter().any(|text| text == "again from the desktop")).await;
    screen.paste("from the browser").await;
    screen.point().await;
    screen.type_in("#101060\n").await;
    screen.until_colour([0x10, 0x10, 0x60]).await;
    assert_eq!(desktop.clipboard().as_deref(), Some("from the browser"));
}

/// The same desktop with everything allowed, under a name of its own.
async fn connection_named(house: &House, owner: &Persona, desktop: &Vnc) -> ConnectionId {
    let body = json!({
        "name": "target-open", "protocol": "vnc", "host": "127.0.0.1", "port": desktop.port(),
        "password": desktop.password(), "policy": {"record": "off"},
    });
    let (status, made) = house.post(owner, "/connections", body).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["hasSecret"], &made["auth"]), (&json!(true), &json!("password")));
    assert!(!made.to_string().contains(desktop.password()), "{made}");
    made["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_look_changes_nothing_and_moving_pictures_are_no_activity() {
    let Some(mut desktop) = Vnc::start(Login::None) else { return };
    desktop.listen_for_colours();
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let looks = ConnectionPolicy {
        idle_limit_seconds: Some(Elapsed::from_secs(4)),
        ..policy(DesktopPolicy { view_only: true, ..DesktopPolicy::default() })
    };
    let connection = house.connection(&admin, target(desktop.port(), None, looks)).await;
    let (mut screen, session) = Screen::open(&house, &admin, connection).await;
    assert_eq!((&session["viewOnly"], &session["allowPaste"]), (&json!(true), &json!(false)));
    screen.until_colour(BLUE).await;
    screen.point().await;
    screen.type_in("#601010\n").await;
    screen.paste("from the browser").await;
    desktop.paint("#102030");
    screen.until_colour([0x10, 0x20, 0x30]).await;
    // Pictures come and are asked for all the time; nobody does anything.
    let moving = async {
        for step in (0..128).cycle() {
            desktop.paint(&format!("#1020{step:02x}"));
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! {
        () = moving => unreachable!("it moves for ever"),
        ended = async {
            let ended = tokio::time::timeout(LIMIT, async {
                loop {
                    match screen.read().await {
                        Some(Value::Null) if screen.came.len() > 400 => {
                            screen.came.clear();
                            screen.request(true).await;
                        }
                        Some(word) if word["type"] == "end" => return word,
                        Some(_) => {}
                        None => panic!("closed without a word"),
                    }
                }
            });
            ended.await.unwrap()
        } => ended,
    };
    assert_eq!(ended["reason"], "idle", "{ended}");
    let row = house.ended(session["id"].as_str().unwrap()).await;
    assert_eq!(row.end_reason, Some(EndReason::Idle));
    assert_eq!((desktop.typed().as_str(), desktop.clipboard()), ("", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_and_the_session_has_ended() {
    let Some(desktop) = Vnc::start(Login::Password) else { return };
    let Some(anonymous) = Vnc::start(Login::Anonymous) else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let free = DesktopPolicy::default();
    let nobody = sojourn_testbed::free_port();
    let mandatory = ConnectionPolicy { record: RecordPolicy::Mandatory, ..policy(free) };
    let cases = [
        (target(desktop.port(), Some("wrong"), policy(free)), "login_refused", "refused the login"),
        (target(nobody, Some("x"), policy(free)), "unreachable", "nothing listens"),
        (
            target(anonymous.port(), Some(anonymous.password()), policy(free)),
            "login_refused",
            "without certificates",
        ),
    ];
    for (target, reason, detail) in cases {
        let connection = house.connection(&admin, target).await;
        let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
        let end = screen.word("end").await;
        assert_eq!(end["reason"], reason, "{end}");
        assert!(end["detail"].as_str().unwrap().contains(detail), "{end}");
        let (_, sessions) = house.get(&admin, &format!("/sessions?connectionId={connection}")).await;
        let row = &sessions["sessions"][0];
        assert_eq!((&row["endReason"], &row["protocol"]), (&json!(reason), &json!("vnc")), "{sessions}");
        assert!(!row["endedAt"].is_null(), "{sessions}");
    }
    let connection = house.connection(&admin, target(sojourn_testbed::free_port(), None, mandatory)).await;
    let ticket = house.ticket(&admin, &format!("/connections/{connection}/tickets"), json!({})).await;
    let mut screen = Screen::socket(&house, "/desktop", "sojourn.desktop.v1", &ticket).await.unwrap();
    screen.say(json!({"type": "start"})).await;
    assert_eq!(screen.word("end").await["reason"], "unreachable");
    let again = Screen::socket(&house, "/desktop", "sojourn.desktop.v1", &ticket).await;
    assert!(matches!(again, Err(Error::Http(answer)) if answer.status() == 401), "a ticket is good once");
    // A terminal is none of its own.
    let ticket = house.ticket(&admin, &format!("/connections/{connection}/tickets"), json!({})).await;
    let mut terminal = Screen::socket(&house, "/terminal", "sojourn.terminal.v1", &ticket).await.unwrap();
    terminal.say(json!({"type": "start", "cols": 80, "rows": 24})).await;
    assert_ne!(terminal.word("end").await["reason"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_asked_for_and_certificates_pinned() {
    let Some(desktop) = Vnc::start(Login::Certificate) else { return };
    let house = House::new().await;
    let (admin, user) = people(&house).await;
    let prompts =
        Target { auth: AuthKind::Prompt, ..target(desktop.port(), None, policy(DesktopPolicy::default())) };
    let connection = house.connection(&admin, prompts).await;
    // Somebody who may not pin comes first.
    let mut screen =
        Screen::come(&house, &user, connection, json!({"type": "start", "password": desktop.password()}))
            .await;
    assert_eq!(screen.word("end").await["reason"], "host_key");
    let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
    assert!(screen.word("prompt").await["text"].as_str().unwrap().contains("Password"));
    screen.say(json!({"type": "answer", "text": desktop.password()})).await;
    screen.word("session").await;
    screen.welcome().await;
    screen.until_colour(BLUE).await;
    let (_, pinned) = house.get(&admin, &format!("/connections/{connection}")).await;
    assert_eq!(pinned["hostKey"]["fingerprint"], desktop.fingerprint(), "{pinned}");
    let path = format!("/connections/{connection}/test");
    let (_, test) = house.post(&admin, &path, json!({"password": desktop.password()})).await;
    assert_eq!((&test["ok"], &test["pinned"], &test["login"]), (&json!(true), &json!("match"), &json!("ok")));
    let (_, test) = house.post(&admin, &path, json!({"password": "wrong"})).await;
    assert_eq!((&test["ok"], &test["login"]), (&json!(false), &json!("refused")), "{test}");

    // Another target on the same port, which would take the password without TLS.
    let port = desktop.port();
    drop(desktop);
    let plain = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"RFB 003.008\n\x01\x02").await.unwrap();
        let mut came = Vec::new();
        // The browser's server hangs up before it says a login.
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut came)).await;
        came
    });
    let refused = Screen::open_refused(&house, &admin, connection).await;
    assert_eq!(refused["reason"], "login_refused", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("certificate is pinned"), "{refused}");
    assert_eq!(answering.await.unwrap(), b"RFB 003.008\n");
}

impl Screen {
    async fn open_refused(house: &House, who: &Persona, connection: ConnectionId) -> Value {
        let start = json!({"type": "start", "password": "secret"});
        Self::come(house, who, connection, start).await.word("end").await
    }
}
