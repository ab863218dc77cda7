//! From an address to a target that let us in: X.224, TLS, CredSSP. The credentials go no further than here and
//! [`super::relay`], which logs in where a target asks only later.
//!
//! Only protocols with TLS are asked for. A target that wants RDP's own encryption is refused: it proves nothing
//! about who it is.

use std::time::Duration;

use ironrdp_connector::{
    ConnectorError, ConnectorErrorKind, Credentials, ServerName,
    credssp::CredsspSequence,
    sspi::credssp::{NStatusCode, TsRequest},
};
use ironrdp_core::{WriteBuf, decode, encode_vec};
use ironrdp_pdu::{
    PduHint,
    nego::{ConnectionConfirm, ConnectionRequest, FailureCode, RequestFlags, SecurityProtocol},
    x224::X224,
};
use sojourn_domain::access::EndReason;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_cert::{Certificate, der::Decode as _};

use super::{
    frame::{self, Framer},
    login::Login,
};
use crate::protocols::{ConnectError, Credential, Target, dial, ssh::SeenKey, tls::Tls};

/// How long a login may take.
const LOGIN: Duration = Duration::from_secs(20);
/// The longest message of a login.
const LONGEST: usize = 64 * 1024;
/// Messages of a login, either way, after which it is no login.
const MOST: usize = 16;

/// Who logs in with these.
pub(super) fn login(target: &Target, credential: &Credential) -> Result<Login, ConnectError> {
    match credential {
        Credential::Password(password) => Ok(Login::new(&target.username, password.reveal())),
        Credential::None => Ok(Login::new(&target.username, "")),
        Credential::Key { .. } | Credential::Agent(_) => {
            Err(ConnectError::new(EndReason::Denied, "RDP knows passwords only"))
        }
    }
}

/// A target that let us in, or will ask for the login in its own picture.
pub(super) struct Opened {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) protocol: SecurityProtocol,
    pub(super) certificate: Option<SeenKey>,
}

impl Opened {
    /// Whether the target has let nobody in yet, and shows a picture in which one logs in.
    pub(super) fn asks_later(&self) -> bool {
        self.protocol == SecurityProtocol::SSL
    }
}

/// Why we are not in, and the certificate that was not good.
pub(super) struct Refusal {
    pub(super) error: ConnectError,
    pub(super) certificate: Option<SeenKey>,
}

impl From<ConnectError> for Refusal {
    fn from(error: ConnectError) -> Self {
        Self { error, certificate: None }
    }
}

fn unreachable(message: impl Into<String>) -> ConnectError {
    ConnectError::new(EndReason::Unreachable, message)
}

fn refused(message: impl Into<String>) -> ConnectError {
    ConnectError::new(EndReason::LoginRefused, message)
}

fn broke(error: &std::io::Error) -> ConnectError {
    unreachable(format!("the connection to the target broke: {error}"))
}

pub(super) async fn open(target: &Target, login: &Login, rules: &dial::Rules) -> Result<Opened, Refusal> {
    match timeout(LOGIN, attempt(target, login, rules)).await {
        Ok(opened) => opened,
        Err(_) => Err(unreachable("the target takes too long to let us in").into()),
    }
}

async fn attempt(target: &Target, login: &Login, rules: &dial::Rules) -> Result<Opened, Refusal> {
    let mut stream = dial::dial(&target.host, target.port, rules).await?;
    // Keys and small updates are not to wait for each other.
    stream.set_nodelay(true).map_err(|error| broke(&error))?;
    let peer = stream.peer_addr().map_err(|error| broke(&error))?;
    let protocol = negotiate(&mut stream, login).await?;
    let tls = Tls::new(&target.host_key, &target.host, peer.ip()).map_err(|error| no_tls(&error))?;
    let secured = TlsConnector::from(tls.config.clone()).connect(tls.name.clone(), stream).await;
    let mut stream = match secured {
        Ok(secured) => secured,
        Err(error) => {
            return Err(match tls.refused(target) {
                Some(error) => Refusal { error, certificate: tls.seen() },
                None => no_tls(&error).into(),
            });
        }
    };
    if protocol.intersects(SecurityProtocol::HYBRID | SecurityProtocol::HYBRID_EX) {
        if login.password.is_empty() || login.username.is_empty() {
            return Err(refused("the target wants a name and a password, and the connection has none").into());
        }
        authenticate(&mut stream, target, login, protocol).await?;
    }
    Ok(Opened { stream, protocol, certificate: tls.seen() })
}

fn no_tls(error: &dyn std::fmt::Display) -> ConnectError {
    unreachable(format!("no TLS connection to the target: {error}"))
}

/// What both sides can do.
async fn negotiate(stream: &mut TcpStream, login: &Login) -> Result<SecurityProtocol, ConnectError> {
    let mut wanted = SecurityProtocol::SSL;
    if !login.password.is_empty() {
        wanted |= SecurityProtocol::HYBRID | SecurityProtocol::HYBRID_EX;
    }
    let request = ConnectionRequest {
        nego_data: None,
        flags: RequestFlags::empty(),
        protocol: wanted,
        correlation_info: None,
    };
    let request = encode_vec(&X224(request)).map_err(|error| unreachable(format!("no request: {error}")))?;
    stream.write_all(&request).await.map_err(|error| broke(&error))?;
    let mut framer = Framer::default();
    let answer = loop {
        if let Some(frame) = framer.next().map_err(|frame::NotRdp| not_rdp())? {
            break frame;
        }
        // One byte at a time would do, too: nothing may be taken that belongs to TLS. The target says no more
        // than its answer before it hears of TLS.
        let mut piece = [0; 256];
        match stream.read(&mut piece).await {
            Ok(0) => return Err(unreachable("the target closed the connection at once: is it RDP?")),
            Ok(length) => framer.feed(&piece[..length]),
            Err(error) => return Err(broke(&error)),
        }
    };
    match decode::<X224<ConnectionConfirm>>(&answer).map_err(|_| not_rdp())?.0 {
        ConnectionConfirm::Response { protocol, .. } if protocol.is_empty() => Err(without_tls()),
        ConnectionConfirm::Response { protocol, .. } if wanted.contains(protocol) => Ok(protocol),
        ConnectionConfirm::Response { protocol, .. } => {
            Err(refused(format!("the target wants a kind of login that was not offered ({protocol})")))
        }
        ConnectionConfirm::Failure { code } => Err(match code {
            FailureCode::SSL_NOT_ALLOWED_BY_SERVER => without_tls(),
            FailureCode::SSL_CERT_NOT_ON_SERVER => {
                unreachable("the target has no certificate, so it has no TLS")
            }
            FailureCode::HYBRID_REQUIRED_BY_SERVER => {
                refused("the target wants a name and a password, and the connection has none")
            }
            FailureCode::SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER
            | FailureCode::ENTRA_AUTH_REQUIRED_BY_SERVER => {
                refused("the target wants a kind of login that is not served (smart card or Entra)")
            }
            other => unreachable(format!("the target refuses to negotiate (code {})", u32::from(other))),
        }),
    }
}

fn not_rdp() -> ConnectError {
    unreachable("the target does not speak RDP")
}

fn without_tls() -> ConnectError {
    unreachable("the target offers RDP without TLS only, which cannot show who it is: it is not served")
}

/// CredSSP with NTLM: the password is proved, and handed over encrypted to the very certificate that TLS saw.
async fn authenticate(
    stream: &mut TlsStream<TcpStream>,
    target: &Target,
    login: &Login,
    protocol: SecurityProtocol,
) -> Result<(), ConnectError> {
    let key = public_key(stream).ok_or_else(|| unreachable("the target's certificate cannot be read"))?;
    let credentials =
        Credentials::UsernamePassword { username: login.username.clone(), password: login.password.clone() };
    let server = ServerName::new(target.host.as_str());
    let (mut sequence, mut request) =
        CredsspSequence::init(credentials, login.domain.as_deref(), protocol, server, key, None)
            .map_err(|error| explain(&error))?;
    let mut written = WriteBuf::new();
    let mut came = Vec::new();
    for _ in 0..MOST {
        // NTLM alone: nothing of it needs a network.
        let state = sequence.process_ts_request(request).resolve_to_result().map_err(|error| {
            status(error.nstatus.as_ref())
                .unwrap_or_else(|| refused("the target refused the login (its answer was not understood)"))
        })?;
        written.clear();
        let length = sequence.handle_process_result(state, &mut written).map_err(|error| explain(&error))?;
        if let Some(length) = length.size() {
            stream.write_all(&written[..length]).await.map_err(|error| broke(&error))?;
            stream.flush().await.map_err(|error| broke(&error))?;
        }
        let Some(hint) = sequence.next_pdu_hint() else { return Ok(()) };
        let answer = read(stream, hint, &mut came).await?;
        match sequence.decode_server_message(&answer).map_err(|error| explain(&error))? {
            Some(next) => {
                // Before anything else is made of it: most targets say so here.
                if let Some(error) = failed(&next) {
                    return Err(error);
                }
                request = next;
            }
            None => return Ok(()),
        }
    }
    Err(refused("the target's login does not come to an end"))
}

fn failed(request: &TsRequest) -> Option<ConnectError> {
    request.error_code.as_ref().and_then(|code| status(Some(code)))
}

async fn read(
    stream: &mut TlsStream<TcpStream>,
    hint: &dyn PduHint,
    came: &mut Vec<u8>,
) -> Result<Vec<u8>, ConnectError> {
    let odd = || refused("the target's login is not understood");
    loop {
        if !came.is_empty()
            && let Some((_, length)) = hint.find_size(came).map_err(|_| odd())?
        {
            if length > LONGEST {
                return Err(odd());
            }
            if came.len() >= length {
                let rest = came.split_off(length);
                return Ok(std::mem::replace(came, rest));
            }
        }
        if came.len() > LONGEST {
            return Err(odd());
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            // What targets do that give no reason.
            Ok(0) => return Err(refused("the target refused the name or the password")),
            Ok(length) => came.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err(broke(&error)),
            Err(_) => return Err(refused("the target refused the name or the password")),
        }
    }
}

/// The key of the certificate, without its algorithm: what CredSSP binds the login to.
fn public_key(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let certificate = Certificate::from_der(certificate).ok()?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    key.subject_public_key.as_bytes().map(<[u8]>::to_vec)
}

fn explain(error: &ConnectorError) -> ConnectError {
    match error.kind() {
        ConnectorErrorKind::AccessDenied => refused("the target does not let this user in"),
        ConnectorErrorKind::Credssp(error) => status(error.nstatus.as_ref())
            .unwrap_or_else(|| refused("the target refused the name or the password")),
        ConnectorErrorKind::Encode(_)
        | ConnectorErrorKind::Decode(_)
        | ConnectorErrorKind::EntraAuth(_)
        | ConnectorErrorKind::Reason(_)
        | ConnectorErrorKind::General
        | ConnectorErrorKind::Custom
        | ConnectorErrorKind::Negotiation(_)
        | _ => refused("the login was not understood by the target, or by us"),
    }
}

/// MS-ERREF 2.3.1, as far as it helps a person.
fn status(code: Option<&NStatusCode>) -> Option<ConnectError> {
    let message = match *code? {
        NStatusCode::SUCCESS => return None,
        NStatusCode::LOGON_FAILURE
        | NStatusCode::WRONG_PASSWORD
        | NStatusCode::NO_SUCH_USER
        | NStatusCode::INVALID_ACCOUNT_NAME => "the target refused the name or the password",
        NStatusCode::ACCOUNT_DISABLED => "the target refused the login: the account is disabled",
        NStatusCode::ACCOUNT_LOCKED_OUT => "the target refused the login: the account is locked",
        NStatusCode::PASSWORD_EXPIRED | NStatusCode::PASSWORD_MUST_CHANGE => {
            "the target refused the login: the password has expired"
        }
        NStatusCode::ACCOUNT_RESTRICTION
        | NStatusCode::INVALID_LOGON_HOURS
        | NStatusCode::INVALID_WORKSTATION
        | NStatusCode::LOGON_TYPE_NOT_GRANTED => {
            "the target refused the login: the account may not log in so"
        }
        NStatusCode::NO_LOGON_SERVERS => {
            "the target refused the login: it reaches nobody who knows the account"
        }
        other => return Some(refused(format!("the target refused the login ({other})"))),
    };
    Some(refused(message))
}
