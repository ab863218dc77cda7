//! Every back end of `RemoteFs` against real servers: one suite for all, and what is particular to each.
#![expect(clippy::unwrap_used, reason = "tests")]

mod ftp;
mod hostile;
mod lab;
mod sftp;
mod smb;
mod suite;
