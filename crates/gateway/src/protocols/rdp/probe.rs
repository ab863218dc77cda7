//! Looking at an RDP target: whether it has a certificate, and whether it lets us in.

use super::handshake;
use crate::protocols::{
    Credential, HostKeyRule, Target, dial,
    probe::{LoginTried, Pinned, Probe},
};

/// Logs in where the target wants that before its picture (NLA), and leaves.
pub(in crate::protocols) async fn probe(
    target: &Target,
    credential: Option<&Credential>,
    rules: &dial::Rules,
) -> Probe {
    let Some(credential) = credential else {
        return Probe::unreached("the target answers; no login was tried".to_owned());
    };
    let was_pinned = matches!(target.host_key, HostKeyRule::Pinned(_));
    let host_key = if was_pinned { target.host_key.clone() } else { HostKeyRule::FirstUse };
    let look = Target { host_key, ..target.clone() };
    let login = match handshake::login(&look, credential) {
        Ok(login) => login,
        Err(error) => return refused(error.message),
    };
    match handshake::open(&look, &login, rules).await {
        Ok(opened) => {
            let pinned = match (&opened.certificate, was_pinned) {
                (None, _) => Pinned::None,
                (Some(_), true) => Pinned::Match,
                (Some(_), false) => Pinned::New,
            };
            let (login, message) = if opened.asks_later() {
                (LoginTried::NotTried, "the target answers; it asks for the login in its own picture")
            } else {
                (LoginTried::Ok, "the target lets us in")
            };
            Probe { host_key: opened.certificate, pinned, login, ..Probe::unreached(message.to_owned()) }
        }
        Err(refusal) if refusal.certificate.is_some() => {
            let pinned = if was_pinned { Pinned::Changed } else { Pinned::New };
            Probe { host_key: refusal.certificate, pinned, ..refused(refusal.error.message) }
        }
        Err(refusal) => refused(refusal.error.message),
    }
}

fn refused(message: String) -> Probe {
    Probe { login: LoginTried::Refused, ..Probe::unreached(message) }
}
