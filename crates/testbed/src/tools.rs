//! Other people's programs, for comparison: arp-scan, and a DHCP server with clients.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    netns::{Host, INTERFACE},
    process::Process,
    skip, wait,
};

/// What an `arp-scan` with its defaults found.
#[derive(Debug)]
pub struct ArpScan {
    pub took: Duration,
    /// As printed: one host a line, `IP\tMAC\tVENDOR`, between a header and a footer.
    pub output: String,
}

/// Runs Debian's `arp-scan` on a host; `None`, and a visible line, where it is not installed.
pub fn arp_scan(host: &Host, cidr: &str) -> Option<ArpScan> {
    if !installed("arp-scan") {
        skip::part("arp-scan is not installed");
        return None;
    }
    let started = Instant::now();
    let output =
        host.command("arp-scan").args(["--interface", INTERFACE, cidr]).output().expect("arp-scan starts");
    let took = started.elapsed();
    assert!(output.status.success(), "arp-scan: {}", String::from_utf8_lossy(&output.stderr));
    Some(ArpScan { took, output: String::from_utf8_lossy(&output.stdout).into_owned() })
}

/// A dnsmasq that gives out leases, and nothing else.
#[derive(Debug)]
pub struct Dnsmasq {
    directory: tempfile::TempDir,
    process: Process,
}

impl Dnsmasq {
    /// Serves leases of `first` to `last` on a host; `None`, and a visible line, where it or a
    /// client (udhcpc) is not installed.
    pub fn start(host: &Host, first: &str, last: &str) -> Option<Self> {
        if !installed("dnsmasq") || !installed("udhcpc") {
            skip::whole("dnsmasq or udhcpc is not installed");
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let leases = directory.path().join("dnsmasq.leases");
        let mut command = host.command("dnsmasq");
        command.args(["--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--port=0", "--user=root"]);
        command.args(["--conf-file=/dev/null", "--pid-file=", "--no-ping", "--dhcp-authoritative"]);
        command.arg(format!("--interface={INTERFACE}")).arg("--bind-interfaces");
        command.arg(format!("--dhcp-range={first},{last},2m"));
        command.arg(format!("--dhcp-leasefile={}", leases.display()));
        let (process, _) = Process::start(command);
        let mut server = Self { directory, process };
        wait::until("dnsmasq", Duration::from_secs(10), || {
            assert!(server.process.ended().is_none(), "{}", server.process.log());
            server.process.log().contains("DHCP, IP range").then_some(())
        });
        Some(server)
    }

    /// The file that it writes.
    pub fn leases(&self) -> PathBuf {
        self.directory.path().join("dnsmasq.leases")
    }

    /// Lets a host take a lease under a name; the host then has the leased address, and no other.
    pub fn lease(&self, host: &Host, name: &str) -> Ipv4Addr {
        let script = self.directory.path().join("udhcpc.sh");
        if !script.exists() {
            fs::write(&script, "#!/bin/sh\n[ \"$1\" != bound ] || echo \"leased $ip\"\n").expect("a script");
            make_executable(&script);
        }
        let output = host
            .command("udhcpc")
            .args(["-i", INTERFACE, "-n", "-q", "-f", "-t", "5", "-T", "1"])
            .args(["-x", &format!("hostname:{name}"), "-s"])
            .arg(&script)
            .output()
            .expect("udhcpc starts");
        assert!(output.status.success(), "udhcpc: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let leased = text.lines().find_map(|line| line.strip_prefix("leased ")?.parse().ok());
        let leased = leased.unwrap_or_else(|| panic!("udhcpc: no lease: {text}"));
        host.change_ipv4(leased);
        leased
    }
}

fn make_executable(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("permissions");
}

fn installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "PATH=$PATH:/usr/sbin:/sbin; command -v \"$1\"", "sh", program])
        .output()
        .is_ok_and(|output| output.status.success())
}
