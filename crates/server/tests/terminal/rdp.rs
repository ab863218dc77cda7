//! Desktops against real RDP servers, seen through a client that speaks as the web's does: RDCleanPath on the WebSocket,
//! without a login, one message of RDP in each of the socket's.

use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use ironrdp_connector::{
    BitmapConfig, ClientConnector, ClientConnectorState, Config, ConnectionResult, Credentials, DesktopSize,
    Sequence as _, connection_activation::ConnectionActivationState,
};
use ironrdp_core::{WriteBuf, encode_vec};
use ironrdp_displaycontrol::client::DisplayControlClient;
use ironrdp_dvc::DrdynvcClient;
use ironrdp_graphics::image_processing::PixelFormat;
use ironrdp_pdu::{
    gcc,
    input::{
        MousePdu,
        fast_path::{FastPathInputEvent, KeyboardFlags},
        mouse::PointerFlags,
    },
    rdp::{
        capability_sets::{MajorPlatformType, RailSupportLevel, client_codecs_capabilities},
        client_info::PerformanceFlags,
    },
};
use ironrdp_rdcleanpath::{RDCleanPath, RDCleanPathPdu};
use ironrdp_session::{ActiveStage, ActiveStageBuilder, ActiveStageOutput, image::DecodedImage};
use serde_json::{Value, json};
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, DesktopPolicy, EndReason, Protocol, RecordPolicy, RecordingState},
    id::ConnectionId,
    time::Elapsed,
};
use sojourn_testbed::rdp::{Shadow, Xrdp};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    film::{Colour, close, said},
    house::{House, LIMIT, Persona, Target},
    recorded::{Viewer, colours, events, hex, pass, recording, since},
    ssh::people,
};

const BLUE: Colour = [0x20, 0x40, 0x60];
/// Far from the terminal in the corner.
const FREE: (u16, u16) = (700, 500);
const SIZE: DesktopSize = DesktopSize { width: 800, height: 600 };

/// Recorded, or not opened.
fn policy(desktop: DesktopPolicy) -> ConnectionPolicy {
    ConnectionPolicy { record: RecordPolicy::Mandatory, desktop, ..ConnectionPolicy::default() }
}

fn target<'a>(port: u16, username: &'a str, password: &str, policy: ConnectionPolicy) -> Target<'a> {
    Target {
        protocol: Protocol::Rdp,
        port,
        username,
        auth: AuthKind::Password,
        secret: Some(json!({"password": password})),
        policy,
    }
}

fn config() -> Config {
    // As IronRDP's web client has them.
    let codecs = client_codecs_capabilities(&[]).unwrap();
    Config {
        desktop_size: SIZE,
        monitor_layout: None,
        desktop_scale_factor: 0,
        desktop_physical_size: None,
        desktop_orientation: None,
        device_scale_factor: None,
        monitor_extended_layout: None,
        relative_mouse_input: false,
        enable_tls: true,
        enable_credssp: false,
        enable_standard_rdp_security: false,
        // As a page would that knows nothing, or lies.
        credentials: Credentials::UsernamePassword { username: "mallory".into(), password: "guessed".into() },
        domain: None,
        client_build: 0,
        client_name: "browser".into(),
        keyboard_type: gcc::KeyboardType::IBM_ENHANCED,
        keyboard_subtype: 0,
        keyboard_functional_keys_count: 12,
        keyboard_layout: 0x409,
        connection_type: gcc::ConnectionType::Lan,
        ime_file_name: String::new(),
        bitmap: Some(BitmapConfig { lossy_compression: false, color_depth: 16, codecs }),
        dig_product_id: String::new(),
        client_dir: String::new(),
        alternate_shell: "cmd.exe".into(),
        work_dir: String::new(),
        remote_application_mode: false,
        rail_support_level: RailSupportLevel::empty(),
        platform: MajorPlatformType::UNIX,
        hardware_id: None,
        request_data: None,
        autologon: false,
        enable_audio_playback: false,
        enable_audio_capture: false,
        performance_flags: PerformanceFlags::default(),
        license_cache: None,
        timezone_info: Default::default(),
        compression_type: None,
        enable_server_pointer: false,
        pointer_software_rendering: false,
        multitransport_flags: None,
        support_dyn_vc_gfx_protocol: false,
    }
}

/// A browser's half of `/desktop`.
struct Screen {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    words: Vec<Value>,
    /// Everything that came, for what must not be in it.
    heard: Vec<u8>,
    desktop: Option<Desktop>,
}

struct Desktop {
    stage: ActiveStage,
    image: DecodedImage,
    connected: Connected,
}

struct Connected {
    factory: ironrdp_connector::connection_activation::ConnectionActivationFactory,
}

impl Screen {
    /// Shows a ticket and says how it starts.
    async fn come(house: &House, who: &Persona, connection: ConnectionId, start: Value) -> Self {
        let ticket = house.ticket(who, &format!("/connections/{connection}/tickets"), json!({})).await;
        let mut request = format!("ws://{}/api/v1/desktop", house.address).into_client_request().unwrap();
        let protocols = format!("sojourn.desktop.v1, ticket.{ticket}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut screen = Self { socket, words: Vec::new(), heard: Vec::new(), desktop: None };
        screen.say(start).await;
        screen
    }

    /// A desktop whose picture comes. Returns the session's word too.
    async fn open(house: &House, who: &Persona, connection: ConnectionId) -> (Self, Value) {
        let mut screen = Self::come(house, who, connection, json!({"type": "start"})).await;
        let session = screen.word("session").await;
        tokio::time::timeout(LIMIT, screen.connect()).await.expect("a desktop");
        (screen, session)
    }

    async fn say(&mut self, word: Value) {
        self.socket.send(Message::text(word.to_string())).await.unwrap();
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// Bytes, or nothing where a word came, which is kept.
    async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            match tokio::time::timeout(LIMIT, self.socket.next()).await.expect("something comes") {
                Some(Ok(Message::Binary(bytes))) => {
                    self.heard.extend_from_slice(&bytes);
                    return Some(bytes.to_vec());
                }
                Some(Ok(Message::Text(text))) => {
                    self.heard.extend_from_slice(text.as_bytes());
                    self.words.push(serde_json::from_str(&text).unwrap());
                    return None;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => panic!("closed: {:?}", self.words),
            }
        }
    }

    async fn word(&mut self, kind: &str) -> Value {
        loop {
            if let Some(at) = self.words.iter().position(|word| word["type"] == kind) {
                return self.words.remove(at);
            }
            if let Some(end) = self.words.iter().find(|word| word["type"] == "end") {
                panic!("{kind}: {end}");
            }
            self.read().await;
        }
    }

    async fn bytes(&mut self) -> Vec<u8> {
        loop {
            if let Some(bytes) = self.read().await {
                return bytes;
            }
            if let Some(end) = self.words.iter().find(|word| word["type"] == "end") {
                panic!("{end}");
            }
        }
    }

    /// One message of RDP, which has one of the socket's for itself.
    async fn frame(&mut self) -> Vec<u8> {
        let frame = self.bytes().await;
        let size = ironrdp_pdu::find_size(&frame).unwrap().expect("a whole message");
        assert_eq!(size.length, frame.len(), "one message of RDP in each");
        frame
    }

    async fn connect(&mut self) {
        let address = "127.0.0.1:3389".parse().unwrap();
        let display =
            DrdynvcClient::new().with_dynamic_channel(DisplayControlClient::new(|_| Ok(Vec::new())));
        let mut connector = ClientConnector::new(config(), address).with_static_channel(display);
        let mut out = WriteBuf::new();
        connector.step_no_input(&mut out).unwrap();
        // The destination is the page's to make up.
        let request =
            RDCleanPathPdu::new_request(out.filled().to_vec(), "192.0.2.1:22".into(), "x".into(), None);
        self.send(&request.unwrap().to_der().unwrap()).await;
        let answer = RDCleanPathPdu::from_der(&self.bytes().await).unwrap().into_enum().unwrap();
        let RDCleanPath::Response { x224_connection_response, server_addr, .. } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(server_addr, "");
        out.clear();
        connector.step(x224_connection_response.as_bytes(), None, &mut out).unwrap();
        connector.mark_security_upgrade_as_done();
        assert!(!connector.should_perform_credssp(), "the login is the server's");
        let result = loop {
            out.clear();
            if connector.next_pdu_hint().is_some() {
                let frame = self.frame().await;
                connector.step(&frame, None, &mut out).unwrap();
            } else {
                connector.step_no_input(&mut out).unwrap();
            }
            if !out.filled().is_empty() {
                self.send(out.filled()).await;
            }
            if matches!(connector.state, ClientConnectorState::Connected { .. }) {
                let outcome = connector.state.take_outcome().unwrap();
                break outcome.into_connected().unwrap();
            }
        };
        self.desktop = Some(Desktop::new(result));
    }

    /// One message, with what comes of it.
    async fn message(&mut self) {
        let frame = self.frame().await;
        let action = ironrdp_pdu::find_size(&frame).unwrap().unwrap().action;
        let desktop = self.desktop.as_mut().expect("a desktop");
        let outputs = desktop.stage.process(&mut desktop.image, action, &frame, None).unwrap();
        for output in outputs {
            if let ActiveStageOutput::ResponseFrame(answer) = output {
                if !answer.is_empty() {
                    self.send(&answer).await;
                }
            } else if matches!(output, ActiveStageOutput::DeactivateAll) {
                self.reactivate().await;
            }
        }
    }

    async fn reactivate(&mut self) {
        let mut sequence = self.desktop.as_ref().unwrap().connected.factory.create();
        let mut out = WriteBuf::new();
        loop {
            out.clear();
            if sequence.next_pdu_hint().is_some() {
                let frame = self.frame().await;
                sequence.step(&frame, None, &mut out).unwrap();
            } else {
                sequence.step_no_input(&mut out).unwrap();
            }
            if !out.filled().is_empty() {
                self.send(out.filled()).await;
            }
            if let ConnectionActivationState::Finalized {
                desktop_size,
                share_id,
                static_channel_chunk_size,
                ..
            } = sequence.connection_activation_state()
            {
                let desktop = self.desktop.as_mut().unwrap();
                let (io, user) = (sequence.io_channel_id(), sequence.user_channel_id());
                assert!(desktop.stage.reactivate(
                    io,
                    user,
                    share_id,
                    false,
                    false,
                    static_channel_chunk_size
                ));
                desktop.image =
                    DecodedImage::new(PixelFormat::RgbA32, desktop_size.width, desktop_size.height);
                return;
            }
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

    fn colour(&self, at: (u16, u16)) -> Colour {
        let image = &self.desktop.as_ref().unwrap().image;
        let place = usize::from(at.1) * image.stride() + usize::from(at.0) * image.bytes_per_pixel();
        let pixel = &image.data()[place..];
        [pixel[0], pixel[1], pixel[2]]
    }

    /// As near as 16 bits a pixel come.
    async fn until_colour(&mut self, colour: Colour) {
        self.until(&format!("{colour:?}"), |screen| {
            screen.colour(FREE).iter().zip(colour).all(|(seen, wanted)| seen.abs_diff(wanted) < 9)
        })
        .await;
    }

    async fn input(&mut self, events: &[FastPathInputEvent]) {
        let desktop = self.desktop.as_mut().unwrap();
        let outputs = desktop.stage.process_fastpath_input(&mut desktop.image, events).unwrap();
        for output in outputs {
            if let ActiveStageOutput::ResponseFrame(frame) = output {
                self.send(&frame).await;
            }
        }
    }

    /// Into the terminal.
    async fn point(&mut self) {
        let at = |flags| {
            FastPathInputEvent::MouseEvent(MousePdu {
                flags,
                number_of_wheel_rotation_units: 0,
                x_position: 60,
                y_position: 40,
            })
        };
        let button = PointerFlags::LEFT_BUTTON;
        self.input(&[at(PointerFlags::MOVE), at(button | PointerFlags::DOWN), at(button)]).await;
    }

    async fn scroll(&mut self) {
        let turned = FastPathInputEvent::MouseEvent(MousePdu {
            flags: PointerFlags::VERTICAL_WHEEL,
            number_of_wheel_rotation_units: 120,
            x_position: 61,
            y_position: 40,
        });
        self.input(&[turned]).await;
    }

    /// Digits, `#` and new lines, as an American keyboard has them.
    async fn type_in(&mut self, text: &str) {
        for char in text.chars() {
            let (shift, code) = match char {
                '#' => (true, 4),
                '0' => (false, 11),
                '1'..='9' => (false, u8::try_from(u32::from(char) - u32::from('0') + 1).unwrap()),
                '\n' => (false, 28),
                other => panic!("{other}"),
            };
            let key = |down: bool, code| {
                let flags = if down { KeyboardFlags::empty() } else { KeyboardFlags::RELEASE };
                FastPathInputEvent::KeyboardEvent(flags, code)
            };
            let mut events = vec![key(true, code), key(false, code)];
            if shift {
                events.insert(0, key(true, 42));
                events.push(key(false, 42));
            }
            self.input(&events).await;
        }
    }

    /// What the target and its user are called, and how one gets in, has not been said.
    fn was_told_nothing(&self, secrets: &[&str]) {
        for secret in secrets {
            let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
            for secret in [secret.as_bytes(), &wide] {
                assert!(!self.heard.windows(secret.len()).any(|part| part == secret), "{secret:?}");
            }
        }
    }
}

impl Desktop {
    fn new(result: ConnectionResult) -> Self {
        let DesktopSize { width, height } = result.desktop_size;
        let stage = ActiveStageBuilder {
            static_channels: result.static_channels,
            user_channel_id: result.user_channel_id,
            io_channel_id: result.io_channel_id,
            message_channel_id: result.message_channel_id,
            share_id: result.share_id,
            compression_type: result.compression_type,
            enable_server_pointer: false,
            pointer_software_rendering: false,
        }
        .build();
        let image = DecodedImage::new(PixelFormat::RgbA32, width, height);
        Self { stage, image, connected: Connected { factory: result.activation_factory } }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_with_a_login_of_its_own_is_seen_typed_into_and_ended() {
    let Some(desktop) = Xrdp::start() else { return };
    let house = House::new().await;
    let (admin, user) = people(&house).await;
    let made = target(desktop.port(), desktop.user(), desktop.password(), policy(DesktopPolicy::default()));
    let connection = house.connection(&admin, made).await;
    // Somebody who may not pin comes first.
    let mut screen = Screen::come(&house, &user, connection, json!({"type": "start"})).await;
    assert_eq!(screen.word("end").await["reason"], "host_key");
    let (mut screen, session) = Screen::open(&house, &admin, connection).await;
    let id = session["id"].as_str().unwrap().to_owned();
    screen.until_colour(BLUE).await;
    desktop.paint("#806040");
    screen.until_colour([0x80, 0x60, 0x40]).await;
    desktop.wait_for_terminal();
    screen.point().await;
    screen.type_in("#106010\n").await;
    screen.until_colour([0x10, 0x60, 0x10]).await;
    assert_eq!(desktop.typed(), "#106010\n");
    desktop.paint("#601010");
    screen.until_colour([0x60, 0x10, 0x10]).await;
    screen.was_told_nothing(&[desktop.password(), &desktop.port().to_string(), "desktop.test"]);

    let (_, pinned) = house.get(&admin, &format!("/connections/{connection}")).await;
    assert_eq!(pinned["hostKey"]["fingerprint"], desktop.fingerprint(), "{pinned}");
    let (_, test) = house.post(&admin, &format!("/connections/{connection}/test"), json!({})).await;
    assert_eq!((&test["ok"], &test["pinned"]), (&json!(true), &json!("match")), "{test}");
    let path = format!("/sessions/{id}/terminate");
    let (status, answer) = house.post(&admin, &path, json!({"reason": "lunch"})).await;
    assert_eq!(status, 200, "{answer}");
    let end = screen.word("end").await;
    assert_eq!(end["reason"], "terminated");
    let row = house.ended(&id).await;
    assert_eq!((row.end_reason, row.protocol), (Some(EndReason::Terminated), Protocol::Rdp));
    assert!(row.bytes_in > 0 && row.bytes_out > 10_000, "{row:?}");

    desktop.renew_certificate();
    let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
    let end = screen.word("end").await;
    assert_eq!(end["reason"], "host_key", "{end}");
    assert!(end["detail"].as_str().unwrap().contains("CERTIFICATE HAS CHANGED"), "{end}");
}

/// The colour of one place of a film, frame by frame.
struct Film(Vec<(f64, Colour)>);

impl Film {
    /// `None` where nothing here can tell.
    fn at(file: &Path, (x, y): (u16, u16)) -> Option<Self> {
        let path = file.to_str().unwrap();
        let times = ["-v", "error", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path];
        let times = String::from_utf8(said("ffprobe", &times)?).unwrap();
        let times: Vec<f64> = times.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
        let crop = format!("crop=2:2:{x}:{y}");
        let args =
            ["-v", "error", "-i", path, "-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-vf", &crop];
        let args = [&args[..], &["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]].concat();
        let pictures = said("ffmpeg", &args)?;
        let pictures = pictures.as_chunks::<12>().0;
        assert_eq!(times.len(), pictures.len(), "a time for each frame");
        let frames = times
            .into_iter()
            .zip(pictures)
            .map(|(time, picture)| (time, [picture[0], picture[1], picture[2]]));
        Some(Self(frames.collect()))
    }

    /// What is to be seen at a moment: the last frame before it.
    fn colour(&self, seconds: f64) -> Colour {
        self.0.iter().take_while(|(time, _)| *time <= seconds).last().expect("a frame").1
    }
}

/// What was recorded of a desktop has no gap, and shows these colours at these moments.
async fn was_filmed(house: &House, who: &Persona, id: &str, moments: &[(f64, Colour)]) {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = recording(house, id, folder.path()).await;
    assert_eq!(state, RecordingState::Sealed);
    let (_, verified) = house.get(who, &format!("/sessions/{id}/verify")).await;
    assert_eq!(verified["gaps"], json!([]), "{verified}");
    let Some(film) = Film::at(&file, FREE) else { return };
    for (at, colour) in moments {
        let found = film.colour(*at);
        assert!(close(found, *colour), "{found:?} instead of {colour:?} at {at:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_showed_and_what_was_done_is_recorded_and_looked_on() {
    let Some(desktop) = Xrdp::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let made = target(desktop.port(), desktop.user(), desktop.password(), policy(DesktopPolicy::default()));
    let connection = house.connection(&admin, made).await;
    let (mut screen, session) = Screen::open(&house, &admin, connection).await;
    assert_eq!(session["recorded"], true);
    let id = session["id"].as_str().unwrap().to_owned();
    let begun = house.row(&id).await.started_at;
    screen.until_colour(BLUE).await;
    desktop.wait_for_terminal();
    screen.point().await;
    screen.scroll().await;
    screen.type_in("#106010\n").await;
    screen.until_colour([0x10, 0x60, 0x10]).await;
    let mut viewer = Viewer::come(&house, &admin, &id).await;
    let mut moments = Vec::new();
    for colour in colours(6) {
        desktop.paint(&hex(colour));
        screen.until_colour(colour).await;
        let seen = |viewer: &Viewer| close(viewer.at((FREE.0.into(), FREE.1.into())), colour);
        viewer.until(&hex(colour), seen).await;
        // In the film, and before its next colour.
        pass(300).await;
        moments.push((since(begun), colour));
        pass(200).await;
    }
    screen.say(json!({"type": "close"})).await;
    assert_eq!(house.ended(&id).await.end_reason, Some(EndReason::Closed));
    was_filmed(&house, &admin, &id, &moments).await;

    let did = events(&house, &admin, &id).await;
    let count = |kind: &str| did.iter().filter(|event| event["event_type"] == kind).count();
    // Shift is a key, too.
    assert_eq!((count("key"), count("click"), count("scroll")), (9, 1, 1), "{did:?}");
    assert!(count("move") >= 1, "{did:?}");
    assert!(did.iter().all(|event| event.as_object().unwrap().len() == 2), "kinds and times alone: {did:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_nla_is_the_servers_and_who_looks_changes_nothing() {
    let Some(desktop) = Shadow::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let made = |policy| target(desktop.port(), Shadow::USER, desktop.password(), policy);
    let free = policy(DesktopPolicy::default());
    let connection = house.connection(&admin, made(free.clone())).await;
    let (mut screen, session) = Screen::open(&house, &admin, connection).await;
    let id = session["id"].as_str().unwrap();
    let begun = house.row(id).await.started_at;
    screen.until_colour(BLUE).await;
    pass(300).await;
    let mut moments = vec![(since(begun), BLUE)];
    screen.point().await;
    screen.type_in("#106010\n").await;
    screen.until_colour([0x10, 0x60, 0x10]).await;
    assert_eq!(desktop.typed(), "#106010\n");
    pass(300).await;
    moments.push((since(begun), [0x10, 0x60, 0x10]));
    screen.was_told_nothing(&[desktop.password(), Shadow::USER]);
    screen.say(json!({"type": "close"})).await;
    assert_eq!(screen.word("end").await["reason"], "closed");
    assert_eq!(house.ended(id).await.end_reason, Some(EndReason::Closed));
    was_filmed(&house, &admin, id, &moments).await;
    let (_, test) = house.post(&admin, &format!("/connections/{connection}/test"), json!({})).await;
    assert_eq!((&test["ok"], &test["login"]), (&json!(true), &json!("ok")), "{test}");

    let looks = ConnectionPolicy {
        idle_limit_seconds: Some(Elapsed::from_secs(4)),
        ..policy(DesktopPolicy { view_only: true, ..DesktopPolicy::default() })
    };
    let connection = house.connection(&admin, made(looks)).await;
    let (mut screen, session) = Screen::open(&house, &admin, connection).await;
    assert_eq!((&session["viewOnly"], &session["allowPaste"]), (&json!(true), &json!(false)));
    screen.until_colour([0x10, 0x60, 0x10]).await;
    screen.point().await;
    screen.type_in("#601010\n").await;
    desktop.paint("#102030");
    screen.until_colour([0x10, 0x20, 0x30]).await;
    let ended = async {
        loop {
            if let Some(at) = screen.words.iter().position(|word| word["type"] == "end") {
                return screen.words.remove(at);
            }
            screen.read().await;
        }
    };
    let ended = tokio::time::timeout(LIMIT, ended).await.expect("an end");
    assert_eq!(ended["reason"], "idle", "{ended}");
    assert_eq!(desktop.typed(), "#106010\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_and_the_session_has_ended() {
    let Some(desktop) = Shadow::start() else { return };
    let house = House::new().await;
    let (admin, _) = people(&house).await;
    let free = policy(DesktopPolicy::default());
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_rdp = echo.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            use tokio::io::AsyncWriteExt as _;
            // Who comes has gone, perhaps.
            let _ = stream.write_all(b"220 mail.test ESMTP\r\n").await;
        }
    });
    let nobody = sojourn_testbed::free_port();
    let cases = [
        (
            target(desktop.port(), Shadow::USER, "wrong", free.clone()),
            "login_refused",
            "the name or the password",
        ),
        (
            target(desktop.port(), "", desktop.password(), free.clone()),
            "login_refused",
            "a name and a password",
        ),
        (target(nobody, Shadow::USER, "x", free.clone()), "unreachable", "nothing listens"),
        (target(no_rdp, Shadow::USER, "x", free.clone()), "unreachable", "does not speak RDP"),
    ];
    for (target, reason, detail) in cases {
        let connection = house.connection(&admin, target).await;
        let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
        let end = screen.word("end").await;
        assert_eq!(end["reason"], reason, "{end}");
        assert!(end["detail"].as_str().unwrap().contains(detail), "{end}");
        let (_, sessions) = house.get(&admin, &format!("/sessions?connectionId={connection}")).await;
        let row = &sessions["sessions"][0];
        assert_eq!((&row["endReason"], &row["protocol"]), (&json!(reason), &json!("rdp")), "{sessions}");
        assert!(!row["endedAt"].is_null(), "{sessions}");
    }

    // A page that is none of ours.
    let connection =
        house.connection(&admin, target(desktop.port(), Shadow::USER, desktop.password(), free)).await;
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x30; 20_000][..]] {
        let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
        screen.word("session").await;
        screen.send(said).await;
        let end = screen.word("end").await;
        assert_eq!(end["reason"], "denied", "{end}");
        assert!(end["detail"].as_str().unwrap().contains("RDCleanPath"), "{end}");
    }
    // Keys before anything else.
    let mut screen = Screen::come(&house, &admin, connection, json!({"type": "start"})).await;
    screen.word("session").await;
    let mut out = WriteBuf::new();
    let mut connector = ClientConnector::new(config(), "127.0.0.1:1".parse().unwrap());
    connector.step_no_input(&mut out).unwrap();
    let request = RDCleanPathPdu::new_request(out.filled().to_vec(), "x".into(), "x".into(), None).unwrap();
    screen.send(&request.to_der().unwrap()).await;
    screen.bytes().await;
    let key = FastPathInputEvent::KeyboardEvent(KeyboardFlags::empty(), 30);
    let key = ironrdp_pdu::input::fast_path::FastPathInput::single(key);
    screen.send(&encode_vec(&key).unwrap()).await;
    assert_eq!(screen.word("end").await["reason"], "denied");
}
