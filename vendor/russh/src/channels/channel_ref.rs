use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::WindowSizeRef;
use super::inbox::{InboxReceiver, InboxSender, inbox};
use crate::{ChannelId, ChannelMsg, Error};

/// A handle to the [`super::Channel`]'s to be able to transmit messages
/// to it and update it's `window_size`.
#[derive(Debug)]
pub struct ChannelRef {
    pub(super) sender: InboxSender,
    pub(super) window_size: WindowSizeRef,
}

impl ChannelRef {
    /// A channel that is not confirmed yet. `control_limit` is how many messages besides
    /// data may wait in it.
    pub(crate) fn new(control_limit: usize) -> (Self, InboxReceiver) {
        let (sender, receiver) = inbox(control_limit);
        (
            Self {
                sender,
                window_size: WindowSizeRef::new(0),
            },
            receiver,
        )
    }

    pub(crate) fn window_size(&self) -> &WindowSizeRef {
        &self.window_size
    }

    /// Hands a message to the channel's consumer, without waiting for it.
    pub(crate) fn deliver(&self, msg: ChannelMsg) -> Result<(), Error> {
        self.sender.deliver(msg)
    }
}

/// The channels of a session, and where it waits until a consumer has taken data.
#[derive(Debug, Default)]
pub(crate) struct ChannelTable {
    channels: HashMap<ChannelId, ChannelRef>,
    window_returns: Arc<Notify>,
}

impl ChannelTable {
    /// `target` is the window that the session aims at.
    pub(crate) fn insert(&mut self, id: ChannelId, channel: ChannelRef, target: u32) {
        channel.sender.attach(self.window_returns.clone(), target);
        self.channels.insert(id, channel);
    }

    pub(crate) fn get(&self, id: &ChannelId) -> Option<&ChannelRef> {
        self.channels.get(id)
    }

    pub(crate) fn remove(&mut self, id: &ChannelId) -> Option<ChannelRef> {
        self.channels.remove(id)
    }

    /// Waits until a consumer has taken so much that window is to be given back.
    pub(crate) async fn taken(&self) {
        self.window_returns.notified().await
    }

    /// The channels whose consumers have taken so much.
    pub(crate) fn due(&self) -> Vec<ChannelId> {
        let due = self.channels.iter().filter(|(_, channel)| channel.sender.due());
        due.map(|(id, _)| *id).collect()
    }

    /// The bytes that wait for a channel's consumer; see [`InboxSender::settle`].
    pub(crate) fn settle(&self, id: &ChannelId, target: u32) -> usize {
        self.channels.get(id).map_or(0, |channel| channel.sender.settle(target))
    }
}
