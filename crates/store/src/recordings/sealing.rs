//! Sealing: what is over goes from the spool into the object store, under its signed manifest.
//!
//! First the manifest of the whole is signed and flushed in the spool: from then on the recording is decided, whatever
//! crashes. Then the segments move, then the manifest, then the row is told, then the spool's folder goes. Each step
//! may be repeated.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sojourn_domain::{
    id::AccessSessionId,
    seal::{
        Manifest,
        index::Index,
        manifest::{State, segment_name},
    },
};
use tokio::task::JoinSet;

use super::{
    Core, Finished, RecordingError,
    objects::{blocking, write_whole},
    rows,
    spool::{Live, lock},
};

/// The signed manifest of the whole, in the spool and in the object store.
pub(super) const MANIFEST: &str = "manifest.json";
/// The signed manifest of what was durable some time ago, in the spool.
pub(super) const CHECKPOINT: &str = "checkpoint.json";
/// Recordings that are sealed at a time.
const AT_ONCE: usize = 4;
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Without any other reason to look again.
const IDLE: Duration = Duration::from_secs(3600);

/// A recording that waits for the object store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    attempts: u32,
    due: Instant,
    running: bool,
}

impl Core {
    /// Has a recording, whose manifest lies in the spool, sealed in the background.
    pub(super) fn seal_later(&self, session: AccessSessionId) {
        let fresh = Waiting { attempts: 0, due: Instant::now(), running: false };
        lock(&self.waiting).entry(session).or_insert(fresh);
        self.work.notify_one();
    }

    /// The task behind [`Core::seal_later`].
    pub(super) async fn seal_what_is_over(self: Arc<Self>) {
        let mut running = JoinSet::new();
        loop {
            self.take_closed().await;
            let mut pause = IDLE;
            for (session, waiting) in lock(&self.waiting).iter_mut() {
                let left = waiting.due.saturating_duration_since(Instant::now());
                if waiting.running {
                } else if !left.is_zero() || running.len() >= AT_ONCE {
                    pause = pause.min(left.max(Duration::from_millis(10)));
                } else {
                    waiting.running = true;
                    running.spawn(self.clone().attempt(*session));
                }
            }
            tokio::select! {
                () = self.spool.closed.notified() => {}
                () = self.work.notified() => {}
                Some(_) = running.join_next(), if !running.is_empty() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.stopped() => break,
            }
        }
        // What is halfway is tried again at the next start; what is nearly through may finish.
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            while running.join_next().await.is_some() {}
        })
        .await;
    }

    /// Signs the manifests of recordings that were closed.
    async fn take_closed(self: &Arc<Self>) {
        loop {
            let Some(live) = lock(&self.spool.to_seal).pop_front() else { return };
            match self.conclude(&live).await {
                Ok(()) => self.seal_later(live.session),
                Err(error) => {
                    tracing::error!(session.id = %live.session, error = %chain(&error), "a recording cannot be concluded yet");
                    let (core, pause) = (self.clone(), self.options.limits.retry_after.to_std());
                    // Tried again after a while; what was recorded lies safe in the spool.
                    lock(&self.tasks).spawn(async move {
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = core.stopped() => return,
                        }
                        lock(&core.spool.to_seal).push_back(live);
                        core.spool.closed.notify_one();
                    });
                }
            }
        }
    }

    /// Decides what a recording that is over consists of.
    async fn conclude(&self, live: &Live) -> Result<(), RecordingError> {
        let _moving = live.moving.lock().await;
        let (gaps, complete) = live.gaps();
        let mut manifest = Manifest::new(&live.genesis, self.options.node.clone(), live.sealed_key.clone());
        for segment in live.durable_segments() {
            manifest.push(segment);
        }
        manifest.state = if complete { State::Sealed } else { State::Incomplete };
        manifest.gaps = gaps;
        self.sign_into_spool(manifest).await
    }

    /// Writes the final manifest into the spool.
    pub(super) async fn sign_into_spool(&self, mut manifest: Manifest) -> Result<(), RecordingError> {
        manifest.signed_at_us = self.options.clock.now().as_micros();
        // Without the database the recording can be concluded all the same.
        manifest.facts = rows::facts(&self.store, manifest.session).await.unwrap_or_default();
        let text = manifest.sign(self.vault.signing_key())?;
        let path = self.session_dir(manifest.session).join(MANIFEST);
        blocking(&path.clone(), move || write_whole(&path, text.as_bytes(), true)).await
    }

    /// One attempt, in the background.
    async fn attempt(self: Arc<Self>, session: AccessSessionId) {
        let sealed = self.seal(session).await;
        let mut waiting = lock(&self.waiting);
        match sealed {
            Ok(finished) => {
                waiting.remove(&session);
                drop(waiting);
                if lock(&self.live).remove(&session).is_some() {
                    let mut results = lock(&self.results);
                    results.insert(session, finished);
                    // Nobody asks after a recorder that was dropped.
                    if results.len() > 10_000 {
                        results.clear();
                    }
                }
                self.done.send_modify(|done| *done += 1);
                tracing::info!(session.id = %session, state = %finished.state, bytes = finished.bytes, "recording sealed");
            }
            Err(error) => {
                if let Some(waiting) = waiting.get_mut(&session) {
                    let first = self.options.limits.retry_after.to_std();
                    let pause = first.saturating_mul(1 << waiting.attempts.min(10)).min(LONGEST_PAUSE);
                    *waiting = Waiting {
                        attempts: waiting.attempts + 1,
                        due: Instant::now() + pause,
                        running: false,
                    };
                    tracing::warn!(
                        session.id = %session, attempts = waiting.attempts, error = %chain(&error),
                        "a recording could not be sealed; it stays in the spool"
                    );
                }
            }
        }
    }

    async fn seal(&self, session: AccessSessionId) -> Result<Finished, RecordingError> {
        let dir = self.session_dir(session);
        let manifest_path = dir.join(MANIFEST);
        let text = {
            let path = manifest_path.clone();
            blocking(&manifest_path, move || std::fs::read_to_string(path)).await?
        };
        let (manifest, _) = Manifest::read(text.as_bytes(), Some(&self.vault.public_key()))?;
        let plan = self.keep_plan(&manifest).await?;
        for segment in &manifest.segments {
            let file = dir.join(&segment.name);
            if file.try_exists().unwrap_or(false) {
                self.objects.move_in(session, &segment.name, &file).await?;
            }
        }
        let stored = self.objects.list(session).await?;
        for segment in &manifest.segments {
            if !stored.iter().any(|(name, bytes)| *name == segment.name && *bytes == segment.bytes) {
                return Err(RecordingError::Damaged(format!(
                    "segment {} is not where it was put",
                    segment.name
                )));
            }
        }
        let bytes = manifest.segments.iter().map(|segment| segment.bytes).sum::<u64>() + text.len() as u64;
        self.objects.put(session, MANIFEST, text).await?;
        let served = plan.map_or(manifest.bytes, |plan| plan.size());
        rows::sealed(&self.store, &manifest, bytes, served, self.options.clock.now()).await?;
        self.forget_spool(session).await?;
        let state = match manifest.state {
            State::Sealed => sojourn_domain::access::RecordingState::Sealed,
            State::Live | State::Incomplete => sojourn_domain::access::RecordingState::Incomplete,
        };
        Ok(Finished { bytes: manifest.bytes, state })
    }

    /// Removes a recording's folder from the spool, if there is one.
    pub(super) async fn forget_spool(&self, session: AccessSessionId) -> Result<(), RecordingError> {
        let dir = self.session_dir(session);
        blocking(&dir.clone(), move || match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    /// Signs, from time to time, what is durable of each live recording; with a remote object store, whole
    /// segments are moved there.
    pub(super) async fn checkpoint(self: Arc<Self>) {
        let mut tick = tokio::time::interval(self.options.limits.checkpoint_every.to_std());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.stopped() => return,
            }
            let lives: Vec<_> = lock(&self.live).values().cloned().collect();
            for live in lives {
                if let Err(error) = self.checkpoint_one(&live).await {
                    tracing::warn!(session.id = %live.session, error = %chain(&error), "no checkpoint was written");
                }
            }
        }
    }

    async fn checkpoint_one(&self, live: &Live) -> Result<(), RecordingError> {
        let _moving = live.moving.lock().await;
        let path = live.dir.join(CHECKPOINT);
        let mut manifest = Manifest::new(&live.genesis, self.options.node.clone(), live.sealed_key.clone());
        for segment in live.durable_segments() {
            manifest.push(segment);
        }
        let before = live.checkpointed.swap(manifest.frames, std::sync::atomic::Ordering::Relaxed);
        if before == manifest.frames || live.dir.join(MANIFEST).exists() {
            return Ok(());
        }
        manifest.gaps = live.gaps().0;
        manifest.signed_at_us = self.options.clock.now().as_micros();
        let text = manifest.sign(self.vault.signing_key())?;
        let remote = self.objects.local.is_none() && manifest.segments.iter().any(|segment| segment.closed);
        {
            let (path, text) = (path.clone(), text.clone());
            blocking(&path.clone(), move || write_whole(&path, text.as_bytes(), remote)).await?;
        }
        rows::grown(&self.store, live.session, manifest.bytes).await?;
        if remote {
            for segment in manifest.segments.iter().filter(|segment| segment.closed) {
                let file = live.dir.join(&segment.name);
                if file.try_exists().unwrap_or(false) {
                    self.objects.move_in(live.session, &segment.name, &file).await?;
                }
            }
            self.objects.put(live.session, MANIFEST, text).await?;
        }
        Ok(())
    }
}

/// The length of the frames alone in a closed segment.
pub(super) fn frames_len(segment: &sojourn_domain::seal::manifest::Segment) -> u64 {
    if segment.closed { segment.bytes - Index::encoded_len(segment.frames) } else { segment.bytes }
}

/// The number in a segment's name.
pub(super) fn segment_number(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

#[cfg(test)]
impl Waiting {
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }
}
