//! From paths to shares and names as SMB has them.
//!
//! Names are Unicode there. What Windows allows in no name (`:` and the like, a space or a dot at the end)
//! travels as characters of the private use area, as macOS and Samba's vfs_fruit do it; the library
//! does that on its own. A name that holds such characters already would stand for another one, and is refused.

use crate::files::{FsError, FsErrorKind, FsResult, RemotePath};

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The folder whose entries are the shares.
    Shares,
    /// On a share; the path is empty at its root, and `/` separates names.
    On { share: String, path: String },
}

/// Finds the place of a path. With a share that is named, the root is that share's.
pub(super) fn place(named: &str, path: &RemotePath) -> FsResult<Place> {
    let mut names = Vec::new();
    for name in path.names() {
        names.push(text(name)?);
    }
    if !named.is_empty() {
        return Ok(Place::On { share: named.to_owned(), path: names.join("/") });
    }
    let Some((share, names)) = names.split_first() else { return Ok(Place::Shares) };
    let odd = |char: char| "\\:*?\"<>|".contains(char);
    if share.contains(odd) || share.eq_ignore_ascii_case("IPC$") {
        return Err(FsError::new(FsErrorKind::NotFound, format!("the target has no share {share:?}")));
    }
    Ok(Place::On { share: (*share).to_owned(), path: names.join("/") })
}

fn text(name: &[u8]) -> FsResult<&str> {
    let unicode = std::str::from_utf8(name).map_err(|_| {
        FsError::new(FsErrorKind::Invalid, "names on an SMB target are Unicode, and this one is not")
    })?;
    if unicode.chars().any(|char| ('\u{f000}'..='\u{f029}').contains(&char)) {
        return Err(FsError::new(
            FsErrorKind::Invalid,
            "the name holds characters that stand for others on an SMB target",
        ));
    }
    Ok(unicode)
}

/// Whether a name that a target gave is one name of something.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(named: &str, path: &str) -> FsResult<Place> {
        place(named, &path.parse().unwrap())
    }

    fn on(share: &str, path: &str) -> Place {
        Place::On { share: share.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn the_root_is_a_share_or_all_of_them() {
        assert_eq!(at("", "/"), Ok(Place::Shares));
        assert_eq!(at("", "/files"), Ok(on("files", "")));
        assert_eq!(at("", "/files/a/b:c"), Ok(on("files", "a/b:c")));
        assert_eq!(at("files", "/"), Ok(on("files", "")));
        assert_eq!(at("files", "/a/b"), Ok(on("files", "a/b")));
        for bad in ["/IPC$", "/ipc$/srvsvc", "/a\\b/c", "/a:b"] {
            assert_eq!(at("", bad).unwrap_err().kind, FsErrorKind::NotFound, "{bad}");
        }
    }

    #[test]
    fn names_are_unicode_and_stand_for_themselves() {
        let bytes = RemotePath::from_bytes(b"/a\xff").unwrap();
        assert_eq!(place("files", &bytes).unwrap_err().kind, FsErrorKind::Invalid);
        assert_eq!(at("files", "/a\u{f022}b").unwrap_err().kind, FsErrorKind::Invalid);
        assert!(is_name("...") && is_name("a\\b") && !is_name("..") && !is_name("a/b") && !is_name(""));
    }
}
