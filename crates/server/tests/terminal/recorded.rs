//! What a desktop showed is recorded as it was, whatever the browser does, and seen by those who look on.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flate2::{Decompress, FlushDecompress};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use sojourn_domain::{
    access::{ConnectionPolicy, DesktopPolicy, EndReason, RecordPolicy, RecordingState},
    time::{Clock as _, Timestamp},
};
use sojourn_store::SystemClock;
use sojourn_testbed::{
    process::{Installation, Server},
    vnc::{Login, Vnc},
    wait,
};

use crate::{
    film::{Colour, close, pictures, said, shown, sound},
    house::{House, LIMIT, Persona},
    ssh::people,
    vnc::{Screen, policy, target},
};

const FREE: (usize, usize) = (700, 500);
const CURSOR: i32 = -239;
const RESIZE: i32 = -308;

pub(crate) fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Colours that are far from each other.
pub(crate) fn colours(count: u8) -> impl Iterator<Item = Colour> {
    (0..count).map(|step| {
        let [low, high] = [30 + 12 * (step / 6), 220 - 12 * (step / 6)];
        [
            [high, low, low],
            [low, high, low],
            [low, low, high],
            [high, high, low],
            [low, high, high],
            [high, low, high],
        ][usize::from(step % 6)]
    })
}

/// Somebody who looks on.
pub(crate) struct Viewer {
    screen: Screen,
    inflate: Decompress,
    pub(crate) size: (usize, usize),
    picture: Vec<Colour>,
}

impl Viewer {
    pub(crate) async fn come(house: &House, who: &Persona, session: &str) -> Self {
        let path = format!("/sessions/{session}/tickets");
        let ticket = house.ticket(who, &path, json!({"purpose": "watch"})).await;
        let screen = Screen::at(house.address, "/desktop", "sojourn.desktop.v1", &ticket).await.unwrap();
        let mut viewer = Self { screen, inflate: Decompress::new(true), size: (0, 0), picture: Vec::new() };
        viewer.screen.say(json!({"type": "start"})).await;
        let word = viewer.screen.word("session").await;
        assert_eq!((&word["id"], &word["viewOnly"]), (&json!(session), &json!(true)));
        assert_eq!(viewer.screen.exact(12).await, b"RFB 003.008\n");
        viewer.screen.send(b"RFB 003.008\n").await;
        assert_eq!(viewer.screen.exact(2).await, [1, 1]);
        viewer.screen.send(&[1]).await;
        assert_eq!(viewer.screen.exact(4).await, [0; 4]);
        viewer.screen.send(&[1]).await;
        let init = viewer.screen.exact(24).await;
        let number = |at: usize| usize::from(u16::from_be_bytes([init[at], init[at + 1]]));
        viewer.resize(number(0), number(2));
        viewer.screen.exact(number(22)).await;
        let wishes = [&[2, 0, 0, 2][..], &6_i32.to_be_bytes(), &(-223_i32).to_be_bytes()].concat();
        viewer.screen.send(&wishes).await;
        viewer.ask(false).await;
        viewer
    }

    fn resize(&mut self, width: usize, height: usize) {
        self.size = (width, height);
        self.picture = vec![[0; 3]; width * height];
    }

    async fn ask(&mut self, more: bool) {
        self.screen.send(&[3, u8::from(more), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).await;
    }

    /// One update.
    async fn update(&mut self) {
        let head = self.screen.exact(4).await;
        assert_eq!(head[..2], [0, 0]);
        for _ in 0..head[3] {
            let head = self.screen.exact(12).await;
            let number = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
            let (x, y, width, height) = (number(0), number(2), number(4), number(6));
            match i32::from_be_bytes([head[8], head[9], head[10], head[11]]) {
                -223 => self.resize(width, height),
                6 => {
                    let length = self.screen.exact(4).await;
                    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
                    let data = self.screen.exact(usize::try_from(length).unwrap()).await;
                    let mut plain = Vec::with_capacity(width * height * 4 + 64);
                    self.inflate.decompress_vec(&data, &mut plain, FlushDecompress::Sync).unwrap();
                    assert_eq!(plain.len(), width * height * 4);
                    for (at, pixel) in plain.chunks(4).enumerate() {
                        let place = (y + at / width) * self.size.0 + x + at % width;
                        self.picture[place] = [pixel[0], pixel[1], pixel[2]];
                    }
                }
                other => panic!("encoding {other}"),
            }
        }
        self.ask(true).await;
    }

    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let seen = async {
            while !done(self) {
                self.update().await;
            }
        };
        tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("in vain for {what}"));
    }

    pub(crate) fn at(&self, (x, y): (usize, usize)) -> Colour {
        self.picture[y * self.size.0 + x]
    }

    async fn until_colour(&mut self, colour: Colour) {
        self.until(&hex(colour), |viewer| viewer.at(FREE) == colour).await;
    }
}

/// A browser that takes everything and shows nothing. It asks for no picture.
fn take_all(mut screen: Screen) -> tokio::task::JoinHandle<Screen> {
    tokio::spawn(async move {
        while let Some(word) = screen.read().await {
            screen.came.clear();
            if word["type"] == "end" {
                break;
            }
        }
        screen
    })
}

/// Seconds since a session began.
pub(crate) fn since(begun: Timestamp) -> f64 {
    let micros = SystemClock.now().as_micros() - begun.as_micros();
    Duration::from_micros(u64::try_from(micros).unwrap()).as_secs_f64()
}

/// Time that belongs to what is tested: films have moments.
pub(crate) async fn pass(ms: u64) {
    tokio::task::spawn_blocking(move || wait::during(Duration::from_millis(ms), || {})).await.unwrap();
}

/// The recording, when it is sealed.
pub(crate) async fn recording(house: &House, id: &str, folder: &Path) -> (PathBuf, RecordingState) {
    let id = id.parse().unwrap();
    let until = Instant::now() + LIMIT;
    loop {
        let reader = house.state.access.recordings.open_reader(id).await.unwrap().unwrap();
        if reader.state != RecordingState::Live {
            let path = folder.join(format!("{id}.webm"));
            std::fs::write(&path, reader.bytes(0..reader.size).await.unwrap()).unwrap();
            return (path, reader.state);
        }
        assert!(Instant::now() < until, "never sealed");
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn events(house: &House, who: &Persona, id: &str) -> Vec<Value> {
    let (status, answer) = house.get(who, &format!("/sessions/{id}/recording/events")).await;
    assert_eq!(status, 200, "{answer}");
    answer["events"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_showed_is_recorded_whatever_the_browser_asks_for() {
    let Some(mut desktop) = Vnc::start(Login::Password) else { return };
    desktop.listen_for_colours();
    let house = House::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (admin, user) = people(&house).await;
    let mandatory = ConnectionPolicy { record: RecordPolicy::Mandatory, ..policy(DesktopPolicy::default()) };
    let made = target(desktop.port(), Some(desktop.password()), mandatory);
    let connection = house.connection(&admin, made).await;
    // Plain, Hextile, ZRLE.
    for (round, encodings) in [vec![0], vec![5, CURSOR], vec![16, 1, CURSOR, RESIZE]].into_iter().enumerate()
    {
        let mut screen = Screen::come(&house, &user, connection, json!({"type": "start"})).await;
        let session = screen.word("session").await;
        assert_eq!(session["recorded"], true);
        let id = session["id"].as_str().unwrap().to_owned();
        let begun = house.row(&id).await.started_at;
        screen.welcome_with(&encodings).await;
        // A click into the terminal, a turn of the wheel, and keys.
        for bytes in [
            [5, 0, 0, 60, 0, 40],
            [5, 1, 0, 60, 0, 40],
            [5, 0, 0, 60, 0, 40],
            [5, 8, 0, 61, 0, 40],
            [5, 0, 0, 61, 0, 40],
        ] {
            screen.send(&bytes).await;
        }
        let first = [0x10, 0x60, 0x10 + u8::try_from(round).unwrap()];
        screen.type_in(&format!("{}\n", hex(first))).await;
        let browser = take_all(screen);
        let mut viewer = Viewer::come(&house, &admin, &id).await;
        viewer.until_colour(first).await;
        let (_, live) = house.get(&admin, "/sessions/live").await;
        assert_eq!(live["sessions"][0]["viewers"][0]["mode"], "watch", "{live}");
        let mut moments = Vec::new();
        for colour in colours(10) {
            desktop.paint(&hex(colour));
            viewer.until_colour(colour).await;
            // In the film, and before its next colour.
            pass(300).await;
            moments.push((since(begun), colour));
            pass(200).await;
        }
        let path = format!("/sessions/{id}/terminate");
        let (status, answer) = house.post(&admin, &path, json!({"reason": "lunch"})).await;
        assert_eq!(status, 200, "{answer}");
        browser.await.unwrap();
        assert_eq!(viewer.screen.word("end").await["reason"], "terminated");
        let row = house.ended(&id).await;
        assert_eq!(row.end_reason, Some(EndReason::Terminated));

        let (file, state) = recording(&house, &id, folder.path()).await;
        assert_eq!(state, RecordingState::Sealed);
        assert!(house.state.access.recordings.verify(id.parse().unwrap()).await.unwrap().ok());
        let (_, verified) = house.get(&user, &format!("/sessions/{id}/verify")).await;
        assert_eq!(verified["gaps"], json!([]), "{verified}");
        for (at, colour) in moments {
            let Some(found) = shown(&file, at, FREE) else { return };
            assert!(close(found, colour), "{encodings:?}: {found:?} instead of {colour:?} at {at:?}");
        }
        let session = row.ended_at.unwrap().since(row.started_at).as_micros() as f64 / 1e6;
        sound(&file, session - 1.0..=session + 0.01);

        let did = events(&house, &user, &id).await;
        let count = |kind: &str| did.iter().filter(|event| event["event_type"] == kind).count();
        assert_eq!((count("key"), count("click"), count("scroll")), (8, 1, 1), "{did:?}");
        assert!(count("move") >= 1, "{did:?}");
        assert!(
            did.iter().all(|event| event.as_object().unwrap().len() == 2),
            "kinds and times alone: {did:?}"
        );
        assert!(did.windows(2).all(|pair| pair[0]["elapsed"].as_i64() <= pair[1]["elapsed"].as_i64()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_size_is_recorded_and_shown() {
    let Some(desktop) = Vnc::start(Login::None) else { return };
    let house = House::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (admin, _) = people(&house).await;
    let connection =
        house.connection(&admin, target(desktop.port(), None, policy(DesktopPolicy::default()))).await;
    let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
    let id = screen.word("session").await["id"].as_str().unwrap().to_owned();
    screen.welcome_with(&[16, 1, CURSOR, RESIZE]).await;
    let mut viewer = Viewer::come(&house, &admin, &id).await;
    viewer.until_colour([0x20, 0x40, 0x60]).await;
    // One screen of 1024 by 768.
    screen.send(&[251, 0, 4, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0, 0, 0, 0]).await;
    viewer.until("the new size", |viewer| viewer.size == (1024, 768)).await;
    desktop.paint("#604020");
    viewer.until("all of it", |viewer| viewer.at((1000, 750)) == [0x60, 0x40, 0x20]).await;
    pass(300).await;
    screen.say(json!({"type": "close"})).await;
    screen.came.clear();
    let row = house.ended(&id).await;
    assert_eq!(row.end_reason, Some(EndReason::Closed));
    let (file, state) = recording(&house, &id, folder.path()).await;
    assert_eq!(state, RecordingState::Sealed);
    let args = [
        "-v",
        "error",
        "-show_entries",
        "frame=width,height,key_frame",
        "-of",
        "csv=p=0",
        file.to_str().unwrap(),
    ];
    let Some(frames) = said("ffprobe", &args) else { return };
    let frames = String::from_utf8(frames).unwrap();
    assert!(frames.contains("1,800,600") && frames.contains("1,1024,768"), "{frames}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_told_apart_where_the_policy_asks_for_it() {
    let Some(desktop) = Vnc::start(Login::None) else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    for (record_input, record, expected) in [
        (true, RecordPolicy::Mandatory, vec![json!("h"), json!("#"), json!("Enter")]),
        (true, RecordPolicy::Off, vec![Value::Null; 3]),
        (false, RecordPolicy::Mandatory, vec![Value::Null; 3]),
    ] {
        let made = ConnectionPolicy { record, record_input, ..policy(DesktopPolicy::default()) };
        let connection = house.connection(&admin, target(desktop.port(), None, made)).await;
        let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
        let id = screen.word("session").await["id"].as_str().unwrap().to_owned();
        screen.welcome_with(&[16, CURSOR]).await;
        screen.type_in("h#\n").await;
        let until = Instant::now() + LIMIT;
        let did = loop {
            let did = events(&house, &admin, &id).await;
            if did.len() >= 3 {
                break did;
            }
            assert!(Instant::now() < until, "keys never arrive: {did:?}");
            tokio::task::yield_now().await;
        };
        screen.say(json!({"type": "close"})).await;
        screen.came.clear();
        house.ended(&id).await;
        let keys: Vec<Value> = did.iter().map(|event| event["key"].clone()).collect();
        assert_eq!(keys, expected, "{did:?}");
        let members = if expected[0].is_null() { 2 } else { 3 };
        assert!(did.iter().all(|event| event.as_object().unwrap().len() == members), "{did:?}");
    }
}

/// A target of this size that lets everybody in, sends its updates at once, and closes where it is told to.
async fn scripted((width, height): (u16, u16), updates: Vec<u8>, closes: bool) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let updates = updates.clone();
            tokio::spawn(async move {
                stream.write_all(b"RFB 003.008\n").await.unwrap();
                let mut came = [0; 1024];
                stream.read_exact(&mut came[..12]).await.unwrap();
                stream.write_all(&[1, 1]).await.unwrap();
                stream.read_exact(&mut came[..1]).await.unwrap();
                stream.write_all(&[0; 4]).await.unwrap();
                stream.read_exact(&mut came[..1]).await.unwrap();
                let format = sojourn_gateway::protocols::vnc::pixels::FORMAT;
                let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
                let init = [&size[..], &format, &[0, 0, 0, 1, b'x']].concat();
                stream.write_all(&init).await.unwrap();
                // Somebody is there who wants pictures.
                assert!(stream.read(&mut came).await.unwrap() > 0);
                stream.write_all(&updates).await.unwrap();
                if closes {
                    stream.shutdown().await.unwrap();
                }
                while matches!(stream.read(&mut came).await, Ok(length) if length > 0) {}
            });
        }
    });
    port
}

/// A session on a scripted target, up to the browser's wish for ZRLE.
async fn scripted_session(house: &House, who: &Persona, port: u16, record: RecordPolicy) -> (Screen, String) {
    let made = ConnectionPolicy { record, ..policy(DesktopPolicy::default()) };
    let connection = house.connection(who, target(port, None, made)).await;
    let mut screen = Screen::come(house, who, connection, json!({"type": "start"})).await;
    let id = screen.word("session").await["id"].as_str().unwrap().to_owned();
    for send in [&b"RFB 003.008\n"[..], &[1], &[1]] {
        screen.send(send).await;
    }
    screen.send(&[2, 0, 0, 1, 0, 0, 0, 16]).await;
    (screen, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_right_before_the_end_is_in_the_film() {
    const SIZE: (u16, u16) = (1024, 768);
    // Few bytes, and much to paint: the target is gone long before it is.
    let all: Vec<Colour> = colours(24).collect();
    let mut zlib = flate2::Compress::new(flate2::Compression::fast(), true);
    let mut updates = Vec::new();
    for [r, g, b] in &all {
        // Tiles of one colour.
        let tiles = [1, *r, *g, *b].repeat(16 * 12);
        let mut data = Vec::with_capacity(tiles.len() + 1024);
        zlib.compress_vec(&tiles, &mut data, flate2::FlushCompress::Sync).unwrap();
        updates.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 3, 0, 0, 0, 0, 16]);
        updates.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
        updates.extend_from_slice(&data);
    }
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let port = scripted(SIZE, updates, true).await;
    let (screen, id) = scripted_session(&house, &admin, port, RecordPolicy::Mandatory).await;
    take_all(screen).await.unwrap();
    house.ended(&id).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = recording(&house, &id, folder.path()).await;
    assert_eq!(state, RecordingState::Sealed);
    let Some(pictures) = pictures(&file) else { return };
    let last = pictures.rchunks_exact(3 * 1024 * 768).next().unwrap();
    let (found, wanted) = ([last[0], last[1], last[2]], all[all.len() - 1]);
    assert!(close(found, wanted), "{found:?} instead of {wanted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_cannot_be_read_ends_the_recording_and_where_it_must_the_session() {
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    for record in [RecordPolicy::BestEffort, RecordPolicy::Mandatory] {
        // A picture that is one, and then one that is none.
        let good = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0][..], &[1, 2, 3, 0]].concat();
        let bad = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0, 9, 0, 0, 0, 16, 0, 0, 0, 4][..], &[9; 4]].concat();
        let port = scripted((64, 48), [good, bad].concat(), false).await;
        let (mut screen, id) = scripted_session(&house, &admin, port, record).await;
        match record {
            RecordPolicy::Mandatory => {
                let end = screen.word("end").await;
                assert_eq!(end["reason"], "recording_failed", "{end}");
                assert!(end["detail"].as_str().unwrap().contains("a picture that cannot be read"), "{end}");
            }
            RecordPolicy::BestEffort | RecordPolicy::Off => {
                // It goes on, and what it shows arrives: handshake, then both pictures.
                while screen.came.len() < 20 + 24 {
                    screen.read().await.expect("it goes on");
                }
                screen.say(json!({"type": "close"})).await;
                screen.came.clear();
                assert_eq!(screen.word("end").await["reason"], "closed");
            }
        }
        house.ended(&id).await;
        let folder = tempfile::tempdir().unwrap();
        let (_, state) = recording(&house, &id, folder.path()).await;
        assert_eq!(state, RecordingState::Incomplete);
        let (_, verified) = house.get(&admin, &format!("/sessions/{id}/verify")).await;
        let gap = &verified["gaps"][0];
        assert_eq!(gap["reason"], "recorder_failed", "{verified}");
        assert!(gap["message"].as_str().unwrap().contains("a picture that cannot be read"), "{verified}");
    }
}

/// A session in the browser on a server's one connection, which asks for no picture.
async fn desktop_session(server: &Server, token: &str, connection: &str) -> (Screen, String) {
    let client = server.client(token);
    let path = format!("/connections/{connection}/tickets");
    let ticket = tokio::task::block_in_place(|| client.post(&path, json!({})));
    let ticket = ticket["ticket"].as_str().unwrap();
    let mut screen = Screen::at(server.address, "/desktop", "sojourn.desktop.v1", ticket).await.unwrap();
    screen.say(json!({"type": "start"})).await;
    let id = screen.word("session").await["id"].as_str().unwrap().to_owned();
    screen.welcome_with(&[16, CURSOR]).await;
    (screen, id)
}

/// A session's row when its recording is done, and the recording in a file.
async fn recorded_by(server: &Server, token: &str, id: &str, folder: &Path) -> (Value, PathBuf) {
    let client = server.client(token);
    let sealed = tokio::task::block_in_place(|| {
        wait::until("the recording to be sealed", LIMIT, || {
            let session = client.get(&format!("/sessions/{id}"));
            (session["recording"] != "live").then_some(session)
        })
    });
    let url = format!("http://{}/api/v1/sessions/{id}/recording", server.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let bytes = client.get(url).bearer_auth(token).send().await.unwrap().bytes().await.unwrap();
    let file = folder.join(format!("{id}.webm"));
    std::fs::write(&file, bytes).unwrap();
    (sealed, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_a_recording_that_plays() {
    let Some(desktop) = Vnc::start(Login::Password) else { return };
    let installation = Installation::without_sources();
    let token = installation.token("alice", "admin");
    let folder = tempfile::tempdir().unwrap();
    let (server, connection) = tokio::task::block_in_place(|| {
        let server = installation.serve();
        let body = json!({
            "name": "target-desk", "protocol": "vnc", "host": "127.0.0.1", "port": desktop.port(),
            "password": desktop.password(), "policy": {"record": "mandatory"},
        });
        let made = server.client(&token).post("/connections", body);
        (server, made["id"].as_str().unwrap().to_owned())
    });
    let (screen, id) = desktop_session(&server, &token, &connection).await;
    let begun = tokio::task::block_in_place(|| server.client(&token).get(&format!("/sessions/{id}")));
    let begun = Timestamp::parse(begun["startedAt"].as_str().unwrap(), &TimeZone::UTC).unwrap();
    let browser = take_all(screen);
    let mut moments = Vec::new();
    for colour in colours(10) {
        desktop.paint(&hex(colour));
        // The browser asks for nothing, and the server only once a second.
        pass(2000).await;
        moments.push((since(begun) - 0.2, colour));
    }
    // A film of a server that died ends with its last picture. What was shown a second before is durable.
    desktop.paint("#204060");
    pass(1500).await;
    let died = since(begun);
    let server = tokio::task::block_in_place(|| {
        server.kill();
        installation.serve()
    });
    let (sealed, file) = recorded_by(&server, &token, &id, folder.path()).await;
    assert_eq!((&sealed["recording"], &sealed["endReason"]), (&json!("incomplete"), &json!("server_died")));
    let verified =
        tokio::task::block_in_place(|| server.client(&token).get(&format!("/sessions/{id}/verify")));
    assert_eq!(verified["gaps"][0]["reason"], "crash", "{verified}");
    drop(browser);
    if sound(&file, died - 3.0..=died + 0.2).is_none() {
        return;
    }
    for (at, colour) in moments {
        let Some(found) = shown(&file, at, FREE) else { return };
        assert!(close(found, colour), "{found:?} instead of {colour:?} at {at:?}");
    }

    // One that ends in order, on a desktop that stands still.
    let (mut screen, whole) = desktop_session(&server, &token, &connection).await;
    pass(3000).await;
    screen.say(json!({"type": "close"})).await;
    screen.came.clear();
    screen.word("end").await;
    let (sealed, file) = recorded_by(&server, &token, &whole, folder.path()).await;
    assert_eq!(sealed["recording"], "sealed");
    let moment = |name: &str| Timestamp::parse(sealed[name].as_str().unwrap(), &TimeZone::UTC).unwrap();
    let lasted = moment("endedAt").since(moment("startedAt")).as_micros() as f64 / 1e6;
    assert!(lasted > 3.0, "{lasted}");
    sound(&file, lasted - 1.0..=lasted + 0.01);
    tokio::task::block_in_place(|| {
        let said = |id: &str| installation.cli(&["verify", id]);
        assert_eq!(said(&whole), format!("{whole} sealed: complete and unaltered\n"));
        let gap = "unaltered, with a gap: the server died; at most the last second before it is missing";
        assert_eq!(said(&id), format!("{id} incomplete: {gap}\n"));
    });
}
