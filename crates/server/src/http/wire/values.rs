//! Values that stand in many shapes: times, permissions, "done".

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use sojourn_domain::{policy::Permission, time::Timestamp};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{SchemaType, Type},
    },
};

use crate::http::problem::Problem;

/// A moment: RFC 3339 in UTC with milliseconds, `2025-08-01T10:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339 in UTC with milliseconds"))
            .into()
    }
}

impl ToSchema for Time {}

/// Reads a time in a request: RFC 3339, or local to the configured zone.
pub fn read_time(field: &str, text: &str, zone: &TimeZone) -> Result<Timestamp, Problem> {
    Timestamp::parse(text, zone).map_err(|error| Problem::invalid(field, error.to_string()))
}

/// A permission's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PermissionKey(pub Permission);

impl PartialSchema for PermissionKey {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(Permission::ALL.iter().map(|permission| permission.key())))
            .into()
    }
}

impl ToSchema for PermissionKey {
    fn name() -> std::borrow::Cow<'static, str> {
        "Permission".into()
    }
}

/// It was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    /// Always `true`: what was not done answers with a problem.
    pub ok: bool,
}

impl Done {
    pub const OK: Self = Self { ok: true };
}

/// Text that may be empty inside is `null` outside.
pub fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
