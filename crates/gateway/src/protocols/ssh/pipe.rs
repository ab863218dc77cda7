//! Carrying one channel into another: both directions at once, ends of streams included.

use std::future::Future;

use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

/// Something that a channel's messages can be sent to.
pub(crate) trait Sink: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static {}

impl<S: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Sink for S {}

/// Carries data both ways until one side closes, and then closes the other. `count` hears of bytes
/// on their way from `a` to `b` (true) and back.
///
/// Each direction waits for the other side's window, so nothing gathers here.
pub(crate) async fn join<A: Sink, B: Sink>(a: Channel<A>, b: Channel<B>, count: impl Fn(bool, usize)) {
    let (mut a_read, a_write) = a.split();
    let (mut b_read, b_write) = b.split();
    tokio::select! {
        () = carry(&mut a_read, &b_write, |bytes| count(true, bytes)) => {}
        () = carry(&mut b_read, &a_write, |bytes| count(false, bytes)) => {}
    }
    // Whichever is closed already takes no harm.
    let _ = a_write.close().await;
    let _ = b_write.close().await;
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a channel has many messages, and most are not for this side"
)]
async fn carry<T: Sink>(from: &mut ChannelReadHalf, to: &ChannelWriteHalf<T>, count: impl Fn(usize)) {
    while let Some(message) = from.wait().await {
        let sent = match message {
            ChannelMsg::Data { data } => {
                count(data.len());
                to.data_bytes(data).await
            }
            ChannelMsg::ExtendedData { data, ext } => {
                count(data.len());
                to.extended_data_bytes(ext, data).await
            }
            ChannelMsg::Eof => to.eof().await,
            ChannelMsg::Close => return,
            _ => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Runs both until the first is done.
pub(crate) async fn first<A: Future, B: Future>(a: A, b: B) {
    tokio::select! {
        _ = a => {}
        _ = b => {}
    }
}
