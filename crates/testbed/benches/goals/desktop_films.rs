//! What a byte of a long film of a desktop costs.

use serde_json::json;
use sojourn_domain::webm::{Video, Writer};
use sojourn_testbed::bed::{Bed as Gateway, text};

use crate::{
    Bed, Figure,
    access::{one_byte, scaled},
};

/// A key frame every so often, as on a desktop that changes all the time.
const KEYS: u64 = 250;
const FRAME: usize = 20_000;
const CHUNK: usize = 4 << 20;

/// Made of frames that nobody could decode, by the writer that makes the server's own recordings; it comes in chunks, as
/// clients that record themselves send them.
pub(crate) fn films(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(bed) = Gateway::start() else { return };
    let made = bed.admin().post(
        "/connections",
        json!({
            "name": "film", "protocol": "rdp", "host": "127.0.0.1", "port": 9, "username": "nobody",
            "auth": "password", "password": "none", "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    let begun = bed.alice().post("/sessions/rdp-session", json!({"connectionId": made["id"]}));
    let id = text(&begun["sessionId"]);
    let (mut writer, mut film) = (Writer::default(), Vec::new());
    writer.header(Video { width: 1280, height: 720, frame_ms: 20 }, "long", &mut film);
    for frame in 0..scaled(200_000_000) / FRAME as u64 {
        // No two are alike, so that nothing is smaller than it looks.
        let bytes: Vec<u8> = (0..FRAME as u64).map(|at| ((at * (frame + 7)) >> 3) as u8).collect();
        writer.frame(frame * 40, frame % KEYS == 0, &bytes, &mut film);
    }
    writer.flush(&mut film);
    let agent = ureq::Agent::new_with_defaults();
    let post = |path: &str, body: &[u8]| {
        let url = format!("http://{}/sessions/{id}/recording/{path}", bed.server().address);
        let request = agent.post(url).header("Authorization", format!("Bearer {}", bed.alice_token));
        request.header("Content-Type", "application/octet-stream").send(body).expect("it is taken");
    };
    for (number, chunk) in film.chunks(CHUNK).enumerate() {
        post(&format!("chunk?seq={number}"), chunk);
    }
    post("finalize", &[]);
    let session = bed.ended(&id);
    assert_eq!(session["recording"], "sealed", "{session}");
    assert!(session["fileSize"].as_u64().is_some_and(|size| size >= film.len() as u64), "{session}");
    let of = format!("a film of a desktop, {} MB", film.len() / 1_000_000);
    one_byte(&bed, &session, &of, figures);
}
