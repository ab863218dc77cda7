//! Files through the browser's API against a real OpenSSH.

mod faults;
pub(crate) mod house;
mod names;

use serde_json::{Value, json};
use sojourn_testbed::bed::{shared, text};

use house::{Page, events_of, sha256};

/// Action, path below the home, outcome.
pub(crate) fn told(events: &[Value], home: &str) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let short = |path: &Value| text(path).replacen(home, "~", 1);
            let to = if event["newPath"].is_null() {
                String::new()
            } else {
                format!(" {}", short(&event["newPath"]))
            };
            format!("{} {}{to} {}", text(&event["action"]), short(&event["path"]), text(&event["outcome"]))
        })
        .collect()
}

#[test]
fn every_operation_does_what_it_says_and_is_written_down_once() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "every-operation");
    let home = bed.target.account().home.join("every");
    let at = |name: &str| format!("{}/{name}", home.display());

    page.post("mkdir", json!({"path": home.display().to_string()})).expect(201);
    let content = b"one two three\n".repeat(1000);
    let written = page.put(&at("a.txt"), "", &content).expect(201).json();
    assert_eq!(written["size"], content.len());
    assert_eq!(text(&written["sha256"]), sha256(&home.join("a.txt")));
    assert_eq!(std::fs::read(home.join("a.txt")).unwrap(), content);
    // What is there stays, unless said otherwise.
    assert_eq!(page.put(&at("a.txt"), "", b"other").expect(409).json()["code"], "exists");
    let etag = text(&written["etag"]);
    page.put_if(&at("a.txt"), "\"another\"", b"lost").expect(412);
    page.put_if(&at("a.txt"), &etag, b"edited").expect(201);
    assert_eq!(std::fs::read(home.join("a.txt")).unwrap(), b"edited");
    page.put_if(&at("a.txt"), &etag, b"lost").expect(412);
    page.put(&at("a.txt"), "&overwrite=1", &content).expect(201);

    let got = page.get(&at("a.txt"), &[]).expect(200);
    assert_eq!(got.body, content);
    assert!(got.header("content-disposition").starts_with("attachment; filename=\"a.txt\""));
    assert!(got.header("content-security-policy").contains("sandbox"));
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(got.header("content-length"), content.len().to_string());
    let part = page.get(&at("a.txt"), &[("Range", "bytes=4-6")]).expect(206);
    assert_eq!((part.body.as_slice(), part.header("content-range")), (&b"two"[..], "bytes 4-6/14000"));
    page.get(&at("a.txt"), &[("Range", "bytes=99999-")]).expect(416);
    page.get(&at("a.txt"), &[("If-None-Match", got.header("etag"))]).expect(304);

    page.post("rename", json!({"from": at("a.txt"), "to": at("b.txt")})).expect(200);
    page.post("chmod", json!({"path": at("b.txt"), "permissions": "0600"})).expect(200);
    let stat = page.call("GET", &format!("stat?path={}", at("b.txt")), &[], b"").expect(200).json();
    assert_eq!((&stat["permissions"], &stat["kind"]), (&json!("0600"), &json!("file")));
    let copied = page.post("copy", json!({"from": at("b.txt"), "to": at("c.txt")})).expect(200);
    assert_eq!(copied.lines().last().unwrap()["finished"], true, "{:?}", copied.lines());
    assert_eq!(std::fs::read(home.join("c.txt")).unwrap(), content);
    page.post("truncate", json!({"path": at("c.txt"), "size": 3})).expect(200);
    assert_eq!(std::fs::read(home.join("c.txt")).unwrap(), b"one");
    page.post("link", json!({"path": at("l"), "target": "c.txt"})).expect(201);
    assert_eq!(std::fs::read_link(home.join("l")).unwrap().to_str(), Some("c.txt"));
    let listed = page.call("GET", &format!("list?path={}", home.display()), &[], b"").expect(200).json();
    let mut names: Vec<String> =
        listed["entries"].as_array().unwrap().iter().map(|entry| text(&entry["name"])).collect();
    names.sort_unstable();
    assert_eq!(names, ["b.txt", "c.txt", "l"]);
    page.get(&at("nothing"), &[]).expect(404);
    let deleted =
        page.post("delete", json!({"paths": [home.display().to_string()], "recursive": true})).expect(200);
    let last = deleted.lines().pop().unwrap();
    assert_eq!((&last["done"], &last["failed"], &last["finished"]), (&json!(4), &json!(0), &json!(true)));
    assert!(!home.exists());
    page.leave();

    let events = events_of(&bed, &page.session());
    let mut told = told(&events, &home.display().to_string());
    // A folder's entries go in the target's order.
    told[15..18].sort_unstable();
    assert_eq!(
        told,
        [
            "mkdir ~ ok",
            "upload ~/a.txt ok",
            "upload ~/a.txt failed",
            "upload ~/a.txt ok",
            "upload ~/a.txt ok",
            "download ~/a.txt ok",
            "download ~/a.txt ok",
            "rename ~/a.txt ~/b.txt ok",
            "chmod ~/b.txt ok",
            "copy ~/b.txt ~/c.txt ok",
            "truncate ~/c.txt ok",
            "link ~/l ~/c.txt ok",
            "browse ~ ok",
            "download ~/nothing failed",
            "browse ~ ok",
            "delete ~/b.txt ok",
            "delete ~/c.txt ok",
            "delete ~/l ok",
            "delete ~ ok",
        ]
    );
    assert_eq!((&events[1]["size"], &events[1]["sha256"]), (&json!(14000), &written["sha256"]));
    assert_eq!(
        (&events[6]["size"], &events[6]["offset"], &events[6]["sha256"]),
        (&json!(3), &json!(4), &Value::Null)
    );
    let session = bed.admin().get(&format!("/file-sessions/{}", page.session()));
    assert_eq!(
        (&session["endReason"], &session["clientKind"]),
        (&json!("closed"), &json!("web")),
        "{session}"
    );
}

#[test]
fn an_upload_in_pieces_is_one_event() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "in-pieces");
    let file = bed.target.account().home.join("pieces.bin");
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
    let begun = page
        .post("uploads", json!({"path": file, "size": content.len(), "modified": "2020-02-03T04:05:06Z"}));
    let id = text(&begun.expect(201).json()["id"]);
    for (at, piece) in content.chunks(1_000_000).enumerate() {
        page.piece(&id, at as u64 * 1_000_000, piece).expect(200);
    }
    assert!(!file.exists(), "it is not there before it is whole");
    // One that was sent already.
    let again = page.piece(&id, 0, b"x").expect(409);
    assert_eq!(again.header("upload-offset"), "3000000");
    let wrong = json!({"sha256": "0".repeat(64)});
    page.post(&format!("uploads/{id}/finish"), wrong).expect(502);
    let done = page.post(&format!("uploads/{id}/finish"), json!({})).expect(200).json();
    assert_eq!(std::fs::read(&file).unwrap(), content);
    assert_eq!(done["size"], 3_000_000);
    let listed = page.call("GET", "uploads", &[], b"").expect(200).json();
    assert_eq!(listed["uploads"], json!([]));
    let given_up =
        page.post("uploads", json!({"path": format!("{}2", file.display()), "size": 5})).expect(201).json();
    page.call("DELETE", &format!("uploads/{}", text(&given_up["id"])), &[], b"").expect(204);
    page.leave();
    let events = events_of(&bed, &page.session());
    assert_eq!(
        told(&events, &file.display().to_string()),
        ["upload ~ failed", "upload ~ ok", "upload ~2 interrupted"]
    );
    assert_eq!(events[0]["size"], 3_000_000);
    let left: Vec<_> = std::fs::read_dir(&bed.target.account().home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("pieces") && name.contains("part"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_session_is_the_servers_and_its_callers() {
    let Some(bed) = shared() else { return };
    let alice = Page::new(&bed, "same-word");
    let mut admin = Page::new(&bed, "same-word");
    admin.token.clone_from(&bed.admin_token);
    let home = bed.target.account().home.display().to_string();
    for page in [&alice, &admin] {
        page.call("GET", &format!("list?path={home}"), &[], b"").expect(200);
    }
    assert_ne!(alice.session(), admin.session(), "a word led to somebody else's session");
    let without = Page::new(&bed, "");
    without.call("GET", &format!("list?path={home}"), &[], b"").expect(200);
    assert_ne!(without.session(), alice.session());
    // Nobody makes up a session, and leaving the word out leaves a trace.
    let invented = [("Sojourn-File-Session", "fsess_01h455vb4pex5vsknk084sn02q")];
    let got = without.call("GET", &format!("list?path={home}"), &invented, b"").expect(200);
    assert_eq!(got.header("sojourn-file-session"), without.session());
    assert_eq!(events_of(&bed, &without.session()).len(), 2);
    without.call("GET", "list?tab=no%20word", &[("Sojourn-Tab", "a b")], b"").expect(422);
    admin.post(&format!("session/close?tab={}", "same-word"), json!({})).expect(204);
    let open = bed.admin().get(&format!("/file-sessions/{}", alice.session()));
    assert_eq!(open["live"], true, "{open}");
    alice.leave();
    without.leave();
}

#[test]
fn what_the_policy_refuses_is_refused_and_written_down() {
    let Some(bed) = shared() else { return };
    let policy = json!({"files": {
        "readOnly": false, "noDelete": true, "maxUploadBytes": 1000, "maxDownloadBytes": 2000, "allow": [], "deny": ["**/secret"],
    }});
    let connection = bed.connect_to_target("limited-files", &policy);
    let mut page = Page::new(&bed, "policy");
    page.connection = connection;
    let account = bed.target.account();
    account.write("secret", "x");
    account.write("large", [0; 3000]);
    let at = |name: &str| account.home.join(name).display().to_string();
    page.put(&at("small"), "", &[1; 1000]).expect(201);
    assert_eq!(page.put(&at("too-large"), "", &[1; 1001]).expect(413).json()["code"], "upload_limit");
    assert_eq!(page.put_chunked(&at("too-large"), &[1; 300_000]).status, 413);
    assert_eq!(page.get(&at("large"), &[]).expect(403).json()["code"], "download_limit");
    assert_eq!(page.get(&at("secret"), &[]).expect(403).json()["code"], "denied_by_policy");
    // Each of them looks first, and is what it is all the same.
    page.call("GET", &format!("stat?path={}", at("secret")), &[], b"").expect(403);
    page.put_if(&at("secret"), "\"a\"", b"y").expect(403);
    page.post("delete", json!({"paths": [at("secret")]})).expect(200);
    page.post("chmod", json!({"path": at("secret"), "permissions": "0600"})).expect(403);
    page.post("mkdir", json!({"path": at("secret/deeper"), "parents": true})).expect(403);
    page.post("copy", json!({"from": at("secret"), "to": at("other")})).expect(403);
    page.call("GET", &format!("archive?path={}", at("secret")), &[], b"").expect(403);
    let deleted = page.post("delete", json!({"paths": [at("small")]})).expect(200);
    assert_eq!(deleted.lines()[0]["code"], "denied_by_policy");
    page.put(&at("small"), "&overwrite=1", b"y").expect(403);
    page.leave();
    assert!(!account.home.join("too-large").exists());
    let events = events_of(&bed, &page.session());
    let outcomes: Vec<String> = told(&events, &account.home.display().to_string());
    assert_eq!(
        outcomes,
        [
            "upload ~/small ok",
            "upload ~/too-large denied",
            "upload ~/too-large denied",
            "download ~/large denied",
            "download ~/secret denied",
            "browse ~/secret denied",
            "upload ~/secret denied",
            "delete ~/secret denied",
            "chmod ~/secret denied",
            "mkdir ~/secret/deeper denied",
            "copy ~/secret denied",
            "download ~/secret denied",
            "delete ~/small denied",
            "upload ~/small denied",
        ]
    );
}

#[test]
fn a_folder_comes_as_an_archive() {
    let Some(bed) = shared() else { return };
    let page = Page::new(&bed, "archive");
    let home = &bed.target.account().home;
    let folder = home.join("packed");
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::write(folder.join("deep/er/ü.txt"), "hello").unwrap();
    std::fs::write(folder.join("..\\evil"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
    let got = page.call("GET", &format!("archive?path={}", folder.display()), &[], b"").expect(200);
    assert!(got.header("content-disposition").contains("filename=\"packed.zip\""));
    let zip = home.join("got.zip");
    std::fs::write(&zip, &got.body).unwrap();
    let python = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
                  print('\\n'.join(sorted(z.namelist())))\nprint(z.read('packed/deep/er/ü.txt').decode())";
    let output = std::process::Command::new("python3").args(["-c", python]).arg(&zip).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        shown.lines().collect::<Vec<_>>(),
        [
            "_not included.txt",
            "packed/",
            "packed/.._evil",
            "packed/deep/",
            "packed/deep/er/",
            "packed/deep/er/ü.txt",
            "hello"
        ],
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    page.leave();
}

#[test]
fn a_prompt_connection_takes_its_password_for_one_page() {
    let Some(bed) = shared() else { return };
    let account = bed.target.account();
    let made = bed.admin().post(
        "/connections",
        json!({
            "name": "asks", "protocol": "sftp", "host": "127.0.0.1", "port": bed.target.port(),
            "username": account.name, "auth": "prompt", "hostKey": bed.target.fingerprint(),
            "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    let mut page = Page::new(&bed, "asks");
    page.connection = text(&made["id"]);
    assert_eq!(page.call("GET", "list", &[], b"").expect(409).json()["code"], "password_needed");
    assert_eq!(page.post("login", json!({"password": "wrong"})).expect(403).json()["code"], "login_refused");
    let opened = page.post("login", json!({"password": account.password})).expect(200).json();
    assert_eq!(text(&opened["home"]), account.home.display().to_string());
    page.call("GET", "list", &[], b"").expect(200);
    let mut other = Page::new(&bed, "asks-too");
    other.connection.clone_from(&page.connection);
    other.call("GET", "list", &[], b"").expect(409);
    page.leave();
    page.call("GET", "list", &[], b"").expect(409);
}
