//! What goes over the wire, and how: local dates, durations as text, colours, and lists that stream.

pub mod access;
pub mod connections;
pub mod csv;
pub mod devices;
pub mod events;
pub mod file_sessions;
pub mod files;
pub mod identity;
pub mod local;
pub mod recordings;
pub mod sessions;
pub mod sources;
pub mod streamed;
pub mod values;

use sojourn_domain::{mac::MacAddr, time::Timestamp};
pub use values::Time;

use super::problem::Problem;
use crate::state::AppState;

/// What a regular expression for a MAC address looks like; the same rule as `MacAddr`'s.
pub const MAC_PATTERN: &str = "^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(-[0-9A-Fa-f]{2}){5}\
                               |[0-9A-Fa-f]{4}([.][0-9A-Fa-f]{4}){2}|[0-9A-Fa-f]{12})$";

/// A MAC address in a path or body; `field` is named where it is none.
pub fn mac(field: &str, text: &str) -> Result<MacAddr, Problem> {
    text.parse().map_err(|error| Problem::invalid(field, format!("{error}")))
}

/// As [`mac`], and it names one device.
pub fn device_mac(field: &str, text: &str) -> Result<MacAddr, Problem> {
    let mac = mac(field, text)?;
    if mac.is_device() {
        return Ok(mac);
    }
    Err(Problem::invalid(field, "the address names a group or nobody: expected the address of one device"))
}

/// A point in time in a query or body.
pub fn time(state: &AppState, field: &str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse(text, &state.zone).map_err(|error| Problem::invalid(field, format!("{error}")))
}

/// The first moment of a day, or a point in time.
pub fn start(state: &AppState, field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| time(state, field, text)).transpose()
}

/// The first moment after a day, or a point in time.
pub fn end(state: &AppState, field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let trimmed = text.trim();
    if trimmed.len() == 10
        && let Ok(date) = trimmed.parse::<jiff::civil::Date>()
    {
        // Beyond the last day that can be told there is nothing.
        return Ok(Some(sojourn_domain::time::day_end(date, &state.zone).unwrap_or(Timestamp::MAX)));
    }
    time(state, field, text).map(Some)
}

/// One line of text from people: no control characters, at most `max` characters.
pub fn line(field: &str, text: String, max: usize) -> Result<String, Problem> {
    if text.chars().any(char::is_control) || text.chars().count() > max {
        let message = format!("expected one line of at most {max} characters without control characters");
        return Err(Problem::invalid(field, message));
    }
    Ok(text)
}

/// Schemas of values that are text with rules of their own.
pub mod schema {
    use sojourn_domain::presence::Period;
    use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

    fn text() -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::String)
    }

    pub fn mac() -> Object {
        text().pattern(Some(super::MAC_PATTERN)).examples(["AA:BB:CC:DD:EE:FF"]).build()
    }

    pub fn period() -> Object {
        text().pattern(Some(Period::PATTERN)).examples(["7 days"]).build()
    }

    const TIME_PATTERN: &str = "^(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-\
                                ((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])\
                                |(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))\
                                ([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?\
                                (Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?$";

    /// How many a page holds; a larger limit is cut.
    pub fn limit() -> Object {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(u32::MAX))
            .description(Some("How many a page holds; what is too much is cut"))
            .build()
    }

    /// RFC 3339, or local.
    pub fn time() -> Object {
        text()
            .pattern(Some(TIME_PATTERN))
            .description(Some("RFC 3339, or local time; a date is the local day"))
            .examples(["2025-08-01T10:00:00"])
            .build()
    }

    pub fn date() -> Object {
        text()
            .pattern(Some(TIME_PATTERN))
            .description(Some("A local day (`YYYY-MM-DD`), or a point in time"))
            .examples(["2025-08-01"])
            .build()
    }

    pub fn ip() -> Object {
        text().description(Some("An IPv4 or IPv6 address")).examples(["192.168.1.10"]).build()
    }
}
