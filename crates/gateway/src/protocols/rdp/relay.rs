//! What passes between a browser and a target that let us in, message by message.
//!
//! Both speak RDP without its own encryption: TLS ends here. The relay reads what it must to keep the policy, puts the
//! credentials where the browser has none, and passes the rest on unchanged. It knows no sockets and no clock.

use bytes::Bytes;
use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::{
    gcc::{ChannelName, ClientEarlyCapabilityFlags, ConferenceCreateRequest},
    mcs::{ConnectInitial, ConnectResponse},
    nego::SecurityProtocol,
    rdp::{
        ClientInfoPdu,
        client_info::{ClientInfoFlags, Credentials},
        server_error_info::ServerSetErrorInfoPdu,
    },
    x224::{X224, X224Data},
};

use super::{
    capabilities,
    chunk::{Odd, Passing, u16_at, u32_at},
    clipboard::{Clipboard, Clips, Passed},
    dynamic::Dynamic,
    frame::{self, Data, Kind, Mcs, Way},
    input::{self, Act},
    login::Login,
    parts::{parts, without},
    picture::Seen,
};

/// What may be done with the desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allows {
    pub input: bool,
    pub clips: Clips,
}

/// Why nothing passes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The browser said what it should not.
    Browser(&'static str),
    /// The target did.
    Target(&'static str),
    /// The target sends us to another host.
    Redirected,
}

/// Messages on their way, whole ones, in order.
#[derive(Debug, Default)]
pub struct Out {
    pub to_target: Vec<Bytes>,
    pub to_browser: Vec<Bytes>,
    /// What of it tells what there is to see.
    pub seen: Vec<Seen>,
}

impl Out {
    fn push(&mut self, way: Way, frame: Bytes) {
        match way {
            Way::ToTarget => self.to_target.push(frame),
            Way::ToBrowser => self.to_browser.push(frame),
        }
    }
}

/// How far both are.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The browser begins.
    Initial,
    /// The target answers.
    Response,
    /// Channels are joined; then the browser says who it is, and is corrected.
    Joining,
    Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Clipboard,
    Dynamic,
    /// Nothing passes.
    Unused,
}

pub struct Relay {
    login: Option<Login>,
    protocol: SecurityProtocol,
    allows: Allows,
    stage: Stage,
    roles: Vec<Role>,
    channels: Vec<(u16, Role)>,
    io: u16,
    /// The number that the target gave the browser.
    user: u16,
    clipboard: Clipboard,
    dynamic: Dynamic,
    acts: Vec<Act>,
    /// What the target said of why it ends.
    error: Option<String>,
}

/// Where names of other channels stood: no target has such a one, and it stays silent.
const NO_CHANNEL: ChannelName = ChannelName::from_static(b"unused0\0");
/// The target's own number as a sender (MS-RDPBCGR 2.2.1.8).
const TARGET: u16 = 1002;
/// Of the security header that stands before a browser's name, and before licences.
const INFO: u16 = 0x40;
/// Kinds of share control messages (MS-RDPBCGR 2.2.8.1.1.1.1), and, of data, the second kind.
const CONFIRM_ACTIVE: u16 = 3;
const REDIRECTION: u16 = 10;
/// Of data: both headers.
const DATA_HEADER: usize = 18;
const DATA_INPUT: u8 = 28;
const DATA_SUPPRESS_OUTPUT: u8 = 35;
const DATA_SESSION_INFO: u8 = 38;
const DATA_ERROR_INFO: u8 = 47;
const DATA_FRAME_ACKNOWLEDGE: u8 = 56;
/// What would keep the target from showing what goes on, or means nothing to it.
const NOT_SAID: [u8; 2] = [DATA_SUPPRESS_OUTPUT, DATA_FRAME_ACKNOWLEDGE];
const NEITHER_SAID_NOR_DONE: [u8; 3] = [DATA_SUPPRESS_OUTPUT, DATA_FRAME_ACKNOWLEDGE, DATA_INPUT];

const ODD: &str = "a message that is not understood";

impl Relay {
    pub fn new(login: Login, protocol: SecurityProtocol, allows: Allows) -> Self {
        Self {
            login: Some(login),
            protocol,
            allows,
            stage: Stage::Initial,
            roles: Vec::new(),
            channels: Vec::new(),
            io: 0,
            user: 0,
            clipboard: Clipboard::new(allows.clips),
            dynamic: Dynamic::default(),
            acts: Vec::new(),
            error: None,
        }
    }

    /// What a person did since this was asked.
    pub fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// What the target said of why it ends.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What passed of the clipboard.
    pub fn passed(&self, way: Way) -> Passed {
        self.clipboard.passed(way)
    }

    /// A message of the browser.
    pub fn up(&mut self, frame: Bytes, out: &mut Out) -> Result<(), Broken> {
        let odd = Broken::Browser(ODD);
        let mcs = match frame::kind(&frame) {
            Kind::FastPath if self.stage != Stage::Running => return Err(odd),
            Kind::FastPath => {
                if self.allows.input {
                    self.acts.extend(input::fast(&frame));
                    out.to_target.push(frame);
                }
                return Ok(());
            }
            Kind::Other => return Err(odd),
            Kind::Mcs(mcs) => frame::mcs(mcs).map_err(|_| odd)?,
        };
        match (mcs, &self.stage) {
            (Mcs::Connect, Stage::Initial) => {
                let (initial, roles) = self.initial(&frame).ok_or(odd)?;
                self.roles = roles;
                self.stage = Stage::Response;
                out.to_target.push(initial);
            }
            (Mcs::Setup, Stage::Joining) | (Mcs::Disconnect, _) => out.to_target.push(frame),
            (Mcs::Request(data), Stage::Joining) if data.channel == self.io => {
                let info = self.info(&data).ok_or(odd)?;
                self.user = data.initiator;
                self.stage = Stage::Running;
                out.to_target.push(info);
            }
            (Mcs::Request(data), Stage::Running) if data.channel == self.io => {
                // Who it is has been said, and is not said again.
                if u16_at(data.payload, 0).is_some_and(|flags| flags & INFO != 0)
                    && u16_at(data.payload, 2) == Some(0)
                {
                    return Err(odd);
                }
                let kept = self.said(&data).ok_or(odd)?;
                match kept {
                    None => out.to_target.push(frame),
                    Some(payload) if payload.is_empty() => {}
                    Some(payload) => {
                        let kept = frame::send(Way::ToTarget, data.initiator, data.channel, &payload);
                        out.to_target.push(kept.ok_or(odd)?);
                    }
                }
            }
            (Mcs::Request(data), Stage::Running) => {
                self.channel(Way::ToTarget, &data, out).map_err(|Odd(what)| Broken::Browser(what))?;
            }
            (Mcs::Connect | Mcs::Setup | Mcs::Request(_) | Mcs::Indication(_), _) => return Err(odd),
        }
        Ok(())
    }

    /// What a browser says once it is in: as much of it as the target is to hear, or all of it. Nothing at all where it
    /// cannot be read.
    fn said(&mut self, data: &Data<'_>) -> Option<Option<Vec<u8>>> {
        let parts = parts(data.payload);
        for part in parts.iter().flatten() {
            if part.kind == CONFIRM_ACTIVE {
                // One message brings it alone.
                let alone = part.bytes.len() == data.payload.len();
                return capabilities::limit(part.bytes).filter(|_| alone).map(Some);
            }
            if self.allows.input && part.is_data(DATA_INPUT) {
                self.acts.extend(input::slow(part.bytes.get(DATA_HEADER..).unwrap_or_default()));
            }
        }
        Some(without(data.payload, if self.allows.input { &NOT_SAID } else { &NEITHER_SAID_NOR_DONE }))
    }

    /// A message of the target.
    pub fn down(&mut self, frame: Bytes, out: &mut Out) -> Result<(), Broken> {
        let odd = Broken::Target(ODD);
        let mcs = match frame::kind(&frame) {
            Kind::FastPath if self.stage != Stage::Running => return Err(odd),
            Kind::FastPath => {
                out.seen.push(Seen::Fast(frame.clone()));
                out.to_browser.push(frame);
                return Ok(());
            }
            Kind::Other => return Err(odd),
            Kind::Mcs(mcs) => frame::mcs(mcs).map_err(|_| odd)?,
        };
        match (mcs, &self.stage) {
            (Mcs::Connect, Stage::Response) => {
                self.response(&frame)?;
                self.stage = Stage::Joining;
                out.to_browser.push(frame);
            }
            (Mcs::Setup, Stage::Joining) | (Mcs::Disconnect, _) => out.to_browser.push(frame),
            (Mcs::Indication(data), Stage::Running) if data.channel == self.io => {
                for part in parts(data.payload).iter().flatten() {
                    if part.kind == REDIRECTION {
                        return Err(Broken::Redirected);
                    }
                    if part.is_data(DATA_ERROR_INFO)
                        && let Some(info) = part.bytes.get(DATA_HEADER..)
                        && let Ok(ServerSetErrorInfoPdu(info)) = decode(info)
                        && u32_at(part.bytes, DATA_HEADER) != Some(0)
                    {
                        self.error = Some(info.description());
                    }
                }
                out.seen.push(Seen::Slow(frame.slice_ref(data.payload)));
                // It names the user as the target does, and holds what lets one in again without a password.
                match without(data.payload, &[DATA_SESSION_INFO]) {
                    None => out.to_browser.push(frame),
                    Some(payload) if payload.is_empty() => {}
                    Some(payload) => {
                        let kept = frame::send(Way::ToBrowser, data.initiator, data.channel, &payload);
                        out.to_browser.push(kept.ok_or(odd)?);
                    }
                }
            }
            (Mcs::Indication(data), Stage::Running) => {
                self.channel(Way::ToBrowser, &data, out).map_err(|Odd(what)| Broken::Target(what))?;
            }
            (Mcs::Connect | Mcs::Setup | Mcs::Request(_) | Mcs::Indication(_), _) => return Err(odd),
        }
        Ok(())
    }

    /// The browser's first message with what the target must be told, and without what is not served here.
    fn initial(&self, frame: &[u8]) -> Option<(Bytes, Vec<Role>)> {
        let data = decode::<X224<X224Data<'_>>>(frame).ok()?.0.data;
        let mut initial: ConnectInitial = decode(&data).ok()?;
        let mut blocks = initial.conference_create_request.into_gcc_blocks();
        let more = &mut blocks.core.optional_data;
        // Pictures come in the one way that the recorder reads; nothing goes beside the connection.
        if let Some(flags) = &mut more.early_capability_flags {
            flags.remove(
                ClientEarlyCapabilityFlags::SUPPORT_DYN_VC_GFX_PROTOCOL
                    | ClientEarlyCapabilityFlags::SUPPORT_NET_CHAR_AUTODETECT
                    | ClientEarlyCapabilityFlags::SUPPORT_HEART_BEAT_PDU
                    | ClientEarlyCapabilityFlags::SUPPORT_SKIP_CHANNELJOIN,
            );
        }
        more.server_selected_protocol = Some(self.protocol);
        blocks.message_channel = None;
        blocks.multi_transport_channel = None;
        blocks.cluster = None;
        let mut roles = Vec::new();
        for channel in blocks.network.iter_mut().flat_map(|network| &mut network.channels) {
            let role = match channel.name.as_str() {
                Some("cliprdr") if self.allows.clips.any() => Role::Clipboard,
                Some("drdynvc") => Role::Dynamic,
                _ => Role::Unused,
            };
            if role == Role::Unused {
                channel.name = NO_CHANNEL;
            }
            roles.push(role);
        }
        initial.conference_create_request = ConferenceCreateRequest::new(blocks).ok()?;
        let data = encode_vec(&initial).ok()?;
        Some((encode_vec(&X224(X224Data { data: data.into() })).ok()?.into(), roles))
    }

    /// The target's answer, of which the channels' numbers are kept.
    fn response(&mut self, frame: &[u8]) -> Result<(), Broken> {
        let odd = Broken::Target(ODD);
        let data = decode::<X224<X224Data<'_>>>(frame).map_err(|_| odd)?.0.data;
        let response: ConnectResponse = decode(&data).map_err(|_| odd)?;
        if !response.conference_create_response.gcc_blocks().security.encryption_method.is_empty() {
            return Err(Broken::Target("that it wants RDP's own encryption within TLS"));
        }
        self.io = response.global_channel_id();
        self.channels = response.channel_ids().into_iter().zip(self.roles.drain(..)).collect();
        if self.channels.iter().any(|(id, _)| *id == self.io) {
            return Err(odd);
        }
        Ok(())
    }

    /// Who the browser says it is, made to be who the connection says.
    fn info(&mut self, data: &Data<'_>) -> Option<Bytes> {
        let mut info: ClientInfoPdu = decode(data.payload).ok()?;
        let login = self.login.take()?;
        let client = &mut info.client_info;
        client.flags.remove(
            // Compressed pictures would need the same history here; and the whole desktop is shown, or nothing.
            ClientInfoFlags::COMPRESSION
                | ClientInfoFlags::RAIL
                | ClientInfoFlags::HIDEF_RAIL_SUPPORTED
                | ClientInfoFlags::REMOTE_CONSOLE_AUDIO
                | ClientInfoFlags::AUDIO_CAPTURE
                | ClientInfoFlags::PASSWORD_IS_SC_PIN,
        );
        client.flags.insert(ClientInfoFlags::UNICODE);
        client.flags.set(ClientInfoFlags::AUTOLOGON, !login.password.is_empty());
        client.credentials =
            Credentials { username: login.username, password: login.password, domain: login.domain };
        client.password_cookie = None;
        // Programs other than the desktop are not the user's to start.
        client.alternate_shell.clear();
        client.work_dir.clear();
        let payload = zeroize::Zeroizing::new(encode_vec(&info).ok()?);
        frame::send(Way::ToTarget, data.initiator, data.channel, &payload)
    }

    fn channel(&mut self, way: Way, data: &Data<'_>, out: &mut Out) -> Result<(), Odd> {
        let role = self.channels.iter().find(|(id, _)| *id == data.channel).map(|(_, role)| *role);
        let mut passing = Passing::new();
        match role {
            Some(Role::Clipboard) => self.clipboard.take(way, data.payload, &mut passing)?,
            Some(Role::Dynamic) => self.dynamic.take(way, data.payload, &mut passing)?,
            // Nobody reads it.
            Some(Role::Unused) | None => {}
        }
        for (to, payload) in passing {
            let initiator = match to {
                Way::ToTarget => self.user,
                Way::ToBrowser => TARGET,
            };
            let frame = frame::send(to, initiator, data.channel, &payload).ok_or(Odd("too long a piece"))?;
            out.push(to, frame);
        }
        Ok(())
    }
}
