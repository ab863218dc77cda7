//! The messages of `/terminal`.

use axum::extract::ws::{Message, Utf8Bytes};
use serde::{Deserialize, Serialize};
use sojourn_domain::access::EndReason;
use sojourn_gateway::session::{
    Snapshot, Viewer,
    ends::{Exit, TerminalSize},
};

/// The largest terminal, in characters each way.
const MAX_SIDE: u16 = 1000;

/// From the browser.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(in crate::http) enum FromClient {
    Start(Start),
    Resize { cols: u16, rows: u16 },
    Ack { received: u64 },
    Answer { text: String },
    Close,
}

/// The first message. Holds a password: no `Debug`.
#[derive(Serialize, Deserialize)]
pub(in crate::http) struct Start {
    cols: u16,
    rows: u16,
    #[serde(default)]
    term: String,
    /// Where the connection asks the user.
    #[serde(default)]
    pub(super) password: Option<String>,
    /// Output bytes that are there already.
    #[serde(default)]
    pub(super) received: Option<u64>,
}

impl FromClient {
    /// What cannot be read is ignored: a later version may say more.
    pub(in crate::http) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

pub(super) fn size(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize { cols: cols.clamp(1, MAX_SIDE), rows: rows.clamp(1, MAX_SIDE), width_px: 0, height_px: 0 }
}

impl Start {
    /// The message again, for another node.
    pub(super) fn message(&self) -> String {
        let mut message = serde_json::to_value(self).unwrap_or_default();
        message["type"] = "start".into();
        message.to_string()
    }

    pub(super) fn size(&self) -> TerminalSize {
        size(self.cols, self.rows)
    }

    /// `TERM` as targets may have it.
    pub(super) fn term(&self) -> String {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        if self.term.is_empty() || self.term.len() > 64 || !self.term.chars().all(good) {
            return "xterm-256color".to_owned();
        }
        self.term.clone()
    }
}

/// To the browser.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(in crate::http) enum ToClient {
    Session {
        id: String,
        connection_name: String,
        recorded: bool,
        attach: Option<Attach>,
    },
    Snapshot {
        cols: u16,
        rows: u16,
        data: String,
        offset: u64,
    },
    Resize {
        cols: u16,
        rows: u16,
    },
    Prompt {
        text: String,
        echo: bool,
    },
    Notice {
        text: String,
    },
    Viewers {
        viewers: Vec<ViewerWire>,
    },
    End {
        reason: &'static str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_status: Option<u32>,
    },
}

/// How to come back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Attach {
    pub(super) grace_seconds: i64,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct ViewerWire {
    name: String,
    mode: &'static str,
}

impl ToClient {
    pub(super) fn end(reason: EndReason, detail: impl Into<String>) -> Self {
        Self::End { reason: reason.key(), detail: detail.into(), exit_status: None }
    }

    pub(super) fn ended(reason: EndReason, detail: String, exit: Option<&Exit>) -> Self {
        let exit_status = match exit {
            Some(Exit::Status(status)) => Some(*status),
            Some(Exit::Signal { .. }) | None => None,
        };
        Self::End { reason: reason.key(), detail, exit_status }
    }

    pub(super) fn snapshot(snapshot: Snapshot) -> Self {
        Self::Snapshot {
            cols: snapshot.cols,
            rows: snapshot.rows,
            data: snapshot.data,
            offset: snapshot.offset,
        }
    }

    pub(super) fn viewers(viewers: &[Viewer]) -> Self {
        let viewers = viewers
            .iter()
            .map(|viewer| ViewerWire { name: viewer.name.clone(), mode: viewer.mode.key() })
            .collect();
        Self::Viewers { viewers }
    }

    pub(super) fn message(&self) -> Message {
        // Text and numbers alone: there is nothing in it that could fail.
        Message::Text(Utf8Bytes::from(serde_json::to_string(self).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_and_write_as_documented() {
        let text = r#"{"type":"start","cols":0,"rows":9999,"term":"x y","received":7}"#;
        let Some(FromClient::Start(start)) = FromClient::read(text) else { panic!("unreadable") };
        assert_eq!((start.size().cols, start.size().rows), (1, 1000));
        assert_eq!(start.term(), "xterm-256color");
        let Some(FromClient::Start(again)) = FromClient::read(&start.message()) else { panic!("unreadable") };
        assert_eq!(again.received, Some(7));
        assert!(FromClient::read("{\"type\":\"later\"}").is_none());
    }

    #[test]
    fn ends_say_how() {
        let end = ToClient::ended(EndReason::Closed, String::new(), Some(&Exit::Status(3)));
        let text = serde_json::to_string(&end).unwrap();
        assert_eq!(text, r#"{"type":"end","reason":"closed","detail":"","exitStatus":3}"#);
        let session = ToClient::Session {
            id: "sess_1".to_owned(),
            connection_name: "web".to_owned(),
            recorded: true,
            attach: Some(Attach { grace_seconds: 120 }),
        };
        let text = serde_json::to_string(&session).unwrap();
        assert!(
            text.contains(r#""connectionName":"web","recorded":true,"attach":{"graceSeconds":120}"#),
            "{text}"
        );
    }
}
