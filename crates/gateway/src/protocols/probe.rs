//! Looking at a target without a session: is it there, is it the right one, does it let us in?

use std::time::Duration;

use sojourn_domain::access::Protocol;
use tokio::time::Instant;

use super::{
    Credential, Target, dial,
    ssh::{self, SeenKey},
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The host took a connection on the port.
    pub reached: bool,
    /// How long that took.
    pub latency: Option<Duration>,
    /// The host key that it showed.
    pub host_key: Option<SeenKey>,
    pub pinned: Pinned,
    pub login: LoginTried,
    /// A sentence for people.
    pub message: String,
}

/// How the shown host key stands to the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    Match,
    /// None is pinned.
    New,
    Changed,
    /// None was shown.
    None,
}

/// How a login went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginTried {
    Ok,
    Refused,
    NotTried,
}

impl Probe {
    /// Nothing was found that stands in the way of a session.
    pub fn is_good(&self) -> bool {
        self.reached
            && self.pinned != Pinned::Changed
            && match self.login {
                LoginTried::Ok | LoginTried::NotTried => true,
                LoginTried::Refused => false,
            }
    }

    pub(super) fn unreached(message: String) -> Self {
        Self {
            reached: false,
            latency: None,
            host_key: None,
            pinned: Pinned::None,
            login: LoginTried::NotTried,
            message,
        }
    }
}

/// Looks at a target. Without a credential no login is tried, and none where the host key is wrong.
/// At a Telnet target none is tried ever: nobody can say where its dialogue ends.
pub async fn probe(
    protocol: Protocol,
    target: &Target,
    credential: Option<&Credential>,
    rules: &dial::Rules,
) -> Probe {
    let asked = Instant::now();
    match dial::dial(&target.host, target.port, rules).await {
        Ok(stream) => drop(stream),
        Err(error) => return Probe::unreached(error.message),
    }
    let latency = Some(asked.elapsed());
    match protocol {
        Protocol::Ssh | Protocol::Sftp => {
            Probe { reached: true, latency, ..ssh::probe(target, credential, rules).await }
        }
        Protocol::Telnet => Probe {
            reached: true,
            latency,
            message: "the target answers; its login was not tried".to_owned(),
            ..Probe::unreached(String::new())
        },
        Protocol::Ftp | Protocol::Smb => Probe {
            reached: true,
            latency,
            message: "the target answers; its login was not tried".to_owned(),
            ..Probe::unreached(String::new())
        },
    }
}
