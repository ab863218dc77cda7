//! Where one message ends and the next begins. Both sides of RDP are streams of TPKT (RFC 1006) and fast-path
//! messages (MS-RDPBCGR 2.2.8.1.2, 2.2.9.1.2), which the first byte tells apart.

use bytes::{Buf as _, Bytes, BytesMut};

/// It is neither of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRdp;

/// Cuts a stream into messages. Holds less than one message, of at most 65,535 bytes, and what was fed last.
#[derive(Debug, Default)]
pub struct Framer(BytesMut);

/// The header of X.224 data (class 0), behind that of TPKT.
const DATA: [u8; 3] = [2, 0xf0, 0x80];

impl Framer {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole message.
    #[expect(clippy::should_implement_trait, reason = "it fails, and goes on when more was fed")]
    pub fn next(&mut self) -> Result<Option<Bytes>, NotRdp> {
        let Some(length) = length(&self.0)? else { return Ok(None) };
        if self.0.len() < length {
            return Ok(None);
        }
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

/// How long the message is that these bytes begin, once that can be told.
fn length(bytes: &[u8]) -> Result<Option<usize>, NotRdp> {
    let (length, header) = match *bytes {
        [] => return Ok(None),
        [3, _, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 7),
        [3, ..] => return Ok(None),
        [first, ..] if first & 3 != 0 => return Err(NotRdp),
        [_, high, low, ..] if high & 0x80 != 0 => (usize::from(u16::from_be_bytes([high & 0x7f, low])), 3),
        [_, length, ..] if length & 0x80 == 0 => (usize::from(length), 2),
        [..] => return Ok(None),
    };
    if length < header { Err(NotRdp) } else { Ok(Some(length)) }
}

/// What a message carries.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Input, or pictures.
    FastPath,
    /// An MCS message.
    Mcs(&'a [u8]),
    /// Some other X.224 message.
    Other,
}

pub fn kind(frame: &[u8]) -> Kind<'_> {
    match frame {
        [3, _, _, _, x224 @ ..] => match x224.strip_prefix(&DATA) {
            Some(mcs) => Kind::Mcs(mcs),
            None => Kind::Other,
        },
        _ => Kind::FastPath,
    }
}

/// MCS data on a channel (T.125, sendDataRequest and sendDataIndication).
#[derive(Debug, PartialEq, Eq)]
pub struct Data<'a> {
    pub initiator: u16,
    pub channel: u16,
    pub payload: &'a [u8],
}

/// What an MCS message is, by its first byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Mcs<'a> {
    /// Connect-Initial, Connect-Response.
    Connect,
    /// What sets up the domain: erectDomainRequest, attachUserRequest and -Confirm, channelJoinRequest and -Confirm.
    Setup,
    Request(Data<'a>),
    Indication(Data<'a>),
    Disconnect,
}

/// Reads an MCS message as far as it has to be understood.
pub fn mcs(bytes: &[u8]) -> Result<Mcs<'_>, NotRdp> {
    let first = *bytes.first().ok_or(NotRdp)?;
    if first == 0x7f {
        return Ok(Mcs::Connect);
    }
    Ok(match first >> 2 {
        1 | 10 | 11 | 14 | 15 => Mcs::Setup,
        8 => Mcs::Disconnect,
        25 => Mcs::Request(data(bytes)?),
        26 => Mcs::Indication(data(bytes)?),
        _ => return Err(NotRdp),
    })
}

fn data(bytes: &[u8]) -> Result<Data<'_>, NotRdp> {
    // Choice, initiator (less 1001), channel, priority and segmentation, length (PER).
    let mut rest = bytes.get(1..).ok_or(NotRdp)?;
    if rest.len() < 6 {
        return Err(NotRdp);
    }
    let initiator = rest.get_u16().checked_add(1001).ok_or(NotRdp)?;
    let channel = rest.get_u16();
    // Both bits: begin and end. Parts of a message are not used by RDP.
    if rest.get_u8() & 0x30 != 0x30 {
        return Err(NotRdp);
    }
    let mut length = usize::from(rest.get_u8());
    if length & 0x80 != 0 {
        if rest.is_empty() {
            return Err(NotRdp);
        }
        length = (length & 0x7f) << 8 | usize::from(rest.get_u8());
    }
    if rest.len() != length {
        return Err(NotRdp);
    }
    Ok(Data { initiator, channel, payload: rest })
}

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToTarget,
    ToBrowser,
}

/// A message with data on a channel; `None` where it is too long for one.
pub fn send(way: Way, initiator: u16, channel: u16, payload: &[u8]) -> Option<Bytes> {
    let length = u16::try_from(payload.len()).ok().filter(|length| *length < 0x8000)?;
    let total = u16::try_from(payload.len() + 15).ok()?;
    let mut out = BytesMut::with_capacity(usize::from(total));
    out.extend_from_slice(&[3, 0]);
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&DATA);
    out.extend_from_slice(&[match way {
        Way::ToTarget => 25 << 2,
        Way::ToBrowser => 26 << 2,
    }]);
    out.extend_from_slice(&initiator.checked_sub(1001)?.to_be_bytes());
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&[0x70]);
    // Always in two bytes, which is allowed for short ones, too.
    out.extend_from_slice(&(length | 0x8000).to_be_bytes());
    out.extend_from_slice(payload);
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_wherever_pieces_end() {
        let tpkt = [3, 0, 0, 9, 2, 0xf0, 0x80, 1, 2];
        let short = [4, 4, 7, 8];
        let mut long = vec![0, 0x81, 0x00];
        long.resize(256, 9);
        let all: Vec<u8> = [&tpkt[..], &short, &long, &tpkt].concat();
        for piece in [1, 2, 3, 5, 7, 300] {
            let mut framer = Framer::default();
            let mut frames = Vec::new();
            for piece in all.chunks(piece) {
                framer.feed(piece);
                while let Some(frame) = framer.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&tpkt[..], &short, &long, &tpkt]);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&b"GET "[..], &[3, 0, 0, 6], &[0, 1], &[0, 0x80, 2], &[1, 5]] {
            let mut framer = Framer::default();
            framer.feed(bytes);
            assert_eq!(framer.next(), Err(NotRdp), "{bytes:?}");
        }
    }

    #[test]
    fn data_is_read_as_it_was_written() {
        for way in [Way::ToTarget, Way::ToBrowser] {
            for length in [0, 1, 127, 128, 300, 0x3fff] {
                let payload = vec![7; length];
                let frame = send(way, 1004, 1003, &payload).unwrap();
                let mut framer = Framer::default();
                framer.feed(&frame);
                assert_eq!(framer.next().unwrap().as_ref(), Some(&frame));
                let Kind::Mcs(bytes) = kind(&frame) else { panic!("MCS") };
                let data = match (way, mcs(bytes).unwrap()) {
                    (Way::ToTarget, Mcs::Request(data)) | (Way::ToBrowser, Mcs::Indication(data)) => data,
                    (_, other) => panic!("{other:?}"),
                };
                assert_eq!(data, Data { initiator: 1004, channel: 1003, payload: &payload });
            }
        }
        assert_eq!(send(Way::ToTarget, 1004, 1003, &[0; 0x8000]), None);
    }
}
