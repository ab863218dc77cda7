//! Recordings over HTTP: parts, conditions, transcripts, proof, and whose they are.

use axum::http::{Method, StatusCode};
use serde_json::json;
use sojourn_domain::{
    access::{ClientKind, Protocol, Purpose},
    cast::{Header, Writer},
    id::{AccessSessionId, UserId},
    time::Elapsed,
};
use sojourn_store::{
    Entropy,
    access::NewAccessSession,
    recordings::{Format, Recorder, verify_bundle},
};

use crate::house::{Answer, As, House};

pub(super) async fn begun(house: &House, user: UserId) -> (AccessSessionId, Recorder) {
    let id = Entropy.id(house.now());
    let new = NewAccessSession {
        id,
        user,
        user_name: "alice".to_owned(),
        connection: Entropy.id(house.now()),
        connection_name: "web".to_owned(),
        protocol: Protocol::Ssh,
        purpose: Purpose::Shell,
        command: String::new(),
        target: "192.0.2.1:22".to_owned(),
        client_kind: ClientKind::Web,
        client_address: "192.0.2.2".to_owned(),
        node: "one".to_owned(),
        started_at: house.now(),
    };
    house.store.session_begin(&new).await.unwrap();
    (id, house.recordings.begin(id, Format::Cast).await.unwrap())
}

/// A recording of so many lines, and its text.
pub(super) fn cast(lines: usize) -> Vec<u8> {
    let (mut writer, mut bytes) = (Writer::new(), Vec::new());
    writer.header(&Header { cols: 80, rows: 24, ..Header::default() }, &mut bytes);
    for line in 0..lines {
        let text = format!("line {line} is \x1b[31mred\x1b[0m\r\n");
        writer.output(Elapsed::from_millis(line as i64), text.as_bytes(), &mut bytes);
    }
    writer.finish(Elapsed::from_secs(60), &mut bytes);
    bytes
}

async fn recorded(house: &House, user: UserId, bytes: &[u8]) -> AccessSessionId {
    let (id, recorder) = begun(house, user).await;
    recorder.write(bytes).await.unwrap();
    recorder.finish(true).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_of_a_recording_is_served() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let token = house.token(alice, None).await;
    let bytes = cast(5000);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let size = bytes.len();
    let id = recorded(&house, alice, &bytes).await;
    for mount in ["", "/api/v1"] {
        let path = format!("{mount}/sessions/{id}/recording");
        let get = || house.get(&path).r#as(&token);
        let ask = async |range: &str| -> Answer { get().header("range", range).await };
        let all = get().header("accept-encoding", "gzip").await;
        assert_eq!((all.status, all.text.as_str()), (StatusCode::OK, text.as_str()));
        assert_eq!(all.header("content-type"), "application/x-asciicast");
        assert_eq!(all.header("content-length"), size.to_string());
        assert_eq!(all.header("accept-ranges"), "bytes");
        assert_eq!(all.header("content-encoding"), "");
        let etag = all.header("etag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");

        let part = ask("bytes=70000-70009").await;
        assert_eq!((part.status, part.text.as_str()), (StatusCode::PARTIAL_CONTENT, &text[70000..70010]));
        assert_eq!(part.header("content-range"), format!("bytes 70000-70009/{size}"));
        assert_eq!(part.header("content-length"), "10");
        let tail = ask("bytes=-7").await;
        assert_eq!(tail.text, text[size - 7..]);
        // An end past the size is clamped.
        let clamped = ask(&format!("bytes={}-{}", size - 3, size + 100)).await;
        assert_eq!((clamped.status, clamped.text.as_str()), (StatusCode::PARTIAL_CONTENT, &text[size - 3..]));
        let outside = ask(&format!("bytes={size}-")).await;
        assert_eq!(outside.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(outside.header("content-range"), format!("bytes */{size}"));

        let same = get().header("range", "bytes=0-0").header("if-range", &etag).await;
        assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
        let other = get().header("range", "bytes=0-0").header("if-range", "\"other\"").await;
        assert_eq!((other.status, other.text.len()), (StatusCode::OK, size));
        assert_eq!(get().header("if-none-match", &etag).await.status, StatusCode::NOT_MODIFIED);
        assert_eq!(get().header("if-match", "\"other\"").await.status, StatusCode::PRECONDITION_FAILED);

        let head = house.call(Method::HEAD, &path).r#as(&token).header("range", "bytes=0-0").await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.header("content-length"), size.to_string());

        let txt = house.get(&format!("{path}?format=txt")).r#as(&token).await;
        assert_eq!(txt.header("content-type"), "text/plain; charset=utf-8");
        assert!(txt.text.starts_with("line 0 is red\nline 1 is red\n"), "{}", &txt.text[..100]);
        assert!(txt.text.trim_end().ends_with("line 4999 is red"));
        assert_eq!(house.get(&format!("{path}?format=pdf")).r#as(&token).await.field(), "format");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_of_a_live_recording_is_served() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let token = house.token(alice, None).await;
    let (id, recorder) = begun(&house, alice).await;
    let path = format!("/sessions/{id}/recording");
    let empty = house.get(&path).r#as(&token).await;
    assert_eq!((empty.status, empty.text.as_str()), (StatusCode::OK, ""));
    let none = house.get(&path).r#as(&token).header("range", "bytes=0-").await;
    assert_eq!((none.status, none.header("content-range")), (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */0"));
    recorder.write(b"hello").await.unwrap();
    recorder.durable().wait_for(|durable| *durable == 5).await.unwrap();
    assert_eq!(house.get(&path).r#as(&token).await.text, "hello");
    let verified = house.get(&format!("/sessions/{id}/verify")).r#as(&token).await.json();
    assert_eq!((&verified["status"], &verified["ok"]), (&json!("live"), &json!(true)));
    assert_eq!(house.get(&format!("/sessions/{id}/export")).r#as(&token).await.status, StatusCode::CONFLICT);
    recorder.finish(true).await.unwrap();
    let verified = house.get(&format!("/sessions/{id}/verify")).r#as(&token).await.json();
    assert_eq!((&verified["status"], &verified["bytes"]), (&json!("sealed"), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_belong_to_somebody_and_are_proof() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let hers = house.token(alice, None).await;
    let bob = house.persona("user").await;
    let auditor = house.persona("auditor").await;
    let admin = house.persona("admin").await;
    let id = recorded(&house, alice, &cast(10)).await;
    for path in ["recording", "recording?format=txt", "verify", "export"] {
        let path = format!("/sessions/{id}/{path}");
        assert_eq!(house.get(&path).r#as(&bob).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(house.get(&path).r#as(&As::Nobody).await.status, StatusCode::UNAUTHORIZED, "{path}");
        for who in [&hers, &auditor, &admin] {
            assert_eq!(house.get(&path).r#as(who).await.status, StatusCode::OK, "{path}");
        }
    }
    let verified = house.get(&format!("/sessions/{id}/verify")).r#as(&hers).await.json();
    assert_eq!(verified["status"], "sealed");
    assert_eq!(verified["gaps"], json!([]));
    assert_eq!(house.last_audit().await, "session.export done");
    let key = house.recordings.public_key();
    assert_eq!(verified["publicKey"], key.to_string());
    // The answer's text is only the bundle where the bundle is text; here the head will do.
    let bundle = house.get(&format!("/sessions/{id}/export")).r#as(&hers).await;
    assert_eq!(bundle.header("content-type"), "application/x-tar");
    assert!(!verify_bundle(&mut &b"no bundle"[..], Some(&key)).unwrap().ok());

    let storage = house.get("/sessions/storage").r#as(&admin).await.json();
    assert_eq!(storage["recordings"], 1);
    assert_eq!(storage["bytes"], storage["breakdown"]["sealed"]);
    assert_eq!(house.get("/sessions/storage").r#as(&auditor).await.status, StatusCode::FORBIDDEN);
    let none = house.get("/sessions/sess_01h455vb4pex5vsknk084sn02q/recording").r#as(&admin).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}
