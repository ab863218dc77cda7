//! What a front asks the house: who comes, where they may go, and that it is written down.
//!
//! The server answers with its store, its guess limits, its audit trail and the hub of sessions; a
//! test answers as it likes.

use std::{net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use sojourn_domain::{
    access::{ConnectionPolicy, EndReason, Protocol, Purpose},
    files::{FileProtocol, tap::Tap},
    id::{AccessSessionId, UserId},
};

use crate::{
    files::session::FileJournal,
    protocols::{ConnectError, Credential, Secret, Target, dial, ssh::SeenKey},
    session::ends::{ClientEnd, TargetEnd, TerminalSize},
};

/// A user who has proven who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub user: UserId,
    pub name: String,
}

/// A connection that somebody may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub name: String,
    pub folder: String,
    pub protocol: Protocol,
}

/// A session about to begin.
#[derive(Debug, Clone)]
pub struct Opening {
    pub purpose: Purpose,
    /// Of exec, or the name of the subsystem; otherwise empty.
    pub command: String,
    /// The client's address.
    pub client: SocketAddr,
    /// `TERM`; empty without a terminal.
    pub term: String,
    pub size: Option<TerminalSize>,
}

/// Who may come in.
pub trait Doorkeeper: Send + Sync + 'static {
    /// Whose password it is; an attempt is charged, as at any other door.
    fn password<'a>(
        &'a self,
        name: &'a str,
        password: Secret,
        from: SocketAddr,
    ) -> BoxFuture<'a, Option<Caller>>;

    /// Whether a key (`SHA256:…`) would let this name in. Nobody has proven anything yet.
    fn knows_key<'a>(&'a self, name: &'a str, fingerprint: &'a str, from: SocketAddr) -> BoxFuture<'a, bool>;

    /// Who it is that has proven to hold this key.
    fn key<'a>(
        &'a self,
        name: &'a str,
        fingerprint: &'a str,
        from: SocketAddr,
    ) -> BoxFuture<'a, Option<Caller>>;

    /// What the caller may choose from, by name. An error is a sentence for them.
    fn choices<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Vec<Choice>, String>>;

    /// Lets the caller through to a connection, by its name or id, as things are now. An error is a
    /// sentence for them.
    fn admit<'a>(
        &'a self,
        caller: &'a Caller,
        connection: &'a str,
        from: SocketAddr,
    ) -> BoxFuture<'a, Result<Arc<dyn Pass>, String>>;
}

/// Somebody may open a connection, now.
pub trait Pass: Send + Sync + 'static {
    /// The connection's.
    fn name(&self) -> &str;
    fn protocol(&self) -> Protocol;
    fn policy(&self) -> &ConnectionPolicy;
    fn target(&self) -> &Target;
    fn rules(&self) -> dial::Rules;
    /// The credential that is kept here; [`Credential::None`] where none is.
    fn credential(&self) -> Result<Credential, ConnectError>;
    /// The target was reached and its host key was unknown: it is the one from now on.
    fn pin(&self, key: SeenKey) -> BoxFuture<'_, Result<(), ConnectError>>;
    /// The target showed another host key than it should.
    fn key_refused(&self, error: &ConnectError) -> BoxFuture<'_, ()>;
    /// Writes the session down, before anything connects. An error is a sentence for the user.
    fn begin(&self, opening: Opening) -> BoxFuture<'_, Result<Box<dyn Seat>, String>>;
    /// Writes a file session down, before anything connects; the access session whose channel carries it, where it
    /// is a part of one. An error is a sentence for the user.
    fn begin_files(
        &self,
        protocol: FileProtocol,
        client: SocketAddr,
        carried_by: Option<AccessSessionId>,
    ) -> BoxFuture<'_, Result<FileJournal, String>>;
}

/// A session that was written down and does not run yet.
pub trait Seat: Send + 'static {
    fn id(&self) -> AccessSessionId;
    /// Waits until somebody ends it before it runs: how, and a sentence for the user.
    fn called_off(&mut self) -> BoxFuture<'_, (EndReason, String)>;
    /// A tap reads along, and the journal keeps what it finds: both end with the session.
    fn read_along(&mut self, tap: Tap, journal: FileJournal);
    /// It comes to nothing.
    fn fail(self: Box<Self>, reason: EndReason, detail: String) -> BoxFuture<'static, ()>;
    /// It runs until either end is gone.
    fn run(self: Box<Self>, target: TargetEnd, client: ClientEnd) -> Box<dyn Running>;
}

/// A session that runs.
pub trait Running: Send + Sync + 'static {
    /// Bytes that went past the session's ends: forwarded ports.
    fn count(&self, bytes_in: u64, bytes_out: u64);
    /// Where a port was forwarded to.
    fn destination(&self, text: &str);
}
