//! A channel that our own SFTP server answers: a file session, from its row to its end.

use std::sync::Arc;

use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, server::Msg};
use sojourn_domain::{
    access::{EndReason, Protocol},
    files::FileProtocol,
};

use super::{
    client::{Client, NO_PROGRAM, say},
    desk::Desk,
    session::{Left, credential},
};
use crate::{
    files::{
        self,
        session::{FileEnded, FileSession},
    },
    front::{
        doorkeeper::Pass,
        sftp::{self, Over, Wire},
    },
    protocols::ConnectError,
};

/// Serves the channel.
pub(super) async fn serve(desk: &Arc<Desk>, mut client: Client, pass: &dyn Pass) {
    let protocol = match pass.protocol() {
        Protocol::Ssh | Protocol::Sftp => FileProtocol::Sftp,
        Protocol::Ftp => FileProtocol::Ftp,
        Protocol::Smb => FileProtocol::Smb,
        Protocol::Telnet | Protocol::Rdp | Protocol::Vnc => {
            return client.refuse("this connection has no files").await;
        }
    };
    let journal = match pass.begin_files(protocol, desk.from, None).await {
        Ok(journal) => journal,
        Err(why) => return client.refuse(&why).await,
    };
    // Dropped when the client is gone and what is under way does not end.
    let _ends = journal.ends_as(EndReason::ClientLost);
    let reached = tokio::select! {
        reached = reach(desk, &mut client, pass) => reached,
        ended = journal.ended() => Err(ConnectError::new(ended.reason, ended.to_string()).into()),
    };
    let fs = match reached {
        Ok(fs) => fs,
        Err(Left::Refused(error)) => {
            journal.end(error.reason, error.message.clone()).await;
            return client.refuse(&error.message).await;
        }
        Err(Left::Gone) => {
            journal.end(EndReason::ClientLost, "").await;
            return client.leave().await;
        }
    };
    let session = FileSession::new(journal, fs, pass.policy().files.clone());
    let mut channel =
        Channel { early: client.typed.split().freeze(), read: client.read, write: client.write };
    let over = sftp::serve(&session, &mut channel).await;
    let (reason, word) = match over {
        Over::Done => (EndReason::Closed, String::new()),
        Over::Gone => (EndReason::ClientLost, String::new()),
        Over::Nonsense(nonsense) => {
            (EndReason::Failed, format!("the client does not speak SFTP: {nonsense}"))
        }
        Over::Ended(FileEnded { reason, detail }) => (reason, detail),
    };
    session.close(reason, word.clone()).await;
    let write = channel.write;
    if reason != EndReason::Closed {
        let word = if word.is_empty() { format!("the session ended: {reason}") } else { word };
        say(&write, &word, false).await;
    }
    // A client that is gone takes no harm.
    let _ = write.exit_status(if reason == EndReason::Closed { 0 } else { NO_PROGRAM }).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

async fn reach(
    desk: &Arc<Desk>,
    client: &mut Client,
    pass: &dyn Pass,
) -> Result<Arc<dyn files::RemoteFs>, Left> {
    let credential = credential(desk, client, pass).await?;
    let opened = files::open(pass.protocol(), pass.target(), &credential, &pass.rules()).await;
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if error.reason == EndReason::HostKey {
                pass.key_refused(&error).await;
            }
            return Err(error.into());
        }
    };
    if let (true, Some(key)) = (opened.first_use, opened.host_key) {
        pass.pin(key).await?;
    }
    Ok(opened.fs)
}

struct Channel {
    early: Bytes,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
}

impl Wire for Channel {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a channel has many messages, and most are not for this side"
    )]
    async fn receive(&mut self) -> Option<Bytes> {
        if !self.early.is_empty() {
            return Some(std::mem::take(&mut self.early));
        }
        while let Some(message) = self.read.wait().await {
            match message {
                ChannelMsg::Data { data } => return Some(data),
                ChannelMsg::Eof | ChannelMsg::Close => return None,
                _ => {}
            }
        }
        None
    }

    async fn send(&mut self, packet: Bytes) -> bool {
        self.write.data_bytes(packet).await.is_ok()
    }
}
