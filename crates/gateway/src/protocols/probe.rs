//! Trying a connection out: what answers, with which host key, and whether it lets us in.

use sojourn_domain::access::EndReason;
use std::time::Duration;
use tokio::time::Instant;

use super::{ConnectError, Credential, HostKeyRule, Target, dial, ssh};

/// How the shown host key stands to the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It is the pinned one.
    Match,
    /// None is pinned yet.
    New,
    /// Another one is pinned.
    Changed,
    /// None was shown.
    None,
}

impl Pinned {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::New => "new",
            Self::Changed => "changed",
            Self::None => "none",
        }
    }
}

/// How the login went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Ok,
    Refused,
    /// The user brings the credential, or it did not come to that.
    NotTried,
}

impl Login {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::NotTried => "not_tried",
        }
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Probe {
    pub reached: bool,
    /// Until the host key was seen.
    pub latency: Option<Duration>,
    pub host_key: Option<ssh::SeenKey>,
    pub pinned: Pinned,
    pub login: Login,
    pub banner: String,
    /// A sentence for people.
    pub message: String,
}

/// Tries an SSH target. `credential` is `None` where the login is not to be tried. Nothing is pinned.
pub async fn ssh(target: &Target, credential: Option<&Credential>, rules: &dial::Rules) -> Probe {
    let mut found = Probe {
        reached: false,
        latency: None,
        host_key: None,
        pinned: Pinned::None,
        login: Login::NotTried,
        banner: String::new(),
        message: String::new(),
    };
    // Any key will do to look at; a credential goes only to the right one.
    let any = Target { host_key: HostKeyRule::FirstUse, ..target.clone() };
    let began = Instant::now();
    let shown = match ssh::Link::look(&any, rules).await {
        Ok(shown) => shown,
        Err(ConnectError { reason, message }) => {
            found.reached = reason == EndReason::HostKey;
            found.message = message;
            return found;
        }
    };
    found.reached = true;
    found.latency = Some(began.elapsed());
    found.host_key = Some(shown);
    found.pinned = match &target.host_key {
        HostKeyRule::Pinned(_) => Pinned::Match,
        HostKeyRule::FirstUse | HostKeyRule::Unknown => Pinned::New,
    };
    // A host with several keys is asked for the pinned one here.
    match ssh::Link::look(target, rules).await {
        Ok(shown) => found.host_key = Some(shown),
        Err(error) if error.reason == EndReason::HostKey => {
            if matches!(target.host_key, HostKeyRule::Pinned(_)) {
                found.pinned = Pinned::Changed;
                found.message = error.message;
                return found;
            }
        }
        Err(error) => {
            found.message = error.message;
            return found;
        }
    }
    let Some(credential) = credential else {
        found.message = "the target answers; the login was not tried".to_owned();
        return found;
    };
    if found.pinned == Pinned::New && target.host_key == HostKeyRule::Unknown {
        found.message = "the target answers; no host key is pinned, so the login was not tried".to_owned();
        return found;
    }
    match ssh::Link::open(target, credential, rules).await {
        Ok((link, greeting)) => {
            found.login = Login::Ok;
            found.banner = greeting.banner;
            found.message = "the target answers and lets us in".to_owned();
            link.close().await;
        }
        Err(error) => {
            found.login = Login::Refused;
            found.message = error.message;
        }
    }
    found
}
