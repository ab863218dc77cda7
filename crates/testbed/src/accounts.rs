//! System users for real login servers, without touching the machine's own.
//!
//! The users stand in a copy of `/etc` that is mounted over the real one in a mount namespace of the
//! server's own. Nothing has to be taken back, and two tests can never get in each other's way. All
//! of `/etc`, because a mount over one file goes when somebody replaces that file, which is how
//! `useradd` and package managers write. Needs root.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    netns::command_in,
    postgres::{random_hex, run},
};

/// The first of the users' numbers: above what a Debian gives to people and programs.
const FIRST_UID: u32 = 30_001;

/// A user who may log in.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: String,
    pub password: String,
    pub home: PathBuf,
    /// The file of a private key (ed25519, without a passphrase) that opens this account; its
    /// public key lies beside it as `.pub`.
    pub key: PathBuf,
    uid: u32,
}

impl Account {
    /// The user's number, which is also their group's.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Lets one more public key (a line as in `authorized_keys`) into this account.
    pub fn authorize(&self, public_key: &str) {
        let file = self.home.join(".ssh/authorized_keys");
        let mut file = OpenOptions::new().append(true).create(true).open(file).expect("authorized_keys");
        writeln!(file, "{}", public_key.trim()).expect("authorized_keys");
    }

    /// Makes a file or a folder the user's.
    pub fn own(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.uid)).expect("a new owner");
    }

    /// Writes a file into the home directory, owned by the user.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.home.join(name);
        fs::write(&file, content).expect("a file in a home directory");
        std::os::unix::fs::chown(&file, Some(self.uid), Some(self.uid)).expect("a new owner");
        file
    }
}

/// A directory with homes, keys and the copies that are mounted.
#[derive(Debug)]
pub(crate) struct Accounts {
    directory: PathBuf,
    pub(crate) list: Vec<Account>,
}

/// Whoever adds a user to this machine meanwhile makes and removes locks there, over which a copy stumbles.
fn copy_etc(copy: &Path) {
    const ATTEMPTS: u32 = 5;
    let mut failed = String::new();
    for _ in 0..ATTEMPTS {
        match run(Command::new("cp").args(["-a", "/etc"]).arg(copy)) {
            Ok(_) => return,
            Err(error) => failed = error,
        }
        fs::remove_dir_all(copy).expect("half a copy, to be removed");
    }
    panic!("a copy of /etc: {failed}");
}

impl Accounts {
    /// Makes users by name and shell. The directory is the caller's to remove.
    pub(crate) fn new(prefix: &str, users: &[(&str, &str)]) -> Self {
        // Not below target/: the users may have no way into the home of the one who tests.
        let directory = tempfile::Builder::new().prefix(prefix).tempdir().expect("a directory").keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("permissions");
        let copy = directory.join("etc");
        copy_etc(&copy);
        let mut accounts = Self { directory, list: Vec::new() };
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (mut passwd, mut shadow, mut group) =
            (read("/etc/passwd"), read("/etc/shadow"), read("/etc/group"));
        for ((name, shell), uid) in users.iter().zip(FIRST_UID..) {
            let account = accounts.make(name, uid);
            let (home, hash) = (account.home.display().to_string(), hashed(&account.password));
            passwd.push_str(&format!("{name}:x:{uid}:{uid}::{home}:{shell}\n"));
            shadow.push_str(&format!("{name}:{hash}:19000:0:99999:7:::\n"));
            group.push_str(&format!("{name}:x:{uid}:\n"));
            accounts.list.push(account);
        }
        for (file, content, mode) in
            [("passwd", passwd, 0o644), ("shadow", shadow, 0o640), ("group", group, 0o644)]
        {
            let file = copy.join(file);
            fs::write(&file, content).expect("a copy of a system file");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("permissions");
        }
        accounts
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn make(&self, name: &str, uid: u32) -> Account {
        let home = self.directory.join("home").join(name);
        fs::create_dir_all(home.join(".ssh")).expect("a home directory");
        let key = self.directory.join(format!("{name}.key"));
        new_key(&key, "ed25519", "");
        let account = Account { name: name.to_owned(), password: random_hex(), home, key, uid };
        account.authorize(&fs::read_to_string(account.key.with_extension("key.pub")).expect("a public key"));
        for path in [&account.home, &account.home.join(".ssh"), &account.home.join(".ssh/authorized_keys")] {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("a new owner");
        }
        account
    }

    /// A command in whose mount and process namespaces the users exist. When it is killed,
    /// everything that it has started is killed too.
    pub(crate) fn command(&self, namespace: Option<&str>, program: &str) -> Command {
        const SCRIPT: &str = r#"
            mount --bind "$1/etc" /etc || exit 1
            shift
            exec "$@"
        "#;
        let mut command = command_in(namespace, "unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            SCRIPT,
            "sh",
        ]);
        command.arg(&self.directory).arg(program);
        command
    }
}

/// Makes a key pair: `file` and `file.pub`. The kind is as `ssh-keygen -t` takes it.
pub fn new_key(file: &Path, kind: &str, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", "sojourn-test", "-f"]).arg(file);
    run(&mut command).expect("ssh-keygen");
}

/// A password as `/etc/shadow` has it.
fn hashed(password: &str) -> String {
    let salt = random_hex();
    let output = Command::new("perl")
        .args(["-e", "print crypt($ARGV[0], '$6$' . $ARGV[1] . '$')", password, &salt[..12]])
        .stderr(Stdio::null())
        .output()
        .expect("perl runs");
    let hash = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(hash.starts_with("$6$"), "this system's crypt knows no SHA-512: {hash:?}");
    hash
}
