//! Any bytes from a VNC target and from a browser, in any pieces: the handshakes, and what comes after them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sojourn_fuzz::{
    vnc_browser::Welcome,
    vnc_downward::Downward,
    vnc_handshake::{Handshake, Means, Next},
    vnc_upward::{Allows, Upward},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(choice % 16) + 1;
    let flag = |bit: u8| choice & bit != 0;
    let whole = bytes.len().max(1);

    let means = Means {
        password: flag(16),
        username: flag(32),
        certificate_only: flag(64),
        without_vencrypt: flag(128),
    };
    assert_eq!(shake(means, bytes, cut), shake(means, bytes, whole));

    let mut answer = Vec::new();
    let mut welcome = Welcome::new(640, 480, "lab");
    for piece in bytes.chunks(cut) {
        if !matches!(welcome.take(piece, &mut answer), Ok(None)) {
            break;
        }
    }

    let allows = Allows { input: flag(16), paste: flag(32), copy: flag(64) };
    let up = |cut| {
        let (mut reader, mut out) = (Upward::new(allows), Vec::new());
        let good = bytes.chunks(cut).try_for_each(|piece| reader.take(piece, &mut out));
        // Nothing is made up.
        assert!(out.len() <= bytes.len());
        (good, out, reader.counts())
    };
    assert_eq!(up(cut), up(whole));

    let down = |cut| {
        let (mut reader, mut out) = (Downward::new(flag(16)), Vec::new());
        let good = bytes.chunks(cut).try_for_each(|piece| reader.take(piece, &mut out));
        assert!(out.len() <= bytes.len());
        (good, out)
    };
    assert_eq!(down(cut), down(whole));
});

/// What is sent to the target, and how it goes on.
fn shake(means: Means, bytes: &[u8], cut: usize) -> (Vec<u8>, String) {
    let mut handshake = Handshake::new(means);
    let mut sent = Vec::new();
    let mut pieces = bytes.chunks(cut);
    loop {
        match handshake.step() {
            Ok(Next::Read) => match pieces.next() {
                Some(piece) => handshake.feed(piece),
                None => return (sent, format!("{:?}", handshake.hung_up())),
            },
            Ok(Next::Send(bytes)) => sent.extend(bytes),
            // TLS is not for pieces: what is fed before it is refused, however it was cut.
            Ok(Next::Secure) => return (sent, String::new()),
            Err(refused) if format!("{refused:?}").contains("begin TLS") => return (sent, String::new()),
            Ok(Next::Challenge(challenge)) => sent.extend(handshake.answer(challenge)),
            Ok(Next::Plain) => sent.extend(handshake.name_and_password("me", "secret")),
            Ok(Next::Done(desktop)) => return (sent, format!("{desktop:?}")),
            Err(refused) => return (sent, format!("{refused:?}")),
        }
    }
}
