//! Samba, as it comes, with signing required and with encryption required.

use std::time::Duration;

use sojourn_domain::{
    access::{EndReason, Protocol},
    connections::ConnectionOptions,
};
use sojourn_gateway::{
    files::{self, Capabilities, EntryKind, FsErrorKind, Patience, RemotePath, WriteMode},
    protocols::{
        Credential, Secret, Target,
        dial::Rules,
        probe::{LoginTried, Pinned, probe},
    },
};
use sojourn_testbed::{
    flaky::{Flaky, Mood},
    samba::{Protection, Samba},
};
use tokio::runtime::Runtime;

use crate::{
    lab::{Can, Case, names, noise, open, password, read, target, write},
    suite,
};

fn on(share: &str) -> ConnectionOptions {
    ConnectionOptions { share: share.to_owned(), ..ConnectionOptions::default() }
}

async fn case(server: &Samba) -> Case {
    let account = server.account();
    let opened = open(Protocol::Smb, account, server.port(), on("files")).await;
    assert!(opened.host_key.is_none() && !opened.first_use);
    Case {
        fs: opened.fs,
        remote: RemotePath::root(),
        local: server.share("files"),
        uid: account.uid(),
        can: Can { newlines: true, bytes: false, confirms: true, path: 2000, denials: true },
    }
}

fn does_all_of_it(protection: Protection) {
    let Some(server) = Samba::start(protection) else { return };
    Runtime::new().unwrap().block_on(async {
        let case = case(&server).await;
        assert_eq!(
            case.fs.capabilities(),
            Capabilities {
                copy: true,
                rename_over: true,
                links: false,
                permissions: false,
                times: true,
                resume_upload: true
            }
        );
        suite::all(&case).await;
    });
}

#[test]
fn samba_does_all_of_it() {
    does_all_of_it(Protection::Plain);
}

#[test]
fn samba_does_all_of_it_signed() {
    does_all_of_it(Protection::Signed);
}

#[test]
fn samba_does_all_of_it_encrypted() {
    does_all_of_it(Protection::Encrypted);
}

#[test]
fn shares_are_folders_where_none_is_named() {
    for protection in Protection::ALL {
        let Some(server) = Samba::start(protection) else { return };
        Runtime::new().unwrap().block_on(async {
            let opened = open(Protocol::Smb, server.account(), server.port(), on("")).await;
            let fs = &*opened.fs;
            let path = |text: &str| -> RemotePath { text.parse().unwrap() };
            let shares = names(fs, &path("/")).await.unwrap();
            assert_eq!(shares, [&b"files"[..], b"locked", b"sealed", b"second"], "{protection:?}");
            assert_eq!(fs.stat(&path("/"), true).await.unwrap().kind, EntryKind::Folder);
            assert_eq!(fs.stat(&path("/files"), true).await.unwrap().kind, EntryKind::Folder);
            // Encryption that one share requires is had for it.
            for share in ["files", "second", "sealed"] {
                let file = path(&format!("/{share}/file"));
                write(fs, &file, WriteMode::New, b"content").await.unwrap();
                assert_eq!(read(fs, &file, 0, None).await.unwrap(), b"content", "{share}");
                assert_eq!(std::fs::read(server.share(share).join("file")).unwrap(), b"content");
            }
            let kind = |result: Result<(), files::FsError>| result.unwrap_err().kind;
            let listed = async |share: &str| names(fs, &path(share)).await.map(drop);
            assert_eq!(kind(listed("/locked").await), FsErrorKind::Denied);
            assert_eq!(kind(listed("/nothing").await), FsErrorKind::NotFound);
            assert_eq!(kind(listed("/IPC$").await), FsErrorKind::NotFound);
            assert_eq!(kind(fs.mkdir(&path("/new")).await), FsErrorKind::Denied);
            assert_eq!(kind(fs.remove_folder(&path("/second")).await), FsErrorKind::Denied);
            let across = fs.rename(&path("/files/file"), &path("/second/moved"), false).await;
            assert_eq!(kind(across), FsErrorKind::Unsupported);
        });
    }
}

#[test]
fn who_may_not_come_in_is_told_why() {
    for protection in Protection::ALL {
        let Some(server) = Samba::start(protection) else { return };
        let account = server.account();
        let tried = async |target: &Target, credential: &Credential| {
            let opened = files::open(Protocol::Smb, target, credential, &Rules::default()).await;
            opened.map(drop).unwrap_err()
        };
        Runtime::new().unwrap().block_on(async {
            let good = target(account, server.port(), on("files"));
            let wrong = Credential::Password(Secret::new("wrong"));
            assert_eq!(tried(&good, &wrong).await.reason, EndReason::LoginRefused, "{protection:?}");
            let stranger = Target { username: "nobody-here".to_owned(), ..good.clone() };
            assert_eq!(tried(&stranger, &wrong).await.reason, EndReason::LoginRefused);
            let guest = Target { username: String::new(), ..good.clone() };
            assert_eq!(tried(&guest, &Credential::None).await.reason, EndReason::LoginRefused);
            let nowhere = target(account, server.port(), on("nothing"));
            let error = tried(&nowhere, &password(account)).await;
            assert_eq!(error.message, "the target has no share \"nothing\"");
            let locked = target(account, server.port(), on("locked"));
            let error = tried(&locked, &password(account)).await;
            assert!(error.message.contains("does not let this user use the share"), "{error:?}");
            let mut options = on("files");
            options.domain = "LAB".to_owned();
            let opened = open(Protocol::Smb, account, server.port(), options).await;
            assert_eq!(names(&*opened.fs, &RemotePath::root()).await.unwrap(), Vec::<Vec<u8>>::new());
        });
    }
}

#[test]
fn a_guest_is_one_only_when_asked_to_be() {
    let open_house = ["map to guest = bad password", "guest account = deploy"];
    let Some(server) = Samba::with(Protection::Plain, &open_house, &["[files]\nguest ok = yes\n"]) else {
        return;
    };
    Runtime::new().unwrap().block_on(async {
        let account = server.account();
        let mut guest = target(account, server.port(), on("files"));
        guest.username = String::new();
        let opened = files::open(Protocol::Smb, &guest, &Credential::None, &Rules::default()).await.unwrap();
        write(&*opened.fs, &"/file".parse().unwrap(), WriteMode::New, b"by a guest").await.unwrap();
        // Whoever says a name is not taken in as somebody else.
        let named = Target { username: "nobody-here".to_owned(), ..guest };
        let wrong = Credential::Password(Secret::new("wrong"));
        let error =
            files::open(Protocol::Smb, &named, &wrong, &Rules::default()).await.map(drop).unwrap_err();
        assert_eq!(error.reason, EndReason::LoginRefused);
        assert!(error.message.contains("guest"), "{error:?}");
    });
}

#[test]
fn a_server_that_comes_back_is_reached_again() {
    let Some(mut server) = Samba::start(Protection::Encrypted) else { return };
    Runtime::new().unwrap().block_on(async {
        let case = case(&server).await;
        let content = noise(12_000_000);
        let file = case.put("file", &content);
        let mut reading = case.fs.read(&file, 0, None).await.unwrap();
        let mut writing = case.fs.write(&case.at("out"), WriteMode::New).await.unwrap();
        let first = reading.next().await.unwrap().unwrap();
        writing.write(first).await.unwrap();
        server.stop();
        let lost = loop {
            match reading.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cut file looks whole"),
                Err(error) => break error,
            }
        };
        assert_eq!(lost.kind, FsErrorKind::Lost);
        assert!(reading.next().await.unwrap().is_none());
        let lost = loop {
            if let Err(error) = writing.write(vec![0; 100_000].into()).await {
                break error;
            }
        };
        assert_eq!(lost.kind, FsErrorKind::Lost);
        assert!(writing.finish().await.is_err());
        assert_eq!(case.fs.stat(&file, true).await.unwrap_err().kind, FsErrorKind::Lost);
        server.restart();
        assert!(read(&*case.fs, &file, 0, None).await.unwrap() == content);
        write(&*case.fs, &case.at("out"), WriteMode::Replace, b"again").await.unwrap();
        // What only asks is asked again.
        server.restart();
        case.fs.stat(&file, true).await.unwrap();
        write(&*case.fs, &case.at("out"), WriteMode::Replace, b"and again").await.unwrap();
        case.fs.close().await;
        assert_eq!(case.fs.stat(&file, true).await.unwrap_err().kind, FsErrorKind::Lost);
    });
}

#[test]
fn a_target_that_falls_silent_holds_nobody_for_ever() {
    let Some(server) = Samba::start(Protection::Signed) else { return };
    let relay = Flaky::before(server.address());
    Runtime::new().unwrap().block_on(async {
        let target = target(server.account(), relay.address().port(), on("files"));
        let patience = Patience { answer: Duration::from_secs(10) };
        let (credential, rules) = (password(server.account()), Rules::default());
        let opened = files::open_with(Protocol::Smb, &target, &credential, &rules, patience).await.unwrap();
        let fs = opened.fs;
        let file: RemotePath = "/file".parse().unwrap();
        let content = noise(10_000_000);
        write(&*fs, &file, WriteMode::New, &content).await.unwrap();
        let mut reading = fs.read(&file, 0, None).await.unwrap();
        let mut writing = fs.write(&"/out".parse().unwrap(), WriteMode::New).await.unwrap();
        assert!(reading.next().await.unwrap().is_some());
        relay.set(Mood::Silent);
        let late = loop {
            match reading.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cut file looks whole"),
                Err(error) => break error,
            }
        };
        assert!(late.is_lost(), "{late:?}");
        let late = loop {
            if let Err(error) = writing.write(vec![0; 1_000_000].into()).await {
                break error;
            }
        };
        assert!(late.is_lost(), "{late:?}");
        assert!(fs.stat(&file, true).await.unwrap_err().is_lost());
        let opened = files::open_with(Protocol::Smb, &target, &credential, &rules, patience).await;
        assert_eq!(opened.map(drop).unwrap_err().reason, EndReason::Unreachable);
        relay.set(Mood::Well);
        assert!(read(&*fs, &file, 0, None).await.unwrap() == content);
    });
}

#[test]
fn names_that_are_forbidden_or_mean_the_same() {
    let Some(server) = Samba::start(Protection::Plain) else { return };
    Runtime::new().unwrap().block_on(async {
        let case = case(&server).await;
        let fs = &*case.fs;
        let file = case.put("File", "12345");
        // SMB knows no case: it is one file, which must not be emptied by copying it onto itself.
        assert_eq!(fs.copy(&file, &case.at("fILE")).await.unwrap_err().kind, FsErrorKind::Invalid);
        assert_eq!(fs.copy(&file, &file).await.unwrap_err().kind, FsErrorKind::Invalid);
        assert_eq!(case.bytes("File"), b"12345");
        assert_eq!(fs.truncate(&case.at("gone"), 5).await.unwrap_err().kind, FsErrorKind::NotFound);
        assert!(!case.local.join("gone").exists());
        let past = fs.write(&file, WriteMode::At(6)).await.map(drop).unwrap_err();
        assert_eq!(past.kind, FsErrorKind::Invalid);
        // Samba gives every long name a short one, by which rules for paths would not know it.
        case.put("a secret that has a long name.txt", "hidden");
        let short =
            server.client("files").args(["-c", "altname \"a secret that has a long name.txt\""]).output();
        let short = String::from_utf8(short.unwrap().stdout).unwrap().trim().to_owned();
        assert!(short.contains('~'), "{short}");
        let refused = read(fs, &case.at(&short), 0, None).await.unwrap_err();
        assert!(
            refused.kind == FsErrorKind::NotFound && refused.message().contains("short form"),
            "{refused:?}"
        );
        let onto = fs.rename(&file, &case.at(&short), true).await.unwrap_err();
        assert_eq!(onto.kind, FsErrorKind::NotFound);
        assert_eq!(case.bytes("a secret that has a long name.txt"), b"hidden");
        fs.remove_file(&case.at("a secret that has a long name.txt")).await.unwrap();
        write(fs, &case.at("own~1.txt"), WriteMode::New, b"a name of its own").await.unwrap();
        assert_eq!(read(fs, &case.at("own~1.txt"), 0, None).await.unwrap(), b"a name of its own");
        fs.remove_file(&case.at("own~1.txt")).await.unwrap();
        // What looks like a stream of a file is a name.
        write(fs, &case.at("File:stream"), WriteMode::New, b"x").await.unwrap();
        assert_eq!(names(fs, &case.remote).await.unwrap(), [&b"File"[..], b"File:stream"]);
        assert_eq!(case.bytes("File"), b"12345");
        let bytes = fs.mkdir(&case.at(b"\xff")).await.unwrap_err();
        assert_eq!(bytes.kind, FsErrorKind::Invalid);
    });
}

#[test]
fn a_look_says_whether_it_works() {
    let Some(server) = Samba::start(Protection::Encrypted) else { return };
    let account = server.account();
    let look = async |target: &Target, credential: Option<&Credential>| {
        probe(Protocol::Smb, target, credential, &Rules::default()).await
    };
    Runtime::new().unwrap().block_on(async {
        let (good, right) = (target(account, server.port(), on("files")), password(account));
        let found = look(&good, Some(&right)).await;
        assert!(found.is_good() && found.reached && found.latency.is_some(), "{found:?}");
        assert_eq!((found.login, found.pinned, found.host_key), (LoginTried::Ok, Pinned::None, None));
        let found = look(&good, None).await;
        assert_eq!((found.reached, found.login), (true, LoginTried::NotTried), "{found:?}");
        let wrong = Credential::Password(Secret::new("wrong"));
        let found = look(&good, Some(&wrong)).await;
        assert_eq!(
            (found.reached, found.is_good(), found.login),
            (true, false, LoginTried::Refused),
            "{found:?}"
        );
        let found = look(&target(account, server.port(), on("nothing")), Some(&right)).await;
        assert!(!found.is_good() && found.message.contains("no share"), "{found:?}");
    });
}
