//! Any bytes from a client of our SFTP server, in any pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::sftp_front::{Framer, greeting, request};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, bytes.len().max(1));
    let cut = bytes.first().map_or(1, |byte| usize::from(byte % 16) + 1);
    assert_eq!(read(bytes, cut), whole);
});

fn read(bytes: &[u8], cut: usize) -> Vec<String> {
    let mut framer = Framer::default();
    let mut read = Vec::new();
    for piece in bytes.chunks(cut) {
        framer.push(piece);
        loop {
            match framer.packet() {
                Ok(Some(packet)) => {
                    read.push(format!("{:?} {:?}", greeting(&packet), request(packet)));
                }
                Ok(None) => break,
                Err(nonsense) => {
                    read.push(nonsense.to_string());
                    return read;
                }
            }
        }
    }
    read
}
