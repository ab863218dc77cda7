//! OpenSSH's own SFTP server.

use sojourn_domain::{access::Protocol, connections::ConnectionOptions};
use sojourn_gateway::files::{FsErrorKind, RemotePath, WriteMode};
use sojourn_testbed::sshd::Sshd;
use tokio::runtime::Runtime;

use crate::{
    lab::{Can, Case, noise, open, read, write},
    suite,
};

async fn case(server: &Sshd) -> Case {
    let account = server.account();
    let opened = open(Protocol::Sftp, account, server.port(), ConnectionOptions::default()).await;
    assert!(opened.first_use);
    assert_eq!(opened.host_key.unwrap().text, server.host_key());
    let remote: RemotePath = account.home.to_str().unwrap().parse().unwrap();
    assert_eq!(*opened.fs.home(), remote);
    Case {
        fs: opened.fs,
        remote,
        local: account.home.clone(),
        uid: account.uid(),
        can: Can { newlines: true, bytes: true, confirms: true, path: RemotePath::MAX, denials: true },
    }
}

#[test]
fn openssh_does_all_of_it() {
    let Some(server) = Sshd::start() else { return };
    Runtime::new().unwrap().block_on(async {
        let case = case(&server).await;
        let can = case.fs.capabilities();
        assert!(
            can.copy && can.rename_over && can.links && can.permissions && can.times && can.resume_upload
        );
        suite::all(&case).await;
    });
}

#[test]
fn a_server_that_comes_back_is_reached_again() {
    let Some(mut server) = Sshd::start() else { return };
    let runtime = Runtime::new().unwrap();
    let (case, file, content) = runtime.block_on(async {
        let case = case(&server).await;
        let content = noise(30_000_000);
        let file = case.put("file", &content);
        (case, file, content)
    });
    runtime.block_on(async {
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
        // Another host in its place is not spoken to.
        server.replace_host_keys();
        assert_eq!(case.fs.stat(&file, true).await.unwrap_err().kind, FsErrorKind::Denied);
        case.fs.close().await;
        assert_eq!(case.fs.stat(&file, true).await.unwrap_err().kind, FsErrorKind::Lost);
    });
}
