//! Presence sessions (seed A) and events.

use super::Routes;

pub(super) fn router() -> Routes {
    Routes::new()
}
