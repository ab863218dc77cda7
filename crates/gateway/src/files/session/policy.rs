//! Holding an operation against the connection's policy, with the links on the target followed.
//!
//! A path that is allowed as it is asked for is resolved on the target where the policy has rules for paths, and held
//! against them again: a link inside of what is allowed leads nowhere else. Between looking and doing, somebody with
//! another way to the target can put a link there; whoever must keep people out takes the right away on the target.

use sojourn_domain::files::{Denial, FileAction};

use super::{FileError, FileSession, operation::Operation};
use crate::files::{EntryKind, FsError, FsErrorKind, PathError, RemotePath};

/// Links that are followed for one path.
const LINKS: u32 = 40;

/// What a link's text names. A relative one counts from the folder that the link is in.
pub(super) fn link_target(link: &RemotePath, target: &[u8]) -> Result<RemotePath, FsError> {
    link.parent().unwrap_or_else(RemotePath::root).resolve(target).map_err(invalid)
}

fn invalid(error: PathError) -> FsError {
    FsError::new(FsErrorKind::Invalid, error.to_string())
}

/// Whether the last name of a path is followed by the operation where it is a link.
const fn follows(action: FileAction) -> bool {
    match action {
        FileAction::Browse
        | FileAction::Download
        | FileAction::Upload
        | FileAction::Chmod
        | FileAction::Copy
        | FileAction::Truncate => true,
        FileAction::Mkdir | FileAction::Delete | FileAction::Rename | FileAction::Link => false,
    }
}

impl FileSession {
    fn has_paths(&self) -> bool {
        !self.policy.allow.is_empty() || !self.policy.deny.is_empty()
    }

    /// The policy's word on an operation.
    pub(super) async fn check(
        &self,
        operation: &Operation,
        action: FileAction,
        path: &RemotePath,
        new_path: Option<&RemotePath>,
    ) -> Result<(), FileError> {
        let bytes = new_path.map(RemotePath::as_bytes);
        self.policy.check(action, path.as_bytes(), bytes)?;
        if !self.has_paths() {
            return Ok(());
        }
        let real = operation.race(self.real(path, follows(action))).await?;
        let real_new = match new_path {
            Some(new_path) => Some(operation.race(self.real(new_path, false)).await?),
            None => None,
        };
        self.policy.check(action, real.as_bytes(), real_new.as_ref().map(RemotePath::as_bytes))?;
        Ok(())
    }

    /// The same for looking at what a path is, which is no operation.
    pub(super) async fn check_look(&self, path: &RemotePath, follow: bool) -> Result<(), FileError> {
        if !self.has_paths() {
            return Ok(());
        }
        self.shown(path)?;
        let real = self.look(self.real(path, follow)).await?;
        self.shown(&real)?;
        Ok(())
    }

    fn shown(&self, path: &RemotePath) -> Result<(), Denial> {
        self.policy.check(FileAction::Browse, path.as_bytes(), None)
    }

    /// The path with all links in it followed, as far as it exists.
    async fn real(&self, path: &RemotePath, follow_last: bool) -> Result<RemotePath, FsError> {
        if !self.fs.capabilities().links {
            return Ok(path.clone());
        }
        let mut links = 0;
        let mut done = RemotePath::root();
        let mut rest: Vec<Vec<u8>> = names(path);
        rest.reverse();
        while let Some(name) = rest.pop() {
            let here = done.join(&name).map_err(invalid)?;
            if rest.is_empty() && !follow_last {
                return Ok(here);
            }
            let entry = match self.fs.stat(&here, false).await {
                Ok(entry) => entry,
                // From here on there is nothing that could lead elsewhere.
                Err(error) if matches!(error.kind, FsErrorKind::NotFound | FsErrorKind::NotAFolder) => {
                    let mut real = here;
                    while let Some(name) = rest.pop() {
                        real = real.join(&name).map_err(invalid)?;
                    }
                    return Ok(real);
                }
                Err(error) => return Err(error),
            };
            if entry.kind != EntryKind::Link {
                done = here;
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(FsError::new(FsErrorKind::Invalid, "too many links lead on from here"));
            }
            let target = match entry.link_target {
                Some(target) => target,
                None => self.fs.read_link(&here).await?,
            };
            let named = link_target(&here, &target)?;
            rest.extend(names(&named).into_iter().rev());
            done = RemotePath::root();
        }
        Ok(done)
    }
}

fn names(path: &RemotePath) -> Vec<Vec<u8>> {
    path.names().map(<[u8]>::to_vec).collect()
}
