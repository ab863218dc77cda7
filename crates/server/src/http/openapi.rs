//! The OpenAPI document: made of the same list as the routes, completed with what holds for all.
//!
//! Handlers declare what they answer when all is well, and what is special. Added here: the
//! problems that any handler of a kind may answer, and the two ways to prove oneself.

use std::{collections::BTreeSet, sync::OnceLock};

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use utoipa::{
    Number, OpenApi as _,
    openapi::{
        Content, KnownFormat, Object, OpenApi, Ref, RefOr, ResponseBuilder, Schema, SchemaFormat, Server,
        path::{Operation, PathItem},
        schema::AdditionalProperties,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::routes;

use super::{Routes, actor};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Sojourn",
        description = "Who is on the network, and since when. Every path is served at the root and, \
                       identically, under /api/v1.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(super::problem::ProblemBody, super::problem::FieldError)),
    tags(
        (name = "presence", description = "Presence sessions and events"),
        (name = "devices", description = "Devices"),
        (name = "sources", description = "Presence sources"),
        (name = "sessions", description = "Access sessions: their recordings and commands"),
        (name = "files", description = "File sessions: what was done with files, and files on targets"),
        (name = "connections", description = "What may be opened, by whom"),
        (name = "auth", description = "Logging in"),
        (name = "users", description = "Users, roles and tokens"),
        (name = "audit", description = "The audit trail"),
        (name = "server", description = "The server itself")
    )
)]
struct Base;

/// The document without paths.
pub(super) fn base() -> OpenApi {
    let mut document = Base::openapi();
    document.servers = Some(vec![Server::new("/"), Server::new("/api/v1")]);
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A token of a user, as POST /tokens or `sojourn token create` makes them"))
                .build(),
        ),
    );
    components.add_security_scheme(
        "login",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            actor::COOKIE,
            "A browser's login, as POST /auth/login makes them",
        ))),
    );
    document
}

/// The whole document.
pub fn document() -> OpenApi {
    let mut document = super::routes().into_openapi();
    for (path, item) in &mut document.paths.paths {
        if let Some(operation) = &mut item.get {
            complete(path, operation);
        }
        for operation in changing(item) {
            complete(path, operation);
            add(operation, "507", "The disk is full");
        }
    }
    let asked = asked(&document);
    if let Some(components) = &mut document.components {
        for (name, schema) in &mut components.schemas {
            if !asked.contains(name) {
                close(schema);
            }
        }
    }
    document
}

/// The schemas of what is asked. They say themselves whether more is accepted
/// (`deny_unknown_fields`): what other products' clients send may be.
fn asked(document: &OpenApi) -> BTreeSet<String> {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut found = BTreeSet::new();
    for item in document["paths"].as_object().into_iter().flat_map(|paths| paths.values()) {
        for operation in item.as_object().into_iter().flat_map(|item| item.values()) {
            gather(&operation["requestBody"], &document["components"]["schemas"], &mut found);
        }
    }
    found
}

/// Adds the names that a part of the document refers to, and those that they refer to.
fn gather(part: &Value, schemas: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(name) = name
                && found.insert(name.to_owned())
            {
                gather(&schemas[name], schemas, found);
            }
            map.values().for_each(|value| gather(value, schemas, found));
        }
        Value::Array(list) => list.iter().for_each(|value| gather(value, schemas, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Answers hold what is declared and nothing else. Maps, which declare what else they hold, stay.
fn close(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    if !object.properties.is_empty() && object.additional_properties.is_none() {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// The whole document as it is served and committed: indented, with a line feed at its end.
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = document().to_pretty_json().unwrap_or_else(|error| {
            tracing::error!(%error, "the OpenAPI document could not be written");
            String::new()
        });
        text.push('\n');
        text
    })
}

/// Operations that may change something.
fn changing(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().filter_map(Option::as_mut)
}

/// Adds what every operation of its kind may answer.
fn complete(path: &str, operation: &mut Operation) {
    // `security(())` in a handler's declaration says that anybody may call it.
    let public = operation.security.is_some();
    if public {
        operation.security = Some(Vec::new());
    } else {
        let none: [&str; 0] = [];
        operation.security =
            Some(vec![SecurityRequirement::new("token", none), SecurityRequirement::new("login", none)]);
        add(operation, "401", "No credential, or a bad one");
        add(operation, "403", "The caller may not do this");
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema
        {
            unsign(object);
        }
    }
    let body = operation.request_body.is_some();
    let parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    if body {
        add(operation, "400", "The body cannot be read");
        add(operation, "413", "The body is too large");
        add(operation, "415", "The body is of another type");
    }
    if body || parameters {
        add(operation, "422", "A value is wrong; `errors` names it");
    }
    if path.contains('{') {
        add(operation, "404", "There is no such thing");
    }
    add(operation, "500", "A mistake of the server");
    add(operation, "503", "Not now; Retry-After says when");
}

/// Whole numbers in parameters are `u32`, which no format names: `int32` ends at half of them.
fn unsign(object: &mut Object) {
    if object.format == Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) {
        object.format = None;
        object.maximum.get_or_insert(Number::UInt(u32::MAX as usize));
    }
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let responses = &mut operation.responses.responses;
    if !responses.contains_key(status) {
        responses.insert(status.to_owned(), RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> utoipa::openapi::Response {
    ResponseBuilder::new()
        .description(description)
        .content(
            "application/problem+json",
            Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name("Problem")))),
        )
        .build()
}

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(openapi))
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
async fn openapi(_: actor::Open) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}
