//! Who asks, and the guards without which no handler gets at anything.
//!
//! The router's state is a [`Gate`] that nobody can open. A handler reaches [`AppState`] only by
//! naming a guard as its first argument, so that a route without a check does not compile:
//!
//! - [`Allowed<may::PresenceView>`](Allowed): an authenticated actor that holds the permission;
//! - [`Known`]: an authenticated actor, whatever it may do (things of one's own);
//! - [`Visitor`]: anybody, though who it is matters;
//! - [`Open`]: anybody, and nobody looks who.
//!
//! Guards come first among a handler's arguments: who may not ask learns nothing about how.

use std::{
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};
use sojourn_domain::{
    id::{LoginId, TokenId, UserId},
    policy::{Permission, Permissions},
    time::Timestamp,
};
use sojourn_store::audit::{ActorKind, By};

use super::{
    client::{Client, foreign_origin},
    problem::Problem,
};
use crate::state::AppState;

/// The name of the browser's cookie.
pub const COOKIE: &str = "sojourn_login";

/// [`AppState`] behind a door that only guards open.
#[derive(Clone)]
pub struct Gate(AppState);

impl Gate {
    pub(super) fn new(state: AppState) -> Self {
        Self(state)
    }
}

/// An authenticated caller, as it is at this moment: permissions are looked up at each request.
#[derive(Debug, Clone)]
pub struct Actor {
    pub user: UserId,
    pub name: String,
    pub display_name: String,
    pub role: String,
    /// What the role allows; for a token with a subset, what both allow.
    pub permissions: Permissions,
    pub credential: Credential,
    pub client: Client,
}

/// What the caller proved itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Token {
        id: TokenId,
        /// It may do less than its user's role.
        limited: bool,
        expires_at: Option<Timestamp>,
    },
    Login(LoginId),
}

impl Actor {
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Who acts now, for the audit trail.
    pub fn by(&self, now: Timestamp) -> By {
        let kind = match self.credential {
            Credential::Token { .. } => ActorKind::Token,
            Credential::Login(_) => ActorKind::User,
        };
        By::user(kind, self.user, &self.name, now, self.client.address.to_string())
    }

    /// For decisions that a guard cannot make, because they depend on the object.
    pub fn require(&self, permission: Permission) -> Result<(), Problem> {
        if self.may(permission) { Ok(()) } else { Err(lacks(permission)) }
    }
}

fn lacks(permission: Permission) -> Problem {
    Problem::forbidden("permission_missing", format!("this needs the permission {permission}"))
}

/// A permission as a type, see [`may`].
pub trait Grant: Send + Sync + 'static {
    const PERMISSION: Permission;
}

macro_rules! grants {
    ($($name:ident),* $(,)?) => {
        /// The permissions as types, for [`Allowed`].
        pub mod may {
            use super::{Grant, Permission};
            $(
                #[derive(Debug)]
                pub enum $name {}
                impl Grant for $name {
                    const PERMISSION: Permission = Permission::$name;
                }
            )*
        }
    };
}

grants! {
    PresenceView, PresenceManage, SessionsViewOwn, SessionsViewAny, SessionsDelete, SessionsWatch,
    SessionsTerminate, ConnectionsCreate, ConnectionsEditOwn, ConnectionsEditAny, ConnectionsDeleteOwn,
    ConnectionsDeleteAny, ConnectionsShare, ConnectionsUse, ProtocolsSsh, ProtocolsTelnet, ProtocolsRdp,
    ProtocolsVnc, ProtocolsSftp, ProtocolsFtp, ProtocolsSmb, AuditView, UsersManage, RolesManage, SettingsManage,
}

/// An actor that holds the permission `G`.
pub struct Allowed<G> {
    pub state: AppState,
    pub actor: Actor,
    grant: PhantomData<fn() -> G>,
}

/// An authenticated actor.
pub struct Known {
    pub state: AppState,
    pub actor: Actor,
}

/// Anybody; `actor` is `None` without a credential, or with a login that has ended.
pub struct Visitor {
    pub state: AppState,
    pub actor: Option<Actor>,
    pub client: Client,
}

/// Anybody, without a look at who it is.
pub struct Open {
    pub state: AppState,
}

impl<G: Grant> FromRequestParts<Gate> for Allowed<G> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Gate) -> Result<Self, Problem> {
        let Known { state, actor } = Known::from_request_parts(parts, gate).await?;
        actor.require(G::PERMISSION)?;
        Ok(Self { state, actor, grant: PhantomData })
    }
}

impl FromRequestParts<Gate> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Gate) -> Result<Self, Problem> {
        let state = gate.0.clone();
        let presented = Presented::read(&parts.headers);
        let Some(presented) = presented else { return Err(Problem::unauthenticated()) };
        let actor = presented.actor(&state, parts).await?.ok_or_else(Problem::bad_credential)?;
        if presented.ambient() {
            refuse_foreign_origin(&state, parts)?;
        }
        Ok(Self { state, actor })
    }
}

impl FromRequestParts<Gate> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Gate) -> Result<Self, Problem> {
        let state = gate.0.clone();
        let client = client(parts);
        let presented = Presented::read(&parts.headers);
        let actor = match &presented {
            Some(presented) => presented.actor(&state, parts).await?,
            None => None,
        };
        match presented {
            // A program that shows a bad token is told so; a browser's cookie may just be old.
            Some(Presented::Bearer(_) | Presented::Unreadable) if actor.is_none() => {
                return Err(Problem::bad_credential());
            }
            Some(Presented::Bearer(_) | Presented::Unreadable) => {}
            // Logging in through somebody else's page is refused too.
            Some(Presented::Cookie(_)) | None => refuse_foreign_origin(&state, parts)?,
        }
        Ok(Self { state, actor, client })
    }
}

impl FromRequestParts<Gate> for Open {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, gate: &Gate) -> Result<Self, Problem> {
        Ok(Self { state: gate.0.clone() })
    }
}

/// A credential as it came in.
enum Presented {
    Bearer(String),
    Cookie(String),
    /// An Authorization header that is no bearer token.
    Unreadable,
}

impl Presented {
    /// A header wins over a cookie: who sends one means it.
    fn read(headers: &HeaderMap) -> Option<Self> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|text| {
                let (scheme, token) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
            });
            return Some(token.map_or(Self::Unreadable, Self::Bearer));
        }
        cookie(headers).map(Self::Cookie)
    }

    /// Sent by a browser by itself, whoever's page caused the request.
    fn ambient(&self) -> bool {
        matches!(self, Self::Cookie(_))
    }

    async fn actor(&self, state: &AppState, parts: &mut Parts) -> Result<Option<Actor>, Problem> {
        let client = client(parts);
        let actor = match self {
            Self::Bearer(secret) => super::auth::by_token(state, secret, client).await?,
            Self::Cookie(secret) => super::auth::by_login(state, secret, client).await?,
            Self::Unreadable => None,
        };
        if let (Some(actor), Some(slot)) = (&actor, parts.extensions.get::<ActorSlot>()) {
            slot.set(actor.clone());
        }
        Ok(actor)
    }
}

/// The value of the login cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_owned())
}

fn refuse_foreign_origin(state: &AppState, parts: &Parts) -> Result<(), Problem> {
    let reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && foreign_origin(&parts.headers, &state.config) {
        return Err(Problem::forbidden("foreign_origin", "the request comes from another site's page"));
    }
    Ok(())
}

fn client(parts: &Parts) -> Client {
    parts
        .extensions
        .get::<Client>()
        .copied()
        .unwrap_or(Client { address: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), secure: false })
}

/// Where a guard leaves the actor for those that look at the answer (log, audit trail).
#[derive(Clone, Default)]
pub(super) struct ActorSlot(Arc<OnceLock<Actor>>);

impl ActorSlot {
    fn set(&self, actor: Actor) {
        // A request that passes two guards has one actor: the first one counts.
        let _ = self.0.set(actor);
    }

    pub(super) fn get(&self) -> Option<&Actor> {
        self.0.get()
    }
}
