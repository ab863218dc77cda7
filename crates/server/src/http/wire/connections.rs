//! Connections on the wire. Secrets come in and never go out.

use serde::{Deserialize, Serialize};
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, Protocol},
    connections::{ConnectionName, ConnectionOptions, FtpTls, HostName},
    files::{FilePolicy, Glob},
    identity::Line,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, Object, ObjectBuilder, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

use super::{access::words, values::Time};
use crate::credentials::SecretText;

/// What may be done over a connection.
///
/// The same keys as [`ConnectionPolicy`], which is what is read and written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyBody(pub ConnectionPolicy);

impl PartialSchema for PolicyBody {
    fn schema() -> RefOr<Schema> {
        let flag = |about: &str| {
            ObjectBuilder::new().schema_type(SchemaType::Type(Type::Boolean)).description(Some(about)).build()
        };
        let seconds = |about: &str| {
            ObjectBuilder::new()
                .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
                .minimum(Some(1))
                .maximum(Some(u32::MAX))
                .description(Some(about))
                .build()
        };
        ObjectBuilder::new()
            .property("record", words::record())
            .property("recordInput", flag("Keys typed are recorded too; in a terminal never what is typed without echo, on a VNC desktop every key, passwords too"))
            .property("recordExecOutput", flag("The whole output of commands without a terminal is recorded"))
            .property("allowForwarding", flag("Ports may be forwarded"))
            .property("allowAgent", flag("The user's agent may be forwarded"))
            .property("allowFiles", flag("Files may be transferred"))
            .property("files", files())
            .property("desktop", desktop())
            .property("tellWatched", flag("The user is told when somebody looks on"))
            .property("idleLimitSeconds", seconds("A session ends after so long without a key"))
            .property("timeLimitSeconds", seconds("A session ends after so long"))
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)))
            .into()
    }
}

/// The same keys as [`FilePolicy`](sojourn_domain::files::FilePolicy).
fn files() -> Object {
    let flag = |about: &str| {
        ObjectBuilder::new().schema_type(SchemaType::Type(Type::Boolean)).description(Some(about)).build()
    };
    let bytes = |about: &str| {
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .minimum(Some(0))
            .maximum(Some(i64::MAX))
            .description(Some(about))
            .build()
    };
    let rules = |about: &str| {
        let rule = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .max_length(Some(Glob::MAX_BYTES))
            .examples(["/srv/*/public", "**/*.key"]);
        ArrayBuilder::new()
            .items(rule)
            .max_items(Some(FilePolicy::MAX_RULES))
            .description(Some(about))
            .build()
    };
    ObjectBuilder::new()
        .description(Some("What may be done with files, where they are allowed"))
        .property("readOnly", flag("Nothing on the target is changed"))
        .property("noDelete", flag("Nothing is deleted, truncated or replaced"))
        .property("maxUploadBytes", bytes("The longest file that may be sent to the target"))
        .property("maxDownloadBytes", bytes("The longest file that may be fetched from the target"))
        .property("allow", rules("The only paths that may be touched; empty: all"))
        .property("deny", rules("Paths that may not be touched, whatever allow says"))
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)))
        .build()
}

/// The same keys as [`DesktopPolicy`](sojourn_domain::access::DesktopPolicy).
fn desktop() -> Object {
    let flag = |about: &str| {
        ObjectBuilder::new().schema_type(SchemaType::Type(Type::Boolean)).description(Some(about)).build()
    };
    ObjectBuilder::new()
        .description(Some("What may be done on a desktop"))
        .property("viewOnly", flag("It is looked at: no key, no pointer and no text goes to the target"))
        .property("allowCopy", flag("What is copied on the desktop may come to the user's clipboard"))
        .property("allowPaste", flag("The user's clipboard may go to the desktop"))
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)))
        .build()
}

impl ToSchema for PolicyBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "ConnectionPolicy".into()
    }
}

/// What is particular to a connection's protocol.
///
/// The same keys as [`ConnectionOptions`], which is what is read and written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OptionsBody(pub ConnectionOptions);

impl PartialSchema for OptionsBody {
    fn schema() -> RefOr<Schema> {
        let text = |longest, about: &str| {
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(Type::String))
                .max_length(Some(longest))
                .description(Some(about))
                .build()
        };
        let tls = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(FtpTls::ALL.iter().map(|tls| tls.key())))
            .description(Some("FTP alone; explicit unless said otherwise"))
            .build();
        ObjectBuilder::new()
            .property("tls", tls)
            .property("share", text(80, "SMB alone; without one the shares are the folders of the root"))
            .property("domain", text(240, "SMB alone: the domain that the user is of"))
            .property("root", text(4096, "The folder that is shown first"))
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for OptionsBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "ConnectionOptions".into()
    }
}

/// A target's host key that was found good.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HostKey)]
pub struct HostKeyBody {
    pub fingerprint: String,
    /// Where the whole key is known.
    pub algorithm: Option<String>,
    pub pinned_at: Time,
    pub pinned_by: String,
}

/// What the caller may do with a connection.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = ConnectionMay)]
pub struct MayBody {
    #[serde(rename = "use")]
    pub r#use: bool,
    pub edit: bool,
    pub delete: bool,
    pub share: bool,
}

/// With whom a connection is shared.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionGrant)]
pub struct GrantBody {
    /// `user` or `role`.
    #[schema(pattern = "^(user|role)$")]
    pub kind: &'static str,
    pub id: String,
    pub name: String,
}

/// A connection, as the caller may see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Connection)]
pub struct ConnectionBody {
    pub id: String,
    pub name: String,
    #[schema(schema_with = words::protocol)]
    pub protocol: &'static str,
    /// For those who may edit it or see everybody's sessions; the same holds for port and username.
    pub host: Option<String>,
    #[schema(minimum = 1, maximum = 65535)]
    pub port: Option<u16>,
    /// At the target.
    pub username: Option<String>,
    #[schema(schema_with = words::auth)]
    pub auth: &'static str,
    pub has_secret: bool,
    pub host_key: Option<HostKeyBody>,
    pub owner_id: Option<String>,
    pub owner_name: Option<String>,
    pub folder: String,
    pub tags: Vec<String>,
    pub notes: String,
    pub policy: PolicyBody,
    /// Share and domain are for those who see the host too.
    pub options: OptionsBody,
    /// For those who may edit it, where one connection is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub grants: Option<Vec<GrantBody>>,
    pub may: MayBody,
    /// Of the sessions that the caller may see.
    pub last_used_at: Option<Time>,
    #[schema(minimum = 0)]
    pub live_sessions: i64,
    pub created_at: Time,
    pub updated_at: Time,
}

/// Connections by name, and what all of them are sorted by.
#[derive(Debug, Serialize, ToSchema)]
pub struct Connections {
    pub connections: Vec<ConnectionBody>,
    #[schema(minimum = 1)]
    pub page: u32,
    #[schema(minimum = 1)]
    pub limit: u32,
    #[schema(minimum = 0)]
    pub total: i64,
    pub folders: Vec<String>,
    pub tags: Vec<String>,
}

/// Somebody to share with; either `id` or `name`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrantRequest)]
pub struct GrantRequest {
    pub kind: GrantKind,
    #[schema(max_length = 128, nullable = false)]
    pub id: Option<String>,
    #[schema(max_length = 128, nullable = false)]
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GrantKind {
    User,
    Role,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrantsRequest)]
pub struct GrantsRequest {
    /// With these it is shared, and with nobody else.
    #[schema(max_items = 1000)]
    pub grants: Vec<GrantRequest>,
}

/// Holds secrets: no `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewConnection)]
pub struct NewConnectionRequest {
    #[schema(value_type = String, min_length = 1, max_length = 128)]
    pub name: ConnectionName,
    #[schema(schema_with = words::protocol)]
    pub protocol: Protocol,
    /// A DNS name or an address.
    #[schema(value_type = String, min_length = 1, max_length = 253)]
    pub host: HostName,
    /// The protocol's own unless said otherwise.
    #[schema(minimum = 1, maximum = 65535, nullable = false)]
    pub port: Option<u16>,
    #[serde(default)]
    #[schema(value_type = String, max_length = 128)]
    pub username: Line<128>,
    /// What fits what is given, else `prompt`.
    #[serde(default)]
    #[schema(schema_with = words::auth, required = false)]
    pub auth: Option<AuthKind>,
    #[schema(value_type = String, format = Password, max_length = 1024, nullable = false)]
    pub password: Option<SecretText>,
    #[schema(value_type = String, format = Password, max_length = 65536, nullable = false)]
    pub private_key: Option<SecretText>,
    #[schema(value_type = String, format = Password, max_length = 1024, nullable = false)]
    pub passphrase: Option<SecretText>,
    /// A `SHA256:` fingerprint or a public key.
    #[schema(max_length = 16384, nullable = false)]
    pub host_key: Option<String>,
    #[serde(default)]
    #[schema(value_type = String, max_length = 128)]
    pub folder: Line<128>,
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 50)]
    pub tags: Vec<Line<64>>,
    #[serde(default)]
    #[schema(max_length = 10000)]
    pub notes: String,
    #[serde(default)]
    #[schema(nullable = false)]
    pub policy: Option<PolicyBody>,
    #[serde(default)]
    #[schema(nullable = false)]
    pub options: Option<OptionsBody>,
    #[serde(default)]
    #[schema(max_items = 1000)]
    pub grants: Vec<GrantRequest>,
}

/// What is to be different. Holds secrets: no `Debug`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ConnectionPatch)]
pub struct ConnectionPatch {
    #[schema(value_type = String, min_length = 1, max_length = 128, nullable = false)]
    pub name: Option<ConnectionName>,
    #[serde(default)]
    #[schema(schema_with = words::protocol, required = false)]
    pub protocol: Option<Protocol>,
    #[schema(value_type = String, min_length = 1, max_length = 253, nullable = false)]
    pub host: Option<HostName>,
    #[schema(minimum = 1, maximum = 65535, nullable = false)]
    pub port: Option<u16>,
    #[schema(value_type = String, max_length = 128, nullable = false)]
    pub username: Option<Line<128>>,
    #[serde(default)]
    #[schema(schema_with = words::auth, required = false)]
    pub auth: Option<AuthKind>,
    /// A kept password goes to the host it was given for: with another protocol, host or port it is given again.
    #[schema(value_type = String, format = Password, max_length = 1024, nullable = false)]
    pub password: Option<SecretText>,
    #[schema(value_type = String, format = Password, max_length = 65536, nullable = false)]
    pub private_key: Option<SecretText>,
    #[schema(value_type = String, format = Password, max_length = 1024, nullable = false)]
    pub passphrase: Option<SecretText>,
    #[schema(value_type = String, max_length = 128, nullable = false)]
    pub folder: Option<Line<128>>,
    #[schema(value_type = Vec<String>, max_items = 50, nullable = false)]
    pub tags: Option<Vec<Line<64>>>,
    #[schema(max_length = 10000, nullable = false)]
    pub notes: Option<String>,
    #[schema(nullable = false)]
    pub policy: Option<PolicyBody>,
    /// All of them; what is not named is forgotten.
    #[schema(nullable = false)]
    pub options: Option<OptionsBody>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HostKeyRequest)]
pub struct HostKeyRequest {
    /// `SHA256:` and base 64, or the public key itself.
    #[schema(max_length = 16384)]
    pub fingerprint: String,
}

/// Holds a secret: no `Debug`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConnectionTestRequest)]
pub struct TestRequest {
    /// The target's, where the connection asks the user for it.
    #[schema(value_type = String, format = Password, max_length = 1024, nullable = false)]
    pub password: Option<SecretText>,
}

/// What a test of a connection found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConnectionTest)]
pub struct TestBody {
    pub ok: bool,
    /// A sentence for people.
    pub message: String,
    pub reached: bool,
    #[schema(minimum = 0)]
    pub latency_ms: Option<i64>,
    pub host_key: Option<SeenKeyBody>,
    /// `match`, `new` (none is pinned), `changed`, or `none` where the protocol has no such keys or none was seen.
    #[schema(pattern = "^(match|new|changed|none)$")]
    pub pinned: &'static str,
    /// `ok`, `refused` or `not_tried`.
    #[schema(pattern = "^(ok|refused|not_tried)$")]
    pub login: &'static str,
}

/// The host key that the target showed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SeenHostKey)]
pub struct SeenKeyBody {
    pub algorithm: String,
    pub fingerprint: String,
}
