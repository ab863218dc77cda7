//! Who logs in at a target.

/// Holds a password: no `Debug`.
pub struct Login {
    pub username: String,
    pub domain: Option<String>,
    pub password: String,
}

impl Login {
    /// `DOMAIN\name` has its domain apart; `name@example.org` stays as it is.
    pub fn new(username: &str, password: &str) -> Self {
        let (domain, username) = match username.split_once('\\') {
            Some((domain, name)) => (Some(domain.to_owned()), name),
            None => (None, username),
        };
        Self {
            username: username.to_owned(),
            domain: domain.filter(|domain| !domain.is_empty()),
            password: password.to_owned(),
        }
    }
}
