//! Files on targets on the wire.
//!
//! Names and paths are text for people; where that is not what the target has (other bytes than UTF-8, control
//! characters), `rawPath` has the bytes, percent-encoded.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::values::Time;
use crate::http::files::PathText;

/// Something in a folder.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileEntry)]
pub struct EntryBody {
    /// For people: what is no UTF-8 and control characters stand as `\xHH`.
    pub name: String,
    /// The whole path, for people.
    pub path: String,
    #[schema(pattern = "^(file|folder|link|other)$")]
    pub kind: &'static str,
    /// In bytes, where the target says it.
    #[schema(minimum = 0)]
    pub size: Option<u64>,
    pub modified: Option<Time>,
    /// As `chmod` writes them, four octal digits or more.
    #[schema(pattern = "^[0-7]{4,5}$")]
    pub permissions: Option<String>,
    /// A name, or a number where the target has no names.
    pub owner: Option<String>,
    pub group: Option<String>,
    /// Where a link leads.
    pub link_target: Option<String>,
    /// The path's bytes, percent-encoded, where `path` is not what the target has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub raw_path: Option<String>,
}

/// An entry, and what names its content.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileStat)]
pub struct StatBody {
    #[serde(flatten)]
    pub entry: EntryBody,
    /// What `If-Match`, `If-None-Match` and `If-Range` take.
    pub etag: String,
    pub capabilities: CapabilitiesBody,
}

/// What the target can do.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileCapabilities)]
pub struct CapabilitiesBody {
    /// Copying without the bytes passing through here.
    pub copy: bool,
    /// Renaming over a file that exists.
    pub rename_over: bool,
    pub links: bool,
    pub permissions: bool,
    pub times: bool,
    /// Going on with an upload that broke off.
    pub resume_upload: bool,
    /// The connection's policy lets nothing be changed.
    pub read_only: bool,
    /// The connection's policy lets nothing be deleted.
    pub no_delete: bool,
    #[schema(minimum = 0)]
    pub max_upload_bytes: Option<u64>,
    #[schema(minimum = 0)]
    pub max_download_bytes: Option<u64>,
}

/// A folder and what is in it.
#[derive(Debug, ToSchema)]
#[schema(as = FileListing)]
#[schema(rename_all = "camelCase")]
pub struct ListingBody {
    pub path: String,
    /// The path's bytes, percent-encoded, where `path` is not what the target has.
    #[schema(nullable = false, required = false)]
    pub raw_path: Option<String>,
    pub capabilities: CapabilitiesBody,
    pub entries: Vec<EntryBody>,
}

/// A file that was written.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileWritten)]
pub struct WrittenBody {
    #[schema(minimum = 0)]
    pub size: u64,
    /// SHA-256 in hex, where all of it passed through here in order.
    pub sha256: Option<String>,
    /// The tag of what was written.
    pub etag: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = FileUploadRequest)]
pub struct UploadRequest {
    pub path: PathText,
    /// The whole file's.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991i64)]
    pub size: u64,
    /// When it was changed; it is given this time where the target can.
    pub modified: Option<String>,
    /// Put it in the place of a file that exists.
    #[serde(default)]
    pub overwrite: bool,
}

/// An upload in pieces.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileUpload)]
pub struct UploadBody {
    pub id: String,
    pub path: String,
    #[schema(minimum = 0)]
    pub size: u64,
    /// Where the next piece begins.
    #[schema(minimum = 0)]
    pub offset: u64,
    pub created_at: Time,
}

/// One's unfinished uploads on a connection, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FileUploads)]
pub struct Uploads {
    /// `offset` is how much was on the target for certain when it was noted last.
    pub uploads: Vec<UploadBody>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileFinishRequest)]
pub struct FinishRequest {
    /// Of the whole file, in hex. What arrived is compared with it; after a resumed upload all of it is read again for that.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    pub sha256: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileMkdirRequest)]
pub struct MkdirRequest {
    pub path: PathText,
    /// Make missing folders above it, and take one that exists.
    #[serde(default)]
    pub parents: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileRenameRequest)]
pub struct RenameRequest {
    pub from: PathText,
    pub to: PathText,
    #[serde(default)]
    pub overwrite: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = FileCopyRequest)]
pub struct CopyRequest {
    /// A file, or a folder with all that is in it.
    pub from: PathText,
    pub to: PathText,
    #[serde(default)]
    pub overwrite: bool,
    /// Another connection; else it is copied within this one.
    #[schema(pattern = "^conn_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub to_connection: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileDeleteRequest)]
pub struct DeleteRequest {
    #[schema(min_items = 1, max_items = 10_000)]
    pub paths: Vec<PathText>,
    /// Folders with all that is in them. Links are removed and never followed.
    #[serde(default)]
    pub recursive: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileChmodRequest)]
pub struct ChmodRequest {
    pub path: PathText,
    /// Octal, as `chmod` takes them.
    #[schema(pattern = "^[0-7]{3,5}$")]
    pub permissions: String,
    /// All that is in the folder, too. Links are left as they are.
    #[serde(default)]
    pub recursive: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileLinkRequest)]
pub struct LinkRequest {
    /// The link that is made.
    pub path: PathText,
    /// What it says, as it is: it may be relative.
    #[schema(min_length = 1, max_length = 4096)]
    pub target: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileTruncateRequest)]
pub struct TruncateRequest {
    pub path: PathText,
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991i64)]
    pub size: u64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileLoginRequest)]
pub struct LoginRequest {
    /// The target's. It is kept in memory, for this file session only.
    #[schema(value_type = String, max_length = 4096)]
    pub password: crate::credentials::SecretText,
}

/// The file session that the server keeps for the page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileSessionOpened)]
pub struct OpenedBody {
    #[schema(pattern = "^fsess_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub file_session: String,
    /// The folder that one begins in.
    pub home: String,
    pub capabilities: CapabilitiesBody,
}

/// A line about how far something has come. `done` and `failed` count files and folders; the last line has
/// `finished`.
#[derive(Debug, Default, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileProgress)]
pub struct ProgressLine {
    /// What it is about at the moment, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub path: Option<String>,
    #[schema(minimum = 0)]
    pub done: u64,
    #[schema(minimum = 0)]
    pub failed: u64,
    /// Bytes moved so far.
    #[schema(minimum = 0)]
    pub bytes: u64,
    /// Bytes of the file that is being moved, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub size: Option<u64>,
    /// Why `path` failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
    /// The same, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}
