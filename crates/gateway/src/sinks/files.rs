//! Files that native clients move through a session: a tap reads along, the journal keeps what was done.
//!
//! Both directions pass the tap before they go on. What it found out waits here until the journal has taken
//! it; while something waits the session takes nothing more, so that nothing is done that is not written down.

use std::{collections::VecDeque, time::Duration};

use sojourn_domain::{
    access::EndReason,
    files::{
        Fact,
        tap::{Ending, Tap},
    },
};
use tokio::time::Instant;

use crate::{
    files::session::{FileEnded, FileJournal},
    session::ends::Exit,
};

/// How often the journal hears how far transfers have come.
const TELL: Duration = Duration::from_millis(100);

pub(crate) struct Files {
    tap: Tap,
    journal: FileJournal,
    /// The session does not go on without knowing what is done.
    mandatory: bool,
    noted: VecDeque<Fact>,
    found: Vec<Fact>,
    /// It was said that the tap is lost.
    lost: bool,
    told: Instant,
    /// Something went past since then.
    untold: bool,
}

impl Files {
    pub(crate) fn new(tap: Tap, journal: FileJournal, mandatory: bool) -> Self {
        let (noted, found) = (VecDeque::new(), Vec::new());
        Self { tap, journal, mandatory, noted, found, lost: false, told: Instant::now(), untold: false }
    }

    pub(crate) fn journal(&self) -> FileJournal {
        self.journal.clone()
    }

    /// On their way to the target. An error ends the session.
    pub(crate) fn input(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.tap.client(self.journal.now(), bytes, &mut self.found);
        self.gather()
    }

    /// On their way to the client. An error ends the session.
    pub(crate) fn output(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.tap.server(self.journal.now(), bytes, &mut self.found);
        self.gather()
    }

    fn gather(&mut self) -> Result<(), String> {
        self.noted.extend(self.found.drain(..));
        self.untold = true;
        if self.told.elapsed() >= TELL {
            self.tell();
        }
        match self.tap.lost() {
            Some(lost) if !self.lost => {
                self.lost = true;
                tracing::warn!(file_session.id = %self.journal.id(), why = %lost, "the audit of files is lost");
                if self.mandatory {
                    return Err(format!("audit lost: {lost}"));
                }
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The journal hears how far transfers have come.
    pub(crate) fn tell(&mut self) {
        self.told = Instant::now();
        self.untold = false;
        self.journal.moving(self.tap.moving(self.journal.now()));
    }

    /// When [`Self::tell`] is due although nothing more goes past; `None` where the journal knows.
    pub(crate) fn tells_at(&self) -> Option<Instant> {
        self.untold.then(|| self.told + TELL)
    }

    /// Whether something has to be written down before the session goes on.
    pub(crate) fn waits(&self) -> bool {
        !self.noted.is_empty()
    }

    /// Hands the journal what waits. May be dropped and asked again.
    pub(crate) async fn flush(&mut self) -> Result<(), FileEnded> {
        while let Some(fact) = self.noted.front() {
            self.journal.note(fact.clone()).await?;
            self.noted.pop_front();
        }
        Ok(())
    }

    /// The session is over, in this way.
    pub(crate) async fn finish(mut self, exit: Option<&Exit>, reason: EndReason, detail: &str) {
        let ending = match exit {
            Some(Exit::Status(status)) => Ending::Exit(*status),
            Some(Exit::Signal { .. }) | None => Ending::Cut,
        };
        self.tap.finish(self.journal.now(), ending, &mut self.found);
        self.noted.extend(self.found.drain(..));
        if self.flush().await.is_err() {
            tracing::error!(file_session.id = %self.journal.id(), "the last events of a file session were not noted");
        }
        let reason = if self.tap.lost().is_some() { EndReason::RecordingFailed } else { reason };
        let lost = self.tap.lost().map(|lost| format!("audit lost: {lost}"));
        let said = (!detail.is_empty()).then(|| detail.to_owned());
        let mut parts: Vec<String> = lost.into_iter().chain(said).chain(self.tap.remark()).collect();
        parts.dedup();
        self.journal.end(reason, parts.join("; ")).await;
    }
}
