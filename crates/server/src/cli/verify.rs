//! `sojourn verify`: recordings where they lie, or a bundle anywhere, with nothing but a public key.

use std::{fs::File, io::BufReader, path::Path, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use sojourn_domain::{id::AccessSessionId, seal::PublicKey};
use sojourn_store::recordings::{Verification, VerificationStatus, verify_bundle};

use super::{Place, Usage, print, print_json};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A session's id, or the file of an evidence bundle; without either, every recording
    what: Option<String>,
    /// The public key (PEM) of the server that made the bundle, from a source that you trust
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match &self.what {
            Some(what) if what.parse::<AccessSessionId>().is_err() => {
                if !Path::new(what).exists() {
                    return Err(Usage(anyhow::anyhow!("{what} is neither a session's id nor a file")).into());
                }
                self.bundle(Path::new(what))
            }
            Some(what) => self.sessions(what.parse().ok()).await,
            None => self.sessions(None).await,
        }
    }

    async fn sessions(&self, only: Option<AccessSessionId>) -> anyhow::Result<()> {
        let (store, recordings) = self.place.recordings().await?;
        let sessions = match only {
            Some(session) => vec![session],
            None => recordings.sessions().await.context("list the recordings")?,
        };
        let mut altered = 0;
        let mut found = Vec::new();
        for session in &sessions {
            let verified = recordings.verify(*session).await.with_context(|| format!("verify {session}"))?;
            if only.is_some() && verified.status == VerificationStatus::None {
                bail!("there is no recording of {session}");
            }
            altered += usize::from(!verified.ok());
            if self.json {
                found.push(described(*session, &verified));
            } else {
                print(&format!("{session} {}: {}\n", verified.status.key(), verified.message()))?;
                if verified.faults.len() > 1 {
                    for fault in &verified.faults {
                        print(&format!("  {fault}\n"))?;
                    }
                }
            }
        }
        recordings.stop().await;
        store.close().await;
        if self.json {
            match (only, found.pop()) {
                (Some(_), Some(one)) => print_json(&one)?,
                (_, last) => {
                    found.extend(last);
                    print_json(&json!({"recordings": found}))?;
                }
            }
        }
        match (altered, sessions.len()) {
            (0, _) => Ok(()),
            (1, 1) => bail!("the recording is altered"),
            (altered, all) => bail!("{altered} of {all} recordings are altered"),
        }
    }

    fn bundle(&self, path: &Path) -> anyhow::Result<()> {
        let reading = || format!("read {}", path.display());
        let key = match &self.public_key {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                Some(PublicKey::parse(&text).with_context(|| format!("read {}", path.display()))?)
            }
            None => None,
        };
        let file = File::open(path).with_context(reading)?;
        let found = verify_bundle(&mut BufReader::with_capacity(1 << 16, file), key.as_ref())
            .with_context(reading)?;
        let faults: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
        let manifest = found.manifest.as_ref();
        if self.json {
            print_json(&json!({
                "session": manifest.map(|manifest| manifest.session),
                "status": match (manifest, found.ok()) {
                    (Some(manifest), true) => json!(manifest.state),
                    _ => json!("altered"),
                },
                "ok": found.ok(),
                "faults": faults,
                "gaps": manifest.map(|manifest| &manifest.gaps),
                "facts": manifest.map(|manifest| &manifest.facts),
                "bytes": manifest.map(|manifest| manifest.bytes),
                "frames": found.report.as_ref().map(|report| report.frames),
                "publicKey": found.public_key.map(|key| key.to_string()),
                "publicKeyGiven": key.is_some(),
                "head": manifest.map(|manifest| manifest.head),
            }))?;
        } else {
            for fault in &faults {
                print(&format!("{fault}\n"))?;
            }
            if let (Some(manifest), true) = (manifest, found.ok()) {
                let gaps =
                    manifest.gaps.iter().map(|gap| format!("gap: {}\n", gap.message)).collect::<String>();
                print(&format!(
                    "{} unaltered: {} bytes in {} frames; head {}\n{gaps}",
                    manifest.session, manifest.bytes, manifest.frames, manifest.head
                ))?;
            }
            if let (Some(signer), None) = (found.public_key, key) {
                print(&format!(
                    "the key {signer} is the bundle's own: this proves that the bundle is whole, not who made it; \
                     give --public-key FILE for that\n"
                ))?;
            }
        }
        if found.ok() { Ok(()) } else { bail!("the bundle is altered") }
    }
}

fn described(session: AccessSessionId, found: &Verification) -> serde_json::Value {
    json!({
        "session": session,
        "status": found.status.key(),
        "ok": found.ok(),
        "message": found.message(),
        "faults": found.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "gaps": found.gaps,
        "bytes": found.bytes,
        "frames": found.frames,
        "segments": found.segments,
        "publicKey": found.public_key.to_string(),
        "head": found.head,
    })
}
