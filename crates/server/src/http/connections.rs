//! Connections: what may be opened, by whom, with which credential.
//!
//! Known to somebody are their own, those that are shared with them or their role, and to those
//! who see to all or see everybody's sessions all of them. Of others' there is nothing, not even a
//! refusal that differs. Where a connection leads is for those who may edit it, or see everybody's sessions.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use sojourn_domain::{
    access::{AuthKind, Protocol},
    connections::{ConnectionOptions, FtpTls},
    id::{ConnectionId, UserId},
    identity::{Line, UserName},
    policy::Permission,
};
use sojourn_gateway::{
    keys::host_key,
    protocols::{
        Credential, HostKeyRule, Target,
        probe::{Probe, probe},
    },
};
use sojourn_store::{
    audit::Deed,
    connections::{
        Connection, ConnectionChange, ConnectionFilter, ConnectionGrant, Grantee, ListedConnection,
        NewConnection, Reach,
    },
};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, Allowed, Known, may},
    extract::{Json, OptionalJson, Path, Query},
    page::Page,
    problem::{Problem, ProblemBody},
    sessions::text,
    wire::{
        access::words,
        connections::{
            ConnectionBody, ConnectionPatch, Connections, GrantBody, GrantKind, GrantRequest, GrantsRequest,
            HostKeyBody, HostKeyRequest, MayBody, NewConnectionRequest, OptionsBody, PolicyBody, SeenKeyBody,
            TestBody, TestRequest,
        },
        schema,
        values::{Done, Time},
    },
};
use crate::{
    credentials::{self, Given, Misfit},
    state::AppState,
};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;
const NOTES: usize = 10_000;

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(list, create))
        .routes(routes!(one, change, remove))
        .routes(routes!(share))
        .routes(routes!(pin, forget))
        .routes(routes!(test))
        .routes(routes!(test_new))
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        Self::invalid(misfit.field, misfit.message)
    }
}

/// What somebody may know of.
pub(super) fn reach(actor: &Actor) -> Reach<'_> {
    let all = [Permission::ConnectionsEditAny, Permission::ConnectionsDeleteAny, Permission::SessionsViewAny];
    Reach {
        user: actor.user,
        role: &actor.role,
        all: all.into_iter().any(|permission| actor.may(permission)),
    }
}

pub(super) fn no_such_connection() -> Problem {
    Problem::not_found("such connection")
}

fn rights(actor: &Actor, connection: &Connection, granted: bool) -> MayBody {
    let own = connection.owner == Some(actor.user);
    let either = |of_own, of_any| (own && actor.may(of_own)) || actor.may(of_any);
    let edit_any = actor.may(Permission::ConnectionsEditAny);
    MayBody {
        r#use: (own || granted || edit_any)
            && actor.may(Permission::ConnectionsUse)
            && actor.may(connection.protocol.permission()),
        edit: either(Permission::ConnectionsEditOwn, Permission::ConnectionsEditAny),
        delete: either(Permission::ConnectionsDeleteOwn, Permission::ConnectionsDeleteAny),
        share: (own || edit_any) && actor.may(Permission::ConnectionsShare),
    }
}

fn body(actor: &Actor, listed: ListedConnection, grants: Option<Vec<ConnectionGrant>>) -> ConnectionBody {
    let ListedConnection { connection, granted, last_used_at, live_sessions } = listed;
    let may = rights(actor, &connection, granted);
    let open = may.edit || actor.may(Permission::SessionsViewAny);
    let host_key = connection.host_key.as_ref().map(|key| HostKeyBody {
        fingerprint: key.fingerprint(),
        algorithm: key.algorithm().map(str::to_owned),
        pinned_at: Time(key.at),
        pinned_by: key.by.clone(),
    });
    let options = if open {
        connection.options
    } else {
        ConnectionOptions { share: String::new(), domain: String::new(), ..connection.options }
    };
    ConnectionBody {
        id: connection.id.to_string(),
        name: connection.name,
        protocol: connection.protocol.key(),
        host: open.then_some(connection.host),
        port: open.then_some(connection.port),
        username: open.then_some(connection.username),
        auth: connection.auth.key(),
        has_secret: connection.secret.is_some(),
        host_key,
        owner_id: connection.owner.map(|owner| owner.to_string()),
        owner_name: connection.owner_name,
        folder: connection.folder,
        tags: connection.tags,
        notes: connection.notes,
        policy: PolicyBody(connection.policy),
        options: OptionsBody(options),
        grants: grants.filter(|_| may.edit).map(|grants| grants.into_iter().map(grant_body).collect()),
        may,
        last_used_at: last_used_at.map(Time),
        live_sessions,
        created_at: Time(connection.created_at),
        updated_at: Time(connection.updated_at),
    }
}

fn grant_body(grant: ConnectionGrant) -> GrantBody {
    match grant.grantee {
        Grantee::User(user) => GrantBody { kind: "user", id: user.to_string(), name: grant.name },
        Grantee::Role(role) => GrantBody { kind: "role", id: role, name: grant.name },
    }
}

/// The connection, if the caller may know of it.
pub(super) async fn known(state: &AppState, actor: &Actor, id: &str) -> Result<ListedConnection, Problem> {
    let id: ConnectionId = id.parse().map_err(|_| no_such_connection())?;
    if let Some(found) = state.store.connection(&reach(actor), id).await? {
        return Ok(found);
    }
    match state.store.connection(&Reach { all: true, ..reach(actor) }, id).await? {
        Some(_) => Err(Problem::hidden("such connection")),
        None => Err(no_such_connection()),
    }
}

/// As [`known`], and the caller may do this with it.
async fn allowed(
    state: &AppState,
    actor: &Actor,
    id: &str,
    what: &str,
    which: impl Fn(&MayBody) -> bool,
) -> Result<Connection, Problem> {
    let found = known(state, actor, id).await?;
    if which(&rights(actor, &found.connection, found.granted)) {
        return Ok(found.connection);
    }
    Err(Problem::forbidden("connection_not_yours", format!("you may not {what} this connection")))
}

async fn shown(state: &AppState, actor: &Actor, id: ConnectionId) -> Result<ConnectionBody, Problem> {
    let found = state.store.connection(&reach(actor), id).await?.ok_or_else(no_such_connection)?;
    let grants = state.store.connection_grants(id).await?;
    Ok(body(actor, found, Some(grants)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Text in the name, folder, tags, notes or (where it may be seen) host.
    #[param(max_length = 500)]
    q: Option<String>,
    #[param(max_length = 128)]
    folder: Option<String>,
    #[param(max_length = 64)]
    tag: Option<String>,
    #[param(schema_with = words::protocol, required = false)]
    protocol: Option<Protocol>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000)]
    page: Option<u32>,
    /// 1 to 1000, 100 unless said otherwise.
    #[param(schema_with = schema::limit, required = false)]
    limit: Option<u32>,
}

/// The connections that the caller may know of, by name
#[utoipa::path(
    get, path = "/connections", tag = "connections", operation_id = "list_connections",
    params(ListQuery),
    responses((status = 200, body = Connections))
)]
async fn list(
    Known { state, actor }: Known,
    Query(query): Query<ListQuery>,
) -> Result<Json<Connections>, Problem> {
    let page = Page::new(query.page, query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let filter = ConnectionFilter {
        q: text(query.q)?,
        folder: query.folder.filter(|folder| !folder.is_empty()),
        tag: query.tag.filter(|tag| !tag.is_empty()),
        protocol: query.protocol,
    };
    let reach = reach(&actor);
    let (found, total) =
        state.store.connections(&reach, &filter, i64::from(page.limit), page.offset()).await?;
    let shelves = state.store.connection_shelves(&reach).await?;
    Ok(Json(Connections {
        connections: found.into_iter().map(|listed| body(&actor, listed, None)).collect(),
        page: page.number,
        limit: page.limit,
        total,
        folders: shelves.folders,
        tags: shelves.tags,
    }))
}

/// A connection
#[utoipa::path(
    get, path = "/connections/{id}", tag = "connections", operation_id = "get_connection",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = ConnectionBody))
)]
async fn one(Known { state, actor }: Known, Path(id): Path<String>) -> Result<Json<ConnectionBody>, Problem> {
    let found = known(&state, &actor, &id).await?;
    let grants = state.store.connection_grants(found.connection.id).await?;
    Ok(Json(body(&actor, found, Some(grants))))
}

/// Make a connection
#[utoipa::path(
    post, path = "/connections", tag = "connections", operation_id = "create_connection",
    request_body = NewConnectionRequest,
    responses(
        (status = 201, body = ConnectionBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The name is taken"),
    )
)]
async fn create(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsCreate>,
    Json(request): Json<NewConnectionRequest>,
) -> Result<(StatusCode, Json<ConnectionBody>), Problem> {
    if !request.grants.is_empty() {
        actor.require(Permission::ConnectionsShare)?;
    }
    let now = state.now();
    let id = state.entropy.id(now);
    let given = Given {
        password: request.password,
        private_key: request.private_key,
        passphrase: request.passphrase,
    };
    let auth = request.auth.unwrap_or_else(|| given.kind());
    credentials::check_kind(request.protocol, auth)?;
    let kept = credentials::kept(auth, &given)?;
    let new = NewConnection {
        id,
        name: request.name,
        protocol: request.protocol,
        host: request.host,
        port: port(request.port)?.unwrap_or(request.protocol.default_port()),
        username: request.username.into_string(),
        auth,
        secret: credentials::sealed(&state.access.vault, id, kept.as_ref().map(|text| text.as_str()))?,
        host_key: request.host_key.as_deref().map(|text| read_host_key("hostKey", text)).transpose()?,
        owner: actor.user,
        folder: request.folder.into_string(),
        tags: tags(request.tags)?,
        notes: notes(request.notes)?,
        policy: request.policy.map(|policy| policy.0).unwrap_or_default(),
        options: options(request.options, request.protocol)?,
        grants: grantees(&state, &request.grants).await?,
    };
    state.store.connection_create(&new, &actor.by(now)).await?;
    Ok((StatusCode::CREATED, Json(shown(&state, &actor, id).await?)))
}

fn options(given: Option<OptionsBody>, protocol: Protocol) -> Result<ConnectionOptions, Misfit> {
    Ok(given.map(|options| options.0).unwrap_or_default().fitted(protocol)?)
}

fn port(port: Option<u16>) -> Result<Option<u16>, Problem> {
    if port == Some(0) {
        return Err(Problem::invalid("port", "expected 1 to 65535"));
    }
    Ok(port)
}

fn read_host_key(field: &str, text: &str) -> Result<String, Problem> {
    host_key(text).map_err(|error| Problem::invalid(field, error.to_string()))
}

fn tags(tags: Vec<Line<64>>) -> Result<Vec<String>, Problem> {
    if tags.len() > 50 {
        return Err(Problem::invalid("tags", "expected at most 50"));
    }
    let mut names: Vec<String> = Vec::with_capacity(tags.len());
    for tag in tags {
        let tag = tag.into_string();
        if tag.trim().is_empty() {
            return Err(Problem::invalid("tags", "a tag is not empty"));
        }
        if !names.contains(&tag) {
            names.push(tag);
        }
    }
    Ok(names)
}

/// Several lines, and no other control characters.
fn notes(notes: String) -> Result<String, Problem> {
    let odd = |char: char| char.is_control() && !matches!(char, '\n' | '\r' | '\t');
    if notes.chars().count() > NOTES || notes.chars().any(odd) {
        return Err(Problem::invalid(
            "notes",
            format!("expected at most {NOTES} characters without control characters but line ends"),
        ));
    }
    Ok(notes)
}

/// Looks up whom to share with.
async fn grantees(state: &AppState, grants: &[GrantRequest]) -> Result<Vec<Grantee>, Problem> {
    if grants.len() > 1000 {
        return Err(Problem::invalid("grants", "expected at most 1000"));
    }
    let mut found = Vec::with_capacity(grants.len());
    for (index, grant) in grants.iter().enumerate() {
        let field = || format!("grants[{index}]");
        let nobody = || Problem::invalid(field(), "there is no such user or role");
        let grantee = match (grant.kind, &grant.id, &grant.name) {
            (_, Some(_), Some(_)) | (_, None, None) => {
                return Err(Problem::invalid(field(), "give either id or name"));
            }
            (GrantKind::User, Some(id), None) => {
                let id: UserId = id.parse().map_err(|_| nobody())?;
                Grantee::User(state.store.user(id).await?.ok_or_else(nobody)?.id)
            }
            (GrantKind::User, None, Some(name)) => {
                let name: UserName = name.parse().map_err(|_| nobody())?;
                Grantee::User(state.store.user_by_name(&name).await?.ok_or_else(nobody)?.id)
            }
            (GrantKind::Role, Some(name), None) | (GrantKind::Role, None, Some(name)) => {
                if name.contains('\0') || state.store.role_permissions(name).await?.is_none() {
                    return Err(nobody());
                }
                Grantee::Role(name.clone())
            }
        };
        if !found.contains(&grantee) {
            found.push(grantee);
        }
    }
    Ok(found)
}

/// Change a connection
///
/// A kept password is bound to the host that it was given for: with another protocol, host or port it has
/// to be given again.
#[utoipa::path(
    patch, path = "/connections/{id}", tag = "connections", operation_id = "change_connection",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = ConnectionPatch,
    responses(
        (status = 200, body = ConnectionBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The name is taken"),
    )
)]
async fn change(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Json(request): Json<ConnectionPatch>,
) -> Result<Json<ConnectionBody>, Problem> {
    let before = allowed(&state, &actor, &id, "change", |may| may.edit).await?;
    let given = Given {
        password: request.password,
        private_key: request.private_key,
        passphrase: request.passphrase,
    };
    let protocol = request.protocol.unwrap_or(before.protocol);
    let port = port(request.port)?;
    let options = match request.options {
        Some(options) => options.0,
        None => before.options.carried_to(protocol),
    };
    let options = options.fitted(protocol).map_err(Misfit::from)?;
    let moved = protocol != before.protocol
        || request.host.as_ref().is_some_and(|host| host.as_str() != before.host)
        || port.is_some_and(|port| port != before.port)
        || options.tls != before.options.tls;
    let auth = match request.auth {
        Some(auth) => auth,
        None if given.private_key.is_some() || given.password.is_some() => given.kind(),
        None => before.auth,
    };
    credentials::check_kind(protocol, auth)?;
    let secret = if given.is_empty() && auth == before.auth {
        if moved && auth == AuthKind::Password && before.secret.is_some() {
            return Err(Problem::invalid(
                "password",
                "give it again: it was given for another host, or for another protection",
            ));
        }
        None
    } else {
        let kept = credentials::kept(auth, &given)?;
        Some(credentials::sealed(&state.access.vault, before.id, kept.as_ref().map(|text| text.as_str()))?)
    };
    let change = ConnectionChange {
        name: request.name,
        protocol: request.protocol,
        host: request.host,
        port,
        username: request.username.map(Line::into_string),
        auth: (auth != before.auth).then_some(auth),
        secret,
        folder: request.folder.map(Line::into_string),
        tags: request.tags.map(tags).transpose()?,
        notes: request.notes.map(notes).transpose()?,
        policy: request.policy.map(|policy| policy.0),
        options: (options != before.options).then_some(options),
    };
    let changed = state.store.connection_update(before.id, &change, &actor.by(state.now())).await?;
    changed.ok_or_else(no_such_connection)?;
    Ok(Json(shown(&state, &actor, before.id).await?))
}

/// Remove a connection
///
/// Sessions that were had on it keep its name.
#[utoipa::path(
    delete, path = "/connections/{id}", tag = "connections", operation_id = "remove_connection",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = Done))
)]
async fn remove(Known { state, actor }: Known, Path(id): Path<String>) -> Result<Json<Done>, Problem> {
    let connection = allowed(&state, &actor, &id, "remove", |may| may.delete).await?;
    if state.store.connection_delete(connection.id, &actor.by(state.now())).await? {
        Ok(Json(Done::OK))
    } else {
        Err(no_such_connection())
    }
}

/// Share a connection with these users and roles, and with nobody else
#[utoipa::path(
    put, path = "/connections/{id}/grants", tag = "connections", operation_id = "share_connection",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = GrantsRequest,
    responses((status = 200, body = ConnectionBody))
)]
async fn share(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Json(request): Json<GrantsRequest>,
) -> Result<Json<ConnectionBody>, Problem> {
    let connection = allowed(&state, &actor, &id, "share", |may| may.share).await?;
    let grants = grantees(&state, &request.grants).await?;
    if !state.store.connection_share(connection.id, &grants, &actor.by(state.now())).await? {
        return Err(no_such_connection());
    }
    Ok(Json(shown(&state, &actor, connection.id).await?))
}

/// Pin the target's host key
///
/// In the place of whatever was pinned.
#[utoipa::path(
    put, path = "/connections/{id}/host-key", tag = "connections", operation_id = "pin_host_key",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body = HostKeyRequest,
    responses((status = 200, body = ConnectionBody))
)]
async fn pin(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    Json(request): Json<HostKeyRequest>,
) -> Result<Json<ConnectionBody>, Problem> {
    let connection = allowed(&state, &actor, &id, "change", |may| may.edit).await?;
    let key = read_host_key("fingerprint", &request.fingerprint)?;
    state.store.connection_pin(connection.id, Some(&key), &actor.by(state.now())).await?;
    Ok(Json(shown(&state, &actor, connection.id).await?))
}

/// Forget the target's host key
///
/// The next one that is seen is pinned by whoever comes first and may edit the connection.
#[utoipa::path(
    delete, path = "/connections/{id}/host-key", tag = "connections", operation_id = "forget_host_key",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = Done))
)]
async fn forget(Known { state, actor }: Known, Path(id): Path<String>) -> Result<Json<Done>, Problem> {
    let connection = allowed(&state, &actor, &id, "change", |may| may.edit).await?;
    state.store.connection_pin(connection.id, None, &actor.by(state.now())).await?;
    Ok(Json(Done::OK))
}

/// Try a connection out
///
/// Reaches the target, looks at its host key and logs in with what is kept, or with the password that is
/// given. Nothing is pinned and no session is begun. Without a pinned key only those who may pin one
/// send a credential.
#[utoipa::path(
    post, path = "/connections/{id}/test", tag = "connections", operation_id = "test_connection",
    params(("id" = String, Path, description = "The connection's id", pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    request_body(content = inline(Option<TestRequest>)),
    responses((status = 200, body = TestBody))
)]
async fn test(
    Known { state, actor }: Known,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<TestRequest>,
) -> Result<Json<TestBody>, Problem> {
    let found = known(&state, &actor, &id).await?;
    let may = rights(&actor, &found.connection, found.granted);
    if !(may.r#use || may.edit) {
        return Err(Problem::forbidden("connection_not_yours", "you may not use this connection"));
    }
    let connection = found.connection;
    let credential = match (connection.auth, request.unwrap_or_default().password) {
        (AuthKind::Prompt, Some(password)) => Some(credentials::password(&password)),
        // The user's own agent is not here, and nobody was asked for a password.
        (AuthKind::Prompt, None) | (AuthKind::Agent, _) => None,
        (AuthKind::Password | AuthKind::Key, _) if connection.secret.is_none() => None,
        (AuthKind::Password | AuthKind::Key | AuthKind::None, _) => {
            // The log says why.
            Some(Credential::kept(&connection, &state.access.vault).map_err(|_| Problem::internal())?)
        }
    };
    // A password must not go to a host that nobody has vouched for.
    let vouched = connection.host_key.is_some() || may.edit || !shows_keys(&connection);
    let credential = credential.filter(|_| vouched);
    let target = credentials::target(&connection);
    let probe = probe(connection.protocol, &target, credential.as_ref(), &credentials::rules(&state)).await;
    let deed = Deed::done(
        "connection.test",
        connection.id,
        json!({"name": connection.name, "reached": probe.reached, "message": probe.message}),
    );
    state.store.audit(&actor.by(state.now()), deed).await?;
    Ok(Json(test_body(probe)))
}

/// Try a connection out before it is made
#[utoipa::path(
    post, path = "/connections/test", tag = "connections", operation_id = "test_new_connection",
    request_body = NewConnectionRequest,
    responses((status = 200, body = TestBody))
)]
async fn test_new(
    Allowed { state, actor, .. }: Allowed<may::ConnectionsCreate>,
    Json(request): Json<NewConnectionRequest>,
) -> Result<Json<TestBody>, Problem> {
    let given = Given {
        password: request.password,
        private_key: request.private_key,
        passphrase: request.passphrase,
    };
    let auth = request.auth.unwrap_or_else(|| given.kind());
    credentials::check_kind(request.protocol, auth)?;
    if auth != AuthKind::Prompt || given.password.is_none() {
        credentials::kept(auth, &given)?;
    }
    let host_key = request.host_key.as_deref().map(|text| read_host_key("hostKey", text)).transpose()?;
    let target = Target {
        host: request.host.as_str().to_owned(),
        port: port(request.port)?.unwrap_or(request.protocol.default_port()),
        username: request.username.into_string(),
        auth,
        options: options(request.options, request.protocol)?,
        host_key: host_key.map_or(HostKeyRule::FirstUse, HostKeyRule::Pinned),
    };
    let credential = credentials::given(&given);
    let probe = probe(request.protocol, &target, credential.as_ref(), &credentials::rules(&state)).await;
    let deed = Deed::done(
        "connection.test",
        "",
        json!({"name": request.name, "host": target.host, "port": target.port, "reached": probe.reached,
               "message": probe.message}),
    );
    state.store.audit(&actor.by(state.now()), deed).await?;
    Ok(Json(test_body(probe)))
}

/// Whether a target proves who it is, so that somebody can vouch for it.
fn shows_keys(connection: &Connection) -> bool {
    match connection.protocol {
        // A VNC target may have a certificate; whether it does is known once it was asked.
        Protocol::Ssh | Protocol::Sftp | Protocol::Rdp | Protocol::Vnc => true,
        Protocol::Ftp => connection.options.ftp_tls() != FtpTls::None,
        Protocol::Telnet | Protocol::Smb => false,
    }
}

fn test_body(probe: Probe) -> TestBody {
    TestBody {
        ok: probe.is_good(),
        message: probe.message,
        reached: probe.reached,
        latency_ms: probe.latency.and_then(|latency| i64::try_from(latency.as_millis()).ok()),
        host_key: probe
            .host_key
            .map(|key| SeenKeyBody { algorithm: key.algorithm, fingerprint: key.fingerprint }),
        pinned: credentials::pinned_word(probe.pinned),
        login: credentials::login_word(probe.login),
    }
}
