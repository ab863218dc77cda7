//! Presence sessions as seed A shows them.

use jiff::tz::TimeZone;
use serde::Serialize;
use sojourn_domain::time::Timestamp;
use sojourn_store::presence::{
    sessions::{ListedSession, MISSING_EVENT},
    timeline::Span,
};
use utoipa::ToSchema;

use super::local::{LocalTimes, duration};

/// What stands for the end of a session that goes on.
const STILL_CONNECTED: &str = "...";
/// What stands for a duration that cannot be told.
const UNTOLD: &str = "...";

const CLOSED: &str = "#00a659";
const OPEN: &str = "#0073b7";
const MISSING: &str = "#f39c12";

/// A presence session. Local times are in the configured zone.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionWire<'a> {
    #[serde(rename = "ses_MAC")]
    #[schema(example = "AA:BB:CC:DD:EE:FF")]
    mac: &'a str,
    /// Local time, or `<missing event>`.
    #[serde(rename = "ses_Connection")]
    #[schema(example = "2025-08-01 10:00")]
    connection: &'a str,
    /// Local time, `<missing event>`, or `...` while the device is still connected.
    #[serde(rename = "ses_Disconnection")]
    #[schema(example = "2025-08-01 12:00")]
    disconnection: &'a str,
    /// `2h 0m`, `45m`, `1d 2h 0m`; `...` when a boundary is missing.
    #[serde(rename = "ses_Duration")]
    #[schema(example = "2h 0m")]
    duration: &'a str,
    #[serde(rename = "ses_IP")]
    #[schema(example = "192.168.1.10")]
    ip: &'a str,
    #[serde(rename = "ses_Info")]
    info: &'a str,
    #[schema(example = "psess_01h455vb4pex5vsknk084sn02q")]
    id: &'a str,
    /// RFC 3339; null when it is missing.
    #[serde(rename = "ses_DateTimeConnection")]
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// RFC 3339; null when it is missing, or while the device is still connected.
    #[serde(rename = "ses_DateTimeDisconnection")]
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    #[serde(rename = "ses_EventTypeConnection")]
    #[schema(example = "Connected")]
    start_type: &'a str,
    /// Null while the device is still connected.
    #[serde(rename = "ses_EventTypeDisconnection")]
    #[schema(example = "Disconnected")]
    end_type: Option<&'a str>,
    /// 1 while the device is still connected, else 0.
    #[serde(rename = "ses_StillConnected")]
    #[schema(minimum = 0, maximum = 1)]
    still_connected: u8,
    #[serde(rename = "ses_AdditionalInfo")]
    additional_info: &'a str,
}

/// A session in a calendar (FullCalendar's event).
#[derive(Debug, Serialize, ToSchema)]
pub struct CalendarWire<'a> {
    /// The device's MAC address.
    #[serde(rename = "resourceId")]
    #[schema(example = "AA:BB:CC:DD:EE:FF")]
    resource_id: &'a str,
    /// Always empty.
    title: &'a str,
    /// Local time; an estimate where the start is missing.
    #[schema(example = "2025-08-01T10:00:00")]
    start: &'a str,
    /// Local time; an estimate where the end is missing; now while the device is still connected.
    #[schema(example = "2025-08-01T12:00:00")]
    end: &'a str,
    /// `#00a659` closed, `#0073b7` still connected, `#f39c12` a boundary is missing.
    #[schema(pattern = "^#[0-9a-f]{6}$")]
    color: &'a str,
    #[schema(example = "Connection: 2025-08-01 10:00\nDisconnection: 2025-08-01 12:00\nIP: 192.168.1.10")]
    tooltip: &'a str,
    /// Always `no-border`.
    #[serde(rename = "className")]
    class_name: &'a str,
}

/// Writes sessions one after another, reusing its buffers.
pub struct SessionWriter {
    times: LocalTimes,
    now: Timestamp,
    a: String,
    b: String,
    c: String,
    d: String,
}

impl SessionWriter {
    pub fn new(zone: &TimeZone, now: Timestamp) -> Self {
        let text = String::new;
        Self { times: LocalTimes::new(zone), now, a: text(), b: text(), c: text(), d: text() }
    }

    /// Hands the session, as it goes over the wire, to `take`.
    pub fn session<R>(&mut self, session: &ListedSession, take: impl FnOnce(&SessionWire<'_>) -> R) -> R {
        let Self { times, now, a: connection, b: disconnection, c: length, d: _ } = self;
        boundaries(times, session, connection, disconnection);
        length.clear();
        match duration_of(session, *now) {
            Some(known) => duration(known, length),
            None => length.push_str(UNTOLD),
        }
        take(&SessionWire {
            mac: &session.mac.to_string(),
            connection,
            disconnection,
            duration: length,
            ip: session.ip.as_deref().unwrap_or_default(),
            info: &session.info,
            id: &session.id.to_string(),
            started_at: session.started_at.map(Timestamp::rfc3339),
            ended_at: session.ended_at.map(Timestamp::rfc3339),
            start_type: &session.start_type,
            end_type: session.end_type.as_deref(),
            still_connected: session.open.into(),
            additional_info: &session.info,
        })
    }

    /// Hands the session, as a calendar shows it, to `take`.
    pub fn calendar<R>(&mut self, span: &Span, take: impl FnOnce(&CalendarWire<'_>) -> R) -> R {
        let Self { times, now, a: start, b: end, c: tooltip, d: mac } = self;
        for text in [&mut *start, end, tooltip, mac] {
            text.clear();
        }
        // An open session that was entered for a time to come ends, for now, where it starts.
        let until = if span.open { (*now).max(span.from) } else { span.until };
        times.seconds(span.from, start);
        times.seconds(until, end);
        tooltip.push_str("Connection: ");
        match span.start_missing {
            true => tooltip.push_str(MISSING_EVENT),
            false => times.minutes(span.from, tooltip),
        }
        tooltip.push_str("\nDisconnection: ");
        match (span.open, span.end_missing) {
            (true, _) => tooltip.push_str("<still connected>"),
            (false, true) => tooltip.push_str(MISSING_EVENT),
            (false, false) => times.minutes(until, tooltip),
        }
        tooltip.push_str("\nIP: ");
        tooltip.push_str(span.ip.as_deref().unwrap_or_default());
        span.mac.write(mac);
        let color = if span.start_missing || span.end_missing {
            MISSING
        } else if span.open {
            OPEN
        } else {
            CLOSED
        };
        take(&CalendarWire {
            resource_id: mac,
            title: "",
            start,
            end,
            color,
            tooltip,
            class_name: "no-border",
        })
    }
}

/// The session's boundaries as text.
pub fn boundaries(
    times: &mut LocalTimes,
    session: &ListedSession,
    connection: &mut String,
    disconnection: &mut String,
) {
    connection.clear();
    disconnection.clear();
    match session.started_at {
        Some(at) => times.minutes(at, connection),
        None => connection.push_str(MISSING_EVENT),
    }
    match session.ended_at {
        _ if session.open => disconnection.push_str(STILL_CONNECTED),
        Some(at) => times.minutes(at, disconnection),
        None => disconnection.push_str(MISSING_EVENT),
    }
}

/// How long the session lasted, or has lasted until now; `None` when a boundary is missing.
pub fn duration_of(session: &ListedSession, now: Timestamp) -> Option<sojourn_domain::time::Elapsed> {
    let start = session.started_at?;
    let end = if session.open { now.max(start) } else { session.ended_at? };
    Some(end.since(start))
}
