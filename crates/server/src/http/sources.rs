//! Presence sources.

use super::Routes;

pub(super) fn router() -> Routes {
    Routes::new()
}
