//! A page of the file browser, as far as tests need one.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use serde_json::Value;
use sojourn_testbed::{
    bed::{Bed, SOON, text},
    wait,
};

/// One page with a connection open. Requests are alice's.
pub(crate) struct Page {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) connection: String,
    tab: String,
    session: RefCell<String>,
}

#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// One JSON document a line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Page {
    pub(crate) fn new(bed: &Bed, tab: &str) -> Self {
        Self {
            address: bed.server().address,
            token: bed.alice_token.clone(),
            connection: bed.connection.clone(),
            tab: tab.to_owned(),
            session: RefCell::default(),
        }
    }

    /// The file session that the server named last.
    pub(crate) fn session(&self) -> String {
        self.session.borrow().clone()
    }

    /// The head of a request, down to the headers that are common to all.
    pub(crate) fn head(&self, method: &str, path: &str) -> String {
        let tab = if self.tab.is_empty() { String::new() } else { format!("Sojourn-Tab: {}\r\n", self.tab) };
        format!(
            "{method} /files/{}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n{tab}",
            self.connection, self.token
        )
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Any request; panics where there is no whole answer.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        let mut stream = self.connect();
        let mut head = self.head(method, path);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        // Who refuses may not read on.
        let _ = stream.write_all(body);
        self.answer(stream)
    }

    /// Reads an answer to the end of the connection.
    #[track_caller]
    pub(crate) fn answer(&self, mut stream: TcpStream) -> Got {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = all[end + 4..].to_vec();
        let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
        if let Some(session) = headers.get("sojourn-file-session") {
            self.session.borrow_mut().clone_from(session);
        }
        Got { status, headers, body: if chunked { unchunked(&body) } else { body } }
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: Value) -> Got {
        self.call("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.call("GET", &format!("content?path={path}"), headers, b"")
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, more: &str, body: &[u8]) -> Got {
        self.call("PUT", &format!("content?path={path}{more}"), &[], body)
    }

    #[track_caller]
    pub(crate) fn put_if(&self, path: &str, tag: &str, body: &[u8]) -> Got {
        self.call("PUT", &format!("content?path={path}"), &[("If-Match", tag)], body)
    }

    /// Without saying how much it will be.
    #[track_caller]
    pub(crate) fn put_chunked(&self, path: &str, body: &[u8]) -> Got {
        let mut stream = self.connect();
        let head = self.head("PUT", &format!("content?path={path}"));
        write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n").unwrap();
        for piece in body.chunks(10_000) {
            write!(stream, "{:x}\r\n", piece.len()).unwrap();
            stream.write_all(piece).unwrap();
            stream.write_all(b"\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        self.answer(stream)
    }

    #[track_caller]
    pub(crate) fn piece(&self, id: &str, at: u64, body: &[u8]) -> Got {
        self.call("PATCH", &format!("uploads/{id}"), &[("Upload-Offset", &at.to_string())], body)
    }

    #[track_caller]
    pub(crate) fn leave(&self) {
        self.call("DELETE", "session", &[], b"").expect(204);
    }
}

/// Undoes the chunked coding; panics where its end is missing.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return out;
        }
        out.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
    }
}

/// All events of a session that is over, or was quiet for as long as events take to be written.
#[track_caller]
pub(crate) fn events_of(bed: &Bed, session: &str) -> Vec<Value> {
    let count = || {
        let answer = bed.admin().get(&format!("/file-sessions/{session}/events"));
        answer["events"].as_array().unwrap().clone()
    };
    let live = bed.admin().get(&format!("/file-sessions/{session}"))["live"] == true;
    if live {
        wait::during(std::time::Duration::from_secs(3), || {});
    }
    count()
}

/// The first event of a connection's sessions that says so; waits for it.
#[track_caller]
pub(crate) fn event(bed: &Bed, connection: &str, path: &str, outcome: &str) -> Value {
    wait::until(&format!("an event {outcome} of {path}"), SOON, || {
        let sessions = bed.admin().get(&format!("/file-sessions?limit=2000&connectionId={connection}"));
        let sessions = sessions["sessions"].as_array().unwrap().clone();
        sessions
            .iter()
            .flat_map(|session| {
                let answer = bed.admin().get(&format!("/file-sessions/{}/events", text(&session["id"])));
                answer["events"].as_array().unwrap().clone()
            })
            .find(|event| event["path"] == path && event["outcome"] == outcome)
    })
}

/// As `sha256sum` has it.
pub(crate) fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned()
}
