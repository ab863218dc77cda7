//! The TCP connection below SMB, over a stream that was dialled by our rules.
//!
//! The library does not say in NEGOTIATE that it can encrypt (MS-SMB2 2.2.3, SMB2_GLOBAL_CAP_ENCRYPTION), and a server that
//! requires encryption then refuses every share. So the bit is put in here, on the way out. With SMB 3.1.1
//! the keys are bound to the very bytes of that exchange: [`Wire::exchange`] keeps them, for the library to be told.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use smb2::{
    Error,
    transport::{TransportReceive, TransportSend},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Larger than any answer we ask for.
const LARGEST: usize = 16 * 1024 * 1024;
const PROTOCOL: [u8; 4] = [0xfe, b'S', b'M', b'B'];
/// Where the command stands in a header.
const COMMAND: std::ops::Range<usize> = 12..14;
/// Where the lowest byte of a NEGOTIATE request's capabilities stands: a header, and four fields.
const CAPABILITIES: usize = 64 + 8;
const CAN_ENCRYPT: u8 = 0x40;

type Sending<'a, T> = Pin<Box<dyn Future<Output = smb2::Result<T>> + Send + 'a>>;

/// The NEGOTIATE request as it was sent, and its answer.
#[derive(Debug, Default, Clone)]
pub(super) struct Exchange {
    pub(super) request: Vec<u8>,
    pub(super) answer: Vec<u8>,
}

pub(super) struct Wire {
    reader: tokio::sync::Mutex<OwnedReadHalf>,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    exchange: Mutex<Exchange>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Arc<Self> {
        let (reader, writer) = stream.into_split();
        Arc::new(Self {
            reader: tokio::sync::Mutex::new(reader),
            writer: tokio::sync::Mutex::new(writer),
            exchange: Mutex::default(),
        })
    }

    pub(super) fn exchange(&self) -> Exchange {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn write(&self, data: &[u8]) -> smb2::Result<()> {
        let length = u32::try_from(data.len()).ok().filter(|length| *length < 1 << 24);
        let Some(length) = length else { return Err(Error::invalid_data("a message that is too long")) };
        let altered = can_encrypt(data);
        if let Some(altered) = &altered {
            self.exchange.lock().unwrap_or_else(PoisonError::into_inner).request.clone_from(altered);
        }
        let mut writer = self.writer.lock().await;
        writer.write_all(&length.to_be_bytes()).await?;
        writer.write_all(altered.as_deref().unwrap_or(data)).await?;
        Ok(writer.flush().await?)
    }

    async fn read(&self) -> smb2::Result<Vec<u8>> {
        let mut reader = self.reader.lock().await;
        let mut length = [0; 4];
        reader.read_exact(&mut length).await.map_err(lost)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            return Err(Error::invalid_data("the target announced a message that is too long"));
        }
        let mut message = Vec::with_capacity(length);
        (&mut *reader).take(length as u64).read_to_end(&mut message).await.map_err(lost)?;
        if message.len() < length {
            return Err(Error::Disconnected);
        }
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        if exchange.answer.is_empty() {
            exchange.answer.clone_from(&message);
        }
        Ok(message)
    }
}

fn lost(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { Error::Disconnected } else { Error::Io(error) }
}

/// The same message with the bit, where it is a NEGOTIATE request.
fn can_encrypt(message: &[u8]) -> Option<Vec<u8>> {
    let negotiates = message.starts_with(&PROTOCOL) && message.get(COMMAND) == Some([0, 0].as_slice());
    if !negotiates {
        return None;
    }
    let mut altered = message.to_vec();
    *altered.get_mut(CAPABILITIES)? |= CAN_ENCRYPT;
    Some(altered)
}

impl TransportSend for Wire {
    fn send<'a, 'b, 'out>(&'a self, data: &'b [u8]) -> Sending<'out, ()>
    where
        'a: 'out,
        'b: 'out,
    {
        Box::pin(self.write(data))
    }
}

impl TransportReceive for Wire {
    fn receive<'a, 'out>(&'a self) -> Sending<'out, Vec<u8>>
    where
        'a: 'out,
    {
        Box::pin(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_negotiate_request_is_touched() {
        let mut message = vec![0; 110];
        message[..4].copy_from_slice(&PROTOCOL);
        message[CAPABILITIES] = 0x07;
        assert_eq!(can_encrypt(&message).unwrap()[CAPABILITIES], 0x47);
        message[12] = 1;
        assert_eq!(can_encrypt(&message), None);
        assert_eq!(can_encrypt(b"\xfdSMB"), None);
        assert_eq!(can_encrypt(&PROTOCOL), None);
    }
}
