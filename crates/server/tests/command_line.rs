//! The binary, as scripts use it: exit codes, output, files, signals.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sojourn_testbed::{postgres, postgres::free_port, skip};

const PASSWORD: &str = "correct horse";

fn sojourn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sojourn"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SOJOURN_")) {
        command.env_remove(name);
    }
    // No test looks at the network of whoever runs it.
    command.env("SOJOURN_LOCAL_SOURCES", "false").stdin(Stdio::null());
    command.env("SOJOURN_SSH", "127.0.0.1:0");
    command
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str], data_dir: &Path, input: &str) -> (i32, String, String) {
    let mut command = sojourn();
    command.args(arguments).arg("--data-dir").arg(data_dir);
    finish(command, input)
}

fn finish(mut command: Command, input: &str) -> (i32, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may refuse its arguments before it reads anything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn done(result: (i32, String, String)) -> String {
    assert_eq!(result.0, 0, "{}", result.2);
    result.1
}

/// Exit code 1 and one line.
fn failed(result: (i32, String, String)) -> String {
    let (code, stdout, stderr) = result;
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
    stderr
}

struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    fn start(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = sojourn();
        command.args(["serve", "--http", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let (address, ssh) = line.strip_prefix("ready http=").and_then(|it| it.split_once(" ssh=")).unwrap();
        assert!(ssh == "off\n" || ssh.starts_with("127.0.0.1:") && !ssh.ends_with(":0\n"), "{line:?}");
        let address = address.to_owned();
        Self { child, stdout, address }
    }

    fn get(&self, path: &str, token: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// SIGTERM: what it said on standard error, and nothing more on standard output.
    fn stop(mut self) -> String {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0));
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn commands(arguments: &[&str]) -> (i32, String, String) {
    let mut command = sojourn();
    command.arg("commands").args(arguments);
    finish(command, "")
}

#[test]
fn finds_the_commands_of_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.cast");
    let text = concat!(
        "{\"version\": 2, \"width\": 80, \"height\": 24}\n",
        "[0.1, \"o\", \"box$ \"]\n",
        "[1.25, \"i\", \"echo hi\"]\n",
        "[1.3, \"o\", \"echo hi\"]\n",
        "[2.5, \"i\", \"\\r\"]\n",
        "[2.6, \"o\", \"\\r\\nhi\\r\\nbox$ \"]\n",
        "[3.0, \"i\", \"ex"
    );
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let json: Value = serde_json::from_str(&done(commands(&[path, "--json"]))).unwrap();
    let expected = serde_json::json!({"commands": [{
        "elapsed": 2500, "command": "echo hi", "output_preview": "hi",
        "source": "screen", "confidence": "inferred", "kind": "shell",
    }]});
    assert_eq!(json, expected, "a last line that was cut off is the end");
    let text = done(commands(&[path]));
    assert!(text.contains("0:00:02  shell  inferred    echo hi"), "{text}");

    // Without the input, less is known, but the screen still tells.
    let shown: String = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .filter(|line| !line.contains("\"i\""))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, shown).unwrap();
    assert!(done(commands(&[path, "--json"])).contains("\"echo hi\""));

    std::fs::write(&file, "no recording\n").unwrap();
    let error = failed(commands(&[path]));
    assert!(error.contains("one.cast") && error.contains("not the header of an asciicast"), "{error}");
    assert!(failed(commands(&["/nowhere.cast"])).contains("/nowhere.cast"));
    assert_eq!(commands(&[]).0, 2);
    let (code, help, _) = commands(&["--help"]);
    assert_eq!((code, help.contains("--json")), (0, true), "{help}");
}

#[test]
fn wrong_usage_is_two_and_trouble_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let usage = |arguments: &[&str]| {
        let mut command = sojourn();
        command.args(arguments);
        let (code, stdout, stderr) = finish(command, "");
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        stderr
    };
    usage(&["no-such-command"]);
    usage(&["serve", "--no-such-flag"]);
    assert!(usage(&["serve"]).contains("--data-dir"));
    assert!(usage(&["user", "list"]).contains("--data-dir"));
    assert!(usage(&["serve", "--data-dir", "/tmp/x", "--http", "0.0.0.0:0"]).contains("--tls-cert"));
    usage(&["user", "add", "a b", "--role", "user", "--password-stdin", "--data-dir", "/tmp/x"]);

    let path = folder.path().join("sojourn.toml");
    std::fs::write(&path, "colour = 1\n").unwrap();
    let mut command = sojourn();
    command.args(["serve", "--data-dir", "/tmp/x", "--config"]).arg(&path);
    assert!(failed(finish(command, "")).contains("colour"));

    let mut command = sojourn();
    command.args(["user", "--help"]);
    assert!(done(finish(command, "")).contains("set-password"));
}

#[test]
fn users_and_tokens_are_managed_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let add = |name: &str, role: &str| {
        run(&["user", "add", name, "--role", role, "--password-stdin"], &data, &format!("{PASSWORD}\n"))
    };
    assert!(done(add("alice", "admin")).starts_with("user_"));
    assert!(failed(add("Alice", "user")).contains("exists"));
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);

    let server = Server::start(&data, &["--ssh", "127.0.0.1:0"]);
    done(add("bob", "user"));
    let made = done(run(&["token", "create", "--user", "alice", "--expires", "30d"], &data, ""));
    let token = made.strip_suffix('\n').unwrap();
    assert!(token.starts_with("sjt_") && token.len() == 47, "{made:?}");
    assert!(server.get("/users", token).contains("\"bob\""));

    let listed: Value = serde_json::from_str(&done(run(&["token", "list", "--json"], &data, ""))).unwrap();
    assert_eq!(listed["tokens"][0]["userName"], "alice");
    assert!(!listed.to_string().contains(token));
    assert!(failed(run(&["user", "disable", "alice"], &data, "")).contains("last enabled administrator"));
    done(run(&["user", "disable", "bob"], &data, ""));
    assert!(done(run(&["user", "list"], &data, "")).contains("disabled"));
    done(run(&["user", "set-password", "bob", "--password-stdin"], &data, "another password\n"));
    assert!(
        failed(run(&["user", "set-password", "bob", "--password-stdin"], &data, "short\n"))
            .contains("8 to 1024")
    );
    done(run(&["user", "enable", "bob"], &data, ""));
    done(run(&["user", "unlock", "bob"], &data, ""));
    done(run(&["user", "remove", "bob"], &data, ""));
    assert!(failed(run(&["user", "remove", "bob"], &data, "")).contains("no user bob"));
    done(run(&["token", "revoke", listed["tokens"][0]["id"].as_str().unwrap()], &data, ""));
    assert!(server.get("/users", token).starts_with("HTTP/1.1 401"));
    assert!(done(run(&["audit", "verify"], &data, "")).contains("unaltered"));

    // Two servers cannot run on one directory.
    assert!(
        failed(run(&["serve", "--http", "127.0.0.1:0"], &data, "").into_last_line())
            .contains("a server runs on the data directory")
    );
    let log = server.stop();
    assert!(log.contains("SSH host key") && !log.contains("/ui/setup"), "{log}");
}

/// What a server logs before it gives up stands before its last line.
trait LastLine {
    fn into_last_line(self) -> Self;
}

impl LastLine for (i32, String, String) {
    fn into_last_line(self) -> Self {
        let last = self.2.lines().last().unwrap_or_default().to_owned();
        (self.0, self.1, last)
    }
}

#[test]
fn a_connection_is_tested_under_the_rules_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    done(run(&["user", "add", "root", "--role", "admin", "--password-stdin"], folder.path(), PASSWORD));
    let (host, port) = ("127.0.0.1", free_port().to_string());
    let add = ["connection", "add", "web", "--protocol", "ssh", "--host", host, "--port", &port];
    done(run(&[&add[..], &["--username", "root", "--owner", "root"]].concat(), folder.path(), ""));
    let test = |denied: Option<&str>| {
        let mut command = sojourn();
        command.args(["connection", "test", "web", "--data-dir"]).arg(folder.path());
        command.envs(denied.map(|ranges| ("SOJOURN_DENY_TARGETS", ranges)));
        let (code, stdout, _) = finish(command, "");
        assert_eq!(code, 1);
        stdout
    };
    assert!(test(Some("10.0.0.0/8,127.0.0.0/8")).contains("an address that the settings deny"));
    assert!(!test(Some("10.0.0.0/8")).contains("settings deny"));
    assert!(!test(None).contains("settings deny"));
}

#[test]
fn each_start_prints_a_new_setup_link_until_there_is_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let link = |log: &str| {
        log.split_whitespace().find(|word| word.contains("/ui/setup#code=")).map(ToOwned::to_owned)
    };
    let first = link(&Server::start(folder.path(), &[]).stop()).unwrap();
    let second = link(&Server::start(folder.path(), &["--log", "error"]).stop()).unwrap();
    assert_ne!(first.split('#').nth(1), second.split('#').nth(1));
    let public = ["--public-url", "https://sojourn.example/", "--log-format", "json"];
    let log = Server::start(folder.path(), &public).stop();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("https://sojourn.example/ui/setup#code="), "{log}");
}

#[test]
fn the_whole_state_is_backed_up_while_running_and_restored_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (one, two, file) = (path("one"), path("two"), path("backup"));
    let text = file.to_str().unwrap();
    done(run(
        &["user", "add", "alice", "--role", "admin", "--password-stdin"],
        &one,
        &format!("{PASSWORD}\n"),
    ));
    let token = done(run(&["token", "create", "--user", "alice"], &one, ""));
    let server = Server::start(&one, &[]);
    done(run(&["backup", text], &one, ""));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(failed(run(&["restore", text, "--force"], &one, "")).contains("a server runs"));
    // Nor by the way past the data directory.
    let beside = |database: &str| {
        let mut command = sojourn();
        command.args(["restore", text, "--force", "--database", database]);
        finish(command, "")
    };
    let its_file = format!("sqlite:{}", one.join("sojourn.sqlite").display());
    assert!(failed(beside(&its_file)).contains("a server runs on the database"));
    server.stop();
    done(beside(&its_file));
    done(run(&["restore", text], &two, ""));
    assert!(failed(run(&["restore", text], &two, "")).contains("--force"));
    done(run(&["restore", text, "--force"], &two, ""));
    // The backup holds no key of what is sealed in it: that comes by another way.
    let bring_key = |to: &str| std::fs::copy(one.join("master.key"), path(to).join("master.key")).unwrap();
    bring_key("two");
    // What was true there is true here: the token works.
    let server = Server::start(&two, &[]);
    assert!(server.get("/users", token.trim()).contains("\"alice\""));
    server.stop();
    std::fs::write(path("cut"), &std::fs::read(&file).unwrap()[..200]).unwrap();
    failed(run(&["restore", path("cut").to_str().unwrap()], &path("three"), ""));
    // And it moves to the other database.
    let Some(database) = postgres::fresh_database() else { return };
    done(run(&["restore", text, "--database", database.url()], &path("four"), ""));
    assert_eq!(database.sql("SELECT name FROM users"), "alice\n");
    bring_key("four");
    let server = Server::start(&path("four"), &["--database", database.url()]);
    assert!(server.get("/users", token.trim()).contains("\"alice\""));
    assert!(failed(beside(database.url())).contains("a server runs on the database"));
    server.stop();
    // PostgreSQL notices a while after the connection is gone.
    while beside(database.url()).0 != 0 {}
}

/// A certificate for the loopback that nobody else trusts; `false` without openssl.
fn self_signed(folder: &Path, name: &str, cert: &Path, key: &Path) -> bool {
    let config = folder.join("openssl.cnf");
    std::fs::write(
        &config,
        "[req]\ndistinguished_name = name\nx509_extensions = use\n[name]\n\
         [use]\nbasicConstraints = CA:FALSE\nsubjectAltName = IP:127.0.0.1\n",
    )
    .unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &format!("/CN={name}"), "-config"])
        .arg(&config)
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(cert)
        .output();
    made.is_ok_and(|output| output.status.success())
}

/// A sensor on a lease file.
fn sensor(server: &Server, folder: &Path, token: &str, more: &[&str]) -> Child {
    let until = 4_000_000_000u32;
    let leases = folder.join("leases");
    std::fs::write(&leases, format!("{until} aa:bb:cc:dd:ee:07 10.0.0.7 host *\n")).unwrap();
    let mut command = sojourn();
    command
        .args(["sensor", "--server", &format!("https://{}", server.address), "--token", token])
        .args(["--name", "attic", "--interval", "1s", "--leases"])
        .arg(leases)
        .arg("--buffer")
        .arg(folder.join("buffer"))
        .args(more);
    command.stderr(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn a_sensor_reports_over_tls_to_a_server_whose_certificate_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    if !self_signed(folder.path(), "here", &cert, &key) {
        return skip::whole("openssl is not installed");
    }
    let data = folder.path().join("data");
    done(run(
        &["user", "add", "alice", "--role", "admin", "--password-stdin"],
        &data,
        &format!("{PASSWORD}\n"),
    ));
    let token = done(run(&["token", "create", "--user", "alice"], &data, ""));
    let token = token.trim();
    let (cert_text, key_text) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&data, &["--tls-cert", cert_text, "--tls-key", key_text]);

    // Without the certificate it trusts nobody, says so, and keeps its reports.
    let mut stranger = sensor(&server, folder.path(), token, &[]);
    let mut log = BufReader::new(stranger.stderr.take().unwrap()).lines();
    let warning =
        log.find(|line| line.as_ref().is_ok_and(|line| line.contains("cannot report"))).unwrap().unwrap();
    assert!(warning.to_ascii_lowercase().contains("certificate"), "{warning}");
    kill_process(Pid::from_child(&stranger), Signal::TERM).unwrap();
    assert_eq!(stranger.wait().unwrap().code(), Some(0));
    assert!(std::fs::read_dir(folder.path().join("buffer")).unwrap().count() > 0);

    let mut trusting = sensor(&server, folder.path(), token, &["--ca", cert_text]);
    let ask = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(&cert).unwrap()).unwrap()])
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("https://{}/devices/AA:BB:CC:DD:EE:07", server.address);
    let found = loop {
        let answer = ask.get(&url).bearer_auth(token).send().await.unwrap();
        if answer.status() != 404 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert!(found.status().is_success());
    let device: Value = serde_json::from_str(&found.text().await.unwrap()).unwrap();
    assert_eq!(device["hostname"], "host", "{device}");
    kill_process(Pid::from_child(&trusting), Signal::TERM).unwrap();
    assert_eq!(trusting.wait().unwrap().code(), Some(0));
    server.stop();
}

#[tokio::test]
async fn with_a_certificate_it_speaks_https_and_takes_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let make = |name: &str| self_signed(folder.path(), name, &cert, &key);
    if !make("one") {
        return skip::whole("openssl is not installed");
    }
    let data = folder.path().join("data");
    let (cert_text, key_text) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&data, &["--tls-cert", cert_text, "--tls-key", key_text]);
    let url = format!("https://{}/healthz", server.address);
    let trusting = |pem: &[u8]| {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(pem).unwrap()])
            .no_proxy()
            .build()
            .unwrap()
    };
    let old = std::fs::read(&cert).unwrap();
    let answer = trusting(&old).get(&url).send().await.unwrap();
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    assert!(reqwest::Client::builder().no_proxy().build().unwrap().get(&url).send().await.is_err());
    assert!(make("two"));
    kill_process(Pid::from_child(&server.child), Signal::HUP).unwrap();
    let new = std::fs::read(&cert).unwrap();
    // The signal is handled when it is.
    while trusting(&new).get(&url).send().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(trusting(&old).get(&url).send().await.is_err());
    let log = server.stop();
    assert!(log.contains("https://127.0.0.1"), "{log}");
}

/// Leaves a sealed recording in a data directory, as a server would have.
fn recorded(data_dir: &Path) -> String {
    use std::sync::Arc;

    use sojourn_domain::{
        access::{ClientKind, Protocol, Purpose},
        id::AccessSessionId,
        time::Clock as _,
    };
    use sojourn_server::{
        access::Access,
        config::{Config, Settings},
    };
    use sojourn_store::{Entropy, Store, SystemClock, access::NewAccessSession, recordings::Format};

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let settings = Settings { data_dir: Some(data_dir.to_owned()), ..Settings::default() };
        let config = Config::new(settings).unwrap();
        let store = Store::open(&config.database.0).await.unwrap();
        let access = Access::open(&store, &config, Arc::new(SystemClock)).await.unwrap();
        let now = SystemClock.now();
        let id: AccessSessionId = Entropy.id(now);
        let new = NewAccessSession {
            id,
            user: Entropy.id(now),
            user_name: "alice".to_owned(),
            connection: Entropy.id(now),
            connection_name: "web".to_owned(),
            protocol: Protocol::Ssh,
            purpose: Purpose::Shell,
            command: String::new(),
            target: "192.0.2.1:22".to_owned(),
            client_kind: ClientKind::Native,
            client_address: "192.0.2.2".to_owned(),
            node: access.node.to_string(),
            started_at: now,
        };
        store.session_begin(&new).await.unwrap();
        let recorder = access.recordings.begin(id, Format::Cast).await.unwrap();
        recorder.write(b"{\"version\":2,\"width\":80,\"height\":24}\n[0.1,\"o\",\"hello\"]\n").await.unwrap();
        recorder.finish(true).await.unwrap();
        access.recordings.stop().await;
        store.close().await;
        id.to_string()
    })
}

#[test]
fn recordings_are_verified_and_exported_and_bundles_verified_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(&elsewhere).unwrap();
    let session = recorded(&data);
    assert_eq!(
        done(run(&["verify", &session], &data, "")),
        format!("{session} sealed: complete and unaltered\n")
    );
    assert!(done(run(&["verify"], &data, "")).starts_with(&session));
    let json: Value = serde_json::from_str(&done(run(&["verify", &session, "--json"], &data, ""))).unwrap();
    assert_eq!((&json["status"], &json["ok"]), (&"sealed".into(), &true.into()));

    let bundle = elsewhere.join("evidence.tar");
    let path = bundle.to_str().unwrap();
    done(run(&["export", &session, "-o", path], &data, ""));
    let mode = std::fs::metadata(&bundle).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Elsewhere there is the public key, and nothing else.
    let key = elsewhere.join("key.pem");
    std::fs::copy(data.join("recording-key.pub"), &key).unwrap();
    let verify = |file: &str, more: &[&str]| {
        let mut command = sojourn();
        command.current_dir(&elsewhere).args(["verify", file]).args(more);
        finish(command, "")
    };
    let trusted = ["--public-key", key.to_str().unwrap()];
    assert!(done(verify(path, &trusted)).contains(&format!("{session} unaltered")));
    let warned = done(verify(path, &[]));
    assert!(warned.contains("the bundle's own"), "{warned}");
    // tar reads it too.
    let listed = Command::new("tar").arg("-tf").arg(&bundle).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&format!("{session}/recording.cast")), "{listed}");

    let good = std::fs::read(&bundle).unwrap();
    let mut altered = good.clone();
    let at = good.windows(5).position(|window| window == b"hello").unwrap();
    altered[at] = b'j';
    std::fs::write(&bundle, altered).unwrap();
    let (code, told, _) = verify(path, &trusted);
    assert_eq!(code, 1);
    assert!(told.contains("recording.cast is altered"), "{told}");

    // Whoever holds the disk cannot alter it unnoticed.
    let segment = data.join("recordings").join(&session).join("000000.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, told, complaint) = run(&["verify", &session], &data, "");
    assert_eq!((code, complaint.as_str()), (1, "sojourn: the recording is altered\n"), "{told}");
    assert!(told.starts_with(&format!("{session} altered: segment 000000.seg: frame 0")), "{told}");
    assert!(
        failed(run(&["verify", "sess_01h455vb4pex5vsknk084sn02q"], &folder.path().join("x"), "")).len() > 1
    );
    assert_eq!(verify("nothing.tar", &[]).0, 2);
}
