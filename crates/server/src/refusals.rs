//! Word to the audit trail of what was refused, in bounded amounts.
//!
//! The first refusal of a kind (who, from where, what) is written at once. Repetitions within a
//! minute are counted and written as one entry at its end. Past a number of kinds in a minute all
//! others share one entry: whoever floods the server cannot flood the trail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::json;
use sojourn_domain::time::{Elapsed, Timestamp};
use sojourn_store::{
    Store,
    audit::{ActorKind, By, Deed, Outcome},
};

/// Kinds that are told apart within one window.
const MOST_KINDS: usize = 120;
/// How long repetitions are gathered.
pub const WINDOW: Elapsed = Elapsed::from_secs(60);

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Kind {
    actor: ActorKind,
    actor_id: String,
    client_address: String,
    action: String,
    object: String,
    reason: String,
}

#[derive(Debug)]
struct Repeated {
    by: By,
    deed: Deed,
    count: u64,
}

#[derive(Debug, Default)]
struct Window {
    began: Timestamp,
    kinds: HashMap<Kind, Repeated>,
    others: u64,
}

/// Cheap to clone; all clones gather together.
#[derive(Debug, Clone)]
pub struct Refusals {
    store: Store,
    window: Arc<Mutex<Window>>,
}

impl Refusals {
    pub fn new(store: Store) -> Self {
        Self { store, window: Arc::default() }
    }

    /// Something was refused. `reason` is a stable word, and stands in the entry's detail.
    pub async fn note(&self, by: By, mut deed: Deed, reason: &str) {
        if let Some(detail) = deed.detail.as_object_mut() {
            detail.insert("reason".to_owned(), json!(reason));
        }
        self.flush_if_over(by.at).await;
        let first = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            if window.kinds.is_empty() && window.others == 0 {
                window.began = by.at;
            }
            let kind = Kind {
                actor: by.kind,
                actor_id: by.id.clone(),
                client_address: by.client_address.clone(),
                action: deed.action.clone(),
                object: deed.object.clone(),
                reason: reason.to_owned(),
            };
            if let Some(repeated) = window.kinds.get_mut(&kind) {
                repeated.count += 1;
                repeated.by.at = by.at;
                false
            } else if window.kinds.len() >= MOST_KINDS {
                window.others += 1;
                false
            } else {
                window.kinds.insert(kind, Repeated { by: by.clone(), deed: deed.clone(), count: 0 });
                true
            }
        };
        if first {
            self.write(&by, deed).await;
        }
    }

    async fn flush_if_over(&self, now: Timestamp) {
        let over = {
            let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            let used = !window.kinds.is_empty() || window.others > 0;
            used && now.since(window.began) >= WINDOW
        };
        if over {
            self.flush(now).await;
        }
    }

    /// Writes what was gathered, and begins anew.
    pub async fn flush(&self, now: Timestamp) {
        let window = std::mem::take(&mut *self.window.lock().unwrap_or_else(PoisonError::into_inner));
        for repeated in window.kinds.into_values().filter(|repeated| repeated.count > 0) {
            let mut deed = repeated.deed;
            if let Some(detail) = deed.detail.as_object_mut() {
                detail.insert("repeated".to_owned(), json!(repeated.count));
            }
            self.write(&repeated.by, deed).await;
        }
        if window.others > 0 {
            let detail = json!({"reason": "too many kinds to list", "repeated": window.others});
            let deed = Deed {
                action: "access.flood".to_owned(),
                object: String::new(),
                outcome: Outcome::Refused,
                detail,
            };
            self.write(&By::system(now), deed).await;
        }
    }

    async fn write(&self, by: &By, deed: Deed) {
        if let Err(error) = self.store.audit(by, deed).await {
            tracing::error!(
                error = crate::http::problem::chain(&error),
                "a refusal did not reach the audit trail"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use sojourn_store::audit::AuditFilter;

    use super::*;

    #[tokio::test]
    async fn repetitions_and_floods_make_few_entries() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_file(&folder.path().join("db")).await.unwrap();
        let refusals = Refusals::new(store.clone());
        let at = |second| Timestamp::from_secs(1_700_000_000 + second);
        let note = async |second: i64, from: String| {
            let by = By::anonymous(at(second), from);
            refusals.note(by, Deed::refused("access.refused", "GET /x", json!({})), "bad_credential").await;
        };
        let entries = async || store.audit_list(&AuditFilter::default(), 1000, 0).await.unwrap().0;
        for _ in 0..50 {
            note(0, "192.0.2.1".to_owned()).await;
        }
        assert_eq!(entries().await.len(), 1);
        for i in 0..1000 {
            note(1, format!("198.51.{}.{}", 100 + i / 250, i % 250)).await;
        }
        assert_eq!(entries().await.len(), MOST_KINDS);
        // The minute is over: one entry for the repetitions, one for the flood, one for what is new.
        note(61, "192.0.2.1".to_owned()).await;
        let entries = entries().await;
        assert_eq!(entries.len(), MOST_KINDS + 3);
        let detail = |action: &str, text: &str| {
            entries.iter().any(|entry| entry.action == action && entry.detail.contains(text))
        };
        assert!(detail("access.refused", "\"repeated\":49"));
        assert!(detail("access.flood", "\"repeated\":881"));
    }
}
