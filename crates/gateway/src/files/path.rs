//! Where something is on a target.

use std::fmt;

use sojourn_domain::files::path_text;

/// An absolute path on a target: `/`, or names that are each led by a `/`.
///
/// Names are bytes, not always UTF-8. `.` and `..` have been resolved by their letters alone and never lead above
/// the root, so what is checked against a policy is what the target is asked for, but for its own links. There is
/// no NUL, no empty name, none of more than [`Self::MAX_NAME`] bytes, and no more than [`Self::MAX`] bytes in all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(Vec<u8>);

/// The bytes are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path does not begin with a slash")]
    Relative,
    #[error("the path is longer than 4096 bytes")]
    TooLong,
    #[error("a name in the path is longer than 255 bytes")]
    NameTooLong,
    #[error("the path holds a NUL character")]
    Nul,
    #[error("it is no name of one file or folder")]
    Name,
}

impl RemotePath {
    /// PATH_MAX of Linux.
    pub const MAX: usize = 4096;
    /// NAME_MAX of nearly every file system.
    pub const MAX_NAME: usize = 255;

    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// From bytes that begin with a `/`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        match bytes.first() {
            None => Err(PathError::Empty),
            Some(b'/') => Self::root().resolve(bytes),
            Some(_) => Err(PathError::Relative),
        }
    }

    /// Where a path leads from here: an absolute one stands for itself.
    pub fn resolve(&self, bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > Self::MAX {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        let mut path = if bytes.first() == Some(&b'/') { Vec::new() } else { self.names_part().to_vec() };
        for name in bytes.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => path.truncate(last_slash(&path)),
                name if name.len() > Self::MAX_NAME => return Err(PathError::NameTooLong),
                name => {
                    path.push(b'/');
                    path.extend_from_slice(name);
                }
            }
        }
        if path.len() > Self::MAX {
            return Err(PathError::TooLong);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(Self(path))
    }

    /// Something in this folder. The name comes from a person or from a target, and is one name.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(PathError::Name);
        }
        self.resolve(name)
    }

    /// The folder it is in; none of the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match last_slash(&self.0) {
            0 => Some(Self::root()),
            end => Some(Self(self.0[..end].to_vec())),
        }
    }

    /// The last name; none of the root.
    pub fn name(&self) -> Option<&[u8]> {
        if self.is_root() { None } else { Some(&self.0[last_slash(&self.0) + 1..]) }
    }

    /// The names, from the root on.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// It is `folder`, or below it.
    pub fn is_within(&self, folder: &Self) -> bool {
        let prefix = folder.names_part();
        self.0.starts_with(prefix) && matches!(self.0.get(prefix.len()), None | Some(b'/'))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For people, lists and logs: what is UTF-8 as it is, other bytes and control characters as `\xHH`.
    pub fn display(&self) -> String {
        path_text(&self.0)
    }

    /// Without the slash that the root is.
    fn names_part(&self) -> &[u8] {
        if self.is_root() { b"" } else { &self.0 }
    }
}

/// Where the last slash is; 0 without one.
fn last_slash(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display())
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

impl std::str::FromStr for RemotePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::from_bytes(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RemotePath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_normal_and_stay_below_the_root() {
        for (given, normal) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/b/", "/a/b"),
            ("/a/./b//c", "/a/b/c"),
            ("/a/../../../etc", "/etc"),
            ("/..", "/"),
            ("/a/..", "/"),
            ("/ a /-b/'\"", "/ a /-b/'\""),
            ("/...", "/..."),
        ] {
            assert_eq!(path(given).as_bytes(), normal.as_bytes(), "{given}");
        }
        for (bad, why) in [("", PathError::Empty), ("a", PathError::Relative), ("/a\0", PathError::Nul)] {
            assert_eq!(bad.parse::<RemotePath>(), Err(why), "{bad:?}");
        }
        assert_eq!(format!("/{}", "x".repeat(256)).parse::<RemotePath>(), Err(PathError::NameTooLong));
        assert!(format!("/{}", "x".repeat(255)).parse::<RemotePath>().is_ok());
        assert_eq!("/x".repeat(2049).parse::<RemotePath>(), Err(PathError::TooLong));
        assert!("/x".repeat(2048).parse::<RemotePath>().is_ok());
        assert_eq!(path(&"/x".repeat(2047)).join(b"abc"), Err(PathError::TooLong));
    }

    #[test]
    fn paths_have_parents_and_names() {
        let deep = path("/a/b");
        assert_eq!((deep.parent(), deep.name()), (Some(path("/a")), Some(b"b".as_slice())));
        assert_eq!(path("/a").parent(), Some(RemotePath::root()));
        assert_eq!((RemotePath::root().parent(), RemotePath::root().name()), (None, None));
        assert_eq!(deep.join(b"c").unwrap(), path("/a/b/c"));
        assert_eq!(RemotePath::root().join(b"c").unwrap(), path("/c"));
        for bad in [b"".as_slice(), b".", b"..", b"a/b", b"/", b"a\0"] {
            assert!(deep.join(bad).is_err(), "{bad:?}");
        }
        assert_eq!(deep.resolve(b"../c").unwrap(), path("/a/c"));
        assert_eq!(deep.resolve(b"/c").unwrap(), path("/c"));
        assert!(deep.is_within(&path("/a")) && deep.is_within(&deep) && deep.is_within(&RemotePath::root()));
        assert!(!path("/ab").is_within(&path("/a")) && !path("/a").is_within(&deep));
        assert_eq!(path("/a/b").names().collect::<Vec<_>>(), [b"a", b"b"]);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_normal(bytes: Vec<u8>) {
            let mut absolute = b"/".to_vec();
            absolute.extend(bytes);
            if let Ok(path) = RemotePath::from_bytes(&absolute) {
                prop_assert_eq!(RemotePath::from_bytes(path.as_bytes()).unwrap(), path.clone());
                prop_assert!(path.names().all(|name| name != b"." && name != b".." && !name.is_empty()));
                prop_assert!(path.is_within(&RemotePath::root()));
            }
        }
    }
}
