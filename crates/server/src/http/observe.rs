//! What happens around every request: who the client is, a request id, log, metrics, security
//! headers, and word to the audit trail of what was refused.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use data_encoding::BASE32_NOPAD;
use serde_json::json;
use sojourn_store::audit::{By, Deed};
use tracing::Instrument as _;

use super::{Refusal, actor::ActorSlot, client::Client};
use crate::state::AppState;

/// Pages may load from here alone, run no inline script and stand in no frame. WebAssembly may be compiled: the
/// player of recordings has its terminal in it. It gives a page no way to run text as a script.
const UI_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; \
                         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Answers of the API are no pages.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

pub(super) async fn observe(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let client = Client::of(&request, &state.config);
    let slot = ActorSlot::default();
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(slot.clone());
    let id = BASE32_NOPAD.encode(&state.entropy.bytes::<10>()).to_ascii_lowercase();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request.id = %id, http.method = %method, http.path = ?path);

    let mut response = next.run(request).instrument(span.clone()).await;

    let status = response.status();
    let route = route.as_deref().unwrap_or("none");
    state.metrics.requests.observe(&method, route, status, began.elapsed());
    let actor = slot.get();
    span.in_scope(|| {
        tracing::debug!(
        http.status = status.as_u16(),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        user = actor.map(|actor| actor.name.as_str()),
        client = %client.address,
        "answered"
        )
    });
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        span.in_scope(|| tracing::info!(code = refusal.code, client = %client.address, "refused"));
        let now = state.now();
        let by = match slot.get() {
            Some(actor) => actor.by(now),
            None => By::anonymous(now, client.address.to_string()),
        };
        // The route, not the path: what people put into paths is theirs, and endless.
        let deed = Deed::refused("access.refused", format!("{method} {route}"), json!({}));
        state.refusals.note(by, deed, refusal.code).instrument(span.clone()).await;
    }
    secure(&mut response, path.starts_with("/ui") || path.ends_with("/docs"), client.secure, &id);
    response
}

fn secure(response: &mut Response, page: bool, tls: bool, id: &str) {
    let headers = response.headers_mut();
    // Bytes of a target come with a stricter one.
    let own_policy = headers.get(header::CONTENT_SECURITY_POLICY).cloned();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, if page { UI_POLICY } else { API_POLICY });
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    if tls {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if let Some(policy) = own_policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
