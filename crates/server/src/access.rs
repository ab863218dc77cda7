//! What access sessions need beside the store: the vault, and where recordings go.

use std::sync::Arc;

use anyhow::Context as _;
use sojourn_domain::{id::NodeId, time::Clock};
use sojourn_store::{
    Entropy, Store,
    recordings::{Limits, RecordingOptions, Recordings, Recovered},
    vault::{MasterKey, Vault},
};

use crate::{config::Config, nodes};

/// Cheap to clone.
#[derive(Clone)]
pub struct Access {
    pub vault: Vault,
    pub recordings: Recordings,
    /// This server among several.
    pub node: NodeId,
}

impl Access {
    /// Opens the vault, checks that it belongs to the database, and opens the recordings.
    pub async fn open(store: &Store, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let vault = open_vault(config.master_key_file.as_deref(), &config.data_dir, store).await?;
        let node = nodes::enroll(store, config, &*clock).await?;
        let options = RecordingOptions {
            spool_dir: config.data_dir.join("spool"),
            objects: config.objects.clone(),
            objects_dir: config.data_dir.join("recordings"),
            // The id, not the name: who is called otherwise after a restart still owns its spool.
            node: node.to_string(),
            clock,
            entropy: Entropy,
            limits: Limits {
                thresholds: config.disk,
                spool_bytes: config.max_spool_bytes,
                ..Limits::default()
            },
        };
        let recordings =
            Recordings::open(store.clone(), vault.clone(), options).await.context("open the recordings")?;
        let recovered = recordings.recover().await.context("recover what a crash has cut off")?;
        if recovered != Recovered::default() {
            let Recovered { incomplete, over, unknown } = recovered;
            tracing::warn!(incomplete, over, unknown, "recordings of the last run are sealed now");
        }
        Ok(Self { vault, recordings, node })
    }
}

/// The vault of an installation: the master key is in the environment (`SOJOURN_MASTER_KEY`), in the
/// file that the settings name, or in the data directory.
pub async fn open_vault(
    master_key_file: Option<&std::path::Path>,
    data_dir: &std::path::Path,
    store: &Store,
) -> anyhow::Result<Vault> {
    let key = match (std::env::var("SOJOURN_MASTER_KEY"), master_key_file) {
        (Ok(text), _) => Some(MasterKey::parse(&text).context("read SOJOURN_MASTER_KEY")?),
        (Err(_), Some(path)) => {
            Some(MasterKey::read(path).with_context(|| format!("read the master key {}", path.display()))?)
        }
        (Err(_), None) => None,
    };
    let vault = Vault::open(data_dir, key, Entropy).context("open the vault")?;
    vault.belongs_to(store).await.context("open the vault")?;
    Ok(vault)
}
