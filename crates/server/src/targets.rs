//! From an admission to a target that was reached: the credential is unsealed here, the host key is pinned here.

use serde_json::json;
use sojourn_domain::access::{AuthKind, EndReason, Protocol};
use sojourn_gateway::{
    admission::Admission,
    protocols::{
        self, ConnectError, Credential, Secret, Target, TerminalRequest,
        rdp::{self, clipboard::Passed},
        ssh::SeenKey,
        telnet, vnc,
    },
    session::{
        Begun,
        ends::{TargetEnd, TerminalSize},
    },
};
use sojourn_store::{
    Store,
    audit::{ActorKind, By, Deed},
};

use tokio::sync::oneshot;

use crate::{credentials, http::problem::chain, state::AppState};

/// The terminal that somebody wants.
pub struct Wanted {
    /// The target's, where the connection asks the user for it.
    pub password: Option<String>,
    pub term: String,
    pub size: TerminalSize,
}

/// Pins the key that a target showed when none was known. Refused where another was pinned meanwhile.
pub async fn pin(store: &Store, admission: &Admission, key: &SeenKey, by: &By) -> Result<(), ConnectError> {
    let connection = admission.connection();
    let failed = |error: &sojourn_store::StoreError| {
        tracing::error!(connection.id = %connection.id, error = chain(error), "a host key could not be pinned");
        ConnectError::new(EndReason::Failed, "the target's host key could not be pinned")
    };
    if store.connection_pin_first(connection.id, &key.text, by).await.map_err(|error| failed(&error))? {
        return Ok(());
    }
    let again = Admission::check(store, admission.user(), &connection.id.to_string()).await;
    let pinned = again.ok().and_then(|admission| admission.connection().host_key.clone());
    if pinned.is_some_and(|pinned| pinned.fingerprint() == key.fingerprint) {
        return Ok(());
    }
    Err(ConnectError::new(EndReason::HostKey, "another host key was pinned at the same moment"))
}

/// Tells the audit trail that a target showed another host key than it should, or one that nobody pinned.
pub async fn key_refused(state: &AppState, admission: &Admission, error: &ConnectError, by: By) {
    let connection = admission.connection();
    let detail = json!({"name": connection.name, "message": error.message});
    let deed = Deed::refused("connection.host_key", connection.id, detail);
    let reason = if connection.host_key.is_some() { "changed" } else { "not_pinned" };
    state.refusals.note(by, deed, reason).await;
}

/// Reaches the target of a session that was begun, and starts a terminal on it.
pub async fn open(
    state: &AppState,
    admission: &Admission,
    begun: &Begun,
    wanted: Wanted,
) -> Result<TargetEnd, ConnectError> {
    let by = by(state, admission, begun);
    let protocol = admission.connection().protocol;
    let credential = credential(state, admission, wanted.password)?;
    let target = Target::of(admission);
    let rules = credentials::rules(state);
    // A browser speaks UTF-8; a target without the locale, or that takes none, stays as it is.
    let env = vec![("LANG".to_owned(), "C.UTF-8".to_owned())];
    let request = TerminalRequest { term: wanted.term, size: wanted.size, env };
    match protocol {
        Protocol::Ssh => {
            let opened = protocols::open_ssh_terminal(&target, &credential, &rules, request).await;
            let (end, greeting) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    if error.reason == EndReason::HostKey {
                        key_refused(state, admission, &error, by).await;
                    }
                    return Err(error);
                }
            };
            if greeting.first_use {
                pin(&state.store, admission, &greeting.host_key, &by).await?;
            }
            Ok(end)
        }
        Protocol::Telnet => telnet::open_terminal(&target, &credential, &rules, request).await,
        Protocol::Sftp | Protocol::Ftp | Protocol::Smb => Err(protocols::files_only(protocol)),
        Protocol::Rdp | Protocol::Vnc => Err(protocols::desktop_only(protocol)),
    }
}

/// Reaches the target of a session that was begun, and gives its desktop.
pub async fn open_desktop(
    state: &AppState,
    admission: &Admission,
    begun: &Begun,
    password: Option<String>,
) -> Result<TargetEnd, ConnectError> {
    let connection = admission.connection();
    let credential = credential(state, admission, password)?;
    let target = Target::of(admission);
    let rules = credentials::rules(state);
    match connection.protocol {
        Protocol::Vnc => {
            let Some(witness) = begun.witness() else {
                return Err(ConnectError::new(EndReason::Failed, "the session was not begun as a desktop's"));
            };
            let (name, policy) = (connection.name.clone(), connection.policy.desktop);
            let wanted = vnc::Wanted { name, policy, witness };
            let by = by(state, admission, begun);
            let (end, certificate) = match vnc::open(&target, &credential, &rules, wanted).await {
                Ok(opened) => opened,
                Err(error) => {
                    if error.reason == EndReason::HostKey {
                        key_refused(state, admission, &error, by).await;
                    }
                    return Err(error);
                }
            };
            if let Some(certificate) = certificate.filter(|_| connection.host_key.is_none()) {
                pin(&state.store, admission, &certificate, &by).await?;
            }
            Ok(end)
        }
        Protocol::Rdp => {
            let Some(witness) = begun.witness() else {
                return Err(ConnectError::new(EndReason::Failed, "the session was not begun as a desktop's"));
            };
            let by = by(state, admission, begun);
            let clips = tell_clips(state, begun, by.clone());
            let wanted = rdp::Wanted {
                policy: connection.policy.desktop,
                files: connection.policy.allow_files,
                witness,
                clips: Some(clips),
            };
            let (end, certificate) = match rdp::open(&target, &credential, &rules, wanted).await {
                Ok(opened) => opened,
                Err(error) => {
                    if error.reason == EndReason::HostKey {
                        key_refused(state, admission, &error, by).await;
                    }
                    return Err(error);
                }
            };
            if let Some(certificate) = certificate.filter(|_| connection.host_key.is_none()) {
                pin(&state.store, admission, &certificate, &by).await?;
            }
            Ok(end)
        }
        Protocol::Ssh | Protocol::Telnet | Protocol::Sftp | Protocol::Ftp | Protocol::Smb => {
            Err(ConnectError::new(EndReason::Denied, "this connection has no desktop"))
        }
    }
}

/// Writes down, when a desktop was left, what passed of its clipboard and what was refused.
fn tell_clips(state: &AppState, begun: &Begun, by: By) -> oneshot::Sender<rdp::ClipReport> {
    let (clips, told) = oneshot::channel();
    let (state, session) = (state.clone(), begun.id());
    tokio::spawn(async move {
        // Dropped unsaid where there was no desktop.
        let Ok(rdp::ClipReport { copied, pasted }) = told.await else { return };
        if copied == Passed::default() && pasted == Passed::default() {
            return;
        }
        let passed = |passed: Passed| {
            json!({
                "texts": passed.texts, "fileParts": passed.files, "bytes": passed.bytes, "refused": passed.refused,
            })
        };
        let deed = Deed::done(
            "desktop.clipboard",
            session,
            json!({"copied": passed(copied), "pasted": passed(pasted)}),
        );
        let by = By { at: state.now(), ..by };
        if let Err(error) = state.store.audit(&by, deed).await {
            tracing::error!(session.id = %session, error = chain(&error), "what passed of a clipboard was not written down");
        }
    });
    clips
}

/// What proves to the target who comes: what is kept, or what the user was asked for.
fn credential(
    state: &AppState,
    admission: &Admission,
    password: Option<String>,
) -> Result<Credential, ConnectError> {
    match (admission.connection().auth, password) {
        (AuthKind::Agent, _) => Err(ConnectError::new(
            EndReason::Denied,
            "this connection uses the agent of an SSH client, which a browser does not have",
        )),
        (AuthKind::Prompt, Some(password)) => Ok(Credential::Password(Secret::new(password))),
        (AuthKind::Password | AuthKind::Key | AuthKind::Prompt | AuthKind::None, _) => {
            Credential::kept(admission.connection(), &state.access.vault)
        }
    }
}

fn by(state: &AppState, admission: &Admission, begun: &Begun) -> By {
    By::user(
        ActorKind::User,
        admission.user(),
        admission.user_name(),
        state.now(),
        begun.facts().client_address.clone(),
    )
}
