//! A PostgreSQL of the tests' own, on a free port of the loopback, gone when its process is.
//!
//! `cargo xtask test` starts one for all test programs and names it in `SOJOURN_TEST_POSTGRES`;
//! without the variable each test program starts one on demand. A supervising shell holds the end
//! of a pipe: when the test program ends, however it ends, the shell stops the server and
//! removes its files.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    netns::{Host, command_in, in_namespace},
    skip,
};

/// Names the cluster that a parent process started (`postgres://USER:PASSWORD@HOST:PORT/postgres`).
pub const VARIABLE: &str = "SOJOURN_TEST_POSTGRES";

/// The system user that runs the server when the tests run as root, which PostgreSQL refuses.
const SYSTEM_USER: &str = "postgres";
/// Why a test does not run.
const MISSING: &str = "PostgreSQL is not installed (Debian: apt-get install postgresql)";
/// Attempts to find a port that is still free when the server binds it.
const ATTEMPTS: u32 = 5;

/// A running PostgreSQL, of this process or of a parent.
#[derive(Debug)]
pub struct Cluster {
    /// `postgres://USER:PASSWORD@HOST:PORT`, without a database.
    base: String,
    psql: PathBuf,
    /// Where it stands, when that is not here.
    namespace: Option<String>,
    /// Keeps the supervisor, and thereby the server, alive.
    _lifeline: Option<(Child, ChildStdin)>,
}

/// The cluster of this process; `None`, and a visible line, where PostgreSQL is not installed.
pub fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let programs = Programs::find()?;
        Some(match env::var(VARIABLE) {
            Ok(url) => Cluster::of_parent(&url, programs.psql),
            Err(_) => Cluster::start(&programs, None),
        })
    });
    if cluster.is_none() {
        skip::part(MISSING);
    }
    cluster.as_ref()
}

/// A new, empty database; `None`, and a visible line, where PostgreSQL is not installed.
pub fn fresh_database() -> Option<Database> {
    cluster().map(Cluster::fresh_database)
}

/// Runs a test's body on a new SQLite database and on a new PostgreSQL database.
///
/// The body gets the database's URL, as the store and `--database` take it.
///
/// ```no_run
/// # async fn example() {
/// sojourn_testbed::both_databases(async |url| {
///     assert!(url.starts_with("sqlite:") || url.starts_with("postgres://"));
/// })
/// .await;
/// # }
/// ```
pub async fn both_databases<F: AsyncFn(&str)>(body: F) {
    let directory = tempfile::tempdir().expect("a temporary directory for SQLite");
    body(&format!("sqlite:{}", directory.path().join("store.sqlite").display())).await;
    if let Some(database) = fresh_database() {
        body(database.url()).await;
    }
}

/// An empty database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    cluster: &'static Cluster,
    name: String,
    url: String,
}

impl Database {
    /// `postgres://USER:PASSWORD@HOST:PORT/NAME`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs SQL in this database and returns what psql prints, unaligned and without headers.
    pub fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Nobody waits for it: pools that are still closing are cut off, and at the end of the
        // process the whole cluster goes. A failure leaves a database that goes with the cluster.
        let _ = self
            .cluster
            .psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

impl Cluster {
    /// `postgres://USER:PASSWORD@HOST:PORT/postgres`, the database from which others are made.
    pub fn url(&self) -> String {
        format!("{}/postgres", self.base)
    }

    /// A new, empty database.
    pub fn fresh_database(&'static self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { cluster: self, url: format!("{}/{name}", self.base), name }
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql).output().expect("psql runs");
        assert!(output.status.success(), "psql {sql:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut command = command_in(self.namespace.as_deref(), &self.psql);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        command.arg(format!("{}/{database}", self.base)).stdin(Stdio::null());
        command
    }

    fn of_parent(url: &str, psql: PathBuf) -> Self {
        let base = url.strip_suffix("/postgres").unwrap_or(url).to_owned();
        Self { base, psql, namespace: None, _lifeline: None }
    }

    /// A cluster of its own on the loopback of a host in a test network, whose database `postgres`
    /// is empty; `None`, and a visible line, where PostgreSQL is not installed.
    pub fn on(host: &Host) -> Option<Self> {
        let programs = Programs::find();
        if programs.is_none() {
            skip::whole(MISSING);
        }
        Some(Self::start(&programs?, Some(host.namespace())))
    }

    fn start(programs: &Programs, namespace: Option<&str>) -> Self {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(programs, namespace) {
                Ok(cluster) => return cluster,
                Err(message) => last = message,
            }
        }
        panic!("PostgreSQL did not start: {last}");
    }

    fn try_start(programs: &Programs, namespace: Option<&str>) -> Result<Self, String> {
        // Not below target/: the system user may have no way into the home of the one who tests.
        let directory = tempfile::Builder::new()
            .prefix("sojourn-postgres-")
            .tempdir()
            .map_err(|error| format!("temporary directory: {error}"))?
            .keep();
        let root = rustix::process::getuid().is_root();
        let password = random_hex();
        let password_file = directory.join("password");
        fs::write(&password_file, &password).map_err(|error| format!("password file: {error}"))?;
        if root {
            run(Command::new("chown").arg("-R").arg(SYSTEM_USER).arg(&directory))?;
        }
        let data = directory.join("data");
        run(as_system_user(root, &programs.initdb)
            .args(["-U", "sojourn", "-A", "password", "-E", "UTF8", "--no-locale", "--no-sync"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("-D")
            .arg(&data)
            .current_dir(&directory))?;
        let port = in_namespace(namespace, free_port);
        let mut supervisor = supervisor(root, programs, &directory, &data, port, namespace)
            .spawn()
            .map_err(|error| format!("supervisor: {error}"))?;
        let lifeline = supervisor.stdin.take().ok_or("no pipe to the supervisor")?;
        let stdout = supervisor.stdout.take().ok_or("no pipe from the supervisor")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("supervisor: {error}"))?;
        if line.trim() != "ready" {
            drop(lifeline);
            // It ends by itself, now that the pipe is closed.
            let _ = supervisor.wait();
            return Err(format!("port {port}: {}", line.trim()));
        }
        Ok(Self {
            base: format!("postgres://sojourn:{password}@127.0.0.1:{port}"),
            psql: programs.psql.clone(),
            namespace: namespace.map(str::to_owned),
            _lifeline: Some((supervisor, lifeline)),
        })
    }
}

/// A shell that starts the server, says `ready`, and stops it when its standard input ends.
fn supervisor(
    root: bool,
    programs: &Programs,
    directory: &Path,
    data: &Path,
    port: u16,
    namespace: Option<&str>,
) -> Command {
    const SCRIPT: &str = r#"
        directory=$1 port=$2 ready=$3; shift 3
        "$@" >"$directory/log" 2>&1 </dev/null &
        server=$!
        trap 'kill -QUIT $server 2>/dev/null; wait $server; rm -rf "$directory"' EXIT
        tries=0
        until "$ready" -q -h 127.0.0.1 -p "$port"; do
            tries=$((tries + 1))
            if ! kill -0 $server 2>/dev/null || [ $tries -gt 600 ]; then
                tail -n 1 "$directory/log"
                exit 1
            fi
            sleep 0.05
        done
        echo ready
        cat >/dev/null
    "#;
    let server = as_system_user(root, &programs.postgres);
    let mut command = command_in(namespace, "/bin/sh");
    command.args(["-c", SCRIPT, "sojourn-test-postgres"]);
    command.arg(directory).arg(port.to_string()).arg(&programs.pg_isready);
    command.arg(server.get_program()).args(server.get_args());
    command.arg("-D").arg(data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k", ""]);
    for setting in [
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=400",
        "shared_buffers=64MB",
        "autovacuum=on",
        "logging_collector=off",
    ] {
        command.args(["-c", setting]);
    }
    // Away from the terminal's Ctrl-C: the pipe alone decides.
    command.process_group(0).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// `program`, run by the system user when this process is root.
fn as_system_user(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups", "--"]).arg(program);
    command
}

pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A port of the loopback that nobody has right now.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port on the loopback")
        .port()
}

pub(crate) fn random_hex() -> String {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where PostgreSQL's programs are.
#[derive(Debug)]
struct Programs {
    initdb: PathBuf,
    postgres: PathBuf,
    pg_isready: PathBuf,
    psql: PathBuf,
}

impl Programs {
    /// On the path, or where Debian keeps them; the newest version wins.
    fn find() -> Option<Self> {
        let mut directories: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        directories.sort();
        directories.reverse();
        directories.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let directory = directories
            .into_iter()
            .find(|directory| ["initdb", "postgres"].iter().all(|name| directory.join(name).is_file()))?;
        let client = |name: &str| {
            let beside = directory.join(name);
            if beside.is_file() { beside } else { PathBuf::from(name) }
        };
        Some(Self {
            initdb: directory.join("initdb"),
            postgres: directory.join("postgres"),
            pg_isready: client("pg_isready"),
            psql: client("psql"),
        })
    }
}

/// Starts a cluster, prints its URL and keeps it until standard input ends: for `cargo xtask test`.
pub fn serve() -> Result<(), String> {
    let programs = Programs::find().ok_or("PostgreSQL is not installed")?;
    let cluster = Cluster::start(&programs, None);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", cluster.url()).map_err(|error| error.to_string())?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn databases_are_fresh_and_apart() {
        let (Some(one), Some(two)) = (fresh_database(), fresh_database()) else { return };
        one.sql("CREATE TABLE t (x BIGINT); INSERT INTO t VALUES (7)");
        two.sql("CREATE TABLE t (x BIGINT)");
        assert_eq!(one.sql("SELECT x FROM t"), "7\n");
        assert_eq!(two.sql("SELECT x FROM t"), "");
    }

    #[test]
    fn a_cluster_goes_with_its_lifeline() {
        let Some(programs) = Programs::find() else {
            return skip::whole("PostgreSQL is not installed");
        };
        let mut cluster = Cluster::start(&programs, None);
        assert_eq!(cluster.sql("postgres", "SELECT 1"), "1\n");
        let (mut supervisor, pipe) = cluster._lifeline.take().expect("started here");
        drop(pipe);
        supervisor.wait().expect("the supervisor ends");
        assert!(!cluster.psql("postgres", "SELECT 1").output().expect("psql runs").status.success());
    }

    #[test]
    fn a_body_runs_on_both_databases() {
        let seen = Cell::new(0);
        block_on(both_databases(async |url| {
            assert!(url.starts_with("sqlite:/") || url.starts_with("postgres://"), "{url}");
            seen.set(seen.get() + 1);
        }));
        assert_eq!(seen.get(), if Programs::find().is_some() { 2 } else { 1 });
    }

    /// Runs a future that never waits.
    fn block_on<F: Future<Output = ()>>(future: F) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(future).poll(&mut context).is_ready());
    }
}
