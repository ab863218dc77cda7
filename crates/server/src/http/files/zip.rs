//! A zip file that is written piece by piece and never kept: whatever was written so far can be taken and sent.
//!
//! Names are cleaned, so that whoever unpacks them gets nothing outside of the folder that they unpack into: no
//! absolute paths, no `..`, no separators of other systems. They are marked as UTF-8. Files of more than 4 GiB, and more
//! than 65,535 of them, are written as ZIP64 has them.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Bytes;
use sojourn_domain::{files::path_text, time::Timestamp};
use zip::{
    CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions, write::StreamWriter,
};

/// From this size on (or where it is not known) a file is written with 64-bit sizes; it might grow while it is read.
const LARGE: u64 = 1 << 31;
/// The least work: what is sent over a network is sent faster than thorough compression can make it small.
const LEVEL: i64 = 1;

/// A zip file in the making.
pub(super) struct Zip {
    writer: ZipWriter<StreamWriter<Written>>,
    written: Written,
}

/// What was written and not yet taken.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of an entry.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct About {
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Timestamp>,
    pub(super) permissions: Option<u32>,
}

impl Zip {
    pub(super) fn new() -> Self {
        let written = Written::default();
        Self { writer: ZipWriter::new_stream(written.clone()), written }
    }

    /// Bytes that can be taken.
    pub(super) fn waiting(&self) -> usize {
        self.written.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What was written since it was last asked.
    pub(super) fn take(&mut self) -> Bytes {
        std::mem::take(&mut *self.written.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Begins a file; returns the name that it got.
    pub(super) fn file(&mut self, names: &[&[u8]], about: About) -> io::Result<String> {
        let packed = names.last().is_some_and(|name| is_packed(name));
        let method = if packed { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let mut options =
            options(about).compression_method(method).large_file(about.size.is_none_or(|size| size >= LARGE));
        if !packed {
            options = options.compression_level(Some(LEVEL));
        }
        self.named(names, "", |writer, name| writer.start_file(name, options))
    }

    pub(super) fn folder(&mut self, names: &[&[u8]], about: About) -> io::Result<String> {
        let options = options(about);
        self.named(names, "/", |writer, name| writer.add_directory(name, options))
    }

    /// Two names that are the same once they are cleaned get different ones.
    fn named(
        &mut self,
        names: &[&[u8]],
        end: &str,
        mut add: impl FnMut(&mut ZipWriter<StreamWriter<Written>>, String) -> Result<(), ZipError>,
    ) -> io::Result<String> {
        let clean = cleaned(names);
        for number in 1..1000 {
            let name = if number == 1 { format!("{clean}{end}") } else { format!("{clean} ({number}){end}") };
            match add(&mut self.writer, name.clone()) {
                Ok(()) => return Ok(name),
                Err(ZipError::InvalidArchive(why)) if why.contains("Duplicate") => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Err(io::Error::other("too many files with one name"))
    }

    /// Adds to the file that was begun last.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Writes what stands at the end; [`Zip::take`] has it.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let Self { writer, written } = self;
        writer.finish().map_err(io::Error::other)?;
        Ok(std::mem::take(&mut *written.0.lock().unwrap_or_else(PoisonError::into_inner)).into())
    }
}

fn options(about: About) -> SimpleFileOptions {
    let options = SimpleFileOptions::default().unix_permissions(about.permissions.unwrap_or(0o644) & 0o777);
    match about.modified.and_then(time) {
        Some(time) => options.last_modified_time(time),
        None => options,
    }
}

/// Zip has local times without saying whose: UTC here.
fn time(at: Timestamp) -> Option<DateTime> {
    let text = at.rfc3339();
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u16>().ok();
    let small = |range| u8::try_from(part(range)?).ok();
    DateTime::from_date_and_time(
        part(0..4)?,
        small(5..7)?,
        small(8..10)?,
        small(11..13)?,
        small(14..16)?,
        small(17..19)?,
    )
    .ok()
}

/// A relative path of safe names.
pub(super) fn cleaned(names: &[&[u8]]) -> String {
    let clean = |name: &&[u8]| -> String {
        let text: String = path_text(name)
            .chars()
            .map(|c| {
                if matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') || c.is_control() {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        match text.as_str() {
            "" | "." | ".." => "_".repeat(text.len().max(1)),
            _ => text,
        }
    };
    names.iter().map(clean).collect::<Vec<_>>().join("/")
}

/// Its bytes are compressed already.
fn is_packed(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return false };
    let end = name[dot + 1..].to_ascii_lowercase();
    "zip gz tgz bz2 tbz xz txz zst lz4 7z rar jar apk deb rpm whl png jpg jpeg gif webp avif heic mp3 m4a ogg opus \
     flac aac mp4 m4v mkv webm mov avi docx xlsx pptx odt ods odp epub pdf woff woff2 iso qcow2"
        .split_ascii_whitespace()
        .any(|word| word.as_bytes() == end)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn made(fill: impl FnOnce(&mut Zip)) -> zip::ZipArchive<io::Cursor<Vec<u8>>> {
        let mut zip = Zip::new();
        fill(&mut zip);
        let mut all = zip.take().to_vec();
        all.extend_from_slice(&zip.finish().unwrap());
        zip::ZipArchive::new(io::Cursor::new(all)).unwrap()
    }

    #[test]
    fn what_is_written_piece_by_piece_reads_back() {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let mut archive = made(|zip| {
            zip.folder(&[b"a"], About::default()).unwrap();
            let about = About { size: Some(10), modified: Some(at), permissions: Some(0o755) };
            zip.file(&[b"a", "ü.txt".as_bytes()], about).unwrap();
            zip.write(b"01234").unwrap();
            zip.write(b"56789").unwrap();
            zip.file(&[b"large.jpg"], About::default()).unwrap();
            zip.write(&[7; 100_000]).unwrap();
        });
        assert_eq!(archive.len(), 3);
        let mut text = String::new();
        let mut file = archive.by_name("a/ü.txt").unwrap();
        assert_eq!(file.unix_mode().unwrap() & 0o777, 0o755);
        assert_eq!(file.last_modified().unwrap().year(), 2023);
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
        drop(file);
        let mut bytes = Vec::new();
        archive.by_name("large.jpg").unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [7; 100_000]);
    }

    #[test]
    fn names_stay_inside_and_differ() {
        for (names, clean) in [
            (vec![b"..".as_slice(), b"etc"], "__/etc"),
            (vec![b"C:\\x"], "C__x"),
            (vec![b"a/../../b"], "a_.._.._b"),
            (vec![b""], "_"),
            (vec![b"caf\xe9\n"], "caf_xe9_x0a"),
        ] {
            assert_eq!(cleaned(&names), clean);
        }
        let archive = made(|zip| {
            for _ in 0..3 {
                zip.file(&[b"a?"], About::default()).unwrap();
            }
            assert_eq!(zip.file(&[b"a*"], About::default()).unwrap(), "a_ (4)");
        });
        let mut names: Vec<_> = archive.file_names().map(|name| name.unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a_", "a_ (2)", "a_ (3)", "a_ (4)"]);
    }
}
