//! `sojourn serve`: opens the store, starts what runs, answers HTTP, and stops cleanly.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum_server::{
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sojourn_gateway::front::ssh::Front;
use sojourn_sensor::engine::{self, Engine};
use sojourn_store::{Entropy, Store, SystemClock, db::Database, identity::SecretHash, in_use};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    config::{Config, LogFormat, TlsFiles},
    front,
    http::{self, auth::new_secret},
    memory::{self, Memory},
    nodes,
    state::AppState,
};

/// How long open connections may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    start_log(&config)?;
    prepare_data_dir(&config.data_dir)?;
    let _lock = lock(&config.data_dir)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let tls = match &config.tls {
        Some(files) => Some(RustlsConfig::from_config(tls_config(files)?)),
        None => None,
    };
    let tls_files = config.tls.clone();

    let store = Store::open(&config.database.0).await.context("open the database")?;
    let _claim = in_use::claim(&config.database.0, in_use::Purpose::Serve).await?;
    let listener = TcpListener::bind(config.http).with_context(|| format!("listen on {}", config.http))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let ssh_listener = match config.ssh {
        Some(ssh) => Some(
            tokio::net::TcpListener::bind(ssh).await.with_context(|| format!("listen on {ssh} for SSH"))?,
        ),
        None => None,
    };
    let shutdown = CancellationToken::new();
    let access = Access::open(&store, &config, Arc::new(SystemClock)).await?;
    let options = engine::Options {
        run_sources: config.local_sources,
        reverse_dns: config.reverse_dns && config.local_sources,
        retention: config.keep_presence,
        // A database in a file has one server.
        lease: (store.database() == Database::Postgres).then_some(access.node),
        ..engine::Options::default()
    };
    let engine = Engine::start(store.clone(), Arc::new(SystemClock), Entropy, options)
        .await
        .context("start the presence engine")?;
    let (state, background) = AppState::start(
        store.clone(),
        engine.handle(),
        Arc::new(SystemClock),
        config,
        access.clone(),
        shutdown.clone(),
    );
    offer_setup(&state, address).await?;
    let (hub, files, left) = (state.hub.clone(), state.files.clone(), state.clone());

    let handle = axum_server::Handle::new();
    let server = tokio::spawn(listen(listener, tls.clone(), handle.clone(), http::app(state)));
    let front = ssh_listener.map(|listener| front::start(&left, listener)).transpose()?;
    let ssh_address = front.as_ref().map(Front::address);
    let mut memory = Memory::given_back();
    let mut now_and_then = tokio::time::interval(memory::EVERY);
    say_ready(address, ssh_address)?;
    tracing::info!(http = %address, tls = tls.is_some(), ssh = ?ssh_address, "ready");

    let mut server = std::pin::pin!(server);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = now_and_then.tick() => memory.look(),
            _ = hangup.recv() => reload_tls(tls.as_ref(), tls_files.as_ref()),
            ended = &mut server => {
                ended.context("the HTTP server ended")?.context("the HTTP server ended")?;
                bail!("the HTTP server ended by itself");
            }
        }
    }
    tracing::info!("stopping");
    shutdown.cancel();
    handle.graceful_shutdown(Some(GRACE));
    server.await.context("stop the HTTP server")?.context("stop the HTTP server")?;
    // It writes what it knows before the store closes.
    engine.stop().await;
    background.finish().await;
    hub.stop().await;
    if let Some(front) = front {
        front.stop().await;
    }
    files.stop().await;
    access.recordings.stop().await;
    nodes::leave(&left).await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// While there is no administrator, each start prints a new link with which to make one. The code
/// stands behind the `#`, so that no browser sends it in an address and no proxy logs it.
async fn offer_setup(state: &AppState, address: SocketAddr) -> anyhow::Result<()> {
    let code = new_secret("", state.entropy);
    if !state.store.setup_offer(&SecretHash::of(&code)).await.context("prepare the setup")? {
        return Ok(());
    }
    let base = match (&state.config.public_url, &state.config.tls) {
        (Some(url), _) => url.clone(),
        (None, tls) => {
            let scheme = if tls.is_some() { "https" } else { "http" };
            let host = if address.ip().is_unspecified() {
                format!("localhost:{}", address.port())
            } else {
                address.to_string()
            };
            format!("{scheme}://{host}")
        }
    };
    let link = format!("{base}/ui/setup#code={code}");
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!("open this link to make the first administrator: {link}");
    } else {
        // The log was told to be quiet, but without the link nobody gets in.
        writeln!(std::io::stderr(), "open this link to make the first administrator: {link}")?;
    }
    Ok(())
}

/// Answers leave at once: a streamed one has its end in a small piece of its own, which TCP
/// otherwise holds back until the client has acknowledged the one before (RFC 896), for 40 ms.
async fn listen(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    handle: axum_server::Handle<SocketAddr>,
    app: axum::Router,
) -> std::io::Result<()> {
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor::new());
            let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle);
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(GRACE);
            server.serve(service).await
        }
        None => {
            let acceptor = NoDelayAcceptor::new();
            let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle);
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(GRACE);
            server.serve(service).await
        }
    }
}

/// The one line on standard output, for those who started the server.
fn say_ready(address: SocketAddr, ssh: Option<SocketAddr>) -> anyhow::Result<()> {
    let ssh = ssh.map_or_else(|| "off".to_owned(), |ssh| ssh.to_string());
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "ready http={address} ssh={ssh}")
        .and_then(|()| stdout.flush())
        .context("say that it is ready")
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_new(&config.log).with_context(|| format!("log {:?}", config.log))?;
    let log = fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let started = match config.log_format {
        LogFormat::Text => {
            use std::io::IsTerminal as _;
            log.with_ansi(std::io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("start the log: {error}"))?;
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "panic");
    }));
    Ok(())
}

/// Only its owner may look into the data directory.
pub fn prepare_data_dir(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("make the data directory {}", path.display()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("close the data directory {} to others", path.display()))
}

/// One server a data directory. The lock goes with the process, however it ends.
pub fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("a server runs on the data directory {}", data_dir.display())
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

fn tls_config(files: &TlsFiles) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("read the certificate {}", files.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("read the private key {}", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the private key do not fit")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// SIGHUP: a renewed certificate is taken without a restart.
fn reload_tls(tls: Option<&RustlsConfig>, files: Option<&TlsFiles>) {
    let (Some(tls), Some(files)) = (tls, files) else { return };
    match tls_config(files) {
        Ok(config) => {
            tls.reload_from_config(config);
            tracing::info!("certificate read again");
        }
        Err(error) => tracing::error!(error = format!("{error:#}"), "the old certificate stays in use"),
    }
}
