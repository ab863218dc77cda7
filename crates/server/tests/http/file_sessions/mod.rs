//! File sessions over HTTP: the seed's examples sent literally at both mounts, the contract line by line, and
//! the traps that another product fell into.

mod export;
mod list;
mod purge;
mod seed_b;

use sojourn_domain::{
    access::{ClientKind, EndReason},
    files::{Fact, FileAction, FileProtocol},
    id::{ConnectionId, FileSessionId, UserId},
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy,
    files::{NewFileEvent, NewFileSession},
};

use crate::house::House;

/// The seed's moments: 2024-01-01T00:00:00.000Z and later.
fn seed_time(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_704_067_200 + seconds)
}

/// The id of nothing.
const NOBODYS: &str = "fsess_01h455vb4pex5vsknk084sn02q";

/// A file session of half an hour on `connection`, as the seed has it.
fn new(user: (UserId, &str), connection: ConnectionId, begun: Timestamp) -> NewFileSession {
    NewFileSession {
        id: Entropy.id(begun),
        user: user.0,
        user_name: user.1.to_owned(),
        connection,
        connection_name: "Files Server".to_owned(),
        protocol: FileProtocol::Sftp,
        target: "sftp://root@nas:22".to_owned(),
        client_kind: ClientKind::Native,
        client_address: "192.0.2.1".to_owned(),
        node: "node_x".to_owned(),
        access_session: None,
        started_at: begun,
    }
}

async fn begin(house: &House, new: NewFileSession, live: bool) -> FileSessionId {
    house.store.file_session_begin(&new).await.unwrap();
    if !live {
        let at = new.started_at + Elapsed::from_secs(1800);
        assert!(house.store.file_session_end(new.id, at, EndReason::Closed, "").await.unwrap());
    }
    new.id
}

fn event(at: Timestamp, action: FileAction, path: &str) -> NewFileEvent {
    NewFileEvent { id: Entropy.id(at), at, fact: Fact::new(action, path, at) }
}

/// The seed's upload, five minutes in.
fn upload() -> NewFileEvent {
    let mut upload = event(seed_time(300), FileAction::Upload, "/var/www/html/index.html");
    upload.fact.bytes = Some(12_400);
    upload
}

fn somewhere() -> ConnectionId {
    Entropy.id(seed_time(0))
}
