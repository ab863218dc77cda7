//! What a connection needs to know besides host, port and credential, by protocol.

use serde::{Deserialize, Serialize};

use crate::access::{AuthKind, Protocol};

/// How an FTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FtpTls {
    /// Not at all: name, password and files go over the network for all to read.
    None,
    /// `AUTH TLS` before anything else is said (RFC 4217), and the data connections too.
    Explicit,
    /// TLS from the first byte.
    Implicit,
}

impl FtpTls {
    pub const ALL: [Self; 3] = [Self::None, Self::Explicit, Self::Implicit];

    pub const fn key(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
        }
    }
}

impl std::str::FromStr for FtpTls {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        let found = Self::ALL.into_iter().find(|tls| tls.key() == text);
        found.ok_or_else(|| bad("tls", "expected none, explicit or implicit"))
    }
}

/// What is particular to a connection. What its protocol has no use for is absent or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectionOptions {
    /// FTP alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<FtpTls>,
    /// SMB alone: the share; empty where the shares are the folders of the root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub share: String,
    /// SMB alone: the domain that the user is of; empty for the server's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The folder that is shown first, `/` separated; empty for the target's own choice.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root: String,
}

/// An option does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("options.{field}: {message}")]
pub struct BadOption {
    pub field: &'static str,
    pub message: String,
}

fn bad(field: &'static str, message: impl Into<String>) -> BadOption {
    BadOption { field, message: message.into() }
}

impl ConnectionOptions {
    /// Longest names of shares (Windows allows 80) and of domains.
    const NAME: usize = 80;
    const ROOT: usize = 4096;

    /// How FTP is protected: explicitly unless said otherwise.
    pub fn ftp_tls(&self) -> FtpTls {
        self.tls.unwrap_or(FtpTls::Explicit)
    }

    /// The options as they are kept, if they fit the protocol.
    pub fn fitted(mut self, protocol: Protocol) -> Result<Self, BadOption> {
        match protocol {
            Protocol::Ftp => self.tls = Some(self.ftp_tls()),
            Protocol::Ssh
            | Protocol::Telnet
            | Protocol::Sftp
            | Protocol::Smb
            | Protocol::Rdp
            | Protocol::Vnc
                if self.tls.is_some() =>
            {
                return Err(bad("tls", "only FTP connections have it"));
            }
            Protocol::Ssh
            | Protocol::Telnet
            | Protocol::Sftp
            | Protocol::Smb
            | Protocol::Rdp
            | Protocol::Vnc => {}
        }
        if protocol != Protocol::Smb {
            let smb_alone = "only SMB connections have it";
            for (field, text) in [("share", &self.share), ("domain", &self.domain)] {
                if !text.is_empty() {
                    return Err(bad(field, smb_alone));
                }
            }
        }
        if !has_files(protocol) && !self.root.is_empty() {
            return Err(bad("root", "connections of this protocol have no files"));
        }
        share(&self.share)?;
        let odd = |char: char| char.is_control() || "\\/:*?\"<>|@".contains(char);
        if self.domain.chars().count() > Self::NAME * 3 || self.domain.chars().any(odd) {
            return Err(bad("domain", "expected a domain's name, such as EXAMPLE or example.org"));
        }
        root(&self.root)?;
        Ok(self)
    }

    /// What of these fits another protocol: for connections whose protocol changes.
    pub fn carried_to(&self, protocol: Protocol) -> Self {
        let smb = protocol == Protocol::Smb;
        Self {
            tls: self.tls.filter(|_| protocol == Protocol::Ftp),
            share: if smb { self.share.clone() } else { String::new() },
            domain: if smb { self.domain.clone() } else { String::new() },
            root: if has_files(protocol) { self.root.clone() } else { String::new() },
        }
    }
}

const fn has_files(protocol: Protocol) -> bool {
    match protocol {
        Protocol::Ssh | Protocol::Sftp | Protocol::Ftp | Protocol::Smb => true,
        Protocol::Telnet | Protocol::Rdp | Protocol::Vnc => false,
    }
}

/// MS-FSCC 2.1.6: a share's name has 1 to 80 characters, and none of these.
fn share(name: &str) -> Result<(), BadOption> {
    let odd = |char: char| char.is_control() || "\\/:*?\"<>|[]+=;,".contains(char);
    if name.chars().count() > ConnectionOptions::NAME || name.chars().any(odd) || name.trim() != name {
        return Err(bad("share", "expected a share's name alone, without the server's and without slashes"));
    }
    if name.eq_ignore_ascii_case("IPC$") {
        return Err(bad("share", "IPC$ holds no files"));
    }
    Ok(())
}

fn root(path: &str) -> Result<(), BadOption> {
    let good = path.len() <= ConnectionOptions::ROOT
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|name| name == "..");
    if good { Ok(()) } else { Err(bad("root", "expected a folder's path, with / and without ..")) }
}

/// The kinds of credential that a protocol knows.
pub const fn auth_kinds(protocol: Protocol) -> &'static [AuthKind] {
    match protocol {
        Protocol::Ssh | Protocol::Sftp => AuthKind::ALL,
        Protocol::Telnet | Protocol::Ftp | Protocol::Smb | Protocol::Rdp | Protocol::Vnc => {
            &[AuthKind::Password, AuthKind::Prompt, AuthKind::None]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ConnectionOptions {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn options_fit_their_protocol() {
        let ftp = ConnectionOptions::default().fitted(Protocol::Ftp).unwrap();
        assert_eq!(serde_json::to_string(&ftp).unwrap(), r#"{"tls":"explicit"}"#);
        assert_eq!(read(r#"{"tls":"none"}"#).fitted(Protocol::Ftp).unwrap().ftp_tls(), FtpTls::None);
        assert_eq!(read(r#"{"tls":"none"}"#).fitted(Protocol::Sftp).unwrap_err().field, "tls");
        assert_eq!(read(r#"{"share":"a"}"#).fitted(Protocol::Ftp).unwrap_err().field, "share");
        assert_eq!(read(r#"{"domain":"a"}"#).fitted(Protocol::Ssh).unwrap_err().field, "domain");
        for protocol in [Protocol::Telnet, Protocol::Vnc] {
            assert_eq!(read(r#"{"root":"/a"}"#).fitted(protocol).unwrap_err().field, "root");
        }
        assert!(
            read(r#"{"share":"Büro 2$","domain":"example.org","root":"/a/b"}"#).fitted(Protocol::Smb).is_ok()
        );
        for bad in [
            r#"{"share":"a/b"}"#,
            r#"{"share":"\\\\host\\a"}"#,
            r#"{"share":"ipc$"}"#,
            r#"{"share":"a\u0000"}"#,
            r#"{"domain":"a\\b"}"#,
            r#"{"root":"/a/../b"}"#,
            r#"{"root":"/a\n"}"#,
        ] {
            assert!(read(bad).fitted(Protocol::Smb).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ConnectionOptions>(r#"{"shares":"a"}"#).is_err());
        assert!(serde_json::from_str::<ConnectionOptions>(r#"{"tls":"maybe"}"#).is_err());
    }

    #[test]
    fn options_follow_a_changed_protocol() {
        let smb = read(r#"{"share":"a","domain":"b","root":"/c"}"#);
        assert_eq!(smb.carried_to(Protocol::Ftp), read(r#"{"root":"/c"}"#));
        assert_eq!(smb.carried_to(Protocol::Telnet), ConnectionOptions::default());
        assert_eq!(smb.carried_to(Protocol::Vnc), ConnectionOptions::default());
        assert!(smb.carried_to(Protocol::Ssh).fitted(Protocol::Ssh).is_ok());
    }
}
