//! One session channel of a client, from its request to its end.

use std::sync::Arc;

use bytes::BytesMut;
use russh::{
    Channel, Pty,
    server::{Handle, Msg},
};
use sojourn_domain::{
    access::{AuthKind, EndReason, Protocol, Purpose},
    files::tap::Tap,
};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Client, GRACE},
    desk::Desk,
    files,
    menu::{self, Answer, Menu},
    transfer,
};
use crate::{
    front::doorkeeper::{Opening, Pass, Seat},
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

/// Connections to a target that one channel opens before it takes the target to refuse every session.
const LINKS_OF_ONE: usize = 3;

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
    let (id, answer) = (write.id(), handle.clone());
    let client = Client {
        read,
        write,
        handle,
        size: wishes.pty.as_ref().map(|pty| pty.size),
        typed: BytesMut::new(),
        eof: false,
    };
    let gone = async {
        desk.closed().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = run(&desk, client, wishes, what, &closed) => {}
        () = gone => {}
    }
    // Whatever became of it, the client's close is answered; it is known already where it was closed from here.
    let _ = answer.close(id).await;
}

async fn run(desk: &Arc<Desk>, client: Client, wishes: Wishes, what: What, closed: &CancellationToken) {
    let gone = async {
        closed.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let begun = tokio::select! {
        // Boxed: what connects is large, and a session that runs need not hold room for it.
        begun = Box::pin(begin(desk, client, wishes, what)) => begun,
        () = gone => None,
    };
    let Some((seat, started, client)) = begun else { return };
    let (end, carried) = client.attach().await;
    // It is counted and ended by the hub, not by whoever holds this.
    let _running = seat.run(started, end);
    carried.await;
}

/// Everything up to the target's answer; `None` when it came to nothing and the client was told why.
async fn begin(
    desk: &Arc<Desk>,
    mut client: Client,
    wishes: Wishes,
    what: What,
) -> Option<(Box<dyn Seat>, TargetEnd, Client)> {
    let named = match desk.named() {
        Some(named) => named.to_owned(),
        None => match choose(desk, client, &what).await {
            Some((chosen, back)) => {
                client = back;
                chosen
            }
            None => return None,
        },
    };
    let pass = match desk.admit(&named).await {
        Ok(pass) => pass,
        Err(why) => {
            client.refuse(&why).await;
            return None;
        }
    };
    if let Some(why) = forbidden(pass.as_ref(), &wishes, &what) {
        client.refuse(why).await;
        return None;
    }
    if served_here(pass.as_ref()) && matches!(&what, What::Subsystem(name) if files::subsystem(name)) {
        transfer::serve(desk, client, pass.as_ref()).await;
        return None;
    }
    let mut seat = match pass.begin(opening(desk, &client, &wishes, &what)).await {
        Ok(seat) => seat,
        Err(why) => {
            client.refuse(&why).await;
            return None;
        }
    };
    let tap = match &what {
        What::Shell => None,
        What::Exec(command) => Tap::of_command(command),
        What::Subsystem(name) => Tap::of_subsystem(name),
    };
    if let Some(tap) = tap {
        match pass.begin_files(tap.protocol(), desk.from, Some(seat.id())).await {
            Ok(journal) => seat.read_along(tap, journal),
            Err(why) => {
                seat.fail(EndReason::Failed, why.clone()).await;
                client.refuse(&why).await;
                return None;
            }
        }
    }
    let reached = tokio::select! {
        reached = reach(desk, &mut client, pass.as_ref(), &wishes, what) => reached,
        (reason, message) = seat.called_off() => Err(ConnectError::new(reason, message).into()),
    };
    match reached {
        Ok(started) => Some((seat, started, client)),
        Err(Left::Refused(error)) => {
            seat.fail(error.reason, error.message.clone()).await;
            client.refuse(&error.message).await;
            None
        }
        Err(Left::Gone) => {
            seat.fail(EndReason::ClientLost, String::new()).await;
            client.leave().await;
            None
        }
    }
}

/// Why a session did not come about.
pub(super) enum Left {
    Refused(ConnectError),
    /// The person turned away.
    Gone,
}

impl From<ConnectError> for Left {
    fn from(error: ConnectError) -> Self {
        Self::Refused(error)
    }
}

/// Files come through our own SFTP server, which can say no; else they go straight to the target's.
fn served_here(pass: &dyn Pass) -> bool {
    pass.protocol().files_only() || pass.policy().files.restricts()
}

fn forbidden(pass: &dyn Pass, wishes: &Wishes, what: &What) -> Option<&'static str> {
    if pass.protocol().is_desktop() {
        return Some("this connection is a desktop: it has no terminal and no files");
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
    if files && !pass.policy().allow_files {
        return Some("this connection does not allow files to be transferred");
    }
    match what {
        What::Exec(_) if files && served_here(pass) => Some(
            "this connection speaks SFTP only: use sftp, or scp without -O, in place of scp -O and rsync",
        ),
        What::Shell | What::Exec(_) if pass.protocol().files_only() => {
            Some("this connection has files only: use sftp or scp")
        }
        What::Subsystem(_) if !files && pass.protocol().files_only() => {
            Some("this connection has files only, over the subsystem sftp")
        }
        What::Shell | What::Exec(_) | What::Subsystem(_) => None,
    }
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
        Protocol::Rdp | Protocol::Vnc => return Err(protocols::desktop_only(pass.protocol()).into()),
    }
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
    // Targets allow so many sessions on one connection; one more connection has room again. When many channels
    // want in at once, others may have filled it before this one comes.
    let (mut full, mut opened) = (Vec::new(), 0);
    loop {
        let (link, new) = open(desk, client, pass, &full).await?;
        opened += usize::from(new);
        match link.clone().start(start.clone()).await {
            Ok(end) => return Ok(end),
            Err(StartError::NoRoom) if opened < LINKS_OF_ONE => full.push(link),
            Err(error) => return Err(Left::Refused(error.into())),
        }
    }
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

/// What proves to the target who comes; the person may be asked for it.
pub(super) async fn credential(
    desk: &Arc<Desk>,
    client: &mut Client,
    pass: &dyn Pass,
) -> Result<Credential, Left> {
    Ok(match pass.target().auth {
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
    })
}

/// A link that is not among the full ones, and whether it is new.
async fn open(
    desk: &Arc<Desk>,
    client: &mut Client,
    pass: &dyn Pass,
    full: &[Arc<Link>],
) -> Result<(Arc<Link>, bool), Left> {
    if let Some(link) = desk.existing_link(pass, full).await {
        return Ok((link, false));
    }
    let credential = credential(desk, client, pass).await?;
    let handle = client.handle.clone();
    let (link, greeting) = desk.link(pass, &credential, &handle, full).await?;
    let new = greeting.is_some();
    if let (Some(greeting), Some(_)) = (greeting, client.size)
        && !greeting.banner.is_empty()
    {
        client.show(&greeting.banner.replace('\n', "\r\n")).await;
    }
    Ok((link, new))
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
