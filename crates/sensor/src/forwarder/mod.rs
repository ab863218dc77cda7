//! A sensor elsewhere: runs the local sources and reports what they see to a server, through
//! outages of the network and of either side.
//!
//! Each local source is a source of its own at the server, named `SENSOR/arp:eth0`. Reports are
//! numbered, and a number is used once, so that a report that is repeated because its answer was
//! lost counts once. While the server cannot be reached they wait on disk.

mod batch;
mod client;
mod spool;

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use sojourn_domain::{id::SourceId, presence::ScanOutcome, time::Clock};
use sojourn_store::Entropy;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    batch::{Batch, MAX_SIGHTINGS, Sender, shorten},
    client::{Answer, Client},
    spool::Spool,
};
pub use self::{
    client::{Imported, Secret, ServerAddress, import},
    spool::SpoolLimits,
};
use crate::{
    interfaces,
    sources::{RunningSource, SourceMessage, SourceSpec, automatic, spawn},
};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Passes of sources that wait to be sent or kept; when full, the sources wait.
const PASSES: usize = 64;
/// How often new interfaces are looked for.
const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// The longest name of a source that the server takes.
const MAX_NAME: usize = 64;

/// Which sources a sensor runs.
#[derive(Debug, Clone)]
pub enum Choice {
    /// What the machine allows on these interfaces, or on all.
    Automatic {
        interfaces: Vec<String>,
    },
    These(Vec<SourceSpec>),
}

/// What a sensor needs to know.
#[derive(Debug, Clone)]
pub struct SensorConfig {
    pub server: ServerAddress,
    /// The sensor's name, which begins the names of its sources.
    pub name: String,
    /// Where reports wait.
    pub buffer: PathBuf,
    pub limits: SpoolLimits,
    pub choice: Choice,
}

/// Why a sensor cannot start, or a file cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    #[error("{0:?} is no address of a server: expected one such as https://sojourn.example.org")]
    Address(String),
    #[error("the token holds characters that no token has")]
    Token,
    #[error("the certificates to trust cannot be used: {0}")]
    Certificates(reqwest::Error),
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server refuses: {0}")]
    Refused(String),
    #[error("the buffer {}: {error}", path.display())]
    Buffer { path: PathBuf, error: io::Error },
}

/// Runs until it is told to stop; what could not be sent by then waits in the buffer for the next
/// start.
pub async fn run(
    config: SensorConfig,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    shutdown: CancellationToken,
) -> Result<(), SensorError> {
    let client = Client::new(&config.server, "presence/sightings")?;
    let in_buffer = |error| SensorError::Buffer { path: config.buffer.clone(), error };
    let spool = Spool::open(&config.buffer, config.limits, clock.now()).map_err(in_buffer)?;
    tracing::info!(
        server = %client.url,
        sensor = %config.name,
        waiting = spool.len(),
        "the sensor reports to the server"
    );
    let (out, mut messages) = mpsc::channel(PASSES);
    let mut sources =
        Sources { name: config.name, clock: Arc::clone(&clock), entropy, out, running: HashMap::new() };
    let mut reporter = Reporter {
        client: Arc::new(client),
        spool,
        clock,
        entropy,
        queue: VecDeque::new(),
        in_flight: None,
        pause: None,
    };
    let mut looks = tokio::time::interval(LOOKS_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = looks.tick() => sources.sync(&config.choice, &shutdown).await,
            Some(message) = messages.recv() => {
                if let Some(sender) = sources.sender(&message)
                    && let Err(error) = reporter.take(&sender, message)
                {
                    tracing::error!(%error, "a report cannot be put in the buffer and is lost");
                }
            }
            result = reporter.deliver() => if let Err(error) = result {
                tracing::error!(%error, "the buffer cannot be read");
                tokio::time::sleep(FIRST_PAUSE).await;
            },
        }
    }
    sources.stop().await;
    while let Ok(message) = messages.try_recv() {
        if let Some(sender) = sources.sender(&message) {
            reporter.take(&sender, message).map_err(in_buffer)?;
        }
    }
    reporter.put_by().map_err(in_buffer)?;
    tracing::info!(waiting = reporter.spool.len(), "the sensor has stopped");
    Ok(())
}

/// The sources that run here.
struct Sources {
    name: String,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    out: mpsc::Sender<SourceMessage>,
    running: HashMap<SourceId, (SourceSpec, Option<RunningSource>)>,
}

impl Sources {
    /// Starts what is chosen and does not run yet; interfaces may come after the sensor.
    async fn sync(&mut self, choice: &Choice, shutdown: &CancellationToken) {
        let specs = match choice {
            Choice::These(specs) => specs.clone(),
            Choice::Automatic { interfaces: names } => match interfaces::list().await {
                Ok(all) => {
                    let chosen: Vec<_> = all
                        .into_iter()
                        .filter(|interface| names.is_empty() || names.contains(&interface.name))
                        .collect();
                    automatic(interfaces::rights(), &chosen).specs
                }
                Err(error) => {
                    tracing::error!(%error, "cannot list the network interfaces");
                    return;
                }
            },
        };
        for spec in specs {
            if self.running.values().any(|(running, _)| *running == spec) {
                continue;
            }
            let id = self.entropy.id(self.clock.now());
            tracing::info!(source = %self.label(&spec), "source started");
            let running = spawn(id, spec.clone(), Arc::clone(&self.clock), self.out.clone(), shutdown);
            self.running.insert(id, (spec, Some(running)));
        }
        if self.running.is_empty() {
            tracing::warn!("there is no network interface to look at yet");
        }
    }

    fn label(&self, spec: &SourceSpec) -> String {
        shorten(&format!("{}/{}", self.name, spec.default_name()), MAX_NAME)
    }

    fn sender(&self, message: &SourceMessage) -> Option<Sender> {
        let (SourceMessage::Pass { source, .. } | SourceMessage::Sighted { source, .. }) = message;
        let (spec, _) = self.running.get(source)?;
        Some(Sender {
            name: self.label(spec),
            kind: spec.kind,
            strength: spec.strength(),
            interval: spec.interval,
        })
    }

    async fn stop(&mut self) {
        for (_, running) in self.running.values_mut() {
            if let Some(running) = running.take() {
                running.stop().await;
            }
        }
    }
}

/// Sends reports in their order: those on disk first, then those in memory.
struct Reporter {
    client: Arc<Client>,
    spool: Spool,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    /// Not on disk, because the server answers: they are sent as they come. A process that is
    /// killed loses at most these few.
    queue: VecDeque<Batch>,
    in_flight: Option<InFlight>,
    pause: Option<Pause>,
}

/// A report that is being sent: its number, its answer to come, and since when.
struct InFlight {
    number: Option<i64>,
    answer: BoxFuture<'static, Answer>,
    since: Instant,
}

/// The server cannot be reached.
struct Pause {
    until: Instant,
    next: Duration,
    since: Instant,
}

/// More reports than this are not kept in memory alone, nor any while an answer takes this long.
const IN_MEMORY: usize = 8;
const STUCK: Duration = Duration::from_secs(3);

impl Reporter {
    fn take(&mut self, sender: &Sender, message: SourceMessage) -> io::Result<()> {
        let now = self.clock.now();
        match message {
            // Only to be seen at once: the pass brings it again.
            SourceMessage::Sighted { sightings, .. } => {
                if self.pause.is_none() && self.spool.is_empty() && self.queue.len() < IN_MEMORY {
                    self.queue.push_back(sender.batch(None, None, &sightings));
                }
            }
            SourceMessage::Pass { pass, .. } => {
                if let ScanOutcome::Failed { message } | ScanOutcome::Blind { message } = &pass.scan.outcome {
                    tracing::warn!(source = %sender.name, message, "a scan did not complete");
                }
                let last = pass.sightings.len().saturating_sub(1) / MAX_SIGHTINGS;
                let mut parts: Vec<_> = pass.sightings.chunks(MAX_SIGHTINGS).collect();
                if parts.is_empty() {
                    parts.push(&[]);
                }
                for (index, part) in parts.into_iter().enumerate() {
                    // The scan ends with its last sightings.
                    let scan = (index == last).then_some(&pass.scan);
                    let number = self.spool.number(now)?;
                    self.queue.push_back(sender.batch(Some(number), scan, part));
                }
            }
        }
        let stuck = self.in_flight.as_ref().is_some_and(|sent| sent.since.elapsed() > STUCK);
        if stuck || self.pause.is_some() || !self.spool.is_empty() || self.queue.len() > IN_MEMORY {
            self.put_by()?;
        }
        Ok(())
    }

    /// Puts what is in memory on disk.
    fn put_by(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        while let Some(batch) = self.queue.pop_front() {
            self.spool.keep(batch, now)?;
        }
        Ok(())
    }

    /// Sends one report, or waits for one, or for the server. May be dropped at any await, and goes
    /// on where it was: a report leaves its place only after the server took it, and its number
    /// makes a repetition harmless.
    async fn deliver(&mut self) -> io::Result<()> {
        if let Some(pause) = &self.pause {
            tokio::time::sleep_until(pause.until).await;
        }
        if self.in_flight.is_none() {
            let mut batch = match (self.spool.oldest()?, self.queue.front()) {
                (Some((_, batch)), _) => batch,
                (None, Some(batch)) => batch.clone(),
                (None, None) => return std::future::pending().await,
            };
            batch.sent_at = Some(self.clock.now().rfc3339());
            let client = Arc::clone(&self.client);
            self.in_flight = Some(InFlight {
                number: batch.seq,
                answer: Box::pin(async move { client.send(&batch).await }),
                since: Instant::now(),
            });
        }
        let Some(InFlight { number, answer, .. }) = &mut self.in_flight else { return Ok(()) };
        let (number, answer) = (*number, answer.await);
        self.in_flight = None;
        match answer {
            Answer::Taken => {
                if let Some(pause) = self.pause.take() {
                    let seconds = pause.since.elapsed().as_secs();
                    tracing::info!(seconds, waiting = self.spool.len(), "the server answers again");
                }
                self.forget(number)
            }
            Answer::Refused => self.forget(number),
            Answer::Later { reason, after } => {
                self.wait(&reason, after);
                self.put_by()
            }
        }
    }

    /// The report is settled, wherever it waits by now.
    fn forget(&mut self, number: Option<i64>) -> io::Result<()> {
        if self.queue.front().is_some_and(|batch| batch.seq == number) {
            self.queue.pop_front();
        }
        match number {
            Some(number) => self.spool.done(number),
            None => Ok(()),
        }
    }

    fn wait(&mut self, reason: &str, after: Option<Duration>) {
        let (next, since) = match &self.pause {
            Some(pause) => (pause.next, pause.since),
            None => {
                let server = self.client.url.as_str();
                tracing::warn!(server, reason, "cannot report: reports wait in the buffer");
                (FIRST_PAUSE, Instant::now())
            }
        };
        // Between half and all of it, so that many sensors do not come back at once.
        let [jitter] = self.entropy.bytes::<1>();
        let wait = after.unwrap_or(next / 2 + next / 2 * u32::from(jitter) / 255).min(LONGEST_PAUSE);
        tracing::debug!(reason, wait = ?wait, "trying again later");
        self.pause = Some(Pause { until: Instant::now() + wait, next: (next * 2).min(LONGEST_PAUSE), since });
    }
}
