//! The terminal over a WebSocket, and a client of it as far as tests need one.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{SOON, shared, text},
    process::{Client, Server},
    wait,
};
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _};

/// An open terminal, watched or taken part in.
pub(crate) struct Terminal {
    socket: WebSocket<TcpStream>,
    /// Everything that came as output, and as snapshots.
    pub(crate) output: Vec<u8>,
    /// Every message of text that came.
    pub(crate) messages: Vec<Value>,
}

impl Terminal {
    /// Comes in with a ticket, having received so much of the session before.
    fn enter(server: &Server, ticket: &str, received: usize) -> Result<Self, String> {
        let mut request = format!("ws://{}/terminal", server.address).into_client_request().unwrap();
        let protocols = format!("sojourn.terminal.v1, ticket.{ticket}");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().unwrap());
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let (socket, _) = tungstenite::client(request, stream.try_clone().unwrap())
            .map_err(|error| format!("not let in: {error}"))?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut terminal = Self { socket, output: Vec::new(), messages: Vec::new() };
        let start =
            json!({"type": "start", "cols": 80, "rows": 24, "term": "xterm-256color", "received": received});
        terminal.say(&start);
        Ok(terminal)
    }

    /// Opens a connection as the client's user.
    pub(crate) fn open(server: &Server, client: &Client, connection: &str) -> Self {
        let made = client.post(&format!("/connections/{connection}/tickets"), json!({}));
        Self::enter(server, &text(&made["ticket"]), 0).unwrap()
    }

    /// Watches a session or joins it.
    pub(crate) fn session(server: &Server, client: &Client, session: &str, purpose: &str) -> Self {
        Self::again(server, client, session, purpose, 0)
    }

    fn again(server: &Server, client: &Client, session: &str, purpose: &str, received: usize) -> Self {
        let made = client.post(&format!("/sessions/{session}/tickets"), json!({"purpose": purpose}));
        Self::enter(server, &text(&made["ticket"]), received).unwrap()
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.socket.send(Message::binary(keys.as_bytes().to_vec())).unwrap();
    }

    /// Takes one message, if one comes soon; false when the other side has closed.
    fn take(&mut self) -> bool {
        match self.socket.read() {
            Ok(Message::Binary(bytes)) => {
                self.output.extend_from_slice(&bytes);
                let received = self.output.len();
                self.say(&json!({"type": "ack", "received": received}));
            }
            Ok(Message::Text(message)) => {
                let message: Value = serde_json::from_str(&message).unwrap();
                if message["type"] == "snapshot" {
                    self.output.extend_from_slice(text(&message["data"]).as_bytes());
                }
                self.messages.push(message);
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(_)) => return false,
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
        true
    }

    /// The other side closes without having begun anything.
    fn ended_without_a_session(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < SOON {
            if self.messages.iter().any(|message| message["type"] == "session") {
                return false;
            }
            if !self.take() {
                return true;
            }
        }
        false
    }

    /// Reads until a word has been shown.
    #[track_caller]
    pub(crate) fn until_shown(&mut self, word: &str) {
        let started = Instant::now();
        loop {
            if String::from_utf8_lossy(&self.output).contains(word) {
                return;
            }
            let open = self.take();
            assert!(
                open && started.elapsed() < SOON,
                "{word:?} was never shown: {:?} {:?}",
                String::from_utf8_lossy(&self.output),
                self.messages
            );
        }
    }

    /// Reads until a message of a type has come, and returns it.
    #[track_caller]
    pub(crate) fn until_told(&mut self, kind: &str) -> Value {
        let started = Instant::now();
        loop {
            if let Some(message) = self.messages.iter().find(|message| message["type"] == kind) {
                return message.clone();
            }
            let open = self.take();
            assert!(
                open && started.elapsed() < SOON,
                "nothing was told of type {kind:?}: {:?} {:?}",
                self.messages,
                String::from_utf8_lossy(&self.output)
            );
        }
    }
}

#[test]
fn a_browser_holds_a_terminal() {
    let Some(bed) = shared() else { return };
    let mut terminal = Terminal::open(bed.server(), &bed.alice(), &bed.connection);
    let session = terminal.until_told("session");
    assert_eq!((&session["connectionName"], &session["recorded"]), (&json!("target"), &json!(true)));
    terminal.keys("echo web-$((6*7))\r");
    terminal.until_shown("web-42");
    terminal.say(&json!({"type": "resize", "cols": 132, "rows": 43}));
    terminal.keys("stty size; echo si''zed\r");
    terminal.until_shown("sized");
    assert!(String::from_utf8_lossy(&terminal.output).contains("43 132"));
    terminal.keys("exit 4\r");
    let end = terminal.until_told("end");
    assert_eq!((&end["reason"], &end["exitStatus"]), (&json!("closed"), &json!(4)), "{end}");
    let session = bed.ended(&text(&session["id"]));
    for (key, value) in [
        ("clientKind", json!("web")),
        ("recording", json!("sealed")),
        ("username", json!("alice")),
        ("exitStatus", json!(4)),
    ] {
        assert_eq!(session[key], value, "{key} of {session}");
    }
    assert!(bed.cast(&text(&session["id"])).output().contains("web-42"));
}

#[test]
fn a_ticket_lets_in_once_and_only_its_user() {
    let Some(bed) = shared() else { return };
    let made = bed.alice().post(&format!("/connections/{}/tickets", bed.connection), json!({}));
    let ticket = text(&made["ticket"]);
    let mut first = Terminal::enter(bed.server(), &ticket, 0).unwrap();
    first.until_told("session");
    let second =
        Terminal::enter(bed.server(), &ticket, 0).map(|mut terminal| terminal.ended_without_a_session());
    assert!(second.unwrap_or(true), "a used ticket opened a terminal");
    let invented =
        Terminal::enter(bed.server(), "invented", 0).map(|mut terminal| terminal.ended_without_a_session());
    assert!(invented.unwrap_or(true), "an invented ticket opened a terminal");
}

#[test]
fn a_browser_that_was_lost_goes_on_where_it_was() {
    let Some(bed) = shared() else { return };
    let mut terminal = Terminal::open(bed.server(), &bed.alice(), &bed.connection);
    let id = text(&terminal.until_told("session")["id"]);
    terminal.keys("for i in 1 2 3 4 5 6 7 8; do echo piece-$i-; sleep 0.5; done; echo all-''done\r");
    terminal.until_shown("piece-2-");
    let mut all = terminal.output.clone();
    // Without a word, as when a train enters a tunnel.
    drop(terminal);
    wait::during(Duration::from_secs(1), || {});
    let mut again = Terminal::again(bed.server(), &bed.alice(), &id, "attach", all.len());
    again.until_shown("all-done");
    all.extend_from_slice(&again.output);
    let shown = String::from_utf8_lossy(&all).into_owned();
    for index in 1..=8 {
        assert_eq!(shown.matches(&format!("piece-{index}-")).count(), 1, "piece {index} in {shown:?}");
    }
    again.keys("exit\r");
    again.until_told("end");
    assert_eq!(bed.ended(&id)["recording"], "sealed");
}
