//! What SFTP targets answer.

use bytes::Bytes;

use super::{Entry, FsError, FsResult};

#[path = "../../../crates/gateway/src/files/sftp/wire.rs"]
#[expect(dead_code, reason = "requests are not fuzzed")]
mod wire;

/// What of an answer is read.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub kind: u8,
    pub names: FsResult<Option<Vec<Entry>>>,
    pub entry: FsResult<Entry>,
    pub fault: FsResult<FsError>,
}

/// Reads a stream in pieces of `cut` bytes, each packet as every kind of answer.
pub fn read(stream: &[u8], cut: usize) -> (Vec<Answer>, Option<FsError>) {
    let mut framer = wire::Framer::default();
    let mut answers = Vec::new();
    for piece in stream.chunks(cut) {
        framer.push(piece);
        loop {
            match framer.packet() {
                Ok(Some((kind, body))) => answers.push(answer(kind, body)),
                Ok(None) => break,
                Err(error) => return (answers, Some(error)),
            }
        }
    }
    (answers, None)
}

fn answer(kind: u8, body: Bytes) -> Answer {
    let body = |skip: usize| wire::Reader(body.slice(skip.min(body.len())..));
    // After the number of the request.
    let fault = |mut reader: wire::Reader| {
        let code = reader.u32()?;
        Ok(wire::fault(code, &reader.string()?))
    };
    Answer {
        kind,
        names: body(4).names(),
        entry: body(4).attributes().map(|attributes| attributes.entry(b"name".to_vec())),
        fault: fault(body(4)),
    }
}
