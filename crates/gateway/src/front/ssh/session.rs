//! One session channel of a client, from its request to its end.

use std::sync::Arc;

use bytes::BytesMut;
use russh::{
    Channel, Pty,
    server::{Handle, Msg},
};
use sojourn_domain::access::{AuthKind, EndReason, Protocol, Purpose};
use tokio_util::sync::CancellationToken;

use super::{
    client::Client,
    desk::Desk,
    files,
    menu::{self, Answer, Menu},
};
use crate::{
    front::doorkeeper::{Opening, Pass},
    protocols::{
        self, ConnectError, Credential, Secret, TerminalRequest,
        ssh::{Link, PtyRequest, Start, StartError, What},
        telnet,
    },
    session::ends::{TargetEnd, TerminalSize},
};

/// What a client asked for on a channel before it asked for something to be started.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) pty: Option<Terminal>,
    pub(super) env: Vec<(String, String)>,
    pub(super) agent: bool,
}

pub(super) struct Terminal {
    pub(super) term: String,
    pub(super) size: TerminalSize,
    pub(super) modes: Vec<(Pty, u32)>,
}

/// The rest of a person's patience after they closed a channel whose target does not move.
const GRACE: std::time::Duration = std::time::Duration::from_secs(3);

/// Serves the channel. `closed` is cancelled when the client closes it.
pub(super) async fn serve(
    desk: Arc<Desk>,
    handle: Handle,
    channel: Channel<Msg>,
    wishes: Wishes,
    what: What,
    closed: CancellationToken,
) {
    let (read, write) = channel.split();
    let client = Client {
        read,
        write,
        handle,
        size: wishes.pty.as_ref().map(|pty| pty.size),
        typed: BytesMut::new(),
        eof: false,
    };
    let gone = async {
        tokio::select! {
            () = closed.cancelled() => {}
            () = desk.closed() => {}
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = run(&desk, client, wishes, what) => {}
        () = gone => {}
    }
}

async fn run(desk: &Arc<Desk>, mut client: Client, wishes: Wishes, what: What) {
    let named = match desk.named() {
        Some(named) => named.to_owned(),
        None => match choose(desk, client, &what).await {
            Some((chosen, back)) => {
                client = back;
                chosen
            }
            None => return,
        },
    };
    let pass = match desk.admit(&named).await {
        Ok(pass) => pass,
        Err(why) => return client.refuse(&why).await,
    };
    if let Some(why) = forbidden(pass.as_ref(), &wishes, &what) {
        return client.refuse(why).await;
    }
    let mut seat = match pass.begin(opening(desk, &client, &wishes, &what)).await {
        Ok(seat) => seat,
        Err(why) => return client.refuse(&why).await,
    };
    let reached = tokio::select! {
        reached = reach(desk, &mut client, pass.as_ref(), &wishes, what) => reached,
        (reason, message) = seat.called_off() => Err(ConnectError::new(reason, message).into()),
    };
    let started = match reached {
        Ok(started) => started,
        Err(Left::Refused(error)) => {
            seat.fail(error.reason, error.message.clone()).await;
            return client.refuse(&error.message).await;
        }
        Err(Left::Gone) => {
            seat.fail(EndReason::ClientLost, String::new()).await;
            return client.leave().await;
        }
    };
    let (end, carried) = client.attach().await;
    // It is counted and ended by the hub, not by whoever holds this.
    let _running = seat.run(started, end);
    carried.await;
}

/// Why a session did not come about.
enum Left {
    Refused(ConnectError),
    /// The person turned away.
    Gone,
}

impl From<ConnectError> for Left {
    fn from(error: ConnectError) -> Self {
        Self::Refused(error)
    }
}

fn forbidden(pass: &dyn Pass, wishes: &Wishes, what: &What) -> Option<&'static str> {
    if pass.protocol().files_only() {
        return Some("this connection has files only");
    }
    if pass.protocol() == Protocol::Telnet {
        let terminal = *what == What::Shell && wishes.pty.is_some();
        return (!terminal).then_some("this connection has terminals only: it is not SSH");
    }
    let files = match what {
        What::Shell => false,
        What::Exec(command) => files::command(command),
        What::Subsystem(name) => files::subsystem(name),
    };
    (files && !pass.policy().allow_files).then_some("this connection does not allow files to be transferred")
}

fn opening(desk: &Desk, client: &Client, wishes: &Wishes, what: &What) -> Opening {
    let (purpose, command) = match what {
        What::Shell => (Purpose::Shell, String::new()),
        What::Exec(command) => (Purpose::Exec, String::from_utf8_lossy(command).into_owned()),
        What::Subsystem(name) => (Purpose::Subsystem, name.clone()),
    };
    Opening {
        purpose,
        command,
        client: desk.from,
        term: wishes.pty.as_ref().map(|pty| pty.term.clone()).unwrap_or_default(),
        size: client.size,
    }
}

async fn reach(
    desk: &Arc<Desk>,
    client: &mut Client,
    pass: &dyn Pass,
    wishes: &Wishes,
    what: What,
) -> Result<TargetEnd, Left> {
    match pass.protocol() {
        Protocol::Telnet => return Ok(reach_telnet(client, pass, wishes).await?),
        Protocol::Ssh => {}
        Protocol::Sftp | Protocol::Ftp | Protocol::Smb => {
            return Err(protocols::files_only(pass.protocol()).into());
        }
    }
    let mut link = match desk.existing_link(pass).await {
        Some(link) => link,
        None => open(desk, client, pass, None).await?,
    };
    let start = Start {
        pty: wishes.pty.as_ref().map(|pty| PtyRequest {
            term: pty.term.clone(),
            size: client.size.unwrap_or(pty.size),
            modes: pty.modes.clone(),
        }),
        env: wishes.env.clone(),
        agent: wishes.agent && pass.policy().allow_agent,
        what,
    };
    match link.clone().start(start.clone()).await {
        Ok(end) => return Ok(end),
        // Targets allow so many sessions on one connection; one more connection has room again.
        Err(StartError::NoRoom) => link = open(desk, client, pass, Some(&link)).await?,
        Err(StartError::Failed(error)) => return Err(error.into()),
    }
    link.start(start).await.map_err(|error| Left::Refused(error.into()))
}

/// A Telnet target has nothing to share: each terminal is a connection of its own. Where no password is
/// kept, the person answers the target's own prompts.
async fn reach_telnet(client: &Client, pass: &dyn Pass, wishes: &Wishes) -> Result<TargetEnd, ConnectError> {
    let Some(pty) = &wishes.pty else {
        return Err(ConnectError::new(EndReason::Denied, "this connection has terminals only"));
    };
    let request =
        TerminalRequest { term: pty.term.clone(), size: client.size.unwrap_or(pty.size), env: Vec::new() };
    telnet::open_terminal(pass.target(), &pass.credential()?, &pass.rules(), request).await
}

async fn open(
    desk: &Arc<Desk>,
    client: &mut Client,
    pass: &dyn Pass,
    other: Option<&Arc<Link>>,
) -> Result<Arc<Link>, Left> {
    let credential = match pass.target().auth {
        AuthKind::Password | AuthKind::Key | AuthKind::None => pass.credential()?,
        AuthKind::Agent => Credential::Agent(desk.agent_way(&client.handle)),
        AuthKind::Prompt => {
            if client.size.is_none() {
                let message = "this connection asks for the target's password, and there is no terminal to ask on: \
                               ssh -t, or a shell first and the rest over the same connection (ControlMaster)";
                return Err(ConnectError::new(EndReason::LoginRefused, message).into());
            }
            let question = format!("Password of {} at {}: ", pass.target().username, pass.name());
            match client.ask(&question).await {
                Ok(Some(password)) => Credential::Password(Secret::new(password)),
                Ok(None) | Err(_) => return Err(Left::Gone),
            }
        }
    };
    let handle = client.handle.clone();
    let (link, greeting) = desk.link(pass, &credential, &handle, other).await?;
    if let (Some(greeting), Some(_)) = (greeting, client.size)
        && !greeting.banner.is_empty()
    {
        client.show(&greeting.banner.replace('\n', "\r\n")).await;
    }
    Ok(link)
}

/// Lets the person choose. `None` when they did not; the channel is closed then.
async fn choose(desk: &Arc<Desk>, mut client: Client, what: &What) -> Option<(String, Client)> {
    let caller = desk.caller()?;
    let choices = match desk.doorkeeper.choices(caller).await {
        Ok(choices) => choices,
        Err(why) => {
            client.refuse(&why).await;
            return None;
        }
    };
    if client.size.is_none() || *what != What::Shell {
        let mut text = format!("name a connection in the login: {}+NAME@…", caller.name);
        for choice in choices.iter().take(50) {
            text.push_str(&format!("\n  {}+{}", caller.name, choice.name));
        }
        client.refuse(&text).await;
        return None;
    }
    let mut menu = Menu::new(&caller.name, choices);
    loop {
        let (cols, rows) =
            client.size.map_or((80, 24), |size| (usize::from(size.cols), usize::from(size.rows)));
        client.show(&menu.screen(cols, rows)).await;
        let keys = if menu.in_escape() {
            // Alone, or the beginning of an arrow.
            match tokio::time::timeout(std::time::Duration::from_millis(50), client.keys()).await {
                Ok(keys) => keys,
                Err(_) => Ok(None),
            }
        } else {
            client.keys().await
        };
        let answer = match keys {
            Ok(Some(keys)) => menu.keys(&keys),
            Ok(None) => Answer::Leave,
            Err(_) => return None,
        };
        match answer {
            Answer::Draw => {}
            Answer::Open(name) => {
                client.show(menu::GONE).await;
                return Some((name, client));
            }
            Answer::Leave => {
                client.show(menu::GONE).await;
                client.leave().await;
                return None;
            }
        }
    }
}
