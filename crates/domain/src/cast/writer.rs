//! Events into text.

use std::io::Write as _;

use super::{Header, utf8::Utf8Stream};
use crate::time::Elapsed;

/// Writes an asciicast v2, one line an event. It keeps what is left of a split character of each
/// direction, and nothing else: the caller owns the bytes.
///
/// Every method appends whole lines to `out`, or nothing where there is nothing to say yet.
#[derive(Debug, Default)]
pub struct Writer {
    output: Utf8Stream,
    input: Utf8Stream,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    /// The first line.
    pub fn header(&mut self, header: &Header, out: &mut Vec<u8>) {
        number(out, format_args!("{{\"version\":2,\"width\":{},\"height\":{}", header.cols, header.rows));
        if let Some(timestamp) = header.timestamp {
            number(out, format_args!(",\"timestamp\":{timestamp}"));
        }
        if let Some(title) = &header.title {
            out.extend_from_slice(b",\"title\":\"");
            escape(title, out);
            out.push(b'"');
        }
        if !header.env.is_empty() {
            out.extend_from_slice(b",\"env\":{");
            for (position, (name, value)) in header.env.iter().enumerate() {
                out.extend_from_slice(if position == 0 { b"\"" } else { b",\"" });
                escape(name, out);
                out.extend_from_slice(b"\":\"");
                escape(value, out);
                out.push(b'"');
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"}\n");
    }

    /// What the target showed.
    pub fn output(&mut self, elapsed: Elapsed, bytes: &[u8], out: &mut Vec<u8>) {
        stream(&mut self.output, b'o', elapsed, bytes, out);
    }

    /// What the user typed. Whoever records input decides what must not be in it.
    pub fn input(&mut self, elapsed: Elapsed, bytes: &[u8], out: &mut Vec<u8>) {
        stream(&mut self.input, b'i', elapsed, bytes, out);
    }

    pub fn resize(&mut self, elapsed: Elapsed, cols: u16, rows: u16, out: &mut Vec<u8>) {
        begin(b'r', elapsed, out);
        number(out, format_args!("{cols}x{rows}"));
        out.extend_from_slice(b"\"]\n");
    }

    /// A point with a name, such as a gap or a viewer who joined.
    pub fn marker(&mut self, elapsed: Elapsed, label: &str, out: &mut Vec<u8>) {
        begin(b'm', elapsed, out);
        escape(label, out);
        out.extend_from_slice(b"\"]\n");
    }

    /// The streams are over: what was left of split characters is written as U+FFFD.
    pub fn finish(&mut self, elapsed: Elapsed, out: &mut Vec<u8>) {
        for (decoder, code) in [(&mut self.output, b'o'), (&mut self.input, b'i')] {
            if let Some(text) = decoder.finish() {
                begin(code, elapsed, out);
                escape(text, out);
                out.extend_from_slice(b"\"]\n");
            }
        }
    }
}

fn stream(decoder: &mut Utf8Stream, code: u8, elapsed: Elapsed, bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(bytes.len() + bytes.len() / 8 + 32);
    begin(code, elapsed, out);
    let text_start = out.len();
    decoder.decode(bytes, |text| escape(text, out));
    if out.len() == text_start {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"\"]\n");
    }
}

/// `[SECONDS,"CODE","`: time never runs backwards from zero.
fn begin(code: u8, elapsed: Elapsed, out: &mut Vec<u8>) {
    let micros = elapsed.as_micros().max(0);
    number(out, format_args!("[{}.{:06},\"", micros / 1_000_000, micros % 1_000_000));
    out.extend_from_slice(&[code, b'"', b',', b'"']);
}

fn number(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into a vector cannot fail.
    let _ = out.write_fmt(text);
}

/// What a byte needs inside a JSON string: 0 nothing, 1 `\u00XX`, else the letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = 1;
        byte += 1;
    }
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    // Not required, but a recording that is printed raw must not act on a terminal.
    table[0x7f] = 1;
    table
};

/// Copies runs of plain bytes at once: recording a flood must cost little.
fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut start = 0;
    for (position, &byte) in bytes.iter().enumerate() {
        let escaped = ESCAPES[usize::from(byte)];
        if escaped == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[start..position]);
        start = position + 1;
        if escaped == 1 {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        } else {
            out.extend_from_slice(&[b'\\', escaped]);
        }
    }
    out.extend_from_slice(&bytes[start..]);
}
