//! The queues between a connection's event loop and its handles.
//!
//! They are `tokio`'s, of boxed messages: `tokio` reserves room for 32 messages in every queue as soon as it
//! is made, and a connection has six of them. Of messages in place, of which the largest decides, that
//! is 24 KB for a connection where nothing happens.

use tokio::sync::mpsc;
pub(crate) use tokio::sync::mpsc::error::{SendError, TryRecvError};

#[derive(Debug)]
pub(crate) struct Sender<T>(mpsc::Sender<Box<T>>);

#[derive(Debug)]
pub(crate) struct Receiver<T>(mpsc::Receiver<Box<T>>);

#[derive(Debug)]
pub(crate) struct UnboundedSender<T>(mpsc::UnboundedSender<Box<T>>);

#[derive(Debug)]
pub(crate) struct UnboundedReceiver<T>(mpsc::UnboundedReceiver<Box<T>>);

/// Room for one message.
pub(crate) struct OwnedPermit<T>(mpsc::OwnedPermit<Box<T>>);

pub(crate) fn channel<T>(size: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(size);
    (Sender(sender), Receiver(receiver))
}

pub(crate) fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (UnboundedSender(sender), UnboundedReceiver(receiver))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Sender<T> {
    pub(crate) async fn send(&self, msg: T) -> Result<(), SendError<T>> {
        let sent = self.0.send(Box::new(msg)).await;
        sent.map_err(|SendError(msg)| SendError(*msg))
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn try_send(&self, msg: T) -> Result<(), mpsc::error::TrySendError<Box<T>>> {
        self.0.try_send(Box::new(msg))
    }

    pub(crate) async fn reserve_owned(self) -> Result<OwnedPermit<T>, SendError<()>> {
        self.0.reserve_owned().await.map(OwnedPermit)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> OwnedPermit<T> {
    pub(crate) fn send(self, msg: T) {
        self.0.send(Box::new(msg));
    }
}

impl<T> UnboundedSender<T> {
    pub(crate) fn send(&self, msg: T) -> Result<(), SendError<T>> {
        let sent = self.0.send(Box::new(msg));
        sent.map_err(|SendError(msg)| SendError(*msg))
    }
}

impl<T> Receiver<T> {
    /// May be dropped and asked again.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        self.0.recv().await.map(|msg| *msg)
    }

    pub(crate) fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map(|msg| *msg)
    }

    pub(crate) fn close(&mut self) {
        self.0.close();
    }
}

impl<T> UnboundedReceiver<T> {
    /// May be dropped and asked again.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        self.0.recv().await.map(|msg| *msg)
    }

    pub(crate) fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.try_recv().map(|msg| *msg)
    }

    pub(crate) fn close(&mut self) {
        self.0.close();
    }
}
