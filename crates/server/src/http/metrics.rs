//! `/metrics`: what the server counts about itself, for Prometheus.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use axum::{
    extract::FromRequestParts,
    http::{Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
use sojourn_domain::policy::Permission;
use utoipa_axum::routes;

use super::{
    Routes,
    actor::{Gate, Known, Open},
    problem::Problem,
};

/// The registry and what is counted here. Others add their own with [`Metrics::register`].
pub struct Metrics {
    registry: Mutex<Registry>,
    pub requests: Requests,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sojourn");
        registry.register(
            "build",
            "The server's version",
            Info::new([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        );
        let requests = Requests::new(&mut registry);
        Self { registry: Mutex::new(registry), requests }
    }

    /// Adds metrics; the caller keeps clones of them and counts.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        // A panic while the lock was held leaves a registry that is still whole enough to read.
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn encode(&self) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// Requests by route.
pub struct Requests {
    count: Family<RequestLabels, Counter<u64, AtomicU64>>,
    seconds: Histogram,
    /// Event streams that are open now.
    pub streams: Gauge<i64, AtomicI64>,
}

impl Requests {
    fn new(registry: &mut Registry) -> Self {
        let count = Family::default();
        let seconds =
            Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]);
        let streams = Gauge::default();
        registry.register("http_requests", "Answered requests", count.clone());
        registry.register("http_request_seconds", "Time until the answer began", seconds.clone());
        registry.register("http_streams", "Open event streams", streams.clone());
        Self { count, seconds, streams }
    }

    pub(super) fn observe(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        // Anybody may invent methods; labels must stay few.
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            "OPTIONS" => "OPTIONS",
            _ => "other",
        };
        let labels = RequestLabels { method, route: route.to_owned(), status: status.as_u16() };
        self.count.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

pub(super) fn router() -> Routes {
    Routes::new().routes(routes!(metrics))
}

/// The server's own figures
///
/// Needs `settings.manage` or `audit.view`, unless `metrics_public` is set.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"))
)]
async fn metrics(reader: MetricsReader) -> Result<Response, Problem> {
    let text = reader.open.state.metrics.encode().map_err(|_| Problem::internal())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Somebody who may read the figures.
struct MetricsReader {
    open: Open,
}

impl FromRequestParts<Gate> for MetricsReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gate: &Gate) -> Result<Self, Problem> {
        let open = Open::from_request_parts(parts, gate).await?;
        if !open.state.config.metrics_public {
            let Known { actor, .. } = Known::from_request_parts(parts, gate).await?;
            if !actor.may(Permission::AuditView) {
                actor.require(Permission::SettingsManage)?;
            }
        }
        Ok(Self { open })
    }
}
