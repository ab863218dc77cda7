//! The actor of one session.
//!
//! It owns both ends and waits for several things at once, never for one alone: a client that does not read holds
//! the target back (nothing more is taken from it) while keys, limits and words from outside go on being heard.

use std::{future::poll_fn, mem, pin::pin, sync::Arc, task::Poll, time::Duration};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use bytes::Bytes;
use sojourn_domain::{
    access::{EndReason, Purpose},
    time::Elapsed,
};
use sojourn_store::recordings::GapReason;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    carrier,
    ends::{
        ClientEnd, ClientEvent, ClientInput, Exit, TargetEnd, TargetEvent, TargetInput, TerminalSize, place,
    },
    handle::{Control, Ended, Shared, ViewMode, Viewer},
};
use crate::files::session::{FileEnded, FileJournal};
use crate::sinks::{
    backlog::Item,
    files::Files,
    recorder::{MustEnd, Tape},
    screen::Screen,
    witness::Desktop,
};

/// How long a client that is there may take to read what is left when the session has ended by itself.
pub(super) const DRAIN: Duration = Duration::from_secs(60);
/// The same where the session was ended from outside.
const LAST_WORD: Duration = Duration::from_secs(2);
/// A user is warned so long before the idle or total limit, where that limit is longer.
const WARNING: Duration = Duration::from_secs(60);
/// Sooner than this nothing is looked at again.
const SOON: Duration = Duration::from_millis(50);
/// What is kept of a command's output for the log of commands.
const PREVIEW: usize = 2048;

/// How a session ended, and what is only known at its end.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ended: Ended,
    pub(super) sha_in: Option<String>,
    pub(super) sha_out: Option<String>,
    /// The beginning of the output of a command without a terminal.
    pub(super) preview: Vec<u8>,
}

pub(super) struct Actor {
    core: Core,
    tape: Option<Tape>,
    files: Option<Files>,
    desktop: Option<Desktop>,
    heard: mpsc::Receiver<Control>,
    early: Vec<Control>,
    target: TargetEnd,
    client: ClientEnd,
}

/// What is not an end and not the recorder, so that words from outside are heard while those wait.
struct Core {
    shared: Arc<Shared>,
    screen: Option<Screen>,
    /// From viewers that take part.
    joined: Vec<mpsc::Receiver<ClientInput>>,
    notices: Vec<String>,
    /// For the recording.
    marks: Vec<String>,
    ended: Option<Ended>,
    /// Somebody outside ended it: the client gets little time.
    hurried: bool,
    tell_watched: bool,
    /// How long a client may take to read what is left when the session has ended by itself.
    drain: Duration,
    idle_limit: Option<Duration>,
    time_limit: Option<Duration>,
    warned_idle: bool,
    warned_time: bool,
}

/// Both directions of a command without a terminal.
struct Hashes {
    input: Digest,
    output: Digest,
}

pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) screen: Option<Screen>,
    pub(super) tape: Option<Tape>,
    /// Reads along where files are moved.
    pub(super) files: Option<Files>,
    pub(super) desktop: Option<Desktop>,
    pub(super) heard: mpsc::Receiver<Control>,
    /// Words from before there was an actor.
    pub(super) early: Vec<Control>,
    pub(super) target: TargetEnd,
    pub(super) client: ClientEnd,
    pub(super) tell_watched: bool,
    pub(super) drain: Duration,
    pub(super) idle_limit: Option<Elapsed>,
    pub(super) time_limit: Option<Elapsed>,
}

impl Actor {
    pub(super) fn new(parts: Parts) -> Self {
        let core = Core {
            shared: parts.shared,
            screen: parts.screen,
            joined: Vec::new(),
            notices: Vec::new(),
            marks: Vec::new(),
            ended: None,
            hurried: false,
            tell_watched: parts.tell_watched,
            drain: parts.drain,
            idle_limit: parts.idle_limit.map(Elapsed::to_std),
            time_limit: parts.time_limit.map(Elapsed::to_std),
            warned_idle: false,
            warned_time: false,
        };
        Self {
            core,
            tape: parts.tape,
            files: parts.files,
            desktop: parts.desktop,
            heard: parts.heard,
            early: parts.early,
            target: parts.target,
            client: parts.client,
        }
    }

    /// Until the session is over. Afterwards the recording is closed and viewers were told.
    pub(super) async fn run(mut self) -> Outcome {
        let carriers = [mem::take(&mut self.target.carrier), mem::take(&mut self.client.carrier)];
        carrier::along(self.pass(), carriers).await
    }

    async fn pass(self) -> Outcome {
        let Self { mut core, mut tape, mut files, mut desktop, mut heard, early, target, client } = self;
        for word in early {
            core.hear(Some(word));
        }
        let facts = &core.shared.facts;
        let mut hashes = (facts.purpose == Purpose::Exec && !facts.terminal)
            .then(|| Hashes { input: Digest::new(&SHA256), output: Digest::new(&SHA256) });
        let mut preview = Vec::new();
        let TargetEnd { mut events, input, carrier: _ } = target;
        let ClientEnd { input: mut typed, events: told, carrier: _ } = client;
        let mut input = Some(input);
        let mut client_lost = false;
        // At most one piece waits in each direction; while it does, nothing more is taken from where it came.
        let mut outward: Option<ClientEvent> = None;
        let mut inward: Option<TargetInput> = None;
        let mut exit: Option<Exit> = None;
        // The target says no more, but its program may run on.
        let mut output_over = false;
        // The client has closed, and waits for nothing but the program's end.
        let mut client_closed = false;
        let journal = files.as_ref().map(Files::journal);

        while core.ended.is_none() {
            // Here too, because where much is going on the wait below begins anew each time.
            if core.limited() && core.until().is_zero() {
                core.check_limits();
                continue;
            }
            for mark in core.marks.drain(..) {
                if let Some(tape) = &mut tape {
                    tape.marker(core.shared.elapsed(), &mark);
                }
            }
            if let Some(tape) = &mut tape
                && tape.waits()
            {
                core.record(tape, &mut heard).await;
                continue;
            }
            if let Some(files) = &mut files
                && files.waits()
            {
                core.note(files, &mut heard).await;
                continue;
            }
            if outward.is_none() && !core.notices.is_empty() {
                outward = Some(ClientEvent::Notice(core.notices.remove(0)));
            }
            let room = core.screen.as_ref().is_none_or(|screen| screen.backlog.has_room());
            let tells_at = files.as_ref().and_then(Files::tells_at);
            tokio::select! {
                word = heard.recv() => core.hear(word),
                () = sleep_until(core.wake()), if core.limited() => core.check_limits(),
                () = due(tells_at) => {
                    if let Some(files) = &mut files {
                        files.tell();
                    }
                }
                () = place(Some(&told)), if outward.is_some() => {
                    // There is room for one, and nobody else fills it.
                    if let Some(event) = outward.take() {
                        client_lost = told.try_send(event).is_err();
                    }
                }
                why = failed(desktop.as_mut()) => {
                    core.hurried = true;
                    core.end(EndReason::RecordingFailed, &why);
                }
                over = ended(journal.as_ref()) => {
                    core.hurried = true;
                    core.end(over.reason, &over.detail);
                }
                () = async { if let Some(screen) = &core.screen { screen.backlog.room().await } }, if !room => {}
                event = events.recv(), if outward.is_none() && room => {
                    let Some(event) = event else {
                        let reason = if exit.is_some() { EndReason::Closed } else { EndReason::TargetLost };
                        core.end(reason, "");
                        continue;
                    };
                    match event {
                        TargetEvent::Output(bytes) => {
                            core.output(tape.as_mut(), &bytes);
                            if let Some(Err(why)) = files.as_mut().map(|files| files.output(&bytes)) {
                                core.end(EndReason::RecordingFailed, &why);
                                continue;
                            }
                            if let Some(hashes) = &mut hashes {
                                hashes.output.update(&bytes);
                                keep(&mut preview, &bytes);
                            }
                            outward = Some(ClientEvent::Output(bytes));
                        }
                        TargetEvent::ErrorOutput(bytes) => {
                            core.output(tape.as_mut(), &bytes);
                            if hashes.is_some() {
                                keep(&mut preview, &bytes);
                            }
                            outward = Some(ClientEvent::ErrorOutput(bytes));
                        }
                        TargetEvent::Touched => core.touch(),
                        TargetEvent::Eof => {
                            output_over = true;
                            outward = Some(ClientEvent::Eof);
                        }
                        TargetEvent::Exit(how) => {
                            exit = Some(how.clone());
                            outward = Some(ClientEvent::Exit(how));
                        }
                        TargetEvent::Ended { reason, detail } => core.end(reason, &detail),
                    }
                }
                () = place(input.as_ref()), if inward.is_some() => {
                    if let (Some(taker), Some(event)) = (&input, inward.take())
                        && taker.try_send(event).is_err()
                    {
                        // The target takes no more input; what it still has to say is awaited.
                        input = None;
                    }
                }
                event = typed.recv(), if inward.is_none() => match event {
                    Some(ClientInput::Close) if output_over && !client_closed => {
                        client_closed = true;
                        inward = Some(TargetInput::Eof);
                    }
                    Some(ClientInput::Close) => core.end(EndReason::Closed, ""),
                    Some(event) => {
                        if let (Some(hashes), ClientInput::Data(bytes)) = (&mut hashes, &event) {
                            hashes.input.update(bytes);
                        }
                        if let (Some(files), ClientInput::Data(bytes)) = (&mut files, &event)
                            && let Err(why) = files.input(bytes)
                        {
                            core.end(EndReason::RecordingFailed, &why);
                            continue;
                        }
                        inward = core.input(tape.as_mut(), event);
                    }
                    None => client_lost = true,
                },
                event = any(&mut core.joined), if inward.is_none() => {
                    // Who takes part types; the window stays its owner's.
                    if let ClientInput::Data(bytes) = event {
                        if let Some(Err(why)) = files.as_mut().map(|files| files.input(&bytes)) {
                            core.end(EndReason::RecordingFailed, &why);
                            continue;
                        }
                        inward = core.input(tape.as_mut(), ClientInput::Data(bytes));
                    }
                }
            }
            if input.is_none() {
                inward = None;
            }
            if client_lost && core.ended.is_none() {
                let reason = if exit.is_some() { EndReason::Closed } else { EndReason::ClientLost };
                core.end(reason, "");
            }
        }

        // The target is let go first: what is still to be said is said to the client alone.
        drop(input);
        drop(events);
        drop(typed);
        // Who asks for something now is told that it is over.
        drop(heard);
        let mut ended = core.ended.take().unwrap_or_else(|| Ended {
            reason: EndReason::Failed,
            detail: String::new(),
            exit: None,
        });
        ended.exit = exit;
        if !client_lost {
            let limit = if core.hurried { LAST_WORD } else { core.drain };
            let last = ClientEvent::Ended { reason: ended.reason, detail: ended.detail.clone() };
            // A client that does not read any more learns nothing more.
            drop(tokio::time::timeout(limit, say(&told, outward, last)).await);
        }
        drop(told);
        drop(journal);
        if let Some(files) = files {
            files.finish(ended.exit.as_ref(), ended.reason, &ended.detail).await;
        }
        if let Some(screen) = core.screen.take() {
            screen.finish(ended.clone()).await;
        }
        if let Some(tape) = tape {
            tape.finish(core.shared.elapsed()).await;
        }
        if let Some(desktop) = desktop {
            desktop.finish(core.shared.elapsed()).await;
        }
        let (sha_in, sha_out) = match hashes {
            Some(hashes) => (Some(hex(hashes.input)), Some(hex(hashes.output))),
            None => (None, None),
        };
        Outcome { ended, sha_in, sha_out, preview }
    }
}

fn hex(digest: Digest) -> String {
    data_encoding::HEXLOWER.encode(digest.finish().as_ref())
}

fn keep(preview: &mut Vec<u8>, bytes: &[u8]) {
    let most = PREVIEW.saturating_sub(preview.len()).min(bytes.len());
    preview.extend_from_slice(&bytes[..most]);
}

async fn say(told: &mpsc::Sender<ClientEvent>, waiting: Option<ClientEvent>, last: ClientEvent) {
    for event in waiting.into_iter().chain([last]) {
        if told.send(event).await.is_err() {
            return;
        }
    }
}

/// When a desktop that must be recorded is not recorded any more; for ever without one.
async fn failed(desktop: Option<&mut Desktop>) -> String {
    match desktop {
        Some(desktop) => {
            let why = desktop.failed().await;
            format!("{MustEnd}: {why}")
        }
        None => std::future::pending().await,
    }
}

/// When somebody ends the file session; for ever without one.
async fn ended(journal: Option<&FileJournal>) -> FileEnded {
    match journal {
        Some(journal) => journal.ended().await,
        None => std::future::pending().await,
    }
}

/// At a moment; never without one.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The next key of any viewer that takes part; for ever where there is none.
async fn any(joined: &mut Vec<mpsc::Receiver<ClientInput>>) -> ClientInput {
    poll_fn(|context| {
        let mut at = 0;
        while at < joined.len() {
            match joined[at].poll_recv(context) {
                Poll::Ready(Some(event)) => return Poll::Ready(event),
                Poll::Ready(None) => drop(joined.swap_remove(at)),
                Poll::Pending => at += 1,
            }
        }
        Poll::Pending
    })
    .await
}

impl Core {
    fn end(&mut self, reason: EndReason, detail: &str) {
        if self.ended.is_none() {
            self.ended = Some(Ended { reason, detail: detail.to_owned(), exit: None });
        }
    }

    fn hear(&mut self, word: Option<Control>) {
        match word {
            Some(Control::End(ended)) => {
                self.hurried = true;
                self.end(ended.reason, &ended.detail);
            }
            Some(Control::Watch(mut watcher)) => {
                self.watched(&watcher.viewer);
                self.joined.extend(watcher.input.take());
                if let Some(screen) = &self.screen {
                    screen.backlog.push(Item::Watch(watcher));
                }
            }
            Some(Control::Look(viewer)) => self.watched(&viewer),
            Some(Control::Snapshot(answer)) => {
                if let Some(screen) = &self.screen {
                    screen.backlog.push(Item::Snapshot(answer));
                }
            }
            Some(Control::Notice(text)) => self.notices.push(text),
            // The actor holds a sender itself, so this does not come.
            None => self.end(EndReason::Failed, ""),
        }
    }

    fn watched(&mut self, viewer: &Viewer) {
        let does = match viewer.mode {
            ViewMode::Watch => "watches",
            ViewMode::Join => "takes part in",
        };
        let text = format!("{} {does} this session", viewer.name);
        if self.tell_watched {
            self.notices.push(text.clone());
        }
        self.marks.push(text);
    }

    /// Hands what waits to the spool. Words from outside are heard meanwhile; a session that is ended then
    /// does not wait for a spool that is stuck.
    async fn record(&mut self, tape: &mut Tape, heard: &mut mpsc::Receiver<Control>) {
        let failed = {
            let mut flush = pin!(tape.flush());
            loop {
                tokio::select! {
                    biased;
                    flushed = &mut flush => break flushed,
                    () = sleep_until(self.wake()), if self.limited() => self.check_limits(),
                    word = heard.recv() => self.hear(word),
                }
                if self.ended.is_some() {
                    // The spool gets what the client gets: a little time.
                    break tokio::time::timeout(LAST_WORD, flush).await.unwrap_or(Err(MustEnd));
                }
            }
        };
        if let Err(MustEnd) = failed {
            tape.fail(GapReason::StorageFailed, "the recording was not written until the session ended");
            self.hurried = true;
            self.end(EndReason::RecordingFailed, &MustEnd.to_string());
        }
    }

    /// Hands what was done with files to the journal, as [`Self::record`] does with the spool.
    async fn note(&mut self, files: &mut Files, heard: &mut mpsc::Receiver<Control>) {
        let noted = {
            let mut flush = pin!(files.flush());
            loop {
                tokio::select! {
                    biased;
                    noted = &mut flush => break noted,
                    () = sleep_until(self.wake()), if self.limited() => self.check_limits(),
                    word = heard.recv() => self.hear(word),
                }
                if self.ended.is_some() {
                    // What is left is noted at the end.
                    return;
                }
            }
        };
        if let Err(over) = noted {
            self.hurried = true;
            self.end(over.reason, &over.detail);
        }
    }

    fn output(&mut self, tape: Option<&mut Tape>, bytes: &Bytes) {
        let elapsed = self.shared.elapsed();
        self.shared.count(0, bytes.len() as u64);
        if let Some(tape) = tape {
            tape.output(elapsed, bytes);
        }
        match &self.screen {
            Some(screen) => screen.backlog.output(elapsed, bytes),
            // A desktop that moves by itself is no sign of a person.
            None if self.shared.facts.purpose == Purpose::Desktop => {}
            None => self.shared.touch(),
        }
    }

    fn touch(&mut self) {
        self.shared.touch();
        self.warned_idle = false;
    }

    /// Takes what a client or viewer sent; returns what goes to the target.
    fn input(&mut self, tape: Option<&mut Tape>, event: ClientInput) -> Option<TargetInput> {
        let elapsed = self.shared.elapsed();
        // On a desktop most of what comes is its program's doing: the target's end knows better.
        if self.shared.facts.purpose != Purpose::Desktop {
            self.touch();
        }
        match event {
            ClientInput::Data(bytes) => {
                self.shared.count(bytes.len() as u64, 0);
                if let Some(tape) = tape {
                    tape.input(elapsed, &bytes);
                }
                if let Some(screen) = &self.screen {
                    screen.backlog.push(Item::Input(elapsed, bytes.clone()));
                }
                Some(TargetInput::Data(bytes))
            }
            ClientInput::Resize(size) => {
                self.resize(tape, elapsed, size);
                Some(TargetInput::Resize(size))
            }
            ClientInput::Signal(name) => Some(TargetInput::Signal(name)),
            ClientInput::Break(length) => Some(TargetInput::Break(length)),
            ClientInput::Unread => Some(TargetInput::Unread),
            ClientInput::Eof => Some(TargetInput::Eof),
            ClientInput::Close => None,
        }
    }

    fn resize(&mut self, tape: Option<&mut Tape>, elapsed: Elapsed, size: TerminalSize) {
        let (cols, rows) = (size.cols.max(1), size.rows.max(1));
        if !self.shared.facts.terminal || self.shared.size() == (cols, rows) {
            return;
        }
        self.shared.resized(TerminalSize { cols, rows, ..size });
        if let Some(tape) = tape {
            tape.resize(elapsed, cols, rows);
        }
        if let Some(screen) = &self.screen {
            screen.backlog.push(Item::Resize(elapsed, cols, rows));
        }
    }

    fn limited(&self) -> bool {
        self.idle_limit.is_some() || self.time_limit.is_some()
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.shared.idle_ms())
    }

    /// How long until the next limit, or the warning before it.
    fn until(&self) -> Duration {
        let next = |limit: Option<Duration>, passed: Duration, warned: bool| {
            let limit = limit?;
            let at = if warned || limit <= WARNING { limit } else { limit - WARNING };
            Some(at.saturating_sub(passed))
        };
        let idle = next(self.idle_limit, self.idle(), self.warned_idle);
        let time = next(self.time_limit, self.shared.begun.elapsed(), self.warned_time);
        idle.into_iter().chain(time).min().unwrap_or(WARNING)
    }

    fn wake(&self) -> Instant {
        Instant::now() + self.until().max(SOON)
    }

    fn check_limits(&mut self) {
        let (idle, ran) = (self.idle(), self.shared.begun.elapsed());
        if let Some(limit) = self.time_limit {
            if ran >= limit {
                self.hurried = true;
                self.end(EndReason::TimeLimit, "the session ran for as long as its connection allows");
            } else if limit > WARNING && ran >= limit - WARNING && !self.warned_time {
                self.warned_time = true;
                self.notices.push("this session ends in a minute: it reaches its time limit".to_owned());
            }
        }
        if let Some(limit) = self.idle_limit {
            if idle >= limit {
                self.hurried = true;
                self.end(EndReason::Idle, "nothing was typed for as long as the connection allows");
            } else if limit > WARNING && idle >= limit - WARNING && !self.warned_idle {
                self.warned_idle = true;
                self.notices.push("this session ends in a minute unless something is typed".to_owned());
            }
        }
    }
}
