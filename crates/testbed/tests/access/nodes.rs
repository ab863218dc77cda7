//! Two nodes on one PostgreSQL and one object store.

use std::{net::SocketAddr, process::Stdio};

use serde_json::json;
use sojourn_testbed::{
    bed::{Bed, SOON, text},
    free_port,
    objects::{BUCKET, Objects},
    postgres,
    process::{Client, Installation, Server},
    run::Running,
    ssh_client::Way,
    wait,
};

use crate::web::Terminal;

/// A bed whose installation is the node `one`, and a second node.
struct Two {
    bed: Bed,
    second: Installation,
    two: Option<Server>,
    _objects: Objects,
    _database: postgres::Database,
}

impl Two {
    fn start() -> Option<Self> {
        let database = postgres::fresh_database()?;
        let objects = Objects::start()?;
        let url = database.url().to_owned();
        let node = |name: &str| {
            let at = format!("--objects=s3://{BUCKET}/kept?endpoint={}", objects.endpoint());
            // Known before it starts, so that the other can be told.
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let installation = Installation::without_sources()
                .database(&url)
                .argument(at)
                .http(address)
                .variable("SOJOURN_NODE_NAME", name)
                .variable("SOJOURN_NODE_URL", format!("http://{address}"));
            objects
                .environment()
                .into_iter()
                .filter(|(name, _)| !name.contains("ENDPOINT"))
                .fold(installation, |installation, (name, value)| installation.variable(name, value))
        };
        let bed = Bed::with(node("one"), &json!({}))?;
        let second = node("two");
        // One installation has one master key.
        std::fs::copy(bed.installation.data_dir().join("master.key"), second.data_dir().join("master.key"))
            .unwrap();
        let two = second.serve();
        Some(Self { bed, second, two: Some(two), _objects: objects, _database: database })
    }

    fn two(&self) -> &Server {
        self.two.as_ref().expect("a running server")
    }

    fn admin_of_two(&self) -> Client {
        self.two().client(&self.bed.admin_token)
    }

    /// A terminal through the second node.
    fn hold_on_two(&self, tag: &str) -> Running {
        let front = self.two().ssh.expect("a server with an SSH front");
        let way = Way::new(front, "alice+target").key(&self.bed.target.account().key);
        let mut ssh = way.ssh_with(&["-tt"]);
        ssh.arg(format!("echo {tag}-$((40+2)); while read -r line; do echo got-$line; done"));
        Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::null()))
    }
}

#[test]
fn a_session_is_listed_watched_and_ended_from_another_node() {
    let Some(nodes) = Two::start() else { return };
    let mut ssh = nodes.hold_on_two("across");
    // All of this asks the first node about what runs on the second.
    let session = nodes.bed.session_of("across-");
    let id = text(&session["id"]);
    assert_eq!(session["live"], json!(true), "{session}");
    let live = nodes.bed.admin().get("/sessions/live");
    let live = live["sessions"].as_array().unwrap();
    assert!(live.iter().any(|session| session["id"] == json!(id)), "{live:?}");
    let mut watcher = Terminal::session(nodes.bed.server(), &nodes.bed.admin(), &id, "watch");
    watcher.until_shown("across-42");
    std::io::Write::write_all(ssh.0.stdin.as_mut().unwrap(), b"hello\n").unwrap();
    watcher.until_shown("got-hello");
    // What is durable so far lies on the other node, and is read there.
    let recording = format!("/sessions/{id}/recording");
    wait::until("the beginning of a live recording", SOON, || {
        let answer = nodes.admin_of_two().send("GET", &recording, None);
        (answer.status == 200 && answer.text.contains("across-42")).then_some(())
    });
    assert_eq!(nodes.bed.admin().send("GET", &recording, None).status, 503);
    nodes.bed.admin().post(&format!("/sessions/{id}/terminate"), json!({"reason": "enough"}));
    let end = watcher.until_told("end");
    assert_eq!(end["reason"], "terminated", "{end}");
    wait::until("the client to be ended", SOON, || ssh.0.try_wait().unwrap());
    let session = nodes.bed.ended(&id);
    assert_eq!((&session["endReason"], &session["recording"]), (&json!("terminated"), &json!("sealed")));
    assert_eq!(nodes.bed.verify(&id)["ok"], json!(true));
    assert!(nodes.bed.cast(&id).output().contains("got-hello"));
}

#[test]
fn a_node_that_dies_has_its_sessions_closed() {
    let Some(mut nodes) = Two::start() else { return };
    let _ssh = nodes.hold_on_two("dying");
    let id = text(&nodes.bed.session_of("dying-")["id"]);
    wait::until("output in the recording", SOON, || {
        let answer = nodes.admin_of_two().send("GET", &format!("/sessions/{id}/recording"), None);
        (answer.status == 200 && answer.text.contains("dying-42")).then_some(())
    });
    nodes.two.take().unwrap().kill();
    // A node is dead when it has said nothing for a minute.
    let session = wait::until("the other node to close what the dead one left", 2 * SOON, || {
        let session = nodes.bed.admin().get(&format!("/sessions/{id}"));
        session["endedAt"].is_string().then_some(session)
    });
    assert_eq!(
        (&session["endReason"], &session["live"]),
        (&json!("server_died"), &json!(false)),
        "{session}"
    );
    // When it returns, what its spool holds is sealed.
    nodes.two = Some(nodes.second.serve());
    let session = nodes.bed.ended(&id);
    let state = text(&session["recording"]);
    assert!(matches!(state.as_str(), "sealed" | "incomplete"), "{session}");
    let verified = nodes.bed.verify(&id);
    assert_eq!(verified["ok"], json!(true), "{verified}");
    assert!(nodes.bed.cast(&id).output().contains("dying-42"));
}

#[test]
fn every_node_knows_of_the_other() {
    let Some(nodes) = Two::start() else { return };
    let listed = nodes.admin_of_two().get("/nodes");
    let names: Vec<_> = listed["nodes"].as_array().unwrap().iter().map(|node| text(&node["name"])).collect();
    assert!(names.contains(&String::from("one")) && names.contains(&String::from("two")), "{listed}");
}
