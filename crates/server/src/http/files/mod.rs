//! Files on targets, for browsers: `/files/{connection}/…`.
//!
//! Every operation goes through a [`FileSession`](sojourn_gateway::files::session::FileSession), which holds it against
//! the connection's policy and writes it down; nothing here touches a target by another way. Which file session an
//! operation belongs to is decided here ([`tabs`]), never by the client. Bytes are passed on as they come, in
//! bounded memory: whoever is slow, the client or the target, holds the other back.

mod archive;
mod change;
mod content;
mod copy;
mod delete;
mod headers;
mod list;
mod open;
mod paths;
mod progress;
mod receive;
pub mod tabs;
mod uploads;
mod walk;
mod zip;

use super::Routes;
pub use paths::PathText;

pub(super) fn router() -> Routes {
    Routes::new()
        .merge(open::router())
        .merge(list::router())
        .merge(content::router())
        .merge(uploads::router())
        .merge(change::router())
        .merge(copy::router())
        .merge(delete::router())
        .merge(archive::router())
}

/// Whether a request may take as long as its body takes to come.
pub(super) fn unhurried(method: &axum::http::Method, route: &str) -> bool {
    use axum::http::Method;
    let route = route.strip_prefix("/api/v1").unwrap_or(route);
    match *method {
        Method::PUT => route == "/files/{connection}/content",
        Method::PATCH => route == "/files/{connection}/uploads/{id}",
        // A hash may have to be made of all that has arrived.
        Method::POST => route == "/files/{connection}/uploads/{id}/finish",
        _ => false,
    }
}
