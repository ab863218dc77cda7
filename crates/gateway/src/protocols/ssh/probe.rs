//! Looking at an SSH target: its host key, and whether it lets us in.

use std::time::Duration;

use sojourn_domain::access::EndReason;

use super::Link;
use crate::protocols::{
    Credential, HostKeyRule, Target, dial,
    probe::{LoginTried, Pinned, Probe},
};

/// How long a login may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reaches the target up to its host key, and logs in where there is a credential.
pub(in crate::protocols) async fn probe(
    target: &Target,
    credential: Option<&Credential>,
    rules: &dial::Rules,
) -> Probe {
    let was_pinned = matches!(target.host_key, HostKeyRule::Pinned(_));
    let look = Target {
        host_key: if was_pinned { target.host_key.clone() } else { HostKeyRule::FirstUse },
        ..target.clone()
    };
    let (mut link, greeting) = match Link::reach(&look, rules).await {
        Ok((link, greeting, _)) => (link, greeting),
        Err(error) if error.reason == EndReason::HostKey && was_pinned => {
            // Once more, to tell which key it shows instead.
            let any = Target { host_key: HostKeyRule::FirstUse, ..look };
            let shown = Link::reach(&any, rules).await.ok().map(|(_, greeting, _)| greeting.host_key);
            return Probe { host_key: shown, pinned: Pinned::Changed, ..Probe::unreached(error.message) };
        }
        Err(error) => return Probe::unreached(error.message),
    };
    let found = Probe {
        host_key: Some(greeting.host_key),
        pinned: if was_pinned { Pinned::Match } else { Pinned::New },
        ..Probe::unreached("the target answers; no login was tried".to_owned())
    };
    let Some(credential) = credential else { return found };
    match tokio::time::timeout(PATIENCE, link.log_in(&target.username, credential)).await {
        Ok(Ok(())) => {
            link.close().await;
            Probe { login: LoginTried::Ok, message: "the target lets us in".to_owned(), ..found }
        }
        Ok(Err(error)) => Probe { login: LoginTried::Refused, message: error.message, ..found },
        Err(_) => Probe {
            login: LoginTried::Refused,
            message: "the target takes too long to log in".to_owned(),
            ..found
        },
    }
}
