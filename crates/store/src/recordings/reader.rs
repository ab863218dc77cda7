//! Reading a recording, any part of it, decrypting only the frames that hold it.
//!
//! A byte costs the manifest, one segment's index (four bytes a frame) and one frame. A live recording reads as
//! far as it is durable, whatever was written since the reader was opened.

use std::{collections::VecDeque, ops::Range, os::unix::fs::FileExt as _, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use sojourn_domain::{
    access::RecordingState,
    id::AccessSessionId,
    seal::{
        Format, Genesis, Manifest,
        frame::Opener,
        index::{Index, Place},
        manifest::Segment,
    },
    webm::Plan,
};

use super::{
    Core, RecordingError,
    objects::{Objects, blocking},
    plan, rows,
    sealing::{CHECKPOINT, MANIFEST, frames_len},
    spool::{Live, lock},
};

/// Frames that are fetched in one go have at most so many bytes.
const FETCH_BYTES: u64 = 256 * 1024;

/// Where segments may be found: in the spool, else in the object store.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    pub(super) session: AccessSessionId,
    pub(super) spool: PathBuf,
    pub(super) objects: Objects,
}

impl Shelf {
    pub(super) async fn range(&self, name: &str, range: Range<u64>) -> Result<Bytes, RecordingError> {
        let path = self.spool.join(name);
        let wanted = range.clone();
        let local = blocking(&path.clone(), move || {
            let file = match std::fs::File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let len =
                usize::try_from(wanted.end.saturating_sub(wanted.start)).map_err(std::io::Error::other)?;
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, wanted.start)?;
            Ok(Some(Bytes::from(bytes)))
        })
        .await?;
        match local {
            Some(bytes) => Ok(bytes),
            None => self.objects.range(self.session, name, range).await,
        }
    }
}

/// Reads one recording. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    /// Bytes that can be read now.
    pub size: u64,
    pub state: RecordingState,
    /// Changes when the bytes do; without quotes.
    pub etag: String,
    pub format: Format,
    segments: Arc<Vec<Segment>>,
    opener: Arc<Opener>,
    place: Shelf,
    live: Option<Arc<Live>>,
    /// How the recorded bytes make the file that is served, where it is another one.
    plan: Option<Arc<Plan>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}, {} bytes)", self.place.session, self.size)
    }
}

impl Core {
    pub(super) fn place(&self, session: AccessSessionId) -> Shelf {
        Shelf { session, spool: self.session_dir(session), objects: self.objects.clone() }
    }

    /// The signed manifest of a recording that is over; of a live one elsewhere the last checkpoint.
    pub(super) async fn manifest(&self, session: AccessSessionId) -> Result<Option<Bytes>, RecordingError> {
        for name in [MANIFEST, CHECKPOINT] {
            let path = self.session_dir(session).join(name);
            let found = blocking(&path.clone(), move || match std::fs::read(path) {
                Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            })
            .await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.objects.get(session, MANIFEST).await
    }

    pub(super) async fn open_reader(
        &self,
        session: AccessSessionId,
    ) -> Result<Option<Reader>, RecordingError> {
        let Some(row) = rows::get(&self.store, session).await? else { return Ok(None) };
        if row.state == rows::PURGING {
            return Ok(None);
        }
        let live = lock(&self.live).get(&session).cloned();
        let genesis: Genesis = row.genesis();
        if let Some(live) = &live {
            let segments = live.durable_segments();
            let size = segments.last().map_or(0, |segment| segment.to);
            return Ok(Some(Reader {
                size,
                state: RecordingState::Live,
                etag: format!("live-{size}"),
                format: row.format,
                segments: Arc::new(segments),
                opener: Arc::new(Opener::new(&genesis, &live.key)?),
                place: self.place(session),
                live: Some(live.clone()),
                plan: None,
            }));
        }
        let Some(bytes) = self.manifest(session).await? else {
            // Live on another node, and nothing of it is in the object store yet.
            if row.state == rows::LIVE {
                return Ok(None);
            }
            return Err(RecordingError::Damaged("its manifest is missing".to_owned()));
        };
        let (manifest, _) = Manifest::read(&bytes, Some(&self.vault.public_key()))?;
        if manifest.genesis() != genesis {
            return Err(RecordingError::Damaged("its manifest belongs to another recording".to_owned()));
        }
        let mut reader = self.decided_reader(&manifest, &row.data_key)?;
        let head = manifest.head.to_string();
        reader.state = row.recording_state();
        reader.etag = format!("{}-{}", row.state, &head[..32]);
        Ok(Some(reader))
    }

    /// The recording as it is served.
    pub(super) async fn open_served(
        &self,
        session: AccessSessionId,
    ) -> Result<Option<Reader>, RecordingError> {
        let Some(mut reader) = self.open_reader(session).await? else { return Ok(None) };
        if reader.format != Format::WebM || reader.state == RecordingState::Live {
            return Ok(Some(reader));
        }
        let Some(bytes) = self.manifest(session).await? else { return Ok(Some(reader)) };
        let (manifest, _) = Manifest::read(&bytes, Some(&self.vault.public_key()))?;
        let plan = self.plan(&manifest, &reader).await?;
        reader.size = plan.size();
        reader.etag.push_str("-1");
        reader.plan = Some(Arc::new(plan));
        Ok(Some(reader))
    }

    /// Reads what a manifest lists.
    pub(super) fn decided_reader(
        &self,
        manifest: &Manifest,
        sealed_key: &str,
    ) -> Result<Reader, RecordingError> {
        let key = self.data_key(manifest.session, sealed_key)?;
        Ok(Reader {
            size: manifest.bytes,
            state: RecordingState::Live,
            etag: String::new(),
            format: manifest.format,
            segments: Arc::new(manifest.segments.clone()),
            opener: Arc::new(Opener::new(&manifest.genesis(), &key)?),
            place: self.place(manifest.session),
            live: None,
            plan: None,
        })
    }
}

/// Where a stream is.
pub(super) struct Cursor {
    reader: Reader,
    range: Range<u64>,
    /// The segment whose frames are in `places`.
    segment: Option<usize>,
    places: VecDeque<Place>,
    /// Decrypted, and not yet handed on.
    ready: VecDeque<Bytes>,
}

impl Reader {
    /// The bytes of `range`, as far as it lies within [`Reader::size`], in pieces of at most 64 KiB.
    pub fn read(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RecordingError>> + Send + use<> {
        let range = range.start..range.end.min(self.size);
        match &self.plan {
            Some(plan) => plan::planned(self.clone(), plan.clone(), range).left_stream(),
            None => self.recorded(range).right_stream(),
        }
    }

    /// The bytes as they were recorded.
    pub(super) fn recorded(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, RecordingError>> + Send + use<> {
        stream::try_unfold(Cursor::new(self.clone(), range), |mut cursor| async move {
            let next = cursor.next().await?;
            Ok(next.map(|bytes| (bytes, cursor)))
        })
    }

    /// All of a range in memory: for small ones.
    pub async fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>, RecordingError> {
        use futures_util::TryStreamExt as _;
        let mut stream = std::pin::pin!(self.read(range));
        let mut all = Vec::new();
        while let Some(bytes) = stream.try_next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    async fn index(&self, number: usize, segment: &Segment) -> Result<Index, RecordingError> {
        if segment.closed {
            let bytes = self.place.range(&segment.name, frames_len(segment)..segment.bytes).await?;
            return Ok(Index::parse(&bytes)?);
        }
        if let Some(index) = self.live.as_ref().and_then(|live| live.index_of(number)) {
            return Ok(index);
        }
        // It was closed since the reader was opened, or lives elsewhere: the frames' own headers tell.
        let mut index = Index::default();
        let mut at = 0;
        for _ in 0..segment.frames {
            let head =
                self.place.range(&segment.name, at..at + sojourn_domain::seal::frame::HEADER as u64).await?;
            let header = head.first_chunk().and_then(sojourn_domain::seal::frame::Header::parse);
            let header =
                header.ok_or_else(|| RecordingError::Damaged(format!("segment {}", segment.name)))?;
            // At most PLAIN_MAX.
            index.push(header.len as u32);
            at += header.frame_len() as u64;
        }
        Ok(index)
    }
}

impl Cursor {
    pub(super) fn new(reader: Reader, range: Range<u64>) -> Self {
        Self { reader, range, segment: None, places: VecDeque::new(), ready: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, RecordingError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                self.range.start += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            if self.range.start >= self.range.end {
                return Ok(None);
            }
            if self.places.is_empty() && !self.next_segment().await? {
                return Err(RecordingError::Damaged("its segments end before its end".to_owned()));
            }
            self.fetch().await?;
        }
    }

    /// Finds the frames of the segment that holds the range's start.
    async fn next_segment(&mut self) -> Result<bool, RecordingError> {
        let start = self.range.start;
        let segments = self.reader.segments.clone();
        let found = segments.partition_point(|segment| segment.to <= start);
        let Some(segment) = segments.get(found).filter(|_| self.segment.is_none_or(|last| last < found))
        else {
            return Ok(false);
        };
        let index = self.reader.index(found, segment).await?;
        let (from, to) = (start - segment.from, self.range.end - segment.from);
        self.places = index
            .places()
            .take(usize::try_from(segment.frames).unwrap_or(usize::MAX))
            .skip_while(|place| place.plain + plain_len(place) <= from)
            .take_while(|place| place.plain < to)
            .collect();
        self.segment = Some(found);
        Ok(!self.places.is_empty())
    }

    /// Fetches and decrypts some frames that lie side by side.
    async fn fetch(&mut self) -> Result<(), RecordingError> {
        let Some(first) = self.places.front().copied() else { return Ok(()) };
        let segments = self.reader.segments.clone();
        let Some(segment) = self.segment.and_then(|number| segments.get(number)) else { return Ok(()) };
        let mut batch = Vec::new();
        let mut end = first.at;
        while let Some(place) = self.places.front() {
            if !batch.is_empty() && place.at + place.len as u64 - first.at > FETCH_BYTES {
                break;
            }
            end = place.at + place.len as u64;
            batch.extend(self.places.pop_front());
        }
        let bytes = self.reader.place.range(&segment.name, first.at..end).await?;
        let damaged = || RecordingError::Damaged(format!("segment {}", segment.name));
        let mut position = self.range.start;
        for place in batch {
            let at = usize::try_from(place.at - first.at).map_err(|_| damaged())?;
            let mut frame = bytes.get(at..at + place.len).ok_or_else(damaged)?.to_vec();
            let offset = segment.from + place.plain;
            let number = segment.first_frame + place.frame;
            let plain = self.reader.opener.open(number, offset, &mut frame)?;
            let skip = usize::try_from(position - offset).map_err(|_| damaged())?;
            let end = usize::try_from(self.range.end - offset).unwrap_or(usize::MAX).min(plain.len());
            let part = plain.get(skip..end).ok_or_else(damaged)?;
            position += part.len() as u64;
            self.ready.push_back(Bytes::copy_from_slice(part));
        }
        Ok(())
    }
}

fn plain_len(place: &Place) -> u64 {
    (place.len - sojourn_domain::seal::frame::OVERHEAD) as u64
}
