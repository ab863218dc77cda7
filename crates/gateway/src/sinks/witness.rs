//! What a desktop's protocol tells of a session: the picture, and what was done with mouse and keyboard.
//!
//! A [`Witness`] is what the protocol is given; it is there whether or not anybody records or looks on. The [`Desktop`] is
//! the session actor's: it ends recording and input events in order.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sojourn_domain::{
    access::{ConnectionPolicy, InputKind, PressedKey, RecordPolicy},
    id::AccessSessionId,
    time::Elapsed,
};
use sojourn_store::{Store, recordings::Recorder, vault::Vault};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    desktop::{DesktopError, DesktopOptions, DesktopRecorder, DesktopTap},
    input::{InputLog, InputWriter},
};

/// Moves of the pointer that are noted: one in so long.
const MOVES: Duration = Duration::from_millis(200);
/// The same of a wheel, whose notches come many at a time.
const SCROLLS: Duration = Duration::from_millis(100);

/// How long, when a session is over, what its target had shown may take to be painted.
const LAST: Duration = Duration::from_secs(10);

/// Something that a person did on a desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Key,
    Click,
    Scroll,
    Move,
}

/// Told by a protocol what there is to see, and what was done. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Witness {
    tap: DesktopTap,
    input: InputLog,
    begun: Instant,
    last: Arc<Mutex<Last>>,
    /// Pieces that are not painted yet.
    held: watch::Sender<usize>,
    /// The policy asks which keys it were.
    keys: bool,
}

/// What a target has shown and is not painted yet. The recording does not end before this is dropped, or has taken too long.
#[derive(Debug)]
pub struct Held(watch::Sender<usize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|held| *held -= 1);
    }
}

/// When something was noted last.
#[derive(Debug, Default)]
struct Last {
    moved: Option<Instant>,
    scrolled: Option<Instant>,
}

impl Witness {
    /// Since the session's start: the time of everything that is told.
    pub fn elapsed(&self) -> Elapsed {
        Elapsed::from_micros(i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// Where the desktop is painted.
    pub fn tap(&self) -> &DesktopTap {
        &self.tap
    }

    /// Something has come that is still to be painted.
    pub fn hold(&self) -> Held {
        self.held.send_modify(|held| *held += 1);
        Held(self.held.clone())
    }

    /// Waits until everything that has come is painted, or says that it is not.
    async fn painted(&self, limit: Duration) {
        let mut held = self.held.subscribe();
        // That nobody could drop any more does not happen: the other half is here.
        if timeout(limit, held.wait_for(|held| *held == 0)).await.is_err() {
            self.lose("what the target showed last could not be read in time");
        }
    }

    /// Notes that a key went down; which one it was only where the connection's policy asks for that.
    pub fn pressed(&self, key: impl FnOnce() -> PressedKey) {
        self.input.note(self.elapsed(), InputKind::key(), self.keys.then(key));
    }

    /// Notes what was done; of moves and turns of the wheel some.
    pub fn did(&self, deed: Deed) {
        let now = Instant::now();
        let often = |last: &mut Option<Instant>, pause: Duration| {
            let often = last.is_some_and(|last| now - last < pause);
            if !often {
                *last = Some(now);
            }
            often
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = match deed {
            Deed::Key => InputKind::key(),
            Deed::Click => InputKind::click(),
            Deed::Scroll if often(&mut last.scrolled, SCROLLS) => return,
            Deed::Scroll => InputKind::scroll(),
            Deed::Move if often(&mut last.moved, MOVES) => return,
            Deed::Move => InputKind::moved(),
        };
        drop(last);
        self.input.note(self.elapsed(), kind, None);
    }

    /// The picture is not known any more, and why.
    pub fn lose(&self, why: &str) {
        self.tap.lose(why);
    }
}

/// A session's desktop, as its actor has it.
#[derive(Debug)]
pub(crate) struct Desktop {
    witness: Witness,
    recorder: Option<DesktopRecorder>,
    failure: Option<watch::Receiver<Option<String>>>,
    writer: InputWriter,
    mandatory: bool,
}

impl Desktop {
    /// To be called within the runtime.
    pub(crate) fn start(
        (store, vault): (Store, Vault),
        session: AccessSessionId,
        begun: Instant,
        tap: DesktopTap,
        policy: &ConnectionPolicy,
    ) -> Self {
        let (input, writer) = InputLog::start(store, vault, session);
        let (record, keys) = (policy.record, policy.record_input && policy.record != RecordPolicy::Off);
        let witness = Witness { tap, input, begun, last: Arc::default(), held: watch::Sender::new(0), keys };
        let mandatory = record == RecordPolicy::Mandatory;
        Self { witness, recorder: None, failure: None, writer, mandatory }
    }

    pub(crate) fn record(&mut self, recorder: Recorder, title: String) -> Result<(), DesktopError> {
        let options = DesktopOptions { title, ..DesktopOptions::default() };
        let recorder = DesktopRecorder::record(self.witness.tap.clone(), recorder, options)?;
        self.failure = Some(recorder.failure());
        self.recorder = Some(recorder);
        Ok(())
    }

    pub(crate) fn witness(&self) -> Witness {
        self.witness.clone()
    }

    /// Waits until the session must not go on, because it is not recorded any more; for ever where it may.
    pub(crate) async fn failed(&mut self) -> String {
        if let Some(failure) = self.failure.as_mut().filter(|_| self.mandatory) {
            match failure.wait_for(Option::is_some).await {
                Ok(why) => return why.clone().unwrap_or_default(),
                // The thread is gone, which only its end in order or a fault of ours explains.
                Err(_) => return "the recorder ended".to_owned(),
            }
        }
        std::future::pending().await
    }

    pub(crate) async fn finish(self, elapsed: Elapsed) {
        self.finish_within(elapsed, LAST).await;
    }

    /// `limit`: how long what has come may take to be painted.
    pub(super) async fn finish_within(self, elapsed: Elapsed, limit: Duration) {
        if let Some(recorder) = self.recorder {
            self.witness.painted(limit).await;
            let report = recorder.finish(elapsed, true).await;
            tracing::debug!(report.frames, report.slow_ms, "a desktop's recording is over");
        }
        self.writer.finish().await;
    }
}
