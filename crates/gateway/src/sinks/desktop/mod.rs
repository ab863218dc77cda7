//! A desktop's recording: whoever decodes the desktop paints it, and a thread of its own makes a video of it.
//!
//! Painting costs a copy of what changed and waits for nobody: there is one canvas, and no queue that could fill. The thread looks at
//! the canvas a few times a second and encodes what is different; when it is behind it looks less often, so it is the frame rate that
//! falls, and a remark in the recording says from when to when. Nothing is encoded of a desktop that stands still, but for a small frame now
//! and then that says that it still does.
//!
//! A film begins with the first picture, which it shows from the session's beginning on: before it there was nothing to see. It
//! ends with the session, in a last frame that says so. Where the server died it ends with the last frame, up to five seconds
//! (see [`STILL`]) earlier on a desktop that stood still; the gap in its record says when the server was last known to write.
//!
//! VP9 in realtime speed 8 and screen mode was chosen by measuring: 1280x720 at 10 frames a second took 6.5 % of a core and 476 kbit/s at
//! a PSNR of 51. A new size of the desktop is a key frame of that size in the same recording, which browsers play.

mod canvas;
mod pointer;
#[cfg(test)]
mod tests;
mod vpx;
#[cfg(own_vpx_memory)]
mod vpx_memory;
mod yuv;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sojourn_domain::{
    time::Elapsed,
    webm::{Video, Writer},
};
use sojourn_store::recordings::{Finished, GapReason, Recorder, RecordingError};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot, watch},
};

pub use self::canvas::{Glance, MAX_PIXELS};
use self::{
    canvas::{Canvas, News},
    vpx::Encoder,
    yuv::Yuv,
};

/// How long the spool may be behind until that is a failure.
const STUCK: Duration = Duration::from_secs(30);
/// A desktop that stands still has a frame so often.
const STILL: Duration = Duration::from_secs(5);
/// And a key frame, which costs as much as a new picture, so often.
const STILL_KEY: Duration = Duration::from_secs(60);
/// A first picture that is only in part there is awaited for so long.
const FIRST: Duration = Duration::from_secs(1);
/// How long a frame is shown at least; the last one, which is the picture at the session's end, for no longer.
const FRAME_MS: u8 = 20;
/// Frames are so far apart at least, whenever they were painted, so that those who count in frames tell them apart.
const APART_MS: i64 = 2 * FRAME_MS as i64;
/// Slower than wanted for less than this is not worth a remark.
const REMARKABLE: Duration = Duration::from_secs(1);
/// Remarks of one recording.
const REMARKS: u32 = 1000;
/// What remarks are called in the file.
const SLOW: &str = "SOJOURN_FRAME_RATE";

/// A rectangle; parts outside the picture are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    pub x: u16,
    pub y: u16,
    pub width: u16,
    pub height: u16,
}

/// Four bytes a pixel, the fourth ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelOrder {
    Rgbx,
    Bgrx,
}

/// Lines of pixels.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    pub bytes: &'a [u8],
    /// Bytes of a line.
    pub stride: usize,
    pub order: PixelOrder,
}

/// What a pointer looks like: at most 256 by 256, alpha not multiplied in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointerShape {
    pub width: u16,
    pub height: u16,
    /// Where it points.
    pub hot_x: u16,
    pub hot_y: u16,
    pub rgba: Vec<u8>,
}

/// What cannot be painted. Nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    #[error("a desktop has 1 to {MAX_PIXELS} pixels")]
    Size,
    #[error("the pixels are fewer than their area")]
    Pixels,
    #[error("a pointer has 1 to 256 times 256 pixels")]
    Pointer,
}

/// Why a recorder could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that records a desktop")]
pub struct DesktopError(#[source] std::io::Error);

#[derive(Debug, Clone)]
pub struct DesktopOptions {
    pub title: String,
    pub frames_per_second: u8,
    pub key_frame_every: Elapsed,
    /// How long a frame may wait until it is handed to the spool.
    pub cluster_every: Elapsed,
}

impl Default for DesktopOptions {
    fn default() -> Self {
        Self {
            title: String::new(),
            frames_per_second: 10,
            key_frame_every: Elapsed::from_secs(5),
            cluster_every: Elapsed::from_millis(500),
        }
    }
}

/// What became of a recording.
#[derive(Debug, Clone, Copy, Default)]
pub struct DesktopReport {
    pub frames: u64,
    /// How long the frame rate was lower than wanted because the encoder or the spool was behind.
    pub slow_ms: u64,
    /// `None` where the recording could not be closed.
    pub finished: Option<Finished>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Shared {
    canvas: Canvas,
    /// No more comes. The last moment, where the end is one in order.
    stop: Option<Option<Elapsed>>,
    /// Why nothing is painted any more.
    lost: Option<String>,
    /// Who looked so far.
    looked: u64,
}

#[derive(Debug, Default)]
struct Desktop {
    shared: Mutex<Shared>,
    wake: Condvar,
    /// Somebody who looks on has something to see.
    shown: Notify,
}

/// Where a desktop is painted. Calls take a lock for as long as a copy takes, and never wait for the encoder. Without a recorder
/// it is there for those who look on.
#[derive(Debug, Clone, Default)]
pub struct DesktopTap(Arc<Desktop>);

/// Somebody who looks on. They are given what differs from what they saw last: nothing waits for them, and nothing grows.
#[derive(Debug)]
pub struct DesktopEye {
    desktop: Arc<Desktop>,
    id: u64,
}

impl DesktopEye {
    /// Waits until there is something to see, or nothing is painted any more.
    pub async fn changed(&self) {
        loop {
            let mut shown = std::pin::pin!(self.desktop.shown.notified());
            shown.as_mut().enable();
            {
                let shared = lock(&self.desktop.shared);
                if shared.lost.is_some() || shared.canvas.unseen(self.id) {
                    return;
                }
            }
            shown.await;
        }
    }

    /// What was not seen yet; the first time, everything there is.
    pub fn glance(&self) -> Option<Glance> {
        lock(&self.desktop.shared).canvas.glance(self.id)
    }

    /// What was seen is forgotten.
    pub fn forget(&self) {
        lock(&self.desktop.shared).canvas.reopen(self.id);
    }

    /// The desktop's size; zeros where there is nothing yet.
    pub fn size(&self) -> (u16, u16) {
        lock(&self.desktop.shared).canvas.size()
    }

    /// Why nothing is painted any more.
    pub fn lost(&self) -> Option<String> {
        lock(&self.desktop.shared).lost.clone()
    }
}

impl Drop for DesktopEye {
    fn drop(&mut self) {
        lock(&self.desktop.shared).canvas.close(self.id);
    }
}

impl DesktopTap {
    fn change<T>(&self, elapsed: Elapsed, change: impl FnOnce(&mut Canvas) -> T) -> T {
        let mut shared = lock(&self.0.shared);
        let was = shared.canvas.news();
        shared.canvas.at(elapsed);
        let done = change(&mut shared.canvas);
        let wake = shared.canvas.news() > was;
        let shown = shared.canvas.watched();
        drop(shared);
        if wake {
            self.0.wake.notify_one();
        }
        if shown {
            self.0.shown.notify_waiters();
        }
        done
    }

    /// Looks on from now on.
    pub fn eye(&self) -> DesktopEye {
        let mut shared = lock(&self.0.shared);
        shared.looked += 1;
        let id = shared.looked;
        shared.canvas.open(id);
        DesktopEye { desktop: Arc::clone(&self.0), id }
    }

    /// What the desktop shows is not known any more, and why: the recording has a gap from here on.
    pub fn lose(&self, why: &str) {
        lock(&self.0.shared).lost.get_or_insert_with(|| why.to_owned());
        self.0.wake.notify_one();
        self.0.shown.notify_waiters();
    }

    /// The whole desktop has this size from now on, and is black until it is painted.
    pub fn resize(&self, elapsed: Elapsed, width: u16, height: u16) -> Result<(), TapError> {
        self.change(elapsed, |canvas| canvas.resize(width, height))
    }

    /// `pixels` is the picture of `area` alone.
    pub fn paint(&self, elapsed: Elapsed, area: Area, pixels: Pixels<'_>) -> Result<(), TapError> {
        self.change(elapsed, |canvas| canvas.paint(area, &pixels, 0, 0))
    }

    /// `whole` is the whole desktop, of which `damaged` is taken.
    pub fn paint_from(&self, elapsed: Elapsed, whole: Pixels<'_>, damaged: Area) -> Result<(), TapError> {
        let (x, y) = (usize::from(damaged.x), usize::from(damaged.y));
        self.change(elapsed, |canvas| canvas.paint(damaged, &whole, x, y))
    }

    /// Copies what is elsewhere on the desktop already.
    pub fn copy(&self, elapsed: Elapsed, from_x: u16, from_y: u16, to: Area) -> Result<(), TapError> {
        self.change(elapsed, |canvas| canvas.copy(from_x, from_y, to));
        Ok(())
    }

    /// Where the pointer is; `None` hides it.
    pub fn pointer(&self, elapsed: Elapsed, at: Option<(u16, u16)>) {
        self.change(elapsed, |canvas| canvas.point(at));
    }

    /// What it looks like; without any, a small arrow.
    pub fn pointer_shape(&self, elapsed: Elapsed, shape: Option<PointerShape>) -> Result<(), TapError> {
        self.change(elapsed, |canvas| canvas.shape(shape))
    }
}

/// What the thread gives back.
#[derive(Debug)]
struct Recorded {
    recorder: Recorder,
    frames: u64,
    slow_ms: u64,
    failed: bool,
}

/// Records one desktop. Dropped without [`DesktopRecorder::finish`], the recording is sealed as incomplete.
#[derive(Debug)]
pub struct DesktopRecorder {
    desktop: Arc<Desktop>,
    failure: watch::Receiver<Option<String>>,
    ended: Option<oneshot::Receiver<Recorded>>,
}

impl DesktopRecorder {
    /// Starts the thread. To be called within the runtime.
    pub fn start(recorder: Recorder, options: DesktopOptions) -> Result<Self, DesktopError> {
        Self::record(DesktopTap::default(), recorder, options)
    }

    /// Records a desktop that nobody records yet. To be called within the runtime.
    pub fn record(
        DesktopTap(desktop): DesktopTap,
        recorder: Recorder,
        options: DesktopOptions,
    ) -> Result<Self, DesktopError> {
        let (failed, failure) = watch::channel(None);
        let (done, ended) = oneshot::channel();
        let (theirs, runtime) = (Arc::clone(&desktop), Handle::current());
        std::thread::Builder::new()
            .name("desktop-record".to_owned())
            .spawn(move || {
                let film = Film {
                    desktop: theirs,
                    runtime,
                    recorder,
                    options,
                    failed,
                    writer: Writer::default(),
                    begun: false,
                    out: Vec::new(),
                    encoder: None,
                    picture: Yuv::new(2, 2),
                    last_key: None,
                    last_ms: None,
                    looked: None,
                    begun_at: None,
                    pending_since: None,
                    frames: 0,
                    slow: None,
                    slow_ms: 0,
                    remarks: 0,
                };
                // Nobody waits where it was dropped: then the recording is sealed as incomplete.
                drop(done.send(film.run()));
            })
            .map_err(DesktopError)?;
        Ok(Self { desktop, failure, ended: Some(ended) })
    }

    pub fn tap(&self) -> DesktopTap {
        DesktopTap(Arc::clone(&self.desktop))
    }

    /// Says why, once nothing is recorded any more; closed when the thread is gone.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.clone()
    }

    fn stop(&self, at: Option<Elapsed>) {
        lock(&self.desktop.shared).stop.get_or_insert(at);
        self.desktop.wake.notify_one();
    }

    /// Encodes what is there at the end, and seals.
    pub async fn finish(mut self, elapsed: Elapsed, complete: bool) -> DesktopReport {
        self.stop(Some(elapsed));
        let Some(ended) = self.ended.take() else { return DesktopReport::default() };
        let Ok(recorded) = ended.await else {
            tracing::error!("the thread that records a desktop ended early");
            return DesktopReport::default();
        };
        let session = recorded.recorder.session();
        let finished = match recorded.recorder.finish(complete && !recorded.failed).await {
            Ok(finished) => Some(finished),
            Err(error) => {
                tracing::error!(%error, session.id = %session, "a recording could not be closed");
                None
            }
        };
        DesktopReport { frames: recorded.frames, slow_ms: recorded.slow_ms, finished }
    }
}

impl Drop for DesktopRecorder {
    fn drop(&mut self) {
        self.stop(None);
    }
}

/// A stretch in which the frame rate is lower than wanted.
#[derive(Debug, Clone, Copy)]
struct Slow {
    from_ms: i64,
    frames: u64,
    lost: Duration,
}

/// Why a picture is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shot {
    /// Something is different.
    New,
    /// Nothing is, for some time.
    Still,
    /// Nothing comes any more.
    Last,
}

/// What the thread does.
struct Film {
    desktop: Arc<Desktop>,
    runtime: Handle,
    recorder: Recorder,
    options: DesktopOptions,
    failed: watch::Sender<Option<String>>,
    writer: Writer,
    begun: bool,
    out: Vec<u8>,
    encoder: Option<Encoder>,
    picture: Yuv,
    last_key: Option<i64>,
    last_ms: Option<i64>,
    /// When the picture was taken, or repeated, and its time then.
    looked: Option<(Instant, i64)>,
    /// When the first picture was seen to be there in part.
    begun_at: Option<Instant>,
    /// When the first frame that the writer holds was encoded.
    pending_since: Option<Instant>,
    frames: u64,
    slow: Option<Slow>,
    slow_ms: u64,
    remarks: u32,
}

fn ms(elapsed: Elapsed) -> i64 {
    (elapsed.as_micros() / 1000).max(0)
}

impl Film {
    fn run(mut self) -> Recorded {
        let interval = Duration::from_secs(1) / u32::from(self.options.frames_per_second.max(1));
        let hold = self.options.cluster_every.to_std();
        let mut due = Instant::now();
        let desktop = Arc::clone(&self.desktop);
        let end = loop {
            let shared = lock(&desktop.shared);
            let now = Instant::now();
            if let Some(why) = shared.lost.clone().filter(|_| self.failed.borrow().is_none()) {
                drop(shared);
                self.lose(&why);
                continue;
            }
            if let Some(end) = shared.stop {
                break end;
            }
            let flush_at = self.pending_since.map(|since| since + hold);
            let still_at = self.looked.map(|(looked, _)| looked + STILL);
            let look_at = match shared.canvas.news() {
                News::None => None,
                News::Begun => Some(*self.begun_at.get_or_insert(now) + FIRST),
                News::Some => Some(due),
            };
            if look_at.is_some_and(|at| at <= now) {
                let at = ms(shared.canvas.elapsed());
                self.look(shared, at);
                let done = Instant::now();
                // Behind when the next look is due before this one was done.
                self.pace(at, done.saturating_duration_since(now), interval);
                due = (now + interval).max(done);
                continue;
            }
            if still_at.is_some_and(|at| at <= now) {
                drop(shared);
                self.stand_still();
                continue;
            }
            if flush_at.is_some_and(|at| at <= now) {
                drop(shared);
                self.flush();
                continue;
            }
            let next = [flush_at, still_at, look_at].into_iter().flatten().min();
            let wait = next.map_or(STILL, |at| at.saturating_duration_since(now));
            drop(desktop.wake.wait_timeout(shared, wait).unwrap_or_else(PoisonError::into_inner));
        };
        if let Some(end) = end {
            self.look_last();
            self.end(ms(end));
        }
        self.remark(self.last_ms.unwrap_or(0));
        self.flush();
        let failed = self.failed.borrow().is_some();
        Recorded { recorder: self.recorder, frames: self.frames, slow_ms: self.slow_ms, failed }
    }

    /// What was seen until then is kept; what follows is not known.
    fn lose(&mut self, why: &str) {
        self.look_last();
        self.flush();
        self.fail(GapReason::RecorderFailed, why);
    }

    /// Takes what nobody has looked at yet.
    fn look_last(&mut self) {
        let desktop = Arc::clone(&self.desktop);
        let shared = lock(&desktop.shared);
        match shared.canvas.news() {
            News::None => {}
            News::Begun | News::Some => {
                let at = ms(shared.canvas.elapsed());
                self.look(shared, at);
            }
        }
    }

    /// Takes the picture off the canvas and encodes it.
    fn look(&mut self, mut shared: MutexGuard<'_, Shared>, at: i64) {
        self.begun_at = None;
        let (width, height) = shared.canvas.size();
        if width == 0 || self.failed.borrow().is_some() {
            shared.canvas.forget();
            return;
        }
        if self.picture.size() != (width, height) || self.encoder.is_none() {
            self.picture = Yuv::new(width, height);
            shared.canvas.all_dirty();
        }
        shared.canvas.take(&mut self.picture);
        drop(shared);
        self.shoot(at, Shot::New);
    }

    /// Says that the desktop still looks as it did.
    fn stand_still(&mut self) {
        let Some((looked, at)) = self.looked else { return };
        let at = at + i64::try_from(looked.elapsed().as_millis()).unwrap_or(0);
        self.shoot(at, Shot::Still);
    }

    /// The last picture is there until the end.
    fn end(&mut self, end: i64) {
        let at = end - i64::from(FRAME_MS);
        // Else the last one is as near to the end.
        if self.last_ms.is_some_and(|last| last + APART_MS <= at) {
            self.shoot(at, Shot::Last);
        }
    }

    fn shoot(&mut self, at: i64, shot: Shot) {
        if self.failed.borrow().is_some() {
            self.looked = None;
            return;
        }
        if let Err(error) = self.encode(at, shot) {
            self.fail(GapReason::RecorderFailed, &error.to_string());
        }
        self.looked = Some((Instant::now(), at));
    }

    fn encode(&mut self, at: i64, shot: Shot) -> Result<(), vpx::VpxError> {
        let (width, height) = self.picture.size();
        // Before the first picture there was none: it is shown from the beginning on.
        let at = if self.begun { at } else { 0 };
        if !self.begun {
            self.begun = true;
            let video = Video { width, height, frame_ms: FRAME_MS };
            self.writer.header(video, &self.options.title, &mut self.out);
        }
        let fresh = self.encoder.as_ref().is_none_or(|encoder| encoder.size() != (width, height));
        if fresh {
            self.encoder = Some(Encoder::new(width, height)?);
        }
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let at = self.last_ms.map_or(at, |last| at.max(last + APART_MS));
        let every = match shot {
            Shot::New => ms(self.options.key_frame_every),
            Shot::Still | Shot::Last => ms(self.options.key_frame_every).max(STILL_KEY.as_millis() as i64),
        };
        let key = fresh || self.last_key.is_none_or(|last| at - last >= every);
        let (writer, out) = (&mut self.writer, &mut self.out);
        let (mut frames, mut was_key) = (0, false);
        encoder.encode(&mut self.picture, at, key, &mut |bytes, key| {
            let time = at.unsigned_abs();
            match shot {
                Shot::New | Shot::Still => writer.frame(time, key, bytes, out),
                Shot::Last => writer.last_frame(time, key, bytes, u64::from(FRAME_MS), out),
            }
            frames += 1;
            was_key |= key;
        })?;
        self.frames += frames;
        self.last_ms = Some(at);
        if was_key {
            self.last_key = Some(at);
        }
        if self.writer.waits_since().is_some() {
            self.pending_since.get_or_insert_with(Instant::now);
        }
        self.hand_on();
        Ok(())
    }

    /// Notes how far a look was behind the next one.
    fn pace(&mut self, at: i64, took: Duration, interval: Duration) {
        let Some(lost) = took.checked_sub(interval).filter(|lost| !lost.is_zero()) else {
            self.remark(at);
            return;
        };
        let slow = self.slow.get_or_insert(Slow { from_ms: at, frames: 0, lost: Duration::ZERO });
        slow.frames += 1;
        slow.lost += lost;
        self.slow_ms += u64::try_from(took.as_millis()).unwrap_or(0);
    }

    /// Says in the recording that a stretch was slow, when it is over.
    fn remark(&mut self, until: i64) {
        let Some(slow) = self.slow.take().filter(|slow| slow.lost >= REMARKABLE) else { return };
        let session = self.recorder.session();
        tracing::warn!(
            session.id = %session, from_ms = slow.from_ms, until_ms = until, frames = slow.frames,
            "a desktop was recorded with fewer frames than wanted"
        );
        if self.begun && self.remarks < REMARKS {
            self.remarks += 1;
            let text =
                format!("{} ms to {until} ms: {} frames, the recorder was behind", slow.from_ms, slow.frames);
            self.writer.remark(SLOW, &text, &mut self.out);
            self.pending_since = None;
            self.hand_on();
        }
    }

    fn flush(&mut self) {
        self.writer.flush(&mut self.out);
        self.pending_since = None;
        self.hand_on();
    }

    /// Hands clusters to the spool, and waits while the spool is behind.
    fn hand_on(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let out = std::mem::take(&mut self.out);
        if self.failed.borrow().is_some() {
            return;
        }
        let written =
            self.runtime.block_on(async { tokio::time::timeout(STUCK, self.recorder.write(&out)).await });
        match written {
            Ok(Ok(())) => {}
            Ok(Err(RecordingError::Full)) => self.fail(GapReason::DiskFull, "the disk was full"),
            Ok(Err(error)) => {
                tracing::error!(%error, session.id = %self.recorder.session(), "a recording failed");
                self.fail(GapReason::StorageFailed, "the recording could not be written");
            }
            Err(_) => self.fail(GapReason::StorageFailed, "the recording was not written for too long"),
        }
    }

    /// From here on nothing is recorded.
    fn fail(&mut self, reason: GapReason, message: &str) {
        if self.failed.borrow().is_none() {
            tracing::error!(session.id = %self.recorder.session(), message, "a desktop is not recorded any more");
            self.recorder.gap(reason, message);
            self.failed.send_replace(Some(message.to_owned()));
        }
    }
}
