//! Evidence bundles: one recording in a tar file that anybody can check, without this installation.
//!
//! A tar file (POSIX ustar) with the folder `sess_…/`, and in it, in this order:
//!
//! | file | what |
//! | --- | --- |
//! | `README.txt` | what this is, and how to check it |
//! | `manifest.json` | see [`sojourn_domain::seal::manifest`] |
//! | `public-key.pem` | of whoever signed; proves nothing unless it is known from elsewhere |
//! | `data-key` | base64 and a line feed: decrypts this recording and no other |
//! | `commands.json` | the session's commands: a JSON array |
//! | `000000.seg` … | the segments, as they were recorded |
//! | `recording.cast`, `.webm` | the recording in the clear |
//! | `bundle.json` | the name, size and SHA-256 of each file above, signed: two lines like a manifest's, over `sojourn bundle 1` |
//!
//! Owners, modes and times in the tar file are zero: a bundle has one form only, so every altered bit shows.

use std::io::{self, Read};

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use sojourn_domain::{
    id::AccessSessionId,
    seal::{
        DataKey, Hash, Manifest, PublicKey, SigningKey,
        verify::{Fault, Report, Verifier},
    },
};

use super::{Core, RecordingError, Recordings, rows, sealing::MANIFEST};

const BLOCK: usize = 512;
const CONTEXT: &[u8] = b"sojourn bundle 1\n";
const README: &str = "\
This is the recording of one session, as Sojourn made it, with what is needed to check it.

recording.cast or recording.webm is the recording itself: asciinema or a video player shows it.
The *.seg files are what was written while it was recorded; manifest.json lists them and is signed.
`sojourn verify FILE.tar --public-key KEY.pem` checks that nothing was altered. Get the public key from whoever ran
the server, not from this file: the copy in here proves only that the bundle is whole.
";
/// Small files are read into memory when a bundle is checked, up to this size.
const SMALL_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Signed {
    public_key: String,
    signature: String,
}

fn sign(entries: &[Entry], key: &SigningKey) -> Result<String, RecordingError> {
    let unwritable = |_| RecordingError::Damaged("its bundle cannot be written".to_owned());
    let text = serde_json::to_string(entries).map_err(unwritable)?;
    let signature = BASE64.encode(&key.sign(&[CONTEXT, text.as_bytes()].concat()));
    let signed = Signed { public_key: key.public().to_string(), signature };
    Ok(format!("{text}\n{}\n", serde_json::to_string(&signed).map_err(unwritable)?))
}

/// The header of a file in a tar archive.
fn header(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let name = name.as_bytes();
    let len = name.len().min(99);
    block[..len].copy_from_slice(&name[..len]);
    block[100..108].copy_from_slice(b"0000444\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if bytes < 1 << 33 {
        block[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    } else {
        // The binary form of larger sizes, which GNU tar and others read.
        block[124] = 0x80;
        block[128..136].copy_from_slice(&bytes.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padding(bytes: u64) -> usize {
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

impl Recordings {
    /// The evidence bundle of a session's recording, piece by piece; `None` where there is none. A live recording has
    /// none yet.
    pub async fn export(
        &self,
        session: AccessSessionId,
    ) -> Result<Option<impl Stream<Item = Result<Bytes, RecordingError>> + Send + use<>>, RecordingError>
    {
        let core = self.core.clone();
        let Some(row) = rows::get(&core.store, session).await?.filter(|row| row.state != rows::PURGING)
        else {
            return Ok(None);
        };
        if row.state == rows::LIVE {
            return Err(RecordingError::Live);
        }
        let Some(reader) = core.open_reader(session).await? else { return Ok(None) };
        let bytes = core.manifest(session).await?;
        let text = bytes.ok_or_else(|| RecordingError::Damaged("its manifest is missing".to_owned()))?;
        let (manifest, _) = Manifest::read(&text, Some(&core.vault.public_key()))?;
        let key = core.data_key(session, &row.data_key)?;
        let commands = rows::commands(&core.store, session).await?;
        let commands = serde_json::Value::from(commands).to_string();
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, RecordingError>>(4);
        tokio::spawn(async move {
            let mut tar = Tar { session, entries: Vec::new(), out: sender };
            let written = async {
                tar.small("README.txt", README.as_bytes().to_vec()).await?;
                tar.small(MANIFEST, text.to_vec()).await?;
                tar.small("public-key.pem", core.vault.public_key().to_pem().into_bytes()).await?;
                tar.small("data-key", format!("{}\n", BASE64.encode(key.expose())).into_bytes()).await?;
                tar.small("commands.json", commands.into_bytes()).await?;
                for segment in &manifest.segments {
                    tar.segment(&core, segment.name.as_str(), segment.bytes).await?;
                }
                let name = format!("recording.{}", manifest.format.key());
                let pieces = reader.read(0..manifest.bytes).boxed();
                tar.file(&name, manifest.bytes, pieces).await?;
                let list = sign(&tar.entries, core.vault.signing_key())?;
                tar.small("bundle.json", list.into_bytes()).await?;
                tar.send(Bytes::from(vec![0; 2 * BLOCK])).await
            };
            if let Err(error) = written.await {
                // The reader may be gone already, and then nobody asks.
                let _ = tar.out.send(Err(error)).await;
            }
        });
        Ok(Some(futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        })))
    }
}

/// Writes a bundle.
struct Tar {
    session: AccessSessionId,
    entries: Vec<Entry>,
    /// Full when the reader is slow: then it waits.
    out: tokio::sync::mpsc::Sender<Result<Bytes, RecordingError>>,
}

impl Tar {
    async fn send(&self, bytes: Bytes) -> Result<(), RecordingError> {
        self.out.send(Ok(bytes)).await.map_err(|_| RecordingError::Over)
    }

    async fn small(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), RecordingError> {
        let len = bytes.len() as u64;
        let piece = futures_util::stream::iter([Ok(Bytes::from(bytes))]).boxed();
        self.file(name, len, piece).await
    }

    async fn segment(&mut self, core: &Core, name: &str, bytes: u64) -> Result<(), RecordingError> {
        let missing = || RecordingError::Damaged(format!("segment {name} is missing"));
        let stream = core.objects.stream(self.session, name).await?.ok_or_else(missing)?;
        self.file(name, bytes, stream).await
    }

    async fn file(
        &mut self,
        name: &str,
        bytes: u64,
        mut pieces: futures_util::stream::BoxStream<'static, Result<Bytes, RecordingError>>,
    ) -> Result<(), RecordingError> {
        let header = header(&format!("{}/{name}", self.session), bytes);
        self.send(Bytes::copy_from_slice(&header)).await?;
        let mut hasher = digest::Context::new(&digest::SHA256);
        let mut sent = 0;
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
            sent += piece.len() as u64;
            self.send(piece).await?;
        }
        if sent != bytes {
            return Err(RecordingError::Damaged(format!("{name} has {sent} bytes instead of {bytes}")));
        }
        self.send(Bytes::from(vec![0; padding(bytes)])).await?;
        self.entries.push(Entry { name: name.to_owned(), bytes, sha256: finished(hasher) });
        Ok(())
    }
}

fn finished(hasher: digest::Context) -> Hash {
    let mut hash = [0; Hash::LEN];
    hash.copy_from_slice(hasher.finish().as_ref());
    Hash(hash)
}

/// What [`verify_bundle`] found.
#[derive(Debug, Clone)]
pub struct BundleReport {
    pub manifest: Option<Manifest>,
    /// What signed the bundle.
    pub public_key: Option<PublicKey>,
    pub report: Option<Report>,
    pub faults: Vec<Fault>,
}

impl BundleReport {
    pub fn ok(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Checks a bundle with nothing but a public key; without one, with the bundle's own, which proves only that it
/// is whole. An error when the file cannot be read; whatever is wrong in it is in the report.
pub fn verify_bundle(input: &mut dyn Read, key: Option<&PublicKey>) -> io::Result<BundleReport> {
    let mut check = Check {
        input,
        folder: None,
        entries: Vec::new(),
        key: key.copied(),
        found: BundleReport { manifest: None, public_key: None, report: None, faults: Vec::new() },
    };
    if let Err(stop) = check.run() {
        match stop {
            Stop::File(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            Stop::File(_) => check.found.faults.push(Fault::File("the end of the bundle".to_owned())),
            Stop::Fault(fault) => check.found.faults.push(fault),
        }
    }
    Ok(check.found)
}

struct Check<'a> {
    input: &'a mut dyn Read,
    /// `sess_…`, as the first file has it.
    folder: Option<String>,
    entries: Vec<Entry>,
    key: Option<PublicKey>,
    found: BundleReport,
}

enum Stop {
    File(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn fault(name: &str) -> Stop {
    Stop::Fault(Fault::File(name.to_owned()))
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let readme = self.small("README.txt")?;
        if readme != README.as_bytes() {
            self.found.faults.push(Fault::File("README.txt".to_owned()));
        }
        let text = self.small(MANIFEST)?;
        let (manifest, signer) = Manifest::read(&text, self.key.as_ref())
            .map_err(|error| Stop::Fault(Fault::Manifest(error.to_string())))?;
        self.found.public_key = Some(signer);
        self.found.manifest = Some(manifest.clone());
        if self.folder.as_deref() != Some(manifest.session.to_string().as_str()) {
            self.found.faults.push(Fault::File("the bundle's folder".to_owned()));
        }
        let pem = self.small("public-key.pem")?;
        if pem != signer.to_pem().as_bytes() {
            self.found.faults.push(Fault::File("public-key.pem".to_owned()));
        }
        let data_key = self.small("data-key")?;
        let key = data_key
            .strip_suffix(b"\n")
            .and_then(|text| BASE64.decode(text).ok())
            .and_then(|bytes| DataKey::from_slice(&bytes).ok());
        self.small("commands.json")?;
        let refused = |_| Stop::Fault(Fault::Key);
        let mut verifier = Verifier::new(&manifest, key.as_ref()).map_err(refused)?;
        if key.is_none() {
            verifier.fault(Fault::Key);
        }
        let mut plain = digest::Context::new(&digest::SHA256);
        for segment in &manifest.segments {
            self.file(&segment.name, &mut |piece| verifier.feed(piece, &mut |text| plain.update(text)))?;
            verifier.end_segment();
        }
        let name = format!("recording.{}", manifest.format.key());
        self.file(&name, &mut |_| {})?;
        let shown = self.entries.last().map(|entry| (entry.bytes, entry.sha256));
        if shown != Some((manifest.bytes, finished(plain))) {
            self.found.faults.push(Fault::File(name));
        }
        let report = verifier.finish();
        self.found.faults.extend(report.faults.clone());
        self.found.report = Some(report);
        let expected = std::mem::take(&mut self.entries);
        let list = self.small("bundle.json")?;
        if !signed_by(&list, &expected, &signer) {
            self.found.faults.push(Fault::File("bundle.json, or a file that it lists,".to_owned()));
        }
        let mut end = Vec::new();
        self.input.take(2 * BLOCK as u64 + 1).read_to_end(&mut end)?;
        if end != [0; 2 * BLOCK] {
            return Err(fault("the end of the bundle"));
        }
        Ok(())
    }

    fn small(&mut self, name: &str) -> Result<Vec<u8>, Stop> {
        let mut bytes = Vec::new();
        let mut long = false;
        self.file(name, &mut |piece| {
            long |= (bytes.len() + piece.len()) as u64 > SMALL_BYTES;
            if !long {
                bytes.extend_from_slice(piece);
            }
        })?;
        if long { Err(fault(name)) } else { Ok(bytes) }
    }

    /// Reads the next file, which must be `name`.
    fn file(&mut self, name: &str, piece: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        let mut head = [0; BLOCK];
        self.input.read_exact(&mut head)?;
        let path = head.split(|&byte| byte == 0).next().unwrap_or_default();
        let path = std::str::from_utf8(path).map_err(|_| fault(name))?;
        let (folder, file) = path.split_once('/').ok_or_else(|| fault(name))?;
        let folder = self.folder.get_or_insert_with(|| folder.to_owned()).clone();
        let bytes = size(&head).ok_or_else(|| fault(name))?;
        if file != name || head != header(&format!("{folder}/{name}"), bytes) {
            return Err(fault(name));
        }
        let mut hasher = digest::Context::new(&digest::SHA256);
        let mut left = bytes;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..wanted];
            self.input.read_exact(part)?;
            hasher.update(part);
            piece(part);
            left -= wanted as u64;
        }
        let mut pad = vec![0; padding(bytes)];
        self.input.read_exact(&mut pad)?;
        if pad.iter().any(|&byte| byte != 0) {
            self.found.faults.push(Fault::File(name.to_owned()));
        }
        self.entries.push(Entry { name: name.to_owned(), bytes, sha256: finished(hasher) });
        Ok(())
    }
}

fn size(head: &[u8; BLOCK]) -> Option<u64> {
    if head[124] == 0x80 {
        return head.get(128..136)?.try_into().ok().map(u64::from_be_bytes);
    }
    u64::from_str_radix(std::str::from_utf8(head.get(124..135)?).ok()?, 8).ok()
}

/// The list names exactly these files, and the key signed it.
fn signed_by(list: &[u8], expected: &[Entry], key: &PublicKey) -> bool {
    let Ok(list) = std::str::from_utf8(list) else { return false };
    let Some((text, rest)) = list.split_once('\n') else { return false };
    let Ok(signed) = serde_json::from_str::<Signed>(rest) else { return false };
    let Ok(signature) = BASE64.decode(signed.signature.as_bytes()) else { return false };
    let canonical = serde_json::to_string(&signed).is_ok_and(|canonical| rest == format!("{canonical}\n"));
    canonical
        && signed.public_key == key.to_string()
        && serde_json::to_string(expected).is_ok_and(|expected| expected == text)
        && key.verify(&[CONTEXT, text.as_bytes()].concat(), &signature).is_ok()
}
