//! WebM, as far as recordings of desktops need it.
//!
//! Owns three things: a [`Scanner`] that goes over foreign bytes once and finds blocks and key frames; a [`Plan`] of how the same
//! frames make a file in which players can seek (finite duration, `SeekHead`, `Cues`), without copying them; and a [`Writer`] for
//! recordings of our own. Knows nothing of how pictures are encoded, and nothing of disks.
//!
//! Sources: RFC 8794 (EBML), RFC 9559 (Matroska), the WebM container guidelines, the VP8 (RFC 6386) and VP9 bitstream
//! specifications for what a key frame looks like.
//!
//! Nothing here holds a frame: memory is bounded by the limits below, whatever the bytes say.

mod ebml;
mod plan;
mod scan;
#[cfg(test)]
mod tests;
mod video;
mod write;

pub use plan::{MAX_CUES, MAX_PIECES, Plan, Planner, Slice, remux};
pub use scan::{Block, Cluster, Item, MAX_HEAD_BYTES, Scanner, Tracks};
pub use write::{CLUSTER_BYTES, Video, Writer};

/// Why bytes cannot be made a file that plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebmError {
    #[error("this is not WebM")]
    NotWebm,
    #[error("there are no tracks, or too large a description of them")]
    NoTracks,
    #[error("there is no whole frame")]
    NoFrames,
    #[error("it is in more pieces than can be put in order")]
    TooManyPieces,
    #[error("times are outside what a file can say")]
    Times,
}
