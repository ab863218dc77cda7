//! Reading requests: axum's extractors with every rejection turned into a [`Problem`] that names
//! the field.
//!
//! 400 what cannot be read, 413 too much, 415 another type, 422 well-formed but wrong.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, RawPathParams, Request, path::ErrorKind, rejection::PathRejection,
    },
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body of a request in JSON, unless a route says otherwise.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// A body in JSON. Also what answers are made with: it is axum's `Json` on the way out.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

/// Parameters after the `?`. Unknown ones are ignored unless `T` denies them.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

/// Parameters in the path.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: serde::Serialize> axum::response::IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::unsupported_media("application/json"));
        }
        let bytes = body(request, state).await?;
        from_json(&bytes).map(Self)
    }
}

/// A body in JSON that may be missing altogether: then it is `None`, whatever its type.
#[derive(Debug, Clone, Copy)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(&request);
        let bytes = body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        if !json {
            return Err(Problem::unsupported_media("application/json"));
        }
        from_json(&bytes).map(|value| Self(Some(value)))
    }
}

pub fn is_json(request: &Request) -> bool {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return false };
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The whole body, as far as the route's limit goes (`DefaultBodyLimit`).
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is larger than what is accepted here",
            )
        } else {
            Problem::unreadable("the body could not be read to its end")
        }
    })
}

/// Reads JSON; what is wrong is named by its path in the document.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde reads structs from arrays too, which nobody means.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid("body", "expected a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        match cause.classify() {
            serde_json::error::Category::Data => {
                let message = without_position(&cause);
                Problem::invalid(whole_field(&path, &message, "body"), message)
            }
            serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
                Problem::unreadable(format!("the body is not JSON: {cause}"))
            }
            serde_json::error::Category::Io => Problem::unreadable("the body could not be read"),
        }
    })?;
    deserializer
        .end()
        .map_err(|cause| Problem::unreadable(format!("the body is not one JSON document: {cause}")))?;
    Ok(value)
}

/// Reads a JSON array; what is wrong is named by its place in it.
pub fn list_from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, Problem> {
    if !bytes.trim_ascii_start().starts_with(b"[") {
        // Unreadable JSON is told as such.
        from_json::<serde::de::IgnoredAny>(bytes)?;
        return Err(Problem::invalid("body", "expected a JSON array"));
    }
    let items: Vec<serde_json::Value> = serde_json::from_slice(bytes)
        .map_err(|cause| Problem::unreadable(format!("the body is not JSON: {cause}")))?;
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            serde_path_to_error::deserialize(item).map_err(|error| {
                let path = error.path().to_string();
                let message = error.into_inner().to_string();
                let field = whole_field(&path, &message, ".");
                let field = if field == "." { format!("[{index}]") } else { format!("[{index}].{field}") };
                Problem::invalid(field, message)
            })
        })
        .collect()
}

/// Messages of serde_json end in ` at line 1 column 2`, which tells clients of an API nothing.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Where a value stands. A missing field is named in serde's message and not in the path; an
/// unknown one in both.
fn whole_field(path: &str, message: &str, all: &str) -> String {
    match named_field(message) {
        Some(name) if path == "." || path == name => name.to_owned(),
        Some(name) if path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None if path == "." => all.to_owned(),
        None => path.to_owned(),
    }
}

/// Says what is accepted where the standard library only says what is wrong.
fn accepted(message: String) -> String {
    match message.as_str() {
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too large to fit in target type"
        | "number too small to fit in target type" => "expected a whole number within bounds".to_owned(),
        "provided string was not `true` or `false`" => "expected true or false".to_owned(),
        _ => message,
    }
}

/// The field in serde's "missing field `x`" and "unknown field `x`, expected …".
fn named_field(message: &str) -> Option<&str> {
    ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))
        .and_then(|rest| rest.split('`').next())
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        from_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads `application/x-www-form-urlencoded` text.
pub fn from_query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    if let Some((name, _)) = form_urlencoded::parse(text.as_bytes()).find(|(_, value)| value.contains('\0')) {
        return Err(Problem::invalid(name, "expected text without NUL characters"));
    }
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        Problem::invalid(whole_field(&path, &message, "query"), accepted(message))
    })
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open; what is left are mistakes of ours")]
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.into_kind() {
                ErrorKind::InvalidUtf8InPathParam { key } => {
                    Problem::invalid(key, "expected text in percent-encoded UTF-8")
                }
                ErrorKind::ParseErrorAtKey { key, value: _, expected_type } => {
                    Problem::invalid(key, format!("expected {expected_type}"))
                }
                ErrorKind::DeserializeError { key, value: _, message } => Problem::invalid(key, message),
                ErrorKind::ParseError { .. } | ErrorKind::ParseErrorAtIndex { .. } => {
                    Problem::invalid(only_parameter(parts, state).await, "it could not be read")
                }
                ErrorKind::Message(message) => Problem::invalid(only_parameter(parts, state).await, message),
                other => {
                    tracing::error!(error = %other, "a path could not be read");
                    Problem::internal()
                }
            }),
            Err(other) => {
                tracing::error!(error = %other, "a path could not be read");
                Err(Problem::internal())
            }
        }
    }
}

/// The name of the path's parameter, where it has one only.
async fn only_parameter<S: Send + Sync>(parts: &mut Parts, state: &S) -> String {
    let parameters = RawPathParams::from_request_parts(parts, state).await;
    let names: Vec<String> = parameters.iter().flatten().map(|(name, _)| name.to_owned()).collect();
    match names.as_slice() {
        [name] => name.clone(),
        [] | [_, _, ..] => "path".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only read")]
        n: u8,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only read")]
        list: Vec<Inner>,
    }

    fn detail(problem: &Problem) -> String {
        format!("{} {}", problem.status().as_u16(), problem.detail())
    }

    #[test]
    fn json_that_is_wrong_is_named_by_its_path() {
        let wrong = |text: &str| detail(&from_json::<Outer>(text.as_bytes()).unwrap_err());
        assert!(wrong("{").starts_with("400 "));
        assert!(wrong("{\"list\":[]} x").starts_with("400 "));
        assert!(wrong("{\"list\":\"\\ud800\"}").starts_with("4"));
        assert_eq!(wrong("{}"), "422 list: missing field `list`");
        assert!(wrong("[]").starts_with("422 "), "{}", wrong("[]"));
        assert!(wrong("{\"list\":[],\"x\":1}").starts_with("422 x: unknown field `x`"));
        assert!(wrong("{\"list\":[{\"n\":1},{}]}").starts_with("422 list[1].n: missing field"));
        assert!(wrong("{\"list\":[{\"n\":300}]}").starts_with("422 list[0].n: invalid value"));
        assert!(wrong("{\"list\":[{\"n\":1,\"m\":2}]}").starts_with("422 list[0].m: unknown field"));
    }

    #[test]
    fn queries_that_are_wrong_name_the_parameter() {
        #[derive(Debug, Deserialize)]
        struct Q {
            #[expect(dead_code, reason = "only read")]
            page: Option<u32>,
        }
        let wrong = |text: &str| detail(&from_query::<Q>(text).unwrap_err());
        assert_eq!(wrong("page=x"), "422 page: expected a whole number within bounds");
        assert!(wrong("page=1&page=2").starts_with("422 page"));
        assert!(wrong("q=%00").starts_with("422 q: "));
        assert!(from_query::<Q>("unknown=1").is_ok());
    }
}
