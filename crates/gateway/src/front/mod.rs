//! What native clients connect to.

pub mod doorkeeper;
pub mod sftp;
pub mod ssh;
