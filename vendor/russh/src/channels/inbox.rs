//! The queue between a session's event loop and the consumer of one channel.
//!
//! The event loop must never wait for the consumer of a channel: it serves all the channels of
//! the connection. So [`InboxSender::deliver`] does not wait. What keeps the queue small instead
//! is the channel's window: received data counts against it until the consumer takes the data
//! (see [`ChannelTable::due`](super::ChannelTable::due)), so that a peer whose channel is not
//! read runs out of window while the other channels go on. Small pieces of data are put together,
//! so that a queue's memory follows from the window and not from the number of packets. Everything
//! else is bounded by number.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::ChannelMsg;
use crate::Error;

/// Adjacent data of one stream is put together up to this size.
const PIECE: usize = 32 * 1024;
/// A stream's data may overtake another stream's (the order between standard output and standard
/// error means nothing) once so many pieces wait.
const PIECES_BEFORE_SORTING: usize = 64;

#[derive(Debug)]
enum Entry {
    Data { ext: Option<u32>, data: Piece },
    Control(ChannelMsg),
}

#[derive(Debug)]
enum Piece {
    /// As it was received.
    Received(Bytes),
    /// Put together from several packets.
    Joined(BytesMut),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Received(bytes) => bytes.len(),
            Piece::Joined(bytes) => bytes.len(),
        }
    }

    fn append(&mut self, more: &[u8]) {
        if let Piece::Received(bytes) = self {
            let bytes = std::mem::take(bytes);
            *self = Piece::Joined(bytes.try_into_mut().unwrap_or_else(|b| BytesMut::from(&b[..])));
        }
        if let Piece::Joined(bytes) = self {
            bytes.extend_from_slice(more);
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Piece::Received(bytes) => bytes,
            Piece::Joined(bytes) => bytes.freeze(),
        }
    }
}

#[derive(Debug)]
struct State {
    entries: VecDeque<Entry>,
    /// How many of the entries are not data.
    controls: usize,
    /// Bytes of data that wait.
    buffered: usize,
    /// Bytes of data that were taken since the event loop last gave window back.
    taken: usize,
    /// So many bytes taken are worth telling the event loop.
    worth_telling: usize,
    /// Where the event loop waits for window to give back; set once it knows the channel.
    window_returns: Option<Arc<Notify>>,
    waker: Option<Waker>,
    sender_gone: bool,
    /// Nothing is taken any more, or nothing but what waits already.
    closed: bool,
}

impl State {
    fn count_taken(&mut self, len: usize) {
        self.taken = self.taken.saturating_add(len);
        if self.taken >= self.worth_telling
            && let Some(window_returns) = &self.window_returns
        {
            window_returns.notify_one();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn push_data(&mut self, ext: Option<u32>, data: Bytes) {
        let sort = self.entries.len() >= PIECES_BEFORE_SORTING;
        for entry in self.entries.iter_mut().rev() {
            match entry {
                Entry::Data { ext: other, data: piece } if *other == ext => {
                    if piece.len() + data.len() > PIECE {
                        break;
                    }
                    piece.append(&data);
                    return;
                }
                Entry::Data { .. } if sort => {}
                Entry::Data { .. } | Entry::Control(_) => break,
            }
        }
        self.entries.push_back(Entry::Data {
            ext,
            data: Piece::Received(data),
        });
    }

    /// A newer message of this kind replaces one that waits.
    fn replace(&mut self, msg: &ChannelMsg) -> bool {
        let waiting = self.entries.iter_mut().rev().find_map(|entry| match entry {
            Entry::Control(old)
                if std::mem::discriminant(&*old) == std::mem::discriminant(msg) =>
            {
                Some(old)
            }
            Entry::Control(_) | Entry::Data { .. } => None,
        });
        match (waiting, msg) {
            (Some(old), ChannelMsg::WindowAdjusted { new_size }) => {
                *old = ChannelMsg::WindowAdjusted {
                    new_size: *new_size,
                };
                true
            }
            (
                Some(old),
                ChannelMsg::WindowChange {
                    col_width,
                    row_height,
                    pix_width,
                    pix_height,
                },
            ) => {
                *old = ChannelMsg::WindowChange {
                    col_width: *col_width,
                    row_height: *row_height,
                    pix_width: *pix_width,
                    pix_height: *pix_height,
                };
                true
            }
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Inbox {
    state: Mutex<State>,
    control_limit: usize,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event loop's end.
#[derive(Debug)]
pub struct InboxSender(Arc<Inbox>);

/// The consumer's end.
#[derive(Debug)]
pub struct InboxReceiver(Arc<Inbox>);

/// Makes an inbox that holds at most `control_limit` messages besides data.
pub(crate) fn inbox(control_limit: usize) -> (InboxSender, InboxReceiver) {
    let inbox = Arc::new(Inbox {
        state: Mutex::new(State {
            entries: VecDeque::new(),
            controls: 0,
            buffered: 0,
            taken: 0,
            worth_telling: 1,
            window_returns: None,
            waker: None,
            sender_gone: false,
            closed: false,
        }),
        control_limit: control_limit.max(1),
    });
    (InboxSender(inbox.clone()), InboxReceiver(inbox))
}

impl InboxSender {
    /// Puts a message into the queue, without waiting. A consumer that is gone is no error.
    ///
    /// Fails when too many messages besides data wait: a peer that sends hundreds of requests in a
    /// channel that nobody reads is not served any longer.
    pub(crate) fn deliver(&self, msg: ChannelMsg) -> Result<(), Error> {
        let mut state = self.0.lock();
        if state.closed {
            return Ok(());
        }
        match msg {
            ChannelMsg::Data { data } => {
                state.buffered += data.len();
                state.push_data(None, data);
            }
            ChannelMsg::ExtendedData { data, ext } => {
                state.buffered += data.len();
                state.push_data(Some(ext), data);
            }
            msg => {
                let only_the_last_counts = matches!(msg, ChannelMsg::WindowAdjusted { .. })
                    || state.controls >= self.0.control_limit;
                if only_the_last_counts && state.replace(&msg) {
                    return Ok(());
                }
                let ends = matches!(msg, ChannelMsg::Eof | ChannelMsg::Close);
                if state.controls >= self.0.control_limit && !ends {
                    return Err(Error::Pending);
                }
                state.controls += 1;
                state.entries.push_back(Entry::Control(msg));
            }
        }
        state.wake();
        Ok(())
    }

    pub(super) fn attach(&self, window_returns: Arc<Notify>, target: u32) {
        let mut state = self.0.lock();
        state.window_returns = Some(window_returns);
        state.worth_telling = (target as usize / 2).max(1);
    }

    /// Has enough been taken to give window back?
    pub(super) fn due(&self) -> bool {
        let state = self.0.lock();
        state.taken >= state.worth_telling
    }

    /// The bytes that wait, for the event loop that is about to give window back. `target` is the
    /// window that it aims at.
    pub(super) fn settle(&self, target: u32) -> usize {
        let mut state = self.0.lock();
        state.taken = 0;
        state.worth_telling = (target as usize / 2).max(1);
        state.buffered
    }
}

impl Drop for InboxSender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.sender_gone = true;
        state.window_returns = None;
        state.wake();
    }
}

impl InboxReceiver {
    pub(crate) async fn recv(&mut self) -> Option<ChannelMsg> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<ChannelMsg>> {
        let mut state = self.0.lock();
        match state.entries.pop_front() {
            Some(Entry::Data { ext, data }) => {
                state.buffered -= data.len();
                state.count_taken(data.len());
                drop(state);
                let data = data.into_bytes();
                Poll::Ready(Some(match ext {
                    None => ChannelMsg::Data { data },
                    Some(ext) => ChannelMsg::ExtendedData { data, ext },
                }))
            }
            Some(Entry::Control(msg)) => {
                state.controls -= 1;
                Poll::Ready(Some(msg))
            }
            None if state.sender_gone || state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes nothing more than what waits already.
    pub(crate) fn close(&mut self) {
        self.0.lock().closed = true;
    }
}

impl Drop for InboxReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.entries = VecDeque::new();
        state.controls = 0;
        let buffered = std::mem::take(&mut state.buffered);
        state.count_taken(buffered);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use futures::FutureExt;

    use super::*;

    fn data(len: usize) -> ChannelMsg {
        ChannelMsg::Data {
            data: Bytes::from(vec![7; len]),
        }
    }

    fn take(receiver: &mut InboxReceiver) -> Option<ChannelMsg> {
        receiver.recv().now_or_never().flatten()
    }

    #[test]
    fn small_packets_are_put_together() {
        let (sender, mut receiver) = inbox(8);
        for _ in 0..PIECE * 3 {
            sender.deliver(data(1)).unwrap();
        }
        assert_eq!(sender.0.lock().entries.len(), 3);
        let mut total = 0;
        while let Some(ChannelMsg::Data { data }) = take(&mut receiver) {
            total += data.len();
        }
        assert_eq!(total, PIECE * 3);
        assert_eq!(sender.0.lock().buffered, 0);
    }

    #[test]
    fn two_streams_that_take_turns_do_not_grow_the_queue() {
        let (sender, mut receiver) = inbox(8);
        for _ in 0..100_000 {
            sender.deliver(data(1)).unwrap();
            sender
                .deliver(ChannelMsg::ExtendedData {
                    ext: 1,
                    data: Bytes::from_static(b"e"),
                })
                .unwrap();
        }
        assert!(sender.0.lock().entries.len() < PIECES_BEFORE_SORTING + 10);
        let (mut out, mut err) = (0, 0);
        while let Some(msg) = take(&mut receiver) {
            match msg {
                ChannelMsg::Data { data } => out += data.len(),
                ChannelMsg::ExtendedData { data, .. } => err += data.len(),
                msg => panic!("unexpected message: {msg:?}"),
            }
        }
        assert_eq!((out, err), (100_000, 100_000));
    }

    #[test]
    fn data_does_not_overtake_the_end_of_the_stream() {
        let (sender, mut receiver) = inbox(8);
        sender.deliver(data(1)).unwrap();
        sender.deliver(ChannelMsg::Success).unwrap();
        sender.deliver(data(1)).unwrap();
        assert!(matches!(take(&mut receiver), Some(ChannelMsg::Data { .. })));
        assert!(matches!(take(&mut receiver), Some(ChannelMsg::Success)));
        assert!(matches!(take(&mut receiver), Some(ChannelMsg::Data { .. })));
        drop(sender);
        assert!(matches!(receiver.recv().now_or_never(), Some(None)));
    }

    #[test]
    fn messages_besides_data_are_bounded_by_number() {
        let (sender, mut receiver) = inbox(2);
        for size in 0..1000 {
            sender
                .deliver(ChannelMsg::WindowAdjusted { new_size: size })
                .unwrap();
        }
        sender.deliver(ChannelMsg::Success).unwrap();
        assert!(matches!(
            sender.deliver(ChannelMsg::Success),
            Err(Error::Pending)
        ));
        // The end of a channel always arrives.
        sender.deliver(ChannelMsg::Eof).unwrap();
        sender.deliver(ChannelMsg::Close).unwrap();
        assert!(matches!(
            take(&mut receiver),
            Some(ChannelMsg::WindowAdjusted { new_size: 999 })
        ));
    }

    #[tokio::test]
    async fn the_event_loop_hears_of_data_that_was_taken_or_thrown_away() {
        let window_returns = Arc::new(Notify::new());
        let (sender, mut receiver) = inbox(8);
        sender.attach(window_returns.clone(), 100_000);
        sender.deliver(data(40_000)).unwrap();
        sender.deliver(data(40_000)).unwrap();
        assert!(take(&mut receiver).is_some());
        assert!(window_returns.notified().now_or_never().is_none());
        assert!(take(&mut receiver).is_some());
        assert!(window_returns.notified().now_or_never().is_some());
        assert!(sender.due());
        assert_eq!(sender.settle(100_000), 0);

        sender.deliver(data(60_000)).unwrap();
        assert_eq!(sender.settle(100_000), 60_000);
        drop(receiver);
        assert!(window_returns.notified().now_or_never().is_some());
        assert_eq!(sender.settle(100_000), 0);
        // Nobody takes it, so it costs no window.
        sender.deliver(data(60_000)).unwrap();
        assert_eq!(sender.settle(100_000), 0);
    }
}
