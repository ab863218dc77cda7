//! The real `sojourn`, started, asked, killed and started again.

use std::{
    env,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    foundations::Foundations,
    netns::{Host, command_in, in_namespace},
};

/// How long a server may take to be ready; generous, for busy machines.
const READY: Duration = Duration::from_secs(60);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(60);

/// The binary under test: `SOJOURN_BIN`, or what cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("SOJOURN_BIN") {
        return path.into();
    }
    let test = env::current_exe().expect("a test knows its own file");
    let found = test.ancestors().map(|folder| folder.join("sojourn")).find(|file| file.is_file());
    found.expect("no sojourn binary: cargo build -p sojourn-server")
}

/// A data directory and where its server stands; outlives the server's processes.
#[derive(Debug)]
pub struct Installation {
    data: tempfile::TempDir,
    namespace: Option<String>,
    database: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    http: String,
    foundations: Option<Foundations>,
}

impl Installation {
    /// On this machine's loopback. Without configured sources a server scans the networks it
    /// finds: mind what those are, and prefer [`Installation::on`].
    pub fn new() -> Self {
        Self {
            data: tempfile::tempdir().expect("a temporary directory"),
            namespace: None,
            database: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            http: String::from("127.0.0.1:0"),
            foundations: None,
        }
    }

    /// On this machine's loopback, looking at no network: for everything but presence.
    pub fn without_sources() -> Self {
        let installation = Self::new().variable("SOJOURN_LOCAL_SOURCES", "false");
        match Foundations::wanted().then(Foundations::new).flatten() {
            Some(foundations) => installation.standing_on(foundations),
            None => installation,
        }
    }

    /// Keeps its data in PostgreSQL and on an S3 server.
    pub fn standing_on(mut self, foundations: Foundations) -> Self {
        self.environment.extend(foundations.variables().iter().cloned());
        self.foundations = Some(foundations);
        self
    }

    /// Keeps recordings as files in its data directory, whatever else it stands on.
    pub fn keeping_local_files(mut self) -> Self {
        self.environment.retain(|(name, _)| name != "SOJOURN_OBJECTS");
        self
    }

    /// On a host of a test network.
    pub fn on(host: &Host) -> Self {
        Self { namespace: Some(host.namespace().to_owned()), ..Self::new() }
    }

    /// Serves on another address than the loopback's.
    pub fn http(mut self, address: impl ToString) -> Self {
        self.http = address.to_string();
        self
    }

    /// Keeps its data in this database instead of SQLite.
    pub fn database(mut self, url: &str) -> Self {
        self.database = Some(url.to_owned());
        self
    }

    /// One more argument of `serve`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more environment variable of every command.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// `sojourn ARGS… --data-dir DIR`, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command_in(self.namespace.as_deref(), binary());
        command.args(args).arg("--data-dir").arg(self.data_dir()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(url) = &self.database {
            command.args(["--database", url]);
        }
        command
    }

    /// Runs a command to its end and returns its standard output; panics when it fails.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        self.cli_with_input(args, "")
    }

    /// Runs a command with this standard input to its end; panics when it fails.
    #[track_caller]
    pub fn cli_with_input(&self, args: &[&str], input: &str) -> String {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sojourn starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may end without reading.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("sojourn ends");
        assert!(
            output.status.success(),
            "sojourn {args:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Adds a source by the command line. `args` as after `source add`.
    #[track_caller]
    pub fn add_source(&self, args: &[&str]) -> String {
        self.cli(&[&["source", "add"], args].concat())
    }

    /// Makes a user (password `correct horse battery staple`) and a token of theirs.
    #[track_caller]
    pub fn token(&self, user: &str, role: &str) -> String {
        self.cli_with_input(
            &["user", "add", user, "--role", role, "--password-stdin"],
            "correct horse battery staple\n",
        );
        self.cli(&["token", "create", "--user", user]).trim().to_owned()
    }

    /// Starts the server and waits until it is ready.
    #[track_caller]
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts the server with more arguments and waits until it is ready.
    #[track_caller]
    pub fn serve_with(&self, args: &[&str]) -> Server {
        let mut command = self.command(&["serve", "--http", &self.http]);
        // A free port, unless an argument says another.
        command.env("SOJOURN_SSH", "127.0.0.1:0");
        command.args(&self.arguments).args(args);
        Server::start(command, self.namespace.clone())
    }

    /// A client that stands where the server stands.
    pub fn client(&self, server: &Server, token: &str) -> Client {
        Client::new(self.namespace.as_deref(), server.address, token)
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

/// A running program of ours whose output is kept; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a command and hands over the lines of its standard output.
    pub fn start(mut command: Command) -> (Self, mpsc::Receiver<String>) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::sync_channel(256);
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        keep(stdout, log.clone(), Some(sender));
        keep(stderr, log.clone(), None);
        (Self { child, log }, lines)
    }

    /// Everything it has printed so far, on both streams.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It runs no more.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// SIGKILL: no handler of the program sees it.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().expect("a child of ours")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child of ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            // For whoever reads why the test failed.
            let _ =
                writeln!(std::io::stderr(), "--- last lines of process {}:\n{}", self.pid(), tail.join("\n"));
        }
    }
}

/// Reads a stream to its end, into the log and, as long as anyone takes them, as lines.
fn keep(
    stream: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    mut lines: Option<mpsc::SyncSender<String>>,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
            // Nobody waits for lines after the first few.
            lines = lines.filter(|sender| sender.try_send(line).is_ok());
        }
    });
}

/// A server that was ready once.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Where it answers HTTP.
    pub address: SocketAddr,
    /// Where native SSH clients are let in.
    pub ssh: Option<SocketAddr>,
    /// The link for the first setup, if it printed one before it was ready.
    pub setup_link: Option<String>,
    namespace: Option<String>,
}

impl Server {
    #[track_caller]
    fn start(command: Command, namespace: Option<String>) -> Self {
        let (process, lines) = Process::start(command);
        let mut setup_link = None;
        loop {
            let Ok(line) = lines.recv_timeout(READY) else {
                panic!("the server is not ready:\n{}", process.log());
            };
            if let Some(link) = line.split_whitespace().find(|word| word.contains("/ui/setup#")) {
                setup_link = Some(link.to_owned());
            }
            if let Some(rest) = line.strip_prefix("ready ") {
                let at = |name: &str| {
                    let word = rest.split_whitespace().find_map(|word| word.strip_prefix(name));
                    word.and_then(|text| text.parse().ok())
                };
                let address = at("http=").unwrap_or_else(|| panic!("no address in {line:?}"));
                return Self { process, address, ssh: at("ssh="), setup_link, namespace };
            }
        }
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.process.terminate()
    }

    /// A client that stands where the server stands; an empty token sends none.
    pub fn client(&self, token: &str) -> Client {
        Client::new(self.namespace.as_deref(), self.address, token)
    }
}

/// An HTTP client with a token, standing in a namespace.
#[derive(Debug, Clone)]
pub struct Client {
    namespace: Option<String>,
    base: String,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    /// The body as JSON; panics when it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body as JSON of a successful answer.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

impl Client {
    pub fn new(namespace: Option<&str>, address: SocketAddr, token: &str) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            base: format!("http://{address}"),
            token: token.to_owned(),
        }
    }

    /// The answer's JSON; panics unless it is a success.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, None).ok()
    }

    /// The answer's JSON; panics unless it is a success.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Value {
        self.send("POST", path, Some(&body.to_string())).ok()
    }

    /// The answer's JSON; panics unless it is a success.
    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Value {
        self.send("PATCH", path, Some(&body.to_string())).ok()
    }

    /// The answer's JSON; panics unless it is a success.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Value {
        self.send("DELETE", path, None).ok()
    }

    /// Any request; panics only when there is no answer.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        match self.try_send(method, path, body) {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    /// Any request, when the server may not be there.
    pub fn try_send(&self, method: &str, path: &str, body: Option<&str>) -> Result<Answer, String> {
        in_namespace(self.namespace.as_deref(), || self.exchange(method, path, body))
    }

    fn exchange(&self, method: &str, path: &str, body: Option<&str>) -> Result<Answer, String> {
        // No pool: a connection belongs to the thread's namespace.
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST))
            .max_idle_connections(0)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        let answer = match body {
            None => agent.run(request.body(()).map_err(|error| error.to_string())?),
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_owned());
                agent.run(request.map_err(|error| error.to_string())?)
            }
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string();
        Ok(Answer { status: answer.status().as_u16(), content_type, text: text.map_err(|e| e.to_string())? })
    }
}
