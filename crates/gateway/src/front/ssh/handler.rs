//! What a client asks for, answered at once: whatever takes longer happens in a task of its own, so
//! that no channel waits for another.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use russh::{
    Channel, ChannelId, ChannelOpenFailure, MethodKind, Pty,
    keys::HashAlg,
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey},
};
use tokio_util::sync::CancellationToken;

use super::{
    client::size,
    desk::Desk,
    forward::{self, Wanted},
    session::{self, Terminal, Wishes},
};
use crate::protocols::{Secret, ssh::What};

/// How a client may prove who it is.
pub(super) const METHODS: &[MethodKind] =
    &[MethodKind::PublicKey, MethodKind::KeyboardInteractive, MethodKind::Password];
/// Channels that one client may have at once.
const CHANNELS: usize = 1000;
/// Variables of one channel's environment, and the bytes of each.
const VARIABLES: usize = 128;
const VARIABLE: usize = 32 * 1024;
/// The longest name of a terminal or subsystem.
const WORD: usize = 256;

/// A session channel on which nothing was started yet.
struct Waiting {
    channel: Channel<Msg>,
    wishes: Wishes,
}

pub(super) struct ClientHandler {
    desk: Arc<Desk>,
    waiting: HashMap<ChannelId, Waiting>,
    /// Cancelled when the client closes the channel.
    open: HashMap<ChannelId, CancellationToken>,
}

impl ClientHandler {
    pub(super) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, waiting: HashMap::new(), open: HashMap::new() }
    }

    async fn by_password(&self, login: &str, password: String) -> Auth {
        let (name, connection) = parts(login);
        match self.desk.doorkeeper.password(name, Secret::new(password), self.desk.from).await {
            Some(caller) => {
                self.desk.welcome(caller, connection);
                Auth::Accept
            }
            None => again(),
        }
    }

    fn start(&mut self, channel: ChannelId, what: What, session: &mut Session) -> Result<(), russh::Error> {
        let Some(waiting) = self.waiting.remove(&channel) else {
            // Something runs on it already.
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let closed = self.open.entry(channel).or_default().clone();
        self.desk.spawn(session::serve(
            self.desk.clone(),
            session.handle(),
            waiting.channel,
            waiting.wishes,
            what,
            closed,
        ));
        Ok(())
    }

    fn full(&self) -> bool {
        self.open.len() >= CHANNELS
    }
}

/// Not this time. The ways in stay as they are: one who mistyped may try again.
fn again() -> Auth {
    Auth::Reject { proceed_with_methods: Some(METHODS.into()), partial_success: false }
}

/// A login is a user's name and, after `+` or `:`, a connection's name or id.
fn parts(login: &str) -> (&str, Option<&str>) {
    match login.split_once(['+', ':']) {
        Some((name, connection)) if !connection.is_empty() => (name, Some(connection)),
        Some((name, _)) => (name, None),
        None => (login, None),
    }
}

impl Handler for ClientHandler {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.by_password(user, password.to_owned()).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(Auth::Partial {
                name: Cow::Borrowed(""),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Borrowed(&[(Cow::Borrowed("Password: "), false)]),
            });
        };
        let Some(answer) = response.next() else { return Ok(again()) };
        let Ok(password) = std::str::from_utf8(&answer) else { return Ok(again()) };
        Ok(self.by_password(user, password.to_owned()).await)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let fingerprint = offer.public_key.fingerprint(HashAlg::Sha256).to_string();
        let known = self.desk.doorkeeper.knows_key(parts(user).0, &fingerprint, self.desk.from).await;
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let (name, connection) = parts(user);
        let fingerprint = key.public_key.fingerprint(HashAlg::Sha256).to_string();
        match self.desk.doorkeeper.key(name, &fingerprint, self.desk.from).await {
            Some(caller) => {
                self.desk.welcome(caller, connection);
                Ok(Auth::Accept)
            }
            None => Ok(Auth::reject()),
        }
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.desk.let_in();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.full() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.open.insert(channel.id(), CancellationToken::new());
        self.waiting.insert(channel.id(), Waiting { channel, wishes: Wishes::default() });
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        originator_address: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.full() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.open.insert(channel.id(), CancellationToken::new());
        let wanted = Wanted::Tcp {
            host: host_to_connect.to_owned(),
            port: port_to_connect,
            originator: (originator_address.to_owned(), originator_port),
        };
        self.desk.spawn(forward::direct(self.desk.clone(), session.handle(), channel, reply, wanted));
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        socket_path: &str,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.full() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.open.insert(channel.id(), CancellationToken::new());
        let wanted = Wanted::Unix { path: socket_path.to_owned() };
        self.desk.spawn(forward::direct(self.desk.clone(), session.handle(), channel, reply, wanted));
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        // What runs on a channel answers when it is over.
        if self.waiting.remove(&channel).is_some() {
            session.close(channel)?;
        }
        if let Some(closed) = self.open.remove(&channel) {
            closed.cancel();
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        col_width: u32,
        row_height: u32,
        pix_width: u32,
        pix_height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.waiting.get_mut(&channel) {
            Some(waiting) if waiting.wishes.pty.is_none() && term.len() <= WORD => {
                let modes = modes.iter().take_while(|(mode, _)| *mode != Pty::TTY_OP_END).copied().collect();
                let size = size(col_width, row_height, pix_width, pix_height);
                waiting.wishes.pty = Some(Terminal { term: term.to_owned(), size, modes });
                session.channel_success(channel)
            }
            Some(_) | None => session.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        variable_name: &str,
        variable_value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.waiting.get_mut(&channel) {
            Some(waiting)
                if waiting.wishes.env.len() < VARIABLES
                    && variable_name.len() + variable_value.len() <= VARIABLE =>
            {
                waiting.wishes.env.push((variable_name.to_owned(), variable_value.to_owned()));
                session.channel_success(channel)
            }
            Some(_) | None => session.channel_failure(channel),
        }
    }

    async fn agent_request(&mut self, channel: ChannelId, _: &mut Session) -> Result<bool, Self::Error> {
        // Whether the connection allows it is looked up when something is started.
        self.desk.agent_forwarded();
        Ok(match self.waiting.get_mut(&channel) {
            Some(waiting) => {
                waiting.wishes.agent = true;
                true
            }
            None => false,
        })
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, What::Shell, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(channel, What::Exec(data.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name.len() > WORD {
            return session.channel_failure(channel);
        }
        self.start(channel, What::Subsystem(name.to_owned()), session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        col_width: u32,
        row_height: u32,
        pix_width: u32,
        pix_height: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        // Where something runs already, it comes through the channel.
        if let Some(terminal) = self.waiting.get_mut(&channel).and_then(|it| it.wishes.pty.as_mut()) {
            terminal.size = size(col_width, row_height, pix_width, pix_height);
        }
        Ok(())
    }

    async fn break_request(
        &mut self,
        channel: ChannelId,
        _length_ms: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // It comes through the channel; whether the target obeys is not known at this moment.
        if self.open.contains_key(&channel) && !self.waiting.contains_key(&channel) {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, Self::Error> {
        match forward::listen(&self.desk, &session.handle(), address, *port).await {
            Ok(taken) => {
                *port = taken;
                Ok(true)
            }
            Err(error) => {
                session.debug(true, &format!("sojourn: {}", error.message), "en")?;
                Ok(false)
            }
        }
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        Ok(match forward::known_link(&self.desk).await {
            Some(link) => link.stop_listening(address, port).await.is_ok(),
            None => false,
        })
    }

    async fn streamlocal_forward(
        &mut self,
        socket_path: &str,
        session: &mut Session,
    ) -> Result<bool, Self::Error> {
        Ok(forward::listen_unix(&self.desk, &session.handle(), socket_path).await.is_ok())
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        socket_path: &str,
        _: &mut Session,
    ) -> Result<bool, Self::Error> {
        Ok(match forward::known_link(&self.desk).await {
            Some(link) => link.stop_listening_unix(socket_path).await.is_ok(),
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn logins() {
        assert_eq!(parts("alice"), ("alice", None));
        assert_eq!(parts("alice+web-server"), ("alice", Some("web-server")));
        assert_eq!(parts("alice:web-server"), ("alice", Some("web-server")));
        assert_eq!(parts("alice+a:b+c"), ("alice", Some("a:b+c")));
        assert_eq!(parts("alice+"), ("alice", None));
    }
}
