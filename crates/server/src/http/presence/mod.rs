//! Presence: sessions (seed A), events, who is online, history and timeline.

mod events;
mod online;
mod ranking;
mod reports;
mod sessions;
mod summary;
mod timeline;

pub(super) use self::sessions::{DeviceSessions, PeriodQuery, of_device};
use super::Routes;

pub(super) fn router() -> Routes {
    Routes::new()
        .merge(sessions::router())
        .merge(summary::router())
        .merge(events::router())
        .merge(online::router())
        .merge(timeline::router())
        .merge(reports::router())
}
