//! What the relay adds to the way of a key to a desktop, and of what it changes back.
//!
//! The desktop is a script that answers each key with one pixel, so that nothing but the ways is measured.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed as Gateway, SOON, text},
    wait,
};
use tungstenite::{Message, WebSocket, client::IntoClientRequest as _};

use crate::{Bed, Figure};

const HELLO: &[u8] = b"RFB 003.008\n";
const SIZE: [u8; 4] = [5, 0, 2, 0xd0];
/// 32 bits for a pixel, of which 24 are colour.
const FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0];
/// One update of one pixel.
const ANSWER: usize = 20;
const KEYS: usize = 500;
/// Between two keys: nobody types faster, and nothing waits for anything before it.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn input(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let desktop = desktop();
    let made = bed.admin().post(
        "/connections",
        json!({
            "name": "script", "protocol": "vnc", "host": "127.0.0.1", "port": desktop.port(), "auth": "none",
            "policy": {"record": "mandatory"}, "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    let mut direct = Direct(TcpStream::connect(desktop).expect("the desktop"));
    direct.0.set_nodelay(true).expect("a socket");
    welcome(&mut direct);
    let mut through = Through::open(&bed, &text(&made["id"]));
    welcome(&mut through);
    // In turns: what disturbs the machine disturbs both.
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..KEYS {
        without.push(echo(&mut direct));
        with.push(echo(&mut through));
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[KEYS / 2].as_secs_f64() * 1000.0
    };
    let (without, with) = (median(&mut without), median(&mut with));
    println!("a key and its pixel: {without:.3} ms directly, {with:.3} ms through the relay");
    figures.push(Figure::at_most("a key on a desktop and what it changes, added", with - without, 2.0, "ms"));
}

/// Shows everybody a desktop, and answers keys.
fn desktop() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Ends when the other side is gone.
            thread::spawn(move || show(stream));
        }
    });
    address
}

fn show(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut came = [0; 1024];
    stream.write_all(HELLO)?;
    stream.read_exact(&mut came[..12])?;
    stream.write_all(&[1, 1])?;
    stream.read_exact(&mut came[..1])?;
    stream.write_all(&[0; 4])?;
    stream.read_exact(&mut came[..1])?;
    stream.write_all(&[&SIZE[..], &FORMAT, &[0, 0, 0, 1, b'x']].concat())?;
    loop {
        stream.read_exact(&mut came[..1])?;
        let rest = match came[0] {
            0 => 19,
            2 => {
                stream.read_exact(&mut came[1..4])?;
                usize::from(u16::from_be_bytes([came[2], came[3]])) * 4
            }
            3 => 9,
            4 => 7,
            5 => 5,
            other => return Err(io::Error::other(format!("message {other}"))),
        };
        let kind = came[0];
        stream.read_exact(&mut came[1..=rest])?;
        if kind == 4 && came[1] == 1 {
            let update = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0][..], &came[4..8]].concat();
            stream.write_all(&update)?;
        }
    }
}

/// A way to the desktop.
trait Way {
    fn send(&mut self, bytes: &[u8]);
    fn exact(&mut self, length: usize) -> Vec<u8>;
}

fn welcome(way: &mut impl Way) {
    assert_eq!(way.exact(12), HELLO);
    way.send(HELLO);
    assert_eq!(way.exact(2), [1, 1]);
    way.send(&[1]);
    assert_eq!(way.exact(4), [0; 4]);
    way.send(&[1]);
    let init = way.exact(24);
    assert_eq!(init[..4], SIZE);
    way.exact(usize::from(init[23]));
    // Raw, and a picture of everything.
    way.send(&[2, 0, 0, 1, 0, 0, 0, 0]);
    way.send(&[&[3, 1, 0, 0, 0, 0][..], &SIZE].concat());
}

fn echo(way: &mut impl Way) -> Duration {
    wait::during(PAUSE, || {});
    let started = Instant::now();
    way.send(&[4, 1, 0, 0, 0, 0, 0, b'a']);
    let answer = way.exact(ANSWER);
    let took = started.elapsed();
    assert_eq!(answer[..4], [0, 0, 0, 1], "an update");
    way.send(&[4, 0, 0, 0, 0, 0, 0, b'a']);
    took
}

struct Direct(TcpStream);

impl Way for Direct {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it is taken");
    }

    fn exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("an answer");
        bytes
    }
}

/// As a browser comes.
struct Through {
    socket: WebSocket<TcpStream>,
    came: Vec<u8>,
}

impl Through {
    fn open(bed: &Gateway, connection: &str) -> Self {
        let made = bed.alice().post(&format!("/connections/{connection}/tickets"), json!({}));
        let address = bed.server().address;
        let mut request = format!("ws://{address}/desktop").into_client_request().expect("a request");
        let protocols = format!("sojourn.desktop.v1, ticket.{}", text(&made["ticket"]));
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols.parse().expect("a header"));
        let stream = TcpStream::connect(address).expect("the server");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        let (mut socket, _) = tungstenite::client(request, stream).expect("let in");
        socket.send(Message::text(json!({"type": "start"}).to_string())).expect("it is taken");
        Self { socket, came: Vec::new() }
    }
}

impl Way for Through {
    fn send(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).expect("it is taken");
    }

    fn exact(&mut self, length: usize) -> Vec<u8> {
        while self.came.len() < length {
            match self.socket.read().expect("a message") {
                Message::Binary(bytes) => self.came.extend_from_slice(&bytes),
                Message::Text(word) => {
                    let word: Value = serde_json::from_str(&word).expect("JSON");
                    assert_ne!(word["type"], "end", "{word}");
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(_) => panic!("closed"),
            }
        }
        let rest = self.came.split_off(length);
        std::mem::replace(&mut self.came, rest)
    }
}
