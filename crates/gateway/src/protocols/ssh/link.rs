//! One SSH connection to a target.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    Channel, ChannelOpenFailure, Disconnect, SshId,
    client::{self, ChannelOpenHandle, Handle, Msg},
    keys::{HashAlg, PublicKey, PublicKeyOrCertificate},
};
use sojourn_domain::access::EndReason;
use tokio::sync::mpsc;

use super::{CONTROLS, PACKET, WINDOW, algorithms::target_preferences};
use crate::protocols::{ConnectError, Credential, HostKeyRule, Target, dial};

/// How long a target may take for the key exchange, and again for the login.
const PATIENCE: Duration = Duration::from_secs(20);
/// A silent target is asked so often whether it is there, and given up after three times.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Channels that a target opened and that wait to be taken up. One that finds it full is refused.
const INCOMING: usize = 32;
/// What is kept of a target's banner.
const BANNER: usize = 8 * 1024;

/// A host key as the target showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenKey {
    /// In OpenSSH's text form, without a comment.
    pub text: String,
    /// `SHA256:…`
    pub fingerprint: String,
    pub algorithm: String,
}

impl SeenKey {
    fn of(key: &PublicKey) -> Self {
        let text = key.to_openssh().unwrap_or_default();
        let text = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        Self {
            algorithm: text.split(' ').next().unwrap_or_default().to_owned(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            text,
        }
    }

    fn is(&self, pinned: &str) -> bool {
        if pinned.starts_with("SHA256:") {
            return pinned.trim_end_matches('=') == self.fingerprint;
        }
        let pinned: Vec<&str> = pinned.split_whitespace().take(2).collect();
        pinned.join(" ") == self.text
    }
}

/// What a target said before anything was started.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub host_key: SeenKey,
    /// The key was unknown and is to be pinned.
    pub first_use: bool,
    /// For the person, as it came; empty where there is none. Holds no control characters but line ends.
    pub banner: String,
}

/// A channel that a target opened. It is refused when `reply` is dropped.
pub enum Incoming {
    Tcp {
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        connected: (String, u32),
        originator: (String, u32),
    },
    Unix {
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        path: String,
    },
    Agent {
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    },
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    key: Option<SeenKey>,
    banner: String,
}

pub(super) struct TargetHandler {
    rule: HostKeyRule,
    seen: Arc<Mutex<Seen>>,
    /// Boxed: a queue has room for 32 of what it holds, and most links see none.
    incoming: mpsc::Sender<Box<Incoming>>,
}

impl TargetHandler {
    fn hand_over(&self, incoming: Incoming) {
        // Full: the channel is refused, as its reply is dropped.
        if self.incoming.try_send(Box::new(incoming)).is_err() {
            tracing::debug!("a target opened more channels than are taken up");
        }
    }
}

impl client::Handler for TargetHandler {
    type Error = russh::Error;

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Self::Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for character in banner.chars() {
            if seen.banner.len() >= BANNER {
                break;
            }
            if character == '\n' || character == '\t' || !character.is_control() {
                seen.banner.push(character);
            }
        }
        Ok(())
    }

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let key = SeenKey::of(key);
        let good = match &self.rule {
            HostKeyRule::Pinned(pinned) => key.is(pinned),
            HostKeyRule::FirstUse => true,
            HostKeyRule::Unknown => false,
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).key = Some(key);
        Ok(good)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        connected_address: &str,
        connected_port: u32,
        originator_address: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.hand_over(Incoming::Tcp {
            channel,
            reply,
            connected: (connected_address.to_owned(), connected_port),
            originator: (originator_address.to_owned(), originator_port),
        });
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.hand_over(Incoming::Unix { channel, reply, path: socket_path.to_owned() });
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        self.hand_over(Incoming::Agent { channel, reply });
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }
}

/// One SSH connection to a target, logged in. It ends when it is dropped, with all that runs on it.
pub struct Link {
    pub(super) handle: Handle<TargetHandler>,
    incoming: Mutex<Option<mpsc::Receiver<Box<Incoming>>>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Reaches the target, looks at its host key and logs in.
    pub async fn open(
        target: &Target,
        credential: &Credential,
        rules: &dial::Rules,
    ) -> Result<(Self, Greeting), ConnectError> {
        let (mut link, mut greeting, seen) = Self::reach(target, rules).await?;
        let done = tokio::time::timeout(PATIENCE, link.log_in(&target.username, credential)).await;
        // The banner comes with the login.
        greeting.banner = seen.lock().unwrap_or_else(PoisonError::into_inner).banner.clone();
        match done {
            Ok(done) => done?,
            Err(_) => {
                return Err(ConnectError::new(
                    EndReason::LoginRefused,
                    "the target takes too long to log in",
                ));
            }
        }
        Ok((link, greeting))
    }

    /// Up to the host key, without a login.
    pub(super) async fn reach(
        target: &Target,
        rules: &dial::Rules,
    ) -> Result<(Self, Greeting, Arc<Mutex<Seen>>), ConnectError> {
        let HostKeyRule::Pinned(pinned) = &target.host_key else {
            return Self::exchange_keys(target, rules, None).await;
        };
        if !pinned.starts_with("SHA256:") {
            let kind = pinned.split_whitespace().next();
            return Self::exchange_keys(target, rules, kind).await;
        }
        // A fingerprint does not say which of the host's keys it belongs to.
        let mut result = Self::exchange_keys(target, rules, None).await;
        for kind in ["ecdsa-sha2-nistp256", "ssh-rsa"] {
            match &result {
                Err(error) if error.reason == EndReason::HostKey => {}
                Ok(_) | Err(_) => break,
            }
            let other = Self::exchange_keys(target, rules, Some(kind)).await;
            if other.is_ok() {
                result = other;
            }
        }
        result
    }

    async fn exchange_keys(
        target: &Target,
        rules: &dial::Rules,
        kind: Option<&str>,
    ) -> Result<(Self, Greeting, Arc<Mutex<Seen>>), ConnectError> {
        let stream = dial::dial(&target.host, target.port, rules).await?;
        let config = client::Config {
            client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Sojourn")),
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            channel_buffer_size: CONTROLS,
            preferred: target_preferences(kind),
            keepalive_interval: Some(KEEP_ALIVE),
            keepalive_max: 3,
            inactivity_timeout: None,
            nodelay: true,
            ..client::Config::default()
        };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (sender, incoming) = mpsc::channel(INCOMING);
        let handler = TargetHandler { rule: target.host_key.clone(), seen: seen.clone(), incoming: sender };
        let connected =
            tokio::time::timeout(PATIENCE, client::connect_stream(Arc::new(config), stream, handler)).await;
        let shown = seen.lock().unwrap_or_else(PoisonError::into_inner).key.clone();
        match connected {
            Ok(Ok(handle)) => {
                let host_key = shown
                    .ok_or_else(|| ConnectError::new(EndReason::HostKey, "the target showed no host key"))?;
                let first_use = target.host_key == HostKeyRule::FirstUse;
                let greeting = Greeting { host_key, first_use, banner: String::new() };
                Ok((Self { handle, incoming: Mutex::new(Some(incoming)) }, greeting, seen))
            }
            Ok(Err(russh::Error::UnknownKey)) => Err(wrong_key(target, shown.as_ref())),
            Ok(Err(error)) => Err(ConnectError::new(
                EndReason::Unreachable,
                format!("no SSH connection to the target: {error}"),
            )),
            Err(_) => {
                Err(ConnectError::new(EndReason::Unreachable, "the target takes too long to exchange keys"))
            }
        }
    }

    /// The channels that the target opens; once.
    pub fn take_incoming(&self) -> Option<mpsc::Receiver<Box<Incoming>>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The connection is gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// A connection from the target to somewhere else.
    pub async fn direct_tcp(
        &self,
        host: &str,
        port: u32,
        originator: (&str, u32),
    ) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_tcpip(host, port, originator.0, originator.1).await
    }

    /// A connection from the target to one of its UNIX sockets.
    pub async fn direct_unix(&self, path: &str) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_streamlocal(path).await
    }

    /// Has the target listen; the port that it took.
    pub async fn listen(&self, address: &str, port: u32) -> Result<u32, russh::Error> {
        let taken = self.handle.tcpip_forward(address, port).await?;
        Ok(if taken == 0 { port } else { taken })
    }

    pub async fn stop_listening(&self, address: &str, port: u32) -> Result<(), russh::Error> {
        self.handle.cancel_tcpip_forward(address, port).await
    }

    pub async fn listen_unix(&self, path: &str) -> Result<(), russh::Error> {
        self.handle.streamlocal_forward(path).await
    }

    pub async fn stop_listening_unix(&self, path: &str) -> Result<(), russh::Error> {
        self.handle.cancel_streamlocal_forward(path).await
    }

    /// Says goodbye. Dropping the link ends it too.
    pub async fn close(&self) {
        // It may be gone already.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

fn wrong_key(target: &Target, shown: Option<&SeenKey>) -> ConnectError {
    let shown =
        shown.map_or_else(|| "none".to_owned(), |key| format!("{} {}", key.algorithm, key.fingerprint));
    let message = match &target.host_key {
        HostKeyRule::Pinned(_) => format!(
            "THE TARGET'S HOST KEY HAS CHANGED: it shows {shown}, which is not the key that was pinned. Either the \
             host was set up anew, or somebody stands in between. Whoever may edit the connection can look and pin \
             the new key."
        ),
        HostKeyRule::FirstUse | HostKeyRule::Unknown => format!(
            "nobody has pinned this target's host key yet (it shows {shown}). Somebody who may edit the connection \
             has to connect first, or to pin it."
        ),
    };
    ConnectError::new(EndReason::HostKey, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_keys_or_fingerprints() {
        let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key: PublicKey = format!("{text} somebody@somewhere").parse().unwrap();
        let seen = SeenKey::of(&key);
        assert_eq!(seen.text, text);
        assert_eq!(seen.algorithm, "ssh-ed25519");
        assert!(seen.is(&format!("{text} another comment")));
        assert!(seen.is(&seen.fingerprint));
        assert!(!seen.is("SHA256:AAAA"));
        assert!(!seen.is("ssh-ed25519"));
        assert!(!seen.is(""));
    }
}
