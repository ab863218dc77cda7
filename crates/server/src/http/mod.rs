//! The HTTP API and the web UI: one list of routes, served at `/` and, identically, at `/api/v1`.
//!
//! Nothing here decides what presence or identity mean; it reads requests, asks the store and the
//! sensor, and writes answers. What goes over the wire is declared in [`wire`] and nowhere deeper.

pub mod actor;
mod assets;
mod audit;
pub mod auth;
pub mod client;
mod commands;
pub mod connections;
mod desktop;
pub mod devices;
pub mod extract;
mod file_sessions;
pub mod files;
mod health;
mod keys;
pub mod live;
pub mod metrics;
mod nodes;
mod observe;
pub mod openapi;
pub mod page;
pub mod presence;
pub mod problem;
mod ranges;
mod recordings;
mod roles;
pub mod sessions;
pub mod sources;
pub mod stream;
mod supplied;
pub mod terminal;
mod tokens;
mod tracking;
mod users;
pub mod wire;

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{Extensions, HeaderMap, StatusCode, Version},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate},
    },
};
use utoipa_axum::router::OpenApiRouter;

use self::{
    actor::Gate,
    problem::{Problem, Refusal},
};
use crate::state::AppState;

/// Routes and their documentation, before they are bound to a state.
pub type Routes = OpenApiRouter<Gate>;

/// How long a handler may take until its answer begins. Bodies that stream may take longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The one list of routes.
fn routes() -> Routes {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(presence::router())
        .merge(devices::router())
        .merge(stream::router())
        .merge(sources::router())
        .merge(connections::router())
        .merge(sessions::router())
        .merge(commands::router())
        .merge(file_sessions::router())
        .merge(auth::router())
        .merge(users::router())
        .merge(keys::router())
        .merge(roles::router())
        .merge(live::router())
        .merge(nodes::router())
        .merge(terminal::router())
        .merge(desktop::router())
        .merge(tokens::router())
        .merge(recordings::router())
        .merge(supplied::router())
        .merge(files::router())
        .merge(audit::router())
        .merge(openapi::router())
        .merge(health::router())
        .merge(metrics::router())
}

/// Everything that the server answers.
pub fn app(state: AppState) -> Router {
    let (api, _) = routes().split_for_parts();
    Router::new()
        .merge(api.clone())
        .nest("/api/v1", api)
        .merge(assets::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(extract::BODY_LIMIT_BYTES))
        .layer(from_fn(in_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(CompressionLayer::new().compress_when(compressible()))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(Gate::new(state))
}

/// Marks an answer whose body is sent as it is, because it has a tag or a length, or must leave at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsItIs;

/// Recordings are sent as they are: their tags and ranges are those of their bytes.
fn compressible() -> impl Predicate {
    DefaultPredicate::new()
        .and(|_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
            extensions.get::<AsItIs>().is_none()
        })
        .and(NotForContentType::const_new("application/x-asciicast"))
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("application/x-tar"))
}

async fn no_such_path() -> Problem {
    Problem::not_found("such path")
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "the path does not know this method; see the Allow header",
    )
}

async fn in_time(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if files::unhurried(request.method(), route) {
        return next.run(request).await;
    }
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the request took too long", 10).into_response(),
    }
}

/// The cause is in the log: the panic hook writes it there, with its place.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::internal().into_response()
}
