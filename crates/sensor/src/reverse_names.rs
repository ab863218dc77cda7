//! Host names by reverse DNS: asks the system's resolver what an address on the local network is
//! called, in the background.
//!
//! Nothing waits for an answer: questions are dropped when there are too many, answers arrive when
//! they do. Only private addresses are asked for, whose names the network's own resolver knows;
//! asking for others would tell strangers which addresses are seen here.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RData,
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::hostnames;

/// Questions that wait; further ones are dropped, and come again with the next sighting.
const QUESTIONS: usize = 1024;
/// Questions on the way at once.
const AT_ONCE: usize = 8;
const ANSWERS: usize = 256;
/// Answers remembered; the oldest make room.
const REMEMBERED: usize = 8_192;
/// How long a name, and the absence of one, is believed.
const NAME_AGE: Duration = Duration::from_secs(3600);
const NAMELESS_AGE: Duration = Duration::from_secs(900);
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks in the background. Dropping it ends that.
#[derive(Debug)]
pub struct ReverseNames {
    questions: mpsc::Sender<IpAddr>,
    _task: AbortOnDropHandle<()>,
}

impl ReverseNames {
    /// Starts with the system's resolver (`/etc/resolv.conf`). Names come out of the receiver, each
    /// address at most once an hour; when the receiver is full, they wait.
    pub fn start() -> io::Result<(Self, mpsc::Receiver<(IpAddr, String)>)> {
        let builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        Self::with(builder)
    }

    /// Starts with one name server.
    pub fn start_with_server(server: SocketAddr) -> io::Result<(Self, mpsc::Receiver<(IpAddr, String)>)> {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        Self::with(Resolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn with(
        mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>,
    ) -> io::Result<(Self, mpsc::Receiver<(IpAddr, String)>)> {
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = 1;
        // Ours is the only cache: it knows what was told already.
        options.cache_size = 0;
        let resolver = builder.build().map_err(io::Error::other)?;
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (out, answers) = mpsc::channel(ANSWERS);
        let task = AbortOnDropHandle::new(tokio::spawn(run(resolver, asked, out)));
        Ok((Self { questions, _task: task }, answers))
    }

    /// Asks for a name, unless the address is no private one. Never waits.
    pub fn ask(&self, ip: IpAddr) {
        if is_private(ip) {
            // Full, or the receiver of names is gone: nothing is lost but a name.
            let _ = self.questions.try_send(ip);
        }
    }
}

/// RFC 1918, RFC 6598 and RFC 4193 addresses.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

async fn run(
    resolver: TokioResolver,
    mut questions: mpsc::Receiver<IpAddr>,
    out: mpsc::Sender<(IpAddr, String)>,
) {
    let mut known: HashMap<IpAddr, Instant> = HashMap::new();
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            question = questions.recv(), if asking.len() < AT_ONCE => {
                let Some(ip) = question else { return };
                let now = Instant::now();
                if known.get(&ip).is_some_and(|until| *until > now) {
                    continue;
                }
                if known.len() >= REMEMBERED {
                    known.retain(|_, until| *until > now);
                }
                if known.len() >= REMEMBERED {
                    continue;
                }
                // Asked once at a time, too.
                known.insert(ip, now + NAMELESS_AGE);
                let resolver = resolver.clone();
                asking.spawn(async move { (ip, name(&resolver, ip).await) });
            }
            Some(answer) = asking.join_next(), if !asking.is_empty() => {
                let Ok((ip, Some(name))) = answer else { continue };
                known.insert(ip, Instant::now() + NAME_AGE);
                if out.send((ip, name)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn name(resolver: &TokioResolver, ip: IpAddr) -> Option<String> {
    let answer = tokio::time::timeout(TIMEOUT, resolver.reverse_lookup(ip)).await.ok()?;
    let answer = answer.inspect_err(|error| tracing::trace!(%ip, %error, "no name")).ok()?;
    answer.answers().iter().find_map(|record| {
        let RData::PTR(name) = &record.data else { return None };
        hostnames::clean(name.0.to_utf8().as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that calls every address `name.lan`, unless it is to say that there is none.
    async fn server(name: &'static [u8]) -> (SocketAddr, AbortOnDropHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                // The question's end: after its name, type and class.
                let end = 12 + buffer[12..].iter().position(|&b| b == 0).unwrap() + 5;
                let mut answer = buffer[..end.min(length)].to_vec();
                answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
                answer.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, name.len() as u8]);
                answer.extend(name);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        (address, AbortOnDropHandle::new(task))
    }

    async fn next(names: &mut mpsc::Receiver<(IpAddr, String)>) -> Option<(IpAddr, String)> {
        tokio::time::timeout(Duration::from_secs(10), names.recv()).await.ok()?
    }

    #[tokio::test]
    async fn a_private_address_is_asked_for_once() {
        let (address, _server) = server(b"\x06tablet\x03lan\x00").await;
        let (reverse, mut names) = ReverseNames::start_with_server(address).unwrap();
        let private: IpAddr = "192.168.7.9".parse().unwrap();
        for ip in ["8.8.8.8", "2001:db8::1", "192.168.7.9", "192.168.7.9"] {
            reverse.ask(ip.parse().unwrap());
        }
        assert_eq!(next(&mut names).await, Some((private, "tablet.lan".to_owned())));
        reverse.ask(private);
        reverse.ask("fd00::5".parse().unwrap());
        let (ip, _) = next(&mut names).await.unwrap();
        assert_eq!(ip, "fd00::5".parse::<IpAddr>().unwrap(), "neither the public ones nor the known one");
    }

    #[tokio::test]
    async fn a_hostile_name_is_no_name() {
        let (address, _server) = server(b"\x05a\x1b[2J\x00").await;
        let (reverse, mut names) = ReverseNames::start_with_server(address).unwrap();
        reverse.ask("10.0.0.1".parse().unwrap());
        let heard = tokio::time::timeout(Duration::from_millis(700), names.recv()).await;
        if let Ok(Some((_, name))) = heard {
            assert!(!name.contains(char::is_control), "{name:?}");
        }
    }

    #[test]
    fn which_addresses_are_private() {
        for (ip, private) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.0.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("2001:db8::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
        }
    }
}
