//! Users, roles, tokens, logins and the audit trail on the wire.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    identity::{Line, RoleName, UserName},
    policy::{Permission, Permissions},
};
use sojourn_store::{
    audit::{self, AuditEntry},
    identity::{self, User},
};
use utoipa::ToSchema;

use super::values::{PermissionKey, Time, some};
use crate::password::{NewPassword, Password};

/// Who is logged in, and what the pages need to know first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthState {
    /// There is no administrator yet: the link that the server printed makes one.
    pub setup_required: bool,
    pub user: Option<Me>,
    pub permissions: Vec<PermissionKey>,
    /// The zone of local times, as the IANA names it.
    pub timezone: String,
    pub version: String,
}

/// The caller.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    pub id: String,
    pub name: String,
    pub display_name: Option<String>,
    pub role: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetupRequest {
    /// From the link that the server printed.
    #[schema(max_length = 200)]
    pub code: String,
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub name: UserName,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    pub password: NewPassword,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginRequest {
    pub name: String,
    #[schema(value_type = String, format = Password, max_length = 1024)]
    pub password: Password,
}

/// The cookie comes with it.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoggedIn {
    /// Always `true`.
    pub ok: bool,
    pub user: Me,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordRequest {
    #[schema(value_type = String, format = Password, max_length = 1024)]
    pub current: Password,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    pub new: NewPassword,
}

/// A browser's login.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    pub id: String,
    pub created_at: Time,
    /// To the minute.
    pub last_seen_at: Time,
    pub client_address: Option<String>,
    pub user_agent: Option<String>,
    /// It is the one that asks.
    pub current: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Logins {
    pub logins: Vec<Login>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub struct UserBody {
    pub id: String,
    pub name: String,
    pub display_name: Option<String>,
    pub role: String,
    pub disabled: bool,
    pub created_at: Time,
    pub last_login_at: Option<Time>,
    /// Tokens that are not revoked.
    #[schema(minimum = 0)]
    pub token_count: i64,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            display_name: some(user.display_name),
            role: user.role,
            disabled: user.disabled,
            created_at: Time(user.created_at),
            last_login_at: user.last_login_at.map(Time),
            token_count: user.token_count,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    pub users: Vec<UserBody>,
    #[schema(minimum = 1)]
    pub page: u32,
    #[schema(minimum = 1)]
    pub limit: u32,
    #[schema(minimum = 0)]
    pub total: i64,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewUserRequest {
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub name: UserName,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    pub password: NewPassword,
    #[schema(value_type = String, pattern = "^[a-z][a-z0-9_-]{0,31}$")]
    pub role: RoleName,
    #[schema(value_type = Option<String>, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub display_name: Option<Line<128>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserPatch {
    #[schema(value_type = Option<String>, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub display_name: Option<Line<128>>,
    #[schema(value_type = Option<String>, pattern = "^[a-z][a-z0-9_-]{0,31}$")]
    pub role: Option<RoleName>,
    pub disabled: Option<bool>,
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 1024)]
    pub password: Option<NewPassword>,
}

/// A role.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Role)]
pub struct RoleBody {
    pub name: String,
    pub description: String,
    /// It cannot be changed.
    pub builtin: bool,
    pub permissions: Vec<PermissionKey>,
    #[schema(minimum = 0)]
    pub user_count: i64,
}

impl From<identity::Role> for RoleBody {
    fn from(role: identity::Role) -> Self {
        Self {
            name: role.name,
            description: role.description,
            builtin: role.builtin,
            permissions: permission_keys(&role.permissions),
            user_count: role.user_count,
        }
    }
}

/// A permission, and what it allows.
#[derive(Debug, Serialize, ToSchema)]
pub struct PermissionInfo {
    pub key: PermissionKey,
    pub description: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Roles {
    pub roles: Vec<RoleBody>,
    /// All that there are.
    pub permissions: Vec<PermissionInfo>,
}

impl Roles {
    pub fn new(roles: Vec<identity::Role>) -> Self {
        Self {
            roles: roles.into_iter().map(RoleBody::from).collect(),
            permissions: Permission::ALL
                .iter()
                .map(|&permission| PermissionInfo {
                    key: PermissionKey(permission),
                    description: permission.description(),
                })
                .collect(),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRoleRequest {
    #[schema(value_type = String, pattern = "^[a-z][a-z0-9_-]{0,31}$")]
    pub name: RoleName,
    #[schema(value_type = Option<String>, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub description: Option<Line<256>>,
    pub permissions: Vec<PermissionKey>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolePatch {
    #[schema(value_type = Option<String>, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub description: Option<Line<256>>,
    pub permissions: Option<Vec<PermissionKey>>,
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub struct TokenBody {
    pub id: String,
    pub label: String,
    pub user_id: String,
    pub user_name: String,
    /// `null`: all that the user's role allows.
    pub permissions: Option<Vec<PermissionKey>>,
    pub created_at: Time,
    pub expires_at: Option<Time>,
    /// To the minute.
    pub last_used_at: Option<Time>,
    pub revoked_at: Option<Time>,
}

impl From<identity::Token> for TokenBody {
    fn from(token: identity::Token) -> Self {
        Self {
            id: token.id.to_string(),
            label: token.label,
            user_id: token.user.to_string(),
            user_name: token.user_name,
            permissions: token.permissions.as_ref().map(permission_keys),
            created_at: Time(token.created_at),
            expires_at: token.expires_at.map(Time),
            last_used_at: token.last_used_at.map(Time),
            revoked_at: token.revoked_at.map(Time),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Tokens {
    pub tokens: Vec<TokenBody>,
}

/// A new token. Its secret is shown here and never again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    /// `sjt_` and 43 characters.
    pub token: String,
    pub id: String,
    pub label: String,
    pub user_id: String,
    pub user_name: String,
    pub permissions: Option<Vec<PermissionKey>>,
    pub created_at: Time,
    pub expires_at: Option<Time>,
    pub last_used_at: Option<Time>,
    pub revoked_at: Option<Time>,
}

impl NewToken {
    pub fn new(secret: String, body: TokenBody) -> Self {
        Self {
            token: secret,
            id: body.id,
            label: body.label,
            user_id: body.user_id,
            user_name: body.user_name,
            permissions: body.permissions,
            created_at: body.created_at,
            expires_at: body.expires_at,
            last_used_at: body.last_used_at,
            revoked_at: body.revoked_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTokenRequest {
    /// What it is for.
    #[schema(value_type = String, min_length = 1, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub label: Line<128>,
    /// Either this, or `expiresAt`, or neither: then it does not expire.
    #[schema(minimum = 1, maximum = 3_155_760_000_i64)]
    pub expires_in_seconds: Option<u64>,
    pub expires_at: Option<String>,
    /// `null`: all that the user's role allows, now and later.
    pub permissions: Option<Vec<PermissionKey>>,
}

/// Who acted.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditActor {
    pub id: Option<String>,
    pub name: Option<String>,
    /// `user` in a browser, `token` a program, `system` the server itself, `anonymous`, `cli` whoever
    /// has the machine.
    pub kind: String,
}

/// An entry of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct AuditEntryBody {
    #[schema(minimum = 1)]
    pub seq: i64,
    pub at: Time,
    pub actor: AuditActor,
    pub action: String,
    pub object: Option<String>,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    pub client_address: Option<String>,
    /// SHA-256 over the previous entry's hash and this entry.
    pub hash: String,
}

impl From<AuditEntry> for AuditEntryBody {
    fn from(entry: AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: Time(entry.at),
            actor: AuditActor {
                id: some(entry.actor_id),
                name: some(entry.actor_name),
                kind: entry.actor_kind,
            },
            action: entry.action,
            object: some(entry.object),
            outcome: entry.outcome,
            // What was written is an object; a row that somebody altered may be anything.
            detail: serde_json::from_str(&entry.detail)
                .ok()
                .filter(serde_json::Value::is_object)
                .unwrap_or_else(|| serde_json::json!({})),
            client_address: some(entry.client_address),
            hash: entry.hash,
        }
    }
}

/// The newest entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditHead {
    #[schema(minimum = 0)]
    pub seq: i64,
    pub hash: String,
}

impl From<audit::Head> for AuditHead {
    fn from(head: audit::Head) -> Self {
        Self { seq: head.seq, hash: head.hash }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    pub entries: Vec<AuditEntryBody>,
    #[schema(minimum = 1)]
    pub page: u32,
    #[schema(minimum = 1)]
    pub limit: u32,
    #[schema(minimum = 0)]
    pub total: i64,
    pub head: AuditHead,
}

pub fn permission_keys(permissions: &Permissions) -> Vec<PermissionKey> {
    permissions.iter().copied().map(PermissionKey).collect()
}

pub fn permissions(keys: &[PermissionKey]) -> Permissions {
    keys.iter().map(|key| key.0).collect()
}
