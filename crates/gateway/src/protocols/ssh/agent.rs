//! The user's own agent, on their machine, reached through whatever front they came by.

use std::{fmt, pin::Pin, sync::Arc};

use futures_util::future::BoxFuture;
use russh::keys::agent::client::AgentClient;
use tokio::io::{AsyncRead, AsyncWrite};

/// A conversation with an agent.
pub trait AgentStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> AgentStream for S {}

type Opened = Option<Box<dyn AgentStream>>;

/// How to reach the user's agent.
#[derive(Clone)]
pub struct AgentWay(Arc<dyn Fn() -> BoxFuture<'static, Opened> + Send + Sync>);

impl AgentWay {
    /// `open` gives `None` where there is no agent.
    pub fn new(open: impl Fn() -> BoxFuture<'static, Opened> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    /// There is none.
    pub fn none() -> Self {
        Self::new(|| Box::pin(async { None }))
    }

    pub(super) async fn open(&self) -> Option<AgentClient<Pin<Box<dyn AgentStream>>>> {
        let opened = (self.0)();
        opened.await.map(|stream| AgentClient::connect(Pin::new(stream)))
    }
}

impl fmt::Debug for AgentWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentWay")
    }
}
