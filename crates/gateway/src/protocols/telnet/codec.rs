//! The Telnet protocol itself: bytes in, bytes out, no sockets.
//!
//! RFC 854 and 855; options BINARY (856), ECHO (857), SUPPRESS-GO-AHEAD (858), TERMINAL-TYPE (1091), NAWS (1073).
//! Everything else is refused, each request once. We answer and never ask first, and an answer is sent only
//! where it changes something (RFC 1143's rule against loops). A subnegotiation longer than [`SUB_BYTES`] is
//! forgotten; no byte of a peer makes anything here grow.

const SE: u8 = 240;
const BREAK: u8 = 243;
const INTERRUPT: u8 = 244;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;
const TERMINAL_TYPE: u8 = 24;
const NAWS: u8 = 31;

/// What of a subnegotiation is read.
const SUB_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Reading {
    #[default]
    Data,
    /// After a CR: a NUL that follows means nothing.
    Return,
    Command,
    /// The option of WILL, WONT, DO or DONT.
    Option(u8),
    Sub,
    SubCommand,
}

/// One end of a Telnet connection: the client's.
#[derive(Debug)]
pub struct Codec {
    term: String,
    size: (u16, u16),
    reading: Reading,
    sub: Vec<u8>,
    /// What we do: BINARY, SUPPRESS-GO-AHEAD, TERMINAL-TYPE, NAWS.
    ours: [bool; 4],
    /// What the peer does: BINARY, ECHO, SUPPRESS-GO-AHEAD.
    theirs: [bool; 3],
}

impl Codec {
    pub fn new(term: &str, cols: u16, rows: u16) -> Self {
        Self {
            term: term.chars().filter(char::is_ascii_graphic).take(40).collect(),
            size: (cols, rows),
            reading: Reading::Data,
            sub: Vec::new(),
            ours: [false; 4],
            theirs: [false; 3],
        }
    }

    fn ours(&mut self, option: u8) -> Option<&mut bool> {
        let at = match option {
            BINARY => 0,
            SUPPRESS_GO_AHEAD => 1,
            TERMINAL_TYPE => 2,
            NAWS => 3,
            _ => return None,
        };
        self.ours.get_mut(at)
    }

    fn theirs(&mut self, option: u8) -> Option<&mut bool> {
        let at = match option {
            BINARY => 0,
            ECHO => 1,
            SUPPRESS_GO_AHEAD => 2,
            _ => return None,
        };
        self.theirs.get_mut(at)
    }

    /// The peer shows what is typed. Otherwise whoever types does not see it unless we show it.
    pub fn peer_echoes(&self) -> bool {
        self.theirs[1]
    }

    /// Takes what came from the peer: data goes to `data`, answers to `reply`. At most a few bytes of answer come
    /// of each byte.
    pub fn receive(&mut self, bytes: &[u8], data: &mut Vec<u8>, reply: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // Most of it is text: no look at each byte of it.
            if self.reading == Reading::Data {
                let plain = rest.iter().position(|byte| matches!(byte, &IAC | b'\r')).unwrap_or(rest.len());
                if plain > 0 {
                    data.extend_from_slice(&rest[..plain]);
                    rest = &rest[plain..];
                    continue;
                }
            }
            rest = after;
            self.byte(byte, data, reply);
        }
    }

    fn byte(&mut self, byte: u8, data: &mut Vec<u8>, reply: &mut Vec<u8>) {
        self.reading = match (self.reading, byte) {
            (Reading::Data | Reading::Return, IAC) => Reading::Command,
            (Reading::Return, 0) if !self.theirs[0] => Reading::Data,
            (Reading::Data | Reading::Return, byte) => {
                data.push(byte);
                if byte == b'\r' { Reading::Return } else { Reading::Data }
            }
            (Reading::Command, IAC) => {
                data.push(IAC);
                Reading::Data
            }
            (Reading::Command, WILL | WONT | DO | DONT) => Reading::Option(byte),
            (Reading::Command, SB) => {
                self.sub.clear();
                Reading::Sub
            }
            // Go ahead, end of record, are you there and their like.
            (Reading::Command, _) => Reading::Data,
            (Reading::Option(verb), option) => {
                self.negotiate(verb, option, reply);
                Reading::Data
            }
            (Reading::Sub, IAC) => Reading::SubCommand,
            (Reading::Sub, byte) => {
                self.keep(byte);
                Reading::Sub
            }
            (Reading::SubCommand, IAC) => {
                self.keep(IAC);
                Reading::Sub
            }
            (Reading::SubCommand, SE) => {
                self.answer_sub(reply);
                Reading::Data
            }
            // A command in the middle: the peer has lost count.
            (Reading::SubCommand, _) => Reading::Data,
        };
    }

    fn keep(&mut self, byte: u8) {
        if self.sub.len() < SUB_BYTES {
            self.sub.push(byte);
        }
    }

    fn negotiate(&mut self, verb: u8, option: u8, reply: &mut Vec<u8>) {
        let on = matches!(verb, WILL | DO);
        let theirs = matches!(verb, WILL | WONT);
        let (yes, no) = if theirs { (DO, DONT) } else { (WILL, WONT) };
        let state = if theirs { self.theirs(option) } else { self.ours(option) };
        match state {
            Some(state) if *state != on => {
                *state = on;
                reply.extend([IAC, if on { yes } else { no }, option]);
                if on && !theirs && option == NAWS {
                    self.tell_size(reply);
                }
            }
            // As it is already.
            Some(_) => {}
            None if on => reply.extend([IAC, no, option]),
            None => {}
        }
    }

    fn answer_sub(&mut self, reply: &mut Vec<u8>) {
        const SEND: u8 = 1;
        const IS: u8 = 0;
        if self.sub.as_slice() == [TERMINAL_TYPE, SEND] && self.ours[2] {
            reply.extend([IAC, SB, TERMINAL_TYPE, IS]);
            reply.extend(self.term.bytes());
            reply.extend([IAC, SE]);
        }
        self.sub.clear();
    }

    fn tell_size(&self, out: &mut Vec<u8>) {
        out.extend([IAC, SB, NAWS]);
        for byte in self.size.0.to_be_bytes().into_iter().chain(self.size.1.to_be_bytes()) {
            out.push(byte);
            if byte == IAC {
                out.push(IAC);
            }
        }
        out.extend([IAC, SE]);
    }

    /// The terminal has another size.
    pub fn resize(&mut self, cols: u16, rows: u16, out: &mut Vec<u8>) {
        self.size = (cols, rows);
        if self.ours[3] {
            self.tell_size(out);
        }
    }

    /// Keys on their way to the peer.
    pub fn send(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.reserve(bytes.len() + 8);
        for (at, byte) in bytes.iter().enumerate() {
            out.push(*byte);
            match byte {
                &IAC => out.push(IAC),
                // A return alone is followed by a NUL, a new line by a line feed.
                b'\r' if !self.ours[0] && bytes.get(at + 1) != Some(&b'\n') => out.push(0),
                _ => {}
            }
        }
    }

    pub fn send_break(&self, out: &mut Vec<u8>) {
        out.extend([IAC, BREAK]);
    }

    pub fn send_interrupt(&self, out: &mut Vec<u8>) {
        out.extend([IAC, INTERRUPT]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codec() -> Codec {
        Codec::new("xterm-256color", 80, 24)
    }

    fn receive(codec: &mut Codec, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut data, mut reply) = (Vec::new(), Vec::new());
        codec.receive(bytes, &mut data, &mut reply);
        (data, reply)
    }

    #[test]
    fn options_are_taken_or_refused_once() {
        let mut codec = codec();
        let asked =
            [IAC, DO, TERMINAL_TYPE, IAC, DO, 39, IAC, WILL, ECHO, IAC, WILL, 25, IAC, DO, TERMINAL_TYPE];
        let (data, reply) = receive(&mut codec, &asked);
        assert!(data.is_empty() && codec.peer_echoes());
        assert_eq!(reply, [IAC, WILL, TERMINAL_TYPE, IAC, WONT, 39, IAC, DO, ECHO, IAC, DONT, 25]);
        let (_, reply) = receive(&mut codec, &[IAC, SB, TERMINAL_TYPE, 1, IAC, SE]);
        assert_eq!(reply, b"\xff\xfa\x18\x00xterm-256color\xff\xf0");
        assert_eq!(receive(&mut codec, &[IAC, WONT, ECHO]).1, [IAC, DONT, ECHO]);
        assert!(!codec.peer_echoes());
    }

    #[test]
    fn sizes_are_told_when_asked_for_and_when_they_change() {
        let mut codec = codec();
        let mut out = Vec::new();
        codec.resize(255, 50, &mut out);
        assert!(out.is_empty());
        let (_, reply) = receive(&mut codec, &[IAC, DO, NAWS]);
        assert_eq!(reply, [IAC, WILL, NAWS, IAC, SB, NAWS, 0, 255, 255, 0, 50, IAC, SE]);
        codec.resize(100, 30, &mut out);
        assert_eq!(out, [IAC, SB, NAWS, 0, 100, 0, 30, IAC, SE]);
    }

    #[test]
    fn returns_and_bytes_of_255_survive() {
        let mut codec = codec();
        let mut out = Vec::new();
        codec.send(b"a\r\xffb\r\nc", &mut out);
        assert_eq!(out, b"a\r\0\xff\xffb\r\nc");
        assert_eq!(receive(&mut codec, b"x\r\0y\r\nz\xff\xff\xff\xef.").0, b"x\ry\r\nz\xff.");
        receive(&mut codec, &[IAC, DO, BINARY, IAC, WILL, BINARY]);
        assert_eq!(receive(&mut codec, b"x\r\0").0, b"x\r\0");
        out.clear();
        codec.send(b"\r", &mut out);
        assert_eq!(out, b"\r");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_do_the_same_and_little(
            bytes in prop::collection::vec(prop_oneof![Just(IAC), Just(SB), Just(SE), Just(DO), Just(WILL), any::<u8>()], 0..400),
            cut in 1usize..20,
        ) {
            let mut whole = codec();
            let expected = receive(&mut whole, &bytes);
            let mut pieces = codec();
            let (mut data, mut reply) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                pieces.receive(piece, &mut data, &mut reply);
            }
            prop_assert_eq!((&data, &reply), (&expected.0, &expected.1));
            prop_assert!(data.len() <= bytes.len() && reply.len() <= bytes.len() * 6);
            prop_assert!(pieces.sub.len() <= SUB_BYTES);
        }

        #[test]
        fn what_is_sent_arrives(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            codec().send(&bytes, &mut out);
            let received = receive(&mut codec(), &out).0;
            // A NUL that was typed right after a return cannot be told from the one that the protocol adds.
            let mut expected = Vec::new();
            for byte in &bytes {
                expected.push(*byte);
            }
            prop_assert!(received == expected || bytes.windows(2).any(|pair| pair == b"\r\0"));
        }
    }
}
