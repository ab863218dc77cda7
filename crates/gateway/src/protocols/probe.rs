//! Looking at a target without a session: is it there, is it the right one, does it let us in?

use std::time::Duration;

use sojourn_domain::access::{EndReason, Protocol};
use tokio::time::Instant;

use super::{
    Credential, HostKeyRule, Target, dial, rdp,
    ssh::{self, SeenKey},
    vnc,
};
use crate::files::{self, Opened};

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
        Protocol::Rdp => Probe { reached: true, latency, ..rdp::probe(target, credential, rules).await },
        Protocol::Vnc => Probe { reached: true, latency, ..vnc::probe(target, credential, rules).await },
        Protocol::Ftp | Protocol::Smb => {
            Probe { reached: true, latency, ..files(protocol, target, credential, rules).await }
        }
    }
}

/// Logs in where there are files only, and leaves. What does not lead to the files is a refusal.
async fn files(
    protocol: Protocol,
    target: &Target,
    credential: Option<&Credential>,
    rules: &dial::Rules,
) -> Probe {
    let was_pinned = matches!(target.host_key, HostKeyRule::Pinned(_));
    let host_key = if was_pinned { target.host_key.clone() } else { HostKeyRule::FirstUse };
    let look = Target { host_key, ..target.clone() };
    let Some(credential) = credential else {
        return Probe::unreached("the target answers; no login was tried".to_owned());
    };
    let opened = match files::open(protocol, &look, credential, rules).await {
        Ok(opened) => opened,
        Err(error) if error.reason == EndReason::HostKey && was_pinned => {
            return Probe {
                host_key: shown(protocol, look, rules).await,
                pinned: Pinned::Changed,
                ..Probe::unreached(error.message)
            };
        }
        Err(error) => return Probe { login: LoginTried::Refused, ..Probe::unreached(error.message) },
    };
    let Opened { fs, host_key, .. } = opened;
    fs.close().await;
    let pinned = match (&host_key, was_pinned) {
        (None, _) => Pinned::None,
        (Some(_), true) => Pinned::Match,
        (Some(_), false) => Pinned::New,
    };
    Probe { host_key, pinned, login: LoginTried::Ok, ..Probe::unreached("the target lets us in".to_owned()) }
}

/// What a target shows instead of what is pinned; asked without a secret, so that it may stay unknown.
async fn shown(protocol: Protocol, look: Target, rules: &dial::Rules) -> Option<SeenKey> {
    let nobody = Target { host_key: HostKeyRule::FirstUse, username: String::new(), ..look };
    let opened = files::open(protocol, &nobody, &Credential::None, rules).await.ok()?;
    opened.fs.close().await;
    opened.host_key
}
