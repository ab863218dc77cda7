//! vsftpd (LIST; with TLS and without) and ProFTPD (MLSD).

use sojourn_domain::{
    access::{EndReason, Protocol},
    connections::{ConnectionOptions, FtpTls},
};
use sojourn_gateway::{
    files::{self, FsErrorKind, RemotePath, WriteMode},
    protocols::{Credential, HostKeyRule, Secret, dial::Rules},
};
use sojourn_testbed::ftpd::{Ftpd, Kind};
use tokio::runtime::Runtime;

use crate::{
    lab::{Can, Case, noise, open, password, read, target, write},
    suite,
};

fn options(kind: Kind) -> ConnectionOptions {
    let tls = match kind {
        Kind::VsftpdPlain | Kind::Proftpd => FtpTls::None,
        Kind::VsftpdExplicit => FtpTls::Explicit,
        Kind::VsftpdImplicit => FtpTls::Implicit,
    };
    ConnectionOptions { tls: Some(tls), ..ConnectionOptions::default() }
}

async fn case(server: &Ftpd) -> Case {
    let account = server.account();
    let opened = open(Protocol::Ftp, account, server.port(), options(server.kind())).await;
    match server.kind() {
        Kind::VsftpdPlain | Kind::Proftpd => assert!(opened.host_key.is_none() && !opened.first_use),
        Kind::VsftpdExplicit | Kind::VsftpdImplicit => {
            assert_eq!(opened.host_key.unwrap().fingerprint, server.fingerprint());
            assert!(opened.first_use);
        }
    }
    let remote: RemotePath = account.home.to_str().unwrap().parse().unwrap();
    assert_eq!(*opened.fs.home(), remote);
    let path = if server.kind() == Kind::Proftpd { 3000 } else { 4000 };
    let can = Can { newlines: false, bytes: true, confirms: false, path, denials: true };
    Case { fs: opened.fs, remote, local: account.home.clone(), uid: account.uid(), can }
}

fn suite_on(kind: Kind) {
    let Some(server) = Ftpd::start(kind) else { return };
    Runtime::new().unwrap().block_on(async {
        let case = case(&server).await;
        let can = case.fs.capabilities();
        assert!(can.permissions && can.times && can.resume_upload && !can.links && !can.copy, "{can:?}");
        suite::all(&case).await;
    });
}

#[test]
fn vsftpd_does_all_of_it() {
    suite_on(Kind::VsftpdPlain);
}

#[test]
fn vsftpd_with_explicit_tls_does_all_of_it() {
    suite_on(Kind::VsftpdExplicit);
}

#[test]
fn vsftpd_with_implicit_tls_does_all_of_it() {
    suite_on(Kind::VsftpdImplicit);
}

#[test]
fn proftpd_does_all_of_it() {
    suite_on(Kind::Proftpd);
}

#[test]
fn certificates_are_pinned() {
    let Some(mut server) = Ftpd::start(Kind::VsftpdExplicit) else { return };
    Runtime::new().unwrap().block_on(async {
        let mut target = target(server.account(), server.port(), options(server.kind()));
        let credential = password(server.account());
        let rules = Rules::default();
        let refused = async |target: &_, credential: &_| {
            let error = files::open(Protocol::Ftp, target, credential, &rules).await.unwrap_err();
            assert!(!error.message.contains(&server.account().password));
            error.reason
        };
        target.host_key = HostKeyRule::Unknown;
        assert_eq!(refused(&target, &credential).await, EndReason::HostKey);
        target.host_key = HostKeyRule::Pinned(format!("SHA256:{}", "A".repeat(43)));
        assert_eq!(refused(&target, &credential).await, EndReason::HostKey);
        assert!(!server.log().contains("USER"), "a name went to a host that is not the right one");
        target.host_key = HostKeyRule::Pinned(format!("{}=", server.fingerprint()));
        let wrong = Credential::Password(Secret::new("wrong"));
        assert_eq!(refused(&target, &wrong).await, EndReason::LoginRefused);
        let opened = files::open(Protocol::Ftp, &target, &credential, &rules).await.unwrap();
        assert!(!opened.first_use);
        // Without TLS the server lets nobody in, and with it we do not go without.
        let mut plain = target.clone();
        plain.options.tls = Some(FtpTls::None);
        assert_eq!(refused(&plain, &credential).await, EndReason::LoginRefused);
        server.replace_certificate();
        server.restart();
        let error = opened.fs.stat(&RemotePath::root(), true).await.unwrap_err();
        assert_eq!(error.kind, FsErrorKind::Denied, "{error}");
    });
}

#[test]
fn a_server_that_comes_back_is_reached_again() {
    for kind in [Kind::VsftpdPlain, Kind::VsftpdExplicit, Kind::Proftpd] {
        let Some(mut server) = Ftpd::start(kind) else { return };
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let case = case(&server).await;
            let content = noise(30_000_000);
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
            assert_eq!(lost.kind, FsErrorKind::Lost, "{lost}");
            let lost = loop {
                if let Err(error) = writing.write(vec![0; 100_000].into()).await {
                    break error;
                }
            };
            assert_eq!(lost.kind, FsErrorKind::Lost, "{lost}");
            assert!(writing.finish().await.is_err());
            assert_eq!(case.fs.stat(&file, true).await.unwrap_err().kind, FsErrorKind::Lost);
            server.restart();
            assert!(read(&*case.fs, &file, 0, None).await.unwrap() == content);
            write(&*case.fs, &case.at("out"), WriteMode::Replace, b"again").await.unwrap();
            assert_eq!(case.bytes("out"), b"again");
            case.fs.close().await;
            assert_eq!(case.fs.stat(&file, true).await.unwrap_err().kind, FsErrorKind::Lost);
        });
    }
}

#[test]
fn a_target_that_takes_few_connections_is_asked_for_no_more() {
    // Short ones are over before the target has refused the connections that are too many.
    for length in [2_000_000, 10, 10, 10] {
        let Some(server) = Ftpd::with(Kind::VsftpdPlain, &["max_per_ip=2"]) else { return };
        Runtime::new().unwrap().block_on(async {
            let case = case(&server).await;
            let content = noise(length);
            let file = case.put("file", &content);
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let (fs, file, content) = (case.fs.clone(), file.clone(), content.clone());
                tasks.spawn(async move { assert!(read(&*fs, &file, 0, None).await.unwrap() == content) });
            }
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
        });
    }
}
