//! Desktop sessions that the user's own client records: the seed's examples as they are written, the contract's
//! rules, and the traps that another product fell into.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, Protocol, RecordPolicy, RecordingState},
    connections::ConnectionOptions,
    id::{AccessSessionId, ConnectionId, UserId},
    policy::Visibility,
};
use sojourn_store::{Entropy, audit::By, connections::NewConnection, recordings::VerificationStatus};

use crate::house::{Answer, As, House};

const MOUNTS: [&str; 2] = ["", "/api/v1"];
/// What a browser recorded: no duration, no cues.
const BROWSER: &[u8] = include_bytes!("../../../domain/tests/desktop/browser-chunks-without-cues.webm");

async fn connection(house: &House, owner: UserId, protocol: Protocol, record: RecordPolicy) -> ConnectionId {
    let id: ConnectionId = Entropy.id(house.now());
    let new = NewConnection {
        id,
        name: format!("{protocol} {}", &id.to_string()[20..]).parse().unwrap(),
        protocol,
        host: "192.0.2.1".parse().unwrap(),
        port: protocol.default_port(),
        username: String::new(),
        auth: AuthKind::None,
        secret: None,
        host_key: None,
        owner,
        folder: String::new(),
        tags: Vec::new(),
        notes: String::new(),
        policy: ConnectionPolicy { record, ..ConnectionPolicy::default() },
        options: ConnectionOptions::default(),
        grants: Vec::new(),
    };
    house.store.connection_create(&new, &By::system(house.now())).await.unwrap();
    id
}

struct Desk {
    house: House,
    alice: UserId,
    token: As,
    connection: ConnectionId,
}

impl Desk {
    async fn new() -> Self {
        Self::with(RecordPolicy::Mandatory, |_| {}).await
    }

    async fn with(record: RecordPolicy, settle: impl FnOnce(&mut sojourn_server::config::Settings)) -> Self {
        let house = House::with(settle).await;
        let alice = house.user("alice", "user").await;
        let token = house.token(alice, None).await;
        let connection = connection(&house, alice, Protocol::Rdp, record).await;
        Self { house, alice, token, connection }
    }

    async fn begin(&self) -> AccessSessionId {
        let body = json!({"connectionId": self.connection});
        let answer = self.house.post("/sessions/rdp-session", body).r#as(&self.token).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["sessionId"].as_str().unwrap().parse().unwrap()
    }

    async fn post(&self, id: AccessSessionId, what: &str, body: &[u8]) -> Answer {
        let path = format!("/sessions/{id}/recording/{what}");
        self.house.call(axum::http::Method::POST, &path).r#as(&self.token).body(body.to_vec()).await
    }

    async fn events(&self, id: AccessSessionId, body: Value) -> Answer {
        self.house.post(&format!("/sessions/{id}/recording/events"), body).r#as(&self.token).await
    }

    async fn session(&self, id: AccessSessionId) -> Value {
        self.house.get(&format!("/sessions/{id}")).r#as(&self.token).await.json()
    }

    /// Records what a browser did, in chunks of which none ends with a frame.
    async fn recorded(&self) -> AccessSessionId {
        let id = self.begin().await;
        for chunk in BROWSER.chunks(100_003) {
            let answer = self.post(id, "chunk", chunk).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{\"ok\":true}"));
        }
        let answer = self.post(id, "finalize", b"").await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{\"ok\":true}"));
        id
    }
}

fn conflict(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, code), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_s_examples_as_they_are_written() {
    for mount in MOUNTS {
        let desk = Desk::new().await;
        let (house, token) = (&desk.house, &desk.token);
        let body = json!({"connectionId": desk.connection});
        let begun = house.post(&format!("{mount}/sessions/rdp-session"), body).r#as(token).await;
        assert_eq!(begun.status, StatusCode::OK, "{}", begun.text);
        let id = begun.json()["sessionId"].as_str().unwrap().to_owned();
        assert_eq!(begun.text, format!("{{\"sessionId\":\"{id}\",\"shouldRecord\":true}}"));

        let send = async |what: &str, body: Vec<u8>| {
            let path = format!("{mount}/sessions/{id}/recording/{what}");
            house.call(axum::http::Method::POST, &path).r#as(token).body(body).await
        };
        let answer = send("chunk", BROWSER.to_vec()).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{\"ok\":true}"));
        let batch = r#"[
{ "elapsed": 1500, "type": "click" },
{ "elapsed": 3200, "type": "key" },
{ "elapsed": 4100, "type": "move" }
]"#;
        let path = format!("{mount}/sessions/{id}/recording/events");
        let answer = house
            .call(axum::http::Method::POST, &path)
            .r#as(token)
            .header("content-type", "application/json")
            .body(batch)
            .await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{\"ok\":true}"));
        let answer = house.get(&path).r#as(token).await;
        assert_eq!(
            answer.text,
            "{\"events\":[{\"elapsed\":1500,\"event_type\":\"click\"},\
             {\"elapsed\":3200,\"event_type\":\"key\"},{\"elapsed\":4100,\"event_type\":\"move\"}]}"
        );
        let answer = send("finalize", Vec::new()).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{\"ok\":true}"));

        let list = house.get(&format!("{mount}/sessions")).r#as(token).await.json();
        let listed = &list["sessions"][0];
        let recording = house.get(&format!("{mount}/sessions/{id}/recording")).r#as(token).await;
        assert_eq!(recording.header("content-type"), "video/webm");
        let expected = json!({
            "id": id, "protocol": "rdp", "purpose": "desktop", "hasRecording": true, "live": false,
            "recording": "sealed", "recordingSource": "client-supplied", "endReason": "closed", "username": "alice",
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&listed[key], value, "{key}");
        }
        assert_eq!(listed["fileSize"].to_string(), recording.header("content-length"));
        assert!(listed["endedAt"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_recorded_can_be_sought_in_and_is_proved() {
    let desk = Desk::new().await;
    let id = desk.recorded().await;
    let path = format!("/sessions/{id}/recording");
    let mut expected = Vec::new();
    let plan = sojourn_domain::webm::remux(BROWSER, &mut expected).unwrap();
    assert_eq!(plan.duration_ms(), 20_000);
    let get = async |range: String| {
        let answer = desk.house.get(&path).r#as(&desk.token).header("range", &range).bytes().await;
        assert_eq!(answer.0, StatusCode::PARTIAL_CONTENT, "{range}");
        answer.1
    };
    let size = expected.len();
    assert_eq!(get("bytes=0-".to_owned()).await, expected);
    assert_eq!(
        get(format!("bytes={}-{}", size / 2, size / 2 + 99)).await,
        expected[size / 2..size / 2 + 100]
    );
    assert_eq!(get("bytes=-1".to_owned()).await, expected[size - 1..]);
    assert_eq!(get("bytes=3-600".to_owned()).await, expected[3..=600]);
    let verified = desk.house.get(&format!("/sessions/{id}/verify")).r#as(&desk.token).await.json();
    assert_eq!((&verified["status"], &verified["bytes"]), (&json!("sealed"), &json!(BROWSER.len())));
    let bundle = desk.house.get(&format!("/sessions/{id}/export")).r#as(&desk.token).bytes().await;
    assert_eq!(bundle.0, StatusCode::OK);
    assert!(bundle.1.windows(14).any(|window| window == b"recording.webm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_after_the_end_and_nothing_changes() {
    let desk = Desk::new().await;
    let id = desk.recorded().await;
    let path = format!("/sessions/{id}/recording");
    let before = desk.house.get(&path).r#as(&desk.token).bytes().await;
    let events = json!([{"elapsed": 1, "type": "click"}]);
    conflict(&desk.post(id, "chunk", b"more").await, "recording_final");
    conflict(&desk.post(id, "chunk?seq=0", BROWSER).await, "recording_final");
    conflict(&desk.post(id, "finalize", b"").await, "recording_final");
    conflict(&desk.events(id, events).await, "recording_final");
    assert_eq!(desk.house.get(&path).r#as(&desk.token).bytes().await, before);
    let verified = desk.house.recordings.verify(id).await.unwrap();
    assert!(verified.ok() && verified.status == VerificationStatus::Sealed);
    assert!(
        desk.house
            .store
            .input_events(desk.house.recordings.vault(), Visibility::Any, id, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_made_here_cannot_be_touched() {
    let desk = Desk::new().await;
    let (id, recorder) = super::recordings::begun(&desk.house, desk.alice).await;
    for what in ["chunk", "finalize"] {
        conflict(&desk.post(id, what, b"gone").await, "not_client_supplied");
    }
    conflict(&desk.events(id, json!([])).await, "not_client_supplied");
    recorder.write(&super::recordings::cast(10)).await.unwrap();
    recorder.finish(true).await.unwrap();
    for what in ["chunk", "finalize"] {
        conflict(&desk.post(id, what, b"gone").await, "not_client_supplied");
    }
    let session = desk.session(id).await;
    assert_eq!((&session["recording"], &session["recordingSource"]), (&json!("sealed"), &Value::Null));
    assert!(desk.house.recordings.verify(id).await.unwrap().ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_session_s_own_user_s_alone_whatever_others_may() {
    let desk = Desk::new().await;
    let id = desk.begin().await;
    let admin = desk.house.persona("admin").await;
    let bob = desk.house.user("bob", "user").await;
    let bob = desk.house.token(bob, None).await;
    for (who, status) in [(&admin, StatusCode::FORBIDDEN), (&bob, StatusCode::NOT_FOUND)] {
        for what in ["chunk", "finalize"] {
            let path = format!("/sessions/{id}/recording/{what}");
            let answer =
                desk.house.call(axum::http::Method::POST, &path).r#as(who).body(b"forged".to_vec()).await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text);
        }
        let path = format!("/sessions/{id}/recording/events");
        let answer = desk.house.post(&path, json!([{"elapsed": 1, "type": "key"}])).r#as(who).await;
        assert_eq!(answer.status, status);
    }
    let path = format!("/sessions/{id}/recording/events");
    assert_eq!(desk.house.get(&path).r#as(&bob).await.status, StatusCode::NOT_FOUND);
    assert_eq!(desk.house.get(&path).r#as(&admin).await.text, "{\"events\":[]}");
    // Somebody else's connection is as if it were not there.
    let body = json!({"connectionId": desk.connection});
    let answer = desk.house.post("/sessions/rdp-session", body).r#as(&bob).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);
    // Nor can a client choose the session.
    let unknown = desk.post("sess_01h455vb4pex5vsknk084sn02q".parse().unwrap(), "chunk", b"x").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(desk.post(id, "finalize", b"").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_taken_once_and_in_their_order() {
    let desk = Desk::new().await;
    let id = desk.begin().await;
    conflict(&desk.post(id, "chunk?seq=2", b"2").await, "out_of_sequence");
    for (seq, bytes) in [(0, "a"), (1, "b"), (0, "x"), (1, "x"), (2, "c")] {
        let answer = desk.post(id, &format!("chunk?seq={seq}"), bytes.as_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK, "{seq}");
    }
    let gap = desk.post(id, "chunk?seq=4", b"e").await;
    conflict(&gap, "out_of_sequence");
    assert!(gap.text.contains("chunk 3 comes next"), "{}", gap.text);
    assert_eq!(desk.post(id, "chunk?seq=x", b"e").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(desk.post(id, "chunk", b"d").await.status, StatusCode::OK, "without a number it is the next");
    assert_eq!(desk.post(id, "chunk?seq=4", b"e").await.status, StatusCode::OK);
    assert_eq!(desk.post(id, "finalize", b"").await.status, StatusCode::OK);
    // It is no WebM, and is kept as it came.
    let path = format!("/sessions/{id}/recording");
    assert_eq!(desk.house.get(&path).r#as(&desk.token).await.text, "abcde");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_taken_whole_or_not_at_all() {
    let desk = Desk::new().await;
    let id = desk.begin().await;
    let field = async |body: Value| {
        let answer = desk.events(id, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
        answer.field()
    };
    let good = json!({"elapsed": 1, "type": "click"});
    assert_eq!(field(json!([good, {"elapsed": 2}])).await, "[1].type");
    assert_eq!(field(json!([good, {"elapsed": "2", "type": "key"}])).await, "[1].elapsed");
    assert_eq!(field(json!([good, {"elapsed": -1, "type": "key"}])).await, "[1].elapsed");
    assert_eq!(field(json!([good, {"elapsed": 1, "type": "=HYPERLINK()"}])).await, "[1].type");
    assert_eq!(field(json!({"events": []})).await, "body");
    assert_eq!(field(json!(vec![good.clone(); 5001])).await, "body");
    let unreadable = desk.house.call(axum::http::Method::POST, &format!("/sessions/{id}/recording/events"));
    let unreadable = unreadable.r#as(&desk.token).header("content-type", "application/json").body("[{");
    assert_eq!(unreadable.await.status, StatusCode::BAD_REQUEST);
    assert_eq!(desk.post(id, "events", b"[]").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(
        desk.house
            .store
            .input_events(desk.house.recordings.vault(), Visibility::Any, id, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    // Out of order, equal, and with more than is kept: which key it was is not.
    let batch = json!([{"elapsed": 9, "type": "key", "key": "hunter2"}, {"elapsed": 3, "type": "move", "x": 1}, {"elapsed": 9, "type": "click"}]);
    assert_eq!(desk.events(id, batch).await.status, StatusCode::OK);
    assert_eq!(desk.events(id, json!(vec![good; 5000])).await.status, StatusCode::OK);
    let path = format!("/sessions/{id}/recording/events");
    let told = desk.house.get(&path).r#as(&desk.token).await;
    assert!(!told.text.contains("hunter2"));
    let told = told.json()["events"].as_array().unwrap().clone();
    assert_eq!(told.len(), 5003);
    assert_eq!(told[4999], json!({"elapsed": 1, "event_type": "click"}));
    let last: Vec<&Value> = told[5000..].iter().map(|event| &event["event_type"]).collect();
    assert_eq!(last, [&json!("move"), &json!("key"), &json!("click")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_and_too_fast_are_refused() {
    let desk = Desk::new().await;
    let id = desk.begin().await;
    let large = desk.post(id, "chunk", &vec![0; 8 * 1024 * 1024 + 1]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", large.text);
    let mut refused = None;
    for number in 0..2000 {
        let answer = desk.post(id, "chunk", b"x").await;
        if answer.status != StatusCode::OK {
            refused = Some((number, answer));
            break;
        }
    }
    let (number, answer) = refused.expect("somebody who never stops is slowed down");
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert!(number >= 60, "{number}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nothing_comes_for_is_ended_and_says_so() {
    let desk = Desk::with(RecordPolicy::Mandatory, |settings| {
        settings.attach_grace = Some("1s".to_owned());
    })
    .await;
    let id = desk.begin().await;
    // A part, and no end.
    assert_eq!(desk.post(id, "chunk", &BROWSER[..200_000]).await.status, StatusCode::OK);
    let mut session = desk.session(id).await;
    while session["live"] == json!(true) {
        tokio::task::yield_now().await;
        session = desk.session(id).await;
    }
    assert_eq!((&session["endReason"], &session["recording"]), (&json!("client_lost"), &json!("incomplete")));
    let path = format!("/sessions/{id}/recording");
    let (status, bytes) = desk.house.get(&path).r#as(&desk.token).bytes().await;
    assert_eq!(status, StatusCode::OK);
    let mut expected = Vec::new();
    sojourn_domain::webm::remux(&BROWSER[..200_000], &mut expected).unwrap();
    assert_eq!(bytes, expected, "what came plays, and has an end");
    conflict(&desk.post(id, "chunk", b"more").await, "recording_final");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_recorded_has_a_row_all_the_same() {
    let desk = Desk::with(RecordPolicy::Off, |_| {}).await;
    let body = json!({"connectionId": desk.connection});
    let begun = desk.house.post("/sessions/rdp-session", body).r#as(&desk.token).await.json();
    assert_eq!(begun["shouldRecord"], false);
    let id: AccessSessionId = begun["sessionId"].as_str().unwrap().parse().unwrap();
    assert_eq!(desk.session(id).await["live"], true);
    conflict(&desk.post(id, "chunk", b"x").await, "not_recorded");
    assert_eq!(desk.post(id, "finalize", b"").await.status, StatusCode::OK);
    let session = desk.session(id).await;
    assert_eq!((&session["hasRecording"], &session["recordingSource"]), (&json!(false), &Value::Null));
    // Only RDP is recorded by clients.
    let ssh = connection(&desk.house, desk.alice, Protocol::Ssh, RecordPolicy::Mandatory).await;
    let answer =
        desk.house.post("/sessions/rdp-session", json!({"connectionId": ssh})).r#as(&desk.token).await;
    assert_eq!((answer.status, answer.field().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "connectionId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_and_purging_take_everything_with_them() {
    let desk = Desk::new().await;
    let admin = desk.house.persona("admin").await;
    let live = desk.begin().await;
    assert_eq!(desk.post(live, "chunk", &BROWSER[..100_000]).await.status, StatusCode::OK);
    assert_eq!(desk.events(live, json!([{"elapsed": 5, "type": "click"}])).await.status, StatusCode::OK);
    let done = desk.recorded().await;
    // What lives stays, and goes on.
    let purged = desk.house.delete("/sessions").r#as(&admin).await.json();
    assert_eq!(
        (&purged["deletedSessions"], &purged["deletedRecordings"], &purged["skippedLive"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(
        desk.house.get(&format!("/sessions/{done}/recording")).r#as(&admin).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(desk.post(live, "chunk", b"more").await.status, StatusCode::OK);
    let ended = desk.house.post(&format!("/sessions/{live}/terminate"), json!({"reason": "enough"}));
    assert_eq!(ended.r#as(&admin).await.status, StatusCode::OK);
    conflict(&desk.post(live, "chunk", b"more").await, "recording_final");
    let session = desk.session(live).await;
    assert_eq!(
        (&session["endReason"], &session["recording"]),
        (&json!("terminated"), &json!(RecordingState::Incomplete.key()))
    );
    assert_eq!(
        desk.house
            .store
            .input_events(desk.house.recordings.vault(), Visibility::Any, live, None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let purged = desk.house.delete(&format!("/sessions/{live}")).r#as(&admin).await;
    assert_eq!(purged.status, StatusCode::OK, "{}", purged.text);
    assert!(
        desk.house
            .store
            .input_events(desk.house.recordings.vault(), Visibility::Any, live, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let storage = desk.house.get("/sessions/storage").r#as(&admin).await.json();
    assert_eq!(storage["bytes"], 0, "{storage}");
}
