//! What the tests need from the machine, and how to get it on Debian. No service is started: the
//! test bed starts servers of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, is_root, program, say};

/// Something the tests need.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    package: &'static str,
    /// What does not run without it.
    pub(crate) without: &'static str,
    present: fn() -> bool,
}

/// Debian lets one FTP server be installed at a time: this one is unpacked below the target directory.
const UNPACKED: &str = "proftpd-core";

const NEEDS: &[Need] = &[
    Need {
        name: "PostgreSQL",
        package: "postgresql",
        without: "store tests on PostgreSQL",
        present: has_postgres,
    },
    Need {
        name: "Chromium",
        package: "chromium",
        without: "web tests in a browser",
        present: || program("chromium").is_some(),
    },
    Need {
        name: "ffmpeg and ffprobe",
        package: "ffmpeg",
        without: "what other programs say of recordings of desktops",
        present: || program("ffprobe").is_some() && program("ffmpeg").is_some(),
    },
    Need {
        name: "libvpx",
        package: "libvpx-dev",
        without: "the build itself: desktops are recorded with it",
        present: || Path::new("/usr/include/vpx/vpx_encoder.h").is_file(),
    },
    Need {
        name: "pkg-config",
        package: "pkg-config",
        without: "the build itself: it finds libvpx",
        present: || program("pkg-config").is_some(),
    },
    Need {
        name: "mkvinfo",
        package: "mkvtoolnix",
        without: "what other programs say of recordings of desktops",
        present: || program("mkvinfo").is_some(),
    },
    Need {
        name: "ip and bridge",
        package: "iproute2",
        without: "tests on networks",
        present: || program("ip").is_some() && program("bridge").is_some(),
    },
    Need {
        name: "unshare and setpriv",
        package: "util-linux",
        without: "tests on networks, and PostgreSQL as root",
        present: || program("unshare").is_some() && program("setpriv").is_some(),
    },
    Need {
        name: "arp-scan",
        package: "arp-scan",
        without: "the comparison with arp-scan",
        present: || program("arp-scan").is_some(),
    },
    Need {
        name: "dnsmasq",
        package: "dnsmasq-base",
        without: "tests with a real DHCP server",
        present: || program("dnsmasq").is_some(),
    },
    Need {
        name: "a DHCP client (udhcpc)",
        package: "udhcpc",
        without: "tests with a real DHCP server",
        present: || program("udhcpc").is_some(),
    },
    Need {
        name: "the OpenSSH server",
        package: "openssh-server",
        without: "everything with a real SSH target",
        present: || program("sshd").is_some(),
    },
    Need {
        name: "the OpenSSH client",
        package: "openssh-client",
        without: "everything with a real SSH client",
        present: || {
            ["ssh", "sftp", "scp", "ssh-keygen", "ssh-agent"].iter().all(|name| program(name).is_some())
        },
    },
    Need {
        name: "a Telnet server",
        package: "inetutils-telnetd",
        without: "tests with a real Telnet target",
        present: || program("telnetd").is_some(),
    },
    Need {
        name: "TigerVNC",
        package: "tigervnc-standalone-server",
        without: "tests with a real desktop",
        present: || program("Xtigervnc").is_some(),
    },
    Need {
        name: "TigerVNC's passwords",
        package: "tigervnc-tools",
        without: "tests with a real desktop",
        present: || program("tigervncpasswd").is_some(),
    },
    Need {
        name: "xsetroot",
        package: "x11-xserver-utils",
        without: "tests with a real desktop",
        present: || program("xsetroot").is_some(),
    },
    Need {
        name: "xterm",
        package: "xterm",
        without: "tests with a real desktop",
        present: || program("xterm").is_some(),
    },
    Need {
        name: "xclip",
        package: "xclip",
        without: "tests with a real desktop",
        present: || program("xclip").is_some(),
    },
    Need {
        name: "xrdp",
        package: "xrdp",
        without: "tests with a real RDP desktop",
        present: || Path::new("/usr/sbin/xrdp").is_file(),
    },
    Need {
        name: "xrdp's Xorg",
        package: "xorgxrdp",
        without: "tests with a real RDP desktop",
        present: || Path::new("/usr/lib/xorg/modules/libxorgxrdp.so").is_file(),
    },
    Need {
        name: "FreeRDP's shadow server",
        package: "freerdp2-shadow-x11",
        without: "tests with a login of RDP before its picture",
        present: || program("freerdp-shadow-cli").is_some(),
    },
    Need {
        name: "FreeRDP's passwords",
        package: "winpr-utils",
        without: "tests with a login of RDP before its picture",
        present: || program("winpr-hash").is_some(),
    },
    Need {
        name: "Xvfb",
        package: "xvfb",
        without: "tests with a login of RDP before its picture",
        present: || program("Xvfb").is_some(),
    },
    Need {
        name: "the Samba server",
        package: "samba",
        without: "tests with a real SMB target",
        present: || Path::new("/usr/sbin/smbd").is_file(),
    },
    Need {
        name: "smbclient",
        package: "smbclient",
        without: "the comparison with Samba's own client",
        present: || program("smbclient").is_some(),
    },
    Need {
        name: "sshpass",
        package: "sshpass",
        without: "logins of a real SSH client by password",
        present: || program("sshpass").is_some(),
    },
    Need {
        name: "rsync",
        package: "rsync",
        without: "rsync through the gateway",
        present: || program("rsync").is_some(),
    },
    Need {
        name: "rclone",
        package: "rclone",
        without: "rclone through the gateway",
        present: || program("rclone").is_some(),
    },
    Need {
        name: "vsftpd",
        package: "vsftpd",
        without: "tests with a real FTP target, with TLS and without",
        present: || Path::new("/usr/sbin/vsftpd").is_file(),
    },
    Need {
        name: "ProFTPD",
        package: UNPACKED,
        without: "tests with an FTP target that knows MLSD",
        present: || Path::new("/usr/sbin/proftpd").is_file() || proftpd().join("usr/sbin/proftpd").is_file(),
    },
    Need {
        name: "curl",
        package: "curl",
        without: "tests with a real FTP client",
        present: || program("curl").is_some(),
    },
    Need {
        name: "openssl",
        package: "openssl",
        without: "tests with an FTP target that has TLS",
        present: || program("openssl").is_some(),
    },
    Need {
        name: "git",
        package: "git",
        without: "git through the gateway, and advisories of dependencies",
        present: || program("git").is_some(),
    },
    Need {
        name: "nginx",
        package: "nginx",
        without: "the test of the reverse proxy",
        present: || program("nginx").is_some() || Path::new("/usr/sbin/nginx").is_file(),
    },
    Need {
        name: "LibreOffice Calc",
        package: "libreoffice-calc-nogui",
        without: "the test that no cell of an exported CSV is a formula",
        present: || program("soffice").is_some(),
    },
    Need {
        name: "Python with venv",
        package: "python3-venv",
        without: "the API's conformance test, tests with an S3 server, paramiko and asyncssh, advisories of dependencies",
        present: || {
            Command::new("python3")
                .args(["-c", "import venv, ensurepip"])
                .output()
                .is_ok_and(|output| output.status.success())
        },
    },
    Need {
        name: "a C++ compiler",
        package: "g++",
        without: "fuzzing",
        present: || program("c++").is_some() || program("g++").is_some(),
    },
];

/// What must be free for files that tests make: some send half a gigabyte both ways, several at once.
const ROOM_GB: f64 = 4.0;
/// What a build from nothing takes besides.
const BUILD_GB: f64 = 14.0;

/// Refuses to begin where the disk is about to be full: most tests would fail, each after its own limit.
pub(crate) fn room_on_disk() -> Result<()> {
    for place in [std::env::temp_dir(), shell::target()] {
        // Not there before the first build.
        let Some(place) = place.ancestors().find(|place| place.is_dir()) else { continue };
        let said = shell::output(Command::new("df").arg("-Pk").arg(place))?;
        let kib = said.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
        let free = kib.with_context(|| format!("df says of {}: {said}", place.display()))? * 1024.0 / 1e9;
        if free < ROOM_GB {
            bail!("{free:.1} GB are free at {}; the tests need {ROOM_GB} GB", place.display());
        }
        if free < ROOM_GB + BUILD_GB {
            println!(
                "{free:.1} GB are free at {}; a build from nothing takes {BUILD_GB} GB",
                place.display()
            );
        }
    }
    Ok(())
}

/// Installs what is missing when that is possible, and returns what is missing after that.
pub(crate) fn setup() -> Result<Vec<&'static Need>> {
    let missing = missing();
    if missing.is_empty() || !is_root() || program("apt-get").is_none() {
        return Ok(missing);
    }
    let (unpacked, installed): (Vec<&Need>, Vec<&Need>) =
        missing.into_iter().partition(|need| need.package == UNPACKED);
    let packages: Vec<_> = installed.iter().map(|need| need.package).collect();
    say(&format!("apt-get install {}", packages.join(" ")));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    // A failure shows below: what is still missing is named.
    let _ = shell::run(apt().arg("update"));
    let _ = shell::run(apt().args(["install", "-y", "--no-install-recommends"]).args(packages));
    if !unpacked.is_empty() {
        let _ = unpack(&proftpd());
    }
    Ok(self::missing())
}

fn proftpd() -> PathBuf {
    shell::target().join("testbed/proftpd")
}

/// Installs the libraries that it needs, and puts its files below a directory.
fn unpack(directory: &Path) -> Result<()> {
    let depends = shell::output(Command::new("apt-cache").args(["depends", "--important", UNPACKED]))?;
    let libraries = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: lib"));
    let libraries: Vec<_> = libraries.map(|name| format!("lib{name}")).collect();
    let options = ["-qq", "install", "-y", "--no-install-recommends"];
    shell::run(Command::new("apt-get").args(options).args(libraries))?;
    fs::create_dir_all(directory)?;
    shell::run(Command::new("apt-get").args(["-qq", "download", UNPACKED]).current_dir(directory))?;
    let package = fs::read_dir(directory)?
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .context("the downloaded package")?;
    shell::run(Command::new("dpkg").arg("-x").arg(package).arg(directory))
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.present)()).collect()
}

fn has_postgres() -> bool {
    if program("initdb").is_some() && program("postgres").is_some() {
        return true;
    }
    let versions = fs::read_dir(Path::new("/usr/lib/postgresql"));
    versions.is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("bin/initdb").is_file()))
    })
}
