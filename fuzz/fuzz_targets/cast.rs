//! Any bytes as a recording: whatever reads is written and read again the same, and its plain text
//! cannot act on a terminal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_domain::cast::{Event, EventData, Header, Reader, Transcript, Writer};

fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = Reader::new(bytes) else { return };
    let (cols, rows) = (reader.header().cols.min(300), reader.header().rows.min(100));
    let events: Vec<Event> = reader.map_while(Result::ok).collect();
    let mut writer = Writer::new();
    let mut out = Vec::new();
    writer.header(&Header { cols, rows, ..Header::default() }, &mut out);
    let mut transcript = Transcript::new(cols, rows);
    let mut lines = Vec::new();
    let mut shown = String::new();
    for event in &events {
        if let EventData::Output(text) = &event.data {
            shown.push_str(text);
            writer.output(event.elapsed, text.as_bytes(), &mut out);
            lines.extend(transcript.event(&event.data));
        }
    }
    lines.extend(transcript.finish());
    assert!(lines.iter().all(|line| !line.contains(['\u{1b}', '\n', '\r'])));
    let mut again = String::new();
    for event in Reader::new(out.as_slice()).expect("what was written") {
        if let EventData::Output(text) = event.expect("what was written").data {
            again.push_str(&text);
        }
    }
    assert_eq!(again, shown);
});
