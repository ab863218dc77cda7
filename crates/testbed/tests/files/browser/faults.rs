//! Cut in the middle: the client gone, the target gone, the server killed.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use sojourn_testbed::{
    bed::{Bed, SOON, shared, text},
    flaky::{Flaky, Mood},
    wait,
};

use super::house::{Page, event, events_of, sha256};

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Sends the beginning of a piece and goes away.
fn send_and_go(page: &Page, id: &str, at: u64, piece: &[u8], send: usize) {
    let mut stream = page.connect();
    let head = page.head("PATCH", &format!("uploads/{id}"));
    write!(stream, "{head}Upload-Offset: {at}\r\nContent-Length: {}\r\n\r\n", piece.len()).unwrap();
    stream.write_all(&piece[..send]).unwrap();
}

/// Begins to write a whole file and goes on holding the connection.
fn begin_to_put(page: &Page, file: &Path, content: &[u8], send: usize) -> TcpStream {
    let mut stream = page.connect();
    let head = page.head("PUT", &format!("content?path={}", file.display()));
    write!(stream, "{head}Content-Length: {}\r\n\r\n", content.len()).unwrap();
    stream.write_all(&content[..send]).unwrap();
    stream
}

/// The hidden part of a file, and how much it has.
fn part_of(folder: &Path, name: &str) -> Option<(PathBuf, u64)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let found = entries.map(|entry| entry.path()).find(|path| {
        let hidden = path.file_name().unwrap().to_string_lossy().into_owned();
        hidden.starts_with(&format!(".{name}.")) && hidden.ends_with(".part")
    })?;
    // It may have been put in its place meanwhile.
    let there = std::fs::metadata(&found).ok()?.len();
    Some((found, there))
}

#[test]
fn an_upload_that_the_client_leaves_goes_on_where_it_was() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "left-upload");
    let file = bed.target.account().home.join("left.bin");
    let content = pattern(4_000_000);
    let made = page.post("uploads", json!({"path": file, "size": content.len()})).expect(201).json();
    let id = text(&made["id"]);
    send_and_go(&page, &id, 0, &content, 2_500_000);
    let cut = event(&bed, &bed.connection, &file.display().to_string(), "interrupted");
    let moved = cut["size"].as_u64().unwrap();
    assert!(moved <= 2_500_000, "{cut}");
    // After a reload it is another page.
    let again = Page::new(&bed, "left-upload-again");
    let state = again.call("GET", &format!("uploads/{id}"), &[], b"").expect(200).json();
    let offset = state["offset"].as_u64().unwrap();
    assert_eq!(offset, moved, "what the event says was moved is where it goes on");
    again.piece(&id, offset, &content[offset as usize..]).expect(200);
    again.post(&format!("uploads/{id}/finish"), json!({})).expect(200);
    assert_eq!(std::fs::read(&file).unwrap(), content);
    let rest = event(&bed, &bed.connection, &file.display().to_string(), "ok");
    assert_eq!((rest["offset"].as_u64(), rest["size"].as_u64()), (Some(offset), Some(4_000_000 - offset)));
    page.leave();
    again.leave();
}

#[test]
fn a_whole_upload_that_is_cut_leaves_nothing_behind() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "cut-whole");
    let file = bed.target.account().home.join("whole.bin");
    let mut stream = page.connect();
    let head = page.head("PUT", &format!("content?path={}", file.display()));
    write!(stream, "{head}Content-Length: 3000000\r\n\r\n").unwrap();
    stream.write_all(&pattern(1_000_000)).unwrap();
    drop(stream);
    let cut = event(&bed, &bed.connection, &file.display().to_string(), "interrupted");
    assert!(cut["size"].as_u64().unwrap() <= 1_000_000, "{cut}");
    wait::until("the part to be removed", SOON, || {
        let names = std::fs::read_dir(&bed.target.account().home).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap_or_default());
        (!names.any(|name| name.contains("whole.bin"))).then_some(())
    });
    page.leave();
}

#[test]
fn a_whole_upload_that_is_terminated_leaves_nothing_behind() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "terminated-whole");
    let home = &bed.target.account().home;
    let file = home.join("terminated.bin");
    page.call("GET", &format!("stat?path={}", home.display()), &[], b"").expect(200);
    let _stream = begin_to_put(&page, &file, &pattern(3_000_000), 1_000_000);
    wait::until("some of it on the target", SOON, || {
        part_of(home, "terminated.bin").filter(|(_, there)| *there > 0)
    });
    bed.admin().post(&format!("/file-sessions/{}/terminate", page.session()), json!({"reason": "enough"}));
    let cut = event(&bed, &bed.connection, &file.display().to_string(), "interrupted");
    assert!(cut["size"].as_u64().unwrap() <= 1_000_000, "{cut}");
    wait::until("the part to be removed", SOON, || part_of(home, "terminated.bin").is_none().then_some(()));
    assert!(!file.exists());
}

#[test]
fn a_download_that_the_client_leaves_is_interrupted() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "left-download");
    let file = bed.target.account().write("download.bin", pattern(60_000_000));
    let mut stream = page.connect();
    let head = page.head("GET", &format!("content?path={}", file.display()));
    write!(stream, "{head}\r\n").unwrap();
    let mut some = vec![0; 1_000_000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let cut = event(&bed, &bed.connection, &file.display().to_string(), "interrupted");
    let moved = cut["size"].as_u64().unwrap();
    assert!((500_000..60_000_000).contains(&moved), "{cut}");
    page.leave();
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_target_that_goes_away_is_told() {
    let Some(bed) = shared() else { return };
    let flaky = Flaky::before(bed.target.address());
    let account = bed.target.account();
    let made = bed.admin().post(
        "/connections",
        json!({
            "name": "flaky-files", "protocol": "sftp", "host": "127.0.0.1", "port": flaky.address().port(),
            "username": account.name, "auth": "key", "privateKey": std::fs::read_to_string(&account.key).unwrap(),
            "hostKey": bed.target.fingerprint(), "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    let mut page = Page::new(&bed, "target-gone");
    page.connection = text(&made["id"]);
    let file = account.home.join("gone.bin");
    // Much more than may be under way to the target before it has to confirm some of it.
    let content = pattern(16_000_000);
    let id =
        text(&page.post("uploads", json!({"path": file, "size": content.len()})).expect(201).json()["id"]);
    page.piece(&id, 0, &content[..500_000]).expect(200);
    flaky.set(Mood::Gone);
    let refused = page.piece(&id, 500_000, &content[500_000..]);
    assert!(
        matches!(refused.status, 502 | 504),
        "{} {}",
        refused.status,
        String::from_utf8_lossy(&refused.body)
    );
    let cut = event(&bed, &page.connection, &file.display().to_string(), "interrupted");
    assert!(cut["size"].as_u64().unwrap() >= 500_000, "{cut}");
    flaky.set(Mood::Well);
    let state = wait::until("the target to be there again", SOON, || {
        let got = page.call("GET", &format!("uploads/{id}"), &[], b"");
        (got.status == 200).then(|| got.json())
    });
    let offset = state["offset"].as_u64().unwrap() as usize;
    page.piece(&id, offset as u64, &content[offset..]).expect(200);
    page.post(&format!("uploads/{id}/finish"), json!({})).expect(200);
    assert_eq!(std::fs::read(&file).unwrap(), content);
    page.leave();
}

#[test]
fn an_upload_outlives_a_server_that_is_killed() {
    let Some(mut bed) = Bed::start() else { return };
    let page = Page::new(&bed, "killed");
    let file = bed.target.account().home.join("killed.bin");
    let content = pattern(8_000_000);
    let made = page.post("uploads", json!({"path": file, "size": content.len()})).expect(201).json();
    let id = text(&made["id"]);
    page.piece(&id, 0, &content[..3_000_000]).expect(200);
    let session = page.session();
    send_and_go_on(&page, &id, &content[3_000_000..]);
    bed.kill();
    bed.serve_again();
    let page = Page::new(&bed, "after");
    let over = wait::until("the session of the killed server to be closed", SOON, || {
        let session = bed.admin().get(&format!("/file-sessions/{session}"));
        session["endedAt"].is_string().then_some(session)
    });
    assert_eq!(over["endReason"], "server_died", "{over}");
    let cut = event(&bed, &bed.connection, &file.display().to_string(), "interrupted");
    assert!((3_000_000..=5_000_000).contains(&cut["size"].as_u64().unwrap()), "{cut}");
    let state = page.call("GET", &format!("uploads/{id}"), &[], b"").expect(200).json();
    let offset = state["offset"].as_u64().unwrap() as usize;
    // What the target had not confirmed yet is sent again.
    assert!(offset <= 5_000_000, "{state}");
    page.piece(&id, offset as u64, &content[offset..]).expect(200);
    page.post(&format!("uploads/{id}/finish"), json!({})).expect(200);
    assert_eq!(std::fs::read(&file).unwrap(), content);
    let before = bed.installation.data_dir().join("original");
    std::fs::write(&before, &content).unwrap();
    assert_eq!(sha256(&file), sha256(&before));
    page.leave();
}

#[test]
fn what_has_only_just_begun_when_the_server_is_killed_has_its_event() {
    let Some(mut bed) = Bed::start() else { return };
    let home = bed.target.account().home.clone();
    bed.target.account().write("fetched.bin", pattern(60_000_000));
    let local = tempfile::tempdir().unwrap();
    let mut scp = bed.way().scp();
    // A megabyte a second, through a tap.
    scp.args(["-s", "-l", "8000"]).arg(bed.way().remote("fetched.bin")).arg(local.path().join("fetched"));
    let mut scp = scp.spawn().unwrap();
    wait::until("some of it to arrive", SOON, || {
        std::fs::metadata(local.path().join("fetched")).ok().filter(|file| file.len() > 0)
    });
    let page = Page::new(&bed, "just-begun");
    let file = home.join("begun.bin");
    // Two that are large at once, and one of which hardly anything comes.
    let _streams = [
        begin_to_put(&page, &file, &pattern(3_000_000), 1_000_000),
        begin_to_put(&page, &home.join("hardly.bin"), &pattern(3_000_000), 10),
    ];
    for name in ["begun.bin", "hardly.bin"] {
        wait::until("the part on the target", SOON, || part_of(&home, name));
    }
    wait::during(Duration::from_millis(250), || {});
    bed.kill();
    scp.wait().unwrap();
    bed.serve_again();
    let sessions = bed.admin().get("/file-sessions?limit=100");
    let mut told = Vec::new();
    // None has ended before its last event.
    for session in sessions["sessions"].as_array().unwrap() {
        assert_eq!(session["endReason"], "server_died", "{session}");
        let events = events_of(&bed, &text(&session["id"]));
        let at = |time: &serde_json::Value| text(time).parse::<jiff::Timestamp>().unwrap();
        let ended = at(&session["endedAt"]);
        assert!(events.iter().all(|event| at(&event["timestamp"]) <= ended), "{session} {events:#?}");
        told.extend(events);
    }
    // What a tap reads has the path as the client named it.
    for (path, least) in [("fetched.bin", 1), ("begun.bin", 64 * 1024), ("hardly.bin", 0)] {
        let cut = told.iter().find(|event| text(&event["path"]).ends_with(path));
        let cut = cut.unwrap_or_else(|| panic!("no event of {path} in {told:#?}"));
        assert_eq!(cut["outcome"], "interrupted", "{cut}");
        assert!(cut["size"].as_u64().unwrap() >= least, "{cut}");
    }
}

#[test]
fn an_upload_goes_on_where_the_target_has_it_when_the_server_was_killed() {
    let Some(mut bed) = Bed::start() else { return };
    let page = Page::new(&bed, "killed-at-once");
    let home = bed.target.account().home.clone();
    let file = home.join("resumed.bin");
    let content = pattern(12_000_000);
    let made = page.post("uploads", json!({"path": file, "size": content.len()})).expect(201).json();
    let id = text(&made["id"]);
    let mut stream = page.connect();
    let head = page.head("PATCH", &format!("uploads/{id}"));
    write!(stream, "{head}Upload-Offset: 0\r\nContent-Length: {}\r\n\r\n", content.len()).unwrap();
    stream.write_all(&content[..10_000_000]).unwrap();
    wait::until("most of it on the target", SOON, || {
        part_of(&home, "resumed.bin").filter(|(_, there)| *there > 8_000_000)
    });
    bed.kill();
    bed.serve_again();
    let (part, there) = part_of(&home, "resumed.bin").expect("the part");
    let page = Page::new(&bed, "killed-at-once-after");
    let state = page.call("GET", &format!("uploads/{id}"), &[], b"").expect(200).json();
    let offset = state["offset"].as_u64().unwrap();
    // What was on its way at once may have holes.
    assert!(offset <= there && there - offset <= 2 * 1024 * 1024, "{state}, {there} in {}", part.display());
    let offset = offset as usize;
    page.piece(&id, offset as u64, &content[offset..]).expect(200);
    page.post(&format!("uploads/{id}/finish"), json!({})).expect(200);
    assert_eq!(std::fs::read(&file).unwrap(), content);
    page.leave();
}

#[test]
fn what_native_clients_move_when_the_server_is_killed_has_its_event() {
    let Some(mut bed) = Bed::start() else { return };
    let file = bed.target.account().write("slow.bin", pattern(60_000_000));
    let local = tempfile::tempdir().unwrap();
    let way = bed.way();
    // A megabyte a second; by SFTP, and by the old protocol.
    let clients: Vec<_> = [("new", "-s"), ("old", "-O")]
        .map(|(name, protocol)| {
            let mut scp = way.scp();
            scp.args([protocol, "-l", "8000"]).arg(way.remote("slow.bin")).arg(local.path().join(name));
            scp.spawn().unwrap()
        })
        .into();
    let come = |name: &str| std::fs::metadata(local.path().join(name)).map_or(0, |file| file.len());
    wait::until("some of it to arrive", SOON, || (come("new").min(come("old")) > 3_000_000).then_some(()));
    bed.kill();
    for mut client in clients {
        client.wait().unwrap();
    }
    bed.serve_again();
    let answer = bed.admin().get("/file-sessions?limit=100");
    let sessions = answer["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2, "{answer}");
    for session in sessions {
        assert_eq!(session["endReason"], "server_died");
        let events = events_of(&bed, &text(&session["id"]));
        assert_eq!(events.len(), 1, "{events:?}");
        let cut = &events[0];
        assert_eq!((&cut["action"], &cut["outcome"]), (&json!("download"), &json!("interrupted")));
        assert!(text(&cut["path"]).ends_with("slow.bin"), "{cut} {}", file.display());
        let moved = cut["size"].as_u64().unwrap();
        assert!((500_000..60_000_000).contains(&moved), "{cut}");
    }
}

/// Sends most of a piece, and leaves the connection open for a moment.
fn send_and_go_on(page: &Page, id: &str, piece: &[u8]) {
    let mut stream = page.connect();
    let head = page.head("PATCH", &format!("uploads/{id}"));
    write!(stream, "{head}Upload-Offset: 3000000\r\nContent-Length: {}\r\n\r\n", piece.len()).unwrap();
    stream.write_all(&piece[..2_000_000]).unwrap();
    wait::during(Duration::from_secs(2), || {});
}
