//! What a connection's policy allows to be done with files.
//!
//! Rules look at paths as they are asked for. What they are known to miss: links on the target that
//! lead elsewhere, short names (`PROGRA~1`) of Windows servers, and names that differ only in how
//! accents are composed. Whoever must keep people out of a folder takes the right away on the target.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::FileAction;

/// What may be done with files on a connection. All is allowed where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct FilePolicy {
    /// Nothing on the target is changed.
    pub read_only: bool,
    /// Nothing is deleted, truncated or replaced.
    pub no_delete: bool,
    /// The longest file that may be sent to the target.
    pub max_upload_bytes: Option<u64>,
    /// The longest file that may be fetched from the target.
    pub max_download_bytes: Option<u64>,
    /// The only paths that may be touched; empty: all. Folders that lead to them may be browsed.
    #[serde(deserialize_with = "rules")]
    pub allow: Vec<Glob>,
    /// Paths that may not be touched, whatever `allow` says.
    #[serde(deserialize_with = "rules")]
    pub deny: Vec<Glob>,
}

fn rules<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Glob>, D::Error> {
    let rules = Vec::<Glob>::deserialize(deserializer)?;
    if rules.len() > FilePolicy::MAX_RULES {
        return Err(serde::de::Error::custom(format!("expected at most {} rules", FilePolicy::MAX_RULES)));
    }
    Ok(rules)
}

/// Why the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("the connection is read-only")]
    ReadOnly,
    #[error("nothing may be deleted or replaced on this connection")]
    NoDelete,
    #[error("the connection's rules deny this path")]
    PathDenied,
    #[error("the connection's rules do not allow this path")]
    PathNotAllowed,
    #[error("files of more than {0} bytes may not be sent to this connection")]
    UploadTooLarge(u64),
    #[error("files of more than {0} bytes may not be fetched from this connection")]
    DownloadTooLarge(u64),
}

impl FilePolicy {
    /// How many rules each list may have.
    pub const MAX_RULES: usize = 200;

    /// Whether anything is refused at all: only then must operations be looked at before they are done.
    pub fn restricts(&self) -> bool {
        *self != Self::default()
    }

    /// Whether an operation may be done on a path (absolute; bytes as the target has them). For
    /// renaming, copying and linking, `new_path` is the other path.
    ///
    /// A folder cannot be renamed or copied out from under a rule that denies something within it.
    pub fn check(&self, action: FileAction, path: &[u8], new_path: Option<&[u8]>) -> Result<(), Denial> {
        if self.read_only && !action.only_reads() {
            return Err(Denial::ReadOnly);
        }
        if self.no_delete && matches!(action, FileAction::Delete | FileAction::Truncate) {
            return Err(Denial::NoDelete);
        }
        self.check_path(path, action == FileAction::Browse)?;
        if let Some(new_path) = new_path {
            self.check_path(new_path, false)?;
            if matches!(action, FileAction::Rename | FileAction::Copy) {
                let (from, to) = (folded(path), folded(new_path));
                if self.deny.iter().any(|rule| rule.deny.escapes(&from, &to)) {
                    return Err(Denial::PathDenied);
                }
            }
        }
        Ok(())
    }

    /// Whether something that exists may be replaced, by an upload, a rename or a copy over it.
    pub fn check_replacing(&self) -> Result<(), Denial> {
        if self.read_only {
            return Err(Denial::ReadOnly);
        }
        if self.no_delete { Err(Denial::NoDelete) } else { Ok(()) }
    }

    /// Whether a file may become this long on the target.
    pub fn check_upload(&self, bytes: u64) -> Result<(), Denial> {
        match self.max_upload_bytes {
            Some(limit) if bytes > limit => Err(Denial::UploadTooLarge(limit)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether so much of a file may be fetched.
    pub fn check_download(&self, bytes: u64) -> Result<(), Denial> {
        match self.max_download_bytes {
            Some(limit) if bytes > limit => Err(Denial::DownloadTooLarge(limit)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a folder's listing shows this entry: it may be touched, or leads to what may be.
    pub fn shows(&self, path: &[u8]) -> bool {
        self.check_path(path, true).is_ok()
    }

    fn check_path(&self, path: &[u8], on_the_way: bool) -> Result<(), Denial> {
        if !self.deny.is_empty() {
            let names = folded(path);
            if self.deny.iter().any(|rule| rule.deny.matches(&names)) {
                return Err(Denial::PathDenied);
            }
        }
        if self.allow.is_empty() {
            return Ok(());
        }
        let names = exact(path);
        let allowed = self
            .allow
            .iter()
            .any(|rule| rule.allow.matches(&names) || (on_the_way && rule.allow.leads_on(&names)));
        if allowed { Ok(()) } else { Err(Denial::PathNotAllowed) }
    }
}

/// A rule for paths: `*` stands for any characters within a name, `?` for one, `**` as a whole name
/// for any number of folders. It begins with `/` or `**/`. What matches a folder matches everything
/// in it. In `deny` neither case counts nor dots and spaces at a name's end: SMB servers do not tell
/// such names apart. In `allow` names are exact.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    allow: Pattern,
    deny: Pattern,
}

/// The text is no rule for paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a path with *, ? or ** in it that begins with / or **/ and has no . or .. and no control characters"
)]
pub struct ParseGlobError;

impl Glob {
    pub const MAX_BYTES: usize = 1024;

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Glob {
    type Err = ParseGlobError;

    fn from_str(text: &str) -> Result<Self, ParseGlobError> {
        let good = text.len() <= Self::MAX_BYTES
            && (text.starts_with('/') || text.starts_with("**/"))
            && !text.chars().any(char::is_control)
            && !text.split('/').any(|name| matches!(name, "." | ".."));
        if !good {
            return Err(ParseGlobError);
        }
        let names = |fold: bool| {
            text.split('/')
                .filter(|name| !name.is_empty())
                .map(|name| match name {
                    "**" => Step::Any,
                    name => Step::Name(symbols(name.as_bytes(), fold)),
                })
                .collect()
        };
        Ok(Self {
            text: text.to_owned(),
            allow: Pattern { steps: names(false) },
            deny: Pattern { steps: names(true) },
        })
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Glob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A name as it is compared: characters as their numbers, bytes that are no UTF-8 above all of them.
type Name = Vec<u32>;

const STAR: u32 = '*' as u32;
const QUESTION: u32 = '?' as u32;
const NO_CHARACTER: u32 = 0x0011_0000;

#[derive(Debug, Clone)]
enum Step {
    /// `**`
    Any,
    Name(Name),
}

#[derive(Debug, Clone)]
struct Pattern {
    steps: Vec<Step>,
}

impl Pattern {
    /// Where in the rule one may be after these names; the number of steps is the end, which is not
    /// left again: what is in a folder belongs to it.
    fn places(&self, names: &[Name]) -> Vec<bool> {
        let end = self.steps.len();
        let mut places = vec![false; end + 1];
        places[0] = true;
        self.skip_any(&mut places);
        for name in names {
            let mut next = vec![false; end + 1];
            next[end] = places[end];
            for (at, step) in self.steps.iter().enumerate().filter(|(at, _)| places[*at]) {
                match step {
                    Step::Any => next[at] = true,
                    Step::Name(pattern) => next[at + 1] |= name_matches(pattern, name),
                }
            }
            self.skip_any(&mut next);
            places = next;
        }
        places
    }

    /// `**` may stand for no folder at all.
    fn skip_any(&self, places: &mut [bool]) {
        for (at, step) in self.steps.iter().enumerate() {
            if places[at] && matches!(step, Step::Any) {
                places[at + 1] = true;
            }
        }
    }

    fn matches(&self, names: &[Name]) -> bool {
        self.places(names)[self.steps.len()]
    }

    /// Whether something below may match.
    fn leads_on(&self, names: &[Name]) -> bool {
        self.places(names).contains(&true)
    }

    /// Whether something below `from` matches that would not match below `to`.
    fn escapes(&self, from: &[Name], to: &[Name]) -> bool {
        let (from, to) = (self.places(from), self.places(to));
        !to[self.steps.len()] && from.iter().zip(&to).any(|(from, to)| *from && !*to)
    }
}

/// The names of a path, `.` and `..` resolved.
fn names(path: &[u8], fold: bool) -> Vec<Name> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(symbols(name, fold)),
        }
    }
    names
}

fn exact(path: &[u8]) -> Vec<Name> {
    names(path, false)
}

fn folded(path: &[u8]) -> Vec<Name> {
    names(path, true)
}

fn symbols(name: &[u8], fold: bool) -> Name {
    let mut symbols = Name::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if fold {
                symbols.extend(character.to_lowercase().map(u32::from));
            } else {
                symbols.push(u32::from(character));
            }
        }
        symbols.extend(chunk.invalid().iter().map(|byte| NO_CHARACTER + u32::from(*byte)));
    }
    if fold {
        while symbols.len() > 1
            && symbols.last().is_some_and(|last| [u32::from('.'), u32::from(' ')].contains(last))
        {
            symbols.pop();
        }
    }
    symbols
}

/// `*` and `?`, in time that is the product of both lengths at worst.
fn name_matches(pattern: &[u32], name: &[u32]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(&STAR) => {
                star = Some((p, n));
                p += 1;
            }
            Some(&symbol) if symbol == QUESTION || symbol == name[n] => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|symbol| *symbol == STAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], deny: &[&str]) -> FilePolicy {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        FilePolicy { allow: rules(allow), deny: rules(deny), ..FilePolicy::default() }
    }

    fn reads(policy: &FilePolicy, path: &str) -> bool {
        policy.check(FileAction::Download, path.as_bytes(), None).is_ok()
    }

    #[test]
    fn rules_match_names_folders_and_what_is_in_them() {
        for (rule, path, denied) in [
            ("/etc", "/etc/shadow", true),
            ("/etc", "/etcetera", false),
            ("/etc/**", "/etc", true),
            ("/users/*/.ssh", "/users/alice/.ssh/id_ed25519", true),
            ("/users/*/.ssh", "/users/alice/new/.ssh", false),
            ("**/*.key", "/a/b/server.key", true),
            ("**/*.key", "/server.key", true),
            ("**/*.key", "/a/keys", false),
            ("/a/**/z", "/a/z", true),
            ("/a/**/z", "/a/b/c/z/d", true),
            ("/a/**/z", "/b/z", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/aäc", true),
            ("/a?c", "/ac", false),
            ("/*a*b*", "/xxaxxbxx", true),
            ("/Secret", "/sECRET./plan", true),
            ("/BÜRO", "/büro ", true),
            ("/a/b", "/a/c/../b", true),
            ("/a/b", "//a/./b/", true),
            ("/", "/anything", true),
        ] {
            assert_eq!(!reads(&policy(&[], &[rule]), path), denied, "{rule} {path}");
        }
        let bytes = policy(&[], &["/caf?"]);
        assert_eq!(bytes.check(FileAction::Download, b"/caf\xe9", None), Err(Denial::PathDenied));
    }

    #[test]
    fn what_is_allowed_can_be_reached_and_nothing_else() {
        let policy = policy(&["/srv/*/public", "/tmp/**"], &["**/*.exe"]);
        for (path, reads_it, shown) in [
            ("/", false, true),
            ("/srv", false, true),
            ("/srv/web", false, true),
            ("/srv/web/public", true, true),
            ("/srv/web/public/a/b", true, true),
            ("/srv/web/private", false, false),
            ("/SRV/web/public", false, false),
            ("/tmp/x", true, true),
            ("/tmp/x.EXE", false, false),
            ("/etc", false, false),
        ] {
            assert_eq!((reads(&policy, path), policy.shows(path.as_bytes())), (reads_it, shown), "{path}");
        }
        let rename = |to: &str| policy.check(FileAction::Rename, b"/tmp/x", Some(to.as_bytes()));
        assert_eq!(rename("/tmp/y"), Ok(()));
        assert_eq!(rename("/etc/y"), Err(Denial::PathNotAllowed));
        assert_eq!(rename("/tmp/y.exe"), Err(Denial::PathDenied));
    }

    #[test]
    fn a_folder_does_not_leave_a_rule_behind_by_moving() {
        let policy = policy(&[], &["/a/secret", "/b/**/keys", "**/*.pem"]);
        for (from, to, good) in [
            ("/a", "/z", false),
            ("/a/open", "/z", true),
            ("/b/x", "/b/y", true),
            ("/b/x", "/c/y", false),
            ("/c/x", "/d/y", true),
            ("/c/x", "/b/y", true),
        ] {
            for action in [FileAction::Rename, FileAction::Copy] {
                let answer = policy.check(action, from.as_bytes(), Some(to.as_bytes()));
                assert_eq!(answer.is_ok(), good, "{from} {to}");
            }
        }
    }

    #[test]
    fn what_changes_or_removes_is_refused_by_its_kind() {
        let read_only = FilePolicy { read_only: true, ..FilePolicy::default() };
        let no_delete = FilePolicy { no_delete: true, ..FilePolicy::default() };
        for action in FileAction::ALL.iter().copied() {
            assert_eq!(read_only.check(action, b"/a", None).is_ok(), action.only_reads(), "{action}");
            let removes = matches!(action, FileAction::Delete | FileAction::Truncate);
            assert_eq!(no_delete.check(action, b"/a", None).is_err(), removes, "{action}");
        }
        assert_eq!(no_delete.check_replacing(), Err(Denial::NoDelete));
        let limits =
            FilePolicy { max_upload_bytes: Some(10), max_download_bytes: Some(20), ..FilePolicy::default() };
        assert_eq!((limits.check_upload(10), limits.check_download(20)), (Ok(()), Ok(())));
        assert_eq!(limits.check_upload(11), Err(Denial::UploadTooLarge(10)));
        assert_eq!(limits.check_download(21), Err(Denial::DownloadTooLarge(20)));
        assert!(limits.restricts() && !FilePolicy::default().restricts());
    }

    #[test]
    fn a_policy_reads_back_and_bad_rules_are_refused() {
        let policy = policy(&["/a/*"], &["**/.ssh"]);
        let text = serde_json::to_string(&policy).unwrap();
        assert!(text.contains("\"deny\":[\"**/.ssh\"]"), "{text}");
        assert_eq!(serde_json::from_str::<FilePolicy>(&text).unwrap(), policy);
        for bad in ["", "a/b", "*.key", "/a/../b", "/./a", "/a\n", &format!("/{}", "a".repeat(1024))] {
            assert!(bad.parse::<Glob>().is_err(), "{bad:?}");
        }
        let many = format!("{{\"deny\":[{}]}}", vec!["\"/a\""; FilePolicy::MAX_RULES + 1].join(","));
        assert!(serde_json::from_str::<FilePolicy>(&many).is_err());
        assert!(serde_json::from_str::<FilePolicy>("{\"readonly\":true}").is_err());
    }
}
