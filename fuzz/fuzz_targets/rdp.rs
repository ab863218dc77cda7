//! Any messages from an RDP target and from a browser, in any order, as they pass between them; and any bytes that are to be cut into
//! messages, in any pieces.

#![no_main]

use bytes::Bytes;
use ironrdp_pdu::nego::SecurityProtocol;
use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::rdp::{
    clean_path::Request,
    clipboard::Clips,
    frame::{Framer, Kind, Way, kind},
    login::Login,
    relay::{Allows, Out, Relay},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(choice % 16) + 1;
    let flag = |bit: u8| choice & bit != 0;
    let whole = bytes.len().max(1);

    let frames = |cut: usize| {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for piece in bytes.chunks(cut) {
            framer.feed(piece);
            loop {
                match framer.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(_) => return (frames, true),
                }
            }
        }
        (frames, false)
    };
    assert_eq!(frames(cut), frames(whole));

    let mut request = Request::default();
    for piece in bytes.chunks(cut) {
        if !matches!(request.take(piece), Ok(None)) {
            break;
        }
    }

    let allows = Allows { input: flag(16), clips: Clips { copy: flag(32), paste: flag(64), files: flag(128) } };
    let mut relay = Relay::new(Login::new("HOUSE\\me", "secret"), SecurityProtocol::HYBRID, allows);
    let (mut rest, mut came) = (bytes, 0);
    // From whom, its length, and the message.
    while let [from, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        came += length;
        let mut out = Out::default();
        let frame = Bytes::copy_from_slice(frame);
        let passed = match from % 2 {
            0 => relay.up(frame, &mut out),
            _ => relay.down(frame, &mut out),
        };
        if !allows.input {
            assert!(out.to_target.iter().all(|frame| kind(frame) != Kind::FastPath), "only input comes so");
        }
        // Nothing is made up: names, answers and channels are the most that is added.
        let sent: usize = out.to_target.iter().chain(&out.to_browser).map(Bytes::len).sum();
        assert!(sent <= came * 2 + 4096, "{sent} of {came}");
        if passed.is_err() {
            break;
        }
    }
    let _ = (relay.take_acts(), relay.passed(Way::ToTarget), relay.error());
});
