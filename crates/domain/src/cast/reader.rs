//! Text into events.

use std::{collections::BTreeMap, io::BufRead};

use serde::Deserialize;

use super::Header;
use crate::time::Elapsed;

/// A line longer than this is no recording of a terminal.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Since the recording began.
    pub elapsed: Elapsed,
    pub data: EventData,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventData {
    Output(String),
    Input(String),
    Resize {
        cols: u16,
        rows: u16,
    },
    Marker(String),
    /// The program ended with this status (asciicast v3).
    Exit(String),
    /// A kind this version does not know.
    Other {
        code: String,
        data: String,
    },
}

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    #[error("read line {line}: {source}")]
    Read {
        line: u64,
        #[source]
        source: std::io::Error,
    },
    #[error("the file is empty")]
    Empty,
    #[error("line 1 is not the header of an asciicast: {0}")]
    Header(String),
    #[error("asciicast version {0} is not supported, only 2 and 3 are")]
    Version(u64),
    #[error("line {line} is not an event: {detail}")]
    Event { line: u64, detail: String },
    #[error("line {0} is longer than 64 MiB")]
    Long(u64),
}

/// Reads an asciicast, version 2 or 3, event by event; it holds one line at a time. A last line that
/// was cut off is the end: a recording that is still being written, or was torn by a crash, reads
/// as far as it goes.
pub struct Reader<R> {
    lines: Lines<R>,
    header: Header,
    version: u64,
    last: Elapsed,
    ended: bool,
    cut: bool,
}

#[derive(Deserialize)]
struct RawHeader {
    version: u64,
    #[serde(default)]
    width: Option<u64>,
    #[serde(default)]
    height: Option<u64>,
    #[serde(default)]
    term: Option<RawTerm>,
    #[serde(default)]
    timestamp: Option<f64>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    env: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct RawTerm {
    #[serde(default)]
    cols: Option<u64>,
    #[serde(default)]
    rows: Option<u64>,
}

/// A terminal's side, in cells: at least 1, and no more than a terminal has.
fn side(value: Option<u64>, otherwise: u16) -> u16 {
    value.and_then(|value| u16::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(otherwise)
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Result<Self, CastError> {
        let mut lines = Lines { input, buffer: Vec::new(), number: 0 };
        if !lines.next()? {
            return Err(CastError::Empty);
        }
        let line = lines.buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&lines.buffer);
        let raw: RawHeader =
            serde_json::from_slice(line).map_err(|error| CastError::Header(error.to_string()))?;
        let (cols, rows) = match raw.version {
            2 => (raw.width, raw.height),
            3 => raw.term.map_or((None, None), |term| (term.cols, term.rows)),
            other => return Err(CastError::Version(other)),
        };
        let env = raw.env.unwrap_or_default();
        let header = Header {
            cols: side(cols, 80),
            rows: side(rows, 24),
            timestamp: raw.timestamp.map(|seconds| seconds as i64),
            title: raw.title,
            env: env.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        };
        Ok(Self { lines, header, version: raw.version, last: Elapsed::default(), ended: false, cut: false })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the last line was cut off. Known once the events are over.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    fn read(&mut self) -> Result<Option<Event>, CastError> {
        loop {
            if !self.lines.next()? {
                return Ok(None);
            }
            let line = self.lines.buffer.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            return match serde_json::from_slice::<(f64, String, String)>(line) {
                Ok((seconds, code, data)) => self.event(seconds, code, data).map(Some),
                Err(_) if self.lines.is_last()? => {
                    self.cut = true;
                    Ok(None)
                }
                Err(error) => Err(CastError::Event { line: self.lines.number, detail: error.to_string() }),
            };
        }
    }

    fn event(&mut self, seconds: f64, code: String, data: String) -> Result<Event, CastError> {
        let time = Elapsed::from_micros((seconds * 1e6).round() as i64);
        let elapsed = match self.version {
            // Version 3 counts from the event before.
            3 => Elapsed::from_micros(self.last.as_micros().saturating_add(time.as_micros().max(0))),
            _ => time,
        };
        self.last = elapsed;
        let data = match code.as_str() {
            "o" => EventData::Output(data),
            "i" => EventData::Input(data),
            "m" => EventData::Marker(data),
            "x" => EventData::Exit(data),
            "r" => {
                let size = data.split_once('x').and_then(|(cols, rows)| {
                    Some((cols.trim().parse::<u16>().ok()?, rows.trim().parse::<u16>().ok()?))
                });
                let Some((cols, rows)) = size.filter(|(cols, rows)| *cols > 0 && *rows > 0) else {
                    let detail = format!("{data:?} is not a size such as 80x24");
                    return Err(CastError::Event { line: self.lines.number, detail });
                };
                EventData::Resize { cols, rows }
            }
            _ => EventData::Other { code, data },
        };
        Ok(Event { elapsed, data })
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Event, CastError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.read().transpose();
        self.ended = !matches!(event, Some(Ok(_)));
        event
    }
}

struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line into the buffer; false at the end.
    fn next(&mut self) -> Result<bool, CastError> {
        self.buffer.clear();
        self.number += 1;
        let line = self.number;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                result => result.map_err(|source| CastError::Read { line, source })?,
            };
            if available.is_empty() {
                return Ok(!self.buffer.is_empty());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let used = end.unwrap_or(available.len());
            if self.buffer.len() + used > MAX_LINE_BYTES {
                return Err(CastError::Long(line));
            }
            self.buffer.extend_from_slice(&available[..used]);
            self.input.consume(used + usize::from(end.is_some()));
            if end.is_some() {
                // An empty line is a line too.
                if self.buffer.is_empty() {
                    self.buffer.push(b' ');
                }
                return Ok(true);
            }
        }
    }

    fn is_last(&mut self) -> Result<bool, CastError> {
        let line = self.number;
        self.input.fill_buf().map(<[u8]>::is_empty).map_err(|source| CastError::Read { line, source })
    }
}
