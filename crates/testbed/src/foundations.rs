//! What an installation of several nodes stands on: PostgreSQL and an S3 server in place of local files.
//!
//! With `SOJOURN_TEST_LARGE=1` every installation of the tests does, but for those that name others.

use std::{
    env,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    objects::{BUCKET, Objects},
    postgres::{Database, fresh_database},
};

/// A database of its own, and a place of its own on an S3 server that all share.
#[derive(Debug)]
pub struct Foundations {
    _database: Database,
    _objects: Arc<Objects>,
    variables: Vec<(String, String)>,
}

impl Foundations {
    /// `None`, and a visible line, where PostgreSQL or the S3 server is not installed.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = fresh_database()?;
        let objects = shared_objects()?;
        let place = format!("s3://{BUCKET}/{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut variables = vec![
            (String::from("SOJOURN_DATABASE"), database.url().to_owned()),
            (String::from("SOJOURN_OBJECTS"), format!("{place}?endpoint={}", objects.endpoint())),
        ];
        let environment = objects.environment().into_iter();
        // Where it is stands in the URL.
        variables.extend(
            environment
                .filter(|(name, _)| !name.contains("ENDPOINT"))
                .map(|(name, value)| (name.to_owned(), value)),
        );
        Some(Self { _database: database, _objects: objects, variables })
    }

    /// Of every command of the installation.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Whether all tests are to stand on them.
    pub(crate) fn wanted() -> bool {
        env::var("SOJOURN_TEST_LARGE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"))
    }
}

fn shared_objects() -> Option<Arc<Objects>> {
    static SHARED: Mutex<Weak<Objects>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(objects) = shared.upgrade() {
        return Some(objects);
    }
    let objects = Arc::new(Objects::start()?);
    *shared = Arc::downgrade(&objects);
    Some(objects)
}
