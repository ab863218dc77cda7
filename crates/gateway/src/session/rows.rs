//! What of a session goes into the database.

use std::time::Duration;

use sojourn_domain::{
    commands::{Confidence, DetectedCommand, Kind, Source},
    id::AccessSessionId,
    time::Timestamp,
};
use sojourn_store::{
    Entropy, Store,
    access::{NewCommand, SessionEnd, SessionExit},
};

use super::ends::Exit;

/// Between two attempts to end a row while the database does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Attempts at ending a row. Afterwards the next start of this node ends it.
const ATTEMPTS: u32 = 300;

/// A command, as it is kept.
pub(crate) fn command(entropy: Entropy, started_at: Timestamp, detected: DetectedCommand) -> NewCommand {
    let at = started_at + detected.elapsed;
    NewCommand {
        id: entropy.id(at),
        at,
        elapsed_ms: detected.elapsed.as_micros() / 1000,
        until_ms: detected.until.map(|until| until.as_micros() / 1000),
        command: detected.command,
        output_preview: detected.output_preview,
        source: detected.source.key().to_owned(),
        confidence: detected.confidence.key().to_owned(),
        kind: detected.kind.key().to_owned(),
        exit_code: detected.exit_code.map(i64::from),
    }
}

/// The command of an exec request, of which everything is known.
pub(crate) fn exec(
    entropy: Entropy,
    started_at: Timestamp,
    until: sojourn_domain::time::Elapsed,
    command: &str,
    preview: &[u8],
    exit: Option<&Exit>,
) -> NewCommand {
    let exit_code = match exit {
        Some(Exit::Status(status)) => u8::try_from(*status).ok(),
        Some(Exit::Signal { .. }) | None => None,
    };
    let detected = DetectedCommand {
        elapsed: sojourn_domain::time::Elapsed::ZERO,
        until: Some(until),
        command: command.to_owned(),
        output_preview: self::preview(preview),
        source: Source::Exec,
        confidence: Confidence::Exact,
        kind: Kind::Shell,
        exit_code,
    };
    self::command(entropy, started_at, detected)
}

/// The first lines of an output as text, without what steers a terminal.
fn preview(bytes: &[u8]) -> String {
    const LINES: usize = 20;
    let text = String::from_utf8_lossy(bytes);
    // The last character may have been cut in two.
    let text = text.trim_end_matches('\u{fffd}');
    let lines: Vec<String> = text
        .lines()
        .take(LINES)
        .map(|line| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>())
        .collect();
    lines.join("\n").trim_end().to_owned()
}

pub(crate) fn exit(exit: &Exit) -> SessionExit {
    match exit {
        Exit::Status(status) => SessionExit::Status(*status),
        Exit::Signal { name, .. } => SessionExit::Signal(name.clone()),
    }
}

/// Ends a session's row, however long the database does not answer.
pub(crate) async fn end(store: &Store, id: AccessSessionId, end: &SessionEnd) {
    for attempt in 0..ATTEMPTS {
        match store.session_end(id, end).await {
            Ok(_) => return,
            Err(error) if attempt == 0 => {
                tracing::warn!(session.id = %id, %error, "the end of a session waits to be written");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
    tracing::error!(session.id = %id, "the end of a session was not written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_are_text() {
        assert_eq!(preview(b"a\x1b[31m\tb\r\nc\xc3"), "a[31m\tb\nc");
        assert_eq!(preview("x\n".repeat(50).as_bytes()).lines().count(), 20);
    }
}
