//! A session's recording: events become asciicast lines, lines go to the spool.
//!
//! What is recorded of a terminal: output, sizes, marks, and keys where the policy says so. Of a command
//! without a terminal: the first [`EXEC_BYTES`] of its output unless the policy says all.

use std::time::Duration;

use bytes::Bytes;
use sojourn_domain::{
    access::{ConnectionPolicy, RecordPolicy},
    cast::{Header, Writer},
    time::Elapsed,
};
use sojourn_store::recordings::{GapReason, Recorder, RecordingError};

use super::echo::Echo;

/// Output of a command without a terminal that is recorded.
pub(crate) const EXEC_BYTES: u64 = 64 * 1024;
/// How long the spool may be behind until that is a failure.
const STUCK: Duration = Duration::from_secs(30);

/// Why a session must end.
#[derive(Debug, thiserror::Error)]
#[error("the recording failed, and the connection's policy says that it must be recorded")]
pub(crate) struct MustEnd;

/// Where events are written. Events are taken at once and wait in `lines`; [`Tape::flush`] hands them on.
pub(crate) struct Tape {
    recorder: Recorder,
    writer: Writer,
    lines: Vec<u8>,
    policy: RecordPolicy,
    /// Output that may still be recorded.
    left: Option<u64>,
    echo: Option<Echo>,
    failed: bool,
}

impl Tape {
    /// `terminal`: whether the session has one.
    pub(crate) fn new(
        recorder: Recorder,
        header: &Header,
        policy: &ConnectionPolicy,
        terminal: bool,
    ) -> Self {
        let mut lines = Vec::new();
        let mut writer = Writer::new();
        writer.header(header, &mut lines);
        Self {
            recorder,
            writer,
            lines,
            policy: policy.record,
            left: (!terminal && !policy.record_exec_output).then_some(EXEC_BYTES),
            echo: (terminal && policy.record_input).then(Echo::default),
            failed: false,
        }
    }

    pub(crate) fn output(&mut self, elapsed: Elapsed, bytes: &Bytes) {
        if self.failed {
            return;
        }
        let taken = match &mut self.left {
            None => bytes.clone(),
            Some(0) => return,
            Some(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= most as u64;
                bytes.slice(..most)
            }
        };
        self.writer.output(elapsed, &taken, &mut self.lines);
        if self.left == Some(0) {
            self.writer.marker(elapsed, "what follows was not recorded", &mut self.lines);
        }
        if let Some(echo) = &mut self.echo {
            let shown = echo.output(elapsed, bytes);
            self.keys(elapsed, &shown);
        }
    }

    pub(crate) fn input(&mut self, elapsed: Elapsed, bytes: &[u8]) {
        if self.failed {
            return;
        }
        if let Some(echo) = &mut self.echo {
            let shown = echo.input(elapsed, bytes);
            self.keys(elapsed, &shown);
        }
    }

    fn keys(&mut self, elapsed: Elapsed, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.writer.input(elapsed, bytes, &mut self.lines);
        }
    }

    pub(crate) fn resize(&mut self, elapsed: Elapsed, cols: u16, rows: u16) {
        if !self.failed {
            self.writer.resize(elapsed, cols, rows, &mut self.lines);
        }
    }

    pub(crate) fn marker(&mut self, elapsed: Elapsed, label: &str) {
        if !self.failed {
            self.writer.marker(elapsed, label, &mut self.lines);
        }
    }

    pub(crate) fn waits(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Hands what waits to the spool, and waits while the spool is behind. Not to be called again after
    /// it was cancelled: a part may have been handed on.
    pub(crate) async fn flush(&mut self) -> Result<(), MustEnd> {
        let written = tokio::time::timeout(STUCK, self.recorder.write(&self.lines)).await;
        self.lines.clear();
        if self.lines.capacity() > 64 * 1024 {
            self.lines = Vec::new();
        }
        match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(RecordingError::Full)) => self.fail(GapReason::DiskFull, "the disk was full"),
            Ok(Err(error)) => {
                tracing::error!(%error, session.id = %self.recorder.session(), "a recording failed");
                self.fail(GapReason::StorageFailed, "the recording could not be written");
            }
            Err(_) => self.fail(GapReason::StorageFailed, "the recording was not written for too long"),
        }
        match self.policy {
            RecordPolicy::Mandatory => Err(MustEnd),
            RecordPolicy::BestEffort | RecordPolicy::Off => Ok(()),
        }
    }

    /// From here on nothing is recorded.
    pub(crate) fn fail(&mut self, reason: GapReason, message: &str) {
        if !self.failed {
            tracing::error!(session.id = %self.recorder.session(), message, "a session is not recorded any more");
            self.recorder.gap(reason, message);
        }
        self.failed = true;
        self.lines = Vec::new();
    }

    pub(crate) async fn finish(mut self, elapsed: Elapsed) {
        if let Some(mut echo) = self.echo.take() {
            let shown = echo.finish();
            self.keys(elapsed, &shown);
        }
        if !self.failed {
            self.writer.finish(elapsed, &mut self.lines);
            if self.waits() {
                // The end of the session comes anyway.
                drop(self.flush().await);
            }
        }
        let session = self.recorder.session();
        if let Err(error) = self.recorder.finish(!self.failed).await {
            tracing::error!(%error, session.id = %session, "a recording could not be closed");
        }
    }
}
