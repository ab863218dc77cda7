//! Proving who one is: the first setup, logging in and out, one's own logins and password.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use sojourn_domain::{
    id::{LoginId, UserId},
    identity::UserName,
    time::{Elapsed, Timestamp},
};
use sojourn_store::{
    audit::{By, Deed},
    identity::{Attempt, GuessSubject, NewLogin, NewUser, SecretHash, UserChange},
};
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Actor, COOKIE, Credential, Known, Visitor},
    client::Client,
    extract::{Json, Path},
    problem::{Problem, ProblemBody},
    wire::{
        identity::{
            AuthState, LoggedIn, Login, LoginRequest, Logins, Me, PasswordRequest, SetupRequest,
            permission_keys,
        },
        values::{Done, Time, some},
    },
};
use crate::{
    password::Password,
    state::{AppState, Use},
};

/// What a token's secret begins with, so that a leaked one is found by those who look for it.
pub const TOKEN_PREFIX: &str = "sjt_";
/// The use of a credential is noted no more often.
const NOTE_USE_EVERY: Elapsed = Elapsed::from_secs(60);
/// What is kept of a browser's description of itself.
const USER_AGENT_CHARS: usize = 200;

pub(super) fn router() -> Routes {
    Routes::new()
        .routes(routes!(auth_state))
        .routes(routes!(setup))
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(logins))
        .routes(routes!(end_login))
        .routes(routes!(change_password))
}

/// A new secret: 256 random bits.
pub fn new_secret(prefix: &str, entropy: sojourn_store::Entropy) -> String {
    format!("{prefix}{}", BASE64URL_NOPAD.encode(&entropy.bytes::<32>()))
}

/// The actor behind a token's secret.
pub(super) async fn by_token(
    state: &AppState,
    secret: &str,
    client: Client,
) -> Result<Option<Actor>, Problem> {
    if !secret.starts_with(TOKEN_PREFIX) {
        return Ok(None);
    }
    let now = state.now();
    let Some(bearer) = state.store.token_bearer(&SecretHash::of(secret), now).await? else { return Ok(None) };
    if bearer.last_used_at.is_none_or(|last| now.since(last) >= NOTE_USE_EVERY) {
        state.note_use(Use::Token(bearer.token, now));
    }
    let granted = bearer.identity.permissions;
    let permissions = match &bearer.permissions {
        Some(subset) => granted.intersection(subset).copied().collect(),
        None => granted,
    };
    Ok(Some(Actor {
        user: bearer.identity.user,
        name: bearer.identity.name,
        display_name: bearer.identity.display_name,
        role: bearer.identity.role,
        permissions,
        credential: Credential::Token {
            id: bearer.token,
            limited: bearer.permissions.is_some(),
            expires_at: bearer.expires_at,
        },
        client,
    }))
}

/// The actor behind a browser's cookie.
pub(super) async fn by_login(
    state: &AppState,
    secret: &str,
    client: Client,
) -> Result<Option<Actor>, Problem> {
    let now = state.now();
    let idle = state.config.login_idle;
    let Some(holder) = state.store.login_holder(&SecretHash::of(secret), now, idle).await? else {
        return Ok(None);
    };
    if now.since(holder.last_seen_at) >= NOTE_USE_EVERY {
        state.note_use(Use::Login(holder.login, now));
    }
    Ok(Some(Actor {
        user: holder.identity.user,
        name: holder.identity.name,
        display_name: holder.identity.display_name,
        role: holder.identity.role,
        permissions: holder.identity.permissions,
        credential: Credential::Login(holder.login),
        client,
    }))
}

/// Who is logged in, and what the pages need to know first
#[utoipa::path(
    get, path = "/auth/state", tag = "auth", security(()),
    responses(
        (status = 200, body = AuthState),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "A bad token"),
    )
)]
async fn auth_state(Visitor { state, actor, .. }: Visitor) -> Result<Json<AuthState>, Problem> {
    Ok(Json(AuthState {
        setup_required: state.store.setup_required().await?,
        user: actor.as_ref().map(me),
        permissions: actor.as_ref().map(|actor| permission_keys(&actor.permissions)).unwrap_or_default(),
        timezone: state.zone.iana_name().unwrap_or("UTC").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

fn me(actor: &Actor) -> Me {
    Me {
        id: actor.user.to_string(),
        name: actor.name.clone(),
        display_name: some(actor.display_name.clone()),
        role: actor.role.clone(),
    }
}

/// Make the first administrator
///
/// Works once, with the code in the link that the server printed when it started.
#[utoipa::path(
    post, path = "/auth/setup", tag = "auth", security(()),
    request_body = SetupRequest,
    responses(
        (status = 200, body = LoggedIn, headers(("Set-Cookie" = String, description = "The login"))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "The code is not the one that was printed last"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The request comes from another site's page"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "Setting up is over"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "Too many wrong codes"),
    )
)]
async fn setup(
    visitor: Visitor,
    headers: HeaderMap,
    Json(request): Json<SetupRequest>,
) -> Result<Response, Problem> {
    let Visitor { state, client, .. } = visitor;
    // Codes cannot be guessed; this is for those who try all the same.
    let subject = GuessSubject::new("?setup", client.address);
    let _turn = state.passwords.turn(&subject).await?;
    let now = state.now();
    charge(&state, &subject, client, "auth.setup", now).await?;
    let admin = NewUser {
        id: state.entropy.id(now),
        name: request.name,
        display_name: Default::default(),
        role: sojourn_domain::policy::BuiltinRole::Admin.name().parse().map_err(|_| Problem::internal())?,
        password: state.passwords.hash(request.password).await?,
    };
    let (secret, login) = new_login(&state, admin.id, &headers, client, now);
    match state.store.setup(&SecretHash::of(&request.code), &admin, &login, now).await {
        Ok(()) => {}
        Err(error) => {
            let problem = Problem::from(error);
            let deed = Deed::refused("auth.setup", "", json!({}));
            state.refusals.note(By::anonymous(now, client.address.to_string()), deed, problem.code()).await;
            return Err(problem);
        }
    }
    state.store.guess_was_right(&subject, now).await?;
    let user = Me {
        id: admin.id.to_string(),
        name: admin.name.to_string(),
        display_name: None,
        role: admin.role.to_string(),
    };
    Ok(logged_in(&state, &secret, client, user))
}

/// Log in
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", security(()),
    request_body = LoginRequest,
    responses(
        (status = 200, body = LoggedIn, headers(("Set-Cookie" = String, description = "The login"))),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "The name or the password is wrong"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The request comes from another site's page"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "Too many wrong passwords; Retry-After says when to try again"),
    )
)]
async fn login(
    visitor: Visitor,
    headers: HeaderMap,
    Json(request): Json<LoginRequest>,
) -> Result<Response, Problem> {
    let Visitor { state, client, .. } = visitor;
    let name: Option<UserName> = request.name.parse().ok();
    // All names that no user can have are one name.
    let subject = GuessSubject::new(&name.as_ref().map_or("?".to_owned(), UserName::key), client.address);
    let _turn = state.passwords.turn(&subject).await?;
    let now = state.now();
    charge(&state, &subject, client, "auth.login", now).await?;
    let user = match &name {
        Some(name) => state.store.user_by_name(name).await?,
        None => None,
    };
    let kept = match &user {
        Some(user) => state.store.user_password(user.id).await?,
        None => None,
    };
    let right = state.passwords.is_right(request.password, kept).await?;
    let (user, reason) = match user {
        Some(user) if right && !user.disabled => (user, None),
        Some(user) if right => (user, Some("disabled")),
        Some(user) => (user, Some("password")),
        None => {
            refuse_login(&state, client, "", "unknown_name", now).await;
            return Err(wrong_login());
        }
    };
    if let Some(reason) = reason {
        refuse_login(&state, client, &user.id.to_string(), reason, now).await;
        return Err(wrong_login());
    }
    state.store.guess_was_right(&subject, now).await?;
    let (secret, login) = new_login(&state, user.id, &headers, client, now);
    let by =
        By::user(sojourn_store::audit::ActorKind::User, user.id, &user.name, now, client.address.to_string());
    state.store.login_add(&login, &by).await?;
    let user = Me {
        id: user.id.to_string(),
        name: user.name,
        display_name: some(user.display_name),
        role: user.role,
    };
    Ok(logged_in(&state, &secret, client, user))
}

fn wrong_login() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "wrong_login", "the name or the password is wrong")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sojourn\""))
}

async fn refuse_login(state: &AppState, client: Client, object: &str, reason: &str, now: Timestamp) {
    let by = By::anonymous(now, client.address.to_string());
    state.refusals.note(by, Deed::refused("auth.login", object, json!({})), reason).await;
}

/// Counts an attempt at a secret, unless there were too many.
async fn charge(
    state: &AppState,
    subject: &GuessSubject,
    client: Client,
    action: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    match state.store.guess(subject, now).await? {
        Attempt::Charged => Ok(()),
        Attempt::Blocked { until } => {
            let by = By::anonymous(now, client.address.to_string());
            state.refusals.note(by, Deed::refused(action, "", json!({})), "slowed_down").await;
            let seconds = u64::try_from(until.since(now).as_micros()).unwrap_or(0).div_ceil(1_000_000);
            Err(Problem::slow_down(
                "slowed_down",
                format!("too many wrong attempts: try again in {seconds} s"),
                seconds,
            ))
        }
    }
}

fn new_login(
    state: &AppState,
    user: UserId,
    headers: &HeaderMap,
    client: Client,
    now: Timestamp,
) -> (String, NewLogin) {
    let secret = new_secret("", state.entropy);
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let login = NewLogin {
        id: state.entropy.id(now),
        user,
        secret: SecretHash::of(&secret),
        expires_at: now + state.config.login_lifetime,
        client_address: client.address.to_string(),
        user_agent: agent.chars().take(USER_AGENT_CHARS).collect(),
    };
    (secret, login)
}

fn logged_in(state: &AppState, secret: &str, client: Client, user: Me) -> Response {
    let lifetime = state.config.login_lifetime.as_secs();
    let mut response = Json(LoggedIn { ok: true, user }).into_response();
    set_cookie(&mut response, secret, lifetime, client);
    response
}

fn set_cookie(response: &mut Response, value: &str, max_age: i64, client: Client) {
    let secure = if client.secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Log out
///
/// Ends the login of the cookie, if it is one, and takes the cookie away.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", security(()),
    responses(
        (status = 200, body = Done),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "A bad token"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The request comes from another site's page"),
    )
)]
async fn logout(Visitor { state, actor, client }: Visitor) -> Result<Response, Problem> {
    if let Some(actor) = actor
        && let Credential::Login(login) = actor.credential
    {
        state.store.login_end(actor.user, login, "auth.logout", &actor.by(state.now())).await?;
    }
    let mut response = Json(Done::OK).into_response();
    set_cookie(&mut response, "", 0, client);
    Ok(response)
}

/// One's own logins, the last used first
#[utoipa::path(get, path = "/auth/logins", tag = "auth", responses((status = 200, body = Logins)))]
async fn logins(Known { state, actor }: Known) -> Result<Json<Logins>, Problem> {
    let logins = state.store.logins(actor.user, state.now(), state.config.login_idle).await?;
    let logins = logins
        .into_iter()
        .map(|login| Login {
            current: actor.credential == Credential::Login(login.id),
            id: login.id.to_string(),
            created_at: Time(login.created_at),
            last_seen_at: Time(login.last_seen_at),
            client_address: some(login.client_address),
            user_agent: some(login.user_agent),
        })
        .collect();
    Ok(Json(Logins { logins }))
}

/// End one of one's own logins
#[utoipa::path(
    delete, path = "/auth/logins/{id}", tag = "auth",
    params(("id" = String, Path, description = "The login's id", pattern = "^login_[0-7][0-9a-hjkmnp-tv-z]{25}$")),
    responses((status = 200, body = Done))
)]
async fn end_login(Known { state, actor }: Known, Path(id): Path<LoginId>) -> Result<Json<Done>, Problem> {
    if state.store.login_end(actor.user, id, "auth.end_login", &actor.by(state.now())).await? {
        Ok(Json(Done::OK))
    } else {
        Err(Problem::not_found("such login"))
    }
}

/// Change one's own password
///
/// Ends all other logins; tokens stay.
#[utoipa::path(
    post, path = "/auth/password", tag = "auth",
    request_body = PasswordRequest,
    responses(
        (status = 200, body = Done),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "Too many wrong passwords; Retry-After says when to try again"),
    )
)]
async fn change_password(
    Known { state, actor }: Known,
    Json(request): Json<PasswordRequest>,
) -> Result<Json<Done>, Problem> {
    let subject = GuessSubject::new(&actor.name.to_ascii_lowercase(), actor.client.address);
    let _turn = state.passwords.turn(&subject).await?;
    let now = state.now();
    charge(&state, &subject, actor.client, "auth.password", now).await?;
    if !confirm(&state, &actor, request.current).await? {
        let deed = Deed::refused("auth.password", actor.user, json!({}));
        state.refusals.note(actor.by(now), deed, "password").await;
        return Err(Problem::invalid("current", "this is not the current password"));
    }
    state.store.guess_was_right(&subject, now).await?;
    let change = UserChange {
        password: Some(state.passwords.hash(request.new).await?),
        keep_login: match actor.credential {
            Credential::Login(login) => Some(login),
            Credential::Token { .. } => None,
        },
        ..UserChange::default()
    };
    state.store.user_change(actor.user, &change, &actor.by(now)).await?;
    Ok(Json(Done::OK))
}

async fn confirm(state: &AppState, actor: &Actor, password: Password) -> Result<bool, Problem> {
    let kept = state.store.user_password(actor.user).await?;
    state.passwords.is_right(password, kept).await
}
