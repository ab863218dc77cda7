//! Checking a recording where it lies: signature, chain, every frame, and that the database says the same.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sojourn_domain::{
    id::AccessSessionId,
    seal::{
        Format, Gap, Hash, Manifest, PublicKey,
        manifest::State,
        verify::{Fault, Report, Verifier},
    },
    time::Timestamp,
};

use super::{Core, RecordingError, Recordings, plan::PLAN, rows, sealing::MANIFEST, spool::lock};

/// Bytes read from a file in one go.
const CHUNK: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerificationStatus {
    /// Whole and unaltered.
    Sealed,
    /// Unaltered, and honest about what is missing.
    Incomplete,
    /// Still written; unaltered so far.
    Live,
    /// Something is not as it was recorded.
    Altered,
    /// There is no recording.
    None,
}

impl VerificationStatus {
    pub const fn key(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Incomplete => "incomplete",
            Self::Live => "live",
            Self::Altered => "altered",
            Self::None => "none",
        }
    }
}

/// What [`Recordings::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    pub status: VerificationStatus,
    pub checked_at: Timestamp,
    pub frames: u64,
    pub segments: u64,
    /// Bytes of the recording.
    pub bytes: u64,
    pub gaps: Vec<Gap>,
    pub public_key: PublicKey,
    /// The hash of the last frame: whoever keeps it can tell later that the end is still the same.
    pub head: Option<Hash>,
    pub faults: Vec<Fault>,
}

impl Verification {
    /// Nothing is altered.
    pub fn ok(&self) -> bool {
        self.faults.is_empty()
    }

    /// One sentence for people.
    pub fn message(&self) -> String {
        match (self.status, self.faults.as_slice()) {
            (VerificationStatus::None, _) => "there is no recording".to_owned(),
            (_, [fault]) => fault.to_string(),
            (_, [fault, more @ ..]) => format!("{fault}, and {} more", more.len()),
            (VerificationStatus::Sealed, []) => "complete and unaltered".to_owned(),
            (VerificationStatus::Live, []) => "still being recorded, unaltered so far".to_owned(),
            (_, []) => match self.gaps.as_slice() {
                [] => "unaltered, and known to be incomplete".to_owned(),
                [gap] => format!("unaltered, with a gap: {}", gap.message),
                [gap, ..] => format!("unaltered, with {} gaps, the first: {}", self.gaps.len(), gap.message),
            },
        }
    }
}

impl Recordings {
    /// Reads the whole recording and checks all of it.
    pub async fn verify(&self, session: AccessSessionId) -> Result<Verification, RecordingError> {
        self.core.verify(session).await
    }

    /// Every session that has a recording.
    pub async fn sessions(&self) -> Result<Vec<AccessSessionId>, RecordingError> {
        let states = rows::states(&self.core.store).await?;
        Ok(states
            .into_iter()
            .filter(|(_, state)| state != rows::PURGING)
            .filter_map(|(session, _)| session.parse().ok())
            .collect())
    }

    /// The key with which others check what this installation signs.
    pub fn public_key(&self) -> PublicKey {
        self.core.vault.public_key()
    }
}

impl Core {
    pub(super) async fn verify(&self, session: AccessSessionId) -> Result<Verification, RecordingError> {
        let public_key = self.vault.public_key();
        let mut verification = Verification {
            status: VerificationStatus::None,
            checked_at: self.options.clock.now(),
            frames: 0,
            segments: 0,
            bytes: 0,
            gaps: Vec::new(),
            public_key,
            head: None,
            faults: Vec::new(),
        };
        let Some(row) = rows::get(&self.store, session).await?.filter(|row| row.state != rows::PURGING)
        else {
            return Ok(verification);
        };
        let live = lock(&self.live).get(&session).cloned();
        let manifest = match &live {
            // What is durable now, rather than what the last checkpoint knew.
            Some(live) => {
                let mut manifest = Manifest::new(&live.genesis, row.node.clone(), row.data_key.clone());
                live.durable_segments().into_iter().for_each(|segment| manifest.push(segment));
                manifest.gaps = live.gaps().0;
                Ok(manifest)
            }
            None => match self.manifest(session).await? {
                Some(bytes) => Manifest::read(&bytes, Some(&public_key)).map(|(manifest, _)| manifest),
                None if row.state == rows::LIVE => {
                    verification.status = VerificationStatus::Live;
                    return Ok(verification);
                }
                None => {
                    verification.status = VerificationStatus::Altered;
                    verification.faults.push(Fault::File(MANIFEST.to_owned()));
                    return Ok(verification);
                }
            },
        };
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(error) => {
                verification.status = VerificationStatus::Altered;
                verification.faults.push(Fault::Manifest(error.to_string()));
                return Ok(verification);
            }
        };
        let mut faults = Vec::new();
        if manifest.genesis() != row.genesis() {
            faults.push(Fault::Manifest("it belongs to another recording".to_owned()));
        }
        let decided = row.state != rows::LIVE;
        if decided
            && (manifest.head.to_string() != row.head
                || manifest.bytes != row.plain_bytes
                || manifest.frames != row.frames)
        {
            faults.push(Fault::Manifest("the database knows another end of the recording".to_owned()));
        }
        let state = match manifest.state {
            State::Live => VerificationStatus::Live,
            State::Sealed => VerificationStatus::Sealed,
            State::Incomplete => VerificationStatus::Incomplete,
        };
        if decided && state.key() != row.state {
            faults.push(Fault::Manifest(format!("it says {}, the database {}", state.key(), row.state)));
        }
        if decided {
            self.strangers(session, &manifest, &mut faults).await?;
        }
        let report = self.check(session, &manifest, &row.data_key).await?;
        faults.extend(report.faults);
        verification.status = if faults.is_empty() { state } else { VerificationStatus::Altered };
        verification.frames = report.frames;
        verification.segments = report.segments;
        verification.bytes = report.bytes;
        verification.head = Some(report.head);
        verification.gaps = manifest.gaps;
        verification.faults = faults;
        Ok(verification)
    }

    /// What lies beside the segments and belongs to nothing.
    async fn strangers(
        &self,
        session: AccessSessionId,
        manifest: &Manifest,
        faults: &mut Vec<Fault>,
    ) -> Result<(), RecordingError> {
        let known: BTreeSet<&str> =
            manifest.segments.iter().map(|segment| segment.name.as_str()).chain([MANIFEST]).collect();
        let planned = manifest.format == Format::WebM;
        for (name, _) in self.objects.list(session).await? {
            let expected = known.contains(name.as_str()) || (planned && name == PLAN);
            if !expected {
                faults.push(Fault::File(name));
            }
        }
        Ok(())
    }

    async fn check(
        &self,
        session: AccessSessionId,
        manifest: &Manifest,
        sealed_key: &str,
    ) -> Result<Report, RecordingError> {
        let key = self.data_key(session, sealed_key).ok();
        let mut verifier = Verifier::new(manifest, key.as_ref())?;
        if key.is_none() {
            verifier.fault(Fault::Key);
        }
        let shelf = self.place(session);
        while let Some(segment) = verifier.expects() {
            let spooled = shelf.spool.join(&segment.name);
            if spooled.exists() {
                let bytes = if segment.closed { file_len(&spooled) } else { segment.bytes };
                let mut at = 0;
                while at < bytes {
                    let end = (at + CHUNK).min(bytes);
                    match shelf.range(&segment.name, at..end).await {
                        Ok(chunk) => verifier.feed(&chunk, &mut |_| {}),
                        // Shorter than it should be: what was fed shows it.
                        Err(_) => break,
                    }
                    at = end;
                }
                verifier.end_segment();
                continue;
            }
            match self.objects.stream(session, &segment.name).await? {
                Some(mut stream) => {
                    while let Some(chunk) = stream.try_next().await? {
                        verifier.feed(&chunk, &mut |_| {});
                    }
                    verifier.end_segment();
                }
                None => verifier.missing_segment(),
            }
        }
        Ok(verifier.finish())
    }
}

fn file_len(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}
