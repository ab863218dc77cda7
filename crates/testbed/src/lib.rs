//! Real peers for tests and benchmarks: databases, networks, servers.
//!
//! Nothing here knows Sojourn's crates, so that any of them may use it in its tests. What cannot
//! be had on a machine (PostgreSQL, root for network namespaces) is skipped in plain sight; where
//! `CI` is set it is a failure, see [`skip`].
//!
//! Everything that a test starts ends with it, even when the test process is killed.

#![expect(clippy::expect_used, reason = "a test bed that cannot be built must stop its test")]

pub mod accounts;
pub mod alone;
pub mod bed;
pub mod flaky;
pub mod foundations;
pub mod ftpd;
mod lifeline;
pub mod netns;
pub mod objects;
pub mod postgres;
pub mod process;
pub mod python;
pub mod rdp;
pub mod run;
pub mod samba;
pub mod skip;
pub mod ssh_client;
pub mod sshd;
pub mod telnetd;
pub mod tools;
pub mod vnc;
pub mod wait;

pub use postgres::{both_databases, free_port};
