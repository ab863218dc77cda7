//! Targets that lie, hang and talk nonsense: a few lines of FTP that do what no real server does.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sojourn_domain::{
    access::{AuthKind, Protocol},
    connections::{ConnectionOptions, FtpTls},
};
use sojourn_gateway::{
    files::{self, FsErrorKind, Opened, Patience, RemotePath},
    protocols::{ConnectError, Credential, HostKeyRule, Secret, Target, dial::Rules},
};
use sojourn_testbed::sshd::Sshd;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    runtime::Runtime,
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};

use crate::lab::{names, password, read, target};

/// Longer than any test here may take.
const END: Duration = Duration::from_secs(60);
const SHORT: Patience = Patience { answer: Duration::from_millis(1500) };

/// What comes after the first connection: told when it is there, refused when the test says so.
#[derive(Default)]
struct Door {
    asked: Notify,
    refuse: Notify,
}

/// An FTP server whose answers are made up. `{port}` stands for the port of a data connection, on which `data` is sent.
/// An answer of nothing is silence.
async fn liar(
    answers: &'static [(&'static str, &'static str)],
    data: &'static [u8],
) -> (SocketAddr, JoinHandle<()>) {
    liar_with(answers, data, None).await
}

async fn liar_with(
    answers: &'static [(&'static str, &'static str)],
    data: &'static [u8],
    door: Option<Arc<Door>>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut first = true;
        while let Ok((stream, _)) = listener.accept().await {
            let door = door.clone().filter(|_| !std::mem::take(&mut first));
            tokio::spawn(async move {
                let (reading, mut writing) = stream.into_split();
                if let Some(door) = door {
                    door.asked.notify_one();
                    door.refuse.notified().await;
                    writing.write_all(b"421 too many\r\n").await.unwrap();
                    return;
                }
                let mut lines = BufReader::new(reading).lines();
                writing.write_all(b"220 hello\r\n").await.unwrap();
                let mut channel = None;
                while let Ok(Some(line)) = lines.next_line().await {
                    let usual = [
                        ("USER", "331 password"),
                        ("PASS", "230 in"),
                        ("FEAT", "211-Features\r\n SIZE\r\n211 end"),
                        ("PWD", "257 \"/\""),
                        ("EPSV", "229 (|||{port}|)"),
                        ("RETR", "150 here"),
                        ("LIST", "150 here"),
                        ("CWD", "250 there"),
                        ("", "200 yes"),
                    ];
                    let answer = answers.iter().chain(&usual).find(|(verb, _)| line.starts_with(verb));
                    let answer = answer.unwrap().1;
                    if answer.is_empty() {
                        continue;
                    }
                    if answer.contains("{port}") {
                        channel = Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
                    }
                    let port = channel.as_ref().map_or(0, |channel| channel.local_addr().unwrap().port());
                    let answer = answer.replace("{port}", &port.to_string());
                    if writing.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                        return;
                    }
                    if answer.starts_with("150")
                        && let Some(channel) = channel.take()
                    {
                        let (mut stream, _) = channel.accept().await.unwrap();
                        let _ = stream.write_all(data).await;
                        drop(stream);
                        let _ = writing.write_all(b"226 done\r\n").await;
                    }
                }
            });
        }
    });
    (address, task)
}

async fn open(address: SocketAddr) -> Result<Opened, ConnectError> {
    let target = Target {
        host: "127.0.0.1".to_owned(),
        port: address.port(),
        username: "deploy".to_owned(),
        auth: AuthKind::Password,
        options: ConnectionOptions { tls: Some(FtpTls::None), ..ConnectionOptions::default() },
        host_key: HostKeyRule::Unknown,
    };
    let credential = Credential::Password(Secret::new("secret"));
    timeout(END, files::open_with(Protocol::Ftp, &target, &credential, &Rules::default(), SHORT))
        .await
        .unwrap()
}

fn path(text: &str) -> RemotePath {
    text.parse().unwrap()
}

#[test]
fn a_size_that_is_not_kept_is_no_success() {
    Runtime::new().unwrap().block_on(async {
        let (address, _server) = liar(&[("SIZE", "213 1000")], b"only this").await;
        let fs = open(address).await.unwrap().fs;
        let error = read(&*fs, &path("/file"), 0, None).await.unwrap_err();
        assert!(error.message().contains("1000") && error.message().contains('9'), "{error}");
        assert_eq!(read(&*fs, &path("/file"), 0, Some(4)).await.unwrap(), b"only");
    });
}

#[test]
fn who_never_answers_is_not_waited_for() {
    Runtime::new().unwrap().block_on(async {
        for silent in ["USER", "PASS", "FEAT", "TYPE"] {
            let answers: &'static [_] = Box::leak(Box::new([(silent, "")]));
            let (address, _server) = liar(answers, b"").await;
            assert!(open(address).await.is_err(), "{silent}");
        }
        let (address, _server) = liar(&[("SIZE", ""), ("MKD", ""), ("LIST", "")], b"").await;
        let fs = open(address).await.unwrap().fs;
        let kinds = timeout(END, async {
            [
                fs.stat(&path("/a"), true).await.unwrap_err().kind,
                fs.mkdir(&path("/a")).await.unwrap_err().kind,
                names(&*fs, &path("/")).await.unwrap_err().kind,
            ]
        });
        assert_eq!(kinds.await.unwrap(), [FsErrorKind::TimedOut; 3]);
    });
}

#[test]
fn a_connection_that_became_idle_does_for_one_that_was_refused() {
    Runtime::new().unwrap().block_on(async {
        let door = Arc::new(Door::default());
        let (address, _server) = liar_with(&[("SIZE", "213 4")], b"four", Some(door.clone())).await;
        let fs = open(address).await.unwrap().fs;
        let file = path("/file");
        let mut first = fs.read(&file, 0, None).await.unwrap();
        // What changes something is not tried a second time.
        let second = fs.mkdir(&file);
        let meanwhile = async {
            door.asked.notified().await;
            while first.next().await.unwrap().is_some() {}
            drop(first);
            door.refuse.notify_one();
        };
        let (second, ()) = timeout(END, async { tokio::join!(second, meanwhile) }).await.unwrap();
        second.unwrap();
    });
}

#[test]
fn a_target_cannot_send_us_elsewhere() {
    Runtime::new().unwrap().block_on(async {
        // It names an address where nothing may listen; the port alone is taken.
        let elsewhere = [("EPSV", "500 what"), ("PASV", "227 (192,0,2,1,0,1)")];
        let answers: &'static [_] = Box::leak(Box::new(elsewhere));
        let (address, _server) = liar(answers, b"").await;
        let fs = open(address).await.unwrap().fs;
        let error = timeout(END, names(&*fs, &path("/"))).await.unwrap().unwrap_err();
        assert!(error.message().contains("port that it named"), "{error}");
    });
}

#[test]
fn names_in_listings_stay_in_their_folder() {
    Runtime::new().unwrap().block_on(async {
        let listing = b"-rw-r--r-- 1 a b 1 Nov 22 05:00 ..\r\n-rw-r--r-- 1 a b 1 Nov 22 05:00 /etc/../passwd\r\n\
            total 3\r\n\x1b[2Jgarbage\r\n-rw-r--r-- 1 a b 1 Nov 22 05:00 a\0b\r\n-rw-r--r-- 1 a b 1 Nov 22 05:00 ok";
        let (address, _server) = liar(&[], listing).await;
        let fs = open(address).await.unwrap().fs;
        assert_eq!(names(&*fs, &path("/")).await.unwrap(), [&b"ok"[..], b"passwd"]);
    });
}

#[test]
fn an_ssh_target_without_a_word_is_not_waited_for() {
    let Some(server) = Sshd::with(&["ForceCommand /bin/sleep 1000"]) else { return };
    Runtime::new().unwrap().block_on(async {
        let (target, credential) = (
            target(server.account(), server.port(), ConnectionOptions::default()),
            password(server.account()),
        );
        let rules = Rules::default();
        let opening = files::open_with(Protocol::Sftp, &target, &credential, &rules, SHORT);
        let error = timeout(END, opening).await.unwrap().unwrap_err();
        assert!(error.message.contains("did not answer"), "{error}");
    });
    let Some(server) = Sshd::with(&["ForceCommand echo Welcome to this machine"]) else { return };
    Runtime::new().unwrap().block_on(async {
        let (target, credential) = (
            target(server.account(), server.port(), ConnectionOptions::default()),
            password(server.account()),
        );
        let rules = Rules::default();
        let opening = files::open_with(Protocol::Sftp, &target, &credential, &rules, SHORT);
        let error = timeout(END, opening).await.unwrap().unwrap_err();
        assert!(error.message.contains("does not speak SFTP"), "{error}");
    });
}
