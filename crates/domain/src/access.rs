//! Access sessions: a user on a connection, from before anything connects until it ended.
//!
//! Owns the words for it: protocols, what a session is for, how it ended, what a connection's
//! policy allows. Knows nothing of how bytes travel.

use serde::{Deserialize, Serialize};

use crate::{files::FilePolicy, policy::Permission, time::Elapsed};

/// The text names nothing of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not one of {accepted}")]
pub struct UnknownWord {
    pub text: String,
    pub accepted: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $key:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$case_doc])* $case),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The word in the API and in the store.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$case => $key),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.key())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::access::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|word| word.key() == text).ok_or_else(|| $crate::access::UnknownWord {
                    text: text.to_owned(),
                    accepted: Self::ALL.iter().map(|word| word.key()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.key())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

words! {
    /// How a target is spoken to.
    Protocol {
        Ssh = "ssh",
        Telnet = "telnet",
        /// Files of an SSH server, and nothing else of it.
        Sftp = "sftp",
        Ftp = "ftp",
        Smb = "smb",
        /// A desktop, as MS-RDPBCGR has it.
        Rdp = "rdp",
        /// A desktop, as RFC 6143 has it.
        Vnc = "vnc",
    }
}

impl Protocol {
    /// What a user needs, besides the right to use the connection.
    pub const fn permission(self) -> Permission {
        match self {
            Self::Ssh => Permission::ProtocolsSsh,
            Self::Telnet => Permission::ProtocolsTelnet,
            Self::Sftp => Permission::ProtocolsSftp,
            Self::Ftp => Permission::ProtocolsFtp,
            Self::Smb => Permission::ProtocolsSmb,
            Self::Rdp => Permission::ProtocolsRdp,
            Self::Vnc => Permission::ProtocolsVnc,
        }
    }

    pub const fn default_port(self) -> u16 {
        match self {
            Self::Ssh | Self::Sftp => 22,
            Self::Telnet => 23,
            Self::Ftp => 21,
            Self::Smb => 445,
            Self::Rdp => 3389,
            Self::Vnc => 5900,
        }
    }

    /// Files are all that it has: nothing can be typed there.
    pub const fn files_only(self) -> bool {
        match self {
            Self::Ssh | Self::Telnet | Self::Rdp | Self::Vnc => false,
            Self::Sftp | Self::Ftp | Self::Smb => true,
        }
    }

    /// It shows a desktop, and has neither terminals nor files.
    pub const fn is_desktop(self) -> bool {
        match self {
            Self::Rdp | Self::Vnc => true,
            Self::Ssh | Self::Telnet | Self::Sftp | Self::Ftp | Self::Smb => false,
        }
    }
}

words! {
    /// What a session is for.
    Purpose {
        /// An interactive terminal.
        Shell = "shell",
        /// One command, with or without a terminal.
        Exec = "exec",
        /// A subsystem, such as sftp.
        Subsystem = "subsystem",
        /// Nothing but forwarded ports.
        Forward = "forward",
        /// A desktop.
        Desktop = "desktop",
    }
}

/// What an input event is: `click`, `key`, `move`, or another word of 1 to 32 of `a-z 0-9 _ -`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputKind(String);

impl InputKind {
    /// A button of the mouse went down.
    pub fn click() -> Self {
        Self("click".to_owned())
    }

    /// A key went down.
    pub fn key() -> Self {
        Self("key".to_owned())
    }

    /// The pointer went somewhere else.
    pub fn moved() -> Self {
        Self("move".to_owned())
    }

    /// The wheel was turned.
    pub fn scroll() -> Self {
        Self("scroll".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for InputKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "_-".contains(char);
        let begins = text.starts_with(|char: char| char.is_ascii_lowercase());
        if begins && text.len() <= 32 && text.chars().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(UnknownWord {
            text: text.chars().take(64).collect(),
            accepted: "click, key, move, or a word of at most 32 lower-case letters".to_owned(),
        })
    }
}

impl<'de> Deserialize<'de> for InputKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which key went down, as the web names it (UI Events, `KeyboardEvent.key`): a character, or a name such as `Enter`. It may be
/// a letter of a password, and is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PressedKey(String);

impl PressedKey {
    /// Longer names are cut.
    pub fn new(name: &str) -> Self {
        Self(name.chars().take(32).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PressedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PressedKey(…)")
    }
}

words! {
    /// What the user came with.
    ClientKind {
        /// Their own SSH client.
        Native = "native",
        /// The web UI.
        Web = "web",
    }
}

words! {
    /// What became of a session's recording.
    RecordingState {
        /// Not recorded, or purged.
        None = "none",
        /// Being written.
        Live = "live",
        /// Complete and signed.
        Sealed = "sealed",
        /// Signed, with a named gap.
        Incomplete = "incomplete",
    }
}

words! {
    /// Why a session ended.
    EndReason {
        /// The user or the target ended it in the ordinary way.
        Closed = "closed",
        /// The user's client went away and did not come back.
        ClientLost = "client_lost",
        /// The target's connection broke.
        TargetLost = "target_lost",
        /// The target could not be reached.
        Unreachable = "unreachable",
        /// The target refused the credential.
        LoginRefused = "login_refused",
        /// The target's host key is not the pinned one, or there is none and the user may not pin.
        HostKey = "host_key",
        /// The connection's policy refused what was asked for.
        Denied = "denied",
        /// Somebody ended it from outside.
        Terminated = "terminated",
        /// The user lost the right to it while it ran.
        Revoked = "revoked",
        /// Nothing was typed for the connection's idle limit.
        Idle = "idle",
        /// It ran for the connection's total limit.
        TimeLimit = "time_limit",
        /// It had to be recorded, and could not.
        RecordingFailed = "recording_failed",
        /// The server was stopped in order.
        ServerStopped = "server_stopped",
        /// The server died under it.
        ServerDied = "server_died",
        /// A fault of the server.
        Failed = "failed",
    }
}

words! {
    /// What of a connection's sessions is recorded.
    RecordPolicy {
        /// Recorded; a session that cannot be recorded ends.
        Mandatory = "mandatory",
        /// Recorded; what could not be is a named gap.
        BestEffort = "best_effort",
        /// Not recorded. The session's row, its bytes and commands run by exec are kept all the same.
        Off = "off",
    }
}

words! {
    /// How Sojourn proves to a target who comes.
    AuthKind {
        /// A password that is kept here.
        Password = "password",
        /// A private key that is kept here.
        Key = "key",
        /// The user types the target's password at each session.
        Prompt = "prompt",
        /// The user's own agent, forwarded to Sojourn.
        Agent = "agent",
        /// Nothing.
        None = "none",
    }
}

/// What may be done over a connection. Times are whole seconds on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectionPolicy {
    pub record: RecordPolicy,
    /// Keys typed are recorded too. What is typed without echo never is.
    pub record_input: bool,
    /// The whole output of commands without a terminal is recorded, not only its beginning.
    pub record_exec_output: bool,
    pub allow_forwarding: bool,
    pub allow_agent: bool,
    pub allow_files: bool,
    /// What may be done with files, where they are allowed.
    pub files: FilePolicy,
    /// What may be done on a desktop.
    pub desktop: DesktopPolicy,
    /// The user is told when somebody watches.
    pub tell_watched: bool,
    #[serde(with = "seconds")]
    pub idle_limit_seconds: Option<Elapsed>,
    #[serde(with = "seconds")]
    pub time_limit_seconds: Option<Elapsed>,
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        Self {
            record: RecordPolicy::Mandatory,
            record_input: false,
            record_exec_output: false,
            allow_forwarding: true,
            allow_agent: false,
            allow_files: true,
            files: FilePolicy::default(),
            desktop: DesktopPolicy::default(),
            tell_watched: true,
            idle_limit_seconds: None,
            time_limit_seconds: None,
        }
    }
}

/// What may be done on a desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct DesktopPolicy {
    /// It is looked at: no key, no pointer and no text goes to the target.
    pub view_only: bool,
    /// What is copied on the desktop may come to the user's clipboard.
    pub allow_copy: bool,
    /// The user's clipboard may go to the desktop.
    pub allow_paste: bool,
}

impl Default for DesktopPolicy {
    fn default() -> Self {
        Self { view_only: false, allow_copy: true, allow_paste: true }
    }
}

mod seconds {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::time::Elapsed;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Elapsed>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(elapsed) => serializer.serialize_some(&(elapsed.as_micros() / 1_000_000)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Elapsed>, D::Error> {
        match Option::<u32>::deserialize(deserializer)? {
            Some(0) => Err(D::Error::custom("must be at least one second, or null")),
            Some(value) => Ok(Some(Elapsed::from_secs(i64::from(value)))),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip_and_unknown_ones_name_what_is_accepted() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.key().parse(), Ok(*protocol));
        }
        let error = "gopher".parse::<Protocol>().unwrap_err().to_string();
        assert_eq!(error, "\"gopher\" is not one of ssh, telnet, sftp, ftp, smb, rdp, vnc");
    }

    #[test]
    fn a_policy_reads_back_and_has_no_unknown_words() {
        let policy = ConnectionPolicy {
            idle_limit_seconds: Some(Elapsed::from_secs(600)),
            ..ConnectionPolicy::default()
        };
        let text = serde_json::to_string(&policy).unwrap();
        assert!(text.contains("\"idleLimitSeconds\":600"), "{text}");
        assert_eq!(serde_json::from_str::<ConnectionPolicy>(&text).unwrap(), policy);
        assert_eq!(serde_json::from_str::<ConnectionPolicy>("{}").unwrap(), ConnectionPolicy::default());
        assert!(serde_json::from_str::<ConnectionPolicy>("{\"recrod\":true}").is_err());
        assert!(serde_json::from_str::<ConnectionPolicy>("{\"idleLimitSeconds\":0}").is_err());
    }
}
