//! `sojourn commands`: the command detector over a recording.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use sojourn_domain::{
    cast::{EventData, Reader},
    commands::{DetectedCommand, Detector},
    time::Elapsed,
};

use super::{print, print_json, table};

#[derive(Debug, Args)]
pub(super) struct Commands {
    /// An asciicast of version 2 or 3; with the input in it, more is found
    #[arg(value_name = "FILE.cast")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Commands {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let found = detect(&self.file).with_context(|| format!("read {}", self.file.display()))?;
        if self.json {
            let commands: Vec<_> = found
                .iter()
                .map(|entry| {
                    json!({
                        "elapsed": entry.elapsed.as_millis(),
                        "command": entry.command,
                        "output_preview": entry.output_preview,
                        "source": entry.source.key(),
                        "confidence": entry.confidence.key(),
                        "kind": entry.kind.key(),
                    })
                })
                .collect();
            return print_json(&json!({ "commands": commands }));
        }
        let rows = found.iter().map(|entry| {
            let seconds = entry.elapsed.as_millis() / 1000;
            [
                format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
                entry.kind.to_string(),
                entry.confidence.to_string(),
                entry.command.replace('\n', " ⏎ "),
            ]
        });
        print(&table(["TIME", "KIND", "CONFIDENCE", "COMMAND"], rows))
    }
}

fn open(file: &Path) -> anyhow::Result<Reader<BufReader<File>>> {
    Ok(Reader::new(BufReader::with_capacity(1 << 16, File::open(file)?))?)
}

fn detect(file: &Path) -> anyhow::Result<Vec<DetectedCommand>> {
    let mut has_input = false;
    for event in open(file)? {
        if matches!(event?.data, EventData::Input(_)) {
            has_input = true;
            break;
        }
    }
    let reader = open(file)?;
    let (cols, rows) = (reader.header().cols, reader.header().rows);
    let mut detector =
        if has_input { Detector::new(cols, rows) } else { Detector::without_input(cols, rows) };
    let mut last = Elapsed::ZERO;
    let mut found = Vec::new();
    for event in reader {
        let event = event?;
        last = event.elapsed;
        match event.data {
            EventData::Output(text) => detector.output(last, text.as_bytes()),
            EventData::Input(text) => detector.input(last, text.as_bytes()),
            EventData::Resize { cols, rows } => detector.resize(last, cols, rows),
            EventData::Marker(_) | EventData::Exit(_) | EventData::Other { .. } => {}
        }
        found.append(&mut detector.take());
    }
    detector.finish(last);
    found.append(&mut detector.take());
    // A line that a program read is known only when its command is over.
    found.sort_by_key(|entry| entry.elapsed);
    Ok(found)
}
