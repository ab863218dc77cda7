//! The terminal emulator of a session, on a task of its own: commands are read from it, and viewers begin
//! with what it shows.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sojourn_domain::commands::Detector;
use tokio::task::JoinHandle;

use super::{
    backlog::{Backlog, Item},
    commands::Commands,
    live::Live,
};
use crate::session::handle::{Ended, LiveEvent, Shared};

/// Bytes that are worked on before others get their turn.
const SLICE: usize = 8 * 1024;
/// How long output may gather while nobody looks: waking for each piece would hold up the sessions themselves.
const GATHER: Duration = Duration::from_millis(200);
/// After so long without output the emulator is put away.
const HIBERNATE: Duration = Duration::from_secs(5);
/// How often a viewer that fell behind is looked at.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long viewers may take to hear that the session ended.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What a terminal shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub cols: u16,
    pub rows: u16,
    /// Text that draws the screen in an empty terminal of that size.
    pub data: String,
    /// Output bytes of the session up to here.
    pub offset: u64,
    /// The beginning of a character that was cut in two; to be written after `data`.
    pub carry: Bytes,
}

/// The way to the task. Dropping it ends the task.
pub(crate) struct Screen {
    pub(crate) backlog: Arc<Backlog>,
    task: Option<JoinHandle<Option<i64>>>,
}

impl Screen {
    pub(crate) fn start(shared: &Arc<Shared>, commands: Commands) -> Self {
        let backlog = Arc::new(Backlog::default());
        let (cols, rows) = shared.size();
        let work = Work {
            detector: Detector::new(cols, rows),
            live: Live::new(shared.viewers.clone()),
            commands,
            backlog: Arc::clone(&backlog),
            shared: Arc::clone(shared),
            size: (cols, rows),
            offset: 0,
            carry: Bytes::new(),
        };
        Self { backlog, task: Some(tokio::spawn(work.run())) }
    }

    /// Waits until all that waits is worked through, and viewers were told.
    pub(crate) async fn finish(mut self, ended: Ended) {
        self.backlog.push(Item::Finish(Box::new(ended)));
        if let Some(task) = &mut self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the screen of a session ended early");
        }
        self.task = None;
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

struct Work {
    detector: Detector,
    live: Live,
    commands: Commands,
    backlog: Arc<Backlog>,
    shared: Arc<Shared>,
    size: (u16, u16),
    offset: u64,
    carry: Bytes,
}

impl Work {
    async fn run(mut self) -> Option<i64> {
        let mut awake = true;
        loop {
            let mut worked = false;
            while let Some(item) = self.backlog.pop() {
                (awake, worked) = (true, true);
                if let Item::Finish(ended) = item {
                    self.finish(*ended).await;
                    return None;
                }
                self.take(item).await;
                if self.live.any_behind() {
                    let Self { live, detector, size, offset, carry, .. } = &mut self;
                    live.catch_up(|| snapshot(detector, *size, *offset, carry));
                }
            }
            if worked && self.live.is_empty() {
                tokio::select! {
                    () = self.backlog.pressing.notified() => {}
                    () = self.commands.progress() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
                continue;
            }
            let behind = self.live.any_behind();
            tokio::select! {
                () = self.backlog.arrived.notified() => {}
                () = self.live.left() => {}
                () = self.commands.progress() => {}
                () = tokio::time::sleep(CATCH_UP), if behind => {
                    let Self { live, detector, size, offset, carry, .. } = &mut self;
                    live.catch_up(|| snapshot(detector, *size, *offset, carry));
                }
                () = tokio::time::sleep(HIBERNATE), if awake && !behind => {
                    self.detector.hibernate();
                    awake = false;
                }
            }
        }
    }

    async fn take(&mut self, item: Item) {
        match item {
            Item::Output(elapsed, bytes) => {
                for slice in bytes.chunks(SLICE) {
                    self.detector.output(elapsed, slice);
                    if bytes.len() > SLICE {
                        tokio::task::yield_now().await;
                    }
                }
                self.offset += bytes.len() as u64;
                self.carry = unfinished(&self.carry, &bytes);
                if !self.live.is_empty() {
                    self.live.tell(&LiveEvent::Output(bytes));
                }
            }
            Item::Skipped(bytes) => {
                self.offset += bytes;
                self.carry = Bytes::new();
                self.live.lose();
            }
            Item::Input(elapsed, bytes) => self.detector.input(elapsed, &bytes),
            Item::Resize(elapsed, cols, rows) => {
                self.size = (cols, rows);
                self.detector.resize(elapsed, cols, rows);
                self.live.tell(&LiveEvent::Resize { cols, rows });
            }
            Item::Watch(watcher) => {
                let now = snapshot(&self.detector, self.size, self.offset, &self.carry);
                self.live.add(*watcher, now);
            }
            // Who asked may be gone.
            Item::Snapshot(answer) => {
                drop(answer.send(snapshot(&self.detector, self.size, self.offset, &self.carry)));
            }
            Item::Finish(_) => {}
        }
        self.commands.add(self.detector.take());
    }

    async fn finish(mut self, ended: Ended) {
        self.detector.finish(self.shared.elapsed());
        self.commands.add(self.detector.take());
        let told = tokio::time::timeout(LAST_WORD, self.live.end(LiveEvent::Ended(ended)));
        let (told, ()) = tokio::join!(told, self.commands.finish());
        if told.is_err() {
            tracing::debug!("a viewer did not hear that the session ended");
        }
    }
}

fn snapshot(detector: &Detector, size: (u16, u16), offset: u64, carry: &Bytes) -> Snapshot {
    Snapshot { cols: size.0, rows: size.1, data: detector.screen().dump, offset, carry: carry.clone() }
}

/// The bytes at the end of a stream that begin a character and do not finish it.
fn unfinished(before: &Bytes, bytes: &Bytes) -> Bytes {
    let joined: Bytes = if bytes.len() < 4 && !before.is_empty() {
        [before.as_ref(), bytes.as_ref()].concat().into()
    } else {
        bytes.clone()
    };
    for back in 1..=joined.len().min(3) {
        let at = joined.len() - back;
        let needed = match joined[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return Bytes::new(),
        };
        if needed > back {
            return Bytes::copy_from_slice(&joined[at..]);
        }
        return Bytes::new();
    }
    Bytes::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_cut_in_two_are_carried() {
        let step = |before: &[u8], bytes: &[u8]| {
            unfinished(&Bytes::copy_from_slice(before), &Bytes::copy_from_slice(bytes)).to_vec()
        };
        assert_eq!(step(b"", "aé".as_bytes()), b"");
        assert_eq!(step(b"", b"a\xc3"), b"\xc3");
        assert_eq!(step(b"", b"a\xf0\x9f\x98"), b"\xf0\x9f\x98");
        assert_eq!(step(b"\xf0", b"\x9f"), b"\xf0\x9f");
        assert_eq!(step(b"\xf0\x9f\x98", b"\x80"), b"");
        assert_eq!(step(b"\xc3", b"long enough"), b"");
        assert_eq!(step(b"", b"\x80\x80\x80\x80"), b"");
    }
}
