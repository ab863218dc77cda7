//! From a request to the file session that it belongs to.

use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use sojourn_domain::{
    access::{AuthKind, ClientKind, EndReason, Protocol},
    files::FileProtocol,
    id::ConnectionId,
};
use sojourn_gateway::{
    admission::Admission,
    files::{
        self,
        session::{FileOpening, FileSession},
    },
    protocols::{Credential, Secret, Target},
};
use utoipa_axum::routes;

use super::{
    list::capabilities,
    tabs::{self, InUse, Version},
};
use crate::{
    credentials,
    http::{
        Routes,
        actor::{Actor, Allowed, may},
        extract::{Json, Path},
        problem::{Problem, ProblemBody},
        wire::files::{LoginRequest, OpenedBody},
    },
    state::AppState,
    targets,
};

/// The header in which the server says which file session it was.
const SESSION: &str = "sojourn-file-session";

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(login)).routes(routes!(leave)).routes(routes!(leave_by_beacon))
}

/// The file session that a request belongs to; it is opened where the page has none.
pub(super) async fn enter(
    state: &AppState,
    actor: &Actor,
    connection: ConnectionId,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<InUse, Problem> {
    enter_with(state, actor, connection, tabs::name(headers, query)?, None).await
}

/// Whether the caller may touch files over a connection at all.
pub(super) async fn admitted(
    state: &AppState,
    actor: &Actor,
    connection: ConnectionId,
) -> Result<Admission, Problem> {
    let admission = Admission::check(&state.store, actor.user, &connection.to_string()).await?;
    // A token may be allowed less than its user.
    actor.require(admission.connection().protocol.permission())?;
    if !admission.connection().policy.allow_files {
        return Err(Problem::forbidden("files_not_allowed", "the connection does not allow file transfer"));
    }
    Ok(admission)
}

async fn enter_with(
    state: &AppState,
    actor: &Actor,
    connection: ConnectionId,
    tab: String,
    password: Option<Secret>,
) -> Result<InUse, Problem> {
    let admission = admitted(state, actor, connection).await?;
    let version = Version::of(admission.connection());
    let open = || open(state, actor, &admission, password);
    state.tabs.session(actor, connection, version, tab, open).await
}

/// Begins a file session: first its row, then the target.
async fn open(
    state: &AppState,
    actor: &Actor,
    admission: &Admission,
    password: Option<Secret>,
) -> Result<FileSession, Problem> {
    let connection = admission.connection();
    let credential = match (connection.auth, password) {
        (AuthKind::Agent, _) => {
            return Err(Problem::conflict(
                "agent_needed",
                "this connection uses the agent of an SSH client, which a browser does not have",
            ));
        }
        (AuthKind::Prompt, Some(password)) => Credential::Password(password),
        (AuthKind::Prompt, None) => {
            return Err(Problem::conflict(
                "password_needed",
                "this connection asks for the target's password: send it to POST …/login",
            ));
        }
        (AuthKind::Password | AuthKind::Key | AuthKind::None, _) => {
            Credential::kept(connection, &state.access.vault)?
        }
    };
    let protocol = match connection.protocol {
        Protocol::Ssh | Protocol::Sftp => FileProtocol::Sftp,
        Protocol::Ftp => FileProtocol::Ftp,
        Protocol::Smb => FileProtocol::Smb,
        Protocol::Telnet | Protocol::Rdp | Protocol::Vnc => {
            return Err(Problem::conflict("no_files", "a connection of this protocol has no files"));
        }
    };
    let opening = FileOpening {
        protocol,
        client_kind: ClientKind::Web,
        client_address: actor.client.address.to_string(),
        access_session: None,
    };
    let journal = state.files.begin(admission, opening).await?;
    let target = Target::of(admission);
    let rules = credentials::rules(state);
    let reached = tokio::select! {
        reached = files::open(connection.protocol, &target, &credential, &rules) => reached,
        ended = journal.ended() => return Err(ended.into()),
    };
    let by = actor.by(state.now());
    let reached = match reached {
        Ok(opened) => match (&opened.host_key, opened.first_use) {
            (Some(key), true) => targets::pin(&state.store, admission, key, &by).await.map(|()| opened),
            (Some(_) | None, _) => Ok(opened),
        },
        Err(error) => Err(error),
    };
    match reached {
        Ok(opened) => Ok(FileSession::new(journal, opened.fs, connection.policy.files.clone())),
        Err(error) => {
            if error.reason == EndReason::HostKey {
                targets::key_refused(state, admission, &error, by).await;
            }
            journal.end(error.reason, error.message.clone()).await;
            if error.reason == EndReason::LoginRefused && connection.auth == AuthKind::Prompt {
                return Err(Problem::new(StatusCode::FORBIDDEN, "login_refused", error.message));
            }
            Err(error.into())
        }
    }
}

/// Says which file session it was.
pub(super) fn of_session(used: &InUse, mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::try_from(used.session.journal().id().to_string()) {
        response.headers_mut().insert(SESSION, id);
    }
    response
}

/// Open a file session
///
/// Opens the page's file session. For connections that ask for the target's password it must be
/// given here; it is kept in memory for this file session only.
#[utoipa::path(
    post, path = "/files/{connection}/login", tag = "files", operation_id = "file_login",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    request_body = LoginRequest,
    responses(
        (status = 200, body = OpenedBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The connection has no files"),
        (status = 502, body = ProblemBody, content_type = "application/problem+json", description = "The target failed"),
        (status = 504, body = ProblemBody, content_type = "application/problem+json", description = "The target did not answer"),
    )
)]
async fn login(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Json(request): Json<LoginRequest>,
) -> Result<Response, Problem> {
    let tab = tabs::name(&headers, query.as_deref())?;
    let password = Secret::new(request.password.expose().to_owned());
    let used = enter_with(&state, &actor, connection, tab, Some(password)).await?;
    let body = OpenedBody {
        file_session: used.session.journal().id().to_string(),
        home: used.session.home().display(),
        capabilities: capabilities(&used.session),
    };
    Ok(of_session(&used, Json(body).into_response()))
}

/// Close the page's file session
///
/// What is under way in it is cut.
#[utoipa::path(
    delete, path = "/files/{connection}/session", tag = "files", operation_id = "close_file_session",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("Sojourn-Tab" = Option<String>, Header, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses((status = 204, description = "It is closed, or there was none"))
)]
async fn leave(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let tab = tabs::name(&headers, query.as_deref())?;
    state.tabs.close(&actor, connection, tab).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Close the page's file session with a beacon
///
/// What `navigator.sendBeacon` can send when a page is closed: the word stands in the query, and the body is not read.
#[utoipa::path(
    post, path = "/files/{connection}/session/close", tag = "files", operation_id = "beacon_file_session",
    params(
        ("connection" = String, Path, pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
        ("tab" = Option<String>, Query, description = "The page's own random word", pattern = "^[0-9A-Za-z_-]{0,64}$"),
    ),
    responses((status = 204, description = "It is closed, or there was none"))
)]
async fn leave_by_beacon(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsUse>,
    Path(connection): Path<ConnectionId>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let tab = tabs::name(&headers, query.as_deref())?;
    state.tabs.close(&actor, connection, tab).await;
    Ok(StatusCode::NO_CONTENT)
}
