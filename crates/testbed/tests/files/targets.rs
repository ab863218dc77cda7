//! The same operations on a target of each protocol, through the browser's API and with people's own clients through our SFTP
//! server: what is on the target's disk, what the target itself logged, and what is written down.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use sojourn_testbed::{
    accounts::Account,
    bed::{Bed, shared, text},
    ftpd::{Ftpd, Kind},
    run,
    samba::{Protection, Samba},
    ssh_client::Way,
};

use crate::{
    browser::{
        house::{Page, events_of, sha256},
        told,
    },
    clients::{LIMIT, library_does_everything, rclone_moves, same},
};

/// What `target_client.py` does.
const PARAMIKO: [&str; 10] = [
    "mkdir ~/p ok",
    "upload ~/p/up ok",
    "download ~/p/up ok",
    "download ~/p/up ok",
    "upload ~/p/up ok",
    "rename ~/p/up ~/p/moved ok",
    "browse ~/p ok",
    "download ~/p/missing failed",
    "delete ~/p/moved ok",
    "delete ~/p ok",
];
const ASYNCSSH: [&str; 10] = [
    "mkdir ~/a ok",
    "upload ~/a/up ok",
    "download ~/a/up ok",
    "upload ~/a/put ok",
    "download ~/a/put ok",
    "rename ~/a/put ~/a/moved ok",
    "browse ~/a ok",
    "delete ~/a/moved ok",
    "delete ~/a/up ok",
    "delete ~/a ok",
];

enum Server {
    Ftp(Ftpd),
    /// Kept running.
    Smb {
        _samba: Samba,
    },
}

/// A target, its connection, and a folder of it that is at hand on this machine's disk too.
struct Peer {
    server: Server,
    connection: String,
    name: &'static str,
    disk: PathBuf,
    /// The folder as the target's clients see it; empty for the root.
    remote: String,
}

impl Peer {
    fn ftp(bed: &Bed, name: &'static str, kind: Kind) -> Option<Self> {
        let server = Ftpd::start(kind)?;
        let tls = match kind {
            Kind::VsftpdPlain | Kind::Proftpd => "none",
            Kind::VsftpdExplicit => "explicit",
            Kind::VsftpdImplicit => "implicit",
        };
        let pinned = (tls != "none").then(|| server.fingerprint());
        let account = server.account().clone();
        let more =
            json!({"protocol": "ftp", "port": server.port(), "options": {"tls": tls}, "hostKey": pinned});
        let disk = account.home.join("lab");
        let remote = disk.display().to_string();
        Some(Self::new(bed, name, Server::Ftp(server), &account, more, disk, remote))
    }

    fn smb(bed: &Bed, name: &'static str, protection: Protection) -> Option<Self> {
        let server = Samba::start(protection)?;
        let account = server.account().clone();
        let more = json!({"protocol": "smb", "port": server.port(), "options": {"share": "files"}});
        let disk = server.share("files").join("lab");
        Some(Self::new(bed, name, Server::Smb { _samba: server }, &account, more, disk, String::from("/lab")))
    }

    fn new(
        bed: &Bed,
        name: &'static str,
        server: Server,
        account: &Account,
        more: Value,
        disk: PathBuf,
        remote: String,
    ) -> Self {
        let mut connection = json!({
            "name": name, "host": "127.0.0.1", "username": account.name, "auth": "password",
            "password": account.password, "grants": [{"kind": "user", "name": "alice"}],
        });
        connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::create_dir(&disk).unwrap();
        account.own(&disk);
        let made = bed.admin().post("/connections", connection);
        Self { server, connection: text(&made["id"]), name, disk, remote }
    }

    fn page(&self, bed: &Bed) -> Page {
        let mut page = Page::new(bed, self.name);
        page.connection.clone_from(&self.connection);
        page
    }

    /// How many files the target's own log says were received and sent. Samba logs nothing of it.
    fn moved(&self) -> Option<(usize, usize)> {
        let Server::Ftp(server) = &self.server else { return None };
        let log = server.log();
        let count = |is: &dyn Fn(&str) -> bool| log.lines().filter(|line| is(line)).count();
        Some(if server.kind() == Kind::Proftpd {
            // wu-ftpd's form: … size path kind _ direction …
            let direction = |line: &str, word| line.split_whitespace().nth(11) == Some(word);
            (count(&|line| direction(line, "i")), count(&|line| direction(line, "o")))
        } else {
            (count(&|line| line.contains("OK UPLOAD:")), count(&|line| line.contains("OK DOWNLOAD:")))
        })
    }
}

/// All that the browser's API does, with an answer, a disk and events that say the same.
fn everything_through_the_browser(bed: &Bed, peer: &Peer) {
    let page = peer.page(bed);
    let at = |name: &str| format!("{}/{name}", peer.remote);
    let content: Vec<u8> = (0..700_000_u32).flat_map(|i| (i / 3).to_le_bytes()).collect();

    page.post("mkdir", json!({"path": at("sub")})).expect(201);
    let written = page.put(&at("sub/a.bin"), "", &content).expect(201).json();
    assert_eq!(fs::read(peer.disk.join("sub/a.bin")).unwrap(), content);
    assert_eq!(text(&written["sha256"]), sha256(&peer.disk.join("sub/a.bin")));
    assert_eq!(page.put(&at("sub/a.bin"), "", b"other").expect(409).json()["code"], "exists");
    assert_eq!(page.get(&at("sub/a.bin"), &[]).expect(200).body, content);
    let part = page.get(&at("sub/a.bin"), &[("Range", "bytes=1000000-1000009")]).expect(206);
    assert_eq!(part.body, content[1_000_000..1_000_010]);
    page.post("rename", json!({"from": at("sub/a.bin"), "to": at("b.bin")})).expect(200);
    let copied = page.post("copy", json!({"from": at("b.bin"), "to": at("sub/c.bin")})).expect(200);
    assert_eq!(copied.lines().last().unwrap()["finished"], true, "{:?}", copied.lines());
    assert_eq!(fs::read(peer.disk.join("sub/c.bin")).unwrap(), content);
    let begun = page.post("uploads", json!({"path": at("pieces"), "size": content.len()})).expect(201).json();
    for (number, piece) in content.chunks(1_000_000).enumerate() {
        page.piece(&text(&begun["id"]), number as u64 * 1_000_000, piece).expect(200);
    }
    page.post(&format!("uploads/{}/finish", text(&begun["id"])), json!({})).expect(200);
    assert_eq!(fs::read(peer.disk.join("pieces")).unwrap(), content);
    let listed = page.call("GET", &format!("list?path={}", peer.remote), &[], b"").expect(200).json();
    let mut names: Vec<_> =
        listed["entries"].as_array().unwrap().iter().map(|entry| text(&entry["name"])).collect();
    names.sort_unstable();
    assert_eq!(names, ["b.bin", "pieces", "sub"]);
    page.get(&at("missing"), &[]).expect(404);
    let paths = json!([at("sub"), at("b.bin"), at("pieces")]);
    let deleted = page.post("delete", json!({"paths": paths, "recursive": true})).expect(200);
    let last = deleted.lines().pop().unwrap();
    assert_eq!((&last["done"], &last["failed"]), (&json!(4), &json!(0)), "{:?}", deleted.lines());
    assert_eq!(fs::read_dir(&peer.disk).unwrap().count(), 0, "something is left on the target");
    page.leave();

    let events = events_of(bed, &page.session());
    // FTP has no copying: what goes through here is said to.
    let copying: &[&str] = match peer.server {
        Server::Ftp(_) => &["download ~/b.bin ok", "upload ~/sub/c.bin ok"],
        Server::Smb { .. } => &["copy ~/b.bin ~/sub/c.bin ok"],
    };
    let expected: Vec<&str> = [
        &[
            "mkdir ~/sub ok",
            "upload ~/sub/a.bin ok",
            "upload ~/sub/a.bin failed",
            "download ~/sub/a.bin ok",
            "download ~/sub/a.bin ok",
            "rename ~/sub/a.bin ~/b.bin ok",
        ][..],
        copying,
        &[
            "upload ~/pieces ok",
            "browse ~ ok",
            "download ~/missing failed",
            "delete ~/b.bin ok",
            "delete ~/pieces ok",
            "browse ~/sub ok",
            "delete ~/sub/c.bin ok",
            "delete ~/sub ok",
        ],
    ]
    .concat();
    assert_eq!(told(&events, &peer.remote), expected, "{}", peer.name);
    // Whole files have their hash; a part that was read has none.
    let hashed: Vec<&Value> = events.iter().filter(|event| event["sha256"].is_string()).collect();
    let copied = copying.len() - usize::from(matches!(peer.server, Server::Smb { .. }));
    assert_eq!(hashed.len(), 3 + copied, "{events:#?}");
    for event in hashed {
        assert_eq!(
            (&event["sha256"], &event["size"]),
            (&written["sha256"], &json!(content.len())),
            "{event}"
        );
    }
}

/// OpenSSH's `sftp` and `scp`, and rclone, through our SFTP server.
fn everything_with_clients(bed: &Bed, peer: &Peer) {
    let way =
        Way::new(bed.server().ssh.unwrap(), &format!("alice+{}", peer.name)).key(&bed.target.account().key);
    let local = tempfile::tempdir().unwrap();
    let here = local.path().display();
    let tree = local.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    let content: Vec<u8> = (0..400_000_u32).flat_map(|i| (i / 5).to_le_bytes()).collect();
    fs::write(tree.join("big"), &content).unwrap();
    for size in 0..6 {
        fs::write(tree.join(format!("a/f{size}")), &content[..size * 40_001]).unwrap();
    }
    fs::write(tree.join("a/b/with ü"), "x").unwrap();

    let folder = &peer.remote;
    let batch = format!(
        "put {here}/tree/big {folder}/big\nget {folder}/big {here}/back\nmkdir {folder}/d\n\
         rename {folder}/big {folder}/d/b\nls {folder}/d\nrm {folder}/d/b\nrmdir {folder}/d\n-rm {folder}/missing\n"
    );
    run::with_input(way.sftp(), batch.as_bytes(), LIMIT).ok();
    assert_eq!(fs::read(local.path().join("back")).unwrap(), content);
    let session = bed.admin().get(&format!("/file-sessions?limit=1&connectionId={}", peer.connection));
    let events = events_of(bed, &text(&session["sessions"][0]["id"]));
    assert_eq!(
        told(&events, folder),
        [
            "upload ~/big ok",
            "download ~/big ok",
            "mkdir ~/d ok",
            "rename ~/big ~/d/b ok",
            "browse ~/d ok",
            "delete ~/d/b ok",
            "delete ~/d ok",
            "delete ~/missing failed",
        ],
        "{}",
        peer.name
    );

    let mut up = way.scp();
    up.arg("-r").arg(&tree).arg(way.remote(&format!("{folder}/scp")));
    run::output(up, LIMIT).ok();
    same(&tree, &peer.disk.join("scp"));
    let mut down = way.scp();
    down.arg("-r").arg(way.remote(&format!("{folder}/scp"))).arg(local.path().join("scp"));
    run::output(down, LIMIT).ok();
    same(&tree, &local.path().join("scp"));

    let key = &bed.target.account().key;
    rclone_moves(&way, key, &tree, &format!("{folder}/rc"), &peer.disk.join("rc"));

    for (library, own) in [("paramiko", &PARAMIKO[..]), ("asyncssh", &ASYNCSSH[..])] {
        if !library_does_everything(library, &way, key, folder, &peer.disk) {
            return;
        }
        let session = bed.admin().get(&format!("/file-sessions?limit=1&connectionId={}", peer.connection));
        let events = events_of(bed, &text(&session["sessions"][0]["id"]));
        assert_eq!(told(&events, folder), own, "{library} with {}: {events:#?}", peer.name);
        // What went through in order is hashed, however many requests it was.
        let whole = |event: &&Value| event["size"] == 2_000_003 && event["sha256"].is_string();
        assert_eq!(
            events.iter().filter(whole).count(),
            if library == "paramiko" { 2 } else { 4 },
            "{events:#?}"
        );
    }
}

fn everything(peer: impl FnOnce(&Bed) -> Option<Peer>) {
    let Some(bed) = shared() else { return };
    let Some(peer) = peer(&bed) else { return };
    everything_through_the_browser(&bed, &peer);
    if let Some((up, down)) = peer.moved() {
        assert_eq!(up, 3);
        // A part that is read may be cut off by us, which vsftpd calls failed.
        assert!((2..=3).contains(&down), "{down}");
    }
    everything_with_clients(&bed, &peer);
}

#[test]
fn ftp_with_tls_does_everything() {
    everything(|bed| Peer::ftp(bed, "vsftpd-tls", Kind::VsftpdExplicit));
}

#[test]
fn ftp_in_clear_does_everything() {
    everything(|bed| Peer::ftp(bed, "vsftpd-plain", Kind::VsftpdPlain));
}

#[test]
fn ftp_with_machine_listings_does_everything() {
    everything(|bed| Peer::ftp(bed, "proftpd", Kind::Proftpd));
}

#[test]
fn smb_with_signatures_does_everything() {
    everything(|bed| Peer::smb(bed, "samba-signed", Protection::Signed));
}

#[test]
fn smb_with_encryption_does_everything() {
    everything(|bed| Peer::smb(bed, "samba-encrypted", Protection::Encrypted));
}

#[test]
fn folders_are_copied_from_one_target_to_another() {
    let Some(bed) = shared() else { return };
    let Some(smb) = Peer::smb(&bed, "copy-smb", Protection::Plain) else { return };
    let Some(ftp) = Peer::ftp(&bed, "copy-ftp", Kind::VsftpdPlain) else { return };
    let home = bed.target.account().home.join("copied");
    let sftp = Page::new(&bed, "copies");
    fs::create_dir_all(smb.disk.join("tree/deep")).unwrap();
    let content = vec![7; 2_000_000];
    fs::write(smb.disk.join("tree/deep/two"), &content).unwrap();
    fs::write(smb.disk.join("tree/one"), "1").unwrap();
    let copy = |from: &Page, path: String, to: &Page, target: String| {
        let request = json!({"from": path, "to": target, "toConnection": to.connection});
        let lines = from.post("copy", request).expect(200).lines();
        let last = lines.last().unwrap();
        assert_eq!((&last["finished"], &last["failed"]), (&json!(true), &json!(0)), "{lines:?}");
    };
    let (from, to) = (smb.page(&bed), ftp.page(&bed));
    copy(&from, String::from("/lab/tree"), &sftp, home.display().to_string());
    same(&smb.disk.join("tree"), &home);
    copy(&sftp, home.display().to_string(), &to, format!("{}/back", ftp.remote));
    same(&smb.disk.join("tree"), &ftp.disk.join("back"));
    // What is there is not replaced without a word.
    let again = json!({"from": "/lab/tree/one", "to": home.join("one"), "toConnection": sftp.connection});
    assert_eq!(from.post("copy", again).expect(409).json()["code"], "exists");
    let events = events_of(&bed, &from.session());
    assert!(told(&events, "/lab/tree").contains(&String::from("download ~/deep/two ok")), "{events:#?}");
    for page in [from, to, sftp] {
        page.leave();
    }
}
