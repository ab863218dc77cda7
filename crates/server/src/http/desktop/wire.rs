//! The messages of `/desktop`.

use axum::extract::ws::{Message, Utf8Bytes};
use serde::{Deserialize, Serialize};
use sojourn_domain::access::{DesktopPolicy, EndReason, Protocol};
use sojourn_gateway::session::SessionFacts;

/// From the browser. Holds a password: no `Debug`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum FromBrowser {
    Start(Start),
    Answer { text: String },
    Close,
}

/// Holds a password: no `Debug`.
#[derive(Deserialize, Serialize)]
pub(super) struct Start {
    /// Where the connection asks the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    /// Looks on at a small picture, which need not be new at once.
    #[serde(default)]
    pub(super) slow: bool,
}

impl Start {
    /// As it came, for another node.
    pub(super) fn message(&self) -> String {
        let mut message = serde_json::to_value(self).unwrap_or_default();
        message["type"] = "start".into();
        message.to_string()
    }
}

impl FromBrowser {
    /// What cannot be read is ignored: a later version may say more.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// To the browser.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(super) enum ToBrowser {
    Session {
        id: String,
        connection_name: String,
        /// What binary messages are: `rfb` or `rdcleanpath`.
        speaks: &'static str,
        recorded: bool,
        view_only: bool,
        allow_copy: bool,
        allow_paste: bool,
    },
    Prompt {
        text: String,
        echo: bool,
    },
    Notice {
        text: String,
    },
    End {
        reason: &'static str,
        detail: String,
    },
}

impl ToBrowser {
    pub(super) fn session(facts: &SessionFacts, policy: DesktopPolicy) -> Self {
        Self::of(facts, if facts.protocol == Protocol::Rdp { "rdcleanpath" } else { "rfb" }, policy)
    }

    fn of(facts: &SessionFacts, speaks: &'static str, policy: DesktopPolicy) -> Self {
        Self::Session {
            id: facts.id.to_string(),
            connection_name: facts.connection_name.clone(),
            speaks,
            recorded: facts.recorded,
            view_only: policy.view_only,
            allow_copy: policy.allow_copy,
            allow_paste: policy.allow_paste && !policy.view_only,
        }
    }

    /// To somebody who looks on: whatever the target speaks, they are shown pictures.
    pub(super) fn watched(facts: &SessionFacts) -> Self {
        let nothing = DesktopPolicy { allow_copy: false, allow_paste: false, view_only: true };
        Self::of(facts, "rfb", nothing)
    }

    pub(super) fn end(reason: EndReason, detail: impl Into<String>) -> Self {
        Self::End { reason: reason.key(), detail: detail.into() }
    }

    pub(super) fn message(&self) -> Message {
        // Text and flags alone: there is nothing in it that could fail.
        Message::Text(Utf8Bytes::from(serde_json::to_string(self).unwrap_or_default()))
    }
}
