//! What targets answer, as the back ends of `gateway::files` read it.

#[path = "../../../crates/gateway/src/files/error.rs"]
mod error;
#[path = "../../../crates/gateway/src/files/fs.rs"]
#[expect(dead_code, reason = "only entries are read here")]
mod fs;
#[path = "../../../crates/gateway/src/files/path.rs"]
mod path;

pub use self::{
    error::{FsError, FsErrorKind, FsResult},
    fs::{Entry, EntryKind},
    path::RemotePath,
};

pub mod ftp;
pub mod sftp;
