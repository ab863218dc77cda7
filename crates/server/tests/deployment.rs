//! What README says of deployment: its own snippets, run by the programs that they are for.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::{Certificate, Client, header};
use serde_json::{Value, json};
use sojourn_testbed::{
    process::{Installation, binary},
    skip, wait,
};

const LIMIT: Duration = Duration::from_secs(30);
const README: &str = include_str!("../../../README.md");

/// The block of README in a language.
fn snippet(language: &str) -> String {
    let start = format!("```{language}\n");
    let (_, rest) = README.split_once(&start).expect("a snippet");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The text with a part of it replaced, which must be there.
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old:?} in {text}");
    text.replace(old, new)
}

fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin")];
    std::env::split_paths(&paths).chain(sbin).any(|folder| folder.join(program).is_file())
}

fn self_signed(folder: &Path) -> (PathBuf, PathBuf) {
    let (cert, key, config) = (folder.join("cert.pem"), folder.join("key.pem"), folder.join("openssl.cnf"));
    let text = "[req]\ndistinguished_name = name\nx509_extensions = use\n[name]\n\
                [use]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost,IP:127.0.0.1\n";
    fs::write(&config, text).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-config"])
        .arg(&config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

struct Nginx(Child);

impl Nginx {
    /// Runs the snippet in a folder, in front of `upstream`.
    fn start(folder: &Path, upstream: &str, port: u16, cert: &Path, key: &Path) -> Self {
        let server = snippet("nginx");
        let server = with(&server, "listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"));
        let server = with(&server, "/etc/ssl/sojourn.pem", cert.to_str().unwrap());
        let server = with(&server, "/etc/ssl/sojourn.key", key.to_str().unwrap());
        let server = with(&server, "127.0.0.1:7420", upstream);
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {};\n", folder.join(name).display()))
            .collect();
        let pid = folder.join("nginx.pid");
        let config = folder.join("nginx.conf");
        let text = format!(
            "daemon off;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{server}}}\n",
            pid.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(&config);
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // QUIT lets the workers go with the master; it may have ended by itself.
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

async fn json(response: reqwest::Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nginx_snippet_carries_logins_streams_and_who_is_asking() {
    if !Path::new("/usr/sbin/nginx").is_file() || !installed("openssl") {
        return skip::whole("nginx or openssl is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = self_signed(folder.path());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("https://localhost:{port}");
    let house = Installation::without_sources()
        .argument("--trusted-proxies")
        .argument("127.0.0.1")
        .argument("--public-url")
        .argument(url.clone());
    let password = "correct horse";
    house.cli_with_input(
        &["user", "add", "alice", "--role", "admin", "--password-stdin"],
        &format!("{password}\n"),
    );
    let server = house.serve();
    let _nginx = Nginx::start(folder.path(), &server.address.to_string(), port, &cert, &key);
    let client = |from: &str| {
        Client::builder()
            .tls_certs_only([Certificate::from_pem(&fs::read(&cert).unwrap()).unwrap()])
            .no_proxy()
            .resolve("localhost", ([127, 0, 0, 1], port).into())
            .local_address(from.parse::<std::net::IpAddr>().unwrap())
            .build()
            .unwrap()
    };
    // Not the proxy's own address, so that it is told whose it is.
    let alice = client("127.0.0.2");
    tokio::task::block_in_place(|| {
        wait::until("nginx", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    });
    let ready = alice.get(format!("{url}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);

    // A browser logs in; what it makes up about its address is not believed.
    let login = alice
        .post(format!("{url}/auth/login"))
        .header(header::ORIGIN, &url)
        .header("x-forwarded-for", "203.0.113.9")
        .header(header::CONTENT_TYPE, "application/json")
        .body(json!({ "name": "alice", "password": password }).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(login.status(), 200, "{}", login.text().await.unwrap());
    let cookie = login.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("; Secure"), "it came by TLS: {cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let logins =
        json(alice.get(format!("{url}/auth/logins")).header(header::COOKIE, &cookie).send().await.unwrap())
            .await;
    assert_eq!(logins["logins"][0]["clientAddress"], "127.0.0.2", "{logins}");
    let foreign = alice
        .post(format!("{url}/auth/logout"))
        .header(header::COOKIE, &cookie)
        .header(header::ORIGIN, "https://elsewhere.example")
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);

    // The stream begins at once, and tells of what happens while it happens.
    let mut stream =
        alice.get(format!("{url}/presence/stream")).header(header::COOKIE, &cookie).send().await.unwrap();
    assert_eq!(stream.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut told = String::new();
    let mut until = async |text: &str| {
        while !told.contains(text) {
            let chunk = tokio::time::timeout(LIMIT, stream.chunk()).await.expect("an event").unwrap();
            told.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        }
    };
    until("event: counts").await;
    let report = json!({ "source": "attic", "sightings": [{ "mac": "02:00:00:00:00:01" }] });
    let reported = alice
        .post(format!("{url}/presence/sightings"))
        .header(header::COOKIE, &cookie)
        .header(header::ORIGIN, &url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(report.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(reported.status(), 200, "{}", reported.text().await.unwrap());
    until("02:00:00:00:00:01").await;
    drop(stream);

    // Wrong passwords are counted against the address that sent them, not against the proxy.
    let mallory = client("127.0.0.3");
    let guess = async |client: &Client, password: &str| {
        let body = json!({ "name": "alice", "password": password }).to_string();
        let request =
            client.post(format!("{url}/auth/login")).header(header::CONTENT_TYPE, "application/json");
        request.body(body).send().await.unwrap().status().as_u16()
    };
    while guess(&mallory, "wrong").await != 429 {}
    assert_eq!(guess(&alice, password).await, 200);
}

#[test]
fn the_systemd_unit_is_one_that_systemd_understands() {
    if !installed("systemd-analyze") {
        return skip::whole("systemd-analyze is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = with(&snippet("ini"), "/usr/local/bin/sojourn", binary().to_str().unwrap());
    let path = folder.path().join("sojourn.service");
    fs::write(&path, unit).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // It may speak of other units of this machine.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("sojourn")).collect();
    assert!(ours.is_empty(), "{said}");
}
