//! One SMB connection to a target, logged in, with the shares that were opened on it.

use std::{collections::HashMap, fmt, sync::Arc};

use smb2::{
    Session, Tree,
    client::{Connection, list_shares},
    crypto::kdf::PreauthHasher,
};
use sojourn_domain::access::EndReason;
use tokio::sync::Mutex;

use super::{explain, wire::Wire};
use crate::{
    files::{FsResult, Patience},
    protocols::{
        ConnectError, Credential, Target,
        dial::{self, Rules},
    },
};

pub(super) struct Link {
    connection: Connection,
    session: Session,
    trees: Mutex<HashMap<String, Arc<Tree>>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Reaches the target and logs in; with a share that is named, opens it too.
    pub(super) async fn open(
        target: &Target,
        credential: &Credential,
        rules: &Rules,
        patience: Patience,
    ) -> Result<Self, ConnectError> {
        let stream = dial::dial(&target.host, target.port, rules).await?;
        let late = || ConnectError::new(EndReason::Unreachable, "the target does not answer");
        let link = tokio::time::timeout(patience.answer, Self::log_in(stream, target, credential, patience));
        let link = link.await.map_err(|_| late())??;
        let share = &target.options.share;
        if !share.is_empty() {
            let tree = tokio::time::timeout(patience.answer, link.tree(share)).await.map_err(|_| late())?;
            tree.map_err(|error| explain::no_share(share, &error))?;
        }
        Ok(link)
    }

    async fn log_in(
        stream: tokio::net::TcpStream,
        target: &Target,
        credential: &Credential,
        patience: Patience,
    ) -> Result<Self, ConnectError> {
        let (name, password) = who(target, credential)?;
        let wire = Wire::new(stream);
        let mut connection = Connection::from_transport(
            Box::new(Arc::clone(&wire)),
            Box::new(Arc::clone(&wire)),
            &*target.host,
        );
        connection.set_response_timeout(Some(patience.answer));
        connection.set_send_timeout(Some(patience.answer));
        connection.negotiate().await.map_err(|error| explain::refusal(&error))?;
        let exchange = wire.exchange();
        connection.with_preauth_hasher_mut(|hasher| {
            *hasher = PreauthHasher::new();
            hasher.update(&exchange.request);
            hasher.update(&exchange.answer);
        });
        let session = Session::setup(&mut connection, name, password, &target.options.domain);
        let session = session.await.map_err(|error| explain::refusal(&error))?;
        Ok(Self { connection, session, trees: Mutex::default() })
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.connection.is_disconnected()
    }

    /// A share, opened now if it was not. Names differ by more than case.
    pub(super) async fn tree(&self, share: &str) -> smb2::Result<Arc<Tree>> {
        let mut trees = self.trees.lock().await;
        let key = share.to_lowercase();
        if let Some(tree) = trees.get(&key) {
            return Ok(Arc::clone(tree));
        }
        let mut connection = self.connection();
        let tree = Arc::new(Tree::connect(&mut connection, share).await?);
        if tree.encrypt_data {
            self.encrypt();
        }
        trees.insert(key, Arc::clone(&tree));
        Ok(tree)
    }

    /// A share may ask for encryption where the server at large does not. From then on all is encrypted.
    fn encrypt(&self) {
        let mut connection = self.connection();
        if connection.should_encrypt() {
            return;
        }
        let cipher = connection.params().and_then(|params| params.cipher);
        let cipher = cipher.unwrap_or(smb2::client::Cipher::Aes128Ccm);
        if let (Some(there), Some(back)) = (&self.session.encryption_key, &self.session.decryption_key) {
            connection.activate_encryption(there.clone(), back.clone(), cipher);
        }
    }

    /// The shares that hold files, but for those that are hidden.
    pub(super) async fn shares(&self) -> FsResult<Vec<String>> {
        let shares = list_shares(&mut self.connection()).await.map_err(|error| explain::fault(&error))?;
        Ok(shares.into_iter().map(|share| share.name).collect())
    }
}

/// The name and the password. Without either, a guest.
fn who<'a>(target: &'a Target, credential: &'a Credential) -> Result<(&'a str, &'a str), ConnectError> {
    match credential {
        Credential::Password(password) => Ok((&target.username, password.reveal())),
        Credential::None if target.username.is_empty() => Ok(("Guest", "")),
        Credential::None => Ok((&target.username, "")),
        Credential::Key { .. } | Credential::Agent(_) => {
            Err(ConnectError::new(EndReason::LoginRefused, "SMB knows no keys: give a password"))
        }
    }
}
