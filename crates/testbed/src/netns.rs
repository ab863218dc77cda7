//! Networks of real hosts, in network namespaces: every host its own, segments as bridges,
//! routers between them. Nothing in them reaches the machine's own network.
//!
//! Needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN); elsewhere [`Network::new`] says so and returns
//! `None`. Names carry the process id, so that tests run beside each other; what a killed process
//! left behind is removed by the next one.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::skip;

/// Where iproute2 keeps named namespaces.
const NAMESPACES: &str = "/run/netns";
/// The interface of every host.
pub const INTERFACE: &str = "eth0";
/// First three bytes of real makers, so that some hosts look like bought ones: Raspberry Pi,
/// Apple, Espressif, AVM, Synology, Sonos.
const MAKERS: &[[u8; 3]] = &[
    [0xB8, 0x27, 0xEB],
    [0x3C, 0x22, 0xFB],
    [0x24, 0x0A, 0xC4],
    [0x44, 0x4E, 0x6D],
    [0x00, 0x11, 0x32],
    [0x00, 0x0E, 0x58],
];

/// A set of segments, hosts and routers that is removed when the last of them is dropped.
#[derive(Debug, Clone)]
pub struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    prefix: String,
    namespaces: Mutex<Vec<String>>,
    segments: AtomicU32,
    routers: AtomicU32,
}

impl Network {
    /// An empty network; `None`, and a visible line, without the rights to make one.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            skip::whole("network namespaces need root");
            return None;
        }
        sweep();
        let prefix = format!("sj{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let network = Self(Arc::new(Inner {
            prefix,
            namespaces: Mutex::default(),
            segments: AtomicU32::new(1),
            routers: AtomicU32::new(1),
        }));
        if let Err(reason) = network.0.try_add(&["probe".to_owned()]) {
            skip::whole(&format!("network namespaces cannot be made: {reason}"));
            return None;
        }
        Some(network)
    }

    /// A new segment (a bridge) `10.N.0.0/24` and `fd00:N::/64`.
    pub fn segment(&self) -> Segment {
        self.segment_of(24)
    }

    /// A new segment `10.N.0.0/PREFIX_LENGTH` and `fd00:N::/64`, with a prefix of 16 bits or more.
    pub fn segment_of(&self, prefix_length: u8) -> Segment {
        let number = self.0.segments.fetch_add(1, Ordering::Relaxed);
        let switch = self.0.add(&[format!("lan{number}")]).remove(0);
        // Forwards from the first moment, to everyone, and learns no group memberships.
        ip(
            Some(&switch),
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set br0 up\nlink set lo up\n",
        );
        Segment {
            network: self.0.clone(),
            // 10.91 and up: away from what a machine is likely to have.
            octet: u8::try_from(90 + number).expect("few segments"),
            prefix_length,
            switch,
            next: AtomicU32::new(1),
        }
    }

    /// A router between two segments; the hosts they have now send through it.
    pub fn router<'a>(
        &self,
        left: &Segment,
        right: &Segment,
        hosts: impl IntoIterator<Item = &'a Host>,
    ) -> Router {
        let number = self.0.routers.fetch_add(1, Ordering::Relaxed);
        let namespace = self.0.add(&[format!("router{number}")]).remove(0);
        in_namespace(Some(&namespace), || {
            write_sysctl("ipv4/ip_forward", "1");
            write_sysctl("ipv6/conf/all/forwarding", "1");
            write_sysctl("ipv6/conf/all/accept_dad", "0");
            write_sysctl("ipv6/conf/default/accept_dad", "0");
        });
        ip(Some(&namespace), "link set lo up\n");
        let router = Router {
            namespace,
            left: (left.switch.clone(), format!("r{number}")),
            right: (right.switch.clone(), format!("r{number}")),
        };
        for (index, segment) in [left, right].into_iter().enumerate() {
            let (v4, v6) = segment.router_addresses();
            ip(
                Some(&segment.switch),
                &format!(
                    "link add r{number} type veth peer name eth{index} netns {}\n\
                     link set r{number} master br0 up\n",
                    router.namespace
                ),
            );
            ip(
                Some(&router.namespace),
                &format!(
                    "addr add {v4}/{} dev eth{index}\naddr add {v6}/64 dev eth{index} nodad\n\
                     link set eth{index} up\n",
                    segment.prefix_length
                ),
            );
        }
        for host in hosts {
            let segment = if host.switch == left.switch { left } else { right };
            let (v4, v6) = segment.router_addresses();
            host.lock().routes =
                format!("route replace default via {v4}\n-6 route replace default via {v6}\n");
            host.restore_routes();
        }
        router
    }
}

impl Inner {
    /// Makes namespaces and returns their full names.
    fn add(&self, roles: &[String]) -> Vec<String> {
        self.try_add(roles).unwrap_or_else(|reason| panic!("network namespaces: {reason}"))
    }

    fn try_add(&self, roles: &[String]) -> Result<Vec<String>, String> {
        let names: Vec<_> = roles.iter().map(|role| format!("{}-{role}", self.prefix)).collect();
        // Noted first: what a failing batch has made is removed too.
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).extend(names.iter().cloned());
        try_ip(None, &names.iter().map(|name| format!("netns add {name}\n")).collect::<String>())?;
        Ok(names)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let names = std::mem::take(&mut *self.namespaces.lock().unwrap_or_else(PoisonError::into_inner));
        // A test may be failing already; the next process sweeps what stays.
        let _ = try_ip(None, &names.iter().map(|name| format!("netns del {name}\n")).collect::<String>());
    }
}

/// Removes the namespaces of processes that are no more.
fn sweep() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let stale = names.filter(|name| {
        let owner = name.strip_prefix("sj").and_then(|rest| rest.split('-').next());
        owner.is_some_and(|pid| {
            pid.parse::<u32>().is_ok() && !fs::exists(format!("/proc/{pid}")).unwrap_or(true)
        })
    });
    let batch: String = stale.map(|name| format!("netns del {name}\n")).collect();
    // Another process may be sweeping at the same moment.
    let _ = try_ip(None, &batch);
}

/// One broadcast domain.
#[derive(Debug)]
pub struct Segment {
    network: Arc<Inner>,
    octet: u8,
    prefix_length: u8,
    switch: String,
    next: AtomicU32,
}

impl Segment {
    /// `10.N.0.0/24`
    pub fn cidr(&self) -> String {
        format!("10.{}.0.0/{}", self.octet, self.prefix_length)
    }

    /// The address that is `offset` after the segment's own.
    pub fn address(&self, offset: u32) -> Ipv4Addr {
        assert!(offset < 1 << (32 - self.prefix_length), "{offset} lies outside the segment");
        Ipv4Addr::from_bits(Ipv4Addr::new(10, self.octet, 0, 0).to_bits() + offset)
    }

    /// The last two addresses are routers'.
    fn router_addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        let last = (1u32 << (32 - self.prefix_length)) - 2;
        (self.address(last), self.address6(0xFFFE))
    }

    fn address6(&self, offset: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits((0xFD00 << 112) | u128::from(self.octet) << 96 | u128::from(offset))
    }

    /// One more host, connected.
    pub fn host(&self) -> Host {
        self.hosts(1).remove(0)
    }

    /// More hosts, connected, at the next addresses.
    pub fn hosts(&self, count: u32) -> Vec<Host> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        self.hosts_at(&(first..first + count).collect::<Vec<_>>())
    }

    /// Hosts at given offsets in the segment, connected.
    pub fn hosts_at(&self, offsets: &[u32]) -> Vec<Host> {
        let roles: Vec<_> = offsets.iter().map(|offset| format!("lan{}h{offset}", self.octet)).collect();
        let names = self.network.add(&roles);
        let hosts: Vec<_> =
            offsets.iter().zip(names).map(|(offset, name)| self.plan(*offset, name)).collect();
        let links = hosts.iter().map(|host| {
            format!(
                "link add {port} type veth peer name {INTERFACE} address {mac} netns {name}\n\
                 link set {port} master br0 up\n",
                port = host.port,
                mac = host.mac(),
                name = host.namespace,
            )
        });
        ip(Some(&self.switch), &links.collect::<String>());
        for host in &hosts {
            in_namespace(Some(&host.namespace), || {
                for scope in ["all", "default", INTERFACE] {
                    // Addresses are usable at once, and outlive a lost interface.
                    write_sysctl(&format!("ipv6/conf/{scope}/accept_dad"), "0");
                    write_sysctl(&format!("ipv6/conf/{scope}/keep_addr_on_down"), "1");
                }
            });
            ip(
                Some(&host.namespace),
                &format!(
                    "link set lo up\naddr add {}/{} dev {INTERFACE}\n\
                     addr add {}/64 dev {INTERFACE} nodad\nlink set {INTERFACE} up\n",
                    host.ipv4(),
                    self.prefix_length,
                    host.ipv6(),
                ),
            );
        }
        hosts
    }

    fn plan(&self, offset: u32, namespace: String) -> Host {
        let [_, _, high, low] = offset.to_be_bytes();
        let mac = if offset.is_multiple_of(2) {
            let maker = MAKERS[offset as usize / 2 % MAKERS.len()];
            [maker[0], maker[1], maker[2], self.octet, high, low]
        } else {
            [0x02, 0x5A, 0x00, self.octet, high, low]
        };
        Host {
            _network: self.network.clone(),
            namespace,
            switch: self.switch.clone(),
            port: format!("p{offset}"),
            prefix_length: self.prefix_length,
            state: Mutex::new(State {
                mac: mac.map(|byte| format!("{byte:02X}")).join(":"),
                ipv4: self.address(offset),
                ipv6: self.address6(offset),
                routes: String::new(),
            }),
        }
    }
}

/// A host: a namespace with a loopback and one interface.
#[derive(Debug)]
pub struct Host {
    _network: Arc<Inner>,
    namespace: String,
    switch: String,
    port: String,
    prefix_length: u8,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mac: String,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    routes: String,
}

impl Host {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespace's name, as `ip netns` knows it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Upper case with colons.
    pub fn mac(&self) -> String {
        self.lock().mac.clone()
    }

    pub fn ipv4(&self) -> Ipv4Addr {
        self.lock().ipv4
    }

    pub fn ipv6(&self) -> Ipv6Addr {
        self.lock().ipv6
    }

    /// Pulls its cable: others get no answer, and it sees that it has no carrier.
    pub fn unplug(&self) {
        ip(Some(&self.switch), &format!("link set {} down\n", self.port));
    }

    /// Plugs the cable in again.
    pub fn plug(&self) {
        ip(Some(&self.switch), &format!("link set {} up\n", self.port));
        self.restore_routes();
    }

    /// Takes its interface down or up, as an administrator on the host would.
    pub fn set_interface(&self, up: bool) {
        ip(Some(&self.namespace), &format!("link set {INTERFACE} {}\n", if up { "up" } else { "down" }));
        if up {
            self.restore_routes();
        }
    }

    fn restore_routes(&self) {
        let routes = self.lock().routes.clone();
        for route in routes.lines() {
            let (family, route) = route.strip_prefix("-6 ").map_or(("-4", route), |rest| ("-6", rest));
            let mut command = Command::new("ip");
            command.args(["-n", &self.namespace, family]).args(route.split_whitespace());
            // Without a carrier there is nowhere to route to; plugging in restores it.
            let _ = command.stderr(Stdio::null()).status();
        }
    }

    /// Gives it another IPv4 address in place of its own.
    pub fn change_ipv4(&self, to: Ipv4Addr) {
        let from = std::mem::replace(&mut self.lock().ipv4, to);
        let length = self.prefix_length;
        ip(
            Some(&self.namespace),
            &format!("addr del {from}/{length} dev {INTERFACE}\naddr add {to}/{length} dev {INTERFACE}\n"),
        );
    }

    /// Gives it another MAC address: to everyone else it is another device.
    pub fn change_mac(&self, to: &str) {
        self.lock().mac = to.to_ascii_uppercase();
        ip(Some(&self.namespace), &format!("link set {INTERFACE} address {to}\n"));
    }

    /// Sends a datagram to somewhere, which makes the host ask for that address by ARP or ND, and
    /// thereby be heard.
    pub fn speak_to(&self, to: IpAddr) {
        in_namespace(Some(&self.namespace), || {
            let any: IpAddr =
                if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0)).expect("a socket in the namespace");
            // Whether anyone is there to take it does not matter.
            let _ = socket.send_to(b"hello", (to, 9));
        });
    }

    /// A program that will run on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command_in(Some(&self.namespace), program)
    }

    /// Runs `body` in a thread that stands on this host.
    pub fn on<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        in_namespace(Some(&self.namespace), body)
    }
}

/// Connects two segments.
#[derive(Debug)]
pub struct Router {
    namespace: String,
    left: (String, String),
    right: (String, String),
}

impl Router {
    /// Nothing passes any more.
    pub fn cut(&self) {
        for (switch, port) in [&self.left, &self.right] {
            ip(Some(switch), &format!("link set {port} down\n"));
        }
    }

    /// Everything passes again.
    pub fn mend(&self) {
        for (switch, port) in [&self.left, &self.right] {
            ip(Some(switch), &format!("link set {port} up\n"));
        }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// A program that will run in a namespace, or here.
pub fn command_in(namespace: Option<&str>, program: impl AsRef<std::ffi::OsStr>) -> Command {
    match namespace {
        None => Command::new(program),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
    }
}

/// Runs `body` in a thread that stands in a namespace; without one, right here.
pub fn in_namespace<T: Send>(namespace: Option<&str>, body: impl FnOnce() -> T + Send) -> T {
    let Some(namespace) = namespace else { return body() };
    let current = thread::current();
    let caller = current.name().unwrap_or("test").to_owned();
    thread::scope(|scope| {
        let inside = thread::Builder::new().name(caller).spawn_scoped(scope, || {
            let file = File::open(format!("{NAMESPACES}/{namespace}")).expect("the namespace exists");
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
                .expect("entering a network namespace");
            body()
        });
        match inside.expect("a thread").join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Sets `/proc/sys/net/NAME` in the thread's own namespace.
fn write_sysctl(name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{name}"), value).unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[track_caller]
fn ip(namespace: Option<&str>, batch: &str) {
    if let Err(reason) = try_ip(namespace, batch) {
        panic!("ip in {namespace:?}: {reason}\n{batch}");
    }
}

/// Runs lines of `ip` commands in one process.
fn try_ip(namespace: Option<&str>, batch: &str) -> Result<(), String> {
    if batch.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("iproute2's ip: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(batch.as_bytes()).map_err(|error| error.to_string())?;
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
