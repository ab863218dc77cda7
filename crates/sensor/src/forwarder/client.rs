//! The server as the forwarder sees it: one request at a time, and what its answers mean.

use std::time::Duration;

use reqwest::{StatusCode, header};

use super::{SensorError, batch::Batch};
use crate::imports::ImportFormat;

const REQUEST: Duration = Duration::from_secs(30);

/// What became of a report.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Taken,
    /// It will never be taken.
    Refused,
    Later {
        reason: String,
        after: Option<Duration>,
    },
}

/// A server and how to be heard by it.
#[derive(Debug, Clone)]
pub struct ServerAddress {
    /// `https://sojourn.example.org`, with the path it is served under.
    pub url: String,
    /// A token of a user with `presence.manage`.
    pub token: Secret,
    /// Certificates (PEM) to trust besides the system's.
    pub ca: Option<Vec<u8>>,
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

pub(super) struct Client {
    http: reqwest::Client,
    pub url: reqwest::Url,
    authorization: header::HeaderValue,
}

impl Client {
    /// A client of one path of a server.
    pub(super) fn new(server: &ServerAddress, path: &str) -> Result<Self, SensorError> {
        let address = || SensorError::Address(server.url.clone());
        let url = format!("{}/{path}", server.url.trim_end_matches('/'));
        let url = reqwest::Url::parse(&url).map_err(|_| address())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(address());
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            tracing::warn!(
                "the server's address has no TLS: the token and all reports can be read on the way"
            );
        }
        let mut authorization = header::HeaderValue::from_str(&format!("Bearer {}", server.token.0.trim()))
            .map_err(|_| SensorError::Token)?;
        authorization.set_sensitive(true);
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("sojourn-sensor/", env!("CARGO_PKG_VERSION")))
            .timeout(REQUEST)
            .connect_timeout(Duration::from_secs(10))
            // A token is meant for the server that was named.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(ca) = &server.ca {
            let certificates =
                reqwest::Certificate::from_pem_bundle(ca).map_err(SensorError::Certificates)?;
            http = http.tls_certs_merge(certificates);
        }
        Ok(Self { http: http.build().map_err(SensorError::Certificates)?, url, authorization })
    }

    fn post(&self) -> reqwest::RequestBuilder {
        self.http.post(self.url.clone()).header(header::AUTHORIZATION, self.authorization.clone())
    }

    pub(super) async fn send(&self, batch: &Batch) -> Answer {
        let response = match self.post().json(batch).send().await {
            Ok(response) => response,
            Err(error) => return Answer::Later { reason: chain(&error), after: None },
        };
        let status = response.status();
        if status.is_success() {
            return Answer::Taken;
        }
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let sentence = sentence(response).await;
        let refused = matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::CONFLICT
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNPROCESSABLE_ENTITY
        );
        if refused {
            tracing::error!(
                source = %batch.source, status = status.as_u16(), error = sentence,
                "the server refuses a report, which is thrown away"
            );
            return Answer::Refused;
        }
        // Also a wrong token, a wrong path, a proxy's error: somebody may put it right.
        Answer::Later { reason: format!("{status}: {sentence}"), after }
    }
}

/// What the server made of an imported file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    pub hosts: u64,
    pub sightings: u64,
}

/// Hands a file of another tool to the server, to be kept as what `source` saw.
pub async fn import(
    server: &ServerAddress,
    format: ImportFormat,
    source: &str,
    file: Vec<u8>,
) -> Result<Imported, SensorError> {
    let client = Client::new(server, "presence/import")?;
    let mut request = client.url.clone();
    request.query_pairs_mut().append_pair("format", &format.to_string()).append_pair("source", source);
    let request = client
        .http
        .post(request)
        .header(header::AUTHORIZATION, client.authorization.clone())
        .header(header::CONTENT_TYPE, "text/plain")
        .body(file);
    let response = request.send().await.map_err(|error| SensorError::Unreachable(chain(&error)))?;
    let status = response.status();
    if !status.is_success() {
        return Err(SensorError::Refused(format!("{status}: {}", sentence(response).await)));
    }
    response.json().await.map_err(|error| SensorError::Unreachable(chain(&error)))
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The `error` of the server's answer, short and on one line.
async fn sentence(response: reqwest::Response) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        error: String,
    }
    let text = response.text().await.unwrap_or_default();
    let text = serde_json::from_str::<Problem>(&text).map_or_else(|_| String::new(), |problem| problem.error);
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// An error with its causes, which say what really happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
