//! Where a session's events go, in this order: [`recorder`], [`commands`], [`live`].
//!
//! The recorder is asked before anything else and may hold the session back. Commands and viewers
//! share one terminal emulator, the [`screen`], which works on a task of its own and may lag. Of desktops the protocol itself
//! says what there is to see and what was done, to a [`witness`].

pub(crate) mod backlog;
pub(crate) mod commands;
pub mod desktop;
pub(crate) mod echo;
pub(crate) mod files;
pub mod input;
pub(crate) mod live;
pub(crate) mod recorder;
pub(crate) mod screen;
pub mod witness;
