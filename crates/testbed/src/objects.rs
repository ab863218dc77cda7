//! An S3 server of the tests' own (moto), on a free port of the loopback.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use crate::{lifeline::Lifeline, postgres::free_port, python, wait};

/// How long it may take to answer; it loads much.
const READY: Duration = Duration::from_secs(60);
/// The bucket that every server starts with.
pub const BUCKET: &str = "recordings";

/// A running server; what it keeps is in its memory and goes with it.
#[derive(Debug)]
pub struct Objects {
    directory: PathBuf,
    port: u16,
    lifeline: Option<Lifeline>,
}

impl Objects {
    /// `None`, and a visible line, where it is not installed.
    pub fn start() -> Option<Self> {
        let python = python::interpreter()?;
        let directory =
            tempfile::Builder::new().prefix("sojourn-objects-").tempdir().expect("a directory").keep();
        let mut server = Self { directory, port: free_port(), lifeline: None };
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &server.port.to_string()]);
        // It would ask an address of a cloud's own for credentials otherwise.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        server.lifeline = Some(Lifeline::start(&server.directory, &command));
        wait::until("the S3 server", READY, || {
            ureq::put(format!("{}/{BUCKET}", server.endpoint())).send_empty().is_ok().then_some(())
        });
        Some(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What `object_store` and the AWS tools read; any credential is taken.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ENDPOINT", self.endpoint()),
            ("AWS_ALLOW_HTTP", String::from("true")),
            ("AWS_REGION", String::from("us-east-1")),
            ("AWS_ACCESS_KEY_ID", String::from("test")),
            ("AWS_SECRET_ACCESS_KEY", String::from("test")),
        ]
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut after = String::new();
        loop {
            let url = format!("{}/{BUCKET}?list-type=2&max-keys=1000&start-after={after}", self.endpoint());
            let mut answer = ureq::get(url).call().expect("a list of objects");
            let text = answer.body_mut().read_to_string().expect("a list of objects");
            let page: Vec<String> = text
                .split("<Key>")
                .skip(1)
                .filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()))
                .collect();
            let Some(last) = page.last() else { return keys };
            after = last.clone();
            keys.extend(page);
        }
    }

    /// One object's content.
    pub fn get(&self, key: &str) -> Vec<u8> {
        // Without a word of who asks it hides what is not public.
        let who = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, Signature=0";
        let url = format!("{}/{BUCKET}/{key}", self.endpoint());
        let mut answer = ureq::get(url).header("Authorization", who).call().expect("an object");
        answer.body_mut().with_config().limit(1 << 31).read_to_vec().expect("an object")
    }

    /// Puts an object, over another of the same name too.
    pub fn put(&self, key: &str, content: &[u8]) {
        ureq::put(format!("{}/{BUCKET}/{key}", self.endpoint())).send(content).expect("an object is taken");
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_kept_and_listed() {
        let Some(server) = Objects::start() else { return };
        assert_eq!(server.keys(), [""; 0]);
        server.put("a/1", b"one");
        server.put("a/2", b"two");
        assert_eq!(server.keys(), ["a/1", "a/2"]);
        assert_eq!(server.get("a/2"), b"two");
        drop(server);
    }
}
