//! What every back end must do, in steps that each have a folder of their own.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    time::Duration,
};

use bytes::Bytes;
use sojourn_domain::time::Timestamp;
use sojourn_gateway::files::{EntryKind, FsErrorKind, RemotePath, WriteMode};
use sojourn_testbed::wait;
use tokio::time::timeout;

use crate::lab::{Case, names, noise, read, write};

/// Generous, for busy machines: what takes longer hangs.
const STEP: Duration = Duration::from_secs(240);

macro_rules! steps {
    ($case:ident: $($step:ident),* $(,)?) => {
        $(timeout(STEP, $step($case.sub(stringify!($step)))).await.expect(concat!("takes too long: ", stringify!($step)));)*
    };
}

pub(crate) async fn all(case: &Case) {
    steps!(case: folders, ranges, writing, cuts, renaming, copying, links, attributes, odd_names, long_paths, missing,
        misfits, refusals, together, crowds, streams);
}

fn kind<T>(result: Result<T, sojourn_gateway::files::FsError>) -> FsErrorKind {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => {
            assert!(!error.message().is_empty() && !error.message().contains(char::is_control), "{error:?}");
            error.kind
        }
    }
}

async fn folders(case: Case) {
    let fs = &*case.fs;
    assert_eq!(names(fs, &case.remote).await.unwrap(), Vec::<Vec<u8>>::new());
    fs.mkdir(&case.at("folder")).await.unwrap();
    assert!(case.local.join("folder").is_dir());
    case.put("empty", "");
    case.put("some", "12345");
    case.put(".hidden", "1");
    let mut listing = fs.list(&case.remote).await.unwrap();
    let mut found = Vec::new();
    while let Some(batch) = listing.next().await.unwrap() {
        found.extend(batch);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let shape: Vec<_> = found.iter().map(|entry| (&entry.name[..], entry.kind)).collect();
    assert_eq!(
        shape,
        [
            (&b".hidden"[..], EntryKind::File),
            (b"empty", EntryKind::File),
            (b"folder", EntryKind::Folder),
            (b"some", EntryKind::File)
        ]
    );
    assert_eq!((found[1].size, found[3].size), (Some(0), Some(5)));
    assert!(found.iter().all(|entry| entry.modified.is_some()));
    let some = fs.stat(&case.at("some"), true).await.unwrap();
    assert_eq!((&some.name[..], some.kind, some.size), (&b"some"[..], EntryKind::File, Some(5)));
    let now = fs::metadata(case.local.join("some")).unwrap().modified().unwrap();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert_eq!(some.modified.unwrap().as_micros() / 1_000_000, now);
    assert_eq!(fs.stat(&case.at("folder"), false).await.unwrap().kind, EntryKind::Folder);
    assert_eq!(fs.stat(&RemotePath::root(), true).await.unwrap().kind, EntryKind::Folder);
    fs.remove_file(&case.at("some")).await.unwrap();
    fs.remove_folder(&case.at("folder")).await.unwrap();
    assert_eq!(names(fs, &case.remote).await.unwrap(), [&b".hidden"[..], b"empty"]);
}

async fn ranges(case: Case) {
    let content = noise(1_100_003);
    let (file, size) = (case.put("file", &content), content.len());
    for (offset, length) in [
        (0, None),
        (0, Some(0)),
        (0, Some(10)),
        (0, Some(size)),
        (0, Some(size + 5)),
        (1, Some(65_536)),
        (65_535, Some(2)),
        (500_000, Some(200_000)),
        (size - 1, None),
        (size - 1, Some(9)),
        (size, None),
        (size + 1000, None),
        (size + 1000, Some(1)),
    ] {
        let end = length.map_or(size, |length| size.min(offset + length));
        let expected = content.get(offset..end).unwrap_or_default();
        let found = read(&*case.fs, &file, offset as u64, length.map(|length| length as u64)).await.unwrap();
        assert!(found == expected, "{offset} {length:?}: {} instead of {}", found.len(), expected.len());
    }
    let empty = case.put("empty", "");
    assert_eq!(read(&*case.fs, &empty, 0, None).await.unwrap(), b"");
    // One that stops in the middle leaves the target as it was.
    for _ in 0..20 {
        let mut reading = case.fs.read(&file, 0, None).await.unwrap();
        assert!(reading.next().await.unwrap().is_some());
    }
    assert_eq!(read(&*case.fs, &file, 7, Some(3)).await.unwrap(), content[7..10]);
}

async fn writing(case: Case) {
    let fs = &*case.fs;
    let (file, content) = (case.at("file"), noise(700_001));
    write(fs, &file, WriteMode::New, &content).await.unwrap();
    assert!(case.bytes("file") == content);
    assert_eq!(kind(write(fs, &file, WriteMode::New, b"x").await), FsErrorKind::Exists);
    assert!(case.bytes("file") == content);
    write(fs, &file, WriteMode::Replace, b"short").await.unwrap();
    assert_eq!(case.bytes("file"), b"short");
    write(fs, &case.at("new"), WriteMode::Replace, b"").await.unwrap();
    assert_eq!(case.bytes("new"), b"");
    write(fs, &case.at("none"), WriteMode::New, b"").await.unwrap();
    assert_eq!(case.bytes("none"), b"");
    write(fs, &file, WriteMode::At(5), b"er than").await.unwrap();
    assert_eq!(case.bytes("file"), b"shorter than");
    write(fs, &file, WriteMode::At(8), b"THAN").await.unwrap();
    assert_eq!(case.bytes("file"), b"shorter THAN");
    assert_eq!(kind(write(fs, &file, WriteMode::At(1000), b"x").await), FsErrorKind::Invalid);
    assert_eq!(kind(write(fs, &case.at("absent"), WriteMode::At(3), b"x").await), FsErrorKind::NotFound);
    write(fs, &case.at("at"), WriteMode::At(0), b"begun").await.unwrap();
    assert_eq!(case.bytes("at"), b"begun");
    let mut tiny = fs.write(&case.at("tiny"), WriteMode::New).await.unwrap();
    for byte in 0..=255_u8 {
        tiny.write(Bytes::from(vec![byte])).await.unwrap();
    }
    tiny.flush().await.unwrap();
    tiny.finish().await.unwrap();
    assert_eq!(case.bytes("tiny"), (0..=255).collect::<Vec<u8>>());
}

/// An upload that stops in the middle, and goes on.
async fn cuts(case: Case) {
    let fs = &*case.fs;
    let (file, content) = (case.at("file"), noise(3_000_000));
    let mut writing = fs.write(&file, WriteMode::New).await.unwrap();
    for piece in content[..1_500_000].chunks(100_000) {
        writing.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writing.flush().await.unwrap();
    assert_eq!(writing.arrived(), 1_500_000);
    writing.write(Bytes::copy_from_slice(&content[1_500_000..1_900_000])).await.unwrap();
    drop(writing);
    // What was under way may still arrive, or be thrown away with its connection; it is the size that counts.
    let (least, mut size, mut same) = (if case.can.confirms { 1_500_000 } else { 0 }, 0, 0);
    while same < 20 {
        let now = fs.stat(&file, true).await.unwrap().size.unwrap();
        same = if now == size { same + 1 } else { 0 };
        size = now;
        wait::during(Duration::from_millis(50), || {});
    }
    assert!((least..=1_900_000).contains(&size), "{size}");
    write(fs, &file, WriteMode::At(size), &content[size as usize..]).await.unwrap();
    assert!(case.bytes("file") == content);
}

async fn renaming(case: Case) {
    let fs = &*case.fs;
    let (a, b) = (case.put("a", "a"), case.put("b", "b"));
    assert_eq!(kind(fs.rename(&a, &b, false).await), FsErrorKind::Exists);
    assert_eq!(case.bytes("b"), b"b");
    fs.rename(&a, &case.at("c"), false).await.unwrap();
    assert_eq!(case.bytes("c"), b"c".map(|_| b'a'));
    fs.rename(&case.at("c"), &b, true).await.unwrap();
    assert_eq!(case.bytes("b"), b"a");
    fs.rename(&b, &case.at("d"), true).await.unwrap();
    fs.mkdir(&case.at("folder")).await.unwrap();
    fs.rename(&case.at("d"), &case.at("folder").join(b"e").unwrap(), false).await.unwrap();
    fs.rename(&case.at("folder"), &case.at("moved"), false).await.unwrap();
    assert_eq!(case.bytes("moved/e"), b"a");
    assert_eq!(kind(fs.rename(&case.at("gone"), &case.at("x"), false).await), FsErrorKind::NotFound);
    assert_eq!(kind(fs.rename(&case.at("gone"), &case.at("x"), true).await), FsErrorKind::NotFound);
    assert_eq!(names(fs, &case.remote).await.unwrap(), [b"moved"]);
}

async fn copying(case: Case) {
    let fs = &*case.fs;
    let content = noise(2_000_001);
    let file = case.put("file", &content);
    if !fs.capabilities().copy {
        assert_eq!(kind(fs.copy(&file, &case.at("copy")).await), FsErrorKind::Unsupported);
        return;
    }
    fs.copy(&file, &case.at("copy")).await.unwrap();
    assert!(case.bytes("copy") == content);
    case.put("longer", noise(3_000_000));
    fs.copy(&file, &case.at("longer")).await.unwrap();
    assert!(case.bytes("longer") == content);
    let empty = case.put("empty", "");
    fs.copy(&empty, &case.at("longer")).await.unwrap();
    assert_eq!(case.bytes("longer"), b"");
    assert_eq!(kind(fs.copy(&case.at("gone"), &case.at("x")).await), FsErrorKind::NotFound);
}

async fn links(case: Case) {
    let fs = &*case.fs;
    let file = case.put("file", "12345");
    if !fs.capabilities().links {
        let made = fs.make_link(&case.at("link"), b"file").await;
        assert_eq!(kind(made), FsErrorKind::Unsupported);
        return;
    }
    fs.make_link(&case.at("link"), b"file").await.unwrap();
    fs.make_link(&case.at("nowhere"), b"../no\xffthing").await.unwrap();
    fs.make_link(&case.at("loop"), b"loop").await.unwrap();
    assert_eq!(fs.read_link(&case.at("link")).await.unwrap(), b"file");
    assert_eq!(fs.read_link(&case.at("nowhere")).await.unwrap(), b"../no\xffthing");
    assert_eq!(fs.stat(&case.at("link"), false).await.unwrap().kind, EntryKind::Link);
    let followed = fs.stat(&case.at("link"), true).await.unwrap();
    assert_eq!((followed.kind, followed.size), (EntryKind::File, Some(5)));
    assert_eq!(read(fs, &case.at("link"), 0, None).await.unwrap(), b"12345");
    assert_eq!(kind(fs.stat(&case.at("nowhere"), true).await), FsErrorKind::NotFound);
    assert!(fs.stat(&case.at("loop"), true).await.is_err());
    assert!(read(fs, &case.at("loop"), 0, None).await.is_err());
    assert_eq!(kind(fs.make_link(&case.at("link"), b"x").await), FsErrorKind::Exists);
    assert_eq!(names(fs, &case.remote).await.unwrap().len(), 4);
    fs.remove_file(&case.at("link")).await.unwrap();
    assert_eq!(case.bytes("file"), b"12345");
    fs.make_hard_link(&case.at("second"), &file).await.unwrap();
    assert_eq!(case.bytes("second"), b"12345");
    assert_eq!(kind(fs.make_hard_link(&case.at("second"), &file).await), FsErrorKind::Exists);
}

async fn attributes(case: Case) {
    let fs = &*case.fs;
    let file = case.put("file", "12345");
    let can = fs.capabilities();
    if can.permissions {
        fs.set_permissions(&file, 0o640).await.unwrap();
        assert_eq!(case.mode("file"), 0o640);
        // Not every target tells it of one file alone.
        assert!(matches!(fs.stat(&file, true).await.unwrap().permissions, None | Some(0o640)));
        let listed = fs.list(&case.remote).await.unwrap().next().await.unwrap().unwrap();
        assert_eq!(listed[0].permissions, Some(0o640));
    } else {
        assert_eq!(kind(fs.set_permissions(&file, 0o640).await), FsErrorKind::Unsupported);
    }
    let then = Timestamp::from_secs(1_234_567_890);
    if can.times {
        fs.set_modified(&file, then).await.unwrap();
        assert_eq!(fs.stat(&file, true).await.unwrap().modified, Some(then));
    } else {
        assert_eq!(kind(fs.set_modified(&file, then).await), FsErrorKind::Unsupported);
    }
    match fs.truncate(&file, 3).await {
        Ok(()) => {
            assert_eq!(case.bytes("file"), b"123");
            fs.truncate(&file, 5).await.unwrap();
            assert_eq!(case.bytes("file"), b"123\0\0");
        }
        Err(error) => assert_eq!(error.kind, FsErrorKind::Unsupported),
    }
}

async fn odd_names(case: Case) {
    let fs = &*case.fs;
    let long = "x".repeat(255);
    let mut odd: Vec<&[u8]> = vec![
        b" leading",
        b"trailing ",
        b"two  spaces",
        b"-rf",
        b"--help",
        b"quo\"te'",
        "ümläut 日本 \u{1f600}".as_bytes(),
        b"*?[a]{b,c}",
        b"back\\slash",
        b"per%20cent",
        b"#;&|$(id)`id`",
        b"~",
        b"...",
        b"a -> b",
        b"tab\there",
        b"esc\x1b[2J",
        b"latin-\xe9\xff\xfe",
        long.as_bytes(),
    ];
    if case.can.newlines {
        odd.extend([&b"line\nend"[..], b"both\r\nends"]);
    } else {
        for bad in [&b"a\r\nDELE file"[..], b"a\nb", b"a\rb"] {
            let file = case.at(bad);
            assert_eq!(kind(fs.mkdir(&file).await), FsErrorKind::Invalid);
            assert_eq!(kind(write(fs, &file, WriteMode::New, b"x").await), FsErrorKind::Invalid);
            assert_eq!(kind(fs.stat(&file, true).await), FsErrorKind::Invalid);
            assert_eq!(kind(names(fs, &file).await), FsErrorKind::Invalid);
            assert_eq!(kind(fs.rename(&case.at("x"), &file, true).await), FsErrorKind::Invalid);
        }
    }
    if !case.can.bytes {
        let bytes = case.at(b"latin-\xe9\xff\xfe");
        assert_eq!(kind(fs.mkdir(&bytes).await), FsErrorKind::Invalid);
        odd.retain(|name| std::str::from_utf8(name).is_ok());
    }
    for name in &odd {
        let (file, shown) = (case.at(name), RemotePath::root().join(name).unwrap());
        write(fs, &file, WriteMode::New, name).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        if case.can.bytes {
            assert_eq!(case.bytes(std::ffi::OsStr::from_bytes(name)), *name, "{shown}");
        }
        let found = fs.stat(&file, false).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!((&found.name[..], found.size), (*name, Some(name.len() as u64)), "{shown}");
        assert_eq!(read(fs, &file, 0, None).await.unwrap(), *name, "{shown}");
    }
    let mut expected: Vec<Vec<u8>> = odd.iter().map(|name| name.to_vec()).collect();
    expected.sort();
    assert_eq!(names(fs, &case.remote).await.unwrap(), expected);
    for name in &odd {
        fs.rename(&case.at(name), &case.at("plain"), false).await.unwrap();
        fs.rename(&case.at("plain"), &case.at(name), false).await.unwrap();
        fs.remove_file(&case.at(name)).await.unwrap();
        match fs.mkdir(&case.at(name)).await {
            Ok(()) => {}
            // ProFTPD makes no folders with stars in their names.
            Err(error) => {
                assert_eq!(error.kind, FsErrorKind::Invalid, "{error}");
                continue;
            }
        }
        let inside = case.at(name).join(b"in").unwrap();
        write(fs, &inside, WriteMode::New, b"1").await.unwrap();
        assert_eq!(names(fs, &case.at(name)).await.unwrap(), [b"in"]);
        fs.remove_file(&inside).await.unwrap();
        fs.remove_folder(&case.at(name)).await.unwrap();
    }
    assert_eq!(names(fs, &case.remote).await.unwrap(), Vec::<Vec<u8>>::new());
}

async fn long_paths(case: Case) {
    let fs = &*case.fs;
    let (mut path, mut deep) = (case.remote.clone(), 0);
    while path.as_bytes().len() + 260 < case.can.path {
        path = path.join("d".repeat(250).as_bytes()).unwrap();
        fs.mkdir(&path).await.unwrap();
        deep += 1;
    }
    let file = path.join(b"file").unwrap();
    write(fs, &file, WriteMode::New, b"deep").await.unwrap();
    assert_eq!(read(fs, &file, 0, None).await.unwrap(), b"deep");
    assert_eq!(names(fs, &path).await.unwrap(), [b"file"]);
    assert!(deep > 2);
    // One byte more than the target takes, or many: an error, and it goes on.
    let rest = RemotePath::MAX - path.as_bytes().len();
    if rest > 2 {
        let longest = path.join("e".repeat(rest.min(255) - 1).as_bytes()).unwrap();
        if let Err(error) = fs.mkdir(&longest).await {
            assert!(!error.is_lost(), "{error:?}");
        }
    }
    fs.stat(&case.remote, true).await.unwrap();
}

async fn missing(case: Case) {
    let fs = &*case.fs;
    let gone = case.at("gone");
    let within = gone.join(b"x").unwrap();
    for path in [&gone, &within] {
        assert_eq!(kind(fs.stat(path, true).await), FsErrorKind::NotFound);
        assert_eq!(kind(names(fs, path).await), FsErrorKind::NotFound);
        assert_eq!(kind(read(fs, path, 0, None).await), FsErrorKind::NotFound);
        assert_eq!(kind(fs.remove_file(path).await), FsErrorKind::NotFound);
        assert_eq!(kind(fs.remove_folder(path).await), FsErrorKind::NotFound);
    }
    assert_eq!(kind(fs.mkdir(&within).await), FsErrorKind::NotFound);
    assert_eq!(kind(write(fs, &within, WriteMode::New, b"x").await), FsErrorKind::NotFound);
    assert_eq!(kind(write(fs, &within, WriteMode::Replace, b"x").await), FsErrorKind::NotFound);
}

async fn misfits(case: Case) {
    let fs = &*case.fs;
    let file = case.put("file", "12345");
    fs.mkdir(&case.at("folder")).await.unwrap();
    write(fs, &case.at("folder").join(b"in").unwrap(), WriteMode::New, b"1").await.unwrap();
    assert_eq!(kind(names(fs, &file).await), FsErrorKind::NotAFolder);
    assert_eq!(kind(read(fs, &case.at("folder"), 0, None).await), FsErrorKind::IsAFolder);
    assert_eq!(kind(write(fs, &case.at("folder"), WriteMode::Replace, b"x").await), FsErrorKind::IsAFolder);
    assert_eq!(kind(write(fs, &case.at("folder"), WriteMode::New, b"x").await), FsErrorKind::Exists);
    assert_eq!(kind(fs.mkdir(&case.at("folder")).await), FsErrorKind::Exists);
    assert_eq!(kind(fs.mkdir(&file).await), FsErrorKind::Exists);
    assert_eq!(kind(fs.remove_folder(&case.at("folder")).await), FsErrorKind::NotEmpty);
    assert_eq!(kind(fs.remove_folder(&file).await), FsErrorKind::NotAFolder);
    assert_eq!(kind(fs.remove_file(&case.at("folder")).await), FsErrorKind::IsAFolder);
}

async fn refusals(case: Case) {
    if !case.can.denials {
        return;
    }
    let fs = &*case.fs;
    let (file, folder) = (case.put("file", "secret"), case.at("folder"));
    fs::create_dir(case.local.join("folder")).unwrap();
    fs::write(case.local.join("folder/in"), "1").unwrap();
    for (name, mode) in [("file", 0o600), ("folder", 0o700)] {
        let path = case.local.join(name);
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let within = folder.join(b"x").unwrap();
    assert_eq!(kind(read(fs, &file, 0, None).await), FsErrorKind::Denied);
    assert_eq!(kind(write(fs, &file, WriteMode::Replace, b"x").await), FsErrorKind::Denied);
    assert_eq!(kind(names(fs, &folder).await), FsErrorKind::Denied);
    assert_eq!(kind(fs.mkdir(&within).await), FsErrorKind::Denied);
    assert_eq!(kind(write(fs, &within, WriteMode::New, b"x").await), FsErrorKind::Denied);
    assert_eq!(case.bytes("file"), b"secret");
}

/// Many things at once on one `RemoteFs`.
async fn together(case: Case) {
    let content = noise(900_000);
    for number in 0..6 {
        case.put(&format!("in-{number}"), &content);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (fs, content) = (case.fs.clone(), content.clone());
        let (from, to) = (case.at(format!("in-{number}")), case.at(format!("out-{number}")));
        tasks.spawn(async move {
            assert!(read(&*fs, &from, 0, None).await.unwrap() == content);
            write(&*fs, &to, WriteMode::New, &content).await.unwrap();
            assert_eq!(fs.stat(&to, true).await.unwrap().size, Some(content.len() as u64));
        });
    }
    // One that is read at a walk holds nobody up.
    let mut slow = case.fs.read(&case.at("in-0"), 0, None).await.unwrap();
    assert!(slow.next().await.unwrap().is_some());
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut rest = 0;
    while let Some(piece) = slow.next().await.unwrap() {
        rest += piece.len();
    }
    assert!(rest < content.len());
    for number in 0..6 {
        assert!(case.bytes(format!("out-{number}")) == content);
    }
}

async fn crowds(case: Case) {
    for number in 0..100_000 {
        fs::write(case.local.join(format!("file-{number:06}")), "").unwrap();
    }
    let found = names(&*case.fs, &case.remote).await.unwrap();
    assert_eq!(found.len(), 100_000);
    assert_eq!((&found[0][..], &found[99_999][..]), (&b"file-000000"[..], &b"file-099999"[..]));
    // Whoever has seen enough goes away.
    let mut listing = case.fs.list(&case.remote).await.unwrap();
    assert!(listing.next().await.unwrap().is_some());
    drop(listing);
    case.fs.stat(&case.remote, true).await.unwrap();
    fs::remove_dir_all(&case.local).unwrap();
}

/// 200 MB up and down in a memory that does not grow with them.
async fn streams(case: Case) {
    const PIECE: usize = 1_000_000;
    let piece = Bytes::from(noise(PIECE));
    let before = resident();
    let mut file = case.fs.write(&case.at("large"), WriteMode::New).await.unwrap();
    let mut most = 0;
    for _ in 0..200 {
        file.write(piece.clone()).await.unwrap();
        most = most.max(resident());
    }
    file.finish().await.unwrap();
    let mut file = case.fs.read(&case.at("large"), 0, None).await.unwrap();
    let mut total = 0;
    while let Some(found) = file.next().await.unwrap() {
        let mut rest = &found[..];
        while !rest.is_empty() {
            let at = total % PIECE;
            let length = rest.len().min(PIECE - at);
            assert!(rest[..length] == piece[at..at + length], "at {total}");
            total += length;
            rest = &rest[length..];
        }
        most = most.max(resident());
    }
    assert_eq!(total, 200 * PIECE);
    let grown = most.saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "grew by {grown} bytes");
    fs::remove_file(case.local.join("large")).unwrap();
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
