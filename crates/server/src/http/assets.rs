//! The web UI, built into the binary (debug builds read it from `web/dist` at each request).

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use data_encoding::HEXLOWER;
use rust_embed::RustEmbed;

use super::{actor::Gate, problem::Problem};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// Shown where the web UI was not built.
const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sojourn</title>\
    <h1>Sojourn runs</h1><p>Its web UI was not built into this binary: run <code>cargo xtask build</code>. \
    The API is there, see <a href=\"/openapi.json\">openapi.json</a>.</p></html>";

pub(super) fn router() -> Router<Gate> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/ui/") }))
        .route("/ui", get(|| async { Redirect::permanent("/ui/") }))
        .route("/ui/", get(|headers: HeaderMap| async move { page(&headers, "index.html") }))
        .route("/ui/{*path}", get(file))
        .route("/docs", get(|headers: HeaderMap| async move { page(&headers, "docs.html") }))
        .route("/api/v1/docs", get(|headers: HeaderMap| async move { page(&headers, "docs.html") }))
}

/// A file; or, for what is a page of the application and not a file, the application.
async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    if Dist::get(&path).is_some() {
        return page(&headers, &path);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if path.starts_with("assets/") || last.contains('.') && !last.contains(':') {
        return Problem::not_found("such file").into_response();
    }
    page(&headers, "index.html")
}

fn page(headers: &HeaderMap, path: &str) -> Response {
    let Some(file) = Dist::get(path) else {
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PLACEHOLDER).into_response();
    };
    let tag = format!("\"{}\"", HEXLOWER.encode(&file.metadata.sha256_hash()[..16]));
    // Names below assets/ carry a hash of the content: they never change.
    let caching =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|text| text.contains(tag.as_str()) || text.trim() == "*");
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = mime_guess::from_path(path).first_or_octet_stream();
        let kind = if kind.type_() == mime_guess::mime::TEXT || kind.subtype() == "javascript" {
            format!("{kind}; charset=utf-8")
        } else {
            kind.to_string()
        };
        ([(header::CONTENT_TYPE, kind)], file.data).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
