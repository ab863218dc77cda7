//! After a crash: what lies in the spool is read frame by frame, cut at the last whole one, and sealed as incomplete with
//! a gap that says so.
//!
//! What the last checkpoint covered must be there: where it is not, somebody has changed the spool, and the gap
//! says that too. Nothing is ever appended to a chain that a crash has ended.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use sojourn_domain::{
    id::AccessSessionId,
    seal::{
        DataKey, Gap, GapReason, Genesis, Hash, Manifest, Position, PublicKey, SealError,
        frame::{HEADER, Header, OVERHEAD, Opener},
        index::Index,
        manifest::{Segment, State, segment_name},
    },
    time::Timestamp,
};

use super::{
    Core, RecordingError, Recordings,
    objects::blocking,
    rows,
    sealing::{CHECKPOINT, MANIFEST, chain, segment_number},
};

/// What [`Recordings::recover`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Recordings that a crash had cut off, now incomplete.
    pub incomplete: usize,
    /// Recordings that were over and only had to be sealed.
    pub over: usize,
    /// Folders of the spool that belong to no recording known here; they are left alone.
    pub unknown: usize,
}

/// What a scan of the spool found.
struct Scanned {
    segments: Vec<Segment>,
    altered: bool,
    /// When the spool was written last.
    last_write: Option<Timestamp>,
}

impl Recordings {
    /// Brings to an end what a crash has cut off. Once, before anything is recorded.
    pub async fn recover(&self) -> Result<Recovered, RecordingError> {
        let core = &self.core;
        let mut recovered = Recovered::default();
        for session in core.spooled().await? {
            match core.recover_one(session, &mut recovered).await {
                Ok(()) => {}
                // One that cannot be read must not keep the others from being sealed.
                Err(error) => {
                    tracing::error!(session.id = %session, error = %chain(&error), "a recording could not be recovered");
                }
            }
        }
        // Rows without a folder: the spool's disk is another one, or the crash came before the folder.
        for row in rows::of_node(&core.store, &core.options.node, rows::LIVE).await? {
            if !core.session_dir(row.session).exists() {
                let dir = core.session_dir(row.session);
                blocking(&dir.clone(), move || fs::create_dir(dir)).await?;
                core.recover_one(row.session, &mut recovered).await?;
            }
        }
        for row in rows::of_node(&core.store, &core.options.node, rows::PURGING).await? {
            core.purge_bytes(row.session).await?;
        }
        Ok(recovered)
    }

    /// Recordings of a node that died are incomplete until it returns and says more.
    pub async fn abandon(&self, node: &str) -> Result<usize, RecordingError> {
        let rows = rows::of_node(&self.core.store, node, rows::LIVE).await?;
        for row in &rows {
            rows::abandoned(&self.core.store, row.session).await?;
        }
        Ok(rows.len())
    }
}

impl Core {
    /// The sessions that have a folder in the spool.
    async fn spooled(&self) -> Result<Vec<AccessSessionId>, RecordingError> {
        let dir = self.options.spool_dir.clone();
        blocking(&dir.clone(), move || {
            let mut found = Vec::new();
            for entry in fs::read_dir(dir)? {
                let name = entry?.file_name();
                let session: Option<AccessSessionId> = name.to_str().and_then(|name| name.parse().ok());
                found.extend(session);
            }
            found.sort();
            Ok(found)
        })
        .await
    }

    async fn recover_one(
        &self,
        session: AccessSessionId,
        recovered: &mut Recovered,
    ) -> Result<(), RecordingError> {
        let Some(row) = rows::get(&self.store, session).await? else {
            tracing::warn!(session.id = %session, "the spool holds a recording that the database does not know");
            recovered.unknown += 1;
            return Ok(());
        };
        match row.state.as_str() {
            rows::PURGING => return self.purge_bytes(session).await,
            rows::LIVE => {}
            // The crash came between the seal and the clearing away.
            _ => return self.forget_spool(session).await,
        }
        let dir = self.session_dir(session);
        if dir.join(MANIFEST).exists() {
            recovered.over += 1;
            self.seal_later(session);
            return Ok(());
        }
        let key = self.data_key(session, &row.data_key)?;
        let genesis = row.genesis();
        let public = self.vault.public_key();
        let scanned = {
            let dir = dir.clone();
            blocking(&dir.clone(), move || scan(&dir, &genesis, &key, &public)).await?
        };
        let mut manifest = Manifest::new(&genesis, row.node, row.data_key);
        for segment in scanned.segments {
            manifest.push(segment);
        }
        manifest.state = State::Incomplete;
        let last = scanned.last_write.unwrap_or(genesis.started_at).max(genesis.started_at);
        let gap = |reason, message: &str| Gap {
            offset: manifest.bytes,
            from_ms: last.since(genesis.started_at).as_millis(),
            to_ms: None,
            reason,
            message: message.to_owned(),
        };
        let mut gaps =
            vec![gap(GapReason::Crash, "the server died; at most the last second before it is missing")];
        if scanned.altered {
            gaps.push(gap(GapReason::SpoolAltered, "the spool does not hold what had been signed"));
        }
        manifest.gaps = gaps;
        self.sign_into_spool(manifest).await?;
        recovered.incomplete += 1;
        self.seal_later(session);
        Ok(())
    }
}

/// Reads the segments of a folder, cuts the last one behind its last whole frame, and closes it.
fn scan(dir: &Path, genesis: &Genesis, key: &DataKey, public: &PublicKey) -> io::Result<Scanned> {
    let opener = Opener::new(genesis, key).map_err(io::Error::other)?;
    let checkpoint = match fs::read(dir.join(CHECKPOINT)) {
        Ok(bytes) => Some(Manifest::read(&bytes, Some(public))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut altered = matches!(checkpoint, Some(Err(_)));
    let checkpoint = checkpoint
        .and_then(Result::ok)
        .map(|(manifest, _)| manifest)
        .filter(|manifest| manifest.genesis() == *genesis);
    let mut files: Vec<(usize, PathBuf)> = fs::read_dir(dir)?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((segment_number(&path)?, path))
        })
        .collect();
    files.sort();
    let mut segments: Vec<Segment> = Vec::new();
    // Segments that were moved to the object store already are known from the checkpoint alone.
    if let (Some(checkpoint), first) = (&checkpoint, files.first().map_or(usize::MAX, |(number, _)| *number))
    {
        segments.extend(checkpoint.segments.iter().take(first).filter(|segment| segment.closed).cloned());
    }
    let mut position = segments.last().map_or(Position::start(genesis), |segment| Position {
        frame: segment.first_frame + segment.frames,
        offset: segment.to,
        head: segment.head,
    });
    let mut last_write = None;
    for (number, path) in files {
        if number != segments.len() {
            altered = true;
            break;
        }
        let start = position;
        let modified = fs::metadata(&path)?.modified()?;
        if let Ok(since) = modified.duration_since(std::time::UNIX_EPOCH) {
            last_write = i64::try_from(since.as_micros()).ok().map(Timestamp::from_micros);
        }
        let index = read_frames(&path, &opener, &mut position)?;
        if index.frames() == 0 {
            break;
        }
        let at = index.places().map(|place| place.len as u64).sum::<u64>();
        let encoded = index.encode();
        let file = File::options().read(true).write(true).open(&path)?;
        file.set_len(at)?;
        file.write_all_at(&encoded, at)?;
        file.sync_all()?;
        segments.push(Segment {
            name: segment_name(number),
            first_frame: start.frame,
            frames: index.frames(),
            from: start.offset,
            to: position.offset,
            bytes: at + encoded.len() as u64,
            head: position.head,
            closed: true,
        });
    }
    altered |= checkpoint.is_some_and(|checkpoint| !covers(&segments, &checkpoint, dir, genesis));
    Ok(Scanned { segments, altered, last_write })
}

/// What the checkpoint had signed is there.
fn covers(segments: &[Segment], checkpoint: &Manifest, dir: &Path, genesis: &Genesis) -> bool {
    checkpoint.segments.iter().all(|signed| {
        let Some(found) = segments.iter().find(|segment| segment.name == signed.name) else { return false };
        if found.frames == signed.frames {
            return found.head == signed.head && found.from == signed.from;
        }
        // It grew since: its frame at the checkpoint's end must be the one that was signed.
        found.frames > signed.frames
            && head_after(&dir.join(&signed.name), signed.frames, genesis)
                .is_ok_and(|head| head == Some(signed.head))
    })
}

/// The hash of the `frames`th frame of a segment, which is what the one after it names as its predecessor.
fn head_after(path: &Path, frames: u64, _genesis: &Genesis) -> io::Result<Option<Hash>> {
    let file = File::open(path)?;
    let mut at = 0;
    for number in 0.. {
        let mut head = [0; HEADER];
        file.read_exact_at(&mut head, at)?;
        let Some(header) = Header::parse(&head) else { return Ok(None) };
        if number == frames {
            return Ok(Some(header.previous));
        }
        at += header.frame_len() as u64;
    }
    Ok(None)
}

/// Goes through a segment as long as its frames are whole, genuine and in their places.
fn read_frames(path: &Path, opener: &Opener, position: &mut Position) -> io::Result<Index> {
    let mut input = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut index = Index::default();
    let mut frame = Vec::new();
    loop {
        let mut head = [0; HEADER];
        if !filled(input.read_exact(&mut head))? {
            return Ok(index);
        }
        let Some(header) = Header::parse(&head).filter(|header| header.follows(position)) else {
            return Ok(index);
        };
        frame.clear();
        frame.extend_from_slice(&head);
        frame.resize(header.frame_len(), 0);
        if !filled(input.read_exact(&mut frame[HEADER..]))? {
            return Ok(index);
        }
        let hash = Hash::of(&[&frame]);
        match opener.open(position.frame, position.offset, &mut frame) {
            Ok(_) => {}
            Err(SealError::Crypto) => return Err(io::Error::other("the cryptographic library refused")),
            Err(_) => return Ok(index),
        }
        // At most PLAIN_MAX.
        index.push((frame.len() - OVERHEAD) as u32);
        *position =
            Position { frame: position.frame + 1, offset: position.offset + header.len as u64, head: hash };
    }
}

/// False at the end of the file.
fn filled(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
