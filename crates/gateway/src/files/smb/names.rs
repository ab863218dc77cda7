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

/// The paths that end with a name which may be the short form of another (MS-FSCC 2.1.5.2.1: `SECRET~1.TXT`), each with it.
pub(super) fn shortened(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.filter_map(|end| {
        let path = &path[..end];
        let name = path.rsplit('/').next()?;
        (name.contains('~') && name.chars().count() <= 12).then_some((path, name))
    })
}

/// Whether a target that knows no case takes two names for one.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
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
    fn short_forms_are_looked_at() {
        let found = |path| shortened(path).map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(found("A~1/b/C~2.TXT"), ["A~1", "A~1/b/C~2.TXT"]);
        assert_eq!(found("a/longer than that~1"), Vec::<&str>::new());
        assert!(is_same("Ärger", "äRGER") && !is_same("a", "b"));
    }

    #[test]
    fn names_are_unicode_and_stand_for_themselves() {
        let bytes = RemotePath::from_bytes(b"/a\xff").unwrap();
        assert_eq!(place("files", &bytes).unwrap_err().kind, FsErrorKind::Invalid);
        assert_eq!(at("files", "/a\u{f022}b").unwrap_err().kind, FsErrorKind::Invalid);
        assert!(is_name("...") && is_name("a\\b") && !is_name("..") && !is_name("a/b") && !is_name(""));
    }
}
