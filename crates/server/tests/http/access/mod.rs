//! Access sessions and connections over HTTP: the seed's examples sent literally at both mounts, the
//! contract line by line, and the traps that another product fell into.

mod connections;
mod keys;
mod purge;
mod seed_b;
mod sessions;

use sojourn_domain::{
    access::{ClientKind, EndReason, Protocol, Purpose},
    id::{AccessSessionId, ConnectionId, UserId},
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy,
    access::{NewAccessSession, NewCommand, SessionEnd, SessionExit},
};

use crate::house::House;

/// The seed's moments: 2024-01-01T00:00:00.000Z and later.
pub(super) fn seed_time(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_704_067_200 + seconds)
}

/// A session of an hour, ended unless `live`.
pub(super) async fn session(
    house: &House,
    user: (UserId, &str),
    connection: ConnectionId,
    begun: Timestamp,
    live: bool,
) -> AccessSessionId {
    let new = NewAccessSession {
        id: Entropy.id(begun),
        user: user.0,
        user_name: user.1.to_owned(),
        connection,
        connection_name: "Web Server".to_owned(),
        protocol: Protocol::Ssh,
        purpose: Purpose::Shell,
        command: String::new(),
        target: "ssh://root@web:22".to_owned(),
        client_kind: ClientKind::Native,
        client_address: "192.0.2.1".to_owned(),
        node: "node_x".to_owned(),
        started_at: begun,
    };
    house.store.session_begin(&new).await.unwrap();
    if !live {
        let end = SessionEnd {
            at: begun + Elapsed::from_secs(3600),
            reason: EndReason::Closed,
            detail: String::new(),
            exit: Some(SessionExit::Status(0)),
            bytes_in: 10,
            bytes_out: 20,
            sha_in: None,
            sha_out: None,
        };
        assert!(house.store.session_end(new.id, &end).await.unwrap());
    }
    new.id
}

/// The seed's command, five minutes in.
pub(super) fn command(text: &str) -> NewCommand {
    NewCommand {
        id: Entropy.id(seed_time(300)),
        at: seed_time(300),
        elapsed_ms: 300_000,
        until_ms: None,
        command: text.to_owned(),
        output_preview: "total 128\n...".to_owned(),
        source: "screen".to_owned(),
        confidence: "inferred".to_owned(),
        kind: "shell".to_owned(),
        exit_code: None,
    }
}

pub(super) fn nowhere() -> ConnectionId {
    Entropy.id(seed_time(0))
}
